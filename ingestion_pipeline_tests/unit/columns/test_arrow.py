"""Arrow arrays without pandas: equal to those that `pyarrow.array` makes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_pipeline.columns.arrow import binaries, doubles, numbers, texts


@settings(deadline=None)  # the first array of pyarrow imports pandas
@given(values=st.lists(st.none() | st.text()))
def test_texts_are_those_of_pyarrow(values: list[str | None]) -> None:
    array = texts(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.string()))


@settings(deadline=None)
@given(values=st.lists(st.none() | st.binary()))
def test_binaries_are_those_of_pyarrow(values: list[bytes | None]) -> None:
    array = binaries(values)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.binary()))


@settings(deadline=None)
@given(values=st.lists(st.none() | st.integers(-(2**31), 2**31 - 1)))
def test_numbers_are_those_of_pyarrow(values: list[int | None]) -> None:
    missing = np.array([value is None for value in values], dtype=bool)
    known = np.array([value or 0 for value in values], dtype=np.int32)
    array = numbers(known, pa.int32(), missing=missing)
    array.validate(full=True)
    assert array.equals(pa.array(values, pa.int32()))


def test_doubles_are_those_of_pyarrow_over_chunks_slices_and_nulls() -> None:
    column = pa.chunked_array([[1.0, 2.5], [], [3.0, None, -4.25]])
    for part in (column, column.slice(1), column.slice(1, 2), column.slice(2, 1), column.slice(5)):
        expected = np.array(part.to_pylist(), dtype=float)
        np.testing.assert_array_equal(doubles(part), expected)


@pytest.mark.process
def test_no_array_imports_pandas() -> None:
    code = (
        "import sys, numpy, pyarrow\n"
        "from ingestion_pipeline.columns.arrow import binaries, doubles, numbers, texts\n"
        "texts(['a', None]), binaries([b'a']), numbers(numpy.arange(3), pyarrow.int64())\n"
        "values = numbers(numpy.arange(3.0), pyarrow.float64())\n"
        "doubles(pyarrow.Table.from_arrays([values], names=['a']).column('a'))\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
