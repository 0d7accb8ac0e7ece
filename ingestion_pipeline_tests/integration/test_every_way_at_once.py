"""Towns, each asked for at the same moment in every way that there is.

Four of them, to be done in two minutes; `TOWNS_AT_ONCE=10` makes it ten.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from ingestion_pipeline.defs.schedules import local_time_of
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.tables import poi_ingestion_staging, staged_partition
from ingestion_pipeline_tests.support.installation import overpass_cafes
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply, overpass_json
from testbed.platform_processes import Platform, running_platform, wait_until
from testbed.towns import cafes, town

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingestion_pipeline_tests.support.overpass_server import Request

pytestmark = pytest.mark.timeout(2400)

ROUNDS = int(os.environ.get("TOWNS_AT_ONCE", "4"))
CAFES = 99
AN_HOUR_OF_THE_MORNING = 4
BEFORE_THE_TICK = timedelta(minutes=2)
"""Until then the platform must have started."""

HELPERS_ARE_OVER = timedelta(minutes=15)
"""So long before the moment, which is before the platform starts: no run of theirs mixes in."""

OF_THE_ROUNDS = timedelta(minutes=6)
"""In this time they come to an end, on one UTC day."""

IN_THE_END_S = 900
"""Two minutes on two cores that have nothing else to do."""


class Upstream:
    """An Overpass server with all towns' cafés, which lets requests wait until it is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()

    def __call__(self, request: Request) -> Reply:
        del request
        assert self.opened.wait(IN_THE_END_S)
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        pois = {place: name for number in range(ROUNDS) for place, name in cafes(number).items()}
        return Reply(body=overpass_json(overpass_cafes(pois), base=now))


def moment_of_the_tick() -> datetime:
    """Choose a minute that is near, and whose day does not end before the test does."""
    moment = (datetime.now(UTC) + BEFORE_THE_TICK).replace(second=0, microsecond=0)
    end = moment + OF_THE_ROUNDS
    if end.date() > moment.date():
        return end.replace(hour=0, minute=1)
    return moment


def towns_due_at(moment: datetime) -> list[dict[str, Any]]:
    """Invent towns whose daily schedules all tick in one minute, their helpers' long before.

    A town's minutes follow from its slug; what the hour is at the moment, from its time zone.
    """
    ahead = (AN_HOUR_OF_THE_MORNING - moment.hour + 11) % 24 - 11
    zone = f"Etc/GMT{-ahead:+d}"
    tick = moment.replace(hour=AN_HOUR_OF_THE_MORNING)
    helpers_until = (tick - HELPERS_ARE_OVER).time()
    slugs = (f"round-{number}" for number in count())
    due = (
        slug
        for slug in slugs
        if local_time_of("osm_import", slug) == tick.time()
        and local_time_of("helpers_import", slug) < helpers_until
    )
    return [
        town(number, slug=slug, timezone=zone, osm_source="overpass")
        for number, slug in enumerate(islice(due, ROUNDS))
    ]


@pytest.fixture
def moment() -> datetime:
    return moment_of_the_tick()


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def server(upstream: Upstream) -> Iterator[OverpassServer]:
    with OverpassServer(upstream) as server:
        yield server
        upstream.opened.set()


@pytest.fixture
def platform(
    tmp_path_factory: pytest.TempPathFactory, moment: datetime, server: OverpassServer
) -> Iterator[Platform]:
    with running_platform(
        tmp_path_factory.mktemp("platform"),
        towns=towns_due_at(moment),
        OVERPASS_URL=server.url,
        PARTITIONS_START=str(moment.date() - timedelta(days=2)),
        SCHEDULES="on",
    ) as platform:
        platform.allow_fetches(4)
        yield platform


