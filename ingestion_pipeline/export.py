"""Export of a staged day as a file for other tools.

All formats except GeoJSON get their column types from one Arrow schema, which is derived from the
table (`staging/tables.py`).
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.columns.geoparquet import geo_metadata
from ingestion_pipeline.columns.hashing import canonical_json
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import read_rows, require_staged
from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.tables import CLASS_COLUMNS, LEGENDS
from ingestion_pipeline.staging.types import Json, UtcDateTime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt
    import pyarrow as pa

    from ingestion_pipeline.core.formats import Format
    from ingestion_pipeline.staging.days import Slice

_GEOMETRY = "geometry"
_BBOX = "bbox"
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SRID = 4326
_GEOPACKAGE_VERSION = "1.3"
"""GDAL before 3.7.1 warns about newer versions."""
_ROW_GROUP = 8_192
"""Rows in a group of GeoParquet, near each other: a window of a large city reads few groups."""
_TILE_ZOOMS = (6, 14)
_TILE_COLUMNS = ("source_ref", "source", "name", "status", "opening_hours")
"""What tiles have beside the day, the class and its group: each zoom has every feature."""
_TILE_LIMITS = {"MAX_SIZE": str(1 << 30), "MAX_FEATURES": "10000000"}
"""Above any city: at a limit, GDAL drops features without a word."""
_LEFT_OUT = "id"
"""A key of the database that changes when the day is staged again."""

_EXECUTED = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""The beginning of text that a spreadsheet may execute, or that looks like marked text."""


class FileNotWritten(IngestionError):
    """The exported file cannot be written."""

    code = "file_not_written"


def export_day(engine: sa.Engine, target: Slice, *, path: Path, format: Format) -> int:  # noqa: A002
    """Write a staged day to a file; an existing file is replaced as a whole.

    Every row has the columns of the table, the day, and `as_of`. Their types depend on the table,
    not on the day's values. Coordinates are EPSG:4326, lon before lat, with full precision. GeoJSON
    (RFC 7946) keeps JSON columns as objects; the other formats have them as text. GeoParquet (1.1)
    has a bounding box for each row, and rows near each other together. FlatGeobuf has a spatial
    index. PMTiles has points and few columns (`_write_tiles`). CSV has the geometry as WKT, and an
    apostrophe before text that a spreadsheet may execute.

    Args:
        engine: The database.
        target: The day's slice.
        path: The file.
        format: The format of the file.

    Returns:
        The number of rows.

    Raises:
        DayNotStaged: The day is not staged.
        FileNotWritten: The file cannot be written.
    """
    import shapely

    with read_transaction(engine) as connection:
        partition = require_staged(connection, target)
        of_day = {"day": target.day, "as_of": partition["as_of"]}
        rows = [of_day | dict(row) for row in read_rows(connection, target)]
    # Stored shells are clockwise; RFC 7946 and the GeoParquet metadata need counterclockwise ones.
    geometry = shapely.orient_polygons(shapely.from_wkb([row[_GEOMETRY] for row in rows]))
    with replacing(path) as beside:
        if format == "geojson":
            _write_geojson(beside, rows, geometry)
        elif format == "gpkg":
            _write_geopackage(beside, _table(target, rows, geometry), str(target.table.name))
        elif format == "parquet":
            near = _by_place(geometry)
            table = _table(target, rows, geometry).take(near)
            _write_geoparquet(beside, table, geometry[near])
        elif format == "fgb":
            _write_flatgeobuf(beside, _table(target, rows, geometry), str(target.table.name))
        elif format == "pmtiles":
            _write_tiles(beside, target, rows)
        else:
            _write_csv(beside, _table(target, rows, geometry), geometry)
    return len(rows)


def schema_of(table: sa.Table) -> pa.Schema:
    """Return the Arrow schema of an exported day; the geometry is last, as WKB."""
    import pyarrow as pa

    fields: list[pa.Field[Any]] = [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("as_of", pa.timestamp("ms", "UTC"), nullable=False),
    ]
    fields += [
        pa.field(column.name, _arrow_type(column), nullable=bool(column.nullable))
        for column in table.columns
        if column.name not in (_LEFT_OUT, _GEOMETRY)
    ]
    return pa.schema([*fields, pa.field(_GEOMETRY, pa.binary(), nullable=False)])


def _arrow_type(column: sa.Column[Any]) -> pa.DataType:
    import pyarrow as pa

    types: tuple[tuple[type[Any], pa.DataType], ...] = (
        (Json, pa.string()),
        (UtcDateTime, pa.timestamp("ms", "UTC")),
        (Geometry, pa.binary()),
        (sa.BigInteger, pa.int64()),
        (sa.Integer, pa.int32()),
        (sa.Double, pa.float64()),
        (sa.Date, pa.date32()),
        (sa.Text, pa.string()),
    )
    for of_table, of_arrow in types:
        if isinstance(column.type, of_table):
            return of_arrow
    raise TypeError(f"{column} is of the type {column.type!r}, for which exports have none")


def _table(target: Slice, rows: Sequence[dict[str, Any]], geometry: npt.NDArray[Any]) -> pa.Table:
    import pyarrow as pa
    import shapely

    schema = schema_of(target.table)
    is_json = {column.name for column in target.table.columns if isinstance(column.type, Json)}
    columns = {
        name: [canonical_json(row[name]) if name in is_json else row[name] for row in rows]
        for name in schema.names[:-1]
    }
    columns[_GEOMETRY] = list(shapely.to_wkb(geometry, flavor="iso", byte_order=1))
    return pa.table(columns, schema)


