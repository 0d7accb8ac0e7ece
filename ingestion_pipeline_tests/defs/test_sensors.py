"""The sensors: every PENDING job gets its one run, whatever happens between two ticks."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa
from pydantic import SecretStr

from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.defs.order import AHEAD, BATCH
from ingestion_pipeline.defs.reconcile import reconcile
from ingestion_pipeline.defs.sensors import FROM_THE_START, READ
from ingestion_pipeline.staging import runs, ticks, upstream
from ingestion_pipeline.staging.database import write_transaction
from ingestion_pipeline.staging.tables import ingestion_run
from ingestion_pipeline.staging.upstream import Budget, Server
from ingestion_pipeline_tests.support.installation import TODAY, Installation, ScriptedClock, why
from testbed.towns import NOON, town, write_extract

if TYPE_CHECKING:
    from pathlib import Path

    from dagster._core.definitions.sensor_definition import SensorExecutionData

    from ingestion_pipeline.core.identity import JobType
    from ingestion_pipeline.staging.runs import Trigger
    from ingestion_pipeline_tests.support.installations import Install


@pytest.fixture
def here(install_town: Install) -> Installation:
    return install_town(clock=ScriptedClock(), partitions_start=date(2020, 1, 1))


def enqueue(
    here: Installation,
    day: date = TODAY,
    *,
    job_type: JobType = "osm_import",
    trigger: Trigger = "admin",
    city: str = "town",
    boundary: str | None = None,
    at: datetime = NOON,
    refetch: bool = False,
) -> runs.Run:
    key = JobKey(job_type, city, boundary or here.workshop.cities.get("town").boundary_key, day)
    job, made = runs.enqueue(here.engine, key, trigger=trigger, now=at, refetch=refetch)
    assert made
    return job


def tick(here: Installation, cursor: str | None = None) -> SensorExecutionData:
    return here.tick(ticks.TRIGGER_SENSOR, cursor)


def asked(result: SensorExecutionData) -> list[str]:
    return [request.tags["ingestion/run_id"] for request in result.run_requests or ()]


def test_a_pending_job_becomes_a_request_for_its_partition_that_names_the_job(
    here: Installation,
) -> None:
    job = enqueue(here, trigger="callback", refetch=True)
    (request,) = tick(here).run_requests or ()
    assert request.run_key == f"{job.id}:0"
    assert request.job_name == "osm_import"
    assert request.partition_key == f"town|{TODAY}"
    assert request.run_config == {"ops": {"osm_snapshot": {"config": {"refetch": True}}}}
    expected = {"ingestion/run_id": job.id, "ingestion/trigger": "callback"}
    assert expected.items() <= request.tags.items()


def test_a_job_of_a_day_without_a_partition_becomes_a_request_with_the_tags_of_one(
    here: Installation,
) -> None:
    settings = here.workshop.settings
    unset = Settings(**settings.model_dump(exclude={"partitions_start"}))
    assert unset.first_partition > TODAY
    enqueue(here)
    unlisted = replace(here, workshop=replace(here.workshop, settings=unset))
    (request,) = tick(unlisted).run_requests or ()
    (listed,) = tick(here).run_requests or ()
    assert request.partition_key is None
    tags = {name: tag for name, tag in request.tags.items() if name.startswith("dagster/partition")}
    assert tags["dagster/partition"] == f"town|{TODAY}"
    # Dagster's own tags of a request with a partition, but for the set that it is of.
    assert tags | {"dagster/partition_set": "osm_import_partition_set"} == {
        name: tag for name, tag in listed.tags.items() if name.startswith("dagster/partition")
    }
    assert request.run_key == listed.run_key


def dagster_run(here: Installation, job: runs.Run, status: dg.DagsterRunStatus) -> str:
    run = here.instance.create_run_for_job(
        here.job(), status=status, tags={"ingestion/run_id": job.id}
    )
    return run.run_id


def fail_to_start(here: Installation, job: runs.Run) -> None:
    """Let a run of the job end at this moment, before its process has begun."""
    run_id = dagster_run(here, job, dg.DagsterRunStatus.STARTING)
    run = here.instance.get_run_by_id(run_id)
    assert run is not None
    here.instance.report_run_failed(run)
    # No run retries of Dagster's own: it has decided.
    here.instance.add_run_tags(run_id, {"dagster/will_retry": "false"})


@pytest.fixture
def now_here(install_town: Install) -> Installation:
    """Give an installation whose clock agrees with Dagster's."""
    clock = ScriptedClock(datetime.now(UTC))
    return install_town(clock=clock, partitions_start=date(2020, 1, 1))


