"""Row counts of a slice's last staged days, for the checks (`quality/`).

A version is counted once, with its range of days, and not once for each day. Nearly all rows of a
day equal those of the day before, so counting a month takes about as long as counting one day.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.core.census import Census
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import in_history, in_slices, require_staged
from ingestion_pipeline.staging.tables import CLASS_COLUMNS, staged_partition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import date, datetime

    from ingestion_pipeline.staging.days import Slice

HISTORY_DAYS = 28
"""The number of past staged days: four of each day of the week."""

_MEASURES = ("with_hours", "unparsed_hours", "named", "in_languages")


def past_days(
    engine: sa.Engine,
    target: Slice,
    *,
    boundary_ref: str,
    languages: Collection[str],
    limit: int = HISTORY_DAYS,
) -> list[Census]:
    """Count the last staged days before a slice's day.

    Args:
        engine: The database.
        target: The slice.
        boundary_ref: Only days of this boundary; counts of other boundaries are not comparable.
        languages: The keys of `names` that count for `in_languages`.
        limit: The maximum number of days.

    Returns:
        Days, the newest first.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    staged = staged_partition.c
    chosen = (
        sa.select(staged.day, staged.rules_version, staged.accepted_reason)
        .where(
            *in_slices(staged_partition, target),
            staged.day < target.day,
            staged.boundary_ref == boundary_ref,
        )
        .order_by(staged.day.desc())
        .limit(limit)
    )
    with read_transaction(engine) as connection:
        days = connection.execute(chosen).all()
        if not days:
            return []
        groups = connection.execute(
            _counted(target, first=days[-1].day, last=days[0].day, languages=languages)
        ).all()
    past = []
    for day, rules_version, reason in days:
        counts: Counter[str] = Counter()
        measures = dict.fromkeys(_MEASURES, 0)
        for kind, valid_from, valid_to, rows, *numbers in groups:
            if valid_from <= day and (valid_to is None or valid_to > day):
                counts[kind] += rows
                for name, number in zip(_MEASURES, numbers, strict=True):
                    measures[name] += number
        past.append(Census(day, rules_version, reason is not None, counts, **measures))
    return past


class StoredCheckResults(NamedTuple):
    """The check results of a staged day; columns of `staged_partition`."""

    accepted_reason: str | None
    warnings: Mapping[str, str] | None
    staged_at: datetime


def stored_check_results(engine: sa.Engine, target: Slice) -> StoredCheckResults:
    """Return the check results that were stored when a day was staged.

    Raises:
        DayNotStaged: The day is not staged.
    """
    with read_transaction(engine) as connection:
        staged = require_staged(connection, target)
    return StoredCheckResults(*(staged[name] for name in StoredCheckResults._fields))


def newest_days(
    engine: sa.Engine,
    *,
    dataset: str,
    source: str,
    slugs: Collection[str] | None = None,
    since: date | None = None,
) -> dict[tuple[str, str], date]:
    """Return the newest staged day of each city, by slug and boundary.

    Args:
        engine: The database.
        dataset: The dataset.
        source: The source.
        slugs: Only these cities.
        since: Only days from this one on, so that a city's past is not read.
    """
    columns = staged_partition.c
    by = (columns.city_slug, columns.boundary_ref)
    query = (
        sa.select(*by, sa.func.max(columns.day).label("day"))
        .where(columns.dataset == dataset, columns.source == source)
        .group_by(*by)
    )
    if slugs is not None:
        query = query.where(columns.city_slug.in_(slugs))
    if since is not None:
        query = query.where(columns.day >= since)
    with read_transaction(engine) as connection:
        return {(row.city_slug, row.boundary_ref): row.day for row in connection.execute(query)}


def _counted(
    target: Slice, *, first: date, last: date, languages: Collection[str]
) -> sa.Select[Any]:
    """Count the versions that are valid on any day of a span, by class and validity."""
    table = target.table
    columns = table.c
    by = (columns[CLASS_COLUMNS[target.dataset]], columns.valid_from, columns.valid_to)
    has_hours = _text_at(columns.tags, "opening_hours").is_not(None)
    in_languages = sa.or_(
        sa.false(), *(_text_at(columns.names, language).is_not(None) for language in languages)
    )
    measures = (
        has_hours,
        sa.and_(has_hours, columns.opening_hours.is_(None)),
        columns.name.is_not(None),
        sa.and_(columns.name.is_not(None), in_languages),
    )
    return (
        sa.select(*by, sa.func.count(), *(sa.func.count(sa.case((holds, 1))) for holds in measures))
        .where(
            *in_history(target),
            columns.valid_from <= last,
            sa.or_(columns.valid_to.is_(None), columns.valid_to > first),
        )
        .group_by(*by)
    )


def _text_at(column: sa.Column[Any], key: str) -> sa.ColumnElement[Any]:
    """Return the value of a key of a JSON object; both databases support the operator `->>`."""
    return column.op("->>", return_type=sa.Text())(sa.literal(key, sa.Text()))
