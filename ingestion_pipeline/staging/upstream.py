"""Leases on upstream servers, and what each server was asked for on each UTC day.

All workers of a PostgreSQL database take turns by leases: rows that end by the database's clock,
and not by the session, because a pooler gives a session to another client after each transaction. A
holder renews its lease. If it dies or is cut off, the lease ends by itself. Each lease has a random
`holder`, so that one whose lease ended can neither renew nor return that of the next.

Those who wait have a row too. A lease goes to the one that has waited longest, as long as it keeps
its row alive, so no worker overtakes another.

A server that has no slot for a request is paused: a lease that no worker holds says until when, so
that no further run is started for it.

Usage is counted on both databases. A request is counted in the transaction that gives the lease,
so no two workers spend the last request of a budget.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ingestion_pipeline.staging.database import read_transaction, write_transaction
from ingestion_pipeline.staging.tables import upstream_lease, upstream_usage, upstream_waiter

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT = timedelta(days=1)
"""How long the lease of a worker that died is kept, unless another one takes it."""

WAITER = timedelta(seconds=10)
"""How long a waiter keeps its place without looking again."""


class Budget(NamedTuple):
    """How much a server may be asked for on one UTC day; 0 is no limit."""

    requests: int = 0
    bytes: int = 0


class Server(NamedTuple):
    """An upstream server: the kind of source (`overpass`, `extract`), and its `host:port`."""

    source: str
    name: str


class Usage(NamedTuple):
    """What a server was asked for on a UTC day."""

    source: str
    server: str
    day: date
    requests: int
    bytes: int


class Held(NamedTuple):
    """A lease that is held now."""

    name: str
    worker: str
    leased_until: datetime


_PAUSE = "pause of "
"""How the name of a lease begins that pauses a server."""


class BudgetSpentError(Exception):
    """The budget of a server's day is spent.

    Attributes:
        usage: What it was asked for.
        seconds_left: The seconds until the next UTC day, by the database's clock.
    """

    def __init__(self, usage: Usage, seconds_left: float) -> None:
        """Store what the message needs."""
        super().__init__(f"{usage}")
        self.usage = usage
        self.seconds_left = seconds_left


def take_lease(
    engine: sa.Engine,
    name: str,
    *,
    holder: str,
    worker: str,
    lasts: timedelta,
    asked: tuple[Server, Budget] | None = None,
) -> bool:
    """Take a lease of a PostgreSQL database if it is free and no one else has waited longer.

    Args:
        engine: The database.
        name: The name of the lease.
        holder: Identifies this request for the lease; equal in all its tries.
        worker: The process, for people.
        lasts: How long it lasts unless it is renewed.
        asked: The server that is asked for data under the lease, and its budget; counts a request.

    Returns:
        Whether it was taken. If not, the holder has a place among those who wait.

    Raises:
        BudgetSpentError: The server must not be asked any more today; the lease is not taken.
        DatabaseUnavailable: The database cannot be reached.
    """
    with write_transaction(engine) as connection:
        now = _now(connection)
        if not _is_first(connection, name, holder, now) or not _granted(
            connection, name, {"holder": holder, "worker": worker, "leased_until": now + lasts}, now
        ):
            _shorten(connection, name, now, lasts)
            _wait(connection, name, holder, now)
            return False
        _leave(connection, name, holder)
        if asked is not None:
            _count_request(connection, *asked, now=now)
        return True


def renew_lease(engine: sa.Engine, name: str, *, holder: str, lasts: timedelta) -> bool:
    """Renew a lease; return whether it was still the holder's.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    with write_transaction(engine) as connection:
        renewed = connection.execute(
            sa.update(upstream_lease)
            .where(upstream_lease.c.name == name, upstream_lease.c.holder == holder)
            .values(leased_until=_now(connection) + lasts)
        )
        return renewed.rowcount == 1


