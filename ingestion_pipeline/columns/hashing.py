"""The one canonical form of values and rows: what tells whether something changed.

Belongs here: the way from a value to its canonical text, and from a row to its hashes. Does not
belong here: what rows are made of (`osm/normalize.py`, `helpers/`), and comparing (`staging/`).
"""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

_ROWS_AT_ONCE = 2_048
"""How many rows are written out at a time: some MB."""

_BETWEEN = b"\xff"
_NOTHING = b"\xfe"
"""Two bytes that UTF-8 never has: so values cannot run into each other, nor look like none."""

_NO_CONTENT = ("source_ref", "source_hash", "content_hash")
"""Columns of rows that a reader does not see: which feature it is, and what may have changed."""

_SAID = ("osm_version", "tags", "geometry")
"""Columns that hold what upstream said, and nothing of what our rules make of it."""

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
    return digest_of_bytes(canonical_json(value).encode())


def digest_of_bytes(data: bytes) -> str:
    """Give the hexadecimal BLAKE2b digest, of 128 bits, of some bytes."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def row_hashes(rows: pa.Table) -> list[str]:
    """Hash rows by all their columns.

    What is hashed of a row are its values in the columns' order, a byte 0xFF between two of them,
    and a byte 0xFE where there is none. A text is its UTF-8; an integer is its decimal digits; a
    float is the integer that has its 64 bits; a moment is the integer of its microseconds of UTC;
    bytes come behind their number and a byte 0xFF. That is the same on every machine and in every
    release of a library.

    Args:
        rows: N rows in columns of strings, bytes, integers, doubles and timestamps.

    Returns:
        N hexadecimal BLAKE2b digests of 128 bits.
    """
    import pyarrow.compute as pc

    from ingestion_pipeline.columns.arrow import binaries

    (between,) = binaries([_BETWEEN])  # Arrow's own way to a scalar imports pandas
    join: Any = pc.binary_join_element_wise  # whose stubs know of texts only
    hashes: list[str] = []
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        written = [part for column in batch.columns for part in _written(column)]
        joined = join(*written, between, null_handling="replace", null_replacement=_NOTHING)
        hashes += map(digest_of_bytes, joined.to_pylist())
    return hashes


def _written(column: Any) -> Sequence[Any]:
    """Write a column as one or two columns of bytes; see `row_hashes`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_binary(kind):
        return *_written(pc.binary_length(column)), column
    if pa.types.is_timestamp(kind):
        column = column.cast(pa.timestamp("us", "UTC")).view(pa.int64())
    elif pa.types.is_floating(kind):
        column = column.view(pa.int64())
    return [column.cast(pa.string()).cast(pa.binary())]


def with_source_hash(rows: pa.Table, *, of_the_day: pa.StringArray | None = None) -> pa.Table:
    """Add a hash of what upstream said: `osm_version`, `tags` and `geometry`; as second column.

    Args:
        rows: N rows with these columns.
        of_the_day: (N,) What a date among the tags says of the day of the rows, or null; None where
            no row has such a date. On another day it says another thing, though neither the object
            nor our rules have changed.
    """
    import pyarrow.compute as pc

    from ingestion_pipeline.columns.arrow import texts

    said = rows.select(_SAID)
    if of_the_day is not None and of_the_day.null_count < len(of_the_day):
        tags = said.column("tags").combine_chunks()
        on_that_day = pc.binary_join_element_wise(  # type: ignore[call-overload]
            tags, of_the_day, "", null_handling="skip"
        )
        said = said.set_column(_SAID.index("tags"), "tags", on_that_day)
    return rows.add_column(1, "source_hash", texts(row_hashes(said)))


def with_content_hash(rows: pa.Table) -> pa.Table:
    """Add a hash of every column that a reader sees, as the last column.

    Args:
        rows: Columns of content in the order in which the table of versions has them, and what is
            no content: `source_ref`, `source_hash`, and a `content_hash` that is replaced.
    """
    from ingestion_pipeline.columns.arrow import texts

    names = [name for name in rows.column_names if name != "content_hash"]
    content = [name for name in names if name not in _NO_CONTENT]
    hashes = texts(row_hashes(rows.select(content)))
    return rows.select(names).append_column("content_hash", hashes)
