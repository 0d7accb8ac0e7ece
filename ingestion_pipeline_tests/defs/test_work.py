"""The claim around every step, and what the ledger says when a step ends in any way."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.execution.api import create_execution_plan, execute_run
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from pydantic import SecretStr

from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.dagster_runtime.liveness import WORKER_TAG, worker
from ingestion_pipeline.defs.failures import Retrying
from ingestion_pipeline.defs.work import ERROR_CODE_TAG, trigger_of
from ingestion_pipeline.quality.catalogue import CHECKS
from ingestion_pipeline.staging import leases, runs
from ingestion_pipeline.staging.days import Slice, read_day
from ingestion_pipeline.staging.tables import staged_partition
from ingestion_pipeline_tests.support.installation import (
    TODAY,
    Hurried,
    ScriptedClock,
    WrongClock,
    failure,
    installed,
    metadata,
    new_run_id,
    overpass_cafes,
    why,
)
from ingestion_pipeline_tests.support.overpass_server import (
    OverpassServer,
    Reply,
    error_page,
    overpass_json,
)
from ingestion_pipeline_tests.support.staged import poi_rows
from testbed.claims import evidence_of, replace_slice
from testbed.towns import NOON, TOWN, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline_tests.support.installation import Installation

KEY = f"town|{TODAY}"
GOOD = Reply(body=overpass_json(overpass_cafes({1: "A", 2: "B"}), base="2024-06-01T11:59:00Z"))
STALE = Reply(body=overpass_json(overpass_cafes({1: "A", 2: "B"}), base="2024-05-01T00:00:00Z"))


def job_key(here: Installation) -> JobKey:
    city = here.workshop.cities.get("town")
    return JobKey("osm_import", "town", city.boundary_key, TODAY)


def take(
    here: Installation, *, worker_name: str, dagster_run_id: str = "", job: str | None = None
) -> runs.Claim:
    """Take the key as another Dagster run does, which believes that any holder is dead."""
    held = runs.claim(
        here.engine,
        job_key(here),
        dagster_run_id=dagster_run_id or new_run_id(),
        worker=worker_name,
        trigger="ui",
        is_alive=lambda _: False,
        now=NOON,
        run_id=job,
    )
    assert isinstance(held, runs.Claim)
    return held


def stage_by_hand(here: Installation, claim: runs.Claim) -> None:
    """Stage other rows with another run's claim."""
    replace_slice(
        here.engine,
        Slice("town", "poi", "osm", TODAY),
        poi_rows({"node/900": "the newer run's"}),
        rejections=[],
        evidence=evidence_of(TODAY),
        claim=claim,
        now=NOON,
    )


def staged_refs(here: Installation) -> list[str] | None:
    rows = read_day(here.engine, Slice("town", "poi", "osm", TODAY), ["source_ref"])
    return None if rows is None else [row["source_ref"] for row in rows]


# Errors


def test_a_passing_error_is_tried_again_while_the_ledger_says_running(
    install_town: Callable[..., Installation],
) -> None:
    seen: list[str] = []

    def answer(_: object) -> Reply:
        seen.extend(run.status for run in here.ledger())
        return STALE if len(seen) == 1 else GOOD

    with OverpassServer(answer) as server:
        here = install_town(
            clock=ScriptedClock(),
            overpass_url=server.url,
            retrying=Retrying(maximum=2, first_wait_s=0.2),
        )
        result = here.run(KEY)
    assert result.success, why(result)
    (again,) = [event for event in result.all_events if event.is_step_up_for_retry]
    assert again.step_retry_data.seconds_to_wait is not None
    assert 0.1 <= again.step_retry_data.seconds_to_wait <= 0.3
    assert "StaleUpstream" in str(again.step_retry_data.error)
    assert seen == ["RUNNING", "RUNNING"]
    (run,) = here.ledger()
    assert (run.status, run.attempt) == ("SUCCEEDED", 1)


NO_SLOT = Reply(429, error_page("runtime error: rate_limited"), "text/html")
SLOT_SOON = Reply(200, "Slot available after: soon, in 50 seconds.\n", "text/plain")


