"""The command `upstream`: what servers were asked for, and who asks them now."""

from __future__ import annotations

from datetime import timedelta

import click

from ingestion_pipeline.cli.options import open_database
from ingestion_pipeline.cli.output import print_table
from ingestion_pipeline.config.settings import load_settings


@click.command()
@click.option(
    "--days",
    type=click.IntRange(1, 3660),
    default=7,
    show_default=True,
    help="How many UTC days, up to today.",
)
def upstream(days: int) -> None:
    """List what each upstream server was asked for on each UTC day, with its budget.

    Below it, with PostgreSQL: who asks a server at this moment.
    """
    from ingestion_pipeline.core.clock import SystemClock
    from ingestion_pipeline.sources.gate import budgets_of
    from ingestion_pipeline.staging.clock import DatabaseClock
    from ingestion_pipeline.staging.upstream import leases, usage_since

    settings = load_settings()
    engine = open_database(settings)
    budgets = budgets_of(settings)
    today = DatabaseClock(engine, SystemClock()).now().date()
    rows = [
        (
            f"{used.day}",
            used.source,
            used.server,
            f"{used.requests:,}",
            _limit(budgets[used.source].requests),
            f"{used.bytes:,}",
            _limit(budgets[used.source].bytes),
        )
        for used in usage_since(engine, today - timedelta(days=days - 1))
    ]
    print_table(("day", "source", "server", "requests", "limit", "bytes", "limit"), rows)
    held = leases(engine)
    if held:
        click.echo("\nin progress:")
        print_table(
            ("what", "worker", "lease ends (UTC)"),
            [(each.name, each.worker, f"{each.leased_until:%H:%M:%S}") for each in held],
        )


def _limit(number: int) -> str:
    return f"{number:,}" if number else "-"
