"""Rows of helper places as a table, from OpenStreetMap and from feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingestion_pipeline.columns.arrow import texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

ATTRIBUTE_COLUMNS = ("access", "fee", "wheelchair", "level", "operator")
"""Attributes with a column of their own."""

_COLUMNS = (
    *("source_ref", "kind", "parent_ref", "derived_from"),
    *("osm_type", "osm_id", "osm_version", "osm_timestamp"),
    *("name", "name_source", "names", "tags"),
    *("geometry", "lon", "lat", "point_source", "geom_quality"),
    *("access", "fee", "wheelchair", "opening_hours", "level", "operator", "attributes"),
    *("status", "links", "licence", "attribution"),
)


def helper_rows(count: int, columns: Mapping[str, Any]) -> pa.Table:
    """Return a table with the columns of `helper_place`, from `kind` on, and `source_ref`.

    Args:
        count: The number of rows.
        columns: Values by column: one for each row, or one text for all rows. A column that is
            not given is null; `links` is then an empty list.
    """
    import pyarrow as pa

    types: dict[str, Any] = {
        "osm_id": pa.int64(),
        "osm_version": pa.int32(),
        "osm_timestamp": pa.timestamp("s", "UTC"),
        "geometry": pa.binary(),
        "lon": pa.float64(),
        "lat": pa.float64(),
    }
    given = {"links": "[]", **columns}
    arrays = []
    for name in _COLUMNS:
        values = given.get(name)
        if isinstance(values, str) or values is None:
            values = [values] * count
        of_type = types.get(name)
        arrays.append(texts(values) if of_type is None else pa.array(values, of_type))
    return pa.Table.from_arrays(arrays, names=list(_COLUMNS))
