"""How much a geometry may cost: what is counted, and that the worst legal inputs exceed it."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.geometry import complexity
from ingestion_pipeline.geometry.complexity import (
    MAX_CROSSINGS,
    MAX_SEGMENTS,
    MAX_TEXT,
    flaws,
    has_too_much_text,
    is_too_complex,
)

if TYPE_CHECKING:
    from ingestion_pipeline.core.arrays import FloatArray


def star(corners: int, step: int) -> FloatArray:
    """A way that goes on by some corners of a regular polygon at a time.

    It crosses itself `corners * (step - 1)` times.
    """
    angle = 2 * np.pi * (np.arange(corners + 1) * step % corners) / corners
    return np.column_stack([np.cos(angle), np.sin(angle)])


def square(x: float, y: float, size: float) -> FloatArray:
    corners = [(x, y), (x + size, y), (x + size, y + size), (x, y + size), (x, y)]
    return np.array(corners, dtype=np.float64)


def fan(rings: int) -> list[FloatArray]:
    """Triangles that all touch in one point."""
    angle = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False).reshape(-1, 2)
    return [np.array([(0, 0), *zip(np.cos(a), np.sin(a), strict=True), (0, 0)]) for a in angle]


def comb(teeth: int) -> FloatArray:
    """A ring of long teeth side by side: it is valid, and all of them are near each other."""
    x = np.arange(teeth)
    there_and_back = np.column_stack([x * 1e-5 + x % 2, x % 2])
    return np.vstack([there_and_back, [(9, 2), (0, 2)], there_and_back[:1]])


@pytest.mark.parametrize(
    ("corners", "step", "beyond"), [(1999, 6, False), (1999, 7, True), (1999, 900, True)]
)
def test_a_way_may_cross_itself_ten_thousand_times(corners: int, step: int, beyond: bool) -> None:
    assert (corners * (step - 1) > MAX_CROSSINGS) == beyond
    assert is_too_complex([star(corners, step)]) == beyond


@pytest.mark.parametrize(
    "lines",
    [
        fan(10_000),
        [comb(10_000)],
        [square(i * 1e-5, i * 1e-5, 1 - i * 2e-5) for i in range(10_000)],
        [np.random.default_rng(1).random((1999, 2))],
        [np.column_stack([np.arange(MAX_SEGMENTS + 2.0), np.zeros(MAX_SEGMENTS + 2)])],
    ],
    ids=["touching in a point", "teeth", "rings in rings", "scribble", "segments"],
)
def test_the_worst_of_legal_inputs_is_too_complex(lines: list[FloatArray]) -> None:
    assert is_too_complex(lines)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [np.empty((0, 2))] * 1_000,
        [np.array([(1.0, 1.0)])],
        fan(100),
        [comb(2_000)],
        [square(x, y, 0.5) for x in range(100) for y in range(100)],
        [square(x, y, 1) for x in range(100) for y in range(100)],
        [square(-1, -1, 200), *(square(x, y, 0.5) for x in range(100) for y in range(100))],
        [star(200_000, 1)],
    ],
    ids=[
        *("nothing", "empty lines", "a point", "touching in a point", "teeth"),
        *("apart", "side by side", "holes", "a long ring"),
    ],
)
def test_what_mappers_draw_is_not_too_complex(lines: list[FloatArray]) -> None:
    assert not is_too_complex(lines)


CORNER = st.tuples(st.integers(0, 6), st.integers(0, 6))


@given(st.lists(CORNER, min_size=2, max_size=14).map(lambda line: np.array(line, dtype=float)))
def test_as_many_crossings_are_counted_as_there_are(line: FloatArray) -> None:
    """On a small grid lines touch, overlap and run into themselves all the time."""
    ends = [(a, b) for a, b in zip(line[:-1].tolist(), line[1:].tolist(), strict=True) if a != b]
    expected = sum(
        shapely.intersects(shapely.LineString(one), shapely.LineString(other))
        for one, other in combinations(ends, 2)
        if not any(end in other for end in one)
    )
    segments = np.array(ends, dtype=float).reshape(-1, 4)
    shapes = np.asarray(shapely.linestrings(segments.reshape(-1, 2, 2)), dtype=object)
    pairs = list(complexity._pairs(shapes))
    assert expected == sum(
        complexity._crossings(segments[first], segments[second]) for first, second in pairs
    )


def test_every_pair_of_neighbours_comes_once() -> None:
    west, south = np.random.default_rng(2).random((2, 300))
    boxes = np.asarray(shapely.box(west, south, np.ones(300), np.ones(300)))
    found = [
        pair
        for first, second in complexity._pairs(boxes)
        for pair in zip(first.tolist(), second.tolist(), strict=True)
    ]
    assert sorted(found) == list(combinations(range(300), 2))


def test_areas_are_valid_invalid_or_too_complex() -> None:
    bow_tie = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2), (0, 0)])
    wild, teeth = shapely.Polygon(star(1999, 900)), shapely.Polygon(comb(10_000))
    areas = np.array(
        [shapely.box(0, 0, 1, 1), bow_tie, wild, shapely.MultiPolygon([bow_tie, wild]), teeth]
    )
    invalid, too_complex = flaws(areas)
    assert invalid.tolist() == [False, True, False, False, False]
    assert too_complex.tolist() == [False, False, True, True, True]


def test_text_is_counted_over_keys_and_values() -> None:
    assert not has_too_much_text({"a": "b" * (MAX_TEXT - 1)})
    assert has_too_much_text({"a": "b" * MAX_TEXT})
    assert has_too_much_text({f"key:{number}": "x" * 255 for number in range(300)})
