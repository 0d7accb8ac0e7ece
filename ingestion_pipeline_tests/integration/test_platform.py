"""The platform's processes, asked over HTTP and killed in the middle of their work.

Whatever happens to them, each job comes to an end by itself, and what the ledger says of it is what
the database holds.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import sqlalchemy as sa

from ingestion_pipeline.dagster_runtime.liveness import WORKER_TAG
from ingestion_pipeline_tests.support.overpass_server import OverpassServer
from ingestion_pipeline_tests.support.platform_jobs import (
    FIRST_DAY,
    IN_THE_END_S,
    TOWNS,
    Upstream,
    assert_all_staged,
    assert_all_staged_by_one_run_each,
    assert_true,
    enqueue,
    green_runs,
    jobs_of,
    running,
    runs_for,
    slices_locked,
    until_all_ended,
)
from testbed.platform_processes import DagsterRun, Platform, running_platform, wait_until
from testbed.towns import town

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from testbed.platform_processes import Name

pytestmark = pytest.mark.timeout(1800)

FETCHES = 4
"""How many runs may fetch at a time: no two wait for each other, but where a test is of that."""

LEASE_S = 30
"""Longer than PostgreSQL is gone in one of the tests."""

ENQUEUE = "/v1/admin/ingestion/osm/enqueue"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("platform")


@pytest.fixture(scope="module")
def upstream(folder: Path) -> Upstream:
    return Upstream(folder / "extracts")


@pytest.fixture(scope="module")
def platform(folder: Path, upstream: Upstream) -> Iterator[Platform]:
    towns = [town(0, osm_source="overpass"), *(town(number) for number in TOWNS)]
    with (
        OverpassServer(upstream) as server,
        running_platform(
            folder,
            towns=towns,
            OVERPASS_URL=server.url,
            PARTITIONS_START=str(FIRST_DAY),
            HEARTBEAT_SECONDS="5",
            LEASE_SECONDS=str(LEASE_S),
        ) as platform,
    ):
        platform.allow_fetches(FETCHES)
        yield platform


def today() -> date:
    return datetime.now(UTC).date()


# Asked over HTTP


def test_a_job_that_is_asked_for_over_http_comes_to_be_done(
    platform: Platform, upstream: Upstream
) -> None:
    (day,) = upstream.new_days(1)
    asked = time.monotonic()
    reply = platform.api.post(ENQUEUE, json={"city_slug": "town-1", "day": str(day)})
    assert time.monotonic() - asked < 2
    assert reply.status_code == 202
    job = reply.json()
    assert job["status"] == "PENDING"
    with slices_locked(platform):
        wait_until(lambda: runs_for(platform, job["job_id"]), "Dagster has a run")
        wait_until(lambda: told(platform, job)["status"] == "RUNNING", "it is said to run")
    wait_until(lambda: told(platform, job)["status"] == "SUCCEEDED", "it is said to be done")
    (row,) = jobs_of(platform, [job["job_id"]])
    assert told(platform, job)["counts"] == {"sources": {}, "failed": {}, **(row.counts or {})}
    assert_all_staged_by_one_run_each(platform, [row.id])


def told(platform: Platform, job: Mapping[str, Any]) -> Any:
    """Give what the API says of a job now."""
    reply = platform.api.get(job["links"]["self"])
    assert reply.status_code == 200
    return reply.json()


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 401), ({"X-Admin-Token": "wrong"}, 403)], ids=["none", "wrong"]
)
def test_who_has_no_good_token_starts_nothing(
    platform: Platform, headers: dict[str, str], status: int
) -> None:
    before = len(platform.ledger())
    reply = httpx.post(
        platform.api.base_url.join(ENQUEUE), headers=headers, json={"city_slug": "town-1"}
    )
    assert reply.status_code == status
    assert len(platform.ledger()) == before


def test_a_thousand_calls_for_one_key_over_50_connections_make_one_job_and_one_run(
    platform: Platform, upstream: Upstream
) -> None:
    wanted = {"city_slug": "town-0", "refetch": True}

    def call_20_times(_: int) -> list[httpx.Response]:
        with platform.new_client() as client:
            return [client.post(ENQUEUE, json=wanted) for _ in range(20)]

    with upstream.shut(), ThreadPoolExecutor(50) as callers:
        replies = [reply for some in callers.map(call_20_times, range(50)) for reply in some]
        (job_id,) = {reply.json()["job_id"] for reply in replies}
        wait_until(upstream.asked.is_set, "the run asks upstream")
    assert Counter(reply.status_code for reply in replies) == {202: 1, 200: 999}
    assert_all_staged_by_one_run_each(platform, [job_id])


# One process is killed


def test_a_daemon_that_is_killed_again_and_again_loses_and_doubles_no_job(
    platform: Platform, upstream: Upstream
) -> None:
    ids = enqueue(platform, upstream.new_days(10))
    chance = random.Random(20261122)
    for _ in range(5):
        time.sleep(chance.uniform(0.5, 8))
        platform.kill("daemon")
        platform.start("daemon")
    jobs = assert_all_staged(platform, ids)
    green = green_runs(platform)
    for job in jobs:
        assert job.attempt == 1
        assert job.dagster_run_id in green
        of_the_job = platform.dagster_runs(**{"ingestion/run_id": job.id})
        # A daemon that dies while it launches a run leaves one that never starts and is retried.
        assert sum("dagster/retry_number" not in run.tags for run in of_the_job) == 1
        # Dagster commits a run before its tags. A daemon that dies in between leaves one that is
        # not found by them, and so has another made, for which nothing is left to do.
        assert len(green & {run.run_id for run in of_the_job}) == 1


def test_a_run_that_a_dying_daemon_left_without_tags_gets_a_twin_with_nothing_to_do(
    platform: Platform, upstream: Upstream
) -> None:
    with slices_locked(platform):
        busy = enqueue(platform, upstream.new_days(AT_ONCE), [1])
        wait_until(lambda: len(running(platform, busy)) == AT_ONCE, "no other run may begin")
        (job_id,) = enqueue(platform, upstream.new_days(1), [2])
        wait_until(lambda: runs_for(platform, job_id), "its run is queued")
        (without,) = runs_for(platform, job_id)
        forget_tags(platform, without)
        wait_until(lambda: runs_for(platform, job_id), "the sensor has another one made")
        (twin,) = runs_for(platform, job_id)
    assert twin != without
    assert_all_staged(platform, [*busy, job_id])
    assert {without, twin} <= green_runs(platform)
    (job,) = jobs_of(platform, [job_id])
    assert (job.attempt, job.dagster_run_id) == (1, without)


AT_ONCE = 4
"""How many runs the shipped settings let work at the same time."""


def forget_tags(platform: Platform, run_id: str) -> None:
    """Leave a run as Dagster has it between two commits: written down, but not yet its tags."""
    engine = sa.create_engine(platform.environment["DAGSTER_STORAGE_URL"])
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM run_tags WHERE run_id = :run"), {"run": run_id})
    engine.dispose()


SENSOR_THAT_DIES = """
import logging, signal, sys, time
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.sensor import execute_sensor_iteration

