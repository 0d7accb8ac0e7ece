"""Checks of a city-day in Dagster: their specs, what they look at, and how they are shown.

Belongs here: the way between the plain checks of `quality/` and Dagster's asset checks. Does not
belong here: any verdict (`quality/`), and the check of the whole installation (`coverage.py`).

The checks run inside the asset that stages, before its transaction. Why they are no steps of their
own is told in docs/adr/010-checks.md.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg
import sqlalchemy as sa

from ingestion_pipeline.defs import metadata
from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.work import Work
from ingestion_pipeline.quality.catalogue import Check, checks_of
from ingestion_pipeline.quality.errors import StoppedByCheck
from ingestion_pipeline.quality.findings import Finding
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import Slice, read_rows, staged_day
from ingestion_pipeline.staging.history import StoredCheckResults, past_days
from ingestion_pipeline.staging.slices import SliceEvidence
from ingestion_pipeline.staging.tables import CLASS_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa
    import shapely


class Acceptance(dg.Config):
    """An operator's word that a day is right though a check stops it."""

    reason: str
    """Why; it is kept with the day."""


class StagingConfig(dg.Config):
    """How a day is staged."""

    accept: Acceptance | None = None
    """Stage the day though a check stops it."""


def build_check_specs(
    asset: str, partitions: dg.PartitionsDefinition, *, dataset: str
) -> Sequence[dg.AssetCheckSpec]:
    """Define the checks of an asset that stages, one result for each partition."""
    with warnings.catch_warnings():
        # Checks with partitions are a preview; the tests hold what is used of them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=asset,
                blocking=check.blocking,
                description=check.description,
                partitions_def=partitions,
            )
            for check in checks_of(dataset)
        ]


