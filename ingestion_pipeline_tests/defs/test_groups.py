"""Groups of cities: several Dagsters that share one database, and leave each other's work alone."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from datetime import date, timedelta
from typing import TYPE_CHECKING

import dagster as dg
import pytest

from ingestion_pipeline.config.settings import SettingsError
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.definitions import build_definitions
from ingestion_pipeline.defs.reconcile import reconcile
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.sensors import BATCH
from ingestion_pipeline.staging import runs, ticks
from ingestion_pipeline_tests.support.installation import TODAY, Installation, ScriptedClock
from testbed.towns import NOON, town

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_pipeline_tests.support.installations import Install

TOWNS = {"north": ("town-0", "town-1"), "south": ("town-2",), None: ("town-3",)}
GONE = "a-worker/boot/4026531836 17 12.34"


@pytest.fixture
def whole(install: Install) -> Installation:
    """Give an installation without a group."""
    cities = [
        town(int(slug[-1]), **({"group": group} if group else {}))
        for group, slugs in TOWNS.items()
        for slug in slugs
    ]
    return install(cities=cities, clock=ScriptedClock(), partitions_start=date(2020, 1, 1))


@pytest.fixture
def instances() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def of_group(whole: Installation, group: str, instances: ExitStack) -> Installation:
    """Give an installation of a group, with a Dagster of its own and the same database."""
    workshop = whole.workshop
    settings = workshop.settings.model_copy(update={"city_group": group})
    own = PipelineResources(
        settings, workshop.cities, clock=workshop.clock, ledger_clock=workshop.clock
    )
    instances.callback(own.engine.dispose)
    instance = instances.enter_context(dg.DagsterInstance.ephemeral())
    return replace(whole, workshop=own, instance=instance)


def enqueue(here: Installation, slug: str) -> runs.Run:
    key = JobKey("osm_import", slug, here.workshop.cities.get(slug).boundary_key, TODAY)
    return runs.enqueue(here.engine, key, trigger="admin", now=NOON)[0]


def evaluated(here: Installation, sensor: str, cursor: str | None = None) -> set[str | None]:
    """Evaluate a sensor; give the partitions that it requests."""
    return {request.partition_key for request in here.tick(sensor, cursor).run_requests or ()}


def test_a_group_has_the_partitions_of_its_cities_only(
    whole: Installation, instances: ExitStack
) -> None:
    here = of_group(whole, "north", instances)
    keys = build_definitions(here.workshop).resolve_job_def("osm_import").partitions_def
    assert keys is not None
    assert keys.has_partition_key(f"town-0|{TODAY}")
    assert not keys.has_partition_key(f"town-2|{TODAY}")


def test_each_job_is_requested_by_the_dagster_of_its_city_and_by_no_other(
    whole: Installation, instances: ExitStack
) -> None:
    for number in range(4):
        enqueue(whole, f"town-{number}")
    asked = {
        group: evaluated(of_group(whole, group, instances), ticks.TRIGGER_SENSOR)
        for group in ("north", "south")
    }
    assert asked == {
        "north": {f"town-0|{TODAY}", f"town-1|{TODAY}"},
        "south": {f"town-2|{TODAY}"},
    }


def test_each_city_is_scheduled_by_one_dagster(whole: Installation, instances: ExitStack) -> None:
    the_day_before = '{"until":"2024-05-31T12:00:00+00:00","left":{}}'
    for group in ("north", "south"):
        here = of_group(whole, group, instances)
        assert evaluated(here, "osm_import_schedule", the_day_before) == {
            f"{slug}|{TODAY}" for slug in TOWNS[group]
        }


def test_a_run_of_another_group_is_not_judged_whatever_this_dagster_knows_of_it(
    whole: Installation, instances: ExitStack
) -> None:
    waiting, working = enqueue(whole, "town-0"), enqueue(whole, "town-1")
    long_ago = NOON - timedelta(days=2)
    claimed = runs.claim(
        whole.engine,
        JobKey("osm_import", "town-1", working.boundary_ref, TODAY),
        dagster_run_id="a-run-of-the-north",
        worker=GONE,
        trigger="admin",
        is_alive=lambda _: False,
        now=long_ago,
    )
    assert isinstance(claimed, runs.Claim)
    whole.workshop.clock.sleep(7 * 3600)
    south, north = (of_group(whole, group, instances) for group in ("south", "north"))
    reconcile(south.workshop, south.instance, after=None, limit=BATCH)
    assert {job.id: job.status for job in whole.ledger()} == {
        waiting.id: "PENDING",
        working.id: "RUNNING",
    }
    reconcile(north.workshop, north.instance, after=None, limit=BATCH)
    assert {job.id: job.status for job in whole.ledger()} == {
        waiting.id: "FAILED",
        working.id: "FAILED",
    }


def test_a_group_that_no_city_has_is_refused(whole: Installation, instances: ExitStack) -> None:
    here = of_group(whole, "nort", instances)
    with pytest.raises(SettingsError, match=r"its groups are: north, south"):
        build_definitions(here.workshop)
