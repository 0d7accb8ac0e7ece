"""Raw snapshots: content-addressed bytes from upstream, and a manifest for each day.

    <lake>/raw/<2 hex>/<sha256>.json.zst        raw bytes, Zstandard; named by the raw bytes' digest
    <lake>/raw/<2 hex>/<sha256>.pbf             bytes that are already compressed, as they are
                                                (.gz and .bz2, too)
    <lake>/extracts/<sha256 of the location>.json   the last extract fetched from the location
    <lake>/feeds/<digest>.json                  the last bytes of a feed, and their validators
    <lake>/selections/<digest>.json             what an Overpass query selected, by its digest
    <lake>/snapshots/<dataset>/<city>/<boundary>/<day>.json     the accepted manifest of the day
                                                <day>.candidate.json            a candidate
                                                <day>.refused-<12 hex>.json     quarantined
                                                <day>.failed.json   why the last fetch failed
                                                <day>.rejected.json  what a refused feed rejects
                                                <day>.trials.json   runs that began to read it
                                                <day>.asked.json    the run that last asked a feed

A manifest is written after its bytes have passed every check of their source, as a candidate. Once
the bytes have been read and checked, it is accepted and replaces the previous manifest of the day.
Otherwise it is quarantined, and the previous manifest stays. The bytes stay in both cases. Blobs
without a manifest are left over from failed runs and never read.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.core.evidence import Coverage, SnapshotEvidence
from ingestion_pipeline.core.file_lock import one_at_a_time
from ingestion_pipeline.lake.errors import BytesChanged, LakeUnavailable, SnapshotDamaged
from ingestion_pipeline.lake.lease import Pace, lease
from ingestion_pipeline.lake.stores import StoreAccess, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from ingestion_pipeline.lake.copies import LocalCopies

MANIFEST_VERSION = 1

_CHUNK_BYTES = 1 << 20
_COMPRESSED = (".pbf", ".gz", ".bz2")
_FEW_DAYS = 8
"""So many days are read one by one, because a listing has all days of a city."""


@dataclass(frozen=True)
class Part:
    """One file of raw bytes.

    Attributes:
        sha256: Digest of the raw bytes, hexadecimal.
        raw_bytes: Their number.
        stored_bytes: The size of the stored blob.
        key: The blob's key in the lake.
        query: The query that was sent, or None.
        requested_at: When the file was requested (UTC).
        received_at: When its last byte arrived (UTC).
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
        city_slug: The city.
        boundary_ref: The city's boundary, as in the idempotency key.
        day: The UTC day that the bytes describe.
        bbox: The window that was asked for: west, south, east, north in WGS84 degrees.
        selection: Digest of the selection that was asked for; of a feed, of its place and its rule
            of time.
        parts: The files, in order.
        selected: The selection itself, as `osm.selection.Selection.as_json` returns it; None for
            extracts and feeds, and where a version that did not record it wrote the manifest. It
            is stored beside the manifests, so that earlier versions read these.
    """

    dataset: str
    city_slug: str
    boundary_ref: str
    day: date
    bbox: tuple[float, float, float, float]
    selection: str
    parts: tuple[Part, ...]
    selected: Mapping[str, Any] | None = field(default=None, compare=False)

    def __str__(self) -> str:
        """Return the city-day as text."""
        return f"{self.city_slug} ({self.dataset}) on {self.day}"

    @property
    def digest(self) -> str:
        """The digest of the only part, or of the parts' digests in order."""
        if len(self.parts) == 1:
            return self.parts[0].sha256
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()

    @property
    def raw_bytes(self) -> int:
        """The number of raw bytes."""
        return sum(part.raw_bytes for part in self.parts)

    @property
    def fetched_at(self) -> datetime:
        """When the last byte arrived (UTC)."""
        return max(part.received_at for part in self.parts)


@dataclass(frozen=True)
class Failure:
    """Why the last fetch of a day failed.

    Attributes:
        code: The error's code.
        message: What happened, and what to do.
    """

    code: str
    message: str

    def __str__(self) -> str:
        """Return code and message."""
        return f"{self.code}: {self.message}"


