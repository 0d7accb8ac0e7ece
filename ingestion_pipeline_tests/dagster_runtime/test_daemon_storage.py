"""Processes use Dagster's storage with less work, and store what they stored before."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa

from ingestion_pipeline.dagster_runtime.daemon_storage import (
    BATCH_SIZE,
    engines_of,
    instance_of,
    spare_statements,
    without_creation,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

YAML = Path(__file__).parents[2] / "deploy" / "dagster.yaml"
KEY = dg.AssetKey("made")


@dg.asset(
    check_specs=[dg.AssetCheckSpec(name, asset="made") for name in ("one", "two", "three")],
)
def made() -> Any:
    yield dg.MaterializeResult(
        check_results=[
            dg.AssetCheckResult(check_name=name, passed=True) for name in ("one", "two", "three")
        ]
    )


JOB = dg.Definitions(assets=[made]).resolve_implicit_global_asset_job_def()


@pytest.fixture
def instance(
    postgis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance as in production."""
    url = sa.make_url(postgis_url).set(drivername="postgresql+psycopg2")
    monkeypatch.setenv("DAGSTER_STORAGE_URL", url.render_as_string(hide_password=False))
    monkeypatch.setenv(BATCH_SIZE, "0")
    (tmp_path / "dagster.yaml").write_text(YAML.read_text())
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield instance


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count the statements by their first words, and the connections."""
    sent: Counter[str] = Counter()

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent[" ".join(statement.split()[:3])] += 1

    def connected(*_: Any) -> None:
        sent["connections"] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    sa.event.listen(sa.Engine, "connect", connected)
    yield sent
    sa.event.remove(sa.Engine, "before_cursor_execute", count)
    sa.event.remove(sa.Engine, "connect", connected)


def planned(instance: dg.DagsterInstance) -> tuple[Counter[str], list[Any]]:
    """Create a run; return the statements by their first words, and what the run has planned."""
    with counted() as sent:
        run = instance.create_run_for_job(JOB)
    events = [(each.dagster_event_type, each.step_key) for each in instance.all_logs(run.run_id)]
    storage = instance.event_log_storage
    checks = [
        (check, each.status)
        for check in ("one", "two", "three")
        for each in storage.get_asset_check_execution_history(
            dg.AssetCheckKey(KEY, check), limit=10
        )
        if each.run_id == run.run_id
    ]
    (record,) = instance.get_asset_records([KEY])
    assert record.asset_entry.last_run_id == run.run_id
    assert len(checks) == 3
    return sent, [events, checks]


def test_what_a_run_plans_is_stored_by_one_statement(instance: dg.DagsterInstance) -> None:
    before, expected = planned(instance)
    spare_statements(instance)
    after, found = planned(instance)
    assert found == expected
    assert (before["INSERT INTO event_logs"], after["INSERT INTO event_logs"]) == (4, 1)
    assert os.environ[BATCH_SIZE] != "0"
    assert after.total() < before.total()


def test_whether_a_table_is_there_is_asked_until_it_is(instance: dg.DagsterInstance) -> None:
    storage = instance.schedule_storage
    assert storage is not None
    spare_statements(instance)
    with storage.connect() as connection:  # type: ignore[attr-defined]
        connection.execute(sa.text("ALTER TABLE instigators RENAME TO away"))
        assert not storage._has_instigators_table(connection)  # type: ignore[attr-defined]
        connection.execute(sa.text("ALTER TABLE away RENAME TO instigators"))
        assert storage._has_instigators_table(connection)  # type: ignore[attr-defined]
        connection.execute(sa.text("ALTER TABLE instigators RENAME TO away"))
        assert storage.has_instigators_table()  # type: ignore[attr-defined]


def test_whether_a_column_of_runs_is_there_is_asked_until_it_is(
    instance: dg.DagsterInstance,
) -> None:
    storage: Any = instance.run_storage
    spare_statements(instance)
    hide, show = (
        sa.text(f"ALTER TABLE runs RENAME COLUMN {names}")
        for names in ("end_time TO away", "away TO end_time")
    )
    with storage.connect() as connection:
        connection.execute(hide)
        assert not storage.has_run_stats_index_cols()
        connection.execute(show)
        assert storage.has_run_stats_index_cols()
        assert storage.has_backfill_id_column()
        connection.execute(hide)
        assert storage.has_run_stats_index_cols()


def test_a_connection_is_kept_and_replaced_when_the_server_has_closed_it(
    instance: dg.DagsterInstance,
) -> None:
    with counted() as before:
        for _ in range(5):
            instance.get_runs()
    spare_statements(instance)
    with counted() as after:
        for _ in range(5):
            instance.get_runs()
    assert (before["connections"], after["connections"]) == (5, 1)
    with instance.run_storage.connect() as connection:  # type: ignore[attr-defined]
        ours = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    end = sa.text("SELECT pg_terminate_backend(:pid)").bindparams(pid=ours)
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        assert connection.execute(end).scalar_one()
    assert instance.get_runs() == []


def test_a_process_that_keeps_connections_goes_on_as_it_is(instance: dg.DagsterInstance) -> None:
    instance.optimize_for_webserver(statement_timeout=1000, pool_recycle=3600, max_overflow=20)
    before = engines_of(instance)
    assert len(before) == 3
    spare_statements(instance)
    assert all(now is then for now, then in zip(engines_of(instance), before, strict=True))


def test_a_run_opens_its_instance_without_a_look_for_tables(instance: dg.DagsterInstance) -> None:
    ref = without_creation(instance.get_ref())
    with counted() as sent, dg.DagsterInstance.from_ref(ref) as opened:
        assert sent.total() == 0
        run = opened.create_run_for_job(JOB)
    assert instance.get_run_by_id(run.run_id) is not None
    with counted() as sent, dg.DagsterInstance.from_ref(instance.get_ref()):
        assert sent.total() > 0


def test_an_instance_with_other_storages_is_opened_as_it_is(tmp_path: Path) -> None:
    with dg.DagsterInstance.from_config(str(_home(tmp_path, ""))) as instance:
        assert without_creation(instance.get_ref()) == instance.get_ref()


def test_a_process_opens_an_instance_once(instance: dg.DagsterInstance) -> None:
    opened = instance_of(instance.get_ref())
    assert opened is not instance
    assert instance_of(instance.get_ref()) is opened
    assert instance_of(without_creation(instance.get_ref())) is not opened


@pytest.mark.parametrize("which", ["dagster.yaml", "celery/dagster.yaml"])
def test_launchers_spare_the_statements_of_their_process(
    which: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CELERY_BROKER_URL", "CELERY_BACKEND_URL"):
        monkeypatch.setenv(name, "redis://127.0.0.1:1/0")
    home = _home(tmp_path / "other", (YAML.parent / which).read_text())
    with dg.DagsterInstance.from_config(str(home)) as other:
        assert type(other.run_storage).__name__ == type(instance.run_storage).__name__
        assert other.run_launcher is not None
        assert type(other.run_storage) is not type(instance.run_storage)


def _home(folder: Path, config: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "dagster.yaml").write_text(config)
    return folder
