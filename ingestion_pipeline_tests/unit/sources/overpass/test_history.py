"""What proves that a server's history reaches back, against the full history of a real country."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import osmium
import pytest

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.sources.overpass.answer import Node, Relation, Section, Way
from ingestion_pipeline.sources.overpass.client import HISTORY_LIMITS
from ingestion_pipeline.sources.overpass.history import (
    MOST_EDITS,
    Edit,
    history_query,
    last_edits,
    moment_before,
    proof_of_history,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from ingestion_pipeline.sources.overpass.answer import Kind

NOON = datetime(2026, 11, 19, 12, tzinfo=UTC)


def section(*elements: Node | Way | Relation) -> Section:
    none = TagSets.of([])
    return Section(
        [each for each in elements if isinstance(each, Node)],
        [each for each in elements if isinstance(each, Way)],
        [each for each in elements if isinstance(each, Relation)],
        *(none, none, none),
    )


def node(osm_id: int, *, version: int, at: datetime | None = NOON) -> Node:
    return Node(id=osm_id, version=version, timestamp=at, lon=0, lat=0)


def edit(osm_id: int = 1, *, version: int = 3, at: datetime = NOON, kind: Kind = "node") -> Edit:
    return Edit(at, version, kind, osm_id)


def test_the_last_edits_of_objects_that_were_there_before_are_kept() -> None:
    nodes = [
        node(osm_id, version=1 + osm_id % 2, at=NOON + timedelta(minutes=osm_id))
        for osm_id in range(100)
    ]
    known = last_edits([], [section(*nodes[:50]), section(node(200, version=2, at=None))])
    known = last_edits(known, [section(*nodes[40:])])
    assert len(known) == MOST_EDITS
    assert [each.id for each in known] == list(range(99, 49, -2))
    assert moment_before(known) == NOON + timedelta(minutes=51, seconds=-1)


def test_the_query_asks_for_the_objects_just_before() -> None:
    edits = [edit(1), edit(7, at=NOON - timedelta(days=1)), edit(3, kind="relation")]
    query = history_query(edits, asked={"day": "x"}, limits=HISTORY_LIMITS)
    assert query == (
        '[out:json][timeout:60][maxsize:67108864][date:"2026-11-18T11:59:59Z"];\n'
        'make asked day="x";out;\n'
        "(node(id:1,7); relation(id:3);)->.p;\n.p out count;\n.p out meta;\n"
    )


@pytest.mark.parametrize(
    ("before", "proven"),
    [
        (node(1, version=2, at=NOON - timedelta(seconds=1)), True),
        (node(1, version=1, at=NOON - timedelta(days=9)), True),
        (node(1, version=3, at=NOON - timedelta(days=9)), False),
        (node(1, version=2, at=NOON), False),
        (node(1, version=2, at=None), False),
        (node(1, version=0, at=NOON - timedelta(days=9)), False),
        (node(2, version=2, at=NOON - timedelta(days=9)), False),
        (Way(id=1, version=2, timestamp=NOON - timedelta(days=9)), False),
    ],
)
def test_only_an_earlier_version_of_the_same_object_proves(before: Node, proven: bool) -> None:
    assert (proof_of_history([edit()], section(before)) is not None) is proven


class Version(NamedTuple):
    """A version of an object, and when the next one replaced it."""

    kind: Kind
    id: int
    version: int
    at: datetime
    until: datetime
    selected: bool


FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
KINDS: dict[str, Kind] = {"n": "node", "w": "way", "r": "relation"}


def versions_of(path: Path) -> list[Version]:
    """Read the selected objects of a file with the full history, each with all versions."""
    read = [
        (
            KINDS[each.type_str()],
            each.id,
            each.version,
            each.timestamp,
            each.visible and POIS.selects(dict(each.tags)),
            each.visible,
        )
        for each in cast("Iterable[Any]", osmium.FileProcessor(str(path)))
    ]
    nexts = [*read[1:], None]
    once = {(kind, osm_id) for kind, osm_id, _, _, selected, _ in read if selected}
    return [
        Version(
            *each[:4],
            following[3] if following and following[:2] == each[:2] else FOREVER,
            each[4],
        )
        for each, following in zip(read, nexts, strict=True)
        if each[:2] in once and each[5]
    ]


def server(versions: Sequence[Version], *, begun: datetime, at: datetime) -> list[Version]:
    """What a server knows of a moment whose database began with the newest versions of a time."""
    return [each for each in versions if each.until > begun and each.at <= at < each.until]


def as_section(versions: Sequence[Version]) -> Section:
    made: dict[Kind, Callable[..., Node | Way | Relation]] = {
        "node": partial(Node, lon=0, lat=0),
        "way": Way,
        "relation": Relation,
    }
    return section(
        *(made[each.kind](id=each.id, version=each.version, timestamp=each.at) for each in versions)
    )


@pytest.mark.real_data
@pytest.mark.parametrize("country", ["andorra", "equatorial-guinea"])
def test_a_real_history_is_proven_from_its_first_edit_on_and_never_before(
    osm_test_data: Path, country: str
) -> None:
    """A server that began on a day is asked for days of three months around it."""
    versions = versions_of(osm_test_data / "history" / country / f"{country}.osh.pbf")
    begun = datetime(2016, 7, 10, tzinfo=UTC)
    complete = datetime(2000, 1, 1, tzinfo=UTC)
    proven: dict[datetime, list[datetime]] = {begun: [], complete: []}
    days = [datetime(2016, 6, 1, 23, 59, 59, tzinfo=UTC) + timedelta(n) for n in range(0, 90, 3)]
    for start, found in proven.items():
        for day in days:
            selected = [each for each in server(versions, begun=start, at=day) if each.selected]
            edits = last_edits([], [as_section(selected)])
            asked = {(each.kind, each.id) for each in edits}
            before = [
                each
                for each in server(versions, begun=start, at=moment_before(edits))
                if (each.kind, each.id) in asked
            ]
            if proof_of_history(edits, as_section(before)) is not None:
                found.append(day)
    assert proven[complete] == days
    # Until the first edit after the beginning nothing tells it from a later one.
    assert proven[begun]
    assert min(proven[begun]) > begun
    assert proven[begun] == [day for day in days if day >= min(proven[begun])]
    assert min(proven[begun]) - begun < timedelta(days=14)
