"""Which places are near each other, and how their geometries lie.

Belongs here: projection, blocking by distance, distance, containment, overlap. Does not belong
here: what the places are (`likeness.py`), and what follows from it (`identity.py`).

Geometries are compared in Mercator's projection of the sphere. It keeps angles, so near a place it
is a map at one scale: its metres times the cosine of the latitude are metres on the ground, within
0.5 %. What is near the antimeridian is compared a second time, shifted by a turn of the earth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import shapely

    from ingestion_pipeline.core.arrays import BoolArray, FloatArray, IntArray, ObjectArray

_RADIUS_M = 6_371_008.8  # the mean radius of the earth (IUGG)
_TURN = 2 * np.pi * _RADIUS_M
_HIGHEST = 89.9  # degrees of latitude; Mercator's map has no poles
_AREAS = (3, 6)  # type ids of Polygon and MultiPolygon


class Near(NamedTuple):
    """Pairs of places, one of each side, in the order of their indexes.

    Attributes:
        left: (P,) Index of the place of the left side.
        right: (P,) Index of the place of the right side.
        metres: (P,) Distance of their geometries in metres, 0 if they touch; 1 decimal.
        overlap: (P,) Of two areas, the shared part of what both cover together, from 0 to 1, 2
            decimals. NaN if one of them is no area.
        inside: (P,) Whether one is an area and has the representative point of the other in it.
    """

    left: IntArray
    right: IntArray
    metres: FloatArray
    overlap: FloatArray
    inside: BoolArray

    def at(self, indexes: IntArray) -> Near:
        """Return some of the pairs."""
        return Near(
            self.left[indexes],
            self.right[indexes],
            self.metres[indexes],
            self.overlap[indexes],
            self.inside[indexes],
        )


class Map(NamedTuple):
    """Places in Mercator's projection.

    Attributes:
        geometry: (N,) Geometries in metres of the projection.
        point: (N,) Representative points, in the same.
        scale: (N,) Metres on the ground of one metre of the projection.
    """

    geometry: ObjectArray
    point: ObjectArray
    scale: FloatArray


def mapped(geometries: Sequence[shapely.Geometry], lon: FloatArray, lat: FloatArray) -> Map:
    """Return places in Mercator's projection.

    Args:
        geometries: (N,) EPSG:4326, no None.
        lon: (N,) Longitude of the representative points in degrees.
        lat: (N,) Latitude of the representative points in degrees.
    """
    import shapely

    projected = shapely.transform(np.array(geometries, dtype=object), _mercator)
    (broken,) = np.nonzero(~shapely.is_valid(projected))  # the overlay would raise an error
    projected[broken] = shapely.make_valid(projected[broken])
    return Map(
        projected,
        np.atleast_1d(np.asarray(shapely.points(_mercator(np.column_stack([lon, lat]))))),
        np.cos(np.radians(np.clip(lat, -_HIGHEST, _HIGHEST))),
    )


def near(left: Map, right: Map, reach_m: float) -> Near:
    """Return the pairs of places whose geometries are within reach of each other.

    Args:
        left: The places of one side.
        right: The places of the other side.
        reach_m: The largest distance of two geometries in metres.
    """
    one, other, shift = _candidates(left, right, reach_m)
    geometries = _shifted(left.geometry[one], shift), right.geometry[other]
    points = _shifted(left.point[one], shift), right.point[other]
    scale = (left.scale[one] + right.scale[other]) / 2
    metres = _metres(*geometries, scale)
    # Of an area on both sides of the antimeridian there are two distances: the smaller one first.
    order = np.lexsort((metres, other, one))
    order = order[metres[order] <= reach_m]
    fresh = np.ones(len(order), dtype=bool)
    fresh[1:] = (np.diff(one[order]) != 0) | (np.diff(other[order]) != 0)
    kept = order[fresh]
    chosen = geometries[0][kept], geometries[1][kept]
    ends = points[0][kept], points[1][kept]
    return Near(
        one[kept],
        other[kept],
        metres[kept],
        _overlap(*chosen),
        _inside(*chosen, *ends),
    )


def distance_m(one: Map, other: Map) -> float:
    """Return the distance of two single geometries in metres, 1 decimal."""
    shifts = np.array([-_TURN, 0.0, _TURN])
    copies = _shifted(np.repeat(one.geometry, 3), shifts)
    scale = (one.scale + other.scale) / 2
    return float(_metres(copies, np.repeat(other.geometry, 3), scale).min())


def _mercator(degrees: FloatArray) -> FloatArray:
    lon, lat = np.radians(degrees[:, 0]), np.radians(np.clip(degrees[:, 1], -_HIGHEST, _HIGHEST))
    return _RADIUS_M * np.column_stack([lon, np.arcsinh(np.tan(lat))])


def _candidates(left: Map, right: Map, reach_m: float) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the pairs within a little more than the reach, with the shift of the left place."""
    import shapely

    tree = shapely.STRtree(right.geometry)
    # At the far end of the reach the scale is a little smaller.
    farther = 1.01 * reach_m / left.scale
    west, south, east, north = shapely.bounds(left.geometry).T
    west, south, east, north = west - farther, south - farther, east + farther, north + farther
    shifts = (
        (np.ones(len(west), dtype=bool), 0.0),
        (west < -_TURN / 2, _TURN),
        (east > _TURN / 2, -_TURN),
    )
    found = []
    for mask, shift in shifts:
        (chosen,) = np.nonzero(mask)
        boxes = shapely.box(
            west[chosen] + shift, south[chosen], east[chosen] + shift, north[chosen]
        )
        one, other = tree.query(boxes)
        found.append((chosen[one], other, np.full(len(one), shift)))
    one, other, shift_of = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return one, other, shift_of


def _shifted(geometries: ObjectArray, shift: FloatArray) -> ObjectArray:
    from shapely import affinity

    (moved,) = np.nonzero(shift)
    if not len(moved):
        return geometries
    copies = geometries.copy()
    for place in moved:  # very few
        copies[place] = affinity.translate(copies[place], xoff=float(shift[place]))
    return copies


def _metres(one: ObjectArray, other: ObjectArray, scale: FloatArray) -> FloatArray:
    import shapely

    distance: FloatArray = np.round(shapely.distance(one, other) * scale, 1)
    return distance


def _overlap(one: ObjectArray, other: ObjectArray) -> FloatArray:
    import shapely

    share = np.full(len(one), np.nan)
    areal = _is_area(one) & _is_area(other)
    share[areal] = 0.0
    (both,) = np.nonzero(areal)
    both = both[shapely.intersects(one[both], other[both])]
    shared = shapely.area(shapely.intersection(one[both], other[both]))
    together = shapely.area(one[both]) + shapely.area(other[both]) - shared
    share[both] = np.round(shared / together, 2)
    return share


def _inside(
    one: ObjectArray, other: ObjectArray, point: ObjectArray, other_point: ObjectArray
) -> BoolArray:
    import shapely

    first = _is_area(one) & shapely.intersects(one, other_point)
    second = _is_area(other) & shapely.intersects(other, point)
    return first | second


def _is_area(geometries: ObjectArray) -> BoolArray:
    import shapely

    return np.isin(shapely.get_type_id(geometries), _AREAS)
