"""Many rows at once, on both databases.

Belongs here: what PostgreSQL and a GeoPackage do differently when rows are loaded, and chunking.
Does not belong here: which rows (`slices.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.staging.database import is_geopackage
from ingestion_pipeline.staging.geometry import Geometry, ewkb_hex, geopackage_blobs
from ingestion_pipeline.staging.types import UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

CHUNK = 10_000
"""How many values one IN (...) takes; SQLite's limit is 32,766."""


def load(connection: sa.Connection, table: sa.Table, columns: Mapping[str, Sequence[Any]]) -> None:
    """Insert rows that are given column by column.

    Args:
        connection: In a transaction.
        table: Where to.
        columns: Plain values for each column that is written: WKB for geometries, canonical JSON
            text for JSON, aware datetimes, dates.
    """
    rows = zip(
        *(_encode(connection, table.columns[name], values) for name, values in columns.items()),
        strict=True,
    )
    names = ", ".join(columns)
    # SQLAlchemy's own executemany takes 7 times as long; both drivers stand right below it.
    driver: Any = connection.connection.driver_connection
    if is_geopackage(connection):
        marks = ", ".join("?" * len(columns))
        driver.executemany(f"INSERT INTO {table.name} ({names}) VALUES ({marks})", rows)  # noqa: S608
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _encode(
    connection: sa.Connection, column: sa.Column[Any], values: Sequence[Any]
) -> Iterable[Any]:
    embedded = is_geopackage(connection)
    if isinstance(column.type, Geometry):
        return geopackage_blobs(values) if embedded else ewkb_hex(values)
    if isinstance(column.type, UtcDateTime):
        write = column.type.process_bind_param
        return (write(value, connection.dialect) for value in values)
    if embedded and isinstance(column.type, sa.Date):
        return (value and value.isoformat() for value in values)
    return values


def chunks(values: Sequence[int]) -> Iterator[Sequence[int]]:
    """Cut values into pieces that fit into one IN (...)."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
