"""Find the selected objects, and their parts, in the blocks of an extract."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass
from functools import cache, cached_property, partial
from itertools import chain, islice, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.parallel import cores, on_each
from ingestion_pipeline.core.progress import tracked
from ingestion_pipeline.osm.assemble import AREAL_TYPES, MAX_DEPTH, Elements, Member, Nested
from ingestion_pipeline.sources.pbf import blocks as pbf
from ingestion_pipeline.sources.pbf.block_filter import (
    UNITS_PER_DEGREE,
    BlockFilter,
    Matches,
    Objects,
    Relation,
    TagTable,
    are_in,
    reach,
)
from ingestion_pipeline.sources.pbf.copies import Copies, find_copies
from ingestion_pipeline.sources.pbf.network import Network

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ingestion_pipeline.core.arrays import BoolArray, FloatArray, IntArray
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.selection import Selection
    from ingestion_pipeline.sources.pbf.blocks import Blob

    BlobsByKind = dict[pbf.Kind, Sequence[Blob]]


@dataclass(frozen=True)
class Found:
    """The objects found in a file.

    Attributes:
        elements: The selected objects that may reach one of the areas, or whose position is
            unknown.
        boundaries: The members and the tags of each boundary relation in the file, by its id.
    """

    elements: Elements
    boundaries: Mapping[int, tuple[list[Member], dict[str, str]]]


def find(path: Path, *, areas: Sequence[Area], selection: Selection) -> Found:
    """Find the objects that `extract.read_each` reads.

    Raises:
        NotPbfError: The file is not a complete PBF.
        UnsupportedPbfError: It has an unsupported feature, or contradictory objects.
        IndexError: A number in it has an invalid reference.
        ProcessDied: A process that read a part of it was killed.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        blobs = pbf.data_blobs(file)
        search = _Search(file, areas, selection)
        try:
            search.run(_blobs_by_kind(file, blobs))
        except _NotSorted:
            search = _Search(file, areas, selection, find_copies(file, blobs))
            search.run(dict.fromkeys(pbf.MEMBER_KINDS, blobs))
        return search.result()
    finally:
        os.close(file)


_ORDER: tuple[pbf.Kind, ...] = ("relation", "way", "node")
"""An object's parts are read after all objects that consist of them."""

_NONE = np.empty(0, np.int64)
_WORTH_FORKING = 64
"""The number of blocks of a kind for which several processes pay off; half a million objects."""


_WORTH_KEEPING = 4
"""Up to so many blocks are kept, some MB each; as many as are decompressed ahead."""


class _NotSorted(Exception):
    """An object is not in the order of kinds and ids, or is a copy."""


