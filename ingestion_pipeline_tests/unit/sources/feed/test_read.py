"""Records of feeds as helper places: columns, rejections, and feeds that are not to be believed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import shapely

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.core.boundary import BboxBoundary, PolygonBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.geometry.complexity import MAX_ID, MAX_TEXT
from ingestion_pipeline.helpers.link import link
from ingestion_pipeline.sources.feed.errors import (
    FeedEncodingWrong,
    FeedShrunken,
    FeedSwapped,
    FeedUnreadable,
)
from ingestion_pipeline.sources.feed.read import FeedPlaces, read_feed
from ingestion_pipeline.staging.tables import content_columns, helper_place
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import (
    BBOX,
    FOUNTAINS,
    TOILETS,
    feed_of,
    fountains,
    geojson,
    toilet,
    toilets,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Read = Callable[..., FeedPlaces]

ELEVEN = range(10, 21)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read bytes as the feed `toilets`, or as another one."""

    def places(body: bytes, table: Any = TOILETS, **changes: Any) -> FeedPlaces:
        path = tmp_path / "feed"
        path.write_bytes(body)
        more: dict[str, Any] = {"bbox": BBOX, "boundary": BboxBoundary(Bbox(*BBOX))}
        more |= {
            name: changes.pop(name) for name in ("boundary", "bbox", "last_good") if name in changes
        }
        return read_feed(
            path,
            feed_of(table, **changes),
            namer=Namer(["ru", "en"], "ru"),
            **more,
        )

    return places


def row(places: FeedPlaces, ref: str) -> dict[str, Any]:
    (found,) = (row for row in places.table.to_pylist() if row["source_ref"] == ref)
    return found


def with_toilet(**changes: Any) -> bytes:
    """Write a feed of eleven good toilets, and number 1 with these properties."""
    return geojson([toilet(1, **changes), *map(toilet, ELEVEN)])


def with_geometry(geometry: Any) -> bytes:
    return geojson([toilet(1) | {"geometry": geometry}, *map(toilet, ELEVEN)])


def rejected(places: FeedPlaces) -> list[tuple[str, str]]:
    return [(rejection.source_ref, rejection.reason) for rejection in places.rejections]


# Columns


def test_a_number_keeps_all_its_digits(read: Read) -> None:
    places = read(with_toilet(OBJECTID=1, UNISEX=1234567.5, HOURS=None), values=None)
    assert json.loads(row(places, "1#toilets")["attributes"])["unisex"] == "1234567.5"
    whole = row(read(with_toilet(UNISEX=2.0), values=None), "1#toilets")
    assert json.loads(whole["attributes"])["unisex"] == "2"


@pytest.mark.parametrize("value", ["\0", "\ud83d", ["\0"], {"a": {"\0": 1}}], ids=ascii)
def test_a_text_that_no_database_stores_costs_its_record(read: Read, value: Any) -> None:
    body = json.dumps({"features": [toilet(1, TITLE=value), *map(toilet, ELEVEN)]}).encode()
    places = read(body)
    assert len(places.table) == len(ELEVEN)
    assert rejected(places) == [("record/1", "invalid_text")]
    (rejection,) = places.rejections
    assert re.search(r"\\\\u(0000|d83d)", json.dumps(rejection.raw))


@pytest.mark.parametrize("name", ["OBJECTID", "TITLE", "NOT_ASKED_FOR"])
def test_such_a_text_may_be_in_any_field(read: Read, name: str) -> None:
    assert rejected(read(with_toilet(**{name: "\0"}))) == [("record/1", "invalid_text")]


def test_a_text_that_was_cut_inside_a_letter_costs_its_record(read: Read) -> None:
    body = with_toilet(TITLE="CUT").replace(b"CUT", ("я" * 128).encode()[:255])
    places = read(body)
    assert rejected(places) == [("record/1", "invalid_text")]
    (rejection,) = places.rejections
    assert rejection.raw["TITLE"] == "я" * 127 + r"\xd1"
    assert len(places.table) == len(ELEVEN)


