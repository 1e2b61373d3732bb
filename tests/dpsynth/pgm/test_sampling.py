"""Sampling: expected counts to within one, nothing impossible, and no link between cliques but the model's own."""

from __future__ import annotations

from itertools import combinations, islice

import numpy as np
import pytest

from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.pgm.sampling import random_orders, sample, systematic_groups, told_apart
from tests.dpsynth.pgm.joints import CASES, IDS, calibrated, joint_of, marginal_of, tree_of

Case = tuple[str, tuple[int, ...], list[tuple[int, ...]]]


def _counts(columns: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:  # type: ignore[type-arg]
    return np.bincount(np.ravel_multi_index(columns, shape), minlength=int(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_each_group_gets_its_share_of_outcomes_rounded_up_or_down(rows: int) -> None:
    rng = np.random.default_rng(0)
    weights = rng.dirichlet(np.full(6, 0.5), size=4)
    groups = rng.integers(0, 4, size=rows)
    drawn = systematic_groups(groups, weights, rng)
    sizes = np.bincount(groups, minlength=4)
    counts = np.bincount(groups * 6 + drawn, minlength=24).reshape(4, 6)
    assert np.all(counts.sum(axis=1) == sizes)
    assert np.all(np.abs(counts - sizes[:, None] * weights) < 1.0)


def test_outcomes_without_weight_are_never_drawn() -> None:
    rng = np.random.default_rng(1)
    weights = np.array([[0.0, 1.0, 0.0, 1e-9, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 2.0]])
    groups = rng.integers(0, 3, size=20_000)
    drawn = systematic_groups(groups, weights, rng)
    assert not np.any(weights[groups, drawn] == 0.0)


def test_a_group_without_weight_draws_uniformly() -> None:
    drawn = systematic_groups(np.zeros(300, dtype=np.int64), np.zeros((1, 3)), np.random.default_rng(0))
    assert np.bincount(drawn, minlength=3).tolist() == [100, 100, 100]


def test_rows_of_a_group_are_in_random_order() -> None:
    """The probes rise, so without a shuffle outcomes would be sorted by row, and every clique would share that order."""
    groups = np.zeros(1000, dtype=np.int64)
    drawn = systematic_groups(groups, np.full((1, 10), 0.1), np.random.default_rng(0))
    assert abs(float(np.corrcoef(np.arange(1000), drawn)[0, 1])) < 0.2  # 6.3 standard deviations
    half = np.bincount(drawn[:500], minlength=10)
    assert half.max() < 90


@pytest.mark.parametrize("rows", [0, 1, 2, 5000])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_table_is_met_to_within_one_row_a_separator_cell(case: Case, rows: int) -> None:
    tree = tree_of(case)
    beliefs = calibrated(tree, 3, zeros=True)
    columns = sample(beliefs, rows, np.random.default_rng(1))
    assert [len(c) for c in columns] == [rows] * len(tree.sizes)
    if not rows:
        return
    for i, clique in enumerate(tree.cliques):
        shape = tuple(tree.sizes[a] for a in clique)
        counts = _counts([columns[a] for a in clique], shape)
        axes = tuple(clique.index(a) for a in tree.separators[i])
        if tree.parents[i] < 0:
            share = beliefs.tables[i] / beliefs.total * rows
        else:
            others = tuple(p for p in range(len(clique)) if p not in axes)
            mass = beliefs.tables[i].sum(axis=others, keepdims=True)
            given = np.divide(beliefs.tables[i], mass, out=np.zeros(shape), where=mass > 0.0)
            share = given * counts.sum(axis=others, keepdims=True)
        assert np.all(np.abs(counts - share) < 1.0 + 1e-9)
        # What the model calls impossible does not happen.
        assert not np.any(counts[beliefs.tables[i] == 0.0])


def test_samples_are_unbiased() -> None:
    """Mean counts over many small samples against the joint: each within six standard errors of an iid draw's, which is larger."""
    tree = junction_tree((2, 3, 2), [(0, 1), (1, 2)])
    beliefs = calibrated(tree, 8, total=1.0)
    joint = joint_of(beliefs)
    rng = np.random.default_rng(0)
    repeats, rows = 1500, 7
    counts = sum(_counts(sample(beliefs, rows, rng), (2, 3, 2)) for _ in range(repeats))
    n = repeats * rows
    assert np.all(np.abs(counts - n * joint) <= 6.0 * np.sqrt(n * joint * (1.0 - joint)) + 1e-9)


def test_columns_that_the_model_calls_independent_are_independent_in_the_rows() -> None:
    """A sequence shared by two cliques would tie them together; sorted probes without a shuffle make them equal."""
    tree = junction_tree((8,) * 6, [])
    rng = np.random.default_rng(0)
    beliefs = Beliefs(tree, [rng.random(8) + 0.2 for _ in range(6)], 1.0)
    columns = sample(beliefs, 20_000, rng)
    for a in range(6):
        for b in range(a):
            # Six standard deviations of the correlation of independent columns.
            assert abs(float(np.corrcoef(columns[a], columns[b])[0, 1])) < 6.0 / np.sqrt(20_000)


def test_far_columns_of_a_chain_depend_as_the_model_says() -> None:
    tree = junction_tree((3,) * 5, [(i, i + 1) for i in range(4)])
    beliefs = calibrated(tree, 2, total=1.0)
    joint = joint_of(beliefs)
    rows = 40_000
    columns = sample(beliefs, rows, np.random.default_rng(0))
    for pair in [(0, 2), (0, 4), (1, 4)]:
        expected = rows * marginal_of(joint, pair)
        counts = _counts([columns[a] for a in pair], (3, 3))
        assert np.all(np.abs(counts - expected) < 6.0 * np.sqrt(expected) + 1.0)


def test_given_columns_stay_and_the_others_follow() -> None:
    tree = junction_tree((3, 4, 2), [(0, 1), (1, 2)])
    beliefs = calibrated(tree, 2, total=1.0)
    joint = joint_of(beliefs)
    rows = 6000
    fixed = np.full(rows, 2)
    columns = sample(beliefs, rows, np.random.default_rng(0), {1: fixed})
    np.testing.assert_array_equal(columns[1], fixed)
    conditional = joint[:, 2, :] / joint[:, 2, :].sum()
    for pair_shares, a in [(conditional.sum(axis=1), 0), (conditional.sum(axis=0), 2)]:
        counts = np.bincount(columns[a], minlength=len(pair_shares))
        assert np.all(np.abs(counts - rows * pair_shares) < 1.0 + 1e-9)


def test_a_seed_repeats_the_rows_and_another_does_not() -> None:
    beliefs = calibrated(junction_tree((3, 4, 2), [(0, 1), (1, 2)]), 2)
    one, same, other = (sample(beliefs, 500, np.random.default_rng(s)) for s in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_many_groups_and_large_tables_keep_to_their_own_group() -> None:
    rng = np.random.default_rng(0)
    n_groups = 50_000
    groups = rng.integers(0, n_groups, size=200_000)
    weights = np.zeros((n_groups, 3))
    weights[np.arange(n_groups), np.arange(n_groups) % 3] = 1.0
    np.testing.assert_array_equal(systematic_groups(groups, weights, rng), groups % 3)


# --- composed orders: as many rows as bring them about ---------------------------------------------------------------------------

_MANY_ROWS = 70_000


def _residuals(one: np.ndarray, other: np.ndarray, levels: int) -> np.ndarray:  # type: ignore[type-arg]
    """Counts of pairs of columns with fixed one-way counts against independence, in standard deviations of random matching."""
    counts = np.bincount(one.astype(np.int64) * levels + other, minlength=levels * levels).reshape(levels, levels)
    n, a, b = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    expected = np.outer(a, b) / n
    spread = np.sqrt(expected * np.outer(n - a, n - b) / (n * (n - 1.0)))
    return np.asarray((counts - expected) / spread)


def test_orders_are_permutations_unlike_each_other() -> None:
    orders = list(islice(random_orders(_MANY_ROWS, np.random.default_rng(0)), 36))
    rows = np.arange(_MANY_ROWS)
    for order in orders:
        np.testing.assert_array_equal(np.bincount(order, minlength=_MANY_ROWS), 1)
    # A random permutation leaves about one thing in its place: 40 or more once in 10^47.
    assert all(np.count_nonzero(a == b) < 40 for a, b in combinations([rows, *orders], 2))
    # Six standard deviations of the correlation of random permutations, over 666 pairs.
    assert all(abs(float(np.corrcoef(a, b)[0, 1])) < 6.0 / np.sqrt(_MANY_ROWS) for a, b in combinations([rows, *orders], 2))


def test_independent_columns_of_many_rows_match_as_at_random() -> None:
    """Variance and largest size of the deviations of all pairs of columns, and no deviation that two pairs share."""
    levels, columns = 24, 18
    rng = np.random.default_rng(0)
    beliefs = Beliefs(junction_tree((levels,) * columns, []), [np.ones(levels) for _ in range(columns)], 1.0)
    drawn = sample(beliefs, _MANY_ROWS, rng)
    found = np.array([_residuals(drawn[a], drawn[b], levels).ravel() for a, b in combinations(range(columns), 2)])
    assert float(np.abs(found).max()) < 6.5
    free = (levels - 1) ** 2
    # Of each table the sum of squares follows chi-square with `free` degrees; six of its standard deviations.
    squares = (found**2).sum(axis=1) * free / levels**2
    assert np.all(np.abs(squares - free) < 6.0 * np.sqrt(2.0 * free))
    # Orders that are powers of one permutation would give neighbouring pairs the same table.
    shared = np.corrcoef(found)[np.triu_indices(len(found), 1)]
    assert float(np.abs(shared).max()) < 6.0 / np.sqrt(free)


def test_groups_of_two_rows_are_shuffled_anew_by_each_clique() -> None:
    groups, children = 256, 20
    tree = junction_tree((groups, groups, *(2,) * children), [(0, 1), *((0, 1, 2 + i) for i in range(children))])
    beliefs = Beliefs(tree, [np.ones(size) for size in tree.sizes], 1.0)
    rng = np.random.default_rng(0)
    pair = np.arange(1 << 17) // 2
    columns = sample(beliefs, len(pair), rng, {0: (pair % groups).astype(np.uint8), 1: (pair // groups).astype(np.uint8)})
    drawn = np.array([c[::2] for c in columns[2:]]).astype(np.int64)
    np.testing.assert_array_equal(np.array([c[1::2] for c in columns[2:]]), 1 - drawn)
    agreed = np.array([np.mean(a == b) for a, b in combinations(drawn, 2)])
    assert float(np.abs(agreed - 0.5).max()) < 6.0 * 0.5 / np.sqrt(len(pair) / 2)


def test_only_merged_levels_of_several_fine_ones_are_drawn_and_get_their_shares() -> None:
    levels, weights = np.array([0, 1, 1, 2, 1, 3, 3]), np.array([9.0, 1.0, 2.0, 5.0, 1.0, 0.0, 0.0])
    codes = np.repeat(np.arange(4, dtype=np.uint8), [10, 400, 7, 60])
    fine = told_apart(codes, levels, weights, np.random.default_rng(0))
    np.testing.assert_array_equal(levels[fine], codes)
    assert np.bincount(fine, minlength=7).tolist() == [10, 100, 200, 7, 100, 30, 30]


def test_a_separator_of_as_many_cells_as_a_byte_holds_keeps_to_its_groups() -> None:
    tree = junction_tree((256, 2, 2), [(0, 1), (0, 2)])
    assert tree.cliques == ((1, 0), (2, 0))
    parity = np.zeros((2, 256))
    parity[np.arange(256) % 2, np.arange(256)] = 1.0
    beliefs = Beliefs.of_tables(tree, [parity, parity], 256.0)
    columns = sample(beliefs, 3000, np.random.default_rng(0))
    np.testing.assert_array_equal(columns[1], columns[0] % 2)
    np.testing.assert_array_equal(columns[2], columns[0] % 2)


def test_rows_after_an_update_are_drawn_from_the_updated_beliefs() -> None:
    """Tables kept from an earlier sample are not used again once the beliefs have changed."""
    tree = junction_tree((3, 2), [(0, 1)])
    beliefs = Beliefs(tree, [np.ones(3), np.ones(2)], 60.0, [(0,)])
    before = sample(beliefs, 600, np.random.default_rng(0))
    assert np.bincount(before[0], minlength=3).tolist() == [200, 200, 200]
    beliefs.update({(0,): np.array([0.0, 1.0, 2.0])})
    after = sample(beliefs, 600, np.random.default_rng(0))
    assert np.bincount(after[0], minlength=3).tolist() == [0, 200, 400]
    again = sample(beliefs, 600, np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip(after, again, strict=True))
