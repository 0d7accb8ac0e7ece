"""City-days and idempotency keys."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.core.identity import SLUG, CityDay, JobKey, PartitionKeyError

SLUGS = st.from_regex(SLUG, fullmatch=True)


@given(city=SLUGS, day=st.dates())
def test_every_city_day_comes_back_from_its_key(city: str, day: date) -> None:
    assert CityDay.parse(str(CityDay(city, day))) == CityDay(city, day)


@given(key=st.text(max_size=30) | st.from_regex(r"[a-z|-]{1,8}\|[\d-]{8,11}", fullmatch=True))
def test_whatever_is_parsed_is_written_as_it_was(key: str) -> None:
    try:
        parsed = CityDay.parse(key)
    except PartitionKeyError:
        return
    assert str(parsed) == key


def test_a_key_is_parsed() -> None:
    assert CityDay.parse("kazan|2026-11-20") == CityDay("kazan", date(2026, 11, 20))


@pytest.mark.parametrize(
    "key",
    [
        "",
        "|",
        "kazan",
        "kazan|",
        "|2026-11-20",
        "2026-11-20|kazan",
        "kazan|2026-11-20|x",
        "kazan|2026-13-01",
        "kazan|2026-02-30",
        "kazan|20261120",
        "kazan|2026-W47-5",
        "kazan|2026-11-20T00:00",
        "kazan|2026-11-20 ",
        "kazan|2026-11-20\n",
        "kazan |2026-11-20",
        "Kazan|2026-11-20",
        "казань|2026-11-20",
        "-kazan|2026-11-20",
        "ka,zan|2026-11-20",
        "[kazan]|2026-11-20",
        "kazan|٢٠٢٦-١١-٢٠",
        "../kazan|2026-11-20",
    ],
)
def test_a_key_of_another_form_is_refused_with_the_form_that_is_wanted(key: str) -> None:
    with pytest.raises(PartitionKeyError) as refused:
        CityDay.parse(key)
    assert repr(key) in str(refused.value)
    assert "kazan|2026-11-20" in str(refused.value)
    assert not refused.value.should_retry


def test_city_days_sort_by_city_and_day() -> None:
    days = [CityDay("b", date(2026, 1, 1)), CityDay("a", date(2026, 1, 2))]
    assert sorted(days) == days[::-1]


def test_an_idempotency_key_is_written_in_clear() -> None:
    key = JobKey("osm_import", "kazan", "relation/27504067", date(2026, 11, 20))
    assert str(key) == "osm_import|kazan|relation/27504067|2026-11-20"


def test_a_key_differs_with_each_of_its_parts() -> None:
    day = date(2026, 11, 20)
    keys = {
        str(JobKey("osm_import", "kazan", "relation/1", day)),
        str(JobKey("helpers_import", "kazan", "relation/1", day)),
        str(JobKey("osm_import", "sochi", "relation/1", day)),
        str(JobKey("osm_import", "kazan", "bbox:0,0,1,1", day)),
        str(JobKey("osm_import", "kazan", "relation/1", date(2026, 11, 21))),
    }
    assert len(keys) == 5