@pytest.mark.parametrize("cut", [b"\xd1", b"\0"], ids=ascii)
def test_the_same_holds_for_csv(read: Read, cut: bytes) -> None:
    lines = fountains(encoding="utf-8").split(b"\r\n")
    lines[1] = lines[1].replace("у реки".encode(), "у реки".encode() + cut)
    places = read(b"\r\n".join(lines), FOUNTAINS, encoding="utf-8")
    assert rejected(places) == [("record/1", "invalid_text")]
    assert len(places.table) == 19


def test_a_broken_record_outside_the_city_is_none_of_its_rejections(read: Read) -> None:
    outside = toilet(1, TITLE="\0") | {"geometry": {"type": "Point", "coordinates": [0, 0]}}
    places = read(geojson([outside, *map(toilet, ELEVEN)]))
    assert (places.rejections, places.outside) == ([], 1)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_a_number_that_is_none_refuses_the_feed(read: Read, number: bytes) -> None:
    body = toilets().replace(b'"nein"', number, 1)
    with pytest.raises(FeedUnreadable, match="record 1 has a number that is"):
        read(body)


def test_of_thousands_of_fields_a_message_names_some(read: Read) -> None:
    body = (
        toilets()
        .replace(b"HOURS", b"OPEN")
        .replace(
            b'"PAID"', b",".join(b'"F%d": 1' % number for number in range(5000)) + b', "PAID"', 1
        )
    )
    with pytest.raises(FeedUnreadable, match=r"'F0'.* and 4,9\d\d more. Check") as caught:
        read(body)
    assert len(str(caught.value)) < 1000


def test_the_content_hash_of_what_is_staged_is_over_the_tables_content_in_its_order(
    read: Read,
) -> None:
    places = read(toilets()).table
    rows = link(places, places, source="another")
    columns = ["source_ref", "source_hash", *content_columns(helper_place), "content_hash"]
    assert sorted(rows.column_names) == sorted(columns)
    assert with_content_hash(rows.select(columns)).equals(rows.select(columns))


def test_a_record_of_geojson_is_a_place(read: Read) -> None:
    places = read(toilets())
    assert row(places, "7#toilets") == {
        "source_ref": "7#toilets",
        "source_hash": row(places, "7#toilets")["source_hash"],
        "kind": "toilets",
        "parent_ref": None,
        "derived_from": None,
        "osm_type": None,
        "osm_id": None,
        "osm_version": None,
        "osm_timestamp": None,
        "name": "Туалет 7",
        "name_source": "name:ru",
        "names": '{"ru":"Туалет 7","und":"Toilet 7"}',
        "tags": (
            '{"HOURS":"24/7","OBJECTID":7,"PAID":"nein","RAMP":null,"TITLE":"Toilet 7",'
            '"TITLE_RU":"Туалет 7","TYPE":"WC","UNISEX":true}'
        ),
        "geometry": shapely.to_wkb(shapely.Point(24.924, 60.16), byte_order=1),
        "lon": 24.924,
        "lat": 60.16,
        "point_source": "node",
        "geom_quality": "exact",
        "access": None,
        "fee": "no",
        "wheelchair": None,
        "opening_hours": "24/7",
        "level": None,
        "operator": None,
        "attributes": '{"unisex":"yes"}',
        "status": "operating",
        "links": "[]",
        "licence": "CC-BY-4.0",
        "attribution": "© Town of Exempel",
    }
    assert places.rejections == []
    assert places.outside == 0


def test_a_record_of_csv_is_a_place(read: Read) -> None:
    place = row(read(fountains(), FOUNTAINS), "7#drinking_water")
    assert place["name"] == 'Родник "7" у реки'
    assert json.loads(place["tags"]) == {
        "nr": "7",
        "название": 'Родник "7" у реки',
        "x": "24.9240",
        "y": "60.17",
    }
    assert (place["lon"], place["lat"]) == (24.924, 60.17)
    assert (place["licence"], place["attribution"]) == ("CC0-1.0", "Friends of Fountains")


