"""Slices: making what is staged for a day equal to what was read for it.

Belongs here: `replace_slice`, the only writer of staged rows. Does not belong here: reading a day
back (`days.py`), what a row holds (`tables.py`), and who may write (`runs.py`).

A row is one version of one feature, valid in [valid_from, valid_to). The algorithm and its
invariants are told in docs/adr/007-versioned-staging.md. In short, for the day D, with F the next
later staged day of the same city, dataset and source: every feature whose content at D changes has
the version that covers D cut out of [D, F), and the new content put there, joined with an equal
version that ends at D and with an equal one that begins at F. So versions stay maximal, and every
other staged day still reads as it did. `plan` is that algorithm, on plain values; the rest of the
module is how it reaches the database.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.hashing import canonical_json, row_hashes
from ingestion_pipeline.staging import geopackage, runs
from ingestion_pipeline.staging.bulk import chunks, load
from ingestion_pipeline.staging.database import is_geopackage, write_transaction
from ingestion_pipeline.staging.days import (
    Slice,
    count_rows,
    in_history,
    in_slices,
    of_slice,
    staged_day,
    valid_on,
)
from ingestion_pipeline.staging.errors import BadRows
from ingestion_pipeline.staging.tables import (
    content_columns,
    ingestion_rejection,
    staged_partition,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    import pyarrow as pa

    from ingestion_pipeline.staging.runs import Claim


@dataclass(frozen=True)
class SliceEvidence:
    """Of what time a slice's data is and where it is from; columns of `staged_partition`."""

    boundary_ref: str
    as_of: datetime
    as_of_source: str
    obtained: str
    location: str
    digest: str
    rules_version: str
    licence: str
    attribution: str
    inputs_digest: str
    """Of everything that the rows were computed from, the code included."""
    accepted_reason: str | None = None
    """Why an operator accepted the day though a check had stopped it."""


@dataclass(frozen=True)
class RejectedObject:
    """An object that was selected and could not be understood; columns of `ingestion_rejection`."""

    source_ref: str
    reason: str
    detail: str
    raw: dict[str, Any]


