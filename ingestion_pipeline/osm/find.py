"""Finding selected objects, and what they are made of, in the blocks of an extract.

Belongs here: which blocks are read, in which order and by whom, and what is found in the end. Does
not belong here: the format (`pbf.py`), what is wanted of a block (`wanted.py`), geometry
(`assemble.py`), and areas' boundaries (`extract.py`).
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.cores import cores, on_each
from ingestion_pipeline.osm import pbf
from ingestion_pipeline.osm.assemble import Elements, Member
from ingestion_pipeline.osm.network import Network
from ingestion_pipeline.osm.tag_sets import TagSets
from ingestion_pipeline.osm.wanted import (
    UNITS_PER_DEGREE,
    UNKNOWN,
    Objects,
    TagTable,
    Taken,
    Wanted,
    reach,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ingestion_pipeline.osm.acquire import Area
    from ingestion_pipeline.osm.assemble import BoolArray, FloatArray, IntArray
    from ingestion_pipeline.osm.pbf import Blob
    from ingestion_pipeline.osm.selection import Selection

    BlobsByKind = dict[pbf.Kind, Sequence[Blob]]


@dataclass(frozen=True)
class Found:
    """What was found in a file.

    Attributes:
        elements: The selected objects that may reach one of the areas, or of which nothing is
            known that could tell.
        boundaries: The members and the tags of each boundary relation, by its id; without those
            that the file lacks.
    """

    elements: Elements
    boundaries: Mapping[int, tuple[list[Member], dict[str, str]]]


def find(path: Path, *, areas: Sequence[Area], selection: Selection) -> Found:
    """Pass over a file as told in `extract.read_each`.

    Raises:
        NotPbfError: The file is no whole PBF.
        IndexError: A number in it refers to nothing.
        UnicodeDecodeError: A text is no UTF-8.
        ProcessDied: A process that read a part of it was killed.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        blobs = pbf.data_blobs(file)
        search = _Search(file, areas, selection)
        try:
            search.run(_blobs_by_kind(file, blobs))
        except _NotSorted:
            search = _Search(file, areas, selection)
            search.run(dict.fromkeys(pbf.MEMBER_KINDS, blobs))
        return search.result()
    finally:
        os.close(file)


_ORDER: tuple[pbf.Kind, ...] = ("relation", "way", "node")
"""An object's parts are asked for only when all that is made of them is known."""

_WORTH_FORKING = 64
"""From so many blocks of a kind on, several processes read them; half a million objects."""


class _NotSorted(Exception):
    """A block is not where the order of kinds would have it."""


def _blobs_by_kind(file: int, blobs: Sequence[Blob]) -> BlobsByKind:
    """Tell which blocks have which kind, by looking into a few.

    Raises:
        _NotSorted: The kinds do not follow each other.
    """

    @cache
    def ranks(place: int) -> list[int]:
        kinds = pbf.kinds_in(pbf.unpacked(file, blobs[place]))
        if not kinds:
            raise _NotSorted
        return [pbf.MEMBER_KINDS.index(kind) for kind in kinds]

    places = range(len(blobs))
    found: BlobsByKind = {}
    end = 0
    for rank, kind in enumerate(pbf.MEMBER_KINDS):
        start = bisect_left(places, rank, key=lambda place: max(ranks(place)))
        if start > end:
            raise _NotSorted
        end = bisect_right(places, rank, key=lambda place: min(ranks(place)))
        found[kind] = blobs[start:end]
    return found