def test_places_stand_in_the_order_of_their_refs_whatever_that_of_the_feed(read: Read) -> None:
    there = read(toilets()).table
    back = read(geojson(map(toilet, range(20, 0, -1)))).table
    assert there.equals(back)
    refs = list(map(str, there.column("source_ref").to_pylist()))
    assert refs == sorted(refs)


def test_a_change_of_a_record_is_a_change_of_its_source_hash_alone(read: Read) -> None:
    before, after = (
        dict(zip(*(places.table.column(name).to_pylist() for name in ("source_ref", "source_hash")),
                 strict=True))
        for places in (read(with_toilet()), read(with_toilet(PAID="ja")))
    )  # fmt: skip
    assert {ref for ref in before if before[ref] != after[ref]} == {"1#toilets"}


def test_a_value_without_a_meaning_is_not_known(read: Read) -> None:
    place = row(read(with_toilet(PAID="auf Anfrage")), "1#toilets")
    assert place["fee"] is None
    assert json.loads(place["tags"])["PAID"] == "auf Anfrage"


def test_hours_that_cannot_be_understood_are_counted(read: Read) -> None:
    places = read(with_toilet(HOURS="always, nearly"))
    assert row(places, "1#toilets")["opening_hours"] is None
    assert places.unparsed == {"opening_hours": 1}


def test_a_name_in_no_language_of_the_city_is_better_than_none(read: Read) -> None:
    place = row(read(with_toilet(TITLE_RU=" ")), "1#toilets")
    assert (place["name"], place["name_source"]) == ("Toilet 1", "name")


def test_who_operates_a_place_does_not_name_it(read: Read) -> None:
    fields = {"name": "TITLE", "operator": "TITLE_RU", "fee": "PAID"}
    place = row(read(with_toilet(TITLE=" ", TITLE_RU="City"), fields=fields), "1#toilets")
    assert (place["name"], place["name_source"], place["operator"]) == (None, None, "City")


def test_an_area_has_a_point_inside_and_keeps_its_shape(read: Read) -> None:
    ring = [[24.95, 60.16], [24.96, 60.16], [24.96, 60.17], [24.95, 60.17], [24.95, 60.16]]
    place = row(read(with_geometry({"type": "Polygon", "coordinates": [ring]})), "1#toilets")
    shape = shapely.from_wkb(place["geometry"])
    assert shape.equals(shapely.box(24.95, 60.16, 24.96, 60.17))
    assert shape.contains(shapely.Point(place["lon"], place["lat"]))
    assert (place["point_source"], place["geom_quality"]) == ("surface", "exact")


def test_an_area_that_crosses_itself_is_repaired(read: Read) -> None:
    ring = [[24.95, 60.16], [24.96, 60.17], [24.96, 60.16], [24.95, 60.17], [24.95, 60.16]]
    place = row(read(with_geometry({"type": "Polygon", "coordinates": [ring]})), "1#toilets")
    assert shapely.is_valid(shapely.from_wkb(place["geometry"]))
    assert place["geom_quality"] == "repaired"


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
def test_an_area_that_crosses_itself_too_often_is_its_lines(read: Read, kind: str) -> None:
    angle = 2 * np.pi * (np.arange(2000) * 900 % 1999) / 1999
    ring = np.column_stack([24.95 + 0.01 * np.cos(angle), 60.165 + 0.01 * np.sin(angle)])
    rings: list[Any] = [ring.tolist()]
    shape = {"type": kind, "coordinates": rings if kind == "Polygon" else [rings]}
    place = row(read(with_geometry(shape)), "1#toilets")
    assert (place["point_source"], place["geom_quality"]) == ("line", "too_complex")
    assert shapely.get_num_coordinates(shapely.from_wkb(place["geometry"])) == 2000


