"""Reconciliation of the ledger with Dagster and with the processes of runs.

It updates jobs whose runs were killed, canceled or never started. `work.py` records the end of all
other runs; `staging/runs.py` has the rules of the ledger.

It polls the few active rows, because that detects every end of a run, however it was started. No
event reports that a process has died, so sensors on events would not be enough.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import NamedTuple

import dagster as dg

from ingestion_pipeline.dagster_runtime.liveness import (
    has_died,
    is_alive,
    is_known,
    kill_process_of,
)
from ingestion_pipeline.dagster_runtime.planned_checks import forget_planned_checks
from ingestion_pipeline.dagster_runtime.private import (
    AUTO_RETRY_RUN_ID_TAG,
    MAX_RETRIES_TAG,
    WILL_RETRY_TAG,
)
from ingestion_pipeline.dagster_runtime.slots import free_slots
from ingestion_pipeline.defs.pressure import Pressure
from ingestion_pipeline.defs.requests import (
    is_carried_on,
    may_be_asked_for_again,
    runs_of,
    why_held,
    why_impossible,
)
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.staging import leases, runs, upstream
from ingestion_pipeline.staging.errors import DatabaseUnavailable
from ingestion_pipeline.staging.runs import Position, Run

log = logging.getLogger(__name__)

NO_SUCH_JOB = "no_such_job"

_AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)

_NO_RETRY = {MAX_RETRIES_TAG: "0", WILL_RETRY_TAG: "false"}
"""Tags for a run that ends later, and for one that has failed and is about to be retried."""

LONGEST_RUN = timedelta(days=1)
"""A run that is not visible from this machine, and has no lease, counts as dead after this. Runs
take far less."""


class Compared(NamedTuple):
    """The jobs that were compared with Dagster.

    Attributes:
        running: The number of RUNNING jobs.
        pending: The PENDING jobs.
    """

    running: int
    pending: Sequence[Run]


def reconcile(
    pipeline: PipelineResources, instance: dg.DagsterInstance, *, after: Position | None, limit: int
) -> Compared:
    """Compare all RUNNING jobs and a batch of PENDING jobs with Dagster, and end those that ended.

    Jobs of cities that another Dagster stages are left to it.

    First, Dagster runs whose process is gone, or whose lease has ended, are reported to Dagster as
    ended, even if they have no job in the ledger. Otherwise Dagster would wait for them, and they
    would occupy its queue and the slots of its pools.

    Args:
        pipeline: The resources.
        instance: The Dagster instance.
        after: The position among the PENDING jobs at which to begin.
        limit: The maximum number of PENDING jobs.

    Returns:
        The compared jobs.
    """
    sweep = _Sweep(pipeline, instance)
    sweep.declare_the_dead_over()
    running = 0
    for job in _all_running(pipeline, limit):
        running += 1
        with _alone(f"Job {job.id} ({job.idempotency_key})"):
            sweep.look_at_running(job)
    pending = runs.active(
        pipeline.engine,
        "PENDING",
        after=after,
        limit=limit,
        without=pipeline.slugs_of_others,
    )
    dagster_runs = runs_of(instance, pending)
    for job in pending:
        with _alone(f"Job {job.id} ({job.idempotency_key})"):
            sweep.look_at_pending(job, dagster_runs[job.id])
    now = pipeline.ledger_now()
    runs.expire(
        pipeline.engine,
        requested_before=now - sweep.start_deadline,
        now=now,
        without=pipeline.slugs_of_others,
    )
    leases.forget_ended(pipeline.engine)
    upstream.forget_ended(pipeline.engine)
    return Compared(running, pending)


class _Sweep:
    def __init__(self, pipeline: PipelineResources, instance: dg.DagsterInstance) -> None:
        self.pipeline = pipeline
        self.instance = instance
        self.start_deadline = timedelta(minutes=pipeline.settings.start_deadline_minutes)
        self.leases = leases.all_live(pipeline.engine)
        self.canceling = runs.canceling(pipeline.engine)

    def declare_the_dead_over(self) -> None:
        for dagster_run in self.instance.get_runs(filters=dg.RunsFilter(statuses=_AT_WORK)):
            with _alone(f"Dagster run {dagster_run.run_id}"):
                self._look_at_process(dagster_run)

    def _look_at_process(self, dagster_run: dg.DagsterRun) -> None:
        if has_died(dagster_run, lease=self.leases.get(dagster_run.run_id)):
            # Read the status after the process: a run that ends in between is seen as finished.
            now = self.instance.get_run_by_id(dagster_run.run_id)
            if now is not None and not now.is_finished:
                self._declare_over(now)

    def look_at_running(self, job: Run) -> None:
        assert job.dagster_run_id is not None
        assert job.started_at is not None
        lease = self.leases.get(job.dagster_run_id)
        lives = is_alive(job, self.instance, lease=lease)
        # Read the status after the process: a run that ends in between is seen as finished.
        dagster_run = self.instance.get_run_by_id(job.dagster_run_id)
        if lives:
            if job.cancel_requested_at is not None and dagster_run is not None:
                self._stop(dagster_run)
            return
        if dagster_run is None and not is_known(job, lease=lease):
            # A run of another machine with its own Dagster, of a version without leases.
            if self.pipeline.ledger_now() - job.started_at > LONGEST_RUN:
                self._end(job, "FAILED", runs.RUN_DIED, "nothing was heard of it for a day")
            return
        if dagster_run is not None and not dagster_run.is_finished:
            return  # its process died just now; the next sweep reports it to Dagster
        if dagster_run is not None and job.cancel_requested_at is not None:
            self._stop_retry(dagster_run)
        elif dagster_run is not None and is_carried_on(
            job,
            dagster_run,
            self.instance,
            dagster_now=self.pipeline.clock.now(),
            patience=self.start_deadline,
        ):
            return
        self._end_as_dagster_says(job, dagster_run, runs.RUN_DIED)

    def look_at_pending(self, job: Run, dagster_runs: Sequence[dg.DagsterRun]) -> None:
        reason = why_impossible(job, self.pipeline)
        if reason is not None:
            self._end(job, "FAILED", NO_SUCH_JOB, reason)
        elif not dagster_runs:
            self._expire(job)
        elif all(run.is_finished for run in dagster_runs):
            last = dagster_runs[0]
            now = self.pipeline.ledger_now()
            if not is_carried_on(
                job,
                last,
                self.instance,
                dagster_now=self.pipeline.clock.now(),
                patience=self.start_deadline,
            ) and not may_be_asked_for_again(
                job, dagster_runs, now=now, patience=self.start_deadline
            ):
                self._end_as_dagster_says(job, last, runs.NEVER_STARTED)

    def _expire(self, job: Run) -> None:
        """End a job for which Dagster has created no run within the start deadline."""
        now = self.pipeline.ledger_now()
        if now - job.requested_at <= self.start_deadline:
            return
        held = why_held(job, Pressure(self.pipeline, now=now))
        if held is not None:
            self._end(job, "FAILED", runs.NEVER_STARTED, f"{held}. Enqueue it again then")
            return
        self._end(
            job,
            "FAILED",
            runs.NEVER_STARTED,
            "Dagster made no run of it in time; look at the ticks of admin_trigger_sensor in the "
            "UI, then enqueue it again",
        )

    def _stop(self, dagster_run: dg.DagsterRun) -> None:
        if dagster_run.status == dg.DagsterRunStatus.CANCELING:
            return
        # Some launchers kill the process, and Dagster would retry the run as one that died.
        self.instance.add_run_tags(dagster_run.run_id, _NO_RETRY)
        try:
            stops = self.instance.run_coordinator.cancel_run(dagster_run.run_id)
        except Exception as error:  # noqa: BLE001 - its launcher may be gone
            # Its claim can no longer write; the run ends when it next checks the claim.
            log.warning("Dagster cannot stop run %s: %s", dagster_run.run_id, error)
            return
        now = self.instance.get_run_by_id(dagster_run.run_id)
        if stops and now is not None and now.status == dg.DagsterRunStatus.STARTED:
            self.instance.report_run_canceling(now)  # a launcher that leaves it to its caller

    def _stop_retry(self, dagster_run: dg.DagsterRun) -> None:
        """Stop the run that carries on a finished one, or keep Dagster from starting it."""
        self.instance.add_run_tags(dagster_run.run_id, _NO_RETRY)
        again = dagster_run.tags.get(AUTO_RETRY_RUN_ID_TAG)
        retry = None if again is None else self.instance.get_run_by_id(again)
        if retry is not None and not retry.is_finished:
            self._stop(retry)

    def _declare_over(self, dagster_run: dg.DagsterRun) -> None:
        run_id = dagster_run.run_id
        ended = self.leases.get(run_id) is False
        message = (
            "This run did not renew its lease: its process, its machine or its network is gone."
            if ended
            else "The process that worked for this run is gone."
        )
        leases.revoke(self.pipeline.engine, run_id)
        kill_process_of(dagster_run)
        forget_planned_checks(self.instance, run_id)
        if dagster_run.status == dg.DagsterRunStatus.CANCELING or run_id in self.canceling:
            self.instance.report_run_canceled(dagster_run, message)
        else:
            self.instance.report_run_failed(dagster_run, message)
        free_slots(self.instance, run_id)

    def _end_as_dagster_says(self, job: Run, dagster_run: dg.DagsterRun | None, code: str) -> None:
        if dagster_run is None:
            self._end(
                job,
                "FAILED",
                code,
                "its process is gone or its lease has ended, and Dagster does not know its run",
            )
        elif dagster_run.status == dg.DagsterRunStatus.CANCELED:
            self._end(
                job,
                "CANCELED",
                "interrupted",
                f"Dagster run {dagster_run.run_id} was terminated; nothing was staged",
            )
        else:
            self._end(
                job,
                "FAILED",
                code,
                f"Dagster run {dagster_run.run_id} ended as {dagster_run.status.value} without a "
                "word to the ledger: its process was killed, could not be started, or lost its "
                "database or its lease. Its page in Dagster says what is known; run the day again",
            )

    def _end(self, job: Run, status: runs.Status, code: str, message: str) -> None:
        ended = runs.end_if_unchanged(
            self.pipeline.engine,
            job,
            status=status,
            error_code=code,
            error_message=message,
            now=self.pipeline.ledger_now(),
        )
        if ended:
            log.warning("Job %s (%s) is %s: %s", job.id, job.idempotency_key, status, message)


def _all_running(pipeline: PipelineResources, limit: int) -> Iterator[Run]:
    after, others = None, pipeline.slugs_of_others
    while batch := runs.active(
        pipeline.engine, "RUNNING", after=after, limit=limit, without=others
    ):
        yield from batch
        after = Position(batch[-1].requested_at, batch[-1].id)


@contextmanager
def _alone(what: str) -> Iterator[None]:
    """Log an error of one item, so that the others are still compared."""
    try:
        yield
    except DatabaseUnavailable:
        raise
    except Exception:
        log.exception("%s could not be looked at", what)
