"""Engines, transactions and migrations of the database."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.staging.driver_errors import ENDS_CONNECTION, sqlstate_of, translate_error
from ingestion_pipeline.staging.errors import (
    DatabaseNotMigrated,
    DatabaseReadOnly,
    DatabaseUnavailable,
    UnsupportedDatabase,
)
from ingestion_pipeline.staging.geopackage_index import register_functions
from ingestion_pipeline.staging.tables import schema_compatibility

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from alembic.config import Config

SQLITE_BUSY_SECONDS = 120
"""The time a writer waits for another one; a slice of 200,000 rows is written in seconds."""

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30
"""Timeouts of services, after which they report that the database does not answer."""

_TRANSACTION_SETTINGS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
}
"""Settings that determine the format of values on the wire. Other values for a role or database
would change encodings or round numbers without an error.

They are set in each transaction and not for the session, because a pooler such as pgbouncer gives
the session to another client after the transaction."""

_MIGRATION_LOCK = int.from_bytes(b"poi-mig")


def create_engine(url: str, *, service_connections: int | None = None) -> sa.Engine:
    """Return the engine for a database URL, without connecting.

    Args:
        url: `postgresql://...` (PostGIS, with psycopg 3), or `sqlite:///path.gpkg`.
        service_connections: For a service with concurrent callers: the size of its connection pool.
            Also sets timeouts.

    Raises:
        UnsupportedDatabase: Another kind of database, or not a URL.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        return _create_postgresql_engine(parsed, service_connections)
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        if not Path(str(parsed.database)).is_absolute():
            # Dagster's processes have different working directories.
            raise UnsupportedDatabase(
                f"DATABASE_URL has the relative path {parsed.database!r}. Use an absolute path: "
                "sqlite:////path/to/file.gpkg (four slashes)."
            )
        return _create_geopackage_engine(parsed)
    raise UnsupportedDatabase(
        f"DATABASE_URL is a {parsed.drivername!r} database. Supported are PostgreSQL with PostGIS "
        "(postgresql://...) and a GeoPackage file (sqlite:////path/to/file.gpkg)."
    )


def _parsed(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # The error's text may contain the password.
        raise UnsupportedDatabase(
            "DATABASE_URL is not a database URL. Use postgresql://user:password@host/database "
            "or sqlite:////path/to/file.gpkg."
        ) from None


def _create_postgresql_engine(url: sa.URL, service_connections: int | None) -> sa.Engine:
    settings = dict(_TRANSACTION_SETTINGS)
    # A prepared statement belongs to a session, which a pooler gives to another client.
    connect: dict[str, Any] = {"prepare_threshold": None}
    pool: dict[str, Any] = {}
    if service_connections is not None:
        pool = {"pool_size": service_connections, "max_overflow": 0}
        # Values in the URL take precedence.
        if "connect_timeout" not in url.query:
            connect["connect_timeout"] = CONNECT_SECONDS
        if "options" not in url.query:
            settings["statement_timeout"] = f"{STATEMENT_SECONDS}s"
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        # Parameters may contain personal data, such as phone numbers.
        hide_parameters=True,
        connect_args=connect,
        **pool,
    )

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_: Any, __: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        from ingestion_pipeline.staging.interrupts import InterruptibleConnection

        return InterruptibleConnection.connect(*arguments, **named)

    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())

    @sa.event.listens_for(engine, "begin")
    def _set(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"SELECT {calls}")

    @sa.event.listens_for(engine, "handle_error")
    def _leave_server(context: sa.engine.ExceptionContext) -> None:
        if sqlstate_of(context.original_exception) in ENDS_CONNECTION:
            # The next connection may reach the new primary server.
            context.is_disconnect = True

    return engine


def _create_geopackage_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
        # A short connection per transaction, so that QGIS can open the file.
        poolclass=sa.pool.NullPool,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _take_over_transactions(connection: Any, _: Any) -> None:
        # sqlite3's implicit BEGIN comes after the reads of a transaction.
        connection.isolation_level = None
        register_functions(connection)

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine


@contextmanager
def write_transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that writes; in a GeoPackage it locks the file at its start.

    Raises:
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    if engine.dialect.name == "postgresql":
        # After waiting for a lock, a statement must see what the other transaction wrote.
        engine = engine.execution_options(isolation_level="READ COMMITTED")
    with (
        _reachable(engine),
        engine.execution_options(sqlite_begin="BEGIN IMMEDIATE").begin() as connection,
    ):
        yield connection


@contextmanager
def read_transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that sees one state of the database.

    Raises:
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(isolation_level="REPEATABLE READ")
    with _reachable(engine), engine.begin() as connection:
        yield connection


