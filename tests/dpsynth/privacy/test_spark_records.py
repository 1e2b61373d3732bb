"""Counting on Spark: the steps of the executors without a cluster, then a local Spark against one machine, bit for bit.

The second half runs under ``make test-spark``: starting Spark takes longer than all tests of this folder.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dpsynth.counting import LocalRecords
from dpsynth.encode import Encoder
from dpsynth.errors import InputError
from dpsynth.marginals import Clique, CodedTable, Counts, Domain
from dpsynth.privacy import AuditTables, Cohort, PrivacyBudget, PrivacyUnit, PrivateData, spark_records
from dpsynth.privacy.unit import weighed_domain
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import SparkSource, header, open_source, spark_frame

# PySpark leaves sockets to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

KEY = 0x1234_5678_90AB_CDEF_1234_5678_90AB_CDEF
FIELDS = (
    Field("text", "string", categories=("p", "q", "0", "1.5"), nullable=True, static=True),
    Field("code", "string", categories=tuple(f"c{i}" for i in range(300))),
    Field("number", "number", ordered=True, minimum=0.0, maximum=9.0, bins=4, nullable=True),
    Field("when", "date", ordered=True, minimum=date(2020, 1, 1), maximum=date(2020, 12, 31), bins=4),
    Field("who", "string", role="identifier"),
)
ROWS, PERSONS, MAX_ROWS = 3000, 500, 4
UNITS = {"row": Unit("row"), "keyed": Unit("person", "who", MAX_ROWS), "person": Unit("person", "who", MAX_ROWS, weights="person")}
COHORT = Cohort(0.3, audited_rows=200)


def _schema(unit: str) -> Schema:
    static = unit == "person"
    return Schema("t", "people", UNITS[unit], tuple(replace(f, static=f.static and static) for f in FIELDS))


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


def _cliques(private: PrivateData) -> list[Clique]:
    names = private.domain.names
    return [(), *((name,) for name in names), *combinations(names, 2), names[:4]]


def _exact(event: Any, exact: Any, draw: Callable[[], Any]) -> Any:
    """Coins with a known key, and answers without noise."""
    return KEY if event["kind"] == "coins" else exact


def _read(source: Any, unit: str, cohort: Cohort | None = None) -> PrivateData:
    return PrivateData.read(source, _schema(unit), PrivacyBudget(5.0, 1e-6), cohort=cohort, hook=_exact)


def _counted(private: PrivateData) -> list[Counts]:
    return private._table.counts(_cliques(private))


def _on_one_machine(unit: str, cohort: Cohort | None = None) -> list[Counts]:
    return _counted(_read(_table(), unit, cohort))


def _same(found: list[Counts], expected: list[Counts]) -> None:
    assert [table.shape for table in found] == [table.shape for table in expected]
    for table, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(table, other)


def _rows(table: CodedTable, units: Any) -> list[tuple[int, ...]]:
    """All a row is, in an order that does not depend on where it came from."""
    weights = np.ones(table.n_rows, dtype=np.int64) if table.weights is None else table.weights
    return sorted(zip(*(column.tolist() for column in (units, weights, *table.columns.values())), strict=True))


def _alike(found: AuditTables, expected: AuditTables) -> None:
    assert found.train.domain == expected.train.domain
    assert _rows(found.train, found.train_units) == _rows(expected.train, expected.train_units)
    assert _rows(found.control, found.control_units) == _rows(expected.control, expected.control_units)
    assert np.array_equal(found.members, expected.members)
    assert found.trained == expected.trained


# --- the steps, without Spark ---------------------------------------------------------------------------------------------------


class _Frame:
    """What Spark does to tasks of record batches between the steps, without Spark: enough of it for `SparkRecords`."""

    def __init__(self, tasks: list[list[pa.RecordBatch]]) -> None:
        self.tasks = tasks

    def mapInArrow(self, step: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]], _: str) -> _Frame:
        return _Frame([list(step(iter(task))) for task in self.tasks])

    def repartition(self, tasks: int) -> _Frame:
        return _Frame([[batch for task in self.tasks[start::tasks] for batch in task] for start in range(tasks)])

    def where(self, condition: str) -> _Frame:
        column, sign, value = condition.split()
        keep = {"<": np.less, "=": np.equal, "<>": np.not_equal}[sign]
        return _Frame([[b.filter(pa.array(keep(b.column(column).to_numpy(), int(value)))) for b in task] for task in self.tasks])

    def groupBy(self) -> _Frame:
        return self

    def sum(self, column: str) -> _Frame:
        total = sum(int(batch.column(column).to_numpy().sum()) for task in self.tasks for batch in task)
        return _Frame([[pa.record_batch({column: pa.array([total])})]])

    def collect(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for task in self.tasks for batch in task for row in batch.to_pylist()]


def _stepped(unit: str, cohort: Cohort | None) -> PrivateData:
    """The steps of the executors on shuffled rows, cut into tasks and batches."""
    encoder = Encoder(_schema(unit))
    private_unit = PrivacyUnit("person" if unit != "row" else "row", UNITS[unit].max_rows, weights=UNITS[unit].weights)
    domain = weighed_domain(encoder.grid_domain, private_unit) if private_unit.by_person else encoder.grid_domain
    layout = spark_records._Layout(domain, cohort is not None, private_unit.by_person)
    packer = spark_records._Packer(json.dumps(encoder.to_dict()), private_unit, spark_records.Coins(KEY, KEY, KEY), cohort, layout)
    shuffled = _table().take(np.random.default_rng(1).permutation(ROWS))
    # A filter may leave an empty batch: whether a job fails must not depend on the records.
    [empty] = [batch.slice(0, 0) for batch in _table().to_batches()]
    tasks = _Frame([[empty, *shuffled.slice(start, 700).to_batches(max_chunksize=90)] for start in range(0, ROWS, 700)])
    if unit == "row":
        packed = tasks.mapInArrow(packer.rows, "")
    else:
        rows = pa.Table.from_batches([batch for task in tasks.mapInArrow(packer.keyed, "").tasks for batch in task])
        # What Spark does between the two steps: every unit in one task, in order.
        rows = rows.sort_by([("unit", "ascending"), ("content", "ascending")])
        part = np.abs(rows["unit"].to_numpy() % 11)
        [nobody] = [batch.slice(0, 0) for batch in rows.to_batches()[:1]]
        tasks = _Frame([[nobody, *rows.filter(part == i).to_batches(max_chunksize=17)] for i in range(11)])
        packed = tasks.mapInArrow(packer.bounded, "")
    records = spark_records.SparkRecords(spark_records._Kept(packed), packer, domain)
    account = PrivateData.of_codes(
        CodedTable(Domain.of({"a": 2}), {"a": np.zeros(0, np.uint8)}), PrivacyBudget(5.0, 1e-6), unit=PrivacyUnit("p", 1)
    )
    return PrivateData(records, account._account, encoder, None if cohort is None else records.for_audit)._measured()


@pytest.fixture
def without_spark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The steps wrap Spark's errors, which needs it installed."""
    monkeypatch.setattr(spark_records, "quiet", nullcontext)
    monkeypatch.setattr(spark_records, "_task", lambda: 0)


