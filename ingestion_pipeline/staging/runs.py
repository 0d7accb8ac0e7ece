"""The ledger of runs: who may work on an idempotency key, and what became of it.

Belongs here: every statement on `ingestion_run`. Does not belong here: what a run does, and how to
find out whether a run is alive (its caller knows, and passes a function).

    PENDING ──claim──> RUNNING ─┬─succeed─> SUCCEEDED      (with the slice, in one transaction)
       │                        ├──fail───> FAILED
       └────────────────────────┴─cancel──> CANCELED

A partial unique index allows one PENDING or RUNNING row per key. A claim is fenced: the triple
(row, Dagster run, attempt) must still stand, RUNNING and not asked to stop, when the slice is
written. A terminal state is never overwritten.

Two rules for a Dagster run that comes to a key and is not the one to do the work; both leave a
row of their own, so that the ledger names every run that came:

- Another live run holds the key: the request fails at once with `KeyHeld`, naming the holder.
- The day was staged after the request had been asked for (it waited in a queue behind the run that
  did it): there is nothing left to do, and it ends as CANCELED (`already_staged`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ingestion_pipeline.core.errors import shortened
from ingestion_pipeline.staging.database import read_transaction, write_transaction
from ingestion_pipeline.staging.errors import CancelRequested, ClaimLost, KeyHeld
from ingestion_pipeline.staging.tables import callback_message, ingestion_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

    from ingestion_pipeline.core.identity import JobKey, JobType

Status = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"]
Trigger = Literal["admin", "callback", "schedule", "backfill", "ui", "graphql", "cli"]

CLOCK_SKEW = timedelta(minutes=1)
"""How far after a look at the clock another run may have ended that the next look at the ledger
finds. What is later than that was written by a clock that was ahead, and is not believed."""

ACTIVE: tuple[Status, ...] = ("PENDING", "RUNNING")

ALREADY_STAGED = "already_staged"
CANCELED = "canceled"
KEY_HELD = KeyHeld.code
NEVER_STARTED = "never_started"
RUN_DIED = "run_died"


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
    refetch: bool
    cancel_requested_at: datetime | None


class Position(NamedTuple):
    """A place in the ledger's order of asking."""

    requested_at: datetime
    id: str


@dataclass(frozen=True)
class Claim:
    """The right to write a key's slice, for as long as the ledger agrees."""

    run_id: str
    idempotency_key: str
    dagster_run_id: str
    attempt: int
    refetch: bool


@dataclass(frozen=True)
class NothingToDo:
    """The day was staged by another run after this one had been asked for.

    Attributes:
        message: Which run that was.
    """

    message: str


def enqueue(
    engine: sa.Engine, key: JobKey, *, trigger: Trigger, now: datetime, refetch: bool = False
) -> tuple[Run, bool]:
    """Give the key's active run, or make a PENDING one.

    However many ask at once, all get the same run, and one of them made it. A run that is active
    already stays as it was asked for, `refetch` included.

    Returns:
        The run, and whether this call made it.
    """
    with write_transaction(engine) as connection:
        return _insert_or_active(connection, key, trigger=trigger, now=now, refetch=refetch)


def enqueue_message(
    engine: sa.Engine, key: JobKey, *, message_id: str, now: datetime, refetch: bool = False
) -> tuple[Run, bool]:
    """Enqueue for a message of a queue that may deliver it many times, also long after.

    All deliveries of one message get the run that the first of them got, whatever became of it.

    Returns:
        The run, and whether this call made it.
    """
    with write_transaction(engine) as connection:
        first = connection.execute(
            _insert(connection)(callback_message)
            .values(message_id=message_id, run_id="", received_at=now)
            .on_conflict_do_nothing()
            .returning(callback_message.c.message_id)
        ).one_or_none()
        this_message = callback_message.c.message_id == message_id
        if first is None:
            run_id = connection.execute(
                sa.select(callback_message.c.run_id).where(this_message)
            ).scalar_one()
            known = _find(connection, run_id)
            if known is not None:
                return known, False
        run, made = _insert_or_active(connection, key, trigger="callback", now=now, refetch=refetch)
        connection.execute(sa.update(callback_message).where(this_message).values(run_id=run.id))
        return run, made


