"""The plain dictionary of days to which everything staged is held: `{day: {feature: content}}`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date


def following_day(model: dict[date, dict[str, str]], day: date) -> date | None:
    return min((staged for staged in model if staged > day), default=None)


def expected_differences(
    model: dict[date, dict[str, str]],
) -> dict[date, tuple[int, int, int, int]]:
    result = {}
    before: dict[str, str] = {}
    for day in sorted(model):
        now = model[day]
        result[day] = (
            len(now),
            len(now.keys() - before.keys()),
            sum(1 for ref in now.keys() & before.keys() if now[ref] != before[ref]),
            len(before.keys() - now.keys()),
        )
        before = now
    return result


def maximal_versions(
    model: dict[date, dict[str, str]],
) -> list[tuple[str, str, date, date | None]]:
    """The versions that a dictionary of days must come to: runs of equal content."""
    days = sorted(model)
    result: list[tuple[str, str, date, date | None]] = []
    for ref in sorted({ref for day in days for ref in model[day]}):
        for content, run in itertools.groupby(days, key=lambda day: model[day].get(ref)):
            covered = list(run)
            if content is not None:
                after = days.index(covered[-1]) + 1
                end = days[after] if after < len(days) else None
                result.append((ref, content, covered[0], end))
    return result


def changes_between(
    model: dict[date, dict[str, str]], earlier: date, later: date
) -> dict[str, str]:
    """What became of each feature that is not equal on two of the days."""
    before, after = model[earlier], model[later]
    return {
        ref: "added" if ref not in before else "removed" if ref not in after else "changed"
        for ref in before.keys() | after.keys()
        if before.get(ref) != after.get(ref)
    }
