"""Two invented feeds of an invented town, and a real HTTP server on this machine that serves them.

Belongs here: bytes in the form of feeds, and `Feed` values that describe them. Does not belong
here: expectations; breaking connections is `overpass_server.py`'s.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.config.feeds import Feed
from ingestion_pipeline_tests.support.overpass_server import OverpassServer, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

BBOX = (24.90, 60.15, 25.00, 60.20)
"""The town: west, south, east, north."""

LAST_MODIFIED = "Thu, 19 Nov 2026 06:30:00 GMT"

TOILETS: Mapping[str, Any] = {
    "slug": "toilets",
    "location": "http://127.0.0.1/toilets.geojson",
    "format": "geojson",
    "record_id": "OBJECTID",
    "kind_field": "TYPE",
    "kinds": {"WC": "toilets", "BABY": "baby_change"},
    "fields": {
        "name": "TITLE",
        "name:ru": "TITLE_RU",
        "fee": "PAID",
        "wheelchair": "RAMP",
        "opening_hours": "HOURS",
    },
    "attributes": {"unisex": "UNISEX"},
    "values": {"fee": {"ja": "yes", "nein": "no"}},
    "licence": "CC-BY-4.0",
    "attribution": "© Town of Exempel",
    "as_of": "last_modified",
    "maximum_age_days": 7,
    "minimum": 5,
}

FOUNTAINS: Mapping[str, Any] = {
    "slug": "fountains",
    "location": "http://127.0.0.1/fountains-{day}.csv",
    "format": "csv",
    "record_id": "nr",
    "kind": "drinking_water",
    "fields": {"name": "название"},
    "lon": "x",
    "lat": "y",
    "delimiter": ";",
    "encoding": "cp1251",
    "licence": "CC0-1.0",
    "attribution": "Friends of Fountains",
    "as_of": "day_in_location",
    "maximum_age_days": 2,
    "minimum": 5,
}


def feed_of(table: Mapping[str, Any], **changes: Any) -> Feed:
    """Read one table of a feed, changed; None takes a key out."""
    return Feed(**{key: value for key, value in {**table, **changes}.items() if value is not None})


def toilet(number: int, **changes: Any) -> dict[str, Any]:
    """Make a feature of the feed `toilets`; numbers below 40 lie in the town."""
    properties = {
        "OBJECTID": number,
        "TYPE": "WC",
        "TITLE": f"Toilet {number}",
        "TITLE_RU": f"Туалет {number}",
        "PAID": "nein",
        "RAMP": None,
        "HOURS": "24/7",
        "UNISEX": True,
    }
    return {
        "type": "Feature",
        "properties": properties | changes,
        "geometry": {"type": "Point", "coordinates": [24.91 + number / 500, 60.16]},
    }


def geojson(features: Iterable[Mapping[str, Any]], **members: Any) -> bytes:
    """Write a document of features."""
    document = {"type": "FeatureCollection", **members, "features": list(features)}
    return json.dumps(document, ensure_ascii=False).encode()


def toilets(count: int = 20) -> bytes:
    """Write the feed `toilets` as its publisher does."""
    return geojson(map(toilet, range(1, count + 1)))


def fountains(
    count: int = 20,
    *,
    encoding: str = "cp1251",
    columns: Sequence[str] = ("nr", "название", "x", "y"),
) -> bytes:
    """Write the feed `fountains` as its publisher does."""
    rows = (
        f'{number};"Родник ""{number}"" у реки";{24.91 + number / 500:.4f};60.17'
        for number in range(1, count + 1)
    )
    return "\r\n".join([";".join(columns), *rows, ""]).encode(encoding)


def served(body: bytes, **changes: Any) -> Reply:
    """Return the reply of a well-kept server of open data."""
    headers = {"Last-Modified": LAST_MODIFIED, "ETag": '"v1"', **changes.pop("headers", {})}
    return Reply(
        body=body,
        content_type=changes.pop("content_type", "application/geo+json"),
        headers=headers,
        **changes,
    )


class FeedServer(OverpassServer):
    """The same server, with addresses of files."""

    def address(self, path: str) -> str:
        """Return the address of a file."""
        return f"{self.url.removesuffix('/api/interpreter')}/{path}"
