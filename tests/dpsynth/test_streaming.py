"""Synthetic rows in chunks: the same values as a table, whoever draws them and in whatever order."""

from __future__ import annotations

import threading
import time
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dpsynth import streaming
from dpsynth.encode import Encoder
from dpsynth.errors import ConfigError
from dpsynth.in_order import in_order
from dpsynth.marginals import CodedTable, code_dtype
from dpsynth.model import Refinement, SyntheticModel
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.schema import Field, Schema, Unit
from dpsynth.streaming import Chunks, IdentifiedChunks

FIELDS = (
    Field("level", "string", categories=("x", "y", "z"), nullable=True),
    Field("plain", "string", categories=("no", "yes")),
    Field("flag", "boolean", nullable=True),
    Field("truth", "boolean"),
    Field("whole", "integer", ordered=True, minimum=0, maximum=599, bins=6, nullable=True),
    Field("long", "integer", ordered=True, minimum=-5, maximum=10**9, bins=6),
    Field("real", "number", ordered=True, minimum=-1.5, maximum=7.0, bins=5, nullable=True),
    Field("step", "number", ordered=True, minimum=0.0, maximum=2.0, resolution=0.1, bins=4),
    Field("day", "date", ordered=True, minimum=date(2020, 1, 1), maximum=date(2020, 12, 31), bins=4, nullable=True),
    Field("month", "date", ordered=True, minimum=date(2010, 1, 1), maximum=date(2020, 12, 31), resolution="month", bins=4),
    Field("hour", "datetime", ordered=True, minimum=datetime(2020, 1, 1), maximum=datetime(2020, 2, 1), bins=4),
)
ENCODER = Encoder(Schema("t", "people", Unit("person"), FIELDS))


def chain_model(**parts: Any) -> SyntheticModel:
    """A chain of the columns."""
    domain = ENCODER.domain
    sizes = tuple(a.size for a in domain)
    tree = junction_tree(sizes, [(i, i + 1) for i in range(len(sizes) - 1)])
    rng = np.random.default_rng(0)
    beliefs = Beliefs(tree, [rng.random(size) + 0.1 for size in sizes], 1.0)
    return SyntheticModel("test", domain, beliefs, 1000.0, (), {}, encoder=ENCODER, **parts)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "CHUNK_ROWS", 300)


def _comparable(column: pd.Series) -> list[Any]:  # type: ignore[type-arg]
    return [None if pd.isna(cell) else cell for cell in column.tolist()]


@pytest.mark.parametrize("seed", [None, 7])
def test_a_batch_holds_the_values_of_the_table(seed: int | None) -> None:
    rng = np.random.default_rng(1)
    codes = {a.name: rng.integers(0, a.size, 500).astype(code_dtype(a.size)) for a in ENCODER.domain}
    draws = [None if seed is None else np.random.default_rng(seed) for _ in range(2)]
    table = ENCODER.decode(codes, draws[0])
    batch = ENCODER.decode_batch(codes, draws[1])
    assert batch.schema == ENCODER.arrow_schema
    for name in table.columns:
        assert _comparable(batch.column(name).to_pandas()) == _comparable(table[name])
    for name, again in ENCODER.bin(ENCODER.encode([batch]).codes).columns.items():
        np.testing.assert_array_equal(again, codes[name])


@pytest.mark.usefixtures("small_chunks")
def test_chunks_make_up_the_rows_asked_for_and_do_not_depend_on_who_draws_them() -> None:
    chunks = Chunks(chain_model(), 1000, 3)
    batches = list(chunks)
    assert [batch.num_rows for batch in batches] == [300, 300, 300, 100]
    for number in (3, 0, 2, 1):
        assert Chunks(chain_model(), 1000, 3).draw(number).equals(batches[number])
    assert not batches[0].equals(batches[1])
    assert not batches[0].equals(Chunks(chain_model(), 1000, 4).draw(0))


def test_few_rows_are_the_rows_of_sample() -> None:
    batch = Chunks(chain_model(), 200, 5).draw(0)
    table = chain_model().sample(200, seed=5)
    for name in table.columns:
        assert _comparable(batch.column(name).to_pandas()) == _comparable(table[name])


