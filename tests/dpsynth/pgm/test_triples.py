"""Marginals that no clique holds, against the whole joint written out."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.pgm.pairs import all_pairs
from dpsynth.pgm.triples import TreeMarginals
from tests.dpsynth.pgm.joints import CASES, IDS, calibrated, joint_of, marginal_of, problems, tree_of


@settings(max_examples=80, deadline=None)
@given(problems(attributes=6), st.integers(0, 2**16), st.booleans())
def test_every_small_marginal_of_random_trees_matches_the_joint(
    problem: tuple[tuple[int, ...], list[tuple[int, ...]]], seed: int, zeros: bool
) -> None:
    """Pairs and triples, and four columns too, of which two may lie behind the same separator."""
    beliefs = calibrated(junction_tree(*problem), seed, zeros=zeros)
    joint = joint_of(beliefs)
    marginals = TreeMarginals(beliefs)
    for n in range(1, min(4, len(problem[0])) + 1):
        for attributes in combinations(range(len(problem[0])), n):
            np.testing.assert_allclose(marginals.table(attributes), marginal_of(joint, attributes), atol=1e-6)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_attributes_come_back_in_the_order_asked_for(case: tuple[str, tuple[int, ...], list[tuple[int, ...]]]) -> None:
    beliefs = calibrated(tree_of(case), 5)
    joint = joint_of(beliefs)
    marginals = TreeMarginals(beliefs)
    for order in permutations(range(min(3, joint.ndim))):
        np.testing.assert_allclose(marginals.table(order), marginal_of(joint, order), atol=1e-7)


def test_three_ends_of_a_star_of_chains_meet_in_its_middle() -> None:
    """Three arms of three links; the paths between their ends meet at the hub, clique by clique."""
    edges = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9)]
    tree = junction_tree((3,) + (2, 3, 2) * 3, edges)
    beliefs = calibrated(tree, 3, total=1.0)
    joint = joint_of(beliefs)
    marginals = TreeMarginals(beliefs)
    for attributes in [(3, 6, 9), (9, 3, 6), (2, 3, 9), (0, 3, 6), (1, 5, 8)]:
        np.testing.assert_allclose(marginals.table(attributes), marginal_of(joint, attributes), atol=1e-12)


def test_far_pairs_agree_with_those_carried_along_the_whole_tree() -> None:
    count = 30
    beliefs = calibrated(junction_tree((3,) * count, [(i, i + 1, i + 2) for i in range(count - 2)]), 4)
    marginals = TreeMarginals(beliefs)
    for pair, table in all_pairs(beliefs).items():
        np.testing.assert_allclose(marginals.table(pair), table, atol=1e-8)
        assert marginals.table(pair).sum() == pytest.approx(beliefs.total)
