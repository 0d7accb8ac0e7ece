"""The recipes of docs/feeds.md read the files that they describe, over HTTP."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.feeds import FORMATS
from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.sources.feed.acquire import acquire
from ingestion_pipeline.sources.feed.fetch import Fetched
from ingestion_pipeline.sources.feed.read import FeedPlaces, read_feed
from ingestion_pipeline.text.names import Namer
from ingestion_pipeline_tests.support.feed_server import FeedServer, feed_of
from ingestion_pipeline_tests.support.overpass_server import Reply
from ingestion_pipeline_tests.support.recipes import REAL_FILES, recipe, recipes
from testbed.towns import TOWN, write_cities

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline.core.evidence import SnapshotEvidence
    from ingestion_pipeline_tests.support.overpass_server import Request

pytestmark = pytest.mark.server

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Expectation:
    """What a real file has, by the file itself and not by our code.

    Attributes:
        bbox: The town: west, south, east, north.
        places: How many of its records are places in it.
        ref: One of them.
        lon_lat: Its position, by the file's own degrees or by gdaltransform.
        name: Its name.
        now: The current time.
        as_of: The time of the data; None for the time of the request.
    """

    bbox: tuple[float, float, float, float]
    places: int
    ref: str
    lon_lat: tuple[float, float]
    name: str | None
    now: datetime = NOW
    as_of: datetime | None = datetime(2024, 5, 31, 6, 30, tzinfo=UTC)


VANCOUVER = (-123.3, 49.1, -122.4, 49.4)
PARIS = (2.2, 48.8, 2.5, 48.95)
BERLIN = (13.0, 52.3, 13.8, 52.7)
LONDON = (-0.6, 51.3, 0.3, 51.7)

REAL: dict[str, Expectation] = {
    "geojson-of-a-portal": Expectation(
        VANCOUVER,
        20,
        "54|Queen Elizabeth Park|Fieldhouse#toilets",
        (-123.1115771, 49.238938),
        "Queen Elizabeth Park",
        as_of=datetime(2024, 5, 29, 5, tzinfo=UTC),
    ),
    "csv-with-lat-lon": Expectation(
        VANCOUVER,
        10,
        "DFPB0004#drinking_water",
        (-123.1847445, 49.2610857),
        "Fountain location: Almond Park",
        as_of=None,
    ),
    "csv-without-ids": Expectation(
        PARIS, 20, "48.8410,2.3004#toilets", (2.300281, 48.840906), None, as_of=None
    ),
    "csv-of-socrata": Expectation(
        (-74.3, 40.4, -73.6, 41.0),
        20,
        "40.6868,-73.9902#station_entrance",
        (-73.990272, 40.6867283),
        "Smith St & Bergen St At Ne Corner (To Manhattan And Queens Only)",
        as_of=datetime(2024, 5, 24, 10, 26, 40, tzinfo=UTC),
    ),
    "geojson-with-states": Expectation(
        PARIS, 20, "450080995#drinking_water", (2.3419862, 48.8949972), None
    ),
    # 392672.488, 5817675.476 of EPSG:25833 by gdaltransform
    "geojson-with-crs": Expectation(
        BERLIN, 20, "52.4986,13.4190#drinking_water", (13.4189326, 52.4986383), "Kottbusser Tor"
    ),
    "csv-with-decimal-comma": Expectation(
        BERLIN, 20, "1144860#charging_station", (13.377059, 52.52979), None
    ),
    # 509898, 180007 of EPSG:27700 by gdaltransform
    "csv-in-a-national-grid": Expectation(
        LONDON,
        20,
        "10022805611#toilets",
        (-0.4178515, 51.5083162),
        "BOTWELL GREEN LIBRARY  EAST AVENUE HAYES UB3 3HW",
        now=datetime(2016, 8, 31, 12, tzinfo=UTC),
        as_of=datetime(2016, 8, 30, tzinfo=UTC),
    ),
    "stops-of-gtfs": Expectation(
        VANCOUVER,
        21,
        "10000#public_transport_stop",
        (-123.09149, 49.179962),
        "Northbound No. 5 Rd @ McNeely Dr",
    ),
    "csv-in-three-languages": Expectation(
        (24.5, 60.1, 25.3, 60.4), 20, "503#bicycle_rental", (24.827467, 60.171524), "Keilalahti"
    ),
    "stations-of-gbfs": Expectation(
        (-74.3, 40.4, -73.6, 41.0),
        20,
        "1817822909864556798#bicycle_rental",
        (-73.9127486, 40.774233),
        "23 Ave & 31 St",
        now=datetime(2025, 4, 8, 12, tzinfo=UTC),
        as_of=datetime(2025, 4, 7, 23, 51, 27, tzinfo=UTC),
    ),
    "array-of-objects": Expectation(
        LONDON,
        20,
        r"Community Toilet Scheme Streets Coffee|, 289 Finchley Road, NW3 6ND#toilets",
        (-0.18195, 51.549337),
        "Community Toilet Scheme Streets Coffee",
    ),
    "csv-with-unknown-values": Expectation(
        (144.8, -37.9, 145.1, -37.7),
        20,
        "Public Toilet - Ron Barassi Senior Park Pavilion#toilets",
        (144.9340027, -37.8172206),
        "Public Toilet - Ron Barassi Senior Park Pavilion",
    ),
    "geojson-of-ckan": Expectation(
        (-79.7, 43.5, -79.1, 43.9),
        20,
        "30923#toilets",
        (-79.3822504, 43.6935854),
        "Moorevale Park Tennis Club Washroom",
        as_of=datetime(2024, 5, 28, 14, 3, 9, 123456, tzinfo=UTC),
    ),
}

METADATA = {
    "/api/explore/": {"metas": {"default": {"data_processed": "2024-05-29T05:00:00+00:00"}}},
    "/api/views/": {"name": "Entrances", "rowsUpdatedAt": 1716546400},
    "/api/3/": {"success": True, "result": {"metadata_modified": "2024-05-28T14:03:09.123456"}},
}
"""What portals say of a dataset: Opendatasoft, Socrata and CKAN."""


class StandingClock:
    """The same moment for ever."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def reply(body: bytes) -> Reply:
    return Reply(
        body=body,
        content_type="application/octet-stream",
        headers={"Last-Modified": "Fri, 31 May 2024 06:30:00 GMT"},
    )