@pytest.mark.parametrize(("maximum", "retries", "slept_s"), [(3, 1, 0), (0, 0, 50)])
def test_a_slot_is_waited_for_between_two_tries_of_the_step_where_it_is_tried_again(
    install_town: Callable[..., Installation], maximum: int, retries: int, slept_s: int
) -> None:
    with OverpassServer() as server:
        server.enqueue(NO_SLOT, SLOT_SOON, GOOD)
        clock = ScriptedClock()
        here = install_town(clock=clock, overpass_url=server.url, retrying=Hurried(maximum=maximum))
        result = here.run(KEY)
    assert result.success, why(result)
    assert sum(event.is_step_up_for_retry for event in result.all_events) == retries
    assert slept_s <= (clock.now() - NOON).total_seconds() <= slept_s * 1.1


def test_when_no_retry_helps_the_run_fails_with_the_last_reason(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(STALE) as server:
        here = install_town(
            clock=ScriptedClock(),
            overpass_url=server.url,
            retrying=Retrying(maximum=2, first_wait_s=0.01),
        )
        result = here.run(KEY)
        assert len(server.requests) == 3
    code, words = failure(result)
    assert code == "stale_upstream"
    (run,) = here.ledger()
    assert (run.status, run.error_code, run.error_message) == ("FAILED", code, words)
    assert run.finished_at is not None


def error_tag(here: Installation, result: dg.ExecuteInProcessResult) -> str | None:
    """Tell what Dagster's list of runs says of a run's error."""
    run = here.instance.get_run_by_id(result.run_id)
    assert run is not None
    return run.tags.get(ERROR_CODE_TAG)


def test_a_lasting_error_fails_at_once(install_town: Callable[..., Installation]) -> None:
    here = install_town()  # no OVERPASS_URL
    result = here.run(KEY)
    code, words = failure(result)
    assert code == "overpass_not_configured"
    assert "OVERPASS_URL" in words
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data is not None
    assert here.ledger()[0].error_code == code
    assert error_tag(here, result) == code
    error = event.step_failure_data.error
    assert error is not None
    assert error.cause is None
    skipped = {event.step_key for event in result.all_events if event.is_step_skipped}
    executed = {event.step_key for event in result.all_events if event.is_step_start}
    assert executed == {"osm_snapshot"}
    assert not skipped & executed


def test_what_nobody_foresaw_fails_the_run_and_keeps_its_traceback_in_dagster(
    install_town: Callable[..., Installation],
) -> None:
    def break_down(look: int) -> None:
        if look == 2:
            raise ZeroDivisionError("the clock has stopped")

    clock = ScriptedClock(on_look=break_down)
    result = install_town(clock=clock, overpass_url="http://127.0.0.1:1/api").run(KEY)
    assert not result.success
    told = why(result)
    assert "ZeroDivisionError: the clock has stopped" in told
    assert "break_down" in told


def test_what_nobody_foresaw_is_an_unexpected_error_in_the_ledger(
    install_town: Callable[..., Installation],
) -> None:
    def break_down(look: int) -> None:
        if look == 2:
            raise ZeroDivisionError

    here = install_town(
        clock=ScriptedClock(on_look=break_down), overpass_url="http://127.0.0.1:1/api"
    )
    here.run(KEY)
    (run,) = here.ledger()
    assert (run.status, run.error_code) == ("FAILED", "unexpected_error")
    assert "ZeroDivisionError" in (run.error_message or "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_terminated_run_ends_as_canceled(
    install_town: Callable[..., Installation], number: signal.Signals
) -> None:
    def terminate(_: object) -> Reply:
        (run,) = here.instance.get_runs()
        here.instance.report_run_canceling(run)
        os.kill(os.getpid(), number)
        return replace(GOOD, delay_s=5)

    with OverpassServer(terminate) as server:
        here = install_town(overpass_url=server.url)
        day = f"{here.workshop.clock.now():%Y-%m-%d}"
        result = here.run(f"town|{day}")
        assert not result.success
        (dagster_run,) = here.instance.get_runs()
    assert dagster_run.status == dg.DagsterRunStatus.CANCELED
    (run,) = here.ledger()
    assert (run.status, run.error_code) == ("CANCELED", "interrupted")
    assert not [event for event in result.all_events if event.is_step_up_for_retry]
    assert here.manifests() == []


def test_the_reason_is_told_even_when_the_database_goes_away_in_the_middle(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    def lose_database(_: object) -> Reply:
        (tmp_path / "staging.gpkg").rename(tmp_path / "moved.gpkg")
        (tmp_path / "staging.gpkg").mkdir()
        return Reply(400, "no", "text/html")

    with OverpassServer(lose_database) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        assert failure(here.run(KEY))[0] == "overpass_rejected"
    (tmp_path / "staging.gpkg").rmdir()
    (tmp_path / "moved.gpkg").rename(tmp_path / "staging.gpkg")
    assert here.ledger()[0].status == "RUNNING"  # nobody could tell; the next run finds it dead
    with OverpassServer(GOOD) as server:
        settings = here.workshop.settings.model_copy(update={"overpass_url": SecretStr(server.url)})
        again = replace(here, workshop=replace(here.workshop, settings=settings)).run(KEY)
    assert again.success, why(again)
    assert {(run.status, run.error_code) for run in here.ledger()} == {
        ("FAILED", "run_died"),
        ("SUCCEEDED", None),
    }


# Who started the run


@pytest.mark.parametrize(
    ("tags", "trigger"),
    [
        ({}, "ui"),
        ({"dagster/backfill": "abc"}, "backfill"),
        ({"dagster/schedule_name": "daily"}, "schedule"),
        ({"dagster/sensor_name": "admin_trigger_sensor"}, "admin"),
        ({"ingestion/trigger": "cli"}, "cli"),
        ({"ingestion/trigger": "graphql", "dagster/backfill": "abc"}, "graphql"),
        ({"ingestion/trigger": "callback", "dagster/sensor_name": "any"}, "callback"),
        ({"ingestion/trigger": "something else", "dagster/backfill": "abc"}, "backfill"),
        ({"ingestion/trigger": "admin", "dagster/parent_run_id": "abc"}, "ui"),
        (
            {
                "ingestion/trigger": "admin",
                "dagster/parent_run_id": "abc",
                "dagster/retry_number": "1",
            },
            "admin",
        ),
    ],
)
def test_the_tags_tell_what_started_a_run(tags: dict[str, str], trigger: str) -> None:
    assert trigger_of(tags) == trigger


def test_the_ledger_keeps_what_started_a_run(install_town: Callable[..., Installation]) -> None:
    here = install_town()
    here.run(KEY, tags={"dagster/backfill": "abc"})
    assert here.ledger()[0].trigger == "backfill"


def test_a_run_that_was_started_for_a_job_of_the_ledger_works_on_that_job(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        job, _ = runs.enqueue(here.engine, job_key(here), trigger="admin", now=NOON)
        result = here.run(KEY, tags={"ingestion/run_id": job.id})
        assert result.success, why(result)
    (run,) = here.ledger()
    assert (run.id, run.status, run.trigger) == (job.id, "SUCCEEDED", "admin")
    assert run.dagster_run_id == result.run_id


# Keys that are held


def test_a_key_that_a_live_run_holds_is_left_alone_and_its_holder_is_named(
    install_town: Callable[..., Installation],
) -> None:
    here = install_town(overpass_url="http://127.0.0.1:1/api")
    holder = take(here, worker_name=worker())
    (before,) = here.ledger()
    result = here.run(KEY)
    code, words = failure(result)
    assert code == "key_held"
    assert holder.dagster_run_id in words
    assert holder.run_id in words
    left = {run.dagster_run_id: run for run in here.ledger()}
    assert left.pop(holder.dagster_run_id) == before
    newcomer = left.pop(result.run_id)
    assert (newcomer.status, newcomer.error_code, newcomer.error_message) == (
        "FAILED",
        code,
        words,
    )
    assert not left
    assert here.count(staged_partition) == 0
    assert here.manifests() == []


def test_dagster_knows_a_runs_process(install_town: Callable[..., Installation]) -> None:
    here = install_town()
    run_id = here.run(f"town|{TODAY}").run_id
    known = here.instance.get_run_by_id(run_id)
    assert known is not None
    assert known.tags[WORKER_TAG] == worker()


@pytest.mark.parametrize(
    "name", ["{host}/{boot} 4194999 1.00", "elsewhere/boot/pid:[1] 7 1.00"],
    ids=["its process is gone", "another machine's, and unknown to Dagster"],
)  # fmt: skip
def test_a_dead_runs_key_is_taken_over(
    install_town: Callable[..., Installation], name: str
) -> None:
    machine = worker().split(" ")[0]
    host, _, boot = machine.partition("/")
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        dead = take(here, worker_name=name.format(host=host, boot=boot))
        result = here.run(KEY)
        assert result.success, why(result)
    statuses = {run.id: (run.status, run.error_code) for run in here.ledger()}
    assert statuses.pop(dead.run_id) == ("FAILED", "run_died")
    assert list(statuses.values()) == [("SUCCEEDED", None)]


def test_the_key_of_a_run_that_dagster_knows_to_be_finished_is_taken_over(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        finished = dg.DagsterRun(
            job_name="osm_import", run_id=new_run_id(), status=dg.DagsterRunStatus.FAILURE
        )
        here.instance.add_run(finished)
        take(here, worker_name=worker(), dagster_run_id=finished.run_id)
        result = here.run(KEY)
        assert result.success, why(result)
    assert sorted(run.status for run in here.ledger()) == ["FAILED", "SUCCEEDED"]


# Claims that are lost


@pytest.mark.parametrize("newer_run_ends", [True, False])
def test_a_run_that_lost_its_key_while_it_fetched_keeps_its_bytes_to_itself(
    install_town: Callable[..., Installation], newer_run_ends: bool
) -> None:
    def take_over(_: object) -> Reply:
        claim = take(here, worker_name=worker())
        if newer_run_ends:
            stage_by_hand(here, claim)
        return GOOD

    with OverpassServer(take_over) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        code, words = failure(here.run(KEY))
    assert code == "claim_lost"
    assert "run_died" in words or "taken over" in words
    assert here.manifests() == []
    assert staged_refs(here) == (["node/900"] if newer_run_ends else None)
    old, new = sorted(here.ledger(), key=lambda run: run.status != "FAILED")
    assert (old.status, old.error_code) == ("FAILED", "run_died")
    assert new.status == ("SUCCEEDED" if newer_run_ends else "RUNNING")


LOOKS = {
    "as osm_pois begins": 4,
    "as poi_staging begins": 5,
    "just before it writes": 6,
}
"""The looks at the clock by a run from an extract: claim, asked, came; claim; claim, write."""


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
@pytest.mark.parametrize("newer_run_ends", [True, False])
def test_a_run_that_lost_its_key_later_cannot_write(
    install_town: Callable[..., Installation], tmp_path: Path, look: int, newer_run_ends: bool
) -> None:
    def take_over(number: int) -> None:
        if number == look:
            claim = take(here, worker_name=worker())
            if newer_run_ends:
                stage_by_hand(here, claim)

    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A", 2: "B"})
    here = install_town(
        city={"osm_source": "extract", "osm_extract": str(extract)},
        clock=ScriptedClock(on_look=take_over),
    )
    assert failure(here.run(KEY))[0] == "claim_lost"
    assert staged_refs(here) == (["node/900"] if newer_run_ends else None)
    assert sorted(run.status for run in here.ledger()) == [
        "FAILED",
        "SUCCEEDED" if newer_run_ends else "RUNNING",
    ]


# Runs that waited in Dagster's queue


def put_into_queue(here: Installation, key: str, *, refetch: bool = False) -> dg.DagsterRun:
    """Let Dagster know of a run that waits for its turn, as its queue does."""
    city, _, day = key.partition("|")
    location = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "__repository__")
    run = here.instance.create_run_for_job(
        here.job(),
        remote_job_origin=RemoteJobOrigin(location, "osm_import"),
        run_config={"ops": {"osm_snapshot": {"config": {"refetch": refetch}}}},
        tags={
            "dagster/partition": key,
            "dagster/partition/city": city,
            "dagster/partition/day": day,
        },
    )
    here.instance.report_dagster_event(DagsterEvent.job_enqueue(run), run.run_id)
    return run


def start_from_queue(here: Installation, run: dg.DagsterRun) -> bool:
    """Start a run that waited; tell whether it ended well."""
    starting = DagsterEvent(DagsterEventType.PIPELINE_STARTING.value, run.job_name)
    here.instance.report_dagster_event(starting, run.run_id)
    started = here.instance.get_run_by_id(run.run_id)
    assert started is not None
    return execute_run(InMemoryJob(here.job()), started, here.instance).success


def metadata_of_run(here: Installation, run_id: str) -> dict[str, dict[str, Any]]:
    """Give what each asset that a run materialized says."""
    events = [
        entry.dagster_event.step_materialization_data.materialization
        for entry in here.instance.all_logs(run_id, DagsterEventType.ASSET_MATERIALIZATION)
        if entry.dagster_event is not None
    ]
    return {
        event.asset_key.to_user_string(): {
            name: entry.value for name, entry in event.metadata.items()
        }
        for event in events
    }


def fresh(_: object) -> Reply:
    """Answer as of this very moment: queues tell the time by Dagster's own clock."""
    base = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Reply(body=overpass_json(overpass_cafes({1: "A", 2: "B"}), base=base))


def test_a_run_that_waited_behind_the_one_that_staged_its_day_ends_well_with_nothing_to_do(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(fresh) as server:
        here = install_town(overpass_url=server.url)
        key = f"town|{here.workshop.clock.now():%Y-%m-%d}"
        waiting = put_into_queue(here, key)
        first = here.run(key)
        assert first.success, why(first)
        assert start_from_queue(here, waiting)
        assert len(server.requests) == 1
    told = metadata_of_run(here, waiting.run_id)
    rows = {run.dagster_run_id: run for run in here.ledger()}
    mine = rows.pop(waiting.run_id)
    assert (mine.status, mine.error_code) == ("CANCELED", "already_staged")
    assert told == {
        name: {"nothing_to_do": mine.error_message}
        for name in ("osm_snapshot", "osm_pois", "poi_staging")
    }
    logged = here.instance.all_logs(waiting.run_id, of_type=DagsterEventType.ASSET_CHECK_EVALUATION)
    looked = [entry.get_dagster_event().asset_check_evaluation_data for entry in logged]
    assert len(looked) == len(CHECKS)
    assert {each.description for each in looked} == {"good when the day was staged"}
    assert first.run_id in (mine.error_message or "")
    assert [(run.dagster_run_id, run.status) for run in rows.values()] == [
        (first.run_id, "SUCCEEDED")
    ]


def test_a_refetch_that_waited_behind_a_run_that_did_not_ask_upstream_does_so(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(fresh) as server:
        here = install_town(overpass_url=server.url)
        key = f"town|{here.workshop.clock.now():%Y-%m-%d}"
        waiting = put_into_queue(here, key, refetch=True)
        assert here.run(key).success
        assert start_from_queue(here, waiting)
        assert len(server.requests) == 2
    assert metadata_of_run(here, waiting.run_id)["osm_snapshot"]["replayed"] is False
    assert [run.status for run in here.ledger()] == ["SUCCEEDED"] * 2


def test_a_run_that_was_put_into_the_queue_after_the_day_was_staged_works(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(fresh) as server:
        here = install_town(overpass_url=server.url)
        key = f"town|{here.workshop.clock.now():%Y-%m-%d}"
        assert here.run(key).success
        later = put_into_queue(here, key)
        assert start_from_queue(here, later)
    assert metadata_of_run(here, later.run_id)["poi_staging"]["written"] == 0
    assert [run.status for run in here.ledger()] == ["SUCCEEDED"] * 2


@pytest.mark.parametrize("by", [timedelta(days=1), timedelta(days=-1)])
def test_a_machine_whose_clock_is_wrong_keeps_no_later_run_from_its_work(
    tmp_path: Path, postgis_url: str, by: timedelta
) -> None:
    """All that it writes down is of the database's clock."""
    before = datetime.now(UTC)
    day = before.date() - timedelta(days=2)
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A"}, at=at)
    city = TOWN | {"osm_source": "extract", "osm_extract": str(extract)}
    with installed(tmp_path, postgis_url, cities=[city]) as here:
        right = here.workshop.clock
        here.workshop.clock = WrongClock(by)
        first = here.run(f"town|{day}")
        assert first.success, why(first)
        here.workshop.clock = right
        assert start_from_queue(here, put_into_queue(here, f"town|{day}"))
        # Here the clock is corrected while a run waits, or it starts on another machine.
        time.sleep(1.1)  # Dagster writes down in which second it made a run
        waiting = put_into_queue(here, f"town|{day}")
        here.workshop.clock = WrongClock(by)
        assert start_from_queue(here, waiting)
        ledger = here.ledger()
        with here.engine.connect() as connection:
            (staged_at,) = connection.execute(sa.select(staged_partition.c.staged_at)).scalars()
    after = datetime.now(UTC)
    assert [run.status for run in ledger] == ["SUCCEEDED"] * 3
    for run in ledger:
        assert run.started_at is not None
        assert run.finished_at is not None
        assert run.requested_at <= run.started_at <= run.finished_at
    moments = [moment for run in ledger for moment in (run.started_at, run.finished_at)]
    for moment in (staged_at, *moments):
        assert moment is not None
        assert before - timedelta(milliseconds=1) <= moment <= after


# Leases


def test_a_run_has_a_lease_from_its_start_to_its_end_and_writes_only_while_it_lasts(
    tmp_path: Path, postgis_url: str
) -> None:
    seen = []

    def reply(_: object) -> Reply:
        seen.append(leases.all_live(here.engine))
        if len(seen) > 1:  # the second run is taken for dead while it fetches
            (dead,) = here.workshop.leases
            leases.revoke(here.engine, dead)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(body=overpass_json(overpass_cafes({1: "A", 2: "B"}), base=now))

    with (
        OverpassServer(reply) as server,
        installed(tmp_path, postgis_url, cities=[TOWN], overpass_url=server.url) as here,
    ):
        key = f"town|{here.workshop.clock.now():%Y-%m-%d}"
        first = here.run(key)
        assert first.success, why(first)
        assert seen == [{first.run_id: True}]
        assert leases.all_live(here.engine) == {}
        late = here.run(key, refetch=True)
        assert failure(late)[0] == "lease_lost"
        assert leases.all_live(here.engine) == {late.run_id: False}  # for the sweep
        assert not here.workshop.leases
        assert [run.error_code for run in here.ledger()] == [None, "lease_lost"]


# Jobs of the ledger that are started more than once


def api_job(here: Installation, *, refetch: bool = False) -> tuple[runs.Run, dict[str, str]]:
    """Enqueue a job as the API does; give it with the tags of the run that the sensor makes."""
    job, _ = runs.enqueue(here.engine, job_key(here), trigger="admin", now=NOON, refetch=refetch)
    return job, {"ingestion/run_id": job.id, "ingestion/trigger": "admin"}


def again(tags: dict[str, str], first_run_id: str) -> dict[str, str]:
    """Give the tags of a run that executes another one again, as Dagster copies them."""
    return tags | {"dagster/parent_run_id": first_run_id, "dagster/root_run_id": first_run_id}


def test_a_person_who_executes_a_failed_run_of_the_api_again_starts_anew(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer() as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        job, tags = api_job(here)
        server.enqueue(Reply(400, "no", "text/html"), GOOD)
        failed = here.run(KEY, tags=tags)
        assert failure(failed)[0] == "overpass_rejected"
        copied = tags | {ERROR_CODE_TAG: "overpass_rejected"}
        result = here.run(KEY, tags=again(copied, failed.run_id))
        assert result.success, why(result)
    rows = {run.dagster_run_id: run for run in here.ledger()}
    assert (rows[failed.run_id].id, rows[failed.run_id].status) == (job.id, "FAILED")
    assert (rows[result.run_id].status, rows[result.run_id].trigger) == ("SUCCEEDED", "ui")
    assert len(rows) == 2
    assert error_tag(here, failed) == "overpass_rejected"
    assert error_tag(here, result) == "none"


def test_a_person_who_executes_a_run_again_that_staged_the_day_stages_it_again(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        _, tags = api_job(here)
        first = here.run(KEY, tags=tags)
        result = here.run(KEY, tags=again(tags, first.run_id))
    assert metadata(result, "poi_staging")["written"] == 0
    assert sorted((run.status, run.trigger) for run in here.ledger()) == [
        ("SUCCEEDED", "admin"),
        ("SUCCEEDED", "ui"),
    ]


def test_dagsters_own_retry_of_a_run_that_died_carries_its_job_on(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        job, tags = api_job(here)
        dead = take(here, worker_name="elsewhere/boot/pid:[1] 7 1.00", job=job.id)
        retry = again(tags, dead.dagster_run_id) | {"dagster/retry_number": "1"}
        result = here.run(KEY, tags=retry)
        assert result.success, why(result)
    (run,) = here.ledger()
    assert (run.id, run.status, run.trigger, run.attempt) == (job.id, "SUCCEEDED", "admin", 2)
    assert run.dagster_run_id == result.run_id


def test_dagsters_own_retry_of_a_run_that_died_after_its_commit_has_nothing_to_do(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        _, tags = api_job(here)
        first = here.run(KEY, tags=tags)
        result = here.run(KEY, tags=again(tags, first.run_id) | {"dagster/retry_number": "1"})
        assert result.success, why(result)
    assert list(metadata(result, "poi_staging")) == ["nothing_to_do"]
    assert sorted((run.status, run.error_code) for run in here.ledger()) == [
        ("CANCELED", "already_staged"),
        ("SUCCEEDED", None),
    ]


def test_a_run_of_the_ui_that_joins_a_refetch_that_waits_asks_upstream_again(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        assert here.run(KEY).success
        job, _ = api_job(here, refetch=True)
        result = here.run(KEY)
        assert metadata(result, "osm_snapshot")["replayed"] is False
        assert len(server.requests) == 2
    (joined,) = [run for run in here.ledger() if run.id == job.id]
    assert (joined.status, joined.dagster_run_id) == ("SUCCEEDED", result.run_id)


# Jobs that are asked to stop


def test_a_run_that_is_asked_to_stop_while_it_fetches_stages_nothing_and_ends_as_canceled(
    install_town: Callable[..., Installation],
) -> None:
    def ask_to_stop(_: object) -> Reply:
        (run,) = here.ledger()
        runs.request_cancel(here.engine, run.id, now=NOON)
        return GOOD

    with OverpassServer(ask_to_stop) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        result = here.run(KEY)
    code, words = failure(result)
    assert code == "canceled"
    (run,) = here.ledger()
    assert (run.status, run.error_code, run.error_message) == ("CANCELED", "canceled", words)
    assert here.manifests() == []
    assert staged_refs(here) is None
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


@pytest.mark.parametrize("look", [4, 5, 6])
def test_a_run_that_is_asked_to_stop_later_stages_nothing_either(
    install_town: Callable[..., Installation], tmp_path: Path, look: int
) -> None:
    def ask_to_stop(number: int) -> None:
        if number == look:
            (run,) = here.ledger()
            runs.request_cancel(here.engine, run.id, now=NOON)

    extract = write_extract(tmp_path / "town.osm.pbf", {1: "A", 2: "B"})
    here = install_town(
        city={"osm_source": "extract", "osm_extract": str(extract)},
        clock=ScriptedClock(on_look=ask_to_stop),
    )
    assert failure(here.run(KEY))[0] == "canceled"
    assert staged_refs(here) is None
    assert [(run.status, run.error_code) for run in here.ledger()] == [("CANCELED", "canceled")]
    assert here.run(KEY).success


# Runs that execute some steps of another run again


def execute_steps(here: Installation, steps: list[str]) -> runs.Status:
    """Do what 'Re-execute selected' does in the UI; say how the ledger tells that it ended."""
    job = here.job()
    run = here.instance.create_run_for_job(
        job,
        execution_plan=create_execution_plan(InMemoryJob(job), step_keys_to_execute=steps),
        tags={
            "dagster/partition": KEY,
            "dagster/partition/city": "town",
            "dagster/partition/day": str(TODAY),
        },
    )
    assert run.step_keys_to_execute is not None
    assert execute_run(InMemoryJob(job), run, here.instance).success
    (status,) = [row.status for row in here.ledger() if row.dagster_run_id == run.run_id]
    return status


def test_executing_single_steps_again_leaves_no_run_behind_that_looks_alive(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        assert here.run(KEY).success
    assert execute_steps(here, ["osm_pois"]) == "CANCELED"
    assert execute_steps(here, ["osm_pois", "poi_staging"]) == "SUCCEEDED"
    assert here.count(staged_partition) == 1


def test_the_second_of_two_runs_writes_nothing_new(
    install_town: Callable[..., Installation],
) -> None:
    with OverpassServer(GOOD) as server:
        here = install_town(clock=ScriptedClock(), overpass_url=server.url)
        first, second = here.run(KEY), here.run(KEY)
        assert len(server.requests) == 1
    assert metadata(first, "poi_staging")["written"] == 2
    assert metadata(second, "poi_staging")["written"] == 0
