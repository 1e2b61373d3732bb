"""Raking and halving: targets are approached, nothing new appears, and the number of rows is the one asked for."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.pgm.refine import rake, thin

Column = npt.NDArray[np.int64]


def _rows(n: int, sizes: tuple[int, ...], seed: int = 0) -> list[Column]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, size, size=n) for size in sizes]


Table = npt.NDArray[np.float64]


def _counts(columns: list[Column], sizes: tuple[int, ...], axes: tuple[int, int], weights: Table | None = None) -> Table:
    a, b = axes
    counts = np.bincount(columns[a] * sizes[b] + columns[b], weights=weights, minlength=sizes[a] * sizes[b])
    return counts.astype(np.float64).reshape(sizes[a], sizes[b])


def test_weights_meet_targets_that_agree() -> None:
    sizes = (3, 4, 2)
    columns = _rows(6000, sizes)
    rng = np.random.default_rng(1)
    truth = rng.dirichlet(np.full(24, 2.0)).reshape(sizes) * 6000
    targets = [((0, 1), truth.sum(axis=2)), ((1, 2), truth.sum(axis=0))]
    weights = rake(columns, sizes, targets, 50)
    for axes, table in targets:
        a, b = axes
        np.testing.assert_allclose(_counts(columns, sizes, (a, b), weights), table, rtol=1e-3)


def test_the_scale_of_a_target_does_not_matter_and_the_last_is_met_tightest() -> None:
    sizes = (2, 2)
    columns = _rows(1000, sizes)
    one, other = np.array([[3.0, 1.0], [1.0, 3.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    weights = rake(columns, sizes, [((0, 1), one), ((0, 1), 1e6 * other)], 3)
    np.testing.assert_allclose(_counts(columns, sizes, (0, 1), weights), 250.0)
    assert weights.sum() == pytest.approx(1000.0)


def test_a_target_without_mass_and_empty_cells_do_no_harm() -> None:
    sizes = (2, 3)
    columns = [np.zeros(60, dtype=np.int64), np.arange(60) % 3]
    targets = [((0, 1), np.zeros((2, 3))), ((0, 1), np.array([[1.0, 0.0, 1.0], [5.0, 5.0, 5.0]]))]
    weights = rake(columns, sizes, targets, 4)
    assert np.all(np.isfinite(weights))
    assert np.all(weights > 0.0)


@pytest.mark.parametrize("rows", [1, 3, 250, 1000])
@pytest.mark.parametrize("copies", [1, 2, 8])
def test_thinning_gives_the_wanted_number_of_rows_all_of_them_old(rows: int, copies: int) -> None:
    sizes = (3, 4, 2)
    columns = _rows(rows * copies, sizes)
    kept = thin(columns, sizes, np.ones(rows * copies), rows, np.random.default_rng(0))
    assert [len(c) for c in kept] == [rows] * 3
    old = set(zip(*(c.tolist() for c in columns), strict=True))
    assert set(zip(*(c.tolist() for c in kept), strict=True)) <= old


def test_rows_without_weight_are_dropped() -> None:
    sizes = (2, 5)
    columns = _rows(8000, sizes)
    weights = np.where(columns[0] == 1, 0.0, 1.0)
    kept = thin(columns, sizes, weights, 1000, np.random.default_rng(0))
    assert not np.any(kept[0] == 1)


def test_thinned_counts_are_closer_to_the_weighted_ones_than_a_random_choice_is() -> None:
    sizes = (6, 6, 6)
    columns = _rows(16_000, sizes)
    weights = 0.5 + np.random.default_rng(2).random(16_000) + (columns[0] == columns[1])
    rows = 2000
    kept = thin(columns, sizes, weights, rows, np.random.default_rng(0))
    chosen = np.random.default_rng(0).choice(16_000, rows, replace=False, p=weights / weights.sum())
    wanted = _counts(columns, sizes, (0, 1), weights) * (rows / weights.sum())
    ours = np.abs(_counts(kept, sizes, (0, 1)) - wanted).sum()
    theirs = np.abs(_counts([c[chosen] for c in columns], sizes, (0, 1)) - wanted).sum()
    assert ours < 0.6 * theirs


def test_one_column_and_many_pairs_are_thinned_too() -> None:
    kept = thin(_rows(800, (5,)), (5,), np.ones(800), 100, np.random.default_rng(0))
    assert len(kept[0]) == 100
    sizes = (2,) * 40
    kept = thin(_rows(800, sizes), sizes, np.ones(800), 100, np.random.default_rng(0), prefer=[(3, 1), (0, 1)])
    assert len(kept) == 40


def test_a_seed_repeats_the_choice() -> None:
    sizes = (3, 4)
    columns = _rows(800, sizes)
    one, same = (thin(columns, sizes, np.ones(800), 100, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
