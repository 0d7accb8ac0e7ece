"""The columns of the places of a difference: those of some items, or all of one place.

Belongs here: reading rows, and showing their values as JSON. Does not belong here: which items
there are (`differences.py`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.admin_api.problems import UNKNOWN_PLACE, ProblemError
from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.promotion import ledger, table
from ingestion_pipeline.promotion.events import BOOKKEEPING, Event, replay
from ingestion_pipeline.promotion.rows import COLUMNS, to_json
from ingestion_pipeline.staging.days import in_history, staged_day
from ingestion_pipeline.staging.tables import content_columns, poi, poi_event
from ingestion_pipeline.staging.views import valid_on

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from ingestion_pipeline.admin_api.review.differences import Compared, Item
    from ingestion_pipeline.promotion.rows import Row

EVIDENCE = (
    "day",
    "as_of",
    "as_of_source",
    "obtained",
    "location",
    "digest",
    "rules_version",
    "boundary_ref",
    "licence",
    "attribution",
    "run_id",
    "staged_at",
)
"""The columns of `staged_partition` that say where the rows of a day come from."""


class Columns(NamedTuple):
    """The columns of an item.

    Attributes:
        before: Those concerned before; None where the place comes.
        after: Those after; None where it goes.
        evidence: What a person can read about an event.
        poi_id: The id of the place; None if it is not public.
    """

    before: Row | None
    after: Row | None
    evidence: Mapping[str, Any]
    poi_id: str | None


class Whole(NamedTuple):
    """All of one place.

    Attributes:
        before: Its row before, as JSON; None where it was not there.
        after: Its row after.
        columns: The columns of both, in the order of the table.
        poi_id: Its id; None if it is not public.
        staged: The evidence of the staged days before and after.
    """

    before: Row | None
    after: Row | None
    columns: Sequence[str]
    poi_id: str | None
    staged: tuple[Row | None, Row | None]


def columns_of(
    connection: sa.Connection, compared: Compared, items: Sequence[Item]
) -> list[Columns]:
    """Return the columns of items of a difference; geometries are summed up."""
    if compared.mode == "events":
        events = _events_of(connection, compared, [int(item.id) for item in items])
        return [_of_event(events[int(item.id)]) for item in items]
    assert compared.from_day is not None
    refs = [item.id for item in items]
    old = _staged_rows(connection, compared, compared.from_day, refs)
    new = _staged_rows(connection, compared, compared.to_day, refs)
    ids = _ids_of(connection, compared, refs)
    return [
        Columns(
            _chosen(old.get(item.id), item.changed),
            _chosen(new.get(item.id), item.changed),
            {},
            ids.get(item.id),
        )
        for item in items
    ]


def place_of(connection: sa.Connection, compared: Compared, place: str) -> Whole:
    """Return all of one place, whether it changes or not.

    Raises:
        ProblemError: It is on neither side.
    """
    read = _public_place if compared.mode == "events" else _staged_place
    before, after, columns, poi_id = read(connection, compared, place)
    if before is None and after is None:
        raise ProblemError(UNKNOWN_PLACE, f"The difference has no place {place!r} on either side.")
    staged = (
        _evidence(connection, compared, compared.from_day),
        _evidence(connection, compared, compared.to_day),
    )
    return Whole(before, after, columns, poi_id, staged)


def times_of(connection: sa.Connection, compared: Compared) -> dict[str, str]:
    """Return the time of the data by day, of the days that are staged."""
    found = {}
    for day in (compared.from_day, compared.to_day):
        staged = None if day is None else staged_day(connection, compared.slice_of(day))
        if staged is not None:
            found[str(day)] = ledger.plain(staged["as_of"])
    return found


def _public_place(
    connection: sa.Connection, compared: Compared, place: str
) -> tuple[Row | None, Row | None, Sequence[str], str]:
    public = table.rows_of(connection, [place])
    public = {key: row for key, row in public.items() if row["city_slug"] == compared.city_slug}
    rows = dict(public)
    query = _of_promotion(compared).where(poi_event.c.poi_id == place)
    replay(rows, [Event(*event) for _, *event in connection.execute(query)])
    before, after = (
        None if row is None else _shown(to_json(row), geojson)
        for row in (public.get(place), rows.get(place))
    )
    return before, after, COLUMNS, place


def _staged_place(
    connection: sa.Connection, compared: Compared, place: str
) -> tuple[Row | None, Row | None, Sequence[str], str | None]:
    assert compared.from_day is not None
    before, after = (
        None if row is None else _shown(to_json(row), geojson)
        for day in (compared.from_day, compared.to_day)
        for row in [_staged_rows(connection, compared, day, [place]).get(place)]
    )
    columns = _columns_of_day(compared)
    return before, after, columns, _ids_of(connection, compared, [place]).get(place)


def _events_of(
    connection: sa.Connection, compared: Compared, numbers: Sequence[int]
) -> dict[int, Event]:
    query = _of_promotion(compared).where(poi_event.c.number.in_(numbers))
    return {number: Event(*event) for number, *event in connection.execute(query)}


def _of_promotion(compared: Compared) -> sa.Select[Any]:
    return (
        sa.select(poi_event.c.number, *(poi_event.c[name] for name in Event._fields))
        .where(poi_event.c.promotion_id == compared.promotion_id)
        .order_by(poi_event.c.number)
    )


def _of_event(event: Event) -> Columns:
    before, after = (
        None
        if row is None
        else _shown({name: row[name] for name in COLUMNS if name in row.keys() - BOOKKEEPING})
        for row in (event.before, event.after)
    )
    return Columns(before, after, event.evidence, event.poi_id)


def _staged_rows(
    connection: sa.Connection, compared: Compared, day: date, refs: Sequence[str]
) -> dict[str, Row]:
    """Return rows of a staged day by ref."""
    target = compared.slice_of(day)
    query = sa.select(*(target.table.c[name] for name in _columns_of_day(compared))).where(
        *in_history(target),
        *valid_on(target.table, day),
        target.table.c.source_ref.in_(refs),
    )
    return {row["source_ref"]: dict(row) for row in connection.execute(query).mappings()}


def _columns_of_day(compared: Compared) -> tuple[str, ...]:
    return ("source", "source_ref", *content_columns(compared.slice_of(compared.to_day).table))


def _chosen(row: Row | None, changed: Sequence[str]) -> Row | None:
    """Return the columns that differ, or all of a place that comes or goes."""
    if row is None:
        return None
    return _shown(to_json({name: row[name] for name in changed or row}))


def _ids_of(connection: sa.Connection, compared: Compared, refs: Sequence[str]) -> dict[str, str]:
    """Return the ids of the public places by ref."""
    query = sa.select(poi.c.source_ref, poi.c.poi_id).where(
        poi.c.city_slug == compared.city_slug,
        poi.c.source == SOURCE,
        poi.c.source_ref.in_(refs),
    )
    return {row.source_ref: row.poi_id for row in connection.execute(query)}


def _evidence(connection: sa.Connection, compared: Compared, day: date | None) -> Row | None:
    staged = None if day is None else staged_day(connection, compared.slice_of(day))
    return None if staged is None else {name: ledger.plain(staged[name]) for name in EVIDENCE}


def summed_up(geometry: str) -> dict[str, Any]:
    """Return the type and number of vertices of a geometry as hexadecimal WKB."""
    import shapely

    shape: Any = shapely.from_wkb(geometry)
    return {"type": shape.geom_type, "vertices": int(shapely.get_num_coordinates(shape))}


def geojson(geometry: str) -> dict[str, Any]:
    """Return a geometry as GeoJSON from hexadecimal WKB."""
    import shapely

    shape: dict[str, Any] = json.loads(shapely.to_geojson(shapely.from_wkb(geometry)))
    return shape


def _shown(row: Row, show: Callable[[str], dict[str, Any]] = summed_up) -> Row:
    """Return the JSON values of columns, with a geometry that can be read."""
    return row | ({"geometry": show(row["geometry"])} if "geometry" in row else {})
