"""Overrides: values that an operator gives a public place, whatever upstream says.

An override belongs to a `poi_id`, is applied at each promotion, and retires by itself when upstream
says the same or its last day has passed. A hidden place is an override of the column `hidden`.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from ingestion_pipeline.core.characters import are_storable
from ingestion_pipeline.osm.taxonomy import Status, Taxonomy
from ingestion_pipeline.promotion.errors import BadOverride, UnknownOverride, UnknownPlace
from ingestion_pipeline.staging.bulk import CHUNK
from ingestion_pipeline.staging.database import is_geopackage, read_transaction, write_transaction
from ingestion_pipeline.staging.tables import poi, poi_identity, poi_override

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import date, datetime

    from ingestion_pipeline.promotion.rows import Row

OverrideColumn = Literal[
    "name", "category", "opening_hours", "address", "contact", "wikidata", "status", "hidden"
]
"""The columns that can be overridden."""

OVERRIDABLE: tuple[str, ...] = get_args(OverrideColumn)

AGREES = "upstream agrees"
EXPIRED = "its last day has passed"
REPLACED = "replaced"
REMOVED = "removed"

_WIKIDATA = re.compile(r"Q[1-9][0-9]*")


@dataclass(frozen=True)
class Override:
    """One row of `poi_override`; the fields are its columns."""

    id: str
    poi_id: str
    column: str
    value: Any
    reason: str
    who: str
    until: date | None
    created_at: datetime
    retired_at: datetime | None = None
    retired_why: str | None = None
    retired_promotion_id: str | None = None
    retired_by: str | None = None
    retired_reason: str | None = None

    @property
    def asked(self) -> tuple[Any, ...]:
        """What was requested: equal requests make one override."""
        return (self.value, self.reason, self.who, self.until)


class Retired(NamedTuple):
    """An override that a promotion retires."""

    override_id: str
    why: str


def applied(row: Row, overrides: Sequence[Override], day: date) -> tuple[Row, list[Retired]]:
    """Return a row with the overrides of its place, and those that have done their work.

    Args:
        row: The row as upstream has it.
        overrides: Those in force for the place.
        day: The day that becomes public.
    """
    new, entries, retired = dict(row), {}, []
    for override in sorted(overrides, key=lambda each: each.column):
        upstream = row[override.column]
        if override.until is not None and override.until < day:
            retired.append(Retired(override.id, EXPIRED))
        elif upstream == override.value:
            retired.append(Retired(override.id, AGREES))
        else:
            new[override.column] = override.value
            entries[override.column] = {
                "override_id": override.id,
                "upstream": upstream,
                "reason": override.reason,
                "who": override.who,
            }
    return new | {"overrides": entries}, retired


def is_due(row: Row, overrides: Sequence[Override], day: date) -> bool:
    """Return whether a public row does not show the overrides in force on a day."""
    in_force = {each.id for each in overrides if each.until is None or each.until >= day}
    expired = len(in_force) < len(overrides)
    return expired or in_force != {entry["override_id"] for entry in row["overrides"].values()}


def set_override(
    engine: sa.Engine,
    poi_id: str,
    column: str,
    value: Any,
    *,
    reason: str,
    who: str,
    until: date | None,
    now: datetime,
) -> tuple[Override, bool]:
    """Store an override; the next promotion applies it. It replaces one of the same column.

    Returns:
        The override in force, and whether it was stored now: the same request again stores none.

    Raises:
        UnknownPlace: No place has or had this id.
        BadOverride: The column cannot be overridden, the value does not fit it, or the reason or
            the person is missing.
    """
    _require_said(reason=reason, who=who)
    with write_transaction(engine) as connection:
        _lock_place(connection, poi_id)
        made = Override(
            id=str(uuid.uuid4()),
            poi_id=poi_id,
            column=column,
            value=_fitting(column, value),
            reason=reason,
            who=who,
            until=until,
            created_at=now,
        )
        known = _in_force(connection, poi_id, column)
        if known is not None and known.asked == made.asked:
            return known, False
        if known is not None:
            _retire_by_hand(connection, known, why=REPLACED, reason=reason, who=who, now=now)
        connection.execute(sa.insert(poi_override).values(vars(made)))
    return made, True


def remove_override(
    engine: sa.Engine, poi_id: str, column: str, *, reason: str, who: str, now: datetime
) -> Override:
    """Retire the override of a column; the next promotion shows what upstream says.

    Raises:
        UnknownPlace: No place has or had this id.
        BadOverride: There is none, or the reason or the person is missing.
    """
    _require_said(reason=reason, who=who)
    with write_transaction(engine) as connection:
        _lock_place(connection, poi_id)
        known = _in_force(connection, poi_id, column)
        if known is None:
            raise BadOverride(
                f"Place {poi_id} has no override of {column!r} in force. "
                f"'poi-ingest override {poi_id}' lists its overrides."
            )
        return _retire_by_hand(connection, known, why=REMOVED, reason=reason, who=who, now=now)


def retire_override(
    engine: sa.Engine, poi_id: str, override_id: str, *, reason: str, who: str, now: datetime
) -> Override:
    """Retire an override; the next promotion shows what upstream says.

    Returns:
        The override; as it is, if it is no longer in force.

    Raises:
        UnknownPlace: No place has or had this id.
        UnknownOverride: The place has no override with this id.
        BadOverride: The reason or the person is missing.
    """
    _require_said(reason=reason, who=who)
    with write_transaction(engine) as connection:
        _lock_place(connection, poi_id)
        known = {each.id: each for each in in_order(connection, poi_id)}.get(override_id)
        if known is None:
            raise UnknownOverride(
                f"Place {poi_id} has no override with the id {override_id!r}. List its overrides."
            )
        if known.retired_at is not None:
            return known
        return _retire_by_hand(connection, known, why=REMOVED, reason=reason, who=who, now=now)


def overrides_of(engine: sa.Engine, poi_id: str) -> list[Override]:
    """Return all overrides of a place, those in force first, then the newest.

    Raises:
        UnknownPlace: No place has or had this id.
    """
    with read_transaction(engine) as connection:
        _require_known(connection, poi_id)
        return in_order(connection, poi_id)


def in_order(connection: sa.Connection, poi_id: str) -> list[Override]:
    """Return all overrides of a place, those in force first, then the newest."""
    query = (
        sa.select(poi_override)
        .where(poi_override.c.poi_id == poi_id)
        .order_by(
            poi_override.c.retired_at.is_not(None),
            poi_override.c.created_at.desc(),
            poi_override.c.id,
        )
    )
    return [_override(row) for row in connection.execute(query)]


def in_force(connection: sa.Connection, city_slug: str) -> dict[str, list[Override]]:
    """Return the overrides in force of the places of a city, by `poi_id`."""
    of_city = sa.exists().where(
        poi_identity.c.poi_id == poi_override.c.poi_id, poi_identity.c.city_slug == city_slug
    )
    query = (
        sa.select(poi_override)
        .where(poi_override.c.retired_at.is_(None), of_city)
        .order_by(poi_override.c.id)
    )
    found: dict[str, list[Override]] = {}
    for row in connection.execute(query):
        found.setdefault(row.poi_id, []).append(_override(row))
    return found


def retire(
    connection: sa.Connection, retired: Collection[Retired], *, promotion_id: str, now: datetime
) -> None:
    """Retire overrides with the promotion that makes them superfluous."""
    for each in retired:
        connection.execute(
            sa.update(poi_override)
            .where(poi_override.c.id == each.override_id, poi_override.c.retired_at.is_(None))
            .values(retired_at=now, retired_why=each.why, retired_promotion_id=promotion_id)
        )


def restore(connection: sa.Connection, promotion_ids: Sequence[str]) -> None:
    """Put overrides in force again that retired with promotions that are reverted."""
    other = poi_override.alias()
    replaced = sa.exists().where(
        other.c.poi_id == poi_override.c.poi_id,
        other.c.column == poi_override.c.column,
        other.c.retired_at.is_(None),
    )
    for start in range(0, len(promotion_ids), CHUNK):
        of_them = poi_override.c.retired_promotion_id.in_(promotion_ids[start : start + CHUNK])
        query = sa.select(poi_override.c.poi_id).where(of_them).distinct()
        for poi_id in sorted(connection.execute(query).scalars()):
            _lock_place(connection, poi_id)
        connection.execute(
            sa.update(poi_override)
            .where(of_them, sa.not_(replaced))
            .values(retired_at=None, retired_why=None, retired_promotion_id=None)
        )


def _require_said(*, reason: str, who: str) -> None:
    for field, what, text in (("reason", "reason", reason), ("who", "person", who)):
        if not text.strip():
            raise BadOverride(f"An override needs a {what}.", field=field)
        if not are_storable([text]):
            raise BadOverride(f"No database stores the {what} {text!r}.", field=field)


def _fitting(column: str, value: Any) -> Any:
    """Return a value in the form in which staging has it.

    Raises:
        BadOverride: The column cannot be overridden, or the value does not fit it.
    """
    if column not in OVERRIDABLE:
        raise BadOverride(
            f"Column {column!r} cannot be overridden. Use one of {', '.join(OVERRIDABLE)}."
        )
    expected = _expected(column, value)
    if expected:
        raise BadOverride(
            f"An override of {column!r} needs {expected}; found {value!r}.", field="value"
        )
    if not are_storable(_texts_in(value)):
        raise BadOverride(
            f"An override of {column!r} has a character that no database stores: {value!r}.",
            field="value",
        )
    return _hours(value) if column == "opening_hours" else value


def _expected(column: str, value: Any) -> str | None:
    """Return what a column accepts if a value does not fit it."""
    fits, expected = _FORMS[column]
    return None if fits(value) else expected


def _hours(value: str | None) -> str | None:
    """Return opening hours as staging has them; None if they cannot be read."""
    from ingestion_pipeline.text.hours import normalized_hours

    return None if value is None else normalized_hours(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_contact(value: Any) -> bool:
    return _is_object(value, list) and all(
        texts and all(map(_is_text, texts)) for texts in value.values()
    )


def _texts_in(value: Any) -> Iterator[str]:
    """Yield all texts of a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from _texts_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts_in(each)


