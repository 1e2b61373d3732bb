"""Calibrated tables, their marginals and updates, against the whole joint written out."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.contraction import Contraction
from dpsynth.pgm.junction_tree import JunctionTree, junction_tree
from dpsynth.pgm.pairs import all_pairs
from tests.dpsynth.pgm.joints import (
    CASES,
    IDS,
    calibrated,
    factors_for,
    joint_of,
    marginal_of,
    multiplied,
    problems,
    spread,
    tree_of,
)

Case = tuple[str, tuple[int, ...], list[tuple[int, ...]]]
TOLERANCE = 1e-8


def _check_calibrated(beliefs: Beliefs) -> None:
    tree = beliefs.tree
    joint = joint_of(beliefs)
    assert joint.sum() == pytest.approx(beliefs.total)
    for i, clique in enumerate(tree.cliques):
        np.testing.assert_allclose(beliefs.tables[i], marginal_of(joint, clique), atol=TOLERANCE * beliefs.total)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_beliefs_start_as_the_product_of_their_one_ways(case: Case) -> None:
    tree = tree_of(case)
    rng = np.random.default_rng(0)
    one_way = [rng.random(n) + 0.01 for n in tree.sizes]
    beliefs = Beliefs(tree, one_way, 50.0)
    expected = np.array(50.0)
    for table in one_way:
        expected = np.multiply.outer(expected, table / table.sum())
    np.testing.assert_allclose(joint_of(beliefs), expected)
    _check_calibrated(beliefs)


def test_a_one_way_without_mass_starts_uniform() -> None:
    tree = junction_tree((2, 3), [(0, 1)])
    beliefs = Beliefs(tree, [np.zeros(2), np.array([0.0, 1.0, 1.0])], 12.0)
    np.testing.assert_allclose(joint_of(beliefs), [[0, 3, 3], [0, 3, 3]])


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_an_update_multiplies_the_joint_and_stays_calibrated(case: Case, zeros: bool) -> None:
    tree = tree_of(case)
    beliefs = calibrated(tree, 1)
    rng = np.random.default_rng(2)
    for _ in range(3):
        before = joint_of(beliefs)
        factors = factors_for(tree, rng, zeros=zeros)
        beliefs.update(factors)
        np.testing.assert_allclose(joint_of(beliefs), multiplied(before, factors, 1000.0), atol=1e-7)
        _check_calibrated(beliefs)
        for target in tree.cliques:
            np.testing.assert_allclose(beliefs.target(target), marginal_of(joint_of(beliefs), target), atol=1e-7)


@settings(max_examples=60, deadline=None)
@given(problems(attributes=5), st.integers(0, 2**16), st.booleans())
def test_all_marginals_of_random_trees_match_the_joint(
    problem: tuple[tuple[int, ...], list[tuple[int, ...]]], seed: int, zeros: bool
) -> None:
    beliefs = calibrated(junction_tree(*problem), seed, zeros=zeros)
    joint = joint_of(beliefs)
    _check_calibrated(beliefs)
    pairs = all_pairs(beliefs)
    count = len(problem[0])
    assert set(pairs) == set(combinations(range(count), 2))
    for pair, table in pairs.items():
        np.testing.assert_allclose(table, marginal_of(joint, pair), atol=1e-6)
    for n in range(1, count + 1):
        for attributes in combinations(range(count), n):
            expected = marginal_of(joint, attributes)
            np.testing.assert_allclose(beliefs.eliminated(attributes), expected, atol=1e-6)
            inside = beliefs.within(attributes)
            if inside is not None:
                np.testing.assert_allclose(inside, expected, atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_attributes_come_back_in_the_order_asked_for(case: Case) -> None:
    beliefs = calibrated(tree_of(case), 5)
    joint = joint_of(beliefs)
    for order in permutations(range(min(3, joint.ndim))):
        np.testing.assert_allclose(beliefs.eliminated(order), marginal_of(joint, order), atol=1e-7)
        inside = beliefs.within(order)
        if inside is not None:
            np.testing.assert_allclose(inside, marginal_of(joint, order), atol=1e-7)


def test_targets_may_name_their_axes_in_any_order() -> None:
    tree = junction_tree((3, 2, 4), [(0, 1, 2)])
    rng = np.random.default_rng(7)
    targets = [(2, 0), (0, 2), (1, 0, 2)]
    beliefs = Beliefs(tree, [rng.random(n) for n in tree.sizes], 10.0, targets)
    before = joint_of(beliefs)
    factors = {target: rng.random(tuple(tree.sizes[a] for a in target)) + 0.5 for target in targets}
    beliefs.update(factors)
    np.testing.assert_allclose(joint_of(beliefs), multiplied(before, factors, 10.0))
    for target in targets:
        np.testing.assert_allclose(beliefs.target(target), marginal_of(joint_of(beliefs), target))


def test_a_target_that_fits_no_table_is_an_error() -> None:
    tree = junction_tree((2, 2, 2), [(0, 1), (1, 2)])
    with pytest.raises(ValueError, match="no clique"):
        Beliefs(tree, [np.ones(2)] * 3, 1.0, [(0, 2)])


def test_beliefs_of_given_tables_keep_them() -> None:
    beliefs = calibrated(junction_tree((2, 3, 2), [(0, 1), (1, 2)]), 0)
    again = Beliefs.of_tables(beliefs.tree, beliefs.tables, beliefs.total)
    np.testing.assert_array_equal(joint_of(again), joint_of(beliefs))
    _check_calibrated(again)


def test_thousands_of_small_steps_drift_nowhere() -> None:
    """Separators are divided again and again; rounding must not pile up."""
    tree = junction_tree((3, 4, 3), [(0, 1), (1, 2)])
    beliefs = Beliefs(tree, [np.ones(n) for n in tree.sizes], 1e6, tree.cliques)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        step = {clique: np.exp(0.05 * rng.normal(size=tuple(tree.sizes[a] for a in clique))) for clique in tree.cliques}
        beliefs.update(step)
    joint = joint_of(beliefs)
    assert joint.sum() == pytest.approx(1e6, rel=1e-9)
    np.testing.assert_allclose(beliefs.tables[0], marginal_of(joint, tree.cliques[0]), rtol=1e-7)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.lists(st.lists(st.integers(0, 3), max_size=3, unique=True), max_size=5),
    st.integers(0, 99),
)
def test_a_contraction_sums_and_multiplies_like_the_full_table(sizes: list[int], wanted: list[list[int]], seed: int) -> None:
    clique = tuple(range(len(sizes)))
    targets = {tuple(sorted(a for a in target if a < len(sizes))) for target in wanted}
    plan = Contraction(clique, sizes, targets)
    rng = np.random.default_rng(seed)
    full = rng.random(tuple(sizes))
    marginals = plan.marginals(full)
    for target in targets:
        np.testing.assert_allclose(marginals[target], marginal_of(full, target))
    factors = {target: rng.random(tuple(sizes[a] for a in target)) for target in targets}
    expected = full
    for target, factor in factors.items():
        expected = expected * spread(factor, target, sizes)
    plan.multiply(full, factors)
    np.testing.assert_allclose(full, expected)


def test_a_large_table_is_contracted_through_smaller_ones() -> None:
    sizes = (8, 9, 10, 11)
    plan = Contraction((0, 1, 2, 3), sizes, [(0,), (1,), (0, 1)])
    full = np.random.default_rng(0).random(sizes)
    marginals = plan.marginals(full)
    for target in [(0,), (1,), (0, 1)]:
        np.testing.assert_allclose(marginals[target], marginal_of(full, target))


def test_pairs_of_a_long_chain_match_the_matrix_product() -> None:
    """Far pairs lose their dependence link by link: P(a, z) is the product of the conditionals."""
    count, size = 30, 4
    tree = junction_tree((size,) * count, [(i, i + 1) for i in range(count - 1)])
    beliefs = calibrated(tree, 4, total=1.0)
    pairs = all_pairs(beliefs)
    product = pairs[0, 1]
    for i in range(1, 6):
        link = pairs[i, i + 1]
        product = product @ (link / link.sum(axis=1, keepdims=True))
        np.testing.assert_allclose(pairs[0, i + 1], product, atol=1e-10)


@pytest.mark.parametrize("seed", range(12))
def test_pairs_of_a_branching_tree_are_those_that_elimination_finds(seed: int) -> None:
    """Large enough for branches of branches, which the joints of a few attributes do not have."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(9, 22))
    edges = [(int(rng.integers(0, i)), i) for i in range(1, count) if rng.random() < 0.9]
    edges += [tuple(rng.choice(count, 2, replace=False).tolist()) for _ in range(int(rng.integers(0, 6)))]
    names = rng.permutation(count)
    tree = junction_tree(rng.integers(1, 4, count).tolist(), [[int(names[a]) for a in edge] for edge in edges])
    beliefs = calibrated(tree, seed)
    pairs = all_pairs(beliefs)
    assert set(pairs) == set(combinations(range(count), 2))
    for pair, table in pairs.items():
        np.testing.assert_allclose(table, beliefs.eliminated(pair), atol=1e-8)


