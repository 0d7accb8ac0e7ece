"""Positions of records: their geometries in WGS 84, by the keys of the feed's table."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ingestion_pipeline.sources.feed.content import unreadable

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    import numpy.typing as npt

    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.core.arrays import FloatArray
    from ingestion_pipeline.sources.feed.content import Content

WGS84 = frozenset(
    {
        "urn:ogc:def:crs:OGC:1.3:CRS84",
        "urn:ogc:def:crs:OGC::CRS84",
        "urn:ogc:def:crs:EPSG::4326",
        "EPSG:4326",
    }
)
"""Names of the coordinate system of which coordinates are not transformed."""

CELL = (0.0003, 0.0002)
"""The size, in degrees of longitude and latitude, of the cells that give `@position` ids: 22 m from
south to north, and from west to east 33 m at the equator and 17 m at 60 degrees."""

_NUMBERS = {
    ".": r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?",
    ",": r"[-+]?(?:\d+(?:,\d*)?|,\d+)(?:[eE][-+]?\d+)?",
}
_SEPARATORS = {".": r"\s*[,;]\s*|\s+", ",": r"\s*;\s*|,?\s+"}
_NUMBER = {mark: re.compile(number) for mark, number in _NUMBERS.items()}
_PAIR = {
    # Old Socrata files have the address before the position, in lines of their own.
    mark: re.compile(
        rf"(?:.*[\r\n])?\s*[(\[]?\s*({number})(?:{_SEPARATORS[mark]})({number})\s*[)\]]?\s*",
        re.DOTALL,
    )
    for mark, number in _NUMBERS.items()
}
_SRID = re.compile(r"SRID=\d+;", re.IGNORECASE)
_HEX = re.compile("(?:[0-9A-Fa-f]{2}){21,}")
_COORDINATES = 2
_LONGEST_PAIR = 1000


class Positions(NamedTuple):
    """The geometries of N records.

    Attributes:
        geometry: (N,) shapely geometries in WGS 84, lon then lat, or None.
        problems: By the index of a record without one: what is wrong with its fields.
    """

    geometry: npt.NDArray[np.object_]
    problems: Mapping[int, str]


def positions_of(content: Content, values: Sequence[Mapping[str, Any]], feed: Feed) -> Positions:
    """Return the positions of records.

    Args:
        content: The records.
        values: The values of each record's fields that the table names.
        feed: The feed.

    Raises:
        FeedUnreadable: The file's coordinate system is not known.
    """
    problems: dict[int, str] = {}
    if feed.geometry is not None:
        geometry = _geometries([record.get(feed.geometry) for record in values], feed, problems)
    elif feed.lat_lon is not None or feed.lon_lat is not None or feed.lon is not None:
        geometry = _points(_coordinates(values, feed, problems))
    else:
        assert content.geometry is not None
        geometry = content.geometry
    crs = feed.crs or content.crs
    if crs is not None and crs not in WGS84:
        geometry = in_wgs84(geometry, crs, feed)
    return Positions(geometry, problems)


def in_wgs84(geometry: npt.NDArray[np.object_], crs: str, feed: Feed) -> npt.NDArray[np.object_]:
    """Transform geometries, x (east) then y (north), whatever order of axes the system defines.

    Raises:
        FeedUnreadable: PROJ does not know the system, or cannot transform it.
    """
    import shapely
    from pyproj import Transformer
    from pyproj.exceptions import ProjError

    try:
        transform = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform
    except ProjError:
        raise unreadable(
            feed,
            f"in the coordinate system {crs[:80]!r}, which PROJ does not know",
            'Set its key crs, such as "EPSG:25832"; ask the publisher which one it is.',
        ) from None
    flat = shapely.force_2d(geometry)
    # What cannot be transformed is infinite, and rejected as off the Earth.
    return np.asarray(
        shapely.transform(flat, lambda xy: np.column_stack(transform(xy[:, 0], xy[:, 1]))), object
    )


def _points(xy: FloatArray) -> npt.NDArray[np.object_]:
    import shapely

    known = ~np.isnan(xy).any(axis=1)
    geometry = np.full(len(xy), None, dtype=object)
    geometry[known] = shapely.points(xy[known])
    return geometry


def _coordinates(
    values: Sequence[Mapping[str, Any]], feed: Feed, problems: dict[int, str]
) -> FloatArray:
    """Return (N, 2) x and y of the records' fields; NaN, and a problem, where there is none."""
    xy = np.full((len(values), 2), np.nan)
    for index, record in enumerate(values):
        if feed.lon is not None and feed.lat is not None:
            cells = (record.get(feed.lon), record.get(feed.lat))
            pair = [number_of(cell, feed.decimal) for cell in cells]
            shown = f"{feed.lon} is {_shown(cells[0])}, {feed.lat} is {_shown(cells[1])}"
        else:
            name = feed.lat_lon or feed.lon_lat or ""
            pair = pair_of(record.get(name), feed.decimal)
            pair = pair[::-1] if feed.lat_lon is not None else pair
            shown = f"{name} is {_shown(record.get(name))}"
        if None in pair or len(pair) != _COORDINATES:
            problems[index] = f"no position: {shown}"
        else:
            xy[index] = pair
    return xy


