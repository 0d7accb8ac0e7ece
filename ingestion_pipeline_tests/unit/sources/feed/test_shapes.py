"""Invented files in the layouts of portals: each has a suggestion that reads every record of it."""

from __future__ import annotations

import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

import geopandas
import pandas as pd
import pytest
import shapely
from pyproj import Transformer

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.sources.feed.describe import describe
from ingestion_pipeline.sources.feed.errors import FeedUnreadable
from ingestion_pipeline.sources.feed.read import read_feed
from ingestion_pipeline.sources.feed.suggest import suggest
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import feed_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EIGHT = range(1, 9)
BBOX = (13.3, 52.45, 13.5, 52.59)
"""A window in Berlin: its longitudes are no latitudes, and several grids are used there."""


def at(n: int) -> tuple[float, float]:
    """Return where place `n` is: longitude and latitude."""
    return round(13.4 + n * 0.003, 6), round(52.52 + n % 5 * 0.002, 6)


def grid(n: int, epsg: int) -> tuple[float, float]:
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(*at(n))
    return round(x, 2), round(y, 2)


def comma(value: float) -> str:
    return str(value).replace(".", ",")


def lines(head: str, row: Callable[[int, float, float], str], *, before: str = "") -> str:
    return before + "\r\n".join([head, *(row(n, *at(n)) for n in EIGHT), ""])


def each(record: Callable[[int, float, float], Any]) -> list[Any]:
    return [record(n, *at(n)) for n in EIGHT]


def point(n: int) -> dict[str, Any]:
    return {"type": "Point", "coordinates": list(at(n))}


def angle(value: float, letter: str) -> str:
    minutes = value % 1 * 60
    return f"{int(value)}°{int(minutes):02}'{minutes % 1 * 60:06.3f}\"{letter}"


def esri(epsg: int, **system: int) -> dict[str, Any]:
    return {
        "objectIdFieldName": "OBJECTID",
        "geometryType": "esriGeometryPoint",
        "spatialReference": system,
        "fields": [{"name": "OBJECTID"}, {"name": "CODE"}, {"name": "NAME"}],
        "features": [
            {
                "attributes": {"OBJECTID": n, "CODE": f"B{n}", "NAME": f"WC {n}"},
                "geometry": dict(zip("xy", grid(n, epsg), strict=True)),
            }
            for n in EIGHT
        ],
    }


