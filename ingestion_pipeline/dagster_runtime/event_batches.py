"""Events of a run in batches, instead of a connection and several statements for each.

A run of three steps has about fifty events. Dagster stores each by itself, and reads the storage
again for every check. In the process of a run `batch_events` changes that:

- What the machinery of a step reports waits in memory, until something is reported that a reader
  may wait for: a step starts or fails, a line of a log, a change of the run's status. So all that
  is reported before the work of a step is stored before it.
- Every other use of the storage stores first what waits. Readers see no other order.
- What waits is stored by one connection.
- What cannot change within a process, and the latest materialization of a partition, is read once.

A process that is killed between two steps loses the events since the last one stored, some
milliseconds of them. Nothing that waits was reported before the work of a step that is going on.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from dagster import DagsterEventType as Type
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)

if TYPE_CHECKING:
    import sqlalchemy as sa

WAITING = {
    Type.ASSET_CHECK_EVALUATION,
    Type.ASSET_CHECK_EVALUATION_PLANNED,
    Type.ASSET_MATERIALIZATION,
    Type.ASSET_MATERIALIZATION_PLANNED,
    Type.HANDLED_OUTPUT,
    Type.LOADED_INPUT,
    Type.LOGS_CAPTURED,
    Type.RESOURCE_INIT_STARTED,
    Type.RESOURCE_INIT_SUCCESS,
    Type.STEP_INPUT,
    Type.STEP_OUTPUT,
    Type.STEP_SUCCESS,
}
"""The events of the machinery of a step, and of planning where this process creates the run. All
others are stored when they are reported."""

SQLITE_BUSY_S = 30
"""How long a writer waits for another one, as in Dagster's newer releases."""

MOST = 100
"""The number of events that may wait, for steps with very many outputs."""


def batch_events(instance: dg.DagsterInstance) -> None:
    """Store the events of this process's run in batches; other storages than those of SQL stay.

    The process must execute one run; its threads may log.
    """
    storage = instance.event_log_storage
    batched = _BATCHED_BY_NAME.get(type(storage).__name__)
    if batched is not None and isinstance(storage, SqlEventLogStorage):
        storage.__class__ = batched(type(storage))
        cast("_Batches", storage).prepare()


class _Batches(SqlEventLogStorage):
    """What is common to both storages; mixed in before the storage's own class."""

    def prepare(self) -> None:
        """Begin with no events."""
        self._lock = RLock()
        self._waiting: list[dg.EventLogEntry] = []
        self._open: dict[tuple[str, ...], sa.Connection] = {}  # of the batch that is being stored
        self._found: dict[str, Any] = {}
        self._columns: dict[str, bool] = {}

    @cached_property
    def supports_asset_checks(self) -> bool:
        return bool(super().supports_asset_checks)

    def _has_asset_key_col_on_connection(self, conn: "sa.Connection", column_name: str) -> bool:
        known = self._columns
        if column_name not in known:
            known[column_name] = super()._has_asset_key_col_on_connection(conn, column_name)
        return known[column_name]

    def has_asset_key_col(self, column_name: str) -> bool:
        known = self._columns.get(column_name)
        return super().has_asset_key_col(column_name) if known is None else known

    def store_event(self, event: dg.EventLogEntry) -> None:
        kind = event.dagster_event.event_type if event.dagster_event else None
        with self._lock:
            self._waiting.append(event)
            if kind not in WAITING or len(self._waiting) >= MOST:
                self._store_waiting()

    def fetch_materializations(self, *args: Any, **kwargs: Any) -> Any:
        # Dagster asks for the target of each check, twice.
        if any(event.dagster_event_type in ASSET_EVENTS for event in self._waiting):
            self._store_waiting()
        asked = repr((args, sorted(kwargs.items())))
        if asked not in self._found:
            self._found[asked] = super().fetch_materializations(*args, **kwargs)
        return self._found[asked]

    def dispose(self) -> None:
        self._store_waiting()
        super().dispose()

    @contextmanager
    def _connect(self, *shard: str) -> "Iterator[sa.Connection]":
        with self._lock:  # waits for a batch of another thread
            ours = self._open.get(shard)
            if ours is None:
                self._store_waiting()
        if ours is not None:
            yield ours
            return
        with self._connected(*shard) as connection:
            yield connection

    def _store_waiting(self) -> None:
        with self._lock:
            if not self._waiting or self._open:
                return
            self._found.clear()
            with ExitStack() as stack:
                try:
                    for shard in self._shards_of_waiting():
                        self._open[shard] = stack.enter_context(self._connected(*shard))
                    self._store(tuple(self._waiting))
                finally:
                    self._open.clear()
            self._waiting.clear()

    def _shards_of_waiting(self) -> set[tuple[str, ...]]:
        raise NotImplementedError

    def _connected(self, *shard: str) -> "Any":
        raise NotImplementedError

    def _store(self, events: tuple[dg.EventLogEntry, ...]) -> None:
        raise NotImplementedError