class _Search:
    """What the passes over a file collect."""

    def __init__(self, file: int, areas: Sequence[Area], selection: Selection) -> None:
        self._file = file
        self._wanted = Wanted(areas, selection)
        self._table = TagTable()
        self._all: dict[pbf.Kind, Taken] = {kind: Taken() for kind in pbf.MEMBER_KINDS}

    def run(self, blobs: BlobsByKind) -> None:
        """Take everything that is wanted.

        Raises:
            _NotSorted: A block has a kind of which it is not said to have it.
        """
        kinds_of: dict[Blob, set[pbf.Kind]] = defaultdict(set)
        for kind, having in blobs.items():
            for blob in having:
                kinds_of[blob].add(kind)
        for kind in _ORDER:
            self._want(kind)
            processes = cores(len(blobs[kind]), worth=_WORTH_FORKING)
            shares = [blobs[kind][first::processes] for first in range(processes)]
            known = len(self._table.sets)
            take = partial(self._taken, kind, kinds_of)
            for taken, sets in on_each(take, shares, processes=processes):
                self._keep(kind, taken, self._table.places_of(known, sets))

    def _taken(
        self, kind: pbf.Kind, kinds_of: Mapping[Blob, set[pbf.Kind]], blobs: Sequence[Blob]
    ) -> tuple[Taken, list[dict[str, str]]]:
        """Take one kind out of some blocks; also give the sets of tags that were not known."""
        taken, known = Taken(), len(self._table.sets)
        for blob, block in zip(blobs, pbf.read_blocks(self._file, blobs), strict=True):
            if not block.kinds <= kinds_of[blob]:
                raise _NotSorted
            self._wanted.take(kind, block, taken, self._table)
        return taken, self._table.sets[known:]

    def _keep(self, kind: pbf.Kind, taken: Taken, places: IntArray) -> None:
        every = self._all[kind]
        every.objects += (part._replace(tags=places[part.tags]) for part in taken.objects)
        every.lines += taken.lines
        every.relations |= taken.relations
        every.boundary_tags |= taken.boundary_tags

    def _want(self, kind: pbf.Kind) -> None:
        """Work out which parts are wanted of the kind that comes now."""
        members = [
            ref
            for relation in self._all["relation"].relations.values()
            for of, ref in zip(relation.kinds, relation.refs, strict=True)
            if of == kind
        ]
        if kind == "way":
            self._wanted.member_ways = pbf.distinct(np.array(members, dtype=np.int64))
        elif kind == "node":
            refs = [line.refs for line in self._all["way"].lines]
            self._wanted.want_nodes(
                pbf.distinct(np.concatenate([np.array(members, dtype=np.int64), *refs]))
            )

    def result(self) -> Found:
        """Put the parts together; leave out what cannot reach any of the areas."""
        lines = Network(self._all["way"].lines, self._wanted.refs, _degrees(self._wanted.ref_xy))
        ways = _joined(self._all["way"].objects)
        offsets, xy = lines.of(ways.id)
        reaching = self._reaching(xy, offsets)
        way_xy = xy[np.repeat(reaching, np.diff(offsets))]
        way_offsets = np.concatenate([[0], np.cumsum(np.diff(offsets)[reaching])])
        relations = _joined(self._all["relation"].objects)
        members = self._members(relations.id.tolist(), lines)
        near = self._may_reach(members)
        nodes = _joined(self._all["node"].objects)
        boundary_tags = self._all["relation"].boundary_tags
        return Found(
            elements=Elements(
                **self._columns("node", nodes),
                node_xy=nodes.xy / UNITS_PER_DEGREE,
                **self._columns("way", ways, reaching),
                way_offsets=way_offsets,
                way_xy=way_xy,
                way_closed=lines.closed(ways.id[reaching]),
                **self._columns("relation", relations, near),
                relation_members=[
                    parts for parts, keep in zip(members, near.tolist(), strict=True) if keep
                ],
            ),
            boundaries={
                osm_id: (parts, boundary_tags[osm_id])
                for osm_id, parts in zip(
                    boundary_tags, self._members(list(boundary_tags), lines), strict=True
                )
            },
        )

    def _columns(self, kind: pbf.Kind, objects: Objects, rows: Any = slice(None)) -> dict[str, Any]:
        """Give the columns of `Elements` that every kind has."""
        return {
            f"{kind}_id": objects.id[rows],
            f"{kind}_version": objects.version[rows],
            f"{kind}_timestamp": objects.timestamp[rows],
            f"{kind}_tags": TagSets(self._table.sets, objects.tags).take(rows),
        }

    def _members(self, ids: Sequence[int], lines: Network) -> list[list[Member]]:
        """Give the members of relations."""
        relations = [self._all["relation"].relations[osm_id] for osm_id in ids]
        kinds, refs, roles = (
            [each for relation in relations for each in getattr(relation, column)]
            for column in ("kinds", "refs", "roles")
        )
        every = map(Member, kinds, refs, roles, lines.of_members(kinds, refs))
        return [list(islice(every, len(relation.refs))) for relation in relations]

    def _reaching(self, xy: FloatArray, offsets: IntArray) -> BoolArray:
        """Tell which lines may reach an area: by the bounds of what is known of them."""
        filled = offsets[:-1] < offsets[1:]
        unknown: BoolArray = np.asarray(np.isnan(xy).any(axis=1))
        starts = offsets[:-1][filled]
        reaching = np.ones(len(offsets) - 1, np.bool_)
        if not len(starts):
            return reaching
        low: FloatArray = np.minimum.reduceat(
            np.where(unknown[:, np.newaxis], np.inf, xy), starts, axis=0
        )
        high: FloatArray = np.maximum.reduceat(
            np.where(unknown[:, np.newaxis], -np.inf, xy), starts, axis=0
        )
        reaching[filled] = np.isinf(low[:, 0])  # nothing is known of it
        for area in self._wanted.areas:
            reaching[filled] |= reach(low, high, area.bbox, units=1)
        return reaching

    def _may_reach(self, relations: Sequence[Sequence[Member]]) -> BoolArray:
        known = [
            [member.xy for member in members if member.xy is not None] for members in relations
        ]
        sizes = [sum(map(len, lines)) for lines in known]
        xy = np.concatenate([np.empty((0, 2)), *chain.from_iterable(known)])
        return self._reaching(xy, np.cumsum([0, *sizes]))


def _degrees(xy: npt.NDArray[np.int32]) -> FloatArray:
    """Give positions in degrees, NaN where they are not known."""
    degrees = xy / UNITS_PER_DEGREE
    degrees[xy == UNKNOWN] = np.nan
    return degrees


def _joined(parts: Sequence[Objects]) -> Objects:
    """Put objects of one kind together, in ascending order of id."""
    if not parts:
        nothing = np.empty(0, np.int64)
        moments = np.empty(0, "datetime64[s]")
        return Objects(nothing, nothing, moments, nothing, np.empty((0, 2), np.int64))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Objects(*(column[order] for column in columns))
