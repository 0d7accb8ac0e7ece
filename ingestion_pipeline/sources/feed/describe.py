"""What a file has, before a feed's table exists: format, fields with samples, ways of position.

`describe` reads any file that a feed can have. It decides nothing: a person, or a command that
suggests a table, chooses among what it found.
"""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.config.feeds import WITH_LAYERS, Feed
from ingestion_pipeline.core.json_paths import value_at
from ingestion_pipeline.lake.scratch import scratch_folder
from ingestion_pipeline.sources.feed.content import unreadable
from ingestion_pipeline.sources.feed.documents import lists_of_records, parsed
from ingestion_pipeline.sources.feed.geodata import layers_of
from ingestion_pipeline.sources.feed.records import content_of, id_of
from ingestion_pipeline.sources.feed.tables import DELIMITERS, decoded
from ingestion_pipeline.sources.feed.unpack import SUFFIXES, members_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ingestion_pipeline.sources.feed.content import Content
    from ingestion_pipeline.sources.feed.errors import FeedUnreadable

SAMPLES = 3
"""How many different values of a field are shown."""

_SHOWN = 80
_DEFAULTS = (",", "utf-8", "@")
_SNIFFED_BYTES = 1 << 16
_ENCODINGS = ("utf-8", "cp1252")
_DEEPEST = 3
_ROOT = re.compile(rb"<(?:[\w.-]+:)?(kml|FeatureCollection)[\s>]")
_OSM_ROOT = re.compile(rb"<(?:osm|osmChange)[\s>]")


@dataclass(frozen=True)
class Field:
    """A field of a file.

    Attributes:
        name: Its name, or the path of a nested member, as the keys of a feed name it.
        filled: How many records have a value.
        distinct: How many different values they have.
        samples: Some of them, as texts.
    """

    name: str
    filled: int
    distinct: int
    samples: tuple[str, ...]

    def is_unique(self, records: int) -> bool:
        """Return whether every record has a value of its own."""
        return self.filled == self.distinct == records


@dataclass(frozen=True)
class Description:
    """What a file has.

    Attributes:
        keys: The keys of a feed's table that the file itself decides: `format`, and where needed
            `delimiter`, `encoding`, `records`, `member` and `layer`.
        records: The number of records.
        fields: The fields, in the order of the file.
        has_geometry: Whether records have a geometry of their own.
        crs: The coordinate system that the file names, or None.
        members: The paths of members beside the records of a JSON document, with their values.
        choices: Other layers, lists of records or files of an archive, by their key.
    """

    keys: Mapping[str, str]
    records: int
    fields: tuple[Field, ...]
    has_geometry: bool
    crs: str | None
    members: Mapping[str, str]
    choices: Mapping[str, Sequence[str]]


def describe(path: Path, *, maximum_bytes: int = 50_000_000) -> Description:
    """Describe a file.

    Args:
        path: The file, as published: it may be compressed.
        maximum_bytes: The largest size of what it unpacks to.

    Raises:
        FeedUnreadable: It is of no format that a feed can have.
        FeedTooBig: It unpacks to more than `maximum_bytes`.
    """
    probe = partial(_probe, maximum_bytes)
    keys: dict[str, str] = {}
    choices: dict[str, Sequence[str]] = {}
    with scratch_folder() as folder:
        form, member = _format_in(path, probe())
        if member is not None:
            keys["member"] = member
            choices["member"] = members_of(path, probe())
        file = unpacked(path, probe(format=form or "csv", **keys), folder)
        with file.open("rb") as opened:
            form = form or _format_of(opened.read(_SNIFFED_BYTES))
        if form is None:
            raise _of_no_format(file, probe())
        keys["format"] = form
        file = _named_as(form, file, folder)
        more = _keys_of(form, file, probe(format=form), choices)
        keys |= {name: key for name, key in more.items() if key not in _DEFAULTS}
        content = content_of(file, probe(format=form, **more))
    return Description(
        keys=keys,
        records=len(content.properties),
        fields=tuple(fields_of(content)),
        has_geometry=content.geometry is not None,
        crs=content.crs,
        members={
            name: _text(value)
            for name, value in content.document.items()
            if isinstance(value, str | int | float)
        },
        choices=choices,
    )


def _of_no_format(file: Path, feed: Feed) -> FeedUnreadable:
    with file.open("rb") as opened:
        beginning = opened.read(_SNIFFED_BYTES)
    if _OSM_ROOT.search(beginning):
        what = "an OSM XML file, which is no feed"
        to_do = "Its places are in OpenStreetMap, which the city has by its osm_source."
        return unreadable(feed, what, to_do)
    formats = ", ".join(SUFFIXES)
    to_do = f"A feed is {formats}; it may be in a zip archive or gzip file. Look at its beginning."
    return unreadable(feed, "of no known format", to_do)


