"""The command line `poi-ingest`: thin commands over the functions that everything else calls.

Belongs here: arguments, words for a person, exit codes. Does not belong here: any work.

Exit codes: 0 done; 1 failed, and trying again as it is will not help; 2 wrong usage, settings or
cities file; 3 another live run holds the key; 75 failed, and a later try may succeed; 130
interrupted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import textwrap
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion_pipeline.config.cities import CitiesFileError, UnknownCity, load_cities
from ingestion_pipeline.config.settings import SettingsError, load_settings
from ingestion_pipeline.core.errors import IngestionError
from ingestion_pipeline.core.identity import DEFAULT_JOB_TYPE
from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.datasets.registry import DATASETS, JOB_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import dagster as dg
    import sqlalchemy as sa

    from ingestion_pipeline.config.cities import Cities, City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.defs.jobs import IngestionJob
    from ingestion_pipeline.plan import PlannedDay
    from ingestion_pipeline.staging.days import Slice

FAILED, WRONG_USAGE, KEY_HELD, TRY_LATER, INTERRUPTED = 1, 2, 3, 75, 130

HOUR = timedelta(hours=1)

COLUMN_GAP = "  "
BIGGEST_SHOWN = 5
CHANGES_SHOWN = 50

BY_US = {
    "upstream": "",
    "rules": " (our rules changed, not the world)",
    "links": " (what it is linked to changed)",
    "boundary": " (the city's boundary changed, not the world)",
    "upstream or rules": " (our rules changed too)",
}
"""What is said of a change by its cause."""

if TYPE_CHECKING:
    _TypeOfDay = click.ParamType[date]
else:
    _TypeOfDay = click.ParamType  # generic from click 8.4 on


class _Day(_TypeOfDay):
    """A UTC day."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day; give YYYY-MM-DD, such as 2026-11-20", param, ctx)


DAY = _Day()


