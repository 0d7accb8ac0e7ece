"""The command `backfill`: plans days, and submits them by Dagster's GraphQL API."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import click

from ingestion_pipeline.cli.options import DAY, job_option, open_database
from ingestion_pipeline.cli.output import FAILED, print_table
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import SettingsError, load_settings
from ingestion_pipeline.core.errors import IngestionError, quoted
from ingestion_pipeline.core.locations import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import httpx

    from ingestion_pipeline.config.cities import Cities, City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.defs.jobs import IngestionJob
    from ingestion_pipeline.plan import PlannedDay

TIMEOUT_S = 300.0
"""Dagster checks each partition before it answers: seconds for tens of thousands."""

MUTATION = """\
mutation SubmitBackfill($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message }
  }
}
"""


class DagsterUnavailable(IngestionError):
    """Dagster's webserver does not answer."""

    code: ClassVar[str] = "dagster_unavailable"
    should_retry = True


class DagsterRefused(IngestionError):
    """Dagster's webserver rejects the backfill."""

    code: ClassVar[str] = "dagster_refused"


@dataclass(frozen=True)
class Backfill:
    """A backfill that Dagster accepted.

    Attributes:
        id: Dagster's id of it.
        address: Its page in the UI.
    """

    id: str
    address: str


@click.command()
@click.option("--city", "slugs", multiple=True, help="Slug of a city; may be repeated.")
@click.option("--all-cities", is_flag=True, help="All enabled cities.")
@click.option("--from", "first", type=DAY, required=True, help="First UTC day.")
@click.option("--to", "last", type=DAY, required=True, help="Last UTC day.")
@job_option
@click.option("--all", "again", is_flag=True, help="Include days that are already staged.")
@click.option("--dry-run", is_flag=True, help="Only print the plan.")
@click.option(
    "--enqueue",
    "as_jobs",
    is_flag=True,
    help="Enqueue jobs instead of a backfill of Dagster, which needs a partition of each day.",
)
def backfill(
    slugs: Sequence[str],
    first: date,
    last: date,
    job_type: str,
    *,
    all_cities: bool,
    again: bool,
    dry_run: bool,
    as_jobs: bool,
) -> None:
    """Plan days of cities, and submit those with available data to Dagster as a backfill.

    Leaves out days that are staged already from equal inputs, so submitting an interrupted backfill
    again completes it.
    """
    from ingestion_pipeline.defs.jobs import JOBS

    if last < first:
        raise click.BadParameter(f"{last} is earlier than {first}", param_hint="--to")
    if bool(slugs) == all_cities:
        raise click.UsageError("Use either --city or --all-cities.")
    settings = load_settings()
    cities = load_cities(settings.cities_file).of_group(settings.city_group)
    chosen = cities.enabled() if all_cities else [cities.get(slug) for slug in dict.fromkeys(slugs)]
    if not chosen:
        raise click.UsageError("The cities file enables no city. Select cities with --city.")
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    planned = _plan(
        settings.with_partitions_of_all_days() if as_jobs else settings,
        chosen,
        days,
        JOBS[job_type],
    )
    _print_plan(planned)
    due = [day for day in planned if day.is_possible and (again or not day.is_staged)]
    staged = sum(day.is_staged for day in planned)
    impossible = sum(not day.is_possible for day in planned)
    click.echo(
        f"\n{len(planned):,} city-days: {len(due):,} to run, {staged:,} staged already, "
        f"{impossible:,} without available data"
    )
    if dry_run:
        return
    if not due:
        click.echo("Nothing to submit")
        sys.exit(0 if staged else FAILED)
    if as_jobs:
        _enqueue(settings, cities, job_type, due)
        return
    _submit(settings, JOBS[job_type], due, title=f"{len(chosen)} cities, {first} to {last}")


def _plan(
    settings: Settings, cities: Iterable[City], days: Sequence[date], job: IngestionJob
) -> list[PlannedDay]:
    from ingestion_pipeline.config.lake import open_lake
    from ingestion_pipeline.plan import look, plan

    lake, engine, now = open_lake(settings), open_database(settings), datetime.now(UTC)
    planned = []
    for city in cities:
        kept = look(lake, engine, city, days, dataset=job.dataset)
        planned += plan(city, days, settings=settings, kept=kept, now=now)
    return planned


def _print_plan(planned: Iterable[PlannedDay]) -> None:
    from ingestion_pipeline.plan import spans

    print_table(
        ("city", "from", "to", "days", "what", "source, or reason"),
        [
            (s.city_slug, str(s.first), str(s.last), f"{s.days:,}", s.way, s.words)
            for s in spans(planned)
        ],
    )


