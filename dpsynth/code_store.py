"""Columns of codes that grow batch by batch: in memory while they are few, in files without a name beyond that.

The files are unlinked from birth: no other user can open them, and nothing is left of them however the process ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dpsynth.errors import InputError
from dpsynth.marginals import CodedTable

Column = npt.NDArray[Any]

MEMORY = 1 << 30
"""Bytes of codes kept in memory before they go to files."""
_TAKEN_AT_ONCE = 1 << 20


class CodeStore:
    """``append`` batches of equally named columns, then ``finish`` once. A context manager, so that a failure closes the files.

    The temporary folder is the system's (``TMPDIR``).
    """

    def __init__(self, dtypes: Mapping[str, npt.DTypeLike], memory: int = MEMORY) -> None:
        self._dtypes = {name: np.dtype(dtype) for name, dtype in dtypes.items()}
        self._memory = memory
        self._chunks: dict[str, list[Column]] = {name: [] for name in dtypes}
        self._bytes = 0
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> CodeStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def append(self, batch: Mapping[str, Column]) -> None:
        """Add a batch; every column has the same number of rows."""
        for name, dtype in self._dtypes.items():
            codes = np.ascontiguousarray(batch[name], dtype=dtype)
            if self._files:
                self._write(name, codes)
            else:
                self._chunks[name].append(codes)
                self._bytes += codes.nbytes
        if not self._files and self._bytes > self._memory:
            self._spill()

    def _spill(self) -> None:
        for name in self._dtypes:
            self._files[name] = self._stack.enter_context(_nameless())
        for name, chunks in self._chunks.items():
            while chunks:
                self._write(name, chunks.pop(0))

    def _write(self, name: str, codes: Column) -> None:
        try:
            self._files[name].write(codes.data.cast("B"))
        except OSError as error:
            raise _no_room(error) from None

    def _flush(self) -> None:
        try:
            for file in self._files.values():
                file.flush()
        except OSError as error:
            raise _no_room(error) from None

    def finish(self) -> dict[str, Column]:
        """The columns whole: arrays, or read-only maps of the files, which live as long as the maps do."""
        if self._files:
            self._flush()
            return {name: np.memmap(file, dtype=self._dtypes[name], mode="r") for name, file in self._files.items()}
        columns: dict[str, Column] = {}
        for name, dtype in self._dtypes.items():
            # One column at a time, so that the table is not in memory twice.
            chunks = self._chunks.pop(name)
            columns[name] = np.concatenate(chunks) if chunks else np.zeros(0, dtype=dtype)
        return columns


@contextmanager
def _nameless() -> Iterator[IO[bytes]]:
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - closed below
    except OSError as error:
        raise _no_room(error) from None
    with file:
        yield file


def taken(table: CodedTable, rows: npt.NDArray[np.integer[Any]]) -> CodedTable:
    """The rows at these positions, in this order; in files again if ``table`` is."""
    if not any(isinstance(codes, np.memmap) for codes in table.columns.values()):
        return table.take(rows)
    with CodeStore({name: codes.dtype for name, codes in table.columns.items()}) as store:
        for start in range(0, len(rows), _TAKEN_AT_ONCE):
            store.append(table.take(rows[start : start + _TAKEN_AT_ONCE]).columns)
        return CodedTable(table.domain, store.finish(), None if table.weights is None else table.weights[rows])


def _no_room(error: OSError) -> InputError:
    return InputError(f"temporary files of codes cannot be written: {error.strerror}; set TMPDIR to a folder with room")
