"""The same place in a feed and in OpenStreetMap: invented places around one point."""

from __future__ import annotations

import json
import random
from datetime import date
from typing import Any, NamedTuple

import pyarrow as pa
import pytest
from pyproj import Geod

from ingestion_pipeline.helpers.derive import derive
from ingestion_pipeline.helpers.link import (
    DEFAULT_REACH_M,
    DISTANCE_ALONE_SHARE,
    REACH_M,
    link,
    pairs,
)
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.osm_objects import osm_nodes

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
    name_source: str = "name"
    tags: dict[str, Any] = {}  # noqa: RUF012
    attributes: dict[str, str] = {}  # noqa: RUF012
    parent: str | None = None


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
            "name_source": pa.array([place.name_source for place in places], text),
            "tags": pa.array([json.dumps(place.tags) for place in places], text),
            "attributes": pa.array([json.dumps(place.attributes) for place in places], text),
            "parent_ref": pa.array([place.parent for place in places], text),
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
                "by": "name",
                "identifier": None,
                "distance_m": 30.0,
                "name_similarity": 1.0,
                "score": 0.7,
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
def test_how_near_depends_on_the_kind_and_on_whether_there_are_names(
    kind: str, lat: float, across: tuple[float, float]
) -> None:
    reach = REACH_M.get(kind, DEFAULT_REACH_M) / (across[0] ** 2 + across[1] ** 2) ** 0.5
    for name, share in (("Rathaus", 1.0), (None, DISTANCE_ALONE_SHARE)):
        feed = table(Place("1", kind=kind, name=name), lat=lat)
        for factor, count in ((0.97, 1), (1.03, 0)):
            east, north = (reach * share * factor * part for part in across)
            osm = table(Place("node/1", east=east, north=north, kind=kind, name=name), lat=lat)
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
    theirs_there = Place("node/1", east=20, name=theirs)
    assert bool(linked([Place("1", name=ours)], [theirs_there])) == alike


def test_the_names_may_be_alike_in_any_language() -> None:
    ours = Place("1", name="Central Pharmacy")
    theirs = Place("node/1", name="Аптека", names={"en": "Central pharmacy", "und": "Аптека"})
    assert linked([ours], [theirs]) == {"1": "node/1"}


@pytest.mark.parametrize(
    ("kind", "ours", "theirs"),
    [
        ("bicycle_rental", "Kasarmitori", "Kasarmitori city bike station"),
        ("bicycle_rental", "Kasarmitori", "Kasarmitori kaupunkipyöräasema"),
        ("bicycle_rental", "Kaserntorget", "Kaserntorget stadscykelstation"),
        ("bicycle_rental", "Piazza Dante", "Stazione Piazza Dante"),
        ("pharmacy", "Аптека Центральная", "Центральная"),
        ("pharmacy", "Farmacia San José", "SAN JOSE"),
        ("toilets", "Public Toilets Market Square", "Market Square WC"),
        ("toilets", "上野公園トイレ", "上野公園公衆トイレ"),
        ("public_transport_stop", "Bushaltestelle Rathaus", "Rathaus"),
    ],
)
def test_words_that_name_no_place_make_no_difference(kind: str, ours: str, theirs: str) -> None:
    there = Place("node/1", east=20, name=theirs, kind=kind)
    (pair,) = pairs(table(Place("1", name=ours, kind=kind)), table(there))
    assert (pair.by, pair.name_similarity) == ("name", 1.0)


def test_a_name_of_generic_words_alone_says_nothing() -> None:
    there = Place("node/1", east=20, name="Market Square", kind="toilets")
    (pair,) = pairs(table(Place("1", name="Public toilet", kind="toilets")), table(there))
    assert (pair.by, pair.name_similarity) == ("distance", None)


@pytest.mark.parametrize(("metres", "count"), [(1.3, 1), (5.0, 1), (5.2, 0), (40.0, 0)])
def test_a_different_name_is_no_veto_next_to_each_other(metres: float, count: int) -> None:
    ours = table(Place("1", name="Kasarmitori"))
    theirs = table(Place("node/1", east=metres, name="Upseerikasino"))
    assert [pair.by for pair in pairs(ours, theirs)] == ["distance"] * count


def test_another_number_is_a_veto_next_to_each_other_too() -> None:
    assert linked([Place("1", name="Platform 1")], [Place("node/1", name="Platform 2")]) == {}


