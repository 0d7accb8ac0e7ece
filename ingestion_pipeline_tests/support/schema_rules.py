"""The rules of a migration with which older code works: what of a schema it must leave as it is.

Belongs here: reading a schema, and comparing two. Does not belong here: migrating.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ingestion_pipeline.staging.tables import poi, poi_ingestion_staging

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.engine.interfaces import ReflectedColumn


@dataclass(frozen=True)
class Column:
    """A column as code that writes and reads its table sees it."""

    kind: str
    nullable: bool
    default: str | None


@dataclass(frozen=True)
class Table:
    """A table as code that writes and reads it sees it.

    Attributes:
        columns: Its columns.
        rules: What it refuses: its keys, unique indexes, checks and references, as text.
    """

    columns: Mapping[str, Column]
    rules: frozenset[str]


_NOTHING = Table({}, frozenset())


def schema_of(engine: sa.Engine) -> dict[str, Table]:
    """Return the tables of the project in a database."""
    look = sa.inspect(engine)
    return {
        name: Table(
            {column["name"]: _column(column) for column in look.get_columns(name)},
            _rules(look, name),
        )
        for name in look.get_table_names()
        if not name.startswith(("gpkg_", "rtree_", "layer_styles", "spatial_ref_sys", "alembic_"))
    }


def _column(column: ReflectedColumn) -> Column:
    return Column(str(column["type"]), bool(column["nullable"]), column["default"])


def _rules(look: sa.Inspector, table: str) -> frozenset[str]:
    unique = [
        f"unique {each['column_names']} {sorted(map(str, each['dialect_options'].values()))}"
        for each in look.get_indexes(table)
        if each["unique"]
    ]
    return frozenset(
        (
            f"primary key {look.get_pk_constraint(table)['constrained_columns']}",
            *unique,
            *(f"unique {each['column_names']}" for each in look.get_unique_constraints(table)),
            *(f"check {each['sqltext']}" for each in look.get_check_constraints(table)),
            *(f"reference {each['constrained_columns']}" for each in look.get_foreign_keys(table)),
        )
    )


def what_breaks_older_code(before: Mapping[str, Table], after: Mapping[str, Table]) -> list[str]:
    """Return the changes with which code of the schema before would not work, as sentences."""
    broken = [f"table {name} is gone" for name in before.keys() - after.keys()]
    for name, old in before.items():
        new = after.get(name, old)
        broken += _broken_columns(name, old.columns, new.columns)
        broken += [f"{name} no longer has {rule}" for rule in old.rules - new.rules]
        broken += [f"{name} has a new {rule}" for rule in new.rules - old.rules]
    # Older code promotes a staged row with its hash and without a column that it does not know.
    staged = after.get(poi_ingestion_staging.name)
    broken += [
        f"column {poi.name}.{name} is new, and is taken from staging"
        for name in after.get(poi.name, _NOTHING).columns.keys() - before[poi.name].columns.keys()
        if staged is not None and name in staged.columns
    ]
    return sorted(broken)


def _broken_columns(table: str, old: Mapping[str, Column], new: Mapping[str, Column]) -> list[str]:
    broken = [f"column {table}.{name} is gone" for name in old.keys() - new.keys()]
    broken += [
        f"column {table}.{name} was {old[name]} and is {new[name]}"
        for name in old.keys() & new.keys()
        if old[name] != new[name]
    ]
    added = new.keys() - old.keys()
    broken += [
        f"column {table}.{name} is new, and has neither nulls nor a default"
        for name in added
        if not new[name].nullable and new[name].default is None
    ]
    return broken
