"""The ledger of runs: claims on idempotency keys, and the status of each run.

Has every statement on `ingestion_run`. Callers pass a function that finds out whether a run is
alive.

    PENDING ──claim──> RUNNING ─┬─succeed─> SUCCEEDED      (with the slice, in one transaction)
       │                        ├──fail───> FAILED
       └────────────────────────┴─cancel──> CANCELED

A partial unique index allows one PENDING or RUNNING row per key. A claim is fenced: when the slice
is written, the row must be RUNNING for the same Dagster run and attempt, without a request to
cancel, and a run with a lease (`leases.py`) must hold it. A terminal status is never overwritten.

A Dagster run that does not get the key leaves a row of its own:

- If another live run holds the key, it fails with `KeyHeld`, which names the holder.
- If the day was staged after the run was requested (while it was queued), there is nothing to do,
  and it ends as CANCELED (`already_staged`).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ingestion_pipeline.core.errors import shortened
from ingestion_pipeline.staging import leases
from ingestion_pipeline.staging.database import read_transaction, write_transaction
from ingestion_pipeline.staging.errors import CancelRequested, ClaimLost, KeyHeld, LeaseLost
from ingestion_pipeline.staging.tables import callback_message, ingestion_run

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import date, datetime

    from ingestion_pipeline.core.identity import JobKey, JobType

Status = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED"]
Trigger = Literal["admin", "callback", "schedule", "backfill", "ui", "graphql", "cli"]

CLOCK_SKEW = timedelta(minutes=1)
"""The tolerance for the end of another run between reading the clock and the ledger. Later moments
come from a clock that was ahead, and are ignored."""

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
    """A position in the ledger, ordered by the time of the request."""

    requested_at: datetime
    id: str


@dataclass(frozen=True)
class Claim:
    """The right to write a key's slice, as long as the ledger confirms it.

    Attributes:
        lease: The token of the run's lease; None for a run without one.
    """

    run_id: str
    idempotency_key: str
    dagster_run_id: str
    attempt: int
    refetch: bool
    lease: str | None = None


@dataclass(frozen=True)
class NothingToDo:
    """Another run staged the day after this one was requested.

    Attributes:
        message: Names that run.
    """

    message: str


def enqueue(
    engine: sa.Engine, key: JobKey, *, trigger: Trigger, now: datetime, refetch: bool = False
) -> tuple[Run, bool]:
    """Return the key's active run, or create a PENDING one.

    Concurrent calls get the same run. An active run stays as it was requested, with its `refetch`.

    Returns:
        The run, and whether this call created it.
    """
    with write_transaction(engine) as connection:
        return enqueue_within(connection, key, trigger=trigger, now=now, refetch=refetch)


def enqueue_within(
    connection: sa.Connection,
    key: JobKey,
    *,
    trigger: Trigger,
    now: datetime,
    refetch: bool = False,
) -> tuple[Run, bool]:
    """Do as `enqueue` in a transaction of the caller."""
    return _insert_or_active(connection, key, trigger=trigger, now=now, refetch=refetch)


def enqueue_message(
    engine: sa.Engine, key: JobKey, *, message_id: str, now: datetime, refetch: bool = False
) -> tuple[Run, bool]:
    """Enqueue for a message of a queue that delivers at least once.

    All deliveries of a message get the run of the first one, also after it has ended.

    Returns:
        The run, and whether this call created it.
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
    lease: str | None = None,
) -> Claim | NothingToDo:
    """Claim the key for a Dagster run, before it fetches or writes anything.

    A second call from the same Dagster run returns the same claim, and fails once that has ended.
    A dead holder is taken over: its row ends as FAILED (`run_died`) and a new row begins. A retry
    of the same job (`run_id`) continues its row with the next attempt.

    Args:
        engine: The database.
        key: The idempotency key.
        dagster_run_id: The run that claims.
        worker: The process of the run, for `is_alive`.
        trigger: What started the run.
        is_alive: Returns whether the holder may still be working; called outside of transactions.
        now: The current moment by the ledger's clock, as in every function here.
        requested_at: When the Dagster run was requested, by the same clock; `now` by default.
        run_id: The ledger row that this Dagster run was started for, if any.
        refetch: Whether the run fetches from upstream again.
        whole: Whether the run does the whole job. A partial run yields to a PENDING job.
        lease: The token of the run's lease, if it has one.

    Returns:
        The claim, or that there is nothing to do.

    Raises:
        KeyHeld: A live run holds the key, or a PENDING job needs a run of the whole job.
        ClaimLost: The claim of this Dagster run, or the job that it was started for, has ended.
    """
    request = _ClaimRequest(
        key, dagster_run_id, worker, trigger, requested_at or now, run_id, refetch, now, lease
    )
    while True:
        with write_transaction(engine) as connection:
            # Lock the key first: this may wait for the commit of its holder.
            run, made = _insert_or_active(
                connection, key, trigger=trigger, now=request.requested_at, lock=True
            )
            if run.dagster_run_id == dagster_run_id and run.worker == worker:
                return request.hold(_refetching(connection, run) if refetch else run)
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
            # Another run may have claimed the key meanwhile; then start again.
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
                    f"Dagster run {run.dagster_run_id} died. Dagster run {dagster_run_id} took "
                    "over its key."
                ),
            )


