"""Commands on the cities file: `cities`, `cities check`."""

from __future__ import annotations

import os
import socket
import sys
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import click

from ingestion_pipeline.cli.options import DAY, open_database
from ingestion_pipeline.cli.output import FAILED, TRY_LATER, print_table
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingestion_pipeline.core.clock import Clock
    from ingestion_pipeline.sources.gate import Gate

HOUR = timedelta(hours=1)


@click.group(invoke_without_command=True)
@click.pass_context
def cities(ctx: click.Context) -> None:
    """List the cities and their sources, or check them."""
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
    print_table(("slug", "name", "source", "boundary", "time zone", "enabled"), rows)


@cities.command()
@click.option("--city", "slugs", multiple=True, help="Slug of a city; may be repeated.")
@click.option("--day", type=DAY, help="UTC day to check for.  [default: today]")
def check(slugs: Sequence[str], day: date | None) -> None:
    """Check whether the enabled cities, or the given ones, can be staged. Stages nothing.

    For an extract: its age, its coverage of the city, and the boundary. Fetches the whole file. For
    an Overpass server: the boundary relation, in one small query. Exit codes: 0 all cities can be
    staged; 1 a city cannot; 75 a later try may succeed.
    """
    from ingestion_pipeline.cli.city_check import check_cities
    from ingestion_pipeline.core.clock import SystemClock

    settings = load_settings()
    known = load_cities(settings.cities_file)
    chosen = [known.get(slug) for slug in dict.fromkeys(slugs)] or list(known.enabled())
    clock = SystemClock()
    checked = list(
        check_cities(
            chosen,
            day or clock.now().date(),
            settings=settings,
            clock=clock,
            gate=_gate(settings, clock),
        )
    )
    print_table(
        ("slug", "source", "as of", "age", "boundary", "covered", "result"),
        [
            (
                found.city.slug,
                found.source,
                f"{found.as_of:%Y-%m-%d %H:%M}" if found.as_of else "-",
                f"{(clock.now() - found.as_of) / HOUR:,.0f} h" if found.as_of else "-",
                found.city.area.boundary_name,
                _coverage(found.coverage),
                ", ".join(problem.code for problem in found.problems) or "good",
            )
            for found in checked
        ],
    )
    problems = [(found.city.slug, problem) for found in checked for problem in found.problems]
    for slug, problem in problems:
        click.echo(f"{slug}: Error ({problem.code}): {problem}", err=True)
    if problems:
        is_final = any(not problem.should_retry for _, problem in problems)
        sys.exit(FAILED if is_final else TRY_LATER)


def _gate(settings: Settings, clock: Clock) -> Gate:
    """Return what admits requests; cities may be checked before there is a database."""
    from ingestion_pipeline.sources.gate import DatabaseGate, LocalGate, budgets_of
    from ingestion_pipeline.staging.errors import StagingError

    lock_dir = settings.state_dir / "locks"
    try:
        engine = open_database(settings)
    except (SettingsError, StagingError) as error:
        if settings.database_url is not None:
            click.echo(
                f"Requests are not counted, and other workers are not waited for: {error}", err=True
            )
        return LocalGate(lock_dir)
    return DatabaseGate(
        lambda: engine,
        clock=clock,
        lock_dir=lock_dir,
        worker=f"{socket.gethostname()} {os.getpid()} cities check",
        budgets=budgets_of(settings),
    )


def _coverage(coverage: Mapping[str, Any] | None) -> str:
    return f"{coverage['share']:.0%} by {coverage['how']}" if coverage else "-"
