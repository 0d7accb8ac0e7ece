"""Leases: who holds one, until when, and that only the database's clock counts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import date
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.staging import leases, runs
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.errors import LeaseLost
from ingestion_pipeline.staging.file_leases import FileLease
from ingestion_pipeline.staging.tables import run_lease
from testbed.claims import NOW
from testbed.postgres_server import as_worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = JobKey("osm_import", "town", "bbox:0,0,1,1", date(2026, 11, 20))
LONG = 60.0
SHORT = 0.2


@pytest.fixture
def server(postgis_url: str) -> Iterator[sa.Engine]:
    owner = create_engine(postgis_url)
    migrate(owner)
    owner.dispose()
    engine = create_engine(as_worker(postgis_url))
    yield engine
    engine.dispose()


def moved(server: sa.Engine, run_id: str, interval: str) -> None:
    """Let a lease have been taken at another time, as a server with another clock had it."""
    with server.begin() as connection:
        connection.execute(
            sa.text(
                "UPDATE run_lease SET beat_at = beat_at + CAST(:by AS interval), "
                "expires_at = expires_at + CAST(:by AS interval) WHERE dagster_run_id = :run"
            ),
            {"by": interval, "run": run_id},
        )


def test_a_lease_is_held_until_it_ends_and_cannot_be_renewed_then(server: sa.Engine) -> None:
    assert leases.is_live(server, "run") is None
    leases.take(server, "run", token="mine", seconds=SHORT)
    assert leases.is_live(server, "run")
    assert leases.renew(server, "run", token="mine", seconds=SHORT)
    assert not leases.renew(server, "run", token="another's", seconds=LONG)
    time.sleep(SHORT)
    assert leases.is_live(server, "run") is False
    assert not leases.renew(server, "run", token="mine", seconds=LONG)
    assert leases.all_live(server) == {"run": False}


def test_another_process_of_a_run_takes_its_lease_from_the_first_one(server: sa.Engine) -> None:
    leases.take(server, "run", token="first", seconds=LONG)
    leases.take(server, "run", token="second", seconds=LONG)
    assert not leases.renew(server, "run", token="first", seconds=LONG)
    leases.release(server, "run", token="first")
    assert leases.all_live(server) == {"run": True}
    leases.release(server, "run", token="second")
    assert leases.all_live(server) == {}


def test_a_revoked_lease_has_ended_for_good(server: sa.Engine) -> None:
    leases.take(server, "run", token="mine", seconds=LONG)
    leases.revoke(server, "run")
    assert leases.is_live(server, "run") is False
    assert not leases.renew(server, "run", token="mine", seconds=LONG)


def test_a_lease_of_a_server_whose_clock_was_ahead_lasts_no_longer_than_others(
    server: sa.Engine,
) -> None:
    leases.take(server, "run", token="mine", seconds=SHORT)
    moved(server, "run", "1 hour")
    assert leases.all_live(server) == {"run": True}  # from now on, for as long as others
    time.sleep(SHORT)
    assert leases.all_live(server) == {"run": False}


def test_the_lease_of_a_dead_run_is_forgotten_after_a_day(server: sa.Engine) -> None:
    for run_id, ago in (("lately", "-23 hours"), ("long ago", "-25 hours")):
        leases.take(server, run_id, token="mine", seconds=LONG)
        moved(server, run_id, ago)
    leases.take(server, "at work", token="mine", seconds=LONG)
    leases.forget_ended(server)
    assert leases.all_live(server) == {"lately": False, "at work": True}


def test_only_the_holder_of_the_lease_may_write_and_the_others_may_end_its_run(
    server: sa.Engine,
) -> None:
    leases.take(server, "run", token="mine", seconds=SHORT)
    claim = _claim(server, lease="mine")
    runs.require(server, claim)
    time.sleep(SHORT)
    with pytest.raises(LeaseLost, match="has lost its lease"):
        runs.require(server, claim)
    assert runs.fail(server, claim, error_code="lease_lost", error_message="late", now=NOW)


@pytest.mark.process
def test_in_a_geopackage_a_lease_is_a_lock_that_ends_with_its_process(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/staging.gpkg")
    migrate(engine)
    assert leases.is_live(engine, "run") is None
    assert leases.all_live(engine) == {}
    lease = FileLease.taken(engine, "run")
    assert lease is not None
    runs.require(engine, _claim(engine, lease=lease.token))
    taking = (
        "import sys; from pathlib import Path\n"
        "from ingestion_pipeline.staging.file_leases import FileLease\n"
        "lease = FileLease(Path(sys.argv[1]), 'killed'); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", taking, f"{tmp_path}/staging.gpkg.leases"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert leases.all_live(engine) == {"run": True, "killed": True}
        process.kill()
    assert leases.all_live(engine) == {"run": True, "killed": False}
    another = FileLease.taken(engine, "run")  # another process of the run
    assert another is not None
    lease.end()
    assert leases.is_live(engine, "run")
    another.end()
    assert leases.all_live(engine) == {"killed": False}
    leases.forget_ended(engine)
    assert leases.is_live(engine, "killed") is False
    os.utime(tmp_path / "staging.gpkg.leases/killed", (0, 0))
    leases.forget_ended(engine)
    assert leases.all_live(engine) == {}
    with engine.connect() as connection:
        assert connection.execute(sa.select(run_lease)).all() == []


def test_where_files_cannot_be_locked_a_run_has_no_lease(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path}/no/such/folder/staging.gpkg")
    assert FileLease.taken(engine, "run") is None
    assert leases.is_live(engine, "run") is None


def _claim(engine: sa.Engine, *, lease: str | None) -> runs.Claim:
    claim = runs.claim(
        engine,
        KEY,
        dagster_run_id="run",
        worker="test",
        trigger="cli",
        is_alive=lambda _: True,
        now=NOW,
        lease=lease,
    )
    assert isinstance(claim, runs.Claim)
    return claim
