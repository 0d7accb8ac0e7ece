"""The row of a public place as a plain dictionary, and what it is made from.

Belongs here: the columns of `poi`, their JSON form in events, and the row of one or two features of
a staged day. Does not belong here: statements (`table.py`), and comparing two rows (`events.py`).

A row has each column of `poi` without `id`: WKB for the geometry, dates, moments, plain values.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.columns.hashing import canonical_json
from ingestion_pipeline.staging.geometry import Geometry
from ingestion_pipeline.staging.tables import poi, poi_ingestion_staging
from ingestion_pipeline.staging.types import Json, UtcDateTime, geopackage_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from ingestion_pipeline.promotion.identity import Place

Row = dict[str, Any]
"""A public place, or some of its columns."""

COLUMNS = tuple(column.name for column in poi.columns if column.name != "id")
"""The columns of a row."""

HASHES = ("content_hash", "source_hash")

CONTENT = tuple(
    name for name in COLUMNS if name in poi_ingestion_staging.columns and name not in HASHES
)
"""The columns that are taken from staging, `city_slug`, `source` and `source_ref` among them."""

STAGED = (*CONTENT, *HASHES)
"""The columns of staging that a row is made from."""

_FILLED = ("opening_hours", "wikidata")
"""Columns that an area takes from its node where it has none."""

_OF_KIND = ("category", "categories", "status")
"""Columns that a mere building takes from its node."""

_MERGED = ("address", "contact", "names", "tags")
"""JSON objects of an area to which the entries of its node are added."""

_EARTH_M = 6_371_008.8
"""The mean radius of the Earth (IUGG)."""


def joined(area: Row, node: Row | None) -> Row:
    """Return the staged row of a place that is mapped as an area and as a node in it.

    The area decides. The node adds what the area lacks, and says what a mere building is.

    Args:
        area: The columns `STAGED` of the area, or of the only feature.
        node: Those of the node.
    """
    if node is None:
        return dict(area)
    from ingestion_pipeline.promotion.likeness import is_outline

    row = dict(area)
    if is_outline(area["categories"], node["categories"]):
        row |= {name: node[name] for name in _OF_KIND}
    if row["name"] is None:
        row["name"], row["name_source"] = node["name"], node["name_source"]
    row |= {name: node[name] for name in _FILLED if row[name] is None}
    row |= {name: {**node[name], **row[name]} for name in _MERGED}
    return row


def refs_of(row: Row | None) -> tuple[str, ...]:
    """Return the refs of a place: its own, and that of its twin."""
    return () if row is None else (row["source_ref"], *sorted(row["other_refs"]))


def upstream_of(row: Row) -> Row:
    """Return a row as it is without its overrides."""
    return row | {column: applied["upstream"] for column, applied in row["overrides"].items()}


def place_of(row: Row) -> Place:
    """Return a row of staging or of the public table as the matcher sees it."""
    import shapely

    from ingestion_pipeline.promotion.identity import Place

    if row.get("overrides"):
        row = upstream_of(row)
    shape: Any = shapely.from_wkb(row["geometry"])
    return Place(
        ref=row["source_ref"],
        category=row["category"],
        categories=tuple(row["categories"]),
        name=row["name"],
        names=row["names"],
        tags=row["tags"],
        contact=row["contact"],
        wikidata=row["wikidata"],
        geometry=shape,
        lon=row["lon"],
        lat=row["lat"],
        geom_quality=row["geom_quality"],
    )


def title_of(row: Row) -> str:
    """Return a place for a person: its name, or its category and ref."""
    return row["name"] or f"{row['category']} {row['source_ref']}"


def metres_between(one: Row, other: Row) -> float:
    """Return the distance of the representative points in metres, 1 decimal (haversine)."""
    south, north = math.radians(one["lat"]), math.radians(other["lat"])
    half_height = math.sin((north - south) / 2) ** 2
    half_width = math.sin(math.radians(other["lon"] - one["lon"]) / 2) ** 2
    chord = half_height + math.cos(south) * math.cos(north) * half_width
    return round(2 * _EARTH_M * math.asin(min(1.0, math.sqrt(chord))), 1)


def to_json(columns: Row) -> Row:
    """Return columns of a row as JSON values: geometries as hexadecimal WKB, times as text."""
    return {name: _to_json(value) for name, value in columns.items()}


def from_json(columns: Mapping[str, Any]) -> Row:
    """Return columns of a row from their JSON values."""
    return {name: _from_json(name, value) for name, value in columns.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return geopackage_datetime(value)
    return value.isoformat() if isinstance(value, date) else value


def _from_json(name: str, value: Any) -> Any:
    kind = poi.columns[name].type
    if value is None:
        return None
    if isinstance(kind, Geometry):
        return bytes.fromhex(value)
    if isinstance(kind, UtcDateTime):
        return datetime.fromisoformat(value)
    if isinstance(kind, sa.Date):
        return date.fromisoformat(value)
    # JSONB stores 24.0 as 24.
    return float(value) if isinstance(kind, sa.Double) else value


def arrow_table(table: sa.Table, rows: Sequence[Row], columns: Sequence[str]) -> pa.Table:
    """Return rows as the columns that `staging.bulk.load` writes."""
    import pyarrow as pa

    return pa.table({name: _arrow_column(table.columns[name].type, name, rows) for name in columns})


def _arrow_column(kind: Any, name: str, rows: Sequence[Row]) -> Any:
    import pyarrow as pa

    from ingestion_pipeline.columns.arrow import binaries, texts

    values = [row[name] for row in rows]
    if isinstance(kind, Json):
        return texts([None if value is None else canonical_json(value) for value in values])
    if isinstance(kind, Geometry):
        return binaries(values)
    if isinstance(kind, sa.Text):
        return texts(values)
    arrow: Any
    if isinstance(kind, UtcDateTime):
        arrow = pa.timestamp("ms", "UTC")
    elif isinstance(kind, sa.Date):
        arrow = pa.date32()
    elif isinstance(kind, sa.Boolean):
        values, arrow = list(map(int, values)), pa.uint8()
    elif isinstance(kind, sa.Double):
        arrow = pa.float64()
    else:
        arrow = pa.int32()
    return pa.array(values, arrow)
