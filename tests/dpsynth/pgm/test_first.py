"""Trees that start with some attributes: those are drawn exactly, before all others, and the others exactly given them."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import junction_tree, tree_cells
from dpsynth.pgm.sampling import sample, systematic_groups
from tests.dpsynth.pgm.joints import joint_of, marginal_of, problems


@st.composite
def _with_first(draw: st.DrawFn) -> tuple[tuple[int, ...], list[tuple[int, ...]], list[int]]:
    sizes, cliques = draw(problems(attributes=8, levels=3))
    return sizes, cliques, sorted(draw(st.sets(st.integers(0, len(sizes) - 1)))) if sizes else []


@settings(max_examples=200, deadline=None)
@given(_with_first())
def test_random_trees_start_with_what_they_should(problem: tuple[tuple[int, ...], list[tuple[int, ...]], list[int]]) -> None:
    sizes, cliques, first = problem
    tree = junction_tree(sizes, cliques, first)
    sets = [set(clique) for clique in tree.cliques]
    assert {a for s in sets for a in s} == set(range(len(sizes)))
    assert all(tree.home(clique) is not None for clique in cliques)
    assert all(parent < i for i, parent in enumerate(tree.parents))
    assert all(set(tree.separators[i]) == (sets[i] & sets[p] if p >= 0 else set()) for i, p in enumerate(tree.parents))
    for a in range(len(sizes)):
        assert len([i for i, s in enumerate(sets) if a in s and (tree.parents[i] < 0 or a not in sets[tree.parents[i]])]) == 1
    assert tree.starts_with(first)
    assert tree.cells == tree_cells(sizes, cliques, first)


def test_a_tree_without_the_rule_may_hide_a_first_attribute_behind_another() -> None:
    # 0 - 1 - 2 with 0 and 2 to be drawn first: the chain's own tree learns of 2 through 1 only.
    assert not junction_tree((2, 2, 2), [(0, 1), (1, 2)]).starts_with([0, 2])
    tree = junction_tree((2, 2, 2), [(0, 1), (1, 2)], [0, 2])
    assert sorted(map(sorted, tree.cliques)) == [[0, 1, 2], [0, 2]]


def _beliefs(sizes: tuple[int, ...], cliques: list[tuple[int, ...]], first: list[int], seed: int) -> Beliefs:
    rng = np.random.default_rng(seed)
    tree = junction_tree(sizes, cliques, first)
    beliefs = Beliefs(tree, [rng.random(n) + 0.1 for n in sizes], 1.0, cliques)
    beliefs.update({clique: rng.random([sizes[a] for a in clique]) ** 2 + 0.01 for clique in cliques})
    return beliefs


CASES: list[tuple[tuple[int, ...], list[tuple[int, ...]], list[int]]] = [
    ((2, 3, 2), [(0, 1), (1, 2)], [0, 2]),  # two statics that depend through a row
    ((2, 2, 3, 2, 2), [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)], [0, 3]),  # a cycle
    ((2, 2, 2, 3), [(0, 1), (2, 3)], [0]),  # rows that depend on no static
    ((3, 2), [(0, 1)], [0, 1]),  # nothing varies
]


@pytest.mark.parametrize("case", CASES)
def test_persons_and_then_their_rows_have_the_brute_force_distribution(
    case: tuple[tuple[int, ...], list[tuple[int, ...]], list[int]],
) -> None:
    """Draw the first attributes, copy each three times, draw the rest: a person with two rows has p(s) p(v|s) p(w|s)."""
    sizes, cliques, first = case
    beliefs = _beliefs(sizes, cliques, first, 5)
    joint = joint_of(beliefs)
    rng = np.random.default_rng(1)
    persons, copies = 60_000, 3
    drawn = sample(beliefs, persons, rng, only=first)
    owners = np.repeat(np.arange(persons), copies)
    strata = np.tile(np.arange(copies), persons)
    rows = sample(beliefs, len(owners), rng, given={a: c[owners] for a, c in zip(first, drawn, strict=True)}, strata=strata)
    for a, codes in zip(first, drawn, strict=True):
        np.testing.assert_array_equal(rows[a], codes[owners])
    varying = [a for a in range(len(sizes)) if a not in first]
    statics = marginal_of(joint, first)
    expected, observed = [], []
    one = np.stack([rows[a][0::3] for a in varying], axis=1) if varying else np.zeros((persons, 0), dtype=np.int64)
    two = np.stack([rows[a][1::3] for a in varying], axis=1) if varying else one
    of = np.stack(drawn, axis=1)
    levels = [range(sizes[a]) for a in varying]
    for s in product(*(range(sizes[a]) for a in first)):
        held = np.all(of == s, axis=1)
        for v, w in product(product(*levels), repeat=2):
            p = [joint[_cell(len(sizes), first, s, varying, x)] / statics[s] for x in (v, w)]
            expected.append(statics[s] * p[0] * p[1])
            observed.append(np.mean(held & np.all(one == v, axis=1) & np.all(two == w, axis=1)))
    gaps = np.abs(np.array(observed) - np.array(expected))
    # Independent draws would have these standard deviations; low-variance ones less. The seed is fixed.
    assert np.all(gaps <= 5.0 * np.sqrt(np.array(expected) / persons) + 3.0 / persons)


def _cell(n: int, first: list[int], s: tuple[int, ...], varying: list[int], v: tuple[int, ...]) -> tuple[int, ...]:
    cell = [0] * n
    for a, code in [*zip(first, s, strict=True), *zip(varying, v, strict=True)]:
        cell[a] = code
    return tuple(cell)


def test_rows_of_one_person_are_independent_even_where_it_stands_alone() -> None:
    """Without strata, two rows of a group of their own would be a half of each outcome, always."""
    rng = np.random.default_rng(0)
    groups: npt.NDArray[np.int64] = np.repeat(np.arange(20_000), 2)
    even = np.full((20_000, 2), 0.5)
    alike = systematic_groups(groups, even, rng).reshape(-1, 2)
    assert np.all(alike.sum(axis=1) == 1)
    free = systematic_groups(groups, even, rng, np.tile([0, 1], 20_000)).reshape(-1, 2)
    both = np.bincount(free.sum(axis=1, dtype=np.int64), minlength=3) / 20_000
    # Binomial shares 1/4, 1/2, 1/4 within 5 standard deviations.
    np.testing.assert_allclose(both, [0.25, 0.5, 0.25], atol=5 * 0.5 / 20_000**0.5)
