"""What an error of a database's driver means, and what to do about it.

Belongs here: the SQLSTATEs of PostgreSQL and the result codes of SQLite that operation brings
about: a server that is away, read-only, too slow or full, and a role without a right. Does not
belong here: errors of a wrong statement, which are faults of ours and stay what they are, and
catching (`database.py`).

The driver's own classes do not say enough: psycopg counts a read-only server among internal errors
and a missing right among wrong statements. See "PostgreSQL Error Codes" in PostgreSQL's manual.
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
"""After these a connection is of no use: it is closed, or its server takes no writes."""

_TAKES_NO_WRITES = (
    "database {database} takes no writes: {said}; it is a standby, or "
    "default_transaction_read_only is on. Let DATABASE_URL lead to the primary server, or wait "
    "until it is writable again"
)
_LACKS_A_RIGHT = (
    "the role of database {database} lacks a right: {said}; migrate as the owner of the tables, "
    "and let an administrator run deploy/roles.sql"
)
_GAVE_UP = (
    "database {database} gave up: {said}; try again later, and if it happens often raise {limit} "
    "for this role"
)
_UNDONE = "database {database} undid the transaction in favor of another: {said}; try again"
_OUT_OF_RESOURCES = (
    "database {database} is out of disk space, memory or connections: {said}; look at the server"
)

_MEANINGS: tuple[tuple[tuple[str, ...], type[StagingError], str], ...] = (
    ((READ_ONLY,), DatabaseReadOnly, _TAKES_NO_WRITES),
    ((FORBIDDEN,), DatabaseForbidden, _LACKS_A_RIGHT),
    (tuple(LIMITS), DatabaseTimedOut, _GAVE_UP),
    (("40001", "40P01"), DatabaseUnavailable, _UNDONE),
    (("53",), DatabaseUnavailable, _OUT_OF_RESOURCES),
)
"""What SQLSTATEs that begin so mean."""

_SQLITE_PRIMARY = 0xFF
"""The low byte of an extended result code of SQLite is its primary one."""


def translate_error(error: BaseException | None, database: str) -> StagingError | None:
    """Return what an error of the driver means in operation.

    Args:
        error: What the driver raised: of psycopg or sqlite3.
        database: The database, as it may be shown.

    Returns:
        The error of the project; None where a wrong statement or value is the cause.
    """
    said = str(error).strip()
    if isinstance(error, sqlite3.Error):
        return _translate_sqlite_error(error, f"database {database}", said)
    state = sqlstate_of(error) or ""
    for states, kind, words in _MEANINGS:
        if state.startswith(states):
            return kind(words.format(database=database, said=said, limit=LIMITS.get(state)))
    if type_names(error).isdisjoint({"OperationalError", "InterfaceError"}):
        return None
    return _does_not_answer(f"database {database}", said)


def sqlstate_of(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of an error of psycopg; None where it has none."""
    state: str | None = getattr(error, "sqlstate", None)
    return state


def type_names(error: BaseException | None) -> set[str]:
    """Return the names of an error's classes; those of PEP 249 are the same in every driver."""
    return {kind.__name__ for kind in type(error).__mro__}


def _translate_sqlite_error(error: Any, database: str, said: str) -> StagingError | None:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & _SQLITE_PRIMARY
    if code == sqlite3.SQLITE_READONLY:
        return DatabaseReadOnly(
            f"{database} takes no writes: {said}; let this user write to the file and its folder"
        )
    if code == sqlite3.SQLITE_ERROR:
        return None  # its name for a wrong statement
    if isinstance(error, sqlite3.OperationalError | sqlite3.InterfaceError):
        return _does_not_answer(database, said)
    return None


def _does_not_answer(database: str, said: str) -> DatabaseUnavailable:
    return DatabaseUnavailable(
        f"{database} does not answer: {said}; check DATABASE_URL and that the server runs"
    )
