"""The embedded database is a GeoPackage that everybody's tools open as it is."""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import geopandas
import pyogrio
import pytest
import shapely
import sqlalchemy as sa

from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import VIEWS
from ingestion_pipeline_tests.support.staged import poi_rows, stage, stage_helpers
from testbed.claims import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DAY = date(2026, 11, 20)
LAYER = "poi_ingestion_staging"
POIS = {"node/1": "кафе", "node/2000": "b", "way/3000": "c"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A GeoPackage in which a day is staged."""
    path = tmp_path / "staging.gpkg"
    engine = create_engine(f"sqlite:///{path}")
    migrate(engine)
    stage(engine, "kazan", DAY, POIS)
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[sa.Connection]:
    """That GeoPackage as SQLite sees it."""
    with create_engine(f"sqlite:///{path}").connect() as connection:
        yield connection


def test_geopandas_reads_the_layer(path: Path) -> None:
    frame = geopandas.read_file(path, layer=LAYER)
    assert frame.crs == "EPSG:4326"
    assert list(frame["source_ref"]) == list(POIS)
    assert list(frame["name"]) == list(POIS.values())
    assert [shapely.to_wkb(shape, byte_order=1) for shape in frame.geometry] == (
        poi_rows(POIS).column("geometry").to_pylist()
    )
    assert frame["valid_from"].dt.date.tolist() == [DAY] * 3
    assert frame["valid_to"].isna().all()
    assert frame["osm_timestamp"].dt.tz_convert(UTC).tolist() == [NOW] * 3
    assert frame["lon"].tolist() == [0.001, 2.0, 3.0]


def test_geopandas_reads_the_views_as_layers(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    stage(engine, "kazan", DAY + timedelta(days=1), {"node/1": "кафе"})
    stage_helpers(engine, "kazan", DAY, {"feed:wc": {"7#toilets": "wc"}})
    days = geopandas.read_file(path, layer="poi_staging_day", fid_as_index=True)
    assert days.crs == "EPSG:4326"
    assert days.index.is_unique, "QGIS tells features by their number"
    assert sorted(zip(days["day"].dt.day, days["name"], strict=True)) == [
        (20, "b"),
        (20, "c"),
        (20, "кафе"),
        (21, "кафе"),
    ]
    current = geopandas.read_file(path, layer="poi_staging_current", fid_as_index=True)
    assert current["name"].tolist() == ["кафе"]
    assert current.geometry.tolist() == [shapely.Point(0.001, 0.5)]
    for layer in VIEWS["helper"].layers:
        assert geopandas.read_file(path, layer=layer)["kind"].tolist() == ["toilets"]


def test_the_layer_is_the_one_that_is_read_when_none_is_named(path: Path) -> None:
    with pytest.warns(UserWarning, match=rf"'{LAYER}' \(default\)"):
        frame = geopandas.read_file(path)
    assert len(frame) == 3


def test_pyogrio_finds_the_layers_and_what_they_are(path: Path) -> None:
    assert dict(pyogrio.list_layers(path)) == {
        LAYER: "Unknown",
        "poi_staging_day": "Unknown",
        "poi_staging_current": "Unknown",
        "helper_place": "Unknown",
        "helper_place_day": "Unknown",
        "helper_place_current": "Unknown",
        "poi": "Unknown",
        "poi_public": "Unknown",
        "promotion": None,
        "poi_event": None,
        "poi_identity": None,
        "poi_override": None,
        "staged_partition": None,
        "ingestion_rejection": None,
        "ingestion_run": None,
        "callback_message": None,
        "sensor_tick": None,
    }
    info = pyogrio.read_info(path, layer=LAYER)
    assert (info["crs"], info["features"], info["fid_column"]) == ("EPSG:4326", 3, "id")
    assert info["geometry_name"] == "geometry"
    assert info["total_bounds"] == (0.001, 0.5, 3.0, 0.5)


@pytest.mark.process
def test_ogrinfo_reads_every_layer_without_a_warning(path: Path) -> None:
    done = subprocess.run(
        ["ogrinfo", "-ro", "-so", "-al", str(path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "Warning" not in done.stdout
    assert dict(
        zip(
            re.findall(r"^Layer name: (\w+)$", done.stdout, re.MULTILINE),
            re.findall(r"^Feature Count: (\d+)$", done.stdout, re.MULTILINE),
            strict=True,
        )
    ) == {
        LAYER: "3",
        "poi_staging_day": "3",
        "poi_staging_current": "3",
        "helper_place": "0",
        "helper_place_day": "0",
        "helper_place_current": "0",
        "poi": "0",
        "poi_public": "0",
        "promotion": "0",
        "poi_event": "0",
        "poi_identity": "0",
        "poi_override": "0",
        "staged_partition": "1",
        "ingestion_rejection": "0",
        "ingestion_run": "1",
        "callback_message": "0",
        "sensor_tick": "0",
    }
    assert 'ID["EPSG",4326]' in done.stdout
    assert "Extent: (0.001000, 0.500000) - (3.000000, 0.500000)" in done.stdout


@pytest.mark.process
def test_ogrinfo_reads_every_row_without_a_warning(path: Path) -> None:
    done = subprocess.run(
        ["ogrinfo", "-ro", "-al", str(path)], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "POINT (0.001 0.5)" in done.stdout
    assert "POLYGON ((4 0,4 1,3 1,3 0,4 0))" in done.stdout


def test_the_list_of_contents_is_kept_up_with_every_change(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    contents = sa.text(
        "SELECT DISTINCT min_x, min_y, max_x, max_y, last_change FROM gpkg_contents "
        "WHERE table_name IN (:layer, :day, :current)"
    )
    day, current = VIEWS["poi"].layers

    def read() -> tuple[object, ...]:
        with engine.connect() as connection:
            layers = {"layer": LAYER, "day": day, "current": current}
            return tuple(connection.execute(contents, layers).one())

    assert read() == (0.001, 0.5, 3.0, 0.5, "2026-11-20T03:04:05.000Z")
    later = datetime(2026, 11, 21, 4, 5, 6, 700_000, tzinfo=UTC)
    stage(engine, "kazan", DAY + timedelta(days=1), {**POIS, "node/9000": "d"}, now=later)
    assert read() == (0.001, 0.5, 9.0, 0.5, "2026-11-21T04:05:06.700Z")
    later += timedelta(hours=1)
    stage(engine, "kazan", DAY + timedelta(days=1), {**POIS, "node/9000": "d"}, now=later)
    assert read()[-1] == "2026-11-21T04:05:06.700Z"


# What OGC 12-128r18 demands of the file


def test_the_file_says_that_it_is_a_geopackage_of_version_1_3(connection: sa.Connection) -> None:
    application_id = connection.exec_driver_sql("PRAGMA application_id").scalar_one()
    assert application_id.to_bytes(4) == b"GPKG"
    assert connection.exec_driver_sql("PRAGMA user_version").scalar_one() == 10300


def test_the_file_is_whole(connection: sa.Connection) -> None:
    assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        (
            "gpkg_spatial_ref_sys",
            "srs_name srs_id organization organization_coordsys_id definition description",
        ),
        (
            "gpkg_contents",
            (
                "table_name data_type identifier description last_change "
                "min_x min_y max_x max_y srs_id"
            ),
        ),
        ("gpkg_geometry_columns", "table_name column_name geometry_type_name srs_id z m"),
    ],
)
def test_the_required_tables_have_the_required_columns(
    connection: sa.Connection, table: str, columns: str
) -> None:
    found = connection.exec_driver_sql(f"SELECT name FROM pragma_table_info('{table}')")
    assert found.scalars().all() == columns.split()


def test_the_required_reference_systems_are_there(connection: sa.Connection) -> None:
    found = connection.exec_driver_sql(
        "SELECT srs_id, organization, organization_coordsys_id FROM gpkg_spatial_ref_sys "
        "ORDER BY srs_id"
    )
    assert found.all() == [(-1, "NONE", -1), (0, "NONE", 0), (4326, "EPSG", 4326)]


def test_every_column_has_a_type_that_a_geopackage_allows(connection: sa.Connection) -> None:
    tables = connection.exec_driver_sql("SELECT table_name FROM gpkg_contents").scalars().all()
    # Older releases of SQLite know no type of a computed column, and newer ones a word of theirs.
    computed = {(views.day, "id") for views in VIEWS.values()}
    types = {
        column.type
        for table in tables
        for column in connection.exec_driver_sql(f"PRAGMA table_info('{table}')")
        if (table, column.name) not in computed
    }
    assert types == {"INTEGER", "REAL", "TEXT", "DATE", "DATETIME", "BOOLEAN", "GEOMETRY"}


def test_the_layers_key_is_one_that_is_never_used_again(connection: sa.Connection) -> None:
    made = connection.exec_driver_sql(
        f"SELECT sql FROM sqlite_master WHERE name = '{LAYER}'"
    ).scalar_one()
    assert "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" in made
