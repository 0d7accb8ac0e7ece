"""Scratch folders for raw files, and the removal of those that killed processes left behind."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "poi-ingest-scratch-"

_LOCK = "in-use.lock"
_JUST_MADE_S = 60
"""The process of a folder this young may not have locked it yet."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Create an empty folder, and remove it at the end.

    The first call in a process also removes the folders of killed processes: the operating system
    has released their locks.
    """
    from filelock import FileLock

    _remove_abandoned_once()
    with TemporaryDirectory(prefix=PREFIX) as name, FileLock(Path(name) / _LOCK):
        folder = Path(name) / "files"
        folder.mkdir()
        yield folder


@cache
def _remove_abandoned_once() -> None:
    remove_abandoned(Path(tempfile.gettempdir()))


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove this user's scratch folders that no process uses; return them."""
    removed = []
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process removed it, or this user may not
            if folder.stat().st_uid == os.getuid() and _is_abandoned(folder):
                shutil.rmtree(folder)
                removed.append(folder)
    return removed


def _is_abandoned(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    lock = folder / _LOCK
    if not lock.exists() or time.time() - folder.stat().st_mtime < _JUST_MADE_S:
        return False
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False