def _blobs_by_kind(file: int, blobs: Sequence[Blob]) -> BlobsByKind:
    """Return the blocks of each kind, found by reading only some of them.

    Raises:
        _NotSorted: The kinds are not in order.
    """

    @cache
    def ranks(place: int) -> list[int]:
        kinds = pbf.kinds_in(file, blobs[place])
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
    """The state of the passes over a file."""

    def __init__(
        self,
        file: int,
        areas: Sequence[Area],
        selection: Selection,
        copies: Copies | None = None,
    ) -> None:
        """Begin a search; without `copies` the file must be sorted by kind and id."""
        self._file = file
        self._copies = copies
        self._filter = BlockFilter(areas, selection)
        self._table = TagTable()
        self._all: dict[pbf.Kind, Matches] = {kind: Matches() for kind in pbf.MEMBER_KINDS}
        self._kept: dict[Blob, pbf.Block] = {}

    def run(self, blobs: BlobsByKind) -> None:
        """Collect all objects.

        Raises:
            _NotSorted: A block has an unexpected kind, or ids that do not ascend.
        """
        kinds_of: dict[Blob, set[pbf.Kind]] = defaultdict(set)
        for kind, having in blobs.items():
            for blob in having:
                kinds_of[blob].add(kind)
        for kind in _ORDER:
            self._request_parts(kind)
            self._pass(kind, blobs[kind], kinds_of)
            if kind == "relation":
                self._take_nested(blobs[kind], kinds_of)
                self._kept.clear()
            self._require_ascending(kind)

    def _pass(
        self, kind: pbf.Kind, blobs: Sequence[Blob], kinds_of: Mapping[Blob, set[pbf.Kind]]
    ) -> None:
        processes = cores(len(blobs), worth=_WORTH_FORKING)
        shares = [blobs[first::processes] for first in range(processes)]
        known = len(self._table.sets)
        take = partial(self._matches_in, kind, kinds_of)
        for matches, sets in on_each(take, shares, processes=processes):
            self._keep(kind, matches, self._table.places_of(known, sets))

    def _take_nested(self, blobs: Sequence[Blob], kinds_of: Mapping[Blob, set[pbf.Kind]]) -> None:
        """Collect nested relations, and the relations nested in these."""
        every = self._all["relation"]
        asked = set(every.relations)
        for _ in range(MAX_DEPTH):
            members = {
                ref
                for osm_id, relation in every.relations.items()
                if not _is_area(relation, every.relation_tags[osm_id])
                for of, ref in zip(relation.kinds, relation.refs, strict=True)
                if of == "relation"
            }
            missing = np.array(sorted(members - asked), dtype=np.int64)
            if not len(missing):
                return
            asked |= members
            self._filter.nested = missing
            holding = [blob for blob in blobs if are_in(every.relation_ids[blob], missing).any()]
            self._pass("relation", holding, kinds_of)

    def _matches_in(
        self, kind: pbf.Kind, kinds_of: Mapping[Blob, set[pbf.Kind]], blobs: Sequence[Blob]
    ) -> tuple[Matches, list[dict[str, str]]]:
        """Return the objects of one kind in some blocks, and the new sets of tags."""
        matches, known = Matches(), len(self._table.sets)
        for blob, block in self._blocks(kind, blobs):
            if not block.kinds <= kinds_of[blob]:
                raise _NotSorted
            if self._copies is None:
                matches.ids.append((blob.offset, *_ends(block.ids(kind))))
                unused = _NONE
            else:
                unused = self._copies.unused.get((kind, blob), _NONE)
            self._filter.take(kind, block, matches, self._table, unused=unused)
            if kind == "relation" and not len(self._filter.nested):
                matches.relation_ids[blob] = block.ids(kind)
        return matches, self._table.sets[known:]

    def _blocks(self, kind: pbf.Kind, blobs: Sequence[Blob]) -> Iterator[tuple[Blob, pbf.Block]]:
        """Read blocks; those with relations, if they are few, are kept for `_take_nested`."""
        if kind == "relation" and len(blobs) <= _WORTH_KEEPING:
            missing = [blob for blob in blobs if blob not in self._kept]
            self._kept |= zip(missing, pbf.read_blocks(self._file, missing), strict=True)
            yield from ((blob, self._kept[blob]) for blob in blobs)
        else:
            read = zip(blobs, pbf.read_blocks(self._file, blobs), strict=True)
            # Of several processes, this one reports the progress of its own share.
            yield from tracked(read, f"blocks with {kind}s read", total=len(blobs))

    def _keep(self, kind: pbf.Kind, matches: Matches, places: IntArray) -> None:
        every = self._all[kind]
        every.objects += (part._replace(tags=places[part.tags]) for part in matches.objects)
        every.lines += matches.lines
        every.member_tags += ((ids, places[tags]) for ids, tags in matches.member_tags)
        every.places += matches.places
        every.ids += matches.ids
        every.relations |= matches.relations
        every.relation_tags |= matches.relation_tags
        every.relation_ids |= matches.relation_ids

    def _require_ascending(self, kind: pbf.Kind) -> None:
        """Check that the blocks' ids ascend, so that the file has no copies."""
        ends = [(first, last) for _, first, last in sorted(set(self._all[kind].ids))]
        if any(last >= first for (_, last), (first, _) in pairwise(ends)):
            raise _NotSorted

    def _request_parts(self, kind: pbf.Kind) -> None:
        """Set the parts of the next kind to collect."""
        every = self._all["relation"]
        members, shaping = [], []
        for osm_id, relation in every.relations.items():
            refs = [
                ref for of, ref in zip(relation.kinds, relation.refs, strict=True) if of == kind
            ]
            members += refs
            if not _is_area(relation, every.relation_tags[osm_id]):
                shaping += refs
        if kind == "way":
            self._filter.member_ways = pbf.distinct(np.array(members, dtype=np.int64))
            self._filter.shape_ways = pbf.distinct(np.array(shaping, dtype=np.int64))
        elif kind == "node":
            of_ways = [line.refs for line in self._all["way"].lines]
            self._filter.set_nodes(
                pbf.distinct(np.concatenate([np.array(members, dtype=np.int64), *of_ways])),
                self._all["way"].places,
            )

    def result(self) -> Found:
        """Return the objects with their parts, without those that cannot reach any of the areas."""
        lines = Network(self._all["way"].lines, self._filter.refs, _degrees(self._filter.ref_xy))
        ways = _joined(self._all["way"].objects)
        offsets, xy = lines.of(ways.id)
        reaching = self._reaching(xy, offsets)
        way_xy = xy[np.repeat(reaching, np.diff(offsets))]
        way_offsets = np.concatenate([[0], np.cumsum(np.diff(offsets)[reaching])])
        relations = _joined(self._all["relation"].objects)
        members = self._members(relations.id.tolist(), lines)
        nested = self._nested(lines)
        near = self._may_reach(members, nested)
        nodes = _joined(self._all["node"].objects)
        every = self._all["relation"]
        bounding = [each for each in self._filter.boundaries.tolist() if each in every.relations]
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
                nested=nested,
            ),
            boundaries={
                osm_id: (parts, every.relation_tags[osm_id])
                for osm_id, parts in zip(bounding, self._members(bounding, lines), strict=True)
            },
        )

    def _columns(self, kind: pbf.Kind, objects: Objects, rows: Any = slice(None)) -> dict[str, Any]:
        """Return the columns of `Elements` that every kind has."""
        return {
            f"{kind}_id": objects.id[rows],
            f"{kind}_version": objects.version[rows],
            f"{kind}_timestamp": objects.timestamp[rows],
            f"{kind}_tags": TagSets(self._table.sets, objects.tags).take(rows),
        }

    def _members(self, ids: Sequence[int], lines: Network) -> list[list[Member]]:
        """Return the members of relations."""
        relations = [self._all["relation"].relations[osm_id] for osm_id in ids]
        kinds, refs, roles = (
            [each for relation in relations for each in getattr(relation, column)]
            for column in ("kinds", "refs", "roles")
        )
        own = self._tags_of_ways
        tags = [
            own.get(ref) if kind == "way" else None for kind, ref in zip(kinds, refs, strict=True)
        ]
        every = map(Member, kinds, refs, roles, lines.of_members(kinds, refs), tags)
        return [list(islice(every, len(relation.refs))) for relation in relations]

    @cached_property
    def _tags_of_ways(self) -> dict[int, dict[str, str]]:
        """The tags of closed ways whose own tags determine their shape, by id."""
        return {
            osm_id: self._table.sets[place]
            for ids, places in self._all["way"].member_tags
            for osm_id, place in zip(ids.tolist(), places.tolist(), strict=True)
        }

    def _nested(self, lines: Network) -> dict[int, Nested]:
        """Return the nested relations."""
        every = self._all["relation"]
        nested = sorted(
            {
                ref
                for relation in every.relations.values()
                for kind, ref in zip(relation.kinds, relation.refs, strict=True)
                if kind == "relation" and ref in every.relations
            }
        )
        return {
            osm_id: Nested(every.relation_tags[osm_id].get("type"), members)
            for osm_id, members in zip(nested, self._members(nested, lines), strict=True)
        }

    def _reaching(self, xy: FloatArray, offsets: IntArray) -> BoolArray:
        """Return which lines may reach an area, by the bounds of their known nodes."""
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
        reaching[filled] = np.isinf(low[:, 0])  # no known node
        for area in self._filter.areas:
            reaching[filled] |= reach(low, high, area.bbox, units=1)
        return reaching

    def _may_reach(
        self, relations: Sequence[Sequence[Member]], nested: Mapping[int, Nested]
    ) -> BoolArray:
        """Return which relations may reach an area, themselves or through a nested relation."""
        known, near = self._near(relations)
        if nested and not near.all():
            parts = [each.members for each in nested.values()]
            refs = [_relations_among(members) for members in relations]
            refs_of = {osm_id: _relations_among(each.members) for osm_id, each in nested.items()}
            for flags, of_parts in zip((known, near), self._near(parts), strict=True):
                having = {osm_id for osm_id, has in zip(nested, of_parts, strict=True) if has}
                for _ in range(MAX_DEPTH - 1):
                    having |= {
                        osm_id for osm_id, inner in refs_of.items() if not having.isdisjoint(inner)
                    }
                flags |= [not having.isdisjoint(inner) for inner in refs]
        return near | ~known

    def _near(self, relations: Sequence[Sequence[Member]]) -> tuple[BoolArray, BoolArray]:
        """Return which relations have a member of known position, and which reach an area."""
        places = [
            [member.xy for member in members if member.xy is not None] for members in relations
        ]
        sizes = [sum(map(len, lines)) for lines in places]
        xy = np.concatenate([np.empty((0, 2)), *chain.from_iterable(places)])
        known = np.array(sizes, dtype=np.int64) > 0
        return known, known & self._reaching(xy, np.cumsum([0, *sizes]))