_, workspace, moment = sys.argv
flags = {"admin_trigger_sensor": {moment: signal.SIGKILL}}
with (
    DagsterInstance.get() as instance,
    WorkspaceProcessContext(instance, WorkspaceFileTarget([workspace])) as context,
):
    while True:
        log = logging.getLogger()
        for _ in execute_sensor_iteration(context, log, None, None, debug_crash_flags=flags):
            pass
        time.sleep(1)
"""
"""Evaluates sensors as the daemon does, and dies at a moment of a tick that Dagster names."""

MOMENTS = ("TICK_CREATED", "TICK_HELD", "RUN_CREATED", "RUN_LAUNCHED")
"""From before the sensor is asked until it has been, and its cursor is not yet stored."""


def test_a_sensor_that_dies_between_its_yield_and_its_cursor_loses_and_doubles_no_job(
    platform: Platform, upstream: Upstream
) -> None:
    platform.stop("daemon")
    ids = []
    for moment, day in zip(MOMENTS, upstream.new_days(len(MOMENTS)), strict=True):
        ids += enqueue(platform, [day])
        died = subprocess.run(
            [sys.executable, "-c", SENSOR_THAT_DIES, platform.folder / "workspace.yaml", moment],
            env=platform.environment,
            timeout=IN_THE_END_S,
            check=False,
        )
        assert died.returncode == -signal.SIGKILL, moment
    platform.start("daemon")
    assert_all_staged_by_one_run_each(platform, ids)


def test_a_run_worker_that_is_killed_while_it_fetches_is_followed_by_another(
    platform: Platform, upstream: Upstream
) -> None:
    with upstream.shut():
        ids = enqueue(platform, [today()], [0], refetch=True)
        wait_until(upstream.asked.is_set, "the run asks upstream")
        (job,) = running(platform, ids)
        platform.kill_worker(job.worker)
    (job,) = assert_all_staged(platform, ids)
    assert job.attempt == 2


def test_a_run_worker_that_is_killed_while_it_waits_for_its_turn_is_followed_by_another(
    platform: Platform, upstream: Upstream
) -> None:
    platform.allow_fetches(1)
    try:
        with upstream.shut():
            first = enqueue(platform, [today()], [0], refetch=True)
            wait_until(upstream.asked.is_set, "a run asks upstream")
            ids = enqueue(platform, upstream.new_days(1), [1])
            (waiting,) = wait_until(partial(started, platform, ids), "another waits for its turn")
            platform.kill_worker(waiting.tags[WORKER_TAG])
            assert not running(platform, ids)
            wait_until(lambda: len(runs_for(platform, *ids)) == 2, "there is another run")
        assert_all_staged(platform, [*first, *ids])
    finally:
        platform.allow_fetches(FETCHES)


def started(platform: Platform, ids: Sequence[str]) -> list[DagsterRun]:
    """Give the runs of jobs that Dagster has started, and that have named their process."""
    found = [run for job in ids for run in platform.dagster_runs(**{"ingestion/run_id": job})]
    return [run for run in found if run.status == "STARTED" and WORKER_TAG in run.tags]


def test_a_run_worker_that_is_killed_while_it_writes_leaves_no_row_and_is_followed_by_another(
    platform: Platform, upstream: Upstream
) -> None:
    (day,) = upstream.new_days(1)
    with slices_locked(platform):
        ids = enqueue(platform, [day], [1])
        wait_until(partial(somebody_waits, platform), "the run writes")
        (job,) = running(platform, ids)
        platform.kill_worker(job.worker)
    (job,) = assert_all_staged(platform, ids)
    assert job.attempt == 2


def test_a_run_worker_that_is_stopped_is_killed_and_followed_by_another(
    platform: Platform, upstream: Upstream
) -> None:
    platform.allow_fetches(1)  # which the stopped one holds
    try:
        with upstream.shut():
            ids = enqueue(platform, [today()], [0], refetch=True)
            wait_until(upstream.asked.is_set, "the run asks upstream")
            (job,) = running(platform, ids)
            stopped = platform.stop_worker(job.worker)
            wait_until(
                lambda: len(runs_for(platform, *ids)) == 2, "another follows", timeout=5 * LEASE_S
            )
            assert not stopped.is_running()  # it held the lock of the server
        (job,) = assert_all_staged(platform, ids)
        assert job.attempt == 2
        (job_id,) = ids
        followed = platform.dagster_runs(**{"ingestion/run_id": job_id})
        assert sorted(run.status for run in followed) == ["FAILURE", "SUCCESS"]
    finally:
        platform.allow_fetches(FETCHES)


def somebody_waits(platform: Platform) -> bool:
    """Tell whether a run waits to record its slice."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND query ILIKE '%staged_partition%'"
    )
    with platform.engine.connect() as connection:
        return bool(connection.execute(waiting).scalar_one())


