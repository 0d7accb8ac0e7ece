"""Where the lake's files are: a folder, or any file system of fsspec.

Belongs here: how a file is read, written as a whole, created once, moved, listed and removed. Does
not belong here: what files contain (`snapshots.py`, `frames.py`).

A folder needs no fsspec. An object store (S3 and its like) shows an object as a whole or not at
all, so it is written in place; elsewhere a file is written beside its target and renamed.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

from ingestion_pipeline.core.locations import redacted
from ingestion_pipeline.lake.errors import LakeError, LakeNotConfigured
from ingestion_pipeline.lake.faults import TRANSIENT, code_of, fault_of
from ingestion_pipeline.lake.scratch import scratch_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

PARTIAL = ".part"
PARTIAL_KEPT_S = 86_400

_S3 = frozenset({"s3", "s3a"})
_OBJECT_STORES = _S3 | {"gs", "gcs", "az", "abfs", "abfss", "oss", "oci", "memory"}
"""Protocols of stores that replace an object in one step, and rename by a copy."""

_READ_BLOCK = 1 << 20
_CHUNK = 8 << 20
"""The size of the parts of a large file; four of them are in memory while it is uploaded."""
_PARTS = 4
_MOST_PARTS = 10_000
_READS = 3


@dataclass(frozen=True)
class StoreAccess:
    """How a store is reached; what is None comes from the standard chain of its library.

    Attributes:
        key: The access key of S3.
        secret: Its secret.
        token: The session token, for temporary credentials.
        endpoint: The URL of an S3-compatible store; None for AWS.
        attempts: How often a request is sent before it counts as failed.
        timeout_s: The longest silence of a server, in seconds.
    """

    key: str | None = field(default=None, repr=False)
    secret: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    attempts: int = 5
    timeout_s: float = 60

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may contain."""
        return tuple(filter(None, (self.secret, self.token, self.key)))


class Store(ABC):
    """Files by key, such as `raw/ab/abcd.pbf`."""

    is_local = False

    @abstractmethod
    def address(self, key: str) -> str:
        """Return the place of a key, without credentials."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return a small file's bytes.

        Raises:
            FileNotFoundError: It does not exist.
        """

    @abstractmethod
    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of small files, and None for those that do not exist."""

    @abstractmethod
    def size(self, key: str) -> int:
        """Return the size of a file in bytes.

        Raises:
            FileNotFoundError: It does not exist.
        """

    @abstractmethod
    def opened(self, key: str, *, whole: bool = False) -> Any:
        """Open a file for reading; it is read in blocks.

        Args:
            key: Its key.
            whole: Whether all of it is read, which takes larger blocks.

        Raises:
            FileNotFoundError: It does not exist.
        """

    @abstractmethod
    @contextmanager
    def written(self, key: str, *, once: bool = False) -> Iterator[Any]:
        """Open a file for writing; it appears when it is complete, or not at all.

        Args:
            key: Its key.
            once: Leave an existing file, where the store can tell; its content is known to be
                equal.
        """
        yield

    @abstractmethod
    def put(self, key: str, content: bytes) -> None:
        """Write a small file."""

    @abstractmethod
    def create(self, key: str, content: bytes) -> bool:
        """Write a small file unless it exists; return whether it was written."""

    @abstractmethod
    def move(self, key: str, target: str, content: bytes) -> None:
        """Give a small file with this content another key; a reader always finds one of them."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; empty where it does not exist."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove a file, if it exists."""

    @abstractmethod
    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all its files, if it exists."""


