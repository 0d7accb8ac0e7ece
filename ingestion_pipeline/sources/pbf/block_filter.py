"""Filters of blocks: find selected objects and their parts, and collect them as columns."""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ingestion_pipeline.core.characters import decoded, storable
from ingestion_pipeline.sources.pbf import blocks as pbf
from ingestion_pipeline.sources.pbf.network import Lines
from ingestion_pipeline.text.value_lists import folded_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from ingestion_pipeline.core.arrays import BoolArray, IntArray, TimeArray
    from ingestion_pipeline.core.geo import Bbox
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.selection import Selection


FIRST_YEAR = 2004
"""The year in which OpenStreetMap began. Files without metadata have timestamps of 1970."""

UNITS_PER_DEGREE = 10_000_000
_LIMITS = np.array([180, 90]) * UNITS_PER_DEGREE
_PAIR_BYTES = 8
_NONE = np.empty(0, np.int64)
_ANY, _OF_A_WORD = 1, 2
"""The bits of a key that selects with any value, and of one that may select with another tag."""


class TagMatcher:
    """A selection compiled for the tags of a block."""

    def __init__(self, selection: Selection) -> None:
        """Assign to each key of the selection the bits of the values with which it selects."""
        self._selection = selection
        # One bit for any value, one for the value of a lifecycle word, one for each closed key.
        self._key_bits: dict[bytes, int] = {
            **dict.fromkeys(map(str.encode, selection.any_value_keys), _ANY),
            **dict.fromkeys(map(str.encode, selection.words), _OF_A_WORD),
        }
        self._value_bits: dict[str, int] = {}
        for place, (key, values) in enumerate(selection.closed_tags.items(), start=2):
            for name in (key, *(f"{prefix}:{key}" for prefix in selection.prefixes)):
                self._key_bits[name.encode()] = 1 << place
            for value in values:
                self._value_bits[value] = self._value_bits.get(value, _OF_A_WORD) | 1 << place
        self._bits_of: dict[bytes, int] = {}

    def rows(self, tags: pbf.Tags, strings: Sequence[bytes]) -> IntArray:
        """Return the rows of the selected objects."""
        if not len(tags.keys):
            return np.empty(0, np.int64)
        for numbers in (tags.keys, tags.values):
            pbf.require_below(numbers, len(strings), what="texts")
        # 0 for the many strings that are in no selection
        key_bits = np.fromiter(map(self._key_bits.get, strings, repeat(0)), np.int64, len(strings))
        asked = key_bits[tags.keys]
        named = np.flatnonzero(asked)
        values = tags.values[named]
        is_used = np.zeros(len(strings), np.bool_)
        is_used[values] = True
        value_bits = np.zeros(len(strings), np.int64)
        for place in np.flatnonzero(is_used).tolist():
            value_bits[place] = self._bits(strings[place])
        common = asked[named] & value_bits[values]
        owner = tags.owner[named]
        chosen = pbf.distinct(owner[common & ~_OF_A_WORD != 0])
        with_a_word = owner[common & _OF_A_WORD != 0]
        if not len(with_a_word):  # most blocks
            return chosen
        open_to = pbf.distinct(with_a_word[~are_in(with_a_word, chosen)])
        by_a_word = [row for row in open_to.tolist() if self._selects(row, tags, strings)]
        return pbf.distinct(np.concatenate([chosen, np.array(by_a_word, np.int64)]))

    def _bits(self, raw: bytes) -> int:
        """Return the bits of a value, cached."""
        bits = self._bits_of.get(raw)
        if bits is None:
            values = folded_values(decoded(raw))
            bits = _ANY if values else 0
            for value in values:
                bits |= self._value_bits.get(value, 0)
            self._bits_of[raw] = bits
        return bits

    def _selects(self, row: int, tags: pbf.Tags, strings: Sequence[bytes]) -> bool:
        """Return whether an object is selected by all of its tags."""
        start, stop = np.searchsorted(tags.owner, [row, row + 1]).tolist()
        keys, values = tags.keys[start:stop].tolist(), tags.values[start:stop].tolist()
        return self._selection.selects(
            {
                decoded(strings[key]): decoded(strings[value])
                for key, value in zip(keys, values, strict=True)
            }
        )


