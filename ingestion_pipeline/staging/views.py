"""The views for readers: staged days, the current state, and changes.

The migrations' `env.py` drops the views before a migration and creates them at its end, so
migrations do not contain their definitions. A changed definition needs a migration, even an empty
one. `docs/data-dictionary.md` documents the columns; a test compares the two.

Filter each view by city, and by one day or two: the indexes of the tables support that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from ingestion_pipeline.staging import geopackage, geopackage_styles
from ingestion_pipeline.staging.database import is_geopackage
from ingestion_pipeline.staging.tables import (
    CLASS_COLUMNS,
    PUBLIC_LAYER,
    VERSION_TABLES,
    VIEWS,
    content_columns,
    poi,
    poi_event,
    promotion,
    staged_partition,
)
from ingestion_pipeline.staging.types import BIG_INTEGER, Json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from sqlalchemy.sql.compiler import SQLCompiler

_DAYS_SPAN = 100_000
"""More than the days from 1970 to 2243: the factor that combines a version's id with a day."""


def definitions() -> dict[str, sa.Select[Any] | sa.CompoundSelect[Any]]:
    """Return the query of each view, by name."""
    result: dict[str, sa.Select[Any] | sa.CompoundSelect[Any]] = {}
    for dataset, names in VIEWS.items():
        result[names.day] = _day(dataset)
        result[names.current] = _current(dataset)
        result[names.change] = _change(dataset)
    result[PUBLIC_LAYER] = _public()
    result["poi_feed"] = _feed()
    return result


def view(name: str) -> sa.TableClause:
    """Return a view as a table clause with typed columns."""
    columns = definitions()[name].selected_columns.items()
    return sa.table(name, *(sa.column(key, column.type) for key, column in columns))


def valid_on(
    versions: sa.FromClause, day: date | sa.ColumnElement[Any]
) -> tuple[sa.ColumnElement[bool], ...]:
    """Select the versions that are valid on a day."""
    return (
        versions.c.valid_from <= day,
        sa.or_(versions.c.valid_to.is_(None), versions.c.valid_to > day),
    )


def create(connection: sa.Connection) -> None:
    """Create all views; in a GeoPackage those with a geometry become layers with a style."""
    for name, defined in definitions().items():
        statement = defined.compile(
            dialect=connection.dialect, compile_kwargs={"literal_binds": True}
        )
        connection.exec_driver_sql(f"CREATE VIEW {name} AS {statement}")
    if is_geopackage(connection):
        for dataset, names in VIEWS.items():
            for layer in names.layers:
                geopackage.register_view(connection, layer, of=VERSION_TABLES[dataset])
        geopackage.register_view(connection, PUBLIC_LAYER, of=poi)
        geopackage_styles.write(connection)


def drop(connection: sa.Connection) -> None:
    """Drop all views that exist."""
    there = set(sa.inspect(connection).get_view_names()).intersection(definitions())
    for name in sorted(there):
        connection.exec_driver_sql(f"DROP VIEW {name}")
    if there and is_geopackage(connection):
        layers = [layer for names in VIEWS.values() for layer in names.layers]
        for layer in (*layers, PUBLIC_LAYER):
            geopackage.unregister_view(connection, layer)


def readers(connection: sa.Connection) -> dict[str, set[str]]:
    """Return the roles that may select from each view, without its owner; empty in a GeoPackage."""
    if is_geopackage(connection):
        return {}
    may: dict[str, set[str]] = {}
    for name in set(sa.inspect(connection).get_view_names()).intersection(definitions()):
        may[name] = set(
            connection.execute(
                sa.text(
                    "SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' "
                    "ELSE quote_ident(pg_get_userbyid(grantee)) END "
                    "FROM pg_class, aclexplode(relacl) "
                    "WHERE pg_class.oid = CAST(:name AS regclass) "
                    "AND privilege_type = 'SELECT' AND grantee <> relowner"
                ),
                {"name": name},
            ).scalars()
        )
    return may


def grant_select(connection: sa.Connection, may: Mapping[str, set[str]]) -> None:
    """Grant SELECT on the recreated views.

    Args:
        connection: In a transaction.
        may: The result of `readers` before the views were dropped. A new view is granted to the
            roles that could read all the others.
    """
    everywhere = set.intersection(*may.values()) if may else set()
    for name in definitions():
        for reader in sorted(may.get(name, everywhere)):
            connection.exec_driver_sql(f"GRANT SELECT ON {name} TO {reader}")


