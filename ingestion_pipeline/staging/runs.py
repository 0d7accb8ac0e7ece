"""The ledger of runs: who may work on an idempotency key, and what became of it.

Belongs here: every statement on `ingestion_run`. Does not belong here: what a run does, and how to
find out whether a run is alive (its caller knows, and passes a function).

    PENDING ──claim──> RUNNING ─┬─succeed─> SUCCEEDED      (with the slice, in one transaction)
                                ├──fail───> FAILED
                                └─cancel──> CANCELED

A partial unique index allows one PENDING or RUNNING row per key. A claim is fenced: the triple
(row, Dagster run, attempt) must still stand, RUNNING, when the slice is written. A terminal state
is never overwritten. The rule for a key that is held by another live run: the newcomer fails at
once with `KeyHeld`, naming the holder, and neither fetches nor writes.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ingestion_pipeline.staging.database import read_transaction, write_transaction
from ingestion_pipeline.staging.errors import ClaimLost, KeyHeld
from ingestion_pipeline.staging.tables import ingestion_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

    from ingestion_pipeline.identity import JobKey

Status = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"]
Trigger = Literal["admin", "callback", "schedule", "backfill", "ui", "graphql", "cli"]

ACTIVE: tuple[Status, ...] = ("PENDING", "RUNNING")


@dataclass(frozen=True)
class Run:
    """One row of the ledger; the fields are the columns of `ingestion_run`."""

    id: str
    job_type: str
    city_slug: str
    boundary_ref: str
    day: date
    idempotency_key: str
    status: Status
    trigger: Trigger
    dagster_run_id: str | None
    worker: str | None
    attempt: int
    as_of: datetime | None
    counts: dict[str, Any] | None
    error_code: str | None
    error_message: str | None
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True)
class Claim:
    """The right to write a key's slice, for as long as the ledger agrees."""

    run_id: str
    idempotency_key: str
    dagster_run_id: str
    attempt: int


def enqueue(engine: sa.Engine, key: JobKey, *, trigger: Trigger, now: datetime) -> tuple[Run, bool]:
    """Give the key's active run, or make a PENDING one.

    However many ask at once, all get the same run, and one of them made it.

    Returns:
        The run, and whether this call made it.
    """
    with write_transaction(engine) as connection:
        return _insert_or_active(connection, key, trigger=trigger, now=now)


def claim(
    engine: sa.Engine,
    key: JobKey,
    *,
    dagster_run_id: str,
    worker: str,
    trigger: Trigger,
    is_alive: Callable[[Run], bool],
    now: datetime,
    run_id: str | None = None,
) -> Claim:
    """Take the key for a Dagster run, before it fetches or writes anything.

    Claiming again from the same Dagster run gives the same claim, but never a new one: once its
    claim has ended, what the run did before is of another time. A run that is dead is taken over:
    its row ends as FAILED (`run_died`) and a new row begins; only where the newcomer carries on
    with the very same row (`run_id`: a retry of a job) does the row go on with its next attempt.

    Args:
        engine: The database.
        key: The idempotency key.
        dagster_run_id: The run that claims.
        worker: The process that works for it, for `is_alive` to find it again.
        trigger: What started the run.
        is_alive: Whether the run that holds the key may still be working. It is called outside of
            any transaction.
        now: The current moment.
        run_id: The ledger row that this Dagster run was started for, if there is one.

    Raises:
        KeyHeld: A live run holds the key.
        ClaimLost: This Dagster run had a claim, and it has ended.
    """
    while True:
        with write_transaction(engine) as connection:
            run, _ = _insert_or_active(connection, key, trigger=trigger, now=now)
            _refuse_another_claim(connection, key, dagster_run_id)
            if run.status == "PENDING":
                return _start(connection, run, dagster_run_id, worker, now)
            if run.dagster_run_id == dagster_run_id and run.worker == worker:
                return _claim_of(run)
        if run.dagster_run_id != dagster_run_id and is_alive(run):
            raise KeyHeld(
                f"key {key} is held by Dagster run {run.dagster_run_id} (job {run.id}, started "
                f"{run.started_at:%Y-%m-%dT%H:%M:%SZ} by {run.trigger}), which is still alive; "
                "wait for it to end or cancel it, then start this one again"
            )
        with write_transaction(engine) as connection:
            # Another newcomer may have been quicker since the look above; then look again.
            still = _lock(connection, run.id)
            if (still.status, still.dagster_run_id, still.attempt, still.worker) != (
                run.status,
                run.dagster_run_id,
                run.attempt,
                run.worker,
            ):
                continue
            if dagster_run_id == run.dagster_run_id or run_id == run.id:
                return _start(connection, still, dagster_run_id, worker, now)
            _end(
                connection,
                still,
                status="FAILED",
                now=now,
                error_code="run_died",
                error_message=(
                    f"Dagster run {run.dagster_run_id} ended without a word; "
                    f"its key was taken over by Dagster run {dagster_run_id}"
                ),
            )


def fence(connection: sa.Connection, claim: Claim) -> Run:
    """Lock the claim's row for the rest of the transaction, and check that the claim stands.

    Raises:
        ClaimLost: The row is no longer RUNNING for this Dagster run and attempt.
    """
    run = _lock(connection, claim.run_id)
    if (run.status, run.dagster_run_id, run.attempt) != (
        "RUNNING",
        claim.dagster_run_id,
        claim.attempt,
    ):
        raise _lost(run, claim.dagster_run_id)
    return run


def require(engine: sa.Engine, claim: Claim) -> None:
    """Check that the claim stands, before something is written that the database does not fence.

    Raises:
        ClaimLost: It does not.
    """
    with write_transaction(engine) as connection:
        fence(connection, claim)


