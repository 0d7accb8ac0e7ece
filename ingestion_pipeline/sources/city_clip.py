"""City clips: readings of one city as tables, without loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.columns.tag_sets import TagSets
from ingestion_pipeline.core.rejection import Rejection
from ingestion_pipeline.osm.features import Features, Reading

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa


def to_table(reading: Reading) -> tuple[pa.Table, dict[str, Any]]:
    """Return a reading as a table with a row for each feature, and a JSON object for the rest."""
    import pyarrow as pa
    import shapely

    features = reading.features
    table = pa.table(
        {
            "osm_type": pa.array(features.osm_type, pa.string()),
            "osm_id": pa.array(features.osm_id),
            "version": pa.array(features.version),
            "timestamp": pa.array(features.timestamp.astype("datetime64[s]")),
            "tags": pa.array(features.tags.set_of),
            "geom_quality": pa.array(features.geom_quality, pa.string()),
            "geometry": pa.array(shapely.to_wkb(features.geometry, byte_order=1), pa.binary()),
        }
    )
    if features.refs is not None:
        table = table.append_column("refs", pa.array(features.refs, pa.string()))
    return table, {
        "tag_sets": list(features.tags.sets),
        "rejections": [vars(rejection) for rejection in reading.rejections],
        "boundary": None
        if reading.boundary is None
        else shapely.to_wkb(reading.boundary, hex=True),
        "boundary_names": sorted(reading.boundary_names),
    }


def from_table(table: pa.Table, described: Mapping[str, Any]) -> Reading:
    """Return the reading of a table that `to_table` made."""
    import shapely

    def column(name: str) -> Any:
        return table.column(name).to_numpy()

    boundary = described["boundary"]
    return Reading(
        features=Features(
            osm_type=column("osm_type").astype(object),
            osm_id=column("osm_id"),
            version=column("version"),
            timestamp=column("timestamp").astype("datetime64[s]"),
            tags=TagSets(described["tag_sets"], column("tags").astype(np.int64)),
            geometry=np.asarray(shapely.from_wkb(column("geometry")), dtype=object),
            geom_quality=column("geom_quality").astype(object),
            refs=column("refs").astype(object) if "refs" in table.column_names else None,
        ),
        rejections=[Rejection(**each) for each in described["rejections"]],
        boundary=None if boundary is None else shapely.from_wkb(boundary),
        boundary_names=frozenset(described["boundary_names"]),
    )
