"""Replacement of slices. `replace_slices` is the only writer of staged rows.

A row is one version of one feature, valid in [valid_from, valid_to).
docs/adr/007-versioned-staging.md explains the algorithm and its invariants. In short, let D be the
day, and F the next later staged day of the same city, dataset and source. For every feature whose
content at D changes, [D, F) is removed from the version that covers D, and the new content is
inserted there. It is merged with an equal version that ends at D, and with an equal one that begins
at F. So versions stay maximal, and all other staged days keep their rows. `plan` implements the
algorithm on plain values; the rest of the module applies it to the database.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ingestion_pipeline.columns.hashing import canonical_json
from ingestion_pipeline.staging import geopackage, runs
from ingestion_pipeline.staging.bulk import chunks, fetch, first_load, is_empty, load
from ingestion_pipeline.staging.database import is_geopackage, read_transaction, write_transaction
from ingestion_pipeline.staging.days import (
    Slice,
    count_rows,
    in_history,
    in_slices,
    of_slice,
    staged_day,
)
from ingestion_pipeline.staging.errors import BadRows
from ingestion_pipeline.staging.outcomes import counts_of_run
from ingestion_pipeline.staging.tables import (
    VIEWS,
    content_columns,
    ingestion_rejection,
    staged_partition,
)
from ingestion_pipeline.staging.views import valid_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime

    import pyarrow as pa

    from ingestion_pipeline.core.evidence import SliceEvidence
    from ingestion_pipeline.core.rejection import Rejection
    from ingestion_pipeline.staging.runs import Claim


_CHECK_RESULT_FIELDS = frozenset({"accepted_reason", "warnings", "coverage"})
"""Columns with the results of checks; no row depends on them."""


@dataclass(frozen=True)
class SliceInput:
    """The new content of a slice.

    Attributes:
        target: The slice.
        rows: `source_ref`, `source_hash`, `content_hash` (see `hashing.with_content_hash`) and
            every content column of the slice's table; WKB for geometries, canonical JSON text for
            JSON columns.
        rejections: Objects that were selected and could not be parsed.
        evidence: The time and origin of the rows.
    """

    target: Slice
    rows: pa.Table
    rejections: Sequence[Rejection]
    evidence: SliceEvidence


@dataclass(frozen=True)
class SliceResult:
    """Counts of a staged slice.

    Attributes:
        rows: Features of the day.
        added: Features that the previous staged day did not have.
        changed: Features that the previous staged day had with other content.
        removed: Features of the previous staged day that this day does not have.
        rejected: Objects that could not be parsed.
        written: Rows of the version table that this call inserted, changed or deleted; 0 where the
            day was already staged from equal rows.
    """

    rows: int
    added: int
    changed: int
    removed: int
    rejected: int
    written: int

    def counts(self) -> dict[str, int]:
        """Return the counts by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Version:
    """The columns of a version that the algorithm uses."""

    id: int
    source_ref: str
    content_hash: str
    valid_from: date
    valid_to: date | None