class Objects(NamedTuple):
    """Objects of one kind, column by column.

    Attributes:
        id: (n,).
        version: (n,) 0 where unknown.
        timestamp: (n,) UTC; NaT where unknown.
        tags: (n,) positions of their tags in a table.
        xy: (n, 2) lon and lat of nodes in 1e-7 degrees; (n, 0) for others.
    """

    id: IntArray
    version: IntArray
    timestamp: TimeArray
    tags: IntArray
    xy: IntArray


@dataclass
class Relation:
    """A relation's members, without positions."""

    kinds: list[pbf.Kind]
    refs: list[int]
    roles: list[str]


class _Texts(dict[bytes, str]):
    """Texts by their bytes; invalid UTF-8 is read as by `core.characters.decoded`."""

    def __missing__(self, raw: bytes) -> str:
        """Decode new bytes."""
        text = self[raw] = decoded(raw)
        return text


class _Roles(_Texts):
    """Texts by their bytes, in a form that can be stored."""

    def __missing__(self, raw: bytes) -> str:
        """Decode new bytes."""
        text: str = storable(super().__missing__(raw))
        self[raw] = text
        return text


class TagTable:
    """Distinct sets of tags.

    Attributes:
        sets: The sets.
    """

    def __init__(self) -> None:
        """Begin without sets."""
        self.sets: list[dict[str, str]] = []
        self._place: dict[tuple[str, ...], int] = {}
        self._texts = _Texts()
        self._roles = _Roles()

    def texts(self, raw: Iterable[bytes]) -> list[str]:
        """Return texts; equal bytes give the same object."""
        return [self._texts[each] for each in raw]

    def roles(self, raw: Iterable[bytes]) -> list[str]:
        """Return texts that are not staged, in a form that can be stored."""
        return [self._roles[each] for each in raw]

    def place(self, keys: Sequence[str], values: Sequence[str]) -> int:
        """Return the position of a set, which is added if it is new."""
        place = self._place.setdefault((*keys, *values), len(self.sets))
        if place == len(self.sets):
            self.sets.append(dict(zip(keys, values, strict=True)))
        return place

    def places_of(self, known: int, sets: Sequence[dict[str, str]]) -> IntArray:
        """Add the sets that a copy of this table has collected.

        Args:
            known: The number of sets when the table was copied.
            sets: The sets added to the copy since.

        Returns:
            (known + n,) The position in this table of each position in the copy.
        """
        places = np.arange(known + len(sets))
        if self.sets[known : known + len(sets)] != sets:
            places[known:] = [self.place(list(each), list(each.values())) for each in sets]
        return places


@dataclass
class Matches:
    """Objects collected from blocks.

    Attributes:
        objects: Selected objects of one kind.
        lines: Ways, selected ones and parts of relations.
        places: The ids and the (k, 2) lon and lat, in 1e-7 degrees, of nodes stored in ways.
        member_tags: Ids of closed ways that are members, and positions of their tags in a table.
        relations: By id.
        relation_tags: The tags of these relations, by id.
        relation_ids: The ids of the relations in each block.
        ids: The offset of each block, and its first and last id.
    """

    objects: list[Objects] = field(default_factory=list)
    lines: list[Lines] = field(default_factory=list)
    places: list[tuple[IntArray, IntArray]] = field(default_factory=list)
    member_tags: list[tuple[IntArray, IntArray]] = field(default_factory=list)
    relations: dict[int, Relation] = field(default_factory=dict)
    relation_tags: dict[int, dict[str, str]] = field(default_factory=dict)
    relation_ids: dict[pbf.Blob, IntArray] = field(default_factory=dict)
    ids: list[tuple[int, int, int]] = field(default_factory=list)


