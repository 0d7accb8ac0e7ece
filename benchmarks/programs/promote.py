"""Stage rows as days of a city, promote them, and tell what each promotion took.

Usage: python -m benchmarks.programs.promote DATABASE_URL ROWS.parquet STEP ...

A step is `DAY:CHANGES`, as for `benchmarks.programs.stage`. The last line is a list of what the
promotion of each day took, in JSON.
"""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from benchmarks.programs.stage import CITY, FIRST_DAY, stage, tidy, wal_bytes, wal_mb
from benchmarks.rows import changed
from ingestion_pipeline.dagster_runtime.warm import preload
from ingestion_pipeline.promotion.ledger import JOB_TYPE, Decision, approve
from ingestion_pipeline.promotion.promote import Terms, promote
from ingestion_pipeline.staging.database import create_engine, migrate
from testbed.claims import NOW, claim_key, slice_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from benchmarks.harness import Values
    from ingestion_pipeline.promotion.ledger import Promotion


def promoted(engine: sa.Engine, day: int) -> Values:
    """Promote a staged day; tell what the calls took."""
    before = wal_bytes(engine)
    start, cpu = perf_counter(), process_time()
    done = _promote(engine, day)
    if done.status == "PROPOSED":  # a gate asks a person
        approve(engine, done.id, Decision("benchmark", "as fast as it can be", NOW))
        done = _promote(engine, day)
    took, cpu = perf_counter() - start, process_time() - cpu
    return {
        "call s": took,
        "call's CPU s": cpu,
        "events": sum(done.counts.values()),
        **wal_mb(engine, before),
    }


def _promote(engine: sa.Engine, day: int) -> Promotion:
    on = FIRST_DAY + timedelta(days=day)
    claim = claim_key(engine, CITY, on, job_type=JOB_TYPE)
    terms = Terms(policy="automatic", memory_days=90)
    return promote(engine, slice_of(CITY, on), terms, claim=claim, now=NOW)


def main(url: str, path: Path, steps: Sequence[str]) -> None:
    """Stage and promote days, and print what each promotion took."""
    preload()
    engine = create_engine(url)
    migrate(engine)
    rows = pq.read_table(path)
    done = 0
    took: list[Values] = []
    for step in steps:
        day, changes = map(int, step.split(":"))
        while done < changes:
            done += 1
            rows = changed(rows, done)
        stage(engine, day, rows)
        tidy(engine, "poi_ingestion_staging", "poi", "poi_event", "poi_identity")
        took.append(promoted(engine, day))
    engine.dispose()
    print(json.dumps(took))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
