"""Connections of the reading API: asyncpg, as tipg requires, with the reader's role.

Each connection is in a read-only transaction while it is used, with settings that end with the
transaction. So nothing is left in a session, which a pooler such as pgbouncer gives to another
client, and the count and the rows of a page are of one state.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import asyncpg
import orjson
import sqlalchemy as sa

from ingestion_pipeline.admin_api.problems import QUERY_TOO_SLOW, ProblemError
from ingestion_pipeline.staging.database import CONNECT_SECONDS, STATEMENT_SECONDS
from ingestion_pipeline.staging.driver_errors import translate_error
from ingestion_pipeline.staging.errors import DatabaseTimedOut, DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CONNECTIONS = 8
"""Queries at a time; further requests wait for one."""

DATABASE = "of READER_DATABASE_URL"
"""The database in messages; its URL may contain a password."""

_BEGIN = """
SELECT set_config('statement_timeout', $1, true),
       set_config('timezone', 'UTC', true),
       set_config('datestyle', 'ISO, YMD', true),
       set_config('standard_conforming_strings', 'on', true),
       set_config(
           'search_path', current_setting('search_path') || ', ' || quote_ident(nspname), true
       )
FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace
WHERE extname = 'postgis'
"""
"""tipg names PostGIS's functions without their schema."""


class ReaderPool:
    """A pool that tipg uses as one of asyncpg."""

    def __init__(self, url: str) -> None:
        """Prepare a pool, which connects at the first request.

        Args:
            url: A PostgreSQL URL.
        """
        plain = sa.make_url(url).set(drivername="postgresql")
        self._url = plain.render_as_string(hide_password=False)
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def __aenter__(self) -> Self:
        """Open the pool without connecting."""
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=CONNECTIONS,
            timeout=CONNECT_SECONDS,
            # A prepared statement belongs to a session, which a pooler gives to another client.
            statement_cache_size=0,
            init=_decode_json,
            reset=_keep_session,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        assert self._pool is not None
        self._pool.terminate()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        """Lend a connection in a read-only transaction.

        Raises:
            DatabaseUnavailable: It cannot be reached, or all connections are in use.
            DatabaseForbidden: The role lacks a privilege.
            ProblemError: A query took too long.
        """
        assert self._pool is not None
        try:
            async with (
                self._pool.acquire(timeout=CONNECT_SECONDS) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                await connection.execute(_BEGIN, f"{STATEMENT_SECONDS}s")
                yield connection
        except (OSError, TimeoutError, asyncpg.InterfaceError) as error:
            raise _unavailable(error) from error
        except asyncpg.PostgresError as error:
            translated = translate_error(error, DATABASE)
            if isinstance(translated, DatabaseTimedOut):
                raise ProblemError(QUERY_TOO_SLOW, QUERY_TOO_SLOW.example) from error
            if translated is not None:
                raise translated from error
            if error.sqlstate is None or error.sqlstate.startswith(_CONNECTION_STATES):
                raise _unavailable(error) from error
            raise


_CONNECTION_STATES = ("08", "28", "3D", "57P")
"""SQLSTATEs of a connection: broken, refused for the role or database, or ended by the server."""


def _unavailable(error: BaseException) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"Database {DATABASE} does not answer: {type(error).__name__}. Check the setting and the "
        "server."
    )


async def _decode_json(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Let a new connection read JSON values as tipg expects them."""
    async with connection.transaction():  # one session, behind a pooler
        for name in ("json", "jsonb"):
            await connection.set_type_codec(
                name, encoder=orjson.dumps, decoder=orjson.loads, schema="pg_catalog"
            )


async def _keep_session(_: object) -> None:
    """Leave a returned connection as it is: all settings ended with its transaction."""