@dataclass(frozen=True)
class _ClaimRequest:
    """A Dagster run that claims a key."""

    key: JobKey
    dagster_run_id: str
    worker: str
    trigger: Trigger
    requested_at: datetime
    run_id: str | None
    refetch: bool
    now: datetime
    lease: str | None

    def resolve(self, connection: sa.Connection) -> NothingToDo | None:
        """Return `NothingToDo` if the day was staged since the run was requested, else None.

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
            f"{by.finished_at:%Y-%m-%dT%H:%M:%SZ}, after Dagster run {self.dagster_run_id} was "
            "requested. There is nothing left to do."
        )
        self._record(connection, "CANCELED", error_code=ALREADY_STAGED, error_message=message)
        return NothingToDo(message)

    def start(self, connection: sa.Connection, run: Run) -> Claim:
        """Assign the row to this run."""
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
        return self.hold(_run(row))

    def hold(self, run: Run) -> Claim:
        """Return the claim on a row of this run."""
        return Claim(
            run.id, run.idempotency_key, self.dagster_run_id, run.attempt, run.refetch, self.lease
        )

    def fail_held_by_run(self, engine: sa.Engine, holder: Run) -> NoReturn:
        """Fail because another run holds the key.

        Raises:
            KeyHeld: Always.
        """
        message = (
            f"Key {self.key} is held by Dagster run {holder.dagster_run_id} (job {holder.id}, "
            f"started {holder.started_at:%Y-%m-%dT%H:%M:%SZ} by {holder.trigger}), which is still "
            "alive. Wait for it to end or cancel it, then start this run again."
        )
        self._fail_as_held(engine, message)

    def fail_held_by_job(self, engine: sa.Engine, waiting: Run) -> NoReturn:
        """Fail because a PENDING job needs a run of the whole job.

        Raises:
            KeyHeld: Always.
        """
        self._fail_as_held(
            engine,
            f"Job {waiting.id} is pending for the whole of {self.key}, and Dagster run "
            f"{self.dagster_run_id} does only a part of it. Wait for the job to end or cancel it, "
            "then start this run again.",
        )

    def _fail_as_held(self, engine: sa.Engine, message: str) -> NoReturn:
        with write_transaction(engine) as connection:
            self._record(connection, "FAILED", error_code=KEY_HELD, error_message=message)
        raise KeyHeld(message)

    def _job(self, connection: sa.Connection) -> Run:
        """Return the job that the run was started for; another run may have completed it.

        Raises:
            ClaimLost: The job has another key, or it is FAILED or CANCELED.
        """
        assert self.run_id is not None
        job = _lock(connection, self.run_id)
        if job.idempotency_key != str(self.key):
            raise ClaimLost(
                f"Job {job.id} has the key {job.idempotency_key}, but Dagster run "
                f"{self.dagster_run_id} has {self.key}: the city changed. Enqueue the day again."
            )
        if job.status in ("FAILED", "CANCELED"):
            raise _lost(job, self.dagster_run_id)
        return job

    def _staged_meanwhile(self, connection: sa.Connection) -> Run | None:
        """Return a run that succeeded after this one was requested, and did at least as much."""
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
        """Insert a row for a run that ended without working."""
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
        CancelRequested: Cancellation was requested.
        LeaseLost: The run's lease has ended.
    """
    run = _held_run(connection, claim)
    if run.cancel_requested_at is not None:
        raise CancelRequested(_canceled_on_request(run))
    if claim.lease and not leases.is_held(connection, claim.dagster_run_id, token=claim.lease):
        raise LeaseLost(
            f"Dagster run {claim.dagster_run_id} has lost its lease: it did not renew it in time, "
            f"or another process has taken it. Job {run.id} wrote nothing. Check the worker's "
            "network and the database, then start a new run unless another one has taken over."
        )
    return run