class FolderStore(Store):
    """A folder of this machine, or one that it mounts."""

    is_local = True

    def __init__(self, root: Path) -> None:
        """Name the folder; it is created with the first file."""
        self._root = root

    def address(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self._root}/{key}"

    def read(self, key: str) -> bytes:
        """Return a small file's bytes."""
        return self._path(key).read_bytes()

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of small files, and None for those that do not exist."""
        return [_unless_missing(self.read, key) for key in keys]

    def size(self, key: str) -> int:
        """Return the size of a file in bytes."""
        return self._path(key).stat().st_size

    def opened(self, key: str, *, whole: bool = False) -> Any:  # noqa: ARG002
        """Open a file for reading."""
        return self._path(key).open("rb")

    @contextmanager
    def written(self, key: str, *, once: bool = False) -> Iterator[Any]:  # noqa: ARG002
        """Write beside the target and rename."""
        target = self._path(key)
        beside = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PARTIAL}")
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_partial(target.parent)
        try:
            with beside.open("wb") as stored:
                yield stored
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)

    def put(self, key: str, content: bytes) -> None:
        """Write a small file."""
        with self.written(key) as stored:
            stored.write(content)

    def create(self, key: str, content: bytes) -> bool:
        """Write a small file unless it exists; return whether it was written."""
        target = self._path(key)
        beside = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PARTIAL}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(content)
            os.link(beside, target)
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
        return True

    def move(self, key: str, target: str, content: bytes) -> None:  # noqa: ARG002
        """Rename a file."""
        self._path(key).replace(self._path(target))

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; empty where it does not exist."""
        try:
            return sorted(path.name for path in self._path(folder).iterdir())
        except FileNotFoundError:
            return []

    def remove(self, key: str) -> None:
        """Remove a file, if it exists."""
        self._path(key).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all its files, if it exists."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._path(folder))

    def _path(self, key: str) -> Path:
        return self._root / key


