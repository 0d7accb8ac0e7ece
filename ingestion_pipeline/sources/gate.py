"""Admits requests to upstream servers: one at a time for each server, and within its day's budget.

All workers of a PostgreSQL database share its leases and its usage (`staging/upstream.py`). With a
GeoPackage, which one machine uses, a file lock takes the place of the lease.

A lease ends if its holder cannot renew it, and another worker may then ask the server. So a holder
that has not renewed in time ends its own request first, by this machine's steady clock: the clock
starts before the lease is asked for, so it never ends later than the database's lease.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from abc import ABC, abstractmethod
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.core.file_lock import one_at_a_time
from ingestion_pipeline.osm.errors import UpstreamBudgetSpent
from ingestion_pipeline.staging import upstream
from ingestion_pipeline.staging.errors import StagingError
from ingestion_pipeline.staging.upstream import Budget, BudgetSpentError, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    import sqlalchemy as sa

    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.staging.upstream import Usage

log = logging.getLogger(__name__)


class Terms(NamedTuple):
    """The times of a lease, in seconds.

    Attributes:
        lasts_s: How long it lasts after it was taken or renewed.
        renewal_s: The time between two renewals.
        margin_s: How long before its end a holder ends its request.
    """

    lasts_s: float = 60.0
    renewal_s: float = 15.0
    margin_s: float = 10.0


DEFAULT_TERMS = Terms()

FIRST_LOOK_S = 0.05
LONGEST_LOOK_S = 0.5
"""The waits between two tries to get a lease, which grow."""


def budgets_of(settings: Settings) -> Mapping[str, Budget]:
    """Return the budget of each server of a kind of source."""
    return {
        "overpass": Budget(settings.overpass_daily_requests, settings.overpass_daily_bytes),
        "extract": Budget(settings.extract_daily_requests, settings.extract_daily_bytes),
    }


class Turn:
    """The right to send one request to a server; `lose` may be called by another thread."""

    def __init__(self) -> None:
        """Begin with nothing received."""
        self.received_bytes = 0
        self.lost: str | None = None
        self._abort: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def received(self, number: int) -> None:
        """Count bytes of the response, as they came over the network."""
        self.received_bytes += number

    def abort_by(self, abort: Callable[[], None]) -> None:
        """Set what ends the request; called at once if the right is lost already."""
        with self._lock:
            self._abort = abort
        if self.lost is not None:
            abort()

    def lose(self, why: str) -> None:
        """End the request, because the right to send it has ended."""
        with self._lock:
            self.lost = self.lost or why
            abort = self._abort
        if abort is not None:
            abort()


class Gate(ABC):
    """Admits requests."""

    @abstractmethod
    def request(self, server: Server) -> AbstractContextManager[Turn]:
        """Let one request be sent while no other worker sends one to this server.

        The request has to end with the block. Waits belong outside of it.

        Raises:
            UpstreamBudgetSpent: The server must not be asked any more today.
            DatabaseUnavailable: The database cannot be reached.
        """

    @abstractmethod
    def download(self, server: Server) -> AbstractContextManager[Turn]:
        """Let a file be downloaded, beside other requests to its server.

        Raises:
            UpstreamBudgetSpent: The server must not be asked any more today.
            DatabaseUnavailable: The database cannot be reached.
        """

    @abstractmethod
    def pause(self, server: Server, seconds: float) -> None:
        """Record that a server has no slot for some time, so that no further run begins for it."""

    @abstractmethod
    def alone(self, what: str) -> AbstractContextManager[None]:
        """Let no other worker do the named work meanwhile, as far as this worker can be seen.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """


class LocalGate(Gate):
    """Admits requests of one machine by file locks, and counts none."""

    def __init__(self, lock_dir: Path) -> None:
        """Use a folder of lock files, the same for every process of the machine."""
        self._lock_dir = lock_dir

    @contextmanager
    def request(self, server: Server) -> Iterator[Turn]:
        """Hold the lock of the server; see `Gate.request`."""
        with self.alone(f"request to {server.name}"):
            yield Turn()

    @contextmanager
    def download(self, server: Server) -> Iterator[Turn]:  # noqa: ARG002 - none is counted
        """Admit every download."""
        yield Turn()

    def pause(self, server: Server, seconds: float) -> None:
        """Record nothing."""

    def alone(self, what: str) -> AbstractContextManager[None]:
        """Hold a file lock."""
        return one_at_a_time(what, lock_dir=self._lock_dir)


class DatabaseGate(Gate):
    """Admits requests of all workers of a database, and counts them."""

    def __init__(
        self,
        engine: Callable[[], sa.Engine],
        *,
        clock: Clock,
        lock_dir: Path,
        worker: str,
        budgets: Mapping[str, Budget],
        terms: Terms = DEFAULT_TERMS,
    ) -> None:
        """Store the configuration; nothing is connected yet.

        Args:
            engine: Returns the database.
            clock: The clock of this machine, by which usage in a GeoPackage is counted.
            lock_dir: The folder of lock files of this machine, used with a GeoPackage.
            worker: This process, for people.
            budgets: The budget of each server of a kind of source; without limits by default.
            terms: The times of leases.
        """
        self._engine = engine
        self._clock = clock
        self._local = LocalGate(lock_dir)
        self._worker = worker
        self._budgets = budgets
        self._terms = terms

    @contextmanager
    def request(self, server: Server) -> Iterator[Turn]:
        """Hold the lease, or the lock, of the server, and count the request."""
        if not self._has_leases:
            with self._local.request(server) as turn, self._counted(server, turn):
                yield turn
            return
        asked = (server, self._budget(server))
        with self._leased(f"request to {server.name}", asked=asked) as lease:
            yield lease.turn

    @contextmanager
    def download(self, server: Server) -> Iterator[Turn]:
        """Count the download."""
        turn = Turn()
        with self._counted(server, turn):
            yield turn

    def pause(self, server: Server, seconds: float) -> None:
        """Store the pause; see `Gate.pause`. A database that cannot be reached is logged."""
        now = None if self._has_leases else self._clock.now()
        lasts = timedelta(seconds=seconds)
        try:
            upstream.pause(self._engine(), server, lasts, worker=self._worker, now=now)
        except StagingError as error:  # runs that begin meanwhile are refused, and wait as this one
            log.warning("The pause of %s was not recorded: %s", server.name, error)

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Hold a lease, or a file lock."""
        held = self._leased(what) if self._has_leases else self._local.alone(what)
        with held:
            yield

    @property
    def _has_leases(self) -> bool:
        return self._engine().dialect.name == "postgresql"

    def _budget(self, server: Server) -> Budget:
        return self._budgets.get(server.source, Budget())

    @contextmanager
    def _counted(self, server: Server, turn: Turn) -> Iterator[None]:
        """Count a request, and its bytes while they come."""
        now = None if self._has_leases else self._clock.now()
        with self._within_budget():
            upstream.count_request(self._engine(), server, self._budget(server), now=now)
        with _Keeper(turn, self._terms, count=_Count(self, server, turn)):
            yield

    @contextmanager
    def _leased(self, what: str, *, asked: tuple[Server, Budget] | None = None) -> Iterator[_Lease]:
        """Hold a lease; wait while others hold it or have waited longer."""
        lease = _Lease(self._engine(), what, self._worker, self._terms)
        try:
            with self._within_budget():
                lease.wait_for(asked)
            count = _Count(self, asked[0], lease.turn) if asked else None
            with _Keeper(lease.turn, self._terms, lease.renew, count=count), lease.watched():
                yield lease
        finally:
            lease.give_back()

    @contextmanager
    def _within_budget(self) -> Iterator[None]:
        try:
            yield
        except BudgetSpentError as error:
            raise self._spent(error) from None

    def _spent(self, error: BudgetSpentError) -> UpstreamBudgetSpent:
        usage = error.usage
        budget = self._budgets[usage.source]
        prefix = f"{usage.source.upper()}_DAILY"
        spent = UpstreamBudgetSpent(
            f"The budget of {usage.day} (UTC) is spent: {sentence_on_usage(usage, budget)}. "
            "Nothing was requested. Run the partition again when that day has ended in UTC, raise "
            f"{prefix}_REQUESTS or {prefix}_BYTES if the server's operator allows it, or use "
            "another server or an extract."
        )
        spent.retry_after_s = error.seconds_left
        return spent

    def count_bytes(self, server: Server, number: int) -> None:
        """Count received bytes.

        Raises:
            DatabaseUnavailable: The database cannot be reached.
        """
        now = None if self._has_leases else self._clock.now()
        upstream.count_bytes(self._engine(), server, number, now=now)


