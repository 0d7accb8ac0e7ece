"""Differences for review: what would become public, or two staged days compared, in order.

Belongs here: which two sides are compared, and the short form of each item, which is enough to
sort, filter and draw it. Does not belong here: the columns of an item (`places.py`), and requests
(`routes.py`).

A difference of 100,000 places takes seconds to read. So the short forms of the last ones are kept,
by a version that changes with everything they depend on.
"""

from __future__ import annotations

import hashlib
import threading
import unicodedata
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.admin_api.problems import (
    DAY_NOT_STAGED,
    NO_PROPOSAL,
    NO_PUBLIC_DAY,
    Mistake,
    ProblemError,
    invalid,
)
from ingestion_pipeline.datasets.base import SOURCE
from ingestion_pipeline.promotion import ledger
from ingestion_pipeline.promotion.events import BOOKKEEPING, LEAST_MOVE_M, ORDER
from ingestion_pipeline.promotion.rows import COLUMNS, metres_between
from ingestion_pipeline.staging.days import Slice, require_staged
from ingestion_pipeline.staging.errors import DayNotStaged
from ingestion_pipeline.staging.tables import VIEWS, poi, poi_event
from ingestion_pipeline.staging.types import Json
from ingestion_pipeline.staging.views import view

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import date

Mode = Literal["events", "days"]
Unit = Literal["metres", "tags", "columns"]

KINDS: dict[Mode, tuple[str, ...]] = {
    "events": ORDER,
    "days": ("removed", "moved", "changed", "added"),
}
"""The kinds of items, in display order."""

KEPT = 2
"""The number of differences that are kept: some 50 MB for each 100,000 items."""

_UNITS: tuple[Unit, ...] = ("metres", "tags", "columns")
_AT_ONCE = 2_000
"""Rows that are read at a time; an event can have a whole row before or after."""


class Side(NamedTuple):
    """A place on one side of a difference, in short.

    Attributes:
        source_ref: Its ref.
        category: Its category.
        name: Its name.
        names: Its names by language; None if there are none.
        lon: The longitude of its point.
        lat: The latitude.
    """

    source_ref: str
    category: str
    name: str | None
    names: Mapping[str, str] | None
    lon: float
    lat: float


_OF = Side._fields


