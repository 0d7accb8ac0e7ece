"""What a run reports is the same in batches, takes fewer statements, and outlives a kill."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa

from ingestion_pipeline.dagster_runtime.event_batches import batch_events
from ingestion_pipeline.quality.catalogue import CHECKS
from ingestion_pipeline_tests.support.installation import TODAY, ScriptedClock, why
from testbed.towns import NOON, write_extract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingestion_pipeline_tests.support.installation import Installation

ROOT = Path(__file__).parents[2]
DAYS = [TODAY - timedelta(days=number) for number in (4, 3, 2, 1)]
"""Of the last there is no extract."""

MOST_STATEMENTS = {"sqlite": 250, "postgres": 160}
"""Of a run with 52 events, with those that create it. Without batches it is twice as many."""


@pytest.fixture
def here(
    install_town: Callable[..., Installation], stored_instance: dg.DagsterInstance, tmp_path: Path
) -> Installation:
    """The invented town, with Dagster's storage as in development and as in production."""
    for day in DAYS[:-1]:
        at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
        write_extract(tmp_path / f"{day}.osm.pbf", {1: "A", 2: "B"}, at=at)
    town = install_town(
        clock=ScriptedClock(NOON),
        osm_source="extract",
        osm_extract=str(tmp_path / "{day}.osm.pbf"),
    )
    return replace(town, instance=stored_instance)


@contextmanager
def counted_statements() -> Iterator[Counter[str]]:
    """Count the statements that are sent to Dagster's storage."""
    sent: Counter[str] = Counter()

    def count(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
        url = connection.engine.url
        if url.drivername == "postgresql+psycopg2" or "/home/" in (url.database or ""):
            sent[" ".join(statement.split()[:3])] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    yield sent
    sa.event.remove(sa.Engine, "before_cursor_execute", count)


def reported(here: Installation, run_id: str) -> list[tuple[Any, ...]]:
    """Return what the log of a run shows, in its order, and what is kept beside the log."""
    instance = here.instance
    shown: list[tuple[Any, ...]] = [
        (event.dagster_event_type, event.step_key, event.level)
        for event in instance.all_logs(run_id)
    ]
    for check in CHECKS:
        key = dg.AssetCheckKey(dg.AssetKey("poi_staging"), check.name)
        for each in instance.event_log_storage.get_asset_check_execution_history(key, limit=100):
            if each.run_id == run_id:
                assert each.event is not None
                assert each.event.dagster_event is not None
                evaluation = each.event.dagster_event.event_specific_data
                has_target = bool(getattr(evaluation, "target_materialization_data", None))
                shown.append((check.name, each.status, has_target, bool(each.partition)))
    for asset in ("osm_snapshot", "osm_pois", "poi_staging"):
        for record in instance.fetch_materializations(dg.AssetKey(asset), limit=100).records:
            if record.run_id == run_id and record.asset_materialization:
                made = record.asset_materialization
                shown.append((asset, sorted(made.metadata), sorted(made.tags or {})))
    return shown


def test_a_run_reports_in_batches_what_it_reports_without(
    here: Installation, request: pytest.FixtureRequest
) -> None:
    with counted_statements() as before:
        first = here.run(f"town|{DAYS[0]}")
    batch_events(here.instance)
    with counted_statements() as after:
        second = here.run(f"town|{DAYS[1]}")
    assert first.success, why(first)
    assert second.success, why(second)
    assert reported(here, second.run_id) == reported(here, first.run_id)
    kind = request.node.callspec.params["stored_instance"]
    assert after.total() <= MOST_STATEMENTS[kind] < before.total(), (before, after)
    failed = here.run(f"town|{DAYS[3]}")
    kinds = [event.dagster_event_type for event in here.instance.all_logs(failed.run_id)]
    assert {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE} <= {*kinds}
    assert here.run(f"town|{DAYS[2]}").success


PROGRAM = """
import os, signal, sys
import dagster as dg
from ingestion_pipeline.dagster_runtime.event_batches import batch_events

@dg.asset
def first() -> None:
    pass

@dg.asset(deps=[first])
def second(context: dg.AssetExecutionContext) -> None:
    if sys.argv[2] == "after a line":
        context.log.info("at work")
    os.kill(os.getpid(), signal.SIGKILL)

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    batch_events(instance)
    dg.materialize([first, second], instance=instance)
"""


@pytest.mark.process
@pytest.mark.parametrize("killed", ["at once", "after a line"])
def test_all_that_was_reported_before_the_work_of_a_step_outlives_a_kill(
    tmp_path: Path, killed: str
) -> None:
    shutil.copy(ROOT / "ingestion_pipeline" / "dagster.yaml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path, killed], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        (run,) = instance.get_runs()
        log = instance.all_logs(run.run_id)
        steps = [(event.step_key, event.dagster_event_type) for event in log]
        kinds = dg.DagsterEventType
        for kind in (kinds.STEP_START, kinds.STEP_OUTPUT, kinds.STEP_SUCCESS):
            assert ("first", kind) in steps
        assert instance.get_latest_materialization_event(dg.AssetKey("first")) is not None
        assert ("second", kinds.STEP_START) in steps
        assert ("at work" in [event.user_message for event in log]) == (killed == "after a line")


def test_events_that_cannot_be_stored_are_stored_with_the_next(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = here.instance.event_log_storage
    batch_events(here.instance)
    first = here.run(f"town|{DAYS[0]}")
    (event, *_) = [
        each
        for each in here.instance.all_logs(first.run_id)
        if each.dagster_event_type == dg.DagsterEventType.STEP_SUCCESS
    ]
    stored = len(here.instance.all_logs(first.run_id))

    def unavailable(*_: Any) -> Any:
        raise sa.exc.OperationalError("", {}, Exception("the server is away"))

    with monkeypatch.context() as patched:
        patched.setattr(storage, "_event_to_row", unavailable)
        storage.store_event(event)
        with pytest.raises(sa.exc.OperationalError):
            storage._store_waiting()  # type: ignore[attr-defined]
    assert len(here.instance.all_logs(first.run_id)) == stored + 1


def test_a_storage_of_another_kind_stays_as_it_is() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        kind = type(instance.event_log_storage)
        batch_events(instance)
        assert type(instance.event_log_storage) is kind
