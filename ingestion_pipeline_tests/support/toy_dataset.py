"""A dataset of benches: all that a new dataset is made of, in one file."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import shapely
import sqlalchemy as sa

from ingestion_pipeline.columns.hashing import canonical_json, digest, with_content_hash
from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.datasets.base import Counted, Dataset, DayRead
from ingestion_pipeline.osm.assemble import take
from ingestion_pipeline.osm.locate import locate
from ingestion_pipeline.osm.selection import POIS
from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.tables import Views, version_table
from ingestion_pipeline.staging.types import REAL, Json


def declare() -> sa.Table:
    """Declare the table; in a real dataset's module it is a constant."""
    return version_table(
        "bench",
        sa.Column("material", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("names", Json, nullable=False),
        sa.Column("tags", Json, nullable=False),
        sa.Column("geometry", Geometry, nullable=False),
        sa.Column("lon", REAL, nullable=False),
        sa.Column("lat", REAL, nullable=False),
        sa.Column("opening_hours", sa.Text),
        sa.Column("licence", sa.Text, nullable=False),
        sa.Column("attribution", sa.Text, nullable=False),
        dataset="bench",
        class_column="material",
        views=Views("bench_day", "bench_current", "bench_change"),
        job_type="benches_import",
    )


def shape(read: DayRead) -> Frame:
    """Return the benches of a city."""
    features = read.reading.features
    is_bench = np.array([tags.get("amenity") == "bench" for tags in features.tags], dtype=bool)
    located = locate(take(features, is_bench), read.boundary)
    benches = located.features
    count = len(benches)
    text = pa.string()
    rows = pa.table(
        {
            "source_ref": pa.array(benches.source_refs(), text),
            "source_hash": pa.array([digest([tags]) for tags in benches.tags], text),
            "material": pa.array([tags.get("material", "?") for tags in benches.tags], text),
            "name": pa.array([tags.get("name") for tags in benches.tags], text),
            "names": pa.array(["{}"] * count, text),
            "tags": pa.array([canonical_json(tags) for tags in benches.tags], text),
            "geometry": pa.array(shapely.to_wkb(benches.geometry, byte_order=1), pa.binary()),
            "lon": pa.array(located.lon),
            "lat": pa.array(located.lat),
            "opening_hours": pa.array([None] * count, text),
            "licence": pa.array([read.evidence.licence] * count, text),
            "attribution": pa.array([read.evidence.attribution] * count, text),
        }
    )
    return Frame(
        with_content_hash(rows),
        read.evidence,
        read.boundary,
        read.reading.rejections + located.rejections,
        {"outside": located.outside},
    )


BENCH = Dataset(
    name="bench",
    things="benches",
    classes="materials",
    meanings=lambda: lambda material: material,
    minimum_key="minimum_benches",
    selection=POIS,
    shape=shape,
    group="benches",
    snapshot_asset="bench_snapshot",
    staging_asset="benches",
    counted={"materials": Counted("material", "material")},
    counts={"outside": "outside_boundary"},
)
