"""Staged days: naming them, reading them back, and telling two of them apart.

Belongs here: every read of versions as days. Does not belong here: writing them (`slices.py`).

The rows of a staged day D are the versions with `valid_from <= D` and `valid_to` later than D or
null. A day that is not in `staged_partition` has no rows, whatever the versions around it say.
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
from ingestion_pipeline.staging.views import view

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date


@dataclass(frozen=True)
class Slice:
    """What is replaced as a whole: one source of one dataset of one city on one UTC day."""

    city_slug: str
    dataset: str
    source: str
    day: date

    @property
    def table(self) -> sa.Table:
        """The table of this dataset's versions."""
        return VERSION_TABLES[self.dataset]

    def __str__(self) -> str:
        """Name the slice for a person."""
        return f"{self.city_slug} {self.dataset} from {self.source} on {self.day}"


@dataclass(frozen=True)
class Change:
    """What became of one feature between two staged days.

    Its names are those of the columns of the views `poi_change` and `helper_change`.

    Attributes:
        change: Whether the later day has it anew, otherwise, or no longer.
        source_ref: The feature, such as `node/123`.
        category: What it is, on the later day where it is there: its primary category, or its kind.
        name: Its display name, likewise.
        changed_fields: For `changed`, the columns that differ; empty otherwise.
        cause: `upstream` where the source said something else; `rules` where it said the same of
            the feature and this pipeline reads it otherwise; `links` where only what a feed's
            place is linked to has changed; where a feature came or went, `boundary` if the city's
            boundary is another one on the two days, and `upstream or rules` if our rules are.
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
    """Read a slice back as it was last staged.

    Returns:
        The rows that are valid on the day, by `source_ref`; None where the day is not staged.
    """
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
    """Count a day's rows by primary category, or by kind, the biggest first."""
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
    """Give the rows of `staged_partition` of a city-day: one for each source that it holds."""
    columns = staged_partition.c
    query = (
        sa.select(staged_partition)
        .where(columns.city_slug == city_slug, columns.dataset == dataset, columns.day == day)
        .order_by(columns.source)
    )
    with read_transaction(engine) as connection:
        return list(connection.execute(query).mappings())


def staged_day(connection: sa.Connection, target: Slice) -> sa.RowMapping | None:
    """Give the slice's row of `staged_partition`; None where the day is not staged."""
    return (
        connection.execute(sa.select(staged_partition).where(*of_slice(staged_partition, target)))
        .mappings()
        .one_or_none()
    )


def staged_days(
    engine: sa.Engine, city_slug: str, *, dataset: str, source: str
) -> dict[date, sa.RowMapping]:
    """Give the rows of `staged_partition` of all of a city's staged days, by day."""
    table = staged_partition
    query = sa.select(table).where(
        table.c.city_slug == city_slug, table.c.dataset == dataset, table.c.source == source
    )
    with read_transaction(engine) as connection:
        return {row["day"]: row for row in connection.execute(query).mappings()}


def require_staged(connection: sa.Connection, target: Slice) -> sa.RowMapping:
    """Give the slice's row of `staged_partition`.

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
        f"{target} is not staged; staged days of this city near it: {staged}. Stage it with "
        f"'poi-ingest run --city {target.city_slug} --day {target.day}{job}'"
    )


def difference(engine: sa.Engine, earlier: Slice, day: date) -> list[Change]:
    """Tell a staged day from a later one of the same city, dataset and source.

    Args:
        engine: The database.
        earlier: The slice of the earlier day.
        day: The later day.

    Returns:
        Changes ordered by feature; none for what is equal on both days, whatever it was between.

    Raises:
        DayNotStaged: One of the days is not staged.
    """
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
    with read_transaction(engine) as connection:
        for staged in (earlier, later):
            require_staged(connection, staged)
        found = [
            Change(kind, ref, category, name, tuple(fields), cause)
            for kind, ref, category, name, fields, cause in connection.execute(query)
        ]
    # By code point: the order of texts in the database depends on how it was made.
    return sorted(found, key=lambda change: change.source_ref)


def sources_of(engine: sa.Engine, city_slug: str) -> list[tuple[str, str, str, str]]:
    """Tell whose data is in a city's versions, of all datasets and days.

    Returns:
        The different (dataset, source, licence, attribution), in order.
    """
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
    """Select the versions of the slice's city and source, by an alias of their table if need be."""
    table = target.table if table is None else table
    return (table.c.city_slug == target.city_slug, table.c.source == target.source)


def valid_on(table: sa.Table, day: date) -> tuple[sa.ColumnElement[bool], ...]:
    """Select the versions that are valid on a day."""
    return (
        table.c.valid_from <= day,
        sa.or_(table.c.valid_to.is_(None), table.c.valid_to > day),
    )


def in_slices(table: sa.Table, target: Slice) -> tuple[sa.ColumnElement[bool], ...]:
    """Select what a table of slices has of the slice's city, dataset and source, on any day."""
    return (
        table.c.city_slug == target.city_slug,
        table.c.dataset == target.dataset,
        table.c.source == target.source,
    )


def of_slice(table: sa.Table, target: Slice) -> tuple[sa.ColumnElement[bool], ...]:
    """Select what a table of slices has of this very slice."""
    return (*in_slices(table, target), table.c.day == target.day)
