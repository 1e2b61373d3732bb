"""Pandas frames. Columns of Python objects become text cell by cell, so that no cell decides the type of another."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dpsynth.cells import object_text
from dpsynth.sources.columns import BATCH_ROWS, require_columns

if TYPE_CHECKING:
    import pandas as pd

_ARROW_KINDS = frozenset("biufMm")


def recognises(ref: Any) -> bool:
    """Whether ``ref`` is a pandas DataFrame."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(ref, pandas.DataFrame)


def header(ref: pd.DataFrame) -> list[str]:
    """The names of the columns, as text."""
    return [str(name) for name in ref.columns]


def open_pandas(ref: pd.DataFrame, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns; the index is ignored."""
    names = header(ref)
    require_columns(names, columns, "the table")
    return _batches(ref, [names.index(column) for column in columns], columns)


def _batches(frame: pd.DataFrame, places: Sequence[int], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(frame), BATCH_ROWS):
        arrays = [_array(frame.iloc[start : start + BATCH_ROWS, place]) for place in places]
        yield pa.RecordBatch.from_arrays(arrays, list(columns))


def _array(column: pd.Series[Any]) -> pa.Array:
    """One column as Arrow; which way it takes depends on its dtype alone."""
    import pandas as pd

    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        codes = column.cat.codes.to_numpy()
        return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), text_array(column.cat.categories))
    if isinstance(dtype, pd.ArrowDtype):
        return _combined(pa.array(column.array))
    if isinstance(dtype, pd.SparseDtype):
        return _array(column.astype(dtype.subtype))
    if isinstance(dtype, pd.DatetimeTZDtype) or getattr(dtype, "kind", "O") in _ARROW_KINDS:
        return _combined(pa.array(column, from_pandas=True))
    return text_array(column)


def _combined(array: Any) -> pa.Array:
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def text_array(cells: Any) -> pa.Array:
    """Python objects as text, cell by cell; None where missing."""
    texts = [object_text(cell) for cell in cells]
    try:
        return pa.array(texts, pa.large_string())
    except UnicodeEncodeError:
        # A lone surrogate has no UTF-8 form; only the cell that holds one is changed.
        return pa.array([None if text is None else text.encode("utf-8", "replace").decode() for text in texts], pa.large_string())
