"""Ours: stage rows as days of a city, and tell what that took.

Usage: python -m benchmarks.programs.stage DATABASE_URL ROWS.parquet STEP ...

A step is `DAY:CHANGES` or `checkpoint`. Days are counted from 0; each change renames another 0.5 %
of the rows, and a day has as many changes behind it as stand beside it. The last line is a list of
what each day took, in JSON.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import date, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import sqlalchemy as sa

from benchmarks.rows import changed
from ingestion_pipeline.staging.database import create_engine, migrate
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from benchmarks.harness import Values

CITY = "helsinki"
FIRST_DAY = date(2026, 1, 1)
MEGABYTE = 2**20


def stage(engine: sa.Engine, day: int, rows: pa.Table) -> Values:
    """Stage a day; tell what it took and what it left behind.

    Only the call that stages is timed, as only the peer's call that writes is.
    """
    on = FIRST_DAY + timedelta(days=day)
    claim = claim_key(engine, CITY, on)
    evidence = evidence_of(on, digest=f"{day:064}", inputs=f"{day:032}")
    before = wal_bytes(engine)
    start, cpu = perf_counter(), process_time()
    result = replace_slice(
        engine, slice_of(CITY, on), rows, rejections=[], evidence=evidence, claim=claim, now=NOW
    )
    took, cpu = perf_counter() - start, process_time() - cpu
    return {
        "call s": took,
        "call's CPU s": cpu,
        "rows/s": rows.num_rows / took,
        "rows written": result.written,
        **wal_mb(engine, before),
        "size MB": size_mb(engine, "poi_ingestion_staging"),
    }


def wal_bytes(engine: sa.Engine) -> int:
    """Tell how much PostgreSQL has written to its log; 0 on a GeoPackage."""
    if engine.dialect.name == "sqlite":
        return 0
    with engine.connect() as connection:
        position = sa.text("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(connection.execute(position).scalar_one())


def wal_mb(engine: sa.Engine, before: int) -> Values:
    """Tell how much it has written since; nothing on a GeoPackage."""
    after = wal_bytes(engine)
    return {"WAL MB": (after - before) / MEGABYTE} if after else {}


def size_mb(engine: sa.Engine, table: str) -> float:
    """Give the size of a table with its indexes; that of the file on a GeoPackage."""
    if engine.dialect.name == "sqlite":
        return os.stat(str(engine.url.database)).st_size / MEGABYTE  # noqa: PTH116
    with engine.connect() as connection:
        size = sa.text("SELECT pg_total_relation_size(CAST(:name AS regclass))")
        return float(connection.execute(size, {"name": table}).scalar_one() / MEGABYTE)


def checkpoint(engine: sa.Engine) -> None:
    """Let PostgreSQL bring all pages to the disk."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("CHECKPOINT")


def tidy(engine: sa.Engine, *tables: str) -> None:
    """Do now what PostgreSQL does by itself between two days (autovacuum)."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"VACUUM ANALYZE {', '.join(tables)}")


def main(url: str, path: Path, steps: Sequence[str]) -> None:
    """Stage days, and print what each took."""
    engine = create_engine(url)
    migrate(engine)
    rows = pq.read_table(path)
    checkpoint(engine)
    done = 0
    took: list[Values] = []
    for step in steps:
        if step == "checkpoint":
            checkpoint(engine)
            continue
        day, changes = map(int, step.split(":"))
        while done < changes:
            done += 1
            rows = changed(rows, done)
        took.append(stage(engine, day, rows))
        tidy(engine, "poi_ingestion_staging")
    engine.dispose()
    print(json.dumps(took))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