def test_heights_are_left_out(read: Read) -> None:
    point = {"type": "Point", "coordinates": [24.95, 60.16, 12.5]}
    place = row(read(with_geometry(point)), "1#toilets")
    assert not shapely.has_z(shapely.from_wkb(place["geometry"]))


def test_a_features_own_id_can_name_it(read: Read) -> None:
    features = [toilet(number) | {"id": f"wc.{number}"} for number in ELEVEN]
    places = read(geojson(features), record_id="@id")
    assert places.table.column("source_ref")[0].as_py() == "wc.10#toilets"


def test_one_feed_may_have_several_kinds(read: Read) -> None:
    places = read(with_toilet(TYPE="BABY"))
    assert row(places, "1#baby_change")["kind"] == "baby_change"


# Records that are left out


def test_records_outside_the_boundary_are_counted_and_no_rejections(read: Read) -> None:
    features = [toilet(1), toilet(60), toilet(61, TYPE="?"), toilet(62, OBJECTID=None)]
    places = read(geojson([*features, *map(toilet, ELEVEN)]))
    assert len(places.table) == 12
    assert places.outside == 3
    assert places.rejections == []


def test_the_boundary_decides_and_not_the_window(read: Read) -> None:
    half = PolygonBoundary(shapely.box(24.90, 60.15, 24.9305, 60.20))
    places = read(toilets(), boundary=half)
    assert (len(places.table), places.outside) == (10, 10)


@pytest.mark.parametrize("number", [None, "", " ", True, [1], {"a": 1}])
def test_a_record_that_nothing_names_is_rejected(read: Read, number: Any) -> None:
    assert rejected(read(with_toilet(OBJECTID=number))) == [("record/1", "no_id")]


@pytest.mark.parametrize("value", ["URINAL", "", None, "wc"])
def test_a_kind_that_the_table_does_not_have_is_rejected(read: Read, value: str | None) -> None:
    places = read(with_toilet(TYPE=value))
    assert rejected(places) == [("record/1", "unknown_kind")]
    assert places.rejections[0].raw["TYPE"] == value


def test_of_records_with_one_id_the_first_is_kept(read: Read) -> None:
    places = read(geojson([*map(toilet, ELEVEN), toilet(11, PAID="ja")]))
    assert row(places, "11#toilets")["fee"] == "no"
    assert places.rejections == [
        Rejection(
            "record/12",
            "duplicate_id",
            "an earlier record is 11#toilets too",
            toilet(11, PAID="ja")["properties"],
        )
    ]


def test_one_id_may_name_two_kinds(read: Read) -> None:
    places = read(geojson([*map(toilet, ELEVEN), toilet(11, TYPE="BABY")]))
    assert len(places.table) == 12
    assert places.rejections == []


@pytest.mark.parametrize(
    "geometry",
    [
        None,
        {},
        [],
        {"type": "Point", "coordinates": []},
        {"type": "Point", "coordinates": ["24.95", "60.16"]},
        {"type": "Polygon", "coordinates": [[[24.95, 60.16], [24.96, 60.17]]]},
        {"type": "Circle", "coordinates": [24.95, 60.16]},
        {
            "type": "GeometryCollection",
            "geometries": [{"type": "Point", "coordinates": [24.95, 60.16]}],
        },
    ],
    ids=str,
)
def test_a_record_without_a_geometry_is_rejected(read: Read, geometry: Any) -> None:
    assert rejected(read(with_geometry(geometry))) == [("record/1", "no_geometry")]


@pytest.mark.parametrize("point", [None, {"type": "Point", "coordinates": [2.55e6, 6.67e6]}])
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"OBJECTID": None}, "no_id"),
        ({"TYPE": "URINAL"}, "unknown_kind"),
        ({"TITLE": "\0"}, "invalid_text"),
        ({"TITLE": "caf\N{REPLACEMENT CHARACTER}"}, "broken_text"),
    ],
)
def test_a_record_that_lacks_a_geometry_too_costs_only_itself(
    read: Read, changes: dict[str, Any], reason: str, point: Any
) -> None:
    features = [toilet(1, **changes) | {"geometry": point}, *map(toilet, ELEVEN)]
    assert rejected(read(geojson(features))) == [("record/1", reason)]


