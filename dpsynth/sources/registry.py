"""Which source reads what. A source is a module and one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from dpsynth.errors import InputError
from dpsynth.sources import arrow_file, arrow_stream, csv_file, pandas_frame, parquet_file, spark_frame, sql_query


class Source(NamedTuple):
    """How one kind of table is recognised, what its columns are called, and how they are streamed."""

    recognises: Callable[[Any], bool]
    header: Callable[[Any], list[str]]
    open: Callable[[Any, Sequence[str]], Iterator[pa.RecordBatch]]


SOURCES: dict[str, Source] = {
    "spark": Source(spark_frame.recognises, spark_frame.header, spark_frame.open_spark),
    "sql": Source(sql_query.recognises, sql_query.header, sql_query.open_sql),
    "csv": Source(csv_file.recognises, csv_file.header, csv_file.open_csv),
    "parquet": Source(parquet_file.recognises, parquet_file.header, parquet_file.open_parquet),
    "arrow": Source(arrow_file.recognises, arrow_file.header, arrow_file.open_arrow),
    "pandas": Source(pandas_frame.recognises, pandas_frame.header, pandas_frame.open_pandas),
    "stream": Source(arrow_stream.recognises, arrow_stream.header, arrow_stream.open_stream),
}


def open_source(ref: Any, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The named columns of a table as a stream of record batches.

    ``ref`` is a path, a dataframe or an Arrow stream. Files, headers and missing columns are checked before this
    returns; other columns are not read. Touches private data and spends nothing.
    """
    return _source(ref).open(ref, columns)


def header(ref: Any) -> list[str]:
    """The column names of a table. They are public only if the file has a header line."""
    return _source(ref).header(ref)


def _source(ref: Any) -> Source:
    for source in SOURCES.values():
        if source.recognises(ref):
            return source
    if isinstance(ref, str) and "://" in ref:
        # Not shown: a URL may hold a password.
        raise InputError("a URL needs a # and a table or a query behind it, e.g. postgresql://host/db#visits")
    if isinstance(ref, str | Path):
        known = [*csv_file.SUFFIXES, *parquet_file.SUFFIXES, *arrow_file.SUFFIXES]
        packed = ", ".join(csv_file.COMPRESSIONS)
        raise InputError(f"file {str(ref)!r} ends in none of {', '.join(known)} (text may be compressed: {packed})")
    hint = "; call .collect() first" if hasattr(ref, "collect") else ""
    raise InputError(f"a {type(ref).__name__} is not a table: give a path, a dataframe or an object with __arrow_c_stream__{hint}")
