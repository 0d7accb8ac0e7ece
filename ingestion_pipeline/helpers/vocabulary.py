"""Vocabularies of helper columns: `access`, `fee`, `wheelchair` and `status`, with their synonyms.

A column is null if its value is neither a word nor a synonym; the row's `tags` have the text.
Source of the words: the pages of the keys in the OSM wiki.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, get_args

from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.value_lists import folded_values

if TYPE_CHECKING:
    from collections.abc import Mapping

Access = Literal[
    "yes",
    "permissive",
    "designated",
    "destination",
    "customers",
    "members",
    "permit",
    "private",
    "no",
]
"""Who may use it."""

Fee = Literal["yes", "no", "customers", "donation", "sometimes"]
"""Whether it costs something."""

Wheelchair = Literal["yes", "designated", "limited", "no"]
"""Whether it can be used with a wheelchair."""

Status = Literal[
    "operating",
    "out_of_order",
    "construction",
    "disused",
    "abandoned",
    "proposed",
    "demolished",
]
"""Whether it is in use, ordered by how much of it exists."""

RESTRICTIONS: tuple[Access, ...] = ("customers", "members", "permit", "private", "no")
"""Values of `access` that exclude people from a place, and so from everything in it."""

STATUS_OF_WORD: Mapping[str, Status] = {
    "abandoned": "abandoned",
    "closed": "disused",
    "construction": "construction",
    "demolished": "demolished",
    "destroyed": "demolished",
    "dismantled": "demolished",
    "disused": "disused",
    "planned": "proposed",
    "proposed": "proposed",
    "razed": "demolished",
    "removed": "demolished",
    "vacant": "disused",
    "was": "disused",
}
"""The status of a word as a main tag's value, or as a key with `yes`."""

STATUS_OF_PREFIX: Mapping[str, Status] = {
    **STATUS_OF_WORD,
    "historic": "disused",
    "ruins": "abandoned",
}
"""The status of a prefix of a main key. A test compares both with those of POIs."""

_SYNONYMS: Mapping[str, Mapping[str, str]] = {
    "access": {"public": "yes", "permission": "permit", "residents": "private"},
    "fee": {"free": "no", "none": "no", "0": "no", "interval": "sometimes"},
    "wheelchair": {"partial": "limited"},
}
_WORDS: Mapping[str, frozenset[str]] = {
    "access": frozenset(get_args(Access)),
    "fee": frozenset(get_args(Fee)),
    "wheelchair": frozenset(get_args(Wheelchair)),
}
_AMOUNT = re.compile(
    r"(?:[€$£₽]|[A-Za-z]{3})? ?\d+(?:[.,]\d+)? ?(?:[€$£₽]|[A-Za-z]{3})?(?:/\w+)?",
)


def known_value(column: str, value: str | None) -> str | None:
    """Return the word of a value, or None if it is not in the vocabulary.

    Args:
        column: `access`, `fee`, `wheelchair`, or a column without a vocabulary, whose value is
            returned unchanged.
        value: The upstream value; of a list (`yes;permissive`) the first known word counts.
    """
    if value is None or column not in _WORDS:
        return value
    for part in folded_values(value):
        word = _SYNONYMS[column].get(part, part)
        if word in _WORDS[column]:
            return word
    return _fee(value) if column == "fee" else None


def _fee(value: str) -> str | None:
    """Return the word of an amount (`0.50 EUR`), or of the hours in which there is a fee."""
    if value.strip().lower() == "unknown":
        return None
    if _AMOUNT.fullmatch(value.strip()):
        return "yes"
    return None if normalized_hours(value) is None else "sometimes"
