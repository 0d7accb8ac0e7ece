"""The typed events of a promotion: which change of a place is which kind, and replaying them.

Belongs here: pure functions on rows. Does not belong here: reading and writing them (`table.py`).

Each column that differs is in exactly one event of a place. So the events of a promotion, applied
in any order to the rows before it, give the rows after it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ingestion_pipeline.promotion.rows import COLUMNS, from_json, metres_between, to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ingestion_pipeline.promotion.rows import Row

Kind = Literal[
    "appeared",
    "disappeared",
    "closed",
    "reopened",
    "moved",
    "renamed",
    "recategorised",
    "hours_changed",
    "contact_changed",
    "address_changed",
    "attributes_changed",
    "reidentified",
    "split",
    "merged",
    "left_area",
    "rules_changed",
    "licence_changed",
]
"""What became public of a place."""

KINDS: tuple[Kind, ...] = get_args(Kind)

ORDER: tuple[Kind, ...] = (
    "disappeared",
    "left_area",
    "closed",
    "merged",
    "split",
    "reidentified",
    "recategorised",
    "renamed",
    "moved",
    "hours_changed",
    "contact_changed",
    "address_changed",
    "attributes_changed",
    "rules_changed",
    "licence_changed",
    "reopened",
    "appeared",
)
"""The kinds of events, those first that a person looks at first."""

OPERATING = "operating"

LEAST_MOVE_M = 1.0
"""A point that moves less is drawn anew, and the place did not move."""

BOOKKEEPING = frozenset(
    {
        "content_hash",
        "source_hash",
        "first_promoted",
        "last_changed",
        "promotion_id",
        "overrides",
    }
)
"""Columns that accompany any change."""

_TECHNICAL = frozenset({"tags", "osm_version", "osm_timestamp"})
"""Columns that change with what is made from them."""

_LICENCE = frozenset({"licence", "attribution"})

_GROUPS: tuple[tuple[Kind, frozenset[str]], ...] = (
    ("reidentified", frozenset({"source", "source_ref", "other_refs"})),
    ("moved", frozenset({"geometry", "lon", "lat", "point_source", "geom_quality"})),
    ("renamed", frozenset({"name", "name_source", "names"})),
    ("recategorised", frozenset({"category", "categories"})),
    ("hours_changed", frozenset({"opening_hours"})),
    ("contact_changed", frozenset({"contact"})),
    ("address_changed", frozenset({"address"})),
    ("licence_changed", _LICENCE),
)
"""The columns of each kind."""

_KEYS: dict[Kind, re.Pattern[str]] = {
    "renamed": re.compile(r"(.+[_:])?name(:.+)?"),
    "hours_changed": re.compile(r"opening_hours(:.+)?"),
    "contact_changed": re.compile(r"contact:.+|phone|mobile|fax|email|website|url"),
    "address_changed": re.compile(r"addr:.+"),
    "recategorised": re.compile(
        r"amenity|shop|tourism|leisure|office|craft|healthcare|historic|cuisine|sport|.+:for"
    ),
    "closed": re.compile(r"(disused|abandoned|was|closed|demolished):.+|opening_date|end_date"),
    "reopened": re.compile(r"(disused|abandoned|was|closed|demolished):.+|opening_date|end_date"),
}
"""The tags that explain a kind; other tags that change are `attributes_changed`."""


class Event(NamedTuple):
    """One event of a place, as `poi_event` stores it.

    Attributes:
        poi_id: The place.
        kind: What happened.
        before: The columns concerned before, as JSON; None for a place that was not public.
        after: Those columns after; None for a place that is no longer public.
        evidence: Numbers and refs that a person can read.
    """

    poi_id: str
    kind: Kind
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    evidence: Mapping[str, Any]


class Reason(NamedTuple):
    """Why a place comes, goes, or is another object now.

    Attributes:
        kind: The kind of event of a place that comes or goes; None for one that stays.
        evidence: Of the event that comes, goes or reidentifies.
        rules: The rules versions before and after, for `rules_changed`.
    """

    kind: Kind | None = None
    evidence: Mapping[str, Any] = {}
    rules: tuple[str, str] | None = None


def events_of(before: Row | None, after: Row | None, reason: Reason) -> list[Event]:
    """Return the events that lead from one row of a place to the next one."""
    if before is None or after is None:
        row = before or after
        assert row is not None
        assert reason.kind is not None
        return [
            Event(
                row["poi_id"],
                reason.kind,
                None if before is None else to_json(before),
                None if after is None else to_json(after),
                _with_overrides(reason.evidence, row, row),
            )
        ]
    differing = {name for name in COLUMNS if before[name] != after[name]}
    if not differing:
        return []
    parts = _parts(before, after, differing - BOOKKEEPING)
    # What accompanies any change is in the first event.
    parts = parts or [("attributes_changed", frozenset())]
    kind, first = parts[0]
    parts[0] = (kind, first | (differing & BOOKKEEPING))
    return [
        Event(
            after["poi_id"],
            kind,
            to_json({name: before[name] for name in COLUMNS if name in columns}),
            to_json({name: after[name] for name in COLUMNS if name in columns}),
            _with_overrides(_evidence(kind, before, after, reason), before, after, columns),
        )
        for kind, columns in parts
    ]


def is_of_rules(before: Row, after: Row) -> bool:
    """Return whether the rules changed a row, and upstream did not."""
    return bool(
        before["source_hash"] == after["source_hash"]
        and before["content_hash"] != after["content_hash"]
    )


def _parts(before: Row, after: Row, differing: set[str]) -> list[tuple[Kind, frozenset[str]]]:
    """Divide the columns that differ among kinds."""
    if is_of_rules(before, after):
        of_licence = frozenset(differing & _LICENCE)
        others = frozenset(differing - of_licence)
        both: list[tuple[Kind, frozenset[str]]] = [
            ("rules_changed", others),
            ("licence_changed", of_licence),
        ]
        return [part for part in both if part[1]]
    left = set(differing)
    parts: list[tuple[Kind, frozenset[str]]] = []

    def take(kind: Kind, columns: frozenset[str]) -> None:
        parts.append((kind, columns & left))
        left.difference_update(columns)

    opened = OPERATING in (before["status"], after["status"]) and "status" in differing
    if opened:
        take("closed" if before["status"] == OPERATING else "reopened", frozenset({"status"}))
    for kind, columns in _GROUPS:
        if columns & left and _is_of_kind(kind, before, after):
            take(kind, columns)
    if parts and left <= _TECHNICAL and _are_explained(before, after, {kind for kind, _ in parts}):
        kind, columns = parts[0]
        parts[0] = (kind, columns | left)
    elif left:
        parts.append(("attributes_changed", frozenset(left)))
    return parts


def _is_of_kind(kind: Kind, before: Row, after: Row) -> bool:
    """Return whether the columns of a kind changed so much that it is one."""
    if kind == "reidentified":
        return (before["source_ref"], before["source"], set(before["other_refs"])) != (
            after["source_ref"],
            after["source"],
            set(after["other_refs"]),
        )
    if kind == "moved":
        return metres_between(before, after) >= LEAST_MOVE_M
    if kind in ("renamed", "recategorised"):
        column = "name" if kind == "renamed" else "category"
        return bool(before[column] != after[column])
    return True


def _are_explained(before: Row, after: Row, kinds: set[Kind]) -> bool:
    """Return whether the kinds of events explain all tags that changed."""
    one, other = before["tags"], after["tags"]
    changed = {key for key in {*one, *other} if one.get(key) != other.get(key)}
    patterns = [_KEYS[kind] for kind in kinds if kind in _KEYS]
    return all(any(pattern.fullmatch(key) for pattern in patterns) for key in changed)


def _evidence(kind: Kind, before: Row, after: Row, reason: Reason) -> dict[str, Any]:
    evidence: dict[str, Any] = {}
    if kind == "moved":
        evidence["metres"] = metres_between(before, after)
    if kind in ("reidentified", "attributes_changed"):
        evidence |= reason.evidence
    if kind == "rules_changed" and reason.rules is not None:
        evidence["rules_version"] = list(reason.rules)
    return evidence


def _with_overrides(
    evidence: Mapping[str, Any], before: Row, after: Row, columns: Iterable[str] = COLUMNS
) -> dict[str, Any]:
    """Add the overrides of the columns concerned, before or after."""
    applied = {
        name: {key: entry[name].get(key) for key in ("override_id", "who", "reason")}
        for entry in (before["overrides"], after["overrides"])
        for name in entry
        if name in columns
    }
    return {**evidence, **({"overrides": applied} if applied else {})}


def replay(rows: dict[str, Row], events: Iterable[Event]) -> None:
    """Apply the events of one promotion to rows by `poi_id`."""
    for event in events:
        if event.after is None:
            del rows[event.poi_id]
        elif event.before is None:
            rows[event.poi_id] = from_json(event.after)
        else:
            rows[event.poi_id] = rows[event.poi_id] | from_json(event.after)


def undo(rows: dict[str, Row], events: Iterable[Event]) -> None:
    """Take back the events of one promotion from rows by `poi_id`."""
    for event in events:
        if event.before is None:
            del rows[event.poi_id]
        elif event.after is None:
            rows[event.poi_id] = from_json(event.before)
        else:
            rows[event.poi_id] = rows[event.poi_id] | from_json(event.before)
