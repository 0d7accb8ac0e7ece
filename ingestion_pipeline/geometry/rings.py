"""Areas enclosed by segments, on plain coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingestion_pipeline.core.arrays import FloatArray, IntArray, ObjectArray


HALF_WORLD = 180.0
"""Degrees. No line of OSM is that wide, so one that seems to be crosses the antimeridian."""


def eastward(lon: FloatArray) -> FloatArray:
    """Return longitudes with those of the west as 180 to 360, continuous at the antimeridian."""
    return np.where(lon < 0, lon + 360.0, lon)


def plain_areas(line_groups: Sequence[Sequence[FloatArray]]) -> ObjectArray:
    """Build the areas of many groups of simple lines at once.

    A group is simple if its lines are complete and close to rings that touch neither themselves nor
    each other. `enclosed` would build the same areas, one by one.

    Args:
        line_groups: N groups of (j, 2) lines, lon and lat in degrees, NaN for unknown positions.

    Returns:
        (N,) Polygons and MultiPolygons; None for every group that is not simple.
    """
    import shapely

    areas = np.full(len(line_groups), None, dtype=object)
    lines = [line for group in line_groups for line in group]
    counts = np.array([len(line) for line in lines], dtype=np.int64)
    group_of_line = np.repeat(np.arange(len(line_groups)), [len(group) for group in line_groups])
    xy = np.concatenate([np.empty((0, 2)), *lines])
    line = np.repeat(np.arange(len(lines)), counts)
    group = group_of_line[line]

    step = np.diff(xy, axis=0)
    stays, crosses = (step == 0).all(axis=1), np.abs(step[:, 0]) > HALF_WORLD
    doubtful = (line[1:] == line[:-1]) & (stays | crosses | np.isnan(step).any(axis=1))
    plain = np.bincount(group_of_line, minlength=len(line_groups)) > 0
    plain[group[1:][doubtful]] = False
    plain[group_of_line[counts < 2]] = False  # noqa: PLR2004 - a segment

    ways = np.full(len(lines), None, dtype=object)
    known = plain[group]
    shapely.linestrings(xy[known], indices=line[known], out=ways)
    known = plain[group_of_line]
    merged = areas.copy()
    shapely.multilinestrings(ways[known], indices=group_of_line[known], out=merged)
    merged = shapely.line_merge(merged)
    parts, owner = shapely.get_parts(merged, return_index=True)
    plain[owner[~shapely.is_closed(parts)]] = False
    plain[plain] = shapely.is_simple(merged[plain])
    areas[plain] = shapely.build_area(merged[plain])
    return areas


class Enclosed(NamedTuple):
    """The area enclosed by segments.

    Attributes:
        area: MultiPolygon; invalid where a surplus segment crosses it.
        closed: Whether every segment is part of a ring.
        simple: Whether segments touch only at their ends.
    """

    area: Any
    closed: bool
    simple: bool


def segments(lines: Iterable[FloatArray]) -> FloatArray:
    """Return the segments of lines as (s, 4) rows `x0 y0 x1 y1`, the smaller end first.

    Segments of zero length and those that occur an even number of times are left out, so touching
    inner rings merge. Where a line crosses the antimeridian, western longitudes are 180 to 360.

    Args:
        lines: (j, 2) lon and lat in degrees of each line, without NaN.
    """
    lines = [np.empty((0, 2)), *lines]
    rows = np.hstack(
        [np.concatenate([xy[:-1] for xy in lines]), np.concatenate([xy[1:] for xy in lines])]
    )
    rows = rows[(rows[:, :2] != rows[:, 2:]).any(axis=1)]
    if (np.abs(rows[:, 0] - rows[:, 2]) > HALF_WORLD).any():
        rows[:, ::2] = eastward(rows[:, ::2])
    unique, counts = np.unique(_oriented(rows), axis=0, return_counts=True)
    odd: FloatArray = unique[counts % 2 == 1]
    return odd


def _oriented(rows: FloatArray) -> FloatArray:
    """Swap the ends of (s, 4) segments so that the smaller one is first."""
    x0, y0, x1, y1 = rows.T
    backward = (x0 > x1) | ((x0 == x1) & (y0 > y1))
    return np.where(backward[:, np.newaxis], rows[:, [2, 3, 0, 1]], rows)


def enclosed(segments: FloatArray) -> Enclosed | None:
    """Return the area inside an odd number of rings, or None if there is no ring.

    The segments divide the plane into faces. A step between neighbouring faces crosses one ring, so
    faces at an odd number of steps from the outside are inside.
    """
    import shapely

    noded = shapely.union_all(np.asarray(shapely.linestrings(segments.reshape(-1, 2, 2))))
    edges = _sides(shapely.get_parts(noded))[0]
    faces = shapely.get_parts(shapely.polygonize([noded]))
    if not len(faces):
        return None
    rings, face_of_ring = shapely.get_rings(faces, return_index=True)
    sides, ring_of_side = _sides(rings)
    face = face_of_ring[ring_of_side]
    _, edge, uses = np.unique(sides, axis=0, return_inverse=True, return_counts=True)
    edge = edge.reshape(-1)
    by_edge = np.argsort(edge, kind="stable")
    shared = by_edge[uses[edge[by_edge]] == 2].reshape(-1, 2)  # noqa: PLR2004 - both sides
    steps = _steps(len(faces), start=face[uses[edge] == 1], neighbours=face[shared])
    return Enclosed(
        area=shapely.multipolygons(faces[steps % 2 == 1]),
        closed=len(uses) == len(edges),
        simple=len(edges) == len(segments),
    )


def _sides(lines: ObjectArray) -> tuple[FloatArray, IntArray]:
    """Return all segments of lines, oriented, and the index of each segment's line."""
    import shapely

    xy, line = shapely.get_coordinates(lines, return_index=True)
    together = line[1:] == line[:-1]
    return _oriented(np.hstack([xy[:-1], xy[1:]])[together]), line[1:][together]


def _steps(count: int, *, start: IntArray, neighbours: IntArray) -> IntArray:
    """Return the number of steps from the outside to each of `count` faces.

    Args:
        count: Number of faces.
        start: Faces that border on the outside: one step.
        neighbours: (p, 2) pairs of faces with a common border.
    """
    steps = np.zeros(count, dtype=np.int64)
    reached, step = start, 1
    while len(reached):
        steps[reached] = step
        arriving = neighbours[(steps[neighbours] == step).any(axis=1)].reshape(-1)
        reached, step = arriving[steps[arriving] == 0], step + 1
    return steps
