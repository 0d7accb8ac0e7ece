"""Errors of the checks.

    QualityError
    ├── StoppedByCheck             a blocking check failed, and the day is not accepted     never
    └── AcceptanceWithoutReason    the day is accepted without a reason                     never

The last column says whether a retry may succeed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.core.errors import IngestionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.quality.findings import Finding


class QualityError(IngestionError):
    """A check keeps a day out of staging."""

    code = "quality_error"


class StoppedByCheck(QualityError):
    """A blocking check failed.

    Attributes:
        findings: The findings of all checks, including the good ones.
    """

    code = "stopped_by_check"

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        """Create an error with a message that has the checks' names and numbers."""
        super().__init__(message)
        self.findings = findings


class AcceptanceWithoutReason(QualityError):
    """A day is accepted without a reason."""

    code = "acceptance_without_reason"
