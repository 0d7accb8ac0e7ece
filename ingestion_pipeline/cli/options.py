"""Options and parameter types that several commands share, and the values that they lead to."""

from __future__ import annotations

from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from ingestion_pipeline.core.identity import DEFAULT_DATASET, DEFAULT_JOB_TYPE
from ingestion_pipeline.datasets.base import SOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import sqlalchemy as sa

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.staging.days import Slice

if TYPE_CHECKING:
    _DayType = click.ParamType[date]
    _Choice = click.Choice[str]
else:  # generic since click 8.4
    _DayType = click.ParamType
    _Choice = click.Choice


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


class _Registered(_Choice):
    """A choice of names in the registry of datasets, which is imported when they are needed."""

    def __init__(self, names: Callable[[Any], Iterable[str]]) -> None:
        self._names = names
        self.case_sensitive = True

    @cached_property
    def choices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The names."""
        from ingestion_pipeline.datasets import registry

        return tuple(self._names(registry))


JOB_TYPE = _Registered(lambda registry: registry.job_types())

job_option = click.option(
    "--job",
    "job_type",
    type=JOB_TYPE,
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
            type=_Registered(lambda registry: registry.DATASETS),
            default=DEFAULT_DATASET,
            show_default=True,
            help="Points of interest, or helper places.",
        ),
    ):
        command = option(command)
    return command


def open_database(settings: Settings) -> sa.Engine:
    """Return the engine of a migrated database; it is disposed when the command ends."""
    import ingestion_pipeline.datasets.registry  # noqa: F401 - declares the tables of all datasets
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
    defaults = (DEFAULT_DATASET, SOURCE)
    named = [name.replace(":", "-") for name in (dataset, source) if name not in defaults]
    return "-".join([slug, *named, days])
