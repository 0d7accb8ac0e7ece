"""A staged day as a file for other tools.

Belongs here: the formats. Does not belong here: reading the day (`staging/days.py`).
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from ingestion_pipeline.errors import IngestionError
from ingestion_pipeline.hashing import canonical_json
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import read_rows, require_staged

if TYPE_CHECKING:
    import geopandas as gpd
    import sqlalchemy as sa

    from ingestion_pipeline.staging.days import Slice

Format = Literal["geojson", "gpkg", "parquet", "csv"]


class FileNotWritten(IngestionError):
    """The place for an exported file cannot be written."""

    code = "file_not_written"


def export_day(engine: sa.Engine, target: Slice, *, path: Path, format: Format) -> int:  # noqa: A002
    """Write a staged day to a file, which is replaced as a whole if it exists.

    Every row carries the columns of the table, the day, and `as_of`. Coordinates are EPSG:4326, lon
    before lat, with every digit. GeoJSON (RFC 7946) keeps JSON columns as objects; the other
    formats have them as text, and CSV has the geometry as WKT.

    Args:
        engine: The database.
        target: The day's slice.
        path: The file.
        format: How to write it.

    Returns:
        How many rows were written.

    Raises:
        DayNotStaged: The day is not staged.
        FileNotWritten: The place for the file cannot be written.
    """
    import geopandas as gpd
    import shapely

    with read_transaction(engine) as connection:
        partition = require_staged(connection, target)
        rows = [dict(row) for row in read_rows(connection, target)]
    geometry = shapely.from_wkb([row.pop("geometry") for row in rows])
    # Areas are stored with clockwise shells; RFC 7946 and GeoParquet's readers want the other way.
    areal = shapely.get_dimensions(geometry) == 2  # noqa: PLR2004 - an area's
    geometry[areal] = shapely.reverse(geometry[areal])
    frame = gpd.GeoDataFrame(
        [_plain(row, nested=format == "geojson") for row in rows], geometry=geometry, crs=4326
    )
    frame.insert(0, "day", target.day.isoformat())
    frame.insert(1, "as_of", partition["as_of"].isoformat())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".exporting-", dir=path.parent) as folder:
            beside = Path(folder) / path.name
            _write(frame, beside, format, layer=str(target.table.name))
            beside.replace(path)
    except OSError as error:
        raise FileNotWritten(
            f"{path} cannot be written ({error.strerror}); choose another --output"
        ) from error
    return len(frame)


def _write(frame: gpd.GeoDataFrame, path: Path, format: Format, *, layer: str) -> None:  # noqa: A002
    if format == "geojson":
        path.write_text(frame.to_json(drop_id=True, ensure_ascii=False), encoding="utf-8")
    elif format == "gpkg":
        frame.to_file(path, driver="GPKG", layer=layer)
    elif format == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_wkt(rounding_precision=-1).to_csv(path, index=False)


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
