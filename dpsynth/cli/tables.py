"""Output files of single commands: checked before anything is spent, then written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dpsynth.errors import ConfigError, OutputError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SUFFIXES = (".parquet", ".csv")


def check_table_path(path: Path, force: bool, *, reads: Iterable[str | Path | None] = ()) -> None:
    """Refuse a path that cannot hold a table, before any budget is spent on what would go there."""
    if path.suffix not in _SUFFIXES:
        raise ConfigError(f"out={str(path)!r} must end in {' or '.join(_SUFFIXES)}")
    check_free(path, force, reads=reads)


def check_free(path: Path, force: bool, *, reads: Iterable[str | Path | None] = ()) -> None:
    """Refuse to replace a file without ``force``, a folder that is missing or closed, and, always, a file that the command ``reads``.

    What is read may also be a URL, or nothing at all.
    """
    if path.is_dir():
        raise OutputError(f"{str(path)!r} is a folder; name a file")
    if any(_same(path, other) for other in reads if other is not None):
        raise OutputError(f"{str(path)!r} is in use by this very command; write to another file")
    if path.exists() and not force:
        raise OutputError(f"{str(path)!r} exists; use --force to replace it")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"folder {str(folder)!r} does not exist")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"folder {str(folder)!r} cannot be written")


def _same(path: Path, other: str | Path) -> bool:
    """Whether both name one file, by whatever links; a file that is not there yet is told by its path."""
    try:
        return path.resolve() == Path(other).resolve() or path.samefile(other)
    except (OSError, ValueError):
        return False


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write ``table`` as the suffix says."""
    with whole(path) as draft:
        if path.suffix == ".parquet":
            table.to_parquet(draft, index=False)
        else:
            table.to_csv(draft, index=False)


def write_batches(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, wrote: Callable[[int], None]) -> int:
    """Write a stream of batches as the suffix says; ``wrote`` is told the rows so far. Memory holds a batch or two. Returns the rows."""
    done = 0
    with whole(path) as draft, (_parquet if path.suffix == ".parquet" else _csv)(draft, schema) as write:
        for batch in batches:
            write(batch)
            done += batch.num_rows
            wrote(done)
    return done


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # A dictionary of many values is built and then given up, page by page.
    listed = [f.name for f in schema if pa.types.is_dictionary(f.type) or (f.metadata or {}).get(b"repeats")]
    # Without Arrow's own schema in the file a text is a text again when it is read.
    # The least and greatest text of a row group help no reader, and cost a third of the writing.
    ranged = [f.name for f in schema if not pa.types.is_dictionary(f.type)]
    plain = schema.remove_metadata()
    with pq.ParquetWriter(path, plain, use_dictionary=listed, write_statistics=ranged, store_schema=False) as writer:
        yield writer.write_batch


@contextmanager
def _csv(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.RecordBatch], None]]:
    import pandas as pd
    import pyarrow as pa

    # Whole numbers and flags stay what they are beside missing cells.
    types = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    with path.open("w", encoding="utf-8", newline="") as file:
        schema.empty_table().to_pandas().to_csv(file, index=False)

        def write(batch: pa.RecordBatch) -> None:
            batch.to_pandas(types_mapper=types.get).to_csv(file, index=False, header=False)

        yield write


def write_bytes(content: bytes, path: Path) -> None:
    """Write ``content`` as it is."""
    with whole(path) as draft:
        draft.write_bytes(content)


def write_text(text: str, path: Path, *, private: bool = False) -> None:
    """Write ``text`` as UTF-8; ``private`` is for its owner's eyes alone."""
    with whole(path) as draft:
        if private:
            draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft beside ``path`` that takes its place at the end, so that no reader sees half a file."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}") from None
    finally:
        draft.unlink(missing_ok=True)