def _of_slice(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say which staged rows are read."""
    for option in (
        click.option("--source", default=SOURCE, show_default=True, help="Or 'feed:<slug>'."),
        click.option(
            "--dataset",
            type=click.Choice(list(DATASETS)),
            default=next(iter(DATASETS)),
            show_default=True,
            help="Points of interest, or helper places.",
        ),
    ):
        command = option(command)
    return command


_of_job = click.option(
    "--job",
    "job_type",
    type=click.Choice(JOB_TYPES),
    default=DEFAULT_JOB_TYPE,
    show_default=True,
    help="POIs, or helper places.",
)


class _Commands(click.Group):
    """Commands whose errors are a sentence and an exit code, never a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except IngestionError as error:
            click.echo(f"Error ({error.code}): {error}", err=True)
            ctx.exit(_exit_code(error))


def _exit_code(error: IngestionError) -> int:
    if isinstance(error, SettingsError | CitiesFileError | UnknownCity):
        return WRONG_USAGE
    return TRY_LATER if error.should_retry else FAILED


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ingestion-pipeline")
def main() -> None:
    """Keep each city's points of interest staged, day by day, from OpenStreetMap.

    Settings come from environment variables (docs/operations.md). Exit codes: 0 done; 1 failed;
    2 wrong usage, settings or cities file; 3 another run holds the key; 75 failed, try again
    later; 130 interrupted.
    """


@main.command()
@click.option("--to", "revision", default="head", show_default=True, help="Migration, or 'base'.")
def migrate(revision: str) -> None:
    """Bring the database's schema up to date, or to a migration."""
    from ingestion_pipeline.staging.database import create_engine, describe
    from ingestion_pipeline.staging.database import migrate as bring_to

    engine = create_engine(load_settings().database)
    bring_to(engine, revision)
    click.echo(f"{describe(engine)} is at {revision}")


@main.group(invoke_without_command=True)
@click.pass_context
def cities(ctx: click.Context) -> None:
    """List the cities, and where each one's data comes from; or check them."""
    from ingestion_pipeline.sources.registry import source_for

    if ctx.invoked_subcommand is not None:
        return
    settings = load_settings()
    rows = [
        (
            city.slug,
            city.name.get("en") or next(iter(city.name.values())),
            source_for(city, settings).kind,
            city.area.boundary_name,
            city.timezone,
            "yes" if city.enabled else "no",
        )
        for city in load_cities(settings.cities_file)
    ]
    _print_table(("slug", "name", "source", "boundary", "time zone", "enabled"), rows)


@cities.command()
@click.option("--city", "slugs", multiple=True, help="Slug of a city; may be repeated.")
@click.option("--day", type=DAY, help="UTC day that a run would be for.  [default: today]")
def check(slugs: Sequence[str], day: date | None) -> None:
    """Check whether cities can be staged, without staging: all enabled ones, or those named.

    Of an extract: how old it is, whether it covers the city, and whether the boundary closes. The
    file is fetched as a whole. Of an Overpass server: the boundary relation, in one small query.
    Exit codes: 0 all can be staged; 1 one cannot; 75 one may be able to later.
    """
    from ingestion_pipeline.cli.city_check import check_cities
    from ingestion_pipeline.core.clock import SystemClock

    settings = load_settings()
    known = load_cities(settings.cities_file)
    chosen = [known.get(slug) for slug in dict.fromkeys(slugs)] or list(known.enabled())
    clock = SystemClock()
    checked = list(check_cities(chosen, day or clock.now().date(), settings=settings, clock=clock))
    _print_table(
        ("slug", "source", "as of", "age", "boundary", "covered", "result"),
        [
            (
                found.city.slug,
                found.source,
                f"{found.as_of:%Y-%m-%d %H:%M}" if found.as_of else "-",
                f"{(clock.now() - found.as_of) / HOUR:,.0f} h" if found.as_of else "-",
                found.city.area.boundary_name,
                _covered(found.coverage),
                ", ".join(problem.code for problem in found.problems) or "good",
            )
            for found in checked
        ],
    )
    problems = [(found.city.slug, problem) for found in checked for problem in found.problems]
    for slug, problem in problems:
        click.echo(f"{slug}: Error ({problem.code}): {problem}", err=True)
    if problems:
        for_good = any(not problem.should_retry for _, problem in problems)
        sys.exit(FAILED if for_good else TRY_LATER)


def _covered(coverage: Mapping[str, Any] | None) -> str:
    """Write which share of a city an extract covers."""
    return f"{coverage['share']:.0%} by {coverage['how']}" if coverage else "-"


@main.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--day", type=DAY, required=True, help="UTC day.")
@click.option("--refetch", is_flag=True, help="Ask upstream again even if a snapshot is stored.")
@click.option("--accept", "reason", help="Stage the day though a check stops it, and keep why.")
@_of_job
def run(slug: str, day: date, job_type: str, *, refetch: bool, reason: str | None) -> None:
    """Stage one city's POIs or helper places of one day, through Dagster, in this process."""
    from ingestion_pipeline.defs.jobs import JOBS

    if reason is not None and not reason.strip():
        raise click.BadParameter("say why the day's data is right", param_hint="--accept")
    settings = load_settings()
    cities = load_cities(settings.cities_file)
    city = cities.get(slug)
    _require_partition(settings, day)
    _log_to_stderr("ingestion_pipeline")
    job = JOBS[job_type]
    result = _run_job(settings, cities, city, day, job, refetch=refetch, reason=reason)
    if not result.success:
        _report_failure(result)
    _report_success(settings, city, day, job, result)


@main.command()
@click.option("--city", "slugs", multiple=True, help="Slug of a city; may be repeated.")
@click.option("--all-cities", is_flag=True, help="All enabled cities.")
@click.option("--from", "first", type=DAY, required=True, help="First UTC day.")
@click.option("--to", "last", type=DAY, required=True, help="Last UTC day.")
@_of_job
@click.option("--all", "again", is_flag=True, help="Also the days that are staged already.")
@click.option("--dry-run", is_flag=True, help="Only print the plan.")
def backfill(
    slugs: Sequence[str],
    first: date,
    last: date,
    job_type: str,
    *,
    all_cities: bool,
    again: bool,
    dry_run: bool,
) -> None:
    """Plan days of cities, and submit those that can be staged honestly to Dagster as a backfill.

    What is staged already from equal inputs is left out, so a backfill that was interrupted is
    finished by submitting it again.
    """
    from ingestion_pipeline.defs.jobs import JOBS

    if last < first:
        raise click.BadParameter(f"{last} is earlier than {first}", param_hint="--to")
    if bool(slugs) == all_cities:
        raise click.UsageError("name cities with --city, or take all enabled ones by --all-cities")
    settings = load_settings()
    cities = load_cities(settings.cities_file)
    chosen = cities.enabled() if all_cities else [cities.get(slug) for slug in dict.fromkeys(slugs)]
    if not chosen:
        raise click.UsageError("no city is enabled in the cities file; name cities with --city")
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    planned = _plan(settings, chosen, days, JOBS[job_type])
    _print_plan(planned)
    due = [day for day in planned if day.is_possible and (again or not day.is_staged)]
    staged = sum(day.is_staged for day in planned)
    impossible = sum(not day.is_possible for day in planned)
    click.echo(
        f"\n{len(planned):,} city-days: {len(due):,} to run, {staged:,} staged already, "
        f"{impossible:,} cannot be staged honestly"
    )
    if dry_run:
        return
    if not due:
        click.echo("Nothing to submit")
        sys.exit(0 if staged else FAILED)
    _submit(settings, JOBS[job_type], due, title=f"{len(chosen)} cities, {first} to {last}")


@main.command()
@click.option("--city", "slug", help="Only this city.")
@click.option("--job", "job_type", type=click.Choice(JOB_TYPES), help="Only this job.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
def runs(slug: str | None, job_type: str | None, limit: int) -> None:
    """List the latest runs with their status, newest first."""
    from ingestion_pipeline.staging.runs import page

    settings = load_settings()
    found = page(_database(settings), job_type=job_type, city_slug=slug, limit=limit)
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
    notes = [
        run.id + (f"  {run.error_code}: {run.error_message}" if run.error_code else "")
        for run in found
    ]
    _print_table(
        ("requested", "job", "city", "day", "status", "trigger", "rows"), rows, notes=notes
    )


@main.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--day", type=DAY, help="Staged day; without it, the counts of all staged days.")
@click.option("--reason", help="Only this reason, such as missing_nodes.")
@_of_slice
def rejections(
    slug: str, day: date | None, reason: str | None, *, dataset: str, source: str
) -> None:
    """List the objects of a staged day that could not be staged, and why."""
    from ingestion_pipeline.staging.rejections import count_rejections, rejected_objects

    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    engine = _database(settings)
    if day is None:
        of_all_days = _slice(city, date.min, dataset=dataset, source=source)
        counts = count_rejections(engine, of_all_days, reason=reason)
        _print_table(
            ("day", "reason", "objects"),
            [(count.day.isoformat(), count.reason, f"{count.objects:,}") for count in counts],
        )
        return
    target = _slice(city, day, dataset=dataset, source=source)
    rows = [
        (found["reason"], found["source_ref"], found["detail"], _tags(found["raw"]))
        for found in rejected_objects(engine, target, reason=reason)
    ]
    _print_table(("reason", "object", "why", "tags"), rows)


@main.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--from", "earlier", type=DAY, required=True, help="Earlier staged day.")
@click.option("--to", "later", type=DAY, required=True, help="Later staged day.")
@click.option("--json", "as_json", is_flag=True, help="All changes, one JSON object a line.")
@_of_slice
def diff(
    slug: str, earlier: date, later: date, *, as_json: bool, dataset: str, source: str
) -> None:
    """Tell two staged days apart: features added, changed (in which columns) and removed."""
    from ingestion_pipeline.staging.days import difference

    if later <= earlier:
        raise click.BadParameter(f"{later} is not later than {earlier}", param_hint="--to")
    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    target = _slice(city, earlier, dataset=dataset, source=source)
    changes = difference(_database(settings), target, later)
    if as_json:
        for change in changes:
            row = asdict(change)
            # As the columns of the view are called: `kind` of a helper place.
            row[DATASETS[dataset].class_column] = row.pop("category")
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    for kind in ("added", "changed", "removed"):
        some = [each for each in changes if each.change == kind]
        click.echo(f"{kind}: {len(some)}")
        for change in some[:CHANGES_SHOWN]:
            fields = change.changed_fields
            what = f" [{', '.join(fields)}]" if fields else ""
            click.echo(
                f"  {change.source_ref}  {change.category}  {change.name or '-'}{what}"
                + BY_US[change.cause]
            )
        if len(some) > CHANGES_SHOWN:
            click.echo(f"  ... and {len(some) - CHANGES_SHOWN} more; --json gives all")


@main.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--day", type=DAY, required=True, help="Staged day.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["geojson", "gpkg", "parquet", "csv"]),
    required=True,
    help="File format.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: <city>-<day>.<format>]",
)
@_of_slice
def export(
    slug: str, day: date, format_: Any, output: Path | None, *, dataset: str, source: str
) -> None:
    """Write a staged day to a file for other tools."""
    from ingestion_pipeline.export import export_day

    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    # The default dataset and source go without saying; a colon has no place in a file's name.
    default = next(iter(DATASETS))
    told = [name.replace(":", "-") for name in (dataset, source) if name not in (default, SOURCE)]
    path = output or Path("-".join([slug, *told, f"{day}.{format_}"]))
    target = _slice(city, day, dataset=dataset, source=source)
    count = export_day(_database(settings), target, path=path, format=format_)
    click.echo(f"{count:,} {DATASETS[dataset].things} of {slug} on {day} written to {path}")


