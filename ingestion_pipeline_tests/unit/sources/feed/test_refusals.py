"""Refused feeds say why, name the key to set, and keep what they reject."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.sources.feed.errors import (
    FeedEncodingWrong,
    FeedError,
    FeedShrunken,
    FeedUnreadable,
)
from ingestion_pipeline.sources.feed.read import FeedPlaces, read_feed
from ingestion_pipeline.sources.feed.refusals import EXAMPLES
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import BBOX, feed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Read = Callable[..., FeedPlaces]

TABLE: dict[str, Any] = {
    "slug": "toilets",
    "location": "https://data.example.org/toilets.csv",
    "format": "csv",
    "lon": "x",
    "lat": "y",
    "record_id": "nr",
    "kind": "toilets",
    "licence": "CC0-1.0",
    "attribution": "Town of Exempel",
    "as_of": "last_modified",
    "maximum_age_days": 7,
    "minimum": 3,
}
LONDON = (-0.51, 51.45, -0.37, 51.64)
BERLIN = (13.0, 52.3, 13.8, 52.7)


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a text or bytes by the table, changed."""

    def places(text: str | bytes, bbox: tuple[float, ...] = BBOX, **changes: Any) -> FeedPlaces:
        path = tmp_path / "feed"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_feed(
            path,
            feed_of(TABLE, **changes),
            bbox=bbox,
            boundary=BboxBoundary(Bbox(*bbox)),
            namer=Namer(["en"], None),
        )

    return places


def csv_of(head: str, rows: Sequence[str]) -> str:
    return "\n".join([head, *rows, ""])


def said_by(read: Read, error: type[FeedError], *args: Any, **changes: Any) -> str:
    with pytest.raises(error) as caught:
        read(*args, **changes)
    return str(caught.value)


def test_a_decimal_comma_is_named(read: Read) -> None:
    text = csv_of("nr;x;y", [f"{number};24,9{number};60,17" for number in range(1, 5)])
    said = said_by(read, FeedShrunken, text, delimiter=";")
    assert "has 0 places in the city (4 records were rejected, 0 are outside)" in said
    assert "Rejected: 4 no_geometry (such as record/1: no position: x is '24,91', y is" in said
    assert said.endswith("x has a decimal comma, such as '24,91'. Set decimal = \",\".")
    assert len(read(text, delimiter=";", decimal=",").table) == 4


def test_degrees_with_another_letter_are_named(read: Read) -> None:
    text = csv_of("nr;x;y", [f"{n};24°5{n}'12\" O;60°10'12\" N" for n in range(1, 5)])
    said = said_by(read, FeedShrunken, text, delimiter=";")
    assert "x has degrees that are not read, such as" in said
    assert "their letters are N, S, E and W" in said


def test_a_decimal_point_where_the_table_says_comma_is_named(read: Read) -> None:
    text = csv_of("nr,x,y", [f"{number},24.9{number},60.17" for number in range(1, 5)])
    said = said_by(read, FeedShrunken, text, decimal=",")
    assert "x has a decimal point, such as '24.91'. Remove decimal." in said


def test_a_decimal_comma_in_a_pair_is_named(read: Read) -> None:
    text = csv_of("nr,at", [f'{number},"60,17; 24,9{number}"' for number in range(1, 5)])
    pair = {"lon": None, "lat": None, "lat_lon": "at"}
    said = said_by(read, FeedShrunken, text, **pair)
    assert "at has a decimal comma, such as '60,17; 24,91'. Set decimal = \",\"." in said
    assert len(read(text, **pair, decimal=",").table) == 4


@pytest.mark.parametrize(
    ("cell", "key"), [("60.17, 24.9{}", "lat_lon"), ("(24.9{} 60.17)", "lon_lat")]
)
def test_both_coordinates_in_one_column_are_named_in_their_order(
    read: Read, cell: str, key: str
) -> None:
    rows = [f'{number},"{cell.format(number)}"' for number in range(1, 5)]
    text = csv_of("nr,at", rows)
    said = said_by(read, FeedShrunken, text, lon="at", lat="at")
    assert f'Set {key} = "at" instead of lon and lat.' in said
    assert len(read(text, lon=None, lat=None, **{key: "at"}).table) == 4