JSON: dict[str, tuple[Any, dict[str, Any]]] = {
    "Socrata": (
        each(lambda n, x, y: {"facility_id": f"F{n}", "latitude": str(y), "longitude": str(x)}),
        {"lon": "longitude", "lat": "latitude", "record_id": "facility_id"},
    ),
    "Socrata with a location": (
        each(
            lambda n, x, y: {
                "objectid": str(n),
                "name": f"WC {n}",
                "location": {"latitude": str(y), "longitude": str(x), "human_address": "{}"},
            }
        ),
        {"lon": "location.longitude", "lat": "location.latitude"},
    ),
    "Socrata with a geometry": (
        [{"name": f"WC {n}", "the_geom": point(n)} for n in EIGHT],
        {"geometry": "the_geom"},
    ),
    "Socrata's rows": (
        {
            "meta": {
                "view": {
                    "rowsUpdatedAt": 1764000000,
                    "columns": [
                        {"name": "sid"},
                        {"name": "Name"},
                        {"name": "Y co."},
                        {"name": "X"},
                    ],
                }
            },
            "data": each(lambda n, x, y: [f"row-{n}", f"WC {n}", str(y), str(x)]),
        },
        {
            "records": 'data[*].{sid: [0], Name: [1], "Y co.": [2], X: [3]}',
            "as_of": "document:meta.view.rowsUpdatedAt",
            "time_format": "epoch",
        },
    ),
    "columns and rows": (
        {"columns": ["id", "lat", "lon"], "rows": each(lambda n, x, y: [n, y, x])},
        {"records": "rows[*].{id: [0], lat: [1], lon: [2]}", "record_id": "id"},
    ),
    "ArcGIS in Web Mercator": (
        esri(3857, wkid=102100, latestWkid=3857),
        {"records": "features", "crs": "EPSG:3857", "record_id": "attributes.CODE"},
    ),
    "ArcGIS in a grid": (esri(25833, wkid=25833, latestWkid=25833), {"crs": "EPSG:25833"}),
    "Opendatasoft v1": (
        {
            "nhits": 8,
            "records": each(
                lambda n, x, y: {
                    "recordid": f"ab{n}",
                    "fields": {"geo_point_2d": [y, x], "geo_shape": point(n)},
                }
            ),
        },
        {"records": "records", "lat_lon": "fields.geo_point_2d", "record_id": "recordid"},
    ),
    "Opendatasoft v2": (
        {
            "total_count": 8,
            "results": each(
                lambda n, x, y: {"gid": f"C_{n}", "geo_point_2d": {"lon": x, "lat": y}}
            ),
        },
        {"records": "results", "lon": "geo_point_2d.lon", "record_id": "gid"},
    ),
    "CKAN's datastore": (
        {
            "success": True,
            "result": {
                "fields": [{"id": "_id"}, {"id": "geometry"}],
                "records": [
                    {"_id": n, "code": f"C{n}", "geometry": json.dumps(point(n))} for n in EIGHT
                ],
            },
        },
        {"records": "result.records", "geometry": "geometry", "record_id": "code"},
    ),
    "GBFS 3": (
        {
            "last_updated": "2026-11-20T10:00:00+01:00",
            "data": {
                "stations": each(
                    lambda n, x, y: {
                        "station_id": f"s{n}",
                        "name": [
                            {"text": f"Gare {n}", "language": "fr"},
                            {"text": f"Station {n}", "language": "en"},
                        ],
                        "lat": y,
                        "lon": x,
                    }
                )
            },
        },
        {
            "as_of": "document:last_updated",
            "fields": {
                "name": "name[0].text",
                "name:fr": "name[?language=='fr'].text | [0]",
                "name:en": "name[?language=='en'].text | [0]",
            },
        },
    ),
    "OCPI": (
        {
            "data": each(
                lambda n, x, y: {
                    "id": f"LOC{n}",
                    "coordinates": {"latitude": str(y), "longitude": str(x)},
                    "evses": [{"uid": f"e{n}", "connectors": [{"id": "1"}]}],
                    "last_updated": f"2026-11-1{n}T10:00:00Z",
                }
            )
        },
        {"records": "data", "record_id": "id", "as_of": "record:last_updated"},
    ),
    "JSON-LD": (
        {
            "@context": {},
            "@graph": each(
                lambda n, x, y: {
                    "@id": f"https://data.example.org/{n}",
                    "id": str(5000 + n),
                    "title": f"Aseo {n}",
                    "location": {"latitude": y, "longitude": x},
                    "organization": {"schedule": "24 h"},
                }
            ),
        },
        {"records": "@graph", "lon": "location.longitude", "record_id": "id"},
    ),
    "names by language": (
        each(
            lambda n, x, y: {
                "identifier": f"t{n}",
                "name": {"fi": f"WC {n}", "sv": f"Toa {n}"},
                "geo": {"latitude": y, "longitude": x},
            }
        ),
        {
            "record_id": "identifier",
            "fields": {"name": "name.fi", "name:fi": "name.fi", "name:sv": "name.sv"},
        },
    ),
    "objects by their keys": (
        {"stations": {f"st-{n}": {"latitude": at(n)[1], "longitude": at(n)[0]} for n in EIGHT}},
        {"records": "stations", "record_id": "@key"},
    ),
    "pairs": (
        {"items": each(lambda n, x, y: {"id": n, "coordinates": [x, y]})},
        {"records": "items", "lon_lat": "coordinates"},
    ),
}