@contextmanager
def _reachable(engine: sa.Engine) -> Iterator[None]:
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise DatabaseUnavailable(
            f"All connections to database {describe(engine)} are in use. Try again later."
        ) from error
    except sa.exc.DBAPIError as error:
        translated = translate_error(error.orig, describe(engine))
        if translated is None:
            raise
        raise translated from error


@contextmanager
def driver_of(connection: sa.Connection) -> Iterator[Any]:
    """Yield the driver's connection, for what SQLAlchemy cannot do or does slowly.

    Raises:
        StagingError: The translated error of the driver.
    """
    driver: Any = connection.connection.driver_connection
    try:
        yield driver
    except connection.dialect.loaded_dbapi.Error as error:
        if getattr(driver, "closed", False):
            connection.invalidate(error)
        translated = translate_error(error, describe(connection.engine))
        if translated is None:
            raise
        raise translated from error


def require_writable(engine: sa.Engine) -> None:
    """Check that the database is writable.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        DatabaseReadOnly: It is a standby, or set to read-only.
    """
    if engine.dialect.name == "sqlite":
        _require_writable_file(engine)
        return
    with write_transaction(engine) as connection:
        read_only = connection.exec_driver_sql("SHOW transaction_read_only").scalar_one()
        if read_only == "on":
            raise DatabaseReadOnly(
                f"Database {describe(engine)} is read-only: it is a standby, or "
                "default_transaction_read_only is on. Point DATABASE_URL to the primary server, or "
                "wait until it is writable."
            )


def _require_writable_file(engine: sa.Engine) -> None:
    """Check only the permissions: taking the lock would wait for a writer, and block others."""
    path = Path(engine.url.database or "")
    if path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise DatabaseReadOnly(
            f"Database {describe(engine)} is read-only. Give this user write permission on the "
            "file and its folder."
        )


def describe(engine: sa.Engine) -> str:
    """Return the database's URL without its password."""
    return _without_secrets(engine.url)


def address_of(url: str) -> str:
    """Return a database's URL without its password and driver; nothing is opened.

    Raises:
        UnsupportedDatabase: It is not a URL.
    """
    parsed = _parsed(url)
    return _without_secrets(parsed.set(drivername=parsed.get_backend_name()))


def _without_secrets(url: sa.URL) -> str:
    # The query of a URL may contain a password too.
    return url.set(query={}).render_as_string(hide_password=True)


