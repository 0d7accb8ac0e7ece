"""The sensors: every PENDING job gets its one run, whatever happens between two ticks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from ingestion_pipeline.config.settings import Settings
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.resources import build_resources
from ingestion_pipeline.defs.sensors import BATCH
from ingestion_pipeline.staging import runs, ticks
from ingestion_pipeline_tests.support.installation import TODAY, Installation, ScriptedClock
from testbed.towns import NOON

if TYPE_CHECKING:
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
    repository = build_definitions(here.workshop).get_repository_def()
    with dg.build_sensor_context(
        instance=here.instance,
        repository_def=repository,
        cursor=cursor,
        resources=build_resources(here.workshop),
    ) as context:
        return repository.get_sensor_def(ticks.TRIGGER_SENSOR).evaluate_tick(context)


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


def test_thousands_of_jobs_are_asked_for_in_batches_and_each_of_them(here: Installation) -> None:
    jobs = [
        enqueue(
            here, date(2020, 1, 1) + timedelta(days=number), at=NOON + timedelta(seconds=number % 7)
        )
        for number in range(2 * BATCH + 10)
    ]
    seen: list[str] = []
    cursor: str | None = None
    for size in (BATCH, BATCH, 10):
        result = tick(here, cursor)
        assert len(asked(result)) == size
        seen += asked(result)
        cursor = result.cursor
    assert sorted(seen) == sorted(job.id for job in jobs)
    assert len(asked(tick(here, cursor))) == BATCH  # from the start again: none is lost for ever


def test_a_job_that_was_committed_behind_the_cursor_is_found_in_the_next_round(
    here: Installation,
) -> None:
    for number in range(BATCH):
        enqueue(here, date(2020, 1, 1) + timedelta(days=number))
    cursor = tick(here).cursor
    late = enqueue(here, at=NOON - timedelta(minutes=5))
    following = tick(here, cursor)
    assert asked(following) == []
    assert late.id in asked(tick(here, following.cursor))


def test_the_moment_in_a_cursor_is_read_back_exactly(here: Installation) -> None:
    at = datetime(2024, 6, 1, 12, 0, 0, 123000, tzinfo=UTC)
    for number in range(BATCH):
        enqueue(here, date(2020, 1, 1) + timedelta(days=number), at=at)
    first = tick(here)
    assert asked(tick(here, first.cursor)) == []