@pytest.mark.parametrize("source", ["brand", "brand:en", "transliterated:brand"])
def test_the_name_of_a_brand_is_not_compared(source: str) -> None:
    theirs = Place("node/1", east=20, name="City Bike Finland", name_source=source)
    assert linked([Place("1", name="Kasarmitori")], [theirs]) == {"1": "node/1"}


def test_an_operator_is_no_name() -> None:
    lon, lat, _ = GEOD.fwd(LON, LAT, 90, 20)
    tags = {"amenity": "bicycle_rental", "operator": "City Bike Finland", "brand": "City Bikes"}
    objects = osm_nodes([1], [lon], [lat])
    osm = derive(
        objects,
        [tags],
        day=date(2024, 6, 1),
        namer=Namer(["en"], None),
        licence="ODbL-1.0",
        attribution="© OpenStreetMap contributors",
    ).table
    (pair,) = pairs(table(Place("1", name="Kasarmitori", kind="bicycle_rental")), osm)
    assert (pair.by, pair.name_similarity) == ("distance", None)


def stops(count: int, *, shift: int = 0, of_osm: bool = False, **tags: str) -> list[Place]:
    """Make stops, 30 m apart, whose codes are from 4001 on."""
    return [
        Place(
            f"node/{n}" if of_osm else f"{n + 1}",
            east=30.0 * n + shift,
            kind="public_transport_stop",
            tags={key: value.format(4001 + n) for key, value in tags.items()},
        )
        for n in range(count)
    ]


