"""Files inside `.gz` files and zip archives, unpacked within limits.

A compressed file of some kilobytes can unpack to gigabytes. So the limit `maximum_bytes` of a feed
is also that of what it unpacks to, and of the sum of an archive's files.
"""

from __future__ import annotations

import gzip
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING

from ingestion_pipeline.config.feeds import SHEETS
from ingestion_pipeline.sources.feed.content import unreadable
from ingestion_pipeline.sources.feed.errors import FeedTooBig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.sources.feed.errors import FeedUnreadable

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "geojson": (".geojson", ".json"),
    "csv": (".csv", ".txt", ".tsv"),
    "json": (".json",),
    "geopackage": (".gpkg",),
    "shapefile": (".shp",),
    "kml": (".kml",),
    "flatgeobuf": (".fgb",),
    "gml": (".gml", ".xml"),
    "xlsx": (".xlsx",),
    "ods": (".ods",),
    "xml": (".xml", ".gpx", ".rss"),
}
"""The suffixes of the files of each format in an archive; the first is that of unpacked files."""

MAX_MEMBERS = 10_000
"""How many files an archive may have; the largest GTFS archives have about 50."""

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_CHUNK_BYTES = 1 << 18
_DIRECTORY_BYTES_A_MEMBER = 400
_END_BYTES = 22 + 65_535
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_PARTS_OF_SHAPEFILE = (".shp", ".shx", ".dbf", ".prj", ".cpg")
WORKBOOKS: Mapping[str, str] = {
    "xlsx": "xl/workbook.xml",
    "ods": "META-INF/manifest.xml",
}
"""The file that every archive of a spreadsheet's format has."""

_DOCUMENT_TYPE = b"<!DOCTYPE"


def unpacked(path: Path, feed: Feed, folder: Path) -> Path:
    """Return a feed's file, unpacked into an empty folder if it is compressed.

    Raises:
        FeedUnreadable: It is damaged, or the archive does not have the file.
        FeedTooBig: It unpacks to more than the feed's `maximum_bytes`.
    """
    with path.open("rb") as file:
        beginning = file.read(4)
    if beginning.startswith(_GZIP):
        with _damage_of(feed, "gzip file"), gzip.open(path) as packed:
            inner = _written(packed, folder / f"gz{SUFFIXES[feed.format][0]}", feed)
        with inner.open("rb") as file:
            beginning = file.read(4)
        path = inner
    if beginning != _ZIP:
        return path
    with _damage_of(feed, "zip archive"):
        _require_small_directory(path, feed)
        with zipfile.ZipFile(path) as archive:
            return _from_archive(path, archive, feed, folder)


def named_as(form: str, file: Path, folder: Path) -> Path:
    """Return a file with the suffix of its format; GDAL goes by it for CSV and ODS."""
    suffixes = SUFFIXES[form]
    if form in ("csv", "json", "geojson") or file.name.lower().endswith(suffixes):
        return file
    link = folder / f"named{suffixes[0]}"
    link.symlink_to(file.absolute())
    return link


def members_of(path: Path, feed: Feed) -> list[str]:
    """Return the names of the files in a zip archive.

    Raises:
        FeedUnreadable: It is damaged.
        FeedTooBig: It has too many files.
    """
    with _damage_of(feed, "zip archive"):
        _require_small_directory(path, feed)
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    if len(names) > MAX_MEMBERS:
        raise _too_many(feed)
    return [name for name in names if not name.endswith("/") and not _is_clutter(name)]


def _from_archive(path: Path, archive: zipfile.ZipFile, feed: Feed, folder: Path) -> Path:
    names = archive.namelist()
    if len(names) > MAX_MEMBERS:
        raise _too_many(feed)
    if feed.format in SHEETS and WORKBOOKS[feed.format] in names:
        _require_small(archive, names, feed)
        _require_harmless(archive, names, feed)
        return named_as(feed.format, path, folder)
    chosen = _member(names, feed)
    if feed.format != "shapefile":
        _require_small(archive, [chosen], feed)
        with _opened(archive, chosen, feed) as packed:
            unzipped = _written(packed, folder / f"zip{SUFFIXES[feed.format][0]}", feed)
        return unpacked(unzipped, feed, folder) if feed.format in SHEETS else unzipped
    stem = chosen[: -len(".shp")]
    parts = {
        suffix: name
        for name in names
        if name[: -len(".shp")] == stem and (suffix := name[-4:].lower()) in _PARTS_OF_SHAPEFILE
    }
    for suffix in (".shx", ".dbf"):
        if suffix not in parts:
            raise unreadable(feed, f"a shapefile without its {suffix} file")
    _require_small(archive, list(parts.values()), feed)
    for suffix, name in parts.items():
        with _opened(archive, name, feed) as packed:
            _written(packed, folder / f"feed{suffix}", feed)
    return folder / "feed.shp"


