"""The JSON of an Overpass answer: its types, the proof that it is whole, and its columns.

Belongs here: what can be told from the bytes alone. Does not belong here: getting the bytes
(`overpass.py`) and building geometries (`assemble.py`).

The answer to `selection.overpass_query` is a row of sections. A `count` element opens each of
them and says how many elements follow: the first section holds the selected elements, the second,
where it was asked for, the boundary relation. Nothing else in a 200 answer tells a body that
was cut at a lucky place from a whole one.

User names, uids and changesets are personal data. `without_users` takes them out of the bytes
before anything keeps them, and `names_users` proves it; no other function looks at them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, TypeVar, cast

import msgspec
import numpy as np

from ingestion_pipeline.osm.assemble import Elements, Member
from ingestion_pipeline.osm.tag_sets import TagSets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ingestion_pipeline.osm.assemble import FloatArray, IntArray, TimeArray


class Position(msgspec.Struct, gc=False, eq=False):
    """A vertex of `geometry`, in WGS84 degrees."""

    lon: float
    lat: float


class Element(msgspec.Struct, kw_only=True, tag_field="type"):
    """What nodes, ways and relations have in common."""

    id: int
    version: int = 0
    timestamp: datetime | None = None
    user: str | None = None
    uid: int | None = None
    tags: dict[str, str] = {}


class Node(Element, kw_only=True, tag="node"):
    """A node."""

    lon: float
    lat: float


class Way(Element, kw_only=True, tag="way"):
    """A way; `geometry` is empty, or null in places, where the server lacks its nodes."""

    nodes: list[int] = []
    geometry: list[Position | None] = []


class RelationMember(msgspec.Struct):
    """A member of a relation: a position for a node, a geometry for a way."""

    type: Literal["node", "way", "relation"]
    ref: int
    role: str = ""
    lon: float | None = None
    lat: float | None = None
    geometry: list[Position | None] = []


class Relation(Element, kw_only=True, tag="relation"):
    """A relation."""

    members: list[RelationMember] = []


class Count(msgspec.Struct, tag_field="type", tag="count"):
    """What `out count` prints: numbers as text, by kind."""

    tags: dict[str, str]


class Header(msgspec.Struct):
    """The member `osm3s`."""

    timestamp_osm_base: str = ""


class Body(msgspec.Struct):
    """The whole document."""

    osm3s: Header
    elements: list[Node | Way | Relation | Count]
    remark: str | None = None


class NotWholeError(Exception):
    """The bytes are not a whole answer; the message says what is wrong with them."""


@dataclass(frozen=True)
class Section:
    """The elements that one `count` announced."""

    nodes: list[Node]
    ways: list[Way]
    relations: list[Relation]


_USER = re.compile(
    rb',\s*"changeset":\s*\d+,\s*"user":\s*"(?:[^"\\]|\\.)*",\s*"uid":\s*\d+', re.DOTALL
)
"""Who changed an element, as `out meta` says it. A tag cannot look so: its values are in quotes."""


def without_users(raw: bytes) -> bytes:
    """Take the user, the uid and the changeset of every element out of a body."""
    return _USER.sub(b"", raw)


def names_users(body: Body) -> bool:
    """Tell whether a body says who changed an element."""
    return any(
        isinstance(element, Element) and (element.user is not None or element.uid is not None)
        for element in body.elements
    )


def decode(raw: bytes) -> Body:
    """Decode a whole body.

    Raises:
        NotWholeError: It is not JSON to its end, or not of Overpass's form.
    """
    try:
        return msgspec.json.decode(raw, type=Body)
    except msgspec.DecodeError as error:
        raise NotWholeError(
            f"the body of {len(raw)} bytes is not a whole Overpass document ({error})"
        ) from error


def sections(body: Body) -> list[Section]:
    """Split a body at its counts.

    Raises:
        NotWholeError: It has a remark, an element stands before the first count, or the numbers
            differ.
    """
    if body.remark is not None:
        raise NotWholeError(f"the answer ends with the remark {body.remark!r}")
    starts = [index for index, element in enumerate(body.elements) if isinstance(element, Count)]
    if not starts:
        raise NotWholeError("the answer has no count of its elements")
    if starts[0] != 0:
        raise NotWholeError("the answer has elements before its first count")
    ends = [*starts[1:], len(body.elements)]
    return [_section(body, start, end) for start, end in zip(starts, ends, strict=True)]


def _section(body: Body, start: int, end: int) -> Section:
    """Collect what follows one count, and compare it with the count."""
    count = body.elements[start]
    assert isinstance(count, Count)
    following = body.elements[start + 1 : end]
    section = Section(
        nodes=[element for element in following if isinstance(element, Node)],
        ways=[element for element in following if isinstance(element, Way)],
        relations=[element for element in following if isinstance(element, Relation)],
    )
    came = {
        "nodes": str(len(section.nodes)),
        "ways": str(len(section.ways)),
        "relations": str(len(section.relations)),
    }
    announced = {kind: count.tags.get(kind, "no number of") for kind in came}
    if came != announced:
        raise NotWholeError(
            "the server counted "
            + ", ".join(f"{number} {kind}" for kind, number in announced.items())
            + " but sent "
            + ", ".join(f"{number} {kind}" for kind, number in came.items())
        )
    return section


def timestamp_osm_base(body: Body) -> datetime | None:
    """Give the moment (UTC, aware) whose state the server had, or None where it does not say."""
    text = body.osm3s.timestamp_osm_base
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is UTC else None


def to_elements(merged: Iterable[Section]) -> Elements:
    """Bring sections into columns: by kind, in ascending order of id, each object once.

    Sections may overlap, since an object on the border of two quarters of a bbox comes with both;
    as all are of one snapshot, any of its copies will do.
    """
    parts = list(merged)
    nodes = _unique(chain.from_iterable(part.nodes for part in parts))
    ways = _unique(chain.from_iterable(part.ways for part in parts))
    relations = _unique(chain.from_iterable(part.relations for part in parts))
    return Elements(
        node_id=_integers(node.id for node in nodes),
        node_version=_integers(node.version for node in nodes),
        node_timestamp=_timestamps(nodes),
        node_tags=TagSets.of(node.tags for node in nodes),
        node_xy=_positions(nodes),
        way_id=_integers(way.id for way in ways),
        way_version=_integers(way.version for way in ways),
        way_timestamp=_timestamps(ways),
        way_tags=TagSets.of(way.tags for way in ways),
        way_offsets=np.cumsum([0, *(len(way.geometry) for way in ways)], dtype=np.int64),
        way_xy=_positions(list(chain.from_iterable(_whole(way.geometry) for way in ways))),
        way_closed=np.array(
            [len(way.nodes) > 1 and way.nodes[0] == way.nodes[-1] for way in ways], dtype=np.bool_
        ),
        relation_id=_integers(relation.id for relation in relations),
        relation_version=_integers(relation.version for relation in relations),
        relation_timestamp=_timestamps(relations),
        relation_tags=TagSets.of(relation.tags for relation in relations),
        relation_members=[to_members(relation) for relation in relations],
    )


def to_members(relation: Relation) -> list[Member]:
    """Give the members of a relation, in its order, with their coordinates."""
    return [
        Member(type=member.type, ref=member.ref, role=member.role, xy=_member_xy(member))
        for member in relation.members
    ]


def _member_xy(member: RelationMember) -> FloatArray | None:
    if member.geometry:
        return _positions(_whole(member.geometry))
    if member.lon is not None and member.lat is not None:
        return np.array([[member.lon, member.lat]])
    return None


_NOWHERE = Position(lon=float("nan"), lat=float("nan"))


def _whole(geometry: list[Position | None]) -> list[Position]:
    """Put NaN in the places of vertices that the server lacks."""
    if None not in geometry:
        return cast("list[Position]", geometry)
    return [position or _NOWHERE for position in geometry]


_LON_LAT = attrgetter("lon", "lat")


def _positions(positions: Sequence[Position] | Sequence[Node]) -> FloatArray:
    """Give (n, 2) lon and lat; the iteration runs in C."""
    flat = chain.from_iterable(map(_LON_LAT, positions))
    return np.fromiter(flat, dtype=np.float64, count=2 * len(positions)).reshape(-1, 2)


def _integers(values: Iterable[int]) -> IntArray:
    return np.fromiter(values, dtype=np.int64)


def _timestamps(objects: Sequence[Node | Way | Relation]) -> TimeArray:
    """Give datetime64[s] in UTC, NaT where there is none (numpy has no time zones)."""
    moments = [item.timestamp and item.timestamp.replace(tzinfo=None) for item in objects]
    return np.array(moments, dtype="datetime64[s]")


_Object = TypeVar("_Object", Node, Way, Relation)


def _unique(objects: Iterable[_Object]) -> list[_Object]:
    by_id = {item.id: item for item in objects}
    return [by_id[osm_id] for osm_id in sorted(by_id)]