class RemoteStore(Store):
    """Any file system of fsspec; errors of its library come out as errors of the lake."""

    def __init__(self, url: str, access: StoreAccess) -> None:
        """Choose the file system; nothing is requested yet.

        Args:
            url: An fsspec URL such as `s3://bucket/prefix`.
            access: How it is reached.

        Raises:
            LakeNotConfigured: No file system is installed for the URL.
        """
        import fsspec

        self._url = redacted(url).rstrip("/")
        self._access = access
        protocol = url.partition("://")[0]
        self._is_s3 = protocol in _S3
        self._renames = protocol not in _OBJECT_STORES
        options = _options_of_s3(access) if self._is_s3 else {}
        try:
            self._filesystem, root = fsspec.core.url_to_fs(url, **options)
        except (ImportError, ValueError) as error:
            # The URL may hold credentials, and the error's own text the URL.
            raise LakeNotConfigured(
                f"No file system for DATA_DIR ({type(error).__name__}). Check the scheme of the "
                "URL, and install the package that fsspec needs for it (the extra `s3` for s3://, "
                "gcsfs for gs://, ...)."
            ) from None
        if self._is_s3:
            _repeat_reading(self._filesystem)
        self._root: str = root.rstrip("/")

    def address(self, key: str) -> str:
        """Return the URL of a key, without credentials."""
        return f"{self._url}/{key}"

    def read(self, key: str) -> bytes:
        """Return a small file's bytes: one request."""
        with self._reached(key):
            content: bytes = self._filesystem.cat_file(self._path(key))
            return content

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Return the bytes of small files, and None for those that do not exist."""
        paths = list(map(self._path, keys))
        with self._reached(posixpath.dirname(keys[0]) if keys else ""):
            found = self._filesystem.cat_ranges(paths, None, None, on_error="return")
        return [self._content(key, content) for key, content in zip(keys, found, strict=True)]

    def _content(self, key: str, content: bytes | BaseException) -> bytes | None:
        if isinstance(content, bytes):
            return content
        with suppress(FileNotFoundError), self._reached(key):
            raise content
        return None

    def size(self, key: str) -> int:
        """Return the size of a file in bytes."""
        with self._reached(key):
            return int(self._filesystem.size(self._path(key)))

    def opened(self, key: str, *, whole: bool = False) -> Any:
        """Open a file for reading; each block is a request that is repeated if it fails."""
        block = _CHUNK if whole else _READ_BLOCK
        with self._reached(key):
            file = self._filesystem.open(self._path(key), "rb", block_size=block)
        return _Reached(file, lambda: self._reached(key))

    @contextmanager
    def written(self, key: str, *, once: bool = False) -> Iterator[Any]:
        """Write to local disk, and upload the complete file."""
        with scratch_folder() as folder:
            local = folder / "written"
            with local.open("wb") as stored:
                yield stored
            with self._reached(key):
                self._upload(local, key, once=once)

    def put(self, key: str, content: bytes) -> None:
        """Write a small file."""
        if self._renames:
            with self.written(key) as stored:
                stored.write(content)
            return
        with self._reached(key):
            self._filesystem.pipe_file(self._path(key), content)

    def create(self, key: str, content: bytes) -> bool:
        """Write a small file unless it exists; return whether it was written.

        A store without conditional writes is asked first. Two processes may then both write.
        """
        with self._reached(key):
            try:
                if self._renames:
                    self._make_folder(key)
                self._filesystem.pipe_file(self._path(key), content, mode="create")
            except FileExistsError:
                return False
            except (NotImplementedError, TypeError, ValueError):
                pass
            except OSError as error:
                if code_of(error) in _EXISTS | _CONFLICT:
                    return False
                if code_of(error) not in _WITHOUT_CONDITIONS:
                    raise
            else:
                return True
            if self._filesystem.exists(self._path(key)):
                return False
            self.put(key, content)
            return True

    def move(self, key: str, target: str, content: bytes) -> None:
        """Write the new key, then remove the old one."""
        if self._renames:
            with self._reached(key):
                self._filesystem.mv(self._path(key), self._path(target))
            return
        self.put(target, content)
        self.remove(key)

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; empty where it does not exist."""
        path = self._path(folder)
        try:
            with self._reached(folder):
                if self._is_s3:
                    listed = _listed_by_s3(self._filesystem, path)
                else:
                    self._filesystem.invalidate_cache(path)  # others write to the lake
                    listed = self._filesystem.ls(path, detail=False)
        except FileNotFoundError:
            return []
        return sorted(posixpath.basename(each.rstrip("/")) for each in listed)

    def remove(self, key: str) -> None:
        """Remove a file, if it exists."""
        with self._reached(key), suppress(FileNotFoundError):
            self._filesystem.rm_file(self._path(key))

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all its files, if it exists."""
        with self._reached(folder), suppress(FileNotFoundError):
            self._filesystem.rm(self._path(folder), recursive=True)

    def _upload(self, local: Path, key: str, *, once: bool) -> None:
        path = self._path(key)
        if self._renames:
            self._make_folder(key)
            beside = f"{path}.{uuid.uuid4().hex}{PARTIAL}"
            try:
                self._filesystem.put_file(str(local), beside)
                self._filesystem.mv(beside, path)
            finally:
                if self._filesystem.exists(beside):
                    self._filesystem.rm_file(beside)
            return
        if not self._is_s3:
            self._filesystem.put_file(str(local), path)
            return
        size = local.stat().st_size
        parts = {"chunksize": max(_CHUNK, -(-size // _MOST_PARTS)), "max_concurrency": _PARTS}
        try:
            self._filesystem.put_file(
                str(local), path, mode="create" if once else "overwrite", **parts
            )
        except FileExistsError:
            return  # another process wrote equal content
        except OSError as error:
            if once and code_of(error) in _EXISTS:
                return
            if not once or code_of(error) not in _WITHOUT_CONDITIONS | _CONFLICT:
                raise
            self._filesystem.put_file(str(local), path, **parts)

    def _make_folder(self, key: str) -> None:
        self._filesystem.makedirs(posixpath.dirname(self._path(key)), exist_ok=True)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    @contextmanager
    def _reached(self, key: str) -> Iterator[None]:
        """Raise errors of the store as errors of the lake; a missing file stays one.

        Raises:
            FileNotFoundError: There is no such file.
            LakeError: The store cannot be used, or does not answer.
        """
        try:
            yield
        except LakeError:
            raise
        except Exception as error:
            if not isinstance(error, OSError) and not _is_of_library(error):
                raise
            fault = fault_of(error)
            if fault is None and isinstance(error, FileNotFoundError):
                raise
            raise (fault or TRANSIENT).raised(
                self.address(key), error, secrets=self._access.secrets
            ) from None


class _Reached:
    """A file of a store that is read in blocks."""

    def __init__(self, file: Any, reached: Callable[[], Any]) -> None:
        self._file, self._reached = file, reached

    def read(self, size: int = -1, /) -> bytes:
        with self._reached():
            content: bytes = self._file.read(size)
            return content

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def close(self) -> None:
        self._file.close()

    def flush(self) -> None:
        """Do nothing: Arrow calls it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_store(url: str, access: StoreAccess) -> Store:
    """Return the store of a path or an fsspec URL; nothing is written or requested yet.

    Raises:
        LakeNotConfigured: No file system is installed for the URL.
    """
    if "://" not in url:
        return FolderStore(Path(url))
    if urlsplit(url).scheme in ("file", "local"):
        return FolderStore(Path(unquote(url.partition("://")[2])))
    return RemoteStore(url, access)