def require(engine: sa.Engine, claim: Claim) -> None:
    """Check the claim before writing outside of the database.

    Raises:
        ClaimLost: The row is no longer RUNNING for this Dagster run and attempt.
        CancelRequested: Cancellation was requested.
        LeaseLost: The run's lease has ended.
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
    """Write SUCCEEDED. Call it in the transaction that commits the slice, after `fence`."""
    connection.execute(
        sa.update(ingestion_run)
        .where(ingestion_run.c.id == claim.run_id)
        .values(status="SUCCEEDED", as_of=as_of, counts=dict(counts), finished_at=now)
    )


def fail(
    engine: sa.Engine, claim: Claim, *, error_code: str, error_message: str, now: datetime
) -> bool:
    """Write FAILED if the claim still holds; return whether it did."""
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
    """Write CANCELED if the claim still holds; return whether it did."""
    return _finish(
        engine,
        claim,
        status="CANCELED",
        error_code=error_code,
        error_message=error_message,
        now=now,
    )


def request_cancel(engine: sa.Engine, run_id: str, *, now: datetime) -> Run | None:
    """Request the cancellation of a run.

    A PENDING run is CANCELED at once. A RUNNING one can no longer write, holds its key until its
    process has stopped, and is then CANCELED. An ended run does not change.

    Returns:
        The run as it is now; None where it does not exist.
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


def canceling(engine: sa.Engine) -> frozenset[str]:
    """Return the Dagster runs of RUNNING jobs that were asked to stop."""
    columns = ingestion_run.c
    query = sa.select(columns.dagster_run_id).where(
        columns.status == "RUNNING", columns.cancel_requested_at.is_not(None)
    )
    with read_transaction(engine) as connection:
        return frozenset(connection.execute(query).scalars())


def end_if_unchanged(
    engine: sa.Engine,
    seen: Run,
    *,
    status: Status,
    error_code: str,
    error_message: str,
    now: datetime,
) -> bool:
    """End a run whose process has stopped, unless the row has changed since it was read.

    Returns:
        Whether the run was ended.
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


def expire(
    engine: sa.Engine, *, requested_before: datetime, now: datetime, without: Collection[str] = ()
) -> int:
    """End PENDING runs that were requested before a moment as FAILED, if no run has started since.

    While runs start, the queue moves and the others wait for their turn. Moments later than now
    come from a clock that was ahead, and are set to now.

    Args:
        engine: The database.
        requested_before: The moment.
        now: The current moment.
        without: The slugs of cities whose runs are left out.

    Returns:
        The number of runs ended.
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
                ingestion_run.c.city_slug.not_in(without) if without else sa.true(),
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
                    "No Dagster run started in time. Check that the daemon, the code location and "
                    "admin_trigger_sensor are running (GET /v1/api/health), that the run queue "
                    "moves, and that the upstream server may be asked (poi-ingest upstream). Then "
                    "enqueue the day again."
                ),
            )
        )
        return ended.rowcount


def active(
    engine: sa.Engine,
    status: Status,
    *,
    after: Position | None = None,
    limit: int,
    without: Collection[str] = (),
) -> list[Run]:
    """Return runs with an active status in the order of their requests.

    Args:
        engine: The database.
        status: PENDING or RUNNING.
        after: The position to start after; None for the beginning.
        limit: The maximum number of runs.
        without: The slugs of cities whose runs are left out.
    """
    columns = ingestion_run.c
    query = sa.select(ingestion_run).where(columns.status == status)
    if without:
        query = query.where(columns.city_slug.not_in(without))
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
    """Return runs, the newest first.

    Args:
        engine: The database.
        job_type: Only this job.
        city_slug: Only this city.
        day: Only this day.
        status: Only this status.
        before: The position where the previous page ended.
        limit: The maximum number of runs.
    """
    columns = ingestion_run.c
    filters = {
        columns.job_type: job_type,
        columns.city_slug: city_slug,
        columns.day: day,
        columns.status: status,
    }
    query = sa.select(ingestion_run).where(
        *(column == value for column, value in filters.items() if value is not None)
    )
    if before is not None:
        query = query.where(_row_position < _at(before))
    query = query.order_by(columns.requested_at.desc(), columns.id.desc()).limit(limit)
    with read_transaction(engine) as connection:
        return [_run(row) for row in connection.execute(query)]


