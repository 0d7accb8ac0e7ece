"""Opening the database: which kinds there are, transactions, and the level of the schema.

Belongs here: engines, transactions, migrations. Does not belong here: tables and their writers.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config

SQLITE_BUSY_SECONDS = 120
"""How long a writer waits for another one; a slice of 200,000 rows is written in seconds."""

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 30
"""How long a service waits for PostgreSQL before it says that the database does not answer."""

_TRANSACTION_SETTINGS = {
    "client_encoding": "UTF8",
    "datestyle": "ISO, YMD",
    "timezone": "UTC",
    "intervalstyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
}
"""What the form of values on the wire depends on. An operator may set each otherwise for a role or
a database: then texts would be read in another encoding, or numbers rounded, without an error.

They are set in each transaction, and never for a session: behind a pooler such as pgbouncer a
session is another client's after the transaction."""

_MIGRATION_LOCK = int.from_bytes(b"poi-mig")


def create_engine(url: str, *, service_connections: int | None = None) -> sa.Engine:
    """Make the engine for a database URL, without connecting.

    Args:
        url: `postgresql://...` (PostGIS; psycopg 3 is used), or `sqlite:///path.gpkg`.
        service_connections: For a service that answers many callers at once: how many connections
            to PostgreSQL it may keep. It then gives up on a server that lets it wait.

    Raises:
        UnsupportedDatabase: Another kind of database, or not a URL.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        # The error's own text may quote the password.
        raise UnsupportedDatabase(
            "DATABASE_URL is not a database URL; give postgresql://user:password@host/database "
            "or sqlite:////path/to/file.gpkg"
        ) from None
    if parsed.get_backend_name() == "postgresql":
        return _create_postgresql_engine(parsed, service_connections)
    if parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:"):
        if not Path(str(parsed.database)).is_absolute():
            # Dagster's processes start in folders of their own.
            raise UnsupportedDatabase(
                f"DATABASE_URL names the file {parsed.database!r} relative to wherever a process "
                "starts; give the whole path: sqlite:////path/to/file.gpkg (four slashes)"
            )
        return _create_geopackage_engine(parsed)
    raise UnsupportedDatabase(
        f"DATABASE_URL names a {parsed.drivername!r} database; PostgreSQL with PostGIS "
        "(postgresql://...) and a GeoPackage file (sqlite:////path/to/file.gpkg) are supported"
    )


def _create_postgresql_engine(url: sa.URL, service_connections: int | None) -> sa.Engine:
    settings = dict(_TRANSACTION_SETTINGS)
    # A prepared statement is of a session, which a pooler gives to another client meanwhile.
    connect: dict[str, Any] = {"prepare_threshold": None}
    pool: dict[str, Any] = {}
    if service_connections is not None:
        pool = {"pool_size": service_connections, "max_overflow": 0}
        # What the URL itself says of these stands.
        if "connect_timeout" not in url.query:
            connect["connect_timeout"] = CONNECT_SECONDS
        if "options" not in url.query:
            settings["statement_timeout"] = f"{STATEMENT_SECONDS}s"
    engine = sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        # A parameter may hold a place's phone number; it has no business in an error message.
        hide_parameters=True,
        connect_args=connect,
        **pool,
    )
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())

    @sa.event.listens_for(engine, "begin")
    def _set(connection: sa.Connection) -> None:
        connection.exec_driver_sql(f"SELECT {calls}")

    @sa.event.listens_for(engine, "handle_error")
    def _leave_server(context: sa.engine.ExceptionContext) -> None:
        if sqlstate_of(context.original_exception) in ENDS_CONNECTION:
            # The next connection may lead to the new primary server.
            context.is_disconnect = True

    return engine


def _create_geopackage_engine(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        url,
        connect_args={"timeout": SQLITE_BUSY_SECONDS},
        # One file, one short connection per transaction: nothing is kept open under QGIS' feet.
        poolclass=sa.pool.NullPool,
        hide_parameters=True,
    )

    @sa.event.listens_for(engine, "connect")
    def _take_over_transactions(connection: Any, _: Any) -> None:
        # sqlite3's own implicit BEGIN comes too late to protect a read that decides a write.
        connection.isolation_level = None

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine


@contextmanager
def write_transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a transaction that will write; in a GeoPackage it is the only one from its start on.

    Raises:
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    if engine.dialect.name == "postgresql":
        # Said and not assumed: after waiting for a lock a statement must see what the other wrote.
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
            f"all connections to database {describe(engine)} are in use; try again later"
        ) from error
    except sa.exc.DBAPIError as error:
        meaning = translate_error(error.orig, describe(engine))
        if meaning is None:
            raise
        raise meaning from error


@contextmanager
def driver_of(connection: sa.Connection) -> Iterator[Any]:
    """Lend the driver's own connection, for what SQLAlchemy cannot do or does slowly.

    Raises:
        StagingError: What the driver's error means; as if SQLAlchemy had executed the statement.
    """
    driver: Any = connection.connection.driver_connection
    try:
        yield driver
    except connection.dialect.loaded_dbapi.Error as error:
        if getattr(driver, "closed", False):
            connection.invalidate(error)
        meaning = translate_error(error, describe(connection.engine))
        if meaning is None:
            raise
        raise meaning from error


def require_writable(engine: sa.Engine) -> None:
    """Check that the database takes writes.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        DatabaseReadOnly: It is a standby, or set to take no writes.
    """
    if engine.dialect.name == "sqlite":
        _require_writable_file(engine)
        return
    with write_transaction(engine) as connection:
        read_only = connection.exec_driver_sql("SHOW transaction_read_only").scalar_one()
        if read_only == "on":
            raise DatabaseReadOnly(
                f"database {describe(engine)} takes no writes: it is a standby, or "
                "default_transaction_read_only is on. Let DATABASE_URL lead to the primary "
                "server, or wait until it is writable again"
            )


def _require_writable_file(engine: sa.Engine) -> None:
    """Check the rights alone: to take the lock is to wait for whoever writes, and to hinder it."""
    path = Path(engine.url.database or "")
    if path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        raise DatabaseReadOnly(
            f"database {describe(engine)} takes no writes; give this user the rights to write the "
            "file and its folder"
        )


def describe(engine: sa.Engine) -> str:
    """Name the database without its password."""
    # The parameters of a URL may hold a password too.
    return engine.url.set(query={}).render_as_string(hide_password=True)


def is_geopackage(connection: sa.Connection) -> bool:
    """Tell the embedded GeoPackage from PostGIS."""
    return connection.dialect.name == "sqlite"


def migrate(engine: sa.Engine, revision: str = "head") -> None:
    """Bring the schema to a revision, up or down.

    Args:
        engine: The database.
        revision: `head`, `base`, or a migration's number such as `0001`.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        UnsupportedDatabase: PostgreSQL without PostGIS.
        DatabaseNotMigrated: There is no such revision.
    """
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    if engine.dialect.name == "sqlite" and engine.url.database is not None:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    config = _alembic_config()
    with write_transaction(engine) as connection:
        if not is_geopackage(connection):
            # Whoever else migrates waits, and finds it done; a GeoPackage is locked as a whole.
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _require_place(connection)
            _require_postgis(connection)
        config.attributes["connection"] = connection
        current = current_revision(connection)
        try:
            scripts = ScriptDirectory.from_config(config)
            known = [script.revision for script in scripts.walk_revisions()]
            target = known[0] if revision == "head" else revision
            downwards = target == "base" or (
                current in known and target in known and known.index(target) > known.index(current)
            )
            (command.downgrade if downwards else command.upgrade)(config, revision)
        except CommandError as error:
            raise DatabaseNotMigrated(
                f"cannot bring {describe(engine)} from {current or 'empty'} to {revision!r}: "
                f"{error}; known migrations: {', '.join(reversed(known))}"
            ) from error


def _require_place(connection: sa.Connection) -> None:
    """Refuse a database that cannot hold the tables, or every text."""
    schema, encoding, path = connection.exec_driver_sql(
        "SELECT current_schema(), current_setting('server_encoding'), "
        "current_setting('search_path')"
    ).one()
    if encoding != "UTF8":
        raise UnsupportedDatabase(
            f"database {describe(connection.engine)} has the encoding {encoding}, which cannot "
            "hold every name; create it with ENCODING 'UTF8'"
        )
    if schema is None:
        raise UnsupportedDatabase(
            f"database {describe(connection.engine)} has no schema for the tables: none of its "
            f"role's search_path ({path}) exists or may be used; create one, or correct it by "
            "ALTER ROLE ... IN DATABASE ... SET search_path"
        )


def _require_postgis(connection: sa.Connection) -> None:
    """Make PostGIS's types known to the migrations, in whatever schema they are."""
    schema = _schema_of_postgis(connection)
    if schema is None:
        try:
            connection.exec_driver_sql("CREATE EXTENSION postgis")
        except sa.exc.DBAPIError as error:
            raise UnsupportedDatabase(
                f"database {describe(connection.engine)} has no PostGIS and it cannot be enabled: "
                f"{str(error.orig).strip()}; install PostGIS on the server, or let an "
                "administrator run CREATE EXTENSION postgis in the database"
            ) from error
        schema = _schema_of_postgis(connection)
    # After the schemas that are there, so that the tables are made where they would be without it.
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
    """Refuse a database whose schema is not the one that this code declares.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
        DatabaseNotMigrated: It is empty, behind or ahead.
    """
    from alembic.script import ScriptDirectory

    (head,) = ScriptDirectory.from_config(_alembic_config()).get_heads()
    missing = (
        engine.dialect.name == "sqlite"
        and engine.url.database is not None
        and not Path(engine.url.database).exists()
    )
    current = None
    elsewhere: list[str] = []
    if not missing:
        with read_transaction(engine) as connection:
            current = current_revision(connection)
            if current is None and not is_geopackage(connection):
                elsewhere = _schemas_with_tables(connection)
    if elsewhere:
        raise DatabaseNotMigrated(
            f"database {describe(engine)} has the tables in the schema {', '.join(elsewhere)}, "
            "which is not in this role's search_path; correct it by ALTER ROLE ... IN DATABASE ... "
            "SET search_path, and grant USAGE on the schema"
        )
    if current != head:
        raise DatabaseNotMigrated(
            f"database {describe(engine)} is at migration {current or 'none'} and this version of "
            f"ingestion_pipeline needs {head}; run 'poi-ingest migrate' (that of the newer "
            "version, where the database is ahead)"
        )


def _schemas_with_tables(connection: sa.Connection) -> list[str]:
    """List the schemas that hold the project's tables, visible or not."""
    found = connection.exec_driver_sql(
        "SELECT nspname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
        "WHERE relname = 'ingestion_run' AND relkind IN ('r', 'p') ORDER BY nspname"
    )
    return list(found.scalars())


def current_revision(connection: sa.Connection) -> str | None:
    """Tell at which migration the database is; None where it has none."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def _alembic_config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    return config


def migrations_folder() -> Path:
    """Find the migrations: inside the package when installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.exists() else package.parent / "migrations"
