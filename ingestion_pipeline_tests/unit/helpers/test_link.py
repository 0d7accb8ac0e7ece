"""The same place in a feed and in OpenStreetMap: invented places around one point."""

from __future__ import annotations

import json
import random
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from pyproj import Geod

from ingestion_pipeline.helpers.link import DEFAULT_REACH_M, REACH_M, link, pairs

LON, LAT = 49.12, 55.79
GEOD = Geod(ellps="WGS84")


class Place(NamedTuple):
    """A place some metres east and north of the point."""

    ref: str
    east: float = 0.0
    north: float = 0.0
    name: str | None = None
    names: dict[str, str] = {}  # noqa: RUF012
    kind: str = "pharmacy"


def table(*places: Place, lat: float = LAT) -> pa.Table:
    lons, lats = [], []
    for place in places:
        lon, there, _ = GEOD.fwd(LON, lat, 90, place.east)
        lon, there, _ = GEOD.fwd(lon, there, 0, place.north)
        lons.append(lon)
        lats.append(there)
    text = pa.string()
    return pa.table(
        {
            "source_ref": pa.array([place.ref for place in places], text),
            "kind": pa.array([place.kind for place in places], text),
            "name": pa.array([place.name for place in places], text),
            "names": pa.array([json.dumps(place.names) for place in places], text),
            "lon": pa.array(lons, pa.float64()),
            "lat": pa.array(lats, pa.float64()),
            "links": pa.array(["[]"] * len(places), text),
        }
    )


def links(feed: pa.Table, osm: pa.Table) -> list[Any]:
    return [json.loads(str(text)) for text in link(feed, osm).column("links").to_pylist()]


def linked(ours: list[Place], theirs: list[Place]) -> dict[str, str]:
    feed, osm = table(*ours), table(*theirs)
    return {ours[pair.feed_index].ref: theirs[pair.other_index].ref for pair in pairs(feed, osm)}


def test_a_place_near_by_with_an_alike_name_is_linked_with_its_evidence() -> None:
    feed = table(Place("1#pharmacy", name="Central Pharmacy"))
    osm = table(Place("node/7#pharmacy", east=30, name="Pharmacy Central Ltd"))
    assert links(feed, osm) == [
        [
            {
                "source": "osm",
                "source_ref": "node/7#pharmacy",
                "distance_m": 30.0,
                "name_similarity": 0.89,
                "score": 0.645,
            }
        ]
    ]


def test_nothing_but_the_links_is_changed() -> None:
    feed = table(Place("1#pharmacy"), Place("2#pharmacy", east=1000))
    done = link(feed, table(Place("node/7#pharmacy")))
    assert done.drop_columns(["links", "content_hash"]).equals(feed.drop_columns("links"))
    assert done.column_names == [*feed.column_names, "content_hash"]
    assert done.column("links")[1].as_py() == "[]"


@pytest.mark.parametrize("kind", ["pharmacy", "bench", "hospital"])
@pytest.mark.parametrize("lat", [0.0, LAT, -80.0])
@pytest.mark.parametrize("across", [(1.0, 0.0), (0.0, 1.0), (0.7, 0.7)])
def test_how_near_depends_on_the_kind_and_on_nothing_else(
    kind: str, lat: float, across: tuple[float, float]
) -> None:
    reach = REACH_M.get(kind, DEFAULT_REACH_M) / (across[0] ** 2 + across[1] ** 2) ** 0.5
    feed = table(Place("1", kind=kind), lat=lat)
    for factor, count in ((0.97, 1), (1.03, 0)):
        east, north = (reach * factor * part for part in across)
        osm = table(Place("node/1", east=east, north=north, kind=kind), lat=lat)
        assert len(pairs(feed, osm)) == count


def test_places_of_two_kinds_are_never_linked() -> None:
    assert linked([Place("1", kind="atm")], [Place("node/1", kind="bank")]) == {}


@pytest.mark.parametrize(
    ("ours", "theirs", "alike"),
    [
        ("Central Pharmacy", "CENTRAL PHARMACY", True),
        ("Central Pharmacy", "Old Pharmacy", False),
        ("Аптека № 1", "Аптека №1", True),
        ("Аптека № 1", "Аптека № 2", False),
        ("Аптека № 1", None, True),
        (None, None, True),
    ],
)
def test_names_that_are_not_alike_are_two_places(
    ours: str | None, theirs: str | None, alike: bool
) -> None:
    assert bool(linked([Place("1", name=ours)], [Place("node/1", name=theirs)])) == alike


def test_the_names_may_be_alike_in_any_language() -> None:
    ours = Place("1", name="Central Pharmacy")
    theirs = Place("node/1", name="Аптека", names={"en": "Central pharmacy", "und": "Аптека"})
    assert linked([ours], [theirs]) == {"1": "node/1"}


def test_each_place_has_one_partner_and_the_best_pair_comes_first() -> None:
    ours = [Place("1", east=0), Place("2", east=20)]
    theirs = [Place("node/1", east=18), Place("node/2", east=-25)]
    assert linked(ours, theirs) == {"2": "node/1", "1": "node/2"}


def test_a_name_counts_more_than_some_metres() -> None:
    ours = [Place("1", name="Central Pharmacy")]
    theirs = [Place("node/1", east=5), Place("node/2", east=15, name="Central Pharmacy")]
    assert linked(ours, theirs) == {"1": "node/2"}


def test_the_order_of_the_rows_makes_no_difference() -> None:
    dice = random.Random(7)
    ours = [Place(f"{n:03}", dice.uniform(0, 400), dice.uniform(0, 400)) for n in range(60)]
    theirs = [Place(f"node/{n}", dice.uniform(0, 400), dice.uniform(0, 400)) for n in range(60)]
    # Doubles, which only their refs tell apart.
    ours += [place._replace(ref=place.ref + "b") for place in ours[:20]]
    expected = linked(ours, theirs)
    assert 20 < len(expected) == len(set(expected.values()))
    for _ in range(3):
        dice.shuffle(ours)
        dice.shuffle(theirs)
        assert linked(ours, theirs) == expected


@pytest.mark.parametrize(("ours", "theirs"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_linked_where_one_side_has_no_places(ours: int, theirs: int) -> None:
    feed = table(*(Place(str(n)) for n in range(ours)))
    osm = table(*(Place(f"node/{n}") for n in range(theirs)))
    assert links(feed, osm) == [[]] * ours
