"""Rows from values of any source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ingestion_pipeline.columns.rows import rows_of

MOMENT = pa.timestamp("s", "UTC")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("name", ["a", None], pa.array(["a", None])),
        ("licence", "CC0-1.0", pa.array(["CC0-1.0", "CC0-1.0"])),
        ("parent_ref", None, pa.nulls(2, pa.string())),
        ("osm_id", None, pa.nulls(2, pa.int64())),
        ("osm_version", None, pa.nulls(2, pa.int32())),
        ("osm_timestamp", None, pa.nulls(2, MOMENT)),
        ("osm_id", pa.array([1, 2]), pa.array([1, 2])),
        ("lon", np.array([1.5, 2.0]), pa.array([1.5, 2.0])),
        ("geometry", np.array([b"a", b"bc"], dtype=object), pa.array([b"a", b"bc"])),
    ],
)
def test_a_column_has_its_type_whatever_its_values_are(
    name: str, values: Any, expected: pa.Array[Any]
) -> None:
    rows = rows_of({"source_ref": ["1", "2"], name: values}, 2)
    assert rows.column_names == ["source_ref", name]
    assert rows.column(name).combine_chunks().equals(expected)
