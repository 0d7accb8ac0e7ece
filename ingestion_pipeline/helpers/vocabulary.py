"""The words that columns of a helper place may say, and what else is written for them.

Belongs here: the vocabularies of `access`, `fee`, `wheelchair` and `status`, for OSM and feeds
alike. Does not belong here: which tag or field says it (`derive.py`, `read_feed.py`).

A value that is none of these words, and no other way to write one, is not understood: the column is
then null, and the row's `tags` have the text. Source of the words: the pages of the keys in the
wiki of OSM.
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
"""Whether it is in use, from the most to the least there."""

RESTRICTIONS: tuple[Access, ...] = ("customers", "members", "permit", "private", "no")
"""Values of `access` that keep somebody out, of a place and so of everything in it."""

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
"""The status that a word tells as a main tag's value, or as a key with `yes`."""

STATUS_OF_PREFIX: Mapping[str, Status] = {
    **STATUS_OF_WORD,
    "historic": "disused",
    "ruins": "abandoned",
}
"""The status that a word tells as prefix of a main key. A test holds both equal to those of POIs.
"""

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
    """Return the word that a value says.

    Args:
        column: `access`, `fee`, `wheelchair`, or one without a vocabulary: then the value itself.
        value: What upstream says; of several (`yes;permissive`) the first that is understood.
    """
    if value is None or column not in _WORDS:
        return value
    for part in folded_values(value):
        word = _SYNONYMS[column].get(part, part)
        if word in _WORDS[column]:
            return word
    return _fee(value) if column == "fee" else None


def _fee(value: str) -> str | None:
    """Read an amount (`0.50 EUR`), or the hours in which it costs something."""
    if value.strip().lower() == "unknown":
        return None
    if _AMOUNT.fullmatch(value.strip()):
        return "yes"
    return None if normalized_hours(value) is None else "sometimes"
