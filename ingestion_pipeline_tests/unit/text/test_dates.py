"""What is certain of the dates that people write into tags."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.text.dates import Span, span_of, status_on

DAY = date(2024, 2, 29)


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2016", "2016-01-01", "2016-12-31"),
        ("2016-02", "2016-02-01", "2016-02-29"),
        ("2016-05-07", "2016-05-07", "2016-05-07"),
        (" 2016-05-07 ", "2016-05-07", "2016-05-07"),
        ("2016-05-07T10:00:00Z", "2016-05-07", "2016-05-07"),
        ("0897", "0897-01-01", "0897-12-31"),
        ("1860s", "1860-01-01", "1869-12-31"),
        ("1800s", "1800-01-01", "1809-12-31"),
        ("late 1920s", "1920-01-01", "1929-12-31"),
        ("C18", "1701-01-01", "1800-12-31"),
        ("mid C14", "1301-01-01", "1400-12-31"),
        ("1914..1918", "1914-01-01", "1918-12-31"),
        ("mid C17..late C17", "1601-01-01", "1700-12-31"),
        ("before 1855", None, "1854-12-31"),
        ("before 1910-01-20", None, "1910-01-19"),
        ("before 1905..1908", None, "1908-12-31"),
        ("after 1823", "1823-01-01", None),
        ("2030..", "2030-01-01", None),
        # As the wiki says, "some time around", "probably": nothing is certain.
        ("~1855", None, None),
        ("~1940s", None, None),
        ("480 BC", None, None),
        ("j:1918-01-31", None, None),
        # What stands in data and is no date of the wiki's.
        ("2026-13-45", None, None),
        ("2023-02-29", None, None),
        ("0000", None, None),
        ("C0", None, None),
        ("before 0001", None, None),
        ("08/1963", None, None),
        ("1.11.2016", None, None),
        ("1913-1914", None, None),
        ("1918..1914", None, None),
        ("2010-08-01;2010-08-19", None, None),
        ("18550", None, None),
        ("٢٠٣٠", None, None),
        ("soon", None, None),
        ("", None, None),
        ("before " * 10_000, None, None),
    ],
)
def test_a_date_is_read_as_the_days_that_it_may_mean(
    text: str, first: str | None, last: str | None
) -> None:
    days = (None if day is None else date.fromisoformat(day) for day in (first, last))
    assert span_of(text) == Span(*days)


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ({}, None),
        ({"opening_date": "2024-03-01"}, "proposed"),
        ({"opening_date": "2024-02-29"}, None),
        ({"opening_date": "2024-02"}, None),
        ({"opening_date": "2024-03"}, "proposed"),
        ({"opening_date": "2024"}, None),
        ({"opening_date": "2025"}, "proposed"),
        ({"start_date": "2025"}, "proposed"),
        ({"start_date": "~2025"}, None),
        ({"start_date": "after 2024-03"}, "proposed"),
        ({"start_date": "before 2030"}, None),
        ({"end_date": "2024-02-28"}, "disused"),
        ({"end_date": "2024-02-29"}, None),
        ({"end_date": "2024"}, None),
        ({"end_date": "2023"}, "disused"),
        ({"end_date": "before 1900"}, "disused"),
        ({"end_date": "C19"}, "disused"),
        ({"end_date": "after 1823"}, None),
        ({"end_date": "~1855"}, None),
        ({"end_date": "2026-13-45"}, None),
        ({"end_date": "2020", "start_date": "1990"}, "disused"),
        ({"end_date": "2020", "start_date": "2022"}, None),
        ({"end_date": "2020", "opening_date": "2022-05-01"}, None),
        ({"end_date": "2020", "opening_date": "2030"}, "proposed"),
    ],
    ids=str,
)
def test_only_a_date_that_is_certain_takes_a_place_away(
    tags: dict[str, str], status: str | None
) -> None:
    assert status_on(DAY, tags) == status


@given(st.text(max_size=80))
def test_every_text_can_be_read(text: str) -> None:
    span = span_of(text)
    assert span.first is None or span.last is None or isinstance(span.first, date)


@given(st.dates(min_value=date(1000, 1, 1)), st.dates(min_value=date(1000, 1, 1)))
def test_a_place_with_plain_dates_is_there_from_the_first_to_the_last(
    start: date, end: date
) -> None:
    tags = {"start_date": start.isoformat(), "end_date": end.isoformat()}
    expected = "proposed" if start > DAY else "disused" if start <= end < DAY else None
    assert status_on(DAY, tags) == expected
