"""A run of its own process: claims a city-day with a lease, and writes when it is told to.

    python -m ingestion_pipeline_tests.support.leased_run URL RUN BEAT_S LEASE_S [HOURS_OFF]

It prints the name of its process when it holds the claim, and what came of a write for each line of
its input. The last argument sets the clock of Python in this process off.
"""

from __future__ import annotations

import sys
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.dagster_runtime.liveness import worker
from ingestion_pipeline.staging import leases, runs
from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline.staging.database import create_engine
from ingestion_pipeline.staging.file_leases import FileLease
from ingestion_pipeline.staging.heartbeat import Heartbeat
from ingestion_pipeline_tests.support.staged import poi_rows
from testbed.claims import evidence_of, replace_slice, slice_of

if TYPE_CHECKING:
    import sqlalchemy as sa

DAY = date(2026, 11, 20)
KEY = JobKey("osm_import", "town", "bbox:0,0,1,1", DAY)


def main() -> None:
    """Work for the run that the arguments name."""
    url, run_id, beat_s, lease_s, *off = sys.argv[1:]
    if off:
        right, by = time.time, 3600 * float(off[0])
        time.time = lambda: right() + by
    engine = create_engine(url)
    lease: Heartbeat | FileLease
    if leases.are_stored(engine):
        lease = Heartbeat(engine, run_id, beat_s=float(beat_s), lease_s=float(lease_s))
        lease.begin()
    else:
        lease = FileLease(Path(f"{engine.url.database}.leases"), run_id)
    claim = runs.claim(
        engine,
        KEY,
        dagster_run_id=run_id,
        worker=worker(),
        trigger="cli",
        is_alive=lambda _: False,
        now=DatabaseClock(engine, SystemClock()).now(),
        lease=lease.token,
    )
    assert isinstance(claim, runs.Claim)
    say(worker())
    for _ in sys.stdin:
        say(written(engine, claim))
    lease.end()


def say(what: str) -> None:
    """Write a line."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def written(engine: sa.Engine, claim: runs.Claim) -> str:
    """Stage the day; return `staged`, or the code of the error."""
    try:
        replace_slice(
            engine,
            slice_of("town", DAY),
            poi_rows({"node/1": claim.dagster_run_id}),
            rejections=[],
            evidence=evidence_of(DAY),
            claim=claim,
            now=DatabaseClock(engine, SystemClock()).now(),
        )
    except IngestionError as error:
        return error.code
    return "staged"


if __name__ == "__main__":
    main()
