"""Arrow arrays from Python and NumPy values, without importing pandas.

`pyarrow.array` imports pandas wherever it is installed, only to check whether its argument is a
Series. That costs half a second of CPU and 60 MB in every process. These functions pass buffers to
Arrow instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    import pyarrow as pa

_MOST_BYTES = 2**31 - 1
"""The limit of 32-bit offsets; Arrow splits a longer column into chunks."""


def texts(values: Sequence[str | None]) -> pa.StringArray:
    """Return an array of strings, null for None."""
    import pyarrow as pa

    known = [value for value in values if value is not None]
    together = "".join(known)
    if together.isascii():  # one byte for each character
        array: pa.StringArray = _of_bytes(values, known, together.encode(), pa.string())
    else:
        encoded = [value.encode() for value in known]
        array = _of_bytes(values, encoded, b"".join(encoded), pa.string())
    return array


def doubles(column: Any) -> npt.NDArray[np.float64]:
    """Return a chunked column of doubles as (N,), NaN for null; `to_numpy` would import pandas."""
    if column.null_count:
        column = column.fill_null(float("nan"))
    chunks = [
        np.frombuffer(chunk.buffers()[1], np.float64)[chunk.offset : chunk.offset + len(chunk)]
        for chunk in column.chunks
        if len(chunk)
    ]
    return np.concatenate(chunks) if chunks else np.empty(0)


def binaries(values: Sequence[bytes | None]) -> pa.BinaryArray:
    """Return an array of bytes, null for None."""
    import pyarrow as pa

    known = [value for value in values if value is not None]
    array: pa.BinaryArray = _of_bytes(values, known, b"".join(known), pa.binary())
    return array


def numbers(
    values: npt.NDArray[Any], of_type: Any, *, missing: npt.NDArray[np.bool_] | None = None
) -> Any:
    """Return an array of numbers or timestamps.

    Args:
        values: (N,) of the width of `of_type`.
        of_type: Arrow's type.
        missing: (N,) which are null; None for none.
    """
    import pyarrow as pa

    present = None if missing is None or not missing.any() else _bits(~missing)
    data = _buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(of_type, len(values), [present, data])


def _of_bytes(values: Sequence[Any], known: Sequence[Any], data: bytes, of_type: Any) -> Any:
    """Return an array of variable-length values.

    Args:
        values: The values, None for null.
        known: The values that are not None, each with the length of its bytes.
        data: Their bytes, concatenated.
        of_type: Arrow's type.
    """
    import pyarrow as pa

    sizes = np.fromiter(map(len, known), dtype=np.int64, count=len(known))
    present = None
    if len(known) < len(values):
        there = np.array([value is not None for value in values], dtype=np.bool_)
        present, those = _bits(there), sizes
        sizes = np.zeros(len(values), dtype=np.int64)
        sizes[there] = those
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)])
    if offsets[-1] > _MOST_BYTES:
        return pa.array(values, of_type)
    return pa.Array.from_buffers(
        of_type,
        len(values),
        [present, _buffer(offsets.astype(np.int32)), _buffer(data)],
    )


def _bits(flags: npt.NDArray[np.bool_]) -> Any:
    return _buffer(np.packbits(flags, bitorder="little"))


def _buffer(values: Any) -> Any:
    import pyarrow as pa

    return pa.py_buffer(values)
