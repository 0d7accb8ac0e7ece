"""The sweep: no job stays active whose run is over, and none is ended whose run is not."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, DagsterEventType, JobFailureData
from dagster._core.storage.tags import AUTO_RETRY_RUN_ID_TAG, WILL_RETRY_TAG

from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.dagster_runtime.liveness import WORKER_TAG, is_alive, worker
from ingestion_pipeline.dagster_runtime.private import MAX_RETRIES_TAG
from ingestion_pipeline.defs.reconcile import LONGEST_RUN, reconcile
from ingestion_pipeline.defs.work import RUN_ID_TAG
from ingestion_pipeline.staging import leases, runs
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    Installation,
    ScriptedClock,
    WrongClock,
    installed,
)
from testbed.towns import NOON, TOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ingestion_pipeline.core.identity import JobType
    from ingestion_pipeline_tests.support.installations import Install

STATUS = dg.DagsterRunStatus
ANOTHER_DAY = date(2024, 5, 1)
ELSEWHERE = "another-host/boot/4026531836 17 12.34"


@pytest.fixture
def here(install_town: Install) -> Installation:
    return install_town(clock=ScriptedClock(), partitions_start=date(2020, 1, 1))


OF_ANOTHER_VERSION: Any = "parks_import"
"""A type of job that this version does not have."""


def key_of(
    here: Installation,
    job_type: JobType = "osm_import",
    boundary: str = "",
    day: date = TODAY,
) -> JobKey:
    boundary = boundary or here.workshop.cities.get("town").boundary_key
    return JobKey(job_type, "town", boundary, day)


def enqueue(here: Installation, key: JobKey | None = None) -> runs.Run:
    return runs.enqueue(here.engine, key or key_of(here), trigger="admin", now=NOON)[0]


def dagster_run(
    here: Installation, status: dg.DagsterRunStatus, tags: Mapping[str, str] | None = None
) -> str:
    """Let Dagster know of a run, as it stands after whatever befell it."""
    run = here.instance.create_run_for_job(
        here.job(), status=status, tags={"dagster/partition": f"town|{TODAY}", **(tags or {})}
    )
    return run.run_id


def claim(
    here: Installation, dagster_run_id: str, worker_name: str, *, day: date = TODAY
) -> runs.Claim:
    held = runs.claim(
        here.engine,
        key_of(here, day=day),
        dagster_run_id=dagster_run_id,
        worker=worker_name,
        trigger="ui",
        is_alive=lambda _: True,
        now=here.workshop.clock.now(),
    )
    assert isinstance(held, runs.Claim)
    return held


def gone() -> str:
    """Name a process of this machine that is no more."""
    return " ".join((worker().split(" ")[0], "999999999", "1.00"))


def unreadable() -> str:
    """Give the name of a process of this machine, spoilt."""
    return " ".join((worker().split(" ")[0], "not-a-number", "1.00"))


def status_of(here: Installation, run_id: str) -> dg.DagsterRunStatus:
    """Tell how a run stands in Dagster."""
    run = here.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def sweep(here: Installation) -> runs.Run:
    """Sweep once, and give the only job there is."""
    reconcile(here.workshop, here.instance, after=None, limit=10)
    (job,) = here.ledger()
    return job


# Jobs that wait


def test_a_job_that_waits_for_its_run_is_left_alone(here: Installation) -> None:
    job = enqueue(here)
    assert sweep(here).status == "PENDING"
    dagster_run(here, STATUS.NOT_STARTED, {RUN_ID_TAG: job.id})
    assert sweep(here).status == "PENDING"


@pytest.mark.parametrize("key", ["job type", "boundary"])
def test_a_job_that_can_never_be_run_fails_with_the_reason(here: Installation, key: str) -> None:
    enqueue(
        here,
        key_of(here, OF_ANOTHER_VERSION)
        if key == "job type"
        else key_of(here, boundary="relation/1"),
    )
    job = sweep(here)
    assert (job.status, job.error_code) == ("FAILED", "no_such_job")
    assert (OF_ANOTHER_VERSION if key == "job type" else "relation/1") in (job.error_message or "")


def test_a_job_whose_runs_could_not_be_started_waits_until_its_deadline_and_then_fails(
    here: Installation,
) -> None:
    job = enqueue(here)
    dagster_run(here, STATUS.FAILURE, {RUN_ID_TAG: job.id})
    run_id = dagster_run(here, STATUS.FAILURE, {RUN_ID_TAG: job.id})
    assert sweep(here).status == "PENDING"
    here.workshop.clock.sleep(here.workshop.settings.start_deadline_minutes * 60)
    assert sweep(here).status == "PENDING"
    here.workshop.clock.sleep(1)
    job = sweep(here)
    assert (job.status, job.error_code) == ("FAILED", "never_started")
    assert run_id in (job.error_message or "")


def test_a_job_whose_run_was_canceled_in_the_queue_is_canceled(here: Installation) -> None:
    job = enqueue(here)
    dagster_run(here, STATUS.CANCELED, {RUN_ID_TAG: job.id})
    job = sweep(here)
    assert (job.status, job.error_code) == ("CANCELED", "interrupted")


def test_a_job_whose_run_dagster_will_start_again_waits_for_that(here: Installation) -> None:
    job = enqueue(here)
    dagster_run(here, STATUS.FAILURE, {RUN_ID_TAG: job.id, WILL_RETRY_TAG: "true"})
    again = dagster_run(here, STATUS.STARTING, {RUN_ID_TAG: job.id})
    assert sweep(here).status == "PENDING"
    here.instance.report_run_failed(here.instance.get_run_by_id(again))  # type: ignore[arg-type]
    here.workshop.clock.sleep(here.workshop.settings.start_deadline_minutes * 60 + 1)
    assert sweep(here).status == "FAILED"


def test_a_job_for_which_no_run_begins_in_time_fails(here: Installation) -> None:
    enqueue(here)
    deadline = here.workshop.settings.start_deadline_minutes * 60
    here.workshop.clock.sleep(deadline)
    assert sweep(here).status == "PENDING"
    here.workshop.clock.sleep(1)
    job = sweep(here)
    assert (job.status, job.error_code) == ("FAILED", "never_started")


def test_a_job_of_which_dagster_makes_no_run_fails_even_where_others_start(
    here: Installation,
) -> None:
    job = enqueue(here, key_of(here))
    here.workshop.clock.sleep(here.workshop.settings.start_deadline_minutes * 60 + 1)
    claim(here, dagster_run(here, STATUS.STARTED), worker(), day=ANOTHER_DAY)
    reconcile(here.workshop, here.instance, after=None, limit=10)
    ended = runs.get(here.engine, job.id)
    assert ended is not None
    assert (ended.status, ended.error_code) == ("FAILED", "never_started")


def test_a_job_whose_run_is_in_a_queue_that_moves_goes_on_waiting(here: Installation) -> None:
    job = enqueue(here, key_of(here))
    dagster_run(here, STATUS.NOT_STARTED, {RUN_ID_TAG: job.id})
    here.workshop.clock.sleep(here.workshop.settings.start_deadline_minutes * 60 + 1)
    claim(here, dagster_run(here, STATUS.STARTED), worker(), day=ANOTHER_DAY)
    reconcile(here.workshop, here.instance, after=None, limit=10)
    assert runs.get(here.engine, job.id) == job


# Jobs that are worked on


def test_all_running_jobs_are_looked_at_however_many_and_whatever_one_of_them_is(
    here: Installation,
) -> None:
    for number in range(7):
        run_id = dagster_run(here, STATUS.STARTED if number < 3 else STATUS.FAILURE)
        # Of the first three nobody can tell.
        claim(here, run_id, unreadable(), day=date(2024, 5, 1 + number))
    reconcile(here.workshop, here.instance, after=None, limit=2)
    assert [run.status for run in sorted(here.ledger(), key=lambda run: run.day)] == [
        *("RUNNING",) * 3,
        *("FAILED",) * 4,
    ]


def test_a_run_whose_process_lives_is_left_alone(here: Installation) -> None:
    claim(here, dagster_run(here, STATUS.STARTED), worker())
    assert sweep(here).status == "RUNNING"


@pytest.mark.parametrize(
    ("status", "ends"),
    [(STATUS.FAILURE, ("FAILED", "run_died")), (STATUS.CANCELED, ("CANCELED", "interrupted"))],
    ids=["failure", "canceled"],
)
def test_a_run_that_ended_in_dagster_ends_in_the_ledger(
    here: Installation, status: dg.DagsterRunStatus, ends: tuple[str, str]
) -> None:
    claim(here, dagster_run(here, status), worker())
    job = sweep(here)
    assert (job.status, job.error_code) == ends


def test_a_success_of_dagster_that_staged_nothing_is_none_in_the_ledger(here: Installation) -> None:
    claim(here, dagster_run(here, STATUS.SUCCESS), worker())
    job = sweep(here)
    assert (job.status, job.error_code) == ("FAILED", "run_died")


def test_a_run_whose_process_is_gone_ends_in_dagster_and_then_in_the_ledger(
    here: Installation,
) -> None:
    run_id = dagster_run(here, STATUS.STARTED, {WORKER_TAG: gone()})
    claim(here, run_id, gone())
    job = sweep(here)
    assert status_of(here, run_id) == STATUS.FAILURE
    assert (job.status, job.error_code) == ("FAILED", "run_died")


@pytest.mark.parametrize(
    ("status", "ends"),
    [(STATUS.STARTED, STATUS.FAILURE), (STATUS.CANCELING, STATUS.CANCELED)],
    ids=["started", "canceling"],
)
def test_a_run_whose_process_is_gone_before_it_claimed_anything_ends_in_dagster(
    here: Installation, status: dg.DagsterRunStatus, ends: dg.DagsterRunStatus
) -> None:
    lives = dagster_run(here, status, {WORKER_TAG: worker()})
    elsewhere = dagster_run(here, status, {WORKER_TAG: ELSEWHERE})
    nameless = dagster_run(here, status)
    first = dagster_run(here, status, {WORKER_TAG: gone()})
    spoilt = dagster_run(here, status, {WORKER_TAG: unreadable()})
    last = dagster_run(here, status, {WORKER_TAG: gone()})
    reconcile(here.workshop, here.instance, after=None, limit=10)
    left_alone = (lives, elsewhere, nameless, spoilt)
    assert [status_of(here, run) for run in left_alone] == [status] * len(left_alone)
    assert [status_of(here, run) for run in (first, last)] == [ends] * 2


def test_a_job_whose_run_lost_its_process_before_the_claim_waits_for_another_run(
    here: Installation,
) -> None:
    job = enqueue(here)
    run_id = dagster_run(here, STATUS.STARTED, {RUN_ID_TAG: job.id, WORKER_TAG: gone()})
    assert sweep(here).status == "PENDING"
    assert status_of(here, run_id) == STATUS.FAILURE
    here.workshop.clock.sleep(here.workshop.settings.start_deadline_minutes * 60 + 1)
    job = sweep(here)
    assert (job.status, job.error_code) == ("FAILED", "never_started")


@pytest.mark.parametrize("claimed", [False, True], ids=["waits", "runs"])
def test_a_job_is_not_ended_before_dagster_has_decided_whether_to_run_it_again(
    install_town: Install, *, claimed: bool
) -> None:
    here = install_town(clock=ScriptedClock(), partitions_start=date(2020, 1, 1), stored=True)
    job = enqueue(here)
    run_id = dagster_run(here, STATUS.STARTED, {RUN_ID_TAG: job.id})
    if claimed:
        claim(here, run_id, worker())
    before = here.ledger()
    failed = DagsterEvent(
        DagsterEventType.RUN_FAILURE.value,
        "osm_import",
        event_specific_data=JobFailureData(error=None),
    )
    here.instance.run_storage.handle_run_event(run_id, failed, NOON)
    assert status_of(here, run_id) == STATUS.FAILURE
    assert [sweep(here)] == before
    here.instance.add_run_tags(run_id, {WILL_RETRY_TAG: "false"})
    assert sweep(here).status == ("FAILED" if claimed else "PENDING")


def test_a_run_of_another_host_is_believed_to_live_while_dagster_says_so(
    here: Installation,
) -> None:
    run_id = dagster_run(here, STATUS.STARTED)
    claim(here, run_id, ELSEWHERE)
    assert sweep(here).status == "RUNNING"
    here.instance.report_run_failed(here.instance.get_run_by_id(run_id))  # type: ignore[arg-type]
    assert sweep(here).status == "FAILED"


def test_a_run_of_another_hosts_own_dagster_is_left_alone_for_a_day(here: Installation) -> None:
    claim(here, "unknown-here", ELSEWHERE)
    here.workshop.clock.sleep(LONGEST_RUN.total_seconds())
    assert sweep(here).status == "RUNNING"
    here.workshop.clock.sleep(1)
    job = sweep(here)
    assert (job.status, job.error_code) == ("FAILED", "run_died")


def test_a_jobs_run_that_dagster_starts_again_keeps_its_job(here: Installation) -> None:
    job = enqueue(here)
    first = dagster_run(here, STATUS.FAILURE, {RUN_ID_TAG: job.id, WILL_RETRY_TAG: "true"})
    claim(here, first, worker())
    again = dagster_run(here, STATUS.NOT_STARTED, {RUN_ID_TAG: job.id})
    here.instance.add_run_tags(first, {AUTO_RETRY_RUN_ID_TAG: again})
    assert sweep(here).status == "RUNNING"
    here.instance.report_run_failed(here.instance.get_run_by_id(again))  # type: ignore[arg-type]
    assert sweep(here).status == "FAILED"


def test_the_end_that_a_run_wrote_itself_stays(here: Installation) -> None:
    held = claim(here, dagster_run(here, STATUS.FAILURE), worker())
    runs.fail(here.engine, held, error_code="stale_upstream", error_message="old", now=NOON)
    assert sweep(here).error_code == "stale_upstream"


# Jobs that were asked to stop


def test_a_canceled_job_whose_run_is_over_is_canceled(here: Installation) -> None:
    held = claim(here, dagster_run(here, STATUS.FAILURE), worker())
    runs.request_cancel(here.engine, held.run_id, now=NOON + timedelta(seconds=1))
    job = sweep(here)
    assert (job.status, job.error_code) == ("CANCELED", "canceled")


def test_a_canceled_job_stays_active_while_its_process_lives(here: Installation) -> None:
    held = claim(here, dagster_run(here, STATUS.STARTED), worker())
    runs.request_cancel(here.engine, held.run_id, now=NOON)
    job = sweep(here)
    assert job.status == "RUNNING"
    assert job.cancel_requested_at == NOON


# Leases


@pytest.fixture
def server(tmp_path: Path, postgis_url: str) -> Iterator[Installation]:
    """An installation with leases, whose sweep is on a machine with a wrong clock."""
    by = WrongClock(timedelta(hours=-1))
    arguments: dict[str, Any] = {"cities": [TOWN], "partitions_start": date(2020, 1, 1)}
    with installed(tmp_path, postgis_url, stored=True, **arguments) as here:
        here.workshop.clock = by
        yield here


def lease(here: Installation, dagster_run_id: str, *, ended: bool = False) -> None:
    seconds = 0 if ended else 60
    leases.take(here.engine, dagster_run_id, token="of the run", seconds=seconds)


def claimed_elsewhere(
    here: Installation, *, ended: bool, job: runs.Run | None = None, known: bool = True
) -> str:
    """Let a run on another machine hold the key, with a lease; give the run's id."""
    tags = {WORKER_TAG: ELSEWHERE} | ({} if job is None else {RUN_ID_TAG: job.id})
    run_id = dagster_run(here, STATUS.STARTED, tags) if known else "of another Dagster"
    lease(here, run_id, ended=ended)
    claim(here, run_id, ELSEWHERE)
    return run_id


