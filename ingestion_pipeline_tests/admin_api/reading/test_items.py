"""Items, filters, tiles and documents of the reading API, compared with SQL and read by GDAL."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from typing import TYPE_CHECKING

import pytest
import shapely
import shapely.geometry

from ingestion_pipeline_tests.admin_api.reading.conftest import BOX, READ_TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion_pipeline_tests.admin_api.reading.conftest import Reading

COLLECTIONS = ("helper_place_current", "helper_place_day", "poi_staging_current", "poi_staging_day")
ENVELOPE = "ST_Intersects(geometry, ST_MakeEnvelope(0, 0, 0.012, 1, 4326))"

# Collections


def test_each_view_with_a_geometry_is_a_collection(reading: Reading) -> None:
    listed = reading.get("collections")["collections"]
    # PostGIS lists what a role may read.
    expected = reading.staged.column("SELECT f_table_name FROM geometry_columns ORDER BY 1")
    assert [each["id"] for each in listed] == expected
    assert set(expected) >= set(COLLECTIONS)
    for each in listed:
        assert each["description"]
        assert each["extent"]["spatial"]["bbox"] == [BOX]
        assert each["crs"] == ["http://www.opengis.net/def/crs/OGC/1.3/CRS84"]


def test_the_conformance_classes_of_the_standards_are_listed(reading: Reading) -> None:
    listed = set(reading.get("conformance")["conformsTo"])
    spec = "http://www.opengis.net/spec"
    assert listed >= {
        f"{spec}/ogcapi-features-1/1.0/conf/core",
        f"{spec}/ogcapi-features-1/1.0/conf/geojson",
        f"{spec}/ogcapi-features-3/1.0/conf/filter",
        f"{spec}/ogcapi-features-3/1.0/conf/features-filter",
        f"{spec}/ogcapi-tiles-1/1.0/conf/core",
        f"{spec}/ogcapi-tiles-1/1.0/conf/mvt",
        f"{spec}/cql2/1.0/conf/cql2-text",
        f"{spec}/cql2/1.0/conf/cql2-json",
        f"{spec}/cql2/1.0/conf/basic-cql2",
    }


def test_every_link_of_the_landing_page_and_the_collections_leads_somewhere(
    reading: Reading,
) -> None:
    documents = [reading.get(""), *reading.get("collections")["collections"]]
    links = [link for each in documents for link in each["links"] if not link.get("templated")]
    assert len(links) > 10
    for href in {link["href"] for link in links}:
        assert href.startswith(reading.url)
        if "{" not in href:
            assert reading.http.get(href).status_code == 200, href


def test_the_landing_page_is_at_both_paths(reading: Reading) -> None:
    for slash in ("", "/"):
        page = reading.http.get(reading.url + slash, follow_redirects=False)
        assert page.json()["links"][0]["href"] == f"{reading.url}/"


# Items


@pytest.mark.parametrize("collection", COLLECTIONS)
def test_pages_together_are_all_rows_once(reading: Reading, collection: str) -> None:
    ids: list[int] = []
    page = reading.items(collection, limit=30)
    while True:
        ids += [feature["id"] for feature in page["features"]]
        following = [link["href"] for link in page["links"] if link["rel"] == "next"]
        if not following:
            break
        page = reading.http.get(following[0]).json()
    assert len(set(ids)) == len(ids) == page["numberMatched"] == reading.staged.count(collection)


def test_an_item_has_all_columns_of_the_row_and_its_geometry(reading: Reading) -> None:
    feature = reading.items("poi_staging_current", city_slug="town", source_ref="way/5")
    (feature,) = feature["features"]
    assert feature["properties"]["name"] == "café 5 of town on 0"
    assert feature["properties"]["tags"] == {"amenity": "cafe"}
    assert feature["properties"]["licence"] == "ODbL-1.0"
    shape = shapely.geometry.shape(feature["geometry"])
    assert shape.equals(shapely.box(0.005, 0, 1.005, 1))
    path = f"collections/poi_staging_current/items/{feature['id']}"
    again = reading.get(path)
    assert again["properties"] == feature["properties"]
    assert again["id"] == feature["id"]


FILTERS: list[tuple[str, dict[str, str], str]] = [
    ("poi_staging_current", {}, "true"),
    ("poi_staging_current", {"city_slug": "town"}, "city_slug = 'town'"),
    ("poi_staging_current", {"bbox": "0,0,0.012,1"}, ENVELOPE),
    ("poi_staging_current", {"osm_type": "way", "city_slug": "town"},
     "osm_type = 'way' AND city_slug = 'town'"),
    ("poi_staging_day", {"city_slug": "town", "day": "2024-01-02"},
     "city_slug = 'town' AND day = '2024-01-02'"),
    ("poi_staging_day", {"datetime": "2024-01-02T00:00:00Z"}, "day = '2024-01-02'"),
    ("poi_staging_day", {"datetime": "2024-01-02T00:00:00Z/.."}, "day >= '2024-01-02'"),
    ("poi_staging_day", {"datetime": "2024-01-02"}, "day = '2024-01-02'"),
    ("poi_staging_day", {"datetime": "2024-01-01/2024-01-02"}, "day <= '2024-01-02'"),
    ("poi_staging_day", {"datetime": "../2024-01-02"}, "day <= '2024-01-02'"),
    ("poi_staging_day", {"datetime": "2024-01-01T00:00:00Z/2024-01-02T00:00:00Z"},
     "day <= '2024-01-02'"),
    ("poi_staging_day", {"filter": "day = DATE('2024-01-02') AND city_slug = 'town'"},
     "city_slug = 'town' AND day = '2024-01-02'"),
    ("poi_staging_current", {"filter": "name LIKE 'café 1%'"}, "name LIKE 'café 1%'"),
    ("poi_staging_current", {"filter": "CASEI(name) LIKE CASEI('CAFÉ 1%')"},
     "name ILIKE 'CAFÉ 1%'"),
    ("poi_staging_current", {"filter": "osm_id IN (3, 4) OR osm_id BETWEEN 10 AND 12"},
     "osm_id IN (3, 4, 10, 11, 12)"),
    ("poi_staging_current", {"filter": "wikidata IS NULL AND NOT osm_type = 'way'"},
     "wikidata IS NULL AND osm_type <> 'way'"),
    ("poi_staging_current", {"filter": "S_INTERSECTS(geometry, BBOX(0, 0, 0.012, 1))"}, ENVELOPE),
    ("poi_staging_current",
     {"filter": "S_WITHIN(geometry, POLYGON((0 0, 0.012 0, 0.012 1, 0 1, 0 0)))"},
     "ST_Within(geometry, ST_MakeEnvelope(0, 0, 0.012, 1, 4326))"),
    ("poi_staging_current",
     {"filter": '{"op": "=", "args": [{"property": "osm_id"}, 7]}', "filter-lang": "cql2-json"},
     "osm_id = 7"),
    ("poi_staging_current", {"filter": "name = 'x'' OR TRUE OR name = ''y'"}, "false"),
    ("helper_place_current", {"kind": "toilets"}, "kind = 'toilets'"),
]  # fmt: skip


@pytest.mark.parametrize(("collection", "parameters", "where"), FILTERS)
def test_a_filter_finds_what_sql_finds(
    reading: Reading, collection: str, parameters: dict[str, str], where: str
) -> None:
    expected = reading.staged.count(collection, where)
    assert (expected == 0) == (where == "false")
    assert reading.items(collection, **parameters)["numberMatched"] == expected


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"citty_slug": "town"}, "citty_slug"),
        ({"filter": "pg_sleep(5) = 1"}, "pg_sleep"),
        ({"filter": "name = current_setting('x')"}, "current_setting"),
        ({"filter": "query_to_xml('SELECT 1', true, true, '') = 'x'"}, "query_to_xml"),
        ({"filter": "no_such_column = 1"}, "no_such_column"),
        ({"filter": "user = 'postgres'"}, "user"),
        ({"filter": "(("}, "not CQL2"),
        ({"filter": "name > 5"}, "text > integer"),
        ({"filter": " OR ".join(["NOT (" * 30 + "id = 1" + ")" * 30])}, "deeper"),
        ({"filter": "S_INTERSECTS(geometry, POLYGON((0 0, 1 1)))"}, "geometry"),
        ({"filter": "id / 0 = 1"}, "division by zero"),
        ({"filter": "name = 'a\0b'"}, "null character"),
        ({"name": "a\0b"}, "null character"),
        ({"day": "someday"}, "someday"),
        ({"bbox": "a,b,c,d"}, "'a'"),
        ({"bbox": "0,0,500,1"}, "longitude"),
        ({"bbox": "1,2,3"}, "bbox"),
        ({"datetime": "yesterday"}, "yesterday"),
        ({"datetime": "2024-01-02T00:00:00"}, "2024-01-02T00:00:00"),
        ({"datetime": "2024-02-31"}, "2024-02-31"),
        ({"datetime": "9999-12-31"}, "9999"),
        ({"datetime": "2024-01-01/2024-01-02/2024-01-03"}, "2024-01-02/2024-01-03"),
        ({"datetime": "../.."}, "open-ended"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "-1"}, "limit"),
        ({"offset": "-1"}, "offset"),
        ({"f": "shapefile"}, "f"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(
    reading: Reading, parameters: dict[str, str], said: str
) -> None:
    reply = reading.http.get("collections/poi_staging_current/items", params=parameters)
    assert reply.status_code == 400, reply.text
    assert reply.json()["code"] == "invalid_request"
    assert said in json.dumps(reply.json(), ensure_ascii=False)


@pytest.mark.parametrize(
    "path",
    [
        "collections/no_such_view",
        "collections/no_such_view/items",
        "collections/poi_staging_current/items/999999999",
        "collections/poi_staging_current/items/x",
        "collections/poi_staging_current/items?sortby=no_such_column",
        "collections/poi_staging_current/items?geom-column=no_such_column",
        "collections/poi_staging_current/tiles/WebMercatorQuad/1/2/0",
        "no/such/path",
    ],
)
def test_what_is_not_there_is_a_problem(reading: Reading, path: str) -> None:
    reply = reading.http.get(path)
    assert reply.status_code == 404
    assert reply.json()["code"] == "not_found"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_method_changes_anything(reading: Reading, method: str) -> None:
    reply = reading.http.request(method, "collections/poi_staging_current/items")
    assert reply.status_code == 405
    assert reply.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize(("city", "rows"), [("town", 41), ("nowhere", 0)])
def test_rows_can_be_read_as_csv(reading: Reading, city: str, rows: int) -> None:
    for encoding in ("gzip", "identity"):
        reply = reading.http.get(
            "collections/poi_staging_current/items",
            params={"f": "csv", "city_slug": city},
            headers={"Accept-Encoding": encoding},
        )
        assert reply.status_code == 200
        assert reply.headers["Content-Type"].startswith("text/csv")
        assert len(list(csv.DictReader(io.StringIO(reply.text)))) == rows


# Pages


def test_a_page_shows_markup_as_text_and_loads_nothing(reading: Reading) -> None:
    asked = {"f": "html", "filter": "name = '<script>alert(1)</script>'"}
    for path, parameters in (
        ("", {"f": "html"}),
        ("collections", {"f": "html"}),
        ("collections/poi_staging_current", {"f": "html"}),
        ("collections/poi_staging_current/items", asked),
        ("conformance", {"f": "html"}),
        ("tileMatrixSets", {"f": "html"}),
    ):
        reply = reading.http.get(path, params=parameters)
        assert reply.status_code == 200
        assert "<script" not in reply.text
        assert "src=" not in reply.text
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert reply.headers["X-Content-Type-Options"] == "nosniff"


def test_the_contract_says_that_a_token_is_needed(reading: Reading) -> None:
    reply = reading.http.get("api")
    assert reply.headers["Content-Type"] == "application/vnd.oai.openapi+json;version=3.0"
    assert reply.json()["security"] == [{"ReadToken": []}, {"BearerToken": []}, {"BasicToken": []}]
    page = reading.http.get("api.html")
    assert "../docs/assets/swagger-ui-bundle.js" in page.text
    assert "https://" not in page.text


# Tiles


def test_a_tile_has_the_places_of_its_area(reading: Reading, tmp_path: Path) -> None:
    tile = reading.http.get(
        "collections/poi_staging_current/tiles/WebMercatorQuad/8/128/127",
        params={"city_slug": "town", "properties": "name,category"},
    )
    assert tile.headers["Content-Type"] == "application/vnd.mapbox-vector-tile"
    (tmp_path / "tile.mvt").write_bytes(tile.content)
    read = gdal(
        "ogr2ogr", "-f", "GeoJSON", "/vsistdout/", str(tmp_path / "tile.mvt"),
        "-t_srs", "EPSG:4326", "-oo", "Z=8", "-oo", "X=128", "-oo", "Y=127",
    )  # fmt: skip
    features = json.loads(read)["features"]
    expected = reading.items("poi_staging_current", city_slug="town", osm_type="node")["features"]
    points = {
        feature["properties"]["name"]: feature["geometry"]["coordinates"]
        for feature in features
        if feature["geometry"]["type"] == "Point"
    }
    assert len(expected) == len(points) == 20
    for feature in expected:
        # A pixel of this zoom is 1.4 degrees / 4096.
        assert points[feature["properties"]["name"]] == pytest.approx(
            feature["geometry"]["coordinates"], abs=0.001
        )
    assert {name for each in features for name in each["properties"]} <= {
        "name", "category", "mvt_id",
    }  # fmt: skip


def test_the_tilejson_leads_to_tiles(reading: Reading) -> None:
    found = reading.get(
        "collections/poi_staging_current/tiles/WebMercatorQuad/tilejson.json",
        city_slug="town",
        properties="name",
    )
    (template,) = found["tiles"]
    assert template.endswith("/{z}/{x}/{y}?city_slug=town&properties=name")
    address = template.replace("{z}", "0").replace("{x}", "0").replace("{y}", "0")
    assert len(reading.http.get(address).content) > 100


# GDAL


def gdal(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "ERROR" not in done.stderr, done.stderr
    return done.stdout


def ogrinfo(reading: Reading, *options: str, **config: str) -> str:
    given = [text for name, value in config.items() for text in ("--config", name, value)]
    return gdal("ogrinfo", "-ro", "-so", *given, f"OAPIF:{reading.url}", *options)


@pytest.mark.parametrize(
    "config",
    [
        {"GDAL_HTTP_HEADERS": f"X-Read-Token: {READ_TOKEN}"},
        {"GDAL_HTTP_USERPWD": f"reader:{READ_TOKEN}", "GDAL_HTTP_AUTH": "BASIC"},
    ],
)
@pytest.mark.parametrize(
    ("collection", "options", "where"),
    [
        ("poi_staging_current", (), "true"),
        ("helper_place_current", (), "true"),
        ("poi_staging_current", ("-spat", "0", "0", "0.012", "1"), ENVELOPE),
        ("poi_staging_day", ("-where", "city_slug = 'town' AND day = '2024/01/02'"),
         "city_slug = 'town' AND day = '2024-01-02'"),
    ],
)  # fmt: skip
def test_gdal_reads_what_sql_reads(
    reading: Reading,
    config: dict[str, str],
    collection: str,
    options: tuple[str, ...],
    where: str,
) -> None:
    said = ogrinfo(reading, collection, *options, **config)
    assert f"Feature Count: {reading.staged.count(collection, where)}\n" in said
    assert 'ID["EPSG",4326]' in said or 'ID["OGC","CRS84"]' in said


def test_gdal_reads_nothing_without_a_token(reading: Reading) -> None:
    done = subprocess.run(
        ["ogrinfo", "-ro", f"OAPIF:{reading.url}"], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "401" in done.stderr