def _options_of_s3(access: StoreAccess) -> dict[str, Any]:
    return {
        "key": access.key,
        "secret": access.secret,
        "token": access.token,
        "endpoint_url": access.endpoint,
        "use_listings_cache": False,  # other processes write to the lake
        "max_concurrency": 1,  # a small file is one request
        "config_kwargs": {
            "connect_timeout": 10,
            "read_timeout": access.timeout_s,
            # Backs off exponentially, with jitter; `s3fs` repeats what breaks while it is read.
            "retries": {"mode": "standard", "total_max_attempts": access.attempts},
        },
    }


def _listed_by_s3(filesystem: Any, path: str) -> list[str]:
    """Return the keys of a folder; `S3FileSystem.ls` lists the parent too if it is empty."""
    bucket, folder, _ = filesystem.split_path(path)
    asked = {"Bucket": bucket, "Prefix": f"{folder}/", "Delimiter": "/"}
    listed: list[str] = []
    while True:
        page = filesystem.call_s3("list_objects_v2", **asked)
        listed += [each["Key"] for each in page.get("Contents", ())]
        listed += [each["Prefix"] for each in page.get("CommonPrefixes", ())]
        if not page.get("IsTruncated"):
            return listed
        asked["ContinuationToken"] = page["NextContinuationToken"]


def libraries_of(url: str) -> tuple[str, ...]:
    """Return the modules that access to a lake imports, beside those that every run needs."""
    is_s3 = url.partition("://")[0] in _S3
    return ("s3fs", "aiobotocore.session", "botocore.handlers") if is_s3 else ()


def _repeat_reading(filesystem: Any) -> None:
    """Let s3fs repeat a read that breaks off or does not match its checksum, three times in all.

    It repeats requests beside botocore, which has repeated them already.
    """
    filesystem.retries = _READS
    _repeat_wrong_checksums()


@cache
def _repeat_wrong_checksums() -> None:
    from botocore.exceptions import FlexibleChecksumError
    from s3fs.core import add_retryable_error

    add_retryable_error(FlexibleChecksumError)


_EXISTS = frozenset({"PreconditionFailed", "412"})
"""Answers to a conditional write where the file exists; s3fs knows them only of AWS."""

_WITHOUT_CONDITIONS = frozenset({"NotImplemented", "501"})
"""Answers to a conditional write of stores that have none."""

_CONFLICT = frozenset({"ConditionalRequestConflict", "409"})
"""Answers to a conditional write while another one is in progress."""


_LIBRARIES = frozenset(
    {"botocore", "aiobotocore", "aiohttp", "s3fs", "fsspec", "gcsfs", "google", "adlfs", "azure"}
    | {"paramiko", "requests", "ossfs", "oci", "smbprotocol"}
)
"""Packages of file systems; their errors are not all `OSError`s."""


def _is_of_library(error: Exception) -> bool:
    return any(each.__module__.partition(".")[0] in _LIBRARIES for each in type(error).__mro__)


def _unless_missing(read: Callable[[str], bytes], key: str) -> bytes | None:
    try:
        return read(key)
    except FileNotFoundError:
        return None


def _remove_partial(folder: Path) -> None:
    """Remove the partial files that killed processes left behind."""
    oldest = time.time() - PARTIAL_KEPT_S
    for path in folder.glob(f"*{PARTIAL}"):
        with suppress(FileNotFoundError):  # another process removed it
            if path.stat().st_mtime < oldest:
                path.unlink()
