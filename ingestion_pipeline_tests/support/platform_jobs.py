"""Jobs of a running platform: asked for, waited for, and compared with what the database holds."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.tables import poi_ingestion_staging, staged_partition
from ingestion_pipeline_tests.support.installation import overpass_cafes
from ingestion_pipeline_tests.support.overpass_server import Reply, overpass_json
from testbed.platform_processes import DagsterRun, Platform, wait_until
from testbed.towns import cafes, write_extract

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ingestion_pipeline_tests.support.overpass_server import Request

TOWNS = (1, 2)
"""Towns whose data comes from dated extracts; town 0 asks an Overpass server."""

CAFES = 99
"""What every town has, on every day."""

FIRST_DAY = date(2026, 1, 1)
IN_THE_END_S = 900
"""Half a minute on two cores that have nothing else to do."""


class Upstream:
    """An Overpass server that lets requests wait while it is shut, and extracts of any day."""

    def __init__(self, extracts: Path) -> None:
        self.asked = threading.Event()
        self._open = threading.Event()
        self._open.set()
        self.extracts = extracts
        self._last = FIRST_DAY

    def __call__(self, request: Request) -> Reply:
        del request
        self.asked.set()
        assert self._open.wait(IN_THE_END_S)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Reply(body=overpass_json(overpass_cafes(cafes(0)), base=now))

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Let nobody through for a while."""
        self.asked.clear()
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    def new_days(self, count: int) -> list[date]:
        """Give past days that no test has used, with an extract of each."""
        days = [self._last + timedelta(days=number) for number in range(1, count + 1)]
        self._last = days[-1]
        pois = {place: name for number in TOWNS for place, name in cafes(number).items()}
        for day in days:
            at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
            write_extract(self.extracts / f"{day}.osm.pbf", pois, at=at)
        return days


def enqueue(
    platform: Platform,
    days: Sequence[date],
    towns: Sequence[int] = TOWNS,
    *,
    refetch: bool = False,
) -> list[str]:
    """Enqueue city-days as the admin API does; give the jobs' ids."""
    cities = load_cities(platform.folder / "cities.toml")
    ids = []
    for city in [cities.get(f"town-{number}") for number in towns]:
        for day in days:
            key = JobKey("osm_import", city.slug, city.boundary_key, day)
            job, made = runs.enqueue(
                platform.engine, key, trigger="admin", now=datetime.now(UTC), refetch=refetch
            )
            assert made
            ids.append(job.id)
    return ids


def jobs_of(platform: Platform, ids: Sequence[str]) -> list[runs.Run]:
    return [job for job in platform.ledger() if job.id in ids]


def running(platform: Platform, ids: Sequence[str]) -> list[runs.Run]:
    return [job for job in jobs_of(platform, ids) if job.status == "RUNNING"]


def runs_for(platform: Platform, job_id: str) -> list[str]:
    """Give the ids of the Dagster runs that were started for a job."""
    return [run.run_id for run in platform.dagster_runs(**{"ingestion/run_id": job_id})]


def green_runs(platform: Platform) -> set[str]:
    """Give the ids of all Dagster runs that ended well, with tags or without."""
    return {run.run_id for run in platform.dagster_runs() if run.status == "SUCCESS"}


def until_all_ended(platform: Platform, ids: Sequence[str]) -> list[runs.Run]:
    """Wait until jobs have ended, and Dagster's runs too; give the jobs."""

    def active() -> list[runs.Run | DagsterRun]:
        jobs = [job for job in jobs_of(platform, ids) if job.status in runs.ACTIVE]
        return [*jobs, *(run for run in platform.dagster_runs() if not run.is_finished)]

    try:
        wait_until(lambda: not active(), "every job has ended", timeout=IN_THE_END_S, every=1)
    except AssertionError as late:
        raise AssertionError(f"{late}: {active()}") from None
    jobs = jobs_of(platform, ids)
    assert len(jobs) == len(ids)
    return jobs


def assert_true(platform: Platform, jobs: Sequence[runs.Run]) -> None:
    """Check that what the ledger says of jobs is what the database holds."""
    slices, versions = staged_partition.c, poi_ingestion_staging.c
    for job in jobs:
        of_that_day = (
            versions.city_slug == job.city_slug,
            versions.valid_from <= job.day,
            sa.or_(versions.valid_to.is_(None), versions.valid_to > job.day),
        )
        with platform.engine.connect() as connection:
            staged = connection.execute(
                sa.select(staged_partition).where(
                    slices.city_slug == job.city_slug, slices.day == job.day
                )
            ).one_or_none()
            refs = connection.execute(sa.select(versions.source_ref).where(*of_that_day))
            rows = list(refs.scalars())
        if job.status == "SUCCEEDED":
            assert staged is not None
            assert staged.run_id == job.id
            assert job.counts is not None
            assert job.counts["rows"] == staged.rows == len(rows) == len(set(rows)) == CAFES
        else:
            assert staged is None or staged.run_id != job.id
            assert job.error_code
            assert job.error_message


def assert_all_staged(platform: Platform, ids: Sequence[str]) -> list[runs.Run]:
    """Check that each job ends well; give the jobs."""
    jobs = until_all_ended(platform, ids)
    assert {(job.status, job.error_message) for job in jobs} == {("SUCCEEDED", None)}
    assert_true(platform, jobs)
    return jobs


def assert_all_staged_by_one_run_each(platform: Platform, ids: Sequence[str]) -> None:
    """Check that each job ends well, and that Dagster made one run for it."""
    for job in assert_all_staged(platform, ids):
        assert runs_for(platform, job.id) == [job.dagster_run_id]


@contextmanager
def slices_locked(platform: Platform) -> Iterator[None]:
    """Let every run wait before it records its slice, in the transaction that wrote the rows."""
    with platform.engine.begin() as connection:
        connection.execute(sa.text("LOCK TABLE staged_partition IN SHARE MODE"))
        yield
