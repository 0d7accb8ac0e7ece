"""Bulk reads and writes on both databases.

Rows are Arrow columns. For PostgreSQL they are encoded column by column in the binary COPY format,
without creating Python objects. SQLite's driver needs Python objects, which are created for some
thousand rows at a time.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.core.parallel import ahead
from ingestion_pipeline.core.progress import Progress
from ingestion_pipeline.staging.database import driver_of, is_geopackage
from ingestion_pipeline.staging.geometry import (
    ArrowColumn,
    Geometry,
    ewkb,
    geopackage_blobs,
    packed,
)
from ingestion_pipeline.staging.types import Json, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

CHUNK = 10_000
"""The number of values in one IN (...); SQLite's limit is 32,766."""

_ROWS_AT_ONCE = 16_384
"""The number of rows encoded at a time: about 10 MB."""

_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TRAILER = b"\xff\xff"
_JSONB_VERSION = b"\x01"
_EPOCH = date(1970, 1, 1)
_DAYS_TO_2000 = 10_957
"""PostgreSQL counts days and microseconds from 2000-01-01, Arrow from 1970-01-01."""
_MICROSECONDS_TO_2000 = _DAYS_TO_2000 * 86_400_000_000


def is_empty(connection: sa.Connection, table: sa.Table) -> bool:
    """Return whether a table has no rows."""
    return connection.execute(sa.select(~sa.select(table).exists())).scalar_one()


@contextmanager
def first_load(connection: sa.Connection, table: sa.Table) -> Iterator[None]:
    """Build the indexes of an empty table after its first rows, and not row by row.

    Locks the table. The caller must not have used it in this transaction before: two such callers
    would deadlock. A second caller waits, finds rows, and keeps the indexes. So does a role that
    does not own the table, because only the owner can drop indexes.
    """
    indexes = sorted(table.indexes, key=lambda index: str(index.name))
    # In a GeoPackage, indexes grow at their end, at little cost.
    if is_geopackage(connection) or not _may_rebuild_indexes(connection, table):
        yield
        return
    connection.exec_driver_sql(f"LOCK TABLE {table.name} IN ACCESS EXCLUSIVE MODE")
    if not is_empty(connection, table):
        yield
        return
    for index in indexes:
        connection.execute(sa.schema.DropIndex(index))
    yield
    for index in indexes:
        connection.execute(sa.schema.CreateIndex(index))


def _may_rebuild_indexes(connection: sa.Connection, table: sa.Table) -> bool:
    """Return whether the role may drop and create a table's indexes."""
    may: bool = connection.execute(
        sa.text(
            "SELECT pg_has_role(relowner, 'USAGE') "
            "AND has_schema_privilege(relnamespace, 'CREATE') "
            "FROM pg_class WHERE oid = CAST(:name AS regclass)"
        ),
        {"name": table.name},
    ).scalar_one()
    return may


def load(connection: sa.Connection, table: sa.Table, rows: pa.Table) -> None:
    """Insert rows.

    Args:
        connection: In a transaction.
        table: The table.
        rows: The columns to write: WKB for geometries, canonical JSON text for JSON, moments in any
            unit of UTC, dates.
    """
    batches = rows.to_batches(max_chunksize=_ROWS_AT_ONCE)
    with Progress(f"rows of {table.name} written", rows.num_rows) as progress:
        _load(connection, table, rows, batches, progress)


def _load(
    connection: sa.Connection,
    table: sa.Table,
    rows: pa.Table,
    batches: Sequence[pa.RecordBatch],
    progress: Progress,
) -> None:
    names = ", ".join(rows.column_names)
    # SQLAlchemy's executemany takes 7 times as long as the driver's.
    if is_geopackage(connection):
        marks = ", ".join("?" * rows.num_columns)
        insert = f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608
        with driver_of(connection) as driver:
            for batch in batches:
                driver.executemany(insert, _geopackage_rows(table, batch))
                progress.advance(batch.num_rows)
        return
    into = f"COPY {table.name} ({names}) FROM STDIN (FORMAT binary)"
    with driver_of(connection) as driver, driver.cursor() as cursor, cursor.copy(into) as copy:
        copy.write(_COPY_HEADER)
        encoded = ahead(partial(_copy_rows, table), batches, most=1)
        for batch, written in zip(batches, encoded, strict=True):
            copy.write(written)
            progress.advance(batch.num_rows)
        copy.write(_COPY_TRAILER)


