"""What every source shares: the check of a public header, batch sizes, and reading errors that quote nothing."""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from dpsynth.errors import InputError

BATCH_ROWS = 65_536

_READ_ERRORS = (pa.ArrowException, OSError, EOFError, lzma.LZMAError)


def require_columns(found: Sequence[str], columns: Sequence[str], name: str) -> None:
    """Refuse a header that lacks one of ``columns`` or has it twice.

    Found names are never shown: the first line of a file without a header is somebody's record.
    """
    missing = [column for column in columns if column not in found]
    nearly = {str(name).strip().casefold() for name in found}
    if missing and all(column.strip().casefold() in nearly for column in missing):
        # What is found is what was asked for, so nothing is shown that the schema does not say.
        noun, verb = ("column", "is") if len(missing) == 1 else ("columns", "are")
        raise InputError(
            f"{noun} {', '.join(map(repr, missing))} {verb} in {name} with other capital letters or with spaces around; "
            "spell the names alike in table and schema"
        )
    if missing and len(missing) == len(columns):
        raise InputError(
            f"{name} has none of the columns of the schema ({', '.join(columns)}); "
            "does its first line hold the column names, and is the delimiter right?"
        )
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        verb = "is" if len(missing) == 1 else "are"
        raise InputError(f"{noun} {', '.join(map(repr, missing))} {verb} in the schema but not in {name}")
    for column in columns:
        if list(found).count(column) > 1:
            raise InputError(f"column {column!r} is more than once in {name}")


def existing_file(ref: str | Path) -> Path:
    """The path, if a file is there."""
    path = Path(ref)
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder; name a file in it")
    if not path.exists():
        raise InputError(f"file {str(path)!r} does not exist")
    return path


@contextmanager
def quiet(name: str) -> Iterator[None]:
    """Turn errors of the reading libraries, which may quote cells, into one that says only which file."""
    try:
        yield
    except PermissionError:
        raise InputError(f"{name} cannot be read: permission denied") from None
    except _READ_ERRORS as error:
        if "UTF8" in str(error) or "UTF-8" in str(error):
            raise InputError(f"{name} is not UTF-8 text; convert it first, e.g. with iconv -t UTF-8") from None
        raise InputError(f"{name} cannot be read: it is damaged, or not of the type its name says") from None


def sliced(batch: Any, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The wanted columns of a batch, in pieces of at most ``BATCH_ROWS`` rows."""
    picked = pa.RecordBatch.from_arrays([batch.column(batch.schema.get_field_index(name)) for name in columns], list(columns))
    for start in range(0, batch.num_rows, BATCH_ROWS):
        yield picked.slice(start, BATCH_ROWS)