@pytest.mark.parametrize("names", [["webserver"], ["code-server", "daemon"]], ids="+".join)
def test_jobs_under_way_outlive_what_started_them(
    platform: Platform, upstream: Upstream, names: list[Name]
) -> None:
    ids = enqueue(platform, upstream.new_days(2))
    wait_until(lambda: running(platform, ids), "one is under way")
    platform.kill(*names)
    time.sleep(3)
    platform.start(*names)
    assert_all_staged(platform, ids)


def test_processes_that_are_asked_to_end_leave_active_runs_to_finish(
    platform: Platform, upstream: Upstream
) -> None:
    with slices_locked(platform):
        ids = enqueue(platform, upstream.new_days(1))
        wait_until(lambda: len(running(platform, ids)) == len(ids), "all are under way")
        platform.stop("api", "daemon", "webserver", "code-server")
        assert len(running(platform, ids)) == len(ids)
    wait_until(lambda: not running(platform, ids), "they have ended", timeout=IN_THE_END_S)
    platform.start("code-server")
    platform.start("webserver", "daemon", "api")
    assert_all_staged_by_one_run_each(platform, ids)


def test_queued_runs_wait_for_a_code_server_that_is_away(
    platform: Platform, upstream: Upstream
) -> None:
    days = upstream.new_days(3)
    for day in days:
        platform.launch("town-1", str(day))
    platform.kill("code-server")
    time.sleep(15)
    platform.start("code-server")
    wait_until(
        lambda: all(run.is_finished for run in platform.dagster_runs()),
        "all runs have ended",
        timeout=IN_THE_END_S,
    )
    jobs = [job for job in platform.ledger("town-1") if job.day in days]
    assert sorted(job.day for job in jobs if job.status == "SUCCEEDED") == days
    assert_true(platform, jobs)


