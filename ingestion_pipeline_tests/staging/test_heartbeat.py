"""Heartbeats of real processes that are killed, stopped, cut off, and elsewhere."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import dagster as dg
import pytest
import sqlalchemy as sa

from ingestion_pipeline.core.clock import SystemClock
from ingestion_pipeline.dagster_runtime.liveness import is_alive, worker
from ingestion_pipeline.staging import leases, runs
from ingestion_pipeline.staging.clock import DatabaseClock
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.heartbeat import EX_TEMPFAIL, Heartbeat
from ingestion_pipeline.staging.tables import poi_ingestion_staging, run_lease
from ingestion_pipeline_tests.support import leased_run
from ingestion_pipeline_tests.support.cut_line import CutLine
from testbed.platform_processes import wait_until
from testbed.postgres_server import as_worker, with_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.process, pytest.mark.server]

BEAT_S = 0.5
LEASE_S = 3.0
"""Long enough for a process that waits for a core."""


class Process:
    """A run that works in a process of its own."""

    def __init__(self, url: str, run_id: str, *options: str, under: Sequence[str] = ()) -> None:
        self.run_id = run_id
        module = leased_run.__name__
        arguments = [url, run_id, str(BEAT_S), str(LEASE_S), *options]
        self.popen = subprocess.Popen(
            [*under, sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.worker = self._line()

    def write(self) -> str:
        """Let it write; give what it says of that, which is nothing if it has ended."""
        assert self.popen.stdin is not None
        try:
            self.popen.stdin.write("write\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            return ""
        return self._line()

    def ended(self) -> tuple[int, str]:
        """Wait for its end; give its exit code and what it says of that."""
        assert self.popen.stderr is not None
        code = self.popen.wait(10 * LEASE_S)
        return code, self.popen.stderr.read()

    def close(self) -> None:
        self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout, self.popen.stderr):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()

    def _line(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()


@contextmanager
def running(url: str, run_id: str, *options: str, under: Sequence[str] = ()) -> Iterator[Process]:
    process = Process(url, run_id, *options, under=under)
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
def url(postgis_url: str) -> str:
    owner = create_engine(postgis_url)
    migrate(owner)
    owner.dispose()
    return as_worker(postgis_url)


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = create_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def job_of(engine: sa.Engine, run_id: str) -> runs.Run:
    (job,) = [each for each in runs.page(engine) if each.dagster_run_id == run_id]
    return job


def names(engine: sa.Engine) -> list[str]:
    """Give the names of the staged places: each run stages its own."""
    with engine.connect() as connection:
        return list(connection.execute(sa.select(poi_ingestion_staging.c.name)).scalars())


def lease_has_ended(engine: sa.Engine, run_id: str) -> bool:
    return leases.is_live(engine, run_id) is False


def take_over(engine: sa.Engine, by: str, instance: dg.DagsterInstance) -> runs.Claim:
    """Claim the key as another run on another machine does, by what the ledger says."""
    claim = runs.claim(
        engine,
        leased_run.KEY,
        dagster_run_id=by,
        worker="elsewhere/boot/pid:[1] 7 1.00",
        trigger="ui",
        is_alive=lambda holder: is_alive(
            holder, instance, lease=leases.is_live(engine, str(holder.dagster_run_id))
        ),
        now=DatabaseClock(engine, SystemClock()).now(),
    )
    assert isinstance(claim, runs.Claim)
    return claim


def test_a_killed_process_is_dead_here_at_once_and_elsewhere_when_its_lease_ends(
    url: str, engine: sa.Engine, instance: dg.DagsterInstance
) -> None:
    with running(url, "killed") as run:
        time.sleep(LEASE_S + BEAT_S)
        assert leases.is_live(engine, "killed")  # it was renewed
        run.popen.kill()
        run.popen.wait()
        assert leases.is_live(engine, "killed")
        assert not is_alive(job_of(engine, "killed"), instance, lease=True)
        wait_until(lambda: lease_has_ended(engine, "killed"), "its lease ends", timeout=20)
        take_over(engine, "next", instance)
    died = job_of(engine, "killed")
    assert (died.status, died.error_code) == ("FAILED", "run_died")


def test_a_process_that_was_stopped_for_longer_than_its_lease_ends_and_writes_nothing(
    url: str, engine: sa.Engine, instance: dg.DagsterInstance
) -> None:
    with running(url, "zombie") as zombie:
        zombie.popen.send_signal(signal.SIGSTOP)
        assert is_alive(job_of(engine, "zombie"), instance, lease=leases.is_live(engine, "zombie"))
        wait_until(lambda: lease_has_ended(engine, "zombie"), "its lease ends", timeout=20)
        claim = take_over(engine, "next", instance)
        leased_run.written(engine, claim)
        assert zombie.popen.stdin is not None
        zombie.popen.stdin.write("write\n")
        zombie.popen.stdin.flush()
        zombie.popen.send_signal(signal.SIGCONT)
        code, said = zombie.ended()
    assert (code, said.count("has lost its lease")) == (EX_TEMPFAIL, 1)
    assert names(engine) == ["next"]
    assert [job_of(engine, run_id).status for run_id in ("zombie", "next")] == [
        "FAILED",
        "SUCCEEDED",
    ]


def test_a_process_that_is_cut_off_for_less_than_its_lease_works_on_and_for_longer_ends_itself(
    url: str, engine: sa.Engine
) -> None:
    port = sa.make_url(url).port
    assert port is not None
    with CutLine(port) as line, running(with_port(url, line.port), "cut") as run:
        line.cut()
        time.sleep(LEASE_S / 2)
        line.mend()
        time.sleep(LEASE_S)
        assert leases.is_live(engine, "cut")
        line.cut()
        before = time.monotonic()
        code, said = run.ended()  # nobody tells it
        assert time.monotonic() - before < LEASE_S + 2
        assert (code, said.count("could not be renewed for 3 s")) == (EX_TEMPFAIL, 1)
        line.mend()
        assert leases.is_live(engine, "cut") is False
    assert names(engine) == []


def test_a_machine_whose_clock_is_an_hour_off_holds_its_lease_and_loses_it_as_others_do(
    url: str, engine: sa.Engine
) -> None:
    with running(url, "ahead", "1") as run:
        time.sleep(LEASE_S + BEAT_S)
        assert leases.is_live(engine, "ahead")
        started = job_of(engine, "ahead").started_at
        assert started is not None
        assert abs(DatabaseClock(engine, SystemClock()).now() - started).total_seconds() < 60
        assert run.write() == "staged"
        run.popen.kill()
        wait_until(lambda: lease_has_ended(engine, "ahead"), "its lease ends", timeout=20)
    assert names(engine) == ["ahead"]


@pytest.mark.namespaces
def test_of_a_run_in_a_container_of_this_hosts_name_and_boot_the_lease_decides(
    database_url: str, instance: dg.DagsterInstance
) -> None:
    owner = create_engine(database_url)
    migrate(owner)
    owner.dispose()
    engine = create_engine(url := as_worker(database_url))
    container = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with running(url, "contained", under=container) as run:
        theirs, ours = (name.split(" ")[0].split("/") for name in (run.worker, worker()))
        assert theirs[:2] == ours[:2]
        assert theirs[2] != ours[2]
        holder = job_of(engine, "contained")
        assert is_alive(holder, instance, lease=leases.is_live(engine, "contained"))
        run.popen.kill()
        wait_until(lambda: lease_has_ended(engine, "contained"), "its lease ends", timeout=20)
        take_over(engine, "next", instance)
    assert job_of(engine, "contained").error_code == "run_died"
    engine.dispose()


@pytest.mark.namespaces
def test_a_run_on_a_host_of_another_name_is_alive_for_as_long_as_its_lease(
    url: str, engine: sa.Engine, instance: dg.DagsterInstance
) -> None:
    host = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
    rename = ["sh", "-c", 'hostname another-host && exec "$@"', "sh"]
    with running(url, "elsewhere", under=[*host, *rename]) as run:
        assert run.worker.startswith("another-host/")
        holder = job_of(engine, "elsewhere")
        assert is_alive(holder, instance, lease=leases.is_live(engine, "elsewhere"))
        assert run.write() == "staged"


def test_a_run_that_ends_releases_its_lease_and_loses_nothing(engine: sa.Engine) -> None:
    lost: list[str] = []
    heartbeat = Heartbeat(engine, "run", beat_s=0.05, lease_s=LEASE_S, on_lost=lost.append)
    heartbeat.begin()
    beats = set()
    for _ in range(10):
        time.sleep(0.1)
        with engine.connect() as connection:
            beats.add(connection.execute(sa.select(run_lease.c.beat_at)).scalar_one())
    assert len(beats) > 3
    heartbeat.end()
    assert leases.all_live(engine) == {}
    time.sleep(0.2)
    assert lost == []


def test_a_lease_that_is_revoked_or_taken_is_lost_at_the_next_beat(engine: sa.Engine) -> None:
    lost: list[str] = []
    first = Heartbeat(engine, "run", beat_s=0.05, lease_s=LEASE_S, on_lost=lost.append)
    first.begin()
    second = Heartbeat(engine, "run", beat_s=0.05, lease_s=LEASE_S, on_lost=lost.append)
    second.begin()
    wait_until(lambda: len(lost) == 1, "the first one has lost it", every=0.05)
    assert leases.is_live(engine, "run")
    leases.revoke(engine, "run")
    wait_until(lambda: len(lost) == 2, "the second one has lost it", every=0.05)
    assert all("Run run has lost its lease" in reason for reason in lost)