@dataclass(frozen=True)
class KnownExtract:
    """An extract in the lake that passed every check of its source.

    Attributes:
        part: Its bytes.
        state: What its server said of it when it was fetched, as `extract.state_of` has it.
        evidence: Of what time it is, where it is from, and what it covers.
    """

    part: Part
    state: str
    evidence: SnapshotEvidence


@dataclass(frozen=True)
class KnownFeed:
    """The bytes of a feed that were last fetched from a location.

    Attributes:
        part: The bytes.
        etag: The header ETag of the response, or None.
        last_modified: The header Last-Modified of the response, or None.
        as_of: The time of the data (UTC).
    """

    part: Part
    etag: str | None
    last_modified: str | None
    as_of: datetime


_WHOLE_FILES = ("extract", "feed")
"""Kinds of sources whose bytes are not those of a selection."""


class Lake:
    """Snapshots and frames in a folder, or under any fsspec URL."""

    def __init__(
        self,
        url: str,
        access: StoreAccess | None = None,
        *,
        copies: LocalCopies | None = None,
        pace: Pace | None = None,
    ) -> None:
        """Open a lake; nothing is written yet.

        Args:
            url: A path, or an fsspec URL such as `s3://bucket/prefix`.
            access: How a store is reached; by default as its library finds.
            copies: Local copies of extracts, where the lake is not a folder of this machine.
            pace: How quickly a lease is renewed and taken over.

        Raises:
            LakeNotConfigured: No file system is installed for the URL.
        """
        self._selections: dict[str, Mapping[str, Any]] = {}
        self._store = open_store(url, access or StoreAccess())
        self._copies = None if self._store.is_local else copies
        self._pace = pace or Pace()

    @contextmanager
    def one_at_a_time(self, what: str, *, lock_dir: Path) -> Iterator[None]:
        """Hold a named lock among all processes that share the lake; wait while another holds it.

        A lake in a folder needs the lock of its machine only. The lock of a process that dies is
        taken over. It spares work and guards nothing: two holders would write equal files.

        Args:
            what: The work; names the lock.
            lock_dir: The folder of lock files of this machine.

        Raises:
            LakeUnavailable: The lake cannot be read or written.
        """
        with one_at_a_time(what, lock_dir=lock_dir):
            if self._store.is_local:
                yield
                return
            with lease(self._store, what, self._pace):
                yield

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
        """Store a local file's bytes under their digest.

        An existing blob is verified, so that a refetch of the same bytes repairs a damaged one.

        Args:
            path: The file.
            query: The query that was sent, or None.
            requested_at: When the file was requested (UTC).
            received_at: When its last byte arrived (UTC).
            sha256: The digest of the checked bytes; None where no other program can write the file.
            origin: The file's origin, for messages; its path by default.

        Raises:
            BytesChanged: The bytes changed since they were checked.
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
            found = self._digest_of(key)
            if found != sha256:
                replaces = found is not None
                with path.open("rb") as file, self._store.written(key, once=not replaces) as stored:
                    hashed = _Hashed(file)
                    if compressed:
                        shutil.copyfileobj(hashed, stored, _CHUNK_BYTES)
                    else:
                        _compress(hashed, stored)
                    if hashed.digest.hexdigest() != sha256:
                        raise _changed(origin or str(path))
            size = self._store.size(key)
        if self._copies is not None:
            self._copies.keep(sha256, path)  # this machine reads it next
        return Part(
            sha256=sha256,
            raw_bytes=path.stat().st_size,
            stored_bytes=size,
            key=key,
            query=query,
            requested_at=requested_at,
            received_at=received_at,
        )

    def restore(self, part: Part, folder: Path) -> Path:
        """Restore a part's raw bytes to a local file, and check them.

        Raises:
            SnapshotDamaged: They are missing, or do not match their digest.
            LakeUnavailable: The lake cannot be read.
        """
        target = folder / posixpath.basename(part.key).removesuffix(".zst")
        if self._copies is not None and self._copies.take(part.sha256, target):
            return target
        # What a network damaged is whole when it is read again; a disk's damage stays.
        for is_last in (True,) if self._store.is_local else (False, True):
            try:
                self._restore(part, target)
                break
            except SnapshotDamaged:
                if is_last:
                    raise
        if self._copies is not None:
            self._copies.keep(part.sha256, target)
        return target

    def _restore(self, part: Part, target: Path) -> None:
        digest = hashlib.sha256()
        with self._reachable(part.key), target.open("wb") as raw:
            for chunk in self._raw_bytes(part.key):
                digest.update(chunk)
                raw.write(chunk)
        if digest.hexdigest() != part.sha256:
            raise _damaged(self.address(part.key))

    def propose_candidate(self, manifest: Manifest) -> str:
        """Write a manifest as the candidate of its day; return its address.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        key = _manifest_key(*_day_of(manifest), state=".candidate")
        selected = manifest.selected
        if selected is not None and self._selection(manifest.selection) is None:
            self._write_json(_selection_key(manifest.selection), selected)
        self._write_json(key, _document_of(manifest))
        return self.address(key)

    def _write_json(self, key: str, document: Mapping[str, Any]) -> None:
        with self._reachable(key):
            self._store.put(key, _json_bytes(document))

    def _selection(self, digest: str) -> Mapping[str, Any] | None:
        """Return a recorded selection; None where it is missing or damaged."""
        if digest not in self._selections:
            key = _selection_key(digest)
            with self._reachable(key), suppress(FileNotFoundError, ValueError):
                self._selections[digest] = json.loads(self._store.read(key))
        return self._selections.get(digest)

    def begin_candidate_read(self, manifest: Manifest, run_id: str) -> int:
        """Record that a run begins to read a candidate.

        Returns:
            How many other runs began to read it and never ended the read; 0 where the manifest is
            not the candidate.

        Raises:
            LakeUnavailable: The lake cannot be read or written.
        """
        if self._manifest(_manifest_key(*_day_of(manifest), state=".candidate")) != manifest:
            return 0
        runs = self._readers(manifest) - {run_id}
        self._write_readers(manifest, {*runs, run_id})
        return len(runs)

    def end_candidate_read(self, manifest: Manifest, run_id: str) -> None:
        """Record that a run ended its read for a reason other than the snapshot.

        Raises:
            LakeUnavailable: The lake cannot be read or written.
        """
        runs = self._readers(manifest)
        if run_id in runs:
            self._write_readers(manifest, runs - {run_id})

    def _readers(self, manifest: Manifest) -> set[str]:
        found = self._read_sidecar(*_day_of(manifest), name="trials")
        return set(found["runs"]) if found.get("digest") == manifest.digest else set()

    def _write_readers(self, manifest: Manifest, runs: set[str]) -> None:
        content = {"digest": manifest.digest, "runs": sorted(runs)}
        self._write_sidecar(*_day_of(manifest), name="trials", content=content)

    def request_count(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date, *, run_id: str
    ) -> int:
        """Return how many times a run has requested a day's bytes.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        found = self._read_sidecar(dataset, city_slug, boundary_ref, day, name="asked")
        return int(found["times"]) if found.get("run") == run_id else 0

    def record_request_count(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date, *, run_id: str, times: int
    ) -> None:
        """Record how many times a run has requested a day's bytes.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        content = {"run": run_id, "times": times}
        self._write_sidecar(dataset, city_slug, boundary_ref, day, name="asked", content=content)

    def accept(self, manifest: Manifest) -> None:
        """Make a candidate the accepted snapshot of its day; do nothing if it is not a candidate.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        self._move_candidate(manifest, state="")

    def quarantine(self, manifest: Manifest) -> str | None:
        """Set a candidate aside; leave an accepted snapshot.

        Returns:
            The new address of its manifest; None where it is not a candidate.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        return self._move_candidate(manifest, state=_refused(manifest))

    def is_quarantined(self, manifest: Manifest) -> bool:
        """Return whether these bytes were set aside for this dataset and day.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        key = _manifest_key(*_day_of(manifest), state=_refused(manifest))
        with self._reachable(key):
            try:
                self._store.read(key)
            except FileNotFoundError:
                return False
            return True

    def manifest(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date
    ) -> Manifest | None:
        """Return the manifest of a day: the candidate, else the accepted one, else None.

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
        """Return the accepted manifest of a day, ignoring a candidate.

        Raises:
            SnapshotDamaged: It cannot be read as a manifest.
            LakeUnavailable: The lake cannot be read.
        """
        return self._manifest(_manifest_key(dataset, city_slug, boundary_ref, day, state=""))

    def record_failure(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date, failure: Failure
    ) -> None:
        """Record why the last fetch of a day failed; what an earlier one rejected is forgotten.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        self.remove(_manifest_key(dataset, city_slug, boundary_ref, day, state=".rejected"))
        content = asdict(failure)
        self._write_sidecar(dataset, city_slug, boundary_ref, day, name="failed", content=content)

    def last_failure(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date
    ) -> Failure | None:
        """Return why the last fetch of a day failed; None where none did.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        found = self._read_sidecar(dataset, city_slug, boundary_ref, day, name="failed")
        return Failure(**found) if found else None

    def clear_failure(self, dataset: str, city_slug: str, boundary_ref: str, day: date) -> None:
        """Delete the record of a failed fetch and of its rejections, if there is one.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        for state in (".failed", ".rejected"):
            self.remove(_manifest_key(dataset, city_slug, boundary_ref, day, state=state))

    def _read_sidecar(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date, *, name: str
    ) -> dict[str, Any]:
        """Return the small JSON file beside a day's manifest; empty where it is missing or torn."""
        key = _manifest_key(dataset, city_slug, boundary_ref, day, state=f".{name}")
        with self._reachable(key):
            try:
                found: dict[str, Any] = json.loads(self._store.read(key))
            except (FileNotFoundError, ValueError):
                return {}
        return found

    def _write_sidecar(
        self,
        dataset: str,
        city_slug: str,
        boundary_ref: str,
        day: date,
        *,
        name: str,
        content: dict[str, Any],
    ) -> None:
        key = _manifest_key(dataset, city_slug, boundary_ref, day, state=f".{name}")
        self._write_json(key, content)

    def record_extract(self, location: str, known: KnownExtract) -> None:
        """Record the extract that was last fetched from a location.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        evidence = asdict(known.evidence)
        for name in _NOT_OF_EXTRACTS:
            del evidence[name]
        document = {"part": asdict(known.part), "state": known.state, **evidence}
        self._write_json(_extract_key(location), document)

    def known_extract(self, location: str) -> KnownExtract | None:
        """Return the extract last fetched from a location, if its bytes still exist.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        key = _extract_key(location)
        with self._reachable(key):
            try:
                document = json.loads(self._store.read(key))
                part, state = _part_from(document.pop("part")), document.pop("state")
                evidence = SnapshotEvidence(obtained="extract", **_typed(document))
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                return None  # the caller fetches it again
            if evidence.coverage is None:
                return None
            try:
                self._store.size(part.key)
            except FileNotFoundError:
                return None
            return KnownExtract(part, state, evidence)

    def record_feed(self, location: str, rules: str, known: KnownFeed) -> None:
        """Record the bytes of a feed that were last fetched from a location.

        Args:
            location: The location; it may contain credentials.
            rules: The digest of the rules on which the time of the data depends.
            known: The bytes, with the validators for a conditional request.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        self._write_json(_feed_key(location, rules), asdict(known))

    def known_feed(self, location: str, rules: str) -> KnownFeed | None:
        """Return the bytes of a feed that were last fetched from a location, if they are whole.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        key = _feed_key(location, rules)
        with self._reachable(key):
            try:
                document = json.loads(self._store.read(key))
                part = _part_from(document.pop("part"))
                as_of = datetime.fromisoformat(document.pop("as_of"))
                known = KnownFeed(part=part, as_of=as_of, **document)
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                return None  # the caller fetches it again
            return known if self._digest_of(part.key) == part.sha256 else None

    def record_rejections(
        self,
        dataset: str,
        city_slug: str,
        boundary_ref: str,
        day: date,
        rejections: Iterable[Mapping[str, Any]],
    ) -> None:
        """Record the rejections of a feed that was refused, by reason.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        content = {"rejections": list(rejections)}
        self._write_sidecar(dataset, city_slug, boundary_ref, day, name="rejected", content=content)

    def last_rejections(
        self, dataset: str, city_slug: str, boundary_ref: str, day: date
    ) -> list[dict[str, Any]]:
        """Return the rejections of the feed that was last refused on a day; empty without one.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        found = self._read_sidecar(dataset, city_slug, boundary_ref, day, name="rejected")
        return list(found.get("rejections", ()))

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder, sorted; empty where it does not exist.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        with self._reachable(folder):
            return self._store.names(folder)

    def remove(self, key: str) -> None:
        """Remove a file, if it exists.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        with self._reachable(key):
            self._store.remove(key)

    def remove_folder(self, folder: str) -> None:
        """Remove a folder with all its files, if it exists.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        with self._reachable(folder):
            self._store.remove_folder(folder)

    def manifests(
        self, dataset: str, city_slug: str, boundary_ref: str, days: Iterable[date]
    ) -> dict[date, Manifest | SnapshotDamaged]:
        """Return the manifests of many days, as `manifest` does for one day.

        Many days cost one listing and one bulk read, so that a year in an object store takes
        seconds. A few cost two reads each, because a city's listing grows with its days.

        Returns:
            The manifests; for an unreadable one, the error.

        Raises:
            LakeUnavailable: The lake cannot be read.
        """
        of_day = partial(_manifest_key, dataset, city_slug, boundary_ref)
        one = partial(self.manifest, dataset, city_slug, boundary_ref)
        asked = list(days)
        if len(asked) <= _FEW_DAYS:
            return _present({day: _or_damage(partial(one, day)) for day in asked})
        folder = posixpath.dirname(of_day(date.min, state=""))
        with self._reachable(folder):
            names = set(self._store.names(folder))
            keys = {  # the candidate comes last, because it takes precedence
                day: key
                for day in asked
                for state in ("", ".candidate")
                if posixpath.basename(key := of_day(day, state=state)) in names
            }
            texts = self._store.read_many(list(keys.values()))
        return _present(
            {
                day: _or_damage(
                    partial(one, day)  # moved meanwhile
                    if text is None
                    else partial(self._read_manifest, key, text)
                )
                for (day, key), text in zip(keys.items(), texts, strict=True)
            }
        )

    def _manifest(self, key: str) -> Manifest | None:
        with self._reachable(key):
            try:
                text = self._store.read(key)
            except FileNotFoundError:
                return None
        return self._read_manifest(key, text)

    def _read_manifest(self, key: str, text: bytes) -> Manifest:
        try:
            manifest = _manifest_from(json.loads(text))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise SnapshotDamaged(
                f"{self.address(key)} is not a manifest that this version reads ({error!r}). "
                "Restore it from a backup, or fetch the day again (refetch)."
            ) from error
        if manifest.obtained in _WHOLE_FILES:
            return manifest
        return replace(manifest, selected=self._selection(manifest.selection))

    def _move_candidate(self, manifest: Manifest, *, state: str) -> str | None:
        candidate = _manifest_key(*_day_of(manifest), state=".candidate")
        if self._manifest(candidate) != manifest:
            return None
        target = _manifest_key(*_day_of(manifest), state=state)
        with self._reachable(candidate):
            self._store.move(candidate, target, _json_bytes(_document_of(manifest)))
        self.remove(_manifest_key(*_day_of(manifest), state=".trials"))
        return self.address(target)

    @contextmanager
    def written(self, key: str) -> Iterator[Any]:
        """Open a file for writing; it appears under its key when complete.

        Raises:
            LakeUnavailable: The lake cannot be written.
        """
        with self._reachable(key), self._store.written(key) as stored:
            yield stored

    @contextmanager
    def opened(self, key: str) -> Iterator[Any]:
        """Open a file for reading.

        Raises:
            FileNotFoundError: The file does not exist.
            LakeUnavailable: The lake cannot be read.
        """
        with self._reachable(key), self._store.opened(key) as stored:
            yield stored

    def address(self, key: str) -> str:
        """Return the path or the URL of a key, without credentials."""
        return self._store.address(key)

    def _raw_bytes(self, key: str) -> Iterator[bytes]:
        """Yield a blob's raw bytes in chunks."""
        try:
            stored = self._store.opened(key, whole=True)
        except FileNotFoundError as error:
            raise SnapshotDamaged(
                f"{self.address(key)} is in a manifest but not in the lake. "
                "Restore it from a backup, or fetch the day again (refetch)."
            ) from error
        yield from self._chunks(key, stored)

    def _chunks(self, key: str, stored: Any) -> Iterator[bytes]:
        import pyarrow as pa

        with stored:
            source = pa.input_stream(stored, compression="zstd") if key.endswith(".zst") else stored
            try:
                while chunk := source.read(_CHUNK_BYTES):
                    yield chunk
            except OSError as error:
                # Errors of the decompressor have no errno; those of the file system do.
                if error.errno is not None:
                    raise
                raise _damaged(self.address(key)) from error

    def _digest_of(self, key: str) -> str | None:
        """Return the digest of a blob's raw bytes; None without a blob, "" if it is unreadable."""
        digest = hashlib.sha256()
        try:
            stored = self._store.opened(key, whole=True)
        except FileNotFoundError:
            return None
        try:
            for chunk in self._chunks(key, stored):
                digest.update(chunk)
        except SnapshotDamaged:
            return ""
        return digest.hexdigest()

    @contextmanager
    def _reachable(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise LakeUnavailable(
                f"The lake cannot read or write {self.address(key)}: {error}. Check DATA_DIR, its "
                "permissions and its free space."
            ) from error


def _or_damage(read: Callable[[], Manifest | None]) -> Manifest | SnapshotDamaged | None:
    try:
        return read()
    except SnapshotDamaged as error:
        return error


def _present(
    found: Mapping[date, Manifest | SnapshotDamaged | None],
) -> dict[date, Manifest | SnapshotDamaged]:
    return {day: each for day, each in found.items() if each is not None}


def _document_of(manifest: Manifest) -> dict[str, Any]:
    document = {"manifest_version": MANIFEST_VERSION, **asdict(manifest)}
    del document["selected"]  # it is stored once, beside the manifests
    return document


def _json_bytes(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, default=_json_default, ensure_ascii=False, indent=2).encode()


def _selection_key(digest: str) -> str:
    return f"selections/{digest}.json"


def _manifest_key(dataset: str, city_slug: str, boundary_ref: str, day: date, *, state: str) -> str:
    folder = f"snapshots/{dataset}/{city_slug}/{boundary_folder(boundary_ref)}"
    return f"{folder}/{day.isoformat()}{state}.json"


def _refused(manifest: Manifest) -> str:
    return f".refused-{manifest.digest[:12]}"


def _day_of(manifest: Manifest) -> tuple[str, str, str, date]:
    return manifest.dataset, manifest.city_slug, manifest.boundary_ref, manifest.day


def boundary_folder(boundary_ref: str) -> str:
    """Return the folder name of a boundary."""
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
    # A digest, because the location may contain credentials.
    return f"extracts/{hashlib.sha256(location.encode()).hexdigest()}.json"


def _feed_key(location: str, rules: str) -> str:
    # A digest, because the location may contain credentials.
    return f"feeds/{hashlib.sha256(f'{rules} {location}'.encode()).hexdigest()}.json"


class _Hashed:
    """A file that hashes what is read from it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        chunk: bytes = self._file.read(size)
        self.digest.update(chunk)
        return chunk


def _changed(origin: str) -> BytesChanged:
    return BytesChanged(
        f"{origin} changed while it was checked and stored: another program writes to it in place. "
        "Nothing of it is used. Try again when it is complete, and let its writer write a new file "
        "and rename it (rsync without --inplace)."
    )


def _compress(raw: Any, stored: Any) -> None:
    import pyarrow as pa

    with pa.CompressedOutputStream(pa.PythonFile(stored, mode="w"), "zstd") as stream:
        while chunk := raw.read(_CHUNK_BYTES):
            stream.write(chunk)


def _damaged(where: str) -> SnapshotDamaged:
    return SnapshotDamaged(
        f"{where} does not match its digest. Restore it from a backup, or fetch the day again "
        "(refetch)."
    )


def _json_default(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} has no JSON form")
