"""What the daemon does with Dagster's storage for each tick and each run, in fewer statements.

For each statement about a sensor, Dagster lists all tables of the database to find out whether it
has been migrated. Of a new run it stores one by one that each asset and each check is planned.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage

from ingestion_pipeline.config.settings import set_in_environment
from ingestion_pipeline.dagster_runtime.event_batches import insert_together, store_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's variable for the number of planned events that it stores together; by default none."""

MOST = "100"


def spare_statements(instance: dg.DagsterInstance) -> None:
    """Let this process use its storages with fewer statements; unknown storages stay.

    Keeps no state but what is true for good, and so is for processes of many threads.
    """
    schedules = instance.schedule_storage
    if isinstance(schedules, SqlScheduleStorage):
        schedules.__class__ = _remembering(type(schedules))
    events = instance.event_log_storage
    if type(events).__name__ == "PostgresEventLogStorage":
        events.__class__ = _storing_together(type(events))
        set_in_environment(BATCH_SIZE, MOST)


@cache
def _remembering(base: type[Any]) -> type[Any]:
    """Return a storage of sensors that asks for a table or an index until it is there."""

    class Remembering(base):  # type: ignore[misc]
        def has_instigators_table(self) -> bool:
            return self._is_true("instigators", super().has_instigators_table)

        def _has_instigators_table(self, conn: "sa.Connection") -> bool:
            return self._is_true("instigators", super()._has_instigators_table, conn)

        def has_built_index(self, migration_name: str) -> bool:
            return self._is_true(migration_name, super().has_built_index, migration_name)

        def _is_true(self, name: str, ask: Any, *arguments: Any) -> bool:
            known: set[str] = self.__dict__.setdefault("_known_to_be_there", set())
            if name not in known and ask(*arguments):
                known.add(name)
            return name in known

    return Remembering


@cache
def _storing_together(base: type[Any]) -> type[Any]:
    """Return PostgreSQL's storage of events, which inserts a batch by one statement."""

    class StoringTogether(base):  # type: ignore[misc]
        def store_event_batch(self, events: "Sequence[dg.EventLogEntry]") -> None:
            store_beside(self, events, insert_together(self, events))

    return StoringTogether
