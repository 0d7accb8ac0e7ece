"""The JSON of an Overpass response: its types, checks that it is complete, and its columns.

The response to `selection.overpass_query` begins with an element `asked` that repeats the query's
parameters; older stored responses have none. Sections follow. A `count` element begins each of them
and gives the number of elements in it: the first section has the selected elements, the second, if
requested, the boundary relation. Nothing else distinguishes a complete 200 response from one that
is truncated between two elements.

User names, uids and changesets are personal data. `without_users` removes them from the bytes
before these are stored, and `names_users` checks it; no other function reads them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

import msgspec
import numpy as np

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.characters import decoded
from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.osm.assemble import Elements, Member, Nested

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from ingestion_pipeline.core.arrays import FloatArray, IntArray, TimeArray


Kind = Literal["node", "way", "relation"]
"""The kinds of elements."""


Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer that fits a column (64 bits)."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time with its zone; one without would be read in this machine's zone."""


class Position(msgspec.Struct, gc=False, eq=False):
    """A vertex of `geometry`, in WGS84 degrees."""

    lon: float
    lat: float


class Element(msgspec.Struct, kw_only=True, tag_field="type", gc=False):
    """Common fields of nodes, ways and relations.

    The tags stay encoded; most sets occur several times (see `Section`).
    """

    id: Integer
    version: Integer = 0
    timestamp: Moment | None = None
    user: str | None = None
    uid: int | None = None
    tags: msgspec.Raw = msgspec.Raw(b"{}")


class Node(Element, kw_only=True, tag="node", gc=False):
    """A node."""

    lon: float
    lat: float


class Way(Element, kw_only=True, tag="way", gc=False):
    """A way; `geometry` is empty, or contains null, where the server lacks its nodes."""

    nodes: list[Integer] = []
    geometry: list[Position | None] = []


class RelationMember(msgspec.Struct, gc=False):
    """A member of a relation: a position for a node, a geometry for a way."""

    type: Literal["node", "way", "relation"]
    ref: Integer
    role: str = ""
    lon: float | None = None
    lat: float | None = None
    geometry: list[Position | None] = []


class Relation(Element, kw_only=True, tag="relation", gc=False):
    """A relation."""

    members: list[RelationMember] = []


class Count(msgspec.Struct, tag_field="type", tag="count"):
    """The output of `out count`: numbers as text, by kind."""

    tags: dict[str, str]


class Asked(msgspec.Struct, tag_field="type", tag="asked"):
    """The output of `make asked`: the parameters of the query of this response."""

    tags: dict[str, str]


class Header(msgspec.Struct):
    """The member `osm3s`."""

    timestamp_osm_base: str = ""


class Body(msgspec.Struct):
    """The whole document."""

    osm3s: Header
    elements: list[Node | Way | Relation | Count | Asked]
    remark: str | None = None


_NO_TAGS: Mapping[int, Mapping[str, str]] = {}


class NotWholeError(Exception):
    """The bytes are not a complete response; the message gives the reason."""


@dataclass(frozen=True)
class Section:
    """The elements of one `count`, and their tags."""

    nodes: list[Node]
    ways: list[Way]
    relations: list[Relation]
    node_tags: TagSets
    way_tags: TagSets
    relation_tags: TagSets

    def only(self, selects: Callable[[Mapping[str, str]], bool]) -> Section:
        """Return the elements whose tags are selected; a server may send others too."""
        nodes, node_tags = _only(self.nodes, self.node_tags, selects)
        ways, way_tags = _only(self.ways, self.way_tags, selects)
        relations, relation_tags = _only(self.relations, self.relation_tags, selects)
        return Section(nodes, ways, relations, node_tags, way_tags, relation_tags)


_NAME = rb'"user":\s*"(?:[^"\\]|\\.)*"'
_USER = re.compile(rb',\s*"changeset":\s*\d+,\s*%b,\s*"uid":\s*\d+' % _NAME, re.DOTALL)
"""The user of an element in `out meta`. A tag cannot look like this: its values are quoted."""

_PART_OF_USER = re.compile(
    rb',\s*"changeset":\s*\d+(?:,\s*%b)?|(?:,\s*%b)?,\s*"uid":\s*\d+' % (_NAME, _NAME), re.DOTALL
)
"""A part of it, where a server lacks the rest, such as the name
(https://github.com/drolbr/Overpass-API/issues/148). A name counts only beside a number."""


def without_users(raw: bytes) -> bytes:
    """Return a body without the user, the uid and the changeset of every element."""
    rest = _USER.sub(b"", raw)
    if b'"uid"' in rest or b'"changeset"' in rest:  # rare, and ten times slower
        rest = _PART_OF_USER.sub(b"", rest)
    return rest


def names_users(body: Body) -> bool:
    """Return whether a body contains users or uids."""
    return any(
        isinstance(element, Element) and (element.user is not None or element.uid is not None)
        for element in body.elements
    )


