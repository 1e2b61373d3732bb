"""Apache Spark: a DataFrame, or ``spark:`` before a path or the name of a table in Spark's catalogue.

Here rows stream through this machine, partition by partition; the kernel counts them where they are (`dpsynth.privacy.spark_records`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dpsynth.errors import InputError
from dpsynth.sources.columns import require_columns, sliced

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PREFIX = "spark:"
_NAME = "the Spark table"
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
    with quiet():
        return list(_frame(ref).columns)


def open_spark(ref: Any, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns, in their own types, through this machine; the order is that of Spark's partitions."""
    return _batches(frame_of(ref, columns), columns)


def frame_of(ref: Any, columns: Sequence[str]) -> DataFrame:
    """The wanted columns as a Spark DataFrame."""
    with quiet():
        frame = _frame(ref)
        require_columns(frame.columns, columns, _NAME)
        return frame.select(*[frame[f"`{name.replace('`', '``')}`"] for name in columns])


def arrow_schema(frame: DataFrame) -> pa.Schema:
    """The Arrow types in which Spark hands out the columns."""
    from pyspark.sql.pandas.types import to_arrow_schema

    with quiet():
        return to_arrow_schema(frame.schema)


def session() -> SparkSession:
    """The active Spark session, or a new one as the environment configures it."""
    from pyspark.sql import SparkSession

    found = SparkSession.getActiveSession()
    if found is not None:
        return found
    # Without it executors on this machine would run whatever python3 the PATH finds, without dpsynth.
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Spark's own progress bar would write over ours.
    return SparkSession.builder.appName("dpsynth").config("spark.ui.showConsoleProgress", "false").getOrCreate()


@contextmanager
def quiet() -> Iterator[None]:
    """Turn errors of Spark, whose messages hold stack traces and cells, into one that says only that it failed."""
    try:
        from pyspark.errors import PySparkException
    except ImportError:
        raise InputError('Spark is not installed; pip install "dpsynth-release[spark]", and Java 17') from None
    from py4j.protocol import Py4JError

    try:
        yield
    except PySparkException as error:
        kind = error.getCondition() if hasattr(error, "getCondition") else error.getErrorClass()
        raise InputError(f"Spark could not read the table ({kind or type(error).__name__}); its own log says where it failed") from None
    except Py4JError as error:
        raise InputError(f"Spark could not read the table ({type(error).__name__}); its own log says where it failed") from None


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


def _batches(frame: DataFrame, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    with quiet():
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
