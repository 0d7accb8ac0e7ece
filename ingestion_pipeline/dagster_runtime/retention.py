"""Retention of Dagster's event log.

Dagster keeps every event of every run, about thirty for each city-day. Deleting the runs would
delete their materializations, and their partitions would look unstaged. So pruning keeps the runs
with the events of their status, assets and checks, and deletes step events and captured output. The
project's tables and the lake keep everything.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import sqlalchemy as sa
from dagster._core.events import (
    ASSET_CHECK_EVENTS,
    ASSET_EVENTS,
    PIPELINE_EVENTS,
    DagsterEventType,
)
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage

from ingestion_pipeline.core.errors import IngestionError

if TYPE_CHECKING:
    from dagster._core.storage.event_log.base import EventLogStorage

BATCH = 500
"""Runs per batch: about ten thousand events, which PostgreSQL deletes in well under a second."""

_OF_CHECKS = ASSET_CHECK_EVENTS - {DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}
"""Without planned checks, which the table of check executions has too."""

KEPT = tuple(sorted(kind.value for kind in PIPELINE_EVENTS | ASSET_EVENTS | _OF_CHECKS))
"""The events that determine the status of a run, a partition and a check."""

_EVENTS = SqlEventLogStorageTable
_REMOVABLE = sa.or_(
    _EVENTS.c.dagster_event_type.is_(None),  # lines of the log
    _EVENTS.c.dagster_event_type.not_in(KEPT),
)


class StorageNotPrunable(IngestionError):
    """Dagster's event log storage is not supported."""

    code = "storage_not_prunable"


@dataclass(frozen=True)
class Pruned:
    """What was deleted, or would be in a dry run.

    Attributes:
        runs: The number of runs with deleted events.
        events: The number of deleted events.
    """

    runs: int
    events: int


def prune(
    instance: dg.DagsterInstance, *, before: datetime, dry_run: bool = False, batch: int = BATCH
) -> Pruned:
    """Delete step events and captured output of runs that ended before a moment.

    Safe to interrupt, and to run beside other processes: it changes only ended runs.

    Args:
        instance: Dagster's instance.
        before: The moment (UTC, aware).
        dry_run: Only count.
        batch: The number of runs per batch.

    Raises:
        StorageNotPrunable: The events are neither in PostgreSQL nor in SQLite files of each run.
    """
    runs = events = 0
    ended = dg.RunsFilter(statuses=FINISHED_STATUSES, updated_before=before)
    cursor: str | None = None
    while some := instance.get_run_ids(ended, cursor=cursor, limit=batch):
        cursor = some[-1]
        for connection, run_ids in _places(instance.event_log_storage, some):
            found = _count(connection, run_ids)
            runs, events = runs + len(found), events + found.total()
            if found and not dry_run:
                # Delete the output first: without the events its run would not be found again.
                for run_id in found:
                    instance.compute_log_manager.delete_logs(prefix=[run_id])
                _remove(connection, list(found))
    return Pruned(runs, events)


def _places(
    storage: "EventLogStorage", run_ids: Sequence[str]
) -> Iterator[tuple[sa.Connection, Sequence[str]]]:
    """Yield connections to the events of runs, with the ids of those runs."""
    from dagster_postgres.event_log import PostgresEventLogStorage  # takes a second to import

    if isinstance(storage, PostgresEventLogStorage):
        with storage.index_connection() as connection:
            yield connection, run_ids
    elif isinstance(storage, SqliteEventLogStorage):
        for run_id in run_ids:
            if Path(storage.path_for_shard(run_id)).exists():
                engine = sa.create_engine(
                    storage.conn_string_for_shard(run_id), isolation_level="AUTOCOMMIT"
                )
                with engine.connect() as connection:
                    yield connection, [run_id]
                engine.dispose()
    else:
        raise StorageNotPrunable(
            f"Dagster keeps its events in {type(storage).__name__}; only its PostgreSQL and its "
            "SQLite storage can be pruned"
        )


def _count(connection: sa.Connection, run_ids: Sequence[str]) -> Counter[str]:
    query = (
        sa.select(_EVENTS.c.run_id, sa.func.count().label("events"))
        .where(_EVENTS.c.run_id.in_(run_ids), _REMOVABLE)
        .group_by(_EVENTS.c.run_id)
    )
    return Counter({row.run_id: row.events for row in connection.execute(query)})


def _remove(connection: sa.Connection, run_ids: Sequence[str]) -> None:
    connection.execute(sa.delete(_EVENTS).where(_EVENTS.c.run_id.in_(run_ids), _REMOVABLE))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("VACUUM")  # PostgreSQL does it by itself
