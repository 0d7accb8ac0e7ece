"""The platform on three hosts that are killed and cut off, and what two workers are worth.

`make test-hosts` runs these tests, which take an hour; other runs leave them out. They need root,
because a host is made of Linux namespaces. `HOSTS_FAULTS` is the number of faults, `HOSTS_SEED` the
seed that gives their order, `HOSTS_CITIES`, `HOSTS_DAYS` and `HOSTS_WAIT_S` the size of the other
test. What they measure is printed, and left in the folder of artifacts.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa
import yaml

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
    from collections.abc import Sequence
    from datetime import date

    from ingestion_pipeline.staging import runs

pytestmark = [pytest.mark.hosts, pytest.mark.timeout(0)]

CITIES = int(os.environ.get("HOSTS_CITIES", "20"))
DAYS = int(os.environ.get("HOSTS_DAYS", "5"))
WAIT_S = float(os.environ.get("HOSTS_WAIT_S", "15"))
"""How long the server of extracts waits before it sends one."""

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


def days_from(number: int) -> list[date]:
    return [FIRST_DAY + timedelta(days=number + each) for each in range(DAYS)]


def by_host(jobs: Sequence[runs.Run]) -> Counter[str]:
    return Counter((job.worker or "").partition("/")[0] for job in jobs)


def timed(fleet: Fleet, days: Sequence[date], jobs: int) -> tuple[float, Counter[str]]:
    """Wait for the jobs of days; return how long they worked together, and how many each host."""
    until_all_ended(fleet)
    done = [job for job in assert_right(fleet.platform.engine, range(CITIES)) if job.day in days]
    assert len(done) == jobs
    assert {job.status for job in done} == {"SUCCEEDED"}
    starts = [job.started_at for job in done if job.started_at is not None]
    ends = [job.finished_at for job in done if job.finished_at is not None]
    return (max(ends) - min(starts)).total_seconds(), by_host(done)


def test_two_workers_share_the_work_of_the_sensor_and_of_a_backfill(
    tmp_path: Path, artifacts: Path
) -> None:
    per_worker = 4
    jobs = CITIES * DAYS
    towns = list(range(CITIES))
    with running_fleet(
        tmp_path / "platform",
        towns=dict.fromkeys(towns, "extract"),
        dagster_yaml=configured(tmp_path, at_once=2 * per_worker),
        concurrency=per_worker,
    ) as fleet:
        fleet.extracts.wait_s = WAIT_S
        platform = fleet.platform
        platform.allow_fetches(2 * per_worker)
        lines = [f"{CITIES} cities x {DAYS} days, {WAIT_S:g} s of waiting for each"]

        def note(how: str, seconds: float, hosts: Counter[str], cpu_s: float) -> None:
            each = ", ".join(f"{name} {count}" for name, count in sorted(hosts.items()))
            lines.append(
                f"{how}: {seconds:.0f} s, {60 * jobs / seconds:.1f} city-days a minute, "
                f"{cpu_s / jobs:.2f} CPU s each ({each})"
            )

        cpu_s = platform.cpu_s
        enqueue(platform, days_from(0), towns)
        two, hosts = timed(fleet, days_from(0), jobs)
        note("the sensor, two workers", two, hosts, platform.cpu_s - cpu_s)
        assert min(hosts[name] for name in WORKERS) > jobs / 4

        cpu_s = platform.cpu_s
        partitions = [f"town-{town}|{day}" for town in towns for day in days_from(DAYS)]
        backfill = platform.backfill(partitions)
        wait_until(
            lambda: platform.backfill_status(backfill) == "COMPLETED_SUCCESS",
            "the backfill has ended",
            timeout=HOURS,
            every=2,
        )
        seconds, hosts = timed(fleet, days_from(DAYS), jobs)
        note("a backfill, two workers", seconds, hosts, platform.cpu_s - cpu_s)
        assert min(hosts[name] for name in WORKERS) > jobs / 4

        platform.programs["worker-2"].stop()
        cpu_s = platform.cpu_s
        enqueue(platform, days_from(2 * DAYS), towns)
        one, hosts = timed(fleet, days_from(2 * DAYS), jobs)
        note("the sensor, one worker", one, hosts, platform.cpu_s - cpu_s)
        assert set(hosts) == {"worker-1"}

        lines.append(f"two workers do {one / two:.2f} times the work of one")
        report(artifacts, "hosts-throughput.txt", "\n".join(lines))
        # Each extract came once.
        assert set(fleet.extracts.sent.values()) == {1}
        assert len(fleet.extracts.sent) == 3 * jobs


def test_no_job_is_lost_or_written_twice_whatever_is_killed_or_cut_off(
    tmp_path: Path, artifacts: Path
) -> None:
    print(f"HOSTS_SEED={SEED}")  # noqa: T201 - to run the same faults again
    per_worker = 3
    towns = {number: "overpass" if number % 2 else "extract" for number in range(8)}
    with running_fleet(
        tmp_path / "platform",
        towns=towns,
        dagster_yaml=configured(tmp_path, at_once=2 * per_worker),
        module=hurried_definitions.__name__,
        concurrency=per_worker,
        HEARTBEAT_SECONDS=str(HEARTBEAT_S),
        LEASE_SECONDS=str(LEASE_S),
        PYTHONPATH=str(CHECKOUT),
    ) as fleet:
        fleet.extracts.wait_s, fleet.overpass.delay_s = 3, 0.5
        platform = fleet.platform
        platform.allow_fetches(2 * per_worker)
        caller = Caller(fleet, list(towns), SEED, most_active=10)
        faults = Faults(fleet, SEED, lease_s=LEASE_S)
        began = time.monotonic()
        caller.start()
        try:
            wait_until(lambda: len(active(platform.engine)) > per_worker, "jobs are active")
            for number, kind in enumerate(faults.order(FAULTS), start=1):
                fault = faults.inject(kind)
                at = time.monotonic() - began
                print(f"{at:6.0f} s  {number} {kind}, {len(fault.hit)} jobs at work", flush=True)  # noqa: T201
                patiently(lambda: assert_right(platform.engine, list(towns)))
                assert fleet.overpass.most_at_once <= 1
        finally:
            caller.stop()
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
            f"refused by the API: {dict(caller.refused)}; started again: {dict(faults.restarted)}",
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
    with fleet.platform.engine.connect() as connection:
        for lease in (upstream_lease, upstream_waiter):
            assert connection.execute(sa.select(lease)).all() == []
        live = sa.select(run_lease).where(run_lease.c.expires_at > sa.func.clock_timestamp())
        assert connection.execute(live).all() == []
    slots = patiently(
        lambda: fleet.platform.graphql(
            "{ instance { __typename concurrencyLimits { concurrencyKey activeSlotCount } } }"
        )
    )
    held = {each["concurrencyKey"]: each["activeSlotCount"] for each in slots["concurrencyLimits"]}
    assert set(held.values()) <= {0}, held