class BlockFilter:
    """Which objects of a file are collected; parts are set once their parents are known.

    Attributes:
        areas: The windows.
        boundaries: (b,) ids of boundary relations.
        nested: (k,) ids of relations that are members, ascending; if not empty, only these
            relations are collected.
        member_ways: (w,) ids of ways that are members, ascending.
        shape_ways: (s,) of these, the ways whose own tags determine their shape.
        refs: (n,) ids of nodes that are parts, ascending.
        ref_xy: (n, 2) their positions; `blocks.UNKNOWN` until they are found. Shared by all forks.
    """

    def __init__(self, areas: Sequence[Area], selection: Selection) -> None:
        """Begin without parts."""
        self.areas = areas
        self.boundaries = np.array(
            [area.boundary_relation for area in areas if area.boundary_relation is not None],
            dtype=np.int64,
        )
        self.nested = np.empty(0, np.int64)
        self.member_ways = np.empty(0, np.int64)
        self.shape_ways = np.empty(0, np.int64)
        self.refs = np.empty(0, np.int64)
        self.ref_xy = np.empty((0, 2), np.int32)
        self._matcher = TagMatcher(selection)

    def set_nodes(self, refs: IntArray, places: Sequence[tuple[IntArray, IntArray]]) -> None:
        """Set the nodes whose positions are collected.

        Args:
            refs: (n,) their ids, ascending.
            places: Positions stored in ways; the nodes of the file, read later, take precedence.
        """
        self.refs = refs
        self.ref_xy = np.frombuffer(
            mmap.mmap(-1, max(refs.size, 1) * 8), dtype=np.int32, count=refs.size * 2
        ).reshape(-1, 2)
        self.ref_xy[:] = pbf.UNKNOWN
        for ids, xy in places:
            known = _on_earth(xy)[:, 0]
            self.ref_xy[np.searchsorted(refs, ids[known])] = xy[known]

    def take(
        self,
        kind: pbf.Kind,
        block: pbf.Block,
        matches: Matches,
        table: TagTable,
        *,
        unused: IntArray = _NONE,
    ) -> None:
        """Collect the objects of one kind in a block.

        Args:
            kind: The kind.
            block: The block.
            matches: Collects objects.
            table: Collects tags.
            unused: (u,) rows of the block's objects of the kind that are skipped.
        """
        out = _Output(block.strings, matches, table)
        take: Any = getattr(self, f"_take_{kind}s")
        start = 0
        for objects in block.of_kind(kind):
            count = len(objects.ids(kind))
            used = np.ones(count, np.bool_)
            used[unused[(unused >= start) & (unused < start + count)] - start] = False
            take(objects, used, out)
            start += count

    def _take_relations(self, relations: pbf.Messages, used: BoolArray, out: _Output) -> None:
        if len(self.nested):
            rows = np.flatnonzero(are_in(relations.id, self.nested) & used)
        else:
            selected = _among(self._matcher.rows(relations.tags, out.strings), used)
            bounding = np.flatnonzero(np.isin(relations.id, self.boundaries) & used)
            if len(selected):
                out.matches.objects.append(out.objects(relations, relations.id, selected))
            rows = pbf.distinct(np.concatenate([selected, bounding]))
        tags_of = out.tags(relations.tags, rows).tolist()
        for osm_id, place in zip(relations.id[rows].tolist(), tags_of, strict=True):
            out.matches.relation_tags[osm_id] = out.table.sets[place]
        (refs, kinds, roles), offsets = relations.members(rows, len(out.strings))
        for osm_id, (start, stop) in zip(relations.id[rows].tolist(), _spans(offsets), strict=True):
            out.matches.relations[osm_id] = Relation(
                kinds=[pbf.MEMBER_KINDS[kind] for kind in kinds[start:stop].tolist()],
                refs=refs[start:stop].tolist(),
                roles=out.table.roles(out.strings[role] for role in roles[start:stop].tolist()),
            )

    def _take_ways(self, ways: pbf.Messages, used: BoolArray, out: _Output) -> None:
        selected = _among(self._matcher.rows(ways.tags, out.strings), used)
        if len(selected):
            out.matches.objects.append(out.objects(ways, ways.id, selected))
        rows = pbf.distinct(
            np.concatenate([selected, np.flatnonzero(are_in(ways.id, self.member_ways) & used)])
        )
        if len(rows):
            (refs, *places), offsets = ways.way_nodes(rows)
            lines = Lines(ways.id[rows], offsets, refs)
            out.matches.lines.append(lines)
            if places:
                out.matches.places.append((refs, np.column_stack(places)))
            shaping = rows[lines.closed() & are_in(lines.id, self.shape_ways)]
            if len(shaping):
                out.matches.member_tags.append((ways.id[shaping], out.tags(ways.tags, shaping)))

    def _take_nodes(self, nodes: pbf.Dense | pbf.Messages, used: BoolArray, out: _Output) -> None:
        ids = nodes.ids("node")
        selected = _among(self._matcher.rows(nodes.tags, out.strings), used)
        if len(selected):
            near = np.zeros(len(selected), np.bool_)
            xy = nodes.xy[selected]
            for area in self.areas:
                near |= reach(xy, xy, area.bbox)
            selected = selected[near]
        if len(selected):
            out.matches.objects.append(out.objects(nodes, ids, selected, nodes.xy[selected]))
        xy = nodes.xy
        if not used.all():
            ids, xy = ids[used], xy[used]
        low, high = np.searchsorted(self.refs, [ids.min(), ids.max() + 1]) if len(ids) else (0, 0)
        if low < high:
            asked = self.refs[low:high]
            order = np.argsort(ids, kind="stable") if (np.diff(ids) < 0).any() else slice(None)
            sorted_ids, sorted_xy = ids[order], xy[order]
            place = np.searchsorted(sorted_ids, asked)
            place[place == len(ids)] = 0
            known = sorted_ids[place] == asked
            xy = sorted_xy[place[known]]
            self.ref_xy[low:high][known] = np.where(_on_earth(xy), xy, pbf.UNKNOWN)


