"""Reads of staged days, and comparison of two.

The rows of a staged day D are the versions with `valid_from <= D` and `valid_to` later than D or
null. A day that is not in `staged_partition` has no rows, even where versions cover it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import sqlalchemy as sa

from ingestion_pipeline.core.identity import DEFAULT_JOB_TYPE
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.errors import DayNotStaged
from ingestion_pipeline.staging.tables import (
    CLASS_COLUMNS,
    JOB_TYPES,
    VERSION_TABLES,
    VIEWS,
    staged_partition,
)
from ingestion_pipeline.staging.views import valid_on, view

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date


@dataclass(frozen=True)
class Slice:
    """The unit of replacement: one source of one dataset of one city on one UTC day."""

    city_slug: str
    dataset: str
    source: str
    day: date

    @property
    def table(self) -> sa.Table:
        """The table of this dataset's versions."""
        return VERSION_TABLES[self.dataset]

    def __str__(self) -> str:
        """Return the slice as text."""
        return f"{self.city_slug} {self.dataset} from {self.source} on {self.day}"


@dataclass(frozen=True)
class Change:
    """A change of one feature between two staged days.

    The fields are named as the columns of the views `poi_change` and `helper_change`.

    Attributes:
        change: `added`, `changed` or `removed`.
        source_ref: The feature, such as `node/123`.
        category: Its primary category or kind, on the later day if it exists there.
        name: Its display name, likewise.
        changed_fields: For `changed`, the columns that differ; empty otherwise.
        cause: `upstream` where the source changed; `rules` where only the rules of this pipeline
            did; `links` where only the links of a feed's place did. For added and removed features,
            `boundary` where the two days have different boundaries, and `upstream or rules` where
            they have different rules.
    """

    change: Literal["added", "changed", "removed"]
    source_ref: str
    category: str
    name: str | None
    changed_fields: tuple[str, ...]
    cause: Literal["upstream", "rules", "links", "boundary", "upstream or rules"]


def read_day(
    engine: sa.Engine, target: Slice, columns: Sequence[str] | None = None
) -> list[sa.RowMapping] | None:
    """Return the rows of a slice, by `source_ref`; None where the day is not staged."""
    with read_transaction(engine) as connection:
        if staged_day(connection, target) is None:
            return None
        return read_rows(connection, target, columns)


def read_rows(
    connection: sa.Connection, target: Slice, columns: Sequence[str] | None = None
) -> list[sa.RowMapping]:
    """Read the rows of a day that is staged, by `source_ref`."""
    table = target.table
    names = columns or [column.name for column in table.columns]
    query = (
        sa.select(*(table.c[name] for name in names))
        .where(*in_history(target), *valid_on(table, target.day))
        .order_by(table.c.source_ref)
    )
    return list(connection.execute(query).mappings())


def count_rows(connection: sa.Connection, target: Slice) -> int:
    """Count a day's rows."""
    query = (
        sa.select(sa.func.count())
        .select_from(target.table)
        .where(*in_history(target), *valid_on(target.table, target.day))
    )
    return connection.execute(query).scalar_one()


def count_by_class(engine: sa.Engine, target: Slice) -> list[tuple[str, int]]:
    """Count a day's rows by primary category or kind, the largest count first."""
    table = target.table
    kind = table.c[CLASS_COLUMNS[target.dataset]]
    count = sa.func.count()
    query = (
        sa.select(kind, count)
        .where(*in_history(target), *valid_on(table, target.day))
        .group_by(kind)
        .order_by(count.desc(), kind)
    )
    with read_transaction(engine) as connection:
        return [(name, number) for name, number in connection.execute(query)]


def slices_of_day(
    engine: sa.Engine, city_slug: str, day: date, *, dataset: str
) -> list[sa.RowMapping]:
    """Return the rows of `staged_partition` of a city-day, one for each source."""
    columns = staged_partition.c
    query = (
        sa.select(staged_partition)
        .where(columns.city_slug == city_slug, columns.dataset == dataset, columns.day == day)
        .order_by(columns.source)
    )
    with read_transaction(engine) as connection:
        return list(connection.execute(query).mappings())


def staged_day(connection: sa.Connection, target: Slice) -> sa.RowMapping | None:
    """Return the slice's row of `staged_partition`; None where the day is not staged."""
    return (
        connection.execute(sa.select(staged_partition).where(*of_slice(staged_partition, target)))
        .mappings()
        .one_or_none()
    )


