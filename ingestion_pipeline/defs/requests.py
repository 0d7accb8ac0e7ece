"""From a job of the ledger to a Dagster run.

Belongs here: what a run for a job is asked to do, and why there can be none. Does not belong here:
when runs are asked for (`sensors.py`), and what becomes of them (`reconcile.py`).
"""

import dagster as dg
from dagster._core.storage.tags import PRIORITY_TAG

from ingestion_pipeline.cities import UnknownCity
from ingestion_pipeline.defs.jobs import JOBS
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.work import RUN_ID_TAG, TRIGGER_TAG
from ingestion_pipeline.identity import CityDay
from ingestion_pipeline.staging.runs import Run

ASKED_FOR = "10"
"""The priority of what somebody asked for by name, before schedules and backfills with their 0."""


def request_of(run: Run) -> dg.RunRequest:
    """Ask Dagster for the run of a PENDING job."""
    job = JOBS[run.job_type]
    return dg.RunRequest(
        # Not the job's id alone: Dagster never starts a second run with a key that it has seen.
        run_key=f"{run.id}:{run.attempt}",
        job_name=job.job_type,
        partition_key=str(CityDay(run.city_slug, run.day)),
        run_config=job.run_config(refetch=run.refetch),
        tags={RUN_ID_TAG: run.id, TRIGGER_TAG: run.trigger, PRIORITY_TAG: ASKED_FOR},
    )


def why_impossible(run: Run, workshop: Workshop) -> str | None:
    """Say why this code can never run a job; None where it can."""
    if run.job_type not in JOBS:
        return f"there is no job {run.job_type} in this version; there are: {', '.join(JOBS)}"
    try:
        city = workshop.cities.get(run.city_slug)
    except UnknownCity as error:
        return str(error)
    if city.boundary_key != run.boundary_ref:
        return (
            f"the boundary of {run.city_slug} is {city.boundary_key} by now, and the job is of "
            f"{run.boundary_ref}; enqueue the day again"
        )
    if run.day < workshop.settings.partitions_start:
        return (
            f"{run.day} has no partition: they begin at {workshop.settings.partitions_start} "
            "(PARTITIONS_START)"
        )
    return None


def is_due(run: Run, workshop: Workshop) -> bool:
    """Tell whether the job's day has begun here; another machine's clock may be ahead."""
    return run.day <= workshop.clock.now().date()
