"""One at a time, over all processes of the machine: a request to a server, a pass over a file.

Belongs here: the lock. Does not belong here: how long to wait between requests (`overpass.py`).
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def one_request_at_a_time(server: str, *, lock_dir: Path) -> Iterator[None]:
    """Hold the server's lock; wait as long as another process or thread holds it.

    The operating system frees the lock when its holder dies, so nothing can block it for ever.
    The wait is the one thing of the client that no clock can be injected into: it ends when
    another process says so.

    Its holder only asks and reads: a wait before the next request begins after its release.

    Args:
        server: `host:port`.
        lock_dir: The folder of lock files; it must be the same for every process of the machine,
            and on a local disk.
    """
    with one_at_a_time(f"request to {server}", lock_dir=lock_dir):
        yield


@contextmanager
def one_at_a_time(what: str, *, lock_dir: Path) -> Iterator[None]:
    """Hold a lock; wait as long as another process or thread of the machine holds it.

    Args:
        what: What is done under the lock; names it.
        lock_dir: As above.
    """
    import filelock

    lock_dir.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9.]+", "-", what.lower()).strip("-")
    lock = filelock.FileLock(lock_dir / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.info("Waiting until another run's %s has ended", what)
        lock.acquire()
        log.info("It has ended: it is our turn")
    try:
        yield
    finally:
        lock.release()