def claim(
    engine: sa.Engine,
    key: JobKey,
    *,
    dagster_run_id: str,
    worker: str,
    trigger: Trigger,
    is_alive: Callable[[Run], bool],
    now: datetime,
    requested_at: datetime | None = None,
    run_id: str | None = None,
    refetch: bool = False,
    whole: bool = True,
) -> Claim | NothingToDo:
    """Take the key for a Dagster run, before it fetches or writes anything.

    Claiming again from the same Dagster run gives the same claim, but never a new one: once its
    claim has ended, what the run did before is of another time. A run that is dead is taken over:
    its row ends as FAILED (`run_died`) and a new row begins; only where the request carries on
    with the very same row (`run_id`: a retry of a job) does the row go on with its next attempt.

    Args:
        engine: The database.
        key: The idempotency key.
        dagster_run_id: The run that claims.
        worker: The process that works for it, for `is_alive` to find it again.
        trigger: What started the run.
        is_alive: Whether the run that holds the key may still be working. It is called outside of
            any transaction.
        now: The current moment by the ledger's clock, as in every function here.
        requested_at: When the Dagster run was asked for, by the same clock; `now`, if nothing is
            said.
        run_id: The ledger row that this Dagster run was started for, if there is one.
        refetch: Whether the run wants upstream to be asked again.
        whole: Whether the run does all of the job. One that does a part of it cannot stand for a
            job that waits, and gives way to it.

    Returns:
        The claim, or that there is nothing left to do.

    Raises:
        KeyHeld: A live run holds the key, or a job waits for a run that does all of it.
        ClaimLost: This Dagster run had a claim, and it has ended; or the job that it was started
            for has.
    """
    request = _ClaimRequest(
        key, dagster_run_id, worker, trigger, requested_at or now, run_id, refetch, now
    )
    while True:
        with write_transaction(engine) as connection:
            # The key first: to wait for it may be to wait for its holder's commit, and what is seen
            # under its lock stays so.
            run, made = _insert_or_active(
                connection, key, trigger=trigger, now=request.requested_at, lock=True
            )
            if run.dagster_run_id == dagster_run_id and run.worker == worker:
                return _claim_of(_refetching(connection, run) if refetch else run)
            settled = request.resolve(connection)
            if settled is not None:
                if made:
                    connection.execute(sa.delete(ingestion_run).where(ingestion_run.c.id == run.id))
                return settled
            stands_for_it = made or whole or run.id == run_id
            if run.status == "PENDING" and stands_for_it:
                return request.start(connection, run)
        if run.status == "PENDING":
            request.fail_held_by_job(engine, run)
        if run.dagster_run_id != dagster_run_id and is_alive(run):
            request.fail_held_by_run(engine, run)
        with write_transaction(engine) as connection:
            # Another request may have been quicker since the look above; then look again.
            still = _lock(connection, run.id)
            if not _is_same(still, run):
                continue
            carries_on = dagster_run_id == run.dagster_run_id or run_id == run.id
            if carries_on and still.cancel_requested_at is None:
                return request.start(connection, still)
            _end(
                connection,
                still,
                status="FAILED",
                now=now,
                error_code=RUN_DIED,
                error_message=(
                    f"Dagster run {run.dagster_run_id} ended without a word; "
                    f"its key was taken over by Dagster run {dagster_run_id}"
                ),
            )