def test_no_cliques_have_no_marginals() -> None:
    empty = JunctionTree((), (), (), ())
    assert all_pairs(Beliefs.of_tables(empty, [], 1.0)) == {}
    with pytest.raises(ValueError, match="without cliques"):
        Beliefs.of_tables(empty, [], 1.0).eliminated([0])


def test_factors_that_disagree_everywhere_leave_a_distribution() -> None:
    """Their product is below the range of floats in every cell; an update in one go would leave zeros, then NaN, everywhere."""
    count = 6
    tree = junction_tree((3,) * count, [tuple(range(count))])
    pairs = list(combinations(range(count), 2))
    beliefs = Beliefs(tree, [np.ones(3)] * count, 10.0, pairs)
    rng = np.random.default_rng(0)
    logs = np.zeros((3,) * count)
    for _ in range(5):
        steps = {pair: rng.uniform(-180.0, 0.0, size=(3, 3)) for pair in pairs}
        for pair, step in steps.items():
            logs = logs + spread(step, pair, (3,) * count)
        beliefs.update({pair: np.exp(step) for pair, step in steps.items()})
        assert beliefs.tables[0].sum() == pytest.approx(10.0)
        # Where the mass is, it is right.
        expected = np.exp(logs - logs.max())
        np.testing.assert_allclose(joint_of(beliefs), expected * (10.0 / expected.sum()), rtol=1e-6, atol=1e-9)


def test_a_factor_without_a_positive_cell_in_reach_leaves_no_mass_and_no_nan() -> None:
    beliefs = Beliefs(junction_tree((2, 2), [(0, 1)]), [np.array([1.0, 0.0]), np.ones(2)], 4.0, [(0,)])
    beliefs.update({(0,): np.array([0.0, 1.0])})
    assert beliefs.tables[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]