def succeeded(engine: sa.Engine, dagster_run_id: str) -> Run | None:
    """Return the run that a Dagster run has set to SUCCEEDED, or None."""
    columns = ingestion_run.c
    query = sa.select(ingestion_run).where(
        columns.dagster_run_id == dagster_run_id, columns.status == "SUCCEEDED"
    )
    with read_transaction(engine) as connection:
        row = connection.execute(query).first()
    return None if row is None else _run(row)


def last_failed(connection: sa.Connection) -> dict[str, tuple[Run, bool]]:
    """Return each city's last FAILED run, and whether a later one of its key SUCCEEDED."""
    later, columns = ingestion_run.alias("later"), ingestion_run.c
    number = sa.func.row_number().over(
        partition_by=columns.city_slug, order_by=(columns.requested_at.desc(), columns.id.desc())
    )
    ranked = (
        sa.select(columns.id, number.label("number")).where(columns.status == "FAILED").subquery()
    )
    resolved = (
        sa.select(sa.literal_column("1"))
        .where(
            later.c.idempotency_key == columns.idempotency_key,
            later.c.status == "SUCCEEDED",
            later.c.requested_at > columns.requested_at,
        )
        .exists()
    )
    query = (
        sa.select(ingestion_run, resolved.label("resolved"))
        .join(ranked, ranked.c.id == columns.id)
        .where(ranked.c.number == 1)
    )
    found = {}
    for row in connection.execute(query):
        *values, is_resolved = row
        run = Run(**dict(zip(ingestion_run.columns.keys(), values, strict=True)))
        found[run.city_slug] = (run, bool(is_resolved))
    return found


def get(engine: sa.Engine, run_id: str) -> Run | None:
    """Return a run, or None."""
    with read_transaction(engine) as connection:
        return _find(connection, run_id)


_row_position = sa.tuple_(ingestion_run.c.requested_at, ingestion_run.c.id)


def _at(position: Position) -> sa.Tuple:
    # Typed, because a GeoPackage stores moments as text.
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
    """Return the key's active run, or insert a PENDING one; every start uses this function."""
    insert = _insert(connection)
    active = sa.select(ingestion_run).where(
        ingestion_run.c.idempotency_key == str(key), ingestion_run.c.status.in_(ACTIVE)
    )
    if lock:
        active = active.with_for_update()
    while True:
        # Read first, so that repeated requests for a key do not write.
        found = connection.execute(active).one_or_none()
        if found is not None:
            return _run(found), False
        made = connection.execute(
            insert(ingestion_run).on_conflict_do_nothing().returning(ingestion_run),
            _new_row(key, trigger=trigger, now=now, refetch=refetch),
        ).one_or_none()
        # Another run may have been inserted, and even ended, meanwhile (READ COMMITTED).
        if made is not None:
            return _run(made), True


def _lost(run: Run, dagster_run_id: str) -> ClaimLost:
    return ClaimLost(
        f"Dagster run {dagster_run_id} no longer holds {run.idempotency_key}: job {run.id} is "
        f"{run.status}"
        + (f" ({run.error_message})" if run.error_message else "")
        + ". Nothing was written. Start a new run unless another one has taken over."
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
    # A run that was asked to stop is CANCELED, however it stopped.
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
        f"Job {run.id} was canceled on request at {run.cancel_requested_at:%Y-%m-%dT%H:%M:%SZ}. "
        "It staged nothing."
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
    """Return whether the run has not changed hands since it was read."""
    return (run.status, run.dagster_run_id, run.attempt, run.worker) == (
        seen.status,
        seen.dagster_run_id,
        seen.attempt,
        seen.worker,
    )


def _lock(connection: sa.Connection, run_id: str) -> Run:
    run = _find(connection, run_id, lock=True)
    if run is None:
        raise ClaimLost(f"Job {run_id} is no longer in the ledger. Nothing was written.")
    return run


def _find(connection: sa.Connection, run_id: str, *, lock: bool = False) -> Run | None:
    query = sa.select(ingestion_run).where(ingestion_run.c.id == run_id)
    if lock:
        # A GeoPackage needs no row locks: the write transaction locks the file.
        query = query.with_for_update()
    row = connection.execute(query).one_or_none()
    return None if row is None else _run(row)


def _refetching(connection: sa.Connection, run: Run) -> Run:
    """Record that a run that holds its key fetches from upstream again, for a later step."""
    if run.refetch:
        return run
    row = connection.execute(
        sa.update(ingestion_run)
        .where(ingestion_run.c.id == run.id)
        .values(refetch=True)
        .returning(ingestion_run)
    ).one()
    return _run(row)


def _run(row: sa.Row[Any]) -> Run:
    return Run(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row's mapping