@dataclass(frozen=True)
class SliceResult:
    """What `replace_slice` found and did.

    Attributes:
        rows: Features that the day now has.
        added: Of these, how many the previous staged day did not have.
        changed: Of these, how many the previous staged day had with other content.
        removed: How many features of the previous staged day this day does not have.
        rejected: Objects that could not be understood.
        written: Rows of the version table that were inserted, changed or deleted by this call; 0
            when the day was already staged from equal rows.
    """

    rows: int
    added: int
    changed: int
    removed: int
    rejected: int
    written: int

    def counts(self) -> dict[str, int]:
        """Give the counts by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Version:
    """A row of the version table, as far as the algorithm looks at it."""

    id: int
    source_ref: str
    content_hash: str
    valid_from: date
    valid_to: date | None


@dataclass
class Plan:
    """Which rows change, and how. The steps are to be carried out in the order of the fields."""

    delete: list[int] = field(default_factory=list)
    copy_from: list[int] = field(default_factory=list)
    """Versions whose rest, from F on, becomes a row of its own."""
    move_start: dict[date, list[int]] = field(default_factory=lambda: defaultdict(list))
    move_end: dict[date | None, list[int]] = field(default_factory=lambda: defaultdict(list))
    insert: list[int] = field(default_factory=list)
    """Positions of the new rows that become versions of their own, [D, F)."""

    def cut(self, version: Version, day: date, following: date | None) -> None:
        """Take [D, F) out of a version that covers D."""
        goes_on = following is not None and (
            version.valid_to is None or version.valid_to > following
        )
        if version.valid_from < day:
            if goes_on:
                self.copy_from.append(version.id)
            self.move_end[day].append(version.id)
        elif goes_on:
            assert following is not None
            self.move_start[following].append(version.id)
        else:
            self.delete.append(version.id)

    def written(self) -> int:
        """Count the rows that are touched."""
        moved = {i for ids in (*self.move_start.values(), *self.move_end.values()) for i in ids}
        return len(self.delete) + len(self.copy_from) + len(moved) + len(self.insert)


def plan(
    *,
    day: date,
    following: date | None,
    new: Sequence[tuple[str, str]],
    covering: Iterable[Version],
    ending: Iterable[Version],
    beginning: Iterable[Version],
) -> Plan:
    """Work out how a day becomes equal to its new rows.

    Args:
        day: D, the day that is staged.
        following: F, the next later staged day, or None.
        new: (source_ref, content_hash) of every new row.
        covering: The versions that are valid on D.
        ending: The versions that end at D.
        beginning: The versions that begin at F; none where F is None.

    Returns:
        The plan; empty where nothing changes.
    """
    result = Plan()
    old = {version.source_ref: version for version in covering}
    left = {(version.source_ref, version.content_hash): version for version in ending}
    right = {(version.source_ref, version.content_hash): version for version in beginning}

    for position, (source_ref, content_hash) in enumerate(new):
        covered = old.pop(source_ref, None)
        if covered is not None:
            if covered.content_hash == content_hash:
                continue
            result.cut(covered, day, following)
        before = left.get((source_ref, content_hash))
        after = right.get((source_ref, content_hash))
        if before is not None and after is not None:
            result.delete.append(after.id)
            result.move_end[after.valid_to].append(before.id)
        elif before is not None:
            result.move_end[following].append(before.id)
        elif after is not None:
            result.move_start[day].append(after.id)
        else:
            result.insert.append(position)
    for gone in old.values():
        result.cut(gone, day, following)
    return result


def replace_slice(
    engine: sa.Engine,
    target: Slice,
    rows: pa.Table,
    *,
    rejections: Sequence[RejectedObject],
    evidence: SliceEvidence,
    claim: Claim,
    now: datetime,
) -> SliceResult:
    """Make a day's slice equal to `rows` and its run SUCCEEDED, in one transaction, or neither.

    Days may be staged in any order and as often as one likes; equal rows write nothing to the
    version table.

    Args:
        engine: The database.
        target: Which slice.
        rows: `source_ref`, `source_hash` and every content column of the slice's table; WKB for
            geometries, canonical JSON text for JSON columns.
        rejections: What was selected and could not be understood.
        evidence: Of what time the rows are, and where they are from.
        claim: The run's right to write, which is checked under a lock.
        now: The current moment.

    Raises:
        BadRows: A column is missing or unknown, or a feature occurs twice.
        ClaimLost: The run's key was taken over; nothing was written.
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    columns = _checked_columns(target, rows)
    with write_transaction(engine) as connection:
        runs.fence(connection, claim)
        _lock_history(connection, target)
        following = _following_day(connection, target)
        work = plan(
            day=target.day,
            following=following,
            new=list(zip(columns["source_ref"], columns["content_hash"], strict=True)),
            covering=_versions(connection, target, covering=target.day),
            ending=_versions(connection, target, valid_to=target.day),
            beginning=_versions(connection, target, valid_from=following) if following else (),
        )
        _carry_out(connection, target, work, columns, following)
        _replace_rejections(connection, target, rejections)
        counts = _record_day(
            connection,
            target,
            evidence=evidence,
            rows=rows.num_rows,
            rejected=len(rejections),
            run_id=claim.run_id,
            now=now,
        )
        if following is not None:
            # What the following day added, changed and removed is told against this day now.
            _recount(connection, replace(target, day=following))
        written = work.written()
        if written and is_geopackage(connection):
            geopackage.refresh_contents(connection, target.table, now=now)
        result = SliceResult(**counts, written=written)
        runs.succeed(connection, claim, as_of=evidence.as_of, counts=result.counts(), now=now)
    return result


