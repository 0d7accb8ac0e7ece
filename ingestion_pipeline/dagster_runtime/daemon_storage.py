"""What processes do with Dagster's storage for each tick and each run, with less work.

The daemon, the code server's sensors, and runs share this module; what only runs do is in
`event_batches.py`. To find out whether the database has been migrated, Dagster lists its tables
and columns again and again. It opens a connection for each statement. Of a new run it stores one by
one that each asset and each check is planned.
"""

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.storage.runs.sql_run_storage import SqlRunStorage
from dagster._core.storage.schedules.sql_schedule_storage import SqlScheduleStorage

from ingestion_pipeline.config.settings import set_in_environment
from ingestion_pipeline.dagster_runtime.event_batches import insert_together, store_beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster._core.instance.ref import InstanceRef

BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's variable for the number of planned events that it stores together; by default none."""

MOST = "100"

CONNECTION_S = 10
"""The time for which a connection to Dagster's PostgreSQL is kept. After a failover, a connection
to a server that is no longer the primary one is used no longer than that."""

POSTGRES_EVENTS = "PostgresEventLogStorage"
"""The name of the storage of events, because PostgreSQL's may not be installed."""


def spare_statements(instance: dg.DagsterInstance) -> None:
    """Let this process use its storages with fewer statements; unknown storages stay.

    Keeps no state but what is true for good, and so is for processes of many threads. Connections
    are those of a pool.
    """
    remember_tables(instance)
    events = instance.event_log_storage
    if type(events).__name__ == POSTGRES_EVENTS:
        events.__class__ = _storing_together(type(events))
        set_in_environment(BATCH_SIZE, MOST)
        _keep_connections(instance)


def remember_tables(instance: dg.DagsterInstance) -> None:
    """Let the storages of runs and sensors ask for a table, a column or an index until it exists.

    What is there stays: Dagster's migrations only add.
    """
    for storage, base, asked in (
        (instance.schedule_storage, SqlScheduleStorage, _ASKED_OF_SCHEDULES),
        (instance.run_storage, SqlRunStorage, _ASKED_OF_RUNS),
    ):
        if isinstance(storage, base) and not hasattr(storage, _KNOWN):
            storage.__class__ = _remembering(type(storage), asked)
            setattr(storage, _KNOWN, set())


def without_creation(ref: "InstanceRef") -> "InstanceRef":
    """Return a reference to an instance that does not look whether PostgreSQL has its tables.

    Of an instance that another process has opened: the one that launched the run.
    """
    given = ref.storage_data
    if given is None or given.class_name != "DagsterPostgresStorage":
        return ref
    config = f"{given.config_yaml.rstrip()}\nshould_autocreate_tables: false\n"
    return ref._replace(storage_data=given._replace(config_yaml=config))


def instance_of(ref: "InstanceRef") -> dg.DagsterInstance:
    """Return the instance of a reference, which this process opens once, for all of its threads."""
    global _opened  # noqa: PLW0603 - the last one only
    with _opening:
        if _opened is None or _opened[0] != ref:
            instance = dg.DagsterInstance.from_ref(ref)
            spare_statements(instance)
            _opened = ref, instance
        return _opened[1]


_opening = Lock()
_opened: tuple["InstanceRef", dg.DagsterInstance] | None = None

_KNOWN = "_known_to_be_there"

_ASKED_OF_SCHEDULES = ("has_instigators_table", "_has_instigators_table", "has_built_index")

_ASKED_OF_RUNS = (
    "has_run_stats_index_cols",
    "has_bulk_actions_selector_cols",
    "has_backfill_id_column",
    "has_bulk_action_job_name_column",
    "has_backfill_tags_table",
)


@cache
def _remembering(base: type[Any], asked: tuple[str, ...]) -> type[Any]:
    """Return a storage class whose questions are asked until the answer is true."""
    questions = {name: _until_true(base, name) for name in asked}
    return type(f"Remembering{base.__name__}", (base,), questions)


def _until_true(base: type[Any], name: str) -> Any:
    ask = getattr(base, name)  # fails with a release of Dagster that does not ask it

    def is_true(self: Any, *arguments: Any) -> bool:
        # A connection is no part of the question.
        question = name.lstrip("_"), *(each for each in arguments if isinstance(each, str))
        known: set[Any] = getattr(self, _KNOWN)
        if question not in known and ask(self, *arguments):
            known.add(question)
        return question in known

    return is_true


@cache
def _storing_together(base: type[Any]) -> type[Any]:
    """Return PostgreSQL's storage of events, which inserts a batch by one statement."""

    class StoringTogether(base):  # type: ignore[misc]
        def store_event_batch(self, events: "Sequence[dg.EventLogEntry]") -> None:
            store_beside(self, events, insert_together(self, events))

    return StoringTogether


def _keep_connections(instance: dg.DagsterInstance) -> None:
    """Let the storages in PostgreSQL keep a connection each, which is tested before each use.

    A process that keeps connections already, as the webserver does, goes on as it is.
    """
    if not all(isinstance(engine.pool, sa.NullPool) for engine in engines_of(instance)):
        return
    pool_connections(instance)
    for engine in engines_of(instance):
        sa.event.listen(engine, "checkout", _require_connected)


def pool_connections(instance: dg.DagsterInstance) -> None:
    """Let the storages keep connections; by default each statement opens one to PostgreSQL."""
    instance.optimize_for_webserver(statement_timeout=0, pool_recycle=CONNECTION_S, max_overflow=-1)


def engines_of(instance: dg.DagsterInstance) -> list[sa.Engine]:
    """Return the engines of the storages in PostgreSQL."""
    storages = (instance.event_log_storage, instance.run_storage, instance.schedule_storage)
    engines = (getattr(storage, "_engine", None) for storage in storages)
    return [engine for engine in engines if isinstance(engine, sa.Engine)]


def _require_connected(connection: Any, *_: Any) -> None:
    """Have a connection replaced that the server has closed; the pool then opens another one.

    Raises:
        DisconnectionError: The server does not answer on it.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception as error:
        raise sa.exc.DisconnectionError from error
