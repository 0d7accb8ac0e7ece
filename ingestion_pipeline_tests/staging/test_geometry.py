"""The geometry column: any geometry comes back as its bytes were, from either database."""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import shapely
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from shapely import GeometryCollection, MultiPoint, MultiPolygon, Point, Polygon, box

from ingestion_pipeline.staging.bulk import load
from ingestion_pipeline.staging.database import create_engine
from ingestion_pipeline.staging.geometry import (
    Geometry,
    ewkb,
    geopackage_blobs,
    wkb_from_ewkb,
    wkb_from_geopackage,
)
from ingestion_pipeline.staging.types import BIG_INTEGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from shapely.geometry.base import BaseGeometry

SHAPES = sa.Table(
    "shapes",
    sa.MetaData(),
    sa.Column("id", BIG_INTEGER, primary_key=True),
    sa.Column("geometry", Geometry),
)
IDS = itertools.count(1)

WITH_HOLE = Polygon(box(0, 0, 3, 3).exterior, [box(1, 1, 2, 2).exterior])
EMPTY = [Point(), Polygon(), MultiPolygon(), shapely.LineString(), GeometryCollection()]

LON = st.floats(-180, 180)
LAT = st.floats(-90, 90)
COORDINATES = st.tuples(LON, LAT)
POINTS = st.builds(Point, COORDINATES)
LINES = st.lists(COORDINATES, min_size=2, max_size=6).map(shapely.LineString)
POLYGONS = st.lists(COORDINATES, min_size=3, max_size=6).map(Polygon) | st.just(WITH_HOLE)
SIMPLE = POINTS | LINES | POLYGONS
GEOMETRIES = (
    SIMPLE
    | st.lists(COORDINATES, min_size=1, max_size=4).map(MultiPoint)
    | st.lists(POLYGONS, min_size=1, max_size=3).map(MultiPolygon)
    | st.lists(SIMPLE, min_size=1, max_size=3).map(GeometryCollection)
    | st.sampled_from(EMPTY)
)


def wkb(shape: BaseGeometry) -> bytes:
    encoded: bytes = shapely.to_wkb(shape, byte_order=1)
    return encoded


def one(encode: Callable[[pa.Array[Any]], pa.Array[Any]], geometry: bytes) -> bytes:
    (encoded,) = encode(pa.array([geometry])).to_pylist()
    assert isinstance(encoded, bytes)
    return encoded


@pytest.fixture
def shapes(engine: sa.Engine) -> sa.Engine:
    """A database with a table of nothing but geometries."""
    SHAPES.create(engine)
    return engine


@pytest.mark.owner
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(given_shapes=st.lists(GEOMETRIES, min_size=1, max_size=5))
@example(given_shapes=EMPTY)
def test_any_geometries_come_back_as_their_bytes_were(
    shapes: sa.Engine, given_shapes: list[BaseGeometry]
) -> None:
    encoded = [wkb(shape) for shape in given_shapes]
    ids = list(itertools.islice(IDS, len(encoded)))
    with shapes.begin() as connection:
        load(connection, SHAPES, pa.table({"id": ids, "geometry": encoded}))
        read = connection.execute(
            sa.select(SHAPES.c.geometry).where(SHAPES.c.id.in_(ids)).order_by(SHAPES.c.id)
        )
        assert read.scalars().all() == encoded


@settings(max_examples=300)
@given(shape=GEOMETRIES)
def test_both_encodings_give_the_bytes_back(shape: BaseGeometry) -> None:
    encoded = wkb(shape)
    assert wkb_from_ewkb(one(ewkb, encoded)) == encoded
    assert wkb_from_geopackage(one(geopackage_blobs, encoded)) == encoded


@pytest.mark.owner
def test_no_geometry_is_none(shapes: sa.Engine) -> None:
    with shapes.begin() as connection:
        connection.execute(sa.insert(SHAPES).values(id=1))
        assert connection.execute(sa.select(SHAPES.c.geometry)).scalar_one() is None


def test_no_geometries_are_encoded_from_none() -> None:
    nothing = pa.array([], pa.binary())
    assert ewkb(nothing).to_pylist() == geopackage_blobs(nothing).to_pylist() == []


def test_postgis_reads_what_was_meant_in_wgs84(postgis_url: str) -> None:
    engine = create_engine(postgis_url)
    SHAPES.create(engine)
    with engine.begin() as connection:
        load(connection, SHAPES, pa.table({"id": [1], "geometry": [wkb(WITH_HOLE)]}))
        read = connection.execute(
            sa.text("SELECT ST_SRID(geometry), ST_AsText(geometry), ST_Area(geometry) FROM shapes")
        )
        assert read.one() == (4326, "POLYGON((3 0,3 3,0 3,0 0,3 0),(2 1,2 2,1 2,1 1,2 1))", 8.0)
    engine.dispose()


def test_wkb_without_an_srid_is_left_alone() -> None:
    assert wkb_from_ewkb(wkb(Point(1, 2))) == wkb(Point(1, 2))


# The header of a GeoPackage's geometry: OGC 12-128r18, clause 2.1.3


def header(shape: BaseGeometry) -> tuple[bytes, int, int, int]:
    blob = one(geopackage_blobs, wkb(shape))
    magic, version, flags, srid = struct.unpack_from("<2sBBi", blob)
    return magic, version, flags, srid


def test_a_point_has_no_envelope() -> None:
    assert header(Point(1, 2)) == (b"GP", 0, 0b0000_0001, 4326)


def test_an_area_has_its_envelope_in_the_order_of_the_standard() -> None:
    blob = one(geopackage_blobs, wkb(box(49, 55, 50, 56)))
    assert header(box(49, 55, 50, 56)) == (b"GP", 0, 0b0000_0011, 4326)
    assert struct.unpack_from("<4d", blob, 8) == (49, 50, 55, 56)


@pytest.mark.parametrize("shape", EMPTY, ids=lambda shape: shape.geom_type)
def test_an_empty_geometry_says_so_and_has_no_envelope(shape: BaseGeometry) -> None:
    assert header(shape) == (b"GP", 0, 0b0001_0001, 4326)


@pytest.mark.parametrize(("kind", "doubles"), [(0, 0), (1, 4), (2, 6), (3, 6), (4, 8)])
def test_a_header_with_any_envelope_is_read_past(kind: int, doubles: int) -> None:
    blob = struct.pack(f"<2sBBi{doubles}d", b"GP", 0, kind << 1 | 1, 4326, *range(doubles))
    assert wkb_from_geopackage(blob + wkb(Point(1, 2))) == wkb(Point(1, 2))
