"""Which data may stand for which day."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from ingestion_pipeline.osm.errors import (
    FutureDay,
    NoEvidenceForDay,
    StaleUpstream,
    TooFewPois,
    WrongSnapshotDate,
)
from ingestion_pipeline.sources.as_of import is_current, require_enough, require_true_on

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
TODAY = date(2026, 11, 20)


def check(day: date, as_of: str) -> None:
    require_true_on(
        day,
        as_of=datetime.fromisoformat(as_of),
        now=NOW,
        maximum_age=timedelta(hours=36),
        origin="extract x.osm.pbf",
    )


@pytest.mark.parametrize(
    ("day", "as_of"),
    [
        (TODAY, "2026-11-20T11:59:00Z"),
        (TODAY, "2026-11-20T12:10:00Z"),
        (TODAY, "2026-11-19T00:00:00Z"),
        (date(2026, 11, 18), "2026-11-18T00:00:00Z"),
        (date(2026, 11, 18), "2026-11-18T23:59:59Z"),
        (date(2026, 11, 18), "2026-11-19T00:00:00Z"),
    ],
)
def test_data_of_the_day_is_taken(day: date, as_of: str) -> None:
    check(day, as_of)


@pytest.mark.parametrize(
    ("day", "as_of", "error"),
    [
        (TODAY, "2026-11-18T23:59:59Z", StaleUpstream),
        (TODAY, "2026-11-20T12:10:01Z", NoEvidenceForDay),
        (TODAY, "2026-11-21T00:00:01Z", NoEvidenceForDay),
        (date(2026, 11, 18), "2026-11-20T12:00:00Z", NoEvidenceForDay),
        (date(2026, 11, 18), "2026-11-17T23:59:59Z", NoEvidenceForDay),
        (date(2026, 11, 18), "2026-11-19T00:00:01Z", NoEvidenceForDay),
        (date(2026, 11, 21), "2026-11-20T12:00:00Z", FutureDay),
    ],
)
def test_data_of_another_day_is_refused(
    day: date, as_of: str, error: type[WrongSnapshotDate]
) -> None:
    with pytest.raises(error):
        check(day, as_of)


def test_the_current_day_is_the_one_in_utc() -> None:
    assert is_current(TODAY, datetime.fromisoformat("2026-11-21T02:00:00+03:00"))
    assert not is_current(TODAY, datetime.fromisoformat("2026-11-21T00:00:00Z"))


def test_only_stale_data_may_mend_itself() -> None:
    assert StaleUpstream.should_retry
    assert not NoEvidenceForDay.should_retry


def test_a_day_below_the_minimum_is_refused_with_both_numbers() -> None:
    asserted: dict[str, Any] = {
        "minimum": 1000,
        "city": "kazan",
        "day": TODAY,
        "things": "helper places",
        "key": "minimum_helpers",
    }
    require_enough(1000, **asserted)
    few = r"kazan has 999 helper places on 2026-11-20, fewer than.* 1000.* lower minimum_helpers in"
    with pytest.raises(TooFewPois, match=few):
        require_enough(999, **asserted)
