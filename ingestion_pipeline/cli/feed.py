"""Commands on one feed, without a run: `feed try`, `feed suggest`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion_pipeline.cli.options import DAY
from ingestion_pipeline.cli.output import FAILED, TRY_LATER, print_table, print_wrapped
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.config.toml_tables import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.feeds import Feed
    from ingestion_pipeline.core.errors import IngestionError
    from ingestion_pipeline.sources.feed.describe import Description
    from ingestion_pipeline.sources.feed.trial import Town, Trial

PLACES_SHOWN = 5
EXAMPLES_SHOWN = 2
_NAME_WIDTH = 30
_SAMPLES_WIDTH = 60


@click.group()
def feed() -> None:
    """Try a feed of helper places, or suggest the table of a new one."""


@feed.command(name="try")
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--feed", "feed_slug", required=True, help="Slug of the feed in the cities file.")
@click.option("--day", type=DAY, help="UTC day to read the feed for.  [default: today]")
def try_(slug: str, feed_slug: str, day: date | None) -> None:
    """Fetch and read one feed of the cities file, and show what its table makes of it.

    Stages nothing, and needs neither a database nor OpenStreetMap data: a city with a boundary
    relation is its box here. Exit codes: 0 a run would stage the feed; 1 it would not; 75 a later
    try may succeed.
    """
    import httpx

    from ingestion_pipeline.core.clock import SystemClock
    from ingestion_pipeline.lake.scratch import scratch_folder
    from ingestion_pipeline.sources.feed.trial import try_feed

    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    found = _feed_of(city, feed_slug)
    clock = SystemClock()
    started = time.monotonic()
    with scratch_folder() as folder, httpx.Client() as http:
        trial = try_feed(
            found,
            day or clock.now().date(),
            _town_of(city),
            http=http,
            clock=clock,
            workdir=folder,
            secrets=settings.feed_secret or {},
        )
    seconds = time.monotonic() - started
    problems = [*_licence_problems(found), *trial.problems]
    click.echo(f"feed {found.slug} of {city.slug}: {'refused' if problems else 'good'}")
    _print_trial(trial, city)
    for problem in problems:
        click.echo("")
        print_wrapped(f"Error ({problem.code}): {problem}")
    click.echo(f"\n{seconds:.1f} s; nothing was staged")
    if problems:
        is_final = any(not problem.should_retry for problem in problems)
        sys.exit(FAILED if is_final else TRY_LATER)


@feed.command()
@click.argument("location")
@click.option("--city", "slug", required=True, help="Slug of the city that it has places of.")
def suggest(location: str, slug: str) -> None:
    """Suggest a table for the cities file, for a URL or a file that is not in it yet.

    LOCATION is a URL, or a path. What the file does not say is left to you: the licence, the
    attribution and the kind. The table is not valid until you set them.
    """
    import httpx

    from ingestion_pipeline.core.clock import SystemClock
    from ingestion_pipeline.lake.scratch import scratch_folder
    from ingestion_pipeline.sources.feed.describe import describe
    from ingestion_pipeline.sources.feed.suggest import fetched_from, in_toml
    from ingestion_pipeline.sources.feed.suggest import suggest as suggested

    city = load_cities(load_settings().cities_file).get(slug)
    location = location if "://" in location else str(Path(location).absolute())
    with scratch_folder() as folder, httpx.Client() as http:
        fetched = fetched_from(location, http=http, clock=SystemClock(), workdir=folder)
        description = describe(fetched.path)
        found = suggested(
            description,
            fetched.path,
            location=location,
            bbox=city.bbox,
            last_modified=fetched.validators.last_modified,
        )
    click.echo(in_toml(found))
    click.echo(
        f"\n# {found.records:,} records, {found.inside:,} of them in the box of {city.slug}. The "
        "fields of the file, with the\n# number of records that have one:"
    )
    for each in found.fields:
        samples = _cut(", ".join(each.samples), _SAMPLES_WIDTH)
        click.echo(f"#   {each.name}: {each.filled:,}, such as {samples}")
    click.echo(
        "# Set kind, licence and attribution, put the table below that of the city, and try it:\n"
        f"# poi-ingest feed try --city {city.slug} --feed {found.table['slug']}"
    )


def _feed_of(city: City, slug: str) -> Feed:
    """Return a feed of a city.

    Raises:
        click.BadParameter: It has none of this slug.
    """
    feeds = {each.slug: each for each in city.feeds}
    if slug not in feeds:
        close = did_you_mean(slug, feeds) or "."
        known = ", ".join(feeds) or "none"
        raise click.BadParameter(
            f"{city.slug} has no feed {slug!r}{close} It has: {known}.", param_hint="--feed"
        )
    return feeds[slug]


def _town_of(city: City) -> Town:
    """Return what a trial needs of a city; a boundary in OpenStreetMap is not read."""
    from ingestion_pipeline.core.boundary import BboxBoundary
    from ingestion_pipeline.osm.boundary import known_boundary
    from ingestion_pipeline.sources.feed.trial import Town
    from ingestion_pipeline.text.names import Namer

    return Town(
        bbox=city.bbox,
        boundary=known_boundary(city.area, city=city.slug) or BboxBoundary(city.bbox),
        namer=Namer(city.languages, city.local_language),
    )


def _licence_problems(feed: Feed) -> list[IngestionError]:
    """Return why a run would not even ask for a feed; nothing if its licence is fine."""
    from ingestion_pipeline.datasets.provenance import judged_beside_osm
    from ingestion_pipeline.sources.feed.errors import LicenceConflict

    verdict = judged_beside_osm(feed)
    if verdict.may_be_combined:
        return []
    why = "; ".join(finding.why for finding in verdict.findings)
    to_do = "If you have the permission, say where it is: permission, a key of the feed."
    return [LicenceConflict(f"{why}. {to_do}")]


def _print_trial(trial: Trial, city: City) -> None:
    print_table(("what", "value"), list(_facts(trial, city)))
    if trial.description is not None:
        click.echo("\nthe fields, with the number of records that have one:")
        _print_fields(trial.description, trial.used)
    if trial.places is not None and trial.places.table.num_rows:
        count = min(PLACES_SHOWN, trial.places.table.num_rows)
        click.echo(f"\nthe first {count} of {trial.places.table.num_rows:,} places:")
        for row in trial.places.table.slice(0, PLACES_SHOWN).to_pylist():
            _print_place(row)
    if trial.rejections:
        click.echo("\nrejected records:")
        examples = [
            (
                "" if number else f"{each.count:,}",
                "" if number else each.reason,
                f"{one['source_ref']}: {one['detail']}",
            )
            for each in trial.rejections
            for number, one in enumerate(each.examples[:EXAMPLES_SHOWN])
        ]
        print_table(("records", "reason", "such as"), examples)
    if trial.hint:
        click.echo("")
        print_wrapped(f"What would help: {trial.hint}")


def _facts(trial: Trial, city: City) -> Iterator[tuple[str, str]]:
    """Yield what is known of the file and its places as a whole."""
    yield "location", trial.feed.public_location
    if trial.bytes is not None:
        yield "size", f"{trial.bytes:,} bytes"
    description, places = trial.description, trial.places
    if description is not None:
        keys = ", ".join(f"{key} = {json.dumps(each)}" for key, each in description.keys.items())
        yield "the file has", f"{description.records:,} records; {keys}"
    if trial.as_of is not None:
        yield "as of", f"{trial.as_of:%Y-%m-%d %H:%M:%S} UTC ({trial.feed.as_of.source})"
    yield "licence", trial.feed.licence
    if places is None:
        return
    window = "" if city.area.boundary_relation is None else " (in its box)"
    yield (
        "places",
        (
            f"{places.table.num_rows:,} in {city.slug}{window}; {places.outside:,} records "
            f"outside, {sum(each.count for each in trial.rejections):,} rejected"
        ),
    )
    if places.skipped:
        yield "skipped", f"{places.skipped:,} by where and where_not"
    for column, count in places.unparsed.items():
        texts = " | ".join(
            _cut(" ".join(text.split()), _SAMPLES_WIDTH) for text in places.unparsed_texts[column]
        )
        yield column.replace("_", " "), f"{count:,} not understood, such as {texts}"


def _print_fields(description: Description, used: Mapping[str, str]) -> None:
    print_table(
        ("field", "records", "different", "used as", "such as"),
        [
            (
                _cut(each.name, _NAME_WIDTH),
                f"{each.filled:,}",
                f"{each.distinct:,}",
                used.get(each.name, "-"),
                _cut(" | ".join(" ".join(text.split()) for text in each.samples), _SAMPLES_WIDTH),
            )
            for each in description.fields
            if each.filled
        ],
    )
    if empty := [each.name for each in description.fields if not each.filled]:
        print_wrapped(f"without a value: {', '.join(empty)}")


def _print_place(row: Mapping[str, Any]) -> None:
    """Print what a record becomes: the columns that have a value."""
    from ingestion_pipeline.helpers.rows import ATTRIBUTE_COLUMNS

    print_wrapped(f"  {row['source_ref']}  {row['lon']:.6f} {row['lat']:.6f}  {row['name'] or '-'}")
    known = {
        name: row[name]
        for name in ("status", "opening_hours", *ATTRIBUTE_COLUMNS)
        if row[name] is not None
    }
    known |= json.loads(row["attributes"])
    if known:
        print_wrapped("    " + ", ".join(f"{name}={each}" for name, each in known.items()))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