@main.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
def notice(slug: str) -> None:
    """Write the text that a product with a city's data must show: sources and licences."""
    from ingestion_pipeline.helpers.licences import Credit
    from ingestion_pipeline.helpers.licences import notice as text_of
    from ingestion_pipeline.staging.days import sources_of

    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    credited = [Credit(*row) for row in sources_of(_database(settings), slug)]
    if not credited:
        click.echo(f"Nothing of {slug} is staged", err=True)
        sys.exit(FAILED)
    click.echo(text_of(city.name.get("en", slug), credited))


@main.command()
@click.option(
    "--ui-port",
    type=click.IntRange(1, 65535),
    default=3000,
    envvar="UI_PORT",
    show_default=True,
    show_envvar=True,
    help="Port of the Dagster UI.",
)
@click.option(
    "--api-port",
    type=click.IntRange(1, 65535),
    default=8000,
    envvar="API_PORT",
    show_default=True,
    show_envvar=True,
    help="Port of the admin API.",
)
def dev(ui_port: int, api_port: int) -> None:
    """Run the Dagster UI, its daemon and the admin API together, until Ctrl-C."""
    from ingestion_pipeline.cli.development import Ports, new_token, require_free, run_all
    from ingestion_pipeline.staging.database import create_engine, describe
    from ingestion_pipeline.staging.database import migrate as bring_to

    settings = load_settings()
    cities = load_cities(settings.cities_file)
    ports = Ports(ui=ui_port, api=api_port)
    require_free(ports)
    engine = create_engine(settings.database)
    bring_to(engine)
    _prepare_dagster_home(settings.dagster_home)
    given = settings.admin_api_token
    token = given.get_secret_value().split(",")[0] if given else new_token()
    slug = next(iter(cities)).slug
    url = f"http://127.0.0.1:{api_port}"

    def say_ready() -> None:
        click.echo(
            "\nReady.\n"
            f"  Dagster UI   http://127.0.0.1:{ui_port}\n"
            f"  Admin API    {url}/v1/api/health\n"
            f"  Database     {describe(engine)}\n"
            + ("" if given else f"ADMIN_API_TOKEN is not set; for this session it is {token}\n")
            + "Enqueue a day:\n"
            f"  curl {url}/v1/admin/ingestion/osm/enqueue \\\n"
            f"    -H 'X-Admin-Token: {'...' if given else token}' \\\n"
            "    -H 'Content-Type: application/json' \\\n"
            f'    -d \'{{"city_slug": "{slug}", "day": "{settings.partitions_start}"}}\'\n'
            "Ctrl-C ends all processes.\n"
        )

    click.echo("Starting Dagster and the admin API ...")
    run_all(
        settings,
        token=given.get_secret_value() if given else token,
        ports=ports,
        when_ready=say_ready,
        when_slow=lambda: click.echo(
            "Still starting: the UI, the code location or the admin API does not answer yet.\n"
            "The lines above say why, if something failed.",
            err=True,
        ),
    )
    click.echo("All processes have ended.")


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port."
)
@click.option(
    "--workspace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Dagster's workspace.yaml.  [default: the one that is shipped]",
)
@click.option("--read-only", is_flag=True, help="Refuse whatever changes something.")
@click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    help="A name by which a proxy asks, beside those of loopback; may be repeated.",
)
def ui(
    host: str,
    port: int,
    workspace: Path | None,
    allowed_hosts: Sequence[str],
    *,
    read_only: bool,
) -> None:
    """Run Dagster's webserver, and refuse what a foreign web page can send to it."""
    from ingestion_pipeline.dagster_runtime import webserver

    with _dagster_instance(load_settings().dagster_home) as instance:
        webserver.serve(
            instance,
            workspace or Path(__file__).parents[1] / "workspace.yaml",
            host=host,
            port=port,
            read_only=read_only,
            allowed_hosts=allowed_hosts,
        )


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port."
)
def serve(host: str, port: int) -> None:
    """Serve the admin API (docs/api.md) until it is interrupted."""
    from ingestion_pipeline.admin_api.app import create_app
    from ingestion_pipeline.admin_api.server import build_server
    from ingestion_pipeline.admin_api.service import secrets_in

    settings = load_settings()
    app = create_app(settings, load_cities(settings.cities_file))
    _log_to_stderr("ingestion_pipeline", "uvicorn")
    click.echo(f"admin API on http://{f'[{host}]' if ':' in host else host}:{port}")
    if not secrets_in(settings.admin_api_token):
        click.echo("ADMIN_API_TOKEN is not set: jobs can neither be asked for nor looked at")
    if not secrets_in(settings.callback_signing_keys):
        click.echo("CALLBACK_SIGNING_KEYS is not set: the callback is closed")
    server = build_server(app, host=host, port=port)
    # Interrupted, as it should end; or it could not start, and has said why.
    with contextlib.suppress(KeyboardInterrupt, SystemExit):
        server.run()
    if not server.started:
        sys.exit(FAILED)


