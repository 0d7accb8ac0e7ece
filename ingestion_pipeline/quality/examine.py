"""Running all checks of a frame before it is staged, and accepting a day that fails one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.quality.counts import check_counts
from ingestion_pipeline.quality.errors import AcceptanceWithoutReason, StoppedByCheck
from ingestion_pipeline.quality.frames import (
    check_geometry,
    check_licence,
    check_position,
    check_unique_refs,
)
from ingestion_pipeline.quality.shares import SHARES, check_share

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa
    import shapely

    from ingestion_pipeline.core.census import Census
    from ingestion_pipeline.quality.catalogue import Check
    from ingestion_pipeline.quality.findings import Finding


def examine(
    frame: pa.Table,
    today: Census,
    history: Sequence[Census],
    *,
    boundary: shapely.Geometry,
    checks: Collection[Check],
) -> list[Finding]:
    """Run every check of a frame that needs no second frame.

    Args:
        frame: The rows to stage.
        today: Their counts.
        history: Staged days before it, the newest first, of the same boundary.
        boundary: The city's area (EPSG:4326).
        checks: The checks of the dataset.
    """
    return [
        check_counts(today, history),
        check_geometry(frame),
        check_position(frame, boundary=boundary),
        check_unique_refs(frame),
        check_licence(frame),
        *(check_share(share, today, history) for share in SHARES if share.check in checks),
    ]


def stops(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that keep a day out of staging."""
    return [finding for finding in findings if finding.verdict == "stop"]


def warnings_of(findings: Sequence[Finding]) -> dict[str, str] | None:
    """Return the messages of failed checks, by check; None where all are good."""
    found = {
        finding.check.name: finding.message for finding in findings if finding.verdict != "good"
    }
    return found or None


def reason_of(text: str) -> str:
    """Return an operator's reason, with normalized spaces.

    Raises:
        AcceptanceWithoutReason: It is blank.
    """
    if reason := " ".join(text.split()):
        return reason
    raise AcceptanceWithoutReason(
        "The reason to accept the day is blank. Say in a sentence why its data is right."
    )


def require_accepted(findings: Sequence[Finding], reason: str | None, *, what: str) -> str | None:
    """Require that no check stops the day, or that an operator accepts it.

    Args:
        findings: The findings of all checks.
        reason: The operator's reason to accept the day, or None.
        what: The day, for messages.

    Returns:
        The reason, if a check stops the day; otherwise None.

    Raises:
        StoppedByCheck: A check stops the day, and it is not accepted or cannot be.
    """
    stopping = stops(findings)
    found = ". ".join(f"{finding.check.name}: {finding.message}" for finding in stopping)
    if not all(finding.check.acceptable for finding in stopping):
        raise StoppedByCheck(
            f"{what} is not staged. {found}. Invalid rows are never staged and cannot be accepted. "
            "If the day has a frame, delete it. Run the day again, and report the finding if it "
            "occurs again. See /manual/checks/.",
            findings,
        )
    if stopping and reason is None:
        raise StoppedByCheck(
            f"{what} is not staged. {found}. Check the data from upstream. If it is wrong, run the "
            "day again with refetch. If it is right, accept it with a reason. See "
            "/manual/checks/#a-day-that-was-stopped",
            findings,
        )
    return reason if stopping else None
