"""One-to-one assignment of pairs by their worth, and which of them are ambiguous.

Belongs here: arithmetic on indexes. Does not belong here: places.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from ingestion_pipeline.core.arrays import BoolArray, FloatArray, IntArray


class Pairs(NamedTuple):
    """Pairs that may be linked.

    Attributes:
        left: (P,) Index on the left side.
        right: (P,) Index on the right side; each pair is there once.
        worth: (P,) What a link of the pair is worth, above 0.
    """

    left: IntArray
    right: IntArray
    worth: FloatArray

    def at(self, indexes: IntArray) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.left[indexes], self.right[indexes], self.worth[indexes])


class Assigned(NamedTuple):
    """The assignment.

    Attributes:
        links: Indexes of the pairs that are linked, ascending.
        ambiguous: Groups of indexes of pairs of which a person has to choose; ascending.
    """

    links: list[int]
    ambiguous: list[list[int]]


def assign(pairs: Pairs, *, margin: float) -> Assigned:
    """Return the one-to-one links that are worth most together, without ambiguous ones.

    A link is ambiguous if there is a rival: a pair of one of its two ends that is not linked, and
    that neither of its own ends would clearly lose by, as it is worth at most `margin` less than
    the link of each end (an end without a link loses nothing). Two equal candidates of one place
    are such, two places with one candidate, and neighbours that could be swapped. A withdrawn link
    makes its ends free, which can make more links ambiguous.

    Args:
        pairs: In an order that does not depend on that of the places.
        margin: The least difference of worth that decides between two pairs.
    """
    linked = np.zeros(len(pairs.left), dtype=bool)
    for members in components(pairs.left, pairs.right):
        linked[members[_optimal(pairs.at(members))]] = True
    doubtful = np.zeros(len(linked), dtype=bool)
    while True:
        rivals = _rivals(pairs, linked & ~doubtful, margin)  # the withdrawn links among them
        touched = linked & _touched(pairs, rivals)
        if (touched == doubtful).all():
            break
        doubtful = touched
    (among,) = np.nonzero(rivals)
    groups = components(pairs.left[among], pairs.right[among])
    return Assigned(
        np.nonzero(linked & ~doubtful)[0].tolist(),
        [among[members].tolist() for members in groups],
    )


def components(left: IntArray, right: IntArray) -> list[IntArray]:
    """Return the connected parts of a graph of pairs, as ascending indexes of the pairs."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(left):
        return []
    lefts, row = np.unique(left, return_inverse=True)
    rights, column = np.unique(right, return_inverse=True)
    size = len(lefts) + len(rights)
    # SciPy 1.11 reads no other indexes.
    ends = row.astype(np.int32), (column + len(lefts)).astype(np.int32)
    graph = coo_array((np.ones(len(row)), ends), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    of_pair = label[row]
    order = np.argsort(of_pair, kind="stable")
    starts = np.nonzero(np.diff(of_pair[order]))[0] + 1
    parts = np.split(order, starts)
    return sorted(parts, key=lambda part: int(part[0]))


def _optimal(pairs: Pairs) -> IntArray:
    """Return the indexes of the pairs of the best assignment of one component."""
    from scipy.optimize import linear_sum_assignment

    if len(pairs.left) == 1:
        return np.array([0])
    lefts, row = np.unique(pairs.left, return_inverse=True)
    rights, column = np.unique(pairs.right, return_inverse=True)
    worth = np.zeros((len(lefts), len(rights)))  # 0: to stay without a link
    worth[row, column] = pairs.worth
    partner = np.full(len(lefts), -1)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    partner[rows] = columns
    return np.nonzero(partner[row] == column)[0]


def _rivals(pairs: Pairs, linked: BoolArray, margin: float) -> BoolArray:
    """Return which pairs are not linked and not clearly worse than the links of their ends."""
    rival: BoolArray = ~linked
    for end in (pairs.left, pairs.right):
        own = np.zeros(end.max(initial=-1) + 1)
        own[end[linked]] = pairs.worth[linked]
        rival = rival & (pairs.worth >= own[end] - margin)
    return rival


def _touched(pairs: Pairs, rivals: BoolArray) -> BoolArray:
    """Return which pairs share an end with a rival."""
    return np.isin(pairs.left, pairs.left[rivals]) | np.isin(pairs.right, pairs.right[rivals])
