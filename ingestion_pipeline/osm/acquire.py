"""What to acquire and what was acquired: the contract that every source of raw bytes keeps.

Belongs here: plain values only. Does not belong here: how a source does it (`overpass.py`,
`extract.py`), and storing the bytes (`lake/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from ingestion_pipeline.osm.boundary_file import BoundaryFile
    from ingestion_pipeline.osm.features import Evidence


class Bbox(NamedTuple):
    """A bounding box in WGS84 degrees; never crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    def holds(self, other: Bbox) -> bool:
        """Tell whether the other lies within this one."""
        return (
            self.west <= other.west
            and self.south <= other.south
            and self.east >= other.east
            and self.north >= other.north
        )


class Coverage(NamedTuple):
    """What an extract covers.

    Attributes:
        how: How that is known: by the `.poly` file beside it, its header's box, or its nodes.
        wkt: The area (EPSG:4326), as well-known text.
    """

    how: Literal["poly", "header", "nodes"]
    wkt: str


@dataclass(frozen=True)
class Area:
    """What to fetch: everything that intersects `bbox`, and the boundary relation if there is one.

    Attributes:
        bbox: The fetch window.
        boundary_relation: Id of the OSM relation that bounds the city, or None.
        boundary_file: The file that bounds the city, or None; without both it is the bbox.
    """

    bbox: Bbox
    boundary_relation: int | None
    boundary_file: BoundaryFile | None = None

    @property
    def boundary_name(self) -> str:
        """What bounds the city, for messages: `bbox`, `relation/7`, or the file's place."""
        if self.boundary_file is not None:
            return self.boundary_file.name
        return "bbox" if self.boundary_relation is None else f"relation/{self.boundary_relation}"


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
    evidence: Evidence