def test_runs_elsewhere_are_left_alone_while_they_have_a_lease_and_end_with_it(
    server: Installation,
) -> None:
    run_id = claimed_elsewhere(server, ended=False)
    waiting = dagster_run(server, STATUS.STARTED, {WORKER_TAG: ELSEWHERE})  # without a claim
    lease(server, waiting)
    assert sweep(server).status == "RUNNING"
    assert [status_of(server, each) for each in (run_id, waiting)] == [STATUS.STARTED] * 2
    for each in (run_id, waiting):
        lease(server, each, ended=True)
    server.instance.add_run_tags(run_id, {MAX_RETRIES_TAG: "0"})
    job = sweep(server)
    assert [status_of(server, each) for each in (run_id, waiting)] == [STATUS.FAILURE] * 2
    assert (job.status, job.error_code) == ("FAILED", "run_died")
    assert "its lease" in (job.error_message or "")
    assert not leases.renew(server.engine, waiting, token="of the run", seconds=60)


def test_the_slot_of_a_run_whose_lease_has_ended_is_free_at_once(server: Installation) -> None:
    storage = server.instance.event_log_storage
    storage.set_concurrency_slots("osm_upstream", 1)
    run_id = claimed_elsewhere(server, ended=True)
    next_id = dagster_run(server, STATUS.STARTED, {WORKER_TAG: worker()})
    assert storage.claim_concurrency_slot("osm_upstream", run_id, "osm_snapshot").is_claimed
    assert not storage.claim_concurrency_slot("osm_upstream", next_id, "osm_snapshot").is_claimed
    sweep(server)
    assert storage.claim_concurrency_slot("osm_upstream", next_id, "osm_snapshot").is_claimed


