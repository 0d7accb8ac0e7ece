"""Canonical text and hashes: equal values are equal, and nothing else is."""

from __future__ import annotations

import itertools
import json
from datetime import date
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ingestion_pipeline.hashing import (
    canonical_json,
    canonical_texts,
    code_digest,
    row_hashes,
    with_content_hash,
)

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = itertools.count()

KINDS = {
    "text": pa.string(),
    "bytes": pa.binary(),
    "number": pa.int64(),
    "float": pa.float64(),
    "moment": pa.timestamp("us", "UTC"),
}

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


def test_a_rows_hash_is_the_same_for_ever() -> None:
    row = ("node/1", None, True, -5, 49.106414, b"\x00\xff", date(2026, 11, 20), "кафе 'é' \\")
    assert row_hashes([[value] for value in row]) == ["5ed180977653500fea8bf5affde3d02d"]


def test_a_rows_hash_does_not_depend_on_which_characters_this_python_knows() -> None:
    # U+1FAE9 came with Unicode 16, U+0378 is not assigned, U+00AD is not printable.
    assert row_hashes([["\U0001fae9 \u0378 \u00ad"]]) == ["1f60e4f9c08a2864ad365165d2c96524"]


CONTENT = st.fixed_dictionaries(
    {
        "text": st.none() | st.text(max_size=3),
        "bytes": st.none() | st.binary(max_size=4),
        "number": st.none() | st.integers(-(2**63), 2**63 - 1),
        "float": st.none() | st.floats() | st.sampled_from([0.0, -0.0, 1e16, 1e-5]),
        "moment": st.none() | st.integers(0, 2**40),
    }
)


@settings(deadline=None)  # the first example imports Arrow
@given(rows=st.lists(CONTENT, max_size=6))
@example(
    rows=[
        {"text": None, "bytes": None, "number": None, "float": f, "moment": 1} for f in (0.0, -0.0)
    ]
)
def test_rows_in_columns_have_the_hashes_that_they_have_as_plain_values(
    rows: list[dict[str, Any]],
) -> None:
    content = pa.table(
        {name: pa.array([row[name] for row in rows], kind) for name, kind in KINDS.items()}
    )
    refs = pa.array([f"node/{number}" for number in range(len(rows))])
    hashed = with_content_hash(content.add_column(0, "source_ref", refs))
    assert hashed.column_names == ["source_ref", *KINDS, "content_hash"]
    assert hashed.column("content_hash").to_pylist() == row_hashes(
        [[row[name] for row in rows] for name in KINDS]
    )
    again = with_content_hash(hashed)
    assert again.schema.equals(hashed.schema)
    assert again.column("content_hash").equals(hashed.column("content_hash"))


ROWS = st.lists(
    st.tuples(st.text(max_size=3), st.none() | st.integers(0, 2) | st.text(max_size=2)), max_size=6
)


@given(rows=ROWS)
def test_hashes_are_equal_exactly_where_rows_are(rows: list[tuple[str, Any]]) -> None:
    hashes = row_hashes([[row[0] for row in rows], [row[1] for row in rows]])
    assert len(hashes) == len(rows)
    for first, one in zip(rows, hashes, strict=True):
        for second, other in zip(rows, hashes, strict=True):
            assert (one == other) == (first == second)


@pytest.mark.parametrize(
    "others",
    [
        pytest.param([("a", "bc"), ("ab", "c")], id="where one column ends"),
        pytest.param([(None, ""), ("", None), ("None", None)], id="nothing and the word for it"),
        pytest.param([(1, "1"), ("1", 1), (1.0, "1")], id="numbers and their text"),
        pytest.param([("\\xe9", ""), ("é", ""), ("e\u0301", "")], id="escapes and their letters"),
        pytest.param([(b"a", ""), ("a", ""), ("b'a'", "")], id="bytes and text"),
    ],
)
def test_what_only_looks_alike_has_another_hash(others: list[tuple[Any, Any]]) -> None:
    hashes = row_hashes([[row[0] for row in others], [row[1] for row in others]])
    assert len(set(hashes)) == len(others)


def test_columns_of_different_length_have_no_rows() -> None:
    with pytest.raises(ValueError, match="shorter"):
        row_hashes([[1, 2], [1]])


def test_no_rows_have_no_hashes() -> None:
    assert row_hashes([[], []]) == []


PACKAGE = {"__init__.py": "", "one.py": "1", "table.json": "{}"}


@pytest.mark.parametrize(
    ("files", "is_same"),
    [
        (PACKAGE, True),
        (PACKAGE | {"notes.txt": "not computed with", "__pycache__": None}, True),
        (PACKAGE | {"one.py": "2"}, False),
        (PACKAGE | {"table.json": "[]"}, False),
        (PACKAGE | {"two.py": ""}, False),
        ({"__init__.py": "", "other.py": "1", "table.json": "{}"}, False),
        ({"__init__.py": "", "one.py": "1{}", "table.json": ""}, False),
    ],
    ids=["equal", "other files", "code", "data", "more code", "renamed", "moved"],
)
def test_a_packages_code_has_another_digest_when_any_of_it_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str | None], is_same: bool
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    digests = []
    for contents in (PACKAGE, files):
        # A digest is kept by the package's name, so that each gets a name of its own.
        package = tmp_path / f"package_{next(NUMBERS)}"
        for name, text in contents.items():
            (package / name).parent.mkdir(exist_ok=True)
            if text is None:
                (package / name).mkdir()
            else:
                (package / name).write_text(text)
        digests.append(code_digest(package.name))
    assert (digests[0] == digests[1]) == is_same


@given(row=st.tuples(st.text(), st.binary(), st.none() | st.integers() | st.floats()))
def test_a_rows_hash_is_that_of_its_ascii(row: tuple[Any, ...]) -> None:
    assert row_hashes([[value] for value in row]) == [
        blake2b(ascii(row).encode(), digest_size=16).hexdigest()
    ]