def test_of_all_that_start_one_key_at_one_moment_one_does_the_work_and_the_ledger_names_each(
    platform: Platform, moment: datetime, upstream: Upstream, server: OverpassServer
) -> None:
    day = str(moment.date())
    slugs = [str(one["slug"]) for one in towns_due_at(moment)]
    jobs: dict[str, str] = {}

    def ask(slug: str) -> None:
        wanted = {"city_slug": slug, "day": day}
        reply = platform.api.post("/v1/admin/ingestion/osm/enqueue", json=wanted)
        assert reply.status_code in (200, 202)
        jobs[slug] = reply.json()["job_id"]

    def launch(slug: str) -> None:
        platform.launch(slug, day, **{"ingestion/trigger": "graphql"})

    def backfill() -> None:
        platform.backfill([f"{slug}|{day}" for slug in slugs])

    left = (moment - datetime.now(UTC)).total_seconds()
    assert left > 0, "the platform took too long to start"
    time.sleep(left)
    with ThreadPoolExecutor(8) as everybody:
        starts: list[Callable[[], None]] = [backfill]
        for slug in slugs:
            starts += [lambda slug=slug: launch(slug), lambda slug=slug: ask(slug)]  # type: ignore[misc]
        for started in [everybody.submit(start) for start in starts]:
            started.result()

    wait_until(
        lambda: all(_has_come_in_every_way(platform, slug, day, jobs[slug]) for slug in slugs),
        "every way has led to a Dagster run of each town",
        timeout=IN_THE_END_S,
        every=1,
    )
    upstream.opened.set()
    wait_until(
        lambda: all(run.is_finished for run in platform.dagster_runs()),
        "all runs have ended",
        timeout=IN_THE_END_S,
        every=1,
    )
    wait_until(
        lambda: all(job.status not in runs.ACTIVE for job in platform.ledger()), "all jobs too"
    )
    for slug in slugs:
        _assert_one_did_the_work(platform, slug, day)
    assert len(server.queries) == ROUNDS


def _has_come_in_every_way(platform: Platform, slug: str, day: str, job_id: str) -> bool:
    """Tell whether a town has a run of each way; its job may have been taken on by any of them."""
    of_the_town = platform.dagster_runs(**{"dagster/partition": f"{slug}|{day}"})
    tags = [run.tags for run in of_the_town]
    (job,) = [job for job in platform.ledger(slug) if job.id == job_id]
    return (
        any(tag.get("ingestion/trigger") == "graphql" for tag in tags)
        and any(tag.get("dagster/sensor_name") == "osm_import_schedule" for tag in tags)
        and any("dagster/backfill" in tag for tag in tags)
        and (any("ingestion/run_id" in tag for tag in tags) or job.status != "PENDING")
    )


def _assert_one_did_the_work(platform: Platform, slug: str, day: str) -> None:
    of_the_town = platform.dagster_runs(**{"dagster/partition": f"{slug}|{day}"})
    assert len(of_the_town) in (3, 4)
    rows = platform.ledger(slug)
    assert {row.dagster_run_id for row in rows} == {run.run_id for run in of_the_town}
    assert len(rows) == len(of_the_town)
    (worked,) = [row for row in rows if row.status == "SUCCEEDED"]
    assert worked.counts is not None
    assert worked.counts["written"] == CAFES
    others = Counter((row.status, row.error_code) for row in rows if row is not worked)
    assert set(others) <= {("CANCELED", "already_staged"), ("FAILED", "key_held")}
    ended_green = {row.dagster_run_id for row in rows if row.error_code != "key_held"}
    assert {run.run_id for run in of_the_town if run.status == "SUCCESS"} == ended_green
    with platform.engine.connect() as connection:
        (slice_,) = connection.execute(
            sa.select(staged_partition).where(staged_partition.c.city_slug == slug)
        ).all()
        names = connection.execute(
            sa.select(poi_ingestion_staging.c.name).where(poi_ingestion_staging.c.city_slug == slug)
        ).scalars()
        assert slice_.run_id == worked.id
        assert len(list(names)) == slice_.rows == CAFES
