"""Positions of records: their geometries in WGS 84, by the keys of the feed's table."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from itertools import chain, count
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from ingestion_pipeline.sources.feed.content import unreadable

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

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

REACH_M = 5.0
"""How far, in metres, a place may be from where it was in the last good version of its feed."""

_METRES_A_DEGREE = 111_195.0
"""Of a great circle of the sphere with the Earth's mean radius."""

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
_ANGLE = (
    r"[-+]?\d{1,3}(?:[.,]\d+)?\s*[°º]?"
    r"(?:\s*[0-5]?\d(?:[.,]\d+)?\s*['’′´]"
    r"(?:\s*[0-5]?\d(?:[.,]\d+)?\s*(?:[\"”“″]|['’′´]{2}))?)?"
)
"""Degrees, minutes and seconds. The sign of degrees may be missing, as in `60.17 N`."""

_LETTER = "[NSEW]"
"""The letter of a direction. `O` is east in German and west in French."""

_ANGLES = [f"{_LETTER}\\s*{_ANGLE}", f"{_ANGLE}\\s*{_LETTER}", _ANGLE]
"""An angle with its letter before it, after it, or without one."""

_DEGREES = re.compile("|".join(_ANGLES))
_PAIR_OF_DEGREES = [
    re.compile(rf"[(\[]?\s*({each})\s*[,;/]?\s*({each})\s*[)\]]?") for each in _ANGLES
]
_NUMBER_IN_ANGLE = re.compile(r"\d+(?:[.,]\d+)?")
_DEGREE_SIGN = re.compile("[°º]")

_SRID = re.compile(r"SRID=\d+;", re.IGNORECASE)
_WKT = re.compile(
    r"(SRID=\d+;)?\s*(MULTI)?(POINT|LINESTRING|POLYGON|GEOMETRYCOLLECTION)\b", re.IGNORECASE
)
_HEX = re.compile("(?:[0-9A-Fa-f]{2}){21,}")
_COORDINATES = 2
_LONGEST_PAIR = 1000


Position = Literal["number", "comma", "pair", "pair with comma", "geometry"]
"""A way of position: a number or a pair of numbers, also with decimal commas; or a geometry."""


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
            pair = pair_of(record.get(name), feed.decimal, latitude_first=feed.lat_lon is not None)
            pair = pair[::-1] if feed.lat_lon is not None else pair
            shown = f"{name} is {_shown(record.get(name))}"
        if None in pair or len(pair) != _COORDINATES:
            problems[index] = f"no position: {shown}"
        else:
            xy[index] = pair
    return xy