def _is_object(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(each, kind) for key, each in value.items()
    )


_FORMS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda value: value is None or _is_text(value), "a text, or null"),
    "category": (
        lambda value: isinstance(value, str) and Taxonomy.load().label(value, "en") is not None,
        "a category of docs/categories.md, such as amenity/cafe",
    ),
    "opening_hours": (
        lambda value: value is None or (_is_text(value) and _hours(value) is not None),
        "opening hours as OpenStreetMap writes them, such as Mo-Fr 09:00-18:00, or null",
    ),
    "address": (
        lambda value: _is_object(value, str),
        'an object of texts, such as {"street": "..."}',
    ),
    "contact": (_is_contact, 'an object of lists of texts, such as {"phone": ["..."]}'),
    "wikidata": (
        lambda value: (
            value is None or (isinstance(value, str) and bool(_WIKIDATA.fullmatch(value)))
        ),
        "an item of Wikidata, such as Q64, or null",
    ),
    "status": (lambda value: value in get_args(Status), f"one of {', '.join(get_args(Status))}"),
    "hidden": (lambda value: value is True, "true"),
}
"""What fits each column, and how an error says that."""


def _require_known(connection: sa.Connection, poi_id: str) -> None:
    known = sa.select(poi_identity.c.poi_id).where(poi_identity.c.poi_id == poi_id).limit(1)
    if connection.execute(known).first() is None:
        raise unknown_place(poi_id)


