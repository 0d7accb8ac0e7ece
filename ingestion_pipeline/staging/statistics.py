"""Statistics of the whole installation for monitoring: the ledger, staged slices and rejections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.staging.database import is_geopackage, read_transaction
from ingestion_pipeline.staging.tables import (
    ingestion_rejection,
    ingestion_run,
    sensor_tick,
    staged_partition,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

DURATION_BOUNDS_S = (1, 5, 15, 60, 300, 900, 3600)
"""Upper bounds of the histogram of run durations, in seconds."""


class JobCount(NamedTuple):
    """The number of a city's jobs by type and status."""

    job_type: str
    city_slug: str
    status: str
    number: int


class NewestSlice(NamedTuple):
    """The newest staged slice of a source, by the time of its data."""

    city_slug: str
    dataset: str
    source: str
    as_of: datetime


class RejectionCount(NamedTuple):
    """The number of rejected objects in the newest staged slices, by reason."""

    city_slug: str
    dataset: str
    reason: str
    number: int


@dataclass(frozen=True)
class Durations:
    """The durations of ended runs of a job type, by status.

    Attributes:
        job_type: The type.
        status: The final status.
        up_to: The number of runs up to each of `DURATION_BOUNDS_S`.
        count: The number of runs.
        sum_s: Their total duration, in seconds.
    """

    job_type: str
    status: str
    up_to: tuple[int, ...]
    count: int
    sum_s: float


@dataclass(frozen=True)
class Statistics:
    """All statistics, of one moment."""

    jobs: Sequence[JobCount]
    newest_slices: Sequence[NewestSlice]
    rejections: Sequence[RejectionCount]
    durations: Sequence[Durations]
    ticks: dict[str, datetime]
    oldest_pending: dict[str, datetime]
    running_by_host: dict[str, int]


def collect(engine: sa.Engine) -> Statistics:
    """Return all statistics, of one state of the database.

    Raises:
        DatabaseUnavailable: The database cannot be reached.
    """
    with read_transaction(engine) as connection:
        return Statistics(
            jobs=_jobs(connection),
            newest_slices=_newest_slices(connection),
            rejections=_rejections(connection),
            durations=_durations(connection),
            ticks={row.sensor: row.ticked_at for row in connection.execute(sa.select(sensor_tick))},
            oldest_pending=_oldest_pending(connection),
            running_by_host=_running_by_host(connection),
        )


def _jobs(connection: sa.Connection) -> list[JobCount]:
    columns = ingestion_run.c
    by = (columns.job_type, columns.city_slug, columns.status)
    query = sa.select(*by, sa.func.count()).group_by(*by).order_by(*by)
    return [JobCount(*row) for row in connection.execute(query)]


def _oldest_pending(connection: sa.Connection) -> dict[str, datetime]:
    """Return when the job that has waited longest was requested, by type."""
    columns = ingestion_run.c
    query = (
        sa.select(columns.job_type, sa.func.min(columns.requested_at).label("since"))
        .where(columns.status == "PENDING")
        .group_by(columns.job_type)
        .order_by(columns.job_type)
    )
    return {row.job_type: row.since for row in connection.execute(query)}


def _running_by_host(connection: sa.Connection) -> dict[str, int]:
    """Return the number of running jobs by the host, with which the name of a process begins."""
    columns = ingestion_run.c
    query = sa.select(columns.worker).where(columns.status == "RUNNING")
    workers = connection.execute(query).scalars()
    return dict(sorted(Counter(worker.partition("/")[0] for worker in workers if worker).items()))


def _newest_slices(connection: sa.Connection) -> list[NewestSlice]:
    columns = staged_partition.c
    by = (columns.city_slug, columns.dataset, columns.source)
    query = sa.select(*by, sa.func.max(columns.as_of)).group_by(*by).order_by(*by)
    return [NewestSlice(*row) for row in connection.execute(query)]


def _rejections(connection: sa.Connection) -> list[RejectionCount]:
    staged = staged_partition.c
    slices = (staged.city_slug, staged.dataset, staged.source)
    newest = sa.select(*slices, sa.func.max(staged.day).label("day")).group_by(*slices).subquery()
    rejected = ingestion_rejection.c
    by = (rejected.city_slug, rejected.dataset, rejected.reason)
    query = (
        sa.select(*by, sa.func.count())
        .join(newest, sa.and_(*(rejected[column.name] == column for column in newest.columns)))
        .group_by(*by)
        .order_by(*by)
    )
    return [RejectionCount(*row) for row in connection.execute(query)]


def _durations(connection: sa.Connection) -> list[Durations]:
    columns = ingestion_run.c
    by = (columns.job_type, columns.status)
    seconds = _seconds_worked(connection)
    query = (
        sa.select(
            *by,
            *(sa.func.count(sa.case((seconds <= bound, 1))) for bound in DURATION_BOUNDS_S),
            sa.func.count(),
            sa.func.sum(seconds),
        )
        .where(columns.started_at.is_not(None), columns.finished_at.is_not(None))
        .group_by(*by)
        .order_by(*by)
    )
    return [
        Durations(job_type, status, tuple(up_to), count, float(sum_s))
        for job_type, status, *up_to, count, sum_s in connection.execute(query)
    ]


def _seconds_worked(connection: sa.Connection) -> sa.ColumnElement[Any]:
    started, finished = ingestion_run.c.started_at, ingestion_run.c.finished_at
    if is_geopackage(connection):
        # julianday() is a float of days, which is not exact to the millisecond.
        days = sa.func.julianday(finished) - sa.func.julianday(started)
        return sa.func.round(days * sa.literal(86400.0), 3)
    return sa.extract("epoch", finished - started)
