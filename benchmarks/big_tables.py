"""A generated table of 20 columns like those of registers: texts, codes, whole and real numbers, dates, flags, missing cells."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from dpsynth.schema import Field, Schema, Unit

_CHUNK = 500_000
_TEXTS = {"sex": 2, "region": 8, "payer": 5, "ward": 20, "diagnosis": 700, "drug": 120, "result": 4}
_NULLABLE = ("payer", "result")
_WHOLE = {"age": (0, 110, 22), "visits": (0, 40, None), "days": (0, 400, 30), "charge": (0, 1_000_000, 32)}
_REAL = {"height": (40.0, 220.0, 24), "weight": (1.0, 250.0, 24), "pressure": (40.0, 260.0, 20), "glucose": (0.0, 40.0, 20)}
_DATES = {"admitted": (date(2010, 1, 1), date(2024, 12, 31), 30), "born": (date(1910, 1, 1), date(2024, 12, 31), 30)}
_FLAGS = ("insured", "emergency", "smoker")


def schema(rows: int) -> Schema:
    """The dictionary of the table; every bin is declared."""
    fields = [
        *(Field(name, "string", categories=tuple(_levels(name, size)), nullable=name in _NULLABLE) for name, size in _TEXTS.items()),
        *(Field(name, "integer", ordered=True, minimum=low, maximum=high, bins=bins) for name, (low, high, bins) in _WHOLE.items()),
        *(Field(name, "number", ordered=True, minimum=low, maximum=high, bins=bins) for name, (low, high, bins) in _REAL.items()),
        *(Field(name, "date", ordered=True, minimum=low, maximum=high, bins=bins) for name, (low, high, bins) in _DATES.items()),
        *(Field(name, "boolean") for name in _FLAGS),
    ]
    return Schema("register", "patients", Unit("record"), tuple(fields), rows=rows)


def write(path: Path, rows: int) -> None:
    """``rows`` records as Parquet, half a million at a time."""
    with pq.ParquetWriter(path, _batch(np.random.default_rng(0), 1).schema) as writer:
        for batch in _batches(rows):
            writer.write_batch(batch)


def _batches(rows: int) -> Iterator[pa.RecordBatch]:
    rng = np.random.default_rng(0)
    for start in range(0, rows, _CHUNK):
        yield _batch(rng, min(_CHUNK, rows - start))


def _levels(name: str, size: int) -> list[str]:
    return [f"{name} {number}" for number in range(size)]


def _batch(rng: np.random.Generator, rows: int) -> pa.RecordBatch:
    """Columns that all lean on one hidden number, so that pairs are dependent."""
    hidden = rng.random(rows)
    columns: dict[str, pa.Array] = {}
    for name, size in _TEXTS.items():
        codes = _skewed(rng, hidden, size)
        missing = rng.random(rows) < 0.2 if name in _NULLABLE else np.zeros(rows, dtype=bool)
        columns[name] = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=missing), _levels(name, size)).cast(pa.string())
    for name, (low, high, _) in _WHOLE.items():
        columns[name] = pa.array(low + _skewed(rng, hidden, high - low + 1), pa.int64())
    for name, (least, most, _) in _REAL.items():
        columns[name] = pa.array(least + (most - least) * rng.beta(2.0, 2.0 + 4.0 * hidden))
    for name, (first, last, _) in _DATES.items():
        days = _skewed(rng, hidden, (last - first).days + 1) + (first - date(1970, 1, 1)).days
        columns[name] = pa.array(days.astype(np.int32)).cast(pa.date32())
    for name in _FLAGS:
        columns[name] = pa.array(rng.random(rows) < hidden)
    return pa.RecordBatch.from_pydict(columns)


def _skewed(rng: np.random.Generator, hidden: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.int64]:
    return (size * rng.random(len(hidden)) ** (1.0 + 2.0 * hidden)).astype(np.int64)
