"""Run requests for jobs of the ledger.

`sensors.py` has the ticks that submit them, and `reconcile.py` updates the ledger when runs end.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from ingestion_pipeline.config.cities import UnknownCity
from ingestion_pipeline.core.identity import CityDay
from ingestion_pipeline.dagster_runtime.private import (
    AUTO_RETRY_RUN_ID_TAG,
    PRIORITY_TAG,
    WILL_RETRY_TAG,
)
from ingestion_pipeline.defs.jobs import JOBS
from ingestion_pipeline.defs.order import days_behind, priority_of
from ingestion_pipeline.defs.partitions import key_and_tags
from ingestion_pipeline.defs.pressure import Closed, Pressure
from ingestion_pipeline.defs.promotion import requested_jobs
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import RUN_ID_TAG, TRIGGER_TAG
from ingestion_pipeline.staging.runs import Run

ASKED_FOR = 10
"""The lowest priority of jobs of the ledger. Runs of schedules and backfills have less."""


FIRST_WAIT = timedelta(seconds=15)
"""The wait after the first run that failed to start. It doubles with each failure."""

LONGEST_WAIT = timedelta(minutes=10)


def request_of(
    run: Run, *, first_partition: date, failed: int = 0, priority: int = ASKED_FOR
) -> dg.RunRequest:
    """Return the run request of a PENDING job.

    Args:
        run: The job.
        first_partition: The first day with a partition.
        failed: The number of Dagster runs of the job that ended before they began to work on it.
        priority: The priority in Dagster's queue.
    """
    job = requested_jobs()[run.job_type]
    key, tags = key_and_tags(CityDay(run.city_slug, run.day), first=first_partition)
    return dg.RunRequest(
        # Not only the job's id: Dagster never starts a second run with the same key.
        run_key=f"{run.id}:{run.attempt}" + (f":{failed}" if failed else ""),
        job_name=job.job_type,
        partition_key=key,
        run_config=job.run_config(refetch=run.refetch),
        tags={
            RUN_ID_TAG: run.id,
            TRIGGER_TAG: run.trigger,
            PRIORITY_TAG: str(priority),
            **tags,
        },
    )


def next_request(
    job: Run,
    dagster_runs: Sequence[dg.DagsterRun],
    instance: dg.DagsterInstance,
    *,
    now: datetime,
    dagster_now: datetime,
    patience: timedelta,
    first_partition: date,
    priority: int = ASKED_FOR,
) -> dg.RunRequest | None:
    """Return the run request that a PENDING job needs now.

    A run may fail before it begins, for example on a slow machine or without the database. Then
    another run is requested, with exponential backoff, until the job has waited too long.

    Args:
        job: The job.
        dagster_runs: Its runs so far, the newest first.
        instance: The Dagster instance.
        now: The current moment by the ledger's clock.
        dagster_now: The current moment by the clock of Dagster's processes: this machine's.
        patience: The maximum time that a job waits for its run to begin.
        first_partition: The first day with a partition.
        priority: The priority of the run in Dagster's queue.

    Returns:
        None while a run is queued or starting, until the next one is due, or if there will be none.
    """
    if not dagster_runs:
        return request_of(job, first_partition=first_partition, priority=priority)
    last = dagster_runs[0]
    if not may_be_asked_for_again(job, dagster_runs, now=now, patience=patience):
        return None
    if is_carried_on(job, last, instance, dagster_now=dagster_now, patience=patience):
        return None
    wait = min(FIRST_WAIT * 2 ** min(len(dagster_runs) - 1, 10), LONGEST_WAIT)
    if _ended_within(wait, last, instance, dagster_now):
        return None
    return request_of(
        job, first_partition=first_partition, failed=len(dagster_runs), priority=priority
    )


def may_be_asked_for_again(
    job: Run, dagster_runs: Sequence[dg.DagsterRun], *, now: datetime, patience: timedelta
) -> bool:
    """Return whether all runs of a PENDING job failed to start, with time left for another."""
    return (
        all(run.is_finished for run in dagster_runs)
        and dagster_runs[0].status == dg.DagsterRunStatus.FAILURE
        and now - job.requested_at <= patience
    )


def is_carried_on(
    job: Run,
    dagster_run: dg.DagsterRun,
    instance: dg.DagsterInstance,
    *,
    dagster_now: datetime,
    patience: timedelta,
) -> bool:
    """Return whether Dagster retries, or will retry, the job's run after its process died."""
    tags = dagster_run.tags
    if tags.get(RUN_ID_TAG) != job.id or not _will_be_retried(dagster_run, instance):
        return False
    again = tags.get(AUTO_RETRY_RUN_ID_TAG)
    retry = None if again is None else instance.get_run_by_id(again)
    if retry is not None:
        return not retry.is_finished
    return _ended_within(patience, dagster_run, instance, dagster_now)