def test_a_geometry_in_the_column_of_a_pair_is_named(read: Read) -> None:
    text = csv_of("nr,at", [f"{number},POINT (24.95 60.17)" for number in range(1, 5)])
    said = said_by(read, FeedShrunken, text, lon=None, lat=None, lat_lon="at")
    assert 'Set geometry = "at" instead of lat_lon.' in said
    assert len(read(text, lon=None, lat=None, geometry="at").table) == 4


@pytest.mark.parametrize(
    ("bbox", "rows", "crs"),
    [
        (LONDON, ["509898,180007", "505618,184018", "509168,182968"], "EPSG:27700"),
        (BERLIN, ["392672.4,5817675.4", "389515.9,5817835.8", "393695,5820980"], "EPSG:25833"),
    ],
)
def test_a_national_grid_is_named_with_the_system_in_which_the_places_are_in_the_city(
    read: Read, bbox: tuple[float, ...], rows: list[str], crs: str
) -> None:
    text = csv_of("nr,x,y", [f"{number},{row}" for number, row in enumerate(rows)])
    said = said_by(read, FeedShrunken, text, bbox=bbox)
    assert "are not degrees but those of a national grid" in said
    assert crs in said
    assert len(read(text, bbox=bbox, crs=crs).table) == 3


def test_a_grid_that_fits_no_system_of_the_city_is_named_without_a_guess(read: Read) -> None:
    text = csv_of("nr,x,y", [f"{number},1{number},9999999" for number in range(4)])
    said = said_by(read, FeedShrunken, text)
    assert "Set crs to its system" in said


def test_places_elsewhere_are_named_with_where_they_are(read: Read) -> None:
    text = csv_of("nr,x,y", [f"{number},13.{number},52.5" for number in range(4)])
    said = said_by(read, FeedShrunken, text)
    assert "at longitudes 13.00 to 13.30 and latitudes 52.50 to 52.50, and the city at" in said


def test_values_that_the_table_of_kinds_lacks_are_counted(read: Read) -> None:
    kinds = ["WC", "WC", "URINAL", "BIN"]
    text = csv_of("nr,x,y,t", [f"{n},24.95,60.17,{kind}" for n, kind in enumerate(kinds)])
    said = said_by(read, FeedShrunken, text, kind=None, kind_field="t", kinds={"URINAL": "toilets"})
    assert "the table of kinds does not have: 'WC' (2), 'BIN' (1). Add them to kinds." in said


def test_ids_that_repeat_are_named_with_the_fields_that_do_not(read: Read) -> None:
    text = csv_of("nr,x,y,code", [f"7,24.95,60.17,c{number}" for number in range(4)])
    said = said_by(read, FeedShrunken, text)
    assert "Fields whose values are all different: 'code'. Set record_id to one of them." in said
    text = csv_of("nr,x,y", [f"{number % 2},24.95,60.17" for number in range(4)])
    assert 'a list of fields, or to "@position"' in said_by(read, FeedShrunken, text)


def test_a_refused_feed_keeps_counts_and_examples_of_its_rejections(read: Read) -> None:
    rows = [*(f"{n},east,60.17" for n in range(10)), ",24.95,60.17", "20,24.95,60.17"]
    with pytest.raises(FeedShrunken) as caught:
        read(csv_of("nr,x,y", rows))
    first, second = caught.value.rejections
    assert (first.reason, first.count, len(first.examples)) == ("no_geometry", 10, EXAMPLES)
    assert first.examples[0] == {
        "source_ref": "record/1",
        "detail": "no position: x is 'east', y is '60.17'",
        "raw": {"nr": "0", "x": "east", "y": "60.17"},
    }
    assert (second.reason, second.count) == ("no_id", 1)
    json.dumps([each.examples for each in caught.value.rejections])