def test_a_job_whose_run_could_not_be_started_gets_another_one_later_each_time(
    now_here: Installation,
) -> None:
    here, clock = now_here, now_here.workshop.clock
    job = enqueue(here, at=clock.now())
    waits = []
    for failed in (1, 2, 3):
        fail_to_start(here, job)
        clock.sleep((datetime.now(UTC) - clock.now()).total_seconds())
        waited = 0
        while not (requests := tick(here).run_requests):
            clock.sleep(5)
            waited += 5
        assert [request.run_key for request in requests] == [f"{job.id}:0:{failed}"]
        waits.append(waited)
    assert waits == sorted(waits)
    assert waits[0] >= 15
    assert waits[-1] >= 45


@pytest.mark.parametrize(
    "status",
    [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELED],
)
def test_a_job_with_a_run_on_its_way_or_canceled_gets_no_other_one(
    now_here: Installation, status: dg.DagsterRunStatus
) -> None:
    job = enqueue(now_here, at=now_here.workshop.clock.now())
    fail_to_start(now_here, job)
    dagster_run(now_here, job, status)
    now_here.workshop.clock.sleep(3600)
    assert asked(tick(now_here)) == []


def test_a_job_past_its_deadline_gets_no_other_run(now_here: Installation) -> None:
    job = enqueue(now_here, at=now_here.workshop.clock.now())
    fail_to_start(now_here, job)
    now_here.workshop.clock.sleep(now_here.workshop.settings.start_deadline_minutes * 60 + 1)
    assert asked(tick(now_here)) == []


def test_a_tick_changes_no_job(here: Installation) -> None:
    enqueue(here)
    before = here.ledger()
    tick(here)
    assert here.ledger() == before


def test_a_tick_leaves_a_sign_of_life(here: Installation) -> None:
    tick(here)
    assert ticks.last(here.engine) == {ticks.TRIGGER_SENSOR: NOON}


def test_a_job_that_has_begun_or_ended_is_not_asked_for(here: Installation) -> None:
    running, canceled = enqueue(here), enqueue(here, TODAY - timedelta(days=1))
    runs.request_cancel(here.engine, canceled.id, now=NOON)
    runs.claim(
        here.engine,
        JobKey("osm_import", "town", running.boundary_ref, TODAY),
        dagster_run_id="another",
        worker="another",
        trigger="ui",
        is_alive=lambda _: True,
        now=NOON,
    )
    assert asked(tick(here)) == []


@pytest.mark.parametrize(
    "impossible",
    [
        {"job_type": "parks_import"},
        {"city": "gone"},
        {"boundary": "relation/1"},
        {"day": date(2019, 12, 31)},
        {"day": TODAY + timedelta(days=1)},
    ],
    ids=["job type", "city", "boundary", "before the start", "another machine's tomorrow"],
)
def test_a_job_that_cannot_be_run_does_not_keep_the_others_from_their_runs(
    here: Installation, impossible: dict[str, Any]
) -> None:
    enqueue(here, **impossible)
    good = enqueue(here, date(2024, 5, 1))
    assert asked(tick(here)) == [good.id]


