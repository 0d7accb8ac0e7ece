"""Leases on upstream servers, and the budget of a server and day."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from ingestion_pipeline.staging import upstream
from ingestion_pipeline.staging.database import create_engine, migrate
from ingestion_pipeline.staging.tables import upstream_lease, upstream_usage, upstream_waiter
from ingestion_pipeline.staging.upstream import Budget, BudgetSpentError, Server, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_pipeline_tests.conftest import EmptyDatabase

SERVER = Server("overpass", "overpass.example:443")
BEFORE_MIDNIGHT = datetime(2026, 11, 20, 23, 59, 58, 500_000, tzinfo=UTC)
AFTER_MIDNIGHT = datetime(2026, 11, 21, 0, 0, 0, 1_000, tzinfo=UTC)
LASTS = timedelta(minutes=1)


def usage_of(engine: sa.Engine) -> dict[date, tuple[int, int]]:
    found = upstream.usage_since(engine, date.min)
    return {used.day: (used.requests, used.bytes) for used in found}


# The budget


def test_requests_are_counted_up_to_the_budget_of_the_day(engine: sa.Engine) -> None:
    budget = Budget(requests=2)
    for _ in range(2):
        upstream.count_request(engine, SERVER, budget, now=BEFORE_MIDNIGHT)
    with pytest.raises(BudgetSpentError) as spent:
        upstream.count_request(engine, SERVER, budget, now=BEFORE_MIDNIGHT)
    assert spent.value.usage == Usage(*SERVER, date(2026, 11, 20), 2, 0)
    assert spent.value.seconds_left == 1.5
    upstream.count_request(engine, SERVER, budget, now=AFTER_MIDNIGHT)
    assert usage_of(engine) == {date(2026, 11, 21): (1, 0), date(2026, 11, 20): (2, 0)}


def test_bytes_are_counted_on_the_day_on_which_they_come(engine: sa.Engine) -> None:
    budget = Budget(bytes=100)
    upstream.count_request(engine, SERVER, budget, now=BEFORE_MIDNIGHT)
    upstream.count_bytes(engine, SERVER, 70, now=BEFORE_MIDNIGHT)
    upstream.count_bytes(engine, SERVER, 5, now=AFTER_MIDNIGHT)
    upstream.count_request(engine, SERVER, budget, now=BEFORE_MIDNIGHT)
    upstream.count_bytes(engine, SERVER, 30, now=BEFORE_MIDNIGHT)
    with pytest.raises(BudgetSpentError):
        upstream.count_request(engine, SERVER, budget, now=BEFORE_MIDNIGHT)
    upstream.count_request(engine, SERVER, budget, now=AFTER_MIDNIGHT)
    assert usage_of(engine) == {date(2026, 11, 21): (1, 5), date(2026, 11, 20): (2, 100)}


def test_each_server_has_a_budget_of_its_own(engine: sa.Engine) -> None:
    for server in (SERVER, Server("extract", SERVER.name), Server("overpass", "other:443")):
        upstream.count_request(engine, server, Budget(requests=1), now=BEFORE_MIDNIGHT)


def test_the_last_request_of_a_budget_is_spent_once(engine: sa.Engine) -> None:
    def spend(_: int) -> bool:
        try:
            upstream.count_request(engine, SERVER, Budget(requests=5), now=BEFORE_MIDNIGHT)
        except BudgetSpentError:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(spend, range(12))) == 5
    assert usage_of(engine) == {date(2026, 11, 20): (5, 0)}


# Pauses


def test_a_pause_is_seen_until_it_ends_and_the_last_one_counts(engine: sa.Engine) -> None:
    other = Server("overpass", "100_%.example:443")
    for server, seconds in ((SERVER, 30), (other, 5), (SERVER, 90)):
        lasts = timedelta(seconds=seconds)
        upstream.pause(engine, server, lasts, worker="w", now=BEFORE_MIDNIGHT)
    after = BEFORE_MIDNIGHT + timedelta(seconds=60)
    assert upstream.pauses(engine, now=BEFORE_MIDNIGHT).keys() == {SERVER, other}
    assert upstream.pauses(engine, now=after) == {SERVER: BEFORE_MIDNIGHT + timedelta(seconds=90)}
    assert upstream.pauses(engine, now=BEFORE_MIDNIGHT + timedelta(seconds=90)) == {}


# Leases of PostgreSQL


@pytest.fixture(scope="module")
def postgresql(empty_database: EmptyDatabase) -> Iterator[sa.Engine]:
    with empty_database() as url:
        engine = create_engine(url)
        migrate(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def leasing(postgresql: sa.Engine) -> sa.Engine:
    """A database in which nobody holds or waits for a lease."""
    with postgresql.begin() as connection:
        for table in (upstream_lease, upstream_waiter, upstream_usage):
            connection.execute(sa.delete(table))
    return postgresql


def take(engine: sa.Engine, holder: str, *, budget: Budget | None = None) -> bool:
    return upstream.take_lease(
        engine,
        "request",
        holder=holder,
        worker=f"worker of {holder}",
        lasts=LASTS,
        asked=None if budget is None else (SERVER, budget),
    )


def renew(engine: sa.Engine, holder: str) -> bool:
    return upstream.renew_lease(engine, "request", holder=holder, lasts=LASTS)


def give_back(engine: sa.Engine, holder: str) -> None:
    upstream.return_lease(engine, "request", holder=holder)


def let_end(
    engine: sa.Engine,
    column: sa.Column[datetime],
    holder: str,
    *,
    ago: timedelta = timedelta(hours=1),
) -> None:
    """Let a lease, or a place among those who wait, end, as time does."""
    with engine.begin() as connection:
        connection.execute(
            sa.update(column.table)
            .where(column.table.c.holder == holder)
            .values({column: datetime.now(UTC) - ago})
        )


def test_leases_of_workers_that_died_are_forgotten_after_a_day(leasing: sa.Engine) -> None:
    assert take(leasing, "died")
    assert not take(leasing, "waits")
    let_end(leasing, upstream_lease.c.leased_until, "died")
    let_end(leasing, upstream_waiter.c.waits_until, "waits")
    upstream.forget_ended(leasing)
    assert holders(leasing) == {"died", "waits"}
    long_ago = timedelta(hours=1) + upstream.KEPT
    let_end(leasing, upstream_lease.c.leased_until, "died", ago=long_ago)
    let_end(leasing, upstream_waiter.c.waits_until, "waits", ago=long_ago)
    upstream.forget_ended(leasing)
    assert holders(leasing) == set()


def holders(engine: sa.Engine) -> set[str]:
    with engine.connect() as connection:
        tables = (upstream_lease, upstream_waiter)
        return {row.holder for table in tables for row in connection.execute(sa.select(table))}


def test_a_lease_goes_to_those_who_wait_in_the_order_in_which_they_came(
    leasing: sa.Engine,
) -> None:
    assert [take(leasing, holder) for holder in "abc"] == [True, False, False]
    (held,) = upstream.leases(leasing)
    assert (held.name, held.worker) == ("request", "worker of a")
    give_back(leasing, "a")
    assert [take(leasing, holder) for holder in "acab"] == [False, False, False, True]
    give_back(leasing, "b")
    give_back(leasing, "c")  # it no longer waits
    assert take(leasing, "a")
    with leasing.connect() as connection:
        assert connection.execute(sa.select(upstream_waiter)).all() == []


def test_one_that_died_while_it_waited_does_not_stop_the_others(leasing: sa.Engine) -> None:
    assert [take(leasing, holder) for holder in "abc"] == [True, False, False]
    give_back(leasing, "a")
    let_end(leasing, upstream_waiter.c.waits_until, "b")
    assert take(leasing, "c")


def test_a_lease_that_ended_is_the_next_ones_and_no_longer_the_first_ones(
    leasing: sa.Engine,
) -> None:
    assert take(leasing, "a")
    assert renew(leasing, "a")
    let_end(leasing, upstream_lease.c.leased_until, "a")
    assert upstream.leases(leasing) == []
    assert take(leasing, "b")
    assert not renew(leasing, "a")
    give_back(leasing, "a")
    assert renew(leasing, "b")
    assert not take(leasing, "c")


def test_a_lease_of_a_clock_that_was_ahead_ends_in_time(leasing: sa.Engine) -> None:
    """As after a failover to a server whose clock is behind."""
    assert [take(leasing, holder) for holder in "ab"] == [True, False]
    with leasing.begin() as connection:
        for column in (upstream_lease.c.leased_until, upstream_waiter.c.waits_until):
            later = datetime.now(UTC) + timedelta(days=1)
            connection.execute(sa.update(column.table).values({column: later}))
    assert not take(leasing, "c")
    (held,) = upstream.leases(leasing)
    assert held.leased_until <= datetime.now(UTC) + LASTS
    with leasing.connect() as connection:
        ends = connection.execute(sa.select(upstream_waiter.c.waits_until)).scalars().all()
    assert max(ends) <= datetime.now(UTC) + upstream.WAITER


def test_many_at_once_get_one_lease(leasing: sa.Engine) -> None:
    with ThreadPoolExecutor(5) as threads:
        taken = list(threads.map(lambda number: take(leasing, f"{number}"), range(15)))
    assert sum(taken) == 1


@pytest.mark.owner
def test_a_spent_budget_gives_no_lease_until_the_servers_day_has_ended(leasing: sa.Engine) -> None:
    """The server's clock decides: here it is another function of that name."""
    with leasing.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE told (now timestamptz)")
        connection.execute(sa.text("INSERT INTO told VALUES (:now)"), {"now": BEFORE_MIDNIGHT})
        connection.exec_driver_sql(
            "CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz "
            "LANGUAGE sql AS 'SELECT now FROM told'"
        )
    leasing = create_engine(leasing.url.render_as_string(hide_password=False))

    @sa.event.listens_for(leasing, "begin")
    def _prefer_ours(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SELECT set_config('search_path', 'public, pg_catalog', true)")

    budget = Budget(requests=1)
    assert take(leasing, "a", budget=budget)
    give_back(leasing, "a")
    with pytest.raises(BudgetSpentError) as spent:
        take(leasing, "b", budget=budget)
    assert spent.value.seconds_left == 1.5
    assert upstream.leases(leasing) == []
    with leasing.begin() as connection:
        connection.execute(sa.text("UPDATE told SET now = :now"), {"now": AFTER_MIDNIGHT})
    assert take(leasing, "b", budget=budget)
    with leasing.connect() as connection:
        days = connection.execute(sa.select(upstream_usage.c.day, upstream_usage.c.requests)).all()
    leasing.dispose()
    assert sorted(map(tuple, days)) == [(date(2026, 11, 20), 1), (date(2026, 11, 21), 1)]
