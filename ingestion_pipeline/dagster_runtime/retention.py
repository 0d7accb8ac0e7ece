"""Keeping Dagster's event log small.

Belongs here: removing from Dagster's storage what nobody needs of runs that ended long ago. Does
not belong here: the project's own tables and the lake, which keep everything.

Dagster keeps every event of every run for ever, some thirty for each city-day. Deleting the runs
instead would take their materializations along, and their partitions would look as if they had
never been staged. So the runs stay, with the few events that tell what became of them and of their
assets; what they said step by step goes, and with it what they wrote to their output.
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
"""Runs at a time: some ten thousand events, which PostgreSQL deletes in well under a second."""

_OF_CHECKS = ASSET_CHECK_EVENTS - {DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}
"""That a check was planned is told by the table of its executions too, whatever became of it."""

KEPT = tuple(sorted(kind.value for kind in PIPELINE_EVENTS | ASSET_EVENTS | _OF_CHECKS))
"""What tells the status of a run, of a partition and of a check."""

_EVENTS = SqlEventLogStorageTable
_REMOVABLE = sa.or_(
    _EVENTS.c.dagster_event_type.is_(None),  # lines of the log
    _EVENTS.c.dagster_event_type.not_in(KEPT),
)


class StorageNotPrunable(IngestionError):
    """Dagster keeps its events in a way that is not known here."""

    code = "storage_not_prunable"


@dataclass(frozen=True)
class Pruned:
    """What was removed, or would be.

    Attributes:
        runs: Runs that had something to remove.
        events: Their events.
    """

    runs: int
    events: int


def prune(
    instance: dg.DagsterInstance, *, before: datetime, dry_run: bool = False, batch: int = BATCH
) -> Pruned:
    """Remove what runs said in detail that ended before a moment.

    It may be interrupted at any time and run beside everything else. Only runs that have ended are
    touched, and nobody writes to those.

    Args:
        instance: Dagster's.
        before: The moment (UTC, aware).
        dry_run: Only count.
        batch: How many runs are looked at together.

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
                # First what would not be found again once the events are gone.
                for run_id in found:
                    instance.compute_log_manager.delete_logs(prefix=[run_id])
                _remove(connection, list(found))
    return Pruned(runs, events)


def _places(
    storage: "EventLogStorage", run_ids: Sequence[str]
) -> Iterator[tuple[sa.Connection, Sequence[str]]]:
    """Give connections to where the events of runs are, and of which of the runs."""
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
