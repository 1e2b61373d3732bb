"""Real and synthetic rows in one table, to train models inside the house: marked, and never public.

Every row says where it comes from, and the file says that it holds real records; no bundle takes such a file.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dpsynth.errors import InputError, OutputError
from dpsynth.schema import Schema, Unit

if TYPE_CHECKING:
    import pandas as pd

ORIGIN = "dp_origin"
REAL, SYNTHETIC = "real", "synthetic"
# Of a Parquet file's metadata: survives a rename, and readers that drop columns.
MARK = b"dpsynth.holds_real_records"


def mix(real: Any, synthetic: Any, schema: Schema, *, seed: int | None = None) -> pd.DataFrame:
    """All rows of both tables in random order, with a column ``dp_origin``: ``real`` or ``synthetic``.

    Both are read as ``schema`` says, at its own granularity: bounds clip, missing values are missing, identifiers are left out; open
    columns have the categories that ``synthetic`` has. The result
    holds real records and is as private as they are. It costs no budget, because nothing may leave.
    """
    import pandas as pd

    from dpsynth.encode import Encoder, closed_by
    from dpsynth.sources import header, open_source

    if ORIGIN in {field.name for field in schema.fields}:
        raise InputError(f"field {ORIGIN!r} of the schema has the name of the column that tells real from synthetic; rename it")
    schema = closed_by(schema, synthetic)
    # Keys of persons are not read: rows are mixed, and new persons have new keys.
    fields = tuple(replace(field, static=False) for field in schema.modelled)
    encoder = Encoder(replace(schema, fields=fields, unit=Unit(schema.unit.name), primary_key=()))
    parts = []
    for table in (real, synthetic):
        if ORIGIN in header(table):
            raise InputError(f"one of the tables holds real and synthetic rows already (column {ORIGIN}); give each kind by itself")
    for table, origin in ((real, REAL), (synthetic, SYNTHETIC)):
        codes = encoder.encode(open_source(table, encoder.columns)).codes
        parts.append(encoder.canonical(codes, typed=True).assign(**{ORIGIN: origin}))
    joined = pd.concat(parts, ignore_index=True)
    return joined.iloc[np.random.default_rng(seed).permutation(len(joined))].reset_index(drop=True)


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a mixed table to a Parquet file that says what it is, for its owner's eyes alone."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False)
    path.touch(mode=0o600)
    pq.write_table(arrow.replace_schema_metadata({MARK: b"true"}), path, compression="zstd")


def refuse_real_records(path: Path) -> None:
    """Raise if a table file, Parquet or CSV, says that it holds real records, or cannot be read and so cannot say that it does not."""
    if _marked(path):
        raise OutputError(f"'{path.name}' holds real records beside synthetic ones (column {ORIGIN}); such a table is never public")


def _marked(path: Path) -> bool:
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            schema = pq.read_schema(path)
        except (OSError, pa.ArrowException):
            raise OutputError(f"'{path.name}' is not a Parquet file that can be read; write it again") from None
        return MARK in (schema.metadata or {}) or ORIGIN in schema.names
    if path.suffix == ".csv":
        try:
            with path.open(encoding="utf-8", newline="") as file:
                header = file.readline()
        except (OSError, UnicodeDecodeError):
            raise OutputError(f"'{path.name}' is not a CSV file in UTF-8 that can be read; write it again") from None
        return ORIGIN in {name.strip().strip('"') for name in header.split(",")}
    return False
