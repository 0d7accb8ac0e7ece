"""Local copies of large files of a remote lake, by digest, within a bound.

    <folder>/<sha256>       a file's raw bytes

A copy is linked into the scratch folder of the run that reads it, so that it can be removed at any
time. The ones that were not used for longest are removed first.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from ingestion_pipeline.lake.stores import PARTIAL, PARTIAL_KEPT_S

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

_LEAST_BYTES = 1 << 20
"""Smaller files are read from the lake: that takes less than a second."""


class LocalCopies:
    """Copies in one folder of this machine, which all of its processes may share."""

    def __init__(self, folder: Path, *, most_bytes: int, least_bytes: int = _LEAST_BYTES) -> None:
        """Name the folder; it is created with the first copy.

        Args:
            folder: The folder.
            most_bytes: The largest total size of all copies.
            least_bytes: The smallest size of a file that is kept.
        """
        self._folder = folder
        self._most_bytes, self._least_bytes = most_bytes, least_bytes

    def take(self, sha256: str, target: Path) -> bool:
        """Put a copy at a path, if there is a whole one; return whether there is."""
        copy = self._folder / sha256
        try:
            os.utime(copy)  # used now
            _link(copy, target)
        except FileNotFoundError:
            return False
        except OSError as error:
            log.warning("The local copy %s cannot be used (%s)", copy, error.strerror)
            return False
        if _sha256(target) == sha256:
            return True
        log.warning("The local copy %s does not match its digest; it is removed", copy)
        for path in (copy, target):
            path.unlink(missing_ok=True)
        return False

    def keep(self, sha256: str, path: Path) -> None:
        """Keep a copy of a file, and remove old ones to make room.

        A full disk is not an error: the run has its file.
        """
        from filelock import FileLock

        size = path.stat().st_size
        if not self._least_bytes <= size <= self._most_bytes:
            return
        beside = self._folder / f"{sha256}.{uuid.uuid4().hex}{PARTIAL}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self._folder / ".lock"):
                self._make_room(size)
                if path.stat().st_nlink > 1:
                    # A provider's own file, whose time must not change when the copy is used.
                    shutil.copyfile(path, beside)
                else:
                    _link(path, beside)
                beside.replace(self._folder / sha256)
        except OSError as error:
            log.warning("No local copy is kept in %s (%s)", self._folder, error.strerror)
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        copies = []
        for path in self._folder.iterdir():
            with suppress(FileNotFoundError):  # another process removed it
                found = path.stat()
                if path.suffix != PARTIAL and not path.name.startswith("."):
                    copies.append((found.st_mtime, found.st_size, path))
                elif path.suffix == PARTIAL and found.st_mtime < time.time() - PARTIAL_KEPT_S:
                    path.unlink()
        total = sum(each for _, each, _ in copies)
        for _, each, path in sorted(copies):
            if total + size <= self._most_bytes:
                return
            path.unlink(missing_ok=True)
            total -= each


def _link(path: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK):
            raise
        shutil.copyfile(path, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
