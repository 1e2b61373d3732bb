"""Rows from a calibrated model, clique by clique, with systematic (low-variance) draws inside each separator group.

Systematic draws put into each cell its expected count rounded up or down; rows within a group are in random order and every clique uses a
fresh order, so no two cliques share a sequence.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import code_dtype
from dpsynth.pgm.beliefs import Beliefs

Column = npt.NDArray[np.integer[Any]]


def systematic_groups(groups: Column, weights: npt.NDArray[np.float64], rng: np.random.Generator, strata: Column | None = None) -> Column:
    """For each row a column of ``weights[group]`` drawn in proportion; ``weights`` has shape (groups, outcomes).

    Within a group of m rows the draws are systematic: outcome j gets floor or ceil of m times its share. A group without weight draws
    uniformly. Rows of one group in different ``strata`` are drawn independently of each other.
    """
    n_groups, n_outcomes = weights.shape
    dtype = code_dtype(n_outcomes)
    if n_outcomes == 1:
        return np.zeros(len(groups), dtype=dtype)
    weights = np.where((weights.sum(axis=1) > 0.0)[:, None], weights, 1.0)
    cumulated = np.cumsum(weights, axis=1)
    cumulated /= cumulated[:, -1:]
    order = rng.permutation(len(groups))
    if strata is not None and len(strata):
        return _drawn_row_by_row(groups, strata, cumulated, order, rng).astype(dtype)
    if n_groups > 1:
        order = order[stable_order(groups[order], n_groups)]
    # Probes (r + u) / m for r = 0..m-1 and one u in [0, 1): ceil(m F - u) of them lie under a cumulated share F.
    sizes = np.bincount(groups, minlength=n_groups)
    cumulated *= sizes[:, None]
    cumulated -= rng.random(n_groups)[:, None]
    below = np.ceil(cumulated, out=cumulated).astype(np.int64)
    # Rounding must not move a probe past the last outcome that has weight, nor before the first.
    np.clip(below, 0, sizes[:, None], out=below)
    last = n_outcomes - 1 - np.argmax(weights[:, ::-1] > 0.0, axis=1)
    below[np.arange(n_outcomes)[None, :] >= last[:, None]] = 0
    below[np.arange(n_groups), last] = sizes
    np.maximum.accumulate(below, axis=1, out=below)
    counts = np.diff(below, axis=1, prepend=0)
    outcome = np.empty(len(groups), dtype=dtype)
    outcome[order] = np.repeat(np.tile(np.arange(n_outcomes, dtype=dtype), n_groups), counts.ravel())
    return outcome


def _drawn_row_by_row(
    groups: Column, strata: Column, cumulated: npt.NDArray[np.float64], order: npt.NDArray[np.int64], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The same draws by looking up each row's probe, for there may be as many pairs of group and stratum as rows."""
    n_groups, n_outcomes = cumulated.shape
    found, blocks = np.unique(groups.astype(np.int64) * (int(strata.max()) + 1) + strata, return_inverse=True)
    order = order[stable_order(blocks[order], len(found))]
    grouped, blocked = groups[order].astype(np.int64), blocks[order]
    sizes = np.bincount(blocked, minlength=len(found))
    starts = np.cumsum(sizes) - sizes
    rank = np.arange(len(groups)) - starts[blocked]
    probe = (rank + rng.random(len(found))[blocked]) / sizes[blocked]
    edges = (cumulated + np.arange(n_groups)[:, None]).ravel()
    drawn = np.searchsorted(edges, probe + grouped, side="right") - grouped * n_outcomes
    outcome = np.empty(len(groups), dtype=np.int64)
    outcome[order] = np.clip(drawn, 0, n_outcomes - 1)
    return outcome


def stable_order(keys: Column, size: int) -> npt.NDArray[np.int64]:
    """``argsort(keys, kind="stable")`` of whole numbers below ``size``, by digits of 16 bits, which NumPy sorts in linear time."""
    order = np.argsort((keys & 0xFFFF).astype(np.uint16) if size > 1 << 16 else keys.astype(np.uint16), kind="stable")
    shift = 16
    while size > 1 << shift:
        order = order[np.argsort(((keys[order] >> shift) & 0xFFFF).astype(np.uint16), kind="stable")]
        shift += 16
    return order


def sample(
    beliefs: Beliefs,
    rows: int,
    rng: np.random.Generator,
    given: Mapping[int, Column] | None = None,
    only: Collection[int] | None = None,
    strata: Column | None = None,
) -> list[Column]:
    """``rows`` codes for every attribute, in attribute order and the smallest type that holds them.

    ``given`` fixes some columns (conditional sampling down the tree), ``only`` draws those attributes alone. Both are exact if the tree
    starts with them (`JunctionTree.starts_with`). Rows in different ``strata`` are independent of each other.
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
        if len(fresh) > 1:
            drawn = drawn.astype(np.uint32)
        for a in reversed(fresh[1:]):
            drawn, column = np.divmod(drawn, np.uint32(tree.sizes[a]))
            columns[a] = column.astype(code_dtype(tree.sizes[a]))
        columns[fresh[0]] = drawn.astype(code_dtype(tree.sizes[fresh[0]]), copy=False)
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
    fine: Column = order.astype(code_dtype(len(levels)))[starts[codes] + systematic_groups(codes, table, rng, strata)]
    return fine


def flat_cells(columns: Sequence[Column], sizes: Sequence[int], axes: Sequence[int]) -> npt.NDArray[np.int64]:
    """The cell of each row in the table over ``axes``."""
    first = axes[0]
    cells = columns[first].astype(np.int64)
    for a in axes[1:]:
        cells *= sizes[a]
        cells += columns[a]
    return cells


def _joint(columns: Sequence[Column | None], known: list[int], shape: list[int], rows: int) -> npt.NDArray[np.int64]:
    joint = np.zeros(rows, dtype=np.int64)
    for a, size in zip(known, shape, strict=True):
        column = columns[a]
        if column is not None:
            joint *= size
            joint += column
    return joint
