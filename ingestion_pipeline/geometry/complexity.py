"""Limits of geometries, and counts of the work that a geometry causes before the work is done.

To make an area valid, or to find what lines enclose, GEOS splits them at every common point. A
legal way of 2,000 nodes can cross itself a million times, which took 75 s and 3 GB. The limits are
far above the geometries of real extracts, and the worst geometry within them takes some seconds.
They are documented in docs/data-dictionary.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ingestion_pipeline.core.arrays import BoolArray, FloatArray, IntArray, ObjectArray


MAX_SEGMENTS = 500_000
"""Segments of one geometry. OSM allows a way 2,000 nodes and a relation 32,000 members."""

MAX_CROSSINGS = 10_000
"""Pairs of segments with a common point that is not an end of both; 0.3 s and 40 MB."""

MAX_MEETINGS = 1_000_000
"""Pairs of segments with a common end, other than consecutive segments."""

MAX_NEIGHBOURS = 5_000_000
"""Pairs of segments with intersecting bounding boxes, each of which is checked; 2 s."""

MAX_OVERLAPS = 1_000_000
"""Pairs of lines with intersecting bounding boxes, such as a ring and its inner rings."""

MAX_TEXT = 65_536
"""Characters of all tags of an object. OSM allows 255 for a key or a value."""

MAX_ID = 255
"""Characters of a record's id, which is part of an index with a limited key size."""

_HARMLESS_SEGMENTS, _HARMLESS_LINES = 3_000, 1_000
"""Counts that cannot exceed the limits of neighbours and of overlaps."""

_PAIRS_AT_ONCE = 250_000


def is_large(segments: int, lines: int = 1) -> bool:
    """Return whether so many segments or lines can be too complex even without crossings."""
    return segments > _HARMLESS_SEGMENTS or lines > _HARMLESS_LINES


def is_too_complex(lines: Sequence[FloatArray]) -> bool:
    """Return whether finding the area of lines exceeds the limits.

    Args:
        lines: (j, 2) lon and lat of each line, without NaN.
    """
    import shapely

    lines = [line for line in lines if len(line)]
    number = sum(map(len, lines)) - len(lines)
    if number * (number - 1) // 2 <= MAX_CROSSINGS:
        return False
    if number > MAX_SEGMENTS:
        return True
    segments = _segments(lines)
    if _meetings(segments) > MAX_MEETINGS + len(segments):
        return True
    bounds = np.array([[*line.min(axis=0), *line.max(axis=0)] for line in lines])
    boxes = np.asarray(shapely.box(*bounds.T))
    if _exceeds((len(first) for first, _ in _pairs(boxes)), MAX_OVERLAPS):
        return True
    neighbours = crossings = 0
    for first, second in _pairs(np.asarray(shapely.linestrings(segments.reshape(-1, 2, 2)))):
        neighbours += len(first)
        crossings += _crossings(segments[first], segments[second])
        if neighbours > MAX_NEIGHBOURS or crossings > MAX_CROSSINGS:
            return True
    return False


def flaws(areas: ObjectArray) -> tuple[BoolArray, BoolArray]:
    """Find invalid and too complex areas, at a bounded cost.

    Args:
        areas: (N,) areas, no None.

    Returns:
        (N,) whether each is invalid and can be made valid; and (N,) whether it is too complex.
    """
    import shapely

    corners = shapely.get_num_coordinates(areas)
    large = np.fromiter(map(is_large, corners.tolist()), np.bool_, len(areas))
    too_complex = _too_complex(areas, large)
    invalid = ~too_complex
    invalid[invalid] = ~shapely.is_valid(areas[invalid])
    too_complex |= _too_complex(areas, invalid & ~large)
    return invalid & ~too_complex, too_complex


def rings_of(areas: ObjectArray) -> list[FloatArray]:
    """Return the positions of all rings of areas."""
    import shapely

    polygons = shapely.get_parts(shapely.get_parts(areas))
    return [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygons)]


def has_too_much_text(texts: Mapping[str, str]) -> bool:
    """Return whether keys and values together exceed the limit."""
    return sum(map(len, texts)) + sum(map(len, texts.values())) > MAX_TEXT


def _too_complex(areas: ObjectArray, asked: BoolArray) -> BoolArray:
    found = np.zeros(len(areas), np.bool_)
    for index in np.flatnonzero(asked):
        found[index] = is_too_complex(rings_of(areas[[index]]))
    return found


def _exceeds(counts: Iterable[int], limit: int) -> bool:
    total = 0
    for count in counts:
        total += count
        if total > limit:
            return True
    return False


def _segments(lines: Sequence[FloatArray]) -> FloatArray:
    """Return all segments as (s, 4) rows `x0 y0 x1 y1`, without segments of zero length."""
    lines = [np.empty((0, 2)), *lines]
    rows = np.hstack(
        [np.concatenate([xy[:-1] for xy in lines]), np.concatenate([xy[1:] for xy in lines])]
    )
    long: FloatArray = rows[(rows[:, :2] != rows[:, 2:]).any(axis=1)]
    return long


def _meetings(segments: FloatArray) -> int:
    """Return the number of pairs of segments with a common end."""
    _, degree = np.unique(segments.reshape(-1, 2), axis=0, return_counts=True)
    return int((degree * (degree - 1) // 2).sum())


def _pairs(shapes: ObjectArray) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield the pairs of shapes with intersecting bounding boxes, each pair once, in batches.

    The shapes are in a random but reproducible order, so every batch of shapes has about equally
    many neighbours, and no step finds many more pairs than the step before.
    """
    import shapely

    tree = shapely.STRtree(shapes)
    start, size = 0, max(1, _PAIRS_AT_ONCE // max(1, len(shapes)))
    order = np.arange(len(shapes))
    if size < len(shapes):  # NumPy takes some ms to import its random numbers
        order = np.random.default_rng(0).permutation(order)
    while start < len(order):
        asked = order[start : start + size]
        place, second = tree.query(shapes[asked])
        first = asked[place]
        once = first < second
        yield first[once], second[once]
        start += size
        size = max(1, size * 2 if len(place) < _PAIRS_AT_ONCE else size // 2)


def _crossings(one: FloatArray, other: FloatArray) -> int:
    """Return the number of pairs of (p, 4) segments with a common point and no common end."""
    ends, others = one.reshape(-1, 2, 1, 2), other.reshape(-1, 1, 2, 2)
    apart = ~(ends == others).all(axis=3).any(axis=(1, 2))
    one, other = one[apart], other[apart]
    cross = (_sides(one, other) <= 0) & (_sides(other, one) <= 0)
    return int(cross.sum())


def _sides(line: FloatArray, other: FloatArray) -> FloatArray:
    """Return a negative number for each pair where the other's ends are on two sides of the line.

    It is zero where an end is on the line.
    """
    dx, dy = line[:, 2] - line[:, 0], line[:, 3] - line[:, 1]
    sides: FloatArray = np.prod(
        [
            np.sign(dx * (other[:, at + 1] - line[:, 1]) - dy * (other[:, at] - line[:, 0]))
            for at in (0, 2)
        ],
        axis=0,
    )
    return sides
