"""An upgrade without a pause: two releases of the project work on one database.

The older one is this checkout. The newer one is a copy with recipes of CONTRIBUTING.md: a column of
POIs with its migration, which changes the rules of all rows, and a check.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil
import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging.tables import staged_partition
from ingestion_pipeline_tests.support.platform_jobs import (
    CAFES,
    FIRST_DAY,
    TOWNS,
    Upstream,
    assert_all_staged_by_one_run_each,
    assert_true,
    enqueue,
    jobs_of,
    running,
    slices_locked,
    until_all_ended,
)
from ingestion_pipeline_tests.support.project_copy import copy_of_project
from testbed.platform_processes import (
    DEPLOY,
    LONG_ENOUGH_S,
    SCRIPTS,
    WORKERS,
    Name,
    Platform,
    running_platform,
    wait_until,
)
from testbed.towns import in_a_row, town, write_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date
    from pathlib import Path

    from ingestion_pipeline.staging import runs

pytestmark = pytest.mark.timeout(900)

AT_ONCE = 4
"""How many runs the two workers execute at a time."""

OLD, NEW = WORKERS
"""The worker that stays at the older release to the end, and the one that is upgraded first."""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout of the newer release."""
    copy = copy_of_project(tmp_path_factory.mktemp("newer"))
    copy.follow("Add a column of POIs")
    copy.follow("Add a check")
    return copy.folder


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    return Upstream(tmp_path_factory.mktemp("two-releases") / "platform" / "extracts")


@pytest.fixture(scope="module")
def platform(upstream: Upstream) -> Iterator[Platform]:
    with running_platform(
        upstream.extracts.parent,
        towns=[town(number) for number in TOWNS],
        dagster_yaml=DEPLOY / "celery" / "dagster.yaml",
        workers=True,
        PARTITIONS_START=str(FIRST_DAY),
    ) as platform:
        platform.allow_fetches(AT_ONCE)
        yield platform


@pytest.fixture
def migrated(platform: Platform, newer: Path) -> Platform:
    """The platform with the schema of the newer release."""
    done = platform.command("migrate", PYTHONPATH=str(newer))
    assert done.returncode == 0, done.stderr
    return platform


def rules_of(platform: Platform, jobs: Sequence[runs.Run]) -> set[str]:
    """Return the rules by which the slices of jobs were made."""
    with platform.engine.connect() as connection:
        return set(
            connection.execute(
                sa.select(staged_partition.c.rules_version).where(
                    staged_partition.c.run_id.in_([job.id for job in jobs])
                )
            ).scalars()
        )


def worker_of(platform: Platform, job: runs.Run) -> Name:
    """Return the worker whose process executes a job."""
    assert job.worker is not None
    path = psutil.Process(int(job.worker.split()[-2])).environ().get("PYTHONPATH")
    return next(
        name for name in WORKERS if platform.programs[name].environment.get("PYTHONPATH") == path
    )


@contextmanager
def both_at_work(platform: Platform, days: list[date]) -> Iterator[list[str]]:
    """Let two workers execute two jobs each, and keep them from committing for a while."""
    with slices_locked(platform):
        ids = enqueue(platform, days)
        wait_until(lambda: len(running(platform, ids)) == len(ids) == AT_ONCE, "all are under way")
        yield ids


def test_a_deploy_goes_through_without_a_pause(
    platform: Platform, upstream: Upstream, newer: Path
) -> None:
    # Runs of the older release are about to commit when the database is migrated.
    with both_at_work(platform, upstream.new_days(2)) as ids:
        migration = subprocess.Popen(
            [SCRIPTS / "poi-ingest", "migrate"],
            env={**platform.environment, "PYTHONPATH": str(newer)},
        )
        wait_until(lambda: waits_for_versions(platform), "the migration waits for the runs")
    assert migration.wait(LONG_ENOUGH_S) == 0
    assert_all_staged_by_one_run_each(platform, ids)

    # The older release works on with the schema of the newer one.
    ids = enqueue(platform, upstream.new_days(1))
    assert_all_staged_by_one_run_each(platform, ids)
    (older_rules,) = rules_of(platform, jobs_of(platform, ids))

    # A worker of each release, under the older daemon.
    platform.replace(NEW, checkout=newer)
    days = upstream.new_days(2)
    with both_at_work(platform, days) as ids:
        jobs = jobs_of(platform, ids)
        assert {worker_of(platform, job) for job in jobs} == {OLD, NEW}
    assert_all_staged_by_one_run_each(platform, ids)
    newer_rules = rules_of(platform, jobs) - {older_rules}
    assert len(newer_rules) == 1
    assert older_rules in rules_of(platform, jobs)

    # The same worker of the older release, under the newer daemon.
    platform.replace("code-server", checkout=newer)
    platform.replace("webserver", "daemon", "api", checkout=newer)
    with both_at_work(platform, upstream.new_days(2)) as ids:
        jobs = jobs_of(platform, ids)
        assert {worker_of(platform, job) for job in jobs} == {OLD, NEW}
    assert_all_staged_by_one_run_each(platform, ids)
    assert rules_of(platform, jobs) == {older_rules, *newer_rules}

    # All is upgraded; days of the older release are made again when they are run.
    platform.replace(OLD, checkout=newer)
    again = until_all_ended(platform, enqueue(platform, days))
    assert {job.status for job in again} == {"SUCCEEDED"}
    staged = sa.select(staged_partition.c.rules_version).where(staged_partition.c.day.in_(days))
    with platform.engine.connect() as connection:
        assert set(connection.execute(staged).scalars()) == newer_rules