class Item(NamedTuple):
    """An item of a difference, in short.

    Attributes:
        id: The number of the event, or the ref of the feature.
        place: The id of the place, or the ref of the feature.
        kind: Its kind.
        size: How large it is in its unit.
        unit: Metres that it moved; tags of what comes or goes; columns that differ.
        before: The place before; None where it comes.
        after: The place after; None where it goes.
        changed: The columns that differ; empty for what comes or goes.
        cause: Why it changed between two days; empty for an event.
    """

    id: str
    place: str
    kind: str
    size: float
    unit: Unit
    before: Side | None
    after: Side | None
    changed: tuple[str, ...]
    cause: str

    @property
    def side(self) -> Side:
        """The side that names it: that after, or else the one before."""
        side = self.after or self.before
        assert side is not None
        return side

    @property
    def group(self) -> str:
        """Its group in the legend of changes."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "moved" if self.kind == "moved" else "changed"


class Sides(NamedTuple):
    """The sides that a request names.

    Attributes:
        before: The staged day before; None for what is public.
        after: The staged day after; None for the proposal.
    """

    before: date | None
    after: date | None


@dataclass(frozen=True)
class Compared:
    """The two sides of a difference.

    Attributes:
        city_slug: The city.
        mode: Whether the items are the events of a promotion, or the changes between two days.
        from_day: The day before.
        to_day: The day after.
        promotion_id: The promotion, in mode `events`.
        version: Changes with everything that the difference depends on.
    """

    city_slug: str
    mode: Mode
    from_day: date | None
    to_day: date
    promotion_id: str | None
    version: str

    def slice_of(self, day: date) -> Slice:
        """Return the slice of a day."""
        return Slice(self.city_slug, ledger.DATASET, SOURCE, day)


@dataclass(frozen=True)
class Filter:
    """Which items of a difference are shown; empty parts do not filter.

    Attributes:
        kinds: Only these kinds.
        category: Only this category and those below it.
        text: Only items with this text in a name, the category, the ref or the id.
    """

    kinds: frozenset[str] = frozenset()
    category: str = ""
    text: str = ""

    @property
    def digest(self) -> str:
        """A short text that differs for each filter."""
        return digest_of(",".join(sorted(self.kinds)), self.category, self.text)

    def parts(self) -> dict[str, Callable[[Item], bool]]:
        """Return the conditions that filter, by name."""
        found: dict[str, Callable[[Item], bool]] = {}
        if self.kinds:
            found["kind"] = lambda item: item.kind in self.kinds
        if self.category:
            below = f"{self.category}/"
            found["category"] = lambda item: (
                item.side.category == self.category or item.side.category.startswith(below)
            )
        if self.text:
            wanted = _folded(self.text)
            found["text"] = lambda item: wanted in _folded(_text_of(item))
        return found


class Matched(NamedTuple):
    """The items that match a filter, and counts for the other choices.

    Attributes:
        items: The items that match.
        kinds: Items by kind that match all but the kind.
        categories: Items by category that match all but the category.
    """

    items: Sequence[Item]
    kinds: Counter[str]
    categories: Counter[str]


@dataclass(frozen=True)
class Difference:
    """A difference in short: its items in their order."""

    compared: Compared
    items: Sequence[Item]
    kinds: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)

    def matching(self, chosen: Filter) -> Matched:
        """Return the items that match a filter."""
        parts = chosen.parts()
        if not parts:
            return Matched(self.items, self.kinds, self.categories)
        shown: list[Item] = []
        kinds: Counter[str] = Counter()
        categories: Counter[str] = Counter()
        for item in self.items:
            failed = [name for name, holds in parts.items() if not holds(item)]
            if not failed:
                shown.append(item)
            if failed in ([], ["kind"]):
                kinds[item.kind] += 1
            if failed in ([], ["category"]):
                categories[item.side.category] += 1
        return Matched(shown, kinds, categories)


class Differences:
    """The differences that were read last, by version."""

    def __init__(self) -> None:
        """Keep none yet."""
        self._kept: OrderedDict[str, Difference] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, connection: sa.Connection, compared: Compared) -> Difference:
        """Return a difference: a kept one, or read in the transaction that resolved it."""
        # One at a time: requests for a list and its map arrive together.
        with self._lock:
            found = self._kept.pop(compared.version, None) or _read(connection, compared)
            self._kept[compared.version] = found
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found


def resolve(connection: sa.Connection, city_slug: str, sides: Sides) -> Compared:
    """Return the two sides of a difference.

    Raises:
        ProblemError: No day is public, no promotion is open, a day is not staged, or the first day
            is not before the second.
    """
    public = ledger.public_of(connection, city_slug)
    public_day = None if public is None else public.day
    if sides == Sides(None, None):
        waiting = _proposal(connection, city_slug)
        version = digest_of("events", waiting.id)
        return Compared(city_slug, "events", public_day, waiting.day, waiting.id, version)
    first = sides.before or public_day
    if first is None:
        raise ProblemError(
            NO_PUBLIC_DAY, f"Nothing of {city_slug} is public yet. Compare two staged days."
        )
    last = sides.after or _proposal(connection, city_slug).day
    stored = [
        str((day, row["run_id"], row["staged_at"], row["digest"]))
        for day in (first, last)
        for row in [_staged(connection, Slice(city_slug, ledger.DATASET, SOURCE, day))]
    ]
    if first >= last:
        raise invalid([Mistake(field="from", message=f"{first} is not before {last}.")])
    # The ids of places come from what is public.
    version = digest_of("days", city_slug, "" if public is None else public.id, *stored)
    return Compared(city_slug, "days", first, last, None, version)


def _proposal(connection: sa.Connection, city_slug: str) -> ledger.Promotion:
    waiting = ledger.open_of(connection, city_slug)
    if waiting is None:
        raise ProblemError(
            NO_PROPOSAL, f"No promotion of {city_slug} is open. Compare two staged days."
        )
    return waiting


def _staged(connection: sa.Connection, target: Slice) -> sa.RowMapping:
    try:
        return require_staged(connection, target)
    except DayNotStaged as error:
        raise ProblemError(DAY_NOT_STAGED, str(error)) from None


def digest_of(*parts: str) -> str:
    """Return a short digest of texts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _read(connection: sa.Connection, compared: Compared) -> Difference:
    read = _events if compared.mode == "events" else _changes
    rank = {kind: number for number, kind in enumerate(KINDS[compared.mode])}
    items = sorted(read(connection, compared), key=lambda item: _place_in(item, rank))
    return Difference(
        compared,
        items,
        Counter(item.kind for item in items),
        Counter(item.side.category for item in items),
    )


def _place_in(item: Item, rank: Mapping[str, int]) -> tuple[Any, ...]:
    side = item.side
    name = (side.name is None, (side.name or "").casefold())
    return (rank[item.kind], _UNITS.index(item.unit), -item.size, *name, side.source_ref)


