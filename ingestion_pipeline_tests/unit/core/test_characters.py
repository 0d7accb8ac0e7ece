"""What no database stores is found, and written so that it can be stored."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion_pipeline.core.characters import are_storable, decoded, encoded, storable
from ingestion_pipeline.core.errors import IngestionError

BAD = {
    "Caf\udce9": r"Caf\xe9",
    "a\0b": r"a\u0000b",
    "half \ud83d": r"half \ud83d",
    "other half \ude00": r"other half \ude00",
    "a byte \udcff": r"a byte \xff",
    # as a reader marks what it cannot keep
    "Caf\0xe9": r"Caf\xe9",
    "half \0ud83d": r"half \ud83d",
    "\0xyz": r"\u0000xyz",
}


@pytest.mark.parametrize(("text", "written"), BAD.items(), ids=ascii)
def test_what_cannot_be_stored_is_written_as_what_it_is(text: str, written: str) -> None:
    assert not are_storable(["fine", text])
    assert storable(text) == written
    assert storable({text: [text, {"deep": text}], "n": 1}) == {
        written: [written, {"deep": written}],
        "n": 1,
    }


@pytest.mark.parametrize("text", ["", "Кафе", "😀", "\x01\x1f\x7f", "\ufffe\uffff", "\\u0000"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert are_storable([text])
    assert storable(text) == text


@given(st.binary(max_size=20))
def test_no_byte_is_lost_until_it_is_written(raw: bytes) -> None:
    text = decoded(raw)
    assert encoded(text) == raw
    try:
        assert raw.decode() == text
    except UnicodeDecodeError:
        assert not are_storable([text])


@given(st.recursive(st.text() | st.integers(), lambda each: st.dictionaries(st.text(), each)))
def test_what_is_written_can_be_stored(value: object) -> None:
    written = json.dumps(storable(value), ensure_ascii=False)
    written.encode()
    assert not re.search(r"(?<!\\)(\\\\)*\\u0000", written)


def test_the_message_of_an_error_can_be_stored() -> None:
    assert (
        str(IngestionError("the server said 'Caf\udce9\0'")) == r"the server said 'Caf\xe9\u0000'"
    )
