"""Vocabularies of helper columns: `access`, `fee`, `wheelchair` and `status`, with their synonyms.

A column is null if its value is neither a word nor a synonym (`synonyms.py`); the row's `tags` have
the text. Source of the words: the pages of the keys in the OSM wiki.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal, get_args

from ingestion_pipeline.helpers.synonyms import SYNONYMS, UNKNOWN
from ingestion_pipeline.text.amounts import costs_something
from ingestion_pipeline.text.folding import folded
from ingestion_pipeline.text.hours import normalized_hours
from ingestion_pipeline.text.value_lists import split_values

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

_WORDS: Mapping[str, tuple[str, ...]] = {
    "access": get_args(Access),
    "fee": get_args(Fee),
    "wheelchair": get_args(Wheelchair),
    "status": get_args(Status),
}
VOCABULARIES = tuple(_WORDS)
"""The columns whose values are words of a vocabulary."""


def words_of(column: str) -> tuple[str, ...]:
    """Return the words of a column with a vocabulary."""
    return _WORDS[column]


@cache
def _meanings(column: str) -> dict[str, str]:
    """Return the word of each text that is known, folded."""
    synonyms = {text: word for word, texts in SYNONYMS[column].items() for text in texts}
    return {
        folded(text): word
        for text, word in (*synonyms.items(), *((word, word) for word in _WORDS[column]))
    }


def known_value(column: str, value: str | None) -> str | None:
    """Return the word of a value, or None if it is not in the vocabulary.

    Args:
        column: One of `VOCABULARIES`, or a column without a vocabulary, whose value is returned
            unchanged.
        value: The upstream value; of a list (`yes;permissive`) the first known word counts. A list
            that says both no and something else is not understood.
    """
    if value is None or column not in _WORDS:
        return value
    return _known(column, value)


def gives_no_value(text: str) -> bool:
    """Return whether a text says that a value is not known, such as `unknown` or `n/a`."""
    return folded(text) in _folded_unknown()


def is_unparsed(column: str, value: str | None) -> bool:
    """Return whether a column has a value that is not understood.

    A text that gives no value, such as `unknown`, is understood.
    """
    return value is not None and known_value(column, value) is None and not gives_no_value(value)


@cache
def _folded_unknown() -> frozenset[str]:
    return frozenset({"", *map(folded, UNKNOWN)})


@lru_cache(maxsize=20_000)
def _known(column: str, value: str) -> str | None:
    whole = _word(column, value)
    if whole is not None:
        return whole
    parts = [_word(column, part) for part in split_values(value)]
    words = list(dict.fromkeys(word for word in parts if word is not None))
    if len(words) > 1 and ("no" in words or column == "status"):
        return None
    return words[0] if words else None


def _word(column: str, text: str) -> str | None:
    """Return the word of a value that is no list."""
    word = _meanings(column).get(folded(text))
    return _fee(text) if word is None and column == "fee" else word


_NEVER_CHANGING = frozenset({"24/7", "open", "closed", "unknown"})


def _fee(text: str) -> str | None:
    """Return the word of an amount (`0.50 EUR`), or of the hours in which there is a fee."""
    costs = costs_something(text)
    if costs is not None:
        return "yes" if costs else "no"
    hours = normalized_hours(text) if len(text.strip()) > 1 else None  # `m` is a Monday
    if hours is None or hours in _NEVER_CHANGING or '"' in hours:
        return None
    return "sometimes"