def fill_a_page(here: Installation, *, at: datetime = NOON) -> None:
    """Enqueue as many jobs as a tick reads, of days that have not begun."""
    first = enqueue(here, TODAY + timedelta(days=1), at=at)
    rows = []
    for number in range(1, READ):
        day = first.day + timedelta(days=number)
        key = first.idempotency_key.replace(str(first.day), str(day))
        rows.append({**asdict(first), "id": f"{number}", "day": day, "idempotency_key": key})
    with write_transaction(here.engine) as connection:
        connection.execute(sa.insert(ingestion_run), rows)


def test_thousands_of_jobs_are_asked_for_in_batches_and_each_of_them(here: Installation) -> None:
    jobs = {
        job.id: job
        for job in (
            enqueue(here, date(2020, 1, 1) + timedelta(days=number), at=NOON)
            for number in range(2 * BATCH + 10)
        )
    }
    seen: list[str] = []
    cursor: str | None = None
    for size in (BATCH, BATCH, 10, 0):
        result = tick(here, cursor)
        assert len(asked(result)) == size
        for job_id in asked(result):
            dagster_run(here, jobs[job_id], dg.DagsterRunStatus.STARTED)
        seen += asked(result)
        cursor = result.cursor
    assert sorted(seen) == sorted(jobs)


def test_no_more_runs_are_requested_than_may_wait_in_the_queue(here: Installation) -> None:
    for number in range(BATCH):
        enqueue(here, date(2020, 1, 1) + timedelta(days=number))
    sensor = {"dagster/sensor_name": ticks.TRIGGER_SENSOR}
    waiting = [here.queue_run(**sensor) for _ in range(AHEAD)]
    here.queue_run(**{"dagster/backfill": "b"})
    full = tick(here)
    assert asked(full) == []
    for run_id in waiting[:3]:
        here.instance.delete_run(run_id)
    assert len(asked(tick(here, full.cursor))) == 3


def test_a_page_of_jobs_that_need_no_run_does_not_hide_those_after_it(here: Installation) -> None:
    fill_a_page(here)
    late = enqueue(here, at=NOON + timedelta(seconds=1))
    first = tick(here)
    assert asked(first) == []
    assert asked(tick(here, first.cursor)) == [late.id]


def test_a_job_that_was_committed_behind_the_cursor_is_found_in_the_next_round(
    here: Installation,
) -> None:
    fill_a_page(here)
    cursor = tick(here).cursor
    late = enqueue(here, at=NOON - timedelta(minutes=5))
    following = tick(here, cursor)
    assert asked(following) == []
    assert late.id in asked(tick(here, following.cursor))


def test_the_moment_in_a_cursor_is_read_back_exactly(here: Installation) -> None:
    at = datetime(2024, 6, 1, 12, 0, 0, 123000, tzinfo=UTC)
    fill_a_page(here, at=at)
    first = tick(here)
    assert first.cursor is not None
    assert json.loads(first.cursor)[0] == at.isoformat()
    assert tick(here, first.cursor).cursor == FROM_THE_START  # nothing is after it


# The order


def staged(here: Installation, slug: str, day: date) -> None:
    """Stage a day of a town, from an extract with one café in it."""
    number = int(slug.removeprefix("town-"))
    at = datetime.combine(day, time(12), UTC)
    write_extract(here.folder / f"{day}.osm.pbf", {100 * number + 50: "A"}, at=at)
    result = here.run(f"{slug}|{day}")
    assert result.success, why(result)


def test_of_jobs_that_wait_the_city_that_lags_most_comes_first(
    install: Install, tmp_path: Path
) -> None:
    here = install(
        cities=[town(number) for number in range(4)],
        clock=ScriptedClock(),
        partitions_start=date(2020, 1, 1),
        osm_source="extract",
        osm_extract=str(tmp_path / "{day}.osm.pbf"),
    )
    staged(here, "town-0", TODAY - timedelta(days=1))
    staged(here, "town-1", TODAY - timedelta(days=5))
    staged(here, "town-2", TODAY - timedelta(days=40))
    for number in range(4):
        boundary = here.workshop.cities.get(f"town-{number}").boundary_key
        enqueue(here, city=f"town-{number}", boundary=boundary)
        enqueue(here, city=f"town-{number}", boundary=boundary, job_type="helpers_import")
    requests = tick(here).run_requests or ()
    asked = [
        (request.job_name, request.tags["dagster/partition/city"], request.tags["dagster/priority"])
        for request in requests
    ]
    assert [each[1:] for each in asked if each[0] == "osm_import"] == [
        ("town-3", "19"),
        ("town-2", "19"),
        ("town-1", "14"),
        ("town-0", "10"),
    ]
    assert {each[2] for each in asked if each[0] == "helpers_import"} == {"19"}


