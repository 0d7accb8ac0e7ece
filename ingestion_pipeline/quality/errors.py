"""Every way in which a check, or what an operator says to it, ends a run.

    QualityError
    ├── StoppedByCheck             a blocking check failed, and nobody accepted the day     never
    └── AcceptanceWithoutReason    the day was to be accepted, and nobody says why          never

Belongs here: errors of the checks. Does not belong here: what is found (`findings.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.core.errors import IngestionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.quality.findings import Finding


class QualityError(IngestionError):
    """Anything that keeps a day out of staging because of what it looks like."""

    code = "quality_error"


class StoppedByCheck(QualityError):
    """A blocking check failed.

    Attributes:
        findings: What all checks found, the good ones included.
    """

    code = "stopped_by_check"

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        """Say which checks stop the day, with names and numbers."""
        super().__init__(message)
        self.findings = findings


class AcceptanceWithoutReason(QualityError):
    """A day was to be accepted without a word of why."""

    code = "acceptance_without_reason"
