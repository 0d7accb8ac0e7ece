"""Local folders for raw files while a run works on them, and the removal of what killed runs left.

Belongs here: making such a folder, and finding out that nobody works in one any more. Does not
belong here: what is put into it.
"""

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
"""A folder this young may be one whose process is about to lock it."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make an empty folder that is removed at the end.

    The first call in a process also removes the folders of processes that were killed. A lock tells
    them apart: the operating system releases it with the process, whatever ended that.
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
    """Remove the scratch folders of this user in which no process works any more.

    Returns:
        What was removed.
    """
    removed = []
    for folder in parent.glob(f"{PREFIX}*"):
        with suppress(OSError):  # another process was faster, or it is not ours to remove
            if folder.stat().st_uid == os.getuid() and _is_abandoned(folder):
                shutil.rmtree(folder)
                removed.append(folder)
    return removed


def _is_abandoned(folder: Path) -> bool:
    from filelock import FileLock, Timeout

    lock = folder / _LOCK
    # Without our lock it is somebody else's, or its process is about to lock it.
    if not lock.exists() or time.time() - folder.stat().st_mtime < _JUST_MADE_S:
        return False
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False
