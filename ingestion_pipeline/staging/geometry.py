"""The geometry column on both databases.

Belongs here: its type, and the two encodings of a geometry on the way in and out. Does not belong
here: making geometries (`osm/assemble.py`).

Everything outside this module speaks WKB (ISO, little-endian, 2D, EPSG:4326). PostGIS takes it with
its SRID inside (EWKB); a GeoPackage takes it behind a header of its own (OGC 12-128r18, 2.1.3).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import Dialect

SRID = 4326

_EWKB_SRID_FLAG = 0x20000000
_GPKG_LITTLE_ENDIAN = 0b0000_0001
_GPKG_ENVELOPE_XY = 0b0000_0010
_GPKG_EMPTY = 0b0001_0000
_GPKG_ENVELOPE_BYTES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}
_WKB_POINT = 1


class Geometry(sa.types.UserDefinedType[bytes]):
    """Any geometry in EPSG:4326; read as WKB, written by `bulk.load` alone.

    Our own type and not GeoAlchemy's: that one's listeners rewrite the DDL of every table that has
    it, and on SQLite they do so for SpatiaLite, which a GeoPackage is not.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Name the type for PostGIS; the compiler below names it for a GeoPackage."""
        return f"geometry(GEOMETRY,{SRID})"

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        """Read a geometry as WKB."""
        del coltype
        if dialect.name == "postgresql":
            return lambda value: value and wkb_from_ewkb(bytes.fromhex(value))
        return lambda value: value and wkb_from_geopackage(value)


@compiles(Geometry, "sqlite")
def _geopackage_type(element: Geometry, compiler: Any, **_: Any) -> str:
    del element, compiler
    return "GEOMETRY"


def ewkb_hex(wkb: Sequence[bytes]) -> Iterator[str]:
    """Encode geometries for PostGIS's COPY."""
    srid = struct.pack("<I", SRID)
    for geometry in wkb:
        (kind,) = struct.unpack_from("<I", geometry, 1)
        head = b"\x01" + struct.pack("<I", kind | _EWKB_SRID_FLAG) + srid
        yield (head + geometry[5:]).hex()


def wkb_from_ewkb(ewkb: bytes) -> bytes:
    """Take PostGIS's SRID out of a geometry."""
    (kind,) = struct.unpack_from("<I", ewkb, 1)
    if not kind & _EWKB_SRID_FLAG:
        return ewkb
    return ewkb[:1] + struct.pack("<I", kind & ~_EWKB_SRID_FLAG) + ewkb[9:]


def geopackage_blobs(wkb: Sequence[bytes]) -> Iterator[bytes]:
    """Encode geometries for a GeoPackage; lines and areas carry their envelope for its readers."""
    import shapely

    shapes = shapely.from_wkb(list(wkb))
    described = zip(wkb, shapely.is_empty(shapes), shapely.bounds(shapes), strict=True)
    for geometry, empty, (west, south, east, north) in described:
        if empty or geometry[1] == _WKB_POINT:
            flags = _GPKG_LITTLE_ENDIAN | (_GPKG_EMPTY if empty else 0)
            yield struct.pack("<2sBBi", b"GP", 0, flags, SRID) + geometry
        else:
            flags = _GPKG_LITTLE_ENDIAN | _GPKG_ENVELOPE_XY
            envelope = (west, east, south, north)
            yield struct.pack("<2sBBi4d", b"GP", 0, flags, SRID, *envelope) + geometry


def wkb_from_geopackage(blob: bytes) -> bytes:
    """Take a GeoPackage's header off a geometry."""
    return blob[8 + _GPKG_ENVELOPE_BYTES[(blob[3] >> 1) & 0b111] :]