@pytest.mark.parametrize(
    "changes", [{"COMMENT": "x" * MAX_TEXT}, {"OBJECTID": "9" * (MAX_ID + 1)}], ids=["text", "id"]
)
def test_a_record_with_too_much_text_is_rejected_without_it(
    read: Read, changes: dict[str, str]
) -> None:
    (rejection,) = read(with_toilet(**changes)).rejections
    assert (rejection.source_ref, rejection.reason) == ("record/1", "too_much_text")
    assert rejection.raw == {}


@pytest.mark.parametrize("xy", [[190.0, 60.16], [24.95, -91], [2.55e6, 6.67e6]])
def test_a_record_off_the_earth_is_rejected(read: Read, xy: list[float]) -> None:
    places = read(with_geometry({"type": "Point", "coordinates": xy}))
    assert rejected(places) == [("record/1", "invalid_coordinates")]


@pytest.mark.parametrize("cell", ["", "east", "24,95", "nan", "1e999"])
def test_a_record_of_csv_without_a_number_for_a_place_is_rejected(read: Read, cell: str) -> None:
    body = fountains().replace(b";24.9120;", f";{cell};".encode())
    (rejection,) = read(body, FOUNTAINS).rejections
    assert rejection.reason in ("no_geometry", "invalid_coordinates")
    assert rejection.raw["nr"] == "1"


# Feeds that are refused


def test_a_feed_shrunken_to_a_tenth_is_refused_with_the_numbers(read: Read) -> None:
    read(toilets(20), last_good=40)
    with pytest.raises(FeedShrunken, match=r"has 20 places .* fewer than half of the 200"):
        read(toilets(20), last_good=200)


def test_a_feed_below_its_minimum_is_refused_with_the_numbers(read: Read) -> None:
    features = [toilet(1), toilet(2, TYPE="?"), toilet(60)]
    said = (
        r"has 1 places in the city \(1 records were rejected, 1 are outside\), "
        "fewer than its minimum of 5"
    )
    with pytest.raises(FeedShrunken, match=said):
        read(geojson(features))


@pytest.mark.parametrize("body", [geojson([]), b"nr;\xed\xe0\xe7\xe2\xe0\xed\xe8\xe5;x;y\r\n", b""])
def test_an_empty_feed_is_refused(read: Read, body: bytes) -> None:
    table = TOILETS if body.startswith(b"{") else FOUNTAINS
    with pytest.raises((FeedShrunken, FeedUnreadable)):
        read(body, table)


def test_exchanged_coordinates_of_csv_are_recognized(read: Read) -> None:
    with pytest.raises(FeedSwapped, match=r"20 of the 20 .* Swap lon and lat"):
        read(fountains(), FOUNTAINS, lon="y", lat="x")


@pytest.mark.parametrize(
    "bbox", [BBOX, (131.80, 43.00, 132.10, 43.30)], ids=["Helsinki", "Far East"]
)
def test_exchanged_coordinates_of_geojson_are_recognized(
    read: Read, bbox: tuple[float, ...]
) -> None:
    def exchanged(number: int) -> dict[str, Any]:
        point = [bbox[1] + 0.01, bbox[0] + number / 1000]
        return toilet(number) | {"geometry": {"type": "Point", "coordinates": point}}

    with pytest.raises(FeedSwapped, match=r"20 of the 20 .* Ask the publisher"):
        read(geojson(map(exchanged, range(1, 21))), bbox=bbox)


def test_bytes_of_another_encoding_are_refused_at_their_position(read: Read) -> None:
    body = fountains(encoding="cp1251")
    position = body.index("название".encode("cp1251"))
    with pytest.raises(FeedEncodingWrong, match=f"byte {position} .* line 1.* Set the feed's"):
        read(body, FOUNTAINS, encoding="utf-8")