@pytest.mark.usefixtures("small_chunks")
def test_chunks_together_follow_thechain_model() -> None:
    model, rows = chain_model(), 60_000
    codes = [ENCODER.bin(ENCODER.encode([batch]).codes) for batch in Chunks(model, rows, 1)]
    for pair in [("level", "plain"), ("whole", "hour")]:
        expected = model.marginal(pair).values
        expected = rows * expected / expected.sum()
        table = CodedTable(ENCODER.domain, {name: np.concatenate([c.columns[name] for c in codes]) for name in pair})
        shape = expected.shape
        seen = np.bincount(table.columns[pair[0]].astype(int) * shape[1] + table.columns[pair[1]], minlength=expected.size).reshape(shape)
        # Six standard deviations of independent draws, which vary more.
        assert np.all(np.abs(seen - expected) < 6.0 * np.sqrt(expected) + 1.0)


@pytest.mark.usefixtures("small_chunks")
def test_every_chunk_meets_the_condition() -> None:
    for batch in Chunks(chain_model(), 700, 1, {"plain": "yes", "whole": 130}):
        assert set(batch["plain"].to_pylist()) == {"yes"}
        assert all(100 <= value < 200 for value in batch["whole"].to_pylist())
    with pytest.raises(ConfigError, match="not in the declared domain"):
        Chunks(chain_model(), 700, 1, {"plain": "perhaps"}).draw(0)


@pytest.mark.usefixtures("small_chunks")
def test_rows_that_are_refined_together_are_one_chunk() -> None:
    refined = chain_model(refinement=Refinement((), most_rows=1000))
    assert len(Chunks(refined, 400, 1)) == 1
    assert len(Chunks(refined, 400, 1, {"plain": "yes"})) == 2
    assert len(Chunks(refined, 10_000, 1)) == 34
    assert Chunks(refined, 10_000, 1).draw(2).equals(Chunks(chain_model(), 10_000, 1).draw(2))


def test_bad_sizes_and_models_without_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="rows=0 must be >= 1"):
        Chunks(chain_model(), 0, 1)
    model = chain_model()
    with pytest.raises(ConfigError, match="no encoder"):
        Chunks(SyntheticModel("test", model.domain, model.beliefs, 1.0, (), {}), 5, 1)


@pytest.mark.usefixtures("small_chunks")
def test_identifiers_stand_in_their_places_and_are_numbered_through_all_chunks() -> None:
    identifiers = (Field("key", "string", role="identifier"), Field("number", "integer", role="identifier"))
    named = Field("name", "string", role="identifier", fake="last_name")
    declared = Schema("t", "people", Unit("person"), (identifiers[0], *FIELDS, identifiers[1], named))
    chunks = IdentifiedChunks(Chunks(chain_model(), 700, 3), declared)
    table = pa.Table.from_batches(list(chunks), chunks.schema)
    assert table.column_names == ["key", *(f.name for f in FIELDS), "number", "name"]
    assert table["number"].to_pylist() == list(range(1, 701))
    assert table["key"].to_pylist() == [f"SYN-{number:06d}" for number in range(1, 701)]
    assert len(set(table["name"].to_pylist())) > 100
    assert table.select([f.name for f in FIELDS]).equals(pa.Table.from_batches(list(chunks.chunks)))
    assert chunks.draw(1).equals(IdentifiedChunks(Chunks(chain_model(), 700, 3), declared).draw(1))


# --- in order -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    assert list(in_order(work, range(20), threads)) == list(range(20))


def test_a_stream_is_read_only_as_far_as_it_is_needed() -> None:
    read: list[int] = []

    def items() -> Any:
        for number in range(100):
            read.append(number)
            yield number

    results = in_order(lambda number: number, items(), 2)
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(read) <= 4


def test_an_error_in_the_work_reaches_the_caller_and_leaves_no_thread() -> None:
    def work(number: int) -> int:
        if number == 3:
            raise ConfigError("no")
        return number

    before = threading.active_count()
    with pytest.raises(ConfigError):
        list(in_order(work, range(50), 2))
    assert threading.active_count() == before


def test_the_schema_says_which_numbers_repeat() -> None:
    marked = {field.name for field in ENCODER.arrow_schema if field.metadata}
    assert marked == {"whole", "day", "month", "hour"}
    assert ENCODER.arrow_schema.field("level").type == pa.dictionary(pa.int32(), pa.string())