def staged_days(
    engine: sa.Engine, city_slug: str, *, dataset: str, source: str
) -> dict[date, sa.RowMapping]:
    """Return the rows of `staged_partition` of a city's staged days, by day."""
    table = staged_partition
    query = sa.select(table).where(
        table.c.city_slug == city_slug, table.c.dataset == dataset, table.c.source == source
    )
    with read_transaction(engine) as connection:
        return {row["day"]: row for row in connection.execute(query).mappings()}


def require_staged(connection: sa.Connection, target: Slice) -> sa.RowMapping:
    """Return the slice's row of `staged_partition`.

    Raises:
        DayNotStaged: There is none; the message lists the staged days around it.
    """
    found = staged_day(connection, target)
    if found is not None:
        return found
    days = connection.execute(
        sa.select(staged_partition.c.day)
        .where(*in_slices(staged_partition, target))
        .order_by(staged_partition.c.day)
    ).scalars()
    nearest = sorted(days, key=lambda day: abs(day - target.day))[:5]
    staged = ", ".join(str(day) for day in sorted(nearest)) or "none"
    job_type = JOB_TYPES[target.dataset]
    job = "" if job_type == DEFAULT_JOB_TYPE else f" --job {job_type}"
    raise DayNotStaged(
        f"{target} is not staged. Staged days near it: {staged}. Stage it with "
        f"'poi-ingest run --city {target.city_slug} --day {target.day}{job}'."
    )


def difference(engine: sa.Engine, earlier: Slice, day: date) -> list[Change]:
    """Compare a staged day with a later one of the same city, dataset and source.

    Args:
        engine: The database.
        earlier: The slice of the earlier day.
        day: The later day.

    Returns:
        Changes ordered by feature; features that are equal on both days are left out.

    Raises:
        DayNotStaged: One of the days is not staged.
    """
    with read_transaction(engine) as connection:
        return changes_between(connection, earlier, day)


def changes_between(connection: sa.Connection, earlier: Slice, day: date) -> list[Change]:
    """Compare two staged days in a transaction; see `difference`."""
    later = replace(earlier, day=day)
    changes = view(VIEWS[earlier.dataset].change)
    query = sa.select(
        changes.c.change,
        changes.c.source_ref,
        changes.c[CLASS_COLUMNS[earlier.dataset]],
        changes.c.name,
        changes.c.changed_fields,
        changes.c.cause,
    ).where(
        changes.c.city_slug == earlier.city_slug,
        changes.c.source == earlier.source,
        changes.c.from_day == earlier.day,
        changes.c.to_day == later.day,
    )
    for staged in (earlier, later):
        require_staged(connection, staged)
    found = [
        Change(kind, ref, category, name, tuple(fields), cause)
        for kind, ref, category, name, fields, cause in connection.execute(query)
    ]
    # By code point: the collation of the database varies.
    return sorted(found, key=lambda change: change.source_ref)


def sources_of(engine: sa.Engine, city_slug: str) -> list[tuple[str, str, str, str]]:
    """Return the distinct (dataset, source, licence, attribution) of a city's versions, sorted."""
    found = []
    with read_transaction(engine) as connection:
        for dataset, table in VERSION_TABLES.items():
            query = (
                sa.select(table.c.source, table.c.licence, table.c.attribution)
                .where(table.c.city_slug == city_slug)
                .distinct()
            )
            found += [(dataset, *row) for row in connection.execute(query)]
    return sorted(found)


def in_history(
    target: Slice, table: sa.FromClause | None = None
) -> tuple[sa.ColumnElement[bool], ...]:
    """Select the versions of the slice's city and source, in its table or an alias of it."""
    table = target.table if table is None else table
    return (table.c.city_slug == target.city_slug, table.c.source == target.source)


def in_slices(table: sa.Table, target: Slice) -> tuple[sa.ColumnElement[bool], ...]:
    """Select the rows of the slice's city, dataset and source on any day."""
    return (
        table.c.city_slug == target.city_slug,
        table.c.dataset == target.dataset,
        table.c.source == target.source,
    )


def of_slice(table: sa.Table, target: Slice) -> tuple[sa.ColumnElement[bool], ...]:
    """Select the rows of a slice."""
    return (*in_slices(table, target), table.c.day == target.day)