def test_geojson_is_always_utf_8(read: Read) -> None:
    with pytest.raises(FeedEncodingWrong, match=r"is not utf-8: byte .* Ask the publisher"):
        read(toilets().decode().encode("cp1251"))


@pytest.mark.parametrize("table", ["cp1252", "latin-1"])
def test_letters_that_the_publisher_decoded_by_the_wrong_table_are_repaired(
    read: Read, table: str
) -> None:
    broken = "Ñandú café".encode().decode(table)
    features = [toilet(number, TITLE=broken, TITLE_RU=None) for number in ELEVEN]
    place = row(read(geojson(features)), "11#toilets")
    assert place["name"] == "Ñandú café"
    assert json.loads(place["tags"])["TITLE"] == broken  # as published


def test_letters_beyond_repair_refuse_the_feed_if_they_are_many(read: Read) -> None:
    broken = "Ñandú café".encode().decode("cp1251")
    features = [toilet(number, TITLE=broken, TITLE_RU=None) for number in ELEVEN]
    with pytest.raises(FeedEncodingWrong, match=r"11 of the 44 texts .* cannot be repaired"):
        read(geojson(features))


def test_letters_beyond_repair_cost_their_record(read: Read) -> None:
    places = read(with_toilet(TITLE="caf\N{REPLACEMENT CHARACTER}"))
    assert rejected(places) == [("record/1", "broken_text")]
    assert places.rejections[0].detail == "TITLE has U+FFFD in place of letters that are lost"
    assert len(places.table) == len(ELEVEN)


@pytest.mark.parametrize("text", ["В–2", "РЎ", "caf\u00e9 \u0085"])
def test_letters_that_only_may_be_broken_stay_as_they_are(read: Read, text: str) -> None:
    places = read(with_toilet(TITLE=text, TITLE_RU=None))
    assert (len(places.table), places.rejections) == (12, [])
    assert json.loads(row(places, "1#toilets")["tags"])["TITLE"] == text


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ("It\u0092s open", "It’s open"),
        ("Men\u00e2\u0080\u0099s", "Men’s"),
        ("РўСѓР°Р»РµС‚", "Туалет"),
        ("Î¤Î¿Ï…Î±Î»Î\u00adÏ„Î±", "Τουαλέτα"),
        ("Zażółć".encode().decode("latin-1"), "Zażółć"),
    ],
)
def test_letters_of_many_languages_are_repaired(read: Read, broken: str, text: str) -> None:
    attributes = {"title": "TITLE"}
    place = row(read(with_toilet(TITLE=broken), attributes=attributes, values=None), "1#toilets")
    assert json.loads(place["attributes"])["title"] == text


def test_letters_of_a_field_that_is_not_mapped_do_not_matter(read: Read) -> None:
    comment = "Men\u00e2\u0080\u0099s \N{REPLACEMENT CHARACTER}"
    features = [toilet(number, COMMENT=comment) for number in ELEVEN]
    places = read(geojson(features))
    assert (len(places.table), places.rejections) == (11, [])


def test_one_broken_text_among_many_is_repaired(read: Read) -> None:
    place = row(read(with_toilet(TITLE="caf\u00c3\u00a9", TITLE_RU=None)), "1#toilets")
    assert place["name"] == "café"


def test_a_csv_in_utf_8_with_another_encoding_in_the_table_is_refused(read: Read) -> None:
    with pytest.raises(FeedEncodingWrong, match=r'is UTF-8, not cp1251\. .* encoding = "utf-8"'):
        read(fountains(encoding="utf-8"), FOUNTAINS)


@pytest.mark.parametrize("text", ["Café Ñandú", "Туалет на площади", "卫生间", "Ärztehaus 5 €"])
def test_letters_as_they_should_be_are_not_taken_for_broken(read: Read, text: str) -> None:
    assert len(read(geojson([toilet(number, TITLE=text) for number in ELEVEN])).table) == 11


