"""What a map shows: the places of a staged day or of a feed, or the changes between two days.

Belongs here: the values that the page gets. Does not belong here: the page (`document.py`), and
what two days differ in (`staging/days.py`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import date, datetime
from math import asin, cos, radians, sin, sqrt
from typing import TYPE_CHECKING, Any

from ingestion_pipeline.core.legend import CHANGES
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import changes_between, read_rows, require_staged
from ingestion_pipeline.staging.tables import CLASS_COLUMNS, LEGENDS, content_columns
from ingestion_pipeline.staging.types import Json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa
    import sqlalchemy as sa

    from ingestion_pipeline.core.legend import Group
    from ingestion_pipeline.staging.days import Change, Slice

MOVED_METRES = 1.0
"""A feature has moved if its representative point is at least this far away; GPS and aerial images
are less precise."""

_EARTH_METRES = 6_371_008.8
_NOT_SHOWN = ("geometry", "categories")


@dataclass(frozen=True)
class Item:
    """A place or a change.

    Attributes:
        group: The key of its group in the legend.
        before: The row on the earlier day; None on the map of one day, and where it was added.
        after: The row on the day; None where it was removed.
        changed_fields: The columns that differ.
        cause: The cause of the change; empty on the map of one day.
    """

    group: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    changed_fields: tuple[str, ...] = ()
    cause: str = ""


@dataclass(frozen=True)
class Content:
    """What a map shows.

    Attributes:
        target: The slice of the day.
        earlier: The day to compare with; None on the map of one day.
        as_of: The time of the data, by day; nothing of a feed whose time is not known.
        groups: The groups of the legend.
        columns: The columns of the rows.
        items: The places or changes: in the order of the groups, and those with a name first.
    """

    target: Slice
    earlier: date | None
    as_of: Mapping[date, datetime]
    groups: tuple[Group, ...]
    columns: tuple[str, ...]
    items: tuple[Item, ...]

    def count(self, group: str) -> int:
        """Count the items of a group."""
        return sum(item.group == group for item in self.items)


def of_day(engine: sa.Engine, target: Slice) -> Content:
    """Return the places of a staged day.

    Raises:
        DayNotStaged: The day is not staged.
    """
    with read_transaction(engine) as connection:
        staged = require_staged(connection, target)
        rows = read_rows(connection, target, _columns_of(target))
    return _of_rows(target, map(dict, rows), as_of=staged["as_of"])


def of_places(target: Slice, places: pa.Table, *, as_of: datetime | None) -> Content:
    """Return places that are not staged, such as those of a feed that is tried.

    Args:
        target: The slice that they would be staged as.
        places: One row per place, with the columns of staging; JSON columns are texts.
        as_of: The time of the data, or None if it is not known.
    """
    columns = [name for name in _columns_of(target) if name in places.column_names]
    documents = {name for name in columns if isinstance(target.table.c[name].type, Json)}
    rows = (
        {"source": target.source}
        | {name: json.loads(each) if name in documents else each for name, each in row.items()}
        for row in places.select(columns).to_pylist()
    )
    return _of_rows(target, rows, as_of=as_of)


def _of_rows(
    target: Slice, rows: Iterable[Mapping[str, Any]], *, as_of: datetime | None
) -> Content:
    legend, class_column = LEGENDS[target.dataset], CLASS_COLUMNS[target.dataset]
    items = (Item(legend.group_of(row[class_column]).key, None, row) for row in rows)
    of_day = {} if as_of is None else {target.day: as_of}
    columns = _columns_of(target)
    return Content(target, None, of_day, legend.all, columns, _sorted(items, legend.all))


def of_difference(engine: sa.Engine, target: Slice, earlier: date) -> Content:
    """Return the changes from an earlier staged day to the slice's day: those of `difference`.

    Raises:
        DayNotStaged: One of the days is not staged.
    """
    before, columns = replace(target, day=earlier), _columns_of(target)
    with read_transaction(engine) as connection:
        changes = changes_between(connection, before, target.day)
        as_of = {each.day: require_staged(connection, each)["as_of"] for each in (before, target)}
        old, new = (
            {row["source_ref"]: dict(row) for row in read_rows(connection, each, columns)}
            for each in (before, target)
        )
    items = (_changed(change, old, new) for change in changes)
    return Content(target, earlier, as_of, CHANGES.groups, columns, _sorted(items, CHANGES.groups))


def _sorted(items: Iterable[Item], groups: Sequence[Group]) -> tuple[Item, ...]:
    place = {group.key: number for number, group in enumerate(groups)}

    def key(item: Item) -> tuple[int, bool, str, str]:
        row = item.after or item.before or {}
        name = row["name"] or ""
        return (place[item.group], not name, name.casefold(), row["source_ref"])

    return tuple(sorted(items, key=key))


def _changed(change: Change, old: Mapping[str, Any], new: Mapping[str, Any]) -> Item:
    before = old.get(change.source_ref) if change.change != "added" else None
    after = new.get(change.source_ref) if change.change != "removed" else None
    group: str = change.change
    if before and after and _metres(before, after) >= MOVED_METRES:
        group = "moved"
    return Item(group, before, after, change.changed_fields, change.cause)


def _columns_of(target: Slice) -> tuple[str, ...]:
    shown = (name for name in content_columns(target.table) if name not in _NOT_SHOWN)
    return ("source_ref", "source", *shown)


def _metres(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """Return the great-circle distance of two representative points."""
    south, north = radians(before["lat"]), radians(after["lat"])
    height, width = north - south, radians(after["lon"] - before["lon"])
    half = sin(height / 2) ** 2 + cos(south) * cos(north) * sin(width / 2) ** 2
    return 2 * _EARTH_METRES * asin(sqrt(half))


def as_json(
    content: Content,
    *,
    title: str,
    things: str,
    meaning: Callable[[str], str | None],
    basemap: str | None,
) -> dict[str, Any]:
    """Return what the page reads, by column; `page/data.js` is its other side."""
    class_column = CLASS_COLUMNS[content.target.dataset]
    rows: list[Mapping[str, Any]] = []
    before = [_numbered(item.before, rows) for item in content.items]
    after = [_numbered(item.after, rows) for item in content.items]
    place = {group.key: number for number, group in enumerate(content.groups)}
    classes = sorted({row[class_column] for row in rows})
    return {
        "title": title,
        "things": things,
        "day": content.target.day.isoformat(),
        "from": content.earlier and content.earlier.isoformat(),
        "asOf": {str(day): _value(moment) for day, moment in content.as_of.items()},
        "basemap": basemap,
        "classColumn": class_column,
        "classes": {each: meaning(each) or each for each in classes},
        "groups": [
            {name: getattr(group, name) for name in ("key", "label", "colour", "shape", "letter")}
            for group in content.groups
        ],
        "columns": {name: [_value(row[name]) for row in rows] for name in content.columns},
        "items": {
            "group": [place[item.group] for item in content.items],
            "before": before,
            "after": after,
            "fields": [item.changed_fields for item in content.items],
            "cause": [item.cause for item in content.items],
        },
    }


def _numbered(row: Mapping[str, Any] | None, rows: list[Mapping[str, Any]]) -> int | None:
    """Append a row, and return its number; None where there is none."""
    if row is None:
        return None
    rows.append(row)
    return len(rows) - 1


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else value
