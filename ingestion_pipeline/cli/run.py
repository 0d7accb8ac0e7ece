"""Commands that stage a day and list runs: `run`, `runs`."""

from __future__ import annotations

import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from ingestion_pipeline.cli.collector import loading
from ingestion_pipeline.cli.instance import dagster_instance
from ingestion_pipeline.cli.options import DAY, JOB_TYPE, job_option, open_database
from ingestion_pipeline.cli.output import (
    ALL_FEEDS_FAILED,
    FAILED,
    INTERRUPTED,
    KEY_HELD,
    SOME_FEEDS_FAILED,
    TRY_LATER,
    log_to_stderr,
    print_table,
    print_wrapped,
)
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import dagster as dg
    import sqlalchemy as sa

    from ingestion_pipeline.config.cities import Cities, City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.datasets.base import Dataset
    from ingestion_pipeline.defs.jobs import IngestionJob
    from ingestion_pipeline.staging.runs import Run

CLASSES_SHOWN = 5

EXIT_CODES = {"complete": 0, "partial": SOME_FEEDS_FAILED, "feeds_failed": ALL_FEEDS_FAILED}
"""The exit codes of a run that staged the day, by its outcome."""

_MORE_ON_SUCCESS = {
    "complete": "",
    "partial": ", but some of its feeds failed",
    "feeds_failed": ", but all of its feeds failed",
}


@click.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--day", type=DAY, required=True, help="UTC day.")
@click.option("--refetch", is_flag=True, help="Fetch from upstream even if a snapshot is stored.")
@click.option(
    "--accept", "reason", help="Stage the day although a check stops it, with this reason."
)
@job_option
def run(slug: str, day: date, job_type: str, *, refetch: bool, reason: str | None) -> None:
    """Stage one city's POIs or helper places of one day, through Dagster, in this process.

    Exit codes beside those of all commands: 4 staged, but some of the city's feeds failed; 5
    staged, but all of them failed. The table of the sources says why.
    """
    if reason is not None and not reason.strip():
        raise click.BadParameter("say why the day's data is right", param_hint="--accept")
    with loading():
        from ingestion_pipeline.defs.jobs import JOBS

    settings = load_settings()
    cities = load_cities(settings.cities_file)
    city = cities.get(slug)
    _require_day(settings, day)
    log_to_stderr("ingestion_pipeline")
    job = JOBS[job_type]
    result = _run_job(settings, cities, city, day, job, refetch=refetch, reason=reason)
    if not result.success:
        _report_failure(result)
    _report_success(settings, city, day, job, result)


