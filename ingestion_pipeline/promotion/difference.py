"""The difference of a staged day from the public table, as events.

Belongs here: finding the features that differ, reading them and what is near them, and making the
rows and events of the places concerned. Does not belong here: what is one place (`identity.py`,
`continuity.py`), and judging the difference (`gates.py`).

Only what differs is read as rows: the refs and hashes of the day and of the table are compared as
columns.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from ingestion_pipeline.promotion.continuity import continuity_of, groups_of
from ingestion_pipeline.promotion.events import Reason, events_of
from ingestion_pipeline.promotion.nearby import Nearby
from ingestion_pipeline.promotion.overrides import applied, is_due
from ingestion_pipeline.promotion.rows import STAGED, joined, place_of, refs_of
from ingestion_pipeline.promotion.table import rows_of
from ingestion_pipeline.staging.bulk import CHUNK, fetch
from ingestion_pipeline.staging.days import in_history
from ingestion_pipeline.staging.tables import ingestion_rejection, poi
from ingestion_pipeline.staging.views import valid_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from ingestion_pipeline.promotion.continuity import Continuation, Matcher
    from ingestion_pipeline.promotion.events import Event
    from ingestion_pipeline.promotion.identity import Ambiguity
    from ingestion_pipeline.promotion.overrides import Override, Retired
    from ingestion_pipeline.promotion.rows import Row
    from ingestion_pipeline.staging.days import Slice

_IDS = uuid.UUID("5f2b1f5c-3c53-4c0e-9e7f-0d6c5e0f6a4b")
"""The namespace of place ids."""


class Change(NamedTuple):
    """One place whose row changes.

    Attributes:
        before: Its public row; None if it was not public.
        after: Its row after the promotion; None if it ends.
        events: The events that lead from one to the other.
    """

    before: Row | None
    after: Row | None
    events: Sequence[Event]

    @property
    def row(self) -> Row:
        """The row that names the place: that after, or else the one before."""
        row = self.after or self.before
        assert row is not None
        return row


class Difference(NamedTuple):
    """What a promotion would change.

    Attributes:
        changes: The places whose rows change, by ref.
        ambiguous: What a person may look at: features that could be one place in several ways.
        retired: Overrides that have done their work.
    """

    changes: Sequence[Change]
    ambiguous: Sequence[Ambiguity]
    retired: Sequence[Retired]

    @property
    def events(self) -> list[Event]:
        """All events in their order."""
        return [event for change in self.changes for event in change.events]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a difference depends on besides the staged day and the public table.

    Attributes:
        promotion_id: The promotion that the rows belong to.
        overrides: Those in force in the city, by `poi_id`.
        matcher: What decides what is one place.
        reserve: Returns the last rows of places that went within the memory.
        boundaries: The boundary of the base and that of the day.
        rules: The rules version of the base and that of the day.
    """

    promotion_id: str
    overrides: Mapping[str, Sequence[Override]]
    matcher: Matcher
    reserve: Callable[[], Sequence[Row]]
    boundaries: tuple[str, str]
    rules: tuple[str, str]


def difference(connection: sa.Connection, target: Slice, compared: Comparison) -> Difference:
    """Return the difference of a staged day from the public table.

    Args:
        connection: In a transaction that holds the city's promotions.
        target: The staged day.
        compared: What else it depends on.
    """
    rejected = cache(lambda: _rejected(connection, target))
    staged, public = _residue(connection, target, compared)
    twins = compared.matcher.twins([place_of(staged[ref]) for ref in sorted(staged)])
    found = continuity_of(
        groups_of(staged, twins),
        public,
        compared.reserve,
        staged=staged,
        matcher=compared.matcher,
        new_id=lambda ref: str(uuid.uuid5(_IDS, f"{compared.promotion_id}|{target.source}|{ref}")),
        ended=lambda row: _ended(row, compared.boundaries, rejected()),
    )
    changes: list[Change] = []
    retired: list[Retired] = []
    for continuation in found.continuations:
        change, done = _change(continuation, target, staged, compared)
        retired += done
        if change.events:
            changes.append(change)
    changes.sort(key=lambda change: (change.row["source_ref"], change.row["poi_id"]))
    return Difference(changes, found.ambiguous, sorted(retired))


