r"""Characters that no database stores: U+0000 and unpaired surrogates.

PostgreSQL has no U+0000 in `text` and `jsonb`, SQLite's functions end a text there, and UTF-8 has
no surrogates. Both databases store all other characters, including controls and noncharacters. A
byte that is not UTF-8 is read as a surrogate (Python's `surrogateescape`), so it is not lost until
it is written as `\xe9`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = "\0"
r"""Precedes `xe9` or `ud800` where a decoder cannot keep that byte or surrogate."""

_MARKED = re.compile(MARK + "(?=x[0-9a-f]{2}|ud[0-9a-f]{3})")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_FIRST_BYTE, _LAST_BYTE = 0xDC80, 0xDCFF
_NO_BYTE = 0xDC00


def decoded(raw: bytes) -> str:
    """Return the text of UTF-8 bytes; invalid bytes become surrogates."""
    return raw.decode("utf-8", "surrogateescape")


def encoded(text: str) -> bytes:
    """Return the bytes from which `decoded` made the text."""
    return text.encode("utf-8", "surrogateescape")


def are_storable(texts: Iterable[str]) -> bool:
    """Return whether a database can store all texts; about 1 us for the tags of an object."""
    together = "".join(texts)
    if "\0" in together:
        return False
    try:
        together.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable(value: Any) -> Any:
    r"""Return a JSON value with `\xe9`, `\ud800` or `\u0000` in place of what cannot be stored."""
    if isinstance(value, str):
        return _UNSTORABLE.sub(_escaped, _MARKED.sub(r"\\", value))
    if isinstance(value, dict):
        return {storable(key): storable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [storable(each) for each in value]
    return value


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if _FIRST_BYTE <= code <= _LAST_BYTE:
        return f"\\x{code - _NO_BYTE:02x}"
    return f"\\u{code:04x}"
