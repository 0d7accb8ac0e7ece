"""The checks that shares of a day's features are about those of the city's earlier days.

None of them blocks staging.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ingestion_pipeline.quality.catalogue import NAMES, OPENING_HOURS, UNCLASSIFIED
from ingestion_pipeline.quality.census import usual
from ingestion_pipeline.quality.counts import STRICTNESS
from ingestion_pipeline.quality.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingestion_pipeline.core.census import Census
    from ingestion_pipeline.quality.catalogue import Check

SMALLEST_MOVE = 0.02
"""Smaller changes of a share are ignored."""


@dataclass(frozen=True)
class Share:
    """A share of a day's features.

    Attributes:
        check: Its check.
        words: Its description.
        part: The numerator.
        whole: The denominator.
        worse_if_greater: Whether an increase fails the check, and not a decrease.
    """

    check: Check
    words: str
    part: Callable[[Census], int]
    whole: Callable[[Census], int]
    worse_if_greater: bool


SHARES = (
    Share(
        UNCLASSIFIED,
        "features without a specific category",
        lambda census: census.unclassified,
        lambda census: census.total,
        worse_if_greater=True,
    ),
    Share(
        OPENING_HOURS,
        "opening hours that are not understood",
        lambda census: census.unparsed_hours,
        lambda census: census.with_hours,
        worse_if_greater=True,
    ),
    Share(
        NAMES,
        "named features with a name in the city's languages",
        lambda census: census.in_languages,
        lambda census: census.named,
        worse_if_greater=False,
    ),
)


def check_share(share: Share, today: Census, history: Sequence[Census]) -> Finding:
    """Compare a share with earlier days of the same rules.

    The band is the median, plus or minus the binomial noise and the spread of the past.

    Args:
        share: The share.
        today: The day to check.
        history: Staged days before it, the newest first.
    """
    part, whole = share.part(today), share.whole(today)
    summary = f"{part:,} of {whole:,} {share.words}"
    past = [
        share.part(census) / share.whole(census)
        for census in usual(history)
        if census.rules_version == today.rules_version and share.whole(census)
    ]
    if not whole or not past:
        why = "no earlier day of these rules has any" if whole else "there are none"
        return Finding(share.check, "good", f"{summary}; nothing to compare: {why}")
    seen, middle = part / whole, float(np.median(past))
    likely = min(max(middle, 1 / whole), 1 - 1 / (whole + 1))
    noise = math.hypot(
        math.sqrt(likely * (1 - likely) / whole),
        float(np.median(np.abs(np.asarray(past) - middle))),
    )
    reach = max(SMALLEST_MOVE, STRICTNESS * (1 + 1 / len(past)) * noise)
    is_worse = seen > middle + reach if share.worse_if_greater else seen < middle - reach
    if share.worse_if_greater:
        expected = f"at most {min(middle + reach, 1):.1%}"
    else:
        expected = f"at least {max(middle - reach, 0):.1%}"
    return Finding(
        share.check,
        "warn" if is_worse else "good",
        f"{summary}: {seen:.1%}, usual {middle:.1%}, expected {expected}",
        head=("share", "usual", "expected", "seen"),
        rows=[(share.words, f"{middle:.1%}", expected, f"{seen:.1%}")],
        numbers={"share": seen, "usual": middle},
    )