def _residue(
    connection: sa.Connection, target: Slice, compared: Comparison
) -> tuple[dict[str, Row], dict[str, Row]]:
    """Return the features of the day and the public places that may differ.

    Returns:
        Rows of staging by `source_ref`, and public rows by `poi_id`. They are complete: a feature
        that could be a twin of one of them, and the place of each of them, is among them.
    """
    day = _heads(connection, target)
    owners, special = _owners(connection, target)
    if owners.num_rows == 0:
        return _staged_rows(connection, target, None), {}
    new = _not_in(day, owners)
    old = _not_in(owners, day)
    poi_ids = set(_texts(old, "poi_id")) | _with_due_overrides(
        connection, target, special, compared.overrides
    )
    nearby = Nearby(connection, target)
    owner_of = _Lookup(owners.column("source_ref"), owners.column("poi_id"))
    is_staged = _Lookup(day.column("source_ref"), day.column("source_ref"))
    public = rows_of(connection, poi_ids)
    wanted = set(_texts(new, "source_ref"))
    staged: dict[str, Row] = {}
    while True:
        wanted |= {ref for row in public.values() for ref in refs_of(row)}
        missing = sorted(set(is_staged.of(sorted(wanted - staged.keys()))))
        if not missing:
            return staged, public
        some = _staged_rows(connection, target, missing)
        staged |= some
        wanted |= nearby.could_be_twins(some.values())
        owning = set(owner_of.of(sorted(wanted))) - public.keys()
        public |= rows_of(connection, owning)


class _Lookup:
    """Values by key, as columns: a city has a hundred thousand, and few are looked up."""

    def __init__(self, keys: Any, values: Any) -> None:
        self._keys, self._values = keys, values

    def of(self, keys: Sequence[str]) -> list[str]:
        """Return the values of the keys that have one."""
        import pyarrow.compute as pc

        from ingestion_pipeline.columns.arrow import texts

        places: Any = pc.drop_null(pc.index_in(texts(keys), self._keys))
        return list(self._values.take(places).to_pylist())


def _texts(table: pa.Table, column: str) -> list[str]:
    values: Any = table.column(column).to_pylist()
    return list(values)


def _heads(connection: sa.Connection, target: Slice) -> pa.Table:
    """Return `source_ref` and `content_hash` of the day's features."""
    table = target.table
    return fetch(
        connection,
        sa.select(table.c.source_ref, table.c.content_hash).where(
            *in_history(target), *valid_on(table, target.day)
        ),
    )


def _owners(connection: sa.Connection, target: Slice) -> tuple[pa.Table, list[str]]:
    """Return the refs of public places, and the places with a twin or an override.

    Returns:
        `source_ref`, `content_hash` and `poi_id` of all refs, and the ids of those places.
    """
    import pyarrow as pa

    from ingestion_pipeline.columns.arrow import texts

    is_special = sa.or_(
        *(sa.cast(poi.c[name], sa.Text) != "{}" for name in ("other_refs", "overrides"))
    )
    own = fetch(
        connection,
        sa.select(
            poi.c.source_ref,
            poi.c.content_hash,
            poi.c.poi_id,
            sa.case((is_special, 1), else_=0).label("is_special"),
        ).where(poi.c.city_slug == target.city_slug, poi.c.source == target.source),
    )
    flags: Any = own.column("is_special").cast(pa.bool_())
    special = _texts(own.filter(flags), "poi_id")
    own = own.drop_columns(["is_special"])
    twins = [
        (ref, content_hash, poi_id)
        for start in range(0, len(special), CHUNK)
        for poi_id, others in connection.execute(
            sa.select(poi.c.poi_id, poi.c.other_refs).where(
                poi.c.poi_id.in_(special[start : start + CHUNK])
            )
        )
        for ref, content_hash in others.items()
    ]
    if not twins:
        return own, special
    columns = [texts(list(column)) for column in zip(*twins, strict=True)]
    added = pa.table(dict(zip(own.column_names, columns, strict=True)))
    return pa.concat_tables([own, added]), special


def _not_in(rows: pa.Table, others: pa.Table) -> pa.Table:
    """Return the rows whose ref and content the others do not have."""
    import pyarrow.compute as pc

    place: Any = pc.index_in(rows.column("source_ref"), others.column("source_ref"))
    same: Any = pc.equal(rows.column("content_hash"), others.column("content_hash").take(place))
    # combine_chunks: without any chunk, pyarrow up to 25 reads out of bounds.
    differs: Any = pc.invert(pc.fill_null(same, False)).combine_chunks()
    return rows.filter(differs)


