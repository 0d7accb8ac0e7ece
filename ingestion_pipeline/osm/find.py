"""Finding selected objects, and what they are made of, in the blocks of an extract.

Belongs here: which objects of a file are wanted, and where their parts are. Does not belong here:
the format (`pbf.py`), geometry (`assemble.py`), and areas' boundaries (`extract.py`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ingestion_pipeline.osm import pbf
from ingestion_pipeline.osm.assemble import Elements, Member
from ingestion_pipeline.osm.selection import values_of
from ingestion_pipeline.osm.tag_sets import TagSets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from ingestion_pipeline.osm.acquire import Area, Bbox
    from ingestion_pipeline.osm.assemble import BoolArray, FloatArray, IntArray, TimeArray
    from ingestion_pipeline.osm.selection import Selection

FIRST_YEAR = 2004
"""The year in which OpenStreetMap began. Files without metadata carry timestamps of 1970."""

_UNITS_PER_DEGREE = 10_000_000
_WAY_REFS = 8
_ROLES, _MEMBERS, _MEMBER_KINDS = 8, 9, 10
_PAIR_BYTES = 8


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
    """
    file = os.open(path, os.O_RDONLY)
    try:
        blobs = pbf.data_blobs(file)
        search = _Search(areas, _Chooser(selection))
        if not search.whole(pbf.read_blocks(file, reversed(blobs))):
            search = _Search(areas, _Chooser(selection))
            for kind in _ORDER:
                search.only(kind, pbf.read_blocks(file, blobs))
        return search.result()
    finally:
        os.close(file)


_ORDER: tuple[pbf.Kind, ...] = ("relation", "way", "node")
"""An object's parts are asked for only when all that is made of them is known."""


class _Chooser:
    """A selection, ready to be asked about the strings of a block."""

    def __init__(self, selection: Selection) -> None:
        # One bit for each closed key; for a value, the bits of the keys that select with it.
        key_bits: dict[str, int] = {}
        value_bits: dict[str, int] = {}
        for place, (key, values) in enumerate(selection.closed_tags.items()):
            key_bits[key] = 1 << place
            for value in values:
                value_bits[value] = value_bits.get(value, 0) | 1 << place
        words = dict.fromkeys((*selection.any_value_keys, *key_bits, *value_bits))
        self._number = {word.encode(): number for number, word in enumerate(words, start=1)}
        self._is_open = np.array([False, *(word in selection.any_value_keys for word in words)])
        self._key_bits = np.array([0, *(key_bits.get(word, 0) for word in words)])
        self._value_bits = np.array([0, *(value_bits.get(word, 0) for word in words)])
        self._in_lists = selection.in_lists

    def rows(self, tags: pbf.Tags, strings: Sequence[bytes]) -> IntArray:
        """Give the places of the objects that are selected."""
        if not len(tags.keys):
            return np.empty(0, np.int64)
        # 0 for the many strings that no selection names
        word = np.fromiter(map(self._number.get, strings, repeat(0)), np.int64, len(strings))
        value_bits = self._value_bits[word]
        if self._in_lists:
            for place, text in enumerate(strings):
                if b";" in text:
                    listed = (value.encode() for value in values_of(text.decode()))
                    for value in listed:
                        value_bits[place] |= self._value_bits[self._number.get(value, 0)]
        key = word[tags.keys]
        hit = self._is_open[key] | (self._key_bits[key] & value_bits[tags.values] != 0)
        return np.unique(tags.owner[hit])


class _Objects(NamedTuple):
    """Objects of one kind, column by column.

    Attributes:
        id: (n,).
        version: (n,) 0 where the file does not say.
        timestamp: (n,) UTC; NaT where the file does not say.
        tags: (n,) the places of their tags in the search's sets.
        xy: (n, 2) lon and lat of nodes in 1e-7 degrees; (n, 0) for others.
    """

    id: IntArray
    version: IntArray
    timestamp: TimeArray
    tags: IntArray
    xy: IntArray


class _Lines(NamedTuple):
    """The nodes of ways: those of way i are `refs[offsets[i]:offsets[i + 1]]`."""

    id: IntArray
    offsets: IntArray
    refs: IntArray


@dataclass
class _Relation:
    """A relation's members, before anything is known of their places."""

    kinds: list[pbf.Kind]
    refs: list[int]
    roles: list[str]


