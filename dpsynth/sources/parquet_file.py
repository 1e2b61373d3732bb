"""Parquet files, row group by row group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from dpsynth.sources.columns import BATCH_ROWS, existing_file, quiet, require_columns, sliced

SUFFIXES = (".parquet", ".pq")


def recognises(ref: Any) -> bool:
    """Whether ``ref`` is a path that ends in .parquet or .pq."""
    return isinstance(ref, str | Path) and Path(ref).suffix.lower() in SUFFIXES


def header(ref: str | Path) -> list[str]:
    """The names of the columns."""
    path = existing_file(ref)
    with quiet(repr(path.name)):
        import pyarrow.parquet as pq

        return list(pq.read_schema(path).names)


def open_parquet(ref: str | Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns, in their own types."""
    path = existing_file(ref)
    require_columns(header(path), columns, repr(path.name))
    return _batches(path, columns)


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    # Texts stay the dictionaries they are in the file: a value is then read once, not once per row.
    with quiet(repr(path.name)):
        types = pq.read_schema(path)
        texts = [name for name in columns if pa.types.is_string(types.field(name).type) or pa.types.is_large_string(types.field(name).type)]
    with quiet(repr(path.name)), pq.ParquetFile(path, read_dictionary=texts) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=list(columns)):
            yield from sliced(batch, columns)
