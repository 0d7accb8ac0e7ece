"""Which key of a feed's table would help, if few or none of its records are in the city."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.sources.feed.positions import is_geometry, number_of, pair_of
from ingestion_pipeline.sources.feed.records import id_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.core.arrays import FloatArray
    from ingestion_pipeline.core.rejection import Rejection
    from ingestion_pipeline.sources.feed.records import Records

_COMMA = re.compile(r"[-+]?\d+,\d+")
_DEGREE_SIGN = re.compile("[°º]")
_SAMPLE = 50
_MAX_SYSTEMS = 400
_OTHER_AXES = re.compile(r"\((N-E|N,E|N-zE|zE-N|E-N)\)")
_NEW_CODES = range(10_000, 20_000)
_DATUM = 0.02
_FOUND_SHARE = 0.5
_SHOWN_KINDS = 8
_DEGREES = 180.0


def hints(
    records: Records,
    geometry: npt.NDArray[np.object_],
    rejections: Sequence[Rejection],
    feed: Feed,
    *,
    bbox: Sequence[float],
) -> str:
    """Return sentences that name the keys to set; empty if nothing of it is recognized.

    Args:
        records: The records.
        geometry: (N,) their geometries as they were read, or None.
        rejections: The rejections.
        feed: The feed.
        bbox: The city's window: west, south, east, north in WGS 84 degrees.
    """
    reasons = Counter(each.reason for each in rejections)
    found: list[str] = []
    if records.problems:
        found += _of_texts(records.values, feed, bbox)
    found += _of_grid(geometry, feed, bbox)
    found += _of_extent(geometry, bbox)
    if reasons["unknown_kind"]:
        found += _of_kinds(records, feed)
    if reasons["no_id"] or reasons["duplicate_id"]:
        found.append(_of_ids(records))
    return " ".join(found)


def _of_texts(
    values: Sequence[Mapping[str, Any]], feed: Feed, bbox: Sequence[float]
) -> Iterator[str]:
    """Yield what to do about fields of coordinates that are not understood."""
    for key in ("lon", "lat", "lat_lon", "lon_lat", "geometry"):
        name = getattr(feed, key)
        if name is None:
            continue
        objects = [record[name] for record in values if isinstance(record.get(name), dict)]
        if objects:
            yield _of_objects(name, objects[0])
            return
        cells = [record[name] for record in values if isinstance(record.get(name), str)]
        texts = [cell.strip() for cell in cells[:_SAMPLE] if cell.strip()]
        if not texts:
            continue
        if _most(texts, _has_degrees):
            yield (
                f"{name} has degrees that are not read, such as {texts[0][:40]!r}: their letters "
                "are N, S, E and W, and both coordinates in one field need lat_lon. Ask the "
                "publisher for decimal numbers."
            )
            return
        pairs = [pair for pair in (pair_of(text, ".") for text in texts) if pair]
        is_comma = _COMMA.fullmatch if key in ("lon", "lat") else _pair_with_comma
        if feed.decimal == "." and _most(texts, is_comma):
            yield (f'{name} has a decimal comma, such as {texts[0][:40]!r}. Set decimal = ",".')
            return
        if feed.decimal == "," and _most(texts, lambda text: number_of(text, ".")):
            yield f"{name} has a decimal point, such as {texts[0][:40]!r}. Remove decimal."
            return
        if key in ("lon", "lat", "geometry") and len(pairs) > _FOUND_SHARE * len(texts):
            order = _order(np.array(pairs, dtype=float), bbox)
            instead = "geometry" if key == "geometry" else "lon and lat"
            yield (
                f"{name} has both coordinates, such as {texts[0][:40]!r}. Set "
                f'{order} = "{name}" instead of {instead}.'
            )
            return
        if key in ("lat_lon", "lon_lat") and texts[0].upper().startswith(("POINT", "MULTI", "{")):
            yield f'{name} has geometries. Set geometry = "{name}" instead of {key}.'
            return


def _of_objects(name: str, first: Mapping[str, Any]) -> str:
    """Return what to do about a field that has an object in place of a coordinate."""
    if first.keys() & {"rings", "paths", "points"}:
        return f'{name} has geometries of Esri. Ask the service for f=geojson, format = "geojson".'
    if is_geometry(first):
        return f'{name} has geometries. Set geometry = "{name}" instead.'
    members = ", ".join(f"{name}.{member}" for member in first)
    return f"{name} has objects with members. Set lon and lat to two of {members[:200]}."


def _has_degrees(text: str) -> bool:
    is_read = number_of(text, ".") is not None or pair_of(text, ".")
    return _DEGREE_SIGN.search(text) is not None and not is_read


def _pair_with_comma(text: str) -> list[float | None]:
    """Return a pair that only a decimal comma explains; or none."""
    return [] if pair_of(text, ".") else pair_of(text, ",")


def _order(pairs: FloatArray, bbox: Sequence[float]) -> str:
    """Return the key for pairs: the order in which more of them are in the city."""
    west, south, east, north = bbox
    first, second = pairs.T
    lon_lat = (west <= first) & (first <= east) & (south <= second) & (second <= north)
    lat_lon = (west <= second) & (second <= east) & (south <= first) & (first <= north)
    return "lon_lat" if lon_lat.sum() > lat_lon.sum() else "lat_lon"


def _of_grid(geometry: npt.NDArray[np.object_], feed: Feed, bbox: Sequence[float]) -> Iterator[str]:
    """Yield the coordinate systems in which most coordinates off the Earth are in the city."""
    import shapely

    points = shapely.get_coordinates(shapely.centroid(geometry[~shapely.is_missing(geometry)]))
    off = points[(np.abs(points) > _DEGREES).any(axis=1) & np.isfinite(points).all(axis=1)]
    if feed.crs is not None or len(off) <= _FOUND_SHARE * len(points) or not len(off):
        return
    systems = systems_of(off[:_SAMPLE], bbox)
    example = ", ".join(f"{each:g}" for each in off[0])
    what = f"Its coordinates, such as {example}, are not degrees but those of a national grid. "
    if systems:
        code, name, share = systems[0]
        yield (
            f'{what}Set crs = "{code}" ({name}), in which {share:.0%} of them are in the city'
            + (f"; or {' or '.join(each[0] for each in systems[1:4])}." if systems[1:] else ".")
        )
    else:
        yield f'{what}Set crs to its system, such as "EPSG:27700"; ask the publisher which it is.'


def _of_extent(geometry: npt.NDArray[np.object_], bbox: Sequence[float]) -> Iterator[str]:
    """Yield where the records are, if most of them are elsewhere on the Earth."""
    import shapely

    points = shapely.get_coordinates(shapely.centroid(geometry[~shapely.is_missing(geometry)]))
    points = points[(np.abs(points) <= (_DEGREES, _DEGREES / 2)).all(axis=1)]
    if not len(points):
        return
    west, south, east, north = bbox
    lon, lat = points.T
    inside = (west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)
    if inside.mean() < 1 - _FOUND_SHARE:
        yield (
            f"Its places are at longitudes {lon.min():.2f} to {lon.max():.2f} and latitudes "
            f"{lat.min():.2f} to {lat.max():.2f}, and the city at {west:.2f} to {east:.2f} and "
            f"{south:.2f} to {north:.2f}. Check that it is a feed of the city, and its crs."
        )


def systems_of(points: FloatArray, bbox: Sequence[float]) -> list[tuple[str, str, float]]:
    """Return the EPSG systems in which points are in the city: code, name and share of points.

    The smallest area of use comes first, because a national system is likelier than a world one.
    """
    from pyproj import Proj, Transformer
    from pyproj.aoi import AreaOfInterest
    from pyproj.database import query_crs_info
    from pyproj.enums import PJType
    from pyproj.exceptions import ProjError

    west, south, east, north = bbox
    known = query_crs_info(
        auth_name="EPSG", pj_types=[PJType.PROJECTED_CRS], area_of_interest=AreaOfInterest(*bbox)
    )
    # A system with several areas of use is listed once for each.
    systems = {f"EPSG:{each.code}": each for each in sorted(known, key=_size)}
    # A projection without its datum is some hundred metres off, and 150 times as fast.
    near = (west - _DATUM, south - _DATUM, east + _DATUM, north + _DATUM)
    found = []
    for code, each in islice(systems.items(), _MAX_SYSTEMS):
        try:
            if _share(Proj(code)(points[:, 0], points[:, 1], inverse=True), near) <= _FOUND_SHARE:
                continue
            transform = Transformer.from_crs(code, "EPSG:4326", always_xy=True, only_best=False)
            share = _share(transform.transform(points[:, 0], points[:, 1]), bbox)
        except ProjError:
            continue
        if share > _FOUND_SHARE:
            found.append((code, each.name, share))
    return sorted(found, key=lambda each: (-each[2], _is_unusual(*each[:2])))


def _share(lon_lat: tuple[FloatArray, FloatArray], bbox: Sequence[float]) -> float:
    """Return the share of points inside of a window."""
    lon, lat = map(np.asarray, lon_lat)
    west, south, east, north = bbox
    return float(((west <= lon) & (lon <= east) & (south <= lat) & (lat <= north)).mean())


def _is_unusual(code: str, name: str) -> bool:
    """Return whether a system was registered lately, or is another one but for its axes.

    The name of the latter has the axes in brackets: "ETRS89 / UTM zone 32N (N-E)".
    """
    return int(code.partition(":")[2]) in _NEW_CODES or _OTHER_AXES.search(name) is not None


def _size(system: Any) -> float:
    """Return the size of a system's area of use, in square degrees."""
    west, south, east, north = map(float, system.area_of_use.bounds)
    return ((east - west) % 360) * (north - south)


def _of_kinds(records: Records, feed: Feed) -> Iterator[str]:
    name = feed.kind_field or ""
    counts = Counter(str(values.get(name))[:40] for values in records.values)
    unknown = [
        f"{value!r} ({count})" for value, count in counts.most_common() if value not in feed.kinds
    ]
    if unknown:
        yield (
            f"{name} has values that the table of kinds does not have: "
            f"{', '.join(unknown[:_SHOWN_KINDS])}. Add them to kinds."
        )


def _of_ids(records: Records) -> str:
    names = dict.fromkeys(name for each in records.properties[:_SAMPLE] for name in each)
    unique = [
        name
        for name in names
        if len({id_of(each.get(name)) for each in records.properties} - {None}) == len(records)
    ]
    if unique:
        shown = ", ".join(repr(name) for name in unique[:5])
        return f"Fields whose values are all different: {shown}. Set record_id to one of them."
    return (
        "No field has a different value in each record. Set record_id to a list of fields, or to "
        '"@position".'
    )


def _most(texts: Sequence[str], applies: Callable[[str], object]) -> bool:
    return sum(bool(applies(text)) for text in texts) > _FOUND_SHARE * len(texts)
