"""The command that writes a map of staged days: `map`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion_pipeline.cli.options import (
    DAY,
    default_stem,
    open_database,
    slice_of,
    slice_options,
)
from ingestion_pipeline.cli.output import print_wrapped
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.datasets.registry import DATASETS

if TYPE_CHECKING:
    from datetime import date

    from ingestion_pipeline.datasets.base import Dataset
    from ingestion_pipeline.maps.content import Content


@click.command("map")
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--day", type=DAY, required=True, help="Staged day.")
@click.option("--from", "earlier", type=DAY, help="Earlier staged day: show the changes since.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: <city>-<day>.html]",
)
@slice_options
def map_(
    slug: str, day: date, earlier: date | None, out: Path | None, *, dataset: str, source: str
) -> None:
    """Write a map of a staged day, or of the difference between two, as one HTML file."""
    from ingestion_pipeline.export import replacing
    from ingestion_pipeline.maps.content import as_json, of_day, of_difference
    from ingestion_pipeline.maps.document import document

    if earlier is not None and day <= earlier:
        raise click.BadParameter(f"{earlier} is not earlier than {day}", param_hint="--from")
    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    target = slice_of(city, day, dataset=dataset, source=source)
    engine = open_database(settings)
    content = of_day(engine, target) if earlier is None else of_difference(engine, target, earlier)
    of_dataset = DATASETS[dataset]
    days = f"{day}" if earlier is None else f"{earlier} to {day}"
    page = document(
        as_json(
            content,
            title=f"{city.name.get('en', slug)}, {days}",
            things=of_dataset.things,
            meaning=of_dataset.meanings(),
            basemap=settings.basemap_style_url,
        )
    )
    span = f"{day}" if earlier is None else f"{earlier}-{day}"
    path = out or Path(f"{default_stem(slug, span, dataset=dataset, source=source)}.html")
    with replacing(path, option="--out") as beside:
        beside.write_text(page, "utf-8")
    print_wrapped(_sentence(content, of_dataset, slug, days))
    click.echo(str(path))


def _sentence(content: Content, dataset: Dataset, slug: str, days: str) -> str:
    """Return what the map shows, in the words of `diff`."""
    if content.earlier is None:
        return f"a map of {len(content.items):,} {dataset.things} of {slug} on {days}:"
    moved = content.count("moved")
    changed = content.count("changed") + moved
    return (
        f"a map of what changed in {slug}, {days}: {content.count('added'):,} added, "
        f"{changed:,} changed ({moved:,} of them moved), {content.count('removed'):,} removed:"
    )