def test_the_job_of_a_run_whose_lease_has_ended_is_carried_on_by_dagsters_retry(
    server: Installation,
) -> None:
    job = enqueue(server)
    first = claimed_elsewhere(server, ended=True, job=job)
    assert sweep(server).status == "RUNNING"  # it waits for the retry
    run = server.instance.get_run_by_id(first)
    assert run is not None
    assert (run.status, run.tags[WILL_RETRY_TAG]) == (STATUS.FAILURE, "true")
    again = dagster_run(server, STATUS.STARTED, {RUN_ID_TAG: job.id, WORKER_TAG: worker()})
    lease(server, again)
    held = runs.claim(
        server.engine,
        key_of(server),
        dagster_run_id=again,
        worker=worker(),
        trigger="admin",
        is_alive=lambda holder: is_alive(
            holder, server.instance, lease=leases.is_live(server.engine, first)
        ),
        now=server.workshop.ledger_now(),
        run_id=job.id,
        lease="of the run",
    )
    assert isinstance(held, runs.Claim)
    assert (held.run_id, held.attempt) == (job.id, 2)
    runs.require(server.engine, held)


def test_a_job_of_another_dagster_whose_lease_has_ended_fails_at_once(server: Installation) -> None:
    claimed_elsewhere(server, ended=False, known=False)
    assert sweep(server).status == "RUNNING"
    lease(server, "of another Dagster", ended=True)
    job = sweep(server)
    assert (job.status, job.error_code) == ("FAILED", "run_died")
    assert "its lease has ended" in (job.error_message or "")


