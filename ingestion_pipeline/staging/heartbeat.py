"""The heartbeat of a run: threads that renew its lease, and end its process if they cannot.

The threads die with the process. A process that hangs while they go on is ended by Dagster's limit
of the run time. The rules of leases are in `leases.py`.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from ingestion_pipeline.staging import leases
from ingestion_pipeline.staging.database import create_engine
from ingestion_pipeline.staging.errors import StagingError

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

EX_TEMPFAIL = 75
"""The exit code of a process that lost its lease: a later run may succeed."""

RETRIES_PER_BEAT = 5
"""After a failure, the next try comes after this part of the time between beats."""

_ENDS_WAITING = {
    "tcp_user_timeout": "10000",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
}
"""Parameters of libpq that end the wait for a server that is cut off, in about 10 s."""


def end_process(why: str) -> None:
    """End this process at once, as if it were killed.

    Nothing else is sure to stop the work within the lease: an exception waits for the return of
    the call that it interrupts, and the end of a run that is written later than its successor
    begins would be the end of the wrong one.
    """
    # Not by a logger: its lock, and Dagster's storage behind it, may be what hangs.
    with suppress(OSError):
        os.write(2, f"{why}\n".encode())
    os._exit(EX_TEMPFAIL)


class Heartbeat:
    """The lease of a run, held by this process until `end`.

    One thread renews it, on a connection of its own for each beat: the other connections may be in
    the middle of a long statement, and a connection that stays open may belong to a server that is
    no longer the primary one. Another thread ends the process when the lease ends, even while the
    first one waits for an answer.

    Attributes:
        token: Identifies this holder; a claim has it too.
    """

    def __init__(
        self,
        engine: sa.Engine,
        dagster_run_id: str,
        *,
        beat_s: float,
        lease_s: float,
        on_lost: Callable[[str], None] = end_process,
    ) -> None:
        """Prepare the heartbeat of a run; it starts with `begin`.

        Args:
            engine: The database of the run, with its password; not a GeoPackage.
            dagster_run_id: The run.
            beat_s: The time between two beats, in seconds.
            lease_s: The length of the lease, in seconds.
            on_lost: Called once in a thread, with the reason, if the lease ends before the run.
        """
        self.token = str(uuid.uuid4())
        self._engine = engine
        self._run_id = dagster_run_id
        self._beat_s = beat_s
        self._lease_s = lease_s
        self._on_lost = on_lost
        self._ended = threading.Event()
        self._ends_at = 0.0
        self._losing = threading.Lock()

    def begin(self) -> None:
        """Take the lease and start the threads.

        Raises:
            DatabaseUnavailable: The database cannot be reached; nothing has started.
        """
        self._ends_at = _now() + self._lease_s
        leases.take(self._engine, self._run_id, token=self.token, seconds=self._lease_s)
        for work in (self._beat, self._watch):
            threading.Thread(target=work, name=f"lease{work.__name__}", daemon=True).start()

    def end(self) -> None:
        """Stop the threads and release the lease."""
        self._ended.set()
        with suppress(StagingError):  # it ends by itself
            leases.release(self._engine, self._run_id, token=self.token)

    def _beat(self) -> None:
        engine: sa.Engine | None = None
        wait = self._beat_s
        while not self._ended.wait(wait):
            wait = self._beat_s
            ends_at = _now() + self._lease_s
            try:
                engine = engine or _connecting(self._engine)
                held = leases.renew(engine, self._run_id, token=self.token, seconds=self._lease_s)
            except Exception:  # noqa: BLE001 - after any error the lease goes on until its end
                wait = self._beat_s / RETRIES_PER_BEAT
                continue
            finally:
                if engine is not None:
                    engine.dispose()
            if not held:
                self._lose("it has ended by the database's clock, or another process has taken it")
                return
            self._ends_at = ends_at

    def _watch(self) -> None:
        while (rest := self._ends_at - _now()) > 0:
            if self._ended.wait(rest):
                return
        self._lose(f"it could not be renewed for {self._lease_s:g} s")

    def _lose(self, reason: str) -> None:
        with self._losing:
            if self._ended.is_set():
                return
            self._ended.set()
        self._on_lost(
            f"Run {self._run_id} has lost its lease: {reason}. Its process ends, because another "
            "run may take over. Check the database and the network of this machine."
        )


def _connecting(engine: sa.Engine) -> sa.Engine:
    """Return an engine for the same database, with timeouts, that has one connection at most."""
    url = engine.url.update_query_dict(
        {name: value for name, value in _ENDS_WAITING.items() if name not in engine.url.query}
    )
    return create_engine(url.render_as_string(hide_password=False), service_connections=1)


def _now() -> float:
    """Return a clock that is never set, and that counts the time in which a machine sleeps."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)
