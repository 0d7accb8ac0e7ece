"""How many links are found, and how many are right, where identifiers or the invention prove it.

Feeds are invented from places of OpenStreetMap: displaced, with other forms of names, and with
wrong neighbours that OpenStreetMap does not have.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import osmium
import pyarrow as pa
import pytest
from pyproj import Geod

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.helpers.derive import derive
from ingestion_pipeline.helpers.link import pairs
from ingestion_pipeline.helpers.rows import helper_rows
from ingestion_pipeline.sources.feed.read import read_feed
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import FOUNTAINS, feed_of
from ingestion_pipeline_tests.support.osm_objects import osm_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from ingestion_pipeline.helpers.link import By

GEOD = Geod(ellps="WGS84")
NAMER = Namer(("fi", "sv", "en"), "fi")
STOPS = {"public_transport_stop", "bicycle_rental"}
REACH_OF_STOPS = 40.0


@dataclass
class Invented:
    """An invented feed: its places, and the OSM places that each of them is.

    Attributes:
        rows: Its places.
        truth: By `source_ref`, all OSM places that are the same one; none if OSM lacks it.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    truth: dict[str, set[str]] = field(default_factory=dict)

    def add(
        self,
        place: Mapping[str, Any],
        truth: set[str],
        *,
        name: str | None,
        properties: Mapping[str, Any],
        lon_lat: tuple[float, float],
    ) -> None:
        ref = f"{9001 + len(self.rows)}#{place['kind']}"
        names = {"und": name} if name else {}
        self.rows.append(
            {
                "source_ref": ref,
                "kind": place["kind"],
                "name": name,
                "name_source": "name",
                "names": json.dumps(names),
                "tags": json.dumps(dict(properties)),
                "attributes": "{}",
                "lon": lon_lat[0],
                "lat": lon_lat[1],
            }
        )
        self.truth[ref] = truth

    def table(self) -> pa.Table:
        columns: dict[str, Any] = {name: [row[name] for row in self.rows] for name in self.rows[0]}
        columns |= {name: np.array(columns[name]) for name in ("lon", "lat")}
        return helper_rows(len(self.rows), columns)


@dataclass
class Measured:
    """The links of a feed, compared with the truth."""

    right: int
    wrong: list[tuple[str, str, By]]
    there: int

    @property
    def recall(self) -> float:
        return self.right / self.there

    @property
    def precision(self) -> float:
        return self.right / (self.right + len(self.wrong))


def measure(feed: pa.Table, osm: pa.Table, truth: Mapping[str, set[str]]) -> Measured:
    """Compare links with the truth; those to places of which it says nothing do not count."""
    ours, theirs = (
        [str(ref) for ref in table.column("source_ref").to_pylist()] for table in (feed, osm)
    )
    known = set().union(*truth.values())
    found = [
        (ours[pair.feed_index], theirs[pair.other_index], pair.by) for pair in pairs(feed, osm)
    ]
    wrong = [each for each in found if each[1] not in truth[each[0]] and each[1] in known]
    right = sum(other in truth[one] for one, other, _ in found)
    return Measured(right, wrong, sum(bool(refs & set(theirs)) for refs in truth.values()))


def moved(place: Mapping[str, Any], metres: float, dice: random.Random) -> tuple[float, float]:
    lon, lat, _ = GEOD.fwd(place["lon"], place["lat"], dice.uniform(0, 360), metres)
    return lon, lat


def form_of(name: str | None, names: Mapping[str, str], dice: random.Random) -> str | None:
    """Return a name as another publisher may have it: none, in any language, in capitals."""
    forms = [None, name, *names.values(), name and name.upper(), name and name.replace("kk", "k")]
    return dice.choice(forms)


