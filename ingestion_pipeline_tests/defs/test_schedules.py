"""When a city is due, and what a tick asks for that comes in time, late, or far too late."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._utils.schedules import cron_string_iterator
from pydantic import SecretStr

from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.resources import build_resources
from ingestion_pipeline.defs.schedules import build_schedules, local_time_of
from ingestion_pipeline.defs.work import trigger_of
from ingestion_pipeline_tests.support.installation import ScriptedClock, why
from testbed.towns import TOWN, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline.core.identity import JobType
    from ingestion_pipeline_tests.support.installation import Installation

DAY = date(2024, 6, 1)
DUE = datetime(2024, 6, 1, 0, 14, tzinfo=UTC)
"""03:14 in the town's summer: when it is due."""


def tick(here: Installation, due: datetime = DUE) -> tuple[list[dg.RunRequest], str | None]:
    """Evaluate the town's schedule as the daemon does; give what it asks for, or why nothing."""
    definitions = build_definitions(here.workshop)
    (schedule,) = (
        schedule
        for schedule in definitions.schedules or ()
        if schedule.name == "osm_import_town_schedule"
    )
    assert isinstance(schedule, dg.ScheduleDefinition)
    with dg.build_schedule_context(
        instance=here.instance,
        scheduled_execution_time=due,
        resources=build_resources(here.workshop),
        repository_def=definitions.get_repository_def(),
    ) as context:
        done = schedule.evaluate_tick(context)
    return list(done.run_requests or ()), done.skip_message


# When


def test_the_time_of_a_city_never_changes() -> None:
    assert local_time_of("osm_import", "helsinki") == time(5, 5)
    assert local_time_of("osm_import", "moscow") == time(3, 14)
    assert local_time_of("helpers_import", "moscow") != time(3, 14)


def test_cities_are_spread_over_the_early_morning() -> None:
    times = [local_time_of("osm_import", f"city-{number}") for number in range(2000)]
    assert min(times) == time(3, 0)
    assert max(times) == time(5, 59)
    assert Counter(times).most_common(1)[0][1] < 30  # of 11 on average


@pytest.mark.parametrize("zone", ["Europe/Helsinki", "America/Sao_Paulo", "Asia/Yekaterinburg"])
def test_a_city_is_due_once_on_every_day_whatever_becomes_of_the_clocks(zone: str) -> None:
    # Helsinki's clocks change between 3 and 4: on one day that hour is missing, on one it is there
    # twice.
    for hour, minute in ((3, 0), (3, 14), (3, 59), (4, 0), (5, 59)):
        ticks = cron_string_iterator(
            datetime(2024, 1, 1, tzinfo=UTC).timestamp(), f"{minute} {hour} * * *", zone
        )
        days = [next(ticks).astimezone(ZoneInfo(zone)).date() for _ in range(366)]
        assert days == [days[0] + timedelta(days=number) for number in range(366)]


def test_there_is_a_schedule_for_each_enabled_city_and_job(
    install: Callable[..., Installation],
) -> None:
    new = {"slug": "new-town", "timezone": "Asia/Omsk", "bbox": [10.1, 50.0, 10.2, 50.1]}
    rest = {"slug": "at-rest", "enabled": False, "bbox": [10.2, 50.0, 10.3, 50.1]}
    here = install(cities=[TOWN, TOWN | new, TOWN | rest])
    schedules = build_schedules(here.workshop)
    assert [(s.name, s.job_name, s.cron_schedule, s.execution_timezone) for s in schedules] == [
        (f"{job}_{name}_schedule", job, cron_of(job, slug), zone)
        for job in ("osm_import", "helpers_import")
        for name, slug, zone in (
            ("town", "town", "Europe/Helsinki"),
            ("new_town", "new-town", "Asia/Omsk"),
        )
    ]


def cron_of(job: JobType, slug: str) -> str:
    due = local_time_of(job, slug)
    return f"{due.minute} {due.hour} * * *"


@pytest.mark.parametrize(
    ("schedules", "status"),
    [
        ("on", dg.DefaultScheduleStatus.RUNNING),
        ("off", dg.DefaultScheduleStatus.STOPPED),
    ],
)
def test_the_setting_tells_whether_schedules_run(
    install_town: Callable[..., Installation], schedules: str, status: dg.DefaultScheduleStatus
) -> None:
    built = build_schedules(install_town(schedules=schedules).workshop)
    assert [schedule.default_status for schedule in built] == [status, status]