@dataclass
class _Search:
    """What the passes over a file collect."""

    areas: Sequence[Area]
    chooser: _Chooser
    relations: list[_Objects] = field(default_factory=list)
    members: dict[int, _Relation] = field(default_factory=dict)
    boundary_tags: dict[int, dict[str, str]] = field(default_factory=dict)
    ways: list[_Objects] = field(default_factory=list)
    lines: list[_Lines] = field(default_factory=list)
    nodes: list[_Objects] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._texts: dict[bytes, str] = {}
        self._sets: list[dict[str, str]] = []
        self._place: dict[tuple[str, ...], int] = {}
        self._boundaries = np.array(
            [area.boundary_relation for area in self.areas if area.boundary_relation is not None],
            dtype=np.int64,
        )
        self._member_ways = np.empty(0, np.int64)
        self._refs = np.empty(0, np.int64)
        self._ref_xy = np.empty((0, 2), np.int64)

    def whole(self, blocks: Iterable[pbf.Block]) -> bool:
        """Take everything from blocks in the order of `_ORDER`.

        Returns:
            Whether they were in that order; otherwise something may be missing.
        """
        reached = -1
        for block in blocks:
            for place, kind in enumerate(_ORDER):
                if not getattr(block, f"{kind}s"):
                    continue
                if place < reached:
                    return False
                if place > reached:
                    self._begin(_ORDER[reached + 1 : place + 1])
                    reached = place
                self._take(kind, block)
        self._begin(_ORDER[reached + 1 :])
        return True

    def only(self, kind: pbf.Kind, blocks: Iterable[pbf.Block]) -> None:
        """Take one kind from blocks in any order; the kinds follow each other as in `_ORDER`."""
        self._begin([kind])
        for block in blocks:
            self._take(kind, block)

    def _begin(self, kinds: Iterable[pbf.Kind]) -> None:
        """Work out which parts are wanted of the kinds that come now."""
        for kind in kinds:
            members = [
                ref
                for relation in self.members.values()
                for of, ref in zip(relation.kinds, relation.refs, strict=True)
                if of == kind
            ]
            if kind == "way":
                self._member_ways = np.unique(np.array(members, dtype=np.int64))
            elif kind == "node":
                refs = [np.array(members, dtype=np.int64), *(line.refs for line in self.lines)]
                self._refs = np.unique(np.concatenate(refs))
                self._ref_xy = np.full((len(self._refs), 2), _UNKNOWN, np.int64)

    def _take(self, kind: pbf.Kind, block: pbf.Block) -> None:
        if kind == "relation":
            for relations in block.relations:
                self._take_relations(relations, block.strings)
        elif kind == "way":
            for ways in block.ways:
                self._take_ways(ways, block.strings)
        else:
            for nodes in block.nodes:
                self._take_nodes(nodes, block.strings)

    def _take_relations(self, relations: pbf.Messages, strings: Sequence[bytes]) -> None:
        selected = self.chooser.rows(relations.tags, strings)
        bounding = np.flatnonzero(np.isin(relations.id, self._boundaries))
        if len(selected):
            self.relations.append(self._objects(relations, relations.id, selected, strings))
        tags_of = self._tags(relations.tags, bounding, strings).tolist()
        for osm_id, place in zip(relations.id[bounding].tolist(), tags_of, strict=True):
            self.boundary_tags[osm_id] = self._sets[place]
        wanted = np.union1d(selected, bounding)
        roles, offsets = relations.packed(_ROLES, wanted)
        refs, _ = relations.deltas(_MEMBERS, wanted)
        kinds, _ = relations.packed(_MEMBER_KINDS, wanted)
        for osm_id, (start, stop) in zip(
            relations.id[wanted].tolist(), _spans(offsets), strict=True
        ):
            self.members[osm_id] = _Relation(
                kinds=[pbf.MEMBER_KINDS[kind] for kind in kinds[start:stop].tolist()],
                refs=refs[start:stop].tolist(),
                roles=[self._text(strings[role]) for role in roles[start:stop].tolist()],
            )

    def _take_ways(self, ways: pbf.Messages, strings: Sequence[bytes]) -> None:
        selected = self.chooser.rows(ways.tags, strings)
        if len(selected):
            self.ways.append(self._objects(ways, ways.id, selected, strings))
        wanted = np.union1d(selected, np.flatnonzero(_are_in(ways.id, self._member_ways)))
        if len(wanted):
            refs, offsets = ways.deltas(_WAY_REFS, wanted)
            self.lines.append(_Lines(ways.id[wanted], offsets, refs))

    def _take_nodes(self, nodes: pbf.Dense | pbf.Messages, strings: Sequence[bytes]) -> None:
        ids = nodes.id if isinstance(nodes, pbf.Dense) else nodes.node_id
        selected = self.chooser.rows(nodes.tags, strings)
        if len(selected):
            near = np.zeros(len(selected), np.bool_)
            xy = nodes.xy[selected]
            for area in self.areas:
                near |= _reach(xy, xy, area.bbox)
            selected = selected[near]
        if len(selected):
            self.nodes.append(self._objects(nodes, ids, selected, strings, nodes.xy[selected]))
        low, high = np.searchsorted(self._refs, [ids.min(), ids.max() + 1]) if len(ids) else (0, 0)
        if low < high:
            order = np.argsort(ids, kind="stable")
            sorted_ids, asked = ids[order], self._refs[low:high]
            place = np.searchsorted(sorted_ids, asked)
            place[place == len(ids)] = 0
            known = sorted_ids[place] == asked
            xy = nodes.xy[order[place[known]]]
            # To what a node is part of, a place that does not exist is none.
            on_earth = (np.abs(xy) <= _LIMITS).all(axis=1)
            self._ref_xy[low:high][known] = np.where(on_earth[:, np.newaxis], xy, _UNKNOWN)

    def _objects(
        self,
        stored: pbf.Dense | pbf.Messages,
        ids: IntArray,
        rows: IntArray,
        strings: Sequence[bytes],
        xy: IntArray | None = None,
    ) -> _Objects:
        version, timestamp = stored.versions(rows)
        timestamp[timestamp < np.datetime64(f"{FIRST_YEAR}-01-01")] = np.datetime64("NaT")
        places = self._tags(stored.tags, rows, strings)
        nowhere = np.empty((len(rows), 0), np.int64)
        return _Objects(ids[rows], version, timestamp, places, nowhere if xy is None else xy)

    def _tags(self, tags: pbf.Tags, rows: IntArray, strings: Sequence[bytes]) -> IntArray:
        """Find the tags of some objects; give their places in `self._sets`."""
        bounds = np.searchsorted(tags.owner, np.column_stack([rows, rows + 1]))
        wanted = pbf.together(bounds)
        said = np.column_stack([tags.keys[wanted], tags.values[wanted]]).astype(np.int32)
        used, place = np.unique(said, return_inverse=True)
        texts = np.array([self._text(strings[number]) for number in used.tolist()], dtype=object)
        keys, values = texts[place.reshape(-1, 2)].T.tolist()
        raw = said.tobytes()
        known: dict[bytes, int] = {}
        found: list[int] = []
        start = 0
        for size in (bounds[:, 1] - bounds[:, 0]).tolist():
            stop = start + size
            pairs = raw[start * _PAIR_BYTES : stop * _PAIR_BYTES]
            if pairs not in known:
                known[pairs] = self._set(keys[start:stop], values[start:stop])
            found.append(known[pairs])
            start = stop
        return np.array(found, dtype=np.int64)

    def _set(self, keys: list[str], values: list[str]) -> int:
        """Hold a set of tags, if it is not held; give its place."""
        place = self._place.setdefault((*keys, *values), len(self._sets))
        if place == len(self._sets):
            self._sets.append(dict(zip(keys, values, strict=True)))
        return place

    def _text(self, raw: bytes) -> str:
        text = self._texts.get(raw)
        if text is None:
            text = self._texts[raw] = raw.decode()
        return text

    def result(self) -> Found:
        """Put the parts together; leave out what cannot reach any of the areas."""
        lines = _Network(self.lines, self._refs, _degrees(self._ref_xy))
        ways = _joined(self.ways)
        offsets, xy = lines.of(ways.id)
        reaching = self._reaching(xy, offsets)
        way_xy = xy[np.repeat(reaching, np.diff(offsets))]
        way_offsets = np.concatenate([[0], np.cumsum(np.diff(offsets)[reaching])])
        relations = _joined(self.relations)
        members = [self._members(osm_id, lines) for osm_id in relations.id.tolist()]
        near = np.array([self._may_reach(parts) for parts in members], dtype=np.bool_)
        nodes = _joined(self.nodes)
        return Found(
            elements=Elements(
                **self._columns("node", nodes),
                node_xy=_degrees(nodes.xy),
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
                osm_id: (self._members(osm_id, lines), tags)
                for osm_id, tags in self.boundary_tags.items()
            },
        )

    def _columns(
        self, kind: pbf.Kind, objects: _Objects, rows: Any = slice(None)
    ) -> dict[str, Any]:
        """Give the columns of `Elements` that every kind has."""
        return {
            f"{kind}_id": objects.id[rows],
            f"{kind}_version": objects.version[rows],
            f"{kind}_timestamp": objects.timestamp[rows],
            f"{kind}_tags": TagSets(self._sets, objects.tags).take(rows),
        }

    def _members(self, osm_id: int, lines: _Network) -> list[Member]:
        relation = self.members[osm_id]
        return [
            Member(type=kind, ref=ref, role=role, xy=lines.xy(kind, ref))
            for kind, ref, role in zip(relation.kinds, relation.refs, relation.roles, strict=True)
        ]

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
        for area in self.areas:
            reaching[filled] |= _reach(low, high, area.bbox, units=1)
        return reaching

    def _may_reach(self, members: Sequence[Member]) -> bool:
        xy = [np.empty((0, 2)), *(member.xy for member in members if member.xy is not None)]
        together = np.concatenate(xy)
        return bool(self._reaching(together, np.array([0, len(together)]))[0])


