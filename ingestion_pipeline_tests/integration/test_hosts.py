"""The platform on three hosts that are killed and cut off, and what two workers are worth.

`make test-hosts` runs these tests, which take an hour; other runs leave them out. They need root,
because a host is made of Linux namespaces. `HOSTS_FAULTS` is the number of faults, `HOSTS_SEED` the
seed that gives their order, `HOSTS_CITIES`, `HOSTS_DAYS` and `HOSTS_WAIT_S` the size of the other
test. What they measure is printed, and left in the folder of artifacts.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import httpx
import pytest
import sqlalchemy as sa
import yaml

from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.tables import run_lease, upstream_lease, upstream_waiter
from ingestion_pipeline_tests.support import hurried_definitions
from ingestion_pipeline_tests.support.hosts_faults import Caller, Faults, active, patiently, table
from ingestion_pipeline_tests.support.hosts_work import (
    FIRST_DAY,
    Fleet,
    assert_right,
    running_fleet,
)
from ingestion_pipeline_tests.support.platform_jobs import enqueue
from testbed.platform_processes import DEPLOY, WORKERS, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(0)]

CITIES = int(os.environ.get("HOSTS_CITIES", "20"))
DAYS = int(os.environ.get("HOSTS_DAYS", "5"))
WAIT_S = float(os.environ.get("HOSTS_WAIT_S", "15"))
"""How long the server of extracts waits before it sends one."""

FEWER_DAYS = 2
"""The days that one worker alone does, at half the speed."""

PER_WORKER = 3
"""The runs at a time of a worker."""

FAULTS = int(os.environ.get("HOSTS_FAULTS", "100"))
SEED = int(os.environ.get("HOSTS_SEED") or random.randrange(10**6))

HEARTBEAT_S, LEASE_S = 4, 24
"""15 and 90 by default; shorter, so that a hundred faults take half an hour."""

START_TIMEOUT_S = 90
"""After it, a run that was sent and has not started is launched again; 600 in `deploy/`."""

CHECKOUT = Path(__file__).parents[2]
HOURS = 3600


def configured(folder: Path, *, at_once: int) -> Path:
    """Write the shipped dagster.yaml for so many runs at a time, and a shorter start timeout."""
    configuration = yaml.safe_load((DEPLOY / "celery" / "dagster.yaml").read_text())
    configuration["run_monitoring"]["start_timeout_seconds"] = START_TIMEOUT_S
    configuration["concurrency"]["runs"]["max_concurrent_runs"] = at_once
    path = folder / "dagster.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return path


def report(artifacts: Path, name: str, text: str) -> None:
    """Leave a text for people."""
    (artifacts / name).write_text(f"{text}\n")
    print(f"\n{text}")  # noqa: T201 - what was measured is the result


def until_all_ended(fleet: Fleet) -> None:
    """Wait until no job and no run of Dagster is active; while PostgreSQL fails over, ask again."""

    def idle() -> bool:
        try:
            finished = all(run.is_finished for run in fleet.platform.dagster_runs())
            return finished and not active(fleet.platform.engine)
        except (httpx.HTTPError, sa.exc.DBAPIError):
            return False

    wait_until(idle, "every job and run has ended", timeout=HOURS, every=2)


class Measured(NamedTuple):
    """How fast jobs were done."""

    how: str
    jobs: int
    seconds: float
    cpu_s: float
    hosts: Counter[str]

    @property
    def per_minute(self) -> float:
        return 60 * self.jobs / self.seconds

    def __str__(self) -> str:
        """Return a line for people."""
        hosts = ", ".join(f"{name} {count}" for name, count in sorted(self.hosts.items()))
        return (
            f"{self.how}: {self.jobs} city-days in {self.seconds:.0f} s, {self.per_minute:.1f} a "
            f"minute, {self.cpu_s / self.jobs:.2f} CPU s each ({hosts})"
        )


def measured(fleet: Fleet, how: str, days: Sequence[date], start: Callable[[], None]) -> Measured:
    """Start the jobs of days and wait for them; measure from the first start to the last end."""
    cpu_s = fleet.platform.cpu_s
    start()
    jobs = CITIES * len(days)

    def ended() -> bool:
        rows = [job for job in fleet.platform.ledger() if job.day in days]
        return len(rows) == jobs and not any(job.status in runs.ACTIVE for job in rows)

    wait_until(ended, "the jobs have ended", timeout=HOURS, every=1)
    until_all_ended(fleet)
    done = [job for job in assert_right(fleet.platform.engine, range(CITIES)) if job.day in days]
    assert {job.status for job in done} == {"SUCCEEDED"}
    starts = [job.started_at for job in done if job.started_at is not None]
    ends = [job.finished_at for job in done if job.finished_at is not None]
    seconds = (max(ends) - min(starts)).total_seconds()
    hosts = Counter((job.worker or "").partition("/")[0] for job in done)
    return Measured(how, jobs, seconds, fleet.platform.cpu_s - cpu_s, hosts)


def test_two_workers_share_the_work_of_the_sensor_and_of_a_backfill(
    tmp_path: Path, artifacts: Path
) -> None:
    first, second = WORKERS
    towns = list(range(CITIES))
    with running_fleet(
        tmp_path / "platform",
        towns=dict.fromkeys(towns, "extract"),
        dagster_yaml=configured(tmp_path, at_once=2 * PER_WORKER),
        concurrency=PER_WORKER,
    ) as fleet:
        fleet.extracts.wait_s = WAIT_S
        platform = fleet.platform
        platform.allow_fetches(2 * PER_WORKER)
        days = [FIRST_DAY + timedelta(days=number) for number in range(2 * DAYS + FEWER_DAYS)]
        by_sensor, by_backfill, alone = days[:DAYS], days[DAYS : 2 * DAYS], days[2 * DAYS :]

        def backfill() -> None:
            platform.backfill([f"town-{town}|{day}" for town in towns for day in by_backfill])

        two = measured(
            fleet, "sensor, two workers", by_sensor, lambda: _enqueue(fleet, by_sensor, towns)
        )
        platform.stop(second)
        one = measured(fleet, "sensor, one worker", alone, lambda: _enqueue(fleet, alone, towns))
        platform.start(second)
        filled = measured(fleet, "backfill, two workers", by_backfill, backfill)
        lines = [
            f"{CITIES} cities, a wait of {WAIT_S:g} s in each run, {PER_WORKER} runs per worker",
            *map(str, (two, one, filled)),
            f"two workers do {two.per_minute / one.per_minute:.2f} times the work of one",
        ]
        report(artifacts, "hosts-throughput.txt", "\n".join(lines))
        for shared in (two, filled):
            assert min(shared.hosts[name] for name in WORKERS) > shared.jobs / 4
        assert set(one.hosts) == {first}
        # Each extract came once.
        assert set(fleet.extracts.sent.values()) == {1}
        assert len(fleet.extracts.sent) == CITIES * len(days)


def _enqueue(fleet: Fleet, days: Sequence[date], towns: Sequence[int]) -> None:
    enqueue(fleet.platform, days, towns)


def test_no_job_is_lost_or_written_twice_whatever_is_killed_or_cut_off(
    tmp_path: Path, artifacts: Path
) -> None:
    print(f"HOSTS_SEED={SEED}")  # noqa: T201 - to run the same faults again
    towns = {number: "overpass" if number % 2 else "extract" for number in range(8)}
    with running_fleet(
        tmp_path / "platform",
        towns=towns,
        dagster_yaml=configured(tmp_path, at_once=2 * PER_WORKER),
        module=hurried_definitions.__name__,
        concurrency=PER_WORKER,
        HEARTBEAT_SECONDS=str(HEARTBEAT_S),
        LEASE_SECONDS=str(LEASE_S),
        PYTHONPATH=str(CHECKOUT),
    ) as fleet:
        fleet.extracts.wait_s, fleet.overpass.delay_s = 3, 0.5
        platform = fleet.platform
        platform.allow_fetches(2 * PER_WORKER)
        caller = Caller(fleet, list(towns), SEED, most_active=10)
        faults = Faults(fleet, SEED, lease_s=LEASE_S)
        began = time.monotonic()
        caller.start()
        try:
            wait_until(lambda: len(active(platform.engine)) > PER_WORKER, "jobs are active")
            for number, kind in enumerate(faults.order(FAULTS), start=1):
                fault = faults.inject(kind)
                at = time.monotonic() - began
                print(f"{at:6.0f} s  {number} {kind}, {len(fault.hit)} jobs at work", flush=True)  # noqa: T201
                patiently(lambda: assert_right(platform.engine, list(towns)))
                assert fleet.overpass.most_at_once <= 1
        finally:
            caller.stop()
            logs = artifacts / f"hosts-logs-{SEED}"
            shutil.copytree(platform.folder / "logs", logs, dirs_exist_ok=True)
        faults.end()
        for name in WORKERS:
            platform.wait_for(name, timeout=HOURS)
        until_all_ended(fleet)
        ended = {job.id: job for job in assert_right(platform.engine, list(towns))}
        minutes = (time.monotonic() - began) / 60
        failed = Counter(job.error_code for job in ended.values() if job.status == "FAILED")
        lines = [
            f"seed {SEED}: {len(faults.injected)} faults in {minutes:.0f} minutes",
            f"jobs: {dict(Counter(job.status for job in ended.values()))}",
            f"FAILED: {dict(failed)}",
            f"refused by the API: {dict(caller.refused)}",
            *(f"started again: {service}" for service in faults.restarted),
            "",
            table(faults.injected, ended),
        ]
        report(artifacts, f"hosts-faults-{SEED}.md", "\n".join(lines))
        assert set(caller.accepted) <= set(ended)
        for fault in faults.injected:
            if fault.kind == "job canceled":
                assert all(ended[job].status in {"CANCELED", "SUCCEEDED"} for job in fault.hit)
        assert_nothing_is_held(fleet)

        # What failed or was canceled is staged when it is asked for again.
        staged = {job.idempotency_key for job in ended.values() if job.status == "SUCCEEDED"}
        again = {job.idempotency_key: job for job in ended.values()}
        for key, job in again.items():
            if key not in staged:
                reply = platform.api.post(
                    "/v1/admin/ingestion/osm/enqueue",
                    json={"city_slug": job.city_slug, "day": str(job.day)},
                )
                assert reply.status_code == httpx.codes.ACCEPTED
        until_all_ended(fleet)
        jobs = assert_right(platform.engine, list(towns))
        done = {job.idempotency_key for job in jobs if job.status == "SUCCEEDED"}
        assert done == {job.idempotency_key for job in jobs}
        assert fleet.overpass.most_at_once == 1


def assert_nothing_is_held(fleet: Fleet) -> None:
    """Check that no lease of a run or of an upstream server, and no slot of a pool, is left."""
    now = sa.func.clock_timestamp()
    ends = (
        upstream_lease.c.leased_until,
        upstream_waiter.c.waits_until,
        run_lease.c.expires_at,
    )
    with fleet.platform.engine.connect() as connection:
        for end in ends:
            assert connection.execute(sa.select(end.table).where(end > now)).all() == []
    slots = patiently(
        lambda: fleet.platform.graphql(
            "{ instance { __typename concurrencyLimits { concurrencyKey activeSlotCount } } }"
        )
    )
    held = {each["concurrencyKey"]: each["activeSlotCount"] for each in slots["concurrencyLimits"]}
    assert set(held.values()) <= {0}, held
