"""The leases of runs on a GeoPackage: a locked file for each, in a folder beside it.

The operating system releases the lock when the process ends, so nothing is renewed, no clock
counts, and the GeoPackage is not written. The lock is seen from other containers on the machine
too, where the process is not.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    import sqlalchemy as sa


class FileLease:
    """The lease of a run, held by this process until `end`.

    Attributes:
        token: None: the fence of a claim has nothing to check.
    """

    token = None

    def __init__(self, folder: Path, dagster_run_id: str) -> None:
        """Take the lease.

        Raises:
            OSError: The folder is not writable, or its file system has no locks.
        """
        folder.mkdir(exist_ok=True)
        self._path = folder / dagster_run_id
        # Locked before it has its name, so that no process finds it without its lock.
        nameless = folder / f".{uuid.uuid4()}"
        self._file = nameless.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        nameless.rename(self._path)

    @classmethod
    def taken(cls, engine: sa.Engine, dagster_run_id: str) -> Self | None:
        """Return the lease of a run; None where files cannot be locked."""
        try:
            return cls(_folder(engine), dagster_run_id)
        except OSError:
            return None

    def end(self) -> None:
        """Release the lease, unless another process has taken it."""
        with self._file:
            try:
                if os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                    self._path.unlink()
            except OSError:
                pass  # the folder was removed


def is_live(engine: sa.Engine, dagster_run_id: str) -> bool | None:
    """Return whether a process holds the lease of a run; None if the run has no lease."""
    return _is_locked(_folder(engine) / dagster_run_id)


def all_live(engine: sa.Engine) -> Mapping[str, bool]:
    """Return whether a process holds the lease of each run, by the Dagster run's id."""
    found = {path.name: _is_locked(path) for path in _files(engine)}
    return {run_id: live for run_id, live in found.items() if live is not None}


def forget_ended(engine: sa.Engine, *, kept: timedelta) -> None:
    """Delete the leases of runs that died, and that are older than what is kept."""
    for path in _files(engine):
        if _is_locked(path) is False and time.time() - path.stat().st_mtime > kept.total_seconds():
            path.unlink(missing_ok=True)


def _folder(engine: sa.Engine) -> Path:
    return Path(f"{engine.url.database}.leases")


def _files(engine: sa.Engine) -> list[Path]:
    folder = _folder(engine)
    return [path for path in folder.iterdir() if path.name[0] != "."] if folder.exists() else []


def _is_locked(path: Path) -> bool | None:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    return False