def test_two_releases_that_ask_for_one_key_at_once_take_turns(
    migrated: Platform, upstream: Upstream, newer: Path
) -> None:
    platform = migrated
    (day,) = upstream.new_days(1)
    orders = {"town-1": (None, newer), "town-2": (newer, None)}
    with slices_locked(platform):
        first = [start_by_hand(platform, city, day, order[0]) for city, order in orders.items()]
        wait_until(lambda: len(running_on(platform, day)) == len(orders), "both are under way")
        claimed = {run.dagster_run_id for run in running_on(platform, day)}
        second = [start_by_hand(platform, city, day, order[1]) for city, order in orders.items()]
        wait_until(lambda: waiting_for_claims(platform) == len(orders), "the others wait for them")
        assert {run.dagster_run_id for run in running_on(platform, day)} == claimed
    assert [process.wait(LONG_ENOUGH_S) for process in first + second] == [0] * 4
    for city in orders:
        runs_of_day = [run for run in platform.ledger(city) if run.day == day]
        assert [run.status for run in runs_of_day] == ["SUCCEEDED"] * 2
        assert_true(platform, runs_of_day[-1:])


def running_on(platform: Platform, day: date) -> list[runs.Run]:
    return [run for run in platform.ledger() if run.day == day and run.status == "RUNNING"]


def waiting_for_claims(platform: Platform) -> int:
    """Return how many transactions wait for another one that has locked a row of the ledger."""
    query = sa.text(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
    )
    with platform.engine.connect() as connection:
        waiting: int = connection.execute(query).scalar_one()
    return waiting


def start_by_hand(
    platform: Platform, city: str, day: date, checkout: Path | None
) -> subprocess.Popen[bytes]:
    """Start a city-day by the command line of a release; None is this checkout."""
    release = {"PYTHONPATH": str(checkout)} if checkout else {}
    return subprocess.Popen(
        [SCRIPTS / "poi-ingest", "run", "--city", city, "--day", f"{day}"],
        env={**platform.environment, **release},
    )


def test_a_column_of_the_newer_release_survives_days_that_the_older_one_stages(
    migrated: Platform, upstream: Upstream, newer: Path
) -> None:
    platform = migrated
    first, second, third = upstream.new_days(3)
    pois = {100 + number: {"amenity": "cafe", "brand": "Stars"} for number in range(1, CAFES + 1)}
    for day in (first, second, third):
        at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
        write_nodes(upstream.extracts / f"{day}.osm.pbf", in_a_row(pois), at=at)
    for day, checkout in ((first, newer), (third, newer), (second, None)):
        assert start_by_hand(platform, "town-1", day, checkout).wait(LONG_ENOUGH_S) == 0
    query = (
        "SELECT brand, count(*) FROM poi_staging_day WHERE city_slug = 'town-1' AND day = :day "
        "GROUP BY brand"
    )
    with platform.engine.connect() as connection:
        found = [
            connection.execute(sa.text(query), {"day": day}).one() for day in (first, second, third)
        ]
    assert found == [("Stars", CAFES), (None, CAFES), ("Stars", CAFES)]


def waits_for_versions(platform: Platform) -> bool:
    """Return whether somebody waits until no transaction writes versions of POIs."""
    query = sa.text(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' "
        "AND relation = CAST('poi_ingestion_staging' AS regclass)"
    )
    with platform.engine.connect() as connection:
        return bool(connection.execute(query).scalar_one())
