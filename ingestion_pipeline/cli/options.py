"""Options and parameter types that several commands share, and the values that they lead to."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import click

from ingestion_pipeline.core.identity import DEFAULT_JOB_TYPE
from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.datasets.registry import DATASETS, JOB_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.staging.days import Slice

if TYPE_CHECKING:
    _DayType = click.ParamType[date]
else:
    _DayType = click.ParamType  # generic since click 8.4


class _Day(_DayType):
    """A UTC day."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a day. Use YYYY-MM-DD, such as 2026-11-20.", param, ctx)


DAY = _Day()

job_option = click.option(
    "--job",
    "job_type",
    type=click.Choice(JOB_TYPES),
    default=DEFAULT_JOB_TYPE,
    show_default=True,
    help="POIs, or helper places.",
)


def slice_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select the dataset and its source."""
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


def open_database(settings: Settings) -> sa.Engine:
    """Return the engine of a migrated database; it is disposed when the command ends."""
    from ingestion_pipeline.staging.database import create_engine, require_migrated

    engine = create_engine(settings.database)
    click.get_current_context().call_on_close(engine.dispose)
    require_migrated(engine)
    return engine


def slice_of(city: City, day: date, *, dataset: str, source: str) -> Slice:
    """Return a slice of a city."""
    from ingestion_pipeline.staging.days import Slice

    return Slice(city.slug, dataset, source, day)


def default_stem(slug: str, days: str, *, dataset: str, source: str) -> str:
    """Return the name of a file with staged days, without its suffix.

    It leaves out the default dataset and source, and has no colons.
    """
    default = next(iter(DATASETS))
    named = [name.replace(":", "-") for name in (dataset, source) if name not in (default, SOURCE)]
    return "-".join([slug, *named, days])
