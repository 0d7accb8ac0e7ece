"""Rows of helper places as a table, from OpenStreetMap and from feeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingestion_pipeline.columns.rows import rows_of

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
        columns: Values by column; see `rows_of`. A column that is not given is null; `links` is
            then an empty list.
    """
    given = {"links": "[]", **columns}
    return rows_of({name: given.get(name) for name in _COLUMNS}, count)
