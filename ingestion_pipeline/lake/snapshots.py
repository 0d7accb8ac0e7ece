"""Raw snapshots: the bytes that upstream sent, kept as they came, and a manifest for each day.

Belongs here: content-addressed blobs and manifests on any fsspec URL. Does not belong here: where
bytes come from (`osm/`), and frames (`frames.py`).

    <lake>/raw/<2 hex>/<sha256>.json.zst        raw bytes, Zstandard; named by the raw bytes' digest
    <lake>/raw/<2 hex>/<sha256>.pbf             bytes that are compressed already, as they are
                                                (.gz and .bz2, too)
    <lake>/extracts/<sha256 of the location>.json   what was fetched from there last
    <lake>/snapshots/<dataset>/<city>/<boundary>/<day>.json     the manifest that stands for the day
                                                <day>.candidate.json            one still on trial
                                                <day>.refused-<12 hex>.json     one that failed it
                                                <day>.failed.json   why it gave none when last asked
                                                <day>.trials.json   which runs began to read it
                                                <day>.asked.json    which run asked a feed last

A manifest is written last, for bytes that passed every check of their source, as a candidate. When
they have been read and found good, it is accepted and stands for the day in the old one's place;
otherwise it is refused, and the one that stood for the day stands on. The bytes stay in any case.
Blobs without a manifest are leftovers of a run that failed; they are never read.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.core.evidence import Coverage, SnapshotEvidence
from ingestion_pipeline.lake.errors import (
    BytesChanged,
    LakeNotConfigured,
    LakeUnavailable,
    SnapshotDamaged,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MANIFEST_VERSION = 1

_CHUNK_BYTES = 1 << 20
_COMPRESSED = (".pbf", ".gz", ".bz2")
_PARTIAL = ".part"
_PARTIAL_KEPT_S = 86_400


@dataclass(frozen=True)
class Part:
    """One file of raw bytes.

    Attributes:
        sha256: Digest of the raw bytes, hexadecimal.
        raw_bytes: Their number.
        stored_bytes: How many bytes they take in the lake.
        key: Where in the lake they are.
        query: What was sent to get them, or None.
        requested_at: When it was asked for (UTC).
        received_at: When the last byte had come (UTC).
    """

    sha256: str
    raw_bytes: int
    stored_bytes: int
    key: str
    query: str | None
    requested_at: datetime
    received_at: datetime


@dataclass(frozen=True, kw_only=True)
class Manifest(SnapshotEvidence):
    """What is known of the raw bytes of one city-day.

    Attributes:
        dataset: `poi`, `helper`, or `feed-<slug>`.
        city_slug: The tenant.
        boundary_ref: The city's boundary, as in the idempotency key.
        day: The UTC day that the bytes stand for.
        bbox: The window that was asked for: west, south, east, north in WGS84 degrees.
        selection: Digest of the selection that was asked for; of a feed, of its place and its rule
            of time.
        parts: The files, in order.
    """

    dataset: str
    city_slug: str
    boundary_ref: str
    day: date
    bbox: tuple[float, float, float, float]
    selection: str
    parts: tuple[Part, ...]

    def __str__(self) -> str:
        """Name the city-day."""
        return f"{self.city_slug} ({self.dataset}) on {self.day}"

    @property
    def digest(self) -> str:
        """The digest of the raw bytes: the file's own, or that of the parts' digests in order."""
        if len(self.parts) == 1:
            return self.parts[0].sha256
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()

    @property
    def raw_bytes(self) -> int:
        """The number of raw bytes."""
        return sum(part.raw_bytes for part in self.parts)

    @property
    def fetched_at(self) -> datetime:
        """When the last byte had come (UTC)."""
        return max(part.received_at for part in self.parts)


@dataclass(frozen=True)
class Failure:
    """Why a source gave no snapshot of a day when it was last asked.

    Attributes:
        code: The error's code.
        message: What happened, and what to do.
    """

    code: str
    message: str

    def __str__(self) -> str:
        """Write both."""
        return f"{self.code}: {self.message}"


@dataclass(frozen=True)
class KnownExtract:
    """An extract that is in the lake, and that passed every check of its source.

    Attributes:
        part: Its bytes.
        state: What its server said of it when it was fetched, as `extract.state_of` has it.
        evidence: Of what time it is, where it is from, and what it covers.
    """

    part: Part
    state: str
    evidence: SnapshotEvidence


class Lake:
    """A folder, or any fsspec URL, that holds snapshots and frames."""

    def __init__(self, url: str) -> None:
        """Open a lake; nothing is written yet.

        Args:
            url: A path, or an fsspec URL such as `s3://bucket/prefix`.

        Raises:
            LakeNotConfigured: No file system is installed for the URL.
        """
        import fsspec

        try:
            self._filesystem, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            # The URL may hold credentials, and the error's own text the URL.
            raise LakeNotConfigured(
                f"no file system for DATA_DIR ({type(error).__name__}); check the beginning of the "
                "URL, and install the package that fsspec needs for it (s3fs for s3://, ...)"
            ) from None
        self._root: str = root.rstrip("/")

    def store(
        self,
        path: Path,
        *,
        query: str | None,
        requested_at: datetime,
        received_at: datetime,
        sha256: str | None = None,
        origin: str | None = None,
    ) -> Part:
        """Store a local file's bytes under their digest; bytes that are there already stay.

        Those that are there are read once more: a refetch of the same bytes repairs a damaged blob.

        Args:
            path: The file.
            query: What was sent to get it, or None.
            requested_at: When it was asked for (UTC).
            received_at: When its last byte had come (UTC).
            sha256: The digest of the bytes that were checked; None where no other program can
                write the file.
            origin: Where the file is from, for messages; its path by default.

        Raises:
            BytesChanged: The bytes are not those that were checked, or change now.
            LakeUnavailable: The lake cannot be written.
        """
        digest = hashlib.sha256()
        with path.open("rb") as raw:
            while chunk := raw.read(_CHUNK_BYTES):
                digest.update(chunk)
        checked, sha256 = sha256, digest.hexdigest()
        if checked not in (None, sha256):
            raise _changed(origin or str(path))
        compressed = path.suffix in _COMPRESSED
        key = f"raw/{sha256[:2]}/{sha256}{path.suffix if compressed else path.suffix + '.zst'}"
        with self._reachable(key):
            if not self._holds(key, sha256):
                with path.open("rb") as file, self._written(key) as stored:
                    hashed = _Hashed(file)
                    if compressed:
                        shutil.copyfileobj(hashed, stored, _CHUNK_BYTES)
                    else:
                        _compress(hashed, stored)
                    if hashed.digest.hexdigest() != sha256:
                        raise _changed(origin or str(path))
            size = self._filesystem.size(self.address(key))
        return Part(
            sha256=sha256,
            raw_bytes=path.stat().st_size,
            stored_bytes=int(size),
            key=key,
            query=query,
            requested_at=requested_at,
            received_at=received_at,
        )

    def restore(self, part: Part, folder: Path) -> Path:
        """Bring a part's raw bytes back into a local file, and check them.

        Raises:
            SnapshotDamaged: They are gone, or no longer match their digest.
            LakeUnavailable: The lake cannot be read.
        """
        target = folder / posixpath.basename(part.key).removesuffix(".zst")
        digest = hashlib.sha256()
        with self._reachable(part.key), target.open("wb") as raw:
            for chunk in self._raw_bytes(part.key):
                digest.update(chunk)
                raw.write(chunk)
        if digest.hexdigest() != part.sha256:
            raise _damaged(self.address(part.key))
        return target

    def propose(self, manifest: Manifest) -> str:
        """Put a snapshot on trial for its day; give where its manifest is.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        key = _manifest_key(*_day_of(manifest), state=".candidate")
        text = json.dumps(
            {"manifest_version": MANIFEST_VERSION, **asdict(manifest)},
            default=_json_default,
            ensure_ascii=False,
            indent=2,
        )
        with self.written(key) as stored:
            stored.write(text.encode())
        return self.address(key)

    def begin_trial(self, manifest: Manifest, run_id: str) -> int:
        """Note that a run begins to read a snapshot that is on trial.

        Returns:
            How many other runs began to and ended without a word; 0 where it is not on trial.

        Raises:
            LakeUnavailable: The lake cannot be read or written.
        """
        if self._manifest(_manifest_key(*_day_of(manifest), state=".candidate")) != manifest:
            return 0
        runs = self._trials(manifest) - {run_id}
        self._keep_trials(manifest, {*runs, run_id})
        return len(runs)

    def end_trial(self, manifest: Manifest, run_id: str) -> None:
        """Take back that a run began to read a snapshot: it ended, and not by its fault.

        Raises:
            LakeUnavailable: The lake cannot be read or written.
        """
        runs = self._trials(manifest)
        if run_id in runs:
            self._keep_trials(manifest, runs - {run_id})

    def _trials(self, manifest: Manifest) -> set[str]:
        key = _manifest_key(*_day_of(manifest), state=".trials")
        with self._reachable(key):
            try:
                kept = json.loads(self._filesystem.cat_file(self.address(key)))
            except (FileNotFoundError, ValueError):
                return set()
        return set(kept["runs"]) if kept.get("digest") == manifest.digest else set()

    def _keep_trials(self, manifest: Manifest, runs: set[str]) -> None:
        with self.written(_manifest_key(*_day_of(manifest), state=".trials")) as stored:
            text = json.dumps({"digest": manifest.digest, "runs": sorted(runs)})
            stored.write(text.encode())

    def times_asked(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date, *, run_id: str
    ) -> int:
        """Return how many times a run has asked for a day's bytes.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        key = _manifest_key(dataset, city_slug, boundary_ref, day, state=".asked")
        with self._reachable(key):
            try:
                kept = json.loads(self._filesystem.cat_file(self.address(key)))
            except (FileNotFoundError, ValueError):
                return 0
        return int(kept["times"]) if kept.get("run") == run_id else 0

    def keep_asked(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date, *, run_id: str, times: int
    ) -> None:
        """Note how many times a run has asked for a day's bytes.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        key = _manifest_key(dataset, city_slug, boundary_ref, day, state=".asked")
        with self.written(key) as stored:
            stored.write(json.dumps({"run": run_id, "times": times}).encode())

    def accept(self, manifest: Manifest) -> None:
        """Let a snapshot that is on trial stand for its day; do nothing if it does already.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        self._move_candidate(manifest, state="")

    def refuse(self, manifest: Manifest) -> str | None:
        """Take a snapshot that is on trial away from its day; leave one that was accepted.

        Returns:
            Where its manifest is now, or None where it is not on trial.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        return self._move_candidate(manifest, state=f".refused-{manifest.digest[:12]}")

    def manifest(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date
    ) -> Manifest | None:
        """Give the manifest of a day: the one on trial, else the one that stands, else None.

        Raises:
            SnapshotDamaged: It cannot be read as a manifest.
            LakeUnavailable: The lake cannot be read.
        """
        for state in (".candidate", ""):
            found = self._manifest(
                _manifest_key(dataset, city_slug, boundary_ref, day, state=state)
            )
            if found is not None:
                return found
        return None

    def accepted(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date
    ) -> Manifest | None:
        """Give the manifest that stands for a day, whatever is on trial.

        Raises:
            SnapshotDamaged: It cannot be read as a manifest.
            LakeUnavailable: The lake cannot be read.
        """
        return self._manifest(_manifest_key(dataset, city_slug, boundary_ref, day, state=""))

    def keep_failure(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date, failure: Failure
    ) -> None:
        """Keep the word of why a day has no snapshot; the last one counts.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        key = _manifest_key(dataset, city_slug, boundary_ref, day, state=".failed")
        with self.written(key) as stored:
            stored.write(json.dumps(asdict(failure), ensure_ascii=False, indent=2).encode())

    def failure(self, dataset: str, city_slug: str, boundary_ref: str, day: date) -> Failure | None:
        """Give the last word of why a day has no snapshot, if there is one.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        key = _manifest_key(dataset, city_slug, boundary_ref, day, state=".failed")
        with self._reachable(key):
            try:
                text = self._filesystem.cat_file(self.address(key))
            except FileNotFoundError:
                return None
        return Failure(**json.loads(text))

    def forget_failure(self, dataset: str, city_slug: str, boundary_ref: str, day: date) -> None:
        """Take back the word of why a day has no snapshot, if there is one.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        key = _manifest_key(dataset, city_slug, boundary_ref, day, state=".failed")
        with self._reachable(key):
            if self._filesystem.exists(self.address(key)):
                self._filesystem.rm(self.address(key))

    def keep_extract(self, location: str, known: KnownExtract) -> None:
        """Keep the word of what was fetched from a location; the last one counts.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        with self.written(_extract_key(location)) as stored:
            evidence = asdict(known.evidence)
            for name in _NOT_OF_EXTRACTS:
                del evidence[name]
            document = {"part": asdict(known.part), "state": known.state, **evidence}
            stored.write(json.dumps(document, default=_json_default, indent=2).encode())

    def known_extract(self, location: str) -> KnownExtract | None:
        """Give what was last fetched from a location, if its bytes are still there.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        key = _extract_key(location)
        with self._reachable(key):
            try:
                document = json.loads(self._filesystem.cat_file(self.address(key)))
                part, state = _part_from(document.pop("part")), document.pop("state")
                evidence = SnapshotEvidence(obtained="extract", **_typed(document))
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                return None  # it is only fetched once more
            if evidence.coverage is None or not self._filesystem.exists(self.address(part.key)):
                return None
            return KnownExtract(part, state, evidence)

    def names(self, folder: str) -> list[str]:
        """List what is in a folder; nothing where there is none.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        address = self.address(folder)
        with self._reachable(folder):
            self._filesystem.invalidate_cache(address)
            try:
                listed = self._filesystem.ls(address, detail=False)
            except FileNotFoundError:
                return []
        return sorted(posixpath.basename(path.rstrip("/")) for path in listed)

    def remove(self, key: str) -> None:
        """Remove a file or a folder; nothing is done where another process was faster.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        with self._reachable(key), suppress(FileNotFoundError):
            self._filesystem.rm(self.address(key), recursive=True)

    def manifests(
        self, dataset: str, city_slug: str, boundary_ref: str, days: Iterable[date]
    ) -> dict[date, Manifest | SnapshotDamaged]:
        """Give the manifest of each of many days that has one, as `manifest` does for one day.

        It takes one listing and one read in bulk, so that a year in an object store takes seconds.

        Returns:
            The manifests; for one that cannot be read, the error that says so.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        of_day = partial(_manifest_key, dataset, city_slug, boundary_ref)
        folder = self.address(posixpath.dirname(of_day(date.min, state="")))
        with self._reachable(folder):
            self._filesystem.invalidate_cache(folder)  # this process may be old, and the lake not
            try:
                listed = self._filesystem.ls(folder, detail=False)
            except FileNotFoundError:
                return {}
            names = {posixpath.basename(path) for path in listed}
            keys = {  # the one on trial comes last, because it counts more
                day: key
                for day in days
                for state in ("", ".candidate")
                if posixpath.basename(key := of_day(day, state=state)) in names
            }
            addresses = [self.address(key) for key in keys.values()]
            texts = self._filesystem.cat_ranges(addresses, None, None, on_error="return")
        found: dict[date, Manifest | SnapshotDamaged | None] = {}
        for (day, key), text in zip(keys.items(), texts, strict=True):
            try:
                found[day] = (
                    self._read_manifest(key, text)
                    if isinstance(text, bytes)
                    else self.manifest(dataset, city_slug, boundary_ref, day)  # it was just moved
                )
            except SnapshotDamaged as error:
                found[day] = error
        return {day: manifest for day, manifest in found.items() if manifest is not None}

    def _manifest(self, key: str) -> Manifest | None:
        with self._reachable(key):
            try:
                text = self._filesystem.cat_file(self.address(key))
            except FileNotFoundError:
                return None
        return self._read_manifest(key, text)

    def _read_manifest(self, key: str, text: bytes) -> Manifest:
        try:
            return _manifest_from(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SnapshotDamaged(
                f"{self.address(key)} is not a manifest that this version reads ({error!r}); "
                "restore it from a backup, or fetch the day again (refetch)"
            ) from error

    def _move_candidate(self, manifest: Manifest, *, state: str) -> str | None:
        candidate = _manifest_key(*_day_of(manifest), state=".candidate")
        if self._manifest(candidate) != manifest:
            return None
        target = self.address(_manifest_key(*_day_of(manifest), state=state))
        with self._reachable(candidate):
            self._filesystem.mv(self.address(candidate), target)
        self.remove(_manifest_key(*_day_of(manifest), state=".trials"))
        return target

    @contextmanager
    def written(self, key: str) -> Iterator[Any]:
        """Open a file for writing; it appears under its key as a whole, or not at all.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        with self._reachable(key), self._written(key) as stored:
            yield stored

    @contextmanager
    def opened(self, key: str) -> Iterator[Any]:
        """Open a file for reading.

        Raises:
            FileNotFoundError: There is no such file.
            LakeUnavailable: The lake cannot be read.
        """
        with self._reachable(key), self._filesystem.open(self.address(key), "rb") as stored:
            yield stored

    def address(self, key: str) -> str:
        """Tell where a key is in the file system."""
        return f"{self._root}/{key}"

    def _raw_bytes(self, key: str) -> Iterator[bytes]:
        """Read a blob as it was before it was stored, in chunks."""
        import pyarrow as pa

        try:
            stored = self._filesystem.open(self.address(key), "rb")
        except FileNotFoundError as error:
            raise SnapshotDamaged(
                f"{self.address(key)} is in a snapshot's manifest and not in the lake; "
                "restore it from a backup, or fetch the day again (refetch)"
            ) from error
        with stored:
            source = pa.input_stream(stored, compression="zstd") if key.endswith(".zst") else stored
            try:
                while chunk := source.read(_CHUNK_BYTES):
                    yield chunk
            except OSError as error:
                # The decompressor gives no errno: what has one comes from the lake's place.
                if error.errno is not None:
                    raise
                raise _damaged(self.address(key)) from error

    def _holds(self, key: str, sha256: str) -> bool:
        """Tell whether a blob is there, and whole."""
        if not self._filesystem.exists(self.address(key)):
            return False
        digest = hashlib.sha256()
        try:
            for chunk in self._raw_bytes(key):
                digest.update(chunk)
        except SnapshotDamaged:
            return False
        return digest.hexdigest() == sha256

    @contextmanager
    def _written(self, key: str) -> Iterator[Any]:
        """Write beside the target and move into place, so that nobody reads half a file."""
        target = self.address(key)
        beside = f"{target}.{uuid.uuid4().hex}{_PARTIAL}"
        self._filesystem.makedirs(posixpath.dirname(target), exist_ok=True)
        self._remove_partial(posixpath.dirname(target))
        try:
            with self._filesystem.open(beside, "wb") as stored:
                yield stored
            self._filesystem.mv(beside, target)
        finally:
            if self._filesystem.exists(beside):
                self._filesystem.rm(beside)

    def _remove_partial(self, folder: str) -> None:
        """Remove the half-written files of processes that were killed.

        Only a local folder shows them; an object store shows a file when it is whole.
        """
        from fsspec.implementations.local import LocalFileSystem

        if not isinstance(self._filesystem, LocalFileSystem):
            return
        oldest = time.time() - _PARTIAL_KEPT_S
        for path in Path(folder).glob(f"*{_PARTIAL}"):
            with suppress(FileNotFoundError):  # another process was faster
                if path.stat().st_mtime < oldest:
                    path.unlink()

    @contextmanager
    def _reachable(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeUnavailable(
                f"the lake does not let {self.address(key)} be used: {error}; check DATA_DIR, its "
                "rights and its free space"
            ) from error


def _manifest_key(dataset: str, city_slug: str, boundary_ref: str, day: date, *, state: str) -> str:
    folder = f"snapshots/{dataset}/{city_slug}/{boundary_folder(boundary_ref)}"
    return f"{folder}/{day.isoformat()}{state}.json"


def _day_of(manifest: Manifest) -> tuple[str, str, str, date]:
    return manifest.dataset, manifest.city_slug, manifest.boundary_ref, manifest.day


def boundary_folder(boundary_ref: str) -> str:
    """Write a boundary as a folder's name."""
    return boundary_ref.replace("/", "-").replace(":", "-")


def _manifest_from(document: dict[str, Any]) -> Manifest:
    version = document.pop("manifest_version")
    if version != MANIFEST_VERSION:
        raise ValueError(f"manifest_version {version}")
    parts = tuple(map(_part_from, document.pop("parts")))
    return Manifest(
        **_typed(document)
        | {"day": date.fromisoformat(document["day"]), "bbox": tuple(document["bbox"])},
        parts=parts,
    )


_NOT_OF_EXTRACTS = ("obtained", "history")
"""What is not stored of a known extract: it is the same of all."""


def _typed(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document's fields, with those of its evidence in their types."""
    covered = document.get("coverage")
    return document | {
        "as_of": datetime.fromisoformat(document["as_of"]),
        "coverage": Coverage(*covered) if covered else None,
    }


def _part_from(document: dict[str, Any]) -> Part:
    moments = ("requested_at", "received_at")
    return Part(**document | {name: datetime.fromisoformat(document[name]) for name in moments})


def _extract_key(location: str) -> str:
    # The location may hold credentials; its digest tells none of them.
    return f"extracts/{hashlib.sha256(location.encode()).hexdigest()}.json"


class _Hashed:
    """A file that is hashed as it is read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        chunk: bytes = self._file.read(size)
        self.digest.update(chunk)
        return chunk


def _changed(origin: str) -> BytesChanged:
    return BytesChanged(
        f"{origin} changed while it was checked and stored: another program rewrites it in place; "
        "nothing of it is used; try again when it is whole, and let its writer write beside it and "
        "rename (rsync without --inplace)"
    )


def _compress(raw: Any, stored: Any) -> None:
    import pyarrow as pa

    with pa.CompressedOutputStream(pa.PythonFile(stored, mode="w"), "zstd") as stream:
        while chunk := raw.read(_CHUNK_BYTES):
            stream.write(chunk)


def _damaged(where: str) -> SnapshotDamaged:
    return SnapshotDamaged(
        f"{where} no longer matches its digest; restore it from a backup, or fetch the day again "
        "(refetch)"
    )


def _json_default(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} has no JSON form")
