"""Tables of a TOML file: each key read by a rule of its own, every mistake named at once.

Belongs here: how a mistake is told, and rules that more than one kind of table has. Does not belong
here: which keys a table has (`config/cities.py`, `config/feeds.py`).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping


class Key(NamedTuple):
    """A key of a table.

    Attributes:
        read: Turns the value of the file into that of the program, or raises ValueError with what
            is allowed.
        required: Whether it may not be left out.
    """

    read: Callable[[object], Any]
    required: bool = True


def read_table(
    place: str,
    table: Mapping[str, object],
    keys: Mapping[str, Key],
    mistakes: list[str],
    *,
    read_elsewhere: Collection[str] = (),
) -> dict[str, Any]:
    """Read what can be read of one table, and add what is wrong with it to `mistakes`.

    Args:
        place: Where the table stands, for messages: `city[3] "tver"`.
        table: What TOML gave.
        keys: What may stand in it.
        mistakes: Grows.
        read_elsewhere: Further keys that may stand in it, and are none of this function's business.
    """
    known = (*keys, *read_elsewhere)
    mistakes += [
        f"{place}: {name}: unknown key{did_you_mean(name, known)}"
        for name in table
        if name not in known
    ]
    reading = {}
    for name, key in keys.items():
        if name in table:
            try:
                reading[name] = key.read(table[name])
            except ValueError as allowed:
                mistakes.append(f"{place}: {name}: is {shown(table[name])}; allowed: {allowed}")
        elif key.required:
            mistakes.append(f"{place}: {name}: is missing")
    return reading


def place_of(kind: str, number: int, table: Mapping[str, object]) -> str:
    """Name a table by its number and, if it has one, its slug: `city[3] "tver"`."""
    slug = table.get("slug")
    return f"{kind}[{number}]" + (f' "{slug}"' if isinstance(slug, str) else "")


def shown(value: object) -> str:
    """Show a value of the file, without what may be a secret in a URL."""
    return re.sub(r"(?<=://)[^/@'\"\s]*@|\?[^'\"\s]*", "...", repr(value))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask for the known word that is close to this one; say nothing where none is."""
    close = get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def whole_number(value: object) -> int:
    """Read a whole number, at least 1."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError("a whole number, at least 1")


def is_language(value: object) -> bool:
    """Tell whether a value is a language tag of two or three letters."""
    return isinstance(value, str) and re.fullmatch("[a-z]{2,3}", value) is not None
