"""Schedules: each enabled city once a day, in the early morning of its own time zone.

`plan.py` determines whether a late tick can still stage its day.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time
from typing import Final

import dagster as dg

from ingestion_pipeline.columns.hashing import digest
from ingestion_pipeline.config.cities import City
from ingestion_pipeline.core.identity import CityDay, JobType
from ingestion_pipeline.defs.jobs import JOBS, IngestionJob
from ingestion_pipeline.defs.resources import STORED_RESOURCES, PipelineResources, pipeline_of
from ingestion_pipeline.defs.work import TRIGGER_TAG
from ingestion_pipeline.plan import look, plan
from ingestion_pipeline.staging.runs import Trigger

FIRST_HOUR = 3
WINDOW_MINUTES = 180
"""From 03:00 to 05:59 local time."""

TRIGGER: Final[Trigger] = "schedule"


def local_time_of(job_type: JobType, slug: str) -> time:
    """Return the local time at which a city is due: the same on every day and every machine.

    A hash spreads the times over the early morning, so that cities do not query one server at the
    same time. If clocks are put forward over that time, Dagster ticks at the end of the gap; if
    they are put back, it ticks once.
    """
    minute = int(digest([job_type, slug]), 16) % WINDOW_MINUTES
    return time(FIRST_HOUR + minute // 60, minute % 60)


def build_schedules(
    pipeline: PipelineResources, jobs: Iterable[IngestionJob] = tuple(JOBS.values())
) -> Sequence[dg.ScheduleDefinition]:
    """Return a schedule for each job and enabled city; the setting SCHEDULES starts them."""
    return [_schedule(pipeline, job, city) for job in jobs for city in pipeline.cities.enabled()]


def _schedule(pipeline: PipelineResources, job: IngestionJob, city: City) -> dg.ScheduleDefinition:
    due = local_time_of(job.job_type, city.slug)
    is_on = pipeline.settings.schedules == "on"

    @dg.schedule(
        name=f"{job.job_type}_{city.slug.replace('-', '_')}_schedule",
        job=job.definition,
        cron_schedule=f"{due.minute} {due.hour} * * *",
        required_resource_keys=set(STORED_RESOURCES),
        execution_timezone=city.timezone,
        default_status=(
            dg.DefaultScheduleStatus.RUNNING if is_on else dg.DefaultScheduleStatus.STOPPED
        ),
        description=f"{city.slug} every day at {due:%H:%M} in {city.timezone}, for the UTC day "
        "that is current then. A tick that comes too late never fills its day with another's data.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return _asked_for(pipeline_of(context), job, city, context.scheduled_execution_time)

    return schedule


def _asked_for(
    pipeline: PipelineResources, job: IngestionJob, city: City, scheduled: datetime
) -> dg.RunRequest | dg.SkipReason:
    """Return a run request for the UTC day of the tick, or why it can no longer be staged."""
    day = scheduled.astimezone(UTC).date()
    start = pipeline.settings.first_partition
    if day < start:
        return dg.SkipReason(f"{day} has no partition: they begin at {start} (PARTITIONS_START)")
    now = pipeline.clock.now()
    if day < now.date():
        kept = look(pipeline.lake, pipeline.engine, city, [day], dataset=job.dataset)
        (planned,) = plan(city, [day], settings=pipeline.settings, kept=kept, now=now)
        if planned.is_staged or not planned.is_possible:
            return dg.SkipReason(
                f"this tick comes late: {day} has passed in UTC. {planned.words}. A past day is "
                "never filled with today's data; the next tick asks for the day of its own moment"
            )
    partition = str(CityDay(city.slug, day))
    return dg.RunRequest(
        run_key=partition,  # Dagster deduplicates it only within this tick
        partition_key=partition,
        tags={TRIGGER_TAG: TRIGGER},
    )
