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

from ingestion_pipeline.core.frame import Frame
from ingestion_pipeline.datasets.base import Dataset
from ingestion_pipeline.defs import metadata
from ingestion_pipeline.defs.resources import PipelineResources
from ingestion_pipeline.defs.work import ClaimedPartition
from ingestion_pipeline.quality.catalogue import Check
from ingestion_pipeline.quality.errors import StoppedByCheck
from ingestion_pipeline.quality.findings import Finding
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import Slice, read_rows, staged_day
from ingestion_pipeline.staging.history import StoredCheckResults, past_days

if TYPE_CHECKING:
    import pyarrow as pa


class Acceptance(dg.Config):
    """An operator's word that a day is right though a check stops it."""

    reason: str
    """Why; it is kept with the day."""


class StagingConfig(dg.Config):
    """How a day is staged."""

    accept: Acceptance | None = None
    """Stage the day though a check stops it."""


def build_check_specs(
    dataset: Dataset, partitions: dg.PartitionsDefinition
) -> Sequence[dg.AssetCheckSpec]:
    """Define the checks of the asset that stages a dataset, one result for each partition."""
    with warnings.catch_warnings():
        # Checks with partitions are a preview; the tests hold what is used of them.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                check.name,
                asset=dataset.staging_asset,
                blocking=check.blocking,
                description=check.description,
                partitions_def=partitions,
            )
            for check in dataset.checks
        ]


def results_of_stop(failure: dg.Failure) -> list[dg.AssetCheckResult]:
    """Return the results of the checks, where one of them stopped the day.

    The partition's page then shows what they found.
    """
    stop = failure.__context__  # not its cause, which would be shown as a second stack
    return results_of(stop.findings, stopped=True) if isinstance(stop, StoppedByCheck) else []


def results_of_staging(
    staged: dg.MaterializeResult[None],
    dataset: Dataset,
    *,
    stored: Callable[[], StoredCheckResults],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Yield a materialization with a result of every check.

    Where the day was staged before from equal inputs, be it by another run, the results are those
    that are stored with it.

    Args:
        staged: The materialization, with the results if the day was examined.
        dataset: The dataset.
        stored: Returns what was found when the day was staged.
    """
    if staged.check_results:
        yield staged
        return
    found = stored()
    yield dg.MaterializeResult(
        metadata={**(staged.metadata or {}), **metadata.of_acceptance(found.accepted_reason)}
    )
    yield from results_stored(found, dataset)


def examine_slice(
    pipeline: PipelineResources, work: ClaimedPartition, dataset: Dataset, frame: Frame
) -> list[Finding]:
    """Run all checks on the rows that would become a slice."""
    from ingestion_pipeline.quality.census import census_of, language_keys
    from ingestion_pipeline.quality.examine import examine

    city = work.city
    target = dataset.slice_of(city.slug, work.day)
    languages = language_keys(city.languages, city.local_language)
    today = census_of(
        frame.rows,
        day=work.day,
        rules_version=frame.evidence.rules_version,
        class_column=dataset.class_column,
        languages=languages,
    )
    history = past_days(
        pipeline.engine,
        target,
        boundary_ref=frame.evidence.boundary_ref,
        languages=languages,
    )
    return [
        *examine(frame.rows, today, history, boundary=frame.boundary.area, checks=dataset.checks),
        _parity(pipeline, target, dataset, frame),
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


def results_stored(kept: StoredCheckResults, dataset: Dataset) -> list[dg.AssetCheckResult]:
    """Return what was found when the day was staged."""
    warnings = kept.warnings or {}
    results = []
    for check in dataset.checks:
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


def _parity(pipeline: PipelineResources, target: Slice, dataset: Dataset, frame: Frame) -> Finding:
    """Compare the rows with those that the day is staged from, if these are of another source."""
    from ingestion_pipeline.quality.parity import (
        check_parity,
        columns_compared,
        nothing_to_compare,
    )

    class_column = dataset.class_column
    columns = columns_compared(class_column)
    with read_transaction(pipeline.engine) as connection:
        staged = staged_day(connection, target)
        if staged is None or staged["obtained"] == frame.evidence.obtained:
            return nothing_to_compare()
        rows = read_rows(connection, target, columns)
    return check_parity(
        frame.rows,
        _table(rows, columns),
        class_column=class_column,
        as_of=frame.evidence.as_of,
        other_as_of=staged["as_of"],
    )


def _table(rows: Sequence[sa.RowMapping], columns: Sequence[str]) -> "pa.Table":
    import pyarrow as pa

    return pa.table({name: [row[name] for row in rows] for name in columns})
