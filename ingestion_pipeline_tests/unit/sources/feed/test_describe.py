"""Descriptions of files that no table describes yet."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import geopandas
import pytest
import shapely

from ingestion_pipeline.sources.feed.describe import Field, describe
from ingestion_pipeline.sources.feed.errors import FeedTooBig, FeedUnreadable
from ingestion_pipeline_tests.support.feed_server import toilets
from ingestion_pipeline_tests.unit.sources.feed.test_formats import PLACES, shapefile, zipped

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, body: bytes) -> Path:
    path = folder / "described"
    path.write_bytes(body)
    return path


def test_a_csv_is_described_with_its_delimiter_and_its_encoding(tmp_path: Path) -> None:
    found = describe(put(tmp_path, "nr;naïve;x\n1;é;2\n2;;2\n".encode("cp1252")))
    assert found.keys == {"format": "csv", "delimiter": ";", "encoding": "cp1252"}
    assert found.records == 2
    assert found.fields == (
        Field("nr", 2, 2, ("1", "2"), "number"),
        Field("naïve", 1, 1, ("é",)),
        Field("x", 2, 1, ("2",), "number"),
    )
    assert [field.is_unique(found.records) for field in found.fields] == [True, False, False]
    assert not found.has_geometry


def test_geojson_is_described_with_its_geometry(tmp_path: Path) -> None:
    found = describe(put(tmp_path, gzip.compress(toilets())))
    assert (found.keys, found.records, found.has_geometry) == ({"format": "geojson"}, 20, True)
    assert found.fields[0] == Field("OBJECTID", 20, 20, ("1", "2", "3"), "number")


def test_json_is_described_with_the_longest_list_and_nested_members(tmp_path: Path) -> None:
    stations = [{"id": n, "at": {"lat": 60.17, "odd name": n}, "tags": []} for n in range(3)]
    document = {"last_updated": 7, "data": {"stations": stations, "zones": [{"a": 1}]}}
    found = describe(put(tmp_path, json.dumps(document).encode()))
    assert found.keys == {"format": "json", "records": "data.stations"}
    assert found.choices == {"records": ("data.stations", "data.zones")}
    assert found.members == {"last_updated": "7"}
    names = [field.name for field in found.fields]
    assert names == ["id", "at.lat", 'at."odd name"', "tags"]


def test_an_archive_is_described_with_the_file_to_name(tmp_path: Path) -> None:
    files = {"agency.txt": b"a,b\n1,2\n", "stops.txt": b"stop_id,stop_lat\n1,2\n"}
    found = describe(put(tmp_path, zipped(files)))
    assert found.keys == {"member": "stops.txt", "format": "csv"}
    assert found.choices == {"member": ["agency.txt", "stops.txt"]}
    assert [field.name for field in found.fields] == ["stop_id", "stop_lat"]


@pytest.mark.parametrize(
    ("driver", "keys"),
    [
        ("GPKG", {"format": "geopackage"}),
        ("FlatGeobuf", {"format": "flatgeobuf"}),
        ("LIBKML", {"format": "kml"}),
        ("GML", {"format": "gml"}),
    ],
)
def test_geodata_is_described(tmp_path: Path, driver: str, keys: dict[str, Any]) -> None:
    suffix = {"FlatGeobuf": "fgb", "LIBKML": "kml"}.get(driver, driver.lower())
    path = tmp_path / f"a.{suffix}"
    PLACES.to_file(path, driver=driver, engine="pyogrio")
    found = describe(path)
    assert (found.keys, found.records, found.has_geometry) == (keys, len(PLACES), True)
    assert "ref" in [field.name for field in found.fields]


@pytest.mark.parametrize("driver", ["GPKG", "FlatGeobuf", "LIBKML", "GML", "XLSX"])
def test_the_format_is_found_by_the_content_whatever_the_name(tmp_path: Path, driver: str) -> None:
    # A file that no table describes yet is fetched under one name.
    suffix = {"FlatGeobuf": "fgb", "LIBKML": "kml"}.get(driver, driver.lower())
    written = tmp_path / f"a.{suffix}"
    frame = PLACES if driver != "XLSX" else geopandas.GeoDataFrame(PLACES.drop(columns="geometry"))
    frame.to_file(written, driver=driver, engine="pyogrio")
    found = describe(written.rename(tmp_path / "file.csv"))
    assert found.records == len(PLACES)
    assert "ref" in [field.name for field in found.fields]


def test_a_shapefile_is_described_out_of_its_archive(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    found = describe(put(tmp_path, zipped(shapefile(folder, frame=PLACES.to_crs(3067)))))
    assert (found.keys, found.records) == ({"format": "shapefile"}, len(PLACES))
    assert "3067" in str(found.crs)


def test_layers_are_choices(tmp_path: Path) -> None:
    frame = geopandas.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(1, 2)], crs=4326)
    for layer in ("one", "two"):
        frame.to_file(tmp_path / "a.gpkg", driver="GPKG", layer=layer, engine="pyogrio")
    found = describe(tmp_path / "a.gpkg")
    assert found.keys == {"format": "geopackage", "layer": "one"}
    assert found.choices == {"layer": ["one", "two"]}


@pytest.mark.parametrize("body", [b"", b"\0\1\2", b"<html></html>", b"{}", b"[1]"], ids=ascii)
def test_what_is_of_no_format_is_refused(tmp_path: Path, body: bytes) -> None:
    with pytest.raises(FeedUnreadable):
        describe(put(tmp_path, body))


def test_a_file_of_openstreetmap_is_no_feed(tmp_path: Path) -> None:
    body = b'<?xml version="1.0"?>\n<osm version="0.6"><node id="1" lat="1" lon="2"/></osm>'
    with pytest.raises(FeedUnreadable, match="an OSM XML file, which is no feed"):
        describe(put(tmp_path, body))


def test_the_limit_of_size_applies(tmp_path: Path) -> None:
    with pytest.raises(FeedTooBig):
        describe(put(tmp_path, gzip.compress(b"a,b\n" * 1_000_000)), maximum_bytes=1_000_000)
