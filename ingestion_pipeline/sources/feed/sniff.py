"""What a file seems to be by its bytes: its format, and the encoding of its text.

A run reads a feed as its table says. This is for a table that does not exist yet, and for messages
about one that is wrong.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from ingestion_pipeline.config.feeds import SHEETS
from ingestion_pipeline.sources.feed.content import unreadable
from ingestion_pipeline.sources.feed.errors import FeedError
from ingestion_pipeline.sources.feed.unpack import SUFFIXES, WORKBOOKS, members_of

if TYPE_CHECKING:
    from pathlib import Path

    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.sources.feed.errors import FeedUnreadable

LATIN = ("cp1252", "cp1250")
"""The encodings of Western and Central European languages."""

SNIFFED_BYTES = 1 << 16
"""How many bytes of a file are looked at."""

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_OF_SCRIPTS = (
    *("cp1251", "cp1253", "cp1255", "cp1256", "cp932", "euc_jp", "big5", "gb18030", "euc_kr"),
)
_WESTERN_SIGNS_IN_WORDS = re.compile("[a-z][³¹¿]|[³¹¿][a-z]")
"""Polish letters of cp1250, read as cp1252."""

_DIVIDED = re.compile(rb"[^\r\n]*[,;\t|][^\r\n]*[\r\n]")
_ROOT = re.compile(rb"<(?:[\w.-]+:)?(kml|FeatureCollection)[\s>]")
_ELSEWHERE = "Ask the portal for the same data as GeoJSON, CSV or JSON."
_NO_FORMATS = (
    (
        "an OSM XML file, which is no feed",
        re.compile(rb"<(?:osm|osmChange)[\s>]"),
        "Its places are in OpenStreetMap, which the city has by its osm_source.",
    ),
    (
        "an HTML page",
        re.compile(rb"<html[\s>]|<!doctype html", re.IGNORECASE),
        "Its address is that of a page about the data, or of a login; find that of the file.",
    ),
    ("an Excel file of before 2007", re.compile(rb"^\xd0\xcf\x11\xe0"), _ELSEWHERE),
    ("a Parquet file", re.compile(rb"^PAR1"), _ELSEWHERE),
)
"""What files that are no feeds are, their marks, and what to do."""


def format_in(path: Path, feed: Feed) -> tuple[str | None, str | None]:
    """Return the format of a file or of the file in an archive, and the archive's file."""
    beginning = _beginning_of(path)
    if not beginning.startswith(b"PK\3\4"):
        return (None, None) if beginning.startswith(b"\x1f\x8b") else (format_of(beginning), None)
    names = members_of(path, feed)
    for form in SHEETS:
        if WORKBOOKS[form] in names:
            return form, None
    for form, suffixes in SUFFIXES.items():
        found = [name for name in names if name.lower().endswith(suffixes)]
        if found:
            # GTFS has many tables; one of them has the stops.
            stops = [name for name in found if name.rpartition("/")[2] == "stops.txt"]
            return form, (stops or sorted(found))[0] if len(found) > 1 else None
    raise unreadable(feed, "a zip archive without a file of a known format")


def format_of(beginning: bytes) -> str | None:
    """Return the format of a file by its beginning."""
    if beginning.startswith(_UTF_16):
        beginning = beginning.decode("utf-16", "ignore").encode()
    if beginning.startswith(b"SQLite format 3\0"):
        return "geopackage"
    if beginning.startswith(b"fgb\3"):
        return "flatgeobuf"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lstrip(b"\x1e")
    if text.startswith((b"{", b"[")):
        compact = b"".join(text.split())
        is_sequence = re.match(rb'\{"type":"Feature"[,}]', compact) is not None
        is_collection = b'"type":"FeatureCollection"' in compact
        return "geojson" if is_collection or is_sequence else "json"
    if text.startswith(b"<"):
        if any(mark.search(text) for _, mark, _ in _NO_FORMATS):
            return None
        root = _ROOT.search(text)
        return "xml" if root is None else {b"kml": "kml"}.get(root[1], "gml")
    return None if b"\0" in text or not text else "csv"


def advice_on_format(path: Path, feed: Feed) -> str:
    """Return what to do about a file that is of another format than the table says; or nothing."""
    if feed.pages is not None:
        return ""  # the file is a list of pages, as no publisher has it
    with suppress(FeedError):
        form, member = format_in(path, feed)
        beginning = _beginning_of(path)
        for what, mark, to_do in _NO_FORMATS:
            if form is None and mark.search(beginning):
                return f"The file is {what}. {to_do}"
        # Any text may be CSV.
        is_text = form == "csv" and member is None and not _DIVIDED.match(beginning)
        if form not in (None, feed.format) and not is_text:
            named = f' and member = "{member}"' if member and feed.member is None else ""
            return f'The file is {form}. Set format = "{form}"{named}.'
    return ""


def of_no_format(file: Path, feed: Feed) -> FeedUnreadable:
    """Return the error of a file that is of no format which a feed can have."""
    beginning = _beginning_of(file)
    for what, mark, to_do in _NO_FORMATS:
        if mark.search(beginning):
            return unreadable(feed, what, to_do)
    formats = ", ".join(SUFFIXES)
    to_do = f"A feed is {formats}; it may be in a zip archive or gzip file. Look at its beginning."
    return unreadable(feed, "of no known format", to_do)


def _beginning_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(SNIFFED_BYTES)


def encodings_of(raw: bytes) -> tuple[str, ...]:
    """Return the encodings that bytes may have, the likeliest first."""
    if raw.startswith(_UTF_16):
        return ("utf-16",)
    if raw.isascii():
        return ("utf-8",)
    with suppress(UnicodeDecodeError):
        raw.decode("utf-8")
        return ("utf-8",)
    import charset_normalizer

    # It tells scripts apart, but not the encodings of Western and Central European languages.
    best = charset_normalizer.from_bytes(raw, cp_isolation=[*_OF_SCRIPTS, *LATIN]).best()
    if best is not None and best.encoding in _OF_SCRIPTS:
        return (best.encoding, *LATIN)
    is_polish = _WESTERN_SIGNS_IN_WORDS.search(raw.decode("cp1252", "replace")) is not None
    return LATIN[::-1] if is_polish else LATIN
