"""Opening hours from a column for each weekday or season."""

from __future__ import annotations

import pytest

from ingestion_pipeline.text.hours_columns import conflict_of, joined_hours, selector_of
from ingestion_pipeline.text.hours_words import WEEKDAYS


def hours(language: str | None = None, **cells: str | None) -> str | None:
    parts = [(selector_of(name.replace("_", "-")), cells[name]) for name in cells]
    return joined_hours(parts, language)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ({"Mo_Fr": "9am-5pm", "Sa": "10am-2pm", "Su": "Closed"},
         "Mo-Fr 09:00-17:00; Sa 10:00-14:00"),
        ({"Mo_Su": "24 h / 24"}, "24/7"),
        ({"Mo_Fr": "24 hours", "Sa_Su": "closed"}, "Mo-Fr 00:00-24:00"),
        ({"Mo_Sa": "8-20 Uhr", "Su": None}, "Mo-Sa 08:00-20:00; Su unknown"),
        ({"Mo_Su": "closed"}, "closed"),
        ({"Mo_Fr": "8-20 Uhr", "Sa_Su": "see sign"}, None),
        ({"Mo_Fr": "Mo 8-20 Uhr", "Sa_Su": "closed"}, None),
        ({"Apr_Sep": "7:00 am - Dusk", "Oct_Mar": "10:00 am - Dusk"},
         "Apr-Sep 07:00-dusk, Oct-Mar 10:00-dusk"),
        ({"Apr_Sep": "Tue - Sat 9:00 am - 8:00 pm", "Oct_Mar": "Closed"},
         "Apr-Sep Tu-Sa 09:00-20:00"),
        ({"Apr_Sep": "Dawn to Dusk", "Oct_Mar": None}, "Oct-Mar unknown, Apr-Sep dawn-dusk"),
        ({"Apr_Sep": "May-Jun 8-20", "Oct_Mar": "closed"}, None),
        ({"Apr_Sep": "dawn to dusk; Su closed", "Oct_Mar": "closed"},
         "Apr-Sep dawn-dusk; Apr-Sep Su closed"),
    ],
)  # fmt: skip
def test_each_column_is_a_rule(cells: dict[str, str | None], expected: str | None) -> None:
    assert hours(**cells) == expected


def test_a_column_for_each_weekday_is_a_week() -> None:
    week = dict.fromkeys(WEEKDAYS, "08:00 - 18:00") | {"Sa": "9-13 Uhr", "Su": "geschlossen"}
    assert hours(**week) == "Mo-Fr 08:00-18:00; Sa 09:00-13:00"


def test_hours_after_midnight_are_not_ended_by_the_next_day() -> None:
    assert hours(Fr_Sa="20:00-02:00", Su_Th="closed") == "Fr-Sa 20:00-02:00"
    assert hours(Fr="20:00-02:00", Sa="18:00-23:00", Su_Th="closed") == (
        "Fr 20:00-02:00, Sa 18:00-23:00"
    )


@pytest.mark.parametrize("text", ["Mo", "Sa-Su", "Sa,Su,PH", "PH", "Apr-Sep", "Nov 1-Mar 31 Mo-Fr"])
def test_a_selector_is_what_the_specification_has_before_times(text: str) -> None:
    assert selector_of(text).text == text


@pytest.mark.parametrize(
    "text", ["", "Monday", "mo", "Mo 10:00", "summer", "Apr 31", "MoFr", "Apr-SepMo", " Mo"]
)
def test_another_text_is_no_selector(text: str) -> None:
    with pytest.raises(ValueError, match=r"not like|does not exist"):
        selector_of(text)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["Mo-Fr", "Sa-Su"], None),
        (["Mo-Fr", "Sa", "Su", "PH"], None),
        (["Apr-Sep", "Oct-Mar"], None),
        (["Apr 15-Oct 14", "Oct 15-Apr 14"], None),
        (["Apr-Sep Mo-Fr", "Apr-Sep Sa,Su", "Oct-Mar"], None),
        (["Mo-Fr", "We", "Sa-Su"], "'Mo-Fr' and 'We' have days in common"),
        (["Mo-Fr,PH", "Sa-Su,PH"], "have days in common"),
        (["Mo-Fr"], "no column for Sa, Su; name one"),
        (["May-Sep"], "no column for Jan, Feb, Mar, Apr, Oct, Nov, Dec"),
        (["PH"], "no column for Mo, Tu, We, Th, Fr, Sa, Su"),
    ],
)
def test_each_day_needs_one_column(texts: list[str], said: str | None) -> None:
    found = conflict_of(map(selector_of, texts))
    assert found is None if said is None else said in str(found)