def _enqueue(settings: Settings, cities: Cities, job_type: str, due: Iterable[PlannedDay]) -> None:
    """Enqueue a job for each day; one that is active already stays as it is."""
    from ingestion_pipeline.core.clock import SystemClock
    from ingestion_pipeline.core.identity import JobKey
    from ingestion_pipeline.staging.clock import DatabaseClock
    from ingestion_pipeline.staging.runs import enqueue

    engine = open_database(settings)
    now = DatabaseClock(engine, SystemClock()).now()
    made = 0
    for planned in due:
        city = cities.get(planned.city_slug)
        key = JobKey(job_type, city.slug, city.boundary_key, planned.day)
        made += enqueue(engine, key, trigger="backfill", now=now)[1]
    click.echo(f"{made:,} jobs are enqueued; admin_trigger_sensor starts their runs")


def _submit(
    settings: Settings, job: IngestionJob, due: Iterable[PlannedDay], *, title: str
) -> None:
    import httpx

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


def submit(
    http: httpx.Client,
    url: str,
    *,
    assets: Sequence[str],
    partitions: Sequence[str],
    tags: Mapping[str, str],
    title: str,
) -> Backfill:
    """Submit a backfill of some assets, with one run for each partition.

    Args:
        http: The client to send with.
        url: Dagster's webserver; a user and a password in it are never shown.
        assets: The assets to materialize.
        partitions: Their partitions; `<city>|<YYYY-MM-DD>`.
        tags: Tags of every run.
        title: The name of the backfill in the UI.

    Raises:
        SettingsError: The URL is not valid.
        DagsterUnavailable: The webserver does not answer.
        DagsterRefused: The server rejects the backfill, or is not Dagster.
    """
    try:
        endpoint = Endpoint.parse(f"{url.rstrip('/')}/graphql")
    except ValueError as error:
        raise SettingsError(
            f"DAGSTER_URL cannot be used: {error}. Set it to the address of Dagster's webserver, "
            "such as http://127.0.0.1:3000."
        ) from None
    parameters = {
        "assetSelection": [{"path": [name]} for name in assets],
        "partitionNames": list(partitions),
        "tags": [{"key": key, "value": value} for key, value in tags.items()],
        "title": title,
    }
    answer = _post(http, endpoint, {"query": MUTATION, "variables": {"parameters": parameters}})
    if answer["__typename"] != "LaunchBackfillSuccess":
        _reject(endpoint, f"{answer['__typename']}: {answer.get('message', 'no reason is given')}")
    name: str = answer["backfillId"]
    return Backfill(name, f"{endpoint.public.removesuffix('/graphql')}/runs/b/{name}")


def _post(http: httpx.Client, endpoint: Endpoint, request: Mapping[str, Any]) -> dict[str, Any]:
    """Send the request; return the value of its one field."""
    import httpx

    try:
        reply = http.post(
            endpoint.target,
            json=request,
            auth=endpoint.auth or httpx.USE_CLIENT_DEFAULT,
            timeout=TIMEOUT_S,
        )
    except httpx.ConnectError as error:
        raise DagsterUnavailable(
            f"Dagster's webserver does not answer at {endpoint.public} ({error}). Start it, or "
            "correct DAGSTER_URL."
        ) from error
    except httpx.TransportError as error:
        raise DagsterUnavailable(_lost(endpoint, type(error).__name__)) from error
    if reply.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise DagsterUnavailable(_lost(endpoint, f"HTTP {reply.status_code}"))
    try:
        document = reply.json()
        if "errors" in document:
            _reject(endpoint, document["errors"][0]["message"])
        (answer,) = document["data"].values()
        return dict(answer)
    except (ValueError, KeyError, TypeError, AttributeError):
        _reject(
            endpoint,
            f"HTTP {reply.status_code} is not an answer of Dagster's webserver. Check DAGSTER_URL, "
            "and whether a proxy answers instead.",
        )


def _lost(endpoint: Endpoint, what: str) -> str:
    return (
        f"Lost the connection to Dagster's webserver at {endpoint.public} ({what}). Check its list "
        "of backfills: it may have accepted this one. Submitting it again is safe, because staged "
        "days cost nothing."
    )


def _reject(endpoint: Endpoint, why: str) -> NoReturn:
    raise DagsterRefused(f"Dagster at {endpoint.public} rejected the backfill: {quoted(why)}")
