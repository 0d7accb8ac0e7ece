"""Very many real places: those of a staged frame beside themselves, until there are enough."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

from ingestion_pipeline.columns.hashing import with_content_hash

if TYPE_CHECKING:
    from pathlib import Path


def crowd(frame: Path, count: int) -> pa.Table:
    """Return rows to stage.

    Args:
        frame: The frame of a small city-day.
        count: The number of rows.
    """
    rows = pq.read_table(frame)
    copies = [_moved(rows, copy) for copy in range(-(-count // rows.num_rows))]
    many = pa.concat_tables(copies).slice(0, count).replace_schema_metadata()
    return with_content_hash(many.drop_columns(["content_hash"]).combine_chunks())


def _moved(rows: pa.Table, copy: int) -> pa.Table:
    east, north = 0.04 * (copy % 8), 0.03 * (copy // 8)
    shapes = shapely.from_wkb(rows.column("geometry").to_numpy())
    moved = shapely.transform(shapes, partial(np.add, (east, north)))
    refs = [f"{ref}{copy:02}" for ref in rows.column("source_ref").to_pylist()]
    changed: dict[str, pa.Array[Any]] = {
        "source_ref": pa.array(refs, pa.string()),
        "geometry": pa.array(shapely.to_wkb(moved, byte_order=1), pa.binary()),
        "lon": pa.array(rows.column("lon").to_numpy() + east),
        "lat": pa.array(rows.column("lat").to_numpy() + north),
    }
    for name, values in changed.items():
        rows = rows.set_column(rows.column_names.index(name), name, values)
    return rows
