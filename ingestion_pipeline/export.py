"""A staged day as a file for other tools.

Belongs here: the formats. Does not belong here: reading the day (`staging/days.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from ingestion_pipeline.hashing import canonical_json
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import read_day, require_staged

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa

    from ingestion_pipeline.staging.days import Slice

Format = Literal["geojson", "gpkg", "parquet", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export_day(engine: sa.Engine, target: Slice, *, path: Path, format: Format) -> int:  # noqa: A002
    """Write a staged day to a file, which is replaced if it exists.

    Every row carries the columns of the table, the day, and `as_of`. Coordinates are EPSG:4326, lon
    before lat. GeoJSON (RFC 7946) keeps JSON columns as objects; the other formats have them as
    text, and CSV has the geometry as WKT.

    Args:
        engine: The database.
        target: The day's slice.
        path: The file.
        format: How to write it.

    Returns:
        How many rows were written.

    Raises:
        DayNotStaged: The day is not staged.
    """
    import geopandas as gpd
    import shapely

    with read_transaction(engine) as connection:
        partition = require_staged(connection, target)
    rows = [dict(row) for row in read_day(engine, target) or ()]
    geometry = shapely.from_wkb([row.pop("geometry") for row in rows])
    frame = gpd.GeoDataFrame(
        [_plain(row, nested=format == "geojson") for row in rows], geometry=geometry, crs=4326
    )
    frame.insert(0, "day", target.day.isoformat())
    frame.insert(1, "as_of", partition["as_of"].isoformat())
    path.parent.mkdir(parents=True, exist_ok=True)
    if format == "geojson":
        path.write_text(frame.to_json(drop_id=True, ensure_ascii=False), encoding="utf-8")
    elif format == "parquet":
        frame.to_parquet(path)
    elif format == "csv":
        frame.to_wkt().to_csv(path, index=False)
    else:
        path.unlink(missing_ok=True)
        frame.to_file(path, driver="GPKG", layer=target.table.name)
    return len(frame)


def _plain(row: dict[str, Any], *, nested: bool) -> dict[str, Any]:
    """Make a row's values such that every format can hold them."""
    return {
        name: canonical_json(value)
        if isinstance(value, dict | list) and not nested
        else value.isoformat()
        if hasattr(value, "isoformat")
        else value
        for name, value in row.items()
        if name != "id"
    }
