"""Synthetic rows drawn by the executors of a Spark cluster: as many as the cluster can write."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dpsynth.model import SyntheticModel, load
from dpsynth.sources.spark_frame import session
from dpsynth.streaming import Chunks

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from dpsynth.constraints.steering import Balance


def sample_on_spark(
    model: SyntheticModel,
    rows: int,
    *,
    seed: int | None = None,
    where: Mapping[str, Any] | None = None,
    balance: Balance | None = None,
    spark: SparkSession | None = None,
) -> DataFrame:
    """A DataFrame of ``rows`` synthetic records, drawn when it is used; the model travels to the executors once per job.

    The same seed gives the rows that `dpsynth.streaming.Chunks` gives on one machine. Executors need dpsynth.
    """
    spark = spark or session()
    seed = secrets.randbits(32) if seed is None else seed
    chunks = Chunks(model, rows, seed, where, balance)
    numbers = spark.range(0, len(chunks), 1, min(len(chunks), 10_000))
    return numbers.mapInArrow(_drawer(model.to_bytes(), rows, seed, where, balance), _spark_schema(chunks.schema))


def _drawer(
    saved: bytes, rows: int, seed: int, where: Mapping[str, Any] | None, balance: Balance | None
) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def draw(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        chunks = None
        for batch in batches:
            for number in batch.column(0).to_pylist():
                chunks = chunks or Chunks(load(io.BytesIO(saved)), rows, seed, where, balance)
                yield _plain(chunks.draw(number))

    return draw


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Texts in place of dictionaries, which Spark does not read."""
    arrays = [column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _spark_schema(schema: pa.Schema) -> Any:
    from pyspark.sql.pandas.types import from_arrow_schema

    plain = [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in schema]
    return from_arrow_schema(pa.schema(plain), prefer_timestamp_ntz=True)
