"""The GeoPackage tables `gpkg_contents` and `gpkg_geometry_columns`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingestion_pipeline.staging.types import geopackage_datetime

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def refresh_contents(
    connection: sa.Connection, table: sa.Table, *, views: Sequence[str], now: datetime
) -> None:
    """Update the extent and time of change of a layer and its views.

    The extent is that of the representative points, which is cheap; the standard calls it
    informative. Without it, readers such as QGIS scan all rows of a view.
    """
    connection.execute(
        sa.text(
            f"""
            UPDATE gpkg_contents SET
              last_change = :now,
              (min_x, min_y, max_x, max_y) =
                (SELECT min(lon), min(lat), max(lon), max(lat) FROM {table.name})
            WHERE table_name IN :layers
            """  # noqa: S608 - the name comes from tables.py
        ).bindparams(sa.bindparam("layers", expanding=True)),
        {"now": geopackage_datetime(now), "layers": [table.name, *views]},
    )


def register_view(connection: sa.Connection, view: str, *, of: sa.Table) -> None:
    """Register a view of a table's geometries as a layer (OGC 12-128r18, 2.1.6.1.1)."""
    names = {"view": view, "of": of.name}
    connection.execute(
        sa.text(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, "
            "min_x, min_y, max_x, max_y, srs_id) "
            "SELECT :view, data_type, :view, min_x, min_y, max_x, max_y, srs_id "
            "FROM gpkg_contents WHERE table_name = :of"
        ),
        names,
    )
    connection.execute(
        sa.text(
            "INSERT INTO gpkg_geometry_columns "
            "SELECT :view, column_name, geometry_type_name, srs_id, z, m "
            "FROM gpkg_geometry_columns WHERE table_name = :of"
        ),
        names,
    )


def unregister_view(connection: sa.Connection, view: str) -> None:
    """Remove a view from the layers."""
    for listing in ("gpkg_geometry_columns", "gpkg_contents"):
        connection.execute(
            sa.text(f"DELETE FROM {listing} WHERE table_name = :view"),  # noqa: S608
            {"view": view},
        )
