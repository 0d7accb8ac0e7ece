"""Which new feature is a place that is gone: invented places around one point."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.promotion.identity import (
    REACH_M,
    Matching,
    Place,
    is_reused,
    match,
    twins,
)
from ingestion_pipeline.text.contacts import contacts
from ingestion_pipeline.text.names import names_by_language

if TYPE_CHECKING:
    from random import Random

LON, LAT = 9.52, 47.14
METRES_OF_A_DEGREE = 111_195  # of latitude, on the sphere


def at(east: float, north: float, *, lon: float = LON, lat: float = LAT) -> tuple[float, float]:
    """Return the longitude and latitude of a point some metres east and north of another."""
    wide = METRES_OF_A_DEGREE * np.cos(np.radians(lat))
    return (lon + east / wide + 180) % 360 - 180, lat + north / METRES_OF_A_DEGREE


def place(
    ref: str,
    tags: str,
    east: float = 0.0,
    north: float = 0.0,
    *,
    size: float = 0.0,
    lon: float = LON,
    lat: float = LAT,
) -> Place:
    """Return a feature with tags (`amenity=cafe|name=Sun`).

    Args:
        ref: Its `source_ref`.
        tags: Its tags.
        east: Metres east of the point.
        north: Metres north of it.
        size: 0 for a node; the side of the square of an area in metres, with its middle there.
        lon: The point.
        lat: The point.
    """
    tagged = dict(tag.split("=", 1) for tag in tags.split("|"))
    found = Taxonomy.load().classify(tagged)
    assert found is not None
    x, y = at(east, north, lon=lon, lat=lat)
    half = size / 2
    corners = [
        at(east + dx, north + dy, lon=lon, lat=lat) for dx in (-half, half) for dy in (-half, half)
    ]
    return Place(
        ref=ref,
        category=found.category,
        categories=found.categories,
        name=tagged.get("name"),
        names=names_by_language(tagged),
        tags=tagged,
        contact=contacts(tagged, country="LI"),
        wikidata=tagged.get("wikidata"),
        geometry=shapely.convex_hull(shapely.MultiPoint(corners)) if size else shapely.Point(x, y),
        lon=x,
        lat=y,
        geom_quality="ok",
    )


def linked(gone: list[Place], new: list[Place]) -> dict[str, str]:
    """Return the refs that are linked; all else is neither linked nor ambiguous."""
    found = match(gone, new)
    assert found.ambiguous == ()
    return {link.gone: link.new for link in found.links}


def in_doubt(found: Matching) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    assert found.links == ()
    return [(each.gone, each.new) for each in found.ambiguous]


def test_a_node_that_is_replaced_by_its_building_is_the_same_place_with_evidence() -> None:
    node = place("node/1", "amenity=cafe|name=Café Sonne|website=https://www.sonne.example/")
    building = place(
        "way/1",
        "amenity=cafe|name=Cafe Sonne|building=yes|website=http://sonne.example",
        4,
        size=20,
    )
    (link,) = match([node], [building]).links
    assert (link.gone, link.new) == ("node/1", "way/1")
    assert link.score > 0.99
    evidence: dict[str, Any] = json.loads(json.dumps(link.evidence))
    assert evidence == {
        "metres": 0.0,
        "category": "equal",
        "name_similarity": 1.0,
        "bits": 22.0,
        "inside": True,
        "same": ["website"],
    }


def test_the_score_is_the_odds_of_the_evidence() -> None:
    one, other = (
        place("node/1", "amenity=cafe|name=Sonne"),
        place("node/2", "amenity=cafe|name=Sonne"),
    )
    (link,) = match([one], [other]).links
    # 3 bits for the same spot, 2 for the category, 8 for the name: 9 above the threshold.
    assert link.evidence["bits"] == 13.0
    assert link.score == round(512 / 513, 3)


def test_nothing_matches_nothing() -> None:
    some = [place("node/1", "amenity=cafe|name=Sonne")]
    assert match([], []) == match(some, []) == match([], some) == Matching((), ())


def test_shops_of_one_chain_in_a_row_are_linked_where_they_are() -> None:
    row = range(0, 100, 25)
    gone = [place(f"node/{east}", "shop=kiosk|name=Tabak", east) for east in row]
    new = [place(f"way/{east}", "shop=kiosk|name=Tabak", east, 2, size=10) for east in row]
    assert linked(gone, new) == {f"node/{east}": f"way/{east}" for east in row}


def test_shops_of_one_chain_that_could_be_either_are_left_to_a_person() -> None:
    gone = [
        place("node/1", "shop=kiosk|name=Tabak", 0),
        place("node/2", "shop=kiosk|name=Tabak", 6),
    ]
    new = [place("node/3", "shop=kiosk|name=Tabak", 2), place("node/4", "shop=kiosk|name=Tabak", 5)]
    found = match(gone, new)
    assert in_doubt(found) == [(("node/1", "node/2"), ("node/3", "node/4"))]
    pairs = found.ambiguous[0].evidence["pairs"]
    assert [(pair["gone"], pair["new"]) for pair in pairs] == [
        ("node/1", "node/3"),
        ("node/1", "node/4"),
        ("node/2", "node/3"),
        ("node/2", "node/4"),
    ]
    assert pairs[0]["metres"] == 2.0


def test_a_renamed_cafe_with_its_old_website_is_the_same_place() -> None:
    gone = [place("node/1", "amenity=cafe|name=Zum Anker|website=https://hafen.example/")]
    renamed = place("way/1", "amenity=cafe|name=Lumen|website=hafen.example", 5, size=12)
    assert linked(gone, [renamed]) == {"node/1": "way/1"}


def test_a_cafe_that_follows_another_at_the_same_address_is_another_place() -> None:
    address = "addr:street=Am Markt|addr:housenumber=3"
    gone = [place("node/1", f"amenity=cafe|name=Zum Anker|{address}")]
    assert linked(gone, [place("node/2", f"amenity=cafe|name=Lumen|{address}", 1)]) == {}


def test_a_website_that_several_places_have_identifies_none_of_them() -> None:
    chain = "website=https://chain.example/"
    gone = [place("node/1", f"amenity=cafe|name=Anker|{chain}")]
    new = [
        place("node/2", f"amenity=cafe|name=Lumen|{chain}", 1),
        place("node/3", f"amenity=bank|name=Sparer|{chain}", 90),
    ]
    assert linked(gone, new) == {}


def test_a_bank_that_moved_across_the_street_is_the_same_place() -> None:
    gone = [place("node/1", "amenity=bank|name=Landesbank|phone=+423 236 88 11")]
    new = [place("node/2", "amenity=bank|name=Landesbank Filiale|phone=+423 236 88 11", 25, 15)]
    (link,) = match(gone, new).links
    assert link.new == "node/2"
    assert link.evidence["metres"] == pytest.approx(29.2, abs=0.2)
    assert link.evidence["same"] == ["phone"]


def test_neighbours_that_are_swapped_follow_their_names() -> None:
    gone = [
        place("node/1", "shop=bakery|name=Huber", 0),
        place("node/2", "shop=bakery|name=Wolf", 9),
    ]
    new = [
        place("node/3", "shop=bakery|name=Wolf", 0),
        place("node/4", "shop=bakery|name=Huber", 9),
    ]
    assert linked(gone, new) == {"node/1": "node/4", "node/2": "node/3"}


@pytest.mark.parametrize(("east", "found"), [(2, {"node/1": "node/2"}), (12, {})])
def test_an_unnamed_bench_is_the_same_within_a_few_metres_only(
    east: float, found: dict[str, str]
) -> None:
    assert (
        linked([place("node/1", "amenity=bench")], [place("node/2", "amenity=bench", east)])
        == found
    )


def test_of_two_unnamed_benches_beside_the_old_one_none_is_taken() -> None:
    new = [place("node/2", "amenity=bench", 2), place("node/3", "amenity=bench", -2.5)]
    assert in_doubt(match([place("node/1", "amenity=bench")], new)) == [
        (("node/1",), ("node/2", "node/3"))
    ]


def test_a_place_that_is_split_in_two_is_left_to_a_person() -> None:
    gone = [place("way/1", "amenity=school|name=Schule am See", size=60)]
    new = [
        place("way/2", "amenity=school|name=Schule am See", -15, size=30),
        place("way/3", "amenity=school|name=Schule am See", 15, size=30),
    ]
    assert in_doubt(match(gone, new)) == [(("way/1",), ("way/2", "way/3"))]


def test_two_places_that_are_merged_are_left_to_a_person() -> None:
    gone = [
        place("way/2", "amenity=school|name=Schule am See", -15, size=30),
        place("way/3", "amenity=school|name=Schule am See", 15, size=30),
    ]
    new = [place("way/1", "amenity=school|name=Schule am See", size=60)]
    assert in_doubt(match(gone, new)) == [(("way/2", "way/3"), ("way/1",))]


def test_a_better_candidate_does_not_cost_the_other_place_its_own() -> None:
    gone = [
        place("node/1", "shop=kiosk|name=Tabak Müller"),
        place("node/2", "shop=kiosk|name=Tabak", 30),
    ]
    new = [
        place("node/3", "shop=kiosk|name=Tabak Müller", 1),
        place("node/4", "shop=kiosk|name=Tabak", 31),
    ]
    assert linked(gone, new) == {"node/1": "node/3", "node/2": "node/4"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "amenity=restaurant|name=北京烤鸭店|name:en=Beijing Duck",
            "amenity=restaurant|name=Beijing Duck",
        ),
        (
            "amenity=restaurant|name=Löwen",
            "amenity=restaurant|name=Restaurant Loewen|alt_name=LÖWEN",
        ),
        ("amenity=restaurant|name=Löwen", "amenity=restaurant|name=Drei Kronen|old_name=Löwen"),
        ("amenity=restaurant|name=Löwen", "amenity=pub|name=Gasthof Löwen"),
        ("amenity=fuel|operator=Anker", "amenity=fuel|name=Anker|brand=Anker"),
        ("shop=yes|name=Löwen", "shop=bakery|name=Löwen"),
        ("amenity=parking", "amenity=parking|parking=surface"),
        ("amenity=restaurant|name=Kiosk|wikidata=Q1", "tourism=hotel|name=Kiosk|wikidata=Q1"),
    ],
)
def test_places_that_go_together_are_linked(before: str, after: str) -> None:
    assert linked([place("node/1", before)], [place("way/1", after, 3, size=10)]) == {
        "node/1": "way/1"
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("amenity=restaurant|name=Löwen", "amenity=restaurant|name=Krone"),
        ("amenity=school|name=Schule 1", "amenity=school|name=Schule 2"),
        ("amenity=bank|name=Post", "amenity=post_box|name=Post"),
        ("amenity=cafe", "amenity=bank"),
        ("amenity=bicycle_wash_unknown", "amenity=other_unknown"),
        ("amenity=post_box|ref=11", "amenity=post_box|ref=12"),
        (
            "tourism=museum|name=Museum|wikidata=Q1",
            "tourism=museum|name=Museum der Post|wikidata=Q2",
        ),
        ("highway=bus_stop|ref:IFOPT=a", "highway=bus_stop|ref:IFOPT=b"),
        ("leisure=pitch|sport=tennis", "leisure=playground"),
    ],
)
def test_places_that_contradict_each_other_are_not_linked(before: str, after: str) -> None:
    assert linked([place("node/1", before)], [place("node/2", after, 2)]) == {}


def test_an_area_that_only_touches_another_is_its_neighbour() -> None:
    gone = [place("way/1", "amenity=parking", size=20)]
    assert linked(gone, [place("way/2", "amenity=parking", 20, size=20)]) == {}
    assert linked(gone, [place("way/3", "amenity=parking", 2, size=20)]) == {"way/1": "way/3"}


def test_a_named_place_far_away_is_not_linked() -> None:
    gone = [place("node/1", "amenity=cafe|name=Sonne")]
    assert linked(gone, [place("node/2", "amenity=cafe|name=Sonne", REACH_M + 5)]) == {}


def test_a_name_that_many_have_links_only_what_is_near() -> None:
    gone = [place("node/1", "amenity=parking|name=Kundenparkplatz")]
    others = [
        place(f"way/{n}", "amenity=parking|name=Kundenparkplatz", 80 + 300 * n) for n in range(4)
    ]
    assert linked(gone, others) == {}
    assert linked(gone, [place("way/9", "amenity=parking|name=Kundenparkplatz", 3), *others]) == {
        "node/1": "way/9"
    }


@pytest.mark.parametrize("lat", [0.0, 47.14, -54.8, 78.2])
@pytest.mark.parametrize("lon", [9.52, 179.9999, -179.9999])
def test_metres_are_metres_everywhere(lon: float, lat: float) -> None:
    gone = [place("node/1", "amenity=cafe|name=Sonne", lon=lon, lat=lat)]
    new = [place("node/2", "amenity=cafe|name=Sonne", 60, 80, lon=lon, lat=lat)]
    (link,) = match(gone, new).links
    _, _, metres = Geod(ellps="WGS84").inv(gone[0].lon, gone[0].lat, new[0].lon, new[0].lat)
    assert link.evidence["metres"] == pytest.approx(metres, rel=0.01)


def test_an_area_on_both_sides_of_the_antimeridian_holds_the_points_of_both() -> None:
    half = [shapely.box(179.999, -17, 180, -16.999), shapely.box(-180, -17, -179.999, -16.999)]
    area = replace(
        place("relation/1", "tourism=hotel|name=Meridian"),
        geometry=shapely.MultiPolygon(half),
        lon=179.9995,
        lat=-16.9995,
    )
    for lon in (179.9993, -179.9993):
        node = place("node/1", "tourism=hotel|name=Meridian", lon=lon, lat=-16.9995)
        for gone, new in ((area, node), (node, area)):
            (link,) = match([gone], [new]).links
            assert link.evidence["inside"]
            assert link.evidence["metres"] == 0.0


CATEGORIES = ("amenity=bench", "amenity=cafe", "amenity=restaurant", "shop=kiosk")
NAMES = (
    "",
    "|name=Sonne",
    "|name=Sonne 2",
    "|name=Gasthof Sonne",
    "|name=Mond|website=mond.example",
)


@st.composite
def some_places(draw: st.DrawFn, kind: str) -> list[Place]:
    return [
        place(
            f"{kind}/{number}",
            draw(st.sampled_from(CATEGORIES)) + draw(st.sampled_from(NAMES)),
            draw(st.integers(0, 30)),
            draw(st.integers(0, 5)),
            size=draw(st.sampled_from([0, 0, 8])),
        )
        for number in range(draw(st.integers(0, 7)))
    ]


@settings(deadline=None)  # the first example imports SciPy
@given(some_places("node"), some_places("way"), st.randoms(use_true_random=False))
def test_the_result_does_not_depend_on_the_order_of_the_places(
    gone: list[Place], new: list[Place], chance: Random
) -> None:
    found = match(gone, new)
    both = twins(gone + new)
    for places in (gone, new):
        chance.shuffle(places)
    assert match(gone, new) == found
    assert twins(new + gone) == both


@settings(deadline=None)  # the first example imports SciPy
@given(some_places("node"), some_places("way"))
def test_each_place_is_in_one_link_or_ambiguity_at_most(
    gone: list[Place], new: list[Place]
) -> None:
    found = match(gone, new)
    for side in ("gone", "new"):
        refs = [getattr(link, side) for link in found.links]
        refs += [ref for each in found.ambiguous for ref in getattr(each, side)]
        assert len(refs) == len(set(refs))
    assert all(link.score > 0.5 for link in found.links)
    json.dumps(
        [link.evidence for link in found.links] + [each.evidence for each in found.ambiguous]
    )


@settings(deadline=None)  # the first example imports SciPy
@given(some_places("node"), some_places("way"))
def test_time_backwards_gives_the_same_links(gone: list[Place], new: list[Place]) -> None:
    forth, back = match(gone, new), match(new, gone)
    assert {(link.gone, link.new) for link in forth.links} == {
        (link.new, link.gone) for link in back.links
    }


def test_a_node_in_an_area_with_the_same_name_is_its_twin() -> None:
    area = place("way/1", "amenity=school|name=Primarschule", size=50)
    node = place("node/1", "amenity=school|name=Primarschule Au", 10, 10)
    (twin,) = twins([node, area, place("node/2", "amenity=bench", 5)])
    assert (twin.area, twin.node) == ("way/1", "node/1")
    assert twin.evidence["name_similarity"] == 0.9
    assert twin.evidence["inside"]


def test_areas_alone_and_nodes_alone_have_no_twins() -> None:
    areas = [place(f"way/{n}", "amenity=school", size=50) for n in (1, 2)]
    assert twins([]) == twins(areas) == twins([place("node/1", "amenity=school")]) == ()


@pytest.mark.parametrize(
    ("area", "node"),
    [
        ("amenity=school|name=Primarschule", "amenity=school|name=Musikschule"),
        ("amenity=school|name=Primarschule", "amenity=cafe|name=Primarschule"),
        ("amenity=restaurant|name=Sonne|level=0", "amenity=restaurant|name=Sonne|level=1"),
        ("tourism=museum|wikidata=Q1", "tourism=museum|wikidata=Q2"),
        ("shop=yes", "shop=bakery|name=Huber"),
        ("building=hotel", "amenity=restaurant|name=Krone"),
        ("building=church", "historic=tomb|name=A bishop"),
        ("building=hotel|name=Krone", "tourism=hotel|name=Adler"),
    ],
)
def test_a_node_in_an_area_that_is_another_place_is_no_twin(area: str, node: str) -> None:
    assert twins([place("way/1", area, size=50), place("node/1", node, 10)]) == ()


@pytest.mark.parametrize(
    ("outline", "node"),
    [
        ("building=hotel", "tourism=hotel|name=Krone"),
        ("building=hotel|name=Krone", "tourism=guest_house|name=Gasthof Krone"),
        ("building=church", "amenity=place_of_worship|religion=christian|name=St. Anna"),
        ("building=train_station", "public_transport=station|railway=station|train=yes"),
    ],
)
def test_a_node_that_says_what_a_building_is_is_its_twin(outline: str, node: str) -> None:
    (twin,) = twins([place("way/1", outline, size=50), place("node/1", node, 10)])
    assert twin.evidence["category"] == "sibling"


def test_of_nested_areas_the_smallest_is_the_twin() -> None:
    areas = [place(f"way/{size}", "amenity=school|name=Au", size=size) for size in (90, 40, 60)]
    (twin,) = twins([*areas, place("node/1", "amenity=school|name=Au", 5)])
    assert twin.area == "way/40"


def test_of_several_nodes_in_an_area_only_the_one_with_its_name_is_a_twin() -> None:
    nodes = [place(f"node/{n}", "amenity=school", 3 * n) for n in (1, 2)]
    area = place("way/1", "amenity=school|name=Au", size=50)
    assert twins([area, *nodes]) == ()
    (twin,) = twins([area, *nodes, place("node/3", "amenity=school|name=Au", 9)])
    assert twin.node == "node/3"


def test_an_id_with_another_category_and_name_elsewhere_is_reused() -> None:
    before = place("node/1", "amenity=cafe|name=Sonne")
    evidence = is_reused(before, place("node/1", "shop=car_repair|name=Garage Falk", 300))
    assert evidence is not None
    assert json.loads(json.dumps(evidence)) == {
        "metres": pytest.approx(300, abs=1),
        "category": "contradicting",
        "categories": ["amenity/cafe", "shop/car_repair"],
        "name_similarity": pytest.approx(0.2, abs=0.2),
        "names": ["Sonne", "Garage Falk"],
    }


@pytest.mark.parametrize(
    ("before", "after", "east"),
    [
        ("amenity=cafe|name=Sonne", "amenity=bank|name=Landesbank", 0),
        ("amenity=cafe|name=Sonne", "amenity=bank|name=Sonne", 300),
        ("amenity=cafe|name=Sonne", "amenity=cafe|name=Mond", 300),
        ("amenity=cafe|name=Sonne", "amenity=cafe|name=Sonne", 3000),
        ("amenity=cafe|name=Sonne|wikidata=Q1", "amenity=bank|name=Landesbank|wikidata=Q1", 300),
        ("amenity=bench", "amenity=waste_basket", 300),
    ],
)
def test_an_id_that_kept_something_is_the_same_place(before: str, after: str, east: float) -> None:
    assert is_reused(place("node/1", before), place("node/1", after, east)) is None
