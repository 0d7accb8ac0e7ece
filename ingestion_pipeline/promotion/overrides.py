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

from ingestion_pipeline.osm.taxonomy import Status
from ingestion_pipeline.promotion.errors import BadOverride, UnknownPlace
from ingestion_pipeline.staging.bulk import CHUNK
from ingestion_pipeline.staging.database import read_transaction, write_transaction
from ingestion_pipeline.staging.tables import poi, poi_identity, poi_override

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date, datetime

    from ingestion_pipeline.promotion.rows import Row

OverrideColumn = Literal[
    "name", "category", "opening_hours", "address", "contact", "wikidata", "status", "hidden"
]
"""The columns that can be overridden."""

OVERRIDABLE: tuple[str, ...] = get_args(OverrideColumn)

AGREES = "upstream agrees"
EXPIRED = "its last day has passed"
REMOVED = "removed"

_CATEGORY = re.compile(r"[a-z0-9_:]+(/[a-z0-9_:]+)+")


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
    retired_at: datetime | None
    retired_why: str | None
    retired_promotion_id: str | None


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
) -> Override:
    """Store an override; the next promotion applies it. It replaces one of the same column.

    Raises:
        UnknownPlace: No place has or had this id.
        BadOverride: The column cannot be overridden, the value does not fit it, or the reason or
            the person is missing.
    """
    _require_good(column, value, reason=reason, who=who)
    with write_transaction(engine) as connection:
        _require_known(connection, poi_id)
        _retire_in_force(connection, poi_id, column, now=now, why="replaced")
        override = Override(
            str(uuid.uuid4()), poi_id, column, value, reason, who, until, now, None, None, None
        )
        connection.execute(sa.insert(poi_override).values(vars(override)))
    return override


def remove_override(engine: sa.Engine, poi_id: str, column: str, *, now: datetime) -> None:
    """Retire the override of a column; the next promotion shows what upstream says.

    Raises:
        BadOverride: There is none.
    """
    with write_transaction(engine) as connection:
        if not _retire_in_force(connection, poi_id, column, now=now, why=REMOVED):
            raise BadOverride(
                f"Place {poi_id} has no override of {column!r} in force. "
                f"'poi-ingest override {poi_id}' lists its overrides."
            )


def overrides_of(engine: sa.Engine, poi_id: str) -> list[Override]:
    """Return all overrides of a place, the newest first.

    Raises:
        UnknownPlace: No place has or had this id.
    """
    with read_transaction(engine) as connection:
        _require_known(connection, poi_id)
        return in_order(connection, poi_id)


def in_order(connection: sa.Connection, poi_id: str) -> list[Override]:
    """Return all overrides of a place, the newest first."""
    query = (
        sa.select(poi_override)
        .where(poi_override.c.poi_id == poi_id)
        .order_by(poi_override.c.created_at.desc(), poi_override.c.id)
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
        connection.execute(
            sa.update(poi_override)
            .where(
                poi_override.c.retired_promotion_id.in_(promotion_ids[start : start + CHUNK]),
                sa.not_(replaced),
            )
            .values(retired_at=None, retired_why=None, retired_promotion_id=None)
        )


def _require_good(column: str, value: Any, *, reason: str, who: str) -> None:
    if column not in OVERRIDABLE:
        raise BadOverride(
            f"Column {column!r} cannot be overridden. Use one of {', '.join(OVERRIDABLE)}."
        )
    for what, text in (("reason", reason), ("person", who)):
        if not text.strip():
            raise BadOverride(f"An override needs a {what}.")
    expected = _expected(column, value)
    if expected:
        raise BadOverride(f"An override of {column!r} needs {expected}; found {value!r}.")


def _expected(column: str, value: Any) -> str | None:
    """Return what a column accepts if a value does not fit it."""
    if column == "hidden":
        return None if value is True else "true"
    if column == "status":
        return None if value in get_args(Status) else f"one of {', '.join(get_args(Status))}"
    if column == "category":
        fits = isinstance(value, str) and _CATEGORY.fullmatch(value) is not None
        return None if fits else "a category, such as amenity/cafe"
    if column == "address":
        return None if _is_object(value, str) else 'an object of texts, such as {"street": "..."}'
    if column == "contact":
        fits = _is_object(value, list) and all(
            isinstance(text, str) for texts in value.values() for text in texts
        )
        return None if fits else 'an object of lists of texts, such as {"phone": ["..."]}'
    return None if value is None or (isinstance(value, str) and value) else "a text, or null"


def _is_object(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(each, kind) for key, each in value.items()
    )


def _require_known(connection: sa.Connection, poi_id: str) -> None:
    known = sa.select(poi_identity.c.poi_id).where(poi_identity.c.poi_id == poi_id).limit(1)
    if connection.execute(known).first() is None:
        raise unknown_place(poi_id)


def unknown_place(poi_id: str) -> UnknownPlace:
    """Return the error that no place has or had an id."""
    return UnknownPlace(f"No public place has or had the id {poi_id!r}. Take it from {poi.name}.")


def _retire_in_force(
    connection: sa.Connection, poi_id: str, column: str, *, now: datetime, why: str
) -> bool:
    done = connection.execute(
        sa.update(poi_override)
        .where(
            poi_override.c.poi_id == poi_id,
            poi_override.c.column == column,
            poi_override.c.retired_at.is_(None),
        )
        .values(retired_at=now, retired_why=why)
    )
    return done.rowcount > 0


def _override(row: sa.Row[Any]) -> Override:
    return Override(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
