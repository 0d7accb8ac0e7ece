"""A backfill of three towns, through the daemon on PostgreSQL, interrupted and submitted again.

Of four days, to be done in minutes; `BACKFILL_DAYS=30` makes it a month.
"""

from __future__ import annotations

import os
import re
import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.tables import poi_ingestion_staging, staged_partition
from testbed.platform_processes import Platform, running_platform, wait_until
from testbed.towns import cafes, town, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from testbed.platform_processes import DagsterRun

TOWNS = (1, 2, 3)
DAYS = [
    date(2026, 9, 1) + timedelta(days=number)
    for number in range(int(os.environ.get("BACKFILL_DAYS", "4")))
]
CITY_DAYS = [(f"town-{number}", day) for number in TOWNS for day in DAYS]
ALL = len(CITY_DAYS)
ENOUGH = ALL // 4
"""So many city-days are staged when the backfill is interrupted."""

IN_THE_END_S = 1500
"""A month takes four minutes on two cores that have nothing else to do."""


def pois_of(number: int, day: date) -> dict[int, str]:
    """Give a town's cafés on a day: each day another one is closed, and another has a new name."""
    pois = cafes(number)
    places = list(pois)
    del pois[places[day.day]]
    pois[places[day.day + 1]] = f"new on {day}"
    return pois


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    for day in DAYS:
        pois = {place: name for number in TOWNS for place, name in pois_of(number, day).items()}
        at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
        write_extract(folder / "extracts" / f"{day}.osm.pbf", pois, at=at)
    towns = [town(number) for number in TOWNS]
    with running_platform(folder, towns=towns, PARTITIONS_START=str(DAYS[0])) as platform:
        platform.allow_fetches(4)
        yield platform


def submit(platform: Platform) -> tuple[str | None, str]:
    """Submit the backfill by the command; give its id, and what the command says."""
    cities = [word for number in TOWNS for word in ("--city", f"town-{number}")]
    done = platform.command("backfill", *cities, "--from", str(DAYS[0]), "--to", str(DAYS[-1]))
    assert done.returncode == 0, done.stderr
    submitted = re.search(r"^Backfill (\S+) of", done.stdout, re.MULTILINE)
    return submitted and submitted[1], done.stdout


def staged(platform: Platform) -> dict[tuple[str, date], tuple[str, datetime]]:
    """Give who staged each city-day, and when."""
    columns = staged_partition.c
    query = sa.select(columns.city_slug, columns.day, columns.run_id, columns.staged_at)
    with platform.engine.connect() as connection:
        rows = connection.execute(query).all()
    found = {(row.city_slug, row.day): (row.run_id, row.staged_at) for row in rows}
    assert len(found) == len(rows)
    return found


def names(platform: Platform, city: str, day: date) -> list[str]:
    """Give the names of a city's POIs on a day."""
    versions = poi_ingestion_staging.c
    query = sa.select(versions.name).where(
        versions.city_slug == city,
        versions.valid_from <= day,
        sa.or_(versions.valid_to.is_(None), versions.valid_to > day),
    )
    with platform.engine.connect() as connection:
        return sorted(connection.execute(query).scalars())


@pytest.mark.timeout(2 * IN_THE_END_S)
def test_an_interrupted_backfill_submitted_again_finishes_only_what_is_missing(
    platform: Platform, record_property: Callable[[str, object], None]
) -> None:
    first, told = submit(platform)
    assert first is not None
    assert f"{ALL} city-days: {ALL} to run, 0 staged already" in told
    wait_until(
        lambda: len(staged(platform)) >= ENOUGH, f"{ENOUGH} are staged", timeout=IN_THE_END_S
    )
    platform.cancel_backfill(first)
    platform.kill("daemon")
    platform.start("daemon")
    # A run that the daemon was about to start is given up after `start_timeout_seconds`, 180.
    wait_until(lambda: platform.backfill_status(first) == "CANCELED", "it is canceled", timeout=400)
    wait_until(lambda: all(run.is_finished for run in platform.dagster_runs()), "its runs are over")
    wait_until(lambda: all(job.finished_at for job in platform.ledger()), "the ledger says so")
    before, rows_before = staged(platform), platform.ledger()
    assert ENOUGH <= len(before) < ALL

    cpu_before = platform.cpu_s
    second, told = submit(platform)
    assert second is not None
    missing = ALL - len(before)
    assert f"{ALL} city-days: {missing} to run, {len(before)} staged already" in told
    wait_until(
        lambda: platform.backfill_status(second) == "COMPLETED_SUCCESS",
        "the second is done",
        timeout=IN_THE_END_S,
        every=1,
    )

    after = staged(platform)
    assert sorted(after) == sorted(CITY_DAYS)
    assert {key: after[key] for key in before} == before
    worked_on = Counter(
        (job.city_slug, job.day) for job in platform.ledger() if job not in rows_before
    )
    assert worked_on == Counter(set(CITY_DAYS) - set(before))
    for city, day in CITY_DAYS:
        number = int(city.removeprefix("town-"))
        assert names(platform, city, day) == sorted(pois_of(number, day).values())
    assert submit(platform)[0] is None

    cpu = platform.cpu_s - cpu_before
    cost = cost_of(platform.dagster_runs(**{"dagster/backfill": second}), cpu)
    record_property("cost per partition", cost)
    print(f"\nA backfill's cost per partition: {cost}")  # noqa: T201 - for who runs it with -s


def cost_of(runs: Sequence[DagsterRun], cpu: float) -> str:
    """Tell what a partition costs: time of the clock from first to last, and of the processors."""
    starts, ends = [run.start or 0.0 for run in runs], [run.end or 0.0 for run in runs]
    clock = (max(ends) - min(starts)) / len(runs)
    median = statistics.median(end - start for start, end in zip(starts, ends, strict=True))
    return (
        f"{clock:.2f} s of the clock, {cpu / len(runs):.2f} s of CPU in all; from its start to "
        f"its end {median:.2f} s (median of {len(runs)} runs)"
    )
