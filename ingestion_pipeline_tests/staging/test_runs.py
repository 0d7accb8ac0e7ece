"""The ledger: who may work on a key, whatever happens at once and whatever dies."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import create_engine, migrate, write_transaction
from ingestion_pipeline.staging.errors import (
    CancelRequested,
    ClaimLost,
    DatabaseUnavailable,
    KeyHeld,
)
from ingestion_pipeline.staging.tables import callback_message, ingestion_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

NOW = datetime(2026, 11, 20, 3, 4, 5, tzinfo=UTC)
DAY = date(2026, 11, 20)
KEY = JobKey("osm_import", "kazan", "relation/27504067", DAY)
CITIES = (f"city{number}" for number in itertools.count())
CROWD = 50


def come(
    engine: sa.Engine,
    dagster_run_id: str,
    *,
    key: JobKey = KEY,
    worker: str = "worker",
    alive: bool = True,
    run_id: str | None = None,
    now: datetime = NOW,
    requested_at: datetime | None = None,
    refetch: bool = False,
    whole: bool = True,
) -> runs.Claim | runs.NothingToDo:
    return runs.claim(
        engine,
        key,
        dagster_run_id=dagster_run_id,
        worker=worker,
        trigger="ui",
        is_alive=lambda _: alive,
        now=now,
        requested_at=requested_at,
        run_id=run_id,
        refetch=refetch,
        whole=whole,
    )


def claim(engine: sa.Engine, dagster_run_id: str, **arguments: Any) -> runs.Claim:
    """Come, and get the claim; arguments as for `come`."""
    held = come(engine, dagster_run_id, **arguments)
    assert isinstance(held, runs.Claim)
    return held


def enqueue(
    engine: sa.Engine, key: JobKey = KEY, *, refetch: bool = False, now: datetime = NOW
) -> tuple[runs.Run, bool]:
    return runs.enqueue(engine, key, trigger="admin", now=now, refetch=refetch)


def deliver(
    engine: sa.Engine,
    message_id: str,
    key: JobKey = KEY,
    *,
    refetch: bool = False,
    now: datetime = NOW,
) -> tuple[runs.Run, bool]:
    return runs.enqueue_message(engine, key, message_id=message_id, now=now, refetch=refetch)


def succeed(engine: sa.Engine, held: runs.Claim, *, now: datetime = NOW) -> None:
    with write_transaction(engine) as connection:
        runs.fence(connection, held)
        runs.succeed(connection, held, as_of=NOW, counts={"rows": 1}, now=now)


def stage_by(
    engine: sa.Engine,
    dagster_run_id: str,
    *,
    finished: datetime = NOW,
    refetch: bool = False,
) -> runs.Claim:
    """Let a run claim the key and succeed at a moment."""
    held = claim(engine, dagster_run_id, refetch=refetch)
    succeed(engine, held, now=finished)
    return held


def fail(engine: sa.Engine, held: runs.Claim, *, now: datetime = NOW) -> bool:
    return runs.fail(engine, held, error_code="broken", error_message="it broke", now=now)


def cancel(engine: sa.Engine, held: runs.Claim, *, now: datetime = NOW) -> bool:
    return runs.cancel(
        engine, held, error_code="interrupted", error_message="it was terminated", now=now
    )


def request_cancel(engine: sa.Engine, run_id: str, *, now: datetime = NOW) -> runs.Run:
    asked = runs.request_cancel(engine, run_id, now=now)
    assert asked is not None
    return asked


def end_if_unchanged(engine: sa.Engine, seen: runs.Run, *, now: datetime = NOW) -> bool:
    return runs.end_if_unchanged(
        engine, seen, status="FAILED", error_code="run_died", error_message="it is gone", now=now
    )


def get(engine: sa.Engine, run_id: str) -> runs.Run:
    run = runs.get(engine, run_id)
    assert run is not None
    return run


def ledger(engine: sa.Engine, city: str = "kazan") -> list[runs.Run]:
    return runs.page(engine, city_slug=city, limit=1000)


def working(engine: sa.Engine) -> list[runs.Run]:
    return [run for run in ledger(engine) if run.status in runs.ACTIVE]


# Enqueue


def test_an_enqueued_key_is_a_pending_row_that_says_who_asked_for_what(engine: sa.Engine) -> None:
    run, made = enqueue(engine)
    assert made
    assert run == runs.Run(
        id=run.id,
        job_type="osm_import",
        city_slug="kazan",
        boundary_ref="relation/27504067",
        day=DAY,
        idempotency_key="osm_import|kazan|relation/27504067|2026-11-20",
        status="PENDING",
        trigger="admin",
        dagster_run_id=None,
        worker=None,
        attempt=0,
        as_of=None,
        counts=None,
        error_code=None,
        error_message=None,
        requested_at=NOW,
        started_at=None,
        finished_at=None,
        refetch=False,
        cancel_requested_at=None,
    )
    assert ledger(engine) == [run]


def test_a_key_that_is_enqueued_again_while_pending_is_the_same_row(engine: sa.Engine) -> None:
    first, _ = enqueue(engine)
    assert enqueue(engine) == (first, False)


def test_a_key_that_is_enqueued_while_running_is_the_running_row(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    run, made = enqueue(engine)
    assert (run.id, run.status, made) == (held.run_id, "RUNNING", False)
    assert len(ledger(engine)) == 1


@pytest.mark.parametrize("end", [succeed, fail, cancel])
def test_after_a_terminal_state_the_key_starts_a_new_row(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], Any]
) -> None:
    held = claim(engine, "run1")
    end(engine, held)
    run, made = enqueue(engine)
    assert made
    assert run.id != held.run_id
    assert len(ledger(engine)) == 2


def test_another_day_boundary_city_or_job_is_another_key(engine: sa.Engine) -> None:
    others = [
        replace(KEY, day=date(2026, 11, 21)),
        replace(KEY, boundary_ref="relation/1"),
        replace(KEY, city_slug="sochi"),
        replace(KEY, job_type="helpers_import"),
    ]
    assert [enqueue(engine, key)[1] for key in (KEY, *others)] == [True] * 5


def test_an_enqueued_refetch_is_kept_until_the_run_has_it(engine: sa.Engine) -> None:
    run, _ = enqueue(engine, refetch=True)
    assert run.refetch
    assert claim(engine, "run1", run_id=run.id).refetch
    assert get(engine, run.id).refetch


def test_a_run_that_is_active_stays_as_it_was_asked_for(engine: sa.Engine) -> None:
    first, _ = enqueue(engine)
    assert enqueue(engine, refetch=True) == (first, False)
    assert not claim(engine, "run1").refetch


def test_a_pending_refetch_that_a_run_of_the_ui_joins_is_a_refetch(engine: sa.Engine) -> None:
    run, _ = enqueue(engine, refetch=True)
    held = claim(engine, "run1", refetch=False)
    assert (held.run_id, held.refetch) == (run.id, True)


def test_a_refetch_of_the_ui_that_joins_a_pending_run_makes_it_one(engine: sa.Engine) -> None:
    run, _ = enqueue(engine)
    held = claim(engine, "run1", refetch=True)
    assert (held.run_id, held.refetch) == (run.id, True)
    assert get(engine, run.id).refetch
    # A later step of the same run, which has not seen that, still knows.
    assert claim(engine, "run1") == held


# Messages of a queue


def test_a_message_makes_a_pending_row_of_the_callback(engine: sa.Engine) -> None:
    run, made = deliver(engine, "message-1", refetch=True)
    assert made
    assert (run.status, run.trigger, run.refetch) == ("PENDING", "callback", True)
    assert ledger(engine) == [run]


@pytest.mark.parametrize("end", [None, succeed, fail, cancel])
def test_a_message_that_is_delivered_again_gets_its_run_whatever_became_of_it(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], Any] | None
) -> None:
    run, _ = deliver(engine, "message-1")
    if end is not None:
        end(engine, claim(engine, "run1"))
    again, made = deliver(engine, "message-1", now=NOW + timedelta(days=1))
    assert (again, made) == (get(engine, run.id), False)
    assert len(ledger(engine)) == 1


def test_a_message_that_is_delivered_again_does_not_join_the_run_that_came_after_its_own(
    engine: sa.Engine,
) -> None:
    first, _ = deliver(engine, "message-1")
    fail(engine, claim(engine, "run1"))
    second, made = deliver(engine, "message-2")
    assert made
    assert second.id != first.id
    assert deliver(engine, "message-1")[0].id == first.id
    assert deliver(engine, "message-2") == (second, False)


def test_a_message_joins_the_active_run_of_the_admin(engine: sa.Engine) -> None:
    run, _ = enqueue(engine)
    assert deliver(engine, "message-1") == (run, False)
    held = claim(engine, "run1")
    assert deliver(engine, "message-2")[0].id == held.run_id
    succeed(engine, held)
    # It was answered with that run; a delivery after its end does not ask for another.
    assert deliver(engine, "message-1")[0].status == "SUCCEEDED"
    assert len(ledger(engine)) == 1


def test_a_message_that_could_not_be_enqueued_is_new_when_it_comes_again(
    engine: sa.Engine,
) -> None:
    without_key = replace(KEY, city_slug=None)  # type: ignore[arg-type]
    with pytest.raises(sa.exc.IntegrityError):
        deliver(engine, "message-1", without_key)
    with engine.connect() as connection:
        assert connection.execute(sa.select(callback_message)).all() == []
    assert deliver(engine, "message-1")[1]


def test_of_many_deliveries_of_a_message_at_once_one_makes_the_row_that_all_get(
    engine: sa.Engine,
) -> None:
    results = all_at_once(lambda _: deliver(engine, "message-1"))
    (run,) = ledger(engine)
    assert [made for _, made in results].count(True) == 1
    assert all(got == run for got, _ in results)


def test_many_messages_for_one_key_at_once_all_get_the_same_row(engine: sa.Engine) -> None:
    results = all_at_once(lambda number: deliver(engine, f"message-{number}"))
    (run,) = ledger(engine)
    assert [made for _, made in results].count(True) == 1
    assert all(got == run for got, _ in results)


# Claim


def test_a_pending_row_is_claimed_as_it_stands(engine: sa.Engine) -> None:
    run, _ = enqueue(engine)
    later = NOW + timedelta(minutes=1)
    held = claim(engine, "run1", now=later)
    assert held == runs.Claim(run.id, str(KEY), "run1", attempt=1, refetch=False)
    assert get(engine, run.id) == replace(
        run,
        status="RUNNING",
        dagster_run_id="run1",
        worker="worker",
        attempt=1,
        started_at=later,
    )


def test_a_key_that_nobody_enqueued_is_claimed_too(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    (run,) = ledger(engine)
    assert (run.id, run.status, run.trigger) == (held.run_id, "RUNNING", "ui")


def test_the_same_process_of_a_dagster_run_that_claims_again_keeps_its_claim(
    engine: sa.Engine,
) -> None:
    held = claim(engine, "run1")
    before = ledger(engine)
    assert claim(engine, "run1", now=NOW + timedelta(hours=1)) == held
    assert ledger(engine) == before


def test_another_process_of_the_same_dagster_run_fences_the_first_one_out(
    engine: sa.Engine,
) -> None:
    first = claim(engine, "run1", worker="first")
    second = claim(engine, "run1", worker="second")
    assert second == replace(first, attempt=2)
    assert not fail(engine, first)
    succeed(engine, second)


def test_a_key_that_a_live_run_holds_is_refused_by_the_holders_name(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    holder = get(engine, held.run_id)
    asked, came = NOW + timedelta(minutes=1), NOW + timedelta(minutes=2)
    with pytest.raises(KeyHeld) as refused:
        claim(engine, "run2", requested_at=asked, now=came)
    message = str(refused.value)
    assert str(KEY) in message
    assert f"Dagster run run1 (job {held.run_id}, started 2026-11-20T03:04:05Z by ui)" in message
    request, still = ledger(engine)
    assert still == holder
    assert (request.status, request.error_code, request.error_message) == (
        "FAILED",
        "key_held",
        message,
    )
    assert (request.dagster_run_id, request.worker, request.attempt) == ("run2", "worker", 0)
    assert (request.requested_at, request.started_at, request.finished_at) == (asked, None, came)
    runs.require(engine, held)


def test_a_run_that_gave_way_gets_no_claim_later(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    with pytest.raises(KeyHeld):
        claim(engine, "run2")
    fail(engine, held)
    with pytest.raises(ClaimLost, match="is held by Dagster run run1"):
        claim(engine, "run2")
    assert len(ledger(engine)) == 2


def test_whether_the_holder_lives_is_asked_with_its_row_and_outside_of_transactions(
    engine: sa.Engine,
) -> None:
    held = claim(engine, "run1")
    asked: list[runs.Run] = []

    def is_alive(run: runs.Run) -> bool:
        asked.append(run)
        # In a GeoPackage this would wait for the claim's own transaction, if there were one.
        enqueue(engine, replace(KEY, city_slug="sochi"))
        return True

    with pytest.raises(KeyHeld):
        runs.claim(
            engine,
            KEY,
            dagster_run_id="run2",
            worker="worker",
            trigger="ui",
            is_alive=is_alive,
            now=NOW,
        )
    assert asked == [get(engine, held.run_id)]


def test_a_message_without_an_end_is_kept_in_part(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    message = f"it broke: {'x' * 4_000_000}"
    assert runs.fail(engine, held, error_code="broken", error_message=message, now=NOW)
    kept = get(engine, held.run_id).error_message
    assert kept is not None
    assert kept.startswith("it broke: xxx")
    assert kept.endswith("... (4,000,010 characters)")
    assert len(kept) < 5_000


def test_a_dead_run_is_taken_over_by_a_new_row_and_its_own_ends_as_failed(
    engine: sa.Engine,
) -> None:
    dead = claim(engine, "run1")
    later = NOW + timedelta(hours=1)
    held = claim(engine, "run2", alive=False, now=later)
    old, new = get(engine, dead.run_id), get(engine, held.run_id)
    assert (old.status, old.error_code, old.finished_at) == ("FAILED", "run_died", later)
    assert old.error_message is not None
    assert "run1" in old.error_message
    assert "run2" in old.error_message
    assert (new.status, new.dagster_run_id, new.attempt) == ("RUNNING", "run2", 1)
    assert new.id != old.id


def test_a_retry_of_the_same_job_goes_on_with_its_row_and_the_next_attempt(
    engine: sa.Engine,
) -> None:
    dead = claim(engine, "run1")
    held = claim(engine, "run2", alive=False, run_id=dead.run_id)
    assert held == runs.Claim(dead.run_id, str(KEY), "run2", attempt=2, refetch=False)
    assert [run.status for run in ledger(engine)] == ["RUNNING"]


def test_a_run_for_a_job_that_is_not_in_the_ledger_has_lost_it(engine: sa.Engine) -> None:
    claim(engine, "run1")
    before = ledger(engine)
    with pytest.raises(ClaimLost, match="Job some-other is no longer in the ledger"):
        claim(engine, "run2", alive=False, run_id="some-other")
    assert ledger(engine) == before


def test_a_retry_of_the_same_job_does_not_push_a_live_run_aside(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    with pytest.raises(KeyHeld):
        claim(engine, "run2", run_id=held.run_id)


# Runs that come too late

EARLIER = NOW - timedelta(minutes=10)
LATER = NOW + timedelta(minutes=10)


def test_a_run_that_was_asked_for_before_another_staged_the_day_has_nothing_left_to_do(
    engine: sa.Engine,
) -> None:
    done = stage_by(engine, "run1", finished=NOW)
    answer = come(engine, "run2", requested_at=EARLIER, now=LATER)
    assert isinstance(answer, runs.NothingToDo)
    assert f"staged by Dagster run run1 (job {done.run_id}) at 2026-11-20T03:04:05Z" in (
        answer.message
    )
    first, row = ledger(engine)
    assert first.id == done.run_id
    assert (row.status, row.error_code, row.error_message) == (
        "CANCELED",
        "already_staged",
        answer.message,
    )
    assert (row.dagster_run_id, row.trigger, row.attempt) == ("run2", "ui", 0)
    assert (row.requested_at, row.started_at, row.finished_at) == (EARLIER, None, LATER)


def test_the_next_step_of_a_run_with_nothing_to_do_hears_the_same_and_leaves_no_other_row(
    engine: sa.Engine,
) -> None:
    stage_by(engine, "run1")
    answer = come(engine, "run2", requested_at=EARLIER, now=LATER)
    before = ledger(engine)
    for step in range(2):
        now = LATER + timedelta(minutes=step)
        assert come(engine, "run2", requested_at=EARLIER, now=now) == answer
    assert ledger(engine) == before


def test_what_a_run_with_nothing_to_do_came_for_is_left_to_the_runs_that_ask_later(
    engine: sa.Engine,
) -> None:
    stage_by(engine, "run1")
    asked_later, _ = enqueue(engine, now=LATER)
    assert isinstance(come(engine, "run2", requested_at=EARLIER, now=LATER), runs.NothingToDo)
    assert get(engine, asked_later.id) == asked_later
    held = claim(engine, "run3", run_id=asked_later.id, requested_at=LATER, now=LATER)
    assert held.run_id == asked_later.id


@pytest.mark.parametrize("requested_at", [NOW, LATER, None])
def test_a_run_that_was_asked_for_after_the_day_was_staged_stages_it_again(
    engine: sa.Engine, requested_at: datetime | None
) -> None:
    done = stage_by(engine, "run1", finished=NOW)
    held = claim(engine, "run2", requested_at=requested_at, now=LATER)
    assert held.run_id != done.run_id
    assert get(engine, held.run_id).requested_at == (requested_at or LATER)


def test_an_end_that_is_in_the_future_keeps_nobody_from_work(engine: sa.Engine) -> None:
    # Of a run on a machine whose clock was ahead, before the ledger was on the database's clock.
    stage_by(engine, "run1", finished=NOW + timedelta(days=1))
    claim(engine, "run2", requested_at=EARLIER, now=LATER)


def test_an_end_between_the_look_at_the_clock_and_the_ledger_counts(engine: sa.Engine) -> None:
    stage_by(engine, "run1", finished=NOW + timedelta(seconds=30))
    answer = come(engine, "run2", requested_at=EARLIER, now=NOW)
    assert isinstance(answer, runs.NothingToDo)


@pytest.mark.parametrize("end", [fail, cancel])
def test_a_run_that_did_not_stage_the_day_leaves_it_to_those_that_wait(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], Any]
) -> None:
    end(engine, claim(engine, "run1"))
    claim(engine, "run2", requested_at=EARLIER)


@pytest.mark.parametrize(
    ("was_refetched", "wants_refetch", "is_covered"),
    [(False, False, True), (True, False, True), (True, True, True), (False, True, False)],
)
def test_a_run_that_wants_a_refetch_is_covered_by_another_refetch_only(
    engine: sa.Engine, was_refetched: bool, wants_refetch: bool, is_covered: bool
) -> None:
    stage_by(engine, "run1", refetch=was_refetched)
    answer = come(engine, "run2", requested_at=EARLIER, refetch=wants_refetch)
    assert isinstance(answer, runs.NothingToDo) == is_covered


def test_another_key_does_not_cover_a_run(engine: sa.Engine) -> None:
    stage_by(engine, "run1")
    claim(engine, "run2", key=replace(KEY, boundary_ref="relation/1"), requested_at=EARLIER)


def test_a_run_that_waited_for_the_commit_of_the_holder_sees_what_it_committed(
    postgis_url: str,
) -> None:
    # A GeoPackage has one writer at a time from the start of its transaction.
    engine = create_engine(postgis_url)
    migrate(engine)
    held = claim(engine, "run1")
    answers: list[object] = []
    request = threading.Thread(
        target=lambda: answers.append(come(engine, "run2", requested_at=EARLIER, now=LATER))
    )
    with write_transaction(engine) as connection:
        runs.fence(connection, held)
        request.start()
        wait_for_a_waiter(engine)
        runs.succeed(connection, held, as_of=NOW, counts={"rows": 1}, now=NOW)
    request.join(timeout=60)
    assert isinstance(answers[0], runs.NothingToDo), answers
    assert working(engine) == []
    assert Counter(run.error_code for run in ledger(engine)) == {None: 1, "already_staged": 1}
    engine.dispose()


def wait_for_a_waiter(engine: sa.Engine) -> None:
    """Wait until a connection to this database waits for a lock."""
    waiting = sa.text(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.execute(waiting).scalar_one():
                return
        time.sleep(0.02)
    raise AssertionError("nobody came to wait")


# Runs that come for a job of the ledger


def test_a_run_for_a_job_that_another_run_did_has_nothing_left_to_do(engine: sa.Engine) -> None:
    job, _ = enqueue(engine)
    assert stage_by(engine, "run of the ui").run_id == job.id
    # Asked for after the end, but for what has been done by then.
    answer = come(engine, "run2", run_id=job.id, requested_at=LATER, now=LATER)
    assert isinstance(answer, runs.NothingToDo)
    assert "run of the ui" in answer.message
    assert Counter(run.status for run in ledger(engine)) == {"SUCCEEDED": 1, "CANCELED": 1}
    assert working(engine) == []


@pytest.mark.parametrize("end", [fail, cancel])
def test_a_run_for_a_job_that_ended_without_success_has_lost_it(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], Any]
) -> None:
    job, _ = enqueue(engine)
    end(engine, claim(engine, "run1"))
    before = ledger(engine)
    with pytest.raises(ClaimLost, match=f"job {job.id} is (FAILED|CANCELED)"):
        come(engine, "run2", run_id=job.id)
    assert ledger(engine) == before


def test_a_run_for_a_job_of_another_key_has_lost_it(engine: sa.Engine) -> None:
    job, _ = enqueue(engine)
    moved = replace(KEY, boundary_ref="relation/1")
    with pytest.raises(ClaimLost, match="the city changed"):
        come(engine, "run1", key=moved, run_id=job.id)
    assert ledger(engine) == [job]


def test_a_run_for_a_job_that_waits_does_it_whatever_else_was_staged(engine: sa.Engine) -> None:
    stage_by(engine, "run1", finished=LATER)
    job, _ = enqueue(engine)
    # By another machine's clock the day was staged later than the job was asked for.
    assert claim(engine, "run2", run_id=job.id, requested_at=EARLIER).run_id == job.id


# Asking a run to stop


def test_a_pending_run_that_is_asked_to_stop_is_canceled_at_once(engine: sa.Engine) -> None:
    job, _ = enqueue(engine)
    asked = request_cancel(engine, job.id, now=LATER)
    assert (asked.status, asked.error_code) == ("CANCELED", "canceled")
    assert (asked.cancel_requested_at, asked.finished_at) == (LATER, LATER)
    assert f"Job {job.id} was canceled on request at 2026-11-20T03:14:05Z" in (
        asked.error_message or ""
    )
    assert get(engine, job.id) == asked
    with pytest.raises(ClaimLost, match="was canceled on request"):
        claim(engine, "run1", run_id=job.id)
    assert enqueue(engine)[1]


def test_a_running_run_that_is_asked_to_stop_can_write_no_more_and_keeps_its_key(
    engine: sa.Engine,
) -> None:
    held = claim(engine, "run1")
    asked = request_cancel(engine, held.run_id, now=LATER)
    assert (asked.status, asked.cancel_requested_at) == ("RUNNING", LATER)
    with pytest.raises(CancelRequested, match="canceled on request"):
        runs.require(engine, held)
    with pytest.raises(CancelRequested):
        succeed(engine, held)
    with pytest.raises(KeyHeld):
        claim(engine, "run2")
    assert get(engine, held.run_id) == asked


def test_asking_twice_changes_nothing(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    asked = request_cancel(engine, held.run_id, now=NOW)
    assert request_cancel(engine, held.run_id, now=LATER) == asked


@pytest.mark.parametrize(
    "end", [fail, cancel, lambda engine, held: end_if_unchanged(engine, get(engine, held.run_id))]
)
def test_a_run_that_was_asked_to_stop_ends_as_canceled_however_it_stops(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], bool]
) -> None:
    held = claim(engine, "run1")
    request_cancel(engine, held.run_id)
    assert end(engine, held)
    (run,) = ledger(engine)
    assert (run.status, run.error_code) == ("CANCELED", "canceled")
    claim(engine, "run2")


def test_a_dead_run_that_was_asked_to_stop_is_taken_over_and_ends_as_canceled(
    engine: sa.Engine,
) -> None:
    dead = claim(engine, "run1")
    request_cancel(engine, dead.run_id)
    held = claim(engine, "run2", alive=False)
    old = get(engine, dead.run_id)
    assert (old.status, old.error_code) == ("CANCELED", "canceled")
    runs.require(engine, held)
    succeed(engine, held)


@pytest.mark.parametrize("name", ["run1", "run2"], ids=["same Dagster run", "Dagster's retry"])
def test_a_job_that_was_asked_to_stop_is_not_carried_on(engine: sa.Engine, name: str) -> None:
    job, _ = enqueue(engine)
    claim(engine, "run1", run_id=job.id, worker="first")
    request_cancel(engine, job.id)
    with pytest.raises(ClaimLost, match="canceled on request"):
        claim(engine, name, run_id=job.id, worker="second", alive=False)
    (run,) = ledger(engine)
    assert (run.status, run.error_code) == ("CANCELED", "canceled")
    assert enqueue(engine)[1]


@pytest.mark.parametrize("end", [succeed, fail, cancel])
def test_asking_a_run_to_stop_that_has_ended_leaves_it_as_it_is(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], Any]
) -> None:
    held = claim(engine, "run1")
    end(engine, held)
    before = get(engine, held.run_id)
    assert request_cancel(engine, held.run_id, now=LATER) == before
    assert get(engine, held.run_id) == before


def test_asking_an_unknown_run_to_stop_is_none(engine: sa.Engine) -> None:
    assert runs.request_cancel(engine, "no such run", now=NOW) is None


# Ends that others write


def test_a_run_is_ended_by_others_as_it_was_seen(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    assert end_if_unchanged(engine, get(engine, held.run_id), now=LATER)
    (run,) = ledger(engine)
    assert (run.status, run.error_code, run.error_message, run.finished_at) == (
        "FAILED",
        "run_died",
        "it is gone",
        LATER,
    )
    with pytest.raises(ClaimLost):
        succeed(engine, held)


@pytest.mark.parametrize(
    "arguments",
    [{"worker": "second"}, {"alive": False, "dagster_run_id": "run2"}],
    ids=["another process of the same run", "a retry"],
)
def test_a_run_that_was_carried_on_since_it_was_seen_is_not_ended(
    engine: sa.Engine, arguments: dict[str, Any]
) -> None:
    held = claim(engine, "run1")
    seen = get(engine, held.run_id)
    carried_on = claim(engine, **{"dagster_run_id": "run1", "run_id": held.run_id} | arguments)
    assert not end_if_unchanged(engine, seen)
    succeed(engine, carried_on)


def test_a_pending_run_that_was_claimed_since_it_was_seen_is_not_ended(engine: sa.Engine) -> None:
    seen, _ = enqueue(engine)
    held = claim(engine, "run1")
    assert not end_if_unchanged(engine, seen)
    succeed(engine, held)


@pytest.mark.parametrize("end", [succeed, fail, cancel])
def test_a_run_that_has_ended_since_it_was_seen_stays_so(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], Any]
) -> None:
    held = claim(engine, "run1")
    seen = get(engine, held.run_id)
    end(engine, held)
    before = get(engine, held.run_id)
    for view in (seen, before):
        assert not end_if_unchanged(engine, view, now=LATER)
    assert get(engine, held.run_id) == before


def test_a_run_that_is_gone_is_not_ended(engine: sa.Engine) -> None:
    seen, _ = enqueue(engine)
    with engine.begin() as connection:
        connection.execute(sa.delete(ingestion_run))
    assert not end_if_unchanged(engine, seen)


def test_what_was_asked_for_too_long_ago_and_never_started_fails(engine: sa.Engine) -> None:
    days = [replace(KEY, day=DAY - timedelta(days=number)) for number in range(4)]
    late, _ = enqueue(engine, days[0], now=EARLIER)
    on_time, _ = enqueue(engine, days[1], now=NOW)
    enqueue(engine, days[2], now=EARLIER)
    started = claim(engine, "run1", key=days[2], now=EARLIER)
    ended = claim(engine, "run2", key=days[3], now=EARLIER)
    fail(engine, ended)
    assert runs.expire(engine, requested_before=NOW, now=LATER) == 1
    expired = get(engine, late.id)
    assert (expired.status, expired.error_code) == ("FAILED", "never_started")
    assert expired.finished_at == LATER
    assert "enqueue the day again" in (expired.error_message or "")
    assert get(engine, on_time.id) == on_time
    assert get(engine, started.run_id).status == "RUNNING"
    assert get(engine, ended.run_id).error_code == "broken"
    assert runs.expire(engine, requested_before=NOW, now=LATER) == 0
    assert enqueue(engine, days[0])[1]


def test_what_waits_in_a_queue_that_moves_is_not_ended(engine: sa.Engine) -> None:
    waiting, _ = enqueue(engine, now=EARLIER)
    claim(engine, "run1", key=replace(KEY, day=DAY - timedelta(days=1)), now=NOW)
    assert runs.expire(engine, requested_before=NOW, now=LATER) == 0
    assert get(engine, waiting.id) == waiting


TOMORROW = NOW + timedelta(days=1)


def test_a_request_or_start_that_is_in_the_future_counts_from_now(engine: sa.Engine) -> None:
    waiting, _ = enqueue(engine, now=TOMORROW)
    working = claim(engine, "run1", key=replace(KEY, day=DAY - timedelta(days=1)), now=TOMORROW)
    assert runs.expire(engine, requested_before=EARLIER, now=NOW) == 0
    assert get(engine, waiting.id).requested_at == NOW
    assert get(engine, working.run_id).started_at == NOW
    assert runs.expire(engine, requested_before=NOW + timedelta(seconds=1), now=LATER) == 1
    assert get(engine, waiting.id).error_code == "never_started"


def test_a_start_that_is_in_the_future_is_no_sign_that_the_queue_moves(engine: sa.Engine) -> None:
    waiting, _ = enqueue(engine, now=EARLIER)
    fail(engine, claim(engine, "run1", key=replace(KEY, boundary_ref="bbox"), now=TOMORROW))
    assert runs.expire(engine, requested_before=NOW, now=LATER) == 1
    assert get(engine, waiting.id).error_code == "never_started"


# A run that does a part of a job


def test_a_run_of_a_part_gives_way_to_a_job_that_waits_for_a_whole_one(engine: sa.Engine) -> None:
    waiting, _ = enqueue(engine)
    with pytest.raises(KeyHeld, match=rf"Job {waiting.id} is pending for the whole"):
        come(engine, "part", whole=False)
    assert get(engine, waiting.id) == waiting
    (refused,) = [run for run in ledger(engine) if run.dagster_run_id == "part"]
    assert (refused.status, refused.error_code) == ("FAILED", "key_held")
    assert claim(engine, "whole", run_id=waiting.id).run_id == waiting.id


def test_a_run_of_a_part_works_where_nobody_waits(engine: sa.Engine) -> None:
    held = claim(engine, "part", whole=False)
    assert claim(engine, "part", whole=False) == held


def test_a_part_of_the_run_that_was_started_for_a_job_carries_it_on(engine: sa.Engine) -> None:
    waiting, _ = enqueue(engine)
    assert claim(engine, "again", run_id=waiting.id, whole=False).run_id == waiting.id


# Fence and the ends


def test_a_run_that_was_taken_over_has_lost_its_claim(engine: sa.Engine) -> None:
    dead = claim(engine, "run1")
    claim(engine, "run2", alive=False)
    with pytest.raises(ClaimLost, match=r"run1 no longer holds.*is FAILED.*died.*run2 took over"):
        succeed(engine, dead)


def test_a_claim_on_the_row_of_a_later_attempt_is_lost(engine: sa.Engine) -> None:
    dead = claim(engine, "run1")
    held = claim(engine, "run2", alive=False, run_id=dead.run_id)
    with pytest.raises(ClaimLost, match=r"is RUNNING\. Nothing was written"):
        succeed(engine, dead)
    succeed(engine, held)


def test_a_claim_on_a_row_that_is_gone_is_lost(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    with engine.begin() as connection:
        connection.execute(sa.delete(ingestion_run))
    with pytest.raises(ClaimLost, match="no longer in the ledger"):
        succeed(engine, held)


def test_a_standing_claim_is_found_to_stand_and_a_lost_one_is_not(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    runs.require(engine, held)
    claim(engine, "run2", alive=False)
    with pytest.raises(ClaimLost):
        runs.require(engine, held)


@pytest.mark.parametrize("end", [succeed, fail, cancel])
def test_a_dagster_run_whose_claim_has_ended_gets_no_other_on_its_key(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], Any]
) -> None:
    end(engine, claim(engine, "run1"))
    before = ledger(engine)
    with pytest.raises(ClaimLost, match="run1 no longer holds"):
        claim(engine, "run1")
    assert ledger(engine) == before
    claim(engine, "run1", key=replace(KEY, day=date(2026, 11, 21)))


def test_a_dagster_run_that_was_taken_over_gets_no_other_claim_on_its_key(
    engine: sa.Engine,
) -> None:
    claim(engine, "run1")
    fail(engine, claim(engine, "run2", alive=False))
    with pytest.raises(ClaimLost, match="Dagster run run2 took over its key"):
        claim(engine, "run1")


@pytest.mark.parametrize("end", [fail, cancel])
def test_a_run_that_lost_its_claim_cannot_end_the_row_of_its_successor(
    engine: sa.Engine, end: Callable[[sa.Engine, runs.Claim], bool]
) -> None:
    dead = claim(engine, "run1")
    claim(engine, "run2", alive=False, run_id=dead.run_id)
    before = ledger(engine)
    assert not end(engine, dead)
    assert ledger(engine) == before


@pytest.mark.parametrize("first", [succeed, fail, cancel])
@pytest.mark.parametrize("then", [fail, cancel])
def test_a_terminal_state_is_never_overwritten(
    engine: sa.Engine,
    first: Callable[[sa.Engine, runs.Claim], Any],
    then: Callable[[sa.Engine, runs.Claim], bool],
) -> None:
    held = claim(engine, "run1")
    first(engine, held)
    before = ledger(engine)
    assert not then(engine, held)
    with pytest.raises(ClaimLost):
        succeed(engine, held)
    assert ledger(engine) == before


def test_a_run_ends_with_its_reason(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    assert fail(engine, held)
    (run,) = ledger(engine)
    assert (run.status, run.error_code, run.error_message, run.finished_at) == (
        "FAILED",
        "broken",
        "it broke",
        NOW,
    )


def test_a_success_says_of_what_time_the_data_is_and_what_came_of_it(engine: sa.Engine) -> None:
    succeed(engine, claim(engine, "run1"))
    (run,) = ledger(engine)
    assert (run.status, run.as_of, run.counts, run.finished_at) == (
        "SUCCEEDED",
        NOW,
        {"rows": 1},
        NOW,
    )


def test_an_unknown_run_is_none(engine: sa.Engine) -> None:
    assert runs.get(engine, "no such run") is None


def test_the_run_that_a_dagster_run_ended_well_is_found(engine: sa.Engine) -> None:
    held = claim(engine, "first")
    assert runs.succeeded(engine, "first") is None
    succeed(engine, held)
    found = runs.succeeded(engine, "first")
    assert found is not None
    assert (found.id, found.counts) == (held.run_id, {"rows": 1})
    assert runs.succeeded(engine, "second") is None


# Lists


def ask(engine: sa.Engine, days: range, *, now: datetime = NOW) -> list[runs.Run]:
    """Enqueue days, counted from DAY, all at one moment."""
    return [
        enqueue(engine, replace(KEY, day=DAY + timedelta(days=number)), now=now)[0]
        for number in days
    ]


def in_order(found: list[runs.Run]) -> list[runs.Position]:
    return [runs.Position(run.requested_at, run.id) for run in found]


def test_a_page_has_the_newest_first_and_only_what_was_asked_for(engine: sa.Engine) -> None:
    for hour, city in enumerate(["kazan", "sochi", "kazan"]):
        now = NOW + timedelta(hours=hour)
        key = replace(KEY, city_slug=city, day=DAY + timedelta(days=hour))
        fail(engine, claim(engine, f"run{hour}", key=key, now=now))
    enqueue(engine, now=NOW + timedelta(hours=3))

    def hours(**wanted: Any) -> list[int]:
        return [run.requested_at.hour for run in runs.page(engine, **wanted)]

    assert hours() == [6, 5, 4, 3]
    assert hours(city_slug="kazan") == [6, 5, 3]
    assert hours(day=DAY) == [6, 3]
    assert hours(status="FAILED") == [5, 4, 3]
    assert hours(city_slug="kazan", day=DAY, status="PENDING") == [6]
    assert hours(limit=1) == [6]
    assert hours(city_slug="nowhere") == []


def test_pages_follow_each_other_without_a_gap_though_moments_are_equal_and_rows_are_added(
    engine: sa.Engine,
) -> None:
    old = ask(engine, range(5)) + ask(engine, range(5, 10), now=LATER)
    seen: list[runs.Run] = []
    before: runs.Position | None = None
    while page := runs.page(engine, before=before, limit=3):
        seen += page
        before = runs.Position(page[-1].requested_at, page[-1].id)
        first_new = 100 + 2 * len(seen)
        ask(engine, range(first_new, first_new + 2), now=LATER + timedelta(minutes=len(seen)))
    assert in_order(seen) == sorted(in_order(old), reverse=True)


def test_active_runs_follow_each_other_without_a_gap_though_moments_are_equal_and_rows_come_and_go(
    engine: sa.Engine,
) -> None:
    old = ask(engine, range(5)) + ask(engine, range(5, 10), now=LATER)
    seen: list[runs.Run] = []
    after: runs.Position | None = None
    while batch := runs.active(engine, "PENDING", after=after, limit=3):
        seen += batch
        after = runs.Position(batch[-1].requested_at, batch[-1].id)
        request_cancel(engine, batch[0].id)
        if len(seen) < 9:
            first_new = 100 + len(seen)
            old += ask(engine, range(first_new, first_new + 1), now=LATER + timedelta(minutes=1))
    assert in_order(seen) == sorted(in_order(old))


def test_active_runs_are_those_of_one_status(engine: sa.Engine) -> None:
    pending, _ = enqueue(engine)
    held = claim(engine, "run1", key=replace(KEY, city_slug="sochi"))
    stage_by_other = claim(engine, "run2", key=replace(KEY, city_slug="anapa"))
    succeed(engine, stage_by_other)
    assert runs.active(engine, "PENDING", limit=10) == [pending]
    assert runs.active(engine, "RUNNING", limit=10) == [get(engine, held.run_id)]


def test_a_moment_between_milliseconds_is_a_place_in_the_list_too(engine: sa.Engine) -> None:
    (run,) = ask(engine, range(1), now=NOW.replace(microsecond=678_901))
    assert run.requested_at == NOW.replace(microsecond=678_000)
    assert runs.page(engine, before=runs.Position(run.requested_at, run.id)) == []
    assert runs.active(engine, "PENDING", after=runs.Position(NOW, run.id), limit=1) == [run]


# What the database itself holds


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_the_database_itself_refuses_a_second_active_row(engine: sa.Engine, status: str) -> None:
    claim(engine, "run1")
    copy = sa.text(
        "INSERT INTO ingestion_run (id, job_type, city_slug, boundary_ref, day, idempotency_key,"
        " status, trigger, attempt, requested_at) SELECT 'other', job_type, city_slug,"
        " boundary_ref, day, idempotency_key, :status, trigger, attempt, requested_at"
        " FROM ingestion_run"
    )
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(copy, {"status": status})
    with engine.begin() as connection:
        connection.execute(copy, {"status": "FAILED"})
    assert Counter(run.status for run in ledger(engine)) == {"RUNNING": 1, "FAILED": 1}


def test_the_database_itself_refuses_an_unknown_status(engine: sa.Engine) -> None:
    enqueue(engine)
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.update(ingestion_run).values(status="DONE"))


# All at once


def all_at_once(work: Callable[[int], Any]) -> list[Any]:
    """Do it in 50 threads that set off together; give what each got, or what it raised."""
    start = threading.Barrier(CROWD)
    results: list[Any] = [None] * CROWD

    def one(number: int) -> None:
        start.wait()
        try:
            results[number] = work(number)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test judges it
            results[number] = error

    threads = [threading.Thread(target=one, args=(number,)) for number in range(CROWD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_many_that_enqueue_a_key_at_once_one_makes_the_row_that_all_get(
    engine: sa.Engine,
) -> None:
    results = all_at_once(lambda _: enqueue(engine))
    (run,) = ledger(engine)
    assert [made for _, made in results].count(True) == 1
    assert all(got == run for got, _ in results)


def test_of_many_that_claim_a_key_at_once_exactly_one_wins(engine: sa.Engine) -> None:
    results = all_at_once(lambda number: claim(engine, f"run{number}"))
    won = [result for result in results if isinstance(result, runs.Claim)]
    assert Counter(type(result) for result in results) == {runs.Claim: 1, KeyHeld: CROWD - 1}
    (run,) = working(engine)
    assert (run.id, run.dagster_run_id, run.attempt) == (won[0].run_id, won[0].dagster_run_id, 1)
    # Every run that came stands in the ledger once.
    assert {run.dagster_run_id for run in ledger(engine)} == {f"run{n}" for n in range(CROWD)}
    assert Counter(run.error_code for run in ledger(engine)) == {None: 1, "key_held": CROWD - 1}


def test_of_many_that_take_a_dead_run_over_at_once_exactly_one_wins(engine: sa.Engine) -> None:
    dead = claim(engine, "dead")

    def take_over(number: int) -> runs.Claim | runs.NothingToDo:
        return runs.claim(
            engine,
            KEY,
            dagster_run_id=f"run{number}",
            worker="worker",
            trigger="ui",
            is_alive=lambda run: run.dagster_run_id != "dead",
            now=NOW,
        )

    results = all_at_once(take_over)
    assert Counter(type(result) for result in results) == {runs.Claim: 1, KeyHeld: CROWD - 1}
    assert get(engine, dead.run_id).error_code == "run_died"
    assert len(working(engine)) == 1
    assert Counter(run.error_code for run in ledger(engine)) == {
        None: 1,
        "run_died": 1,
        "key_held": CROWD - 1,
    }


def test_of_many_retries_of_a_dead_job_exactly_one_goes_on_with_its_row(
    engine: sa.Engine,
) -> None:
    dead = claim(engine, "dead")

    def retry(number: int) -> runs.Claim | runs.NothingToDo:
        return runs.claim(
            engine,
            KEY,
            dagster_run_id=f"run{number}",
            worker="worker",
            trigger="ui",
            is_alive=lambda run: run.dagster_run_id != "dead",
            now=NOW,
            run_id=dead.run_id,
        )

    results = all_at_once(retry)
    assert Counter(type(result) for result in results) == {runs.Claim: 1, KeyHeld: CROWD - 1}
    (run,) = working(engine)
    assert (run.id, run.status, run.attempt) == (dead.run_id, "RUNNING", 2)


def test_of_two_processes_that_claim_at_once_one_wins(engine: sa.Engine, database_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(2)
    answers: Queue[str] = context.Queue()
    processes = [
        context.Process(target=_claim_in_a_process, args=(database_url, name, start, answers))
        for name in ("run1", "run2")
    ]
    for process in processes:
        process.start()
    got = sorted(answers.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    assert got == ["claimed", "held"]
    assert sorted(run.status for run in ledger(engine)) == ["FAILED", "RUNNING"]


def _claim_in_a_process(url: str, name: str, start: Barrier, answers: Queue[str]) -> None:
    engine = create_engine(url)
    start.wait(timeout=60)
    try:
        claim(engine, name)
    except KeyHeld:
        answers.put("held")
    else:
        answers.put("claimed")
    engine.dispose()


def test_a_database_that_is_not_there_is_unavailable_and_worth_a_retry() -> None:
    engine = create_engine("postgresql://user:secret@127.0.0.1:1/database")
    with pytest.raises(DatabaseUnavailable) as refused:
        enqueue(engine)
    assert refused.value.should_retry
    assert "secret" not in str(refused.value)


def test_whatever_many_do_at_once_no_key_has_two_owners_and_no_canceled_run_succeeds(
    engine: sa.Engine,
) -> None:
    keys = [replace(KEY, day=DAY + timedelta(days=number)) for number in range(3)]
    succeeded: set[str] = set()
    asked_to_stop: set[str] = set()
    refused = (KeyHeld, ClaimLost, CancelRequested)

    def work(number: int) -> None:
        chance = random.Random(number)
        for turn in range(6):
            key = chance.choice(keys)
            name = f"run{number}.{turn}"
            do = chance.choice(["enqueue", "deliver", "cancel", "claim", "take over", "claim"])
            if do == "enqueue":
                enqueue(engine, key, refetch=chance.random() < 0.5)
            elif do == "deliver":
                deliver(engine, f"message-{chance.randrange(5)}-{key.day}", key)
            elif do == "cancel":
                for run in runs.page(engine, day=key.day, status=chance.choice(runs.ACTIVE)):
                    if request_cancel(engine, run.id).cancel_requested_at is not None:
                        asked_to_stop.add(run.id)
            else:
                try:
                    held = come(engine, name, key=key, alive=do == "claim")
                    if isinstance(held, runs.Claim) and chance.random() < 0.7:
                        succeed(engine, held)
                        succeeded.add(held.run_id)
                except refused:
                    pass

    assert all_at_once(work) == [None] * CROWD
    found = ledger(engine)
    assert set(Counter(run.idempotency_key for run in working(engine)).values()) <= {1}
    assert {run.id for run in found if run.status == "SUCCEEDED"} == succeeded
    assert {run.id for run in found if run.cancel_requested_at is not None} == asked_to_stop
    assert not succeeded & asked_to_stop
    # It was no idle day.
    assert succeeded
    assert asked_to_stop


# Any history at all


@dataclass
class _Row:
    """What the model knows of a row of the ledger."""

    key: JobKey
    status: str
    requested_at: datetime
    owner: int | None = None
    attempt: int = 0
    refetch: bool = False
    asked_to_stop: bool = False
    finished_at: datetime | None = None
    error_code: str | None = None

    @property
    def is_active(self) -> bool:
        return self.status in runs.ACTIVE

    def state(self) -> tuple[str, int | None, int]:
        return self.status, self.owner, self.attempt

    def start(self, owner: int, *, refetch: bool) -> None:
        self.status, self.owner = "RUNNING", owner
        self.attempt += 1
        self.refetch |= refetch

    def end(self, status: str, error_code: str | None, now: datetime) -> None:
        if self.asked_to_stop:
            assert status != "SUCCEEDED"
            status, error_code = "CANCELED", "canceled"
        self.status, self.error_code, self.finished_at = status, error_code, now


RUNS = st.integers(0, 7)
KEYS = st.integers(0, 1)
ANY_ROW = st.integers(0, 1000)


class Ledger(RuleBasedStateMachine):
    """Runs that ask for, claim, lose and end keys in any order, against a plain model.

    A run is a number; it dies once, and a dead one may still try to write: it may only have been
    believed dead. A second passes with whatever happens.
    """

    engine: ClassVar[sa.Engine]

    def __init__(self) -> None:
        super().__init__()
        self.city = next(CITIES)
        self.keys = [
            JobKey("osm_import", self.city, "bbox:0,0,1,1", DAY + timedelta(days=number))
            for number in range(2)
        ]
        self.clock = NOW
        self.rows: dict[str, _Row] = {}
        self.messages: dict[str, str] = {}
        self.dead: set[int] = set()
        self.claims: dict[tuple[int, JobKey], list[runs.Claim]] = {}
        self.views: list[runs.Run] = []
        self.ended: dict[str, runs.Run] = {}

    def now(self) -> datetime:
        self.clock += timedelta(seconds=1)
        return self.clock

    def active(self, key: JobKey) -> tuple[str, _Row] | tuple[None, None]:
        return next(
            (
                (run_id, row)
                for run_id, row in self.rows.items()
                if row.key == key and row.is_active
            ),
            (None, None),
        )

    def any_row(self, number: int) -> str | None:
        return list(self.rows)[number % len(self.rows)] if self.rows else None

    def only_new_row(self) -> str:
        """Give the one row that the model does not know yet."""
        (run_id,) = {run.id for run in ledger(self.engine, self.city)} - set(self.rows)
        return run_id

    def check_enqueued(self, key: JobKey, run: runs.Run, *, made: bool, refetch: bool) -> None:
        active, _ = self.active(key)
        assert made == (active is None)
        if active is None:
            assert run.id not in self.rows
            self.rows[run.id] = _Row(key, "PENDING", self.clock, refetch=refetch)
        else:
            assert run.id == active

    @rule(which=KEYS, refetch=st.booleans())
    def enqueue(self, which: int, refetch: bool) -> None:
        key = self.keys[which]
        run, made = enqueue(self.engine, key, refetch=refetch, now=self.now())
        self.check_enqueued(key, run, made=made, refetch=refetch)

    @rule(which=KEYS, number=st.integers(0, 2), refetch=st.booleans())
    def deliver(self, which: int, number: int, refetch: bool) -> None:
        key = self.keys[which]
        message = f"{self.city} {which} {number}"
        run, made = deliver(self.engine, message, key, refetch=refetch, now=self.now())
        if message in self.messages:
            assert (run.id, made) == (self.messages[message], False)
        else:
            self.check_enqueued(key, run, made=made, refetch=refetch)
            self.messages[message] = run.id

    @rule(
        which=KEYS,
        number=RUNS,
        waited_s=st.sampled_from([0, 2, 5, 20]),
        refetch=st.booleans(),
        job_number=st.none() | ANY_ROW,
    )
    def claim(
        self, which: int, number: int, waited_s: int, refetch: bool, job_number: int | None
    ) -> None:
        key = self.keys[which]
        now = self.now()
        requested_at = now - timedelta(seconds=waited_s)
        job = None if job_number is None else self.any_row(job_number)
        expected = self.expected_of_claim(key, number, requested_at, refetch=refetch, job=job)
        got: runs.Claim | runs.NothingToDo | None
        try:
            got = runs.claim(
                self.engine,
                key,
                dagster_run_id=str(number),
                worker="worker",
                trigger="ui",
                is_alive=lambda run: int(run.dagster_run_id or "") not in self.dead,
                now=now,
                requested_at=requested_at,
                run_id=job,
                refetch=refetch,
            )
        except (KeyHeld, ClaimLost) as error:
            got, answer = None, error.code
        else:
            answer = "nothing to do" if isinstance(got, runs.NothingToDo) else "claim"
        assert answer == expected

        held_id, held = self.active(key)
        if isinstance(got, runs.Claim):
            self.take(got, key, number, requested_at, refetch=refetch, job=job)
        elif answer == "claim_lost":
            if held is not None and job == held_id and held.asked_to_stop and self.is_dead(held):
                held.end("FAILED", "run_died", now)
        elif answer == "key_held" or not self.has_come_for_nothing(key, number):
            row = self.add(self.only_new_row(), key, requested_at)
            row.owner, row.refetch = number, refetch
            if answer == "key_held":
                row.end("FAILED", "key_held", now)
            else:
                row.end("CANCELED", "already_staged", now)

    def take(
        self,
        got: runs.Claim,
        key: JobKey,
        number: int,
        requested_at: datetime,
        *,
        refetch: bool,
        job: str | None,
    ) -> None:
        """Follow a claim that was given."""
        held_id, held = self.active(key)
        if held is not None and held.owner != number:
            if held.status == "PENDING" or job == held_id:
                held.start(number, refetch=refetch)
            else:
                held.end("FAILED", "run_died", self.clock)
                held = None
        if held is None:
            self.add(got.run_id, key, requested_at).start(number, refetch=refetch)
        row = self.rows[got.run_id]
        row.refetch = row.refetch or refetch
        assert (got.attempt, got.dagster_run_id) == (row.attempt, str(number))
        assert row.state() == ("RUNNING", number, got.attempt)
        assert got.refetch == row.refetch
        self.claims.setdefault((number, key), []).append(got)

    def add(self, run_id: str, key: JobKey, requested_at: datetime) -> _Row:
        assert run_id not in self.rows
        self.rows[run_id] = _Row(key, "PENDING", requested_at)
        return self.rows[run_id]

    def is_dead(self, row: _Row) -> bool:
        return row.status == "RUNNING" and row.owner in self.dead

    def has_come_for_nothing(self, key: JobKey, number: int) -> bool:
        return any(
            row.key == key and row.owner == number and row.error_code == "already_staged"
            for row in self.rows.values()
        )

    def expected_of_claim(
        self, key: JobKey, number: int, requested_at: datetime, *, refetch: bool, job: str | None
    ) -> str:
        """Work out what a run that comes is told."""
        held_id, held = self.active(key)
        if held is not None and held.owner == number:
            return "claim"
        if self.has_come_for_nothing(key, number):
            return "nothing to do"
        mine = [row for row in self.rows.values() if row.key == key and row.owner == number]
        settled = (
            "claim_lost"
            if mine
            else self.expected_of_work(key, requested_at, refetch=refetch, job=job)
        )
        if settled is not None:
            return settled
        if held is not None and held.status == "RUNNING" and not self.is_dead(held):
            return "key_held"
        is_stopped_job = held is not None and held.asked_to_stop and job == held_id
        return "claim_lost" if is_stopped_job else "claim"

    def expected_of_work(
        self, key: JobKey, requested_at: datetime, *, refetch: bool, job: str | None
    ) -> str | None:
        """Work out whether there is nothing left to do, or nothing that may be done."""
        if job is not None:
            asked_for = self.rows[job]
            if asked_for.key != key or asked_for.status in ("FAILED", "CANCELED"):
                return "claim_lost"
            return "nothing to do" if asked_for.status == "SUCCEEDED" else None
        is_staged = any(
            row.finished_at is not None
            and row.finished_at > requested_at
            and row.refetch >= refetch
            for row in self.rows.values()
            if row.key == key and row.status == "SUCCEEDED"
        )
        return "nothing to do" if is_staged else None

    @rule(number=RUNS)
    def die(self, number: int) -> None:
        self.dead.add(number)

    @rule(
        which=KEYS,
        number=RUNS,
        how=st.sampled_from(["SUCCEEDED", "FAILED", "CANCELED"]),
        latest=st.booleans(),
    )
    def end(self, which: int, number: int, how: str, latest: bool) -> None:
        claims = self.claims.get((number, self.keys[which]))
        if not claims:
            return
        held = claims[-1 if latest else 0]
        row = self.rows[held.run_id]
        now = self.now()
        stands = row.state() == ("RUNNING", number, held.attempt)
        if how != "SUCCEEDED":
            assert (fail if how == "FAILED" else cancel)(self.engine, held, now=now) == stands
            if stands:
                row.end(how, "broken" if how == "FAILED" else "interrupted", now)
        elif not stands or row.asked_to_stop:
            with pytest.raises(CancelRequested if stands else ClaimLost):
                succeed(self.engine, held, now=now)
        else:
            succeed(self.engine, held, now=now)
            row.end("SUCCEEDED", None, now)

    @rule(number=ANY_ROW)
    def ask_to_stop(self, number: int) -> None:
        run_id = self.any_row(number)
        if run_id is None:
            return
        now = self.now()
        row = self.rows[run_id]
        was_pending = row.status == "PENDING"
        row.asked_to_stop |= row.is_active
        if was_pending:
            row.end("CANCELED", "canceled", now)
        asked = request_cancel(self.engine, run_id, now=now)
        assert (asked.status, asked.cancel_requested_at is not None) == (
            row.status,
            row.asked_to_stop,
        )

    @rule(number=ANY_ROW)
    def look(self, number: int) -> None:
        run_id = self.any_row(number)
        if run_id is not None:
            self.views.append(get(self.engine, run_id))

    @rule(number=ANY_ROW)
    def sweep(self, number: int) -> None:
        if not self.views:
            return
        view = self.views[number % len(self.views)]
        row = self.rows[view.id]
        now = self.now()
        owner = None if view.dagster_run_id is None else int(view.dagster_run_id)
        is_same = row.is_active and row.state() == (view.status, owner, view.attempt)
        assert end_if_unchanged(self.engine, view, now=now) == is_same
        if is_same:
            row.end("FAILED", "run_died", now)

    @rule(patience_s=st.integers(1, 30))
    def expire(self, patience_s: int) -> None:
        now = self.now()
        before = now - timedelta(seconds=patience_s)
        # Other histories in this database have ended; their rows would be counted as well.
        with self.engine.connect() as connection:
            started = ingestion_run.c.started_at
            # That of an active run which is ahead counts as now.
            is_ahead = sa.and_(started > now, ingestion_run.c.status.in_(runs.ACTIVE))
            moves = connection.execute(
                sa.select(sa.exists().where(sa.or_(started.between(before, now), is_ahead)))
            ).scalar_one()
        runs.expire(self.engine, requested_before=before, now=now)
        for row in self.rows.values():
            if row.status == "PENDING" and row.requested_at < before and not moves:
                row.end("FAILED", "never_started", now)

    @invariant()
    def the_ledger_keeps_its_promises(self) -> None:
        found = ledger(self.engine, self.city)
        # It is what the model says,
        assert {
            run.id: (run.status, run.attempt, run.error_code, run.refetch) for run in found
        } == {
            run_id: (row.status, row.attempt, row.error_code, row.refetch)
            for run_id, row in self.rows.items()
        }
        # no key has two active rows,
        active = Counter(run.idempotency_key for run in found if run.status in runs.ACTIVE)
        assert set(active.values()) <= {1}
        # nothing succeeds that was asked to stop,
        assert not [r for r in found if r.cancel_requested_at and r.status == "SUCCEEDED"]
        # and what has ended never changes.
        for run in found:
            if run.status not in runs.ACTIVE:
                assert self.ended.setdefault(run.id, run) == run


@pytest.mark.slow
def test_any_history_of_the_ledger_keeps_its_promises(engine: sa.Engine) -> None:
    class HereLedger(Ledger):
        pass

    HereLedger.engine = engine
    run_state_machine_as_test(
        HereLedger,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
