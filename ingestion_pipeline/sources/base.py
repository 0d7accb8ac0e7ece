"""What to acquire and what was acquired: the values that all sources of raw bytes use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ingestion_pipeline.core.evidence import Evidence


@dataclass(frozen=True)
class RawPart:
    """One file of raw bytes, as upstream sent them (after HTTP decompression), without user names.

    Attributes:
        path: Local file.
        query: The query sent to get it, or None for a file.
        requested_at: The time of the request (UTC).
        received_at: The time when its last byte arrived (UTC).
        sha256: The digest of the validated bytes, if another program may be writing the file; None
            if only this process can.
    """

    path: Path
    query: str | None
    requested_at: datetime
    received_at: datetime
    sha256: str | None = None


@dataclass(frozen=True)
class Acquisition:
    """Raw bytes that passed every check of their source, with their evidence.

    Attributes:
        parts: One part for an extract; one for each quarter of the bbox from Overpass, in order.
        evidence: The date and the origin of the data; the same for all parts.
    """

    parts: tuple[RawPart, ...]
    evidence: Evidence
