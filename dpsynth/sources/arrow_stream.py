"""Tables in memory that speak Arrow: PyArrow, Polars, DuckDB relations, anything with ``__arrow_c_stream__``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from dpsynth.sources.columns import quiet, require_columns, sliced


def recognises(ref: Any) -> bool:
    """Whether ``ref`` exports an Arrow stream (or is one record batch)."""
    return isinstance(ref, pa.RecordBatch) or hasattr(ref, "__arrow_c_stream__")


def header(ref: Any) -> list[str]:
    """The names of the columns. A stream that can be read only once, and has no ``__arrow_c_schema__``, is used up."""
    if isinstance(getattr(ref, "schema", None), pa.Schema):
        return list(ref.schema.names)
    if hasattr(ref, "__arrow_c_schema__"):
        with quiet("the table"):
            return list(pa.schema(ref).names)
    return list(_stream(ref).schema.names)


def open_stream(ref: Any, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns, in their own types."""
    stream = _stream(ref)
    require_columns(stream.schema.names, columns, "the table")
    return _batches(stream, columns)


def _stream(ref: Any) -> pa.RecordBatchReader:
    if isinstance(ref, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(ref.schema, [ref])
    with quiet("the table"):
        return pa.RecordBatchReader.from_stream(ref)


def _batches(stream: pa.RecordBatchReader, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with quiet("the table"):
        for batch in stream:
            yield from sliced(batch, columns)
