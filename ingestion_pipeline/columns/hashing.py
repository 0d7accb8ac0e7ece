"""The canonical form of values and rows, and hashes that detect a change."""

from __future__ import annotations

import json
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pyarrow as pa

_ROWS_AT_ONCE = 2_048
"""Rows that are serialized at a time: some MB."""

_SEPARATOR = b"\xff"
_NULL = b"\xfe"
"""Two bytes that never occur in UTF-8, so neighbouring values cannot merge or look like nulls."""

_NOT_CONTENT = ("source_ref", "source_hash", "content_hash")
"""Columns without content: the identity of the feature, and the hashes."""

_SOURCE_COLUMNS = ("osm_version", "tags", "geometry")
"""Columns that hold upstream data unchanged."""

DIGEST_BYTES = 16
"""128 bits: among a billion versions the chance of one collision is below 1e-20."""


def canonical_json(value: Any) -> str:
    """Return a JSON value in the form that is hashed and stored."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def canonical_texts(values: Iterable[Any]) -> list[str]:
    """Return JSON values in the form of `canonical_json`, much faster.

    Args:
        values: Texts, and lists and dictionaries of texts; msgspec writes floats in another form.
    """
    import msgspec

    encode = msgspec.json.Encoder(order="sorted").encode
    return [encode(value).decode() for value in values]


def digest(value: Any) -> str:
    """Return the hexadecimal 128-bit BLAKE2b digest of a JSON value."""
    return digest_of_bytes(canonical_json(value).encode())


def digest_of_bytes(data: bytes) -> str:
    """Return the hexadecimal 128-bit BLAKE2b digest of bytes."""
    return blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def row_hashes(rows: pa.Table) -> list[str]:
    """Return the hashes of rows over all their columns.

    A row is hashed as its values in the order of the columns, separated by a byte 0xFF, with a byte
    0xFE for null. A text is its UTF-8; an integer its decimal digits; a float the integer with the
    same 64 bits; a timestamp its microseconds in UTC; bytes follow their length and a byte 0xFF.
    This form does not depend on the machine or on the release of a library.

    Args:
        rows: N rows in columns of strings, bytes, integers, doubles and timestamps.

    Returns:
        N hexadecimal BLAKE2b digests of 128 bits.
    """
    import pyarrow.compute as pc

    from ingestion_pipeline.columns.arrow import binaries

    (separator,) = binaries([_SEPARATOR])  # `pyarrow.scalar` imports pandas
    join: Any = pc.binary_join_element_wise  # its stubs allow only texts
    hashes: list[str] = []
    for batch in rows.to_batches(max_chunksize=_ROWS_AT_ONCE):
        written = [part for column in batch.columns for part in _written(column)]
        joined = join(*written, separator, null_handling="replace", null_replacement=_NULL)
        hashes += map(digest_of_bytes, joined.to_pylist())
    return hashes


def _written(column: Any) -> Sequence[Any]:
    """Return a column as one or two columns of bytes; see `row_hashes`."""
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


def with_source_hash(rows: pa.Table, *, dated_status: pa.StringArray | None = None) -> pa.Table:
    """Return rows with a second column: the hash of `osm_version`, `tags` and `geometry`.

    Args:
        rows: N rows with these columns.
        dated_status: (N,) The status that a date in the tags implies for the day of the rows, or
            null; None if no row has one. It can change from day to day although neither the object
            nor the rules have changed.
    """
    import pyarrow.compute as pc

    from ingestion_pipeline.columns.arrow import texts

    source = rows.select(_SOURCE_COLUMNS)
    if dated_status is not None and dated_status.null_count < len(dated_status):
        tags = source.column("tags").combine_chunks()
        with_status = pc.binary_join_element_wise(  # type: ignore[call-overload]
            tags, dated_status, "", null_handling="skip"
        )
        source = source.set_column(_SOURCE_COLUMNS.index("tags"), "tags", with_status)
    return rows.add_column(1, "source_hash", texts(row_hashes(source)))


def with_content_hash(rows: pa.Table) -> pa.Table:
    """Return rows with a last column: the hash of all columns of content.

    Args:
        rows: Columns of content in the order of the table of versions, and columns that are no
            content: `source_ref`, `source_hash`, and a `content_hash`, which is replaced.
    """
    from ingestion_pipeline.columns.arrow import texts

    names = [name for name in rows.column_names if name != "content_hash"]
    content = [name for name in names if name not in _NOT_CONTENT]
    hashes = texts(row_hashes(rows.select(content)))
    return rows.select(names).append_column("content_hash", hashes)
