"""The boundary of a city: its names, its validation, and the points that it owns."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ingestion_pipeline.core.boundary import BboxBoundary, PolygonBoundary
from ingestion_pipeline.core.characters import are_storable
from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.osm.errors import BoundaryNameMismatch, BoundaryOutsideBbox
from ingestion_pipeline.text.value_lists import split_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import shapely

    from ingestion_pipeline.core.boundary import Boundary
    from ingestion_pipeline.osm.area import Area
    from ingestion_pipeline.osm.features import Reading


NAME_KEY = re.compile(
    r"((alt|int|loc|nat|official|reg|short)_)?name"
    r"(:[a-z]{2,3}([-_][A-Za-z0-9]+)*)?"  # the language; not `name:etymology`, `name:prefix`
)
"""Keys of current names, alone or with a language (`name:ru`, `alt_name:zh-Hant`).

Source: "Names" of the OSM wiki. Former names (`old_name`) are excluded, so that a place that has
taken over another's name is not accepted as that place."""


def boundary_names(tags: Mapping[str, str]) -> frozenset[str]:
    """Return all names in a boundary's tags that can be stored; `a;b` is two names."""
    return frozenset(
        name
        for key, value in tags.items()
        if NAME_KEY.fullmatch(key) and are_storable([value])
        for name in split_values(value)
    )


def known_boundary(area: Area, *, city: str) -> Boundary | None:
    """Return the city's boundary if it is known before data is read; None for a relation.

    Args:
        area: The city's area.
        city: The city's slug, for messages.

    Raises:
        BoundaryError: Its file cannot be used, or extends beyond the window.
    """
    if area.boundary_file is not None:
        return _within_window(area.boundary_file.polygon, area, city=city)
    return BboxBoundary(area.bbox) if area.boundary_relation is None else None


def boundary_of(
    reading: Reading,
    area: Area,
    *,
    city: str,
    names_match: Callable[[Iterable[str]], bool],
) -> Boundary:
    """Return the city's boundary after validating it.

    Args:
        reading: The data, with the boundary relation if the city has one.
        area: The city's area.
        city: The city's slug, for messages.
        names_match: Returns whether one of these names is a name of the city.

    Raises:
        BoundaryNameMismatch: None of the relation's names is a name of the city.
        BoundaryOutsideBbox: The boundary extends beyond the fetch window.
        BoundaryError: Its file cannot be used.
    """
    known = known_boundary(area, city=city)
    if known is not None:
        return known
    relation = area.boundary_name
    assert reading.boundary is not None, f"the reader must return {relation} or raise"
    if not names_match(reading.boundary_names):
        shown = sorted(reading.boundary_names)[:5]
        named = ", ".join(quoted(name, most=100) for name in shown) or "nothing"
        raise BoundaryNameMismatch(
            f"The boundary {relation} of {city} is named {named}, which is not a name of the city. "
            "Correct boundary_ref, or add the name to the city's names."
        )
    return _within_window(reading.boundary, area, city=city)


def _within_window(polygon: shapely.Geometry, area: Area, *, city: str) -> PolygonBoundary:
    """Return a boundary if it is within the window."""
    import shapely

    west, south, east, north = shapely.bounds(polygon).tolist()
    window = area.bbox
    if west < window.west or south < window.south or east > window.east or north > window.north:
        raise BoundaryOutsideBbox(
            f"The boundary {area.boundary_name} of {city} spans [{west}, {south}, {east}, "
            f"{north}], beyond the city's bbox {list(window)}, so POIs would be missing. Enlarge "
            "the bbox."
        )
    return PolygonBoundary(polygon)