def _named_as(form: str, file: Path, folder: Path) -> Path:
    """Return a file with the suffix of its format: GDAL takes any file.csv for CSV."""
    suffixes = SUFFIXES[form]
    if form in ("csv", "json", "geojson") or file.name.lower().endswith(suffixes):
        return file
    link = folder / f"named{suffixes[0]}"
    link.symlink_to(file.absolute())
    return link


def _probe(maximum_bytes: int, **keys: Any) -> Feed:
    """Return a feed that has nothing but what reading a file needs."""
    needed: dict[str, Any] = {
        "slug": "file",
        "location": "file",
        "format": "csv",
        "record_id": "@position",
        "kind": "toilets",
        "licence": "CC0-1.0",
        "attribution": "-",
        "as_of": "fetched",
        "maximum_age_days": 1,
        "minimum": 1,
        "maximum_bytes": maximum_bytes,
    }
    return Feed(**{**needed, **keys})


def _keys_of(
    form: str, file: Path, feed: Feed, choices: dict[str, Sequence[str]]
) -> dict[str, str]:
    """Return the keys that reading a format needs; add what else a key could be to `choices`."""
    if form == "csv":
        return _dialect(file.read_bytes())
    if form == "json":
        lists = lists_of_records(parsed(decoded(file.read_bytes(), feed), feed))
        if not lists:
            raise unreadable(feed, "JSON without a list of records")
        choices["records"] = tuple(lists)
        return {"records": max(lists, key=lambda name: lists[name])}
    if form in WITH_LAYERS and form != "shapefile":
        layers = layers_of(file, feed)
        if len(layers) > 1:
            choices["layer"] = layers
            return {"layer": layers[0]}
    return {}


def _format_in(path: Path, probe: Feed) -> tuple[Any, str | None]:
    """Return the format of a file or of the file in an archive, and the archive's file."""
    with path.open("rb") as file:
        beginning = file.read(_SNIFFED_BYTES)
    if not beginning.startswith(b"PK\3\4"):
        return (None, None) if beginning.startswith(b"\x1f\x8b") else (_format_of(beginning), None)
    names = members_of(path, probe)
    if "xl/workbook.xml" in names:
        return "xlsx", None
    for form, suffixes in SUFFIXES.items():
        found = [name for name in names if name.lower().endswith(suffixes)]
        if found:
            # GTFS has many tables; one of them has the stops.
            stops = [name for name in found if name.rpartition("/")[2] == "stops.txt"]
            return form, (stops or sorted(found))[0] if len(found) > 1 else None
    raise unreadable(probe, "a zip archive without a file of a known format")


def _format_of(beginning: bytes) -> str | None:
    """Return the format of a file by its beginning."""
    if beginning.startswith(b"SQLite format 3\0"):
        return "geopackage"
    if beginning.startswith(b"fgb\3"):
        return "flatgeobuf"
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"{", b"[")):
        compact = b"".join(text.split())
        return "geojson" if b'"type":"FeatureCollection"' in compact else "json"
    if text.startswith(b"<"):
        root = _ROOT.search(text)
        return None if root is None else {b"kml": "kml"}.get(root[1], "gml")
    return None if b"\0" in text or not text else "csv"


def _dialect(raw: bytes) -> dict[str, str]:
    """Return the encoding and the delimiter of a CSV."""
    encoding = "cp1252"
    for each in _ENCODINGS:
        with suppress(UnicodeDecodeError):
            raw.decode(each)
            encoding = each
            break
    text = raw[:_SNIFFED_BYTES].decode(encoding, "replace")
    counts = {}
    for mark in DELIMITERS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
        widths = [len(row) for row, _ in zip(rows, range(20), strict=False) if row]
        counts[mark] = widths[0] if widths and widths.count(widths[0]) > len(widths) / 2 else 0
    return {"encoding": encoding, "delimiter": max(counts, key=lambda mark: counts[mark])}


def fields_of(content: Content) -> Iterator[Field]:
    """Yield the fields of a file; of nested data, the members by their paths."""
    for name in content.names:
        values = [properties.get(name) for properties in content.properties]
        if any(isinstance(value, dict) for value in values):
            for path in dict.fromkeys(path for value in values for path in _paths(value, name, 1)):
                yield _field(path, [value_at(each, path) for each in content.properties])
        else:
            yield _field(name, values)


def _paths(value: object, path: str, depth: int) -> Iterator[str]:
    """Yield the paths of the members of nested data that are not objects themselves."""
    if isinstance(value, dict) and depth <= _DEEPEST:
        for name, member in value.items():
            inner = name if re.fullmatch(r"\w+", name) else json.dumps(name)
            yield from _paths(member, f"{path}.{inner}", depth + 1)
    elif value is not None:
        yield path


def _field(name: str, values: Sequence[object]) -> Field:
    texts = [_text(value) for value in values if value not in (None, "", [], {})]
    different = dict.fromkeys(texts)
    return Field(
        name=name,
        filled=len(texts),
        distinct=len(different),
        samples=tuple(text[:_SHOWN] for text in list(different)[:SAMPLES]),
    )


def _text(value: Any) -> str:
    return id_of(value) or json.dumps(value, ensure_ascii=False)
