"""Commands of promotion: `promote`, `promotions`, decisions, overrides and `explain`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from ingestion_pipeline.cli.instance import dagster_instance
from ingestion_pipeline.cli.options import DAY, open_database
from ingestion_pipeline.cli.output import KEY_HELD, print_table, print_wrapped
from ingestion_pipeline.config.cities import load_cities
from ingestion_pipeline.config.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    import sqlalchemy as sa

    from ingestion_pipeline.config.cities import City
    from ingestion_pipeline.config.settings import Settings
    from ingestion_pipeline.promotion.ledger import Promotion
    from ingestion_pipeline.staging.clock import DatabaseClock

SHOWN = 10
"""The number of events of each kind that are shown."""

STATUSES = ("PROPOSED", "APPROVED", "PROMOTED", "REJECTED", "SUPERSEDED", "FAILED")

json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
promotion_argument = click.argument("promotion_id", metavar="PROMOTION")
place_argument = click.argument("poi_id", metavar="POI_ID")


def decision_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a decision."""
    for option in (
        click.option("--who", required=True, help="Who decides, such as a mail address."),
        click.option("--reason", required=True, help="Why."),
    ):
        command = option(command)
    return command


@dataclass(frozen=True)
class _Site:
    """What the commands work with."""

    settings: Settings
    engine: sa.Engine
    clock: DatabaseClock

    @classmethod
    def open(cls) -> _Site:
        from ingestion_pipeline.core.clock import SystemClock
        from ingestion_pipeline.staging.clock import DatabaseClock

        settings = load_settings()
        engine = open_database(settings)
        return cls(settings, engine, DatabaseClock(engine, SystemClock()))

    def city(self, slug: str) -> City:
        return load_cities(self.settings.cities_file).get(slug)


@click.command()
@click.option("--city", "slug", required=True, help="Slug of the city.")
@click.option("--day", type=DAY, required=True, help="Staged day.")
@click.option("--again", is_flag=True, help="Propose the day again although it was rejected.")
@json_option
def promote(slug: str, day: date, *, again: bool, as_json: bool) -> None:
    """Propose a staged day of a city, and make it public if its gates and policy allow."""
    site = _Site.open()
    _print_promotion(_run(site, site.city(slug), day, again=again), as_json=as_json)


@click.command()
@click.argument("promotion_id", metavar="[PROMOTION]", required=False)
@click.option("--city", "slug", help="Only this city.")
@click.option("--status", type=click.Choice(STATUSES), help="Only this status.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--kind", help="All changes of this kind of one promotion, such as disappeared.")
@json_option
def promotions(
    promotion_id: str | None,
    *,
    slug: str | None,
    status: Any,
    limit: int,
    kind: str | None,
    as_json: bool,
) -> None:
    """List promotions, newest first; or show one with its gates and changes."""
    from ingestion_pipeline.promotion import ledger

    site = _Site.open()
    if promotion_id is not None:
        found = ledger.get(site.engine, promotion_id)
        _print_changes(site, found, kind, as_json=as_json)
        return
    if kind is not None:
        raise click.UsageError("--kind needs a PROMOTION.")
    listed = ledger.page(site.engine, city_slug=slug, status=status, limit=limit)
    if as_json:
        for each in listed:
            click.echo(json.dumps(each.as_json(), ensure_ascii=False))
        return
    print_table(
        ("day", "city", "status", "proposed", "changes", "decided by"),
        [
            (
                each.day.isoformat(),
                each.city_slug,
                each.status + (" (revert)" if each.reverts else ""),
                f"{each.proposed_at:%Y-%m-%d %H:%M}",
                f"{sum(each.counts.values()):,}",
                each.decided_by or "",
            )
            for each in listed
        ],
        notes=[each.id for each in listed],
    )


@click.command()
@promotion_argument
@decision_options
@json_option
def approve(promotion_id: str, reason: str, who: str, *, as_json: bool) -> None:
    """Approve a proposed PROMOTION, and make it public."""
    from ingestion_pipeline.promotion import ledger

    site = _Site.open()
    decision = ledger.Decision(who, reason, site.clock.now())
    found, _ = ledger.approve(site.engine, promotion_id, decision)
    _print_promotion(_made_public(site, found), as_json=as_json)


@click.command()
@promotion_argument
@decision_options
@json_option
def reject(promotion_id: str, reason: str, who: str, *, as_json: bool) -> None:
    """Reject a proposed PROMOTION; nothing becomes public."""
    from ingestion_pipeline.promotion import ledger

    site = _Site.open()
    decision = ledger.Decision(who, reason, site.clock.now())
    _print_promotion(ledger.reject(site.engine, promotion_id, decision), as_json=as_json)


