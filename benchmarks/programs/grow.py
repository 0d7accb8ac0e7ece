"""Ours: stage many days of many cities, and tell what has become of the database.

Usage: python -m benchmarks.programs.grow DATABASE_URL ROWS.parquet CITIES DAYS

Each city has an equal share of the rows. On six days of a week another 0.5 % of them has a new
name, and on one of these a row is gone too and the one that was gone is back; on the seventh day
nothing changes. Every city-day is claimed and staged by itself. The last line is what was found
after each of some days, in JSON.
"""

from __future__ import annotations

import json
import statistics
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import sqlalchemy as sa

from benchmarks.programs.stage import FIRST_DAY, MEGABYTE, tidy, wal_bytes
from benchmarks.rows import changed
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.slices import SliceInput, replace_slices
from testbed.claims import NOW, claim_key, evidence_of, slice_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

    import pyarrow as pa

    from benchmarks.harness import Values

TABLES = ("poi_ingestion_staging", "staged_partition", "ingestion_run")
LOOKED_AT = (1, 2, 30, 90, 180, 365)
"""After so many days it is looked at what there is; on all but the first as much has changed."""
WEEK = 7
UNCHANGED, GONE = 3, 6
"""The days of a week on which nothing changes, and on which another row is gone."""
REPEATS = 5
DEGREES = 0.01
"""Half the side of the square that is asked for: a kilometre or so."""


@dataclass
class Cities:
    """The rows of many cities, day after day.

    Attributes:
        rows: Those of all cities together.
        number: How many cities there are.
    """

    rows: pa.Table
    number: int

    def days(self, number: int) -> Iterator[list[pa.Table]]:
        """Give the rows of each city, day by day."""
        rows = self.rows
        share = rows.num_rows // self.number
        for day in range(number):
            if day % WEEK != UNCHANGED:
                rows = changed(rows, day)
            there = np.arange(share) != (day + WEEK - GONE) // WEEK % share
            yield [rows.slice(city * share, share).filter(there) for city in range(self.number)]


def on(day: int) -> date:
    """Give the date of a day that is counted from 0."""
    return FIRST_DAY + timedelta(days=day)


def stage(engine: sa.Engine, city: str, day: int, rows: pa.Table) -> float:
    """Stage a city-day from its claim on; give the seconds that it took."""
    start = perf_counter()
    evidence = evidence_of(on(day), digest=f"{city}{day:050}", inputs=f"{day:032}")
    replace_slices(
        engine,
        [SliceInput(slice_of(city, on(day)), rows, [], evidence)],
        claim=claim_key(engine, city, on(day)),
        now=NOW,
    )
    return perf_counter() - start


def sizes(engine: sa.Engine) -> Values:
    """Give the size of each table, without its indexes, and of each index, in MB."""
    query = sa.text(
        """
        SELECT c.relname, CASE c.relkind WHEN 'r' THEN pg_table_size(c.oid)
                                         ELSE pg_relation_size(c.oid) END
        FROM pg_class c LEFT JOIN pg_index i ON i.indexrelid = c.oid
        WHERE coalesce(i.indrelid, c.oid) = ANY (CAST(:tables AS regclass[]))
        ORDER BY c.relkind DESC, c.relname
        """
    )
    with engine.connect() as connection:
        found = connection.execute(query, {"tables": list(TABLES)})
        return {name: size / MEGABYTE for name, size in found}


def questions(rows: pa.Table, city: str, days: int) -> dict[str, str]:
    """Give what readers select of a city: a day, what changed, and what is in a square now."""
    lon, lat = rows["lon"][0].as_py(), rows["lat"][0].as_py()
    square = f"ST_Expand(ST_SetSRID(ST_MakePoint({lon}, {lat}), 4326), {DEGREES})"
    here = f"city_slug = '{city}'"
    middle, last = on(days // 2), on(days - 1)
    two_days = f"from_day = '{on(max(days - 2, 0))}' AND to_day = '{last}'"
    return {
        "newest day": f"poi_staging_day WHERE {here} AND day = '{last}'",
        "middle day": f"poi_staging_day WHERE {here} AND day = '{middle}'",
        "two days' changes": f"poi_change WHERE {here} AND {two_days}",
        "square": f"poi_staging_current WHERE {here} AND geometry && {square}",
    }


def answer(engine: sa.Engine, name: str, selected: str) -> Values:
    """Tell how long the server took for an answer, and how many versions it read for it."""
    query = f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM {selected}"  # noqa: S608 - ours
    with engine.connect() as connection:
        explained = [connection.exec_driver_sql(query).scalar_one()[0] for _ in range(REPEATS)]
    return {
        f"{name} ms": statistics.median(each["Execution Time"] for each in explained),
        f"{name} versions read": versions_read(explained[0]["Plan"]),
    }


def versions_read(node: dict[str, Any]) -> int:
    """Count the versions that a plan read, be they wanted or not."""
    read = 0
    if node.get("Relation Name") == TABLES[0]:
        removed = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
        each = node["Actual Rows"] + sum(node.get(name, 0) for name in removed)
        read = round(node["Actual Loops"] * each)
    return read + sum(map(versions_read, node.get("Plans", [])))


def look(engine: sa.Engine, rows: pa.Table, cities: int, days: int) -> Values:
    """Tell what there is after some days, and what questions cost."""
    size = sizes(engine)
    with engine.connect() as connection:
        count = sa.text(f"SELECT count(*) FROM {TABLES[0]}")  # noqa: S608 - ours
        versions = connection.execute(count).scalar_one()
    of_versions = sum(value for name, value in size.items() if TABLES[0] in name)
    of_days = sum(size.values()) - of_versions
    values: Values = {
        "versions": versions,
        "bytes/version": of_versions * MEGABYTE / versions,
        "bytes/city-day": of_days * MEGABYTE / (cities * days),
    }
    for name, selected in questions(rows, "city0", days).items():
        values |= answer(engine, name, selected)
    return values


def main(url: str, path: Path, cities: int, days: int) -> None:
    """Stage the days; print what was found."""
    engine = create_engine(url)
    migrate(engine)
    found: dict[int, dict[str, Values]] = {}
    for day, parts in enumerate(Cities(pq.read_table(path), cities).days(days)):
        before, cpu = wal_bytes(engine), process_time()
        times = [stage(engine, f"city{city}", day, rows) for city, rows in enumerate(parts)]
        written, cpu = wal_bytes(engine) - before, process_time() - cpu
        tidy(engine, *TABLES)
        if day + 1 in (*LOOKED_AT, days):
            staged = {
                "staging ms": statistics.median(times) * 1000,
                "its CPU ms": cpu / cities * 1000,
                "its WAL kB": written / cities / 1024,
            }
            found[day + 1] = {
                "found": staged | look(engine, parts[0], cities, day + 1),
                "sizes": sizes(engine),
            }
            print(json.dumps(found[day + 1]), file=sys.stderr, flush=True)
    engine.dispose()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:]))
