"""Levels told apart in step with a neighbour: sums hold, missing stays apart, what is drawn is nearer to the truth than an even spread."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpsynth.pgm.neighbours import Levels, Neighbours, spread


def levels(merged: list[int], mass: npt.NDArray[np.float64], *, ordered: bool = True, nullable: bool = False) -> Levels:
    of = np.array(merged)
    whole = np.bincount(of, weights=mass)[of]
    return Levels(of, mass / whole, ordered, nullable)


def merged_table(fine: npt.NDArray[np.float64], rows: Levels, columns: Levels) -> npt.NDArray[np.float64]:
    table = np.zeros((int(rows.merged.max()) + 1, int(columns.merged.max()) + 1))
    np.add.at(table, (rows.merged[:, None], columns.merged[None, :]), fine)
    return table


def correlated(size: int, width: float) -> npt.NDArray[np.float64]:
    """A smooth table of 100,000 records along the diagonal."""
    apart = np.subtract.outer(np.arange(size), np.arange(size))
    table: npt.NDArray[np.float64] = np.exp(-0.5 * (apart / width) ** 2)
    return table * (1e5 / table.sum())


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.integers(2, 12))
def test_sums_over_merged_levels_are_those_of_the_table(seed: int, a: int, b: int) -> None:
    rng = np.random.default_rng(seed)
    rows = levels(sorted(rng.integers(0, 4, a).argsort(kind="stable").tolist()), rng.random(a) + 0.1)
    runs = np.cumsum(rng.random(b) < 0.5)
    columns = levels((runs - runs[0]).tolist(), rng.random(b) + 0.1)
    table = rng.random((int(rows.merged[-1]) + 1, int(columns.merged[-1]) + 1)) * 100
    fine = spread(table, rows, columns)
    assert (fine >= 0.0).all()
    np.testing.assert_allclose(merged_table(fine, rows, columns), table, rtol=1e-9)


def test_sums_over_levels_are_nearly_those_of_the_shares() -> None:
    fine = correlated(40, 4.0)
    bins = levels([i // 5 for i in range(40)], fine.sum(axis=1))
    made = spread(merged_table(fine, bins, bins), bins, bins)
    assert np.abs(made.sum(axis=1) - fine.sum(axis=1)).sum() < 0.01 * fine.sum()


def test_a_smooth_table_is_nearer_to_the_truth_than_an_even_one() -> None:
    fine = correlated(40, 4.0)
    bins = levels([i // 5 for i in range(40)], fine.sum(axis=1))
    merged = merged_table(fine, bins, bins)
    even = merged[bins.merged][:, bins.merged] * np.outer(bins.shares, bins.shares)
    assert np.abs(spread(merged, bins, bins) - fine).sum() < 0.5 * np.abs(even - fine).sum()


def test_missing_is_like_no_other_level() -> None:
    """Whoever misses one value misses the other: the level next to missing must not become like it."""
    size = 9
    fine = np.full((size, size), 10.0)
    fine[-1, :], fine[:, -1] = 0.0, 0.0
    fine[-1, -1] = 500.0
    parts = levels([0, 0, 0, 0, 1, 1, 1, 1, 2], fine.sum(axis=1), nullable=True)
    np.testing.assert_allclose(spread(merged_table(fine, parts, parts), parts, parts), fine, atol=1e-9)


def test_drawn_levels_lie_in_their_merged_level_and_follow_the_spread_table() -> None:
    fine = correlated(24, 3.0)
    bins, whole = levels([i // 4 for i in range(24)], fine.sum(axis=1)), levels(list(range(24)), np.ones(24))
    merged = merged_table(fine, bins, bins)
    rng = np.random.default_rng(3)
    rows = 200_000
    cells = rng.choice(merged.size, rows, p=(merged / merged.sum()).ravel())
    drawn = [(cells // 6).astype(np.uint8), (cells % 6).astype(np.uint8)]
    one, two = Neighbours([bins, bins], {(0, 1): merged}).told_apart(drawn, rng)
    assert (one // 4 == drawn[0]).all()
    assert (two // 4 == drawn[1]).all()
    seen = np.bincount(one.astype(np.int64) * 24 + two, minlength=24 * 24).reshape(24, 24) / rows
    expected = spread(merged, bins, bins) / merged.sum()
    # Sampling noise of 576 cells: the mean L1 distance is below sqrt(2 cells / (pi rows)) = 0.043.
    assert np.abs(seen - expected).sum() < 0.06
    # A column whose levels are known leads its neighbour.
    known = spread(merged_table(fine, whole, bins), whole, bins)
    assert np.abs(known - fine).sum() < 0.12 * fine.sum()


@pytest.mark.parametrize("case", ["independent", "nominal", "not runs", "empty"])
def test_columns_without_a_use_for_neighbours_are_drawn_by_their_shares(case: str) -> None:
    bins = levels([0, 0, 1, 1], np.array([1.0, 3.0, 2.0, 2.0]), ordered=case != "nominal")
    if case == "not runs":
        bins = levels([0, 1, 0, 1], np.array([1.0, 2.0, 3.0, 2.0]))
    table = {"independent": np.full((2, 2), 50.0), "empty": np.zeros((2, 2))}.get(case, np.diag([50.0, 50.0]))
    drawn = [np.zeros(40_000, dtype=np.uint8), np.ones(40_000, dtype=np.uint8)]
    one, two = Neighbours([bins, bins], {(0, 1): table}).told_apart(drawn, np.random.default_rng(0))
    inside = np.flatnonzero(bins.merged == 0)
    assert abs(float((one == inside[1]).mean()) - 0.75) < 0.02
    assert set(np.unique(two)) == set(np.flatnonzero(bins.merged == 1))


def test_a_merged_cell_that_the_table_holds_empty_is_drawn_by_the_shares() -> None:
    bins = levels([0, 0, 1, 1], np.array([1.0, 1.0, 3.0, 1.0]))
    drawn = [np.zeros(40_000, dtype=np.uint8), np.ones(40_000, dtype=np.uint8)]
    _, two = Neighbours([bins, bins], {(0, 1): np.diag([50.0, 50.0])}).told_apart(drawn, np.random.default_rng(0))
    assert set(np.unique(two)) == {2, 3}
    assert abs(float((two == 2).mean()) - 0.75) < 0.02
