"""Spatial indexes of a GeoPackage's layers: its extension "RTree" (OGC 12-128r18, annex F.3).

The triggers that keep an index call functions that SQLite does not have. Each connection that
writes a layer registers them (`database.create_engine`); GDAL and QGIS have them too.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

_COLUMN = "geometry"

_BOUNDS = ("MinX", "MaxX", "MinY", "MaxY")
"""The functions `ST_MinX` and so on, in the order of an envelope."""

_MAGIC = b"GP"
_HEAD, _WKB_HEAD = 8, 5
_LITTLE_ENDIAN, _LITTLE_ENDIAN_ENVELOPE, _EMPTY = 0b0000_0001, 0b0000_0011, 0b0001_0000
_POINT = struct.pack("<bI", 1, 1)
_DOUBLE = struct.Struct("<d")

_EXTENSIONS = """
    CREATE TABLE gpkg_extensions (
      table_name TEXT,
      column_name TEXT,
      extension_name TEXT NOT NULL,
      definition TEXT NOT NULL,
      scope TEXT NOT NULL,
      CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name)
    )
"""

# ruff: noqa: S608 - the names are ours
_ENTRY = ", ".join(f"ST_{bound}({{row}}{_COLUMN})" for bound in _BOUNDS)
_HAS_PLACE = f"(NEW.{_COLUMN} NOTNULL AND NOT ST_IsEmpty(NEW.{_COLUMN}))"
_HAS_NONE = f"(NEW.{_COLUMN} ISNULL OR ST_IsEmpty(NEW.{_COLUMN}))"
_PUT = f"INSERT OR REPLACE INTO {{index}} VALUES (NEW.id, {_ENTRY.format(row='NEW.')})"

_TRIGGERS = {
    "insert": f"AFTER INSERT ON {{table}} WHEN {_HAS_PLACE} BEGIN {_PUT}; END",
    "update1": (
        f"AFTER UPDATE OF {_COLUMN} ON {{table}} WHEN OLD.id = NEW.id AND {_HAS_PLACE} "
        f"BEGIN {_PUT}; END"
    ),
    "update2": (
        f"AFTER UPDATE OF {_COLUMN} ON {{table}} WHEN OLD.id = NEW.id AND {_HAS_NONE} "
        "BEGIN DELETE FROM {index} WHERE id = OLD.id; END"
    ),
    "update3": (
        f"AFTER UPDATE ON {{table}} WHEN OLD.id != NEW.id AND {_HAS_PLACE} "
        f"BEGIN DELETE FROM {{index}} WHERE id = OLD.id; {_PUT}; END"
    ),
    "update4": (
        f"AFTER UPDATE ON {{table}} WHEN OLD.id != NEW.id AND {_HAS_NONE} "
        "BEGIN DELETE FROM {index} WHERE id IN (OLD.id, NEW.id); END"
    ),
    "delete": (
        f"AFTER DELETE ON {{table}} WHEN OLD.{_COLUMN} NOTNULL "
        "BEGIN DELETE FROM {index} WHERE id = OLD.id; END"
    ),
}
"""The triggers of GeoPackage 1.3 by the end of their names."""


def register_functions(driver: Any) -> None:
    """Register the functions of the triggers on a connection of SQLite's driver."""
    driver.create_function("ST_IsEmpty", 1, _is_empty, deterministic=True)
    for place, bound in enumerate(_BOUNDS):
        driver.create_function(f"ST_{bound}", 1, _bound_at(place), deterministic=True)


def create_spatial_index(connection: sa.Connection, table: str) -> None:
    """Index the geometries of a layer, and keep the index with every change.

    Args:
        connection: In a transaction, to a GeoPackage.
        table: The layer: a table with the columns `id` and `geometry`. A migration that makes it
            anew (`batch_alter_table`) drops its triggers, and has to index it again.
    """
    index = index_name(table)
    if not _exists(connection, "gpkg_extensions"):
        connection.exec_driver_sql(_EXTENSIONS)
    connection.exec_driver_sql(
        f"CREATE VIRTUAL TABLE {index} USING rtree(id, minx, maxx, miny, maxy)"
    )
    connection.exec_driver_sql(
        f"INSERT INTO {index} SELECT id, {_ENTRY.format(row='')} FROM {table} "
        f"WHERE {_COLUMN} NOTNULL AND NOT ST_IsEmpty({_COLUMN})"
    )
    for name, trigger in _TRIGGERS.items():
        body = trigger.format(table=table, index=index)
        connection.exec_driver_sql(f"CREATE TRIGGER {index}_{name} {body}")
    connection.exec_driver_sql(
        "INSERT INTO gpkg_extensions VALUES (?, ?, 'gpkg_rtree_index', "
        "'http://www.geopackage.org/spec120/#extension_rtree', 'write-only')",
        (table, _COLUMN),
    )


def drop_spatial_index(connection: sa.Connection, table: str) -> None:
    """Drop the index of a layer; the last one takes the list of extensions with it."""
    index = index_name(table)
    for name in _TRIGGERS:
        connection.exec_driver_sql(f"DROP TRIGGER {index}_{name}")
    connection.exec_driver_sql(f"DROP TABLE {index}")
    connection.exec_driver_sql("DELETE FROM gpkg_extensions WHERE table_name = ?", (table,))
    if not connection.exec_driver_sql("SELECT count(*) FROM gpkg_extensions").scalar_one():
        connection.exec_driver_sql("DROP TABLE gpkg_extensions")


def index_name(table: str) -> str:
    """Return the name of the index of a layer."""
    return f"rtree_{table}_{_COLUMN}"


def _exists(connection: sa.Connection, table: str) -> bool:
    found = connection.exec_driver_sql("SELECT 1 FROM sqlite_master WHERE name = ?", (table,))
    return found.one_or_none() is not None


def _is_empty(blob: bytes | None) -> int | None:
    """Return whether a geometry is empty; None of what is no geometry of a GeoPackage."""
    return int(bool(blob[3] & _EMPTY)) if blob is not None and blob[:2] == _MAGIC else None


def _bound_at(place: int) -> Callable[[bytes | None], float | None]:
    """Return the function that returns a bound of a geometry; None where it is empty.

    It is called four times for each row, so it has a short way for what `bulk.load` writes.
    """
    of_envelope = partial(_DOUBLE.unpack_from, offset=_HEAD + 8 * place)
    of_point = partial(_DOUBLE.unpack_from, offset=_HEAD + _WKB_HEAD + 8 * (place // 2))

    def bound(blob: bytes | None) -> float | None:
        if blob is None or len(blob) < _HEAD:
            return None
        if blob[3] == _LITTLE_ENDIAN_ENVELOPE:
            return of_envelope(blob)[0]  # type: ignore[no-any-return]
        if blob[3] == _LITTLE_ENDIAN and blob[_HEAD : _HEAD + _WKB_HEAD] == _POINT:
            return of_point(blob)[0]  # type: ignore[no-any-return]
        return _bound_of_any(blob, place)

    return bound


def _bound_of_any(blob: bytes, place: int) -> float | None:
    """Return a bound of a geometry that another program wrote."""
    import shapely

    if blob[:2] != _MAGIC or blob[3] & _EMPTY:
        return None
    if (blob[3] >> 1) & 0b111:
        order = "<" if blob[3] & _LITTLE_ENDIAN else ">"
        bound: float = struct.unpack_from(f"{order}d", blob, _HEAD + 8 * place)[0]
        return bound
    west, south, east, north = shapely.bounds(shapely.from_wkb(blob[_HEAD:])).tolist()
    return (west, east, south, north)[place]  # type: ignore[no-any-return]
