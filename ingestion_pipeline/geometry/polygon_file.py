"""Polygons in files: GeoJSON, and the `.poly` files of Osmosis that define extracts.

Sources: "Osmosis/Polygon Filter File Format" of the OSM wiki; RFC 7946.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import shapely

    Ring = list[tuple[float, float]]
    Outline = list[list[Ring]]

MAXIMUM_BYTES = 10_000_000
"""The largest file that is read; the most detailed boundaries of countries have some MB."""

_CORNERS = 3
_CRS_OF_GEOJSON = ("CRS84", "EPSG:4326", "EPSG::4326")


def outline_of(content: bytes) -> Outline:
    """Return the polygons of a file, each as its shell followed by its holes.

    Args:
        content: The file, UTF-8. A file that begins with a brace is GeoJSON.

    Raises:
        ValueError: It is neither GeoJSON nor `.poly`, or has no polygon in degrees.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    outline = _in_geojson(text) if text.lstrip().startswith("{") else _in_poly(text)
    if not outline:
        raise ValueError("it contains no polygon")
    return outline


def polygon_of(outline: Outline) -> shapely.Geometry:
    """Return an outline as a valid Polygon or MultiPolygon (EPSG:4326).

    Raises:
        ValueError: A ring crosses itself; the message gives the place.
    """
    import shapely

    parts = []
    for shell, *holes in outline:
        rings = [shapely.Polygon(ring) for ring in (shell, *holes)]
        for ring in rings:
            if not ring.is_valid:
                raise ValueError(f"a ring is not valid: {shapely.is_valid_reason(ring)}")
        parts.append(rings[0].difference(shapely.union_all(rings[1:])))
    return shapely.union_all(parts)


def _in_geojson(text: str) -> Outline:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not GeoJSON ({error})") from error
    crs = document.get("crs")
    if crs is not None and not str(crs).rstrip("}'\" ").endswith(_CRS_OF_GEOJSON):
        raise ValueError("its coordinate system is not WGS 84; convert it to EPSG:4326")
    return [
        [_ring(ring) for ring in polygon]
        for geometry in _geometries(document)
        for polygon in _polygons(geometry)
    ]


def _geometries(document: dict[str, Any]) -> Iterator[Any]:
    if document.get("type") == "FeatureCollection":
        features = document.get("features")
        for feature in features if isinstance(features, list) else ():
            yield feature.get("geometry") if isinstance(feature, dict) else None
    elif document.get("type") == "Feature":
        yield document.get("geometry")
    else:
        yield document


def _polygons(geometry: Any) -> list[Any]:
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        raise ValueError(
            f"it contains {kind or 'an object without a geometry'}; a boundary consists of "
            "Polygons and MultiPolygons"
        )
    coordinates = geometry.get("coordinates")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    if not isinstance(polygons, list) or not all(isinstance(p, list) and p for p in polygons):
        raise ValueError(f"a {kind} has no coordinates")
    return polygons


def _ring(points: Any) -> Ring:
    if not isinstance(points, list):
        raise ValueError(  # noqa: TRY004  # it is the file's text that is wrong
            f"a ring is {str(points)[:40]!r}, not a list of positions"
        )
    ring: Ring = []
    for point in points:
        try:
            lon, lat = map(float, point[:2])
        except (TypeError, ValueError) as error:
            raise ValueError(f"{str(point)[:40]!r} is not a position") from error
        if not (math.fabs(lon) <= 180 and math.fabs(lat) <= 90):  # noqa: PLR2004  # degrees
            raise ValueError(f"[{lon:g}, {lat:g}] is not a longitude and latitude in degrees")
        ring.append((lon, lat))
    if len(set(ring)) < _CORNERS:
        raise ValueError(f"a ring has {len(set(ring))} corners; at least {_CORNERS} are required")
    return ring


def _in_poly(text: str) -> Outline:
    """Parse a name, then sections: a name (`!` first for a hole), positions and `END`."""
    outline: Outline = []
    name, section = None, []
    for line in [line.strip() for line in text.splitlines() if line.strip()][1:]:
        if name is None and line == "END":
            return outline
        if name is None:
            name = line
        elif line != "END":
            section.append(line.split())
        else:
            ring = _ring(section)
            if name.startswith("!"):
                for polygon in outline:
                    polygon.append(ring)
            else:
                outline.append([ring])
            name, section = None, []
    raise ValueError("it is neither GeoJSON nor a complete .poly file, which ends with END twice")
