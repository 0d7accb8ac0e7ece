"""Engines and transactions on PostgreSQL as operators set it up, and what its refusals mean."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
import sqlalchemy as sa

from ingestion_pipeline.columns.hashing import with_content_hash
from ingestion_pipeline.staging.bulk import fetch, load
from ingestion_pipeline.staging.database import (
    create_engine,
    migrate,
    read_transaction,
    require_migrated,
    require_writable,
    write_transaction,
)
from ingestion_pipeline.staging.days import difference, read_day
from ingestion_pipeline.staging.errors import (
    DatabaseForbidden,
    DatabaseNotMigrated,
    DatabaseReadOnly,
    DatabaseTimedOut,
    DatabaseUnavailable,
    UnsupportedDatabase,
)
from ingestion_pipeline.staging.statistics import collect
from ingestion_pipeline.staging.tables import poi_ingestion_staging, run_lease
from ingestion_pipeline_tests.support.staged import poi_rows, stage
from testbed.claims import NOW, claim_key, evidence_of, replace_slice, slice_of
from testbed.platform_processes import wait_until
from testbed.postgres_server import READER, as_role, make_roles, set_for_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ingestion_pipeline.staging.days import Slice
    from testbed.postgres_server import PostgresServer

DAY = date(2026, 11, 20)
NEXT_DAY = date(2026, 11, 21)


@pytest.fixture
def postgis_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database, straight on its server and for its administrator."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture
def engine(postgis_url: str) -> Iterator[sa.Engine]:
    """A migrated database on PostgreSQL."""
    engine = create_engine(postgis_url)
    migrate(engine)
    yield engine
    engine.dispose()


def administer(url: str, *statements: str) -> None:
    """Do what an operator does, outside of a transaction."""
    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def statement_timeout(engine: sa.Engine) -> str:
    with read_transaction(engine) as connection:
        timeout: str = connection.execute(sa.text("SHOW statement_timeout")).scalar_one()
    engine.dispose()
    return timeout


def test_only_a_service_gives_up_on_a_statement(postgis_url: str) -> None:
    assert statement_timeout(create_engine(postgis_url)) == "0"
    assert statement_timeout(create_engine(postgis_url, service_connections=1)) == "30s"


def test_what_the_url_says_of_time_stands(postgis_url: str) -> None:
    url = f"{postgis_url}?options=-c%20statement_timeout%3D7s"
    assert statement_timeout(create_engine(url, service_connections=1)) == "7s"


def test_a_statement_that_takes_too_long_is_a_database_that_does_not_answer(
    postgis_url: str,
) -> None:
    url = f"{postgis_url}?options=-c%20statement_timeout%3D50ms"
    engine = create_engine(url, service_connections=1)
    with pytest.raises(DatabaseUnavailable), write_transaction(engine) as connection:
        connection.execute(sa.text("SELECT pg_sleep(10)"))
    engine.dispose()


def test_connections_that_are_all_in_use_are_a_database_that_does_not_answer(
    postgis_url: str,
) -> None:
    url = sa.make_url(postgis_url).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.05)
    with (
        write_transaction(engine),
        pytest.raises(DatabaseUnavailable, match="in use"),
        read_transaction(engine),
    ):
        pass
    engine.dispose()


# What operators set for a role or a database


SETTINGS = {
    "datestyle": "'German, DMY'",
    "timezone": "'Asia/Kathmandu'",
    "intervalstyle": "'sql_standard'",
    "bytea_output": "'escape'",
    "extra_float_digits": "-10",
    "client_encoding": "'LATIN1'",
    "standard_conforming_strings": "off",
    "default_transaction_isolation": "'serializable'",
    "default_transaction_deferrable": "on",
}
"""Each changes how values are written on the wire, or what a transaction sees."""

NAME = "Café \\n «Ёж» 北京 \N{SLICE OF PIZZA}"
LON = 12.345678901234567


def precise_rows() -> pa.Table:
    """Give a POI whose name has letters of many scripts, and whose position has all digits."""
    rows = poi_rows({"node/1": NAME, "way/2": "x"})
    column = rows.column_names.index("lon")
    rows = rows.set_column(column, "lon", pa.array([LON, LON]))
    return with_content_hash(rows.drop_columns(["content_hash"]))


def staged_values(engine: sa.Engine, target: Slice) -> list[dict[str, object]]:
    """Stage a day twice, the second time with other content; give what is read of the first."""
    for day, rows in ((DAY, precise_rows()), (NEXT_DAY, poi_rows({"node/1": "other"}))):
        of_day = slice_of(target.city_slug, day)
        replace_slice(
            engine,
            of_day,
            rows,
            rejections=[],
            evidence=evidence_of(day),
            claim=claim_key(engine, target.city_slug, day),
            now=NOW,
        )
    assert [change.change for change in difference(engine, target, NEXT_DAY)] == [
        "changed",
        "removed",
    ]
    assert collect(engine).durations[0].sum_s == 0
    read = read_day(engine, target)
    assert read is not None
    return [
        {name: value for name, value in row.items() if name not in ("id", "city_slug")}
        for row in read
    ]


def test_no_setting_of_an_operator_changes_what_is_stored_or_read(
    engine: sa.Engine, postgis_url: str
) -> None:
    plain = staged_values(engine, slice_of("plain", DAY))
    assert (plain[0]["name"], plain[0]["lon"]) == (NAME, LON)
    for setting, value in SETTINGS.items():
        set_for_all(postgis_url, setting, value)
        other = create_engine(postgis_url)
        city = setting.replace("_", "-")
        assert staged_values(other, slice_of(city, DAY)) == plain, setting
        other.dispose()
    # Under all of them at once, which are not those of the session that reads here.
    assert read_day(engine, slice_of(city, DAY)) is not None


def test_a_database_is_migrated_under_all_these_settings(postgis_url: str) -> None:
    for setting, value in SETTINGS.items():
        set_for_all(postgis_url, setting, value)
    engine = create_engine(postgis_url)
    migrate(engine)
    require_migrated(engine)
    assert staged_values(engine, slice_of("town", DAY))[0]["name"] == NAME
    engine.dispose()


def test_postgis_may_be_in_a_schema_of_its_own(postgis_url: str) -> None:
    administer(
        postgis_url,
        "DROP EXTENSION postgis",
        'CREATE SCHEMA "Extensions"',
        'CREATE EXTENSION postgis SCHEMA "Extensions"',
    )
    engine = create_engine(postgis_url)
    migrate(engine)
    assert staged_values(engine, slice_of("town", DAY))[0]["name"] == NAME
    with read_transaction(engine) as connection:
        schemas = connection.exec_driver_sql(
            "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE '%%ingestion%%'"
        ).scalars()
        assert list(schemas) == ["public"]
    engine.dispose()


def test_a_search_path_that_leads_nowhere_is_named(engine: sa.Engine, postgis_url: str) -> None:
    administer(postgis_url, "CREATE SCHEMA elsewhere")
    set_for_all(postgis_url, "search_path", "elsewhere")
    blind = create_engine(postgis_url)
    with pytest.raises(DatabaseNotMigrated, match=r"in the schema public, .* search_path"):
        require_migrated(blind)
    blind.dispose()
    require_migrated(engine)  # a session from before
    set_for_all(postgis_url, "search_path", "no_such_schema")
    lost = create_engine(postgis_url)
    with pytest.raises(UnsupportedDatabase, match=r"search_path \(no_such_schema\)"):
        migrate(lost)
    lost.dispose()


def test_a_database_that_cannot_hold_every_name_is_refused(postgis_url: str) -> None:
    name = f"latin_{sa.make_url(postgis_url).database}"
    latin = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    administer(postgis_url, f"CREATE DATABASE {name} {latin}")
    url = sa.make_url(postgis_url).set(database=name).render_as_string(hide_password=False)
    engine = create_engine(url)
    with pytest.raises(UnsupportedDatabase, match="encoding LATIN1"):
        migrate(engine)
    engine.dispose()
    administer(postgis_url, f"DROP DATABASE {name} WITH (FORCE)")


# What its refusals mean


def put_a_slow_trigger(url: str) -> None:
    administer(
        url,
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_sleep(20); RETURN NEW; END$$",
        "CREATE TRIGGER dawdle BEFORE INSERT ON poi_ingestion_staging "
        "FOR EACH ROW EXECUTE FUNCTION dawdle()",
    )


def test_a_limit_that_ends_a_copy_is_named_and_may_pass(postgis_url: str) -> None:
    migrating = create_engine(postgis_url)
    migrate(migrating)
    migrating.dispose()
    put_a_slow_trigger(postgis_url)
    set_for_all(postgis_url, "statement_timeout", "'300ms'")
    engine = create_engine(postgis_url)
    with pytest.raises(DatabaseTimedOut, match="raise statement_timeout") as refused:
        stage(engine, "town", DAY, {"node/1": "a"})
    assert refused.value.should_retry
    administer(postgis_url, "DROP TRIGGER dawdle ON poi_ingestion_staging")
    assert stage(engine, "other", DAY, {"node/1": "a"}).rows == 1
    engine.dispose()


def copy(connection: sa.Connection) -> None:
    load(connection, poi_ingestion_staging, pa.table({"source": pa.array(["osm"])}))


def read_columns(connection: sa.Connection) -> None:
    fetch(connection, sa.select(poi_ingestion_staging.c.id))


def execute(connection: sa.Connection) -> None:
    connection.execute(sa.select(poi_ingestion_staging.c.id))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("use", [copy, read_columns, execute])
def test_a_session_that_was_ended_for_its_idleness_is_named_and_replaced(
    postgis_url: str, use: Callable[[sa.Connection], None]
) -> None:
    set_for_all(postgis_url, "idle_in_transaction_session_timeout", "'50ms'")
    idle = create_engine(postgis_url)

    def idle_and_use() -> None:
        with write_transaction(idle) as connection:
            time.sleep(0.5)
            use(connection)

    with pytest.raises(DatabaseTimedOut, match="raise idle_in_transaction_session_timeout"):
        idle_and_use()
    require_writable(idle)
    idle.dispose()


@pytest.mark.parametrize("use", [copy, read_columns, execute])
def test_a_connection_that_breaks_is_a_database_that_does_not_answer(
    engine: sa.Engine, postgis_url: str, use: Callable[[sa.Connection], None]
) -> None:
    def break_and_use() -> None:
        with write_transaction(engine) as connection:
            process = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            administer(postgis_url, f"SELECT pg_terminate_backend({process}, 5000)")
            use(connection)

    with pytest.raises(DatabaseUnavailable, match="does not answer"):
        break_and_use()
    require_writable(engine)


def test_a_lock_that_is_waited_for_too_long_is_named(engine: sa.Engine, postgis_url: str) -> None:
    set_for_all(postgis_url, "lock_timeout", "'50ms'")
    hasty = create_engine(postgis_url)
    with write_transaction(engine) as holder:
        holder.exec_driver_sql("LOCK TABLE ingestion_run")
        with pytest.raises(DatabaseTimedOut, match="raise lock_timeout"):
            claim_key(hasty, "town", DAY)
    hasty.dispose()


def test_a_deadlock_says_to_try_again(engine: sa.Engine) -> None:
    meet = threading.Barrier(2, timeout=30)

    def lock(first: int, second: int) -> str:
        try:
            with write_transaction(engine) as connection:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({first})")
                meet.wait()
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({second})")
        except DatabaseUnavailable as error:
            return str(error)
        return "done"

    with ThreadPoolExecutor(2) as threads:
        ends = sorted(threads.map(lock, (1, 2), (2, 1)))
    assert "done" in ends
    (undone,) = (end for end in ends if end != "done")
    assert "rolled back the transaction" in undone
    assert undone.endswith("Try again.")


def test_a_server_that_takes_no_writes_is_named_and_left(
    engine: sa.Engine, postgis_url: str
) -> None:
    target = slice_of("town", DAY)
    stage(engine, "town", DAY, {"node/1": "a"})
    set_for_all(postgis_url, "default_transaction_read_only", "on")
    standby = create_engine(postgis_url)
    assert read_day(standby, target)
    for write in (
        lambda: require_writable(standby),
        lambda: stage(standby, "town", DAY, {"node/1": "b"}),
        lambda: migrate(standby, "0001"),
    ):
        with pytest.raises(DatabaseReadOnly, match="is read-only") as refused:
            write()
        assert refused.value.should_retry
    set_for_all(postgis_url, "default_transaction_read_only", "off")
    # The sessions that were read-only are not used again.
    assert stage(standby, "town", DAY, {"node/1": "b"}).changed == 0
    standby.dispose()


@pytest.mark.usefixtures("engine")
def test_a_right_that_lacks_is_named_and_does_not_pass(postgis_url: str) -> None:
    make_roles(postgis_url)
    stranger = create_engine(as_role(postgis_url, READER))
    with pytest.raises(DatabaseForbidden, match=r"permission denied .* deploy/roles.sql") as no:
        require_migrated(stranger)
    assert not no.value.should_retry
    stranger.dispose()


def test_a_wrong_statement_stays_a_fault_of_ours(engine: sa.Engine) -> None:
    with pytest.raises(sa.exc.ProgrammingError), read_transaction(engine) as connection:
        connection.exec_driver_sql("SELECT 1 FROM no_such_table")


class Interrupted(BaseException):
    """An interruption that is not Ctrl-C, such as that of Dagster."""


def insert_lease(connection: sa.Connection) -> None:
    connection.execute(sa.insert(run_lease).values(dagster_run_id="a", **_LEASE))


def copy_lease(connection: sa.Connection) -> None:
    rows = pa.table({"dagster_run_id": ["a"], **{name: [each] for name, each in _LEASE.items()}})
    load(connection, run_lease, rows)


_LEASE = {"token": "t", "beat_at": NOW, "expires_at": NOW}


@pytest.mark.parametrize("write", [insert_lease, copy_lease])
@pytest.mark.parametrize("kind", [Interrupted, KeyboardInterrupt])
def test_an_interrupted_statement_ends_in_the_server_too_while_it_waits_for_a_lock(
    engine: sa.Engine,
    postgis_url: str,
    kind: type[BaseException],
    write: Callable[[sa.Connection], None],
) -> None:
    other = create_engine(postgis_url)
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

    def interrupt(*_: object) -> None:
        raise kind

    def interrupt_when_it_waits() -> None:
        with other.connect() as connection:
            wait_until(lambda: connection.execute(waiting).scalar_one(), "it waits")
        signal.raise_signal(signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with other.begin() as holder:
            holder.exec_driver_sql("LOCK TABLE run_lease IN SHARE MODE")
            thread = threading.Thread(target=interrupt_when_it_waits)
            thread.start()
            with pytest.raises(kind), write_transaction(engine) as connection:
                write(connection)
            thread.join()
            assert holder.execute(waiting).scalar_one() == 0
    finally:
        signal.signal(signal.SIGALRM, before)
    with write_transaction(engine) as connection:
        write(connection)
    other.dispose()
