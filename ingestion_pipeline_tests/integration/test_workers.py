"""Runs in two workers of Celery, with a Redis between, and what happens when either is lost."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import yaml

from ingestion_pipeline.dagster_runtime.liveness import WORKER_TAG
from ingestion_pipeline_tests.support.overpass_server import OverpassServer
from ingestion_pipeline_tests.support.platform_jobs import (
    FIRST_DAY,
    TOWNS,
    Upstream,
    assert_all_staged,
    assert_all_staged_by_one_run_each,
    assert_true,
    enqueue,
    jobs_of,
    running,
    slices_locked,
    until_all_ended,
)
from testbed.platform_processes import (
    DEPLOY,
    WORKERS,
    DagsterRun,
    Platform,
    running_platform,
    wait_until,
)
from testbed.towns import town

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.timeout(900)

START_TIMEOUT_S = 60
"""After it, a run that was sent and has not started is lost; 600 in `deploy/`."""

CANCEL_TIMEOUT_S = 10
"""After it, a canceled run that no worker has ended is canceled by Dagster; 60 in `deploy/`."""

AT_ONCE = 4
"""How many runs the two workers execute at a time."""


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    return Upstream(tmp_path_factory.mktemp("workers") / "platform" / "extracts")


@pytest.fixture(scope="module")
def platform(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = upstream.extracts.parent
    configuration = yaml.safe_load((DEPLOY / "celery" / "dagster.yaml").read_text())
    configuration["run_monitoring"] |= {
        "start_timeout_seconds": START_TIMEOUT_S,
        "cancel_timeout_seconds": CANCEL_TIMEOUT_S,
    }
    ours = tmp_path_factory.mktemp("configuration") / "dagster.yaml"
    ours.write_text(yaml.safe_dump(configuration))
    towns = [town(0, osm_source="overpass"), *(town(number) for number in TOWNS)]
    with (
        OverpassServer(upstream) as server,
        running_platform(
            folder,
            towns=towns,
            dagster_yaml=ours,
            workers=True,
            OVERPASS_URL=server.url,
            PARTITIONS_START=str(FIRST_DAY),
        ) as platform,
    ):
        platform.allow_fetches(AT_ONCE)
        yield platform


def runs_of(platform: Platform, job_id: str) -> list[DagsterRun]:
    return platform.dagster_runs(**{"ingestion/run_id": job_id})


def test_two_workers_execute_the_jobs_each_in_a_process_of_its_own(
    platform: Platform, upstream: Upstream
) -> None:
    ids = enqueue(platform, upstream.new_days(2))
    assert_all_staged_by_one_run_each(platform, ids)
    processes = {job.worker for job in jobs_of(platform, ids)}
    assert len(processes) == len(ids)
    for name in WORKERS:
        assert "Task execute_job" in platform.programs[name].log.read_text()
    for job in jobs_of(platform, ids):
        (run,) = runs_of(platform, job.id)
        assert run.tags[WORKER_TAG] == job.worker


def test_no_run_waits_behind_one_worker_s_runs_while_the_other_is_idle(
    platform: Platform, upstream: Upstream
) -> None:
    _, second = WORKERS
    platform.kill(second)
    with slices_locked(platform):
        ids = enqueue(platform, upstream.new_days(2))
        wait_until(lambda: len(running(platform, ids)) == AT_ONCE // 2, "one worker has its runs")
        wait_until(lambda: "QUEUED" not in statuses_of(platform, ids), "all have been sent")
        platform.start(second)
        wait_until(lambda: len(running(platform, ids)) == AT_ONCE, "the other has the others")
    assert_all_staged_by_one_run_each(platform, ids)


def test_a_job_that_is_canceled_over_http_ends_so_and_is_not_tried_again(
    platform: Platform, upstream: Upstream
) -> None:
    # It must not write yet: then the request would have to wait for its transaction.
    with upstream.shut():
        (job_id,) = enqueue(platform, [datetime.now(UTC).date()], [0])
        wait_until(upstream.asked.is_set, "it asks upstream")
        assert platform.api.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    (job,) = until_all_ended(platform, [job_id])
    assert job.status == "CANCELED"
    assert_true(platform, [job])
    assert len(runs_of(platform, job_id)) == 1


def test_a_run_that_is_terminated_in_dagster_is_canceled(
    platform: Platform, upstream: Upstream
) -> None:
    with slices_locked(platform):
        (job_id,) = enqueue(platform, upstream.new_days(1), [1])
        wait_until(lambda: running(platform, [job_id]), "it is under way")
        platform.terminate(runs_of(platform, job_id)[0].run_id)
        (job,) = until_all_ended(platform, [job_id])  # while the lock is still held
    assert job.status == "CANCELED"
    assert_true(platform, [job])
    assert [run.status for run in runs_of(platform, job_id)] == ["CANCELED"]


def test_a_run_whose_process_is_killed_is_launched_again(
    platform: Platform, upstream: Upstream
) -> None:
    with slices_locked(platform):
        (job_id,) = enqueue(platform, upstream.new_days(1), [1])
        wait_until(lambda: running(platform, [job_id]), "it is under way")
        wait_until(lambda: jobs_of(platform, [job_id])[0].worker, "its process is known")
        (killed,) = jobs_of(platform, [job_id])
        platform.kill_worker(killed.worker)
    (job,) = assert_all_staged(platform, [job_id])
    assert job.worker != killed.worker
    assert len(runs_of(platform, job_id)) == 2


def test_a_job_that_is_canceled_before_a_worker_takes_its_run_stages_nothing(
    platform: Platform, upstream: Upstream
) -> None:
    with no_workers(platform):
        (job_id,) = enqueue(platform, upstream.new_days(1), [1])
        wait_until(lambda: statuses_of(platform, [job_id]) == ["STARTING"], "it has been sent")
        canceled = platform.api.post(f"/v1/jobs/{job_id}/cancel")
        assert canceled.json()["status"] == "CANCELED"
    # The workers have taken it from Redis by then.
    assert_all_staged(platform, enqueue(platform, upstream.new_days(1), [1]))
    (job,) = until_all_ended(platform, [job_id])
    assert job.status == "CANCELED"
    assert_true(platform, [job])
    assert len(runs_of(platform, job_id)) == 1


def test_an_emptied_redis_loses_no_job(platform: Platform, upstream: Upstream) -> None:
    with no_workers(platform):
        ids = enqueue(platform, upstream.new_days(1))
        wait_until(
            lambda: statuses_of(platform, ids) == ["STARTING"] * 2, "both runs have been sent"
        )
        platform.kill("redis")
        platform.start("redis")
    assert_all_staged(platform, ids)


@contextmanager
def no_workers(platform: Platform) -> Iterator[None]:
    """Leave what is sent in Redis for a while."""
    platform.kill(*WORKERS)
    yield
    platform.start(*WORKERS)


def statuses_of(platform: Platform, ids: Sequence[str]) -> list[str]:
    return [run.status for job_id in ids for run in runs_of(platform, job_id)]


def test_redis_that_is_restarted_does_not_end_active_runs(
    platform: Platform, upstream: Upstream
) -> None:
    with slices_locked(platform):
        ids = enqueue(platform, upstream.new_days(1))
        wait_until(lambda: len(running(platform, ids)) == len(ids), "both are under way")
        platform.kill("redis")
        time.sleep(2)
        platform.start("redis")
    assert_all_staged_by_one_run_each(platform, ids)
    # The workers take runs again.
    assert_all_staged(platform, enqueue(platform, upstream.new_days(1)))


def test_a_worker_that_is_asked_to_end_finishes_its_runs_and_takes_no_other(
    platform: Platform, upstream: Upstream
) -> None:
    first, second = WORKERS
    with slices_locked(platform):
        ids = enqueue(platform, upstream.new_days(2))
        wait_until(lambda: len(running(platform, ids)) == AT_ONCE, "all are under way")
        platform.programs[first].terminate()
        later = enqueue(platform, upstream.new_days(1))
        time.sleep(3)
        assert platform.programs[first].runs
    assert_all_staged_by_one_run_each(platform, ids)
    assert_all_staged(platform, later)
    wait_until(lambda: not platform.programs[first].runs, "it has ended")
    assert platform.programs[second].runs
    platform.start(first)