def decode(raw: bytes) -> Body:
    """Decode a complete body.

    Raises:
        NotWholeError: It is not complete JSON, or not of Overpass's form.
    """
    try:
        return _decoded(msgspec.json.Decoder(Body).decode, raw)
    except msgspec.DecodeError as error:
        raise NotWholeError(
            f"the body of {len(raw)} bytes is not a complete Overpass document ({quoted(error)})"
        ) from error


_Value = TypeVar("_Value")

_ESCAPES = re.compile(
    r"\\u[dD][89aAbB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: one character
    r"|\\u(?P<half>[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\."
)
_BYTE = re.compile("[\udc80-\udcff]")
_MARK = "\\u0000"
"""`characters.MARK`, as JSON has it."""


def _decoded(decode: Callable[[bytes], _Value], raw: bytes) -> _Value:
    """Decode JSON; bytes and surrogates that cannot be kept are marked (`core/characters.py`).

    Raises:
        DecodeError: It is not JSON, or has another form.
    """
    try:
        return decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError):
        marked = _marked(raw)
        if marked == raw:
            raise
        return decode(marked)


def _marked(raw: bytes) -> bytes:
    """Return the bytes with a mark before each invalid byte and each unpaired surrogate."""
    text = _ESCAPES.sub(
        lambda found: f"{_MARK}u{found['half'].lower()}" if found["half"] else found[0],
        decoded(raw),
    )
    return _BYTE.sub(lambda found: f"{_MARK}x{ord(found[0]) & 0xFF:02x}", text).encode()


def asked(body: Body) -> dict[str, str] | None:
    """Return the parameters that a body repeats, or None if it repeats none."""
    first = body.elements[0] if body.elements else None
    return first.tags if isinstance(first, Asked) else None


def sections(body: Body) -> list[Section]:
    """Split a body at its counts.

    Raises:
        NotWholeError: It has a remark, an element is before the first count, the numbers differ, or
            tags are not texts by keys.
    """
    if body.remark is not None:
        raise NotWholeError(f"the response ends with the remark {quoted(body.remark)!r}")
    starts = [index for index, element in enumerate(body.elements) if type(element) is Count]
    if not starts:
        raise NotWholeError("the response has no count of its elements")
    if starts[0] != (asked(body) is not None):
        raise NotWholeError("the response has elements before its first count")
    ends = [*starts[1:], len(body.elements)]
    return [_section(body, start, end) for start, end in zip(starts, ends, strict=True)]


def _section(body: Body, start: int, end: int) -> Section:
    """Return the elements after one count, and compare their numbers with the count."""
    count = body.elements[start]
    assert isinstance(count, Count)
    following = cast("list[Element]", body.elements[start + 1 : end])
    by_kind: dict[type, list[Any]] = {Node: [], Way: [], Relation: [], Asked: []}
    for element in following:
        by_kind[type(element)].append(element)
    nodes, ways, relations, repeated = by_kind.values()
    if repeated:
        raise NotWholeError("the response repeats a query between its elements")
    came = {
        "nodes": str(len(nodes)),
        "ways": str(len(ways)),
        "relations": str(len(relations)),
    }
    announced = {kind: count.tags.get(kind, "no number of") for kind in came}
    if came != announced:
        raise NotWholeError(
            "the server counted "
            + ", ".join(f"{quoted(number, most=20)} {kind}" for kind, number in announced.items())
            + " but sent "
            + ", ".join(f"{number} {kind}" for kind, number in came.items())
        )
    return Section(nodes, ways, relations, _tags(nodes), _tags(ways), _tags(relations))


def _tags(elements: Sequence[Element]) -> TagSets:
    """Decode the tags of elements, equally encoded ones once."""
    place: dict[bytes, int] = {}
    written = [place.setdefault(bytes(element.tags), len(place)) for element in elements]
    decode = partial(_decoded, msgspec.json.Decoder(dict[str, str]).decode)
    try:
        distinct = TagSets.of(map(decode, place))
    except msgspec.DecodeError as error:
        raise NotWholeError(f"the tags of an element are not texts by keys ({error})") from error
    return TagSets(distinct.sets, distinct.set_of[np.array(written, dtype=np.int64)])


def elements_of(section: Section) -> Iterator[tuple[Kind, Node | Way | Relation]]:
    """Yield the elements of a section, each with its kind."""
    for kind, elements in (
        ("node", section.nodes),
        ("way", section.ways),
        ("relation", section.relations),
    ):
        for element in cast("Sequence[Node | Way | Relation]", elements):
            yield cast("Kind", kind), element


def timestamp_osm_base(body: Body) -> datetime | None:
    """Return the time (UTC, aware) of the server's data, or None if it is not given."""
    return moment_in(body.osm3s.timestamp_osm_base)


