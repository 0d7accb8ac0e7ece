"""Column types for PostgreSQL and GeoPackage: numbers, JSON and time.

A GeoPackage allows a fixed list of column types (OGC 12-128r18, table 1). SQLAlchemy's names for
SQLite (VARCHAR, BIGINT, JSON) are not on it.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ingestion_pipeline.columns.hashing import canonical_json

if TYPE_CHECKING:
    from sqlalchemy.engine import Dialect
    from sqlalchemy.types import TypeEngine

BIG_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
REAL: sa.Double[float] = sa.Double().with_variant(sqlite.REAL(), "sqlite")


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value: JSONB on PostgreSQL, canonical TEXT in a GeoPackage."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Encode a value; on PostgreSQL, JSONB does it."""
        if value is None or dialect.name == "postgresql":
            return value
        return canonical_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Decode a value."""
        if value is None or dialect.name == "postgresql":
            return value
        return json.loads(value)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime: TIMESTAMPTZ, or the GeoPackage's DATETIME text.

    A GeoPackage stores milliseconds (`2026-11-20T03:04:05.678Z`). Values are truncated to
    milliseconds on both databases, so that they give equal rows.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        return dialect.type_descriptor(_GeoPackageDateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Encode a moment."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; moments are stored in UTC")
        value = value.astimezone(UTC)
        value = value.replace(microsecond=value.microsecond // 1000 * 1000)
        return value if dialect.name == "postgresql" else geopackage_datetime(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Decode a moment."""
        if value is None:
            return None
        if dialect.name == "postgresql":
            return value.astimezone(UTC)  # type: ignore[no-any-return]
        return datetime.fromisoformat(value)


class _GeoPackageDateTime(sa.types.UserDefinedType[str]):
    """DATETIME that passes text through; SQLAlchemy's type for SQLite converts it."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "DATETIME"


def geopackage_datetime(value: datetime) -> str:
    """Return a moment in a GeoPackage's format, with milliseconds in UTC."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