def return_lease(engine: sa.Engine, name: str, *, holder: str) -> None:
    """Return a lease, or a place among those who wait; do nothing if another holder has it.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    with write_transaction(engine) as connection:
        connection.execute(
            sa.delete(upstream_lease).where(
                upstream_lease.c.name == name, upstream_lease.c.holder == holder
            )
        )
        _leave(connection, name, holder)


def count_request(
    engine: sa.Engine, server: Server, budget: Budget, *, now: datetime | None = None
) -> None:
    """Count a request before it is sent.

    Args:
        engine: The database.
        server: The server.
        budget: Its budget.
        now: The current moment; by default that of the PostgreSQL server.

    Raises:
        BudgetSpentError: The server must not be asked any more today; nothing is counted.
        DatabaseUnavailable: The database cannot be reached.
    """
    with write_transaction(engine) as connection:
        _count_request(connection, server, budget, now=now or _now(connection))


def count_bytes(
    engine: sa.Engine, server: Server, number: int, *, now: datetime | None = None
) -> None:
    """Count bytes that were received, on the current UTC day; see `count_request`.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    with write_transaction(engine) as connection:
        day = (now or _now(connection)).date()
        usage = upstream_usage.c
        connection.execute(
            _insert(connection)(upstream_usage)
            .values(**server_key(server), day=day, requests=0, bytes=number)
            .on_conflict_do_update(
                index_elements=["source", "server", "day"],
                set_={"bytes": usage.bytes + number},
            )
        )


def pause(
    engine: sa.Engine, server: Server, lasts: timedelta, *, worker: str, now: datetime | None = None
) -> None:
    """Record that a server has asked for no request for some time; see `count_request`.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    with write_transaction(engine) as connection:
        ends = (now or _now(connection)) + lasts
        given = {"holder": _PAUSE.strip(), "worker": worker, "leased_until": ends}
        connection.execute(
            _insert(connection)(upstream_lease)
            .values(name=f"{_PAUSE}{server.source} {server.name}", **given)
            .on_conflict_do_update(index_elements=["name"], set_=given)
        )


def pauses(engine: sa.Engine, *, now: datetime) -> dict[Server, datetime]:
    """Return until when servers are paused at a moment.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    columns = upstream_lease.c
    query = sa.select(columns.name, columns.leased_until).where(
        columns.name.startswith(_PAUSE, autoescape=True), columns.leased_until > now
    )
    with read_transaction(engine) as connection:
        return {
            Server(*name.removeprefix(_PAUSE).split(" ", 1)): ends
            for name, ends in connection.execute(query)
        }


def usage_since(engine: sa.Engine, day: date) -> list[Usage]:
    """Return what servers were asked for since a UTC day, newest first.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    with read_transaction(engine) as connection:
        return usage_within(connection, day)


def usage_within(connection: sa.Connection, day: date) -> list[Usage]:
    """Do as `usage_since` in a transaction of the caller."""
    columns = upstream_usage.c
    query = (
        sa.select(columns.source, columns.server, columns.day, columns.requests, columns.bytes)
        .where(columns.day >= day)
        .order_by(columns.day.desc(), columns.source, columns.server)
    )
    return [Usage(*row) for row in connection.execute(query)]


def leases(engine: sa.Engine) -> Sequence[Held]:
    """Return the leases that are held now; a GeoPackage has none.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if engine.dialect.name != "postgresql":
        return []
    columns = upstream_lease.c
    with read_transaction(engine) as connection:
        query = (
            sa.select(columns.name, columns.worker, columns.leased_until)
            .where(columns.leased_until > _now(connection))
            .order_by(columns.name)
        )
        return [Held(*row) for row in connection.execute(query)]


