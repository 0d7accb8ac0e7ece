"""JSON, GeoJSON and XML documents as content."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.core.json_paths import PLAIN_NAMES, value_at
from ingestion_pipeline.sources.feed.content import Content, names_in, unreadable
from ingestion_pipeline.sources.feed.geodata import require_xml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ingestion_pipeline.config.feeds import Feed

_RECORD_MARK = "\x1e"
_NAMES_OF_CELLS = (
    *("meta.view.columns[*].name", "columns[*].name", "fields[*].name", "headers[*].name"),
    *("columns", "fields", "headers", "header"),
)
_OF_PATH = re.compile('[A-Za-z_][A-Za-z0-9_]*|.*".*')
_IDENTIFIER = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_DEEPEST = 4
"""How deep a list of records may be for `lists_of_records` to find it."""


def read_document(text: str, feed: Feed) -> Content:
    """Return the content of a JSON or GeoJSON document, or of its pages.

    Raises:
        FeedUnreadable: It is not JSON, or has no records where the feed's table says.
    """
    document = parsed(text, feed)
    pages = document if feed.pages is not None and isinstance(document, list) else [document]
    records = [record for page in pages for record in records_of(page, feed)]
    first = pages[0] if pages else {}
    if feed.format == "json":
        content = Content(
            properties=records,
            names=names_in(records),
            document=first if isinstance(first, dict) else {},
        )
    else:
        content = _features(records, first, feed)
    _require_finite(content, feed)
    return content


def read_xml(path: Path, feed: Feed) -> Content:
    """Return the content of an XML document, whose elements are read as members of objects.

    An attribute is a member with `@` before its name, and the text of an element with attributes
    is `#text`. Elements that repeat are a list. Prefixes of namespaces stay.

    Raises:
        FeedUnreadable: It is not XML, declares a document type, or has no records where the feed's
            table says.
    """
    require_xml(path, feed)
    document = document_of_xml(path)
    records = records_of(document, feed)
    return Content(properties=records, names=names_in(records), document=document)


def document_of_xml(path: Path) -> dict[str, Any]:
    """Return an XML document as `read_xml` reads it; the caller has checked it."""
    import xmltodict

    with path.open("rb") as file:
        document: dict[str, Any] = xmltodict.parse(file)
    return document


def parsed(text: str | bytes, feed: Feed) -> Any:
    """Return the value of a JSON text.

    Raises:
        FeedUnreadable: It is not JSON.
    """
    try:
        return json.loads(text)
    # Too deep nesting raises RecursionError.
    except (ValueError, RecursionError) as error:
        lines = _lines_of(text)
        if len(lines) > 1 and _is_object(lines[0]) and _is_object(lines[1]):
            return _values_of_lines(lines, feed)
        raise unreadable(feed, f"not complete JSON ({error})") from None


def _lines_of(text: str | bytes) -> list[str]:
    """Return the lines that have something; a sequence (RFC 8142) has a mark before each."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    stripped = (line.strip(f"{_RECORD_MARK} \t\r") for line in decoded.split("\n"))
    return [line for line in stripped if line]


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _values_of_lines(lines: Sequence[str], feed: Feed) -> list[Any]:
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            values.append(json.loads(line))
        except (ValueError, RecursionError) as error:
            what = f"not complete: value {number} of its lines of JSON is none ({error})"
            raise unreadable(feed, what) from None
    return values


def records_of(page: Any, feed: Feed) -> list[dict[str, Any]]:
    """Return the records of a document, or of one page.

    Raises:
        FeedUnreadable: It has none where the feed's table says.
    """
    if feed.format == "geojson":
        features = page.get("features") if isinstance(page, dict) else _sequence(page)
        if not isinstance(features, list):
            raise unreadable(feed, "no GeoJSON FeatureCollection", _advice_on_records(page, feed))
        if not all(isinstance(feature, dict) for feature in features):
            raise unreadable(feed, "not GeoJSON: one of its features is not an object")
        if any("attributes" in feature for feature in features):
            to_do = 'Ask the service for f=geojson; or set format = "json", records = "features".'
            raise unreadable(feed, "the JSON of Esri, not GeoJSON", to_do)
        return features
    records = page if feed.records == "@" else value_at(page, feed.records)
    if isinstance(records, dict) and feed.format == "xml" and feed.records != "@":
        records = [records]  # an element that does not repeat is no list
    if isinstance(records, dict) and feed.records != "@":
        # Records by their keys, as in {"station-1": {...}}.
        records = [
            {"@key": key, **record} if isinstance(record, dict) else record
            for key, record in records.items()
        ]
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        form = feed.format.upper()
        where = "at its top" if feed.records == "@" else f"at {feed.records!r}"
        raise unreadable(
            feed, f"{form} without a list of records {where}", _advice_on_records(page, feed)
        )
    return records


def _sequence(page: Any) -> list[Any] | None:
    """Return the features of a sequence (RFC 8142), which has no collection around them."""
    is_sequence = isinstance(page, list) and all(
        isinstance(each, dict) and each.get("type") == "Feature" for each in page
    )
    return page if is_sequence and page else None