def test_stops_with_a_shared_code_are_linked_though_another_stop_is_nearer() -> None:
    # The three others show that the codes are the same.
    ours = stops(4, stop_code="{}")
    theirs = [place._replace(east=place.east + 3) for place in stops(3, of_osm=True, ref="{}")]
    theirs.append(Place("node/3", north=-300.0, kind=ours[0].kind, tags={"ref": "4004"}))
    near = Place("node/4", east=91.0, kind=ours[0].kind)
    found = pairs(table(*ours), table(*theirs, near))
    assert {ours[pair.feed_index].ref: pair.other_index for pair in found} == {
        "1": 0,
        "2": 1,
        "3": 2,
        "4": 3,
    }
    assert {pair.by for pair in found} == {"identifier"}
    shared = found[0].identifier
    assert shared is not None
    assert (shared.scheme, shared.value) == (("stop_code", "ref"), "4001")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"stop_code": "{}"}, {"ref": "0{}"}),
        ({"KOODI": "H-{}"}, {"ref:findr": "h{}"}),
        ({"id": "{}"}, {"gtfs:stop_id": "9;{}"}),
    ],
)
def test_the_fields_and_the_spelling_of_identifiers_need_not_be_configured(
    ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    # Each place is nearer to its neighbour's than to its own.
    found = pairs(table(*stops(4, **ours)), table(*stops(4, shift=18, of_osm=True, **theirs)))
    assert {(pair.feed_index, pair.other_index) for pair in found} == {(n, n) for n in range(4)}


def test_another_identifier_of_a_trusted_scheme_is_a_veto() -> None:
    ours, theirs = stops(4, stop_code="{}"), stops(4, of_osm=True, ref="{}")
    theirs[3] = theirs[3]._replace(tags={"ref": "7777"})
    assert "4" not in linked(ours, theirs)


def test_numbers_that_agree_by_chance_are_no_identifiers() -> None:
    # The records are numbered along the street, the stops of OpenStreetMap against it.
    ours = stops(9, number="{}")
    theirs = stops(9, of_osm=True, ref="{}")
    theirs = [
        place._replace(tags=other.tags) for place, other in zip(theirs, theirs[::-1], strict=True)
    ]
    found = pairs(table(*ours), table(*theirs))
    assert {(pair.feed_index, pair.other_index) for pair in found} == {(n, n) for n in range(9)}
    assert {pair.by for pair in found} == {"distance"}


def test_an_identifier_of_one_place_alone_counts_only_near_by() -> None:
    ours = [Place("501#bicycle_rental", name="Kasarmitori", kind="bicycle_rental")]
    theirs = Place("node/1", name="Carl", kind="bicycle_rental", tags={"ref": "501"})
    (pair,) = pairs(table(*ours), table(theirs._replace(east=30.0)))
    assert (pair.by, pair.score) == ("identifier", 1.0)
    assert linked(ours, [theirs._replace(east=60.0)]) == {}


def test_the_identifier_of_a_derived_places_parent_is_not_its_own() -> None:
    ours = stops(4, stop_code="{}")
    theirs = [
        place._replace(parent="way/1", east=place.east + 100)
        for place in stops(4, of_osm=True, ref="{}")
    ]
    assert all(pair.by == "distance" for pair in pairs(table(*ours), table(*theirs)))


def test_a_platform_number_identifies_no_stop_elsewhere() -> None:
    kind = "public_transport_stop"
    ours = [*stops(4, stop_code="{}"), Place("9", north=200.0, kind=kind, tags={"stop_code": "3"})]
    theirs = [*stops(4, of_osm=True, ref="{}"), Place("node/9", kind=kind, tags={"ref": "3"})]
    assert "9" not in linked(ours, theirs)


def test_no_place_is_linked_if_two_are_about_as_near() -> None:
    ours = [Place("1")]
    theirs = [Place("node/1", east=15.0), Place("node/2", east=-17.0)]
    assert linked(ours, theirs) == {}
    assert linked(ours, [theirs[0], Place("node/2", east=-40.0)]) == {"1": "node/1"}


@pytest.mark.parametrize("kind", ["bench", "bicycle_parking", "drinking_water", "toilets"])
def test_things_without_names_that_are_close_together_are_not_linked(kind: str) -> None:
    # The positions of publishers have errors of some metres, whatever the kind.
    ours = [Place("1", kind=kind)]
    theirs = [Place(f"node/{n}", east=2.0 + 6.0 * n, kind=kind) for n in range(3)]
    assert linked(ours, theirs) == {}
    assert linked(ours, theirs[:1]) == {"1": "node/0"}
    assert linked([*ours, Place("2", east=6.0, kind=kind)], theirs[:1]) == {}


def test_a_place_beyond_the_reach_is_a_rival() -> None:
    ours = [Place("1", kind="bench")]
    theirs = [Place("node/1", east=2.5, kind="bench"), Place("node/2", east=-6.0, kind="bench")]
    assert linked(ours, theirs) == {}


def test_a_stop_is_not_linked_to_the_one_of_its_name_across_the_street() -> None:
    ours = [Place("1", name="Rathaus", kind="public_transport_stop")]
    across = Place("node/2", east=-17.0, name="Rathaus", kind="public_transport_stop")
    assert linked(ours, [across._replace(ref="node/1", east=10.0), across]) == {}
    assert linked(ours, [across._replace(east=-28.0)]) == {}


def test_platforms_with_different_numbers_are_not_one_place_that_is_mapped_twice() -> None:
    kind = "public_transport_stop"
    theirs = [
        Place(f"way/{number}", east=number, kind=kind, tags={"ref": str(number)})
        for number in (1, 2)
    ]
    assert linked([Place("1", kind=kind)], theirs) == {}
    same = [place._replace(tags={"ref": "1"}) for place in theirs]
    assert linked([Place("1", kind=kind)], same) == {"1": "way/1"}


def test_a_place_that_is_mapped_twice_is_linked() -> None:
    theirs = [Place("node/1", east=15.0), Place("node/2", east=18.0)]
    assert linked([Place("1")], theirs) == {"1": "node/1"}


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
    ours = [Place(f"{n:03}", dice.uniform(0, 900), dice.uniform(0, 900)) for n in range(60)]
    theirs = [
        Place(f"node/{n}", place.east + dice.uniform(0, 30), place.north)
        for n, place in enumerate(ours)
    ]
    # Doubles, which only their refs tell apart.
    ours += [place._replace(ref=place.ref + "b") for place in ours[:20]]
    expected = linked(ours, theirs)
    assert 15 < len(expected) == len(set(expected.values()))
    for _ in range(3):
        dice.shuffle(ours)
        dice.shuffle(theirs)
        assert linked(ours, theirs) == expected


@pytest.mark.parametrize(("ours", "theirs"), [(0, 3), (3, 0), (0, 0)])
def test_nothing_is_linked_where_one_side_has_no_places(ours: int, theirs: int) -> None:
    feed = table(*(Place(str(n)) for n in range(ours)))
    osm = table(*(Place(f"node/{n}") for n in range(theirs)))
    assert links(feed, osm) == [[]] * ours
