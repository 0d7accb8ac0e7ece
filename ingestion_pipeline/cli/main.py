"""The command line `poi-ingest`: the group of all commands, and their exit codes.

Exit codes: 0 done; 1 failed, a retry does not help; 2 wrong usage, settings or cities file; 3
another live run holds the key; 4 staged, but some of the feeds failed; 5 staged, but all feeds
failed; 75 failed, a later retry may succeed; 130 interrupted.
"""

from __future__ import annotations

from typing import Any

import click

from ingestion_pipeline.cli.backfill import backfill
from ingestion_pipeline.cli.cities import cities
from ingestion_pipeline.cli.collector import collect_nothing_at_the_end
from ingestion_pipeline.cli.error import error
from ingestion_pipeline.cli.feed import feed
from ingestion_pipeline.cli.maintenance import migrate, prune
from ingestion_pipeline.cli.maps import map_
from ingestion_pipeline.cli.output import FAILED, TRY_LATER, WRONG_USAGE
from ingestion_pipeline.cli.promotion import (
    approve,
    explain,
    override,
    promote,
    promotions,
    reject,
    revert,
)
from ingestion_pipeline.cli.run import run, runs
from ingestion_pipeline.cli.servers import dev, serve, ui
from ingestion_pipeline.cli.staged import diff, export, notice, rejections
from ingestion_pipeline.cli.upstream import upstream
from ingestion_pipeline.cli.worker import worker
from ingestion_pipeline.config.cities import CitiesFileError, UnknownCity
from ingestion_pipeline.config.settings import SettingsError
from ingestion_pipeline.core.errors import IngestionError


class _Commands(click.Group):
    """A group that prints an error as one sentence and exits with its code."""

    def invoke(self, ctx: click.Context) -> Any:
        collect_nothing_at_the_end()
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
    """Stage the points of interest of cities, day by day, from OpenStreetMap.

    Settings are environment variables. Exit codes: 0 done; 1 failed; 2 wrong usage, settings or
    cities file; 3 another run holds the key; 4 staged, but some feeds failed; 5 staged, but all
    feeds failed; 75 failed, a later retry may succeed; 130 interrupted. 'poi-ingest error CODE'
    prints what an error means and what to do. 'poi-ingest serve' serves the manual under /manual.
    """


for _command in (
    *(migrate, cities, run, backfill, runs),
    *(rejections, diff, map_, export, notice, feed),
    *(promote, promotions, approve, reject, revert, override, explain),
    *(dev, ui, serve, worker, prune, upstream, error),
):
    main.add_command(_command)
