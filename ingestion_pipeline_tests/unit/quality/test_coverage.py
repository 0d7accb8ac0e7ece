"""Which cities lack their latest due day."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from ingestion_pipeline.quality.coverage import CityCoverage, check_coverage, latest_due_day

DUE = date(2024, 6, 1)


@pytest.mark.parametrize(
    ("zone", "now", "expected"),
    [
        ("Europe/Moscow", datetime(2024, 6, 1, 3, 0, tzinfo=UTC), date(2024, 6, 1)),
        # It is due at 04:00 in Moscow, 01:00 UTC, and has two hours for it.
        ("Europe/Moscow", datetime(2024, 6, 1, 2, 59, tzinfo=UTC), date(2024, 5, 31)),
        # 04:00 in Kamchatka is 16:00 UTC of the day before.
        ("Asia/Kamchatka", datetime(2024, 6, 1, 17, 59, tzinfo=UTC), date(2024, 5, 31)),
        ("Asia/Kamchatka", datetime(2024, 6, 1, 18, 1, tzinfo=UTC), date(2024, 6, 1)),
        ("America/Los_Angeles", datetime(2024, 6, 1, 12, 59, tzinfo=UTC), date(2024, 5, 31)),
        ("America/Los_Angeles", datetime(2024, 6, 1, 13, 1, tzinfo=UTC), date(2024, 6, 1)),
    ],
)
def test_a_day_is_due_some_hours_after_its_tick(zone: str, now: datetime, expected: date) -> None:
    assert latest_due_day(time(4), ZoneInfo(zone), now=now) == expected


def test_cities_that_have_their_day_or_a_later_one_are_covered() -> None:
    found = check_coverage(
        [CityCoverage("kazan", DUE, DUE), CityCoverage("perm", DUE, date(2024, 6, 2))]
    )
    assert found.verdict == "good"
    assert found.message == "all 2 enabled cities have their latest due day"
    assert found.rows[0] == ("kazan", "2024-06-01", "2024-06-01", "")


def test_cities_that_lag_are_named_with_the_day_since_when_the_longest_first() -> None:
    found = check_coverage(
        [
            CityCoverage("kazan", DUE, DUE),
            CityCoverage("omsk", DUE, date(2024, 5, 31)),
            CityCoverage("perm", DUE, date(2024, 5, 20)),
            CityCoverage("tula", DUE, None),
        ]
    )
    assert found.verdict == "stop"
    assert found.message == (
        "3 of 4 enabled cities lack their latest due day: tula since ever; perm since 2024-05-21; "
        "omsk since 2024-06-01"
    )
    assert [row[0] for row in found.rows] == ["tula", "perm", "omsk", "kazan"]
    assert found.rows[1] == ("perm", "2024-06-01", "2024-05-20", "2024-05-21")
    assert found.numbers == {"lagging": 3}
