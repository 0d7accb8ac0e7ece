"""The geometry column on both databases: its type and its encodings.

Everything outside this module uses WKB (ISO, little-endian, 2D, EPSG:4326). PostGIS stores EWKB,
with the SRID inside; a GeoPackage puts a header before the WKB (OGC 12-128r18, 2.1.3).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles

if TYPE_CHECKING:
    import numpy.typing as npt
    from sqlalchemy.engine import Dialect

SRID = 4326

ArrowColumn = Any
"""An Arrow column; its type stubs are incomplete."""

_EWKB_SRID_FLAG = 0x20000000
_GPKG_LITTLE_ENDIAN = 0b0000_0001
_GPKG_ENVELOPE_XY = 0b0000_0010
_GPKG_EMPTY = 0b0001_0000
_GPKG_ENVELOPE_BYTES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}
_GPKG_HEAD = 8
_WKB_HEAD = 5
_ARROW_MAX_BYTES = 2**31 - 1
_WKB_HEAD_TYPE = [("order", "u1"), ("kind", "<u4")]


class Geometry(sa.types.UserDefinedType[bytes]):
    """A geometry in EPSG:4326; read as WKB, written only by `bulk.load`.

    GeoAlchemy's type does not fit: its listeners rewrite the DDL of tables for SpatiaLite, and a
    GeoPackage is not a SpatiaLite database.
    """

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type for PostGIS; the compiler below returns that for a GeoPackage."""
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


def ewkb(wkb: ArrowColumn) -> ArrowColumn:
    """Encode geometries for PostGIS's binary COPY."""
    import numpy as np
    import pyarrow.compute as pc

    heads = pc.binary_slice(wkb, 0, _WKB_HEAD).fill_null(bytes(_WKB_HEAD)).to_pylist()
    head = np.zeros(len(wkb), [("wkb", _WKB_HEAD_TYPE), ("srid", "<u4")])
    head["wkb"] = np.frombuffer(b"".join(heads), _WKB_HEAD_TYPE)
    head["wkb"]["kind"] |= _EWKB_SRID_FLAG
    head["srid"] = SRID
    # Without a stop, binary_slice fails on null.
    rest = pc.binary_slice(wkb, _WKB_HEAD, _ARROW_MAX_BYTES)
    return pc.binary_join_element_wise(packed(head), rest, b"")


def wkb_from_ewkb(ewkb: bytes) -> bytes:
    """Remove the SRID from an EWKB geometry."""
    (kind,) = struct.unpack_from("<I", ewkb, 1)
    if not kind & _EWKB_SRID_FLAG:
        return ewkb
    return ewkb[:1] + struct.pack("<I", kind & ~_EWKB_SRID_FLAG) + ewkb[9:]


def geopackage_blobs(wkb: ArrowColumn) -> ArrowColumn:
    """Encode geometries for a GeoPackage; lines and areas get an envelope."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import shapely

    shapes = shapely.from_wkb(wkb.to_numpy(zero_copy_only=False))
    empty = shapely.is_empty(shapes)
    enveloped = ~empty & (shapely.get_type_id(shapes) != shapely.GeometryType.POINT)
    head = np.zeros(
        len(wkb),
        [("magic", "S2"), ("version", "u1"), ("flags", "u1"), ("srid", "<i4"), ("box", "<f8", 4)],
    )
    head["magic"] = b"GP"
    head["flags"] = _GPKG_LITTLE_ENDIAN | empty * _GPKG_EMPTY | enveloped * _GPKG_ENVELOPE_XY
    head["srid"] = SRID
    head["box"] = shapely.bounds(shapes)[:, [0, 2, 1, 3]]
    whole = packed(head)
    short = pc.binary_slice(whole, 0, _GPKG_HEAD)
    return pc.binary_join_element_wise(pc.if_else(pa.array(enveloped), whole, short), wkb, b"")


def packed(items: npt.NDArray[Any]) -> ArrowColumn:
    """Return fixed-width items as an Arrow column of their bytes."""
    import numpy as np
    import pyarrow as pa

    ends = np.arange(len(items) + 1, dtype=np.int32) * items.itemsize
    buffers = [None, *map(pa.py_buffer, (ends.data, items.data))]
    return pa.Array.from_buffers(pa.binary(), len(items), buffers)


def wkb_from_geopackage(blob: bytes) -> bytes:
    """Remove the GeoPackage header from a geometry."""
    return blob[8 + _GPKG_ENVELOPE_BYTES[(blob[3] >> 1) & 0b111] :]