@dataclass
class Plan:
    """Changes of rows, to apply in the order of the fields."""

    delete: list[int] = field(default_factory=list)
    copy_from: list[int] = field(default_factory=list)
    """Versions whose remainder, from F on, becomes a separate row."""
    move_start: dict[date, list[int]] = field(default_factory=lambda: defaultdict(list))
    move_end: dict[date | None, list[int]] = field(default_factory=lambda: defaultdict(list))
    insert: list[int] = field(default_factory=list)
    """Positions of the new rows that become new versions, [D, F)."""

    def cut(self, version: Version, day: date, following: date | None) -> None:
        """Remove [D, F) from a version that covers D."""
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
        """Return the number of rows that change."""
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
    """Return the changes that make a day equal to its new rows.

    Args:
        day: D, the day to stage.
        following: F, the next later staged day, or None.
        new: (source_ref, content_hash) of every new row.
        covering: The versions that are valid on D.
        ending: The versions that end at D.
        beginning: The versions that begin at F; none if F is None.

    Returns:
        The plan; empty if nothing changes.
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


def replace_slices(
    engine: sa.Engine,
    slices: Sequence[SliceInput],
    *,
    claim: Claim,
    now: datetime,
    failed: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[Slice, SliceResult]:
    """Replace a day's slices with their new rows and set its run to SUCCEEDED, in one transaction.

    Days may be staged in any order and repeatedly; equal rows write nothing to the version table.
    The ledger gets the total counts, the oldest `as_of`, and for several sources the counts by
    source (`sources`) and the failed sources (`failed`); see `outcomes.py`.

    Args:
        engine: The database.
        slices: The new content of one or more sources of one city, dataset and day.
        claim: The run's claim, which is checked under a lock.
        now: The current moment.
        failed: The reasons of sources that failed, for the ledger.

    Returns:
        Counts by slice.

    Raises:
        BadRows: A column is missing or unknown, a feature occurs twice, or the slices are not
            different sources of one city, dataset and day.
        ClaimLost: The run's key was taken over; nothing was written.
        CancelRequested: Cancellation was requested; nothing was written.
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    _require_one_day([each.target for each in slices])
    for each in slices:
        _require_good_rows(each.target, each.rows)
    table = slices[0].target.table
    with read_transaction(engine) as connection:
        is_first = is_empty(connection, table)
    with write_transaction(engine) as connection:
        runs.fence(connection, claim)
        _lock_histories(connection, [each.target for each in slices])
        with first_load(connection, table) if is_first else nullcontext():
            results = {
                each.target: _replace(connection, each, run_id=claim.run_id, now=now)
                for each in slices
            }
        if is_geopackage(connection) and any(result.written for result in results.values()):
            geopackage.refresh_contents(
                connection,
                table,
                views=VIEWS[slices[0].target.dataset].layers,
                now=now,
            )
        evidence = {each.target: each.evidence for each in slices}
        _succeed(connection, claim, results, evidence, now=now, failed=failed)
    return results


def confirm_slices(
    engine: sa.Engine,
    slices: Mapping[Slice, SliceEvidence],
    *,
    claim: Claim,
    now: datetime,
    failed: Mapping[str, str] = MappingProxyType({}),
) -> Mapping[Slice, SliceResult] | None:
    """Set the run to SUCCEEDED without comparing rows if all slices were staged from equal inputs.

    Args:
        engine: The database.
        slices: The evidence of the rows to stage, by slice: one or more sources of one city,
            dataset and day.
        claim: The run's claim.
        now: The current moment.
        failed: As for `replace_slices`.

    Returns:
        Counts by slice; None if the rows must be compared.

    Raises:
        BadRows: The slices are not different sources of one city, dataset and day.
        ClaimLost: The run's key was taken over; nothing was written.
        CancelRequested: Cancellation was requested; nothing was written.
        DatabaseUnavailable: The database cannot be reached, or the connection broke.
    """
    _require_one_day(list(slices))
    with write_transaction(engine) as connection:
        runs.fence(connection, claim)
        _lock_histories(connection, slices)
        results: dict[Slice, SliceResult] = {}
        for target, evidence in slices.items():
            staged = staged_day(connection, target)
            if staged is None or not is_staged_from(staged, evidence):
                return None
            # If the table was edited by hand, write its rows again.
            if count_rows(connection, target) != staged["rows"]:
                return None
            names = ("rows", "added", "changed", "removed", "rejected")
            results[target] = SliceResult(**{name: staged[name] for name in names}, written=0)
        _succeed(connection, claim, results, slices, now=now, failed=failed)
    return results


def is_staged_from(staged: sa.RowMapping, evidence: SliceEvidence) -> bool:
    """Return whether a day was staged from equal evidence, apart from the results of checks."""
    return all(
        staged[name] == value
        for name, value in vars(evidence).items()
        if name not in _CHECK_RESULT_FIELDS
    )


def _require_one_day(targets: Sequence[Slice]) -> None:
    """Require different sources of one city, dataset and day."""
    days = {replace(target, source="") for target in targets}
    if len(days) != 1 or len(set(targets)) != len(targets):
        raise BadRows(
            f"Cannot stage {', '.join(map(str, targets)) or 'no slice'} together. One run stages "
            "different sources of one city, dataset and day."
        )


def _succeed(
    connection: sa.Connection,
    claim: Claim,
    results: Mapping[Slice, SliceResult],
    evidence: Mapping[Slice, SliceEvidence],
    *,
    now: datetime,
    failed: Mapping[str, str],
) -> None:
    """End the run with the counts of all its slices and the failed sources."""
    counts = counts_of_run(
        {target.source: result.counts() for target, result in results.items()},
        stale={target.source for target, each in evidence.items() if each.stale_reason},
        failed=failed,
    )
    oldest = min(each.as_of for each in evidence.values())
    runs.succeed(connection, claim, as_of=oldest, counts=counts, now=now)


