"""Arrow arrays without pandas: equal to those that `pyarrow.array` makes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion_pipeline.columns.arrow import binaries, numbers, texts


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


@pytest.mark.process
def test_no_array_imports_pandas() -> None:
    code = (
        "import sys, numpy, pyarrow\n"
        "from ingestion_pipeline.columns.arrow import binaries, numbers, texts\n"
        "texts(['a', None]), binaries([b'a']), numbers(numpy.arange(3), pyarrow.int64())\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
