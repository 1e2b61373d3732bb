"""Apache Spark: a DataFrame, or ``spark:`` before a path or the name of a table in Spark's catalogue.

Here rows stream through this machine, partition by partition; the kernel counts them where they are (`dpsynth.privacy.spark_records`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dpsynth.errors import InputError
from dpsynth.sources.columns import require_columns, sliced
from dpsynth.sources.spark_errors import THE_TABLE, quiet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PREFIX = "spark:"
_PAYLOAD = "payload binary"


@dataclass(frozen=True)
class SparkSource:
    """A table that Spark reads. ``ref`` is a DataFrame, a path (.parquet, .orc, .csv, .tsv) or the name of a table in the catalogue."""

    ref: Any


def recognises(ref: Any) -> bool:
    """Whether ``ref`` is a `SparkSource`, a Spark DataFrame, or a text that begins with ``spark:``."""
    if isinstance(ref, SparkSource) or (isinstance(ref, str) and ref.startswith(PREFIX)):
        return True
    return any(kind.__name__ == "DataFrame" and kind.__module__.startswith("pyspark.sql.") for kind in type(ref).__mro__)


def header(ref: Any) -> list[str]:
    """The names of the columns."""
    with quiet(_name(ref)):
        return list(_frame(ref).columns)


def open_spark(ref: Any, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns, in their own types, through this machine; the order is that of Spark's partitions."""
    return _batches(frame_of(ref, columns), columns, _name(ref))


def frame_of(ref: Any, columns: Sequence[str]) -> DataFrame:
    """The wanted columns as a Spark DataFrame."""
    with quiet(_name(ref)):
        frame = _frame(ref)
        require_columns(frame.columns, columns, THE_TABLE)
        return frame.select(*[frame[f"`{name.replace('`', '``')}`"] for name in columns])


def arrow_schema(frame: DataFrame) -> pa.Schema:
    """The Arrow types in which Spark hands out the columns."""
    from pyspark.sql.pandas.types import to_arrow_type

    fields = []
    for declared in frame.schema:
        with quiet(f"column {declared.name!r} of {THE_TABLE}"):
            fields.append(pa.field(declared.name, to_arrow_type(declared.dataType)))
    return pa.schema(fields)


def session() -> SparkSession:
    """The active Spark session, or a new one as the environment configures it."""
    from pyspark.sql import SparkSession

    found = SparkSession.getActiveSession()
    if found is not None:
        return found
    # Without it executors on this machine would run whatever python3 the PATH finds, without dpsynth.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark's own progress bar would write over ours.
    with quiet():
        started = SparkSession.builder.appName("dpsynth").config("spark.ui.showConsoleProgress", "false").getOrCreate()
    # Its log prints stack traces, which may quote cells. Whoever wants it sets a level; a remote session keeps its log to itself.
    if hasattr(started, "sparkContext") and started.conf.get("spark.log.level", None) is None:
        started.sparkContext.setLogLevel("OFF")
    return started


def _name(ref: Any) -> str:
    ref = ref.ref if isinstance(ref, SparkSource) else ref
    # What stands before an @ in an address may be a password.
    return f"{PREFIX}{str(ref).removeprefix(PREFIX)}" if isinstance(ref, str | os.PathLike) and "@" not in str(ref) else THE_TABLE


def _frame(ref: Any) -> DataFrame:
    ref = ref.ref if isinstance(ref, SparkSource) else ref
    if not isinstance(ref, str | os.PathLike):
        return ref
    path = str(ref).removeprefix(PREFIX)
    if not path:
        raise InputError("spark: needs a path or the name of a table, e.g. spark:/data/visits.parquet")
    read = session().read
    bare = path.lower().rstrip("/").removesuffix(".gz").removesuffix(".bz2")
    if bare.endswith((".csv", ".tsv")):
        delimiter = "\t" if bare.endswith(".tsv") else ","
        return read.csv(path, sep=delimiter, header=True, inferSchema=False, quote='"', escape='"', mode="DROPMALFORMED")
    if bare.endswith((".parquet", ".pq")):
        return read.parquet(path)
    if bare.endswith(".orc"):
        return read.orc(path)
    return read.parquet(path) if "/" in path else read.table(path)


def _batches(frame: DataFrame, columns: Sequence[str], name: str) -> Iterator[pa.RecordBatch]:
    with quiet(name):
        for row in frame.mapInArrow(_as_bytes, _PAYLOAD).toLocalIterator():
            with pa.ipc.open_stream(pa.BufferReader(row[0])) as reader:
                for batch in reader:
                    yield from sliced(batch, columns)


def _as_bytes(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Runs on the executors: whole batches as single cells, which Spark hands on untouched."""
    for batch in batches:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        yield pa.record_batch({"payload": pa.array([sink.getvalue().to_pybytes()], pa.binary())})