def test_a_canceled_run_that_dies_before_it_is_stopped_is_canceled_and_not_retried(
    server: Installation,
) -> None:
    job = enqueue(server)
    run_id = claimed_elsewhere(server, ended=True, job=job)
    runs.request_cancel(server.engine, job.id, now=server.workshop.ledger_now())
    ended = sweep(server)
    assert (ended.status, ended.error_code) == ("CANCELED", "canceled")
    assert status_of(server, run_id) == STATUS.CANCELED


class Killer(dg.DefaultRunLauncher):
    """A launcher that kills a run without a word to Dagster, as that of Celery does."""

    def terminate(self, run_id: str) -> bool:
        del run_id
        return True


def test_a_canceled_run_is_not_retried_however_its_launcher_stops_it(
    server: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = enqueue(server)
    run_id = claimed_elsewhere(server, ended=False, job=job)
    runs.request_cancel(server.engine, job.id, now=server.workshop.ledger_now())
    monkeypatch.setattr(server.instance, "_run_launcher", Killer())
    assert sweep(server).status == "RUNNING"  # until its lease ends, it may be at work
    assert status_of(server, run_id) == STATUS.CANCELING
    lease(server, run_id, ended=True)
    assert sweep(server).status == "CANCELED"
    assert status_of(server, run_id) == STATUS.CANCELED


@pytest.mark.parametrize("of_api", [True, False], ids=["job of the API", "run of the UI"])
def test_a_canceled_run_that_dagster_takes_for_dead_is_not_retried(
    server: Installation, monkeypatch: pytest.MonkeyPatch, *, of_api: bool
) -> None:
    monkeypatch.setattr(server.instance, "_run_launcher", Killer())
    asked = enqueue(server) if of_api else None
    run_id = claimed_elsewhere(server, ended=False, job=asked)
    (job,) = server.ledger()
    runs.request_cancel(server.engine, job.id, now=server.workshop.ledger_now())
    dead = server.instance.get_run_by_id(run_id)
    assert dead is not None
    server.instance.report_run_failed(dead)  # as Dagster's monitoring does
    again = dagster_run(server, STATUS.STARTED)
    server.instance.add_run_tags(run_id, {AUTO_RETRY_RUN_ID_TAG: again})
    assert sweep(server).status == "CANCELED"
    after = server.instance.get_run_by_id(run_id)
    assert after is not None
    assert after.tags[WILL_RETRY_TAG] == "false"
    assert status_of(server, again) == STATUS.CANCELING