@pytest.mark.usefixtures("without_spark")
@pytest.mark.parametrize("together", [1, 1 << 18])
@pytest.mark.parametrize("unit", UNITS)
def test_the_steps_of_the_executors_count_as_one_machine_does(unit: str, together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_records, "_COUNTED_TOGETHER", together)
    _same(_counted(_stepped(unit, None)), _on_one_machine(unit))


@pytest.mark.usefixtures("without_spark")
@pytest.mark.parametrize("unit", ["keyed", "person"])
def test_the_steps_of_the_executors_set_the_same_people_aside(unit: str) -> None:
    there, here = _stepped(unit, COHORT), _read(_table(), unit, COHORT)
    _same(_counted(there), _counted(here))
    found = there.read_for_audit()
    _alike(found, here.read_for_audit())
    # The sample is a part of the table, and not more than was asked for.
    others = ~np.isin(found.train_units, found.members)
    assert 150 < others.sum() <= 200 < found.trained - len(found.members)


@pytest.mark.usefixtures("without_spark")
def test_who_trains_and_who_is_left_out_are_the_table_also_where_rows_have_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = iter(range(100))
    monkeypatch.setattr(spark_records, "_task", lambda: next(numbers))
    private = _stepped("row", Cohort(0.3))
    read = private.read_for_audit()
    assert read.train.n_rows + read.control.n_rows == ROWS
    assert read.trained == read.train.n_rows == private._table.n_rows
    assert len(np.unique(np.concatenate([read.train_units, read.control_units]))) == ROWS
    encoder = Encoder(_schema("row"))
    whole = [table + other for table, other in zip(*(_binned(encoder, part) for part in (read.train, read.control)), strict=True)]
    _same(whole, _on_one_machine("row"))
    _same(_counted(private), _binned(encoder, read.train))


