"""Paths into nested data, and names that look like paths."""

from __future__ import annotations

from typing import Any

import pytest

from ingestion_pipeline.core.json_paths import is_path, value_at

DATA = {
    "a": {"b": {"c": 1}},
    "list": [{"n": 1}, {"n": 2}],
    "a.b": "its own name",
    "last-updated": "yesterday",
    "meta": {"last-updated": "today"},
    "Power [kW]": 3.7,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.b.c", 1),
        ("a.b", "its own name"),
        ("list[1].n", 2),
        ("list[?n==`2`].n | [0]", 2),
        ("last-updated", "yesterday"),
        ("meta.last-updated", "today"),
        ("Power [kW]", 3.7),
        ("list", [{"n": 1}, {"n": 2}]),
        ("a.x", None),
        ("x", None),
        ("list[7]", None),
        ("a.b.c.d", None),
        ("no path [", None),
        ("length(a.b.c)", None),
    ],
)
def test_a_name_comes_before_members_and_members_before_an_expression(
    path: str, found: Any
) -> None:
    assert value_at(DATA, path) == found


@pytest.mark.parametrize("data", [None, 1, "a", [], {}])
def test_data_without_members_has_no_value(data: Any) -> None:
    assert value_at(data, "a.b") is None


def test_a_valid_expression_is_a_path_and_another_text_is_not() -> None:
    assert is_path("data.stations")
    assert not is_path("data[")