@contextmanager
def replacing(path: Path, *, option: str = "--output") -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces the file.

    Args:
        path: The file.
        option: The option of the command that names it.

    Raises:
        FileNotWritten: The file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".exporting-", dir=path.parent) as folder:
            beside = Path(folder) / path.name
            yield beside
            beside.replace(path)
    except OSError as error:
        raise FileNotWritten(
            f"{path} cannot be written ({error.strerror}); choose another {option}"
        ) from error


def _write_geojson(path: Path, rows: Sequence[dict[str, Any]], geometry: npt.NDArray[Any]) -> None:
    import shapely

    with path.open("w", encoding="utf-8") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for number, (row, shape) in enumerate(zip(rows, geometry, strict=True)):
            feature = {
                "type": "Feature",
                "properties": {
                    name: value.isoformat() if isinstance(value, date) else value
                    for name, value in row.items()
                    if name not in (_LEFT_OUT, _GEOMETRY)
                },
                "geometry": shapely.geometry.mapping(shape),
            }
            file.write((",\n" if number else "\n") + json.dumps(feature, ensure_ascii=False))
        file.write("\n]}\n")


def _write_geopackage(path: Path, table: pa.Table, layer: str) -> None:
    import pyogrio

    pyogrio.write_arrow(
        table,
        path,
        driver="GPKG",
        layer=layer,
        geometry_name=_GEOMETRY,
        geometry_type="Unknown",
        crs=f"EPSG:{_SRID}",
        dataset_options={"VERSION": _GEOPACKAGE_VERSION},
    )


def _write_flatgeobuf(path: Path, table: pa.Table, layer: str) -> None:
    """Write FlatGeobuf with its spatial index, which a reader of a window uses on any server."""
    import pyogrio

    # GDAL makes a folder of a name without this suffix.
    written = path.with_name("day.fgb")
    pyogrio.write_arrow(
        table,
        written,
        driver="FlatGeobuf",
        layer=layer,
        geometry_name=_GEOMETRY,
        geometry_type="Unknown",
        crs=f"EPSG:{_SRID}",
        layer_options={"SPATIAL_INDEX": "YES", "TITLE": layer},
    )
    written.rename(path)


def _write_tiles(path: Path, target: Slice, rows: Sequence[dict[str, Any]]) -> None:
    """Write vector tiles of the representative points, for web maps.

    Every zoom has every feature, with its class and the key of its group in the dataset's legend.
    """
    import pyarrow as pa
    import pyogrio
    import shapely

    class_column = CLASS_COLUMNS[target.dataset]
    group_of = LEGENDS[target.dataset].group_of
    columns = {
        "day": [row["day"].isoformat() for row in rows],
        class_column: [row[class_column] for row in rows],
        "group": [group_of(row[class_column]).key for row in rows],
        **{name: [row[name] for row in rows] for name in _TILE_COLUMNS},
    }
    points = shapely.points([row["lon"] for row in rows], [row["lat"] for row in rows])
    table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
    least, most = _TILE_ZOOMS
    written = path.with_name("day.pmtiles")
    pyogrio.write_arrow(
        table.append_column(_GEOMETRY, pa.array(shapely.to_wkb(points, byte_order=1))),
        written,
        driver="PMTiles",
        layer=str(target.table.name),
        geometry_name=_GEOMETRY,
        geometry_type="Point",
        crs=f"EPSG:{_SRID}",
        dataset_options={
            "NAME": f"{target.city_slug} {target.day}",
            "DESCRIPTION": str(target),
            "MINZOOM": str(least),
            "MAXZOOM": str(most),
            **_TILE_LIMITS,
        },
    )
    written.rename(path)


def _by_place(geometry: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the order of geometries along a Hilbert curve, so that neighbours stand together."""
    import geopandas
    import numpy as np

    return np.argsort(geopandas.GeoSeries(geometry).hilbert_distance().to_numpy(), kind="stable")


def _write_geoparquet(path: Path, table: pa.Table, geometry: npt.NDArray[Any]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import shapely

    bounds = shapely.bounds(geometry).reshape(-1, len(_CORNERS)).T
    boxes = pa.StructArray.from_arrays([pa.array(each) for each in bounds], list(_CORNERS))
    geo = geo_metadata(
        orientation="counterclockwise",
        covering={_BBOX: {corner: [_BBOX, corner] for corner in _CORNERS}},
    )
    pq.write_table(
        table.append_column(_BBOX, boxes).replace_schema_metadata(geo),
        path,
        compression="zstd",
        row_group_size=_ROW_GROUP,
    )


def _write_csv(path: Path, table: pa.Table, geometry: npt.NDArray[Any]) -> None:
    """Write CSV (RFC 4180): text in quotes, null as an empty field."""
    import shapely

    columns = [table.column(name).to_pylist() for name in table.column_names[:-1]]
    columns.append(list(shapely.to_wkt(geometry, rounding_precision=-1)))
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in (table.column_names, *zip(*columns, strict=True)):
            file.write(",".join(map(_cell, row)) + "\r\n")


def _cell(value: Any) -> str:
    """Return a value as a CSV field; text that a spreadsheet may execute gets an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, str):
        marked = f"'{value}" if _EXECUTED.match(value) else value
        return '"' + marked.replace('"', '""') + '"'
    return value.isoformat() if isinstance(value, date) else repr(value)
