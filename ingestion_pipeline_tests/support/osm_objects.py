"""Invented nodes of OpenStreetMap, as helper places are derived from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import shapely

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def osm_nodes(
    ids: Sequence[int],
    lon: Sequence[float],
    lat: Sequence[float],
    *,
    timestamp: datetime | None = None,
) -> dict[str, pa.Array[Any]]:
    """Return the columns of `osm.locate.Located` of N nodes, in degrees (EPSG:4326)."""
    count = len(ids)
    return {
        "source_ref": pa.array([f"node/{osm_id}" for osm_id in ids]),
        "osm_type": pa.array(["node"] * count),
        "osm_id": pa.array(ids, pa.int64()),
        "osm_version": pa.array([1] * count, pa.int32()),
        "osm_timestamp": pa.array([timestamp] * count, pa.timestamp("s", "UTC")),
        "geometry": pa.array(shapely.to_wkb(shapely.points(lon, lat)).tolist(), pa.binary()),
        "geom_quality": pa.array(["exact"] * count),
        "lon": pa.array(lon, pa.float64()),
        "lat": pa.array(lat, pa.float64()),
        "point_source": pa.array(["node"] * count),
    }
