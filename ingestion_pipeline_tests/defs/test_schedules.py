"""When a city is due, and what a tick asks for that comes in time, late, or far too late."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from pydantic import SecretStr

from ingestion_pipeline.core.identity import CityDay
from ingestion_pipeline.defs.order import AHEAD, BATCH
from ingestion_pipeline.defs.pressure import LOOKS
from ingestion_pipeline.defs.schedules import (
    INTERVAL_S,
    LONGEST_BACK,
    Waiting,
    build_schedules,
    due_between,
    local_time_of,
)
from ingestion_pipeline.defs.work import trigger_of
from ingestion_pipeline.staging import upstream
from ingestion_pipeline.staging.upstream import Server
from ingestion_pipeline_tests.support.installation import ScriptedClock, why
from testbed.towns import TOWN, town, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dagster._core.definitions.sensor_definition import SensorExecutionData

    from ingestion_pipeline_tests.support.installation import Installation

DAY = date(2024, 6, 1)
DUE = datetime(2024, 6, 1, 0, 14, tzinfo=UTC)
"""03:14 in the town's summer: when it is due."""

BEFORE = Waiting(DUE - timedelta(minutes=1))
"""The cursor of the tick before the town is due."""


def evaluated(
    here: Installation, waiting: Waiting | None = BEFORE, *, started: datetime | None = None
) -> SensorExecutionData:
    """Evaluate the schedule of POIs as the daemon does."""
    cursor = None if waiting is None else str(waiting)
    return here.tick("osm_import_schedule", cursor, started=started)


def tick(here: Installation, waiting: Waiting | None = BEFORE) -> list[dg.RunRequest]:
    """Evaluate the schedule of POIs; give what it asks for."""
    return list(evaluated(here, waiting).run_requests or ())


def left_after(done: SensorExecutionData) -> Waiting:
    assert done.cursor is not None
    return Waiting.parse(done.cursor)


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
def test_a_city_is_due_once_on_every_day_whatever_becomes_of_the_clocks(
    install: Callable[..., Installation], zone: str
) -> None:
    # Helsinki's clocks change between 3 and 4: on one day that hour is missing, on one it is there
    # twice. Moments are looked for as ticks do, in pieces.
    towns = [town(number, timezone=zone) for number in range(40)]
    cities = list(install(cities=towns).workshop.cities)
    begin = datetime(2024, 1, 1, 12, tzinfo=UTC)
    found: Counter[str] = Counter()
    for piece in range(366 * 4):
        after = begin + timedelta(hours=6 * piece)
        due = list(due_between(cities, "osm_import", after=after, until=after + timedelta(hours=6)))
        assert len({*due}) == len(due)
        found.update(each.city for each in due)
    assert found == {city.slug: 366 for city in cities}


def test_the_number_of_schedules_does_not_grow_with_that_of_the_cities(
    install: Callable[..., Installation],
) -> None:
    new = {"slug": "new-town", "timezone": "Asia/Omsk", "bbox": [10.1, 50.0, 10.2, 50.1]}
    here = install(cities=[TOWN, TOWN | new])
    assert [(each.name, each.job_name) for each in build_schedules(here.workshop)] == [
        ("osm_import_schedule", "osm_import"),
        ("helpers_import_schedule", "helpers_import"),
    ]


@pytest.mark.parametrize(
    ("schedules", "status"),
    [("on", dg.DefaultSensorStatus.RUNNING), ("off", dg.DefaultSensorStatus.STOPPED)],
)
def test_the_setting_tells_whether_schedules_run(
    install_town: Callable[..., Installation], schedules: str, status: dg.DefaultSensorStatus
) -> None:
    built = build_schedules(install_town(schedules=schedules).workshop)
    assert [schedule.default_status for schedule in built] == [status, status]


def test_schedules_are_off_unless_they_are_set_on(
    install_town: Callable[..., Installation],
) -> None:
    built = build_schedules(install_town().workshop)
    assert {schedule.default_status for schedule in built} == {dg.DefaultSensorStatus.STOPPED}


def test_a_city_that_is_not_enabled_is_not_due(install: Callable[..., Installation]) -> None:
    rest = {"slug": "at-rest", "enabled": False, "bbox": [10.2, 50.0, 10.3, 50.1]}
    here = install(cities=[TOWN, TOWN | rest], clock=ScriptedClock(DUE + timedelta(days=1)))
    assert {request.partition_key for request in tick(here)} == {"town|2024-06-02"}


def test_nothing_is_due_of_the_time_before_the_schedule_was_switched_on(
    install_town: Callable[..., Installation],
) -> None:
    here = install_town(clock=ScriptedClock(DUE + timedelta(seconds=20)))
    assert tick(here, None) == []
    on_since = DUE + timedelta(seconds=10)
    off_before = Waiting(DUE - timedelta(days=2), frozenset({CityDay("town", date(2024, 5, 30))}))
    assert not evaluated(here, None, started=on_since).run_requests
    assert not evaluated(here, off_before, started=on_since).run_requests
    (request,) = evaluated(here, None, started=DUE - timedelta(seconds=10)).run_requests or ()
    assert request.partition_key == "town|2024-06-01"


