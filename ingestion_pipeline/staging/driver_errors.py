"""Translation of driver errors into errors of staging.

Covers the SQLSTATEs of PostgreSQL and the result codes of SQLite that occur in operation: a server
that is down, read-only, too slow or full, and a role without a privilege. Errors of a wrong
statement are bugs and stay as they are.

The driver's exception classes are not specific enough: psycopg raises InternalError for a read-only
server and ProgrammingError for a missing privilege. See "PostgreSQL Error Codes" in its manual.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from ingestion_pipeline.staging.errors import (
    DatabaseForbidden,
    DatabaseReadOnly,
    DatabaseTimedOut,
    DatabaseUnavailable,
    StagingError,
)

READ_ONLY = "25006"
FORBIDDEN = "42501"

LIMITS = {
    "57014": "statement_timeout",
    "25P03": "idle_in_transaction_session_timeout",
    "25P04": "transaction_timeout",
    "55P03": "lock_timeout",
    "57P05": "idle_session_timeout",
}
"""The setting that ends a statement or session with each of these SQLSTATEs."""

ENDS_CONNECTION = frozenset({READ_ONLY, "25P03", "25P04", "57P05"})
"""After these the connection is closed, or its server is read-only."""

_READ_ONLY = (
    "Database {database} is read-only: {detail}. It is a standby, or default_transaction_read_only "
    "is on. Point DATABASE_URL to the primary server, or wait until it is writable."
)
_FORBIDDEN = (
    "The role of database {database} lacks a privilege: {detail}. Migrate as the owner of the "
    "tables, and let an administrator run deploy/roles.sql."
)
_TIMED_OUT = (
    "Database {database} timed out: {detail}. Try again later. If it happens often, raise {limit} "
    "for this role."
)
_ROLLED_BACK = "Database {database} rolled back the transaction: {detail}. Try again."
_OUT_OF_RESOURCES = (
    "Database {database} is out of disk space, memory or connections: {detail}. Check the server."
)

_TRANSLATIONS: tuple[tuple[tuple[str, ...], type[StagingError], str], ...] = (
    ((READ_ONLY,), DatabaseReadOnly, _READ_ONLY),
    ((FORBIDDEN,), DatabaseForbidden, _FORBIDDEN),
    (tuple(LIMITS), DatabaseTimedOut, _TIMED_OUT),
    (("40001", "40P01"), DatabaseUnavailable, _ROLLED_BACK),
    (("53",), DatabaseUnavailable, _OUT_OF_RESOURCES),
)
"""Error and message by the beginning of the SQLSTATE."""

_SQLITE_PRIMARY = 0xFF
"""The low byte of an extended result code of SQLite is its primary one."""


def translate_error(error: BaseException | None, database: str) -> StagingError | None:
    """Return the staging error for an error of psycopg or sqlite3.

    Args:
        error: The driver's error.
        database: The database's name, without secrets.

    Returns:
        The error; None where a wrong statement or value is the cause.
    """
    detail = str(error).strip().rstrip(".")
    if isinstance(error, sqlite3.Error):
        return _translate_sqlite_error(error, database, detail)
    state = sqlstate_of(error) or ""
    for states, kind, message in _TRANSLATIONS:
        if state.startswith(states):
            return kind(message.format(database=database, detail=detail, limit=LIMITS.get(state)))
    if type_names(error).isdisjoint({"OperationalError", "InterfaceError"}):
        return None
    return _unavailable(database, detail)


def sqlstate_of(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of a psycopg error, or None."""
    state: str | None = getattr(error, "sqlstate", None)
    return state


def type_names(error: BaseException | None) -> set[str]:
    """Return the names of an error's classes; PEP 249 defines them for every driver."""
    return {kind.__name__ for kind in type(error).__mro__}


def _translate_sqlite_error(error: Any, database: str, detail: str) -> StagingError | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _SQLITE_PRIMARY
    if code == sqlite3.SQLITE_READONLY:
        return DatabaseReadOnly(
            f"Database {database} is read-only: {detail}. Give this user write permission on the "
            "file and its folder."
        )
    if code == sqlite3.SQLITE_ERROR:
        return None  # a wrong statement
    if isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError):
        return _unavailable(database, detail)
    return None


def _unavailable(database: str, detail: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"Database {database} does not answer: {detail}. Check DATABASE_URL and the server."
    )
