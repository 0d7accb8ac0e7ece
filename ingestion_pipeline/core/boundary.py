"""The boundary of a city, which decides which points belong to it.

`osm/boundary.py` finds and checks the boundary of a city.
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
    """The interface of boundaries."""

    @property
    def area(self) -> shapely.Geometry:
        """The area with its edge (EPSG:4326). It contains every point that the boundary owns."""

    def owns(self, lon: FloatArray, lat: FloatArray) -> npt.NDArray[np.bool_]:
        """Return for each of N points (EPSG:4326) whether the boundary owns it."""


@dataclass(frozen=True)
class BboxBoundary:
    """A bounding box that includes its western and southern edges and excludes the others.

    So adjacent boxes share no point.
    """

    bbox: Bbox

    @property
    def area(self) -> shapely.Geometry:
        """The box with all of its edges."""
        import shapely

        return shapely.box(*self.bbox)

    def owns(self, lon: FloatArray, lat: FloatArray) -> npt.NDArray[np.bool_]:
        """Return for each of N points (EPSG:4326) whether the boundary owns it."""
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
        """Return for each of N points (EPSG:4326) whether the boundary owns it."""
        import shapely

        shapely.prepare(self.polygon)
        inside: npt.NDArray[np.bool_] = shapely.intersects_xy(self.polygon, lon, lat)
        return inside
