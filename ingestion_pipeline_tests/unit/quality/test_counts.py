"""A day's counts beside those of the city's earlier days."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest

from ingestion_pipeline.core.boundary import BboxBoundary
from ingestion_pipeline.core.geo import Bbox
from ingestion_pipeline.osm import normalize
from ingestion_pipeline.osm.area import Area
from ingestion_pipeline.osm.taxonomy import Taxonomy
from ingestion_pipeline.quality.census import NEW_LEVEL_DAYS, census_of
from ingestion_pipeline.quality.counts import SIZEABLE, band_of, check_counts
from ingestion_pipeline.sources.pbf import extract
from ingestion_pipeline_tests.support.invented_days import TODAY, census, past

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from ingestion_pipeline.core.census import Census

CITY = {
    "amenity/cafe": 300,
    "amenity/restaurant": 200,
    "amenity/restaurant/pizza": 100,
    "shop/clothes": 400,
    "shop/bakery": 12,
    "shop": 30,
}


def scaled(counts: Mapping[str, int], factor: float) -> dict[str, int]:
    return {name: round(count * factor) for name, count in counts.items()}


# What stops


def test_a_day_with_two_fifths_of_its_features_is_stopped_with_names_and_numbers() -> None:
    found = check_counts(census(scaled(CITY, 0.4)), past(CITY))
    assert found.verdict == "stop"
    assert found.message.startswith(
        "too few features: all 417, expected 915 to 1,186; amenity 240, "
    )
    assert "amenity/cafe 120, expected 181 to 496" in found.message
    assert "compared with 28 staged days, the newest 2026-02-28" in found.message
    assert found.head == ("category", "usual", "expected", "seen", "")
    assert ("all", "1,042", "915 to 1,186", "417", "fell") in found.rows
    assert ("shop/bakery", "12", "3 to 40", "5", "") in found.rows


def test_a_sizeable_category_that_is_lost_is_stopped_though_the_whole_is_in_its_band() -> None:
    city = CITY | {"tourism/hotel": SIZEABLE}
    found = check_counts(census(city | {"tourism/hotel": 0}), past(city))
    assert found.verdict == "stop"
    assert found.message.startswith("too few features: tourism 0, expected 27 to 90; tourism/hotel")
    assert " all " not in found.message.split("(")[0]


def test_a_small_category_may_be_lost() -> None:
    assert check_counts(census(CITY | {"shop/bakery": 0}), past(CITY)).verdict == "good"


def test_a_category_that_becomes_more_special_is_not_lost() -> None:
    mapped = CITY | {"amenity/restaurant": 20, "amenity/restaurant/pizza": 280}
    found = check_counts(census(mapped), past(CITY))
    assert found.verdict == "warn"
    assert found.message.startswith("more features than expected: amenity/restaurant/pizza 280, ")


def test_a_rise_warns() -> None:
    found = check_counts(census(scaled(CITY, 2)), past(CITY))
    assert found.verdict == "warn"
    assert "more features than expected: all 2,084" in found.message


def test_an_empty_day_is_stopped() -> None:
    assert check_counts(census({}), past(CITY)).verdict == "stop"


# Little history


def test_the_first_day_has_nothing_to_be_compared_with_and_says_so() -> None:
    found = check_counts(census(CITY), [])
    assert found.verdict == "good"
    assert "no earlier day to compare with" in found.message


def test_one_day_of_history_is_enough_to_stop_a_day_with_two_fifths() -> None:
    found = check_counts(census(scaled(CITY, 0.4)), past(CITY, days=1))
    assert found.verdict == "stop"


def test_the_less_is_known_the_wider_is_the_band() -> None:
    widths = [band_of([1000] * days, pause_days=1).low for days in (1, 2, 7, 28)]
    assert widths == sorted(widths)
    assert widths[0] < 800
    assert widths[-1] > 860


def test_after_a_pause_so_much_may_be_gone_as_changes_in_that_time() -> None:
    lows = [band_of([1000] * 28, pause_days=days).low for days in (1, 100, 700)]
    assert lows == [876, 793, 435]


def test_a_past_that_jumps_about_excuses_no_jump() -> None:
    wild = [1000, 400] * 14
    assert band_of(wild, pause_days=1).low > 400


# Rules


def test_by_new_rules_a_category_that_falls_warns_and_the_whole_still_stops() -> None:
    renamed = CITY | {"amenity/cafe": 0, "amenity/coffee": 300}
    found = check_counts(census(renamed, rules="rules 2"), past(CITY))
    assert found.verdict == "warn"
    assert found.message.startswith("the rules are new, and there are fewer features: ")
    lost = check_counts(census(scaled(CITY, 0.4), rules="rules 2"), past(CITY))
    assert lost.verdict == "stop"
    assert lost.message.startswith("too few features: all 417, expected 915 to 1,186 (")


def test_from_the_second_day_of_new_rules_on_categories_stop_again() -> None:
    history = [census(CITY, ago=1, rules="rules 2"), *past(CITY)[1:]]
    today = census(CITY | {"amenity/cafe": 0}, rules="rules 2")
    assert check_counts(today, history).verdict == "stop"


# Acceptance


def test_one_accepted_day_changes_nothing_of_what_is_expected() -> None:
    bad = scaled(CITY, 0.4)
    for days in (28, 1):
        history = [census(bad, ago=1, accepted=True), *past(CITY, days=days + 1)[1:]]
        assert check_counts(census(bad), history).verdict == "stop"
        assert check_counts(census(CITY), history).verdict == "good"


def test_accepted_days_here_and_there_make_no_new_level() -> None:
    bad = scaled(CITY, 0.4)
    history = [
        census(bad, ago=ago, accepted=True) if ago % 2 else census(CITY, ago=ago)
        for ago in range(1, 29)
    ]
    assert check_counts(census(bad), history).verdict == "stop"
    assert check_counts(census(CITY), history).verdict == "good"


def test_three_accepted_days_in_a_row_are_the_new_level_and_stay_it() -> None:
    new = scaled(CITY, 0.4)
    history = past(CITY)
    accepted = []
    for number in range(30):
        today = census(new, ago=-number)
        verdict = check_counts(today, history[:28]).verdict
        accepted.append(verdict == "stop")
        history.insert(0, census(new, ago=-number, accepted=verdict == "stop"))
    assert accepted == [True] * NEW_LEVEL_DAYS + [False] * (30 - NEW_LEVEL_DAYS)
    worse = census(scaled(new, 0.4), ago=-30)
    assert check_counts(worse, history[:28]).verdict == "stop"


# Normal days


def normal_days(features: int, days: int, seed: int) -> Iterator[Counter[str]]:
    """Invent days of a city: one of a thousand features changes on a day, on peaks many more.

    Measured in a real city of 4,126 POIs: about 4 changes a day, and 65 on the liveliest. On such a
    day one mapper also goes through a third of one category.
    """
    random = np.random.default_rng(seed)
    names = np.array([f"key{number % 6}/value{number}" for number in range(60)])
    weights = 1 / np.arange(1, 61)  # a few big categories and many small ones
    city = random.multinomial(features, weights / weights.sum())
    for day in range(days):
        peak = day % 20 == 19
        changes = random.poisson(features * (0.016 if peak else 0.001))
        going_through = random.integers(60)
        places = [
            *random.choice(60, changes, p=city / city.sum()),
            *([going_through] * (city[going_through] // 3 if peak else 0)),
        ]
        for place in places:
            fate = random.choice(["goes", "becomes another", "is new"], p=[0.25, 0.35, 0.4])
            city[place] -= fate != "is new" and city[place] > 0
            city[random.integers(60)] += fate != "goes"
        yield Counter(dict(zip(names.tolist(), city.tolist(), strict=True)))


@pytest.mark.parametrize("features", [40, 400, 4126, 40_000])
def test_months_of_normal_days_stop_nothing_and_a_truncated_day_among_them_is_stopped(
    features: int,
) -> None:
    history: list[Census] = []
    for number, counts in enumerate(normal_days(features, days=61, seed=features)):
        found = check_counts(census(counts, ago=-number), history[:28])
        assert found.verdict != "stop", (number, found.message)
        if number % 10 == 1 and features >= 400:
            truncated = census(scaled(counts, 0.4), ago=-number)
            assert check_counts(truncated, history[:28]).verdict == "stop", number
        history.insert(0, census(counts, ago=-number))


REAL = {
    "monaco": ((7.409205, 43.72335, 7.448637, 43.75169), date(2021, 4, 21), date(2023, 12, 26)),
    "liechtenstein": ((9.47, 47.04, 9.64, 47.28), date(2015, 7, 27), date(2022, 7, 24)),
}


def real_census(folder: Path, place: str, day: date) -> Census:
    box = Bbox(*REAL[place][0])
    reading = extract.read(folder / "extracts" / f"{place}-{day}.osm.pbf", area=Area(box, None))
    pois = normalize.normalize(
        reading.features,
        boundary=BboxBoundary(box),
        day=day,
        languages=["en"],
        local_language=None,
        country="MC",
        taxonomy=Taxonomy.load(),
    )
    return census_of(
        pois.table, day=day, rules_version="rules 1", class_column="category", languages=("en",)
    )


@pytest.mark.real_data
@pytest.mark.parametrize(("place", "grown_by"), [("monaco", 1.24), ("liechtenstein", 2.77)])
def test_years_of_real_change_stop_nothing_and_all_of_it_in_one_day_warns(
    osm_test_data: Path, place: str, grown_by: float
) -> None:
    _, first, last = REAL[place]
    earlier = real_census(osm_test_data, place, first)
    later = real_census(osm_test_data, place, last)
    assert round(later.total / earlier.total, 2) == grown_by
    assert check_counts(later, [earlier]).verdict == "good"
    overnight = [census(earlier.counts, ago=1, rules="rules 1")]
    assert check_counts(census(later.counts), overnight).verdict == "warn"
    # Backwards it is a loss of a fifth, or of two thirds.
    lost = [census(later.counts, ago=1)]
    assert check_counts(census(earlier.counts), lost).verdict == "stop"


def test_what_was_counted_is_told_to_be_plotted() -> None:
    found = check_counts(census(CITY), past(CITY))
    assert found.numbers == {"features": 1042, "usual": 1042}
    assert TODAY - timedelta(days=1) == past(CITY)[0].day
