"""The ledger of promotions: what was proposed, decided and promoted.

    PROPOSED ──approve──> APPROVED ──> PROMOTED
       │  └─────reject──> REJECTED
       └──a newer day───> SUPERSEDED        FAILED: a gate said stop

Belongs here: reading the ledger, and the decisions of people. Does not belong here: building a
proposal and making it public (`promote.py`).

A city's promotions are linear: each has a base, and at most one is open. Each write locks the
city's line first. A decision is made once; the same decision again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.promotion.errors import DecisionRefused, UnknownPromotion
from ingestion_pipeline.promotion.gates import HISTORY_PROMOTIONS, Gate, Past, shares
from ingestion_pipeline.staging.database import is_geopackage, read_transaction, write_transaction
from ingestion_pipeline.staging.runs import enqueue_within
from ingestion_pipeline.staging.tables import poi_event, promotion
from ingestion_pipeline.staging.types import geopackage_datetime

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingestion_pipeline.staging.runs import Run, Trigger

JOB_TYPE = "poi_promotion"
"""The job that promotes, in idempotency keys."""

DATASET = "poi"
"""The dataset that is promoted."""

Status = Literal["PROPOSED", "APPROVED", "PROMOTED", "REJECTED", "SUPERSEDED", "FAILED"]

OPEN: tuple[Status, ...] = ("PROPOSED", "APPROVED")

AUTOMATIC = "automatic"
"""Who decided where no person was asked."""


@dataclass(frozen=True)
class Promotion:
    """One row of the ledger; the fields are the columns of `promotion`."""

    id: str
    city_slug: str
    dataset: str
    day: date
    sequence: int | None
    base_id: str | None
    status: Status
    policy: str
    gates: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]
    totals: Mapping[str, int]
    findings: Mapping[str, Any]
    evidence: Mapping[str, Any]
    attribution: str
    proposed_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    decision_reason: str | None
    promoted_at: datetime | None
    reverts: str | None
    run_id: str | None

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {name: plain(value) for name, value in vars(self).items()}

    @property
    def judged(self) -> list[Gate]:
        """The judgements of the gates."""
        return [Gate(**gate) for gate in self.gates]


class Position(NamedTuple):
    """A position in the ledger, ordered by the time of the proposal."""

    proposed_at: datetime
    id: str


class Decision(NamedTuple):
    """A decision of a person.

    Attributes:
        who: The person.
        reason: The reason.
        now: The moment by the database's clock.
    """

    who: str
    reason: str
    now: datetime


def lock_line(connection: sa.Connection, city_slug: str, dataset: str = DATASET) -> None:
    """Lock a city's promotions for the rest of the transaction.

    A GeoPackage needs no lock: the write transaction locks the file.
    """
    if not is_geopackage(connection):
        name = f"promotion|{city_slug}|{dataset}"
        connection.execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0)))
        )


def insert(connection: sa.Connection, row: Promotion) -> None:
    """Add a promotion to the ledger."""
    connection.execute(sa.insert(promotion).values(vars(row)))


def update(connection: sa.Connection, promotion_id: str, **values: Any) -> Promotion:
    """Change columns of a promotion, and return it."""
    row = connection.execute(
        sa.update(promotion)
        .where(promotion.c.id == promotion_id)
        .values(**values)
        .returning(promotion)
    ).one()
    return _promotion(row)


def supersede(connection: sa.Connection, city_slug: str) -> None:
    """End the open promotion of a city without a decision, and forget its events."""
    found = open_of(connection, city_slug)
    if found is not None:
        update(connection, found.id, status="SUPERSEDED")
        connection.execute(sa.delete(poi_event).where(poi_event.c.promotion_id == found.id))


def find(connection: sa.Connection, promotion_id: str) -> Promotion:
    """Return a promotion.

    Raises:
        UnknownPromotion: There is none with this id.
    """
    row = connection.execute(
        sa.select(promotion).where(promotion.c.id == promotion_id)
    ).one_or_none()
    if row is None:
        raise UnknownPromotion(
            f"There is no promotion {promotion_id!r}. 'poi-ingest promotions' lists them."
        )
    return _promotion(row)


def get(engine: sa.Engine, promotion_id: str) -> Promotion:
    """Return a promotion.

    Raises:
        UnknownPromotion: There is none with this id.
    """
    with read_transaction(engine) as connection:
        return find(connection, promotion_id)


def open_of(connection: sa.Connection, city_slug: str) -> Promotion | None:
    """Return the open promotion of a city."""
    return _first(connection, *_of(city_slug), promotion.c.status.in_(OPEN))


def public_of(connection: sa.Connection, city_slug: str) -> Promotion | None:
    """Return the promotion that is public in a city: the last one."""
    return _first(
        connection,
        *_of(city_slug),
        promotion.c.sequence.is_not(None),
        order=promotion.c.sequence.desc(),
    )


def open_by_city(connection: sa.Connection) -> dict[str, Promotion]:
    """Return the open promotions by city."""
    query = sa.select(promotion).where(promotion.c.dataset == DATASET, promotion.c.status.in_(OPEN))
    return {row.city_slug: _promotion(row) for row in connection.execute(query)}


def public_by_city(connection: sa.Connection) -> dict[str, Promotion]:
    """Return the promotions that are public by city."""
    columns = promotion.c
    last = (
        sa.select(columns.city_slug, sa.func.max(columns.sequence).label("sequence"))
        .where(columns.dataset == DATASET)
        .group_by(columns.city_slug)
        .subquery("last")
    )
    query = sa.select(promotion).join(
        last,
        sa.and_(
            columns.city_slug == last.c.city_slug,
            columns.sequence == last.c.sequence,
            columns.dataset == DATASET,
        ),
    )
    return {row.city_slug: _promotion(row) for row in connection.execute(query)}


def last_of_base(
    connection: sa.Connection, city_slug: str, day: date, base_id: str | None
) -> Promotion | None:
    """Return the last promotion of a day that was proposed on a base, except superseded ones."""
    return _first(
        connection,
        *_of(city_slug),
        promotion.c.day == day,
        promotion.c.base_id.is_not_distinct_from(base_id),
        promotion.c.status != "SUPERSEDED",
        promotion.c.reverts.is_(None),
        order=promotion.c.proposed_at.desc(),
    )


def past_of(connection: sa.Connection, city_slug: str) -> Past:
    """Return what the gates need to know of a city's past promotions."""
    columns = promotion.c
    query = (
        sa.select(
            columns.day, columns.totals, columns.gates, columns.reverts, columns.decision_reason
        )
        .where(*_of(city_slug), columns.sequence.is_not(None))
        .order_by(columns.sequence.desc())
        .limit(HISTORY_PROMOTIONS + 1)
    )
    rows = connection.execute(query).all()
    waiting = open_of(connection, city_slug)
    return Past(
        day=rows[0].day if rows else None,
        reverted=rows[0].decision_reason if rows and rows[0].reverts else None,
        proposed=None if waiting is None else waiting.day,
        totals=[row.totals for row in rows],
        shares=[shares(Gate(**gate) for gate in row.gates) for row in rows if row.reverts is None],
    )


