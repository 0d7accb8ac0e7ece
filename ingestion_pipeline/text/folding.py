"""Words in one spelling, for comparison with a table of words."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

_LETTERS = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "æ": "ae", "đ": "d", "’": "'"})
"""Letters that Unicode does not decompose."""


@lru_cache(maxsize=50_000)
def folded(text: str) -> str:
    """Return a text in lower case, without accents and with single blanks.

    An underscore counts as a blank. A full stop at the end is left out: `Fermé.` gives `ferme`.
    """
    plain = unicodedata.normalize("NFKD", text).casefold().translate(_LETTERS)
    letters = "".join(each for each in plain if not unicodedata.combining(each))
    return " ".join(letters.replace("_", " ").split()).removesuffix(".").rstrip()
