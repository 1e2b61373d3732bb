"""Columns that grow: the same codes from memory and from files, and no file that anybody else could open."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpsynth.code_store import CodeStore, taken
from dpsynth.errors import InputError
from dpsynth.marginals import CodedTable, Domain

TYPES = {"a": np.uint8, "b": np.uint16, "units": np.int64}


def _batches(rows: list[int]) -> list[dict[str, np.ndarray[Any, Any]]]:
    rng = np.random.default_rng(0)
    return [{name: rng.integers(0, 200, n).astype(dtype) for name, dtype in TYPES.items()} for n in rows]


@pytest.mark.parametrize("memory", [0, 500, 1 << 30])
@pytest.mark.parametrize("rows", [[], [0], [3], [100, 1, 0, 300]])
def test_files_and_memory_hold_the_same_columns(memory: int, rows: list[int]) -> None:
    batches = _batches(rows)
    with CodeStore(TYPES, memory) as store:
        for batch in batches:
            store.append(batch)
        columns = store.finish()
    for name, dtype in TYPES.items():
        assert columns[name].dtype == dtype
        np.testing.assert_array_equal(columns[name], np.concatenate([np.zeros(0, dtype), *(batch[name] for batch in batches)]))
    assert isinstance(columns["a"], np.memmap) == (sum(rows) * 11 > memory)


def test_files_have_no_name_from_the_first_byte_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with CodeStore(TYPES, 0) as store:
        for batch in _batches([1000, 1000]):
            store.append(batch)
            assert list(tmp_path.iterdir()) == []
        columns = store.finish()
        assert list(tmp_path.iterdir()) == []
    # The maps outlive the store.
    assert len(columns["b"]) == 2000
    with pytest.raises(ValueError, match="read-only"):
        columns["b"][0] = 1


def test_a_failure_closes_the_files() -> None:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0  # noqa: PTH208 - counts, opens nothing
    with pytest.raises(KeyboardInterrupt), CodeStore(TYPES, 0) as store:
        store.append(_batches([10])[0])
        raise KeyboardInterrupt
    if before:
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_full_disk_is_told_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/secret")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(InputError, match="No space left on device; set TMPDIR") as caught, CodeStore(TYPES, 0) as store:
        store.append(_batches([10])[0])
    assert "secret" not in str(caught.value)


def test_rows_taken_from_files_are_in_files_again() -> None:
    with CodeStore({"a": np.uint8, "b": np.uint16}, 0) as store:
        for batch in _batches([50, 50]):
            store.append(batch)
        table = CodedTable(Domain.of({"a": 200, "b": 200}), store.finish())
    rows = np.array([3, 2, 99, 50])
    some = taken(table, rows)
    for name, codes in some.columns.items():
        np.testing.assert_array_equal(codes, np.asarray(table.columns[name])[rows])