def _events(connection: sa.Connection, compared: Compared) -> list[Item]:
    """Read the events of a promotion, with the places as they are before and after it."""
    names = ("number", "poi_id", "kind", "before", "after", "evidence")
    query = (
        sa.select(
            *(poi_event.c[name] for name in names),
            *(poi.c[name].label(f"public_{name}") for name in _OF),
        )
        .join_from(poi_event, poi, poi.c.poi_id == poi_event.c.poi_id, isouter=True)
        .where(poi_event.c.promotion_id == compared.promotion_id)
        .order_by(poi_event.c.number)
    )
    before: dict[str, Side | None] = {}
    after: dict[str, Side | None] = {}
    found: list[tuple[str, str, str, float, Unit, tuple[str, ...]]] = []
    for row in connection.execute(query.execution_options(yield_per=_AT_ONCE)):
        number, place, kind, old, new, evidence, *public = row
        if place not in before:
            before[place] = after[place] = None if old is None else _side(public)
        if new is None:
            after[place] = None
        elif old is None:
            after[place] = _side([new[name] for name in _OF])
        else:
            after[place] = _with(after[place], new)
        changed = () if old is None or new is None else changed_columns(new)
        size, unit = _size(kind, old, new, changed, evidence.get("metres"))
        found.append((str(number), place, kind, size, unit, changed))
    return [
        Item(number, place, kind, size, unit, before[place], after[place], changed, "")
        for number, place, kind, size, unit, changed in found
    ]


_NUMBER_OF = {name: number for number, name in enumerate(COLUMNS)}


def changed_columns(columns: Iterable[str]) -> tuple[str, ...]:
    """Return columns of an event in the order of the table, without bookkeeping."""
    shown = (name for name in columns if name not in BOOKKEEPING)
    return tuple(sorted(shown, key=_NUMBER_OF.__getitem__))


def _changes(connection: sa.Connection, compared: Compared) -> list[Item]:
    """Read the changes between two staged days."""
    assert compared.from_day is not None
    target = compared.slice_of(compared.from_day)
    changes = view(VIEWS[target.dataset].change)
    old, new = target.table.alias("old"), target.table.alias("new")
    whole = sa.case(
        (changes.c.change == "changed", sa.null()), else_=sa.func.coalesce(new.c.tags, old.c.tags)
    )
    query = (
        sa.select(
            changes.c.change,
            changes.c.changed_fields,
            changes.c.cause,
            sa.type_coerce(whole, Json).label("tags"),
            *(each.c[name].label(f"{each.name}_{name}") for each in (old, new) for name in _OF),
        )
        .select_from(
            changes.join(old, old.c.id == changes.c.before_id, isouter=True).join(
                new, new.c.id == changes.c.after_id, isouter=True
            )
        )
        .where(
            changes.c.city_slug == target.city_slug,
            changes.c.source == target.source,
            changes.c.from_day == target.day,
            changes.c.to_day == compared.to_day,
        )
    )
    items = []
    for row in connection.execute(query.execution_options(yield_per=_AT_ONCE)):
        change, fields, cause, tags, *sides = row
        before = _side(sides[: len(_OF)]) if sides[0] is not None else None
        after = _side(sides[len(_OF) :]) if sides[len(_OF)] is not None else None
        ref = (after or before).source_ref  # type: ignore[union-attr]
        kind, size = change, float(len(fields))
        unit: Unit = "columns"
        if tags is not None:
            size, unit = float(len(tags)), "tags"
        elif (metres := _metres(before, after)) >= LEAST_MOVE_M:
            kind, size, unit = "moved", metres, "metres"
        items.append(Item(ref, ref, kind, size, unit, before, after, tuple(fields), cause))
    return items


def _size(
    kind: str,
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    changed: Sequence[str],
    metres: float | None,
) -> tuple[float, Unit]:
    if old is None or new is None:
        whole = old or new
        assert whole is not None
        return float(len(whole["tags"])), "tags"
    if kind == "moved":
        assert metres is not None
        return float(metres), "metres"
    return float(len(changed)), "columns"


def _side(values: Sequence[Any]) -> Side:
    """Return a side from the values of `Side._fields`."""
    source_ref, category, name, names, lon, lat = values
    # JSONB stores 24.0 as 24.
    return Side(source_ref, category, name, names or None, float(lon), float(lat))


def _with(side: Side | None, columns: Mapping[str, Any]) -> Side:
    """Return a side with the columns of an event: itself where it has none of them."""
    assert side is not None
    if not any(name in columns for name in _OF):
        return side
    return _side([columns.get(name, getattr(side, name)) for name in _OF])


def _metres(before: Side | None, after: Side | None) -> float:
    assert before is not None
    assert after is not None
    one, other = ({"lon": side.lon, "lat": side.lat} for side in (before, after))
    return metres_between(one, other)


def _text_of(item: Item) -> str:
    """Return the texts in which a search finds an item."""
    found = [item.place]
    for side in (item.before, item.after):
        if side is not None:
            found += [side.source_ref, side.category, side.name or "", *(side.names or {}).values()]
    return "\n".join(found)


def _folded(text: str) -> str:
    """Return a text as it is compared: without case, marks, and differences of width."""
    plain = unicodedata.normalize("NFKD", text).casefold()
    return "".join(each for each in plain if not unicodedata.combining(each))