# In time


def test_a_tick_asks_for_the_utc_day_of_its_moment(
    install_town: Callable[..., Installation],
) -> None:
    here = install_town(clock=ScriptedClock(DUE + timedelta(seconds=2)))
    done = evaluated(here)
    (request,) = done.run_requests or ()
    assert request.partition_key == "town|2024-06-01"
    assert request.run_key == "schedule|osm_import|town|2024-06-01"
    assert left_after(done) == Waiting(DUE + timedelta(seconds=2))
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
    (request,) = tick(here, Waiting(local.astimezone(UTC) - timedelta(minutes=1)))
    assert request.partition_key == f"town|{day}"


def test_a_late_tick_asks_for_its_day_as_long_as_it_is_the_current_one(
    install_town: Callable[..., Installation],
) -> None:
    (request,) = tick(install_town(clock=ScriptedClock(datetime(2024, 6, 1, 23, 59, tzinfo=UTC))))
    assert request.partition_key == "town|2024-06-01"


def test_a_tick_that_is_repeated_asks_for_the_same_run(
    install_town: Callable[..., Installation],
) -> None:
    here = install_town(clock=ScriptedClock(DUE + timedelta(hours=1)))
    once, again = tick(here), tick(here)
    assert [each.run_key for each in once] == [each.run_key for each in again]


# Many at once


def fleet(install: Callable[..., Installation], number: int, **settings: Any) -> Installation:
    """Set up towns that were due while the daemon was down."""
    towns = [town(each, timezone="UTC") for each in range(number)]
    return install(
        cities=towns, clock=ScriptedClock(datetime(2024, 6, 1, 12, tzinfo=UTC)), **settings
    )


AT_MIDNIGHT = Waiting(datetime(2024, 6, 1, tzinfo=UTC))


def test_a_tick_asks_for_a_batch_and_the_next_ones_for_the_rest(
    install: Callable[..., Installation],
) -> None:
    here = fleet(install, 2 * BATCH + 10)
    seen: list[str | None] = []
    waiting = AT_MIDNIGHT
    for size in (BATCH, BATCH, 10, 0):
        done = evaluated(here, waiting)
        assert len(done.run_requests or ()) == size
        seen += [request.partition_key for request in done.run_requests or ()]
        waiting = left_after(done)
    assert sorted(map(str, seen)) == sorted(
        f"town-{number}|2024-06-01" for number in range(2 * BATCH + 10)
    )


def test_a_schedule_waits_while_enough_of_its_runs_are_queued(
    install: Callable[..., Installation],
) -> None:
    here = fleet(install, 3)
    sensor = {"dagster/sensor_name": "osm_import_schedule"}
    for _ in range(AHEAD - 1):
        here.queue_run(**sensor)
    first = evaluated(here, AT_MIDNIGHT)
    assert len(first.run_requests or ()) == 1
    here.queue_run(**sensor)
    second = evaluated(here, left_after(first))
    assert not second.run_requests
    assert second.skip_message == "2 due city-days wait until runs of this schedule have started"
    assert len(left_after(second).left) == 2


def test_the_city_that_lags_most_comes_first_and_has_the_highest_priority(
    install: Callable[..., Installation], tmp_path: Path
) -> None:
    here = fleet(install, 4, osm_source="extract", osm_extract=str(tmp_path / "{day}.osm.pbf"))
    newest = {0: date(2024, 5, 31), 1: date(2024, 5, 28), 2: date(2024, 4, 10)}
    for number, day in newest.items():
        cafes = {100 * number + 50: "A"}
        noon = datetime.combine(day, time(12), UTC)
        write_extract(tmp_path / f"{day}.osm.pbf", cafes, at=noon)
        result = here.run(f"town-{number}|{day}")
        assert result.success, why(result)
    asked = [
        (each.partition_key, each.tags["dagster/priority"]) for each in tick(here, AT_MIDNIGHT)
    ]
    assert asked == [
        ("town-3|2024-06-01", "9"),  # never staged
        ("town-2|2024-06-01", "9"),
        ("town-1|2024-06-01", "3"),
        ("town-0|2024-06-01", "0"),
    ]


