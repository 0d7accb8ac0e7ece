"""Locks across all processes of a machine: for requests to a server, for passes over a file."""

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
def one_at_a_time(what: str, *, lock_dir: Path) -> Iterator[None]:
    """Hold a named lock; wait while another process or thread of the machine holds it.

    The operating system releases the lock when its holder dies. This wait cannot be tested with an
    injected clock: another process ends it.

    Args:
        what: The work that needs the lock; names the lock.
        lock_dir: The folder of lock files: local, and the same for every process of the machine.
    """
    import filelock

    lock_dir.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^a-z0-9.]+", "-", what.lower()).strip("-")
    lock = filelock.FileLock(lock_dir / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        log.info("Waiting for the lock: another run has a %s in progress", what)
        lock.acquire()
        log.info("Lock acquired")
    try:
        yield
    finally:
        lock.release()
