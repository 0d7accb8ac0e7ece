"""Records of a feed, parsed from GeoJSON or CSV, column by column."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.config.feeds import GEOJSON_ID
from ingestion_pipeline.core.characters import are_storable
from ingestion_pipeline.sources.feed.errors import (
    FeedEncodingWrong,
    FeedUnreadable,
    FeedWithoutTime,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import numpy.typing as npt

    from ingestion_pipeline.config.feeds import Feed

WGS84 = frozenset(
    {
        "urn:ogc:def:crs:OGC:1.3:CRS84",
        "urn:ogc:def:crs:OGC::CRS84",
        "urn:ogc:def:crs:EPSG::4326",
        "EPSG:4326",
    }
)
"""Names of the only coordinate system of GeoJSON (RFC 7946, section 4)."""

BROKEN_TEXT_SHARE = 0.1
"""The largest share of non-ASCII texts that may look decoded by the wrong table, and of letters
that may be bytes which cannot be decoded."""

FIELDS_IN_MESSAGE = 50
"""How many of a feed's fields a message lists."""

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_UNDECODED = re.compile("[\udc80-\udcff]")
"""Bytes that cannot be decoded (Python's `surrogateescape`)."""
_WRONG_TABLES = ("cp1252", "latin-1", "cp1251")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Records:
    """N records, column by column, in the order of the document.

    Attributes:
        properties: The properties of each; a CSV's cells are texts, empty ones are omitted.
        ids: The id of each, or None if it lacks that field.
        geometry: (N,) shapely geometries, unchanged, x then y, or None.
        document: The members of a GeoJSON document beside its features; empty for a CSV.
    """

    properties: list[dict[str, Any]]
    ids: list[str | None]
    geometry: npt.NDArray[np.object_]
    document: Mapping[str, Any]

    def __len__(self) -> int:
        """Return N."""
        return len(self.properties)

    def have_invalid_text(self) -> list[bool]:
        """Return which records contain text that no database stores (`core/characters.py`)."""
        return [
            not are_storable(text for text in _inner([properties, id_]) if isinstance(text, str))
            for properties, id_ in zip(self.properties, self.ids, strict=True)
        ]


def read_records(path: Path, feed: Feed) -> Records:
    """Read a feed's bytes.

    Raises:
        FeedUnreadable: They are not of the feed's format, lack its fields, or have another
            coordinate system.
        FeedEncodingWrong: They do not have the feed's encoding.
    """
    text = _decoded(path.read_bytes(), feed)
    records = _geojson(text, feed) if feed.format == "geojson" else _csv(text, feed)
    _require_finite(records, feed)
    _require_sound_text(records, feed)
    return records


def time_of_records(records: Records, feed: Feed) -> datetime:
    """Return the time (UTC) that the records or their document state.

    A date without a time is its first moment in UTC; a time without an offset is UTC.

    Raises:
        FeedWithoutTime: They state none that is valid (ISO 8601).
    """
    name = feed.as_of.name
    if feed.as_of.source == "document":
        stated: Any = records.document
        for member in name.split("."):
            stated = stated.get(member) if isinstance(stated, dict) else None
        moments = [_moment(stated)]
    else:
        moments = [_moment(properties.get(name)) for properties in records.properties]
    known = [moment for moment in moments if moment is not None]
    if not known:
        raise FeedWithoutTime(
            f"{feed.public_location}: {name!r} of feed {feed.slug} is not a time (ISO 8601, such "
            "as 2026-11-20 or 2026-11-20T09:30:00Z). Correct the feed's as_of."
        )
    return max(known)


def _moment(stated: object) -> datetime | None:
    if not isinstance(stated, str):
        return None
    try:
        moment = datetime.fromisoformat(stated.strip())
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def _decoded(raw: bytes, feed: Feed) -> str:
    """Decode a feed; a few bytes that cannot be decoded reject only their records.

    Raises:
        FeedEncodingWrong: They are more than a few of the letters that are not ASCII.
    """
    try:
        return raw.decode(feed.encoding).removeprefix("\N{BYTE ORDER MARK}")
    except UnicodeDecodeError as error:
        with suppress(UnicodeDecodeError):
            text = raw.decode(feed.encoding, "surrogateescape")
            letters = len(_BEYOND_ASCII.findall(text))
            if len(_UNDECODED.findall(text)) < BROKEN_TEXT_SHARE * letters:
                return text.removeprefix("\N{BYTE ORDER MARK}")
        line = raw.count(b"\n", 0, error.start) + 1
        raise FeedEncodingWrong(
            f"{feed.public_location}: feed {feed.slug} is not {feed.encoding}: byte "
            f"{error.start} (0x{raw[error.start]:02x}, line {line}) cannot be decoded. "
            + (
                "Set the feed's encoding, such as cp1251 or cp1252."
                if feed.format == "csv"
                else "GeoJSON is always UTF-8. Ask the publisher to correct it."
            )
        ) from None


