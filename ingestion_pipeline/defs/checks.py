"""Checks of a city-day in Dagster: their specs, what they look at, and how they are shown.

Belongs here: the way between the plain checks of `quality/` and Dagster's asset checks. Does not
belong here: any judgement (`quality/`), and the check of the whole installation (`coverage.py`).

The checks run inside the asset that stages, before its transaction. Why they are no steps of their
own is told in docs/adr/010-checks.md.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import dagster as dg
import sqlalchemy as sa

from ingestion_pipeline.defs.resources import Workshop
from ingestion_pipeline.defs.work import Work
from ingestion_pipeline.quality.catalogue import CHECKS
from ingestion_pipeline.quality.errors import StoppedByCheck
from ingestion_pipeline.quality.findings import Finding
from ingestion_pipeline.staging.database import read_transaction
from ingestion_pipeline.staging.days import Slice, read_rows, staged_day
from ingestion_pipeline.staging.history import CLASS_COLUMNS, past_days
from ingestion_pipeline.staging.slices import SliceEvidence

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
    asset: str, partitions: dg.PartitionsDefinition
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
            for check in CHECKS
        ]


def with_check_results(
    stage: Callable[[], dg.MaterializeResult[None]],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Stage, and give Dagster a result of every check, also where one of them stopped the day."""
    try:
        staged = stage()
    except dg.Failure as failure:
        # The ledger knows; now the partition's page shows what the checks found.
        if isinstance(failure.__cause__, StoppedByCheck):
            yield from results_of(failure.__cause__.findings, stopped=True)
        raise
    yield staged
    if not staged.check_results:
        said = (staged.metadata or {}).get("nothing_to_do", "staged already from equal inputs")
        yield from results_of_nothing(str(said))


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
    languages = language_keys(city.languages, city.local_language)
    today = census_of(
        frame,
        day=target.day,
        rules_version=evidence.rules_version,
        class_column=CLASS_COLUMNS[target.dataset],
        languages=languages,
    )
    past = past_days(
        workshop.engine, target, boundary_ref=evidence.boundary_ref, languages=languages
    )
    history = [Census(**vars(day)) for day in past]
    return [
        *examine(frame, today, history, boundary=boundary),
        _parity(workshop, target, frame, evidence),
    ]


def results_of(
    findings: Iterable[Finding], *, stopped: bool, accepted_reason: str | None = None
) -> list[dg.AssetCheckResult]:
    """Show findings on the pages of the partition.

    Args:
        findings: What the checks found.
        stopped: Whether the day was stopped. Otherwise it is staged whatever they found: accepted,
            or staged already from equal inputs; then they only warn.
        accepted_reason: Why an operator accepted it, if one did.
    """
    return [
        dg.AssetCheckResult(
            check_name=finding.check.name,
            passed=finding.verdict == "good",
            severity=_severity(finding, stopped=stopped),
            description=finding.message,
            metadata=_metadata(finding, accepted_reason),
        )
        for finding in findings
    ]


def results_of_nothing(why: str) -> list[dg.AssetCheckResult]:
    """Say that nothing was looked at: Dagster wants a result of every check of a step that ends."""
    return [
        dg.AssetCheckResult(
            check_name=check.name,
            passed=True,
            description=f"not looked at: {why}",
            metadata={"nothing_to_do": dg.MetadataValue.text(why)},
        )
        for check in CHECKS
    ]


def _severity(finding: Finding, *, stopped: bool) -> dg.AssetCheckSeverity:
    """Give a result its colour; Dagster's list of checks takes it from the newest, good or not."""
    if finding.verdict == "good":
        is_error = finding.check.blocking
    else:
        is_error = stopped and finding.verdict == "stop"
    return dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN


def _metadata(finding: Finding, accepted_reason: str | None) -> dict[str, dg.MetadataValue]:
    said: dict[str, dg.MetadataValue] = {}
    if finding.verdict == "stop" and accepted_reason:
        said = {"accepted_reason": dg.MetadataValue.text(accepted_reason)}
    elif finding.verdict != "good":
        said = {"what_to_do": dg.MetadataValue.text(finding.check.what_to_do)}
    return (
        {"found": dg.MetadataValue.md(markdown_of(finding))}
        | {name: dg.MetadataValue.float(float(each)) for name, each in finding.numbers.items()}
        | said
    )


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
    from ingestion_pipeline.quality.parity import COLUMNS, check_parity, nothing_to_compare

    with read_transaction(workshop.engine) as connection:
        staged = staged_day(connection, target)
        if staged is None or staged["obtained"] == evidence.obtained:
            return nothing_to_compare()
        rows = read_rows(connection, target, COLUMNS)
    return check_parity(
        frame.select(COLUMNS),
        _table(rows, COLUMNS),
        as_of=evidence.as_of,
        other_as_of=staged["as_of"],
    )


def _table(rows: Sequence[sa.RowMapping], columns: Sequence[str]) -> "pa.Table":
    import pyarrow as pa

    return pa.table({name: [row[name] for row in rows] for name in columns})