def test_a_field_that_is_nearly_there_is_named(read: Read) -> None:
    text = csv_of("nr, x, y", [f"{number},24.95,60.17" for number in range(4)])
    said = said_by(read, FeedUnreadable, text)
    assert "without the field 'x', 'y'; it has ' x', ' y', 'nr'" in said
    assert "'x'; did you mean ' x'? 'y'; did you mean ' y'?" in said


def test_another_delimiter_is_named(read: Read) -> None:
    text = csv_of("nr;x;y", [f"{number};24.95;60.17" for number in range(4)])
    assert 'Set delimiter = ";".' in said_by(read, FeedUnreadable, text)
    text = csv_of("nr\tx\ty", [f"{number}\t24.95\t60,17" for number in range(4)])
    assert r'Set delimiter = "\t".' in said_by(read, FeedUnreadable, text)


def test_lines_before_the_header_are_skipped_and_named(read: Read) -> None:
    rows = [f"{number},24.95,60.17" for number in range(4)]
    text = "Register of toilets\n" + csv_of("nr,x,y", rows)
    assert "set skip_lines" in said_by(read, FeedUnreadable, text)
    assert len(read(text, skip_lines=1).table) == 4
    assert len(read(text.replace("\n", "\r"), skip_lines=1).table) == 4


def test_columns_are_those_of_the_table_if_the_file_has_no_header(read: Read) -> None:
    text = "\n".join(f"{number},24.95,60.17" for number in range(4))
    assert len(read(text, columns=["nr", "x", "y"]).table) == 4
    said = said_by(read, FeedUnreadable, text, columns=["nr", "x", "y", "z"])
    assert "Its first record has 3 cells" in said


def test_columns_without_a_name_or_with_a_repeated_one_may_be_there(read: Read) -> None:
    text = csv_of("nr,x,y,,a,a", [f"{number},24.95,60.17,u,1,2" for number in range(4)])
    (tags, *_) = read(text).table.column("tags").to_pylist()
    assert json.loads(str(tags)) == {
        "nr": "0", "x": "24.95", "y": "60.17", "column 4": "u", "a": "1", "a (2)": "2"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"data": {"stations": [{"a": 1}] * 4}}, 'Set records = "data.stations", which has 4'),
        ({"odd name": [{"a": 1}]}, r'Set records = "\"odd name\"", which has 1 records'),
        ({"a": [1, 2]}, "Check the feed"),
        (7, "Check the feed"),
    ],
    ids=str,
)
def test_a_list_of_records_elsewhere_in_the_document_is_named(
    read: Read, document: Any, said: str
) -> None:
    found = said_by(read, FeedUnreadable, json.dumps(document), format="json")
    assert "JSON without a list of records at its top" in found
    assert said in found


def test_a_list_of_geojson_is_not_where_the_table_says(read: Read) -> None:
    text = json.dumps({"items": [{"id": 1}]})
    said = said_by(read, FeedUnreadable, text, format="geojson", lon=None, lat=None)
    assert 'no GeoJSON FeatureCollection. Set format = "json" and records = "items"' in said


def test_a_nested_member_that_no_record_has_refuses_the_feed(read: Read) -> None:
    text = json.dumps([{"nr": n, "at": {"x": 24.95, "y": 60.17}} for n in range(4)])
    nested = {"format": "json", "lon": "at.x", "lat": "at.y"}
    assert len(read(text, **nested).table) == 4
    said = said_by(read, FeedUnreadable, text, **nested, fields={"name": "at.name"})
    assert "without the field 'at.name'; it has 'at.x', 'at.y', 'nr'" in said


def test_an_id_of_several_fields_is_joined_without_ambiguity(read: Read) -> None:
    rows = ["a|b,c", "a,b|c", "a,", ",a", r"a\,|a", ","]
    text = csv_of("p,q,x,y", [f"{row},24.95,60.17" for row in rows])
    places = read(text, record_id=["p", "q"])
    refs = places.table.column("source_ref").to_pylist()
    assert len(set(refs)) == 5
    assert "a\\|b|c#toilets" in refs
    assert [each.reason for each in places.rejections] == ["no_id"]
    assert places.rejections[0].detail == "p, q: empty"


