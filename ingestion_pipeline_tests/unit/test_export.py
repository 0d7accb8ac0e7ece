"""Exported days: types that depend on the table alone, and cells that no spreadsheet executes."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import subprocess
from contextlib import closing
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import duckdb
import geopandas as gpd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from pmtiles.reader import MmapSource, Reader

from ingestion_pipeline.export import export_day, schema_of
from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline.staging.tables import VERSION_TABLES
from ingestion_pipeline_tests.staging.test_geopackage import VALIDATOR
from ingestion_pipeline_tests.support.staged import stage, stage_helpers
from testbed.claims import slice_of

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from ingestion_pipeline.core.formats import Format

FIRST, SECOND = date(2024, 6, 1), date(2024, 6, 2)
MOMENT = datetime(2024, 6, 1, 21, tzinfo=UTC)


def exported(engine: sa.Engine, folder: Path, target: Slice, form: Format) -> Path:
    path = folder / f"{target.day}.{form}"
    assert export_day(engine, target, path=path, format=form) > 0
    return path


@pytest.fixture
def two_days(engine: sa.Engine) -> sa.Engine:
    """Two staged days; on the first a version ends, and columns are null throughout on both."""
    stage(engine, "town", FIRST, {"node/1": "a", "way/2": "b"})
    stage(engine, "town", SECOND, {"node/1": "A", "way/2": "b"})
    return engine


@pytest.fixture
def records(engine: sa.Engine) -> sa.Engine:
    """A day of helper places of a feed, of which one has a negative number and names are bad."""
    names = dict(enumerate(NAMES, start=2))
    places = {"-1#toilets": "=1+1"} | {f"{number}#atm": name for number, name in names.items()}
    stage_helpers(engine, "town", FIRST, {"feed:wc": places})
    return engine


NAMES = (
    *('=HYPERLINK("http://x.example";"y")', "+7 495 000-00-00", "-2+3", "@SUM(A1)", "\t=1+1"),
    *("\r=1+1", "\n=1+1", "＝1+1", "'=1+1", "'t Hoekje", "Café; =1+1", 'say "hi", you', "Bar-=+"),
)
MARKED = (*NAMES[:9],)
FEED = Slice("town", "helper", "feed:wc", FIRST)


@pytest.mark.parametrize("dataset", VERSION_TABLES)
def test_the_schema_has_all_columns_of_the_table_but_its_number(dataset: str) -> None:
    table = VERSION_TABLES[dataset]
    names = [name for name in table.columns.keys() if name not in ("id", "geometry")]  # noqa: SIM118
    schema = schema_of(table)
    assert schema.names == ["day", "as_of", *names, "geometry"]
    assert schema.field("valid_to") == pa.field("valid_to", pa.date32())
    assert schema.field("osm_id").type == pa.int64()
    assert schema.field("osm_version") == pa.field("osm_version", pa.int32())
    assert schema.field("osm_timestamp").type == pa.timestamp("ms", "UTC")
    assert schema.field("tags") == pa.field("tags", pa.string(), nullable=False)
    assert schema.field("lon") == pa.field("lon", pa.float64(), nullable=False)


def test_two_days_of_geoparquet_are_read_together(two_days: sa.Engine, tmp_path: Path) -> None:
    paths = [
        exported(two_days, tmp_path, slice_of("town", day), "parquet") for day in (FIRST, SECOND)
    ]
    first, second = map(pq.read_schema, paths)
    assert first == second
    table = ds.dataset(paths, format="parquet").to_table()
    assert table.column("day").to_pylist() == [FIRST, FIRST, SECOND, SECOND]
    assert table.column("as_of")[0].as_py() == MOMENT
    assert table.column("valid_to").to_pylist() == [SECOND, None, None, None]
    assert table.column("osm_version").null_count == table.num_rows == 4
    assert (
        len(ds.dataset(paths, format="parquet").filter(ds.field("day") == SECOND).to_table()) == 2
    )


def test_geoparquet_has_a_box_for_each_row_and_counterclockwise_shells(
    two_days: sa.Engine, tmp_path: Path
) -> None:
    path = exported(two_days, tmp_path, slice_of("town", FIRST), "parquet")
    file = pq.ParquetFile(path)
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    geo = json.loads((file.metadata.metadata or {})[b"geo"])
    assert geo["version"] == "1.1.0"
    rows = file.read().to_pylist()
    for row in rows:
        shape = shapely.from_wkb(row["geometry"])
        assert tuple(row["bbox"].values()) == shape.bounds
        assert shape.geom_type == "Point" or shapely.is_ccw(shape.exterior)
    # GeoPandas reads the rows in a box by that column.
    assert list(gpd.read_parquet(path, bbox=(0, 0, 0.0015, 1))["source_ref"]) == ["node/1"]


@pytest.mark.process
def test_a_geopackage_has_the_types_of_the_table(two_days: sa.Engine, tmp_path: Path) -> None:
    path = exported(two_days, tmp_path, slice_of("town", FIRST), "gpkg")
    told = subprocess.run(
        ["ogrinfo", "-ro", "-so", "-al", str(path)], capture_output=True, check=True, text=True
    )
    assert told.stderr == ""
    types = dict(re.findall(r"^(\w+): (\w+) \(", told.stdout, re.MULTILINE))
    assert {types[name] for name in ("day", "valid_from", "valid_to")} == {"Date"}
    assert {types[name] for name in ("as_of", "osm_timestamp")} == {"DateTime"}
    assert [types[name] for name in ("osm_id", "osm_version", "area_m2")] == [
        "Integer64",
        "Integer",
        "Real",
    ]
    assert {types[name] for name in ("name", "opening_hours", "tags")} == {"String"}
    assert 'ID["EPSG",4326]' in told.stdout
    frame = gpd.read_file(path)
    assert list(frame["source_ref"]) == ["node/1", "way/2"]
    assert [each.to_pydatetime() for each in frame["as_of"]] == [MOMENT, MOMENT]


def test_geojson_keeps_whole_numbers_beside_null(records: sa.Engine, tmp_path: Path) -> None:
    stage_helpers(
        records, "town", SECOND, {"osm": {"node/1#atm": "a"}, "feed:wc": {"1#toilets": "b"}}
    )
    of_osm = Slice("town", "helper", "osm", SECOND)
    document = json.loads(exported(records, tmp_path, of_osm, "geojson").read_text("utf-8"))
    (feature,) = document["features"]
    assert feature["properties"]["osm_id"] == 1
    assert type(feature["properties"]["osm_id"]) is int
    assert feature["properties"]["valid_to"] is None
    assert feature["properties"]["day"] == "2024-06-02"
    assert feature["properties"]["links"] == []
    assert feature["geometry"] == {"type": "Point", "coordinates": [0.001, 0.5]}


def test_a_spreadsheet_executes_no_cell_of_csv(records: sa.Engine, tmp_path: Path) -> None:
    path = exported(records, tmp_path, FEED, "csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    staged = {str(row["source_ref"]): row for row in read_day(records, FEED) or []}
    written = {_unmarked(row["source_ref"]): row for row in rows}
    assert written.keys() == staged.keys()
    for ref, row in written.items():
        for name, value in row.items():
            if name not in ("lon", "lat"):
                assert not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
        assert _unmarked(row["name"]) == staged[ref]["name"]
        assert (row["name"] != staged[ref]["name"]) == (row["name"][1:] in (*MARKED, "=1+1"))
    # Numbers are no text.
    assert written["-1#toilets"]["lon"] == "-0.001"
    assert written["-1#toilets"]["source_ref"] == "'-1#toilets"


def test_csv_tells_null_from_text_and_quotes_text_alone(
    two_days: sa.Engine, tmp_path: Path
) -> None:
    path = exported(two_days, tmp_path, slice_of("town", FIRST), "csv")
    header, first, *_ = path.read_bytes().decode().split("\r\n")
    cells: dict[str, Any] = dict(zip(header.split(","), first.split(","), strict=False))
    assert cells['"day"'] == "2024-06-01"
    assert cells['"as_of"'] == "2024-06-01T21:00:00+00:00"
    assert cells['"osm_id"'] == "1"
    assert cells['"osm_version"'] == ""
    assert cells['"category"'] == '"amenity/cafe"'


def _unmarked(text: str) -> str:
    """Take the mark off, as the documentation says."""
    bare = text.lstrip("'")
    return text[1:] if text != bare and bare[:1] in tuple("=+-@\t\r\n＝＋－＠") else text


def test_flatgeobuf_has_every_row_and_is_read_by_window(
    two_days: sa.Engine, tmp_path: Path
) -> None:
    path = exported(two_days, tmp_path, slice_of("town", FIRST), "fgb")
    info = pyogrio.read_info(path)
    assert info["driver"] == "FlatGeobuf"
    assert info["capabilities"]["fast_spatial_filter"]
    assert info["layer_name"] == "poi_ingestion_staging"
    frame = gpd.read_file(path)
    rows = {row["source_ref"]: row for row in read_day(two_days, slice_of("town", FIRST)) or []}
    assert set(frame["source_ref"]) == set(rows)
    for _, feature in frame.iterrows():
        assert shapely.normalize(feature.geometry) == shapely.normalize(
            shapely.from_wkb(rows[feature["source_ref"]]["geometry"])
        )
        assert json.loads(feature["tags"]) == rows[feature["source_ref"]]["tags"]
    assert list(gpd.read_file(path, bbox=(0, 0, 0.0015, 1))["source_ref"]) == ["node/1"]


def test_tiles_have_every_feature_at_every_zoom_with_its_group(
    engine: sa.Engine, tmp_path: Path
) -> None:
    # One next to another: at zoom 6 all are within one pixel.
    places = {f"node/{number}": f"place {number}" for number in range(1, 3000)}
    stage(engine, "town", FIRST, places)
    path = exported(engine, tmp_path, slice_of("town", FIRST), "pmtiles")
    with path.open("rb") as file:
        reader: Any = Reader(MmapSource(file))  # type: ignore[no-untyped-call]
        header, metadata = reader.header(), reader.metadata()
    assert (header["min_zoom"], header["max_zoom"]) == (6, 14)
    assert header["tile_type"].name == "MVT"
    (layer,) = metadata["vector_layers"]
    assert layer["id"] == "poi_ingestion_staging"
    assert set(layer["fields"]) == {
        *("day", "category", "group", "source_ref", "source", "name", "status", "opening_hours"),
    }
    for zoom in (6, 10, 14):
        frame = gpd.read_file(path, ZOOM_LEVEL=zoom)
        assert sorted(frame["source_ref"]) == sorted(places), zoom
        assert set(frame["group"]) == {"food"}
        assert dict(zip(frame["source_ref"], frame["name"], strict=True)) == places
    lons = frame.to_crs(4326).bounds["minx"]
    expected = [int(ref.partition("/")[2]) / 1000 for ref in frame["source_ref"]]
    assert lons.tolist() == pytest.approx(expected, abs=1e-5)


def test_duckdb_reads_only_a_window_of_geoparquet(engine: sa.Engine, tmp_path: Path) -> None:
    # Ids jump from one end of the town to the other.
    places = {f"node/{1 + number * 7919 % 30_000}": "a" for number in range(30_000)}
    stage(engine, "town", FIRST, places)
    path = exported(engine, tmp_path, slice_of("town", FIRST), "parquet")
    window = f"FROM '{path}' WHERE bbox.xmin <= 3.05 AND bbox.xmax >= 3.0 AND bbox.ymin <= 1"
    profile = tmp_path / "profile.json"
    with duckdb.connect() as connection:
        connection.execute("PRAGMA enable_profiling = 'json'")
        connection.execute(f"PRAGMA profiling_output = '{profile}'")
        found = connection.execute(f"SELECT source_ref {window}").fetchall()
    assert sorted(ref for (ref,) in found) == sorted(f"node/{id_}" for id_ in range(3000, 3051))
    counts = dict(re.findall(r'"(\w*row_groups\w*)": (\d+)', profile.read_text("utf-8")))
    assert counts["row_groups_scanned"] == "1"
    assert counts["total_row_groups_to_scan"] == "4"


@pytest.mark.process
def test_an_exported_geopackage_is_valid_and_has_an_index(
    two_days: sa.Engine, tmp_path: Path
) -> None:
    path = exported(two_days, tmp_path, slice_of("town", FIRST), "gpkg")
    command = ["/usr/bin/python3", str(VALIDATOR), "-k", "--extra", str(path)]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    with closing(sqlite3.connect(path)) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM rtree_poi_ingestion_staging_geom"
        ).fetchone()
    assert count == 2
