"""A lease in the store: one process of a fleet at a time does a piece of work.

    <lake>/locks/<digest of the work>/<number>.json     the holder, and how often it renewed it

A lease is created once, by a conditional write. Its holder renews it from a thread that dies with
its process. A process that waits watches it for changes, by the time that passes on its own
machine, so that clocks may differ. A lease that does not change is dead: the process that creates
the next number holds it from then on.

A holder that was only suspended may go on beside the next one. So a lease must guard work that may
be done twice, such as writing a file that is named by its digest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import threading
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingestion_pipeline.lake.errors import LakeError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_pipeline.lake.stores import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pace:
    """How quickly a lease is renewed and taken over, in seconds.

    Attributes:
        renewed_s: Its holder renews it so often.
        dead_s: It is dead after so long without a change.
        looked_s: How often a process that waits looks at it.
    """

    renewed_s: float = 15
    dead_s: float = 90
    looked_s: float = 3


@contextmanager
def lease(store: Store, what: str, pace: Pace) -> Iterator[None]:
    """Hold the lease of a piece of work; wait while another process holds it.

    Args:
        store: The store that all processes share.
        what: The work; names the lease.
        pace: How quickly it is renewed and taken over.

    Raises:
        LakeError: The store cannot be read or written.
    """
    held = _Lease(store, what, pace)
    number = held.acquire()
    ended = threading.Event()
    renewing = threading.Thread(target=held.renew, args=(number, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        held.release(number)


class _Lease:
    def __init__(self, store: Store, what: str, pace: Pace) -> None:
        self._store, self._what, self._pace = store, what, pace
        self._folder = f"locks/{hashlib.sha256(what.encode()).hexdigest()}"
        self._holder = uuid.uuid4().hex

    def key(self, number: int) -> str:
        return f"{self._folder}/{number:09d}.json"

    def acquire(self) -> int:
        """Create the lease, or the one after a dead one; return its number."""
        watched: tuple[int, bytes] | None = None
        since = time.monotonic()
        while True:
            latest = self._latest()
            if latest is None:
                if self._created(1, after=None):
                    return 1
            elif latest != watched:
                if watched is None:
                    log.info("Waiting: another run has a %s in progress", self._what)
                watched, since = latest, time.monotonic()
            elif time.monotonic() - since >= self._pace.dead_s:
                number = latest[0] + 1
                if self._created(number, after=latest):
                    log.warning("Taking over a %s from a run that ended without a word", self._what)
                    self._store.remove(self.key(latest[0]))
                    return number
            time.sleep(self._pace.looked_s * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load

    def renew(self, number: int, ended: threading.Event) -> None:
        """Renew the lease until the work ends, or another process has taken it over."""
        times = 0
        while not ended.wait(self._pace.renewed_s):
            times += 1
            try:
                if not self._is_own(number):
                    log.warning("Another run took over a %s from this one", self._what)
                    return
                self._store.put(self.key(number), self._content(times))
            except LakeError as error:
                log.warning("The lease of a %s was not renewed: %s", self._what, error)

    def release(self, number: int) -> None:
        """Remove the lease, unless another process has taken it over."""
        with suppress(LakeError):  # otherwise it ends by itself
            if self._is_own(number):
                self._store.remove(self.key(number))

    def _is_own(self, number: int) -> bool:
        latest = self._latest()
        if latest is None or latest[0] != number:
            return False
        return bool(json.loads(latest[1])["holder"] == self._holder)

    def _created(self, number: int, *, after: tuple[int, bytes] | None) -> bool:
        """Create a number; give it up if another process holds the lease."""
        # A request that was repeated, because its answer was lost, finds what it wrote itself.
        if not self._store.create(self.key(number), self._content(0)) and not self._is_own(number):
            return False
        other = self._latest(but=number)
        if other is None or other == after:
            return True
        self._store.remove(self.key(number))
        return False

    def _latest(self, *, but: int | None = None) -> tuple[int, bytes] | None:
        numbers = [number for number in self._numbers() if number != but]
        if not numbers:
            return None
        try:
            return numbers[-1], self._store.read(self.key(numbers[-1]))
        except FileNotFoundError:
            return None

    def _numbers(self) -> list[int]:
        names = self._store.names(self._folder)
        return sorted(int(name.removesuffix(".json")) for name in names if name.endswith(".json"))

    def _content(self, times: int) -> bytes:
        return json.dumps({"holder": self._holder, "renewed": times}).encode()
