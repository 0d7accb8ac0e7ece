"""Representative points of geometries."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]
    IntArray = npt.NDArray[np.int32]
    ObjectArray = npt.NDArray[np.object_]

_LINE, _AREA = 1, 2
_SINGLE = 3  # type ids up to POLYGON are single geometries


def representative_points(geoms: ObjectArray) -> tuple[FloatArray, FloatArray, ObjectArray]:
    """Return the representative point of each geometry.

    It is on the geometry, unlike a centroid or the centre of a bounding box: in an area
    (`surface`), at half the length of a line (`line`), or at the node (`node`). Of several parts
    the largest counts, and the first of equal ones.

    Args:
        geoms: (N,) canonical geometries, EPSG:4326, no None.

    Returns:
        (N,) lon and (N,) lat in degrees, rounded to 7 decimals (except where the rounded point is
        outside its area); and (N,) `node`, `surface` or `line`.
    """
    import shapely

    dimension = shapely.get_dimensions(geoms)
    areal, linear = dimension == _AREA, dimension == _LINE
    points = _largest_parts(geoms, dimension)
    points[areal] = shapely.point_on_surface(points[areal])
    points[linear] = shapely.line_interpolate_point(points[linear], 0.5, normalized=True)
    xy = shapely.get_coordinates(points)
    rounded = np.round(xy, 7)
    near = ~areal
    near[areal] = shapely.intersects_xy(geoms[areal], *rounded[areal].T)
    xy[near] = rounded[near]
    source = np.array(["node", "line", "surface"], dtype=object)[dimension]
    return xy[:, 0], xy[:, 1], source


def _largest_parts(geoms: ObjectArray, dimension: IntArray) -> ObjectArray:
    """Return the largest part of each geometry's dimension, and the first of equal ones."""
    import shapely

    largest = geoms.copy()
    several = np.flatnonzero(shapely.get_type_id(geoms) > _SINGLE)
    parts, owner = shapely.get_parts(geoms[several], return_index=True)
    whole = dimension[several][owner]
    size = np.where(
        shapely.get_dimensions(parts) < whole,
        -1.0,
        np.maximum(shapely.area(parts), (whole == _LINE) * shapely.length(parts)),
    )
    ranked = np.lexsort((-size, owner))  # stable: the first of equal parts stays first
    largest[several] = parts[ranked[np.searchsorted(owner[ranked], np.arange(len(several)))]]
    return largest
