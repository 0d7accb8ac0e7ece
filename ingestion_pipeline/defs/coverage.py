"""Daily checks that report which enabled cities lack their latest due day.

There is one check for each job. `quality/coverage.py` determines which day is due. Checks of a
single city-day are in `checks.py`.

The checks belong to a separate asset that represents the list of staged days. If they belonged to
the assets of the chain, they would run with every city-day that is launched by selecting assets.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import dagster as dg

from ingestion_pipeline.dagster_runtime.private import AssetJob
from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.defs import specs
from ingestion_pipeline.defs.checks import markdown_of
from ingestion_pipeline.defs.jobs import JOBS, IngestionJob
from ingestion_pipeline.defs.resources import LEDGER_RESOURCES, PipelineResources, pipeline_of
from ingestion_pipeline.defs.schedules import local_time_of
from ingestion_pipeline.quality.catalogue import COVERAGE
from ingestion_pipeline.quality.coverage import CityCoverage, check_coverage, latest_due_day
from ingestion_pipeline.staging.history import newest_days

STAGED_DAYS = dg.AssetKey("staged_days")
"""The asset of the checks."""

HOUR = 7
"""The hour (UTC) of the schedule. The check can run at any time: it uses what is due by then."""


@dataclass(frozen=True)
class Coverage:
    """The Dagster definitions of the coverage checks."""

    asset: dg.AssetSpec
    checks: list[dg.AssetChecksDefinition]
    job: AssetJob
    schedule: dg.ScheduleDefinition


def build_coverage(
    pipeline: PipelineResources, jobs: Iterable[IngestionJob] = tuple(JOBS.values())
) -> Coverage:
    """Return a check for each ingestion job, a job that runs all checks, and its schedule."""
    checks = [_check(job) for job in jobs]
    job = dg.define_asset_job(
        COVERAGE.name,
        selection=dg.AssetSelection.checks(*checks),
        description="Find the enabled cities that lack their latest due day, and since when.",
    )
    return Coverage(
        asset=_staged_days(pipeline),
        checks=checks,
        job=job,
        schedule=dg.ScheduleDefinition(
            name=f"{COVERAGE.name}_schedule",
            job=job,
            cron_schedule=f"0 {HOUR} * * *",
            execution_timezone="UTC",
            default_status=(
                dg.DefaultScheduleStatus.RUNNING
                if pipeline.settings.schedules == "on"
                else dg.DefaultScheduleStatus.STOPPED
            ),
            description=f"Every day at {HOUR:02}:00 UTC.",
        ),
    )


def _staged_days(pipeline: PipelineResources) -> dg.AssetSpec:
    return dg.AssetSpec(
        STAGED_DAYS,
        deps=[dataset.staging_asset for dataset in DATASETS.values()],
        group_name="operations",
        kinds={specs.database_kind(pipeline), "table"},
        owners=list(pipeline.settings.owners),
        metadata=specs.of_staged_days(pipeline),
        description="Which days of which cities are staged: the table `staged_partition`, to which "
        "every job adds. Its checks report each morning whether all cities are up to date.",
    )


def _check(job: IngestionJob) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        asset=STAGED_DAYS,
        name=f"{job.job_type}_{COVERAGE.name}",
        description=f"{COVERAGE.description} By the job {job.job_type}.",
        required_resource_keys=set(LEDGER_RESOURCES),
    )
    def coverage(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        pipeline = pipeline_of(context)
        finding = check_coverage(_cities(pipeline, job))
        return dg.AssetCheckResult(
            passed=finding.verdict == "good",
            description=finding.message,
            metadata={
                "found": dg.MetadataValue.md(markdown_of(finding)),
                "lagging": dg.MetadataValue.int(int(finding.numbers["lagging"])),
            }
            | (
                {"what_to_do": dg.MetadataValue.text(COVERAGE.what_to_do)}
                if finding.verdict != "good"
                else {}
            ),
        )

    return coverage


def _cities(pipeline: PipelineResources, job: IngestionJob) -> list[CityCoverage]:
    newest = newest_days(pipeline.engine, dataset=job.dataset.name, source=SOURCE)
    now = pipeline.ledger_now()
    due = [
        (
            city,
            latest_due_day(
                local_time_of(job.job_type, city.slug), ZoneInfo(city.timezone), now=now
            ),
        )
        for city in pipeline.own_cities.enabled()
    ]
    return [
        CityCoverage(city.slug, due=day, newest=newest.get((city.slug, city.boundary_key)))
        for city, day in due
        if day >= pipeline.settings.first_partition  # no day is due before
    ]
