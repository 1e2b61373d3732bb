"""One measured step of `benchmarks.scale`, in a process of its own. Prints its stages as JSON."""

from __future__ import annotations

import json
import sys
import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import big_tables

_CHUNK = 1 << 18
_LEVELS = 50


def count(path: str, memory: str) -> dict[str, float]:
    """Encode a Parquet file and count all pairs of its columns; codes beyond ``memory`` bytes go to files."""
    from dpsynth.counting import LocalRecords
    from dpsynth.encode import Encoder
    from dpsynth.marginals import CodedTable
    from dpsynth.sources import open_source

    began = time.monotonic()
    encoder = Encoder(big_tables.schema(1))
    encoded = encoder.encode(open_source(path, encoder.columns), int(memory))
    coded = time.monotonic()
    records = LocalRecords.of(CodedTable(encoder.grid_domain, encoded.codes)).merged(encoder.domain, encoder.bins())
    tables = records.counts(list(combinations(encoder.domain.names, 2)))
    return {
        "rows": encoded.n_rows,
        "encode": coded - began,
        "count": time.monotonic() - coded,
        "pairs": len(tables),
        "cells": sum(table.size for table in tables),
        "files": float(any(isinstance(codes, np.memmap) for codes in encoded.codes.values())),
    }


def random_integers(path: str, rows: str, columns: str) -> dict[str, float]:
    """What is compared with: as many random integers below 50 in as many columns, made by NumPy and written by PyArrow in chunks."""
    rng = np.random.default_rng(0)
    names = [f"c{place}" for place in range(int(columns))]
    with pq.ParquetWriter(path, pa.schema([(name, pa.int64()) for name in names])) as writer:
        for start in range(0, int(rows), _CHUNK):
            n = min(_CHUNK, int(rows) - start)
            writer.write_table(pa.table({name: rng.integers(0, _LEVELS, n) for name in names}))
    return {"rows": float(rows)}


def table(path: str, rows: str) -> dict[str, float]:
    """The generated table."""
    big_tables.write(Path(path), int(rows))
    return {"rows": float(rows)}


STEPS = {"count": count, "integers": random_integers, "table": table}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
