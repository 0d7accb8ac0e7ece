"""Names as evidence that two records are of one place.

The order of words, case, accents and punctuation do not matter, and neither do words that name no
place: those of the kind ("bike station", "Toilette"), legal forms, articles. The table of these
words, `generic_words.json`, is built by `scripts/build_generic_words.py` from id-tagging-schema.
The languages of names are seldom known, so the words of all languages count.
"""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ALIKE = 0.75
"""The smallest similarity of names of one place. "Central Pharmacy" and "Pharmacie Centrale" are
above, "Central Pharmacy" and "Old Pharmacy" below."""

CONTAINED = 0.85
"""The similarity if all words of one name are in the other: "Kamppi", "Kamppi (M)"."""

FROM_CJK = "\u2e80"
"""The first character of scripts without blanks between words."""

_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"\d+|[^\W\d_]+")


class Likeness(NamedTuple):
    """How alike the names of two places are.

    Attributes:
        similarity: From 0 to 1, 2 decimals; None if the names say nothing.
        is_other_number: Whether they differ in their numbers only: "Platform 1", "Platform 2".
    """

    similarity: float | None
    is_other_number: bool = False


UNKNOWN = Likeness(None)


def likeness(ours: Sequence[str], theirs: Sequence[str], kind: str) -> Likeness:
    """Compare all names of two places of a kind; the two that are most alike count."""
    found = [
        each
        for one in ours
        for other in theirs
        if (each := _compared(one, other, kind)) is not UNKNOWN
    ]
    if not found:
        return UNKNOWN
    best = max(each.similarity or 0.0 for each in found)
    return Likeness(best, best < ALIKE and any(each.is_other_number for each in found))


def kinds_named_in(text: str) -> list[str]:
    """Return the kinds of which a text has words, such as the name of a file; the best first.

    A word counts the less, the more kinds have it.
    """
    words = set(_words(text.replace("_", " ")))
    words |= {word.removesuffix("s") for word in words}
    kinds = [kind for kind in _table() if kind != "any"]
    scores: dict[str, float] = dict.fromkeys(kinds, 0.0)
    for word in words:
        named = [kind for kind in kinds if word in _own_words(kind)]
        for kind in named:
            scores[kind] += 1 / len(named)
    return sorted((kind for kind in kinds if scores[kind]), key=lambda kind: (-scores[kind], kind))


@cache
def _own_words(kind: str) -> frozenset[str]:
    return frozenset(word for text in _table()[kind].values() for word in _words(text))


@lru_cache(maxsize=65_536)
def _compared(one: str, other: str, kind: str) -> Likeness:
    from rapidfuzz import fuzz

    ours, theirs = _telling_words(one, kind), _telling_words(other, kind)
    if not ours or not theirs:
        return UNKNOWN
    similarity = round(fuzz.ratio(" ".join(ours), " ".join(theirs)) / 100, 2)
    if set(ours) <= set(theirs) or set(theirs) <= set(ours):
        similarity = max(similarity, CONTAINED)
    numbers = [sorted(_NUMBER.findall(" ".join(words))) for words in (ours, theirs)]
    if numbers[0] == numbers[1]:
        return Likeness(similarity)
    letters = [" ".join(_NUMBER.sub("", " ".join(words)).split()) for words in (ours, theirs)]
    same_but_numbers = fuzz.ratio(*letters) >= 100 * ALIKE  # also where nothing else is left
    return Likeness(0.0, is_other_number=all(numbers) and same_but_numbers)


@lru_cache(maxsize=65_536)
def _telling_words(name: str, kind: str) -> tuple[str, ...]:
    """Return the words of a name, sorted, without those that name no place."""
    generic, in_words = _generic_words(kind)
    found = []
    for word in _words(name):
        if word in generic:
            continue
        telling = word
        if max(word) >= FROM_CJK:
            for part in in_words:
                telling = telling.replace(part, "")
        if telling:
            found.append(telling)
    return tuple(sorted(found))


def _words(name: str) -> list[str]:
    """Return the words and numbers of a name: case folded, without accents and punctuation."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    without = "".join(each for each in plain if not unicodedata.combining(each))
    # NFC joins what NFKD split and what is no accent: the syllables of Korean.
    return _WORD.findall(unicodedata.normalize("NFC", without))


@cache
def _generic_words(kind: str) -> tuple[frozenset[str], Sequence[str]]:
    """Return the words that name no place of a kind; and those to look for inside of words."""
    table = _table()
    texts = [*table["any"].values(), *table.get(kind, {}).values()]
    words = frozenset(word for text in texts for word in _words(text))
    inside = (word for word in words if len(word) > 1 and min(word) >= FROM_CJK)
    return words, sorted(inside, key=lambda word: (-len(word), word))


@cache
def _table() -> dict[str, dict[str, str]]:
    path = Path(__file__).with_name("generic_words.json")
    words: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))["words"]
    return words
