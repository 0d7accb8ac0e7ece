"""The rows of a dataset as a table, from values of any source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion_pipeline.columns.arrow import binaries, numbers, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa


def rows_of(columns: Mapping[str, Any], count: int) -> pa.Table:
    """Return rows with these columns, in this order.

    Args:
        columns: The values of each column: an Arrow array; `count` texts; `count` geometries as
            WKB; an array of `count` doubles; or one text, or None, for all rows.
        count: The number of rows.
    """
    import pyarrow as pa

    arrays = [_array(name, values, count) for name, values in columns.items()]
    # `pyarrow.table` would import pandas
    return pa.Table.from_arrays(arrays, names=list(columns))


def _array(name: str, values: Any, count: int) -> Any:
    import pyarrow as pa

    if isinstance(values, pa.Array):
        return values
    if values is None:
        types: Any = {
            "osm_id": pa.int64(),
            "osm_version": pa.int32(),
            "osm_timestamp": pa.timestamp("s", "UTC"),
        }
        return pa.nulls(count, types.get(name, pa.string()))
    if isinstance(values, str):
        return texts([values] * count)
    if name == "geometry":
        return binaries(list(values))
    if isinstance(values, np.ndarray):
        return numbers(values, pa.float64())
    return texts(values)