def test_whoever_asked_an_api_that_was_killed_asks_again_and_gets_the_same_jobs(
    platform: Platform, upstream: Upstream
) -> None:
    days = upstream.new_days(2)
    wanted = [{"city_slug": f"town-{number}", "day": str(day)} for number in TOWNS for day in days]
    killed = threading.Event()

    before: list[set[str]] = [set() for _ in wanted]

    def ask_until_it_dies(body: dict[str, str], got: set[str]) -> None:
        """Ask over and over; add the jobs of the replies that came."""
        with platform.new_client() as client:
            try:
                while not killed.is_set():
                    got.add(client.post(ENQUEUE, json=body).json()["job_id"])
            except httpx.TransportError:
                pass

    platform.stop("daemon")
    with ThreadPoolExecutor(len(wanted)) as callers:
        asking = [
            callers.submit(ask_until_it_dies, *each) for each in zip(wanted, before, strict=True)
        ]
        wait_until(lambda: all(before), "everybody has had an answer")
        platform.kill("api")
        killed.set()
        for call in asking:
            call.result()
    platform.start("api")
    with platform.new_client() as client:
        after = [client.post(ENQUEUE, json=body).json()["job_id"] for body in wanted]
    assert before == [{job_id} for job_id in after]
    platform.start("daemon")
    assert_all_staged_by_one_run_each(platform, after)


# Everything


def test_when_postgresql_is_gone_for_20_seconds_every_job_comes_to_a_true_end(
    platform: Platform, upstream: Upstream
) -> None:
    ids = enqueue(platform, upstream.new_days(3))
    wait_until(lambda: running(platform, ids), "one is under way")
    platform.postgres.stop()
    time.sleep(20)
    platform.postgres.start()
    wait_until(partial(answers, platform), "the webserver has thrown its connections away")
    assert_true(platform, until_all_ended(platform, ids))
    (day,) = upstream.new_days(1)
    reply = platform.api.post(ENQUEUE, json={"city_slug": "town-1", "day": str(day)})
    assert reply.status_code == 202
    assert_all_staged_by_one_run_each(platform, [reply.json()["job_id"]])


def answers(platform: Platform) -> bool:
    """Tell whether Dagster's webserver can read its database."""
    try:
        platform.dagster_runs()
    except (httpx.HTTPError, AssertionError):
        return False
    return True


def test_when_the_whole_machine_dies_every_job_is_done_after_it_has_started_again(
    platform: Platform, upstream: Upstream
) -> None:
    ids = enqueue(platform, upstream.new_days(2))
    wait_until(lambda: running(platform, ids), "one is under way")
    platform.crash()
    platform.boot()
    assert_all_staged(platform, ids)
