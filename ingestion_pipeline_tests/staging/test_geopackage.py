"""The embedded database is a GeoPackage that everybody's tools open as it is."""

from __future__ import annotations

import re
import sqlite3
import struct
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import geopandas
import pyogrio
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.core.legend import POIS as POIS_LEGEND
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.staging import views
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.geopackage_index import register_functions
from ingestion_pipeline.staging.tables import LEGENDS, VIEWS
from ingestion_pipeline_tests.support.staged import poi_rows, stage, stage_helpers
from testbed.claims import NOW

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        "poi_feed": None,
        "poi_change": None,
        "helper_change": None,
        "staged_partition": None,
        "ingestion_rejection": None,
        "ingestion_run": None,
        "callback_message": None,
        "sensor_tick": None,
        "schema_compatibility": None,
        "run_lease": None,
        "upstream_lease": None,
        "upstream_usage": None,
        "upstream_waiter": None,
        "layer_styles": None,
        "alembic_version": None,
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
        "poi_feed": "0",
        "staged_partition": "1",
        "ingestion_rejection": "0",
        "ingestion_run": "1",
        "callback_message": "0",
        "sensor_tick": "0",
        "schema_compatibility": "1",
        "run_lease": "0",
        "upstream_lease": "0",
        "upstream_usage": "0",
        "upstream_waiter": "0",
        "poi_change": "0",
        "helper_change": "0",
        "layer_styles": "8",
        "alembic_version": "1",
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
    types = {
        column.type
        for table in tables
        for column in connection.exec_driver_sql(f"PRAGMA table_info('{table}')")
    }
    assert types == {"BOOLEAN", "INTEGER", "REAL", "TEXT", "DATE", "DATETIME", "GEOMETRY"}


def test_the_layers_key_is_one_that_is_never_used_again(connection: sa.Connection) -> None:
    made = connection.exec_driver_sql(
        f"SELECT sql FROM sqlite_master WHERE name = '{LAYER}'"
    ).scalar_one()
    assert "id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" in made


VALIDATOR = Path("/usr/lib/python3/dist-packages/osgeo_utils/samples/validate_gpkg.py")
"""GDAL's, in Debian's package python3-gdal."""