class _RowNumber(GenericFunction[int]):
    """A number that no other row of a view has: that of a version and a day."""

    type = BIG_INTEGER
    name = "row_number_of_day"
    inherit_cache = True


@compiles(_RowNumber, "postgresql")
def _number_of_postgresql(element: _RowNumber, compiler: SQLCompiler, **kw: Any) -> str:
    version, day = (compiler.process(each, **kw) for each in element.clauses)
    return f"({version} * {_DAYS_SPAN} + ({day} - DATE '1970-01-01'))"


@compiles(_RowNumber, "sqlite")
def _number_of_sqlite(element: _RowNumber, compiler: SQLCompiler, **kw: Any) -> str:
    """Return the number, with a declared type: OGC 12-128r18 demands INTEGER of a first column.

    SQLite declares none for an expression, but for a subquery that of its last part, which has no
    rows here.
    """
    version, day = (compiler.process(each, **kw) for each in element.clauses)
    number = f"{version} * {_DAYS_SPAN} + CAST(julianday({day}) - 2440587.5 AS INTEGER)"
    return f"(SELECT {number} UNION ALL SELECT rows FROM staged_partition WHERE 0)"  # noqa: S608


def _day(dataset: str) -> sa.Select[Any]:
    """Select the rows of every staged day.

    A layer's first column must be unique, and a version is valid on many days. With the version's
    own number too, GDAL and QGIS find a window by the spatial index of the table.
    """
    table, staged = VERSION_TABLES[dataset], staged_partition
    number = _RowNumber(table.c.id, staged.c.day).label("id")
    return (
        _rows(dataset, number)
        .add_columns(table.c.id.label("version_id"))
        .join_from(
            staged,
            table,
            sa.and_(
                staged.c.dataset == dataset,
                table.c.city_slug == staged.c.city_slug,
                table.c.source == staged.c.source,
                *valid_on(table, staged.c.day),
            ),
        )
    )


def _current(dataset: str) -> sa.Select[Any]:
    """Select the rows without an end of the newest staged day of each city.

    All sources of a city's day are staged together, so a feed that was removed from the cities file
    is not current. The newest day is computed once per city, and not for each of its days.
    """
    table, staged = VERSION_TABLES[dataset], staged_partition
    other = staged.alias("other")
    newest = (
        sa.select(other.c.city_slug, sa.func.max(other.c.day).label("day"))
        .where(other.c.dataset == dataset)
        .group_by(other.c.city_slug)
        .subquery("newest")
    )
    return (
        _rows(dataset, table.c.id)
        .select_from(newest)
        .join(
            staged,
            sa.and_(
                staged.c.dataset == dataset,
                staged.c.city_slug == newest.c.city_slug,
                staged.c.day == newest.c.day,
            ),
        )
        .join(
            table,
            sa.and_(
                table.c.city_slug == staged.c.city_slug,
                table.c.source == staged.c.source,
                table.c.valid_to.is_(None),
            ),
        )
    )


def _rows(dataset: str, number: sa.ColumnElement[Any]) -> sa.Select[Any]:
    table, staged = VERSION_TABLES[dataset], staged_partition
    return sa.select(
        number,
        table.c.city_slug,
        table.c.source,
        table.c.source_ref,
        staged.c.day,
        staged.c.as_of,
        *(table.c[name] for name in content_columns(table)),
        staged.c.stale_reason,
        staged.c.accepted_reason,
    )