def fetch(connection: sa.Connection, selected: sa.Select[Any]) -> pa.Table:
    """Return rows as columns of whole numbers, texts and dates.

    PostgreSQL sends each column as one array: row by row, decoding in the driver takes several
    times as long as the query.
    """
    import msgspec
    import pyarrow as pa

    kinds = {each.name: each.type.python_type for each in selected.selected_columns}
    columns: Any
    if is_geopackage(connection) and date in kinds.values():
        columns = list(zip(*connection.execute(selected).all(), strict=True))
    elif is_geopackage(connection):
        # As one array each: tuples of a hundred thousand rows take twice as long.
        literal = selected.compile(
            dialect=connection.dialect, compile_kwargs={"literal_binds": True}
        )
        arrays = ", ".join(f"json_group_array({name})" for name in kinds)
        with driver_of(connection) as driver:
            found = driver.execute(f"SELECT {arrays} FROM ({literal})").fetchone()  # noqa: S608
        columns = [msgspec.json.decode(each) for each in found]
    else:
        arrays = ", ".join(
            f"array_agg({name} - DATE 'epoch')" if kind is date else f"array_agg({name})"
            for name, kind in kinds.items()
        )
        statement = selected.compile(dialect=connection.dialect)
        with driver_of(connection) as driver, driver.cursor(binary=True) as cursor:
            selection = f"SELECT {arrays} FROM ({statement}) AS selected"  # noqa: S608
            cursor.execute(selection, statement.params)
            columns = cursor.fetchone()
    if not columns or columns[0] is None:
        columns = [()] * len(kinds)
    return pa.Table.from_arrays(
        [_fetched(kind, values) for kind, values in zip(kinds.values(), columns, strict=True)],
        names=list(kinds),
    )


def _fetched(kind: type[Any], values: Sequence[Any]) -> ArrowColumn:
    """Return one column; `values` holds dates as dates, or as days since 1970."""
    import numpy as np
    import pyarrow as pa

    from ingestion_pipeline.columns.arrow import numbers, texts

    if kind is str:
        return texts(values)
    if kind is int:
        return pa.array(values, pa.int64())
    missing = np.array([value is None for value in values], dtype=np.bool_)
    days = (
        0 if value is None else (value - _EPOCH).days if isinstance(value, date) else value
        for value in values
    )
    plain = np.fromiter(days, dtype=np.int32, count=len(values))
    return numbers(plain, pa.date32(), missing=missing)


def _geopackage_rows(table: sa.Table, batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Yield rows as parameters for SQLite's driver."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def encoded(name: str) -> ArrowColumn:
        kind, values = table.columns[name].type, batch.column(name)
        if isinstance(kind, Geometry):
            return geopackage_blobs(values)
        if isinstance(kind, UtcDateTime):
            return pc.strftime(_milliseconds(values), "%Y-%m-%dT%H:%M:%SZ")
        return values.cast(pa.string()) if isinstance(kind, sa.Date) else values

    return zip(*(encoded(name).to_pylist() for name in batch.schema.names), strict=True)


def _copy_rows(table: sa.Table, batch: pa.RecordBatch) -> memoryview:
    """Return rows in PostgreSQL's binary COPY format.

    A row is the number of its fields, then each field's length (-1 for NULL) and bytes; see "Binary
    Format" of COPY in PostgreSQL's manual.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    pieces: list[ArrowColumn] = [pa.scalar(batch.num_columns.to_bytes(2, "big"))]
    for name in batch.schema.names:
        field = _copy_field(table.columns[name].type, batch.column(name))
        length: ArrowColumn = pc.binary_length(field)
        pieces += [packed(length.fill_null(-1).to_numpy().astype(">i4")), field]
    joined: ArrowColumn = pc.binary_join_element_wise(*pieces, b"", null_handling="replace")
    ends = np.frombuffer(joined.buffers()[1], np.int32)
    return memoryview(joined.buffers()[2])[ends[0] : ends[len(joined)]]


def _copy_field(kind: sa.types.TypeEngine[Any], values: ArrowColumn) -> ArrowColumn:
    """Return a column's values in PostgreSQL's binary format, without their lengths."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(kind, Geometry):
        return ewkb(values)
    if isinstance(kind, Json):
        return pc.binary_join_element_wise(_JSONB_VERSION, values.cast(pa.binary()), b"")
    if isinstance(kind, UtcDateTime):
        moments = _milliseconds(values).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
        return _numbers(pc.subtract(moments, _MICROSECONDS_TO_2000), ">i8")
    if isinstance(kind, sa.Date):
        return _numbers(pc.subtract(values.cast(pa.int32()), _DAYS_TO_2000), ">i4")
    for of, width in (
        (sa.Boolean, "u1"),
        (sa.Double, ">f8"),
        (sa.BigInteger, ">i8"),
        (sa.Integer, ">i4"),
    ):
        if isinstance(kind, of):
            return _numbers(values, width)
    return values.cast(pa.binary())


def _milliseconds(moments: ArrowColumn) -> ArrowColumn:
    """Truncate moments to milliseconds, as `UtcDateTime` does."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if moments.type.tz is None:
        raise ValueError(f"a column of {moments.type} has no time zone; moments are stored in UTC")
    finest = moments.cast(pa.timestamp("us", "UTC"))
    return pc.floor_temporal(finest, unit="millisecond").cast(pa.timestamp("ms", "UTC"))


def _numbers(values: ArrowColumn, kind: str) -> ArrowColumn:
    import pyarrow as pa
    import pyarrow.compute as pc

    encoded = packed(values.fill_null(0).to_numpy(zero_copy_only=False).astype(kind))
    return pc.if_else(values.is_valid(), encoded, pa.scalar(None, pa.binary()))


def chunks(values: Sequence[int]) -> Iterator[Sequence[int]]:
    """Split values into chunks that fit into one IN (...)."""
    for start in range(0, len(values), CHUNK):
        yield values[start : start + CHUNK]
