"""The check that a day has about as many features as the city's earlier days.

docs/adr/010-checks.md explains the numbers below, and measures them on real and simulated days.
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
"""The allowed distance of a count from the usual one, in spreads."""

LARGEST_WANDER = 0.1
"""The maximum by which past variation widens a band."""

CHANGE_PER_DAY = 0.001
"""The share of POIs that change on a day; a pause adds up."""

LEAST_REACH = 0.05
"""The narrowest band of the total, in logarithms: three times the largest daily change ever
measured, 1.6 % of a city's POIs. It applies to cities of more than seven thousand POIs."""

LEAST_REACH_OF_CATEGORY = 0.5
"""The narrowest band of a category: one mapper may edit a third of a category on a day."""

SIZEABLE = 50
"""The smallest usual count of a category whose fall stops a day."""

NAMED = 8
"""The number of categories in a message; the table has all."""

SHOWN = 25
"""The number of categories in the table besides those outside of their band."""

ALL = "all"

_MAD_TO_SIGMA = 1.4826  # of a normal distribution


@dataclass(frozen=True)
class Band:
    """The usual count, and the range of expected counts."""

    usual: float
    low: int
    high: int


def band_of(past: Sequence[int], *, pause_days: int, least_reach: float = LEAST_REACH) -> Band:
    """Return the range of expected counts of a day.

    In logarithms, the spread combines the median absolute deviation of the past with the counting
    noise, 1/sqrt(count), which is the floor for small categories and a short past. It is doubled
    for a past of one day, and by less for each further day.

    Args:
        past: The counts of one or more earlier days, in any order.
        pause_days: Days from the newest of them to the checked day.
        least_reach: The minimum distance of the limits from the middle, in logarithms.
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
        today: The day to check.
        history: Staged days before it, the newest first, of the same boundary.
    """
    past = usual(history)
    if not past:
        return Finding(
            COUNTS,
            "good",
            f"{today.total:,} features; the city has no earlier day to compare with",
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
        summary = f"too few features: {_summary(stopping)}"
    elif fallen:
        summary = f"the rules are new, and there are fewer features: {_summary(fallen)}"
    elif risen:
        summary = f"more features than expected: {_summary(risen)}"
    else:
        summary = (
            f"{today.total:,} features, expected {lines[0].expected}; all categories of usually "
            f"{SIZEABLE} or more are in their range"
        )
    return Finding(
        COUNTS,
        "stop" if stopping else "warn" if standing_out else "good",
        f"{summary} (compared with {_days(past)}, the newest {past[0].day})",
        head=("category", "usual", "expected", "seen", ""),
        rows=[line.cells() for line in _shown(lines, standing_out)],
        numbers={"features": today.total, "usual": lines[0].band.usual},
    )


@dataclass(frozen=True)
class _Line:
    """A category's count and its band."""

    name: str
    seen: int
    band: Band

    @classmethod
    def of(cls, name: str, seen: int, past: Sequence[int], pause_days: int) -> _Line:
        least = LEAST_REACH if name == ALL else LEAST_REACH_OF_CATEGORY
        return cls(name, seen, band_of(past, pause_days=pause_days, least_reach=least))

    @property
    def is_sizeable(self) -> bool:
        """Whether the category is large enough to check."""
        return self.name == ALL or max(self.band.usual, self.seen) >= SIZEABLE

    @property
    def has_fallen(self) -> bool:
        return (self.name == ALL or self.band.usual >= SIZEABLE) and self.seen < self.band.low

    @property
    def has_risen(self) -> bool:
        return self.is_sizeable and self.seen > self.band.high

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


def _summary(lines: Sequence[_Line]) -> str:
    """Return the lines as text: the total, then by distance from the usual count."""
    ordered = sorted(lines, key=lambda line: (line.name != ALL, -abs(line.seen - line.band.usual)))
    named = [f"{line.name} {line.seen:,}, expected {line.expected}" for line in ordered[:NAMED]]
    more = len(ordered) - len(named)
    return "; ".join(named) + (f"; and {more} more categories" if more else "")


def _shown(lines: Sequence[_Line], standing_out: Sequence[_Line]) -> list[_Line]:
    others = [line for line in lines if line not in standing_out and line.name != ALL]
    others.sort(key=lambda line: -line.band.usual)
    first = [line for line in lines if line.name == ALL]
    return first + [line for line in standing_out if line.name != ALL] + others[:SHOWN]