def insert_together(storage: Any, events: Sequence[dg.EventLogEntry]) -> list[int]:
    """Insert events into PostgreSQL by one statement: all or none; return their ids.

    Without the notification of each, which Dagster sends for its releases before 1.2. The rows are
    parameters, because SQLAlchemy would compile a statement with the rows in it each time.
    """
    rows = [storage._event_to_row(event) for event in events]  # noqa: SLF001 - as Dagster does
    insert = SqlEventLogStorageTable.insert().returning(SqlEventLogStorageTable.c.id)
    with storage.index_connection() as connection:
        result = connection.execute(insert, rows)
        return sorted(row[0] for row in result)


def store_beside(storage: Any, events: Sequence[dg.EventLogEntry], ids: Sequence[int]) -> None:
    """Store in PostgreSQL what events change beside the log: assets, their tags, and checks."""
    for event, event_id in zip(events, ids, strict=True):
        if event.dagster_event is None:
            continue
        if event.dagster_event_type in ASSET_EVENTS and event.dagster_event.asset_key:
            with storage.index_transaction() as connection:
                storage._store_asset_event_tags(connection, [event], [event_id])  # noqa: SLF001
                storage._store_asset_event(connection, event, event_id)  # noqa: SLF001
        if event.dagster_event_type in ASSET_CHECK_EVENTS:
            storage.store_asset_check_event(event, event_id)


def _postgres(base: type[Any]) -> type[Any]:
    """Return the batching class of `PostgresEventLogStorage`."""

    class BatchedPostgres(_Batches, base):  # type: ignore[misc]
        def _shards_of_waiting(self) -> set[tuple[str, ...]]:
            return {()}

        def _connected(self, *shard: str) -> Any:
            return base._connect(self, *shard)  # noqa: SLF001 - the storage's own

        def has_table(self, table_name: str) -> bool:
            known = self._tables
            if table_name not in known:
                known[table_name] = bool(base.has_table(self, table_name))
            return known[table_name]

        @cached_property
        def _tables(self) -> dict[str, bool]:
            return {}

        def _store(self, events: tuple[dg.EventLogEntry, ...]) -> None:
            ids = insert_together(self, events)
            self._waiting.clear()
            store_beside(self, events, ids)

    return BatchedPostgres


def _sqlite(base: type[Any]) -> type[Any]:
    """Return the batching class of `SqliteEventLogStorage`: a database per run, and an index."""
    import sqlalchemy as sa
    from sqlalchemy.pool import NullPool

    class BatchedSqlite(_Batches, base):  # type: ignore[misc]
        @cached_property
        def _engines(self) -> dict[str, sa.Engine]:
            return {}

        def _shards_of_waiting(self) -> set[tuple[str, ...]]:
            runs: set[tuple[str, ...]] = {(event.run_id,) for event in self._waiting}
            indexed = ASSET_EVENTS | ASSET_CHECK_EVENTS
            if any(event.dagster_event_type in indexed for event in self._waiting):
                runs.add((INDEX_SHARD_NAME,))
            return runs

        @contextmanager
        def _connected(self, *shard: str) -> Iterator[sa.Connection]:
            (name,) = shard
            if name not in self._engines:  # Dagster creates one for each connection
                self._engines[name] = sa.create_engine(
                    self.conn_string_for_shard(name),
                    poolclass=NullPool,
                    connect_args={"timeout": SQLITE_BUSY_S},
                )
            engine = self._engines[name]
            if name not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(name)
            with engine.begin() as connection:
                yield connection

        def _store(self, events: tuple[dg.EventLogEntry, ...]) -> None:
            for event in events:
                base.store_event(self, event)

    return BatchedSqlite


_BATCHED_BY_NAME = {
    "PostgresEventLogStorage": _postgres,
    SqliteEventLogStorage.__name__: _sqlite,
}
