"""Rows from a calibrated model, clique by clique, with systematic (low-variance) draws inside each separator group.

Systematic draws put into each cell its expected count rounded up or down; rows within a group are in random order and every clique uses a
fresh order, so no two cliques share a sequence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dpsynth.pgm.beliefs import Beliefs

Column = npt.NDArray[np.int64]


def systematic_groups(groups: Column, weights: npt.NDArray[np.float64], rng: np.random.Generator, strata: Column | None = None) -> Column:
    """For each row a column of ``weights[group]`` drawn in proportion; ``weights`` has shape (groups, outcomes).

    Within a group of m rows the draws are systematic: outcome j gets floor or ceil of m times its share. A group without weight draws
    uniformly. Rows of one group in different ``strata`` are drawn independently of each other.
    """
    n_groups, n_outcomes = weights.shape
    if n_outcomes == 1:
        return np.zeros(len(groups), dtype=np.int64)
    sums = weights.sum(axis=1)
    weights = np.where((sums > 0.0)[:, None], weights, 1.0)
    cumulated = np.cumsum(weights, axis=1)
    cumulated /= cumulated[:, -1:]
    blocks, n_blocks = groups, n_groups
    if strata is not None and len(strata):
        found, blocks = np.unique(groups * (int(strata.max()) + 1) + strata, return_inverse=True)
        n_blocks = len(found)
    order = rng.permutation(len(groups))
    order = order[np.argsort(blocks[order], kind="stable")]
    grouped, blocked = groups[order], blocks[order]
    sizes = np.bincount(blocked, minlength=n_blocks)
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(groups)) - starts[blocked]
    probe = (rank + rng.random(n_blocks)[blocked]) / sizes[blocked]
    edges = (cumulated + np.arange(n_groups)[:, None]).ravel()
    drawn = np.searchsorted(edges, probe + grouped, side="right") - grouped * n_outcomes
    outcome = np.empty(len(groups), dtype=np.int64)
    outcome[order] = np.clip(drawn, 0, n_outcomes - 1)
    return outcome


def sample(
    beliefs: Beliefs,
    rows: int,
    rng: np.random.Generator,
    given: Mapping[int, Column] | None = None,
    only: Collection[int] | None = None,
    strata: Column | None = None,
) -> list[Column]:
    """``rows`` codes for every attribute, in attribute order. ``given`` fixes some columns (conditional sampling down the tree).

    ``only`` draws those attributes alone. Both are exact if the tree starts with them (`JunctionTree.starts_with`). Rows in different
    ``strata`` are independent of each other.
    """
    tree = beliefs.tree
    columns: list[Column | None] = [None] * len(tree.sizes)
    for attribute, codes in (given or {}).items():
        columns[attribute] = codes
    for i, clique in enumerate(tree.cliques):
        if only is not None and not set(clique) <= set(only):
            continue
        known = [a for a in clique if columns[a] is not None]
        fresh = [a for a in clique if columns[a] is None]
        if not fresh:
            continue
        table = beliefs.tables[i].transpose([clique.index(a) for a in [*known, *fresh]])
        shape = [tree.sizes[a] for a in known]
        weights = np.maximum(table.reshape(int(np.prod(shape)) if shape else 1, -1), 0.0)
        drawn = systematic_groups(_joint(columns, known, shape, rows), weights, rng, strata)
        for a in reversed(fresh):
            columns[a] = drawn % tree.sizes[a]
            drawn = drawn // tree.sizes[a]
    return [c for c in columns if c is not None]


def told_apart(
    codes: Column,
    levels: npt.NDArray[np.int64],
    weights: npt.NDArray[np.float64],
    rng: np.random.Generator,
    strata: Column | None = None,
) -> Column:
    """Fine levels for merged ``codes``: ``levels[fine]`` is the merged level, ``weights[fine]`` its weight inside it."""
    order = np.argsort(levels, kind="stable")
    sizes = np.bincount(levels)
    width = int(sizes.max())
    starts = np.cumsum(sizes) - sizes
    position = np.arange(len(levels)) - starts[levels[order]]
    table = np.zeros((len(sizes), width))
    table[levels[order], position] = weights[order]
    empty = table.sum(axis=1) <= 0.0
    table[empty] = np.arange(width) < sizes[empty][:, None]
    fine: Column = order[starts[codes] + systematic_groups(codes, table, rng, strata)]
    return fine


def _joint(columns: Sequence[Column | None], known: list[int], shape: list[int], rows: int) -> Column:
    joint = np.zeros(rows, dtype=np.int64)
    for a, size in zip(known, shape, strict=True):
        column = columns[a]
        if column is not None:
            joint = joint * size + column
    return joint
