"""Tables that are suggested for files which no feed has yet."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ingestion_pipeline.config.cities import CitiesFileError, load_cities
from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.helpers.place_names import kinds_named_in
from ingestion_pipeline.sources.feed.describe import describe
from ingestion_pipeline.sources.feed.read import read_feed
from ingestion_pipeline.sources.feed.suggest import TODO, fetched_from, in_toml, suggest
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import BBOX, FeedServer, feed_of, geojson, toilet
from ingestion_pipeline_tests.support.overpass_server import Reply
from testbed.towns import TOWN, write_cities

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ingestion_pipeline.sources.feed.suggest import Suggestion

URL = "https://data.example.org/toilets.csv"
TO_DO = {"kind": "toilets", "licence": "CC0-1.0", "attribution": "Town of Exempel"}


def suggested(
    path: Path,
    text: str | bytes,
    *,
    bbox: Sequence[float] = BBOX,
    location: str = URL,
    last_modified: str | None = None,
) -> Suggestion:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = describe(path)
    return suggest(found, path, location=location, bbox=bbox, last_modified=last_modified)


def csv_of(head: str, *rows: str) -> str:
    return "\n".join([head, *rows])


def places_in(path: Path, found: Suggestion, bbox: Sequence[float]) -> int:
    """Read the file by a suggested table, with what is left to do done."""
    feed = feed_of(found.table, **TO_DO)
    boundary = BboxBoundary(Bbox(*bbox))
    places = read_feed(path, feed, bbox=bbox, boundary=boundary, namer=Namer(["en"], None))
    return places.table.num_rows


@pytest.mark.parametrize(
    ("head", "row", "keys"),
    [
        ("id,lon,lat", "{n};24.9{n};60.16", {"delimiter": ";", "lon": "lon", "lat": "lat"}),
        ("id,x,y", '{n},"24,9{n}","60,16"', {"lon": "x", "lat": "y", "decimal": ","}),
        ("id,point", '{n},"60.16, 24.9{n}"', {"lat_lon": "point"}),
        ("id,point", '{n},"(24.9{n} 60.16)"', {"lon_lat": "point"}),
        ("id,shape", "{n},POINT (24.9{n} 60.16)", {"geometry": "shape"}),
        ("id,GEOX,GEOY", "{n},38450{n},6671000", {"crs": "EPSG:3067", "lon": "GEOX"}),
        ("id,oben,unten", "{n},60.16,24.9{n}", {"lon": "unten", "lat": "oben"}),
    ],
)
def test_the_position_is_found(tmp_path: Path, head: str, row: str, keys: dict[str, str]) -> None:
    path = tmp_path / "file"
    head = head.replace(",", keys.get("delimiter", ","))
    found = suggested(path, csv_of(head, *(row.format(n=number) for number in range(1, 8))))
    assert keys.items() <= found.table.items()
    assert found.table["record_id"] == "id"
    assert found.inside == found.records == places_in(path, found, BBOX) == 7


def test_a_csv_without_a_header_gets_columns(tmp_path: Path) -> None:
    path = tmp_path / "file"
    rows = [f"{100 + number},Stop {number},60.16,24.9{number}" for number in range(1, 8)]
    found = suggested(path, "\n".join(rows))
    assert found.table["columns"] == ["column_1", "column_2", "column_3", "column_4"]
    assert (found.table["lon"], found.table["lat"]) == ("column_4", "column_3")
    assert places_in(path, found, BBOX) == 7


def test_the_fields_of_a_csv_without_a_header_have_the_names_of_its_columns(tmp_path: Path) -> None:
    rows = [f"{100 + n},WC {n},60.17{n},24.93{n}" for n in range(1, 9)]
    found = suggested(tmp_path / "a.csv", csv_of(*rows))
    assert [each.name for each in found.fields] == found.table["columns"]
    assert "better a field, if one is an id: column_1" in in_toml(found)


def test_another_field_that_may_have_a_column_is_named(tmp_path: Path) -> None:
    head = "id,x,y,summer_hours,winter_hours"
    found = suggested(tmp_path / "a.csv", csv_of(head, "1,24.95,60.17,8-20,9-17"))
    assert found.table["fields"] == {"opening_hours": "summer_hours"}
    assert "# fields: opening_hours may be in winter_hours too; of weekdays" in in_toml(found)


def test_a_price_is_no_position(tmp_path: Path) -> None:
    rows = [f"{n};0,50" for n in range(1, 9)]
    found = suggested(tmp_path / "a.csv", csv_of("nr;price", *rows))
    assert not {"lat_lon", "lon_lat"} & found.table.keys()
    assert (found.table["lon"], found.table["lat"]) == (TODO, TODO)
    assert "# lon: no position is recognized" in in_toml(found)


def test_the_kind_is_found_by_a_value_that_all_records_have(tmp_path: Path) -> None:
    rows = [f"{n},Public toilets,24.9{n},60.1{n}" for n in range(1, 9)]
    location = "https://data.example.org/7f3a.csv"
    found = suggested(tmp_path / "a.csv", csv_of("nr,service,x,y", *rows), location=location)
    assert "# kind: toilets" in in_toml(found)


def test_no_line_of_a_suggestion_is_longer_than_a_screen(tmp_path: Path) -> None:
    found = suggested(tmp_path / "a.csv", csv_of("id,x,y", "1,24.95,60.17"))
    assert all(len(line) <= 100 for line in in_toml(found).splitlines())


def test_fields_are_found_by_their_names_and_values(tmp_path: Path) -> None:
    head = "objectid,code,nom,horaires,acces_pmr,exploitant_operateur,x,y"
    rows = [
        f"{n},A{n},Place {n},24/7,{'Oui' if n % 2 else 'Non'},Ville,24.9{n},60.16"
        for n in range(1, 8)
    ]
    table = suggested(tmp_path / "file", csv_of(head, *rows)).table
    # The number of a row changes when the file is made anew.
    assert table["record_id"] == "code"
    assert table["fields"] == {
        "name": "nom",
        "opening_hours": "horaires",
        "wheelchair": "acces_pmr",
        "operator": "exploitant_operateur",
    }
    assert table["values"] == {"wheelchair": {"Oui": "yes", "Non": "no"}}


def test_one_name_in_several_languages_is_found(tmp_path: Path) -> None:
    rows = [f"{n},Tori {n},Torg {n},24.9{n},60.16" for n in range(1, 8)]
    table = suggested(tmp_path / "file", csv_of("id,Nimi,Namn,x,y", *rows)).table
    assert table["fields"] == {"name": "Nimi", "name:fi": "Nimi", "name:sv": "Namn"}


def test_records_without_an_id_get_one_of_their_position(tmp_path: Path) -> None:
    rows = [f"WC,24.9{n},60.16" for n in range(1, 8)]
    found = suggested(tmp_path / "file", csv_of("type,x,y", *rows))
    assert found.table["record_id"] == "@position"


def test_the_number_of_the_minimum_is_half_of_the_places_in_the_city(tmp_path: Path) -> None:
    rows = [f"{n},{24.9 if n <= 5 else 10},60.16" for n in range(1, 12)]
    found = suggested(tmp_path / "file", csv_of("id,x,y", *rows))
    assert (found.records, found.inside, found.table["minimum"]) == (11, 5, 2)


@pytest.mark.parametrize(
    ("changes", "as_of", "age"),
    [
        ({}, "fetched", 1),
        ({"last_modified": "Thu, 19 Nov 2026 06:30:00 GMT"}, "last_modified", 366),
        ({"location": "/data/x-{day}.csv"}, "day_in_location", 2),
    ],
)
def test_the_time_of_the_data_is_what_there_is(
    tmp_path: Path, changes: dict[str, Any], as_of: str, age: int
) -> None:
    rows = [f"{n},2019-01-0{n},24.9{n},60.16" for n in range(1, 8)]
    # When a place was built is not the time of the data.
    found = suggested(tmp_path / "file", csv_of("id,built,x,y", *rows), **changes)
    assert (found.table["as_of"], found.table["maximum_age_days"]) == (as_of, age)


@pytest.mark.parametrize(
    ("text", "form"),
    [("2026-11-19T10:00:00Z", None), ("19/11/2026", "%d/%m/%Y"), ("1795082400", "epoch")],
)
def test_the_form_of_times_is_found(tmp_path: Path, text: str, form: str | None) -> None:
    rows = [f"{n},{text},24.9{n},60.16" for n in range(1, 8)]
    table = suggested(tmp_path / "file", csv_of("id,last_update,x,y", *rows)).table
    assert table["as_of"] == "record:last_update"
    assert table.get("time_format") == form
    document = {
        "last_updated": int(text) if text.isdecimal() else text,
        "data": {"stops": [{"id": n, "lon": 24.9, "lat": 60.16} for n in range(1, 8)]},
    }
    table = suggested(tmp_path / "file", json.dumps(document)).table
    assert (table["records"], table["as_of"]) == ("data.stops", "document:last_updated")
    assert table.get("time_format") == form


def test_a_suggestion_is_valid_once_kind_licence_and_attribution_are_set(tmp_path: Path) -> None:
    features = [toilet(number, **{'a "quoted" name': "x\\y"}) for number in range(1, 8)]
    found = suggested(tmp_path / "file", geojson(features))
    text = in_toml(found)
    (table,) = tomllib.loads(f"[[city]]\n{text}")["city"][0]["feed"]
    assert table == found.table
    assert (table["kind"], table["licence"], table["attribution"]) == (TODO, TODO, "")
    cities = tmp_path / "cities.toml"
    write_cities(cities, [TOWN | {"feed": [table]}])
    with pytest.raises(CitiesFileError) as mistakes:
        load_cities(cities)
    wrong = " ".join(mistakes.value.mistakes)
    assert len(mistakes.value.mistakes) == len(TO_DO)
    assert all(f"{key}:" in wrong for key in TO_DO)
    write_cities(cities, [TOWN | {"feed": [table | TO_DO]}])
    assert [feed.slug for feed in load_cities(cities).get("town").feeds] == ["toilets"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("public-toilets.csv", "toilets"),
        ("van-washrooms.geojson", "toilets"),
        ("drinking_fountains.json", "drinking_water"),
        ("berlin-trinkbrunnen", "drinking_water"),
        ("ladesaeulen.csv", "charging_station"),
        ("aed.csv", "defibrillator"),
        ("apotheken apotheke", "pharmacy"),
        ("subway-entrances", "station_entrance"),
    ],
)
def test_the_likeliest_kind_is_named_first(name: str, kind: str) -> None:
    assert kinds_named_in(name)[0] == kind


def test_a_text_without_such_a_word_names_no_kind() -> None:
    assert kinds_named_in("xyzzy-2026.csv") == []


@pytest.mark.server
def test_a_file_is_fetched_from_its_url_with_its_time(tmp_path: Path) -> None:
    body = b"id,x,y\n1,24.9,60.16"
    reply = Reply(200, body, "text/csv", headers={"Last-Modified": "Thu, 19 Nov 2026 06:30:00 GMT"})
    with FeedServer(lambda _: reply) as server, httpx.Client() as http:
        fetched = fetched_from(
            server.address("x.csv"), http=http, clock=SystemClock(), workdir=tmp_path
        )
    assert fetched.path.read_bytes() == body
    assert fetched.validators.last_modified == "Thu, 19 Nov 2026 06:30:00 GMT"


REAL = {
    "van-washrooms.geojson": (-123.3, 49.1, -122.4, 49.4),
    "van-fountains.csv": (-123.3, 49.1, -122.4, 49.4),
    "translink-stops.txt": (-123.3, 49.1, -122.4, 49.4),
    "paris-sanisettes.csv": (2.2, 48.8, 2.5, 48.95),
    "paris-fontaines.geojson": (2.2, 48.8, 2.5, 48.95),
    "nyc-subway-entrances.csv": (-74.3, 40.4, -73.6, 41.0),
    "citibike.json": (-74.3, 40.4, -73.6, 41.0),
    "berlin-trinkbrunnen.geojson": (13.0, 52.3, 13.8, 52.7),
    "bnetza-lade.csv": (13.0, 52.3, 13.8, 52.7),
    "hillingdon.csv": (-0.6, 51.3, 0.3, 51.7),
    "camden.json": (-0.6, 51.3, 0.3, 51.7),
    "hsl-stations.csv": (24.5, 60.1, 25.3, 60.4),
    "mel-toilets.csv": (144.8, -37.9, 145.1, -37.7),
    "tor-washrooms.geojson": (-79.7, 43.5, -79.1, 43.9),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_every_record_of_a_real_file_is_read_by_the_table_that_is_suggested(
    name: str, osm_test_data: Path
) -> None:
    path, bbox = osm_test_data / "feeds" / name, REAL[name]
    location = f"https://data.example.org/{name}"
    found = suggest(describe(path), path, location=location, bbox=bbox, last_modified=None)
    assert places_in(path, found, bbox) == found.records >= 10
