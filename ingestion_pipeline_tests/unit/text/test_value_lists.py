"""Lists of values in one tag."""

from ingestion_pipeline.text.value_lists import folded_values, split_values


def test_values_are_split_at_semicolons_without_blanks_and_empty_ones() -> None:
    assert split_values("ATM; bank ;;") == ["ATM", "bank"]
    assert split_values(" ATM ") == ["ATM"]
    assert split_values(" ; ") == split_values(" ") == []


def test_words_are_compared_in_lower_case() -> None:
    assert folded_values("ATM; Bank") == ["atm", "bank"]
