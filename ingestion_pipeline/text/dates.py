"""Dates in tags, and the status that they imply.

A text is parsed as the first and the last day that it can mean: 2016 is any day of that year. Forms
that the wiki does not define ("Key:start_date", "Key:opening_date"), or calls uncertain (`~1855`),
have no bounds, so a status never follows from a guess.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

KEYS = ("opening_date", "start_date", "end_date")
"""The tags that are read."""

_LONGEST = 64
"""The longest text that is parsed, in characters."""

_ISO = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?(?:T\S*)?", re.ASCII)
_DECADE = re.compile(r"(\d{3}0)s", re.ASCII)
_CENTURY = re.compile(r"C(\d\d?)", re.ASCII | re.IGNORECASE)
_PART_OF = re.compile(r"(?:early|mid|late) (.+)", re.IGNORECASE)
_BEFORE = re.compile(r"before (.+)", re.IGNORECASE)
_AFTER = re.compile(r"after (.+)", re.IGNORECASE)


class Span(NamedTuple):
    """The days that a text can mean.

    Attributes:
        first: The earliest day; None if unknown.
        last: The latest day; None if unknown.
    """

    first: date | None = None
    last: date | None = None


@lru_cache(maxsize=4_096)
def span_of(text: str) -> Span:
    """Parse a date.

    Args:
        text: An ISO 8601 year, month, day or time; a decade (`1860s`) or century (`C18`), or the
            early, mid or late part of one; `before` or `after` one of these; or two of them with
            `..` between.

    Returns:
        A span; without bounds if the text has another form.
    """
    if len(text) > _LONGEST:
        return Span()
    try:
        return _span(text.strip())
    except (ValueError, OverflowError):  # a 13th month, a day before the first year
        return Span()


def _span(text: str) -> Span:
    earlier, between, later = text.partition("..")
    if between:
        span = Span(span_of(earlier).first, span_of(later).last)
        return Span() if span.first and span.last and span.first > span.last else span
    if match := _BEFORE.fullmatch(text):
        first = span_of(match[1]).first
        return Span(last=None if first is None else first - timedelta(days=1))
    if match := _AFTER.fullmatch(text):
        return Span(first=span_of(match[1]).first)
    match = _PART_OF.fullmatch(text)
    return span_of(match[1]) if match else _plain(text)


def _plain(text: str) -> Span:
    if match := _ISO.fullmatch(text):
        year = int(match[1])
        months = int(match[2] or 1), int(match[2] or 12)
        days = int(match[3] or 1), int(match[3] or monthrange(year, months[1])[1])
        return Span(date(year, months[0], days[0]), date(year, months[1], days[1]))
    if match := _DECADE.fullmatch(text):
        return Span(date(int(match[1]), 1, 1), date(int(match[1]) + 9, 12, 31))
    if match := _CENTURY.fullmatch(text):
        last_year = 100 * int(match[1])
        return Span(date(last_year - 99, 1, 1), date(last_year, 12, 31))
    return Span()


def status_on(day: date, tags: Mapping[str, str]) -> Literal["proposed", "disused"] | None:
    """Return the status that dates imply for a day.

    Returns:
        `proposed` before the earliest possible opening, `disused` after the latest possible end
        unless it has started again since; otherwise None.
    """
    if not any(key in tags for key in KEYS):
        return None
    opening, start, end = (span_of(tags.get(key, "")) for key in KEYS)
    begins = [each.first for each in (opening, start) if each.first is not None]
    if any(first > day for first in begins):
        return "proposed"
    if end.last is not None and end.last < day and not any(first > end.last for first in begins):
        return "disused"
    return None