def number_of(value: object, decimal: str) -> float | None:
    """Return a coordinate that is a number, or a text with this decimal mark."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and _NUMBER[decimal].fullmatch(value.strip()):
        return float(value.strip().replace(",", "."))
    return None


def pair_of(value: object, decimal: str) -> list[float | None]:
    """Return the two coordinates of a list, or of a text such as `(48.84, 2.30)`; or none."""
    if isinstance(value, list):
        return [number_of(each, decimal) for each in value]
    is_short = isinstance(value, str) and len(value) <= _LONGEST_PAIR
    found = _PAIR[decimal].fullmatch(str(value)) if is_short else None
    return [] if found is None else [number_of(each, decimal) for each in found.groups()]


def _geometries(
    values: Sequence[object], feed: Feed, problems: dict[int, str]
) -> npt.NDArray[np.object_]:
    """Return (N,) geometries of WKT, WKB in hexadecimal, and GeoJSON."""
    import shapely

    geojson, wkt, wkb = np.full((3, len(values)), None, dtype=object)
    for index, value in enumerate(values):
        if isinstance(value, dict):
            geojson[index] = json.dumps(value)
        elif isinstance(value, str) and value.lstrip().startswith("{"):
            geojson[index] = value
        elif isinstance(value, str) and _HEX.fullmatch(value.strip()):
            wkb[index] = value.strip()
        elif isinstance(value, str):
            wkt[index] = _SRID.sub("", value, count=1)
    geometry = np.asarray(shapely.from_geojson(geojson, on_invalid="ignore"), dtype=object)
    for read, texts in ((shapely.from_wkt, wkt), (shapely.from_wkb, wkb)):
        given = np.asarray(read(texts, on_invalid="ignore"), dtype=object)
        geometry = np.where(shapely.is_missing(geometry), given, geometry)
    for index in np.flatnonzero(shapely.is_missing(geometry)).tolist():
        problems[index] = f"no position: {feed.geometry} is {_shown(values[index])}"
    return geometry


def _shown(value: object) -> str:
    return "empty" if value in (None, "") else repr(value)[:60]


def ids_by_position(
    kinds: Sequence[Hashable], lon: FloatArray, lat: FloatArray, texts: Sequence[str]
) -> list[str | None]:
    """Return an id of each record that is derived from its kind and position.

    The id is the centre of the cell (see `CELL`) that the position is in, `lat,lon` in degrees, so
    small corrections of a position seldom change it. The second record of a kind in a cell gets
    `/2`, and so on, from south to north; records that are equal in everything get the same id.
    Documented in docs/feeds.md, with its limits.

    Args:
        kinds: The kind of each record.
        lon: (N,) longitude of its representative point; NaN without one.
        lat: (N,) latitude.
        texts: What distinguishes records of one kind at one point.
    """
    cells: dict[tuple[Hashable, str], list[int]] = defaultdict(list)
    for index in np.flatnonzero(~np.isnan(lon)).tolist():
        cell = f"{_centre(lat[index], CELL[1])},{_centre(lon[index], CELL[0])}"
        cells[kinds[index], cell].append(index)
    ids: list[str | None] = [None] * len(lon)
    for (_, cell), indices in cells.items():
        indices.sort(key=lambda index: (lat[index], lon[index], texts[index]))
        number, last = 0, None
        for index in indices:
            this = lat[index], lon[index], texts[index]
            number += this != last  # a repeated record gets the id of the first, and is rejected
            last = this
            ids[index] = cell if number == 1 else f"{cell}/{number}"
    return ids


def _centre(degrees: float, size: float) -> str:
    return f"{round(float(degrees) / size) * size + 0.0:.4f}"
