"""Brute force for the tests of this folder: the whole joint distribution, cell by cell, and trees to try it on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import JunctionTree, junction_tree

Table = npt.NDArray[np.float64]


def joint_of(beliefs: Beliefs) -> Table:
    """Product of the clique tables over the product of the separators, in attribute order."""
    tree = beliefs.tree
    joint = np.ones(tree.sizes)
    for i, clique in enumerate(tree.cliques):
        joint = joint * spread(beliefs.tables[i], clique, tree.sizes)
        if tree.parents[i] >= 0:
            kept = [clique.index(a) for a in tree.separators[i]]
            separator = beliefs.tables[i].sum(axis=tuple(p for p in range(len(clique)) if p not in kept))
            separator = separator.transpose(np.argsort(np.argsort(kept))) if separator.ndim > 1 else separator
            below = spread(separator, tree.separators[i], tree.sizes)
            joint = np.divide(joint, below, out=np.zeros_like(joint), where=below > 0.0)
    return joint


def spread(table: Table, axes: Sequence[int], sizes: Sequence[int]) -> Table:
    """``table`` over ``axes`` as a table over all attributes, constant along the others."""
    order = sorted(axes)
    moved = np.asarray(table).transpose([list(axes).index(a) for a in order])
    return np.asarray(moved.reshape([sizes[a] if a in axes else 1 for a in range(len(sizes))]))


def marginal_of(joint: Table, attributes: Sequence[int]) -> Table:
    """Marginal of a joint over ``attributes``, in that order."""
    kept = sorted(attributes)
    table = np.asarray(joint.sum(axis=tuple(a for a in range(joint.ndim) if a not in kept)))
    return table.transpose([kept.index(a) for a in attributes])


def calibrated(tree: JunctionTree, seed: int, *, zeros: bool = False, total: float = 1000.0) -> Beliefs:
    """Beliefs with dependence inside every clique: random factors on each, some of them zero if asked for."""
    rng = np.random.default_rng(seed)
    beliefs = Beliefs(tree, [rng.random(n) + 0.1 for n in tree.sizes], total, tree.cliques)
    beliefs.update(factors_for(tree, rng, zeros=zeros))
    return beliefs


def factors_for(tree: JunctionTree, rng: np.random.Generator, *, zeros: bool = False) -> dict[tuple[int, ...], Table]:
    factors = {}
    for clique in tree.cliques:
        factor = np.exp(rng.normal(size=tuple(tree.sizes[a] for a in clique)))
        if zeros:
            factor[rng.random(factor.shape) < 0.3] = 0.0
            factor.ravel()[0] = 1.0  # Cell (0, 0, ...) lives on, so the whole does.
        factors[clique] = factor
    return factors


def multiplied(joint: Table, factors: Mapping[tuple[int, ...], Table], total: float) -> Table:
    """``joint`` times ``factors``, scaled to ``total``."""
    for axes, factor in factors.items():
        joint = joint * spread(factor, axes, joint.shape)
    return np.asarray(joint * (total / joint.sum()))


@st.composite
def problems(draw: st.DrawFn, attributes: int = 6, levels: int = 3) -> tuple[tuple[int, ...], list[tuple[int, ...]]]:
    """Sizes of a few attributes and cliques over them: repeated, nested, disconnected or none at all."""
    count = draw(st.integers(1, attributes))
    sizes = tuple(draw(st.integers(1, levels)) for _ in range(count))
    clique = st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True).map(tuple)
    return sizes, draw(st.lists(clique, max_size=6))


# (why, sizes, cliques)
CASES = [
    ("one column", (3,), []),
    ("one level", (1,), []),
    ("no cliques", (2, 3, 2), []),
    ("all levels single", (1, 1, 1), [(0, 1), (1, 2)]),
    ("chain", (2, 3, 2, 3), [(0, 1), (1, 2), (2, 3)]),
    ("star", (4, 2, 2, 3), [(0, 1), (0, 2), (0, 3)]),
    ("cycle, which needs a chord", (2, 3, 2, 3), [(0, 1), (1, 2), (2, 3), (3, 0)]),
    ("two parts", (2, 2, 3, 3), [(0, 1), (2, 3)]),
    ("part and single", (2, 2, 3), [(0, 1)]),
    ("duplicate clique", (2, 3), [(0, 1), (1, 0), (0, 1)]),
    ("nested cliques", (2, 3, 2), [(0, 1, 2), (0, 1), (2,)]),
    ("triples that share a pair", (2, 2, 3, 2), [(0, 1, 2), (1, 2, 3)]),
    ("separator of one level", (1, 3, 3), [(0, 1), (0, 2)]),
    ("complete", (2, 2, 2, 2), [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]),
]
IDS = [case[0] for case in CASES]


def tree_of(case: tuple[str, tuple[int, ...], list[tuple[int, ...]]]) -> JunctionTree:
    return junction_tree(case[1], case[2])


def cells_of(tree: JunctionTree) -> int:
    return sum(math.prod(tree.sizes[a] for a in clique) for clique in tree.cliques)
