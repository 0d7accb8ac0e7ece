"""Commands on one feed, without a run: `feed try`, `feed suggest`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion_pipeline.cli.options import DAY
from ingestion_pipeline.cli.output import FAILED, TRY_LATER, print_table, print_wrapped, visible
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings
from ingestion_pipeline.config.toml_tables import did_you_mean
from ingestion_pipeline.core.characters import storable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
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
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File of the map.  [default: <city>-feed-<feed>.html]",
)
@click.option("--json", "in_json", is_flag=True, help="JSON instead of text.")
def try_(slug: str, feed_slug: str, day: date | None, out: Path | None, *, in_json: bool) -> None:
    """Fetch and read one feed of the cities file, and show what its table makes of it.

    Writes a map of its places as one HTML file, whose path is printed last; none if no place is in
    the city. Stages nothing, and needs neither a database nor OpenStreetMap data: a city with a
    boundary relation is its box here. Exit codes: 0 a run would stage the feed; 1 it would not; 75
    a later try may succeed.
    """
    import httpx

    from ingestion_pipeline.core.clock import SystemClock
    from ingestion_pipeline.lake.scratch import scratch_folder
    from ingestion_pipeline.sources.feed.trial import try_feed

    settings = load_settings()
    city = load_cities(settings.cities_file).get(slug)
    found = _feed_of(city, feed_slug)
    clock = SystemClock()
    day = day or clock.now().date()
    started = time.monotonic()
    with scratch_folder() as folder, httpx.Client() as http:
        trial = try_feed(
            found,
            day,
            _town_of(city),
            http=http,
            clock=clock,
            workdir=folder,
            secrets=settings.feed_secret or {},
        )
    path = out or Path(f"{city.slug}-feed-{found.slug}.html")
    has_map = _write_map(path, trial, city, day, basemap=settings.basemap_style_url)
    seconds = time.monotonic() - started
    problems = [*_licence_problems(found), *trial.problems]
    if in_json:
        shown = _in_json(trial, city, problems) | {
            "map": str(path) if has_map else None,
            "seconds": round(seconds, 1),
        }
        click.echo(json.dumps(storable(shown), ensure_ascii=False))
    else:
        click.echo(f"feed {found.slug} of {city.slug}: {'refused' if problems else 'good'}")
        _print_trial(trial, city)
        for problem in problems:
            click.echo("")
            print_wrapped(f"Error ({problem.code}): {problem}")
        of_map = "; a map of the places:" if has_map else ", and no place is on a map"
        click.echo(f"\n{seconds:.1f} s; nothing was staged{of_map}")
        if has_map:
            click.echo(str(path))
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
    for line in in_toml(found).splitlines():
        click.echo(visible(line))
    click.echo(
        f"\n# {found.records:,} records, {found.inside:,} of them in the box of {city.slug}. The "
        "fields of the file, with the\n# number of records that have one:"
    )
    for each in found.fields:
        samples = _cut(", ".join(each.samples), _SAMPLES_WIDTH)
        click.echo(visible(f"#   {each.name}: {each.filled:,}, such as {samples}"))
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


def _write_map(path: Path, trial: Trial, city: City, day: date, *, basemap: str | None) -> bool:
    """Write a map of a trial's places; return whether there are any."""
    from ingestion_pipeline.datasets.registry import WITH_FEEDS
    from ingestion_pipeline.export import replacing
    from ingestion_pipeline.maps.content import as_json, of_places
    from ingestion_pipeline.maps.document import document

    if trial.places is None or not trial.places.table.num_rows:
        return False
    target = replace(WITH_FEEDS.slice_of(city.slug, day), source=trial.feed.source)
    content = of_places(target, trial.places.table, as_of=trial.as_of)
    page = document(
        as_json(
            content,
            title=f"{city.name.get('en', city.slug)}, feed {trial.feed.slug}",
            things=WITH_FEEDS.things,
            meaning=WITH_FEEDS.meanings(),
            basemap=basemap,
        )
    )
    with replacing(path, option="--out") as beside:
        beside.write_text(page, "utf-8")
    return True


def _in_json(trial: Trial, city: City, problems: Sequence[IngestionError]) -> dict[str, Any]:
    """Return what a trial shows, as JSON values; places are the first of all."""
    description, places = trial.description, trial.places
    rows = [] if places is None else places.table.slice(0, PLACES_SHOWN).to_pylist()
    return {
        "city": city.slug,
        "feed": trial.feed.slug,
        "state": "refused" if problems else "good",
        "problems": [
            {"code": each.code, "message": str(each), "should_retry": each.should_retry}
            for each in problems
        ],
        "location": trial.feed.public_location,
        "licence": trial.feed.licence,
        "bytes": trial.bytes,
        "as_of": None if trial.as_of is None else f"{trial.as_of:%Y-%m-%dT%H:%M:%SZ}",
        "as_of_source": trial.feed.as_of.source,
        "file": None if description is None else dict(description.keys),
        "records": None if description is None else description.records,
        "fields": [
            {
                "name": each.name,
                "records": each.filled,
                "different": each.distinct,
                "used_as": trial.used.get(each.name),
                "samples": list(each.samples),
            }
            for each in (() if description is None else description.fields)
        ],
        "places": None if places is None else places.table.num_rows,
        "outside": None if places is None else places.outside,
        "skipped": None if places is None else places.skipped,
        "not_understood": {} if places is None else dict(places.unparsed),
        "first_places": [_known_of(row) for row in rows],
        "rejections": [
            asdict(each) | {"examples": list(each.examples)} for each in trial.rejections
        ],
        "hint": trial.hint,
    }


def _known_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record becomes: the columns that have a value."""
    from ingestion_pipeline.helpers.rows import ATTRIBUTE_COLUMNS

    names = ("source_ref", "kind", "lon", "lat", "name", "status", "opening_hours")
    known = {name: row[name] for name in (*names, *ATTRIBUTE_COLUMNS) if row[name] is not None}
    return known | {"attributes": json.loads(row["attributes"])}


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
    print_wrapped(f"  {row['source_ref']}  {row['lon']:.6f} {row['lat']:.6f}  {row['name'] or '-'}")
    known = _known_of(row)
    for name in ("source_ref", "kind", "lon", "lat", "name"):
        known.pop(name, None)
    known |= known.pop("attributes")
    if known:
        print_wrapped("    " + ", ".join(f"{name}={each}" for name, each in known.items()))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
