"""Frames between assets: GeoParquet files that say where their rows come from.

Belongs here: writing and reading them. Does not belong here: their columns (`osm/normalize.py`).

    <lake>/frames/<dataset>/<city>/<boundary>/<day>.parquet

A file follows GeoParquet 1.1 (WKB, EPSG:4326), so that GeoPandas, DuckDB and QGIS open it. Its
metadata carries the evidence of its rows and the rejected objects, so that the staging step needs
nothing else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.lake.errors import SnapshotDamaged, SnapshotMissing
from ingestion_pipeline.lake.snapshots import boundary_folder

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa

    from ingestion_pipeline.lake.snapshots import Lake

_EVIDENCE = b"ingestion_evidence"
_GEOMETRY = "geometry"
_ROW_GROUP = 65_536


def frame_key(dataset: str, city_slug: str, boundary_ref: str, day: date) -> str:
    """Name the frame of a city-day in the lake."""
    return f"frames/{dataset}/{city_slug}/{boundary_folder(boundary_ref)}/{day.isoformat()}.parquet"


def write_frame(lake: Lake, key: str, table: pa.Table, evidence: dict[str, Any]) -> str:
    """Write rows with their evidence; give where they are.

    Args:
        lake: Where to.
        key: See `frame_key`.
        table: Rows with a WKB column `geometry` (EPSG:4326).
        evidence: Any JSON object.

    Raises:
        LakeUnavailable: The lake cannot be written.
    """
    import pyarrow.parquet as pq
    from pyproj import CRS

    geo = {
        "version": "1.1.0",
        "primary_column": _GEOMETRY,
        "columns": {
            _GEOMETRY: {
                "encoding": "WKB",
                "geometry_types": [],
                "crs": CRS.from_epsg(4326).to_json_dict(),
            }
        },
    }
    described = table.replace_schema_metadata(
        {b"geo": json.dumps(geo).encode(), _EVIDENCE: json.dumps(evidence).encode()}
    )
    with lake.written(key) as stream:
        pq.write_table(described, stream, compression="zstd", row_group_size=_ROW_GROUP)
    return lake.address(key)


def read_frame(lake: Lake, key: str) -> tuple[pa.Table, dict[str, Any]]:
    """Read rows and their evidence back.

    Raises:
        SnapshotMissing: There is no such frame.
        SnapshotDamaged: It is no Parquet file.
        LakeUnavailable: The lake cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with lake.opened(key) as stream:
            table = pq.read_table(stream)
    except FileNotFoundError as error:
        raise SnapshotMissing(
            f"{lake.address(key)} does not exist; materialize osm_pois of this city and day first"
        ) from error
    except pa.ArrowInvalid as error:
        raise SnapshotDamaged(
            f"{lake.address(key)} cannot be read as Parquet ({error}); materialize osm_pois of "
            "this city and day again"
        ) from error
    return table, json.loads(table.schema.metadata[_EVIDENCE])
