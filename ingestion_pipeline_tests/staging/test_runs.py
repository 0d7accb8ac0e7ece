"""The ledger: who may work on a key, whatever happens at once and whatever dies."""

from __future__ import annotations

import itertools
import multiprocessing
import threading
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ingestion_pipeline.identity import JobKey
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import create_engine, write_transaction
from ingestion_pipeline.staging.errors import ClaimLost, DatabaseUnavailable, KeyHeld
from ingestion_pipeline.staging.tables import ingestion_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Barrier

NOW = datetime(2026, 11, 20, 3, 4, 5, tzinfo=UTC)
DAY = date(2026, 11, 20)
KEY = JobKey("osm_import", "kazan", "relation/27504067", DAY)
CITIES = (f"city{number}" for number in itertools.count())
CROWD = 50


def claim(
    engine: sa.Engine,
    dagster_run_id: str,
    *,
    key: JobKey = KEY,
    worker: str = "worker",
    alive: bool = True,
    run_id: str | None = None,
    now: datetime = NOW,
) -> runs.Claim:
    return runs.claim(
        engine,
        key,
        dagster_run_id=dagster_run_id,
        worker=worker,
        trigger="ui",
        is_alive=lambda _: alive,
        now=now,
        run_id=run_id,
    )


def enqueue(engine: sa.Engine, key: JobKey = KEY) -> tuple[runs.Run, bool]:
    return runs.enqueue(engine, key, trigger="admin", now=NOW)


def succeed(engine: sa.Engine, held: runs.Claim) -> None:
    with write_transaction(engine) as connection:
        runs.fence(connection, held)
        runs.succeed(connection, held, as_of=NOW, counts={"rows": 1}, now=NOW)


def fail(engine: sa.Engine, held: runs.Claim) -> bool:
    return runs.fail(engine, held, error_code="broken", error_message="it broke", now=NOW)


def cancel(engine: sa.Engine, held: runs.Claim) -> bool:
    return runs.cancel(engine, held, error_code="canceled", error_message="not wanted", now=NOW)


def get(engine: sa.Engine, run_id: str) -> runs.Run:
    run = runs.get(engine, run_id)
    assert run is not None
    return run


def ledger(engine: sa.Engine, city: str = "kazan") -> list[runs.Run]:
    return runs.recent(engine, city_slug=city, limit=1000)


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


# Claim


def test_a_pending_row_is_claimed_as_it_stands(engine: sa.Engine) -> None:
    run, _ = enqueue(engine)
    later = NOW + timedelta(minutes=1)
    held = claim(engine, "run1", now=later)
    assert held == runs.Claim(run.id, str(KEY), "run1", attempt=1)
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
    before = ledger(engine)
    with pytest.raises(KeyHeld) as refused:
        claim(engine, "run2")
    message = str(refused.value)
    assert str(KEY) in message
    assert f"Dagster run run1 (job {held.run_id}, started 2026-11-20T03:04:05Z by ui)" in message
    assert ledger(engine) == before


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
    assert held == runs.Claim(dead.run_id, str(KEY), "run2", attempt=2)
    assert [run.status for run in ledger(engine)] == ["RUNNING"]


def test_a_retry_of_another_job_takes_a_dead_run_over_like_anybody_else(
    engine: sa.Engine,
) -> None:
    dead = claim(engine, "run1")
    held = claim(engine, "run2", alive=False, run_id="some other job")
    assert held.run_id != dead.run_id
    assert get(engine, dead.run_id).status == "FAILED"


def test_a_retry_of_the_same_job_does_not_push_a_live_run_aside(engine: sa.Engine) -> None:
    held = claim(engine, "run1")
    with pytest.raises(KeyHeld):
        claim(engine, "run2", run_id=held.run_id)


# Fence and the ends


def test_a_run_that_was_taken_over_has_lost_its_claim(engine: sa.Engine) -> None:
    dead = claim(engine, "run1")
    claim(engine, "run2", alive=False)
    with pytest.raises(ClaimLost, match=r"run1 no longer holds.*is FAILED.*taken over by.*run2"):
        succeed(engine, dead)


def test_a_claim_on_the_row_of_a_later_attempt_is_lost(engine: sa.Engine) -> None:
    dead = claim(engine, "run1")
    held = claim(engine, "run2", alive=False, run_id=dead.run_id)
    with pytest.raises(ClaimLost, match="is RUNNING; nothing was written"):
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
    with pytest.raises(ClaimLost, match="taken over by Dagster run run2"):
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


def test_recent_runs_come_newest_first_and_by_city(engine: sa.Engine) -> None:
    for hour, city in enumerate(["kazan", "sochi", "kazan"]):
        held = claim(
            engine, f"run{hour}", key=replace(KEY, city_slug=city), now=NOW + timedelta(hours=hour)
        )
        fail(engine, held)
    hours = [run.requested_at.hour for run in runs.recent(engine)]
    assert hours == [5, 4, 3]
    assert [run.requested_at.hour for run in runs.recent(engine, city_slug="kazan")] == [5, 3]
    assert len(runs.recent(engine, limit=1)) == 1


