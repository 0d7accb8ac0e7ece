"""Whether a day has about as many features as the city's earlier days.

docs/adr/010-checks.md explains the numbers below and measures them on real and on simulated days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.quality.catalogue import COUNTS
from ingestion_pipeline.quality.census import usual
from ingestion_pipeline.quality.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingestion_pipeline.core.census import Census

STRICTNESS = 4.0
"""How many spreads a count may lie away from what is usual."""

LARGEST_WANDER = 0.1
"""The most by which the past may widen a band: a past that jumps about excuses no jump."""

CHANGE_PER_DAY = 0.001
"""The share of POIs that change on a day; all of them may be gone after a pause."""

LEAST_REACH = 0.05
"""The narrowest band of the whole, in logarithms: three times the liveliest day ever measured, on
which 1.6 % of a city's POIs changed. It matters to cities of more than seven thousand POIs."""

LEAST_REACH_OF_CATEGORY = 0.5
"""The narrowest band of a category: a mapper may go through a third of one on a day."""

SIZEABLE = 50
"""The smallest usual count of a category whose fall stops a day."""

NAMED = 8
"""How many categories a message names; the table has all."""

SHOWN = 25
"""How many categories are shown beside those that stand out."""

ALL = "all"

_MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Band:
    """What is usual, and between which counts a day is expected."""

    usual: float
    low: int
    high: int


def band_of(past: Sequence[int], *, pause_days: int, least_reach: float = LEAST_REACH) -> Band:
    """Work out between which counts a day is expected.

    On the scale of logarithms, the spread is the median absolute deviation of the past together
    with the noise of a counted number, 1 over its root, which is the floor for small categories and
    for a short past. It is doubled for a past of one day, and less so for each day more.

    Args:
        past: The counts of one or more earlier days, in any order.
        pause_days: Days from the newest of them to the day that is judged.
        least_reach: The narrowest that the band may be to either side, in logarithms.
    """
    counts = np.maximum(np.asarray(past, dtype=float), 1.0)
    middle = float(np.median(counts))
    wander = _MAD_TO_SIGMA * float(np.median(np.abs(np.log(counts / middle))))
    sigma = math.hypot(min(wander, LARGEST_WANDER), 1 / math.sqrt(middle))
    reach = max(STRICTNESS * (1 + 1 / len(past)) * sigma, least_reach) + CHANGE_PER_DAY * pause_days
    return Band(
        usual=float(np.median(past)),
        low=math.floor(middle * math.exp(-reach)),
        high=math.ceil(middle * math.exp(reach)),
    )


def check_counts(today: Census, history: Sequence[Census]) -> Finding:
    """Compare a day with the city's earlier days.

    Args:
        today: The day that would be staged.
        history: Staged days before it, the newest first, of the same boundary.
    """
    past = usual(history)
    if not past:
        return Finding(
            COUNTS,
            "good",
            f"{today.total:,} features; the city has no earlier day to compare with, only its "
            "asserted minimum",
            numbers={"features": today.total},
        )
    same_rules = [census for census in past if census.rules_version == today.rules_version]
    lines = [_Line.of(ALL, today.total, [census.total for census in past], _pause(today, past))]
    compared = same_rules or past
    counts = [census.with_what_is_beneath() for census in compared]
    now = today.with_what_is_beneath()
    categories = sorted({*now, *(name for each in counts for name in each)})
    pause = _pause(today, compared)
    lines += [
        _Line.of(name, now[name], [each[name] for each in counts], pause) for name in categories
    ]
    fallen = [line for line in lines if line.has_fallen]
    stopping = [line for line in fallen if line.name == ALL or same_rules]
    risen = [line for line in lines if line.has_risen]
    standing_out = [*fallen, *risen]
    if stopping:
        said = f"too few features: {_said(stopping)}"
    elif fallen:
        said = f"by rules that no earlier day was made by, fewer features: {_said(fallen)}"
    elif risen:
        said = f"more features than expected: {_said(risen)}"
    else:
        said = (
            f"{today.total:,} features, expected {lines[0].expected}; no category of a usual "
            f"{SIZEABLE} or more stands out"
        )
    return Finding(
        COUNTS,
        "stop" if stopping else "warn" if standing_out else "good",
        f"{said} (compared with {_days(past)}, the newest {past[0].day})",
        head=("category", "usual", "expected", "seen", ""),
        rows=[line.cells() for line in _shown(lines, standing_out)],
        numbers={"features": today.total, "usual": lines[0].band.usual},
    )


@dataclass(frozen=True)
class _Line:
    """A category's count beside its band."""

    name: str
    seen: int
    band: Band

    @classmethod
    def of(cls, name: str, seen: int, past: Sequence[int], pause_days: int) -> _Line:
        least = LEAST_REACH if name == ALL else LEAST_REACH_OF_CATEGORY
        return cls(name, seen, band_of(past, pause_days=pause_days, least_reach=least))

    @property
    def is_judged(self) -> bool:
        """Whether the category is big enough to mean something."""
        return self.name == ALL or max(self.band.usual, self.seen) >= SIZEABLE

    @property
    def has_fallen(self) -> bool:
        return (self.name == ALL or self.band.usual >= SIZEABLE) and self.seen < self.band.low

    @property
    def has_risen(self) -> bool:
        return self.is_judged and self.seen > self.band.high

    @property
    def expected(self) -> str:
        return f"{self.band.low:,} to {self.band.high:,}"

    def cells(self) -> tuple[str, ...]:
        word = "fell" if self.has_fallen else "rose" if self.has_risen else ""
        return (self.name, f"{self.band.usual:,.0f}", self.expected, f"{self.seen:,}", word)


def _days(past: Sequence[Census]) -> str:
    return f"{len(past)} staged day{'s' if len(past) > 1 else ''}"


def _pause(today: Census, past: Sequence[Census]) -> int:
    return (today.day - past[0].day).days


def _said(lines: Sequence[_Line]) -> str:
    """Name what stands out, the farthest from its usual count first after the whole."""
    ordered = sorted(lines, key=lambda line: (line.name != ALL, -abs(line.seen - line.band.usual)))
    named = [f"{line.name} {line.seen:,}, expected {line.expected}" for line in ordered[:NAMED]]
    more = len(ordered) - len(named)
    return "; ".join(named) + (f"; and {more} more categories" if more else "")


def _shown(lines: Sequence[_Line], standing_out: Sequence[_Line]) -> list[_Line]:
    others = [line for line in lines if line not in standing_out and line.name != ALL]
    others.sort(key=lambda line: -line.band.usual)
    first = [line for line in lines if line.name == ALL]
    return first + [line for line in standing_out if line.name != ALL] + others[:SHOWN]
