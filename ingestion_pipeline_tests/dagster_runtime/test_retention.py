"""Dagster's event log is thinned out, and nothing that anybody counts on is gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
from dagster._core.storage.dagster_run import DagsterRunStatus

from ingestion_pipeline.dagster_runtime.retention import Pruned, StorageNotPrunable, prune
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.defs.partitions import build_partitions
from ingestion_pipeline.quality.catalogue import CHECKS
from ingestion_pipeline_tests.support.installation import TODAY, ScriptedClock, why
from testbed.towns import NOON, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable

    from ingestion_pipeline_tests.support.installation import Installation

DAYS = [TODAY - timedelta(days=number) for number in (3, 2, 1)]


@pytest.fixture
def town(install_town: Callable[..., Installation], tmp_path: Path) -> Installation:
    """The invented town with extracts of two days; of the third there is none."""
    for day in DAYS[:2]:
        at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
        write_extract(tmp_path / f"{day}.osm.pbf", {1: "A", 2: "B"}, at=at)
    template = str(tmp_path / "{day}.osm.pbf")
    return install_town(clock=ScriptedClock(NOON), osm_source="extract", osm_extract=template)


@pytest.fixture
def here(stored_instance: dg.DagsterInstance, town: Installation) -> Installation:
    """The town, with Dagster's storage as in development and as in production, and three runs."""
    here = replace(town, instance=stored_instance)
    results = [here.run(f"town|{day}") for day in DAYS]
    assert [result.success for result in results] == [True, True, False], why(results[0])
    return here


def soon() -> datetime:
    """A moment before which all runs of a test have ended."""
    return datetime.now(UTC) + timedelta(hours=1)


def what_people_see(here: Installation) -> dict[str, Any]:
    """Give the status of runs and partitions and the materializations, computed afresh."""
    instance = here.instance
    partitions = build_partitions(here.workshop.cities, here.workshop.settings.partitions_start)
    keys = [f"town|{day}" for day in DAYS]
    seen: dict[str, Any] = {
        "runs": {
            record.dagster_run.run_id: (
                record.dagster_run.status,
                record.start_time,
                record.end_time,
            )
            for record in instance.get_run_records()
        }
    }
    for name in POI.chain:
        key = dg.AssetKey(name)
        instance.event_log_storage.wipe_asset_cached_status(key)
        latest = instance.get_latest_materialization_event(key)
        assert latest is not None
        seen[name] = (
            instance.get_status_by_partition(key, keys, partitions),
            instance.get_materialized_partitions(key),
            latest.run_id,
            latest.asset_materialization,
            [
                (record.partition_key, record.asset_materialization)
                for record in instance.fetch_materializations(key, limit=100).records
            ],
        )
    for check in CHECKS:
        executions = instance.event_log_storage.get_asset_check_execution_history(
            dg.AssetCheckKey(dg.AssetKey(POI.chain[-1]), check.name), limit=100
        )
        assert len(executions) >= len(DAYS) - 1  # one never reached its checks
        seen[check.name] = [
            (each.run_id, each.status, each.event and each.event.dagster_event)
            for each in executions
        ]
    return seen


def events(here: Installation) -> dict[str, int]:
    """Count the events of each run."""
    return {run_id: len(here.instance.all_logs(run_id)) for run_id in here.instance.get_run_ids()}


def test_what_runs_said_in_detail_goes_and_their_results_stay(here: Installation) -> None:
    before, size = events(here), bytes_of(here)
    seen = what_people_see(here)
    logs = sorted((Path(here.instance.root_directory) / "storage").iterdir())
    assert [path.name for path in logs] == sorted(before)
    expected = prune(here.instance, before=soon(), dry_run=True)
    assert (events(here), logs[0].exists()) == (before, True)
    done = prune(here.instance, before=soon(), batch=2)
    assert done == expected
    after = events(here)
    assert done == Pruned(runs=3, events=sum(before.values()) - sum(after.values()))
    assert all(after[run_id] < before[run_id] / 2 for run_id in before)
    assert what_people_see(here) == seen
    assert [path for path in logs if path.exists()] == []
    assert bytes_of(here) < size
    assert prune(here.instance, before=soon()) == Pruned(runs=0, events=0)
    again = here.run(f"town|{DAYS[0]}")
    assert again.success, why(again)
    assert what_people_see(here)["poi_staging"][2] == again.run_id


@pytest.mark.parametrize("here", ["sqlite"], indirect=True)
def test_younger_runs_and_those_that_work_are_left_alone(here: Installation) -> None:
    working = here.instance.create_run_for_job(here.job(), status=DagsterRunStatus.STARTED)
    here.instance.report_engine_event("at work", working)
    before = events(here)
    assert prune(here.instance, before=datetime.now(UTC) - timedelta(hours=1)).runs == 0
    assert events(here) == before
    assert prune(here.instance, before=soon()).runs == 3
    assert events(here)[working.run_id] == before[working.run_id]


def bytes_of(here: Installation) -> int:
    """Give how much room the events take, once what was freed has been given back."""
    storage = here.instance.event_log_storage
    with storage.index_connection() as connection:  # type: ignore[attr-defined]
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("VACUUM FULL event_logs")
            query = "SELECT pg_total_relation_size('event_logs')"
            size: int = connection.exec_driver_sql(query).scalar_one()
            return size
    folder = Path(here.instance.root_directory) / "history" / "runs"
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_storage_that_is_not_known_is_refused_with_words(town: Installation) -> None:
    assert town.run(f"town|{DAYS[0]}").success
    with pytest.raises(StorageNotPrunable, match="InMemoryEventLogStorage"):
        prune(town.instance, before=soon())
