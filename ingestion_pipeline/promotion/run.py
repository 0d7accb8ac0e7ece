"""A promotion from its claim to its end, without Dagster."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.identity import JobKey
from ingestion_pipeline.promotion import ledger
from ingestion_pipeline.promotion.promote import promote
from ingestion_pipeline.staging import runs
from ingestion_pipeline.staging.database import read_transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.promotion.ledger import Promotion
    from ingestion_pipeline.promotion.promote import Terms
    from ingestion_pipeline.staging.days import Slice
    from ingestion_pipeline.staging.runs import Run


def run(
    engine: sa.Engine,
    target: Slice,
    terms: Terms,
    *,
    boundary_ref: str,
    worker: str,
    is_alive: Callable[[Run], bool],
    clock: Clock,
    again: bool = False,
) -> Promotion:
    """Claim a city-day, and promote it; a failure is recorded in the ledger of runs.

    Args:
        engine: The database.
        target: The staged day.
        terms: How the city is promoted.
        boundary_ref: The city's boundary, as in the idempotency key.
        worker: This process.
        is_alive: Returns whether the holder of the key may still be working.
        clock: The database's clock.
        again: Propose the day again although it was rejected.

    Raises:
        KeyHeld: A live run holds the key.
        PromotionError: The day cannot become public.
        DayNotStaged: The day is not staged.
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    claim = runs.claim(
        engine,
        JobKey(ledger.JOB_TYPE, target.city_slug, boundary_ref, target.day),
        dagster_run_id=str(uuid.uuid4()),
        worker=worker,
        trigger="cli",
        is_alive=is_alive,
        now=clock.now(),
    )
    if isinstance(claim, runs.NothingToDo):
        return _latest(engine, target)
    try:
        return promote(engine, target, terms, claim=claim, now=clock.now(), again=again)
    except IngestionError as error:
        runs.fail(engine, claim, error_code=error.code, error_message=str(error), now=clock.now())
        raise


def _latest(engine: sa.Engine, target: Slice) -> Promotion:
    """Return the promotion that another run has just made."""
    with read_transaction(engine) as connection:
        found = ledger.open_of(connection, target.city_slug) or ledger.public_of(
            connection, target.city_slug
        )
    assert found is not None
    return found