def sentence_on_usage(usage: Usage, budget: Budget) -> str:
    """Return a sentence on what a server was asked for, and on its limits."""
    requests, received = (
        f"{number:,} of {limit:,}" if limit else f"{number:,}"
        for number, limit in ((usage.requests, budget.requests), (usage.bytes, budget.bytes))
    )
    return f"{usage.server} was sent {requests} requests, and {received} bytes were received"


class _Lease:
    """One lease, from the wait for it until it is returned."""

    def __init__(self, engine: sa.Engine, name: str, worker: str, terms: Terms) -> None:
        self.turn = Turn()
        self._terms = terms
        self._lasts = timedelta(seconds=terms.lasts_s)
        self._engine = engine
        self._name = name
        self._worker = worker
        self._holder = str(uuid.uuid4())
        self._ends_at = 0.0
        self._returned = threading.Event()

    def wait_for(self, asked: tuple[Server, Budget] | None) -> None:
        """Take the lease as soon as it is this worker's turn.

        Raises:
            BudgetSpentError: The server must not be asked any more today.
            DatabaseUnavailable: The database cannot be reached.
        """
        pause, is_logged = FIRST_LOOK_S, False
        while True:
            begins_at = _steady()
            if upstream.take_lease(
                self._engine,
                self._name,
                holder=self._holder,
                worker=self._worker,
                lasts=self._lasts,
                asked=asked,
            ):
                break
            if not is_logged:
                log.info("Waiting for the lease: another run has a %s in progress", self._name)
                is_logged = True
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_LOOK_S)
        if is_logged:
            log.info("Lease acquired")
        self._extend(begins_at)

    def renew(self) -> None:
        """Renew the lease; end the request if another worker has it."""
        begins_at = _steady()
        if upstream.renew_lease(self._engine, self._name, holder=self._holder, lasts=self._lasts):
            self._extend(begins_at)
        else:
            self.turn.lose("its lease had ended, and another worker may ask the server")

    @contextmanager
    def watched(self) -> Iterator[None]:
        """End the request in time if the lease is not renewed."""
        watch = threading.Thread(target=self._watch, name="lease-watch", daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._returned.set()
            watch.join()

    def give_back(self) -> None:
        """Return the lease if it is held; it ends by itself if the database does not answer."""
        if self.turn.lost is not None:
            return
        try:
            upstream.return_lease(self._engine, self._name, holder=self._holder)
        except StagingError as error:
            log.warning("The lease of the %s was not returned: %s", self._name, error)

    def _extend(self, begins_at: float) -> None:
        self._ends_at = begins_at + self._terms.lasts_s - self._terms.margin_s

    def _watch(self) -> None:
        while not self._returned.wait(max(0.0, self._ends_at - _steady())):
            if _steady() >= self._ends_at:
                self.turn.lose("its lease could not be renewed in time")
                return


def _steady() -> float:
    """Return seconds of a clock that is never set, and that runs while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class _Count:
    """The received bytes of a request that are counted in the database."""

    def __init__(self, gate: DatabaseGate, server: Server, turn: Turn) -> None:
        self._gate = gate
        self._server = server
        self._turn = turn
        self._counted = 0

    def store(self) -> None:
        """Count what was received since the last call."""
        new = self._turn.received_bytes - self._counted
        if new:
            self._gate.count_bytes(self._server, new)
            self._counted += new


class _Keeper:
    """Renews a lease and counts bytes while a request is under way, in a thread of its own."""

    def __init__(
        self,
        turn: Turn,
        terms: Terms,
        renew: Callable[[], None] = lambda: None,
        *,
        count: _Count | None,
    ) -> None:
        self._turn = turn
        self._terms = terms
        self._steps = [renew, *([count.store] if count else [])]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # In a database that does not answer it may hang, and then ends with this process.
        self._thread.join(timeout=1.0 if self._turn.lost is None else 0.0)
        if not self._thread.is_alive() and self._turn.lost is None:
            self._try(self._steps[1:])

    def _keep(self) -> None:
        while not self._over.wait(self._terms.renewal_s):
            self._try(self._steps)

    @staticmethod
    def _try(steps: Iterable[Callable[[], None]]) -> None:
        try:
            for step in steps:
                step()
        except StagingError as error:
            log.warning("The database cannot be reached during a request to a server: %s", error)