@pytest.mark.parametrize(
    ("crs", "said"),
    [
        ({"type": "name", "properties": {}}, "names no coordinate system"),
        ({"type": "name", "properties": None}, "names no coordinate system"),
        ({"type": "name", "properties": {"name": ["EPSG:4326"]}}, "names no coordinate system"),
        ({"type": "link", "properties": {"href": "http://example.org/crs"}}, "names no coordinate"),
        ("EPSG:25832", "names no coordinate system"),
        ({"type": "name", "properties": {"name": "EPSG:1"}}, "'EPSG:1', which PROJ does not know"),
    ],
    ids=str,
)
def test_an_unknown_coordinate_system_is_refused_with_the_key_to_set(
    read: Read, crs: Any, said: str
) -> None:
    with pytest.raises(FeedUnreadable, match=f"{said}.*Set its key crs"):
        read(geojson(map(toilet, ELEVEN), crs=crs))


@pytest.mark.parametrize("key", [None, "EPSG:3067"])
def test_the_coordinate_system_is_that_of_the_key_or_else_of_the_file(
    read: Read, key: str | None
) -> None:
    # 24.95 60.17 in EPSG:3067 by gdaltransform
    point = {"type": "Point", "coordinates": [386255.153827798, 6672109.47543698]}
    named = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::3067"}}
    broken = {"type": "name", "properties": {}}
    features = [toilet(number) | {"geometry": point} for number in ELEVEN]
    places = read(geojson(features, crs=named if key is None else broken), crs=key)
    place = row(places, "10#toilets")
    assert (place["lon"], place["lat"]) == pytest.approx((24.95, 60.17), abs=1e-5)


@pytest.mark.parametrize("name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326"])
def test_wgs_84_may_be_said(read: Read, name: str) -> None:
    crs = {"type": "name", "properties": {"name": name}}
    assert len(read(geojson(map(toilet, ELEVEN), crs=crs)).table) == 11


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not complete JSON"),
        (b"[" * 100_000, "not complete JSON"),
        (b"[]", "no GeoJSON FeatureCollection"),
        (b"null", "no GeoJSON FeatureCollection"),
        (b'{"features": {}}', "no GeoJSON FeatureCollection"),
        (b'{"features": [1]}', "one of its features is not an object"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_geojson_is_refused(read: Read, body: bytes, said: str) -> None:
    with pytest.raises(FeedUnreadable, match=said):
        read(body)


def test_a_renamed_field_refuses_the_feed(read: Read) -> None:
    features = [toilet(number) for number in ELEVEN]
    for feature in features:
        feature["properties"]["NAME"] = feature["properties"].pop("TITLE")
    with pytest.raises(FeedUnreadable, match="without the field 'TITLE'; it has 'HOURS', 'NAME'"):
        read(geojson(features))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (fountains(columns=("nr", "name", "x", "y")), "without the field 'название'"),
        (fountains(columns=("nr", "nr", "x", "y")), "two columns of the same name"),
        (fountains().replace(b";", b","), "without the field"),
        (fountains()[:-10], "truncated or with another delimiter"),
        (fountains() + b'21;"open', "line"),
    ],
)
def test_what_is_no_csv_of_the_feeds_columns_is_refused(read: Read, body: bytes, said: str) -> None:
    with pytest.raises(FeedUnreadable, match=said):
        read(body, FOUNTAINS)


def test_a_mark_of_byte_order_is_no_part_of_the_first_column(read: Read) -> None:
    body = fountains(encoding="utf-8-sig")
    assert len(read(body, FOUNTAINS, encoding="utf-8").table) == 20


def test_points_are_found_in_bulk(read: Read) -> None:
    table = read(toilets(35)).table
    assert np.allclose(sorted(table.column("lon").to_numpy()), 24.91 + np.arange(1, 36) / 500)
