"""Opening hours in the canonical form of the OSM specification.

The canonical text has the same opening times as the mapped one. Rules keep their order. Only the
first rules, as far as they have plain weekdays and times, are merged, because they are a table of
seven days. A rule that ends after midnight is not merged: whether its hours of the next day apply
depends on the order of rules.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import zip_longest

from ingestion_pipeline.text.hours_grammar import (
    WEEK,
    Days,
    NotUnderstood,
    Rule,
    Span,
    depends_on_form,
    merged,
    rules_of,
)
from ingestion_pipeline.text.hours_words import WEEKDAYS

_Content = tuple[tuple[Span, ...], str, str | None]
"""The spans, state and comment of a rule for a day."""


@lru_cache(maxsize=100_000)
def normalized_hours(raw: str) -> str | None:
    """Return opening hours in the canonical form of the OSM specification.

    Args:
        raw: As they were mapped.

    Returns:
        A text with the same opening times, as the reference implementation opening_hours.js reads
        both; None if they cannot be parsed.
    """
    try:
        rules = _by_weekday(rules_of(raw))
        written = _written(rules)
        is_read_alike = written == raw or rules_of(written) == rules
    except NotUnderstood:
        return None
    return written if is_read_alike else None


# One rule for each content


def _by_weekday(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """Merge the first rules, as far as they have plain weekdays, into one for each content."""
    if depends_on_form(rules):
        return rules
    week: dict[int, _Content | None] = dict.fromkeys(sorted(WEEK))
    done = 0
    for at, rule in enumerate(rules):
        if not _is_of_weekdays(rule, before=rules[at - 1] if at else None):
            break
        days = WEEK if rule.days is None else rule.days.plain
        if rule.separator == ", " and not all(_can_add(week[day], rule) for day in days):
            break
        week |= {day: _after(week[day], rule) for day in days}
        done += 1
    if not done:
        return (_without_all_days(rules[0]),) if len(rules) == 1 else rules
    rest = rules[done:]
    contents = dict.fromkeys(content for content in week.values() if content is not None)
    # The effect of a rule without days depends on whether the previous one has days.
    if any(rule.separator == "; " and not rule.is_dated for rule in rest):
        return rules
    if not contents:
        return rules if rest else (Rule("; ", state="closed"),)
    together = (
        Rule("; ", (), Days(frozenset(day for day in WEEK if week[day] == content)), *content)
        for content in contents
    )
    return (*map(_without_all_days, together), *rest)


def _is_of_weekdays(rule: Rule, *, before: Rule | None) -> bool:
    """Return whether a rule applies to all of its weekdays and to no other day."""
    if rule.separator == " || " or rule.dates or (rule.days is not None and rule.days.others):
        return False
    if rule.days is None and before is not None and rule.separator == "; ":
        replaces_all = rule.state == "closed" or (rule.state == "open" and not before.is_dated)
        if not replaces_all:
            return False
    if rule.state == "closed" and rule.spans:
        return False
    return all(span.minutes for span in rule.spans)


def _can_add(content: _Content | None, rule: Rule) -> bool:
    if content is None or rule.state == "closed":
        return True
    return content[1:] == ("open", None) == (rule.state, rule.comment)


def _after(content: _Content | None, rule: Rule) -> _Content | None:
    """Return the content of a day after a rule."""
    if rule.state == "closed" and rule.comment is None:
        return None
    if rule.separator == ", " and content is not None and rule.state == "open":
        spans = merged((*content[0], *rule.spans)) if content[0] and rule.spans else ()
        return (spans, *content[1:])
    return (rule.spans, rule.state, rule.comment)


def _without_all_days(rule: Rule) -> Rule:
    return rule._replace(days=None) if rule.days == Days(WEEK) and not rule.dates else rule


# Text


def _written(rules: tuple[Rule, ...]) -> str:
    text = "".join(
        rule.separator + _text(rule, following)
        for rule, following in zip_longest(rules, rules[1:])
        if rule is not None
    )
    return text.removeprefix("; ")


def _text(rule: Rule, following: Rule | None) -> str:
    state = "" if rule.state == "open" or rule.comment is not None else rule.state
    if rule.state != "unknown" and rule.comment is not None:
        state = rule.state
    times = ",".join(span.text for span in rule.spans)
    added = following if following is not None and following.separator == ", " else None
    if added is not None and not (state or rule.comment is not None or added.is_dated):
        state = "open"  # otherwise two lists of times would merge
    if not (times or state or rule.comment is not None):
        if rule.is_dated:
            times = "00:00-24:00"
        elif added is not None:
            state = "open"  # no comma may follow 24/7
        else:
            times = "24/7"
    comment = "" if rule.comment is None else f'"{rule.comment}"'
    days = "" if rule.days is None else _days(rule.days)
    return " ".join(filter(None, (*rule.dates, days, times, state, comment)))


def _days(days: Days) -> str:
    """Return weekdays as text, consecutive ones as a range."""
    ranges: list[list[int]] = []
    for day in sorted(days.plain):
        if ranges and ranges[-1][-1] == day - 1:
            ranges[-1].append(day)
        else:
            ranges.append([day])
    plain = (
        "-".join(WEEKDAYS[day] for day in dict.fromkeys((each[0], each[-1]))) for each in ranges
    )
    return ",".join((*plain, *days.others))
