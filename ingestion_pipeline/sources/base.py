"""What to acquire and what was acquired: the contract that every source of raw bytes keeps.

Belongs here: plain values only. Does not belong here: how a source does it (`overpass.py`,
`extract.py`), and storing the bytes (`lake/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ingestion_pipeline.core.evidence import SnapshotEvidence


@dataclass(frozen=True)
class RawPart:
    """One file of raw bytes, as upstream sent them (after HTTP decompression), less user names.

    Attributes:
        path: Local file.
        query: What was sent to get it, or None for a file.
        requested_at: When it was asked for (UTC).
        received_at: When its last byte had come (UTC).
        sha256: The digest of the bytes that were checked, where another program may be writing the
            file; None where only we can.
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
        evidence: Of what time the data is and where it is from; the same for all parts.
    """

    parts: tuple[RawPart, ...]
    evidence: SnapshotEvidence
