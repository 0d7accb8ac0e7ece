"""Invented towns: their cities file and their small extracts.

Belongs here: inputs that a platform or an installation is given. Does not belong here: starting it,
and expectations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import osmium

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)

TOWN: dict[str, Any] = {
    "slug": "town",
    "name": {"en": "Town"},
    "country": "FI",
    "timezone": "Europe/Helsinki",
    "bbox": [10.0, 50.0, 10.1, 50.1],
    "boundary_ref": "bbox",
    "languages": ["en"],
    "minimum_pois": 1,
    "enabled": True,
}
"""An invented city, as it stands in the cities file."""

AROUND_TOWNS = (5.0, 40.0, 30.0, 65.0)
"""A box that holds every invented town: what the header of an invented extract says it covers."""


def town(number: int, **others: Any) -> dict[str, Any]:
    """Invent a city, one of a row of them from west to east that touch and do not overlap.

    Of the cafés of `write_extract` the numbers `100 * number + 1` to `+ 99` are in it; those on
    its edges are of nobody that a test should count on.
    """
    west, east = round(10 + number / 10, 1), round(10.1 + number / 10, 1)
    return TOWN | {"slug": f"town-{number}", "bbox": [west, 50.0, east, 50.1]} | others


def cafes(number: int, *, named: str = "café") -> dict[int, str]:
    """Return the 99 cafés of a town, for `write_extract`."""
    return {place: f"{named} {place}" for place in range(100 * number + 1, 100 * number + 100)}


def write_cities(path: Path, cities: Sequence[Mapping[str, Any]]) -> Path:
    """Write a cities file; the key `feed` of a city is a list of its feeds' tables."""
    lines: list[str] = []
    for city in cities:
        lines.append("[[city]]")
        lines += [f"{key} = {_toml(value)}" for key, value in city.items() if key != "feed"]
        for feed in city.get("feed", ()):
            lines.append("[[city.feed]]")
            lines += [f"{key} = {_toml(value)}" for key, value in feed.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _toml(value: Any) -> str:
    """Write a value in one line."""
    if isinstance(value, Mapping):
        inner = (f"{json.dumps(name)} = {_toml(each)}" for name, each in value.items())
        return f"{{ {', '.join(inner)} }}"
    return json.dumps(value, ensure_ascii=False)


def write_extract(
    path: Path,
    pois: Mapping[int, str],
    *,
    at: datetime = NOON,
    edited: datetime | None = None,
    spread: float = 0.001,
) -> Path:
    """Write a small `.osm.pbf` of cafés in the invented town: `{node id: name}`.

    Args:
        path: Where to; a file that is there is replaced.
        pois: The cafés.
        at: The replication timestamp.
        edited: When the cafés were edited; a day before, if nothing else is said.
        spread: How far east of the one before each stands, in degrees.
    """
    cafes = {number: {"amenity": "cafe", "name": name} for number, name in pois.items()}
    return write_nodes(path, in_a_row(cafes, spread=spread), at=at, edited=edited)


def in_a_row(
    nodes: Mapping[int, Mapping[str, str]], *, spread: float = 0.001
) -> dict[int, tuple[float, float, Mapping[str, str]]]:
    """Place nodes in the invented town, each so far east of the one before, in degrees."""
    return {number: (10.0 + number * spread, 50.05, tags) for number, tags in nodes.items()}


def write_nodes(
    path: Path,
    nodes: Mapping[int, tuple[float, float, Mapping[str, str]]],
    *,
    at: datetime = NOON,
    edited: datetime | None = None,
    covers: tuple[float, float, float, float] | None = AROUND_TOWNS,
) -> Path:
    """Write a small `.osm.pbf`.

    Args:
        path: Where to; a file that is there is replaced.
        nodes: `{id: (longitude, latitude, tags)}`.
        at: The replication timestamp.
        edited: When the nodes were edited; a day before, if nothing else is said.
        covers: The box in the header (west, south, east, north), or None for none.
    """
    header = osmium.io.Header()
    if covers is not None:
        header.add_box(osmium.osm.Box(*covers))
    header.set("osmosis_replication_timestamp", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    writer = osmium.SimpleWriter(str(path), header=header)
    for number, (lon, lat, tags) in nodes.items():
        writer.add_node(
            osmium.osm.mutable.Node(
                id=number,
                version=1,
                timestamp=edited or at - timedelta(days=1),
                location=(lon, lat),
                tags=dict(tags),
            )
        )
    writer.close()
    return path