def test_a_city_waits_while_its_server_takes_no_request_and_the_others_do_not(
    install: Callable[..., Installation],
) -> None:
    clock = ScriptedClock(DUE + timedelta(seconds=2))
    of_a_file = {"osm_source": "extract", "osm_extract": "/data/{day}.osm.pbf"}
    cities = [
        TOWN | {"slug": "asks"},
        TOWN | {"slug": "reads", "bbox": [10.1, 50.0, 10.2, 50.1]} | of_a_file,
    ]
    here = install(
        cities=cities,
        clock=clock,
        overpass_url=SecretStr("https://overpass.example/api/interpreter"),
    )
    server = Server("overpass", "overpass.example:443")
    upstream.pause(here.engine, server, timedelta(minutes=5), worker="w", now=clock.now())
    both = frozenset(CityDay(str(city["slug"]), DAY) for city in cities)
    done = evaluated(here, Waiting(clock.now(), both))
    assert [each.partition_key for each in done.run_requests or ()] == ["reads|2024-06-01"]
    again = evaluated(here, left_after(done))
    assert not again.run_requests
    assert again.skip_message == (
        "1 due city-days wait, because overpass.example:443 takes no request until 00:19 UTC: "
        "it had no slot for the last one"
    )
    clock.sleep(300)
    (request,) = tick(here, left_after(again))
    assert request.partition_key == "asks|2024-06-01"


def test_of_many_that_are_held_back_each_that_is_in_the_lake_is_found(
    install: Callable[..., Installation], tmp_path: Path
) -> None:
    clock = ScriptedClock(datetime(2024, 6, 1, 12, tzinfo=UTC))
    here = install(
        cities=[town(number, timezone="UTC") for number in range(LOOKS + 5)],
        clock=clock,
        overpass_url=SecretStr("https://overpass.example/api/interpreter"),
        osm_extract=str(tmp_path / "{day}.osm.pbf"),
    )
    settings = here.workshop.settings.model_copy(update={"osm_source": "extract"})
    last = LOOKS + 4
    write_extract(tmp_path / "2024-06-01.osm.pbf", {100 * last + 50: "A"}, at=clock.now())
    once = replace(here, workshop=replace(here.workshop, settings=settings))
    result = once.run(f"town-{last}|{DAY}")
    assert result.success, why(result)
    server = Server("overpass", "overpass.example:443")
    upstream.pause(here.engine, server, timedelta(hours=1), worker="w", now=clock.now())
    due = frozenset(CityDay(f"town-{number}", DAY) for number in range(LOOKS + 5))
    waiting, seen = Waiting(clock.now(), due), []
    for _ in range(LOOKS + 5):
        done = evaluated(here, waiting)
        waiting = left_after(done)
        seen += [each.partition_key for each in done.run_requests or ()]
        clock.sleep(INTERVAL_S)
    assert seen == [f"town-{last}|{DAY}"]
    assert len(waiting.left) == LOOKS + 4


def test_what_has_waited_too_long_or_has_no_schedule_any_more_is_forgotten(
    install_town: Callable[..., Installation],
) -> None:
    now = DUE + timedelta(seconds=2)
    old = CityDay("town", (now - LONGEST_BACK - timedelta(days=1)).date())
    gone = CityDay("gone", now.date())
    done = evaluated(install_town(clock=ScriptedClock(now)), Waiting(now, frozenset({old, gone})))
    assert done.run_requests == []
    assert done.skip_message == "no city is due"
    assert left_after(done) == Waiting(now)


# Too late

LATE = DUE + timedelta(days=3)

FIRST_OF_JUNE = Waiting(LATE, frozenset({CityDay("town", date(2024, 6, 1))}))
"""The cursor of a schedule that has not asked for a day that has passed."""


def test_after_days_without_a_daemon_each_of_them_is_asked_for(
    install_town: Callable[..., Installation],
) -> None:
    dated = {"osm_source": "extract", "osm_extract": "/data/{day}.osm.pbf"}
    asked = tick(install_town(clock=ScriptedClock(LATE), **dated))
    assert [each.partition_key for each in asked] == [
        f"town|2024-06-0{day}" for day in (4, 3, 2, 1)
    ]


def test_a_day_that_has_passed_is_never_filled_with_todays_data(
    install_town: Callable[..., Installation],
) -> None:
    here = install_town(
        city={"osm_source": "extract", "osm_extract": "/data/latest.osm.pbf"},
        clock=ScriptedClock(LATE),
    )
    done = evaluated(here, FIRST_OF_JUNE)
    assert not done.run_requests
    assert left_after(done) == Waiting(LATE)
    reason = done.skip_message
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
    (request,) = tick(install_town(clock=ScriptedClock(LATE), **settings), FIRST_OF_JUNE)
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
    done = evaluated(here, FIRST_OF_JUNE)
    assert not done.run_requests
    assert done.skip_message is not None
    assert "nothing to do" in done.skip_message


def test_a_day_before_the_partitions_is_skipped_with_the_reason(
    install_town: Callable[..., Installation],
) -> None:
    done = evaluated(install_town(clock=ScriptedClock(DUE), partitions_start=date(2024, 6, 2)))
    assert not done.run_requests
    assert done.skip_message is not None
    assert "PARTITIONS_START" in done.skip_message