TEXT: dict[str, tuple[str | bytes, dict[str, Any]]] = {
    "WKT of Socrata": (
        lines("the_geom,SSID", lambda n, x, y: f"POINT ({x} {y}),W{n}"),
        {"geometry": "the_geom", "record_id": "SSID"},
    ),
    "an address with a pair": (
        lines("Code,Location", lambda n, x, y: f'A{n},"{n} {"LONG " * 20}ST\nTown\n({y}, {x})"'),
        {"lat_lon": "Location", "record_id": "Code"},
    ),
    "GeoJSON in a cell": (
        lines(
            "_id,LocationID,geometry",
            lambda n, x, y: (
                f'{n},L{n},"{{""coordinates"": [[{x}, {y}]], ""type"": ""MultiPoint""}}"'
            ),
        ),
        {"geometry": "geometry", "record_id": "LocationID"},
    ),
    "a pair beside a shape": (
        lines("Geo Point;Geo Shape;GID", lambda n, x, y: f"{y}, {x};;{n}", before="\ufeff"),
        {"delimiter": ";", "lat_lon": "Geo Point", "record_id": "GID"},
    ),
    "titles before the header": (
        lines(
            "Betreiber;Nummer;Breitengrad;Längengrad",
            lambda n, x, y: f"Stadtwerke;{n};{comma(y)};{comma(x)}",
            before="Ladesäulenregister;;;\r\n;;;\r\nStand: 01.11.2026;;;\r\n\r\n",
        ).encode("cp1252"),
        {"skip_lines": 4, "encoding": "cp1252", "decimal": ",", "lon": "Längengrad"},
    ),
    "a title in one cell": (
        lines("id,name,lat,lon", lambda n, x, y: f"{n},WC {n},{y},{x}", before="Toilets\n\n"),
        {"skip_lines": 2, "lon": "lon", "record_id": "id"},
    ),
    "geogr. Länge": (
        lines("Nr.;geogr. Länge;geogr. Breite", lambda n, x, y: f"{n};{comma(x)};{comma(y)}"),
        {"lon": "geogr. Länge", "lat": "geogr. Breite", "decimal": ",", "record_id": "Nr."},
    ),
    "Rechtswert": (
        lines("Nr;Rechtswert;Hochwert", lambda n, *_: "{};{};{}".format(n, *grid(n, 25833))),
        {"lon": "Rechtswert", "lat": "Hochwert", "crs": "EPSG:25833"},
    ),
    "X-Koordinate": (
        lines("Nr,X-Koordinate,Y-Koordinate", lambda n, *_: "{},{},{}".format(n, *grid(n, 25833))),
        {"lon": "X-Koordinate", "lat": "Y-Koordinate", "crs": "EPSG:25833"},
    ),
    "a grid beside degrees": (
        lines(
            "ID;COORD_GIS_X;COORD_GIS_Y;LATITUD;LONGITUD",
            lambda n, x, y: "{};{};{};{};{}".format(n, *map(comma, grid(n, 25833)), y, x),
        ),
        {"lon": "LONGITUD", "lat": "LATITUD"},
    ),
    "Italian": (
        lines("id;Denominazione;LONG_X_4326;LAT_Y_4326", lambda n, x, y: f"{n};F {n};{x};{y}"),
        {"lon": "LONG_X_4326", "lat": "LAT_Y_4326", "fields": {"name": "Denominazione"}},
    ),
    "Polish": (
        lines(
            "Lp.;Nazwa;Szerokość geograficzna;Długość geograficzna",
            lambda n, x, y: f"{n};Toaleta żółta {n};{comma(y)};{comma(x)}",
        ).encode("cp1250"),
        {"encoding": "cp1250", "lon": "Długość geograficzna", "record_id": "Nazwa"},
    ),
    "Japanese": (
        lines("NO,名称,緯度,経度", lambda n, x, y: f"{n:09},区役所第{n}会議室,{y},{x}").encode(
            "cp932"
        ),
        {"encoding": "cp932", "lon": "経度", "lat": "緯度", "record_id": "NO"},
    ),
    "UTF-16": (
        lines("Tunnus\tNimi\tLeveys\tPituus", lambda n, x, y: f"{n}\tKäymälä {n}\t{y}\t{x}").encode(
            "utf-16"
        ),
        {"encoding": "utf-16", "delimiter": "\t", "lon": "Pituus", "record_id": "Tunnus"},
    ),
    "GeoDAE": (
        lines("c_gid;c_nom;c_lat_coor1;c_long_coor1", lambda n, x, y: f"{n};Mairie {n};{y};{x}"),
        {"lon": "c_long_coor1", "record_id": "c_gid", "fields": {"name": "c_nom"}},
    ),
    "angles in one column": (
        lines("Nr;Ort", lambda n, x, y: f"{n};{angle(y, 'N')} {angle(x, 'E')}").replace('"', "''"),
        {"lat_lon": "Ort", "record_id": "Nr"},
    ),
    "angles in two columns": (
        lines("Nr;Lat;Lon", lambda n, x, y: f"{n};{angle(y, 'N')};{angle(x, 'E')}").replace(
            '"', "''"
        ),
        {"lat": "Lat", "lon": "Lon"},
    ),
    "a pair with decimal commas": (
        lines("ID;Name;Koordinaten", lambda n, x, y: f"{n};WC {n};{comma(y)} {comma(x)}"),
        {"delimiter": ";", "lat_lon": "Koordinaten", "decimal": ","},
    ),
    "blanks in the header": (
        lines(" ID , Latitude , Longitude ", lambda n, x, y: f"{n}, {y} , {x}"),
        {"lon": " Longitude ", "record_id": " ID "},
    ),
    "objects on lines": (
        "\n".join(each(lambda n, x, y: json.dumps({"id": n, "at": {"lat": y, "lng": x}}))),
        {"format": "json", "lon": "at.lng", "record_id": "id"},
    ),
    "features on lines": (
        "\n".join(
            "\x1e" + json.dumps({"type": "Feature", "properties": {"id": n}, "geometry": point(n)})
            for n in EIGHT
        ),
        {"format": "geojson", "record_id": "id"},
    ),
    "GPX": (
        "<gpx>{}</gpx>".format(
            "".join(each(lambda n, x, y: f"<wpt lat='{y}' lon='{x}'><name>W{n}</name></wpt>"))
        ),
        {"format": "xml", "records": "gpx.wpt", "lon": "@lon", "lat": "@lat"},
    ),
    "GeoRSS": (
        "<rss xmlns:georss='urn:g'><channel>{}</channel></rss>".format(
            "".join(
                each(
                    lambda n, x, y: (
                        f"<item><guid>g{n}</guid><georss:point>{y} {x}</georss:point></item>"
                    )
                )
            )
        ),
        {"format": "xml", "records": "rss.channel.item", "lat_lon": "georss:point"},
    ),
}


