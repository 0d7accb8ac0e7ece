"""All checks of a frame, before it is staged.

Belongs here: their order, and the words of a day that is stopped. Does not belong here: any check.
"""

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
        frame: The rows that would be staged.
        today: The same, counted.
        history: Staged days before it, the newest first, of the same boundary.
        boundary: The city's area (EPSG:4326).
        checks: Those of the dataset.
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
    """Give the findings for which a day must not be staged."""
    return [finding for finding in findings if finding.verdict == "stop"]


def warnings_of(findings: Sequence[Finding]) -> dict[str, str] | None:
    """Give what is kept with a day: the sentences of those checks that did not find it good."""
    found = {
        finding.check.name: finding.message for finding in findings if finding.verdict != "good"
    }
    return found or None


def reason_of(text: str) -> str:
    """Read an operator's reason.

    Raises:
        AcceptanceWithoutReason: It is blank.
    """
    if reason := " ".join(text.split()):
        return reason
    raise AcceptanceWithoutReason(
        "the day was to be accepted without a reason; say why its data is right, in a sentence "
        "that whoever finds it later understands"
    )


def require_accepted(findings: Sequence[Finding], reason: str | None, *, what: str) -> str | None:
    """Let a day through that no check stops, or that an operator accepts knowingly.

    Args:
        findings: What the checks found.
        reason: Why the operator accepts it; None where nobody does.
        what: The day, for messages.

    Returns:
        The reason, if there was something to accept.

    Raises:
        StoppedByCheck: A check stops the day, and nobody accepts it, or nobody can.
    """
    stopping = stops(findings)
    said = ". ".join(f"{finding.check.name}: {finding.message}" for finding in stopping)
    if not all(finding.check.acceptable for finding in stopping):
        raise StoppedByCheck(
            f"{what} is not staged. {said}. A row with a fault is never staged, and cannot be "
            "accepted: if the day has a frame, delete it; run the day again, and report the "
            "finding if it comes back (docs/checks.md)",
            findings,
        )
    if stopping and reason is None:
        raise StoppedByCheck(
            f"{what} is not staged. {said}. Look at what upstream sent; if it is wrong, run the "
            "day again with refetch; if it is right, accept it with a reason (docs/checks.md)",
            findings,
        )
    return reason if stopping else None
