"""The one canonical form of values and rows: what tells whether something changed.

Belongs here: the way from a value to its canonical text, and from a row to its hash. Does not
belong here: which columns are hashed (`osm/normalize.py` for what upstream said,
`staging/slices.py` for what a reader sees).
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DIGEST_BYTES = 16
"""128 bits: among a billion versions the chance of one collision is below 1e-20."""


def canonical_json(value: Any) -> str:
    """Write a JSON value in the one form that is hashed and stored."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical_texts(values: Iterable[Any]) -> list[str]:
    """Write JSON values that hold only text in the form of `canonical_json`, many times as fast.

    Args:
        values: Texts, and lists and dictionaries of texts: msgspec writes a float otherwise.
    """
    import msgspec

    encode = msgspec.json.Encoder(order="sorted").encode
    return [encode(value).decode() for value in values]


def digest(value: Any) -> str:
    """Give the hexadecimal BLAKE2b digest, of 128 bits, of a JSON value."""
    return blake2b(canonical_json(value).encode(), digest_size=DIGEST_BYTES).hexdigest()


@cache
def code_digest(package: str) -> str:
    """Give the digest of a package's own files: what was computed by other code is told apart."""
    hashed = blake2b(digest_size=DIGEST_BYTES)
    for file in sorted(files(package).iterdir(), key=lambda file: file.name):
        if file.is_file() and file.name.endswith((".py", ".json")):
            hashed.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return hashed.hexdigest()


def row_hashes(columns: Sequence[Iterable[Any]]) -> list[str]:
    """Hash rows that are given column by column.

    Args:
        columns: C columns of N plain values each (None, bool, int, float, str, bytes, dates):
            values whose `ascii` is the same on every machine and in every Python.

    Returns:
        N hexadecimal BLAKE2b digests of 128 bits.
    """
    # Not `repr`: it escapes what the Unicode of this Python does not know yet as printable.
    return row_hashes_of_ascii([map(ascii, column) for column in columns])


def row_hashes_of_ascii(columns: Sequence[Iterable[str]]) -> list[str]:
    """Hash rows as `row_hashes` does, given the `ascii` of every value.

    So a value that many rows share is written once.
    """
    end = ",)" if len(columns) == 1 else ")"
    return [
        blake2b(f"({', '.join(row)}{end}".encode(), digest_size=DIGEST_BYTES).hexdigest()
        for row in zip(*columns, strict=True)
    ]
