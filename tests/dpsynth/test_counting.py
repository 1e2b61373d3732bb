"""Counting in batches, blocks and merged codes, against a loop and against `marginals.count`."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest

from dpsynth import counting
from dpsynth.counting import LocalRecords, batch_counts, composed
from dpsynth.marginals import Clique, CodedTable, Domain, code_dtype, count

SIZES = {"a": 2, "b": 300, "c": 7, "d": 1, "e": 900}
DOMAIN = Domain.of(SIZES)
CLIQUES: list[Clique] = [(), *((name,) for name in SIZES), *combinations(SIZES, 2), ("a", "c", "b"), ("e", "b")]


def _table(rows: int, seed: int = 0) -> CodedTable:
    rng = np.random.default_rng(seed)
    return CodedTable(DOMAIN, {name: rng.integers(0, size, rows).astype(code_dtype(size)) for name, size in SIZES.items()})


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_BLOCK_ROWS", 64)
    monkeypatch.setattr(counting, "_BATCH_ROWS", 200)


@pytest.mark.parametrize("rows", [0, 1, 63, 64, 65, 1_000, 20_000])
@pytest.mark.usefixtures("small_blocks")
def test_blocks_and_batches_count_what_one_pass_counts(rows: int) -> None:
    table = _table(rows)
    for clique, counts in zip(CLIQUES, LocalRecords.of(table).counts(CLIQUES), strict=True):
        assert counts.dtype == np.int64
        np.testing.assert_array_equal(counts, count(table, clique))


def test_counts_of_parts_add_up_to_the_counts_of_the_whole() -> None:
    table = _table(5_000)
    whole = batch_counts(table.columns, {}, DOMAIN, CLIQUES)
    cuts = [0, 1, 17, 17, 4_000, 5_000]
    parts = [batch_counts({name: codes[a:b] for name, codes in table.columns.items()}, {}, DOMAIN, CLIQUES) for a, b in pairwise(cuts)]
    for clique, counts in enumerate(whole):
        np.testing.assert_array_equal(sum(part[clique] for part in parts), counts)


@pytest.mark.usefixtures("small_blocks")
def test_two_merges_in_a_row_count_as_the_merged_table_does() -> None:
    table = _table(3_000)
    halves = Domain.of({**SIZES, "b": 150, "e": 2})
    first = {"b": np.arange(300) // 2, "e": (np.arange(900) > 17).astype(np.int64)}
    tenths = Domain.of({**SIZES, "b": 15, "e": 2, "c": 2})
    then = {"b": np.arange(150) // 10, "c": np.array([0, 1, 1, 0, 0, 1, 0])}
    records = LocalRecords.of(table).merged(halves, first).merged(tenths, then)
    columns = dict(table.columns)
    columns["b"] = (table.columns["b"] // 20).astype(np.uint8)
    columns["e"] = (table.columns["e"] > 17).astype(np.uint8)
    columns["c"] = then["c"][table.columns["c"]].astype(np.uint8)
    expected = CodedTable(tenths, columns)
    for clique, counts in zip(CLIQUES, records.counts(CLIQUES), strict=True):
        np.testing.assert_array_equal(counts, count(expected, clique))
    for name, codes in records.coded().columns.items():
        np.testing.assert_array_equal(codes, columns[name])


def test_merged_codes_take_the_smallest_type() -> None:
    lookups = composed({"b": np.arange(300) // 2}, {"e": np.arange(900)}, Domain.of({**SIZES, "b": 150}))
    assert lookups["b"].dtype == np.uint8
    assert lookups["e"].dtype == np.uint16


def test_cell_numbers_beyond_sixteen_bits_do_not_wrap() -> None:
    table = CodedTable(Domain.of({"b": 300, "e": 900}), {"b": np.array([299], np.uint16), "e": np.array([899], np.uint16)})
    [counts] = LocalRecords.of(table).counts([("b", "e")])
    assert counts[299, 899] == 1 == counts.sum()