def _replace(
    connection: sa.Connection, slice_: SliceInput, *, run_id: str, now: datetime
) -> SliceResult:
    """Replace one slice with its new rows, and record it in `staged_partition`."""
    target = slice_.target
    following = _following_day(connection, target)
    work = _plan(connection, target, slice_.rows, following)
    _carry_out(connection, target, work, slice_.rows, following)
    _replace_rejections(connection, target, slice_.rejections)
    counts = _record_day(
        connection,
        target,
        evidence=slice_.evidence,
        rows=slice_.rows.num_rows,
        rejected=len(slice_.rejections),
        run_id=run_id,
        now=now,
    )
    if following is not None:
        # The counts of the following day are now relative to this day.
        _recount(connection, replace(target, day=following))
    return SliceResult(**counts, written=work.written())


def _require_good_rows(target: Slice, rows: pa.Table) -> None:
    """Require the table's columns, and each feature once."""
    import pyarrow.compute as pc

    expected = {"source_ref", "source_hash", "content_hash", *content_columns(target.table)}
    if set(rows.column_names) != expected or len(rows.column_names) != len(expected):
        raise BadRows(
            f"Rows for {target} have the columns {sorted(rows.column_names)}; {target.table.name} "
            f"needs {sorted(expected)}."
        )
    refs = rows.column("source_ref")
    if pc.count_distinct(refs).as_py() < rows.num_rows:
        times = Counter(map(str, refs.to_pylist()))
        twice = sorted(ref for ref, number in times.items() if number > 1)
        raise BadRows(
            f"Rows for {target} contain {len(twice)} features more than once, such as "
            f"{', '.join(twice[:5])}. The reader must merge them."
        )


def _lock_histories(connection: sa.Connection, targets: Iterable[Slice]) -> None:
    """Lock the histories of a city's sources: concurrent days would cut the same versions.

    A GeoPackage needs no lock: the write transaction locks the file.
    """
    if is_geopackage(connection):
        return
    # Sorted, to avoid deadlocks.
    for name in sorted(f"{each.city_slug}|{each.dataset}|{each.source}" for each in targets):
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


def _plan(connection: sa.Connection, target: Slice, rows: pa.Table, following: date | None) -> Plan:
    """Plan the changes; only rows that differ become Python objects."""
    import pyarrow as pa

    table = target.table
    new = rows.select(["source_ref", "content_hash"])
    covering = _versions(connection, target, *valid_on(table, target.day))
    positions = _not_in(new, covering)
    changed = new.take(positions)
    covering = covering.take(_not_in(covering, new))
    if not (changed.num_rows or covering.num_rows):
        return Plan()
    ending = _versions(connection, target, table.c.valid_to == target.day)
    if following is None and not (covering.num_rows or ending.num_rows):
        return Plan(insert=positions.to_pylist())  # usually a city's first day
    work = plan(
        day=target.day,
        following=following,
        new=list(zip(*changed.to_pydict().values(), strict=True)),
        covering=_as_versions(covering),
        ending=_as_versions(ending),
        beginning=_as_versions(_versions(connection, target, table.c.valid_from == following))
        if following
        else (),
    )
    return replace(work, insert=positions.take(pa.array(work.insert, pa.int64())).to_pylist())


def _not_in(rows: pa.Table, others: pa.Table) -> Any:
    """Return the positions of rows whose feature and content the others do not have."""
    import pyarrow.compute as pc

    place = pc.index_in(rows.column("source_ref"), others.column("source_ref"))
    same: Any = pc.equal(rows.column("content_hash"), others.column("content_hash").take(place))
    # combine_chunks: without any chunk, pyarrow up to 25 reads out of bounds.
    return pc.indices_nonzero(pc.invert(pc.fill_null(same, False)).combine_chunks())


def _versions(connection: sa.Connection, target: Slice, *where: sa.ColumnElement[bool]) -> pa.Table:
    """Return versions of a slice's history, with the columns of `Version`."""
    columns = (target.table.c[each.name] for each in fields(Version))
    return fetch(connection, sa.select(*columns).where(*in_history(target), *where))


def _as_versions(rows: pa.Table) -> list[Version]:
    return [Version(**row) for row in rows.to_pylist()]