def confirm_slice(
    engine: sa.Engine, target: Slice, *, evidence: SliceEvidence, claim: Claim, now: datetime
) -> SliceResult | None:
    """Make the run SUCCEEDED without looking at any row, if the day was staged from equal inputs.

    Args:
        engine: The database.
        target: Which slice.
        evidence: Of the rows that would be staged.
        claim: The run's right to write.
        now: The current moment.

    Returns:
        What is staged; None where rows have to be compared.

    Raises:
        ClaimLost: The run's key was taken over; nothing was written.
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    with write_transaction(engine) as connection:
        runs.fence(connection, claim)
        _lock_history(connection, target)
        staged = staged_day(connection, target)
        if staged is None or not is_staged_from(staged, evidence):
            return None
        # Somebody may have put a hand to the table; then its rows are written again.
        if count_rows(connection, target) != staged["rows"]:
            return None
        names = ("rows", "added", "changed", "removed", "rejected")
        result = SliceResult(**{name: staged[name] for name in names}, written=0)
        runs.succeed(connection, claim, as_of=evidence.as_of, counts=result.counts(), now=now)
    return result


def is_staged_from(staged: sa.RowMapping, evidence: SliceEvidence) -> bool:
    """Tell whether a day's row of `staged_partition` was written for the very same evidence.

    Why it was accepted is no part of that: a day that was accepted once is staged, whoever asks.
    """
    return all(
        staged[name] == value for name, value in vars(evidence).items() if name != "accepted_reason"
    )


def _checked_columns(target: Slice, rows: pa.Table) -> dict[str, list[Any]]:
    """Take the rows apart into plain columns, with their content's hash."""
    import pyarrow as pa

    content = content_columns(target.table)
    expected = {"source_ref", "source_hash", *content}
    if set(rows.column_names) != expected or len(rows.column_names) != len(expected):
        raise BadRows(
            f"rows for {target} have columns {sorted(rows.column_names)}; {target.table.name} "
            f"takes {sorted(expected)}"
        )
    columns: dict[str, list[Any]] = {
        name: rows.column(name).to_pylist() for name in rows.column_names
    }
    twice = [ref for ref, times in Counter(columns["source_ref"]).items() if times > 1]
    if twice:
        raise BadRows(
            f"rows for {target} name {len(twice)} features more than once, such as "
            f"{', '.join(sorted(twice)[:5])}; the reader must merge them"
        )
    hashed = {
        # A moment's repr depends on the time zone library; its number, in one unit, does not.
        name: rows.column(name).cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
        if pa.types.is_timestamp(rows.column(name).type)
        else columns[name]
        for name in content
    }
    columns["content_hash"] = row_hashes([hashed[name] for name in content])
    return columns


def _lock_history(connection: sa.Connection, target: Slice) -> None:
    """Let one writer at a time work on the history of a city's source.

    Staging two days at once would cut the same versions. A GeoPackage needs no lock: the write
    transaction holds the whole file.
    """
    if not is_geopackage(connection):
        name = f"{target.city_slug}|{target.dataset}|{target.source}"
        connection.execute(
            sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(name, 0)))
        )


def _following_day(connection: sa.Connection, target: Slice) -> date | None:
    day: date | None = connection.execute(
        sa.select(sa.func.min(staged_partition.c.day)).where(
            *in_slices(staged_partition, target), staged_partition.c.day > target.day
        )
    ).scalar_one()
    return day


def _versions(
    connection: sa.Connection,
    target: Slice,
    *,
    covering: date | None = None,
    valid_from: date | None = None,
    valid_to: date | None = None,
) -> list[Version]:
    table = target.table
    where = in_history(target)
    if covering is not None:
        where += valid_on(table, covering)
    if valid_from is not None:
        where += (table.c.valid_from == valid_from,)
    if valid_to is not None:
        where += (table.c.valid_to == valid_to,)
    query = sa.select(
        table.c.id, table.c.source_ref, table.c.content_hash, table.c.valid_from, table.c.valid_to
    ).where(*where)
    return [Version(*row) for row in connection.execute(query)]