def page(
    engine: sa.Engine,
    *,
    city_slug: str | None = None,
    status: Status | None = None,
    before: Position | None = None,
    limit: int = 20,
) -> list[Promotion]:
    """Return promotions, the newest first.

    Args:
        engine: The database.
        city_slug: Only this city.
        status: Only this status.
        before: The position where the previous page ended.
        limit: The maximum number of promotions.
    """
    columns = promotion.c
    query = sa.select(promotion)
    if city_slug is not None:
        query = query.where(columns.city_slug == city_slug)
    if status is not None:
        query = query.where(columns.status == status)
    if before is not None:
        moment = sa.literal(before.proposed_at, columns.proposed_at.type)
        query = query.where(
            sa.tuple_(columns.proposed_at, columns.id) < sa.tuple_(moment, sa.literal(before.id))
        )
    query = query.order_by(columns.proposed_at.desc(), columns.id.desc()).limit(limit)
    with read_transaction(engine) as connection:
        return [_promotion(row) for row in connection.execute(query)]


def approve(
    engine: sa.Engine, promotion_id: str, decision: Decision, *, enqueue: Trigger | None = None
) -> tuple[Promotion, Run | None]:
    """Approve a proposal; it becomes public with the next run of its day.

    Args:
        engine: The database.
        promotion_id: The promotion.
        decision: Who, why and when.
        enqueue: Also enqueue that run, as requested by this.

    Returns:
        The promotion, and the enqueued run.

    Raises:
        UnknownPromotion: There is none with this id.
        DecisionRefused: It was rejected, superseded or stopped.
    """
    with write_transaction(engine) as connection:
        found = _locked(connection, promotion_id)
        if found.status == "PROPOSED":
            found = _decide(connection, found, "APPROVED", decision)
        elif found.status not in ("APPROVED", "PROMOTED"):
            raise _refused(found, "approved")
        run = None
        if found.status == "APPROVED" and enqueue is not None:
            run, _ = enqueue_within(connection, key_of(found), trigger=enqueue, now=decision.now)
        return found, run


