"""The daemon uses its storage with fewer statements, and stores what it stored before."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest
import sqlalchemy as sa

from ingestion_pipeline.dagster_runtime.daemon_storage import BATCH_SIZE, spare_statements

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


def planned(instance: dg.DagsterInstance) -> tuple[Counter[str], list[Any]]:
    """Create a run; return the statements by their first words, and what the run has planned."""
    sent: Counter[str] = Counter()

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent[" ".join(statement.split()[:3])] += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", count)
    run = instance.create_run_for_job(JOB)
    sa.event.remove(sa.Engine, "before_cursor_execute", count)
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
