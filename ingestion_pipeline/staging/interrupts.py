"""Connections to PostgreSQL whose statement is canceled when their thread is interrupted.

Dagster interrupts a run by an exception of its own. psycopg cancels the statement only for
KeyboardInterrupt: otherwise the statement continues in the server, with its locks, for as long as
it waits for another transaction, and the next call on the connection fails with an error that
hides the interruption. Imported when a connection is opened, because psycopg is.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from psycopg.abc import RV, PQGen

CANCEL_SECONDS = 5.0
"""How long to wait until the server has received that a statement is canceled."""


class InterruptibleConnection(psycopg.Connection[Any]):
    """A connection that handles every interruption as psycopg handles Ctrl-C."""

    def wait(self, gen: PQGen[RV], *args: Any, **kwargs: Any) -> RV:
        """Wait for the server; if it is interrupted, cancel the statement first."""
        try:
            return super().wait(gen, *args, **kwargs)
        except (Exception, KeyboardInterrupt, SystemExit):
            raise  # of the server, or handled by psycopg
        except BaseException:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self._cancel(gen)
            raise

    def _cancel(self, gen: PQGen[Any]) -> None:
        """Cancel the statement and read its end; or close the connection."""
        try:
            self.cancel_safe(timeout=CANCEL_SECONDS)
        except psycopg.Error:
            self.pgconn.finish()
            return
        with suppress(psycopg.Error):  # that it was canceled
            super().wait(gen)