def reject(engine: sa.Engine, promotion_id: str, decision: Decision) -> Promotion:
    """Reject a proposal; nothing becomes public.

    Raises:
        UnknownPromotion: There is none with this id.
        DecisionRefused: It was approved, superseded or stopped.
    """
    with write_transaction(engine) as connection:
        found = _locked(connection, promotion_id)
        if found.status == "REJECTED":
            return found
        if found.status != "PROPOSED":
            raise _refused(found, "rejected")
        return _decide(connection, found, "REJECTED", decision)


def key_of(row: Promotion) -> JobKey:
    """Return the idempotency key of the job that makes a promotion public."""
    return JobKey(JOB_TYPE, row.city_slug, row.evidence["boundary_ref"], row.day)


def require_decision(decision: Decision) -> None:
    """Check that a decision has a person and a reason.

    Raises:
        DecisionRefused: One of them is missing.
    """
    for what, text in (("reason", decision.reason), ("person", decision.who)):
        if not text.strip():
            raise DecisionRefused(f"A decision needs a {what}.")


def _locked(connection: sa.Connection, promotion_id: str) -> Promotion:
    """Return a promotion whose city's line is locked."""
    found = find(connection, promotion_id)
    lock_line(connection, found.city_slug, found.dataset)
    return find(connection, promotion_id)


def _decide(
    connection: sa.Connection, found: Promotion, status: Status, decision: Decision
) -> Promotion:
    require_decision(decision)
    return update(
        connection,
        found.id,
        status=status,
        decided_at=decision.now,
        decided_by=decision.who,
        decision_reason=decision.reason,
    )


def _refused(found: Promotion, wish: str) -> DecisionRefused:
    by = f" by {found.decided_by}" if found.decided_by else ""
    why = f" ({found.decision_reason})" if found.decision_reason else ""
    return DecisionRefused(
        f"Promotion {found.id} of {found.city_slug} on {found.day} is {found.status}{by}{why}, and "
        f"cannot be {wish}. 'poi-ingest promotions --city {found.city_slug}' lists the others."
    )


def _of(city_slug: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (promotion.c.city_slug == city_slug, promotion.c.dataset == DATASET)


def _first(
    connection: sa.Connection,
    *where: sa.ColumnElement[bool],
    order: sa.ColumnElement[Any] | None = None,
) -> Promotion | None:
    query = sa.select(promotion).where(*where).limit(1)
    if order is not None:
        query = query.order_by(order)
    row = connection.execute(query).one_or_none()
    return None if row is None else _promotion(row)


def plain(value: Any) -> Any:
    """Return a value of a row as JSON."""
    if isinstance(value, datetime):
        return geopackage_datetime(value)
    return value.isoformat() if isinstance(value, date) else value


def _promotion(row: sa.Row[Any]) -> Promotion:
    return Promotion(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