def _will_be_retried(dagster_run: dg.DagsterRun, instance: dg.DagsterInstance) -> bool:
    """Return whether Dagster has decided to retry a run, or has not decided yet."""
    decided = dagster_run.tags.get(WILL_RETRY_TAG)
    if decided is None:  # Dagster writes the failure first, and its decision afterwards
        return instance.run_retries_enabled and dagster_run.status == dg.DagsterRunStatus.FAILURE
    return decided == "true"


def _ended_within(
    span: timedelta, dagster_run: dg.DagsterRun, instance: dg.DagsterInstance, now: datetime
) -> bool:
    """Return whether a run ended within a span of now; False if Dagster does not know its end.

    An end in the future comes from a clock that was ahead. It counts only within the same span.
    """
    record = instance.get_run_record_by_id(dagster_run.run_id)
    ended = None if record is None else record.end_time
    return ended is not None and abs(now.timestamp() - ended) < span.total_seconds()


def runs_of(instance: dg.DagsterInstance, jobs: Sequence[Run]) -> Mapping[str, list[dg.DagsterRun]]:
    """Return the Dagster runs of each job by its id, the newest first."""
    found: dict[str, list[dg.DagsterRun]] = defaultdict(list)
    if jobs:
        of_jobs = dg.RunsFilter(tags={RUN_ID_TAG: [job.id for job in jobs]})
        for run in instance.get_runs(filters=of_jobs):
            found[run.tags[RUN_ID_TAG]].append(run)
    return found


def why_impossible(run: Run, pipeline: PipelineResources) -> str | None:
    """Return why this code can never run a job; None if it can."""
    jobs = requested_jobs()
    if run.job_type not in jobs:
        return f"there is no job {run.job_type} in this version; there are: {', '.join(jobs)}"
    try:
        city = pipeline.cities.get(run.city_slug)
    except UnknownCity as error:
        return str(error)
    if city.boundary_key != run.boundary_ref:
        return (
            f"the boundary of {run.city_slug} is {city.boundary_key} by now, and the job is of "
            f"{run.boundary_ref}; enqueue the day again"
        )
    if run.day < pipeline.settings.partitions_start:
        return (
            f"{run.day} has no partition: they begin at {pipeline.settings.partitions_start} "
            "(PARTITIONS_START)"
        )
    return None


def is_due(run: Run, *, now: datetime) -> bool:
    """Return whether the job's day has begun; the requesting machine's clock may be ahead."""
    return run.day <= now.date()


def next_requests(
    pending: Sequence[Run],
    pipeline: PipelineResources,
    instance: dg.DagsterInstance,
    *,
    now: datetime,
    room: int,
) -> tuple[list[dg.RunRequest], bool]:
    """Return the run requests of PENDING jobs, and whether these are all that they need now.

    Args:
        pending: The jobs.
        pipeline: The resources.
        instance: The Dagster instance.
        now: The current moment by the ledger's clock.
        room: The maximum number of requests.
    """
    dagster_runs = runs_of(instance, pending)
    requests: list[dg.RunRequest] = []
    for job, priority in ready(pending, pipeline, now=now):
        request = next_request(
            job,
            dagster_runs[job.id],
            instance,
            now=now,
            dagster_now=pipeline.clock.now(),
            patience=timedelta(minutes=pipeline.settings.start_deadline_minutes),
            first_partition=pipeline.settings.first_partition,
            priority=priority,
        )
        if request is not None and len(requests) == room:
            return requests, False
        requests += [request] if request is not None else []
    return requests, True


def ready(
    jobs: Sequence[Run], pipeline: PipelineResources, *, now: datetime
) -> list[tuple[Run, int]]:
    """Return the jobs of which runs may be requested now, with their priorities, highest first.

    The city that lags most comes first, for jobs of one dataset.
    """
    possible = [job for job in jobs if why_impossible(job, pipeline) is None]
    pressure = Pressure(pipeline, now=now)
    held = {job.id for job in pressure.by_turns(possible) if why_held(job, pressure) is not None}
    due = [job for job in possible if is_due(job, now=now) and job.id not in held]
    behind = dict.fromkeys((job.id for job in due), 0)
    for job_type, ingestion in JOBS.items():
        of_type = {job.id: _partition_of(job) for job in due if job.job_type == job_type}
        days = days_behind(pipeline, ingestion.dataset, {*of_type.values()})
        behind |= {job_id: days[partition] for job_id, partition in of_type.items()}
    due.sort(key=lambda job: -behind[job.id])  # stable: then the one that was requested first
    return [(job, ASKED_FOR + priority_of(behind[job.id])) for job in due]


def why_held(job: Run, pressure: Pressure) -> Closed | None:
    """Return why a job of a known city waits for its upstream server; None if it does not."""
    if job.job_type not in JOBS:  # a promotion asks no upstream
        return None
    return pressure.why_held(_partition_of(job), refetch=job.refetch)


def _partition_of(job: Run) -> CityDay:
    return CityDay(job.city_slug, job.day)
