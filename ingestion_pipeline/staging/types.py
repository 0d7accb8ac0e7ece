"""Column types that mean the same on PostgreSQL and in a GeoPackage.

Belongs here: text, numbers, JSON and time. Does not belong here: geometry (`geometry.py`).

A GeoPackage allows a closed list of column types (OGC 12-128r18, table 1), so that every reader
knows them; SQLAlchemy's own names for SQLite (VARCHAR, BIGINT, JSON) are not on it.
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
        """Choose the column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Write a value; SQLAlchemy's own JSONB does it on PostgreSQL."""
        if value is None or dialect.name == "postgresql":
            return value
        return canonical_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Read a value."""
        if value is None or dialect.name == "postgresql":
            return value
        return json.loads(value)


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A moment in UTC, aware in Python: TIMESTAMPTZ, or the GeoPackage's DATETIME text.

    A GeoPackage keeps milliseconds (`2026-11-20T03:04:05.678Z`); both databases are cut to them,
    so that a row read from one equals the row read from the other.
    """

    impl = sa.DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the column's type."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(sa.DateTime(timezone=True))
        return dialect.type_descriptor(_GeoPackageDateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Write a moment."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone; moments are stored in UTC")
        value = value.astimezone(UTC)
        value = value.replace(microsecond=value.microsecond // 1000 * 1000)
        return value if dialect.name == "postgresql" else geopackage_datetime(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Read a moment."""
        if value is None:
            return None
        if dialect.name == "postgresql":
            return value.astimezone(UTC)  # type: ignore[no-any-return]
        return datetime.fromisoformat(value)


class _GeoPackageDateTime(sa.types.UserDefinedType[str]):
    """DATETIME that passes text through, which SQLAlchemy's own type for SQLite does not."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "DATETIME"


def geopackage_datetime(value: datetime) -> str:
    """Write a moment as a GeoPackage wants it, in milliseconds of UTC."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
