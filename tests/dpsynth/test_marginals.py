"""Domains, counting and recoding, against tables small enough to count by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.errors import ConfigError
from dpsynth.marginals import (
    Attribute,
    CodedTable,
    Domain,
    Recoding,
    centred,
    code_dtype,
    count,
    flat_index,
)
from tests.dpsynth.synthesizers.hooks import table_of

DOMAIN = Domain.of({"a": 2, "b": 3, "c": 1}, ordered=["b"])
ROWS = [(0, 0, 0), (0, 2, 0), (1, 2, 0), (1, 2, 0)]


def test_a_table_is_counted_cell_by_cell() -> None:
    counts = count(table_of(DOMAIN, ROWS), ("a", "b"))
    assert counts.tolist() == [[1, 0, 1], [0, 0, 2]]
    assert counts.dtype == np.int64


def test_axes_follow_the_clique_not_the_domain() -> None:
    table = table_of(DOMAIN, ROWS)
    np.testing.assert_array_equal(count(table, ("b", "a")), count(table, ("a", "b")).T)


@pytest.mark.parametrize("clique", [("a",), ("b",), ("a", "b"), ("a", "b", "c"), ("c",), ()])
def test_an_empty_table_counts_to_zeros_in_the_same_shape(clique: tuple[str, ...]) -> None:
    counts = count(table_of(DOMAIN, []), clique)
    assert counts.shape == DOMAIN.shape(clique)
    assert counts.sum() == 0


def test_the_empty_clique_counts_rows() -> None:
    assert count(table_of(DOMAIN, ROWS), ()).tolist() == 4


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 1)), max_size=12))
def test_counts_match_a_loop_over_rows(rows: list[tuple[int, int, int]]) -> None:
    domain = Domain.of({"x": 3, "y": 5, "z": 2})
    expected = np.zeros((3, 5, 2), dtype=np.int64)
    for row in rows:
        expected[row] += 1
    np.testing.assert_array_equal(count(table_of(domain, rows), ("x", "y", "z")), expected)


def test_cell_numbers_do_not_wrap_in_the_small_types_of_codes() -> None:
    # 255 * 256 + 255 needs 16 bits; the codes have 8.
    columns = [np.array([255], dtype=np.uint8), np.array([255], dtype=np.uint8)]
    assert flat_index(columns, (256, 256)).tolist() == [65_535]


@pytest.mark.parametrize(("size", "dtype"), [(1, np.uint8), (256, np.uint8), (257, np.uint16), (65_537, np.uint32)])
def test_codes_use_the_smallest_type_that_holds_them(size: int, dtype: type) -> None:
    assert np.dtype(code_dtype(size)) == np.dtype(dtype)
    assert np.iinfo(dtype).max >= size - 1


def test_a_domain_refuses_what_it_cannot_mean() -> None:
    with pytest.raises(ConfigError, match="distinct"):
        Domain((Attribute("a", 2), Attribute("a", 3)))
    with pytest.raises(ConfigError, match="at least one level"):
        Attribute("a", 0)
    with pytest.raises(ConfigError, match="provenance"):
        Attribute("a", 2, provenance="data")
    with pytest.raises(ConfigError, match="not in the domain"):
        DOMAIN["z"]
    with pytest.raises(ConfigError, match="not in the domain"):
        DOMAIN.ordered_clique(["a", "z"])


def test_a_clique_is_put_into_column_order_without_repeats() -> None:
    assert DOMAIN.ordered_clique(["b", "a", "b"]) == ("a", "b")
    assert DOMAIN.cells(("a", "b")) == 6
    assert DOMAIN.cells(()) == 1


@pytest.mark.parametrize("shape", [(2,), (3, 4), (2, 3, 2), (1, 3)])
def test_a_residual_sums_to_zero_along_every_axis_and_centring_again_changes_nothing(shape: tuple[int, ...]) -> None:
    table = np.random.default_rng(0).normal(size=shape)
    residual = centred(table)
    for axis in range(len(shape)):
        np.testing.assert_allclose(residual.sum(axis=axis), 0.0, atol=1e-12)
    np.testing.assert_allclose(centred(residual), residual, atol=1e-12)
    # An orthogonal projection: what is taken away is orthogonal to what stays.
    assert abs(float(np.vdot(residual, table - residual))) < 1e-10


def test_recoding_a_table_and_counting_equals_counting_and_merging() -> None:
    domain = Domain.of({"a": 4, "b": 3})
    rows = [*product(range(4), range(3)), (3, 2), (0, 1)]
    recoding = Recoding({"a": np.array([0, 1, 1, 0])})
    table = table_of(domain, rows)
    merged = count(recoding.table(table), ("a", "b"))
    fine = count(table, ("a", "b"))
    np.testing.assert_array_equal(merged, [fine[0] + fine[3], fine[1] + fine[2]])
    assert recoding.domain(domain).shape(("a", "b")) == (2, 3)


def test_a_merged_column_is_no_longer_nullable_and_keeps_its_provenance() -> None:
    domain = Domain((Attribute("a", 3, ordered=True, nullable=True, provenance="dp"),))
    merged = Recoding({"a": np.array([0, 0, 1])}).domain(domain)["a"]
    assert (merged.size, merged.nullable, merged.ordered, merged.provenance) == (2, False, True, "dp")


def test_taking_rows_by_position_or_by_mask_keeps_columns_aligned() -> None:
    table = table_of(DOMAIN, ROWS)
    for rows in (np.array([1, 3]), np.array([False, True, False, True])):
        taken = table.take(rows)
        assert taken.n_rows == 2
        assert [int(taken.columns[name][1]) for name in "abc"] == [1, 2, 0]
    assert CodedTable(DOMAIN, {}).n_rows == 0