def _geojson(text: str, feed: Feed) -> Records:
    import shapely

    try:
        document = json.loads(text)
    # Too deep nesting raises RecursionError.
    except (ValueError, RecursionError) as error:
        raise _unreadable(feed, f"not complete JSON ({error})") from None
    features = document.get("features") if isinstance(document, dict) else None
    if document is None or not isinstance(features, list):
        raise _unreadable(feed, "no GeoJSON FeatureCollection")
    if not all(isinstance(feature, dict) for feature in features):
        raise _unreadable(feed, "not GeoJSON: one of its features is not an object")
    _require_wgs84(document.get("crs"), feed)
    properties = [_object(feature.get("properties")) for feature in features]
    ids = [
        _id(feature.get("id") if feed.record_id == GEOJSON_ID else fields.get(feed.record_id))
        for feature, fields in zip(features, properties, strict=True)
    ]
    _require_fields(feed, {name for fields in properties for name in fields}, len(features))
    geometries = [json.dumps(feature.get("geometry")) for feature in features]
    return Records(
        properties=properties,
        ids=ids,
        geometry=shapely.from_geojson(np.array(geometries, dtype=object), on_invalid="ignore"),
        document={name: value for name, value in document.items() if name != "features"},
    )


def _csv(text: str, feed: Feed) -> Records:
    import shapely

    assert feed.lon is not None
    assert feed.lat is not None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=feed.delimiter, strict=True)
    try:
        head = next(reader, [])
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise _unreadable(feed, f"not CSV: line {reader.line_num}: {error}") from None
    if len(set(head)) != len(head):
        raise _unreadable(feed, "a CSV with two columns of the same name")
    _require_fields(feed, head, len(rows) + 1)
    for number, row in enumerate(rows, start=1):
        if len(row) != len(head):
            raise _unreadable(
                feed,
                f"a CSV of {len(head)} columns whose record {number} has {len(row)}, truncated or "
                f"with another delimiter than {feed.delimiter!r}",
            )
    columns = dict(zip(head, zip(*rows, strict=True), strict=True)) if rows else {}
    xy = np.array(
        [[_number(cell) for cell in columns.get(name, ())] for name in (feed.lon, feed.lat)]
    ).T.reshape(-1, 2)
    known = ~np.isnan(xy).any(axis=1)
    geometry = np.full(len(rows), None, dtype=object)
    geometry[known] = shapely.points(xy[known])
    return Records(
        properties=[
            {name: cell for name, cell in zip(head, row, strict=True) if cell.strip()}
            for row in rows
        ],
        ids=[_id(cell) for cell in columns.get(feed.record_id, ())],
        geometry=geometry,
        document={},
    )


def _require_wgs84(crs: object, feed: Feed) -> None:
    if crs is None:
        return
    named = _object(_object(crs).get("properties")).get("name")
    if not isinstance(named, str) or named not in WGS84:
        raise _unreadable(
            feed,
            f"GeoJSON in the coordinate system {str(named)[:80]!r}; only WGS 84 is read "
            "(RFC 7946 knows no other)",
        )


def _require_fields(feed: Feed, there: Iterable[str], count: int) -> None:
    """Check that at least one record has each field that the cities file names."""
    named = {feed.record_id, *feed.mapped_fields} - {GEOJSON_ID}
    named.update(name for name in (feed.lon, feed.lat) if name)
    if feed.as_of.source == "newest_record":
        named.add(feed.as_of.name)
    there = set(there)
    missing = sorted(named - there)
    if count and missing:
        has = [repr(name[:80]) for name in sorted(there)[:FIELDS_IN_MESSAGE]]
        more = f" and {len(there) - len(has):,} more" if len(there) > len(has) else ""
        raise _unreadable(
            feed,
            f"without the field {', '.join(map(repr, missing))}; it has "
            f"{', '.join(has) or 'none'}{more}",
        )


def _require_finite(records: Records, feed: Feed) -> None:
    """Reject numbers that JSON does not have, though Python reads them."""
    for number, properties in enumerate(records.properties, start=1):
        for value in _inner(properties):
            if isinstance(value, float) and not math.isfinite(value):
                raise _unreadable(feed, f"not JSON: record {number} has a number that is {value}")


def _inner(value: Any) -> Iterator[Any]:
    """Yield every number and text in a JSON value, including the names of members."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list):
            waiting += each
        else:
            yield each


def _require_sound_text(records: Records, feed: Feed) -> None:
    """Reject texts that were decoded by the wrong table, here or by the publisher."""
    texts = [text for text in _texts(records) if not text.isascii()]
    broken = [text for text in texts if _looks_broken(text)]
    if broken and len(broken) >= BROKEN_TEXT_SHARE * len(texts):
        raise FeedEncodingWrong(
            f"{feed.public_location}: {len(broken)} of the {len(texts)} texts of feed "
            f"{feed.slug} that are not plain ASCII look decoded by the wrong table, such as "
            f"{broken[0][:40]!r}. Correct the feed's encoding ({feed.encoding}), or ask the "
            "publisher to correct the feed."
        )


def _texts(records: Records) -> Iterator[str]:
    for properties in records.properties:
        yield from (value for value in properties.values() if isinstance(value, str))


def _looks_broken(text: str) -> bool:
    """Return whether a text is UTF-8 that was decoded by the table of one language's letters."""
    if _REPLACEMENT in text:
        return True
    for table in _WRONG_TABLES:
        try:
            text.encode(table).decode("utf-8")
        except UnicodeError:
            continue
        return True
    return False


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _id(value: object) -> str | None:
    """Return a record's id as text; numbers are ids too, truth values are not."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    return str(value).strip() or None


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _unreadable(feed: Feed, what: str) -> FeedUnreadable:
    return FeedUnreadable(
        f"{feed.public_location}: feed {feed.slug} is {what}. Check the feed, and correct its "
        "keys in the cities file."
    )
