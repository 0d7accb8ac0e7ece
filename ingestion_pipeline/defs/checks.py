"""Dagster asset checks of a city-day: their specs, their inputs and their results.

The checks themselves are plain functions in `quality/`. The check of all cities is in
`coverage.py`.

The checks run inside the staging asset, before its transaction. docs/adr/010-checks.md explains why
they are not separate steps.
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
    """An operator's decision to stage a day that a check stops."""

    reason: str
    """The reason, which is stored with the day."""


class StagingConfig(dg.Config):
    """Run config of the staging asset."""

    accept: Acceptance | None = None
    """Stage the day even if a check stops it."""


def build_check_specs(
    dataset: Dataset, partitions: dg.PartitionsDefinition
) -> Sequence[dg.AssetCheckSpec]:
    """Return the check specs of a dataset's staging asset, with one result for each partition."""
    with warnings.catch_warnings():
        # Partitioned checks are a preview feature; tests cover the parts in use.
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
    """Return the results of all checks if a check stopped the day, and otherwise none.

    The partition's page then shows the findings.
    """
    stop = failure.__context__  # not the cause, which Dagster shows as a second stack trace
    return results_of(stop.findings, stopped=True) if isinstance(stop, StoppedByCheck) else []


def results_of_staging(
    staged: dg.MaterializeResult[None],
    dataset: Dataset,
    *,
    stored: Callable[[], StoredCheckResults],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Yield a materialization with a result of every check.

    If this or another run already staged the day from equal inputs, the results are the stored
    ones.

    Args:
        staged: The materialization, with results if the checks ran.
        dataset: The dataset.
        stored: Returns the results that were stored when the day was staged.
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
    """Run all checks on the rows of a slice before it is staged."""
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
    """Return findings as Dagster check results.

    Args:
        findings: The findings of the checks.
        stopped: Whether a check stopped the day. If not, failed checks are warnings.
        accepted_reason: The reason of an operator who accepted the day, if any.
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
    """Return the stored check results of a staged day."""
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
    """Return the severity, which sets the colour in Dagster's list of checks even after a pass."""
    return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN


def _metadata(finding: Finding, accepted_reason: str | None) -> dict[str, dg.MetadataValue]:
    accepted = accepted_reason if finding.verdict == "stop" else None
    return (
        {"found": dg.MetadataValue.md(markdown_of(finding))}
        | {name: dg.MetadataValue.float(float(each)) for name, each in finding.numbers.items()}
        | ({} if finding.verdict == "good" else _advice(finding.check, accepted))
    )


def _advice(check: Check, accepted_reason: str | None) -> dict[str, dg.MetadataValue]:
    """Return what to do about a finding, or the reason if an operator accepted it."""
    if accepted_reason:
        return metadata.of_acceptance(accepted_reason)
    return {"what_to_do": dg.MetadataValue.text(check.what_to_do)}


def markdown_of(finding: Finding) -> str:
    """Return a finding as Markdown: its message, and its table if it has one."""
    if not finding.rows:
        return finding.message
    lines = [finding.head, _alignment(finding), *finding.rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{finding.message}\n\n{table}"


def _alignment(finding: Finding) -> tuple[str, ...]:
    """Return the Markdown alignment of each column; columns of numbers are aligned right."""
    columns = zip(*finding.rows, strict=True)
    return tuple(
        "---:" if all(cell[:1].isdigit() for cell in column) else "---" for column in columns
    )


def _parity(pipeline: PipelineResources, target: Slice, dataset: Dataset, frame: Frame) -> Finding:
    """Compare the rows with the staged rows of the day if these come from another source."""
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