def _member(names: Sequence[str], feed: Feed) -> str:
    """Return the name of the archive's file that is the feed."""
    files = [name for name in names if not name.endswith("/") and not _is_clutter(name)]
    if feed.member is not None:
        chosen = [name for name in files if name == feed.member]
        chosen = chosen or [name for name in files if PurePosixPath(name).name == feed.member]
    else:
        chosen = [name for name in files if name.lower().endswith(SUFFIXES[feed.format])]
    if len(chosen) != 1:
        shown = ", ".join(repr(name[:80]) for name in sorted(files)[:20])
        wanted = f"no file {feed.member!r}" if feed.member else f"{len(chosen)} {feed.format} files"
        raise unreadable(
            feed, f"a zip archive with {wanted}; it has {shown or 'none'}", "Set its key member."
        )
    return chosen[0]


def _is_clutter(name: str) -> bool:
    return name.startswith("__MACOSX/") or PurePosixPath(name).name.startswith(".")


def _opened(archive: zipfile.ZipFile, name: str, feed: Feed) -> IO[bytes]:
    member = archive.getinfo(name)
    if member.flag_bits & _ENCRYPTED:
        raise unreadable(feed, f"a zip archive whose file {name!r} is encrypted")
    if member.compress_type not in _METHODS:
        raise unreadable(
            feed, f"a zip archive whose file {name!r} is compressed by another method than deflate"
        )
    return archive.open(member)


def _require_small(archive: zipfile.ZipFile, names: Sequence[str], feed: Feed) -> None:
    """Check the sizes that the archive announces; `_written` checks those that come."""
    size = sum(archive.getinfo(name).file_size for name in names)
    if size > feed.maximum_bytes:
        raise _too_big(feed, f"{size:,}")


def _require_harmless(archive: zipfile.ZipFile, names: Sequence[str], feed: Feed) -> None:
    """Check what GDAL will unpack: files have the announced sizes and declare no document type."""
    for name in names:
        end = b""
        with _opened(archive, name, feed) as packed:
            while chunk := packed.read(_CHUNK_BYTES):  # raises BadZipFile at the announced end
                if _DOCUMENT_TYPE in end + chunk and name.endswith((".xml", ".rels")):
                    raise unreadable(
                        feed,
                        f"a spreadsheet whose file {name!r} has a document type, refused",
                        "Ask the publisher to remove it.",
                    )
                end = chunk[-len(_DOCUMENT_TYPE) :]


def _require_small_directory(path: Path, feed: Feed) -> None:
    """Check the size of the list of files before it is read: each takes memory."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_BYTES))
        end = file.read()
    at = end.rfind(b"PK\x05\x06")
    directory = int.from_bytes(end[at + 12 : at + 16], "little") if at >= 0 else 0
    if directory > MAX_MEMBERS * _DIRECTORY_BYTES_A_MEMBER:
        raise _too_many(feed)


def _written(packed: IO[bytes] | gzip.GzipFile, target: Path, feed: Feed) -> Path:
    count = 0
    with target.open("wb") as file:
        while chunk := packed.read(_CHUNK_BYTES):
            count += len(chunk)
            if count > feed.maximum_bytes:
                raise _too_big(feed, "more")
            file.write(chunk)
    return target


@contextmanager
def _damage_of(feed: Feed, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise _damaged(feed, what, error) from None


def _damaged(feed: Feed, what: str, error: Exception) -> FeedUnreadable:
    return unreadable(feed, f"a damaged {what} ({type(error).__name__})", "Fetch it again.")


def _too_big(feed: Feed, size: str) -> FeedTooBig:
    return FeedTooBig(
        f"{feed.public_location}: feed {feed.slug} unpacks to {size} bytes; its maximum_bytes is "
        f"{feed.maximum_bytes:,}. Check the feed, or raise its maximum_bytes."
    )


def _too_many(feed: Feed) -> FeedTooBig:
    return FeedTooBig(
        f"{feed.public_location}: feed {feed.slug} is a zip archive with more than "
        f"{MAX_MEMBERS:,} files. Ask the publisher for the file by itself."
    )
