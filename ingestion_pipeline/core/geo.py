"""Boxes on the map, as plain values in EPSG:4326.

Belongs here: what needs no geometry library. Does not belong here: geometries (`geometry/`), and
the area of a city (`osm/area.py`).
"""

from __future__ import annotations

from typing import NamedTuple


class Bbox(NamedTuple):
    """A bounding box in WGS84 degrees; never crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    def holds(self, other: Bbox) -> bool:
        """Tell whether the other lies within this one."""
        return (
            self.west <= other.west
            and self.south <= other.south
            and self.east >= other.east
            and self.north >= other.north
        )