@pytest.fixture
def check(tmp_path: Path) -> Callable[[bytes, dict[str, Any]], None]:
    """Suggest a table for a file, compare its keys, and read all places by it."""

    def checked(body: bytes, keys: dict[str, Any]) -> None:
        path = tmp_path / "file"
        path.write_bytes(body)
        location = "https://data.example.org/wc"
        found = suggest(describe(path), path, location=location, bbox=BBOX, last_modified=None)
        assert {key: found.table.get(key) for key in keys} == keys
        feed = feed_of(found.table, kind="toilets", licence="CC0-1.0", attribution="Town")
        boundary = BboxBoundary(Bbox(*BBOX))
        places = read_feed(path, feed, bbox=BBOX, boundary=boundary, namer=Namer(["en"], None))
        assert places.rejections == []
        positions = sorted((row["lon"], row["lat"]) for row in places.table.to_pylist())
        assert len(positions) == found.inside == len(EIGHT)
        for position, n in zip(positions, EIGHT, strict=True):
            assert position == pytest.approx(at(n), abs=1e-6)

    return checked


@pytest.mark.parametrize("shape", JSON)
def test_json_of_a_portal_is_read_by_its_suggestion(
    shape: str, check: Callable[[bytes, dict[str, Any]], None]
) -> None:
    document, keys = JSON[shape]
    check(json.dumps(document, ensure_ascii=False).encode(), keys)


@pytest.mark.parametrize("shape", TEXT)
def test_text_of_a_portal_is_read_by_its_suggestion(
    shape: str, check: Callable[[bytes, dict[str, Any]], None]
) -> None:
    text, keys = TEXT[shape]
    check(text if isinstance(text, bytes) else text.encode(), keys)


@pytest.mark.parametrize("driver", ["XLSX", "ODS"])
def test_a_sheet_with_a_title_and_two_headers_is_read_by_its_suggestion(
    driver: str, check: Callable[[bytes, dict[str, Any]], None], tmp_path: Path
) -> None:
    rows = [
        ["Nr.", "Standort", "Koordinaten", None],
        [None, None, "Rechtswert", "Hochwert"],
        *([str(n), f"Markt {n}", *map(str, grid(n, 25833))] for n in EIGHT),
    ]
    frame = pd.DataFrame(rows).astype("string")
    frame.columns = ["Toiletten", "", " ", "  "]
    path = tmp_path / f"a.{driver.lower()}"
    geopandas.GeoDataFrame(frame).to_file(path, driver=driver, engine="pyogrio")
    keys = {"skip_lines": 2, "lon": "Rechtswert", "lat": "Hochwert", "crs": "EPSG:25833"}
    check(path.read_bytes(), keys | {"record_id": "Nr.", "fields": {"name": "Standort"}})


def test_a_shapefile_without_its_encoding_is_read_by_its_suggestion(
    check: Callable[[bytes, dict[str, Any]], None], tmp_path: Path
) -> None:
    frame = geopandas.GeoDataFrame(
        {"NR": [*EIGHT], "NAME": [f"Größe {n}" for n in EIGHT]},
        geometry=[shapely.Point(*grid(n, 31468)) for n in EIGHT],
        crs=31468,
    )
    frame.to_file(tmp_path / "wc.shp", engine="pyogrio", encoding="cp1252")
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for path in tmp_path.glob("wc.*"):
            if path.suffix != ".cpg":
                archive.write(path, f"Toiletten_GK4/{path.name}")
    check(body.getvalue(), {"encoding": "cp1252", "record_id": "NR", "fields": {"name": "NAME"}})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html><body>log in</body></html>", "an HTML page"),
        (b"PAR1" + b"\0" * 20, "a Parquet file"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 20, "an Excel file of before 2007"),
        (b"<osm version='0.6'/>", "an OSM XML file"),
        (b'{"a": {"b": 1}}', "JSON without a list of records"),
        (b'{"id": 1}\n{"id": 2}\n{"id"', "value 3 of its lines of JSON is none"),
    ],
)
def test_what_no_feed_can_be_is_named(tmp_path: Path, body: bytes, said: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(body)
    with pytest.raises(FeedUnreadable, match=said):
        describe(path)