def _change(dataset: str) -> sa.CompoundSelect[Any]:
    """Select the changes between any two staged days of a city and source.

    Reads only versions that begin or end between the two days. The first part has the features of
    the earlier day, the second those that only the later day has.
    """
    table = VERSION_TABLES[dataset]
    before, after = table.alias("before"), table.alias("after")
    pair = _pairs(dataset)
    ends_between = sa.and_(
        before.c.city_slug == pair.c.city_slug,
        before.c.source == pair.c.source,
        before.c.valid_from <= pair.c.from_day,
        before.c.valid_to > pair.c.from_day,
        before.c.valid_to <= pair.c.to_day,
    )
    begins_between = sa.and_(
        after.c.city_slug == pair.c.city_slug,
        after.c.source == pair.c.source,
        after.c.valid_from > pair.c.from_day,
        after.c.valid_from <= pair.c.to_day,
        sa.or_(after.c.valid_to.is_(None), after.c.valid_to > pair.c.to_day),
    )
    was_there = (
        sa.select(sa.literal_column("1"))
        .where(
            before.c.city_slug == after.c.city_slug,
            before.c.source == after.c.source,
            before.c.source_ref == after.c.source_ref,
            *valid_on(before, pair.c.from_day),
        )
        .exists()
    )
    is_gone = after.c.id.is_(None)
    differing: sa.ColumnElement[str] = sa.literal("")
    for name in content_columns(table):
        differs = before.c[name].is_distinct_from(after.c[name])
        differing = differing.concat(sa.case((differs, sa.literal(f',"{name}"')), else_=""))
    of_pair = (pair.c.city_slug, pair.c.source, pair.c.from_day, pair.c.to_day)
    shown = (CLASS_COLUMNS[dataset], "name")
    ended = (
        sa.select(
            *of_pair,
            before.c.source_ref,
            sa.case((is_gone, "removed"), else_="changed").label("change"),
            sa.case(
                (is_gone, pair.c.came_or_went),
                (before.c.source_hash != after.c.source_hash, "upstream"),
                *([(differing == ',"links"', "links")] if "links" in table.columns else []),
                else_="rules",
            ).label("cause"),
            sa.cast(
                sa.case(
                    (is_gone, "[]"),
                    else_=sa.literal("[") + sa.func.ltrim(differing, ",") + sa.literal("]"),
                ),
                Json,
            ).label("changed_fields"),
            *(
                sa.case((is_gone, before.c[name]), else_=after.c[name]).label(name)
                for name in shown
            ),
            before.c.id.label("before_id"),
            after.c.id.label("after_id"),
        )
        .select_from(
            pair.join(before, ends_between).outerjoin(
                after, sa.and_(begins_between, after.c.source_ref == before.c.source_ref)
            )
        )
        .where(before.c.content_hash.is_distinct_from(after.c.content_hash))
    )
    begun = (
        sa.select(
            *of_pair,
            after.c.source_ref,
            sa.literal("added").label("change"),
            pair.c.came_or_went.label("cause"),
            sa.cast(sa.literal("[]"), Json).label("changed_fields"),
            *(after.c[name] for name in shown),
            sa.cast(sa.null(), table.c.id.type).label("before_id"),
            after.c.id.label("after_id"),
        )
        .select_from(pair.join(after, begins_between))
        .where(~was_there)
    )
    return sa.union_all(ended, begun)


def _pairs(dataset: str) -> sa.Subquery:
    """Select pairs of staged days of a city and source, with the cause of additions and removals.

    Pairs are unique already. DISTINCT keeps PostgreSQL from splitting a pair, which would scan
    everything that begins before its later day.
    """
    earlier, later = staged_partition.alias("earlier"), staged_partition.alias("later")
    came_or_went = sa.case(
        (earlier.c.boundary_ref != later.c.boundary_ref, sa.literal("boundary")),
        (earlier.c.rules_version != later.c.rules_version, sa.literal("upstream or rules")),
        else_=sa.literal("upstream"),
    )
    return (
        sa.select(
            earlier.c.city_slug,
            earlier.c.source,
            earlier.c.day.label("from_day"),
            later.c.day.label("to_day"),
            came_or_went.label("came_or_went"),
        )
        .distinct()
        .join_from(
            earlier,
            later,
            sa.and_(
                earlier.c.dataset == dataset,
                later.c.dataset == dataset,
                later.c.city_slug == earlier.c.city_slug,
                later.c.source == earlier.c.source,
                later.c.day > earlier.c.day,
            ),
        )
        .subquery("pair")
    )


def _public() -> sa.Select[Any]:
    """Select the places that are public and not hidden."""
    return sa.select(*(column for column in poi.columns if column.name != "hidden")).where(
        sa.not_(poi.c.hidden)
    )


def _feed() -> sa.Select[Any]:
    """Select the events of promotions that happened, without who decided."""
    return sa.select(
        promotion.c.city_slug,
        promotion.c.dataset,
        promotion.c.sequence,
        poi_event.c.number,
        promotion.c.day,
        promotion.c.promoted_at,
        poi_event.c.promotion_id,
        poi_event.c.poi_id,
        poi_event.c.kind,
        poi_event.c.before,
        poi_event.c.after,
        poi_event.c.evidence,
    ).join_from(
        promotion,
        poi_event,
        sa.and_(
            poi_event.c.promotion_id == promotion.c.id, promotion.c.status == sa.literal("PROMOTED")
        ),
    )