def _carry_out(
    connection: sa.Connection,
    target: Slice,
    work: Plan,
    columns: Mapping[str, Sequence[Any]],
    following: date | None,
) -> None:
    """Write the plan; its order keeps (source_ref, valid_from) unique at every step."""
    table = target.table
    for ids in chunks(work.delete):
        connection.execute(sa.delete(table).where(table.c.id.in_(ids)))
    copied = [column.name for column in table.columns if column.name not in ("id", "valid_from")]
    for ids in chunks(work.copy_from):
        connection.execute(
            sa.insert(table).from_select(
                ["valid_from", *copied],
                sa.select(
                    sa.literal(following, sa.Date), *(table.c[name] for name in copied)
                ).where(table.c.id.in_(ids)),
            )
        )
    for start, moved in work.move_start.items():
        for ids in chunks(moved):
            connection.execute(sa.update(table).where(table.c.id.in_(ids)).values(valid_from=start))
    for end, moved in work.move_end.items():
        for ids in chunks(moved):
            connection.execute(sa.update(table).where(table.c.id.in_(ids)).values(valid_to=end))
    if work.insert:
        new = {
            name: [values[position] for position in work.insert] for name, values in columns.items()
        }
        same = {
            "city_slug": target.city_slug,
            "source": target.source,
            "valid_from": target.day,
            "valid_to": following,
        }
        for name, value in same.items():
            new[name] = [value] * len(work.insert)
        load(connection, table, new)


def _replace_rejections(
    connection: sa.Connection, target: Slice, rejections: Sequence[RejectedObject]
) -> None:
    table = ingestion_rejection
    here = of_slice(table, target)
    new = {
        (rejected.source_ref, rejected.reason, rejected.detail, canonical_json(rejected.raw))
        for rejected in rejections
    }
    old = {
        (row.source_ref, row.reason, row.detail, canonical_json(row.raw))
        for row in connection.execute(sa.select(table).where(*here))
    }
    if new == old:
        return
    connection.execute(sa.delete(table).where(*here))
    if rejections:
        connection.execute(
            sa.insert(table),
            [vars(target) | vars(rejected) for rejected in rejections],
        )


def _record_day(
    connection: sa.Connection,
    target: Slice,
    *,
    evidence: SliceEvidence,
    rows: int,
    rejected: int,
    run_id: str,
    now: datetime,
) -> dict[str, int]:
    """Write the slice's row of `staged_partition`, unless it says the same already."""
    counts = {
        "rows": rows,
        **_differences(connection, target),
        "rejected": rejected,
    }
    said = {**vars(evidence), **counts}
    existing = staged_day(connection, target)
    if existing is None:
        connection.execute(
            sa.insert(staged_partition).values(**vars(target), **said, run_id=run_id, staged_at=now)
        )
    elif any(existing[name] != value for name, value in said.items()):
        connection.execute(
            sa.update(staged_partition)
            .where(*of_slice(staged_partition, target))
            .values(**said, run_id=run_id, staged_at=now)
        )
    return counts


def _recount(connection: sa.Connection, target: Slice) -> None:
    connection.execute(
        sa.update(staged_partition)
        .where(*of_slice(staged_partition, target))
        .values(**_differences(connection, target))
    )


def _differences(connection: sa.Connection, target: Slice) -> dict[str, int]:
    """Count what a staged day added, changed and removed against the staged day before it.

    Versions begin and end only on staged days, so the rows that begin or end on the day tell it.
    """
    table, day = target.table, target.day
    refs = sa.select(table.c.source_ref).where(*in_history(target))
    begun, ended = refs.where(table.c.valid_from == day), refs.where(table.c.valid_to == day)
    kinds = {
        "added": sa.except_(begun, ended),
        "changed": sa.intersect(begun, ended),
        "removed": sa.except_(ended, begun),
    }
    counts = (
        sa.select(sa.func.count()).select_from(kind.subquery()).scalar_subquery().label(name)
        for name, kind in kinds.items()
    )
    return dict(connection.execute(sa.select(*counts)).mappings().one())
