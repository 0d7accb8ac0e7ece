"""The state of the cities for review: newest days, checks, promotion, and the last failed job.

Belongs here: reading what the tables have of all cities at once. Does not belong here: differences
(`differences.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from ingestion_pipeline.admin_api.models import Job
from ingestion_pipeline.admin_api.review.models import (
    CheckResult,
    FailedJob,
    GateVerdict,
    NewestDay,
    OpenPromotion,
    PromotionState,
    PublicPromotion,
    ReviewCity,
    StagedDay,
    StagedDays,
)
from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.promotion import gates, ledger
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.tables import staged_partition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date, datetime

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.promotion.ledger import Promotion


def states(connection: sa.Connection, cities: Iterable[City], now: datetime) -> list[ReviewCity]:
    """Return the state of cities, in their order."""
    newest = _newest(connection)
    waiting, public = ledger.open_by_city(connection), ledger.public_by_city(connection)
    failed = runs.last_failed(connection)
    found = []
    for city in cities:
        slug = city.slug
        rows = newest.get(slug, {})
        staged = rows.get(ledger.DATASET)
        found.append(
            ReviewCity(
                city_slug=slug,
                name=dict(city.name),
                country=city.country,
                timezone=city.timezone,
                enabled=city.enabled,
                datasets=[_day(row, city, now) for row in rows.values()],
                promotion=PromotionState(
                    policy=city.promotion,
                    public=_public(public.get(slug)),
                    open=_open(waiting.get(slug)),
                    days_behind=(staged["day"] - public[slug].day).days
                    if staged is not None and slug in public
                    else None,
                ),
                last_failed_job=_failed(*failed[slug]) if slug in failed else None,
            )
        )
    return found


def days(
    connection: sa.Connection, city_slug: str, *, before: date | None, limit: int
) -> StagedDays:
    """Return a page of a city's staged days, the newest first.

    Args:
        connection: In a transaction.
        city_slug: The city.
        before: The last day of the page before.
        limit: The maximum number of days.
    """
    columns = staged_partition.c
    query = (
        sa.select(staged_partition)
        .where(
            columns.city_slug == city_slug,
            columns.dataset == ledger.DATASET,
            columns.source == SOURCE,
        )
        .order_by(columns.day.desc())
        .limit(limit + 1)
    )
    if before is not None:
        query = query.where(columns.day < before)
    rows = connection.execute(query).mappings().all()
    public = ledger.public_of(connection, city_slug)
    waiting = ledger.open_of(connection, city_slug)
    public_day = None if public is None else public.day
    proposal_day = None if waiting is None else waiting.day
    shown = rows[:limit]
    return StagedDays(
        public_day=public_day,
        proposal_day=proposal_day,
        days=[
            StagedDay(
                failed_checks=list(row["warnings"] or {}),
                is_public=row["day"] == public_day,
                is_proposed=row["day"] == proposal_day,
                **{name: row[name] for name in StagedDay.model_fields if name in row},
            )
            for row in shown
        ],
        next_cursor=str(shown[-1]["day"]) if len(rows) > len(shown) else None,
    )


def _newest(connection: sa.Connection) -> dict[str, dict[str, sa.RowMapping]]:
    """Return the newest staged day of each city by dataset, in the order of the datasets."""
    columns = staged_partition.c
    newest = (
        sa.select(columns.city_slug, columns.dataset, sa.func.max(columns.day).label("day"))
        .where(columns.source == SOURCE)
        .group_by(columns.city_slug, columns.dataset)
        .subquery("newest")
    )
    query = sa.select(staged_partition).join(
        newest,
        sa.and_(
            columns.city_slug == newest.c.city_slug,
            columns.dataset == newest.c.dataset,
            columns.day == newest.c.day,
            columns.source == SOURCE,
        ),
    )
    rows = {(row["city_slug"], row["dataset"]): row for row in connection.execute(query).mappings()}
    found: dict[str, dict[str, sa.RowMapping]] = {}
    for slug in sorted({slug for slug, _ in rows}):
        found[slug] = {name: rows[slug, name] for name in DATASETS if (slug, name) in rows}
    return found


def _day(row: sa.RowMapping, city: City, now: datetime) -> NewestDay:
    today = now.astimezone(ZoneInfo(city.timezone)).date()
    return NewestDay(
        # West of Greenwich, the UTC day begins the evening before.
        lag_days=max(0, (today - row["day"]).days),
        checks=checks_of(row),
        **{name: row[name] for name in NewestDay.model_fields if name in row},
    )


def checks_of(staged: sa.RowMapping) -> list[CheckResult]:
    """Return the results of the checks of a staged day, in display order.

    A check that had failed and is no longer in the catalogue is last.
    """
    known = {check.name: check for check in DATASETS[staged["dataset"]].checks}
    messages: Mapping[str, str] = staged["warnings"] or {}

    def result_of(name: str) -> Literal["passed", "failed", "accepted"]:
        if name not in messages:
            return "passed"
        could_stop = name in known and known[name].acceptable
        return "accepted" if could_stop and staged["accepted_reason"] else "failed"

    return [
        CheckResult(name=name, result=result_of(name), message=messages.get(name))
        for name in dict.fromkeys((*known, *messages))
    ]


def _public(row: Promotion | None) -> PublicPromotion | None:
    if row is None:
        return None
    fields = _fields(PublicPromotion, row)
    return PublicPromotion(promotion_id=row.id, places=sum(row.totals.values()), **fields)


def _open(row: Promotion | None) -> OpenPromotion | None:
    if row is None:
        return None
    judged = row.judged
    fields = _fields(OpenPromotion, row) | {
        "gates": [GateVerdict(**_fields(GateVerdict, gate)) for gate in judged]
    }
    return OpenPromotion(promotion_id=row.id, verdict=gates.worst(judged), **fields)


def _fields(model: Any, row: object) -> dict[str, Any]:
    return {name: getattr(row, name) for name in model.model_fields if hasattr(row, name)}


def _failed(run: runs.Run, resolved: bool) -> FailedJob:
    return FailedJob(**dict(Job.of(run)), resolved=resolved)