def test_ids_by_position_are_staged_and_repeated_records_rejected(read: Read) -> None:
    rows = ["1,24.95,60.17", "2,24.95,60.17", "2,24.95,60.17", "3,24.96,60.17"]
    places = read(csv_of("nr,x,y", rows), record_id="@position")
    assert places.table.column("source_ref").to_pylist() == [
        "60.1700,24.9501#toilets",
        "60.1700,24.9501/2#toilets",
        "60.1700,24.9600#toilets",
    ]
    assert [each.reason for each in places.rejections] == ["duplicate_id"]


def test_a_row_of_another_length_costs_its_record(read: Read) -> None:
    rows = [f"{number},24.95,60.17" for number in range(40)]
    rows[3] = "3,24.95"
    rows[5] = "5,24.95,60.17,more"
    rows[6] = "6,24.95,60.17,,"
    places = read(csv_of("nr,x,y", [*rows, ",,", "", " , ,"]))
    assert [(each.source_ref, each.reason) for each in places.rejections] == [
        ("record/4", "malformed"),
        ("record/6", "malformed"),
    ]
    assert places.rejections[0].detail == "its row has 2 cells, and the header 3"
    assert len(places.table) == 38


def test_a_file_that_ends_within_a_row_is_refused(read: Read) -> None:
    rows = [f"{number},24.95,60.17" for number in range(20)]
    assert "truncated" in said_by(read, FeedUnreadable, csv_of("nr,x,y", rows)[:-7])


@pytest.mark.parametrize(
    ("body", "keys", "said"),
    [
        (b"<html></html>", {}, "The file is an HTML page. Its address is that of a page"),
        (b'{"a": 1}\n{"a": 2}', {}, 'The file is json. Set format = "json".'),
        (b"<rss><a/></rss>", {"format": "gml"}, 'The file is xml. Set format = "xml".'),
        (b"id;lon\n1;2\n", {"format": "geojson"}, 'The file is csv. Set format = "csv".'),
        (b"Toilets,,\n,,\nnr,x,y\n1,2,3\n", {}, "One of the next rows has them: set skip_lines"),
        (b'[{"nr": 1, "at": {"x": 2}}]', {"format": "json", "lat": "x"}, "did you mean 'at.x'?"),
        ("nr,x,y\n1,2,é".encode("utf-16"), {}, "Set the feed's encoding: it may be utf-16."),
    ],
)
def test_a_file_that_is_not_what_the_table_says_is_named(
    read: Read, body: bytes, keys: dict[str, Any], said: str
) -> None:
    given = {"lon": None, "lat": None} if keys.get("format") in ("gml", "geojson") else {}
    error = FeedEncodingWrong if "encoding" in said else FeedUnreadable
    assert said in said_by(read, error, body, **given, **keys)


def test_an_object_in_place_of_a_coordinate_is_named_with_its_members(read: Read) -> None:
    pair = {"format": "json", "lon": None, "lat": None}
    body = json.dumps([{"nr": n, "at": {"lon": 24.95, "lat": 60.17}} for n in range(9)])
    said = said_by(read, FeedShrunken, body, **pair, lat_lon="at")
    assert "at has objects with members. Set lon and lat to two of at.lon, at.lat." in said
    body = json.dumps([{"nr": n, "at": {"rings": [[[24.95, 60.17]]]}} for n in range(9)])
    said = said_by(read, FeedShrunken, body, **pair, geometry="at")
    assert "at has geometries of Esri. Ask the service for f=geojson" in said


def test_a_name_that_is_an_object_is_refused_with_the_path_of_its_text(read: Read) -> None:
    names = [{"text": "A", "language": "fr"}]
    body = json.dumps([{"nr": n, "x": 24.95, "y": 60.17, "name": names} for n in range(9)])
    said = said_by(read, FeedUnreadable, body, format="json", fields={"name": "name"})
    assert 'Name one of their members: name = "name[0].text".' in said