@dataclass(frozen=True)
class _ClaimRequest:
    """A Dagster run that comes to a key."""

    key: JobKey
    dagster_run_id: str
    worker: str
    trigger: Trigger
    requested_at: datetime
    run_id: str | None
    refetch: bool
    now: datetime

    def resolve(self, connection: sa.Connection) -> NothingToDo | None:
        """See whether the run came too late.

        Raises:
            ClaimLost: Its claim, or the job that it was started for, has ended.
        """
        ended = connection.execute(
            sa.select(ingestion_run).where(
                ingestion_run.c.idempotency_key == str(self.key),
                ingestion_run.c.dagster_run_id == self.dagster_run_id,
                ingestion_run.c.status.not_in(ACTIVE),
            )
        ).first()
        if ended is not None:
            mine = _run(ended)
            if mine.error_code == ALREADY_STAGED and mine.error_message is not None:
                return NothingToDo(mine.error_message)
            raise _lost(mine, self.dagster_run_id)
        by = self._staged_meanwhile(connection) if self.run_id is None else self._job(connection)
        if by is None or by.status in ACTIVE:
            return None
        message = (
            f"{self.key} was staged by Dagster run {by.dagster_run_id} (job {by.id}) at "
            f"{by.finished_at:%Y-%m-%dT%H:%M:%SZ}, after Dagster run {self.dagster_run_id} had "
            "been asked for; there was nothing left to do"
        )
        self._record(connection, "CANCELED", error_code=ALREADY_STAGED, error_message=message)
        return NothingToDo(message)

    def start(self, connection: sa.Connection, run: Run) -> Claim:
        """Make the row this run's."""
        row = connection.execute(
            sa.update(ingestion_run)
            .where(ingestion_run.c.id == run.id)
            .values(
                status="RUNNING",
                dagster_run_id=self.dagster_run_id,
                worker=self.worker,
                attempt=run.attempt + 1,
                started_at=self.now,
                refetch=run.refetch or self.refetch,
            )
            .returning(ingestion_run)
        ).one()
        return _claim_of(_run(row))

    def fail_held_by_run(self, engine: sa.Engine, holder: Run) -> NoReturn:
        """Leave the key to the run that holds it.

        Raises:
            KeyHeld: Always.
        """
        message = (
            f"key {self.key} is held by Dagster run {holder.dagster_run_id} (job {holder.id}, "
            f"started {holder.started_at:%Y-%m-%dT%H:%M:%SZ} by {holder.trigger}), which is still "
            "alive; wait for it to end or cancel it, then start this one again"
        )
        self._fail_as_held(engine, message)

    def fail_held_by_job(self, engine: sa.Engine, waiting: Run) -> NoReturn:
        """Leave the key to the job that waits for a whole run.

        Raises:
            KeyHeld: Always.
        """
        self._fail_as_held(
            engine,
            f"job {waiting.id} waits for a run of all of {self.key}, and Dagster run "
            f"{self.dagster_run_id} was asked for a part of it; wait for the job to end or cancel "
            "it, then start this one again",
        )

    def _fail_as_held(self, engine: sa.Engine, message: str) -> NoReturn:
        with write_transaction(engine) as connection:
            self._record(connection, "FAILED", error_code=KEY_HELD, error_message=message)
        raise KeyHeld(message)

    def _job(self, connection: sa.Connection) -> Run:
        """Look at the job that the run was started for: another run may have done it.

        Raises:
            ClaimLost: The job is of another key, or it has ended, and not well.
        """
        assert self.run_id is not None
        job = _lock(connection, self.run_id)
        if job.idempotency_key != str(self.key):
            raise ClaimLost(
                f"job {job.id} is of {job.idempotency_key}, and Dagster run {self.dagster_run_id} "
                f"would work on {self.key}: the city has changed since; enqueue the day again"
            )
        if job.status in ("FAILED", "CANCELED"):
            raise _lost(job, self.dagster_run_id)
        return job

    def _staged_meanwhile(self, connection: sa.Connection) -> Run | None:
        """Find a run that ended well after this one was asked for, and did at least as much."""
        done = connection.execute(
            sa.select(ingestion_run)
            .where(
                ingestion_run.c.idempotency_key == str(self.key),
                ingestion_run.c.status == "SUCCEEDED",
                ingestion_run.c.finished_at > self.requested_at,
                ingestion_run.c.finished_at <= self.now + CLOCK_SKEW,
                *([ingestion_run.c.refetch] if self.refetch else []),
            )
            .order_by(ingestion_run.c.finished_at.desc())
        ).first()
        return None if done is None else _run(done)

    def _record(
        self, connection: sa.Connection, status: Status, *, error_code: str, error_message: str
    ) -> None:
        """Leave a row that tells how the run ended without having worked."""
        connection.execute(
            sa.insert(ingestion_run).values(
                **_new_row(
                    self.key, trigger=self.trigger, now=self.requested_at, refetch=self.refetch
                )
                | {
                    "status": status,
                    "dagster_run_id": self.dagster_run_id,
                    "worker": self.worker,
                    "finished_at": self.now,
                    "error_code": error_code,
                    "error_message": shortened(error_message),
                }
            )
        )


def fence(connection: sa.Connection, claim: Claim) -> Run:
    """Lock the claim's row for the rest of the transaction, and check that the run may write.

    Raises:
        ClaimLost: The row is no longer RUNNING for this Dagster run and attempt.
        CancelRequested: Somebody asked the run to stop.
    """
    run = _held_run(connection, claim)
    if run.cancel_requested_at is not None:
        raise CancelRequested(_canceled_on_request(run))
    return run


def require(engine: sa.Engine, claim: Claim) -> None:
    """Check that the claim stands, before something is written that the database does not fence.

    Raises:
        ClaimLost: It does not.
        CancelRequested: Somebody asked the run to stop.
    """
    with write_transaction(engine) as connection:
        fence(connection, claim)