# Back-pressure

OVERPASS = Server("overpass", "overpass.example:443")


@pytest.fixture
def asking(install_town: Install) -> Installation:
    """Give a town that comes from an Overpass server, of which two requests a day are allowed."""
    return install_town(
        clock=ScriptedClock(),
        partitions_start=date(2020, 1, 1),
        overpass_url=SecretStr("https://overpass.example/api/interpreter"),
        overpass_daily_requests=2,
    )


def spend(here: Installation, requests: int) -> None:
    for _ in range(requests):
        upstream.count_request(here.engine, OVERPASS, Budget(), now=NOON)


@pytest.mark.parametrize("spent", [0, 1, 2])
def test_no_run_is_requested_for_a_server_whose_budget_is_spent(
    asking: Installation, spent: int
) -> None:
    job = enqueue(asking)
    spend(asking, spent)
    assert asked(tick(asking)) == ([] if spent == 2 else [job.id])
    asking.workshop.clock.sleep(12 * 3600)  # the next day in UTC
    assert asked(tick(asking)) == [job.id]


def test_no_run_is_requested_for_a_server_that_is_paused(asking: Installation) -> None:
    job = enqueue(asking)
    upstream.pause(asking.engine, OVERPASS, timedelta(seconds=60), worker="w", now=NOON)
    assert asked(tick(asking)) == []
    asking.workshop.clock.sleep(60)
    assert asked(tick(asking)) == [job.id]


def test_a_day_that_is_in_the_lake_and_a_city_of_another_source_wait_for_no_server(
    install: Install, tmp_path: Path
) -> None:
    here = install(
        cities=[town(0, osm_source="extract"), town(1)],
        clock=ScriptedClock(),
        partitions_start=date(2020, 1, 1),
        osm_extract=str(tmp_path / "{day}.osm.pbf"),
        overpass_url=SecretStr("https://overpass.example/api/interpreter"),
    )
    settings = here.workshop.settings.model_copy(update={"osm_source": "extract"})
    staged(replace(here, workshop=replace(here.workshop, settings=settings)), "town-1", TODAY)
    upstream.pause(here.engine, OVERPASS, timedelta(seconds=60), worker="w", now=NOON)

    def ask(number: int, day: date, *, refetch: bool = False) -> str:
        slug = f"town-{number}"
        boundary = here.workshop.cities.get(slug).boundary_key
        return enqueue(here, day, city=slug, boundary=boundary, refetch=refetch).id

    yesterday = TODAY - timedelta(days=1)
    of_the_extract = {ask(0, TODAY), ask(0, yesterday)}
    stored = ask(1, TODAY)
    ask(1, yesterday)
    assert set(asked(tick(here))) == of_the_extract | {stored}
    runs.request_cancel(here.engine, stored, now=NOON)
    ask(1, TODAY, refetch=True)
    assert set(asked(tick(here))) == of_the_extract


def test_a_job_that_its_server_held_back_for_too_long_says_so(asking: Installation) -> None:
    enqueue(asking, at=NOON - timedelta(hours=7))
    spend(asking, 2)
    reconcile(asking.workshop, asking.instance, after=None, limit=BATCH)
    (job,) = asking.ledger()
    assert (job.status, job.error_code) == ("FAILED", runs.NEVER_STARTED)
    assert job.error_message == (
        "overpass.example:443 takes no request until 00:00 UTC: the budget of the day is spent. "
        "Enqueue it again then"
    )