def _relations_among(members: Sequence[Member]) -> list[int]:
    """Return the ids of the relations among members."""
    return [member.ref for member in members if member.type == "relation"]


def _is_area(relation: Relation, tags: Mapping[str, str]) -> bool:
    """Return whether a relation is the area that its ways enclose."""
    return tags.get("type") in AREAL_TYPES and "way" in relation.kinds


def _ends(ids: IntArray) -> tuple[int, int]:
    """Return the first and the last id.

    Raises:
        _NotSorted: They do not ascend, or there are none.
    """
    if not len(ids) or (np.diff(ids) <= 0).any():
        raise _NotSorted
    return int(ids[0]), int(ids[-1])


def _degrees(xy: npt.NDArray[np.int32]) -> FloatArray:
    """Return positions in degrees, NaN where unknown."""
    degrees = xy / UNITS_PER_DEGREE
    degrees[xy == pbf.UNKNOWN] = np.nan
    return degrees


def _joined(parts: Sequence[Objects]) -> Objects:
    """Return objects of one kind together, in ascending order of id."""
    if not parts:
        nothing = np.empty(0, np.int64)
        moments = np.empty(0, "datetime64[s]")
        return Objects(nothing, nothing, moments, nothing, np.empty((0, 2), np.int64))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return Objects(*(column[order] for column in columns))