def succeed(
    connection: sa.Connection,
    claim: Claim,
    *,
    as_of: datetime,
    counts: Mapping[str, Any],
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


def request_cancel(engine: sa.Engine, run_id: str, *, now: datetime) -> Run | None:
    """Ask a run to stop.

    A PENDING run is CANCELED at once. A RUNNING one can no longer write from now on, and is
    CANCELED when its process has stopped; until then its key is held. A run that has ended stays
    as it is.

    Returns:
        The run as it is now; None where there is no such run.
    """
    with write_transaction(engine) as connection:
        run = _find(connection, run_id, lock=True)
        if run is None or run.status not in ACTIVE or run.cancel_requested_at is not None:
            return run
        connection.execute(
            sa.update(ingestion_run)
            .where(ingestion_run.c.id == run_id)
            .values(cancel_requested_at=now)
        )
        asked = _find(connection, run_id, lock=True)
        assert asked is not None
        if asked.status == "PENDING":
            _end(
                connection,
                asked,
                status="CANCELED",
                now=now,
                error_code=CANCELED,
                error_message=_canceled_on_request(asked),
            )
        return _find(connection, run_id, lock=True)


def end_if_unchanged(
    engine: sa.Engine,
    seen: Run,
    *,
    status: Status,
    error_code: str,
    error_message: str,
    now: datetime,
) -> bool:
    """End a run for which its own process can no longer speak, if it is still as it was seen.

    Returns:
        Whether it was, and is now ended.
    """
    with write_transaction(engine) as connection:
        run = _find(connection, seen.id, lock=True)
        if run is None or run.status not in ACTIVE or not _is_same(run, seen):
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


def expire(engine: sa.Engine, *, requested_before: datetime, now: datetime) -> int:
    """End runs that were asked for before a moment, as FAILED, if none has started since.

    While others start, the queue moves, and who waits in it waits for its turn. What is later than
    now was written by a clock that was ahead: an active run counts as asked for, or started, now.

    Returns:
        How many there were.
    """
    another = ingestion_run.alias()
    with write_transaction(engine) as connection:
        for moment in (ingestion_run.c.requested_at, ingestion_run.c.started_at):
            connection.execute(
                sa.update(ingestion_run)
                .where(ingestion_run.c.status.in_(ACTIVE), moment > now)
                .values({moment: now})
            )
        ended = connection.execute(
            sa.update(ingestion_run)
            .where(
                ingestion_run.c.status == "PENDING",
                ingestion_run.c.requested_at < requested_before,
                sa.not_(
                    sa.exists().where(
                        another.c.started_at >= requested_before, another.c.started_at <= now
                    )
                ),
            )
            .values(
                status="FAILED",
                finished_at=now,
                error_code=NEVER_STARTED,
                error_message=(
                    "no Dagster run began to work on it in time; check that the daemon, the code "
                    "location and admin_trigger_sensor are running (GET /v1/api/health) and that "
                    "the run queue moves, then enqueue it again"
                ),
            )
        )
        return ended.rowcount


def active(
    engine: sa.Engine, status: Status, *, after: Position | None = None, limit: int
) -> list[Run]:
    """List runs of an active status in the order in which they were asked for.

    Args:
        engine: The database.
        status: PENDING or RUNNING.
        after: Where to begin; from the first if None.
        limit: How many at most.
    """
    columns = ingestion_run.c
    query = sa.select(ingestion_run).where(columns.status == status)
    if after is not None:
        query = query.where(_row_position > _at(after))
    query = query.order_by(columns.requested_at, columns.id).limit(limit)
    with read_transaction(engine) as connection:
        return [_run(row) for row in connection.execute(query)]


def page(
    engine: sa.Engine,
    *,
    job_type: JobType | None = None,
    city_slug: str | None = None,
    day: date | None = None,
    status: Status | None = None,
    before: Position | None = None,
    limit: int = 20,
) -> list[Run]:
    """List runs, the newest first.

    Args:
        engine: The database.
        job_type: Only of this job.
        city_slug: Only of this city.
        day: Only of this day.
        status: Only with this status.
        before: Only those that come after this place in the list; where the page before ended.
        limit: How many at most.
    """
    columns = ingestion_run.c
    wanted = {
        columns.job_type: job_type,
        columns.city_slug: city_slug,
        columns.day: day,
        columns.status: status,
    }
    query = sa.select(ingestion_run).where(
        *(column == value for column, value in wanted.items() if value is not None)
    )
    if before is not None:
        query = query.where(_row_position < _at(before))
    query = query.order_by(columns.requested_at.desc(), columns.id.desc()).limit(limit)
    with read_transaction(engine) as connection:
        return [_run(row) for row in connection.execute(query)]


def get(engine: sa.Engine, run_id: str) -> Run | None:
    """Give one run, or None."""
    with read_transaction(engine) as connection:
        return _find(connection, run_id)


_row_position = sa.tuple_(ingestion_run.c.requested_at, ingestion_run.c.id)


def _at(position: Position) -> sa.Tuple:
    # Typed, because a GeoPackage keeps moments as text of a certain form.
    moment = sa.literal(position.requested_at, ingestion_run.c.requested_at.type)
    return sa.tuple_(moment, sa.literal(position.id))


def _insert(connection: sa.Connection) -> Any:
    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _new_row(key: JobKey, *, trigger: Trigger, now: datetime, refetch: bool) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "job_type": key.job_type,
        "city_slug": key.city_slug,
        "boundary_ref": key.boundary_ref,
        "day": key.day,
        "idempotency_key": str(key),
        "status": "PENDING",
        "trigger": trigger,
        "attempt": 0,
        "requested_at": now,
        "refetch": refetch,
    }


