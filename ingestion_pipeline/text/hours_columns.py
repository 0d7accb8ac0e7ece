"""Opening hours from several columns: one for each weekday, season, or both.

A selector is the part of a rule of the specification before its times: `Mo`, `Sa-Su`, `Apr-Sep`,
`Nov 1-Mar 31 Mo-Fr` or `PH`.
"""

from __future__ import annotations

import re
from calendar import monthrange
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.hours_publishers import published_hours
from ingestion_pipeline.text.hours_words import MONTHS, WEEKDAYS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LEAP_YEAR = 2024
_MONTH = "|".join(MONTHS)
_WEEKDAY = "|".join(WEEKDAYS)
_DATE = rf"(?:{_MONTH})(?: [1-9]\d?)?"
_DATES = rf"{_DATE}(?:-{_DATE})?"
_DAYS = rf"(?:{_WEEKDAY})(?:-(?:{_WEEKDAY}))?"
_SELECTOR = re.compile(
    rf"(?P<dates>{_DATES}(?:,{_DATES})*)?"
    rf"(?:(?:^|(?<=\S) )(?P<days>(?:{_DAYS}|PH)(?:,(?:{_DAYS}|PH))*))?"
)


class Selector(NamedTuple):
    """The days of a rule.

    Attributes:
        dates: Months and dates; empty for the whole year.
        days: Weekdays; empty for the whole week.
    """

    dates: str
    days: str

    @property
    def text(self) -> str:
        """The selector as the specification writes it."""
        return f"{self.dates} {self.days}".strip()


def selector_of(text: str) -> Selector:
    """Parse a selector.

    Raises:
        ValueError: It is none.
    """
    found = _SELECTOR.fullmatch(text)
    if found is None or not text:
        raise ValueError(f"{text!r} is not like 'Mo-Fr', 'Apr-Sep' or 'Nov 1-Mar 31 Sa,Su,PH'")
    selector = Selector(found["dates"] or "", found["days"] or "")
    if normalized_hours(f"{text} 10:00-12:00") is None:
        raise ValueError(f"{text!r} has a day that does not exist")
    return selector


def conflict_of(selectors: Iterable[Selector]) -> str | None:
    """Return which days two of the selectors have, or none has; None if each day has one.

    Public holidays need none.
    """
    covered = [(selector, _covered(selector)) for selector in selectors]
    for (first, days), (second, other) in combinations(covered, 2):
        if days & other or {"PH"} <= set(first.days.split(",")) & set(second.days.split(",")):
            return f"{first.text!r} and {second.text!r} have days in common"
    missing = _covered(Selector("", "")) - frozenset().union(*(days for _, days in covered))
    if not missing:
        return None
    weekdays = [name for day, name in enumerate(WEEKDAYS) if {(1, day), (183, day)} & missing]
    months = [
        MONTHS[month]
        for month in range(12)
        if any(date in missing for date in _dates_of_month(month))
    ]
    which = ", ".join(weekdays if len(months) == len(MONTHS) else months)
    return f'no column for {which}; name one, or "closed" or "unknown"'


def joined_hours(parts: Sequence[tuple[Selector, str | None]], language: str | None) -> str | None:
    """Return the opening hours of the columns of a record.

    Args:
        parts: The selectors, which have no day in common, and the texts of their columns; None for
            an empty cell, whose days are then unknown.
        language: See `published_hours`.

    Returns:
        The canonical form of the specification; None if a text cannot be read with certainty.
    """
    unknown, rules = [], []
    for selector, text in parts:
        if text is None or text == "unknown":
            unknown.append(f"{selector.text} unknown")
            continue
        hours = published_hours(text, language)
        if hours is None:
            return None
        if hours != "closed":
            rule = _under(selector, hours)
            if rule is None:
                return None
            rules.append(rule)
    # What follows adds to the days before it, so that hours after midnight are kept.
    return normalized_hours(", ".join((*unknown, *rules)) or "closed")


_PART = re.compile(rf"(?:(?P<days>(?:{_DAYS}|PH)(?:,(?:{_DAYS}|PH))*)(?: |$))?(?P<rest>[^A-Z\"|]*)")


def _under(selector: Selector, hours: str) -> str | None:
    """Return hours as rules of a selector; None if both have days, or the hours have dates."""
    pieces = re.split("(; |, )", hours)
    for at in range(0, len(pieces), 2):
        found = _PART.fullmatch(pieces[at])
        if found is None or (found["days"] and selector.days):
            return None
        times = "00:00-24:00" if found["rest"] == "24/7" else found["rest"]
        days = found["days"] or selector.days
        pieces[at] = " ".join(filter(None, (selector.dates, days, times)))
    return "".join(pieces)


@cache
def _covered(selector: Selector) -> frozenset[tuple[int, int]]:
    """Return the days of a leap year and the weekdays that a selector has, from 1 and from 0."""
    weekdays = set(range(7)) if not selector.days else set()
    for part in selector.days.split(","):
        if part and part != "PH":
            first, last = (WEEKDAYS.index(day) for day in (part[:2], part[-2:]))
            weekdays |= {day % 7 for day in range(first, last + 1 + 7 * (last < first))}
    dates = set(range(1, 367)) if not selector.dates else set(_days_of_year(selector.dates))
    return frozenset((date, day) for date in dates for day in weekdays)


def _days_of_year(dates: str) -> Iterator[int]:
    for part in dates.split(","):
        first, _, last = part.partition("-")
        start, end = _limits(first)[0], _limits(last or first)[1]
        yield from (
            range(start, end + 1) if start <= end else (*range(start, 367), *range(1, end + 1))
        )


def _limits(date: str) -> tuple[int, int]:
    """Return the first and the last day of a month or of a day of it, counted in the year."""
    name, _, day = date.partition(" ")
    month = MONTHS.index(name)
    before = sum(monthrange(_LEAP_YEAR, each + 1)[1] for each in range(month))
    if day:
        return before + int(day), before + int(day)
    return before + 1, before + monthrange(_LEAP_YEAR, month + 1)[1]


def _dates_of_month(month: int) -> Iterator[tuple[int, int]]:
    first, last = _limits(MONTHS[month])
    return ((date, day) for date in range(first, last + 1) for day in range(7))