def _carry_out(
    connection: sa.Connection,
    target: Slice,
    work: Plan,
    rows: pa.Table,
    following: date | None,
) -> None:
    """Apply the plan; its order keeps (source_ref, valid_from) unique at every step."""
    table = target.table
    for ids in chunks(work.delete):
        connection.execute(sa.delete(table).where(table.c.id.in_(ids)))
    if work.copy_from:
        _copy_remainders(connection, table.name, work.copy_from, following)
    for start, moved in work.move_start.items():
        for ids in chunks(moved):
            connection.execute(sa.update(table).where(table.c.id.in_(ids)).values(valid_from=start))
    for end, moved in work.move_end.items():
        for ids in chunks(moved):
            connection.execute(sa.update(table).where(table.c.id.in_(ids)).values(valid_to=end))
    if work.insert:
        load(connection, table, _as_first_versions(target, rows, work.insert, following))


def _copy_remainders(
    connection: sa.Connection, name: str, ids: Sequence[int], following: date | None
) -> None:
    """Copy versions whose remainder begins on a day, with columns of a newer release too."""
    every = connection.exec_driver_sql(f"SELECT * FROM {name} LIMIT 0").keys()  # noqa: S608 - ours
    kept = [column for column in every if column not in ("id", "valid_from")]
    table = sa.table(name, sa.column("id"), sa.column("valid_from"), *map(sa.column, kept))
    for some in chunks(ids):
        remainder = sa.select(
            sa.literal(following, sa.Date), *(table.c[column] for column in kept)
        ).where(table.c.id.in_(some))
        connection.execute(sa.insert(table).from_select(["valid_from", *kept], remainder))


def _as_first_versions(
    target: Slice, rows: pa.Table, positions: Sequence[int], following: date | None
) -> pa.Table:
    """Return the rows at these positions, with the columns of new versions."""
    import pyarrow as pa

    if len(positions) < rows.num_rows:
        rows = rows.take(pa.array(positions))
    same: dict[str, Any] = {
        "city_slug": pa.scalar(target.city_slug),
        "source": pa.scalar(target.source),
        "valid_from": pa.scalar(target.day),
        "valid_to": pa.scalar(following, pa.date32()),
    }
    for name, value in same.items():
        rows = rows.append_column(name, pa.repeat(value, rows.num_rows))
    return rows


def _replace_rejections(
    connection: sa.Connection, target: Slice, rejections: Sequence[Rejection]
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
    """Write the slice's row of `staged_partition`, unless it is equal already."""
    counts = {
        "rows": rows,
        **_differences(connection, target),
        "rejected": rejected,
    }
    row = {**vars(evidence), **counts}
    existing = staged_day(connection, target)
    if existing is None:
        connection.execute(
            sa.insert(staged_partition).values(**vars(target), **row, run_id=run_id, staged_at=now)
        )
    elif any(existing[name] != value for name, value in row.items()):
        connection.execute(
            sa.update(staged_partition)
            .where(*of_slice(staged_partition, target))
            .values(**row, run_id=run_id, staged_at=now)
        )
    return counts


def _recount(connection: sa.Connection, target: Slice) -> None:
    connection.execute(
        sa.update(staged_partition)
        .where(*of_slice(staged_partition, target))
        .values(**_differences(connection, target))
    )


def _differences(connection: sa.Connection, target: Slice) -> dict[str, int]:
    """Count what a staged day added, changed and removed since the staged day before it.

    Versions begin and end only on staged days, so the rows that begin or end on the day suffice.
    """
    table, day = target.table, target.day
    begun, ended = table.alias("begun"), table.alias("ended")
    both = sa.union_all(
        sa.select(begun.c.source_ref, sa.literal(1).label("begins")).where(
            *in_history(target, begun), begun.c.valid_from == day
        ),
        sa.select(ended.c.source_ref, sa.literal(0)).where(
            *in_history(target, ended), ended.c.valid_to == day
        ),
    ).subquery()
    # Grouped and not joined: PostgreSQL has no statistics of rows that this transaction wrote, and
    # would compare each with each.
    is_new = sa.func.max(both.c.begins)
    was_there = 1 - sa.func.min(both.c.begins)
    refs = sa.select(is_new.label("new"), was_there.label("old")).group_by(both.c.source_ref)
    each = refs.subquery().c
    new, old, changed = connection.execute(
        sa.select(
            *(
                sa.func.coalesce(sa.func.sum(number), 0)
                for number in (each.new, each.old, each.new * each.old)
            )
        )
    ).one()
    return {"added": new - changed, "changed": changed, "removed": old - changed}