@main.command()
@click.option(
    "--older-than", "days", type=click.IntRange(min=1), required=True, help="Age in days."
)
@click.option("--dry-run", is_flag=True, help="Only count.")
def prune(days: int, *, dry_run: bool) -> None:
    """Remove from Dagster's storage what runs said in detail that ended long ago.

    Runs, materializations, checks and statuses stay; so do the ledger, the rows and the lake.
    """
    from ingestion_pipeline.dagster_runtime.retention import prune as remove

    with _dagster_instance(load_settings().dagster_home) as instance:
        done = remove(instance, before=datetime.now(UTC) - timedelta(days=days), dry_run=dry_run)
    what = "would be removed" if dry_run else "removed, with their captured output"
    click.echo(f"{done.events:,} events of {done.runs:,} runs {what}")


def _database(settings: Settings) -> sa.Engine:
    from ingestion_pipeline.staging.database import create_engine, require_migrated

    engine = create_engine(settings.database)
    click.get_current_context().call_on_close(engine.dispose)
    require_migrated(engine)
    return engine


def _slice(city: City, day: date, *, dataset: str, source: str) -> Slice:
    from ingestion_pipeline.staging.days import Slice

    return Slice(city.slug, dataset, source, day)


def _require_partition(settings: Settings, day: date) -> None:
    today = datetime.now(UTC).date()
    if not settings.partitions_start <= day <= today:
        raise click.BadParameter(
            f"{day} has no partition: there is one for each UTC day from "
            f"{settings.partitions_start} (PARTITIONS_START) to today, {today}",
            param_hint="--day",
        )


