"""The one canonical form of values and rows: what tells whether something changed.

Belongs here: the way from a value to its canonical text, and from a row to its hash. Does not
belong here: which columns are hashed for what upstream said (`osm/normalize.py`, `helpers/`).
"""

from __future__ import annotations

import json
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

_ROWS_AT_ONCE = 2_048
"""How many rows are written out as text at a time: some MB."""

_NO_CONTENT = ("source_ref", "source_hash", "content_hash")
"""Columns of rows that a reader does not see: which feature it is, and what may have changed."""

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
    return [_hexdigest(ascii(row).encode()) for row in zip(*columns, strict=True)]


def with_content_hash(rows: pa.Table, *, source: Sequence[str] = ()) -> pa.Table:
    """Say of each row what it says: add a hash of every column that a reader sees.

    Args:
        rows: Two or more columns of content in the order in which the table of versions has them,
            and what is no content: `source_ref`, `source_hash`, and a `content_hash` that is
            replaced.
        source: The columns, two or more, that say what upstream said; none if the rows have their
            `source_hash`. It becomes the second column.

    Returns:
        The rows with `content_hash`, and `source_hash`: what `row_hashes` gives, moments being
        counted in microseconds of UTC.
    """
    from ingestion_pipeline.arrow import texts

    names = [name for name in rows.column_names if name != "content_hash"]
    content = [name for name in names if name not in _NO_CONTENT]
    wanted = {"content_hash": content} | ({"source_hash": source} if source else {})
    hashed = rows.select([name for name in names if name not in wanted])
    hashes = {name: texts(each) for name, each in _hashes(rows, wanted).items()}
    if source:
        hashed = hashed.add_column(1, "source_hash", hashes["source_hash"])
    return hashed.append_column("content_hash", hashes["content_hash"])


def _hashes(rows: pa.Table, wanted: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Hash some of a table's columns, and others; each is written out once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from ingestion_pipeline.arrow import texts

    between = texts([", "])[0]
    hashes: dict[str, list[str]] = {name: [] for name in wanted}
    needed = {column for columns in wanted.values() for column in columns}
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        written = {column: _ascii(batch.column(column)) for column in needed}
        for name, columns in wanted.items():
            joined: Any = pc.binary_join_element_wise(
                *(written[column] for column in columns), between
            )
            lines = joined.cast(pa.binary()).to_pylist()
            hashes[name] += (_hexdigest(b"(%b)" % line) for line in lines)
    return hashes


def _hexdigest(text: bytes) -> str:
    return blake2b(text, digest_size=DIGEST_BYTES).hexdigest()


def _ascii(column: Any) -> Any:
    """Write values as `ascii` does, a text that occurs often only once."""
    import pyarrow as pa

    from ingestion_pipeline.arrow import texts

    if pa.types.is_timestamp(column.type):
        # A moment's repr depends on the time zone library; its number, in one unit, does not.
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    if not pa.types.is_string(column.type):
        # Hardly two are equal, and it would not pay; 0.0 and -0.0 are, but not in writing.
        return texts(list(map(ascii, column.to_pylist())))
    coded = column.dictionary_encode(null_encoding="encode")
    return texts(list(map(ascii, coded.dictionary.to_pylist()))).take(coded.indices)
