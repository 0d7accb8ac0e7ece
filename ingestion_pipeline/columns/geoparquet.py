"""The metadata of GeoParquet 1.1 files (https://geoparquet.org/releases/v1.1.0)."""

import json
from typing import Any

_GEOMETRY = "geometry"


def geo_metadata(**properties: Any) -> dict[bytes, bytes]:
    """Return the metadata of a file whose column `geometry` has WKB in EPSG:4326 (lon lat).

    Args:
        properties: Properties of the column in addition to its encoding and CRS.
    """
    from pyproj import CRS

    geometry = {
        "encoding": "WKB",
        "geometry_types": [],
        "crs": CRS.from_epsg(4326).to_json_dict(),
        **properties,
    }
    geo = {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: geometry}}
    return {b"geo": json.dumps(geo).encode()}
