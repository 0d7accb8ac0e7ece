"""Bounding boxes (EPSG:4326) as plain values, without a geometry library."""

from __future__ import annotations

from typing import NamedTuple


class Bbox(NamedTuple):
    """A bounding box in degrees (WGS 84). It never crosses the antimeridian."""

    west: float
    south: float
    east: float
    north: float

    def holds(self, other: Bbox) -> bool:
        """Return whether the other box is within this one."""
        return (
            self.west <= other.west
            and self.south <= other.south
            and self.east >= other.east
            and self.north >= other.north
        )