def is_geopackage(connection: sa.Connection) -> bool:
    """Return whether the database is a GeoPackage."""
    return connection.dialect.name == "sqlite"


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Migrate the schema up or down to a revision.

    With `head`, a newer schema that works with this version stays as it is.

    Args:
        engine: The database.
        revision: `head`, `base`, or a migration's number such as `0001`.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        UnsupportedDatabase: PostgreSQL without PostGIS.
        DatabaseNotMigrated: The revision does not exist.
    """
    from alembic import command
    from alembic.util import CommandError

    if engine.dialect.name == "sqlite" and engine.url.database is not None:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    config = _alembic_config()
    with write_transaction(engine) as connection:
        if not is_geopackage(connection):
            # Another migration waits for the lock; a GeoPackage is locked by the transaction.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _require_place(connection)
            _require_postgis(connection)
        config.attributes["connection"] = connection
        current = current_revision(connection)
        known = known_migrations()
        if revision == "head" and _is_ahead_and_usable(connection, current, known):
            return
        try:
            target = known[0] if revision == "head" else revision
            downwards = target == "base" or (
                current in known and target in known and known.index(target) > known.index(current)
            )
            (command.downgrade if downwards else command.upgrade)(config, revision)
        except CommandError as error:
            raise DatabaseNotMigrated(
                f"Cannot migrate {describe(engine)} from {current or 'empty'} to {revision!r}: "
                f"{error}; known migrations: {', '.join(reversed(known))}"
            ) from error


def _require_place(connection: sa.Connection) -> None:
    """Require a schema for the tables, and UTF-8."""
    schema, encoding, path = connection.exec_driver_sql(
        "SELECT current_schema(), current_setting('server_encoding'), "
        "current_setting('search_path')"
    ).one()
    if encoding != "UTF8":
        raise UnsupportedDatabase(
            f"Database {describe(connection.engine)} has the encoding {encoding}, which does not "
            "support all names. Create it with ENCODING 'UTF8'."
        )
    if schema is None:
        raise UnsupportedDatabase(
            f"Database {describe(connection.engine)} has no schema for the tables: no schema of "
            f"the role's search_path ({path}) exists and is accessible. Create one, or run ALTER "
            "ROLE ... IN DATABASE ... SET search_path."
        )


def _require_postgis(connection: sa.Connection) -> None:
    """Enable PostGIS, and add its schema to the search_path of the migrations."""
    schema = _schema_of_postgis(connection)
    if schema is None:
        try:
            connection.exec_driver_sql("CREATE EXTENSION postgis")
        except sa.exc.DBAPIError as error:
            raise UnsupportedDatabase(
                f"Database {describe(connection.engine)} has no PostGIS, and it cannot be enabled: "
                f"{str(error.orig).strip()}. Install PostGIS on the server, or let an "
                "administrator run CREATE EXTENSION postgis in the database."
            ) from error
        schema = _schema_of_postgis(connection)
    # Appended, so that the tables are created in the same schema as without it.
    connection.execute(
        sa.text(
            "SELECT set_config('search_path', "
            "current_setting('search_path') || ', ' || quote_ident(:schema), true) "
            "WHERE CAST(:schema AS text) <> ALL (current_schemas(true))"
        ),
        {"schema": schema},
    )


def _schema_of_postgis(connection: sa.Connection) -> str | None:
    schema: str | None = connection.exec_driver_sql(
        "SELECT nspname FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace "
        "WHERE extname = 'postgis'"
    ).scalar_one_or_none()
    return schema


def require_migrated(engine: sa.Engine) -> None:
    """Check that this version can use the database's schema.

    It can if the schema is its own, or a newer one that was made to work with it: during an upgrade
    the previous release works on (docs/adr/025-two-releases-share-a-database.md).

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        DatabaseNotMigrated: It is empty, behind, or too far ahead.
    """
    known = known_migrations()
    missing = (
        engine.dialect.name == "sqlite"
        and engine.url.database is not None
        and not Path(engine.url.database).exists()
    )
    current = None
    is_usable = False
    elsewhere: list[str] = []
    if not missing:
        with read_transaction(engine) as connection:
            current = current_revision(connection)
            is_usable = current == known[0] or _is_ahead_and_usable(connection, current, known)
            if current is None and not is_geopackage(connection):
                elsewhere = _schemas_with_tables(connection)
    if elsewhere:
        raise DatabaseNotMigrated(
            f"Database {describe(engine)} has the tables in the schema {', '.join(elsewhere)}, "
            "which is not in this role's search_path. Run ALTER ROLE ... IN DATABASE ... SET "
            "search_path, and grant USAGE on the schema."
        )
    if is_usable:
        return
    if current is None or current in known:
        raise DatabaseNotMigrated(
            f"Database {describe(engine)} is at migration {current or 'none'} but this version of "
            f"ingestion_pipeline needs {known[0]}. Run 'poi-ingest migrate'."
        )
    raise DatabaseNotMigrated(
        f"Database {describe(engine)} is at migration {current}, which is newer than "
        f"{known[0]} of this version of ingestion_pipeline and does not work with it. Install the "
        "newer version."
    )


def _is_ahead_and_usable(
    connection: sa.Connection, current: str | None, known: Sequence[str]
) -> bool:
    """Return whether the database is at a newer migration that works with this version."""
    table = schema_compatibility
    if current is None or current in known or not sa.inspect(connection).has_table(table.name):
        return False
    oldest = connection.execute(sa.select(table.c.oldest_code)).scalar_one_or_none()
    return oldest in known


def set_oldest_code(connection: sa.Connection, migration: str) -> None:
    """Store the newest migration of the oldest release that can use the schema."""
    table = schema_compatibility
    connection.execute(sa.delete(table))
    connection.execute(sa.insert(table).values(oldest_code=migration))


def known_migrations() -> Sequence[str]:
    """Return the migrations of this version, the newest first."""
    return _migrations_of(
        tuple(sorted(path.name for path in migrations_folder().glob("versions/*.py")))
    )


@cache  # the migrations are read only once; runs are forked from a process that has read them
def _migrations_of(_: tuple[str, ...]) -> Sequence[str]:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory.from_config(_alembic_config())
    return tuple(script.revision for script in scripts.walk_revisions())


def _schemas_with_tables(connection: sa.Connection) -> list[str]:
    """Return the schemas that contain the project's tables, visible or not."""
    found = connection.exec_driver_sql(
        "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE relname = 'ingestion_run' AND relkind IN ('r', 'p') ORDER BY nspname"
    )
    return list(found.scalars())


def current_revision(connection: sa.Connection) -> str | None:
    """Return the database's migration; None where it has none."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def migrations_folder() -> Path:
    """Return the migrations' folder: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.exists() else package.parent / "migrations"
