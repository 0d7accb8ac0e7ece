"""Shares of a day's features beside those of the city's earlier days."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ingestion_pipeline.quality.shares import SHARES, check_share
from ingestion_pipeline_tests.support.invented_days import census, past

if TYPE_CHECKING:
    from ingestion_pipeline.quality.shares import Share

BY_NAME = {share.check.name: share for share in SHARES}

USUAL: dict[str, Any] = {
    "counts": {"shop": 20, "shop/clothes": 980},
    "hours": (10, 300),
    "names": (300, 600),
}


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (
            "unclassified",
            {"counts": {"shop": 120, "shop/clothes": 880}},
            (
                "120 of 1,000 features without a specific category: 12.0%, usual 2.0%, "
                "expected at most 4.0%"
            ),
        ),
        (
            "opening_hours",
            {"hours": (90, 300)},
            (
                "90 of 300 opening hours that are not understood: 30.0%, usual 3.3%, "
                "expected at most 7.6%"
            ),
        ),
        (
            "names",
            {"names": (120, 600)},
            (
                "120 of 600 named features with a name in the city's languages: 20.0%, "
                "usual 50.0%, expected at least 41.5%"
            ),
        ),
    ],
)
def test_a_share_that_moves_the_wrong_way_warns_with_its_numbers(
    name: str, change: dict[str, Any], said: str
) -> None:
    history = past(**USUAL)
    share = BY_NAME[name]
    assert check_share(share, census(**USUAL), history).verdict == "good"
    found = check_share(share, census(**USUAL | change), history)
    assert found.verdict == "warn"
    assert found.message == said
    assert found.rows
    assert 0 < found.numbers["usual"] < 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("unclassified", {"counts": {"shop": 0, "shop/clothes": 1000}}),
        ("opening_hours", {"hours": (0, 300)}),
        ("names", {"names": (600, 600)}),
    ],
)
def test_a_share_that_moves_the_right_way_is_good(name: str, change: dict[str, Any]) -> None:
    found = check_share(BY_NAME[name], census(**USUAL | change), past(**USUAL))
    assert found.verdict == "good"


@pytest.mark.parametrize("share", SHARES, ids=lambda share: str(share.check.name))
def test_other_rules_and_a_first_day_give_nothing_to_compare(share: Share) -> None:
    worst = census({"shop": 10}, rules="rules 2", hours=(10, 10), names=(0, 10))
    for history in ([], past(**USUAL)):
        found = check_share(share, worst, history)
        assert found.verdict == "good"
        assert "nothing to compare: no earlier day of these rules has any" in found.message


def test_a_day_without_any_opening_hours_has_nothing_to_compare() -> None:
    found = check_share(BY_NAME["opening_hours"], census({"shop": 1}), past(**USUAL))
    assert found.verdict == "good"
    assert "there are none" in found.message


def test_a_few_features_more_or_less_say_nothing() -> None:
    few = past({"shop/clothes": 10}, hours=(0, 4))
    one = census({"shop/clothes": 10}, hours=(1, 4))
    assert check_share(BY_NAME["opening_hours"], one, few).verdict == "good"
