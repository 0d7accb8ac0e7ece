"""Positions of ways and nodes of an extract, by id."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingestion_pipeline.sources.pbf import blocks as pbf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.core.arrays import BoolArray, FloatArray, IntArray


class Lines(NamedTuple):
    """The nodes of ways: those of way i are `refs[offsets[i]:offsets[i + 1]]`."""

    id: IntArray
    offsets: IntArray
    refs: IntArray

    def closed(self) -> BoolArray:
        """Return which ways end at the node at which they begin."""
        starts, ends = self.offsets[:-1], self.offsets[1:]
        closed: BoolArray = ends - starts > 1
        closed[closed] = self.refs[starts[closed]] == self.refs[ends[closed] - 1]
        return closed


class Network:
    """The lines of ways and the positions of nodes that are collected."""

    def __init__(self, lines: Sequence[Lines], refs: IntArray, xy: FloatArray) -> None:
        """Join the parts of blocks.

        Args:
            lines: Ways, in any order.
            refs: (n,) ids of nodes, ascending.
            xy: (n, 2) their degrees; NaN where unknown.
        """
        self._refs = refs
        self._xy = xy
        ids = np.concatenate([np.empty(0, np.int64), *(part.id for part in lines)])
        self._order = np.argsort(ids, kind="stable")
        self._id = ids[self._order]
        sizes = np.concatenate([np.empty(0, np.int64), *(np.diff(part.offsets) for part in lines)])
        self._nodes = np.concatenate([np.empty(0, np.int64), *(part.refs for part in lines)])
        stops = np.cumsum(sizes)
        self._spans = np.column_stack([stops - sizes, stops])[self._order]

    def of(self, ids: IntArray) -> tuple[IntArray, FloatArray]:
        """Return the lines of ways: the offsets, and (k, 2) degrees of all their nodes."""
        return self._lines(np.searchsorted(self._id, ids))

    def closed(self, ids: IntArray) -> BoolArray:
        """Return which ways end at the node at which they begin."""
        spans = self._spans[np.searchsorted(self._id, ids)]
        closed: BoolArray = spans[:, 1] - spans[:, 0] > 1
        several = spans[closed]
        closed[closed] = self._nodes[several[:, 0]] == self._nodes[several[:, 1] - 1]
        return closed

    def of_members(self, kinds: Sequence[pbf.Kind], refs: Sequence[int]) -> list[FloatArray | None]:
        """Return the degrees of the nodes of members; None where the file has none of them.

        Args:
            kinds: The kinds of the members; relations have no positions.
            refs: Their ids.
        """
        found: list[FloatArray | None] = [None] * len(kinds)
        rows, places = _among(self._id, kinds, refs, "way")
        offsets, xy = self._lines(places)
        for row, start, stop in zip(
            rows.tolist(), offsets[:-1].tolist(), offsets[1:].tolist(), strict=True
        ):
            found[row] = xy[start:stop]
        rows, places = _among(self._refs, kinds, refs, "node")
        xy = self._xy[places]
        for place in np.flatnonzero(~np.isnan(xy).any(axis=1)).tolist():
            found[rows[place]] = xy[place : place + 1]
        return found

    def _lines(self, places: IntArray) -> tuple[IntArray, FloatArray]:
        spans = self._spans[places]
        offsets = np.concatenate([[0], np.cumsum(spans[:, 1] - spans[:, 0])])
        return offsets, self._xy[np.searchsorted(self._refs, self._nodes[pbf.together(spans)])]


def _among(
    ids: IntArray, kinds: Sequence[pbf.Kind], refs: Sequence[int], kind_of_refs: pbf.Kind
) -> tuple[IntArray, IntArray]:
    """Return the rows of known members of a kind, and their positions in `ids`, ascending."""
    of_kind = [row for row, kind in enumerate(kinds) if kind == kind_of_refs]
    rows = np.array(of_kind, dtype=np.int64)
    asked = np.array([refs[row] for row in of_kind], dtype=np.int64)
    places = np.searchsorted(ids, asked)
    known = places < len(ids)
    known[known] = ids[places[known]] == asked[known]
    return rows[known], places[known]