def _lock_place(connection: sa.Connection, poi_id: str) -> None:
    """Lock the overrides of a place for the rest of the transaction.

    A GeoPackage needs no lock: the write transaction locks the file.

    Raises:
        UnknownPlace: No place has or had this id.
    """
    _require_known(connection, poi_id)
    if not is_geopackage(connection):
        name = f"override|{poi_id}"
        connection.execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0)))
        )


def unknown_place(poi_id: str) -> UnknownPlace:
    """Return the error that no place has or had an id."""
    return UnknownPlace(f"No public place has or had the id {poi_id!r}. Take it from {poi.name}.")


def _in_force(connection: sa.Connection, poi_id: str, column: str) -> Override | None:
    found = (each for each in in_order(connection, poi_id) if each.column == column)
    return next((each for each in found if each.retired_at is None), None)


def _retire_by_hand(
    connection: sa.Connection, known: Override, *, why: str, reason: str, who: str, now: datetime
) -> Override:
    ended = {
        "retired_at": now,
        "retired_why": why,
        "retired_by": who,
        "retired_reason": reason,
    }
    connection.execute(
        sa.update(poi_override)
        # A promotion may have retired it meanwhile.
        .where(poi_override.c.id == known.id, poi_override.c.retired_at.is_(None))
        .values(ended)
    )
    query = sa.select(poi_override).where(poi_override.c.id == known.id)
    return _override(connection.execute(query).one())


def _override(row: sa.Row[Any]) -> Override:
    return Override(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
