"""The rules of geometry, on invented elements; real data stands in test_geometry_agreement.py."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely
from pyproj import Geod

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.geometry.complexity import MAX_TEXT
from ingestion_pipeline.geometry.points import representative_points
from ingestion_pipeline.osm.area_tags import is_area
from ingestion_pipeline.osm.assemble import (
    MAX_DEPTH,
    Elements,
    Member,
    Nested,
    areas_m2,
    assemble,
    canonical,
    relation_area,
)

if TYPE_CHECKING:
    from ingestion_pipeline.core.arrays import ObjectArray

Line = Sequence[tuple[float, float]]
NAN = float("nan")
MISSING = (NAN, NAN)
CAFE = {"amenity": "cafe"}
MULTIPOLYGON = {"type": "multipolygon", "leisure": "park"}


def square(x: float, y: float, size: float) -> list[tuple[float, float]]:
    return [(x, y), (x + size, y), (x + size, y + size), (x, y + size), (x, y)]


def way(ref: int, line: Line | None, role: str = "outer") -> Member:
    return Member("way", ref, role, None if line is None else np.array(line))


def node(ref: int, position: tuple[float, float] | None, role: str = "") -> Member:
    return Member("node", ref, role, None if position is None else np.array([position]))


def elements(
    *,
    nodes: Sequence[tuple[float, float]] = (),
    ways: Sequence[tuple[dict[str, str], Line]] = (),
    closed: Sequence[bool] | None = None,
    relations: Sequence[tuple[dict[str, str], list[Member]]] = (),
    nested: dict[int, Nested] | None = None,
) -> Elements:
    lines = [line for _, line in ways]
    moment = np.datetime64("2026-11-20T12:00:00", "s")
    return Elements(
        node_id=np.arange(1, len(nodes) + 1),
        node_version=np.full(len(nodes), 3),
        node_timestamp=np.full(len(nodes), moment),
        node_tags=TagSets.of([CAFE] * len(nodes)),
        node_xy=np.array(nodes, dtype=np.float64).reshape(-1, 2),
        way_id=np.arange(1, len(ways) + 1),
        way_version=np.full(len(ways), 3),
        way_timestamp=np.full(len(ways), moment),
        way_tags=TagSets.of(tags for tags, _ in ways),
        way_offsets=np.cumsum([0, *map(len, lines)], dtype=np.int64),
        way_xy=np.array([position for line in lines for position in line]).reshape(-1, 2),
        way_closed=np.array(
            [bool(line) and line[0] == line[-1] for line in lines] if closed is None else closed,
            dtype=np.bool_,
        ),
        relation_id=np.arange(1, len(relations) + 1),
        relation_version=np.full(len(relations), 3),
        relation_timestamp=np.full(len(relations), moment),
        relation_tags=TagSets.of(tags for tags, _ in relations),
        relation_members=[members for _, members in relations],
        nested=nested or {},
    )


def one(**given: Any) -> tuple[Any, str]:
    features, rejections = assemble(elements(**given))
    assert rejections == []
    assert len(features) == 1
    return features.geometry[0], features.geom_quality[0]


def rejected(**given: Any) -> str:
    features, rejections = assemble(elements(**given))
    assert len(features) == 0
    assert len(rejections) == 1
    return rejections[0].reason


def geometries(*wkts: str) -> ObjectArray:
    return np.array([shapely.from_wkt(wkt) for wkt in wkts], dtype=object)


# --- what is an area -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tags",
    [
        {"amenity": "parking"},
        {"leisure": "park"},
        {"highway": "services"},
        {"highway": "pedestrian", "area": "yes"},
        {"barrier": "wall", "area": "yes"},
        {"barrier": "fence", "amenity": "school"},
        {"barrier": "fence", "disused:amenity": "school"},
        {"barrier": "hedge", "building": "yes", "tourism": "attraction"},
        {"barrier": "wall", "historic": "castle"},
        {"highway": "footway", "public_transport": "platform"},
        {"railway": "station"},
        {"aerialway": "station"},
        {"attraction": "carousel"},
        {"natural": "beach"},
        {"man_made": "pier"},
        {"leisure": "track", "area": "yes"},
    ],
    ids=str,
)
def test_a_closed_way_is_an_area(tags: dict[str, str]) -> None:
    assert is_area(tags)


@pytest.mark.parametrize(
    "tags",
    [
        {"amenity": "parking", "area": "no"},
        {"highway": "pedestrian"},
        {"highway": "footway", "tourism": "attraction"},
        {"barrier": "wall", "historic": "memorial"},
        {"barrier": "wall", "building": "no"},
        {"historic": "citywalls"},
        {"historic": "citywalls", "tourism": "attraction"},
        {"leisure": "track"},
        {"leisure": "slipway"},
        {"attraction": "roller_coaster"},
        {"railway": "miniature", "tourism": "attraction"},
        {"aerialway": "zip_line"},
        {"waterway": "canal", "historic": "yes"},
        {"route": "ferry", "tourism": "yes"},
    ],
    ids=str,
)
def test_a_closed_way_is_a_line_by_nature(tags: dict[str, str]) -> None:
    assert not is_area(tags)


def test_a_closed_way_becomes_a_polygon_and_an_open_way_a_line() -> None:
    ring = square(0, 0, 1)
    features, _ = assemble(
        elements(ways=[(CAFE, ring), (CAFE, ring[:-1]), ({"leisure": "track"}, ring)])
    )
    assert [geometry.geom_type for geometry in features.geometry] == [
        "Polygon",
        "LineString",
        "LineString",
    ]
    assert list(features.geom_quality) == ["exact", "exact", "exact"]


def test_a_way_that_ends_where_it_began_but_at_another_node_is_open() -> None:
    geometry, quality = one(ways=[(CAFE, square(0, 0, 1))], closed=[False])
    assert (geometry.geom_type, quality) == ("LineString", "exact")


def test_lines_keep_their_direction() -> None:
    geometry, _ = one(ways=[(CAFE, [(3, 3), (2, 2), (1, 5)])])
    assert list(geometry.coords) == [(3, 3), (2, 2), (1, 5)]


def test_the_same_ring_begun_elsewhere_and_walked_backwards_gives_the_same_bytes() -> None:
    ring = square(0, 0, 1)
    turned = [*ring[2:-1], *ring[:3]][::-1]
    features, _ = assemble(elements(ways=[(CAFE, ring), (CAFE, turned)]))
    assert features.geometry[0].wkb == features.geometry[1].wkb


# --- ways that are not as they should be ---------------------------------------------------------


def test_a_bow_tie_keeps_both_halves() -> None:
    geometry, quality = one(ways=[(CAFE, [(0, 0), (2, 2), (2, 0), (0, 2), (0, 0)])])
    assert quality == "repaired"
    assert geometry.geom_type == "MultiPolygon"
    assert geometry.area == 2


def test_a_ring_of_no_area_becomes_a_line() -> None:
    geometry, quality = one(ways=[(CAFE, [(0, 0), (2, 2), (1, 1), (0, 0)])])
    assert (geometry.geom_type, quality) == ("LineString", "line")


def test_a_ring_of_two_nodes_becomes_a_line() -> None:
    geometry, quality = one(ways=[(CAFE, [(0, 0), (2, 2), (0, 0)])])
    assert (geometry.geom_type, quality) == ("LineString", "line")


def test_a_ring_of_one_place_becomes_a_point() -> None:
    geometry, quality = one(ways=[(CAFE, [(1, 2)] * 4)])
    assert (geometry.wkt, quality) == ("POINT (1 2)", "point")


def test_a_polygon_is_built_from_the_nodes_that_are_known() -> None:
    ring = square(0, 0, 2)
    geometry, quality = one(ways=[(CAFE, [MISSING, *ring[1:-1], MISSING])], closed=[True])
    assert quality == "partial"
    assert geometry.equals(shapely.Polygon(ring[1:-1]))


def test_a_line_is_built_from_the_nodes_that_are_known() -> None:
    geometry, quality = one(ways=[(CAFE, [(0, 0), MISSING, (2, 0)])])
    assert (geometry.wkt, quality) == ("LINESTRING (0 0, 2 0)", "partial")


def test_a_way_with_one_known_node_is_a_point() -> None:
    geometry, quality = one(ways=[(CAFE, [MISSING, (2, 0), MISSING])])
    assert (geometry.wkt, quality) == ("POINT (2 0)", "point")


@pytest.mark.parametrize("line", [[], [MISSING, MISSING]], ids=["none sent", "none known"])
def test_a_way_without_known_nodes_is_rejected(line: Line) -> None:
    assert rejected(ways=[(CAFE, line)]) == "missing_nodes"


@pytest.mark.parametrize("position", [(200.0, 0.0), (0.0, 90.1), (NAN, NAN), (np.inf, 0.0)])
def test_a_node_that_is_not_on_earth_is_rejected(position: tuple[float, float]) -> None:
    assert rejected(nodes=[position]) == "invalid_coordinates"


def test_a_way_with_a_node_that_is_not_on_earth_is_rejected() -> None:
    assert rejected(ways=[(CAFE, [(0, 0), (0, 91), (1, 1)])]) == "invalid_coordinates"


def test_a_relation_with_a_node_that_is_not_on_earth_is_rejected() -> None:
    members = [way(1, [(0, 0), (0, 91), (1, 1)])]
    assert rejected(relations=[(MULTIPOLYGON, members)]) == "invalid_coordinates"


def test_a_rejection_says_what_the_source_said_and_can_be_stored_as_json() -> None:
    _, [rejection] = assemble(elements(ways=[(CAFE, [])]))
    assert rejection.source_ref == "way/1"
    assert json.loads(json.dumps(rejection.raw)) == {
        "type": "way",
        "id": 1,
        "version": 3,
        "tags": {"amenity": "cafe"},
    }


# --- relations that are areas --------------------------------------------------------------------


def test_a_ring_of_several_ways_in_any_direction_closes() -> None:
    members = [
        way(1, [(0, 0), (2, 0)]),
        way(2, [(0, 2), (2, 2), (2, 0)]),
        way(3, [(0, 2), (0, 0)]),
    ]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert quality == "exact"
    assert geometry.equals(shapely.box(0, 0, 2, 2))


def test_an_inner_ring_is_a_hole_and_an_island_in_it_is_not() -> None:
    members = [
        way(1, square(0, 0, 10)),
        way(2, square(2, 2, 6), "inner"),
        way(3, square(4, 4, 2)),
    ]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert quality == "exact"
    assert geometry.area == 100 - 36 + 4
    assert geometry.geom_type == "MultiPolygon"


def test_roles_are_hints_only() -> None:
    members = [way(1, square(0, 0, 10), "inner"), way(2, square(2, 2, 6), "")]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (geometry.area, quality) == (64, "exact")


def test_inner_rings_that_share_a_side_are_one_hole() -> None:
    members = [
        way(1, square(0, 0, 10)),
        way(2, square(2, 2, 2), "inner"),
        way(3, square(4, 2, 2), "inner"),
    ]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert quality == "exact"
    assert len(geometry.interiors) == 1
    assert geometry.area == 100 - 8


def test_inner_rings_that_touch_in_a_point_are_two_holes() -> None:
    members = [
        way(1, square(0, 0, 10)),
        way(2, square(2, 2, 2), "inner"),
        way(3, square(4, 4, 2), "inner"),
    ]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (len(geometry.interiors), geometry.area, quality) == (2, 92, "exact")


def test_an_inner_ring_that_touches_the_outer_one_twice_cuts_it_in_two() -> None:
    members = [
        way(1, [(0, 0), (10, 0), (10, 5), (10, 10), (0, 10), (0, 5), (0, 0)]),
        way(2, [(0, 5), (5, 2), (10, 5), (5, 8), (0, 5)], "inner"),
    ]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (geometry.geom_type, geometry.area, quality) == ("MultiPolygon", 70, "exact")


def test_an_inner_ring_on_the_outer_ones_side_is_a_notch() -> None:
    members = [
        way(1, [(0, 0), (4, 0), (6, 0), (10, 0), (10, 10), (0, 10), (0, 0)]),
        way(2, [(4, 0), (6, 0), (6, 2), (4, 2), (4, 0)], "inner"),
    ]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert quality == "exact"
    assert (geometry.area, len(geometry.interiors)) == (96, 0)


def test_two_outer_rings_that_touch_in_a_point_are_two_parts() -> None:
    members = [way(1, square(0, 0, 2)), way(2, square(2, 2, 2))]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (geometry.geom_type, geometry.area, quality) == ("MultiPolygon", 8, "exact")


def test_a_segment_that_occurs_twice_is_no_side() -> None:
    spike = [(0, 0), (2, 0), (4, 0), (2, 0), (2, 2), (0, 2), (0, 0)]
    geometry, quality = one(relations=[(MULTIPOLYGON, [way(1, spike)])])
    assert geometry.equals(shapely.box(0, 0, 2, 2))
    assert quality == "exact"


def test_a_way_that_is_listed_twice_counts_once() -> None:
    members = [way(1, square(0, 0, 2)), way(1, square(0, 0, 2))]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (geometry.area, quality) == (4, "exact")


def test_rings_that_cross_without_a_node_are_repaired() -> None:
    members = [way(1, square(0, 0, 4)), way(2, square(3, 3, 4))]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert quality == "repaired"
    assert geometry.is_valid
    assert geometry.area == 16 + 16 - 2


def test_a_line_across_a_closed_ring_does_not_cut_it() -> None:
    outline = [(0, 0), (2, 0), (4, 0), (4, 4), (2, 4), (0, 4), (0, 0)]
    members = [way(1, outline), way(2, [(2, 0), (2, 4)])]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert geometry.equals(shapely.box(0, 0, 4, 4))
    assert quality == "repaired"


def test_closed_rings_are_kept_where_another_stays_open() -> None:
    members = [way(1, square(0, 0, 2)), way(2, [(5, 5), (6, 6), (7, 5)])]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert geometry.equals(shapely.box(0, 0, 2, 2))
    assert quality == "partial"


def test_closed_rings_keep_their_holes_where_another_stays_open() -> None:
    members = [
        way(1, square(0, 0, 4)),
        way(2, square(1, 1, 1), "inner"),
        way(3, [(5, 5), (6, 6), (7, 5)]),
    ]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (geometry.area, quality) == (15, "partial")


def test_a_courtyard_is_not_taken_for_the_building_whose_outline_is_cut_off() -> None:
    members = [way(1, [(0, 0), (9, 0), (9, 9)]), way(2, square(1, 1, 1), "inner"), way(3, None)]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (geometry.geom_type, quality) == ("MultiLineString", "line")


def test_a_ring_closes_over_nodes_that_are_missing() -> None:
    ring = square(0, 0, 2)
    members = [way(1, [ring[0], ring[1], MISSING, ring[3], ring[4]])]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert geometry.equals(shapely.Polygon([ring[0], ring[1], ring[3]]))
    assert quality == "partial"


def test_a_ring_whose_end_is_missing_stays_open() -> None:
    members = [way(1, [*square(0, 0, 2)[:-1], MISSING])]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (geometry.geom_type, quality) == ("LineString", "line")


def test_an_area_of_which_only_nodes_are_known_is_points() -> None:
    members = [way(1, None), node(2, (1, 1), "label"), node(3, (2, 2), "entrance"), node(4, None)]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert (geometry.wkt, quality) == ("MULTIPOINT ((1 1), (2 2))", "point")


def test_an_area_of_which_one_node_of_a_way_is_known_is_that_point() -> None:
    geometry, quality = one(relations=[(MULTIPOLYGON, [way(1, [MISSING, (1, 1)])])])
    assert (geometry.wkt, quality) == ("POINT (1 1)", "point")


@pytest.mark.parametrize("tags", [MULTIPOLYGON, {"type": "site"}], ids=str)
def test_a_relation_without_known_members_is_rejected(tags: dict[str, str]) -> None:
    members = [way(1, None), node(2, None), Member("relation", 3, "", None)]
    assert rejected(relations=[(tags, members)]) == "no_geometry"


def test_a_boundary_is_an_area_and_its_label_is_not_part_of_it() -> None:
    members = [way(1, square(0, 0, 2)), node(2, (9, 9), "admin_centre")]
    geometry, quality = one(relations=[({"type": "boundary"}, members)])
    assert geometry.equals(shapely.box(0, 0, 2, 2))
    assert quality == "exact"


def test_the_boundary_of_a_city_must_be_whole() -> None:
    whole: Any = relation_area([way(1, square(0, 0, 2))])
    assert whole.equals(shapely.box(0, 0, 2, 2))
    assert relation_area([way(1, square(0, 0, 2)), way(2, None)]) is None
    assert relation_area([way(1, square(0, 0, 2)), way(2, [(5, 5), (6, 6)])]) is None
    assert relation_area([way(1, [(0, 0), (2, 0), MISSING, (0, 2), (0, 0)])]) is None
    assert relation_area([node(1, (0, 0))]) is None


# --- relations that are no areas -----------------------------------------------------------------


SITE = {"type": "site", "tourism": "attraction"}
STOP_AREA = {"type": "public_transport", "public_transport": "stop_area"}
SQUARE = "POLYGON ((0 0, 0 2, 2 2, 2 0, 0 0))"
WITH_HOLE = "POLYGON ((4 4, 4 8, 8 8, 8 4, 4 4), (5 5, 6 5, 6 6, 5 6, 5 5))"


def collected(
    members: Sequence[Member], nested: dict[int, Nested] | None = None, kind: str = "site"
) -> tuple[str, str]:
    geometry, quality = one(relations=[({"type": kind}, list(members))], nested=nested or {})
    return geometry.wkt, quality


def relation(ref: int, role: str = "") -> Member:
    return Member("relation", ref, role, None)


@pytest.mark.parametrize("kind", ["site", "public_transport", "building", "street", ""])
def test_other_relations_are_all_of_their_members(kind: str) -> None:
    members = [node(3, (9, 9)), way(1, square(0, 0, 2), ""), way(2, [(6, 6), (5, 5)], "")]
    assert collected(members, kind=kind) == (
        f"GEOMETRYCOLLECTION ({SQUARE}, LINESTRING (6 6, 5 5), POINT (9 9))",
        "exact",
    )


def test_other_relations_of_one_dimension_are_no_collection() -> None:
    apart = [way(1, square(0, 0, 2)), way(2, square(5, 5, 1))]
    assert collected(apart) == (
        "MULTIPOLYGON (((5 5, 5 6, 6 6, 6 5, 5 5)), ((0 0, 0 2, 2 2, 2 0, 0 0)))",
        "exact",
    )
    lines = [way(1, [(0, 0), (1, 1)]), way(2, [(6, 6), (5, 5)])]
    assert collected(lines) == ("MULTILINESTRING ((0 0, 1 1), (6 6, 5 5))", "exact")


def test_areas_among_the_members_that_overlap_are_one() -> None:
    outline_and_part = [way(1, square(0, 0, 4), "outline"), way(2, square(1, 1, 2), "part")]
    assert collected(outline_and_part, kind="building") == (
        "POLYGON ((0 0, 0 4, 4 4, 4 0, 0 0))",
        "exact",
    )


@pytest.mark.parametrize(
    ("kind", "tags", "shape"),
    [
        ("site", {"building": "yes"}, "Polygon"),
        ("site", {"barrier": "wall"}, "LineString"),
        ("site", {"barrier": "wall", "area": "yes"}, "Polygon"),
        ("site", None, "Polygon"),
        ("route", {"highway": "footway"}, "LineString"),
        ("route", {"building": "yes"}, "Polygon"),
        ("route", None, "LineString"),
    ],
)
def test_a_closed_way_among_the_members_is_what_its_own_tags_say(
    kind: str, tags: dict[str, str] | None, shape: str
) -> None:
    member = Member("way", 1, "", np.array(square(0, 0, 2)), tags)
    geometry, quality = one(relations=[({"type": kind}, [member])])
    assert (geometry.geom_type, quality) == (shape, "exact")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (node(2, (5, 5)), node(2, (5, 5.0000001))),
        (way(3, [(7, 7), (8, 8)]), way(3, [(7, 7), (8, 8.0000001)])),
    ],
    ids=["a stop", "a track"],
)
def test_whichever_member_moves_the_geometry_differs(before: Member, after: Member) -> None:
    platform = way(1, square(0, 0, 2))
    shapes = [one(relations=[(STOP_AREA, [platform, each])])[0] for each in (before, after)]
    assert shapes[0].wkb != shapes[1].wkb


def test_other_relations_have_the_members_of_the_relations_in_them() -> None:
    nested = {
        10: Nested("public_transport", [node(1, (1, 1)), relation(11)]),
        11: Nested("multipolygon", [way(2, square(4, 4, 4)), way(3, square(5, 5, 1), "inner")]),
    }
    assert collected([relation(10), relation(11)], nested) == (
        f"GEOMETRYCOLLECTION ({WITH_HOLE}, POINT (1 1))",
        "exact",
    )


def test_a_multipolygon_of_relations_is_made_of_these() -> None:
    nested = {10: Nested("multipolygon", [way(2, square(4, 4, 4))])}
    geometry, quality = one(relations=[(MULTIPOLYGON, [relation(10)])], nested=nested)
    assert (geometry.wkt, quality) == ("POLYGON ((4 4, 4 8, 8 8, 8 4, 4 4))", "exact")


def test_relations_that_are_members_of_each_other_have_every_member_once() -> None:
    nested = {
        1: Nested("site", [relation(10)]),
        10: Nested("site", [relation(11), node(1, (1, 1))]),
        11: Nested("site", [relation(10), relation(1), node(1, (1, 1)), node(2, (2, 2))]),
    }
    wkt, quality = collected([relation(10)], nested)
    assert (wkt, quality) == ("MULTIPOINT ((1 1), (2 2))", "exact")


def test_a_relation_that_is_its_only_member_is_rejected() -> None:
    given = {"relations": [(SITE, [relation(1)])], "nested": {1: Nested("site", [relation(1)])}}
    assert rejected(**given) == "no_geometry"


def test_relations_too_deep_in_each_other_are_left_out() -> None:
    nested = {
        depth: Nested("site", [node(depth, (depth, 0)), relation(depth + 1)])
        for depth in range(10, 20)
    }
    deepest = 10 + MAX_DEPTH - 1
    points = ", ".join(f"({x} 0)" for x in range(10, deepest + 1))
    assert collected([relation(10)], nested) == (f"MULTIPOINT ({points})", "partial")


@pytest.mark.parametrize(
    "missing",
    [
        relation(99),
        way(2, None),
        node(3, None),
        way(4, [(0, 0), MISSING, (1, 1)]),
        way(5, [(3, 3), (3, 3)]),
        way(6, [(3, 3), MISSING]),
    ],
    ids=lambda member: f"{member.type}/{member.ref}",
)
def test_other_relations_without_all_of_a_member_are_partial(missing: Member) -> None:
    _, quality = one(relations=[(SITE, [node(1, (1, 1)), missing])])
    assert quality == "partial"


def test_other_relations_are_no_better_than_the_relations_in_them() -> None:
    bow_tie = [(0, 0), (2, 2), (2, 0), (0, 2), (0, 0)]
    for part, quality in (
        (Nested("multipolygon", [way(2, bow_tie)]), "repaired"),
        (Nested("multipolygon", [way(2, square(0, 0, 1)), way(3, None)]), "partial"),
        (Nested("multipolygon", [way(2, [(0, 0), (1, 1)])]), "partial"),
        (Nested("site", [way(2, bow_tie)]), "repaired"),
        (Nested("site", [node(2, (95, 95))]), "partial"),
    ):
        _, found = one(relations=[(SITE, [node(1, (1, 1)), relation(10)])], nested={10: part})
        assert found == quality, part


def test_the_point_of_a_mixed_relation_lies_on_its_largest_area() -> None:
    members = [
        node(1, (50, 50)),
        way(2, [(-80, 0), (80, 0)]),
        way(3, square(0, 0, 1)),
        way(4, square(5, 5, 3)),
    ]
    geometry, _ = one(relations=[(SITE, members)])
    lon, lat, source = representative_points(np.array([geometry], dtype=object))
    assert shapely.box(5, 5, 8, 8).contains(shapely.Point(lon[0], lat[0]))
    assert source.tolist() == ["surface"]
    assert areas_m2(np.array([geometry], dtype=object)) == pytest.approx(
        areas_m2(geometries("MULTIPOLYGON (((0 0,1 0,1 1,0 1,0 0)), ((5 5,8 5,8 8,5 8,5 5)))"))
    )


def test_a_mixed_relation_across_the_antimeridian_is_split_there() -> None:
    members = [way(1, ACROSS), way(2, [(179.9, 2), (-179.9, 2)]), node(3, (-179.5, 3))]
    geometry, quality = one(relations=[(SITE, members)])
    assert quality == "exact"
    assert sorted(part.wkt for part in geometry.geoms) == [
        "LINESTRING (-180 2, -179.9 2)",
        "LINESTRING (179.9 2, 180 2)",
        "POINT (-179.5 3)",
        "POLYGON ((-180 0, -180 1, -179.9 1, -179.9 0, -180 0))",
        "POLYGON ((179.9 0, 179.9 1, 180 1, 180 0, 179.9 0))",
    ]


def test_other_relations_without_ways_are_the_points_of_their_nodes() -> None:
    geometry, quality = one(
        relations=[({"type": "site"}, [node(1, (2, 2)), node(2, (1, 1)), node(3, None)])]
    )
    assert (geometry.wkt, quality) == ("MULTIPOINT ((2 2), (1 1))", "partial")


def test_other_relations_with_unknown_members_are_partial() -> None:
    members = [way(1, [(5, 5), (6, 6)], ""), Member("relation", 2, "", None)]
    geometry, quality = one(relations=[({"type": "site"}, members)])
    assert (geometry.wkt, quality) == ("LINESTRING (5 5, 6 6)", "partial")


# --- limits --------------------------------------------------------------------------------------


def star(corners: int, step: int) -> list[tuple[float, float]]:
    """A way that crosses itself `corners * (step - 1)` times."""
    angle = 2 * np.pi * (np.arange(corners + 1) * step % corners) / corners
    return list(zip(np.cos(angle).tolist(), np.sin(angle).tolist(), strict=True))


WILD = star(1999, 900)


def test_a_way_that_crosses_itself_too_often_is_its_line() -> None:
    geometry, quality = one(ways=[(CAFE, WILD)])
    assert quality == "too_complex"
    assert geometry.equals_exact(shapely.LineString(WILD))
    geometry, quality = one(ways=[(CAFE, star(1999, 6))])
    assert (shapely.get_dimensions(geometry), quality) == (2, "repaired")


def test_the_limit_weighs_more_than_a_missing_node() -> None:
    geometry, quality = one(ways=[(CAFE, [WILD[0], MISSING, *WILD[1:]])])
    assert (geometry.geom_type, quality) == ("LineString", "too_complex")


@pytest.mark.parametrize(
    "lines",
    [
        [WILD],
        [[(0.0, 0.0), (x, 9.0), (x + 0.0001, 9.0), (0.0, 0.0)] for x in np.arange(0, 1, 0.0002)],
        [square(i * 1e-5, i * 1e-5, 1 - i * 2e-5) for i in range(5_000)],
    ],
    ids=["one ring", "touching rings", "rings in rings"],
)
def test_a_multipolygon_that_exceeds_the_limits_is_its_lines(lines: list[Line]) -> None:
    members = [way(ref, line) for ref, line in enumerate(lines)]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert quality == "too_complex"
    assert shapely.get_dimensions(geometry) == 1
    assert shapely.get_num_geometries(geometry) == len(lines)


def test_a_city_is_not_bounded_by_what_exceeds_the_limits() -> None:
    assert relation_area([way(1, WILD)]) is None


def test_a_relation_of_too_many_segments_is_single_points() -> None:
    lines = [
        np.column_stack([np.linspace(x, x + 1e-3, 2000), np.full(2000, y)]).tolist()
        for x in np.arange(0, 1, 0.02)
        for y in range(6)
    ]
    members = [way(ref, line) for ref, line in enumerate(lines)]
    for tags in (MULTIPOLYGON, SITE):
        geometry, quality = one(relations=[(tags, members)])
        assert quality == "too_complex"
        assert geometry.geom_type == "MultiPoint"
        assert shapely.get_num_geometries(geometry) == len(lines)


def test_members_whose_areas_exceed_the_limits_are_lines() -> None:
    geometry, quality = one(relations=[(SITE, [way(1, WILD), way(2, square(5, 5, 1))])])
    assert quality == "too_complex"
    assert [part.geom_type for part in geometry.geoms] == ["Polygon", "LineString"]
    combs = [
        [(0.0, 0.0), *((x + dx, 9.0 * (i % 2)) for i, x in enumerate(np.arange(0, 9, 0.05)))]
        for dx in np.arange(0, 0.05, 0.002)
    ]
    teeth = [
        way(ref, [*line, (9.5, 20.0), (0.0, 20.0), (0.0, 0.0)]) for ref, line in enumerate(combs)
    ]
    geometry, quality = one(relations=[(SITE, teeth)])
    assert quality == "too_complex"
    assert shapely.get_dimensions(geometry) == 1


def test_an_object_without_a_geometry_and_with_too_much_text_is_rejected_without_it() -> None:
    features, (rejection,) = assemble(elements(ways=[(CAFE | {"note": "x" * MAX_TEXT}, [])]))
    assert len(features) == 0
    assert (rejection.source_ref, rejection.reason) == ("way/1", "missing_nodes")
    assert len(json.dumps(rejection.raw)) < 100


# --- order and columns ---------------------------------------------------------------------------


def test_features_come_by_kind_and_id_whatever_the_order_of_the_elements() -> None:
    given = elements(nodes=[(1, 1), (2, 2)], relations=[(MULTIPOLYGON, [way(1, square(0, 0, 1))])])
    given.node_id[:] = [20, 10]
    features, _ = assemble(given)
    assert list(zip(features.osm_type, features.osm_id, strict=True)) == [
        ("node", 10),
        ("node", 20),
        ("relation", 1),
    ]
    assert features.geometry[0].wkt == "POINT (2 2)"


def test_nothing_gives_nothing() -> None:
    features, rejections = assemble(elements())
    assert (len(features), rejections) == (0, [])


# --- the antimeridian ----------------------------------------------------------------------------

ACROSS: Line = [(179.9, 0), (-179.9, 0), (-179.9, 1), (179.9, 1), (179.9, 0)]


def test_a_polygon_across_the_antimeridian_is_split_there() -> None:
    geometry, quality = one(ways=[(CAFE, ACROSS)])
    assert quality == "exact"
    assert geometry.equals(
        shapely.MultiPolygon([shapely.box(-180, 0, -179.9, 1), shapely.box(179.9, 0, 180, 1)])
    )
    assert geometry.bounds == (-180, 0, 180, 1)


def test_a_line_across_the_antimeridian_is_split_there_and_keeps_its_direction() -> None:
    geometry, _ = one(ways=[(CAFE, [(-179.5, 2), (-179.9, 0), (179.9, 0), (179.5, 2)])])
    parts = [list(part.coords) for part in geometry.geoms]
    assert sorted(parts) == [
        [(-179.5, 2), (-179.9, 0), (-180, 0)],
        [(180, 0), (179.9, 0), (179.5, 2)],
    ]


def test_a_relation_across_the_antimeridian_keeps_its_hole_beyond() -> None:
    members = [way(1, ACROSS), way(2, square(179.93, 0.2, 0.05), "inner")]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert quality == "exact"
    assert geometry.area == pytest.approx(0.2 - 0.05**2)
    assert geometry.bounds == (-180, 0, 180, 1)


def test_a_relation_across_the_antimeridian_keeps_its_hole_though_a_way_is_missing() -> None:
    outer = [(179.9, 0.0), (-179.8, 0.0), (-179.8, 1.0), (179.9, 1.0), (179.9, 0.0)]
    members = [way(1, outer), way(2, square(-179.95, 0.2, 0.1), "inner"), way(3, None)]
    geometry, quality = one(relations=[(MULTIPOLYGON, members)])
    assert quality == "partial"
    assert geometry.area == pytest.approx(0.3 - 0.1**2)


def test_parts_on_both_sides_of_the_antimeridian_stay_as_they_are() -> None:
    both = shapely.MultiPolygon([shapely.box(-180, 0, -179.9, 1), shapely.box(179.9, 0, 180, 1)])
    geoms, quality = canonical(np.array([both], dtype=object))
    assert geoms[0].equals(both)
    assert list(quality) == ["exact"]


def test_the_point_of_a_polygon_across_the_antimeridian_is_on_its_largest_part() -> None:
    ring: Line = [(179.9, 0), (-179.5, 0), (-179.5, 1), (179.9, 1), (179.9, 0)]
    geometry, _ = one(ways=[(CAFE, ring)])
    lon, lat, _ = representative_points(np.array([geometry], dtype=object))
    assert -180 < lon[0] < -179.5
    assert 0 < lat[0] < 1


# --- canonical, points, areas --------------------------------------------------------------------


def test_canonical_geometries_are_flat_single_and_areal() -> None:
    geoms, quality = canonical(
        geometries(
            "POINT Z (1 2 3)",
            "MULTIPOINT ((1 2))",
            "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)))",
            "GEOMETRYCOLLECTION (POINT (5 5), POLYGON ((0 0, 1 0, 1 1, 0 0)))",
            "POLYGON ((0 0, 2 2, 1 1, 0 0))",
        )
    )
    triangle = "POLYGON ((0 0, 1 1, 1 0, 0 0))"
    assert [None if geom is None else geom.wkt for geom in geoms] == [
        "POINT (1 2)",
        "POINT (1 2)",
        triangle,
        triangle,
        None,
    ]
    assert list(quality) == ["exact"] * 4 + ["repaired"]


def test_a_representative_point_lies_on_its_geometry() -> None:
    geoms = geometries(
        "POINT (1 2)",
        "MULTIPOINT ((3 4), (1 2))",
        "LINESTRING (0 0, 4 0, 4 4)",
        "MULTILINESTRING ((0 0, 1 0), (5 5, 9 5))",
        "POLYGON ((0 0, 10 0, 10 10, 9 10, 9 1, 0 1, 0 0))",
        "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 9 5, 9 9, 5 5)))",
    )
    lon, lat, source = representative_points(geoms)
    assert list(source) == ["node", "node", "line", "line", "surface", "surface"]
    assert list(zip(lon[:4], lat[:4], strict=True)) == [(1, 2), (3, 4), (4, 0), (7, 5)]
    assert shapely.intersects_xy(geoms[4:], lon[4:], lat[4:]).all()
    assert lon[5] > 5


def test_a_representative_point_is_not_rounded_off_its_area() -> None:
    tiny = shapely.Polygon([(1e-8, 1e-8), (4e-8, 1e-8), (4e-8, 4e-8), (1e-8, 4e-8)])
    lon, lat, _ = representative_points(np.array([tiny], dtype=object))
    assert shapely.intersects_xy(tiny, lon[0], lat[0])


def test_points_and_areas_of_nothing_are_nothing() -> None:
    empty = np.empty(0, dtype=object)
    assert [len(column) for column in representative_points(empty)] == [0, 0, 0]
    assert len(areas_m2(empty)) == 0
    assert len(canonical(empty)[0]) == 0


@pytest.mark.parametrize("latitude", [0, 43.7, -55.8, 69])
def test_areas_agree_with_geodesic_ones(latitude: float) -> None:
    district = shapely.box(7.4, latitude, 7.6, latitude + 0.1)
    [area, nothing] = areas_m2(np.array([district, shapely.Point(1, 1)], dtype=object))
    geodesic, _ = Geod(ellps="WGS84").geometry_area_perimeter(district)
    assert area == pytest.approx(geodesic, rel=1e-5)
    assert np.isnan(nothing)
