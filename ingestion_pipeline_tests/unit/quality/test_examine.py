"""All checks of a frame, and what an operator may say to them."""

from __future__ import annotations

import pytest

from ingestion_pipeline.datasets.helper import HELPER
from ingestion_pipeline.datasets.poi import POI
from ingestion_pipeline.datasets.registry import DATASETS
from ingestion_pipeline.quality.catalogue import CHECKS, COUNTS, PARITY, UNCLASSIFIED
from ingestion_pipeline.quality.census import census_of, language_keys
from ingestion_pipeline.quality.errors import AcceptanceWithoutReason, StoppedByCheck
from ingestion_pipeline.quality.examine import examine, reason_of, require_accepted
from ingestion_pipeline.quality.findings import Finding
from ingestion_pipeline_tests.support.invented_days import BOUNDARY, TODAY, census, frame, past

GOOD = Finding(PARITY, "good", "as it should be")
BAD = [Finding(check, "stop", f"{check.name} is wrong") for check in CHECKS if check.blocking]


def test_every_check_is_run_once_in_the_order_in_which_it_is_shown() -> None:
    for dataset in DATASETS.values():
        checks = dataset.checks
        counted = census({"amenity/cafe": 3})
        found = examine(frame(), counted, [], boundary=BOUNDARY, checks=checks)
        assert [each.check for each in found] == [check for check in checks if check != PARITY]
    assert set(POI.checks) - set(HELPER.checks) == {UNCLASSIFIED}


def test_a_check_that_does_not_block_never_stops_a_day() -> None:
    worst = census({"shop": 1000}, hours=(100, 100), names=(0, 100))
    history = past({"shop/clothes": 1000}, hours=(0, 100), names=(100, 100))
    found = examine(frame(), worst, history, boundary=BOUNDARY, checks=CHECKS)
    assert {each.check.name for each in found if each.verdict != "good"} == {
        "counts",
        "unclassified",
        "opening_hours",
        "names",
    }
    assert {each.check.name for each in found if each.verdict == "stop"} == {"counts"}


def test_a_frame_is_counted_as_its_rows_say() -> None:
    rows = frame(
        ["node/1", "node/2", "node/3", "node/4"],
        category=["shop", "shop/bakery", "shop/bakery", "amenity/cafe"],
        tags=[
            '{"opening_hours":"24/7"}',
            '{"opening_hours":"soon"}',
            "{}",
            '{"opening_hours:kitchen":"x"}',
        ],
        opening_hours=["24/7", None, None, None],
        name=["A", "B", None, "D"],
        names=['{"en":"A"}', '{"und":"B"}', '{"en":"C"}', '{"ru":"D"}'],
    )
    counted = census_of(
        rows, day=TODAY, rules_version="r", class_column="category", languages=("en", "und")
    )
    assert counted.counts == {"shop": 1, "shop/bakery": 2, "amenity/cafe": 1}
    assert (counted.total, counted.unclassified) == (4, 1)
    assert (counted.unparsed_hours, counted.with_hours) == (1, 2)
    assert (counted.in_languages, counted.named) == (2, 3)


def test_a_plain_name_counts_where_the_local_language_is_one_of_the_citys() -> None:
    assert language_keys(("ru", "en"), "ru") == ("ru", "en", "und")
    assert language_keys(("ru", "en"), "fi") == ("ru", "en")
    assert language_keys(("ru", "en"), None) == ("ru", "en")


def test_a_day_that_is_stopped_says_every_reason_and_what_to_do() -> None:
    with pytest.raises(StoppedByCheck) as caught:
        require_accepted([GOOD, *BAD], None, what="kazan poi from osm on 2026-03-01")
    words = str(caught.value)
    assert words.startswith("kazan poi from osm on 2026-03-01 is not staged. counts: counts is ")
    assert all(f"{each.check.name}: {each.message}" in words for each in BAD)
    assert caught.value.findings == [GOOD, *BAD]
    with pytest.raises(StoppedByCheck, match=r"with refetch.*accept it with a reason"):
        require_accepted([Finding(COUNTS, "stop", "too few")], None, what="x")


def test_a_reason_lets_a_stopped_day_pass_and_is_kept() -> None:
    few = Finding(COUNTS, "stop", "too few")
    assert require_accepted([GOOD, few], "the park was closed", what="x") == "the park was closed"


@pytest.mark.parametrize("fault", [each for each in BAD if each.check != COUNTS], ids=str)
def test_no_reason_lets_a_row_with_a_fault_pass(fault: Finding) -> None:
    few = Finding(COUNTS, "stop", "too few")
    with pytest.raises(StoppedByCheck, match="cannot be accepted"):
        require_accepted([few, fault], "the park was closed", what="x")


def test_a_reason_that_was_not_needed_is_not_kept() -> None:
    assert require_accepted([GOOD], "just in case", what="x") is None
    assert require_accepted([GOOD], None, what="x") is None


@pytest.mark.parametrize("nothing", ["", "  ", "\n\t"])
def test_a_blank_reason_is_refused(nothing: str) -> None:
    with pytest.raises(AcceptanceWithoutReason, match="why its data is right"):
        reason_of(nothing)


def test_a_reason_is_one_line() -> None:
    assert reason_of("  the park\nwas closed ") == "the park was closed"