@click.command()
@click.option("--city", "slug", help="Only this city.")
@click.option("--job", "job_type", type=JOB_TYPE, help="Only this job.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def runs(slug: str | None, job_type: str | None, limit: int) -> None:
    """List the latest runs with their status, newest first."""
    from ingestion_pipeline.staging.runs import page

    settings = load_settings()
    found = page(open_database(settings), job_type=job_type, city_slug=slug, limit=limit)
    rows = [
        (
            f"{run.requested_at:%Y-%m-%d %H:%M}",
            run.job_type,
            run.city_slug,
            run.day.isoformat(),
            run.status,
            run.trigger,
            str((run.counts or {}).get("rows", "")),
        )
        for run in found
    ]
    head = ("requested", "job", "city", "day", "status", "trigger", "rows")
    print_table(head, rows, notes=[_note(run) for run in found])


def _note(run: Run) -> str:
    """Return the id of a run, and why it failed or which sources did."""
    from ingestion_pipeline.staging.outcomes import outcome_of, sources_of

    if run.error_code:
        return f"{run.id}  {run.error_code}: {run.error_message}"
    counts = run.counts or {}
    failed = [source for source, each in sources_of(counts).items() if each.reason]
    return run.id + (f"  {outcome_of(counts)}: {', '.join(failed)}" if failed else "")


def _require_day(settings: Settings, day: date) -> None:
    today = datetime.now(UTC).date()
    if not settings.partitions_start <= day <= today:
        raise click.BadParameter(
            f"{day} has no partition and cannot be run. Use a UTC day from "
            f"{settings.partitions_start} (PARTITIONS_START) to today, {today}.",
            param_hint="--day",
        )


def _run_job(
    settings: Settings,
    cities: Cities,
    city: City,
    day: date,
    job: IngestionJob,
    *,
    refetch: bool,
    reason: str | None,
) -> dg.ExecuteInProcessResult:
    with loading():
        import pyarrow.parquet  # noqa: F401 - the steps import both
        import shapely  # noqa: F401

        from ingestion_pipeline.core.identity import CityDay
        from ingestion_pipeline.dagster_runtime.event_batches import batch_events
        from ingestion_pipeline.definitions import build_definitions
        from ingestion_pipeline.defs.failures import Retrying
        from ingestion_pipeline.defs.resources import PipelineResources
        from ingestion_pipeline.defs.work import TRIGGER_TAG

        settings = settings.with_partition_of(day).model_copy(update={"city_group": None})
        # No retries: exit code 75 tells the caller, a person or cron, to try again.
        pipeline = PipelineResources(settings, cities, retrying=Retrying(maximum=0))
        # Without pools: only a daemon frees the slot of a killed process. The lock of each server
        # still serializes requests.
        definition = build_definitions(pipeline, with_pools=False).resolve_job_def(job.job_type)
        opened = dagster_instance(settings.dagster_home)
    with opened as instance:
        batch_events(instance)
        return definition.execute_in_process(
            partition_key=str(CityDay(city.slug, day)),
            instance=instance,
            raise_on_error=False,
            tags={TRIGGER_TAG: "cli"},
            run_config={
                **job.run_config(refetch=refetch, accepted_reason=reason),
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )


def _report_failure(result: dg.ExecuteInProcessResult) -> None:
    """Print why the run failed, and exit with the matching code."""
    from ingestion_pipeline.dagster_runtime.private import ErrorSource

    for event in result.all_events:
        if not event.is_step_failure:
            continue
        data = event.step_failure_data
        described = data.user_failure_data
        if data.error_source == ErrorSource.INTERRUPT:
            click.echo("Interrupted: nothing was staged", err=True)
            sys.exit(INTERRUPTED)
        if described is None:
            cause = data.error.cause or data.error if data.error else None
            click.echo(f"Error: {cause.message if cause else event.message}", err=True)
            sys.exit(FAILED)
        metadata = {name: entry.value for name, entry in described.metadata.items()}
        click.echo(f"Error ({metadata['error_code']}): {described.description}", err=True)
        if metadata["error_code"] == "key_held":
            sys.exit(KEY_HELD)
        sys.exit(TRY_LATER if metadata["may_succeed_later"] else FAILED)
    click.echo(f"Error: the run did not start{_start_error(result)}", err=True)
    sys.exit(FAILED)


def _start_error(result: dg.ExecuteInProcessResult) -> str:
    import dagster as dg

    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.RUN_FAILURE:
            error = event.job_failure_data.error
            while error and error.cause:
                error = error.cause
            if error:
                return f": {error.message.strip()}"
    return "; see its log in DAGSTER_HOME"


def _report_success(
    settings: Settings, city: City, day: date, job: IngestionJob, result: dg.ExecuteInProcessResult
) -> None:
    """Print what was staged, and exit with the code of the run's outcome."""
    from ingestion_pipeline.defs import report
    from ingestion_pipeline.staging import runs as ledger
    from ingestion_pipeline.staging.database import describe
    from ingestion_pipeline.staging.days import count_by_class
    from ingestion_pipeline.staging.outcomes import outcome_of

    name = city.name.get("en", city.slug)
    dataset = job.dataset
    if why := report.nothing_to_do(result, dataset.chain):
        click.echo(f"\n{name}, {day}: nothing to do: {why}")
        return
    engine = open_database(settings)
    run = ledger.succeeded(engine, result.run_id)
    assert run is not None
    assert run.counts is not None
    outcome = outcome_of(run.counts)
    click.echo(f"\n{name}, {day}: SUCCEEDED{_MORE_ON_SUCCESS[outcome]}")
    print_table(report.HEAD, report.lines(result, dataset, run.counts))
    _print_sources(engine, city, day, dataset, run.counts)
    target = dataset.slice_of(city.slug, day)
    counts = count_by_class(engine, target)[:CLASSES_SHOWN]
    click.echo(f"\nthe biggest {dataset.classes}:")
    meaning = dataset.meanings()
    print_table(
        (dataset.things, "name", "meaning"),
        [(f"{count:,}", each, meaning(each) or "") for each, count in counts],
    )
    click.echo()
    print_wrapped(f"the rows are in {describe(engine)}, table {target.table.name}")
    sys.exit(EXIT_CODES[outcome])


def _print_sources(
    engine: sa.Engine, city: City, day: date, dataset: Dataset, counts: Mapping[str, Any]
) -> None:
    """Print what was staged of each source, if there are several; below it, why it failed."""
    from ingestion_pipeline.staging.days import slices_of_day
    from ingestion_pipeline.staging.outcomes import sources_of

    sources = sources_of(counts)
    if not sources:
        return
    slices = slices_of_day(engine, city.slug, day, dataset=dataset.name)
    as_of = {staged["source"]: f"{staged['as_of']:%Y-%m-%d}" for staged in slices}
    shown = ("rows", "added", "changed", "removed", "rejected")
    click.echo("\nthe sources:")
    print_table(
        ("source", *shown, "as of", "state"),
        [
            (
                source,
                *(f"{each.counts[name]:,}" for name in shown),
                as_of.get(source, "-"),
                each.state,
            )
            for source, each in sources.items()
        ],
        notes=[each.reason or "" for each in sources.values()],
    )
