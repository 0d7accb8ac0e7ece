"""Reading and writing the public table, its events, and the identities of its places.

Belongs here: the statements on `poi`, `poi_event` and `poi_identity`. Does not belong here: which
events a day leads to (`difference.py`), and the ledger (`ledger.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.promotion.events import Event, replay, undo
from ingestion_pipeline.promotion.rows import COLUMNS, arrow_table, from_json, refs_of
from ingestion_pipeline.staging import geopackage
from ingestion_pipeline.staging.bulk import CHUNK, load
from ingestion_pipeline.staging.database import is_geopackage
from ingestion_pipeline.staging.tables import (
    PUBLIC_LAYER,
    poi,
    poi_event,
    poi_identity,
    promotion,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

    from ingestion_pipeline.promotion.rows import Row

ROWS = tuple(poi.c[name] for name in COLUMNS)
"""The columns of a row, for queries."""


class Stretch(NamedTuple):
    """The promotions of a city and dataset after a position."""

    city_slug: str
    dataset: str
    after: int


def rows_of(connection: sa.Connection, poi_ids: Iterable[str]) -> dict[str, Row]:
    """Return the public rows of places by `poi_id`; places that are not public are left out."""
    wanted = sorted(set(poi_ids))
    found: dict[str, Row] = {}
    for start in range(0, len(wanted), CHUNK):
        query = sa.select(*ROWS).where(poi.c.poi_id.in_(wanted[start : start + CHUNK]))
        found |= {row["poi_id"]: dict(row) for row in connection.execute(query).mappings()}
    return found


def load_events(connection: sa.Connection, promotion_id: str, events: Sequence[Event]) -> None:
    """Store the events of a promotion, numbered in their order."""
    rows = [
        {"promotion_id": promotion_id, "number": number, **event._asdict()}
        for number, event in enumerate(events)
    ]
    if rows:
        names = [column.name for column in poi_event.columns]
        load(connection, poi_event, arrow_table(poi_event, rows, names))


def events_of_promotion(connection: sa.Connection, promotion_id: str) -> list[Event]:
    """Return the events of a promotion in their order."""
    return [event for _, event in numbered_events(connection, promotion_id)]


def numbered_events(
    connection: sa.Connection,
    promotion_id: str,
    *,
    kind: str | None = None,
    after: int = -1,
    limit: int | None = None,
) -> list[tuple[int, Event]]:
    """Return events of a promotion with their numbers, in their order.

    Args:
        connection: In a transaction.
        promotion_id: The promotion.
        kind: Only this kind.
        after: The number of the last event of the page before.
        limit: The maximum number of events.
    """
    query = (
        sa.select(poi_event.c.number, *(poi_event.c[name] for name in Event._fields))
        .where(poi_event.c.promotion_id == promotion_id, poi_event.c.number > after)
        .order_by(poi_event.c.number)
    )
    if kind is not None:
        query = query.where(poi_event.c.kind == kind)
    if limit is not None:
        query = query.limit(limit)
    return [(number, Event(*event)) for number, *event in connection.execute(query)]


def events_since(connection: sa.Connection, stretch: Stretch) -> Iterator[tuple[str, list[Event]]]:
    """Yield the events of each promotion of a stretch by its id, the newest promotion first."""
    for promotion_id in promotions_since(connection, stretch):
        yield promotion_id, events_of_promotion(connection, promotion_id)


def promotions_since(connection: sa.Connection, stretch: Stretch) -> list[str]:
    """Return the ids of the promotions of a stretch, the newest first."""
    query = (
        sa.select(promotion.c.id)
        .where(
            promotion.c.city_slug == stretch.city_slug,
            promotion.c.dataset == stretch.dataset,
            promotion.c.sequence > stretch.after,
        )
        .order_by(promotion.c.sequence.desc())
    )
    return list(connection.execute(query).scalars())


def rows_after(
    connection: sa.Connection, stretch: Stretch
) -> dict[str, tuple[Row | None, Row | None]]:
    """Return the rows that changed in a stretch, as they are now and as they were before it.

    Returns:
        The public row now and then of each place that has an event in the stretch, by `poi_id`.
    """
    undone = [events for _, events in events_since(connection, stretch)]
    touched = {event.poi_id for events in undone for event in events}
    now = rows_of(connection, touched)
    then = dict(now)
    for events in undone:
        undo(then, events)
    return {poi_id: (now.get(poi_id), then.get(poi_id)) for poi_id in sorted(touched)}


def last_rows(connection: sa.Connection, city_slug: str, dataset: str, *, since: date) -> list[Row]:
    """Return the last rows of places that went from a day on, the newest first."""
    query = (
        sa.select(poi_event.c.poi_id, poi_event.c.before)
        .join_from(promotion, poi_event, poi_event.c.promotion_id == promotion.c.id)
        .where(
            promotion.c.city_slug == city_slug,
            promotion.c.dataset == dataset,
            promotion.c.sequence.is_not(None),
            promotion.c.day >= since,
            poi_event.c.after.is_(None),
            ~sa.exists().where(poi.c.poi_id == poi_event.c.poi_id),
        )
        .order_by(promotion.c.sequence.desc(), poi_event.c.number)
    )
    newest: dict[str, Row] = {}
    for poi_id, before in connection.execute(query):
        newest.setdefault(poi_id, before)
    return [from_json(before) for before in newest.values()]


class Written(NamedTuple):
    """The numbers of public places that were added, changed and removed."""

    added: int = 0
    changed: int = 0
    removed: int = 0


def apply(
    connection: sa.Connection, promotion_id: str, events: Sequence[Event], *, now: datetime
) -> Written:
    """Apply the events of a promotion to the public table and to the identities."""
    if not events:
        return Written()
    before = rows_of(connection, {event.poi_id for event in events if event.before is not None})
    after = dict(before)
    replay(after, events)
    gone = sorted(before)
    for start in range(0, len(gone), CHUNK):
        chosen = poi.c.poi_id.in_(gone[start : start + CHUNK])
        connection.execute(sa.delete(poi).where(chosen))
    if after:
        load(connection, poi, arrow_table(poi, [after[key] for key in sorted(after)], COLUMNS))
    _record_identities(connection, promotion_id, before, after, events)
    if is_geopackage(connection):
        geopackage.refresh_contents(connection, poi, views=[PUBLIC_LAYER], now=now)
    return Written(
        added=len(after.keys() - before.keys()),
        changed=len(before.keys() & after.keys()),
        removed=len(before.keys() - after.keys()),
    )


def _record_identities(
    connection: sa.Connection,
    promotion_id: str,
    before: Mapping[str, Row],
    after: Mapping[str, Row],
    events: Sequence[Event],
) -> None:
    """End and begin the rows of `poi_identity` that follow from the rows."""
    evidence = {
        event.poi_id: event.evidence
        for event in reversed(events)
        if event.before is None or event.kind == "reidentified"
    }
    ended: list[dict[str, Any]] = []
    begun: list[dict[str, Any]] = []
    for poi_id in sorted(before.keys() | after.keys()):
        was, now = _identities(before.get(poi_id)), _identities(after.get(poi_id))
        ended += [_identity(poi_id, each) for each in sorted(was - now)]
        begun += [
            {
                **_identity(poi_id, each),
                "from_promotion_id": promotion_id,
                "to_promotion_id": None,
                "city_slug": after[poi_id]["city_slug"],
                "evidence": evidence.get(poi_id, {}),
            }
            for each in sorted(now - was)
        ]
    if ended:
        columns = poi_identity.c
        connection.execute(
            sa.update(poi_identity)
            .where(
                *(columns[name] == sa.bindparam(f"of_{name}") for name in ended[0]),
                columns.to_promotion_id.is_(None),
            )
            .values(to_promotion_id=promotion_id),
            [{f"of_{name}": value for name, value in each.items()} for each in ended],
        )
    if begun:
        names = [column.name for column in poi_identity.columns]
        load(connection, poi_identity, arrow_table(poi_identity, begun, names))


def _identities(row: Row | None) -> set[tuple[str, str]]:
    """Return the source and ref of each object behind a place."""
    return set() if row is None else {(row["source"], ref) for ref in refs_of(row)}


def _identity(poi_id: str, behind: tuple[str, str]) -> dict[str, Any]:
    source, ref = behind
    return {"poi_id": poi_id, "source": source, "source_ref": ref}


def event_summaries(connection: sa.Connection, poi_id: str) -> list[dict[str, Any]]:
    """Return the events of a place that became public, the oldest first, with their promotions."""
    query = (
        sa.select(
            promotion.c.sequence,
            promotion.c.day,
            promotion.c.promoted_at,
            poi_event.c.promotion_id,
            *(poi_event.c[name] for name in Event._fields if name != "poi_id"),
        )
        .join_from(promotion, poi_event, poi_event.c.promotion_id == promotion.c.id)
        .where(poi_event.c.poi_id == poi_id, promotion.c.sequence.is_not(None))
        .order_by(promotion.c.sequence, poi_event.c.number)
    )
    return [dict(row) for row in connection.execute(query).mappings()]
