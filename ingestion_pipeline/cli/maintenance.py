"""Commands that maintain the database and Dagster's storage: `migrate`, `prune`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from ingestion_pipeline.cli.instance import dagster_instance
from ingestion_pipeline.config.settings import load_settings


@click.command()
@click.option("--to", "revision", default="head", show_default=True, help="Migration, or 'base'.")
def migrate(revision: str) -> None:
    """Migrate the database to the newest schema, or to a given migration."""
    from ingestion_pipeline.staging import database

    engine = database.create_engine(load_settings().database)
    database.migrate(engine, revision)
    click.echo(f"{database.describe(engine)} is at {revision}")


@click.command()
@click.option(
    "--older-than", "days", type=click.IntRange(min=1), required=True, help="Age in days."
)
@click.option("--dry-run", is_flag=True, help="Only count.")
def prune(days: int, *, dry_run: bool) -> None:
    """Delete step events and captured output of old runs from Dagster's storage.

    Runs, materializations, checks and statuses stay, and so do the ledger, the rows and the lake.
    """
    from ingestion_pipeline.dagster_runtime import retention

    before = datetime.now(UTC) - timedelta(days=days)
    with dagster_instance(load_settings().dagster_home) as instance:
        done = retention.prune(instance, before=before, dry_run=dry_run)
    what = "would be removed" if dry_run else "removed, with their captured output"
    click.echo(f"{done.events:,} events of {done.runs:,} runs {what}")