_UNKNOWN = np.iinfo(np.int64).max
_LIMITS = np.array([180, 90]) * _UNITS_PER_DEGREE


def _degrees(xy: IntArray) -> FloatArray:
    """Give positions in degrees, NaN where they are not known."""
    degrees = xy / _UNITS_PER_DEGREE
    degrees[xy == _UNKNOWN] = np.nan
    return degrees


def _reach(
    low: npt.NDArray[Any], high: npt.NDArray[Any], bbox: Bbox, *, units: int = _UNITS_PER_DEGREE
) -> BoolArray:
    """Tell which bounds have a point in common with a bbox, or are not on Earth."""
    west, south, east, north = (side * units for side in bbox)
    inside = (
        (low[:, 0] <= east) & (high[:, 0] >= west) & (low[:, 1] <= north) & (high[:, 1] >= south)
    )
    limit = np.array([180.0, 90.0]) * units
    reach: BoolArray = inside | ~((low >= -limit) & (high <= limit)).all(axis=1)
    return reach


def _are_in(values: IntArray, wanted: IntArray) -> BoolArray:
    """Tell which values are among sorted ones."""
    if not len(wanted):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(wanted, values), len(wanted) - 1)
    among: BoolArray = wanted[place] == values
    return among


def _spans(offsets: IntArray) -> Iterator[tuple[int, int]]:
    return zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)