def portal(body: bytes) -> Callable[[Request], Reply]:
    """Answer with metadata at the addresses of portals, and with a file at all others."""

    def answer(request: Request) -> Reply:
        for beginning, document in METADATA.items():
            if request.path.startswith(beginning):
                return reply(json.dumps(document).encode())
        return reply(body)

    return answer


def zipped(name: str, body: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("agency.txt", "agency_id\n1\n")
        file.writestr(name, body)
    return archive.getvalue()


def taken(
    slug: str, body: bytes, folder: Path, bbox: tuple[float, ...], now: datetime
) -> tuple[FeedPlaces, SnapshotEvidence]:
    """Fetch and read a file by its recipe."""
    with FeedServer(portal(body)) as server, httpx.Client() as http:
        feed = feed_of(recipe(slug, server.address("").rstrip("/")))
        got = acquire(feed, now.date(), http=http, clock=StandingClock(now), workdir=folder)
        assert isinstance(got.fetched, Fetched)
        places = read_feed(
            got.fetched.path,
            feed,
            bbox=bbox,
            boundary=BboxBoundary(Bbox(*bbox)),
            namer=Namer(["en"], None),
        )
    return places, got.evidence


@pytest.mark.parametrize("slug", REAL)
def test_a_real_file_is_read_as_it_is_published(
    slug: str, osm_test_data: Path, tmp_path: Path
) -> None:
    expected = REAL[slug]
    body = published(slug, osm_test_data)
    places, evidence = taken(slug, body, tmp_path, expected.bbox, expected.now)
    rows = {row["source_ref"]: row for row in places.table.to_pylist()}
    assert places.rejections == []
    assert len(rows) == expected.places
    row = rows[expected.ref]
    assert (row["lon"], row["lat"]) == pytest.approx(expected.lon_lat, abs=1e-6)
    assert row["name"] == expected.name
    assert evidence.as_of == (expected.as_of or expected.now)


def published(slug: str, folder: Path) -> bytes:
    """Return a real file as its publisher serves it."""
    body = (folder / "feeds" / REAL_FILES[slug]).read_bytes()
    return zipped("stops.txt", body) if slug == "stops-of-gtfs" else body


def test_every_real_file_has_a_recipe_and_an_expectation(osm_test_data: Path) -> None:
    files = {file.name for file in (osm_test_data / "feeds").iterdir()} - {"README.md"}
    assert set(REAL_FILES.values()) == files
    assert REAL.keys() == REAL_FILES.keys() <= recipes().keys()


# The same shapes, invented

SIX = range(1, 7)
LON, LAT = 24.95, 60.17
TOWN_BOX = (24.90, 60.15, 25.00, 60.20)


def features(properties: Callable[[int], dict[str, Any]], **members: Any) -> bytes:
    """Write GeoJSON of six records."""
    point = {"type": "Point", "coordinates": members.pop("xy", [LON, LAT])}
    records = [{"type": "Feature", "properties": properties(n), "geometry": point} for n in SIX]
    return json.dumps({"type": "FeatureCollection", **members, "features": records}).encode()


def lines(head: str, row: str, end: str = "\n") -> bytes:
    """Write a CSV of six records; `{n}` in a row is its number."""
    return end.join([*([head] if head else []), *(row.format(n=n) for n in SIX)]).encode()


INVENTED: dict[str, bytes] = {
    "geojson-of-a-portal": features(
        lambda n: {
            "primaryind": str(n // 2),
            "name": f"Park {n // 3}",
            "location": f"corner {n}",
            "wheel_access": "Yes",
            "address": None,
            "summer_hours": "9:00 am - Dusk",
            "winter_hours": "Closed",
        }
    ),
    "csv-with-lat-lon": b"\xef\xbb\xbf"
    + lines(
        "MAPID;NAME;IN_OPERATION;geo_point_2d", f'{{n}};"Fountain:\nPark {{n}}";;{LAT}, {LON}'
    ),
    "csv-without-ids": lines(
        "TYPE;HORAIRE;ACCES_PMR;ADRESSE;geo_point_2d", f"SANISETTE;6 h;Oui;{{n}} RUE;{LAT},{LON}"
    ),
    "csv-of-socrata": lines("Shape,NAME,LINE", f'"({LAT}, {LON})",Corner {{n}},A-C', end="\r"),
    "geojson-with-states": features(lambda n: {"gid": str(n), "modele": "Bois", "dispo": "NON"}),
    "geojson-with-crs": features(
        lambda n: {"name": f"Well {n}", "info": "May to October"},
        # LON, LAT in EPSG:25833 by gdaltransform
        xy=[1050726.98422083, 6711984.42141464],
        crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::25833"}},
    ),
    "csv-with-decimal-comma": lines(
        "Ladeeinrichtungs-ID;Betreiber;Anzeigename (Karte);Status;"
        "Nennleistung Ladeeinrichtung [kW];Anzahl Ladepunkte;Breitengrad;Längengrad",
        "{n};Stadtwerk;;In Betrieb;3,7;2;60,17;24,95",
    ),
    "stops-of-gtfs": zipped(
        "stops.txt", lines("", f"{{n}},5932{{n}},Stop {{n}},,{LAT},{LON},,,0,")
    ),
    "csv-in-three-languages": b"\xef\xbb\xbf"
    + lines(
        "FID,ID,Nimi,Namn,Name,Operaattor,Kapasiteet,x,y",
        f"{{n}},50{{n}},Hanasaari,Hanaholmen,Hanasaari,Bikes,10,{LON},{LAT}",
    ),
    "stations-of-gbfs": json.dumps(
        {
            "last_updated": 1717240000,
            "data": {
                "stations": [
                    {"station_id": str(n), "name": f"S {n}", "lon": LON, "lat": LAT,
                     "capacity": n, "rental_uris": {"ios": "https://example.org"}}
                    for n in SIX
                ]
            },
        }
    ).encode(),
    "array-of-objects": json.dumps(
        [
            {"name": f"WC {n}", "address": f"{n} Road", "opening_hours": "",
             "latitude": str(LAT), "longitude": str(LON)}
            for n in SIX
        ]
    ).encode(),
    "csv-with-unknown-values": lines(
        "name,female,male,wheelchair,operator,baby_facil,lat,lon",
        f"WC {{n}},U,U,U,Town,U,{LAT},{LON}",
    ),
    "geojson-of-ckan": features(
        lambda n: {"asset_id": n, "AssetName": f"Park {n}", "hours": "9 a.m. to 10 p.m.",
                   "address": "", "accessible": "", "Status": "1",
                   "Comments": "Men\u00e2\u0080\u0099s"}
    ),
}  # fmt: skip
"""Six records of each shape at one point of the invented town; that in OSGB36 is in London."""


@pytest.mark.parametrize("slug", INVENTED)
def test_a_file_of_the_shape_is_read_by_its_recipe(slug: str, tmp_path: Path) -> None:
    places, _ = taken(slug, INVENTED[slug], tmp_path, TOWN_BOX, NOW)
    rows = places.table.to_pylist()
    assert places.rejections == []
    assert len({row["source_ref"] for row in rows}) == len(SIX)
    for row in rows:
        assert (row["lon"], row["lat"]) == pytest.approx((LON, LAT), abs=1e-6)


def test_a_file_in_a_national_grid_is_read_by_its_recipe(tmp_path: Path) -> None:
    body = lines(
        "EXTRACTDATE,LOCATIONTEXT,GEOX,GEOY,CATEGORY,CHARGEAMOUNT,OPENINGHOURS,UPRN",
        "30/05/2024,WC {n},509898,180007,Unisex,0.00,24/7,{n}",
    )
    places, evidence = taken("csv-in-a-national-grid", body, tmp_path, LONDON, NOW)
    assert len(places.table) == len(SIX)
    assert places.table.column("lon")[0].as_py() == pytest.approx(-0.4178515, abs=1e-6)
    assert evidence.as_of == datetime(2024, 5, 30, tzinfo=UTC)


def test_the_recipes_are_tables_of_a_cities_file(tmp_path: Path) -> None:
    path = write_cities(tmp_path / "cities.toml", [TOWN | {"feed": [*recipes().values()]}])
    feeds = load_cities(path).get("town").feeds
    assert [feed.slug for feed in feeds] == [*recipes()]
    assert {feed.format for feed in feeds} == {*FORMATS}
