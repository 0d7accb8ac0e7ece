"""Addresses of the manual, and the table of codes as plain text."""

from __future__ import annotations

import pytest

from ingestion_pipeline.core.manual import codes, manual_url


@pytest.mark.parametrize(
    ("page", "anchor", "address"),
    [
        ("errors", "", "/manual/errors/"),
        ("operations", "past-days", "/manual/operations/#past-days"),
    ],
)
def test_an_address_names_page_and_heading(page: str, anchor: str, address: str) -> None:
    assert manual_url(page, anchor) == address


def test_a_link_in_the_table_becomes_an_address_of_the_manual() -> None:
    to_do = codes()["overpass_no_attic"].what_to_do
    assert "past days (/manual/operations/#past-days)" in to_do


def test_a_bar_inside_a_cell_ends_no_cell() -> None:
    assert "<city>|<YYYY-MM-DD>" in codes()["bad_partition_key"].what_happened


def test_a_code_of_a_run_goes_before_the_same_code_of_the_admin_api() -> None:
    assert "GeoPackage" not in codes()["database_unavailable"].what_to_do
    assert "ledger" in codes()["database_unavailable"].what_to_do