def with_check_results(
    stage: Callable[[], dg.MaterializeResult[None]],
    *,
    kept: Callable[[], StoredCheckResults],
    dataset: str,
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Stage, and give Dagster a result of every check, also where one of them stopped the day.

    Where the day was staged before from equal inputs, be it by another run, the results are those
    that are kept with it.

    Args:
        stage: Stages the day; gives the checks' results if it examined it.
        kept: Gives what was found when the day was staged.
        dataset: Whose checks.
    """
    try:
        staged = stage()
    except dg.Failure as failure:
        # The ledger knows; now the partition's page shows what the checks found.
        # Not its cause, which would be shown as a second stack.
        if isinstance(failure.__context__, StoppedByCheck):
            yield from results_of(failure.__context__.findings, stopped=True)
        raise
    if staged.check_results:
        yield staged
    else:
        found = kept()
        yield dg.MaterializeResult(
            metadata={**(staged.metadata or {}), **metadata.of_acceptance(found.accepted_reason)}
        )
        yield from results_kept(found, dataset=dataset)


def examine_slice(
    workshop: Workshop,
    work: Work,
    target: Slice,
    frame: "pa.Table",
    evidence: SliceEvidence,
    *,
    boundary: "shapely.Geometry",
) -> list[Finding]:
    """Run all checks on the rows that would become a slice.

    Args:
        workshop: What to work with.
        work: The city-day.
        target: The slice.
        frame: Its rows.
        evidence: Of these rows.
        boundary: The city's area on that day (EPSG:4326).
    """
    from ingestion_pipeline.quality.census import Census, census_of, language_keys
    from ingestion_pipeline.quality.examine import examine

    city = work.city
    class_column = CLASS_COLUMNS[target.dataset]
    languages = language_keys(city.languages, city.local_language)
    today = census_of(
        frame,
        day=target.day,
        rules_version=evidence.rules_version,
        class_column=class_column,
        languages=languages,
    )
    past = past_days(
        workshop.engine, target, boundary_ref=evidence.boundary_ref, languages=languages
    )
    history = [Census(**vars(day)) for day in past]
    return [
        *examine(frame, today, history, boundary=boundary, checks=checks_of(target.dataset)),
        _parity(workshop, target, frame, evidence),
    ]


def results_of(
    findings: Iterable[Finding], *, stopped: bool, accepted_reason: str | None = None
) -> list[dg.AssetCheckResult]:
    """Show findings on the pages of the partition.

    Args:
        findings: What the checks found.
        stopped: Whether the day was stopped. Otherwise it is staged whatever they found, and they
            only warn.
        accepted_reason: Why an operator accepted it, if one did.
    """
    return [
        dg.AssetCheckResult(
            check_name=finding.check.name,
            passed=finding.verdict == "good",
            severity=_severity(
                is_error=finding.check.blocking
                if finding.verdict == "good"
                else stopped and finding.verdict == "stop"
            ),
            description=finding.message,
            metadata=_metadata(finding, accepted_reason),
        )
        for finding in findings
    ]


def results_kept(kept: StoredCheckResults, *, dataset: str) -> list[dg.AssetCheckResult]:
    """Show what was found when the day was staged."""
    warnings = kept.warnings or {}
    results = []
    for check in checks_of(dataset):
        is_good = check.name not in warnings
        accepted = kept.accepted_reason if check.acceptable else None
        results.append(
            dg.AssetCheckResult(
                check_name=check.name,
                passed=is_good,
                severity=_severity(is_error=is_good and check.blocking),
                description=warnings.get(check.name, "good when the day was staged"),
                metadata={
                    "staged_at": dg.MetadataValue.timestamp(kept.staged_at),
                    **({} if is_good else _advice(check, accepted)),
                },
            )
        )
    return results


def _severity(*, is_error: bool) -> dg.AssetCheckSeverity:
    """Give a result its colour; Dagster's list of checks takes it from the newest, good or not."""
    return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN


def _metadata(finding: Finding, accepted_reason: str | None) -> dict[str, dg.MetadataValue]:
    accepted = accepted_reason if finding.verdict == "stop" else None
    return (
        {"found": dg.MetadataValue.md(markdown_of(finding))}
        | {name: dg.MetadataValue.float(float(each)) for name, each in finding.numbers.items()}
        | ({} if finding.verdict == "good" else _advice(finding.check, accepted))
    )


def _advice(check: Check, accepted_reason: str | None) -> dict[str, dg.MetadataValue]:
    """Say what to do about a finding, or why nothing is to be done any more."""
    if accepted_reason:
        return metadata.of_acceptance(accepted_reason)
    return {"what_to_do": dg.MetadataValue.text(check.what_to_do)}


def markdown_of(finding: Finding) -> str:
    """Write a finding as Markdown: its sentence, and its table where it has one."""
    if not finding.rows:
        return finding.message
    lines = [finding.head, _alignment(finding), *finding.rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{finding.message}\n\n{table}"


def _alignment(finding: Finding) -> tuple[str, ...]:
    """Set columns of figures to the right, so that they can be compared."""
    columns = zip(*finding.rows, strict=True)
    return tuple(
        "---:" if all(cell[:1].isdigit() for cell in column) else "---" for column in columns
    )


def _parity(
    workshop: Workshop, target: Slice, frame: "pa.Table", evidence: SliceEvidence
) -> Finding:
    """Compare the rows with those that the day is staged from, if these are of another source."""
    from ingestion_pipeline.quality.parity import (
        check_parity,
        columns_compared,
        nothing_to_compare,
    )

    class_column = CLASS_COLUMNS[target.dataset]
    columns = columns_compared(class_column)
    with read_transaction(workshop.engine) as connection:
        staged = staged_day(connection, target)
        if staged is None or staged["obtained"] == evidence.obtained:
            return nothing_to_compare()
        rows = read_rows(connection, target, columns)
    return check_parity(
        frame,
        _table(rows, columns),
        class_column=class_column,
        as_of=evidence.as_of,
        other_as_of=staged["as_of"],
    )


def _table(rows: Sequence[sa.RowMapping], columns: Sequence[str]) -> "pa.Table":
    import pyarrow as pa

    return pa.table({name: [row[name] for row in rows] for name in columns})
