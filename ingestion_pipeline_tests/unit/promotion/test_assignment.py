"""One-to-one assignment, compared with all the ways that there are."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_pipeline.promotion.assignment import Assigned, Pairs, assign, components

NO_RIVALS = -1e9

matrices = st.lists(
    st.lists(st.one_of(st.none(), st.integers(1, 20)), min_size=4, max_size=4),
    min_size=1,
    max_size=4,
)
"""What each pair of up to 4 x 4 is worth; None where there is no pair."""


def pairs_of(matrix: list[list[int | None]]) -> Pairs:
    cells = [
        (row, column, worth)
        for row, columns in enumerate(matrix)
        for column, worth in enumerate(columns)
        if worth is not None
    ]
    left, right, worth = zip(*cells, strict=True) if cells else ((), (), ())
    return Pairs(
        np.array(left, dtype=np.int64),
        np.array(right, dtype=np.int64),
        np.array(worth, dtype=float),
    )


def assigned(*cells: tuple[int, int, float], margin: float = 2.0) -> Assigned:
    left, right, worth = zip(*cells, strict=True)
    return assign(Pairs(np.array(left), np.array(right), np.array(worth)), margin=margin)


@settings(deadline=None)  # the first example imports SciPy
@given(matrices)
def test_links_are_one_to_one_and_worth_the_most(matrix: list[list[int | None]]) -> None:
    pairs = pairs_of(matrix)
    links = assign(pairs, margin=NO_RIVALS).links
    assert len(set(pairs.left[links])) == len(set(pairs.right[links])) == len(links)
    best = max(
        sum(columns[place] or 0 for columns, place in zip(matrix, places, strict=False))
        for places in permutations(range(4))
    )
    assert pairs.worth[links].sum() == best


@settings(deadline=None)  # the first example imports SciPy
@given(matrices, st.integers(0, 5))
def test_no_pair_that_is_left_out_comes_near_the_links_of_its_ends(
    matrix: list[list[int | None]], margin: int
) -> None:
    pairs = pairs_of(matrix)
    found = assign(pairs, margin=margin)
    of_left = {int(pairs.left[link]): float(pairs.worth[link]) for link in found.links}
    of_right = {int(pairs.right[link]): float(pairs.worth[link]) for link in found.links}
    in_doubt = {pair for group in found.ambiguous for pair in group}
    assert not in_doubt & set(found.links)
    for pair in {*range(len(pairs.left))} - set(found.links):
        ends = of_left.get(int(pairs.left[pair]), 0), of_right.get(int(pairs.right[pair]), 0)
        comes_near = all(pairs.worth[pair] >= end - margin for end in ends)
        assert comes_near == (pair in in_doubt)
        assert not comes_near or ends == (0, 0)


def test_two_equal_candidates_are_ambiguous() -> None:
    assert assigned((0, 0, 9.0), (0, 1, 8.0)) == Assigned([], [[0, 1]])
    assert assigned((0, 0, 9.0), (0, 1, 6.0)) == Assigned([0], [])


def test_two_places_with_one_candidate_are_ambiguous() -> None:
    assert assigned((0, 0, 9.0), (1, 0, 8.0)) == Assigned([], [[0, 1]])


def test_three_that_could_turn_round_in_a_circle_are_ambiguous() -> None:
    circle = [(n, n, 9.0) for n in range(3)] + [(n, (n + 1) % 3, 8.5) for n in range(3)]
    assert assigned(*circle) == Assigned([], [[0, 1, 2, 3, 4, 5]])


def test_a_candidate_that_belongs_to_another_place_is_no_rival() -> None:
    assert assigned((0, 0, 5.0), (0, 1, 4.0), (1, 1, 9.0)) == Assigned([0, 2], [])


def test_a_link_that_is_withdrawn_frees_its_ends() -> None:
    # 1 could be 1 or 2, so what is near to 1 is in doubt too; 3 is far from all.
    found = assigned((0, 0, 5.0), (0, 1, 5.5), (1, 1, 9.0), (1, 2, 8.0), (3, 3, 4.0))
    assert found == Assigned([4], [[0, 1, 2, 3]])


def test_groups_are_apart() -> None:
    found = assigned((0, 0, 9.0), (0, 1, 9.0), (5, 5, 9.0), (6, 5, 9.0))
    assert found.ambiguous == [[0, 1], [2, 3]]


def test_nothing_is_assigned_of_nothing() -> None:
    none = np.array([], dtype=np.int64)
    assert assign(Pairs(none, none, none.astype(float)), margin=2.0) == Assigned([], [])
    assert components(none, none) == []
