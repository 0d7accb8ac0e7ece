"""The rejections of a refused feed: counts and examples by reason."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from ingestion_pipeline.sources.feed.errors import RejectedFor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.core.rejection import Rejection

EXAMPLES = 5
"""How many rejections of each reason are kept."""

_SHOWN = 120


def by_reason(rejections: Sequence[Rejection]) -> list[RejectedFor]:
    """Return counts and examples of rejections by reason, the most frequent first."""
    grouped: dict[str, list[Rejection]] = defaultdict(list)
    for each in rejections:
        grouped[each.reason].append(each)
    return [
        RejectedFor(
            reason,
            len(found),
            tuple(
                {"source_ref": each.source_ref, "detail": each.detail, "raw": each.raw}
                for each in found[:EXAMPLES]
            ),
        )
        for reason, found in sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def in_words(found: Sequence[RejectedFor]) -> str:
    """Return the rejections as a sentence, which begins with a space; empty without any."""
    if not found:
        return ""
    parts = (
        f"{each.count} {each.reason} (such as {each.examples[0]['source_ref']}: "
        f"{each.examples[0]['detail'][:_SHOWN]})"
        for each in found
    )
    return f" Rejected: {'; '.join(parts)}."