def test_schedules_are_off_unless_they_are_set_on(
    install_town: Callable[..., Installation],
) -> None:
    built = build_schedules(install_town().workshop)
    assert {schedule.default_status for schedule in built} == {dg.DefaultScheduleStatus.STOPPED}


# In time


def test_a_tick_asks_for_the_utc_day_of_its_moment(
    install_town: Callable[..., Installation],
) -> None:
    (request,), _ = tick(install_town(clock=ScriptedClock(DUE + timedelta(seconds=2))))
    assert (request.partition_key, request.run_key) == ("town|2024-06-01",) * 2
    assert request.tags["dagster/partition/city"] == "town"
    assert request.tags["dagster/partition/day"] == "2024-06-01"
    assert trigger_of(request.tags) == "schedule"


@pytest.mark.parametrize(
    ("zone", "day"), [("Asia/Kamchatka", "2024-05-31"), ("America/Los_Angeles", "2024-06-01")]
)
def test_the_day_is_of_utc_and_not_of_the_city(
    install_town: Callable[..., Installation], zone: str, day: str
) -> None:
    local = datetime(2024, 6, 1, 3, 14, tzinfo=ZoneInfo(zone))
    here = install_town(city={"timezone": zone}, clock=ScriptedClock(local.astimezone(UTC)))
    (request,), _ = tick(here, local)
    assert request.partition_key == f"town|{day}"


def test_a_late_tick_asks_for_its_day_as_long_as_it_is_the_current_one(
    install_town: Callable[..., Installation],
) -> None:
    (request,), _ = tick(
        install_town(clock=ScriptedClock(datetime(2024, 6, 1, 23, 59, tzinfo=UTC)))
    )
    assert request.partition_key == "town|2024-06-01"


def test_a_clock_that_is_slightly_behind_the_daemons_does_no_harm(
    install_town: Callable[..., Installation],
) -> None:
    midnight = datetime(2024, 6, 1, tzinfo=UTC)
    (request,), _ = tick(
        install_town(clock=ScriptedClock(midnight - timedelta(seconds=1))), midnight
    )
    assert request.partition_key == "town|2024-06-01"


# Too late

LATE = DUE + timedelta(days=3)


def test_a_day_that_has_passed_is_never_filled_with_todays_data(
    install_town: Callable[..., Installation],
) -> None:
    here = install_town(
        city={"osm_source": "extract", "osm_extract": "/data/latest.osm.pbf"},
        clock=ScriptedClock(LATE),
    )
    requests, reason = tick(here)
    assert requests == []
    assert reason is not None
    assert "2024-06-01 has passed" in reason
    assert "names no {day}" in reason
    assert "never filled with today's data" in reason


@pytest.mark.parametrize(
    "settings",
    [
        {"osm_source": "extract", "osm_extract": "/data/{day}.osm.pbf"},
        {"overpass_url": SecretStr("https://overpass.example/api/interpreter")},
    ],
    ids=["dated extract", "history"],
)
def test_a_day_that_can_be_had_later_is_asked_for_later(
    install_town: Callable[..., Installation], settings: dict[str, Any]
) -> None:
    (request,), _ = tick(install_town(clock=ScriptedClock(LATE), **settings))
    assert request.partition_key == "town|2024-06-01"


def test_a_day_that_was_staged_while_the_daemon_was_down_is_left_alone(
    install_town: Callable[..., Installation], tmp_path: Path
) -> None:
    write_extract(tmp_path / "2024-06-01.osm.pbf", {1: "A"}, at=DUE)
    here = install_town(
        clock=ScriptedClock(LATE), osm_source="extract", osm_extract=str(tmp_path / "{day}.osm.pbf")
    )
    result = here.run("town|2024-06-01")
    assert result.success, why(result)
    requests, reason = tick(here)
    assert requests == []
    assert reason is not None
    assert "nothing to do" in reason


def test_a_day_before_the_partitions_is_skipped_with_the_reason(
    install_town: Callable[..., Installation],
) -> None:
    requests, reason = tick(
        install_town(clock=ScriptedClock(DUE), partitions_start=date(2024, 6, 2))
    )
    assert requests == []
    assert reason is not None
    assert "PARTITIONS_START" in reason
