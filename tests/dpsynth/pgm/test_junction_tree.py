"""Junction trees: what makes them one, on cases one can draw and on random ones."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings

from dpsynth.pgm.junction_tree import JunctionTree, junction_tree, tree_cells
from tests.dpsynth.pgm.joints import CASES, IDS, cells_of, problems, tree_of


def _check(tree: JunctionTree, sizes: tuple[int, ...], cliques: list[tuple[int, ...]]) -> None:
    assert tree.sizes == sizes
    # Every attribute and every wanted clique fits into one table.
    assert {a for clique in tree.cliques for a in clique} == set(range(len(sizes)))
    for clique in cliques:
        assert tree.home(clique) is not None
    # No table is contained in another.
    sets = [set(clique) for clique in tree.cliques]
    assert not any(a <= b for i, a in enumerate(sets) for j, b in enumerate(sets) if i != j)
    # A tree in preorder, separators as declared.
    assert [i for i, parent in enumerate(tree.parents) if parent < 0] == ([0] if sets else [])
    for i, parent in enumerate(tree.parents):
        assert parent < i
        assert set(tree.separators[i]) == (sets[i] & sets[parent] if parent >= 0 else set())
    # Running intersection: the cliques that hold an attribute are connected, so one of them alone has no such parent.
    for a in range(len(sizes)):
        heads = [i for i, s in enumerate(sets) if a in s and (tree.parents[i] < 0 or a not in sets[tree.parents[i]])]
        assert len(heads) == 1
    # Axes by size, the largest last.
    assert all(list(c) == sorted(c, key=lambda x: (sizes[x], x)) for c in tree.cliques)
    assert tree.cells == cells_of(tree) == tree_cells(sizes, cliques)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_cases_one_can_draw(case: tuple[str, tuple[int, ...], list[tuple[int, ...]]]) -> None:
    _check(tree_of(case), case[1], case[2])


@settings(max_examples=150, deadline=None)
@given(problems(attributes=9, levels=4))
def test_random_cases(problem: tuple[tuple[int, ...], list[tuple[int, ...]]]) -> None:
    sizes, cliques = problem
    _check(junction_tree(sizes, cliques), sizes, cliques)


def test_a_tree_shaped_graph_needs_no_larger_table_than_its_edges() -> None:
    sizes = tuple(range(2, 22))
    edges = [(i, (i - 1) // 2) for i in range(1, 20)]
    tree = junction_tree(sizes, edges)
    assert sorted(tuple(sorted(c)) for c in tree.cliques) == sorted(tuple(sorted(e)) for e in edges)


def test_a_cycle_gets_the_cheaper_chord() -> None:
    # Chord 0-2 makes tables of 2*2*9 + 2*2*9 cells, chord 1-3 of 2*9*9 + 2*9*9.
    assert junction_tree((2, 9, 2, 9), [(0, 1), (1, 2), (2, 3), (3, 0)]).cells == 72


@pytest.mark.parametrize("edges", ["chain", "grid", "random", "none"])
def test_sixty_columns(edges: str) -> None:
    count = 60
    rng = np.random.default_rng(0)
    sizes = tuple(rng.integers(2, 20, size=count).tolist())
    cliques: list[tuple[int, ...]] = {
        "chain": [(i, i + 1) for i in range(count - 1)],
        "grid": [(i, i + 1) for i in range(count - 1)] + [(i, i + 6) for i in range(count - 6)],
        "random": [tuple(rng.choice(count, 2, replace=False).tolist()) for _ in range(70)],
        "none": [],
    }[edges]
    _check(junction_tree(sizes, cliques), sizes, cliques)


def test_one_table_over_sixty_large_columns_is_counted_not_overflowed() -> None:
    """A model that could never be built must still be refused by its number of cells."""
    sizes = (60_000,) * 70
    assert tree_cells(sizes, [tuple(range(70))]) == 60_000**70


def test_the_home_of_a_set_is_the_smallest_table_that_holds_it() -> None:
    tree = junction_tree((2, 3, 4), [(0, 1), (1, 2)])
    home = tree.home([1])
    assert home is not None
    assert set(tree.cliques[home]) == {0, 1}
    assert tree.home([0, 2]) is None
    assert tree.home([]) is not None


def test_no_columns_make_no_tree() -> None:
    tree = junction_tree((), [])
    assert (tree.cliques, tree.cells, tree.home([])) == ((), 0, None)


def test_the_same_cliques_in_another_order_cost_the_same() -> None:
    rng = np.random.default_rng(3)
    cliques = [tuple(pair) for pair in combinations(range(7), 2) if rng.random() < 0.4]
    cells = {tree_cells((2, 3, 4, 5, 2, 3, 4), [cliques[i] for i in rng.permutation(len(cliques))]) for _ in range(5)}
    assert len(cells) == 1
    assert math.isfinite(cells.pop())
