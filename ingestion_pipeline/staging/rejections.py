"""Reads of rejections; docs/data-dictionary.md explains the reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import in_slices, of_slice, require_staged
from ingestion_pipeline.staging.tables import ingestion_rejection

if TYPE_CHECKING:
    from datetime import date

    from ingestion_pipeline.staging.days import Slice


class Count(NamedTuple):
    """The number of objects rejected for a reason on a day."""

    day: date
    reason: str
    objects: int


def rejected_objects(
    engine: sa.Engine, target: Slice, *, reason: str | None = None
) -> list[sa.RowMapping]:
    """Return the objects that a staged day rejected.

    Args:
        engine: The database.
        target: The slice.
        reason: Only this reason.

    Returns:
        Rows of `ingestion_rejection`, by reason and object.

    Raises:
        DayNotStaged: The day is not staged.
    """
    table = ingestion_rejection
    query = (
        sa.select(table)
        .where(*of_slice(table, target), *_for(reason))
        .order_by(table.c.reason, table.c.source_ref)
    )
    with read_transaction(engine) as connection:
        require_staged(connection, target)
        return list(connection.execute(query).mappings())


def count_rejections(engine: sa.Engine, target: Slice, *, reason: str | None = None) -> list[Count]:
    """Count the rejections of each staged day of the slice's city, dataset and source.

    Args:
        engine: The database.
        target: Any slice of them.
        reason: Only this reason.

    Returns:
        Counts by day, the most frequent reason first; days without rejections are left out.
    """
    table = ingestion_rejection
    objects = sa.func.count()
    query = (
        sa.select(table.c.day, table.c.reason, objects)
        .where(*in_slices(table, target), *_for(reason))
        .group_by(table.c.day, table.c.reason)
        .order_by(table.c.day, objects.desc(), table.c.reason)
    )
    with read_transaction(engine) as connection:
        return [Count(*row) for row in connection.execute(query)]


def _for(reason: str | None) -> tuple[sa.ColumnElement[bool], ...]:
    return () if reason is None else (ingestion_rejection.c.reason == reason,)