@pytest.mark.process
def test_gdals_validator_finds_no_error(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    later = DAY + timedelta(days=1)
    stage(engine, "kazan", later, {"node/1": "кафе", "way/3000": "C", "relation/7": "d"})
    stage_helpers(engine, "kazan", DAY, {"feed:wc": {"7#toilets": "wc"}})
    engine.dispose()
    assert VALIDATOR.exists(), "scripts/system-packages test installs python3-gdal"
    done = subprocess.run(
        ["/usr/bin/python3", str(VALIDATOR), "-k", "--extra", "--warning-as-error", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


# Spatial indexes


def test_an_index_has_the_bounds_of_every_version_whatever_became_of_it(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    for days, pois in enumerate(({"node/1": "new", "way/9": "c"}, {"way/9": "d"}, POIS), 1):
        stage(engine, "kazan", DAY + timedelta(days=days), pois)
    stage(engine, "kazan", DAY, {"node/2000": "b"})  # versions of the first day go
    with engine.connect() as connection:
        entries = {
            entry[0]: (entry[1], entry[3], entry[2], entry[4])
            for entry in connection.exec_driver_sql(f"SELECT * FROM rtree_{LAYER}_geometry")
        }
    frame = geopandas.read_file(path, layer=LAYER, fid_as_index=True)
    assert set(entries) == set(frame.index)
    assert len(entries) > 6
    for number, shape in frame.geometry.items():
        west, south, east, north = entries[number]
        # The index rounds outwards, to 32 bits.
        assert shapely.box(west, south, east, north).buffer(1e-9).covers(shape)
        assert entries[number] == pytest.approx(shape.bounds, abs=1e-5)


@pytest.mark.process
@pytest.mark.parametrize(
    "layer",
    [
        *(LAYER, "poi_staging_current", "helper_place_current"),
        *("poi_staging_day", "helper_place_day"),
    ],
)
def test_gdal_reads_a_window_by_the_index(path: Path, layer: str) -> None:
    engine = create_engine(f"sqlite:///{path}")
    stage_helpers(engine, "kazan", DAY, {"feed:wc": {"1#toilets": "wc", "9000#atm": "x"}})
    window = ("-spat", "0", "0", "1", "1")
    done = subprocess.run(
        ["ogrinfo", "--debug", "on", "-ro", "-so", *window, str(path), layer],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 'IN ( SELECT id FROM "rtree_' in done.stderr
    assert "Feature Count: 1\n" in done.stdout


SHAPES = st.sampled_from(
    [
        *("POINT (7 43)", "LINESTRING (1 2, 3 -4)", "POLYGON ((0 0, 4 0, 4 5, 0 0))"),
        *("MULTIPOINT ((1 1), (-2 3))", "GEOMETRYCOLLECTION (POINT (1 2), LINESTRING (0 0, 9 9))"),
        *("POINT EMPTY", "POLYGON EMPTY"),
    ]
)


@given(text=SHAPES, order=st.sampled_from([0, 1]), envelope=st.booleans())
def test_the_functions_of_the_index_know_any_geometry_of_a_geopackage(
    text: str, order: int, envelope: bool
) -> None:
    shape = shapely.from_wkt(text)
    west, south, east, north = shape.bounds if not shape.is_empty else (0, 0, 0, 0)
    has_envelope = envelope and not shape.is_empty
    mark = "<" if order else ">"
    flags = order | has_envelope << 1 | shape.is_empty << 4
    head = b"GP\0" + bytes([flags]) + struct.pack(f"{mark}i", 4326)
    box = struct.pack(f"{mark}4d", west, east, south, north) if has_envelope else b""
    blob = head + box + shapely.to_wkb(shape, byte_order=order)
    connection = sqlite3.connect(":memory:")
    register_functions(connection)
    names = ("MinX", "MaxX", "MinY", "MaxY")
    values = connection.execute(
        f"SELECT ST_IsEmpty(?1), {', '.join(f'ST_{name}(?1)' for name in names)}", (blob,)
    ).fetchone()
    connection.close()
    nothing = (1, None, None, None, None)
    assert values == (nothing if shape.is_empty else (0, west, east, south, north))


@pytest.mark.parametrize("value", [None, b"", b"G", shapely.to_wkb(shapely.Point(1, 2))])
def test_the_functions_of_the_index_ignore_what_is_no_geometry_of_a_geopackage(
    value: bytes | None,
) -> None:
    connection = sqlite3.connect(":memory:")
    register_functions(connection)
    found = connection.execute("SELECT ST_IsEmpty(?1), ST_MinX(?1), ST_MaxY(?1)", (value,))
    assert found.fetchone() == (None, None, None)
    connection.close()


# Styles


def test_every_layer_has_a_default_style_with_every_group_in_every_kind_of_geometry(
    connection: sa.Connection,
) -> None:
    rows = connection.exec_driver_sql(
        "SELECT f_table_name, f_geometry_column, useAsDefault, styleQML FROM layer_styles"
    ).all()
    layers = connection.exec_driver_sql("SELECT table_name FROM gpkg_geometry_columns").scalars()
    assert sorted(row[0] for row in rows) == sorted(layers)
    assert {row[1:3] for row in rows} == {("geometry", 1)}
    for layer, *_, style in rows:
        legend = LEGENDS["helper" if layer.startswith("helper") else "poi"]
        root = ET.fromstring(style.partition("\n")[2])
        symbols = {each.get("name"): each for each in root.iter("symbol")}
        for kind, of_kind in (("Point", "marker"), ("Line", "line"), ("Polygon", "fill")):
            (rule,) = (each for each in root.iter("rule") if each.get("key") == kind)
            assert [each.get("label") for each in rule] == [group.label for group in legend.all]
            assert {symbols[each.get("symbol")].get("type") for each in rule} == {of_kind}
            assert rule[-1].get("filter") == "ELSE"


def test_the_rules_of_a_style_choose_the_group_of_every_category(
    connection: sa.Connection,
) -> None:
    style = connection.exec_driver_sql(
        "SELECT styleQML FROM layer_styles WHERE f_table_name = ?", (LAYER,)
    ).scalar_one()
    root = ET.fromstring(style.partition("\n")[2])
    (points,) = (each for each in root.iter("rule") if each.get("key") == "Point")
    rules = {each.get("label"): each.get("filter") or "" for each in points}
    del rules[POIS_LEGEND.other.label]
    categories = [*Taxonomy.load()._labels, "amenity", "shop", "aerialway", "unknown/thing"]
    # QGIS's expressions are SQL here.
    chosen = ", ".join(f'({condition}) AS "{label}"' for label, condition in rules.items())
    for category in categories:
        found = connection.exec_driver_sql(
            f"SELECT {chosen} FROM (SELECT ? AS category)", (category,)
        ).one()
        labels = [label for label, holds in zip(rules, found, strict=True) if holds]
        group = POIS_LEGEND.group_of(category)
        assert labels == ([] if group == POIS_LEGEND.other else [group.label]), category


def test_a_style_that_a_user_has_saved_stays_and_stays_the_default(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE layer_styles SET useAsDefault = 0")
        connection.exec_driver_sql(
            "INSERT INTO layer_styles (f_table_name, f_geometry_column, styleName, styleQML, "
            f"useAsDefault, owner) VALUES ('{LAYER}', 'geometry', 'mine', '<qgis/>', 1, '')"
        )
        views.drop(connection)
        views.create(connection)
        styles = connection.exec_driver_sql(
            f"SELECT styleName, useAsDefault FROM layer_styles WHERE f_table_name = '{LAYER}' "
            "ORDER BY useAsDefault"
        ).all()
        others = connection.exec_driver_sql(
            f"SELECT DISTINCT useAsDefault FROM layer_styles WHERE f_table_name != '{LAYER}'"
        )
        assert others.scalars().all() == [1]
    assert [tuple(style) for style in styles] == [("by category", 0), ("mine", 1)]