def succeed(
    connection: sa.Connection,
    claim: Claim,
    *,
    as_of: datetime,
    counts: Mapping[str, int],
    now: datetime,
) -> None:
    """Write SUCCEEDED; to be called in the transaction that commits the slice, after `fence`."""
    connection.execute(
        sa.update(ingestion_run)
        .where(ingestion_run.c.id == claim.run_id)
        .values(status="SUCCEEDED", as_of=as_of, counts=dict(counts), finished_at=now)
    )


def fail(
    engine: sa.Engine, claim: Claim, *, error_code: str, error_message: str, now: datetime
) -> bool:
    """Write FAILED with its reason, if the claim still stands; tell whether it did."""
    return _finish(
        engine,
        claim,
        status="FAILED",
        error_code=error_code,
        error_message=error_message,
        now=now,
    )


def cancel(
    engine: sa.Engine, claim: Claim, *, error_code: str, error_message: str, now: datetime
) -> bool:
    """Write CANCELED with its reason, if the claim still stands; tell whether it did."""
    return _finish(
        engine,
        claim,
        status="CANCELED",
        error_code=error_code,
        error_message=error_message,
        now=now,
    )


def recent(engine: sa.Engine, *, city_slug: str | None = None, limit: int = 20) -> list[Run]:
    """List runs, the newest first."""
    query = sa.select(ingestion_run).order_by(
        ingestion_run.c.requested_at.desc(), ingestion_run.c.id
    )
    if city_slug is not None:
        query = query.where(ingestion_run.c.city_slug == city_slug)
    with read_transaction(engine) as connection:
        return [_run(row) for row in connection.execute(query.limit(limit))]


def get(engine: sa.Engine, run_id: str) -> Run | None:
    """Give one run, or None."""
    with read_transaction(engine) as connection:
        row = connection.execute(
            sa.select(ingestion_run).where(ingestion_run.c.id == run_id)
        ).one_or_none()
    return None if row is None else _run(row)


def _insert_or_active(
    connection: sa.Connection, key: JobKey, *, trigger: Trigger, now: datetime
) -> tuple[Run, bool]:
    """The one function through which every start goes."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    active = sa.select(ingestion_run).where(
        ingestion_run.c.idempotency_key == str(key), ingestion_run.c.status.in_(ACTIVE)
    )
    while True:
        made = connection.execute(
            insert(ingestion_run)
            .values(
                id=str(uuid.uuid4()),
                job_type=key.job_type,
                city_slug=key.city_slug,
                boundary_ref=key.boundary_ref,
                day=key.day,
                idempotency_key=str(key),
                status="PENDING",
                trigger=trigger,
                attempt=0,
                requested_at=now,
            )
            .on_conflict_do_nothing()
            .returning(ingestion_run)
        ).one_or_none()
        if made is not None:
            return _run(made), True
        found = connection.execute(active.with_for_update()).one_or_none()
        # The active run may end between the two statements (READ COMMITTED); then the key is free.
        if found is not None:
            return _run(found), False


def _refuse_another_claim(connection: sa.Connection, key: JobKey, dagster_run_id: str) -> None:
    ended = connection.execute(
        sa.select(ingestion_run).where(
            ingestion_run.c.idempotency_key == str(key),
            ingestion_run.c.dagster_run_id == dagster_run_id,
            ingestion_run.c.status.not_in(ACTIVE),
        )
    ).first()
    if ended is not None:
        raise _lost(_run(ended), dagster_run_id)


def _lost(run: Run, dagster_run_id: str) -> ClaimLost:
    return ClaimLost(
        f"Dagster run {dagster_run_id} no longer holds {run.idempotency_key}: job {run.id} is "
        f"{run.status}"
        + (f" ({run.error_message})" if run.error_message else "")
        + "; nothing was written. The run that took over decides; start a new one if needed"
    )


def _start(
    connection: sa.Connection, run: Run, dagster_run_id: str, worker: str, now: datetime
) -> Claim:
    row = connection.execute(
        sa.update(ingestion_run)
        .where(ingestion_run.c.id == run.id)
        .values(
            status="RUNNING",
            dagster_run_id=dagster_run_id,
            worker=worker,
            attempt=run.attempt + 1,
            started_at=now,
        )
        .returning(ingestion_run)
    ).one()
    return _claim_of(_run(row))


def _finish(
    engine: sa.Engine,
    claim: Claim,
    *,
    status: Status,
    error_code: str,
    error_message: str,
    now: datetime,
) -> bool:
    with write_transaction(engine) as connection:
        try:
            run = fence(connection, claim)
        except ClaimLost:
            return False
        _end(
            connection,
            run,
            status=status,
            now=now,
            error_code=error_code,
            error_message=error_message,
        )
        return True


def _end(
    connection: sa.Connection,
    run: Run,
    *,
    status: Status,
    now: datetime,
    error_code: str,
    error_message: str,
) -> None:
    connection.execute(
        sa.update(ingestion_run)
        .where(ingestion_run.c.id == run.id)
        .values(status=status, finished_at=now, error_code=error_code, error_message=error_message)
    )


def _lock(connection: sa.Connection, run_id: str) -> Run:
    # A GeoPackage has no row locks and needs none: the write transaction holds the whole file.
    row = connection.execute(
        sa.select(ingestion_run).where(ingestion_run.c.id == run_id).with_for_update()
    ).one_or_none()
    if row is None:
        raise ClaimLost(f"job {run_id} is no longer in the ledger; nothing was written")
    return _run(row)


def _claim_of(run: Run) -> Claim:
    assert run.dagster_run_id is not None
    return Claim(run.id, run.idempotency_key, run.dagster_run_id, run.attempt)


def _run(row: sa.Row[Any]) -> Run:
    return Run(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row's mapping