def _binned(encoder: Encoder, table: CodedTable) -> list[Counts]:
    records = LocalRecords.of(table).merged(encoder.domain, encoder.bins())
    names = encoder.domain.names
    return records.counts([(), *((name,) for name in names), *combinations(names, 2), names[:4]])


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


def _on_spark(source: Any, unit: str, cohort: Cohort | None = None) -> PrivateData:
    private = _read(source, unit, cohort)
    assert isinstance(private._table, spark_records.SparkRecords)
    return private


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


@pytest.mark.parametrize("unit", UNITS)
def test_spark_counts_what_one_machine_counts_bit_for_bit(spark: Any, tmp_path: Path, unit: str) -> None:
    expected = _on_one_machine(unit)
    for number, (name, source) in enumerate(_sources(tmp_path, spark)):
        if number % 3 and unit != "keyed":
            continue
        found = _counted(_on_spark(source, unit))
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), name


@pytest.mark.parametrize("unit", ["keyed", "person"])
def test_spark_sets_the_people_aside_that_one_machine_sets_aside(spark: Any, tmp_path: Path, unit: str) -> None:
    pq.write_table(_table(), tmp_path / "t.parquet")
    there = _on_spark(spark.read.parquet(str(tmp_path / "t.parquet")).repartition(11), unit, COHORT)
    here = _read(_table(), unit, COHORT)
    _same(_counted(there), _counted(here))
    _alike(there.read_for_audit(), here.read_for_audit())


def test_rows_without_a_key_are_units_of_their_own_on_a_cluster_too(spark: Any, tmp_path: Path) -> None:
    pq.write_table(_table(), tmp_path / "t.parquet")
    private = _on_spark(spark.read.parquet(str(tmp_path / "t.parquet")).repartition(5), "row", Cohort(0.3))
    read = private.read_for_audit()
    assert read.train.n_rows + read.control.n_rows == ROWS
    assert len(np.unique(np.concatenate([read.train_units, read.control_units]))) == ROWS
    assert abs(read.control.n_rows - 0.15 * ROWS) < 7 * np.sqrt(0.15 * 0.85 * ROWS)


def test_rows_that_stream_through_this_machine_are_the_same(spark: Any, tmp_path: Path) -> None:
    pq.write_table(_table(), tmp_path / "t.parquet", row_group_size=400)
    source = f"spark:{tmp_path / 't.parquet'}"
    assert header(source) == _table().column_names
    streamed = pa.Table.from_batches(open_source(source, ["who", "number"]))
    assert streamed.equals(_table().select(["who", "number"]))


def test_a_missing_column_and_a_wrong_type_are_told_before_any_record_is_read(spark: Any) -> None:
    frame = spark.createDataFrame(pd.DataFrame({"text": ["SECRET"], "who": ["1"]}))
    with pytest.raises(InputError, match="are in the schema but not in the Spark table"):
        _on_spark(frame, "row")
    nested = spark.sql("select array(1) as text, 'c1' as code, 1.0d as number, date'2020-01-01' as when, 'a' as who")
    with pytest.raises(InputError, match="column 'text' has nested values"):
        _on_spark(nested, "row")


def test_an_error_on_an_executor_quotes_no_cell(spark: Any) -> None:
    frame = spark.sql("select raise_error('SECRET') as text, 'c1' as code, 1.0d as number, date'2020-01-01' as when, 'a' as who")
    with pytest.raises(InputError, match="Spark could not read the Spark table") as caught:
        _counted(_on_spark(frame.withColumn("text", frame["text"].cast("string")), "row"))
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
    source = f"spark:{tmp_path / 't.parquet'}"
    made = pipeline.synthesize(source, schema=_schema("keyed"), epsilon=5.0, delta=1e-6, rows=50, seed=1, synthesizer="independent")
    assert len(made.table) == 50


def test_a_release_is_made_and_audited_without_the_table_on_this_machine(
    spark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dpsynth import pipeline

    pq.write_table(_table(), tmp_path / "t.parquet")
    monkeypatch.setattr(pipeline, "_cohort", lambda schema: COHORT)
    monkeypatch.setattr(spark_frame, "_batches", lambda frame, columns, name: pytest.fail("the table was streamed to this machine"))
    done = pipeline.release(
        f"spark:{tmp_path / 't.parquet'}", schema=_schema("person"), policy="demo-health", out=tmp_path / "b", epsilon=5.0, delta=1e-6,
        rows=600, synthesizer="independent", tier="smoke",
    )  # fmt: skip
    rows = json.loads((done.bundle.internal / "evidence.json").read_text())["audits"]["rows"]
    assert 200 < rows["seen"] < rows["trained"]
