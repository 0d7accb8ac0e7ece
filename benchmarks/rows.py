"""Rows to stage: real ones, replicated to any number, and as they are after a change.

Belongs here: making tables. Does not belong here: staging them (`programs/stage.py`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely

from benchmarks.replicate import COPIES_IN_A_ROW, ID_OFFSET, STEP_EAST, STEP_SOUTH

if TYPE_CHECKING:
    from collections.abc import Callable

    Column = pa.Array[Any] | pa.ChunkedArray[Any]

CHANGED = 0.005
"""The share of rows that another day changes."""


def replicated(table: pa.Table, number: int) -> pa.Table:
    """Give so many rows: copies with ids, places and names of their own."""
    copies = -(-number // table.num_rows)
    return pa.concat_tables([_copy(table, copy) for copy in range(copies)]).slice(0, number)


def changed(table: pa.Table, times: int) -> pa.Table:
    """Give the rows after one more change, the so-manieth: another 0.5 % of them has a new name."""
    every = round(1 / CHANGED)
    which = np.arange(table.num_rows) % every == times % every
    return _renamed(table, which, f" since {times}")


def _copy(table: pa.Table, number: int) -> pa.Table:
    if number == 0:
        return table
    row, place = divmod(number, COPIES_IN_A_ROW)
    shift = np.array([place * STEP_EAST, -row * STEP_SOUTH])
    shapes = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    moved = shapely.to_wkb(shapely.transform(shapes, lambda xy: xy + shift), byte_order=1)
    ids = pc.add(table["osm_id"], number * ID_OFFSET)
    columns: dict[str, Column] = {
        "osm_id": ids,
        "source_ref": pa.array(
            [
                f"{kind}/{id_}"
                for kind, id_ in zip(table["osm_type"].to_pylist(), ids.to_pylist(), strict=True)
            ]
        ),
        "lon": pc.add(table["lon"], shift[0]),
        "lat": pc.add(table["lat"], shift[1]),
        "geometry": pa.array(moved, pa.binary()),
    }
    everywhere = np.ones(table.num_rows, dtype=bool)
    return _renamed(_with(table, columns), everywhere, f" {number}")


def _renamed(
    table: pa.Table, which: np.ndarray[tuple[int], np.dtype[np.bool_]], word: str
) -> pa.Table:
    """Add a word to some rows' names, and change the hashes that would change with them."""

    def where(column: str, change: Callable[[str], str]) -> Column:
        old = table[column].to_pylist()
        new = [change(value or "") if hit else value for value, hit in zip(old, which, strict=True)]
        return pa.array(new, pa.string())

    def rehashed(value: str) -> str:
        return hashlib.blake2b((value + word).encode(), digest_size=16).hexdigest()

    hashes = [name for name in table.column_names if name.endswith("_hash")]
    columns: dict[str, Column] = {"name": where("name", lambda name: name + word)}
    return _with(table, columns | {name: where(name, rehashed) for name in hashes})


def _with(table: pa.Table, columns: dict[str, Column]) -> pa.Table:
    for name, values in columns.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table
