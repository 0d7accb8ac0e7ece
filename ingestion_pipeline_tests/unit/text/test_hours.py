"""Opening hours in one form."""

from __future__ import annotations

from ingestion_pipeline.text.hours import normalized_hours


def test_the_same_hours_are_written_in_the_same_way() -> None:
    assert normalized_hours("Mo-Su 10:00-18:00") == "10:00-18:00"
    assert normalized_hours("Mo,Tu,We 08:00-12:00") == normalized_hours("Mo-We 08:00-12:00")


def test_what_is_written_is_read_as_the_same_again() -> None:
    written = normalized_hours("Mo-Fr 09:00-18:00; Sa 10:00-14:00; PH off")
    assert written is not None
    assert normalized_hours(written) == written


def test_what_is_not_understood_is_nothing() -> None:
    assert normalized_hours("when open") is None
