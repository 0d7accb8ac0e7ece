"""What a check found, in words and numbers.

Belongs here: the plain value that every check gives. Does not belong here: how it is shown in
Dagster (`defs/checks.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingestion_pipeline.quality.catalogue import Check

Verdict = Literal["good", "warn", "stop"]

SAMPLES = 10
"""How many features a finding names."""


@dataclass(frozen=True)
class Finding:
    """What one check found on one city-day.

    Attributes:
        check: Which check.
        verdict: `good`; `warn`: somebody should look; `stop`: the day must not be staged.
        message: One sentence with the names and numbers that matter.
        head: The names of the table's columns; empty where there is no table.
        rows: The table.
        numbers: Figures to plot over the days.
    """

    check: Check
    verdict: Verdict
    message: str
    head: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


def some_of(refs: Sequence[str]) -> str:
    """Name some of the features, and say how many there are more."""
    more = f" and {len(refs) - SAMPLES:,} more" if len(refs) > SAMPLES else ""
    return ", ".join(refs[:SAMPLES]) + more
