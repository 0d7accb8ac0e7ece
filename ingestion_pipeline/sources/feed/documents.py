"""JSON and GeoJSON documents as content."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.core.json_paths import value_at
from ingestion_pipeline.sources.feed.content import Content, names_in, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingestion_pipeline.config.feeds import Feed

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


def parsed(text: str | bytes, feed: Feed) -> Any:
    """Return the value of a JSON text.

    Raises:
        FeedUnreadable: It is not JSON.
    """
    try:
        return json.loads(text)
    # Too deep nesting raises RecursionError.
    except (ValueError, RecursionError) as error:
        raise unreadable(feed, f"not complete JSON ({error})") from None


def records_of(page: Any, feed: Feed) -> list[dict[str, Any]]:
    """Return the records of a document, or of one page.

    Raises:
        FeedUnreadable: It has none where the feed's table says.
    """
    if feed.format == "geojson":
        features = page.get("features") if isinstance(page, dict) else None
        if not isinstance(features, list):
            raise unreadable(feed, "no GeoJSON FeatureCollection", _advice_on_records(page, feed))
        if not all(isinstance(feature, dict) for feature in features):
            raise unreadable(feed, "not GeoJSON: one of its features is not an object")
        return features
    records = page if feed.records == "@" else value_at(page, feed.records)
    if isinstance(records, dict) and feed.records != "@":
        # Records by their keys, as in {"station-1": {...}}.
        records = [
            {"@key": key, **record} if isinstance(record, dict) else record
            for key, record in records.items()
        ]
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        where = "at its top" if feed.records == "@" else f"at {feed.records!r}"
        raise unreadable(
            feed, f"JSON without a list of records {where}", _advice_on_records(page, feed)
        )
    return records


def lists_of_records(document: Any) -> dict[str, int]:
    """Return the paths of the lists of objects in a document, with their lengths."""
    return dict(_lists(document, "@", 0))


def _lists(value: Any, path: str, depth: int) -> Iterator[tuple[str, int]]:
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        yield path, len(value)
    elif isinstance(value, dict) and depth < _DEEPEST:
        for name, member in value.items():
            inner = name if name.isidentifier() else json.dumps(name)
            yield from _lists(member, inner if path == "@" else f"{path}.{inner}", depth + 1)


def _advice_on_records(page: Any, feed: Feed) -> str:
    found = lists_of_records(page)
    if not found:
        return ""
    best = max(found, key=lambda path: found[path])
    form = "" if feed.format == "json" else 'format = "json" and '
    return f"Set {form}records = {json.dumps(best)}, which has {found[best]:,} records."


def _features(features: list[dict[str, Any]], document: Any, feed: Feed) -> Content:
    import shapely

    properties = [_object(feature.get("properties")) for feature in features]
    geometries = [json.dumps(feature.get("geometry")) for feature in features]
    return Content(
        properties=properties,
        names=names_in(properties),
        geometry=shapely.from_geojson(np.array(geometries, dtype=object), on_invalid="ignore"),
        crs=_crs_of(document.get("crs"), feed),
        own_ids=[feature.get("id") for feature in features],
        document={name: value for name, value in document.items() if name != "features"},
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