def test_an_unknown_run_is_none(engine: sa.Engine) -> None:
    assert runs.get(engine, "no such run") is None


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
    (run,) = ledger(engine)
    assert (run.id, run.dagster_run_id, run.attempt) == (won[0].run_id, won[0].dagster_run_id, 1)


def test_of_many_that_take_a_dead_run_over_at_once_exactly_one_wins(engine: sa.Engine) -> None:
    dead = claim(engine, "dead")

    def take_over(number: int) -> runs.Claim:
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
    assert Counter(run.status for run in ledger(engine)) == {"RUNNING": 1, "FAILED": 1}


def test_of_many_retries_of_a_dead_job_exactly_one_goes_on_with_its_row(
    engine: sa.Engine,
) -> None:
    dead = claim(engine, "dead")

    def retry(number: int) -> runs.Claim:
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
    assert [(run.id, run.status, run.attempt) for run in ledger(engine)] == [
        (dead.run_id, "RUNNING", 2)
    ]


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
    assert [run.status for run in ledger(engine)] == ["RUNNING"]


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


# Any history at all


@dataclass
class _Row:
    """What the model knows of a row of the ledger."""

    key: JobKey
    status: str
    owner: int | None = None
    attempt: int = 0


RUNS = st.integers(0, 7)


class Ledger(RuleBasedStateMachine):
    """Runs that ask for, claim, lose and end keys in any order, against a plain model.

    A run is a number; it dies once, and a dead one may still try to write: it may only have been
    believed dead.
    """

    engine: ClassVar[sa.Engine]

    def __init__(self) -> None:
        super().__init__()
        city = next(CITIES)
        self.keys = [
            JobKey("osm_import", city, "bbox:0,0,1,1", DAY + timedelta(days=number))
            for number in range(2)
        ]
        self.rows: dict[str, _Row] = {}
        self.dead: set[int] = set()
        self.claims: dict[tuple[int, JobKey], list[runs.Claim]] = {}
        self.ended: dict[str, runs.Run] = {}

    def active(self, key: JobKey) -> tuple[str, _Row] | None:
        return next(
            (
                (run_id, row)
                for run_id, row in self.rows.items()
                if row.key == key and row.status in runs.ACTIVE
            ),
            None,
        )

    @rule(which=st.integers(0, 1))
    def enqueue(self, which: int) -> None:
        key = self.keys[which]
        expected = self.active(key)
        run, made = enqueue(self.engine, key)
        assert made == (expected is None)
        if expected is None:
            assert run.id not in self.rows
            self.rows[run.id] = _Row(key, "PENDING")
        else:
            assert run.id == expected[0]

    @rule(which=st.integers(0, 1), number=RUNS, as_retry=st.booleans())
    def claim(self, which: int, number: int, as_retry: bool) -> None:
        key = self.keys[which]
        held = self.active(key)
        owner = held[1].owner if held else None
        had_one = any(
            row.key == key and row.owner == number and row.status not in runs.ACTIVE
            for row in self.rows.values()
        )
        try:
            got = runs.claim(
                self.engine,
                key,
                dagster_run_id=str(number),
                worker="worker",
                trigger="ui",
                is_alive=lambda run: int(run.dagster_run_id or "") not in self.dead,
                now=NOW,
                run_id=held[0] if held and as_retry else None,
            )
        except KeyHeld:
            assert not had_one
            assert owner not in {None, number} | self.dead
            return
        except ClaimLost:
            assert had_one
            return
        assert not had_one
        assert owner in {None, number} | self.dead
        if held is None:
            assert got.run_id not in self.rows
            self.rows[got.run_id] = _Row(key, "RUNNING", number, 1)
        elif owner is None or (owner != number and as_retry):
            assert got.run_id == held[0]
            held[1].status, held[1].owner = "RUNNING", number
            held[1].attempt += 1
        elif owner != number:
            assert got.run_id not in self.rows
            held[1].status = "FAILED"
            self.rows[got.run_id] = _Row(key, "RUNNING", number, 1)
        row = self.rows[got.run_id]
        assert (got.attempt, row.owner, got.dagster_run_id) == (row.attempt, number, str(number))
        self.claims.setdefault((number, key), []).append(got)

    @rule(number=RUNS)
    def die(self, number: int) -> None:
        self.dead.add(number)

    @rule(
        which=st.integers(0, 1),
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
        stands = (row.status, row.owner, row.attempt) == ("RUNNING", number, held.attempt)
        if how == "SUCCEEDED":
            if stands:
                succeed(self.engine, held)
            else:
                with pytest.raises(ClaimLost):
                    succeed(self.engine, held)
        else:
            assert (fail if how == "FAILED" else cancel)(self.engine, held) == stands
        if stands:
            row.status = how

    @invariant()
    def the_ledger_keeps_its_promises(self) -> None:
        found = ledger(self.engine, self.keys[0].city_slug)
        # It is what the model says,
        assert {run.id: (run.status, run.attempt) for run in found} == {
            run_id: (row.status, row.attempt) for run_id, row in self.rows.items()
        }
        # no key has two active rows,
        active = Counter(run.idempotency_key for run in found if run.status in runs.ACTIVE)
        assert set(active.values()) <= {1}
        # and what has ended never changes.
        for run in found:
            if run.status not in runs.ACTIVE:
                assert self.ended.setdefault(run.id, run) == run


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