class _Output(NamedTuple):
    """The collections that objects of a block are added to, and the block's texts."""

    strings: Sequence[bytes]
    matches: Matches
    table: TagTable

    def objects(
        self,
        stored: pbf.Dense | pbf.Messages,
        ids: IntArray,
        rows: IntArray,
        xy: IntArray | None = None,
    ) -> Objects:
        """Return the objects at some rows."""
        version, timestamp = stored.versions(rows)
        timestamp[timestamp < np.datetime64(f"{FIRST_YEAR}-01-01")] = np.datetime64("NaT", "s")
        places = self.tags(stored.tags, rows)
        nowhere = np.empty((len(rows), 0), np.int64)
        return Objects(ids[rows], version, timestamp, places, nowhere if xy is None else xy)

    def texts(self, numbers: npt.NDArray[Any]) -> list[str]:
        """Return texts by their numbers in the block."""
        return self.table.texts(self.strings[number] for number in numbers.tolist())

    def tags(self, tags: pbf.Tags, rows: IntArray) -> IntArray:
        """Return the positions in the table of the tags of some objects."""
        bounds = np.searchsorted(tags.owner, np.column_stack([rows, rows + 1]))
        positions = pbf.together(bounds)
        numbers = np.column_stack([tags.keys[positions], tags.values[positions]]).astype(np.int32)
        used, place = np.unique(numbers, return_inverse=True)
        texts = np.array(self.texts(used), dtype=object)
        keys, values = texts[place.reshape(-1, 2)].T.tolist()
        raw = numbers.tobytes()
        known: dict[bytes, int] = {}
        found: list[int] = []
        start = 0
        for size in (bounds[:, 1] - bounds[:, 0]).tolist():
            stop = start + size
            pairs = raw[start * _PAIR_BYTES : stop * _PAIR_BYTES]
            if pairs not in known:
                known[pairs] = self.table.place(keys[start:stop], values[start:stop])
            found.append(known[pairs])
            start = stop
        return np.array(found, dtype=np.int64)


def reach(
    low: npt.NDArray[Any], high: npt.NDArray[Any], bbox: Bbox, *, units: int = UNITS_PER_DEGREE
) -> BoolArray:
    """Return which bounds intersect a bbox or are not on Earth."""
    west, south, east, north = (side * units for side in bbox)
    inside = (
        (low[:, 0] <= east) & (high[:, 0] >= west) & (low[:, 1] <= north) & (high[:, 1] >= south)
    )
    limit = np.array([180.0, 90.0]) * units
    reach: BoolArray = inside | ~((low >= -limit) & (high <= limit)).all(axis=1)
    return reach


def _on_earth(xy: IntArray) -> BoolArray:
    """Return which (n, 2) positions exist, as (n, 1)."""
    on_earth = np.abs(xy) <= _LIMITS
    both: BoolArray = on_earth[:, :1] & on_earth[:, 1:]
    return both


def _among(rows: IntArray, used: BoolArray) -> IntArray:
    among: IntArray = rows[used[rows]]
    return among


def are_in(values: IntArray, ascending: IntArray) -> BoolArray:
    """Return which values are among sorted ones."""
    if not len(ascending):
        return np.zeros(len(values), np.bool_)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    among: BoolArray = ascending[place] == values
    return among


def _spans(offsets: IntArray) -> Iterator[tuple[int, int]]:
    return zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