def _plan(
    settings: Settings, cities: Iterable[City], days: Sequence[date], job: IngestionJob
) -> list[PlannedDay]:
    from ingestion_pipeline.lake.snapshots import Lake
    from ingestion_pipeline.plan import look, plan

    lake, engine, now = Lake(settings.data_dir), _database(settings), datetime.now(UTC)
    planned = []
    for city in cities:
        kept = look(lake, engine, city, days, dataset=job.dataset)
        planned += plan(city, days, settings=settings, kept=kept, now=now)
    return planned


def _print_plan(planned: Iterable[PlannedDay]) -> None:
    from ingestion_pipeline.plan import spans

    _print_table(
        ("city", "from", "to", "days", "what", "from where, or why not"),
        [
            (s.city_slug, str(s.first), str(s.last), f"{s.days:,}", s.way, s.words)
            for s in spans(planned)
        ],
    )


def _submit(
    settings: Settings, job: IngestionJob, due: Iterable[PlannedDay], *, title: str
) -> None:
    import httpx

    from ingestion_pipeline.cli.backfill import submit
    from ingestion_pipeline.core.identity import CityDay
    from ingestion_pipeline.defs.work import TRIGGER_TAG

    partitions = [str(CityDay(planned.city_slug, planned.day)) for planned in due]
    with httpx.Client() as http:
        submitted = submit(
            http,
            settings.dagster_url,
            assets=job.dataset.chain,
            partitions=partitions,
            tags={TRIGGER_TAG: "backfill"},
            title=title,
        )
    click.echo(f"Backfill {submitted.id} of {len(partitions):,} runs: {submitted.address}")


