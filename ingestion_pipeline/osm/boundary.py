"""The boundary of a city: what it is called, whether it is the right one, and what it owns.

Belongs here: what is to be known of a boundary, whatever the source. Does not belong here: finding
the relation (`overpass.py`, `extract.py`) and closing its rings (`assemble.py`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ingestion_pipeline.core.boundary import BboxBoundary, PolygonBoundary
from ingestion_pipeline.core.characters import are_storable
from ingestion_pipeline.core.errors import quoted
from ingestion_pipeline.osm.errors import BoundaryNameMismatch, BoundaryOutsideBbox

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
"""Keys that name a place of today, alone or with a language (`name:ru`, `alt_name:zh-Hant`).

Source: "Names" of the OSM wiki. Former names (`old_name`) are left out on purpose: a place that
has taken over another's name must not pass for it."""


def boundary_names(tags: Mapping[str, str]) -> frozenset[str]:
    """Give every name that the tags of a boundary state; `a;b` is two names, invalid text none."""
    return frozenset(
        name.strip()
        for key, value in tags.items()
        if NAME_KEY.fullmatch(key) and are_storable([value])
        for name in value.split(";")
        if name.strip()
    )


def known_boundary(area: Area, *, city: str) -> Boundary | None:
    """Return the city's boundary if it is known before data is read; None for a relation.

    Args:
        area: What is asked for.
        city: The city's slug, for messages.

    Raises:
        BoundaryError: Its file cannot be used, or reaches beyond the window.
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
    """Give the city's boundary, after making sure that it is the city's.

    Args:
        reading: What was read, with the boundary relation if the city has one.
        area: What was asked for.
        city: The city's slug, for messages.
        names_match: Whether one of these names is the city's.

    Raises:
        BoundaryNameMismatch: None of the relation's names is one of the city's.
        BoundaryOutsideBbox: It reaches beyond the window that was fetched.
        BoundaryError: Its file cannot be used.
    """
    known = known_boundary(area, city=city)
    if known is not None:
        return known
    relation = area.boundary_name
    assert reading.boundary is not None, f"the reader must give {relation} or fail"
    if not names_match(reading.boundary_names):
        shown = sorted(reading.boundary_names)[:5]
        named = ", ".join(quoted(name, most=100) for name in shown) or "nothing"
        raise BoundaryNameMismatch(
            f"the boundary {relation} of {city} is called {named}, none of which is a name of the "
            "city; correct boundary_ref, or add the name to the city's names"
        )
    return _within_window(reading.boundary, area, city=city)


def _within_window(polygon: shapely.Geometry, area: Area, *, city: str) -> PolygonBoundary:
    """Return a boundary that reaches nowhere beyond the window."""
    import shapely

    west, south, east, north = shapely.bounds(polygon).tolist()
    window = area.bbox
    if west < window.west or south < window.south or east > window.east or north > window.north:
        raise BoundaryOutsideBbox(
            f"the boundary {area.boundary_name} of {city} spans [{west}, {south}, {east}, "
            f"{north}], beyond the city's bbox {list(window)}, so POIs would be missing; enlarge "
            "the bbox"
        )
    return PolygonBoundary(polygon)