def invent(
    groups: Iterable[list[Mapping[str, Any]]],
    dice: random.Random,
    properties: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> Invented:
    """Invent a feed of places, each of which OSM may have several times.

    One of 30 has moved along its street, and one of 7 has a neighbour that OSM lacks.
    """
    feed = Invented()
    for group in groups:
        place = dice.choice(group)
        metres = abs(dice.gauss(0, 8)) if dice.random() < 29 / 30 else dice.uniform(60, 200)
        feed.add(
            place,
            {each["source_ref"] for each in group},
            name=form_of(place["name"], json.loads(place["names"]), dice),
            properties=properties(place),
            lon_lat=moved(place, metres, dice),
        )
        if dice.random() < 1 / 7:
            feed.add(
                place,
                set(),
                name=dice.choice(["Uusi paikka", "Vanha satama", None]),
                properties={name: f"8{len(feed.rows):03}" for name in properties(place)},
                lon_lat=moved(place, dice.uniform(0.4, 0.95) * REACH_OF_STOPS, dice),
            )
    return feed


@pytest.fixture(scope="module")
def helsinki(helsinki_pbf: Path) -> pa.Table:
    """The helper places that the nodes of the real sample are or have."""
    nodes = [
        (node.id, node.location.lon, node.location.lat, {tag.k: tag.v for tag in node.tags})
        for node in osmium.FileProcessor(str(helsinki_pbf), osmium.osm.NODE)
        if isinstance(node, osmium.osm.Node) and node.tags
    ]
    ids, lon, lat, tags = (list(column) for column in zip(*nodes, strict=True))
    objects = osm_nodes(ids, lon, lat, timestamp=datetime(2019, 4, 21, tzinfo=UTC))
    return derive(
        objects, tags, day=date(2019, 4, 21), namer=NAMER, licence="ODbL-1.0", attribution="© OSM"
    ).table


def by_ref(osm: pa.Table) -> list[list[Mapping[str, Any]]]:
    """Return the stops and stations that have a code, those with one code together."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for place in osm.to_pylist():
        code = json.loads(place["tags"]).get("ref", "")
        if place["kind"] in STOPS and len(code) > 2 and code.isdigit():
            groups[place["kind"], code].append(place)
    return [*groups.values()]


def without_some(osm: pa.Table, dice: random.Random) -> pa.Table:
    """Return a table without one of ten places."""
    return osm.filter(pa.array([dice.random() < 0.9 for _ in range(osm.num_rows)]))


@pytest.mark.parametrize("seed", range(3))
def test_stops_and_stations_whose_codes_prove_the_truth_are_linked(
    helsinki: pa.Table, seed: int
) -> None:
    dice = random.Random(seed)
    feed = invent(
        by_ref(helsinki), dice, lambda place: {"stop_code": json.loads(place["tags"])["ref"]}
    )
    found = measure(feed.table(), without_some(helsinki, dice), feed.truth)
    assert found.there > 90
    assert found.recall >= 0.95
    assert found.precision >= 0.99, found.wrong


@pytest.mark.parametrize("seed", range(3))
def test_stops_are_rarely_linked_wrongly_where_the_feed_has_no_codes(
    helsinki: pa.Table, seed: int
) -> None:
    # Stops of one name on both sides of a street: it is better to link none than the wrong one.
    dice = random.Random(seed)
    feed = invent(by_ref(helsinki), dice, lambda _: {})
    found = measure(feed.table(), without_some(helsinki, dice), feed.truth)
    assert found.recall >= 0.75
    assert found.precision >= 0.95, found.wrong


@pytest.mark.parametrize("seed", range(3))
def test_places_with_names_are_linked_and_their_neighbours_are_not(seed: int) -> None:
    dice = random.Random(seed)
    kinds = ("pharmacy", "toilets", "bicycle_rental")
    osm = Invented()
    for number in range(300):
        kind = dice.choice(kinds)
        osm.add(
            {"kind": kind},
            set(),
            name="".join(SYLLABLES[int(each)] for each in str(1000 + number)).title(),
            properties={},
            lon_lat=(24.9 + number % 20 / 300, 60.1 + number // 20 / 600),
        )
    feed = invent([[row] for row in osm.rows], dice, lambda _: {})
    found = measure(feed.table(), without_some(osm.table(), dice), feed.truth)
    assert found.recall >= 0.9
    assert found.precision >= 0.98, found.wrong


SYLLABLES = ("ka", "sto", "ri", "lun", "mä", "pel", "vi", "hor", "tes", "gu")


@pytest.mark.real_data
def test_the_stations_of_a_real_feed_are_linked_by_their_ids_and_by_their_names(
    osm_test_data: Path,
) -> None:
    feed = feed_of(
        FOUNTAINS,
        kind="bicycle_rental",
        record_id="ID",
        fields={"name": "Nimi", "name:sv": "Namn", "name:en": "Name"},
        delimiter=",",
        encoding="utf-8",
    )
    path = osm_test_data / "feeds" / "hsl-stations.csv"
    box = (24.6, 60.0, 25.3, 60.4)
    places = read_feed(path, feed, bbox=box, boundary=BboxBoundary(Bbox(*box)), namer=NAMER).table
    dice = random.Random(1)
    for tags in ({"ref": "{:03}"}, {}):
        osm = Invented()
        truth: dict[str, set[str]] = {}
        for place in places.to_pylist():
            properties = {
                key: value.format(int(place["source_ref"].partition("#")[0]))
                for key, value in tags.items()
            }
            osm.add(
                place,
                set(),
                name=f"{place['name']} city bike station",
                properties=properties,
                lon_lat=moved(place, min(abs(dice.gauss(0, 8)), 25), dice),
            )
            truth[place["source_ref"]] = {osm.rows[-1]["source_ref"]}
            osm.add(
                place,
                set(),
                name=None,
                properties=dict.fromkeys(tags, "9999"),
                lon_lat=moved(place, dice.uniform(35, 48), dice),
            )
        found = measure(places, osm.table(), truth)
        assert (found.right, found.wrong) == (20, [])
