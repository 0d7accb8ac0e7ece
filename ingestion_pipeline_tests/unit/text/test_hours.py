"""Opening hours in one form, with the opening times that the reference implementation reads.

The reference implementation is opening_hours.js. Its release 3.15 reads every pair of texts here in
the same way, and none of those that are refused as unreadable.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opening_hours import OpeningHours, State

from ingestion_pipeline.text.hours import normalized_hours

if TYPE_CHECKING:
    from pathlib import Path

WINDOWS = tuple(
    tuple(map(datetime.fromisoformat, each))
    for each in (
        ("2024-04-01", "2024-04-22"),
        ("2024-07-29", "2024-08-12"),
        ("2024-12-16", "2025-01-06"),
    )
)
"""Those of the reference's results, in the city's own time."""

Intervals = list[list[str]]


def intervals_of(text: str) -> Intervals:
    """Return when it is open or unknown, as opening-hours-py reads it: another implementation."""
    names = {State.OPEN: "open", State.UNKNOWN: "unknown"}
    found: Intervals = []
    for window in WINDOWS:
        for start, end, state, _ in OpeningHours(text).intervals(*window):
            span = [*(f"{each:%Y-%m-%dT%H:%M}" for each in (start, end)), names.get(state, "")]
            if found and found[-1][1:] == [span[0], span[2]]:
                found[-1][1] = span[1]
            elif span[2]:
                found.append(span)
    return found


def test_the_same_hours_are_written_in_the_same_way() -> None:
    assert normalized_hours("Mo-Su 10:00-18:00") == "10:00-18:00"
    assert normalized_hours("Mo,Tu,We 08:00-12:00") == normalized_hours("Mo-We 08:00-12:00")
    assert (
        normalized_hours("Tu 9:00-18:00; Mo 09:00-18:00; PH off")
        == normalized_hours("Mo-Tu 09:00-12:00,12:00-18:00;PH closed;")
        == "Mo-Tu 09:00-18:00; PH closed"
    )
    assert normalized_hours("Mo-Su 00:00-24:00") == normalized_hours("always") == "24/7"
    assert normalized_hours("18:00-00:00") == "18:00-24:00"


@pytest.mark.parametrize(
    ("mapped", "published"),
    [
        ("Sa, Su 09:00-16:00", "Sa-Su 09:00-16:00"),
        ("Tu, Fr 10:00-18:00; We-Th 10:00-20:00", "Tu,Fr 10:00-18:00; We-Th 10:00-20:00"),
        ("Mo-Su, PH 05:00-23:25", "Mo-Su,PH 05:00-23:25"),
        ('Mo-Fr 08:00-12:00 open "ask"', 'Mo-Fr 08:00-12:00 open "ask"'),
        ("Mo-Fr 09:00-17:00; PH Su off", "Mo-Fr 09:00-17:00; PH Su closed"),
        ("Mo-Fr 09:00-17:00; PH +1 day off", "Mo-Fr 09:00-17:00; PH +1 day closed"),
        ("05:00-06:00,06:45-07:00+,13:00-16:00", "05:00-06:00,06:45-07:00+,13:00-16:00"),
        # A rule without days adds to one with days, and replaces one without.
        ("Mo-Fr 10:00-18:00; 11:00-15:00", "Mo-Fr 10:00-18:00; 11:00-15:00"),
        ("10:00-18:00; 11:00-15:00", "11:00-15:00"),
        # Whether hours after midnight hold depends on the order of rules.
        ("Tu 10:00-12:00; Mo 22:00-02:00", "Tu 10:00-12:00; Mo 22:00-02:00"),
        (
            "Mo 10:00-12:00 open, 14:00-16:00",
            "Mo 10:00-12:00,14:00-16:00; Tu-Su 14:00-16:00",
        ),
        ("Mo 22:00-02:00 open, 14:00-16:00", "Mo 22:00-02:00 open, 14:00-16:00"),
        ("open, Mo 10:00-12:00 off", "open, Mo 10:00-12:00 closed"),
        ("Su off, Su 10:00-12:00", "Su 10:00-12:00"),
        ("24/7; Su off", "Mo-Sa 00:00-24:00"),
        ("Mo-Su off", "closed"),
        ('Mo-Fr 08:00-16:00 || "on request"', 'Mo-Fr 08:00-16:00 || "on request"'),
        ("Sa-Mo 18:00-sunset", "Sa-Mo 18:00-sunset"),
        # The reference implementation's result depends on the form of the other weekdays.
        (
            "Th-Su,Su; Tu[1] -2 days 10:00-12:00",
            "Th-Su,Su 00:00-24:00; Tu[1] -2 days 10:00-12:00",
        ),
        (
            "Sa,Sa-We; Tu[1] -2 days 10:00-12:00",
            "Sa,Sa-We 00:00-24:00; Tu[1] -2 days 10:00-12:00",
        ),
        (
            "Th 23:30-19:15 || Th-Mo 00:15-22:30+,13:59-08:00",
            "Th 23:30-19:15 || Th-Mo 00:15-22:30+,13:59-08:00",
        ),
        ("(sunrise+1:00)-(sunset-00:30)", "(sunrise+01:00)-(sunset-00:30)"),
        ("Mo[1,-1] 10:00-12:00", "Mo[1,-1] 10:00-12:00"),
        ("Apr 1 - Oct 31 Mo-Fr 9:00-12:00", "Apr 1-Oct 31 Mo-Fr 09:00-12:00"),
        ("Jun 1-5: 20:00-24:00; Aug: 20:00-23:00", "Jun 1-5 20:00-24:00; Aug 20:00-23:00"),
        ("week 1-53/2 Fr 09:00-12:00", "week 01-53/2 Fr 09:00-12:00"),
        ("2024 Dec 24,31 off", "2024 Dec 24,31 closed"),
        ("easter -2 days off", "easter -2 days closed"),
        ("Mo-Fr 08:00,18:00", "Mo-Fr 08:00,18:00"),
        ("Mo-Fr 10:00-16:00/01:30", "Mo-Fr 10:00-16:00/01:30"),
        ("10:00-12:00 Mo-Fr", "Mo-Fr 10:00-12:00"),
    ],
)
def test_the_published_text_means_what_was_mapped(mapped: str, published: str) -> None:
    assert normalized_hours(mapped) == published
    assert normalized_hours(published) == published


@pytest.mark.parametrize(
    ("mapped", "published"),
    [
        ("Mo - Fr 08:30 - 19:00", "Mo-Fr 08:30-19:00"),
        ("Mo–Fr 08:30–19:00", "Mo-Fr 08:30-19:00"),
        ("Mo-Fr  10:00-18:00;\nSa 11:00-19:00; ", "Mo-Fr 10:00-18:00; Sa 11:00-19:00"),
        ("mo-FR 8-12; sa 9am-1pm", "Mo-Fr 08:00-12:00; Sa 09:00-13:00"),
        ("Mo-So 12.00-20.00 Uhr", "12:00-20:00"),
        ("Dienstag bis Donnerstag 8:00-16:00", "Tu-Th 08:00-16:00"),
        ("Di,Do 10:00-12:00; So geschlossen", "Tu,Th 10:00-12:00"),
        ("Пн-Пт 09:00-18:00", "Mo-Fr 09:00-18:00"),
        ("Mon to Fri 9:30 am - 12:15 am", "Mo-Fr 09:30-00:15"),
        ("7am-3pm daily", "07:00-15:00"),
        ("Mo-Fr: 10:00-12:00 & 14:00-16:00", "Mo-Fr 10:00-12:00,14:00-16:00"),
        ("Mo-Fr 10:00-14:00 16:00-20:00", "Mo-Fr 10:00-14:00,16:00-20:00"),
        ("Fr11:00-24:00", "Fr 11:00-24:00"),
        ("opening_hours=Mo 07:00-19:00", "Mo 07:00-19:00"),
        ("Mo-Fr 10:00 - open end", "Mo-Fr 10:00+"),
        ("Mo-Fr 10:00-16:00; Sa by appointment", 'Mo-Fr 10:00-16:00; Sa "by appointment"'),
        ("„nach Absprache“", '"nach Absprache"'),
        ("Jan-Dez 10:00-12:00", "Jan-Dec 10:00-12:00"),
    ],
)
def test_the_usual_slips_of_mappers_are_corrected(mapped: str, published: str) -> None:
    assert normalized_hours(mapped) == published
    assert normalized_hours(published) == published


@pytest.mark.parametrize(
    "text",
    [
        *("", ";", "when open", "yes", "same", "2021-07-22", "+423 232 48 18"),
        *("Mo-Fr 8:30-17", "Mo-Fr 10:00-", "Mo-Fr, 10:00-12:00", "24/7, PH off", "24h"),
        *("Mo-Fr 26:00-28:00", "Mo 10:00-12:60", "Mo 10:00-60:00", "Feb 30 off", "Mo[6] off"),
        *("week 40-20 Mo", "2025-2024 Mo", "2024 Apr 10:00-12:00", "Mar 5-1", "PH +2 days off"),
        *("Apr 24: 10:00-12:00", "Mo 20:00-18:00+", "|| Mo off"),
        "2024 Nov 22-Dec 18 Mo",
    ],
)
def test_what_the_reference_cannot_read_is_not_published(text: str) -> None:
    assert normalized_hours(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Mo-Fr 09:00-18:00 Sa 10:00-14:00",  # read as one rule of six days
        "Mo-Fr 9-5",  # read as a night
        "Mo-Do 09:00-18:00",  # Thursday in Germany, Sunday in Spain
        *('Mo "x" off', "Mo off ||", "h"),
        "24/7; " * 400,
    ],
)
def test_what_may_mean_something_else_is_not_published(text: str) -> None:
    assert normalized_hours(text) is None


WEEKDAY = st.sampled_from(("Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"))
DAYS = st.lists(
    st.one_of(WEEKDAY, st.builds("{}-{}".format, WEEKDAY, WEEKDAY)), min_size=1, max_size=3
).map(",".join)
SPAN = st.tuples(st.integers(0, 23), st.integers(1, 24)).map(
    lambda hours: f"{min(hours[0], hours[1] - 1):02}:00-{max(hours[0] + 1, hours[1]):02}:00"
)
TIMES = st.one_of(
    st.sampled_from(("off", "00:00-24:00")), st.lists(SPAN, min_size=1, max_size=3).map(",".join)
)
RULE = st.builds("{} {}".format, DAYS, TIMES)


@given(st.lists(RULE, min_size=1, max_size=4).map("; ".join))
def test_rules_of_weekdays_keep_their_opening_times(mapped: str) -> None:
    published = normalized_hours(mapped)
    assert published is not None
    assert intervals_of(published) == intervals_of(mapped)
    assert normalized_hours(published) == published


@given(st.lists(RULE, min_size=1, max_size=3).map("; ".join))
def test_days_and_times_are_read_alike_together_and_apart(mapped: str) -> None:
    """Two blanks between them are none of the usual form, whose days and times are read apart."""
    assert normalized_hours(mapped) == normalized_hours(mapped.replace(" ", "  "))


@given(st.text('MoTuFrSuPH0123456789:-,;+ "|[]()offam', max_size=40))
def test_no_text_is_beyond_refusal(text: str) -> None:
    published = normalized_hours(text)
    assert published is None or normalized_hours(published) == published


@pytest.mark.real_data
def test_real_hours_have_the_opening_times_of_the_reference(osm_test_data: Path) -> None:
    lines = (osm_test_data / "cases" / "hours.jsonl").read_text("utf-8").splitlines()
    reference: dict[str, Intervals | None] = {
        each["text"]: each["intervals"] for each in map(json.loads, lines)
    }
    published = {text: normalized_hours(text) for text in reference}
    readable = [text for text, intervals in reference.items() if intervals is not None]
    assert len(readable) == 798
    assert not {text for text in published if published[text] and reference[text] is None}
    assert sum(published[text] is not None for text in readable) >= 0.98 * len(readable)

    by_published: dict[str, Intervals | None] = {}
    for text in readable:
        form = published[text]
        if form is not None:
            assert by_published.setdefault(form, reference[text]) == reference[text], text
            assert reference.get(form, reference[text]) == reference[text], text
    # Of weekdays and times of one day, the other implementation reads the same.
    weekly = re.compile(rf"{ONE}(; {ONE})*")
    compared = [form for form in by_published if weekly.fullmatch(form) and _is_of_one_day(form)]
    assert len(compared) > 450
    assert [form for form in compared if intervals_of(form) != by_published[form]] == []


DAY = "(?:Mo|Tu|We|Th|Fr|Sa|Su)"
ONE = rf"{DAY}(?:[-,]{DAY})* (?:closed|\d\d:\d\d-\d\d:\d\d(?:,\d\d:\d\d-\d\d:\d\d)*)"


def _is_of_one_day(form: str) -> bool:
    return all(start < end for start, end in re.findall(r"(\d\d:\d\d)-(\d\d:\d\d)", form))