def lists_of_records(document: Any) -> dict[str, int]:
    """Return the paths of the records in a document, with their number.

    Records are a list of objects, objects by their keys, or rows of a table.
    """
    found = dict(_lists(document, "@", 0))
    rows = {_as_objects(path, document): count for path, count in _rows_of_tables(document, "@", 0)}
    # What else is an object of objects need not be records.
    return {**found, **rows} or dict(_by_keys(document, "@", 0))


def _lists(value: Any, path: str, depth: int) -> Iterator[tuple[str, int]]:
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        yield path, len(value)
    else:
        for member, inner in _members(value, path, depth):
            yield from _lists(member, inner, depth + 1)


def _rows_of_tables(value: Any, path: str, depth: int) -> Iterator[tuple[str, int]]:
    """Yield the paths of lists of at least two rows with the same number of cells."""
    if isinstance(value, list):
        if len(value) > 1 and all(isinstance(row, list) and row for row in value):
            widths = {len(row) for row in value}
            if len(widths) == 1 and widths.pop() > 1:
                yield path, len(value)
    else:
        for member, inner in _members(value, path, depth):
            yield from _rows_of_tables(member, inner, depth + 1)


def _by_keys(value: Any, path: str, depth: int) -> Iterator[tuple[str, int]]:
    """Yield the paths of objects whose members are objects with the same members."""
    if not isinstance(value, dict):
        return
    forms = [frozenset(each) for each in value.values() if isinstance(each, dict)]
    are_objects = len(forms) == len(value) > 1
    if path != "@" and are_objects and frozenset.intersection(*forms):
        yield path, len(value)
    else:
        for member, inner in _members(value, path, depth):
            yield from _by_keys(member, inner, depth + 1)


def _members(value: Any, path: str, depth: int) -> Iterator[tuple[Any, str]]:
    """Yield the members of an object, with their paths."""
    if isinstance(value, dict) and depth < _DEEPEST:
        for name, member in value.items():
            inner = name if PLAIN_NAMES.fullmatch(name) else json.dumps(name)
            yield member, inner if path == "@" else f"{path}.{inner}"


def _as_objects(path: str, document: Any) -> str:
    """Return the path that makes objects of rows, with the names that the document has for cells.

    The names are beside the rows: in Socrata's `meta`, or in a list of names or of columns.
    """
    rows = document if path == "@" else value_at(document, path)
    width = len(rows[0])
    names = [f"column_{number}" for number in range(1, width + 1)]
    for where in _NAMES_OF_CELLS:
        given = value_at(document, where)
        is_list = isinstance(given, list) and len(given) == width
        if is_list and all(isinstance(name, str) for name in given):
            names = [str(name) for name in given]
            break
    cells = ", ".join(
        f"{name if _IDENTIFIER.fullmatch(name) else json.dumps(name)}: [{place}]"
        for place, name in enumerate(names)
        if names.index(name) == place
    )
    parts = [] if path == "@" else [path] if '"' in path else path.split(".")
    quoted = (part if _OF_PATH.fullmatch(part) else json.dumps(part) for part in parts)
    return f"{'.'.join(quoted)}[*].{{{cells}}}"


def _advice_on_records(page: Any, feed: Feed) -> str:
    found = lists_of_records(page)
    if not found:
        return ""
    best = max(found, key=lambda path: found[path])
    form = "" if feed.format in ("json", "xml") else 'format = "json" and '
    return f"Set {form}records = {json.dumps(best)}, which has {found[best]:,} records."


def _features(features: list[dict[str, Any]], document: Any, feed: Feed) -> Content:
    import shapely

    properties = [_object(feature.get("properties")) for feature in features]
    geometries = [json.dumps(feature.get("geometry")) for feature in features]
    return Content(
        properties=properties,
        names=names_in(properties),
        geometry=shapely.from_geojson(np.array(geometries, dtype=object), on_invalid="ignore"),
        crs=_crs_of(_object(document).get("crs"), feed),
        own_ids=[feature.get("id") for feature in features],
        document={name: each for name, each in _object(document).items() if name != "features"},
    )


def _crs_of(crs: object, feed: Feed) -> str | None:
    """Return the name in a GeoJSON's member `crs` (the format of 2008); None without one."""
    if crs is None or feed.crs is not None:
        return None
    named = _object(_object(crs).get("properties")).get("name")
    if not isinstance(named, str):
        raise unreadable(
            feed,
            "GeoJSON whose member crs names no coordinate system",
            'Set its key crs, such as "EPSG:25832"; ask the publisher which one it is.',
        )
    return named


def _require_finite(content: Content, feed: Feed) -> None:
    """Reject numbers that JSON does not have, though Python reads them."""
    for number, properties in enumerate(content.properties, start=1):
        for value in inner(properties):
            if isinstance(value, float) and not math.isfinite(value):
                raise unreadable(feed, f"not JSON: record {number} has a number that is {value}")


def inner(value: Any) -> Iterator[Any]:
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


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