def _with_due_overrides(
    connection: sa.Connection,
    target: Slice,
    special: Sequence[str],
    overrides: Mapping[str, Sequence[Override]],
) -> set[str]:
    """Return the places whose public rows do not show the overrides in force."""
    shown = {
        poi_id
        for start in range(0, len(special), CHUNK)
        for poi_id in connection.execute(
            sa.select(poi.c.poi_id).where(
                poi.c.poi_id.in_(special[start : start + CHUNK]),
                sa.cast(poi.c.overrides, sa.Text) != "{}",
            )
        ).scalars()
    }
    return {
        poi_id
        for poi_id, row in rows_of(connection, shown | overrides.keys()).items()
        if row["source"] == target.source
        and (is_due(row, overrides.get(poi_id, ()), target.day) or _may_retire(row, overrides))
    }


def _may_retire(row: Row, overrides: Mapping[str, Sequence[Override]]) -> bool:
    return any(
        row["overrides"].get(each.column, {}).get("upstream") == each.value
        for each in overrides.get(row["poi_id"], ())
    )


def _rejected(connection: sa.Connection, target: Slice) -> dict[str, str]:
    """Return why objects of the day could not be staged, by ref."""
    columns = ingestion_rejection.c
    rows = connection.execute(
        sa.select(columns.source_ref, columns.reason).where(
            columns.city_slug == target.city_slug,
            columns.dataset == target.dataset,
            columns.source == target.source,
            columns.day == target.day,
        )
    )
    return {row.source_ref: row.reason for row in rows}


def _staged_rows(
    connection: sa.Connection, target: Slice, refs: Sequence[str] | None
) -> dict[str, Row]:
    """Return the day's features by `source_ref`: those of the refs, or all."""
    table = target.table
    query = sa.select(*(table.c[name] for name in STAGED)).where(
        *in_history(target), *valid_on(table, target.day)
    )
    chosen: Iterable[sa.Select[Any]] = (
        [query]
        if refs is None
        else (
            query.where(table.c.source_ref.in_(refs[start : start + CHUNK]))
            for start in range(0, len(refs), CHUNK)
        )
    )
    return {
        row["source_ref"]: dict(row)
        for each in chosen
        for row in connection.execute(each).mappings()
    }


def _change(
    continuation: Continuation, target: Slice, staged: Mapping[str, Row], compared: Comparison
) -> tuple[Change, list[Retired]]:
    """Return the change of a place, without events if its row stays as it is."""
    poi_id, before, group, reason, last = continuation
    if group is None:
        return Change(before, None, events_of(before, None, reason)), []
    twin = None if group.twin is None else staged[group.twin]
    content = joined(staged[group.ref], twin)
    row = content | {
        "poi_id": poi_id,
        "other_refs": {} if twin is None else {twin["source_ref"]: twin["content_hash"]},
        "hidden": False,
        "overrides": {},
    }
    row, retired = applied(row, compared.overrides.get(poi_id, ()), target.day)
    first = before or last
    row["first_promoted"] = target.day if first is None else first["first_promoted"]
    if before is not None:
        as_before = row | {name: before[name] for name in ("last_changed", "promotion_id")}
        if as_before == before:
            return Change(before, before, []), retired
    row |= {"last_changed": target.day, "promotion_id": compared.promotion_id}
    reason = reason._replace(rules=compared.rules)
    return Change(before, row, events_of(before, row, reason)), retired


def _ended(row: Row, boundaries: tuple[str, str], rejected: Mapping[str, str]) -> Reason:
    """Return why a place ends: upstream removed it, or the city's boundary changed.

    Args:
        row: The public row.
        boundaries: The boundary of the base and that of the day.
        rejected: Why objects of the day could not be staged, by ref.
    """
    if row["source_ref"] in rejected:
        # It is still mapped in the city.
        return Reason("disappeared", {"rejected": rejected[row["source_ref"]]})
    before, after = boundaries
    if before == after or _is_inside(row, after):
        return Reason("disappeared")
    return Reason("left_area", {"boundary_ref": [before, after]})


def _is_inside(row: Row, boundary_ref: str) -> bool:
    """Return whether a place is inside a bbox; False for other boundaries, which have no shape."""
    kind, _, numbers = boundary_ref.partition(":")
    if kind != "bbox":
        return False
    west, south, east, north = map(float, numbers.split(","))
    return bool(west <= row["lon"] <= east and south <= row["lat"] <= north)