def moment_in(text: str) -> datetime | None:
    """Return the time (UTC, aware) that a text is, or None if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is UTC else None


def to_elements(merged: Iterable[Section]) -> Elements:
    """Return sections as columns: by kind, in ascending order of id, each object once.

    Sections may overlap, because an object on the border of two quarters of a bbox is in both; all
    are of one snapshot, so its copies are equal.

    A response has the positions of the members of relations, and no tags. So a member's tags are
    known only if it is itself selected, and likewise a nested relation's members.
    """
    parts = list(merged)
    nodes, node_tags = _unique((part.nodes, part.node_tags) for part in parts)
    ways, way_tags = _unique((part.ways, part.way_tags) for part in parts)
    relations, relation_tags = _unique((part.relations, part.relation_tags) for part in parts)
    way_xy, way_offsets = _lines([way.geometry for way in ways])
    tags_of_ways = dict(zip((way.id for way in ways), way_tags, strict=True))
    members = members_of(relations, tags_of_ways)
    return Elements(
        node_id=_integers(node.id for node in nodes),
        node_version=_integers(node.version for node in nodes),
        node_timestamp=_timestamps(nodes),
        node_tags=node_tags,
        node_xy=_positions(nodes),
        way_id=_integers(way.id for way in ways),
        way_version=_integers(way.version for way in ways),
        way_timestamp=_timestamps(ways),
        way_tags=way_tags,
        way_offsets=way_offsets,
        way_xy=way_xy,
        way_closed=np.array(
            [len(way.nodes) > 1 and way.nodes[0] == way.nodes[-1] for way in ways], dtype=np.bool_
        ),
        relation_id=_integers(relation.id for relation in relations),
        relation_version=_integers(relation.version for relation in relations),
        relation_timestamp=_timestamps(relations),
        relation_tags=relation_tags,
        relation_members=members,
        nested={
            relation.id: Nested(tags.get("type"), parts)
            for relation, tags, parts in zip(relations, relation_tags, members, strict=True)
        },
    )


def members_of(
    relations: Sequence[Relation], tags_of_ways: Mapping[int, Mapping[str, str]] = _NO_TAGS
) -> list[list[Member]]:
    """Return the members of each relation, in its order, with their coordinates and known tags."""
    xy, offsets = _lines([part.geometry for each in relations for part in each.members])
    lines = iter(zip(offsets.tolist(), offsets[1:].tolist(), strict=False))
    return [
        [
            Member(
                member.type,
                member.ref,
                member.role,
                _member_xy(member, xy[slice(*next(lines))]),
                tags_of_ways.get(member.ref) if member.type == "way" else None,
            )
            for member in relation.members
        ]
        for relation in relations
    ]


def _member_xy(member: RelationMember, line: FloatArray) -> FloatArray | None:
    if len(line):
        return line
    if member.lon is not None and member.lat is not None:
        return np.array([[member.lon, member.lat]])
    return None


def _lines(geometries: Sequence[list[Position | None]]) -> tuple[FloatArray, IntArray]:
    """Return all vertices, NaN where the server lacks one, and the offsets of each geometry.

    Geometry i has the rows `offsets[i]:offsets[i + 1]`.
    """
    offsets = np.cumsum([0, *map(len, geometries)], dtype=np.int64)
    vertices = list(chain.from_iterable(geometries))
    if None in vertices:
        vertices = [position or _NOWHERE for position in vertices]
    return _positions(cast("list[Position]", vertices)), offsets


_NOWHERE = Position(lon=float("nan"), lat=float("nan"))
_LON_LAT = attrgetter("lon", "lat")


def _positions(positions: Sequence[Position] | Sequence[Node]) -> FloatArray:
    """Return (n, 2) lon and lat; the iteration runs in C."""
    flat = chain.from_iterable(map(_LON_LAT, positions))
    return np.fromiter(flat, dtype=np.float64, count=2 * len(positions)).reshape(-1, 2)


def _integers(values: Iterable[int]) -> IntArray:
    return np.fromiter(values, dtype=np.int64)


def _timestamps(objects: Sequence[Node | Way | Relation]) -> TimeArray:
    """Return datetime64[s] in UTC, NaT where there is none (NumPy has no time zones)."""
    seconds = (np.nan if item.timestamp is None else item.timestamp.timestamp() for item in objects)
    moments: TimeArray = np.fromiter(seconds, np.float64, len(objects)).astype("datetime64[s]")
    return moments


_Object = TypeVar("_Object", Node, Way, Relation)


def _only(
    objects: list[_Object], tags: TagSets, selects: Callable[[Mapping[str, str]], bool]
) -> tuple[list[_Object], TagSets]:
    """Return the objects whose tags are selected, and their tags; each set is checked once."""
    is_selected = np.fromiter(map(selects, tags.sets), np.bool_, len(tags.sets))
    rows = np.flatnonzero(is_selected[tags.set_of])
    if len(rows) == len(objects):
        return objects, tags
    return [objects[row] for row in rows.tolist()], tags.take(rows)


def _unique(parts: Iterable[tuple[list[_Object], TagSets]]) -> tuple[list[_Object], TagSets]:
    """Return the objects of all parts by id, and their tags."""
    lists, tags = zip(*parts, strict=True)
    objects: list[_Object] = list(chain.from_iterable(lists))
    _, rows = np.unique(_integers(item.id for item in objects), return_index=True)
    return [objects[row] for row in rows.tolist()], TagSets.joined(tags).take(rows)