def _insert_or_active(
    connection: sa.Connection,
    key: JobKey,
    *,
    trigger: Trigger,
    now: datetime,
    refetch: bool = False,
    lock: bool = False,
) -> tuple[Run, bool]:
    """The one function through which every start goes."""
    insert = _insert(connection)
    active = sa.select(ingestion_run).where(
        ingestion_run.c.idempotency_key == str(key), ingestion_run.c.status.in_(ACTIVE)
    )
    if lock:
        active = active.with_for_update()
    while True:
        # Looked for first: the key that is asked for again and again is not written to.
        found = connection.execute(active).one_or_none()
        if found is not None:
            return _run(found), False
        made = connection.execute(
            insert(ingestion_run).on_conflict_do_nothing().returning(ingestion_run),
            _new_row(key, trigger=trigger, now=now, refetch=refetch),
        ).one_or_none()
        # Another one's may have come, and even ended, between the two (READ COMMITTED); then again.
        if made is not None:
            return _run(made), True


def _lost(run: Run, dagster_run_id: str) -> ClaimLost:
    return ClaimLost(
        f"Dagster run {dagster_run_id} no longer holds {run.idempotency_key}: job {run.id} is "
        f"{run.status}"
        + (f" ({run.error_message})" if run.error_message else "")
        + "; nothing was written. The run that took over decides; start a new one if needed"
    )


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
            run = _held_run(connection, claim)
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
    # Where a stop was asked for, that is what the run came to, however it stopped.
    if run.cancel_requested_at is not None:
        status, error_code, error_message = "CANCELED", CANCELED, _canceled_on_request(run)
    connection.execute(
        sa.update(ingestion_run)
        .where(ingestion_run.c.id == run.id)
        .values(
            status=status,
            finished_at=now,
            error_code=error_code,
            error_message=shortened(error_message),
        )
    )


def _canceled_on_request(run: Run) -> str:
    return (
        f"job {run.id} was canceled on request at {run.cancel_requested_at:%Y-%m-%dT%H:%M:%SZ}; "
        "nothing of it was staged"
    )


def _held_run(connection: sa.Connection, claim: Claim) -> Run:
    run = _lock(connection, claim.run_id)
    if (run.status, run.dagster_run_id, run.attempt) != (
        "RUNNING",
        claim.dagster_run_id,
        claim.attempt,
    ):
        raise _lost(run, claim.dagster_run_id)
    return run


def _is_same(run: Run, seen: Run) -> bool:
    """Tell whether nobody has taken the run on since it was seen."""
    return (run.status, run.dagster_run_id, run.attempt, run.worker) == (
        seen.status,
        seen.dagster_run_id,
        seen.attempt,
        seen.worker,
    )


def _lock(connection: sa.Connection, run_id: str) -> Run:
    run = _find(connection, run_id, lock=True)
    if run is None:
        raise ClaimLost(f"job {run_id} is no longer in the ledger; nothing was written")
    return run


def _find(connection: sa.Connection, run_id: str, *, lock: bool = False) -> Run | None:
    query = sa.select(ingestion_run).where(ingestion_run.c.id == run_id)
    if lock:
        # A GeoPackage has no row locks and needs none: the write transaction holds the whole file.
        query = query.with_for_update()
    row = connection.execute(query).one_or_none()
    return None if row is None else _run(row)


def _refetching(connection: sa.Connection, run: Run) -> Run:
    """Record that a run that holds its key is to ask upstream again: a later step was told so."""
    if run.refetch:
        return run
    row = connection.execute(
        sa.update(ingestion_run)
        .where(ingestion_run.c.id == run.id)
        .values(refetch=True)
        .returning(ingestion_run)
    ).one()
    return _run(row)


def _claim_of(run: Run) -> Claim:
    assert run.dagster_run_id is not None
    return Claim(run.id, run.idempotency_key, run.dagster_run_id, run.attempt, run.refetch)


def _run(row: sa.Row[Any]) -> Run:
    return Run(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row's mapping