def _joined(parts: Sequence[_Objects]) -> _Objects:
    """Put objects of one kind together, in ascending order of id."""
    if not parts:
        nothing = np.empty(0, np.int64)
        moments = np.empty(0, "datetime64[s]")
        return _Objects(nothing, nothing, moments, nothing, np.empty((0, 2), np.int64))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    return _Objects(*(column[order] for column in columns))


class _Network:
    """The lines of ways and the positions of nodes that are wanted.

    Attributes are private; asked by id.
    """

    def __init__(self, lines: Sequence[_Lines], refs: IntArray, xy: FloatArray) -> None:
        """Join what blocks had.

        Args:
            lines: Ways, in any order.
            refs: (n,) ids of nodes, ascending.
            xy: (n, 2) their degrees; NaN where they are not known.
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
        """Give the lines of ways: the offsets, and (k, 2) degrees of all their nodes."""
        spans = self._spans[np.searchsorted(self._id, ids)]
        sizes = spans[:, 1] - spans[:, 0]
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        nodes = self._nodes[pbf.together(spans)]
        return offsets, self._xy[np.searchsorted(self._refs, nodes)]

    def closed(self, ids: IntArray) -> BoolArray:
        """Tell which ways end at the node at which they begin."""
        spans = self._spans[np.searchsorted(self._id, ids)]
        closed: BoolArray = spans[:, 1] - spans[:, 0] > 1
        several = spans[closed]
        closed[closed] = self._nodes[several[:, 0]] == self._nodes[several[:, 1] - 1]
        return closed

    def xy(self, kind: pbf.Kind, ref: int) -> FloatArray | None:
        """Give the degrees of a member's nodes; None where the file has nothing of it."""
        if kind == "way":
            place = int(np.searchsorted(self._id, ref))
            if place == len(self._id) or self._id[place] != ref:
                return None
            start, stop = self._spans[place]
            return self._xy[np.searchsorted(self._refs, self._nodes[start:stop])]
        if kind == "node":
            place = int(np.searchsorted(self._refs, ref))
            if place < len(self._refs) and self._refs[place] == ref:
                known = self._xy[place : place + 1]
                return None if np.isnan(known).any() else known
        return None
