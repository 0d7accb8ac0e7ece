"""What a GeoPackage wants to be told about its tables.

Belongs here: upkeep of `gpkg_contents`. Does not belong here: making the file one (the first
migration), and encoding geometries (`geometry.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingestion_pipeline.staging.types import geopackage_datetime

if TYPE_CHECKING:
    from datetime import datetime


def refresh_contents(connection: sa.Connection, table: sa.Table, *, now: datetime) -> None:
    """Write a layer's extent and time of change, by which QGIS zooms to it.

    The extent is that of the representative points: cheap, and close enough for its purpose, which
    the standard calls informative.
    """
    connection.execute(
        sa.text(
            f"""
            UPDATE gpkg_contents SET
              last_change = :now,
              (min_x, min_y, max_x, max_y) =
                (SELECT min(lon), min(lat), max(lon), max(lat) FROM {table.name})
            WHERE table_name = :table
            """  # noqa: S608 - the name comes from tables.py
        ),
        {"now": geopackage_datetime(now), "table": table.name},
    )
