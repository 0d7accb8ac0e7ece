"""The area of a city: what a source fetches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingestion_pipeline.core.geo import Bbox
    from ingestion_pipeline.osm.boundary_file import BoundaryFile


@dataclass(frozen=True)
class Area:
    """What to fetch: everything that intersects `bbox`, and the boundary relation if there is one.

    Attributes:
        bbox: The fetch window.
        boundary_relation: Id of the OSM relation that bounds the city, or None.
        boundary_file: The file that bounds the city, or None. Without either, the bbox bounds it.
    """

    bbox: Bbox
    boundary_relation: int | None
    boundary_file: BoundaryFile | None = None

    @property
    def boundary_name(self) -> str:
        """The city's boundary for messages: `bbox`, `relation/7`, or the location of the file."""
        if self.boundary_file is not None:
            return self.boundary_file.name
        return "bbox" if self.boundary_relation is None else f"relation/{self.boundary_relation}"
