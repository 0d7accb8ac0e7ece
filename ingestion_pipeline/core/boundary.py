"""The boundary of a city: which points are its own.

Belongs here: the protocol, and the two kinds of boundaries. Does not belong here: finding and
checking a city's boundary (`osm/boundary.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import shapely

    from ingestion_pipeline.core.arrays import FloatArray
    from ingestion_pipeline.core.geo import Bbox


class Boundary(Protocol):
    """What tells which points are the city's."""

    @property
    def area(self) -> shapely.Geometry:
        """Its area with its edge (EPSG:4326): every point that it owns lies in it."""

    def owns(self, lon: FloatArray, lat: FloatArray) -> npt.NDArray[np.bool_]:
        """Return for each of N points (EPSG:4326) whether it is the city's."""


@dataclass(frozen=True)
class BboxBoundary:
    """A bounding box: the western and southern edges are its own, the others a neighbour's.

    So two boxes that touch share no point.
    """

    bbox: Bbox

    @property
    def area(self) -> shapely.Geometry:
        """The box with all of its edges."""
        import shapely

        return shapely.box(*self.bbox)

    def owns(self, lon: FloatArray, lat: FloatArray) -> npt.NDArray[np.bool_]:
        """Return for each of N points (EPSG:4326) whether it is the city's."""
        west, south, east, north = self.bbox
        return (west <= lon) & (lon < east) & (south <= lat) & (lat < north)


@dataclass(frozen=True)
class PolygonBoundary:
    """The area of a boundary relation or file, with its edge."""

    polygon: shapely.Geometry

    @property
    def area(self) -> shapely.Geometry:
        """The polygon itself."""
        return self.polygon

    def owns(self, lon: FloatArray, lat: FloatArray) -> npt.NDArray[np.bool_]:
        """Return for each of N points (EPSG:4326) whether it is the city's."""
        import shapely

        shapely.prepare(self.polygon)
        inside: npt.NDArray[np.bool_] = shapely.intersects_xy(self.polygon, lon, lat)
        return inside