def number_of(value: object, decimal: str) -> float | None:
    """Return a coordinate that is a number, or a text with this decimal mark, or in degrees."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str) and _NUMBER[decimal].fullmatch(value.strip()):
        return float(value.strip().replace(",", "."))
    return _degrees(value.strip()) if isinstance(value, str) else None


def pair_of(value: object, decimal: str, *, latitude_first: bool = True) -> list[float | None]:
    """Return the two coordinates of a list, or of a text such as `(48.84, 2.30)`; or none.

    Degrees with letters, such as `2°18' E 48°50' N`, are returned in the order that is asked for.
    """
    if isinstance(value, list):
        return [number_of(each, decimal) for each in value]
    if not isinstance(value, str) or len(value) > _LONGEST_PAIR:
        return []
    if found := _PAIR[decimal].fullmatch(value):
        return [number_of(each, decimal) for each in found.groups()]
    return _pair_of_degrees(value.strip(), latitude_first=latitude_first)


def _pair_of_degrees(text: str, *, latitude_first: bool) -> list[float | None]:
    pairs = (each.fullmatch(text) for each in _PAIR_OF_DEGREES)
    found = next(filter(None, pairs), None)
    if found is None:
        return []
    axes = ["".join(_letters(angle)) for angle in found.groups()]
    pair = [_degrees(angle) for angle in found.groups()]
    if None in pair:
        return []
    if axes == ["", ""]:
        return pair
    is_latitude = [axis in "NS" for axis in axes]
    if is_latitude[0] == is_latitude[1]:
        return []
    return pair if is_latitude[0] == latitude_first else pair[::-1]


def _degrees(text: str) -> float | None:
    """Return an angle in degrees; south and west are negative."""
    if not _DEGREES.fullmatch(text):
        return None
    letters = _letters(text)
    parts = [part.replace(",", ".") for part in _NUMBER_IN_ANGLE.findall(text)]
    if not _DEGREE_SIGN.search(text) and (not letters or len(parts) > 1):
        return None
    if any("." in part for part in parts[:-1]) or ("-" in text and letters):
        return None  # 60.5°30' and -60° N are mistakes
    size: float = sum(float(part) / 60.0**place for place, part in enumerate(parts))
    return -size if "-" in text or {"S", "W"} & {*letters} else size


def _letters(text: str) -> list[str]:
    return re.findall(_LETTER, text)


def way_of_position(value: object) -> Position | None:
    """Return the way of position that a value can be. `0,50` may be a price, so it is no pair."""
    return next(_ways_of(value), None)


def _ways_of(value: object) -> Iterator[Position]:
    if isinstance(value, dict):
        if is_geometry(value):
            yield "geometry"
        return
    if isinstance(value, list):
        if len(value) == _COORDINATES and None not in pair_of(value, "."):
            yield "pair"
        return
    text = str(value).strip()
    if _WKT.match(text) or _HEX.fullmatch(text) or (text.startswith("{") and _is_geojson(text)):
        yield "geometry"
    if number_of(value, ".") is not None:
        yield "number"
    if number_of(value, ",") is not None:
        yield "comma"
    if ("." in text or _DEGREE_SIGN.search(text)) and pair_of(text, "."):
        yield "pair"
    if text.count(",") > 1 and pair_of(text, ","):
        yield "pair with comma"


def is_geometry(value: Mapping[str, Any]) -> bool:
    """Return whether an object is a geometry of GeoJSON."""
    return "type" in value and isinstance(value.get("coordinates"), list)


def _is_geojson(text: str) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and is_geometry(value)


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


class Anchor(NamedTuple):
    """A place of the last good version of a feed, whose id a place nearby keeps.

    Attributes:
        id: The id of its record.
        kind: Its kind.
        lon: The longitude of its representative point.
        lat: Its latitude.
    """

    id: str
    kind: Hashable
    lon: float
    lat: float


def ids_by_position(
    kinds: Sequence[Hashable],
    lon: FloatArray,
    lat: FloatArray,
    texts: Sequence[str],
    *,
    known: Sequence[Anchor] = (),
) -> list[str | None]:
    """Return an id of each record that is derived from its kind and position.

    A record within `REACH_M` of a known place of its kind has the id of the nearest. The id of
    another record is the centre of the cell (see `CELL`) that its position is in, `lat,lon` in
    degrees; the second of a kind in a cell gets `/2`, and so on, from south to north. Records that
    are equal in everything get the same id. Documented in docs/feeds.md, with its limits.

    Args:
        kinds: The kind of each record.
        lon: (N,) longitude of its representative point; NaN without one.
        lat: (N,) latitude.
        texts: What distinguishes records of one kind at one point.
        known: The places of the last good version.
    """
    places: dict[tuple[Hashable, float, float, str], list[int]] = defaultdict(list)
    for index in np.flatnonzero(~np.isnan(lon)).tolist():
        places[kinds[index], float(lat[index]), float(lon[index]), texts[index]].append(index)
    ordered = sorted(places, key=lambda place: place[1:])
    kept = _nearest(ordered, known)
    taken = {(place[0], id_) for place, id_ in kept.items()}
    ids: list[str | None] = [None] * len(lon)
    for place in ordered:
        kind, place_lat, place_lon, _ = place
        id_ = kept.get(place)
        if id_ is None:
            cell = f"{_centre(place_lat, CELL[1])},{_centre(place_lon, CELL[0])}"
            numbered = (f"{cell}/{number}" for number in count(2))
            id_ = next(each for each in chain([cell], numbered) if (kind, each) not in taken)
            taken.add((kind, id_))
        for index in places[place]:
            ids[index] = id_
    return ids


def _nearest(
    places: Sequence[tuple[Hashable, float, float, str]], known: Sequence[Anchor]
) -> dict[tuple[Hashable, float, float, str], str]:
    """Return the id of the known place that each place is; the nearest pairs come first."""
    import shapely

    if not known or not places:
        return {}
    lat, lon = np.array([place[1:3] for place in places]).T
    anchors = np.array([(anchor.lon, anchor.lat) for anchor in known])
    reach = REACH_M / _METRES_A_DEGREE
    wide = reach / np.cos(np.radians(np.minimum(np.abs(lat), 89.0)))
    boxes = shapely.box(lon - wide, lat - reach, lon + wide, lat + reach)
    points: Any = shapely.points(anchors)
    ours, theirs = shapely.STRtree(points).query(boxes)
    east = (anchors[theirs, 0] - lon[ours]) * np.cos(np.radians(lat[ours]))
    metres = np.hypot(east, anchors[theirs, 1] - lat[ours]) * _METRES_A_DEGREE
    pairs = sorted(
        (distance, known[j].id, i)
        for distance, i, j in zip(metres.tolist(), ours.tolist(), theirs.tolist(), strict=True)
        if distance <= REACH_M and known[j].kind == places[i][0]
    )
    kept: dict[tuple[Hashable, float, float, str], str] = {}
    taken: set[tuple[Hashable, str]] = set()
    for _, id_, i in pairs:
        place = places[i]
        if place not in kept and (place[0], id_) not in taken:
            kept[place] = id_
            taken.add((place[0], id_))
    return kept


def _centre(degrees: float, size: float) -> str:
    return f"{round(float(degrees) / size) * size + 0.0:.4f}"
