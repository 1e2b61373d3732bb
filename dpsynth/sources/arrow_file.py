"""Arrow IPC files and streams, Feather included."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from dpsynth.sources.columns import existing_file, quiet, require_columns, sliced

SUFFIXES = (".arrow", ".arrows", ".feather", ".ipc")
_FILE_MAGIC = b"ARROW1"


def recognises(ref: Any) -> bool:
    """Whether ``ref`` is a path that ends in .arrow, .arrows, .feather or .ipc."""
    return isinstance(ref, str | Path) and Path(ref).suffix.lower() in SUFFIXES


def header(ref: str | Path) -> list[str]:
    """The names of the columns."""
    path = existing_file(ref)
    with quiet(repr(path.name)), _reader(path) as (schema, _):
        return list(schema.names)


def open_arrow(ref: str | Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns, in their own types."""
    path = existing_file(ref)
    require_columns(header(path), columns, repr(path.name))
    return _batches(path, columns)


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with quiet(repr(path.name)), _reader(path) as (_, batches):
        for batch in batches:
            yield from sliced(batch, columns)


@contextmanager
def _reader(path: Path) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
    with pa.memory_map(str(path)) as source:
        if source.read(len(_FILE_MAGIC)) == _FILE_MAGIC:
            file = pa.ipc.open_file(source)
            yield file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
        else:
            source.seek(0)
            stream = pa.ipc.open_stream(source)
            yield stream.schema, iter(stream)