def forget_ended(engine: sa.Engine) -> None:
    """Delete the leases and places of workers that died long ago, and that no other one took over.

    The name of a lease may contain a day, so it may never be asked for again.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    if engine.dialect.name != "postgresql":
        return
    with write_transaction(engine) as connection:
        before = _now(connection) - KEPT
        for ended in (upstream_lease.c.leased_until, upstream_waiter.c.waits_until):
            connection.execute(sa.delete(ended.table).where(ended < before))


def server_key(server: Server) -> dict[str, str]:
    """Return the columns of `upstream_usage` that identify a server."""
    return {"source": server.source, "server": server.name}


def _now(connection: sa.Connection) -> datetime:
    """Return the current moment of a PostgreSQL server, which passes within a transaction."""
    moment: datetime = connection.execute(
        sa.select(sa.func.clock_timestamp(type_=sa.DateTime(timezone=True)))
    ).scalar_one()
    return moment.astimezone(UTC)


def _is_first(connection: sa.Connection, name: str, holder: str, now: datetime) -> bool:
    """Return whether no other worker that still waits has waited longer."""
    waiter = upstream_waiter.c
    first = connection.execute(
        sa.select(waiter.holder)
        .where(waiter.name == name, waiter.waits_until > now)
        .order_by(waiter.since, waiter.holder)
        .limit(1)
    ).scalar_one_or_none()
    return first in (None, holder)


def _granted(connection: sa.Connection, name: str, given: dict[str, Any], now: datetime) -> bool:
    """Take a lease that is free; return whether it was.

    Concurrent calls wait for each other here, and the later one sees the row of the other.
    """
    taken = connection.execute(
        postgresql.insert(upstream_lease)
        .values(name=name, **given)
        .on_conflict_do_update(
            index_elements=["name"], set_=given, where=upstream_lease.c.leased_until <= now
        )
        .returning(upstream_lease.c.holder)
    ).one_or_none()
    return taken is not None


def _shorten(connection: sa.Connection, name: str, now: datetime, lasts: timedelta) -> None:
    """Let no lease and no place end later than it can, as after a failover to a slower clock."""
    for column, longest in (
        (upstream_lease.c.leased_until, now + lasts),
        (upstream_waiter.c.waits_until, now + WAITER),
    ):
        connection.execute(
            sa.update(column.table)
            .where(column.table.c.name == name, column > longest)
            .values({column: longest})
        )


def _wait(connection: sa.Connection, name: str, holder: str, now: datetime) -> None:
    """Keep a place among those who wait, and remove those who have gone."""
    waiter = upstream_waiter.c
    gone = sa.select(waiter.holder).where(waiter.name == name, waiter.waits_until < now)
    connection.execute(
        sa.delete(upstream_waiter).where(
            waiter.name == name,
            waiter.holder != holder,
            # Another one removes those that are locked; waiting for it could end in a deadlock.
            waiter.holder.in_(gone.with_for_update(skip_locked=True)),
        )
    )
    connection.execute(
        postgresql.insert(upstream_waiter)
        .values(name=name, holder=holder, since=now, waits_until=now + WAITER)
        .on_conflict_do_update(
            index_elements=["name", "holder"], set_={"waits_until": now + WAITER}
        )
    )


def _leave(connection: sa.Connection, name: str, holder: str) -> None:
    waiter = upstream_waiter.c
    connection.execute(
        sa.delete(upstream_waiter).where(waiter.name == name, waiter.holder == holder)
    )


def _count_request(
    connection: sa.Connection, server: Server, budget: Budget, *, now: datetime
) -> None:
    """Count a request if the budget of the day has one left; see `count_request`."""
    columns, key = upstream_usage.c, {**server_key(server), "day": now.date()}
    has_left = [
        used < limit
        for used, limit in ((columns.requests, budget.requests), (columns.bytes, budget.bytes))
        if limit
    ]
    counted = connection.execute(
        _insert(connection)(upstream_usage)
        .values(**key, requests=1, bytes=0)
        .on_conflict_do_update(
            index_elements=["source", "server", "day"],
            set_={"requests": columns.requests + 1},
            where=sa.and_(sa.true(), *has_left),
        )
        .returning(columns.requests)
    ).one_or_none()
    if counted is None:
        row = connection.execute(
            sa.select(columns.requests, columns.bytes).where(
                *(upstream_usage.c[name] == value for name, value in key.items())
            )
        ).one()
        midnight = datetime.combine(now.date() + timedelta(days=1), time.min, UTC)
        usage = Usage(server.source, server.name, now.date(), *row)
        raise BudgetSpentError(usage, (midnight - now).total_seconds())


def _insert(connection: sa.Connection) -> Any:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
