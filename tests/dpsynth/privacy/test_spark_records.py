"""Counting on Spark: the steps of the executors without a cluster, then a local Spark against one machine, bit for bit.

The second half runs under ``make test-spark``: starting Spark takes longer than all tests of this folder.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpsynth.code_store import taken
from dpsynth.counting import LocalRecords
from dpsynth.encode import Encoder
from dpsynth.errors import InputError
from dpsynth.marginals import Clique, CodedTable, Counts
from dpsynth.privacy import PrivacyBudget, PrivateData, spark_records
from dpsynth.privacy.unit import bounded_rows, row_digests
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import SparkSource, header, open_source

# PySpark leaves sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

KEY = 0x1234_5678_90AB_CDEF_1234_5678_90AB_CDEF
FIELDS = (
    Field("text", "string", categories=("p", "q", "0", "1.5"), nullable=True),
    Field("code", "string", categories=tuple(f"c{i}" for i in range(300))),
    Field("number", "number", ordered=True, minimum=0.0, maximum=9.0, bins=4, nullable=True),
    Field("when", "date", ordered=True, minimum=date(2020, 1, 1), maximum=date(2020, 12, 31), bins=4),
    Field("who", "string", role="identifier"),
)
ROWS, PERSONS, MAX_ROWS = 3000, 500, 2


def _schema(keyed: bool) -> Schema:
    return Schema("t", "people", Unit("person", "who", MAX_ROWS) if keyed else Unit("row"), FIELDS)


def _table() -> pa.Table:
    rng = np.random.default_rng(0)
    texts = [None, "p", " q ", "?", "0", "0.0", "1.5"]
    return pa.table(
        {
            "text": [texts[i] for i in rng.integers(0, len(texts), ROWS)],
            # Few codes, so that persons have rows that are alike.
            "code": [f"c{i}" for i in rng.integers(0, 300, ROWS) // 100 * 100],
            "number": pa.array([None if i == 0 else i / 7 for i in rng.integers(0, 80, ROWS)], pa.float64()),
            "when": pa.array([date(2020, int(i), 11) for i in rng.integers(1, 13, ROWS)]),
            "who": [str(i) if i else None for i in rng.integers(0, PERSONS, ROWS)],
        }
    )


def _cliques(encoder: Encoder) -> list[Clique]:
    names = encoder.domain.names
    return [(), *((name,) for name in names), *combinations(names, 2), names]


def _on_one_machine(encoder: Encoder) -> list[Counts]:
    encoded = encoder.encode(_table().to_batches())
    table = CodedTable(encoder.grid_domain, encoded.codes)
    if encoded.units is not None:
        table = taken(table, bounded_rows(encoded.units, MAX_ROWS, KEY, row_digests(table, KEY)))
    return LocalRecords.of(table).merged(encoder.domain, encoder.bins()).counts(_cliques(encoder))


def _same(found: list[Counts], expected: list[Counts]) -> None:
    assert [table.shape for table in found] == [table.shape for table in expected]
    for table, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(table, other)


# --- the steps, without Spark ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("together", [1, 1 << 18])
@pytest.mark.parametrize("keyed", [False, True])
def test_the_steps_of_the_executors_count_as_one_machine_does(keyed: bool, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_records, "_COUNTED_TOGETHER", together)
    encoder = Encoder(_schema(keyed))
    coder = spark_records._Coder(json.dumps(encoder.to_dict()))
    shuffled = _table().take(np.random.default_rng(1).permutation(ROWS))
    tasks = [shuffled.slice(start, 700).to_batches(max_chunksize=90) for start in range(0, ROWS, 700)]
    if keyed:
        rows = pa.Table.from_batches([batch for task in tasks for batch in spark_records._Keyed(coder, KEY)(iter(task))])
        # What Spark does between the two steps: every unit in one task, in order.
        rows = rows.sort_by([("unit", "ascending"), ("content", "ascending")])
        part = np.abs(rows["unit"].to_numpy() % 3)
        bound = spark_records._Bounded(coder, MAX_ROWS, KEY)
        packed = [list(bound(iter(rows.filter(part == i).to_batches(max_chunksize=17)))) for i in range(3)]
    else:
        packed = [list(coder.packed(iter(task))) for task in tasks]
    counter = spark_records._Counter(encoder.grid_domain, encoder.domain, encoder.bins(), tuple(_cliques(encoder)))
    parts = [batch for task in [*packed, []] for batch in counter(iter(task))]
    [total] = spark_records._added(iter(parts))
    _same(counter.split(np.frombuffer(total.column(0)[0].as_py(), dtype=np.int64)), _on_one_machine(encoder))


@pytest.mark.parametrize("keyed", [False, True])
def test_an_empty_batch_is_no_exception(keyed: bool) -> None:
    """A filter may leave one: whether a job fails must not depend on the records."""
    encoder = Encoder(_schema(keyed))
    coder = spark_records._Coder(json.dumps(encoder.to_dict()))
    [empty] = [batch.slice(0, 0) for batch in _table().to_batches()]
    packed = list(coder.packed(iter([empty])))
    if keyed:
        [rows] = spark_records._Keyed(coder, KEY)(iter([empty]))
        assert rows.num_rows == 0
        packed = list(spark_records._Bounded(coder, MAX_ROWS, KEY)(iter([rows, rows])))
    counter = spark_records._Counter(encoder.grid_domain, encoder.grid_domain, {}, ((),))
    [counts] = counter(iter(packed))
    assert np.frombuffer(counts.column(0)[0].as_py(), dtype=np.int64).tolist() == [0]


def test_no_parts_add_up_to_no_part() -> None:
    assert list(spark_records._added(iter([]))) == []


# --- a local Spark ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spark() -> Iterator[Any]:
    if not os.environ.get("DPSYNTH_TEST_SPARK"):
        pytest.skip("starting Spark takes half a minute; run: make test-spark")
    pytest.importorskip("pyspark", reason="the spark extra is not installed")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java 17")
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    options = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "3", "spark.sql.session.timeZone": "UTC"}
    builder = SparkSession.builder.master("local[2]").appName("tests")
    for name, value in options.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


def _exact(event: Any, exact: Any, draw: Callable[[], Any]) -> Any:
    """Coins with a known key, and answers without noise."""
    return KEY if event["kind"] == "coins" else exact


def _counted(source: Any, keyed: bool) -> list[Counts]:
    private = PrivateData.read(source, _schema(keyed), PrivacyBudget(5.0, 1e-6), hook=_exact)
    assert isinstance(private._table, spark_records.SparkRecords)
    assert private.encoder is not None
    return private._table.counts(_cliques(private.encoder))


def _sources(folder: Path, spark: Any) -> Iterator[tuple[str, Any]]:
    table = _table()
    pq.write_table(table, folder / "t.parquet", row_group_size=400)
    table.to_pandas().to_csv(folder / "t.csv", index=False)
    frame = spark.read.parquet(str(folder / "t.parquet"))
    frame.write.orc(str(folder / "t.orc"))
    frame.write.parquet(str(folder / "many.parquet"))
    frame.repartition(5).createOrReplaceTempView("people")
    yield "parquet file", f"spark:{folder / 't.parquet'}"
    yield "csv file", f"spark:{folder / 't.csv'}"
    yield "orc folder", f"spark:{folder / 't.orc'}"
    yield "parquet folder", SparkSource(folder / "many.parquet")
    yield "table of the catalogue", "spark:people"
    yield "frame", frame
    yield "many small partitions", frame.repartition(23)
    yield "frame made from pandas", spark.createDataFrame(table.to_pandas().astype(object).where(lambda t: t.notna(), None))


@pytest.mark.parametrize("keyed", [False, True])
def test_spark_counts_what_one_machine_counts_bit_for_bit(spark: Any, tmp_path: Path, keyed: bool) -> None:
    expected = _on_one_machine(Encoder(_schema(keyed)))
    for number, (name, source) in enumerate(_sources(tmp_path, spark)):
        if number % 3 and not keyed:
            continue
        found = _counted(source, keyed)
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), name


def test_rows_that_stream_through_this_machine_are_the_same(spark: Any, tmp_path: Path) -> None:
    pq.write_table(_table(), tmp_path / "t.parquet", row_group_size=400)
    source = f"spark:{tmp_path / 't.parquet'}"
    assert header(source) == _table().column_names
    streamed = pa.Table.from_batches(open_source(source, ["who", "number"]))
    assert streamed.equals(_table().select(["who", "number"]))


def test_a_missing_column_and_a_wrong_type_are_told_before_any_record_is_read(spark: Any) -> None:
    frame = spark.createDataFrame(pd.DataFrame({"text": ["SECRET"], "who": ["1"]}))
    with pytest.raises(InputError, match="are in the schema but not in the Spark table"):
        _counted(frame, False)
    nested = spark.sql("select array(1) as text, 'c1' as code, 1.0d as number, date'2020-01-01' as when, 'a' as who")
    with pytest.raises(InputError, match="column 'text' has nested values"):
        _counted(nested, False)


def test_an_error_on_an_executor_quotes_no_cell(spark: Any) -> None:
    frame = spark.sql("select raise_error('SECRET') as text, 'c1' as code, 1.0d as number, date'2020-01-01' as when, 'a' as who")
    with pytest.raises(InputError, match="Spark could not read the table") as caught:
        _counted(frame.withColumn("text", frame["text"].cast("string")), False)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_executors_draw_the_rows_that_this_machine_draws(spark: Any) -> None:
    from dpsynth.spark_sampling import sample_on_spark
    from dpsynth.streaming import CHUNK_ROWS, Chunks
    from tests.dpsynth.test_streaming import FIELDS as DRAWN
    from tests.dpsynth.test_streaming import chain_model

    rows = CHUNK_ROWS + 1000
    frame = sample_on_spark(chain_model(), rows, seed=3, spark=spark)
    assert frame.count() == rows
    here = pa.Table.from_batches(list(Chunks(chain_model(), rows, 3))).to_pandas()
    there = frame.toArrow().to_pandas()
    for declared in DRAWN:
        pd.testing.assert_series_equal(there[declared.name].astype(object), here[declared.name].astype(object), check_dtype=False)


def test_a_model_is_fitted_on_records_that_stay_on_the_cluster(spark: Any, tmp_path: Path) -> None:
    from dpsynth import pipeline

    pq.write_table(_table(), tmp_path / "t.parquet")
    made = pipeline.synthesize(f"spark:{tmp_path / 't.parquet'}", schema=_schema(True), epsilon=5.0, delta=1e-6, rows=50, seed=1)
    assert len(made.table) == 50