def _log_to_stderr(*loggers: str) -> None:
    """Show how the work gets on; Dagster's own events stay in its event log."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Wrapped("%(asctime)s %(message)s", "%H:%M:%S"))
    for name in loggers:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


class _Wrapped(logging.Formatter):
    """Writes a record in lines that fit the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).splitlines()
        return "\n".join(
            wrapped
            for line in lines
            for wrapped in _wrapped(line, _width(), indent=len("00:00:00 ")) or [line]
        )


def _width() -> int:
    """Return how wide the terminal is; 80 where there is none."""
    return shutil.get_terminal_size().columns


def _wrapped(text: str, width: int, *, indent: int = 0) -> list[str]:
    """Break a text between words; a path or an address stays whole."""
    return textwrap.wrap(
        text,
        width,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
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
    from ingestion_pipeline.core.identity import CityDay
    from ingestion_pipeline.definitions import build_definitions
    from ingestion_pipeline.defs.failures import Retrying
    from ingestion_pipeline.defs.resources import PipelineResources
    from ingestion_pipeline.defs.work import TRIGGER_TAG

    # Whoever waits at a terminal, or a job of cron, tries again by itself: exit code 75 says so.
    pipeline = PipelineResources(settings, cities, retrying=Retrying(maximum=0))
    with _dagster_instance(settings.dagster_home) as instance:
        return (
            # Outside of the pools: only a daemon gives the place of a killed process back. The lock
            # that each server has keeps requests one by one here too.
            build_definitions(pipeline, with_pools=False)
            .resolve_job_def(job.job_type)
            .execute_in_process(
                partition_key=str(CityDay(city.slug, day)),
                instance=instance,
                raise_on_error=False,
                tags={TRIGGER_TAG: "cli"},
                run_config={
                    **job.run_config(refetch=refetch, accepted_reason=reason),
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                },
            )
        )


def _dagster_instance(home: Path) -> dg.DagsterInstance:
    """Open Dagster's own folder, which is set up when it is used for the first time."""
    import dagster as dg
    import filelock

    _prepare_dagster_home(home)
    # Two processes that make Dagster's tables at the same moment stumble over each other.
    with filelock.FileLock(home / "first-use.lock"):
        return dg.DagsterInstance.from_config(str(home))


def _prepare_dagster_home(home: Path) -> None:
    home.mkdir(parents=True, exist_ok=True)
    configuration = home / "dagster.yaml"
    if not configuration.exists():
        # Written beside it and moved: another process never reads half of it.
        complete = home / f"dagster.yaml.{os.getpid()}"
        shutil.copyfile(Path(__file__).parents[1] / "dagster.yaml", complete)
        complete.rename(configuration)


def _report_failure(result: dg.ExecuteInProcessResult) -> None:
    """Say why the run failed, and leave with the code that says what helps."""
    from dagster._core.execution.plan.objects import ErrorSource

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
    click.echo(f"Error: the run did not start{_why_not_started(result)}", err=True)
    sys.exit(FAILED)


def _why_not_started(result: dg.ExecuteInProcessResult) -> str:
    import dagster as dg

    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.RUN_FAILURE:
            error = event.job_failure_data.error
            while error and error.cause:
                error = error.cause
            if error:
                return f": {error.message.strip()}"
    return "; its log in DAGSTER_HOME says why"


def _report_success(
    settings: Settings, city: City, day: date, job: IngestionJob, result: dg.ExecuteInProcessResult
) -> None:
    from ingestion_pipeline.defs import report
    from ingestion_pipeline.staging.database import describe
    from ingestion_pipeline.staging.days import count_by_class, slices_of_day

    name = city.name.get("en", city.slug)
    dataset = job.dataset
    if why := report.nothing_to_do(result, dataset.chain):
        click.echo(f"\n{name}, {day}: nothing to do: {why}")
        return
    click.echo(f"\n{name}, {day}: SUCCEEDED")
    _print_table(report.HEAD, report.lines(result, dataset))
    engine = _database(settings)
    slices = slices_of_day(engine, city.slug, day, dataset=dataset.name)
    if len(slices) > 1:
        click.echo("\nthe sources:")
        _print_table(
            ("source", "rows", "as of", "stale, because"),
            [
                (
                    staged["source"],
                    f"{staged['rows']:,}",
                    f"{staged['as_of']:%Y-%m-%d %H:%M:%S}",
                    staged["stale_reason"] or "",
                )
                for staged in slices
            ],
        )
    target = dataset.slice_of(city.slug, day)
    counts = count_by_class(engine, target)[:BIGGEST_SHOWN]
    click.echo(f"\nthe biggest {dataset.classes}:")
    meaning = dataset.meanings()
    _print_table(
        (dataset.things, "name", "meaning"),
        [(f"{count:,}", each, meaning(each) or "") for each, count in counts],
    )
    click.echo(f"\nthe rows are in {describe(engine)}, table {target.table.name}")


def _tags(raw: Any) -> str:
    """Write the tags of a rejected object in one line."""
    return " ".join(
        ", ".join(f"{key}={value}" for key, value in sorted(raw.get("tags", {}).items())).split()
    )


def _print_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, notes: Sequence[str] = ()
) -> None:
    """Print columns, of which the widest with several words is wrapped where the terminal ends.

    Args:
        head: What the columns are.
        rows: Their texts.
        notes: What is printed below each row.
    """
    table = [head, *rows]
    columns = list(zip(*table, strict=True))
    widths = [max(map(len, column)) for column in columns]
    too_wide = sum(widths) + len(COLUMN_GAP) * (len(head) - 1) - _width()
    wordy = [place for place, column in enumerate(columns) if any(" " in cell for cell in column)]
    wrapped = max(wordy, key=widths.__getitem__, default=None) if too_wide > 0 else None
    if wrapped is not None:
        longest_word = max(len(word) for cell in columns[wrapped] for word in cell.split() or [""])
        widths[wrapped] = max(widths[wrapped] - too_wide, longest_word)
    for row, note in zip_longest(table, ["", *notes], fillvalue=""):
        cells = [
            _wrapped(cell, widths[place]) if place == wrapped else [cell]
            for place, cell in enumerate(row)
        ]
        for line in zip_longest(*cells, fillvalue=""):
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            click.echo(COLUMN_GAP.join(padded).rstrip())
        for text in _wrapped(f"  {note}" if note else "", _width(), indent=4):
            click.echo(text)
