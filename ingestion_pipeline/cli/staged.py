"""Commands that read staged days: `rejections`, `diff`, `export`, `notice`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ingestion_pipeline.cli.options import (
    DAY,
    default_stem,
    open_database,
    slice_of,
    slice_options,
)
from ingestion_pipeline.cli.output import FAILED, print_table, print_wrapped
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.core.formats import Format
from ingestion_pipeline.datasets.registry import DATASETS

if TYPE_CHECKING:
    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings

CHANGES_SHOWN = 50

CAUSE_NOTES = {
    "upstream": "",
    "rules": " (the rules changed, not the source)",
    "links": " (its links changed)",
    "boundary": " (the city's boundary changed, not the source)",
    "upstream or rules": " (the rules changed too)",
}
"""What is added to a change, by its cause."""


@click.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--day", type=DAY, help="Staged day; without it, the counts of all staged days.")
@click.option("--reason", help="Only this reason, such as missing_nodes.")
@slice_options
def rejections(
    slug: str, day: date | None, reason: str | None, *, dataset: str, source: str
) -> None:
    """List the objects of a staged day that could not be staged, and why.

    Of a feed that was refused on the day, also what its refused file rejects.
    """
    from ingestion_pipeline.staging.errors import DayNotStaged
    from ingestion_pipeline.staging.rejections import count_rejections, rejected_objects

    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    engine = open_database(settings)
    if day is None:
        of_all_days = slice_of(city, date.min, dataset=dataset, source=source)
        counts = count_rejections(engine, of_all_days, reason=reason)
        print_table(
            ("day", "reason", "objects"),
            [(count.day.isoformat(), count.reason, f"{count.objects:,}") for count in counts],
        )
        return
    target = slice_of(city, day, dataset=dataset, source=source)
    refused = _refused(settings, city, day, source)
    try:
        objects = rejected_objects(engine, target, reason=reason)
    except DayNotStaged:
        if not refused:
            raise
    else:
        rows = [
            (found["reason"], found["source_ref"], found["detail"], _tags(found["raw"]))
            for found in objects
        ]
        print_table(("reason", "object", "why", "tags"), rows)
    if refused:
        click.echo(f"the file of {source} for {day} was refused, of which these are examples:")
        rows = [
            (f"{found['count']:,}", found["reason"], one["source_ref"], one["detail"])
            for found in refused
            if reason in (None, found["reason"])
            for one in found["examples"]
        ]
        print_table(("records", "reason", "object", "why"), rows)


@click.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--from", "earlier", type=DAY, required=True, help="Earlier staged day.")
@click.option("--to", "later", type=DAY, required=True, help="Later staged day.")
@click.option("--json", "as_json", is_flag=True, help="All changes, one JSON object a line.")
@slice_options
def diff(
    slug: str, earlier: date, later: date, *, as_json: bool, dataset: str, source: str
) -> None:
    """Compare two staged days: features added, changed (with the columns) and removed."""
    from ingestion_pipeline.staging.days import difference

    if later <= earlier:
        raise click.BadParameter(f"{later} is not later than {earlier}", param_hint="--to")
    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    target = slice_of(city, earlier, dataset=dataset, source=source)
    changes = difference(open_database(settings), target, later)
    if as_json:
        for change in changes:
            row = asdict(change)
            # Named as in the view: `kind` for helper places.
            row[DATASETS[dataset].class_column] = row.pop("category")
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    for kind in ("added", "changed", "removed"):
        some = [each for each in changes if each.change == kind]
        click.echo(f"{kind}: {len(some)}")
        for change in some[:CHANGES_SHOWN]:
            fields = change.changed_fields
            what = f" [{', '.join(fields)}]" if fields else ""
            line = f"  {change.source_ref}  {change.category}  {change.name or '-'}{what}"
            print_wrapped(line + CAUSE_NOTES[change.cause])
        if len(some) > CHANGES_SHOWN:
            click.echo(f"  ... and {len(some) - CHANGES_SHOWN} more; --json lists all")


@click.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--day", type=DAY, required=True, help="Staged day.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(get_args(Format)),
    required=True,
    help="File format.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File to write.  [default: <city>-<day>.<format>]",
)
@slice_options
def export(
    slug: str, day: date, format_: Any, output: Path | None, *, dataset: str, source: str
) -> None:
    """Write a staged day to a file for other tools."""
    from ingestion_pipeline.export import export_day

    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    stem = default_stem(slug, str(day), dataset=dataset, source=source)
    path = output or Path(f"{stem}.{format_}")
    target = slice_of(city, day, dataset=dataset, source=source)
    count = export_day(open_database(settings), target, path=path, format=format_)
    click.echo(f"{count:,} {DATASETS[dataset].things} of {slug} on {day} written to {path}")


@click.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
def notice(slug: str) -> None:
    """Print the sources and licences that a product with a city's data must show."""
    from ingestion_pipeline.helpers import licences
    from ingestion_pipeline.staging.days import sources_of

    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    credited = [licences.Credit(*row) for row in sources_of(open_database(settings), slug)]
    if not credited:
        click.echo(f"No data of {slug} is staged", err=True)
        sys.exit(FAILED)
    own = [each.own_licence for each in city.feeds if each.own_licence is not None]
    click.echo(licences.notice(city.name.get("en", slug), credited, own=own))


def _tags(raw: Any) -> str:
    """Return the tags of a rejected object, or the fields of a feed's record, on one line."""
    tags = raw["tags"] if isinstance(raw.get("tags"), dict) else raw
    return " ".join(", ".join(f"{key}={value}" for key, value in sorted(tags.items())).split())


def _refused(settings: Settings, city: City, day: date, source: str) -> list[dict[str, Any]]:
    """Return what the refused file of a feed rejects, by reason; nothing of other sources."""
    from ingestion_pipeline.config.lake import open_lake

    datasets = [feed.dataset for feed in city.feeds if feed.source == source]
    if not datasets:
        return []
    return open_lake(settings).last_rejections(datasets[0], city.slug, city.boundary_key, day)