@click.command()
@promotion_argument
@decision_options
@json_option
def revert(promotion_id: str, reason: str, who: str, *, as_json: bool) -> None:
    """Restore the public table as it was before a PROMOTION, as a new promotion."""
    from ingestion_pipeline.promotion import promote as promoting
    from ingestion_pipeline.promotion.ledger import Decision

    site = _Site.open()
    decision = Decision(who, reason, site.clock.now())
    found, _ = promoting.revert(site.engine, promotion_id, decision)
    _print_promotion(_made_public(site, found), as_json=as_json)


@click.command()
@place_argument
@click.option("--column", help="Such as name, opening_hours or hidden.")
@click.option("--value", help="The value, as JSON or plain text; true hides a place.")
@click.option("--until", type=DAY, help="The last day on which it is in force.")
@click.option("--remove", is_flag=True, help="End the override of the column.")
@click.option("--who", help="Who decides, such as a mail address.")
@click.option("--reason", help="Why.")
@json_option
def override(
    poi_id: str,
    *,
    column: str | None,
    value: str | None,
    until: date | None,
    remove: bool,
    who: str | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Give a column of a public place a value, or list the place's overrides."""
    from ingestion_pipeline.promotion import ledger, overrides

    site = _Site.open()
    if column is not None and remove:
        overrides.remove_override(site.engine, poi_id, column, now=site.clock.now())
    elif column is not None:
        if value is None or who is None or reason is None:
            raise click.UsageError("An override needs --value, --who and --reason.")
        overrides.set_override(
            site.engine,
            poi_id,
            column,
            _parsed(value),
            reason=reason,
            who=who,
            until=until,
            now=site.clock.now(),
        )
    found = overrides.overrides_of(site.engine, poi_id)
    if as_json:
        for each in found:
            row = {name: ledger.plain(value) for name, value in vars(each).items()}
            click.echo(json.dumps(row, ensure_ascii=False))
        return
    print_table(
        ("column", "value", "until", "who", "reason", "retired"),
        [
            (
                each.column,
                json.dumps(each.value, ensure_ascii=False),
                "" if each.until is None else each.until.isoformat(),
                each.who,
                each.reason,
                each.retired_why or "",
            )
            for each in found
        ],
    )
    if column is not None:
        print_wrapped("The next promotion of the city applies it.")


@click.command()
@place_argument
@json_option
def explain(poi_id: str, *, as_json: bool) -> None:
    """Print where a public place comes from: bytes, rules, links, overrides, promotion."""
    from ingestion_pipeline.cli import changes
    from ingestion_pipeline.promotion import explain as explaining
    from ingestion_pipeline.promotion.events import Event

    found = explaining.explain(_Site.open().engine, poi_id)
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    place, source, promotion = found["place"], found["source"], found["promotion"]
    state = "public" if found["public"] else "no longer public"
    print_wrapped(f"{place['name'] or place['category']} ({state})")
    lines = {
        "object": " ".join([place["source_ref"], *place["other_refs"]]),
        "category": f"{place['category']} from {_tags(found['category']['tags'])}",
        "name": f"{place['name']} from {place['name_source']}",
        "data": f"{source['obtained']} {source['location']}",
        "as of": f"{source['as_of']} ({source['as_of_source']})",
        "digest": source["digest"],
        "rules": source["rules_version"],
        "licence": f"{place['licence']}, {place['attribution']}",
        "promotion": f"{promotion['id']} of {promotion['day']}",
        "decided": f"by {promotion['decided_by']}: {promotion['decision_reason']}",
    }
    for name, text in lines.items():
        print_wrapped(f"  {name}: {text}")
    click.echo("objects that stood for it:")
    days = {each["promotion_id"]: each["day"] for each in found["events"]}
    for each in found["identities"]:
        ended = each["to_promotion_id"]
        until = "" if ended is None else f" to {days[ended]}"
        why = changes.link(each["evidence"])
        print_wrapped(
            f"  {each['source_ref']} from {days[each['from_promotion_id']]}{until}"
            + (f": {why}" if why else "")
        )
    click.echo("overrides:" if found["overrides"] else "overrides: none")
    for each in found["overrides"]:
        value = json.dumps(each["value"], ensure_ascii=False)
        ended = f"; {each['retired_why']}" if each["retired_why"] else ""
        print_wrapped(f"  {each['column']} {value} by {each['who']}: {each['reason']}{ended}")
    click.echo("events:")
    for each in found["events"]:
        event = Event(poi_id, *(each[name] for name in Event._fields[1:]))
        print_wrapped(f"  {each['day']} {each['kind']}: {changes.detail(event, {})}".rstrip(": "))
    click.echo("gates of the promotion:")
    for each in promotion["gates"]:
        print_wrapped(f"  {each['name']}: {each['verdict']}: {each['sentence']}")


def _run(site: _Site, city: City, day: date, *, again: bool = False) -> Promotion:
    """Promote a day in this process; exit with the matching code where the key is held."""
    from ingestion_pipeline.dagster_runtime.liveness import is_alive, worker
    from ingestion_pipeline.datasets.poi import POI
    from ingestion_pipeline.promotion.promote import Terms
    from ingestion_pipeline.promotion.run import run
    from ingestion_pipeline.staging.errors import KeyHeld

    with dagster_instance(site.settings.dagster_home) as instance:
        try:
            return run(
                site.engine,
                POI.slice_of(city.slug, day),
                Terms(policy=city.promotion, memory_days=city.identity_memory_days),
                boundary_ref=city.boundary_key,
                worker=worker(),
                is_alive=lambda holder: is_alive(holder, instance),
                clock=site.clock,
                again=again,
            )
        except KeyHeld as error:
            click.echo(f"Error ({error.code}): {error}", err=True)
            sys.exit(KEY_HELD)


def _made_public(site: _Site, found: Promotion) -> Promotion:
    """Make an approved promotion public."""
    if found.status != "APPROVED":
        return found
    return _run(site, site.city(found.city_slug), found.day)


def _print_promotion(found: Promotion, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return
    _print_head(found)
    if found.counts:
        click.echo(f"see the changes with:\n  poi-ingest promotions {found.id}")
    _print_next(found)


def _print_changes(site: _Site, found: Promotion, kind: str | None, *, as_json: bool) -> None:
    """Print a promotion with its events, or only all of one kind."""
    from ingestion_pipeline.cli import changes
    from ingestion_pipeline.promotion import table
    from ingestion_pipeline.promotion.events import ORDER
    from ingestion_pipeline.promotion.rows import title_of
    from ingestion_pipeline.staging.database import read_transaction

    if kind is not None and kind not in ORDER:
        raise click.UsageError(f"--kind is one of {', '.join(ORDER)}.")
    with read_transaction(site.engine) as connection:
        events = [event for _, event in table.numbered_events(connection, found.id, kind=kind)]
        if as_json:
            listed = {"events": [event._asdict() for event in events]}
            click.echo(json.dumps(found.as_json() | listed, ensure_ascii=False))
            return
        groups = changes.by_kind(events)
        most = SHOWN if kind is None else len(events)
        shown = {each: some[:most] for each, some in groups.items()}
        public = table.rows_of(
            connection, changes.places_of(event for some in shown.values() for event in some)
        )
    titles = {poi_id: title_of(row) for poi_id, row in public.items()}
    if kind is None:
        _print_head(found)
    for each, some in groups.items():
        click.echo(f"{each}: {len(some):,}")
        for event in shown[each]:
            print_wrapped(f"  {event.poi_id}  {changes.summary(event, titles)}")
        if len(some) > most:
            click.echo(f"  ... and {len(some) - most:,} more; --kind {each} lists all")
    if kind is None:
        _print_next(found)


def _print_head(found: Promotion) -> None:
    """Print what was judged and decided."""
    kind = "revert" if found.reverts else "promotion"
    print_wrapped(f"{found.city_slug}, {found.day}: {kind} {found.id} is {found.status}")
    if found.decided_by:
        print_wrapped(f"decided by {found.decided_by}: {found.decision_reason}")
    print_table(
        ("gate", "verdict", ""),
        [(gate.name, gate.verdict, gate.sentence) for gate in found.judged],
    )
    counts = ", ".join(f"{number:,} {name}" for name, number in sorted(found.counts.items()))
    print_wrapped(f"events: {counts or 'none'}")
    for each in found.findings.get("ambiguous", ()):
        print_wrapped(f"not linked: {', '.join(each['gone'])} and {', '.join(each['new'])}")


def _print_next(found: Promotion) -> None:
    """Print the commands that decide, each on one line to copy."""
    if found.status == "PROPOSED":
        click.echo("decide with:")
        for command in ("approve", "reject"):
            click.echo(f"  poi-ingest {command} {found.id} --who WHO --reason WHY")


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        return value


def _tags(tags: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items()) or "no single tag"
