"""Canonical text and hashes: equal values are equal, and nothing else is."""

from __future__ import annotations

import json
import struct
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestion_pipeline.columns.hashing import (
    canonical_json,
    canonical_texts,
    row_hashes,
    with_content_hash,
    with_source_hash,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(value=JSON_VALUES)
def test_canonical_json_reads_back_as_the_value(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value


@given(value=st.dictionaries(st.text(), st.integers(), min_size=2), data=st.data())
def test_canonical_json_does_not_depend_on_the_order_of_keys(
    value: dict[str, int], data: st.DataObject
) -> None:
    shuffled = dict(data.draw(st.permutations(list(value.items()))))
    assert canonical_json(shuffled) == canonical_json(value)


def test_canonical_json_is_the_same_for_ever() -> None:
    assert canonical_json({"b": [1, 2.5, None], "a": {"кафе": True}}) == (
        '{"a":{"кафе":true},"b":[1,2.5,null]}'
    )


TEXTS = st.recursive(
    st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(values=st.lists(TEXTS))
def test_texts_in_bulk_have_the_same_canonical_form(values: list[Any]) -> None:
    assert canonical_texts(values) == list(map(canonical_json, values))


def test_every_character_has_the_same_canonical_form_in_bulk() -> None:
    characters = [chr(code) for code in range(0x11_0000) if not 0xD800 <= code < 0xE000]
    text = "".join(characters)
    assert canonical_texts([{text: text}]) == [canonical_json({text: text})]


KINDS = {
    "text": pa.string(),
    "bytes": pa.binary(),
    "number": pa.int64(),
    "version": pa.int32(),
    "float": pa.float64(),
    "moment": pa.timestamp("s", "UTC"),
}


def rows_of(rows: Sequence[Sequence[Any]]) -> pa.Table:
    """Make rows of values of the kinds above, in their order, where a list may end early."""
    width = max(map(len, rows), default=len(KINDS))
    kinds = list(KINDS.items())[:width]
    columns = [
        pa.array([row[place] for row in rows], kind) for place, (_, kind) in enumerate(kinds)
    ]
    return pa.table(columns, names=[name for name, _ in kinds])


def written(text: str | None, data: bytes | None, *numbers: float | None) -> bytes:
    """Write a row by the words of `row_hashes`, value by value."""
    number, version, real, moment = numbers
    nothing = b"\xfe"
    bits = None if real is None else int.from_bytes(struct.pack(">d", real), signed=True)
    values = [
        nothing if text is None else text.encode(),
        *((nothing, nothing) if data is None else (b"%d" % len(data), data)),
        *(nothing if each is None else b"%d" % each for each in (number, version, bits)),
        nothing if moment is None else b"%d" % (moment * 1_000_000),
    ]
    return b"\xff".join(values)


def test_a_rows_hash_is_the_same_for_ever() -> None:
    rows = rows_of([("кафе 'é' \\", b"\x00\xff", -5, 7, 49.106414, 1_795_000_000)])
    assert row_hashes(rows) == ["97720f06dcdb45e848888a66e13e7845"]


def content(floats: st.SearchStrategy[float]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(
        st.none() | st.text(max_size=3),
        st.none() | st.binary(max_size=4),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.integers(-(2**31), 2**31 - 1),
        st.none() | floats | st.sampled_from([0.0, -0.0, 1e16, 1e-5]),
        st.none() | st.integers(0, 2**33),
    )


NONE_OF_IT = (None,) * len(KINDS)


@settings(deadline=None)  # the first example imports Arrow
@given(rows=st.lists(content(st.floats()), max_size=6))
def test_rows_in_columns_are_hashed_as_their_values_are_written(rows: list[Any]) -> None:
    assert row_hashes(rows_of(rows)) == [
        blake2b(written(*row), digest_size=16).hexdigest() for row in rows
    ]


def test_many_rows_are_hashed_in_their_order() -> None:
    rows = [(None, None, number) for number in range(5_000)]
    hashes = row_hashes(rows_of(rows))
    assert len(set(hashes)) == len(rows)
    assert hashes[4_999] == row_hashes(rows_of([rows[4_999]]))[0]


@settings(deadline=None)
@given(rows=st.lists(content(st.floats(allow_nan=False)), max_size=4))
@example(rows=[(*NONE_OF_IT[:4], zero, None) for zero in (0.0, -0.0)])
def test_hashes_are_equal_exactly_where_rows_are(rows: list[Any]) -> None:
    hashes = row_hashes(rows_of(rows))
    for first, one in zip(rows, hashes, strict=True):
        for second, other in zip(rows, hashes, strict=True):
            assert (one == other) == (repr(first) == repr(second))


@pytest.mark.parametrize(
    ("kinds", "others"),
    [
        ((pa.string(), pa.string()), [("a", "bc"), ("ab", "c")]),
        ((pa.string(), pa.string()), [(None, ""), ("", None), ("", ""), ("None", "")]),
        ((pa.string(), pa.string()), [("é", ""), ("e\u0301", ""), ("\\xe9", "")]),
        ((pa.binary(), pa.string()), [(b"a\xffb", "c"), (b"a", "b\x00c"), (b"a\xffb\xff", "c")]),
        ((pa.binary(), pa.binary()), [(b"a\xff1\xffb", b""), (b"a", b"b"), (b"", b"a\xffb")]),
        ((pa.binary(), pa.binary()), [(None, b""), (b"", None), (b"\xfe", b""), (b"", b"\xfe")]),
        ((pa.int64(), pa.string()), [(None, "1"), (1, None), (11, ""), (1, "1")]),
    ],
    ids=[
        "where one text ends",
        "nothing and the word for it",
        "letters and their escapes",
        "bytes that look like an end",
        "bytes that look like two",
        "nothing and its byte",
        "nothing and numbers",
    ],
)
def test_what_only_looks_alike_has_another_hash(
    kinds: tuple[Any, Any], others: list[tuple[Any, Any]]
) -> None:
    columns = [
        pa.array(values, kind)
        for values, kind in zip(zip(*others, strict=True), kinds, strict=True)
    ]
    assert len(set(row_hashes(pa.table(columns, names=["one", "two"])))) == len(others)


def test_a_row_says_what_upstream_said_and_what_a_reader_sees() -> None:
    said = pa.table(
        {
            "source_ref": ["node/1", "node/2"],
            "osm_version": pa.array([1, None], pa.int32()),
            "name": ["Bar", None],
            "tags": ["{}", "{}"],
            "geometry": pa.array([b"\x01", b"\x02"], pa.binary()),
        }
    )
    hashed = with_content_hash(with_source_hash(said))
    assert hashed.column_names == [
        *("source_ref", "source_hash", "osm_version", "name", "tags", "geometry", "content_hash")
    ]
    assert hashed.column("source_hash").to_pylist() == row_hashes(
        said.select(["osm_version", "tags", "geometry"])
    )
    assert hashed.column("content_hash").to_pylist() == row_hashes(
        said.select(["osm_version", "name", "tags", "geometry"])
    )
    again = with_content_hash(hashed)
    assert again.equals(hashed)
