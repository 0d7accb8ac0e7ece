"""The result of a check; `defs/checks.py` shows it in Dagster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingestion_pipeline.quality.catalogue import Check

Verdict = Literal["good", "warn", "stop"]

SAMPLES = 10
"""The number of features that a finding names."""


@dataclass(frozen=True)
class Finding:
    """The result of one check of one city-day.

    Attributes:
        check: The check.
        verdict: `good`; `warn`: to be reviewed; `stop`: the day must not be staged.
        message: One sentence with names and numbers.
        head: The names of the table's columns; empty without a table.
        rows: The table.
        numbers: Metrics to plot over days.
    """

    check: Check
    verdict: Verdict
    message: str
    head: tuple[str, ...] = ()
    rows: Sequence[tuple[str, ...]] = ()
    numbers: Mapping[str, float] = field(default_factory=dict)


def some_of(refs: Sequence[str]) -> str:
    """Return the first features, and the number of the others, as text."""
    more = f" and {len(refs) - SAMPLES:,} more" if len(refs) > SAMPLES else ""
    return ", ".join(refs[:SAMPLES]) + more
