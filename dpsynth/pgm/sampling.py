"""Rows from a calibrated model, clique by clique, with systematic (low-variance) draws inside each separator group.

Systematic draws put into each cell its expected count rounded up or down; rows within a group are in random order and every clique uses a
fresh order, so no two cliques share a sequence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import code_dtype
from dpsynth.pgm.beliefs import Beliefs

Column = npt.NDArray[np.integer[Any]]

# Rows from which on orders are composed, and how many from two fresh ones.
_MANY, _COMPOSED = 1 << 16, 14
# Cells of cumulated tables that beliefs keep: 32 MiB.
_HELD = 1 << 22


def systematic_groups(
    groups: Column,
    weights: npt.NDArray[np.float64],
    rng: np.random.Generator,
    strata: Column | None = None,
    order: npt.NDArray[np.int64] | None = None,
) -> Column:
    """For each row a column of ``weights[group]`` drawn in proportion; ``weights`` has shape (groups, outcomes).

    Within a group of m rows the draws are systematic: outcome j gets floor or ceil of m times its share. A group without weight draws
    uniformly. Rows of one group in different ``strata`` are drawn independently of each other. ``order`` is a random order of the rows
    that nothing else has used; without one it is drawn.
    """
    return _drawn_by_group(groups, _cumulated(weights), rng, strata, order)


def _cumulated(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The share of each group up to and with each outcome."""
    cumulated = np.cumsum(weights, axis=1)
    empty = cumulated[:, -1] <= 0.0
    if empty.any():
        cumulated[empty] = np.arange(1, weights.shape[1] + 1)
    cumulated /= cumulated[:, -1:]
    return cumulated


def _drawn_by_group(
    groups: Column,
    cumulated: npt.NDArray[np.float64],
    rng: np.random.Generator,
    strata: Column | None,
    order: npt.NDArray[np.int64] | None,
) -> Column:
    n_groups, n_outcomes = cumulated.shape
    dtype = code_dtype(n_outcomes)
    if n_outcomes == 1:
        return np.zeros(len(groups), dtype=dtype)
    if order is None:
        order = rng.permutation(len(groups))
    if strata is not None and len(strata):
        return _drawn_row_by_row(groups, strata, cumulated, order, rng).astype(dtype)
    if n_groups > 1:
        order = order.take(stable_order(groups.take(order), n_groups))
    # Probes (r + u) / m for r = 0..m-1 and one u in [0, 1): ceil(m F - u) of them lie under a cumulated share F.
    sizes = np.bincount(groups, minlength=n_groups)
    under = cumulated * sizes[:, None]
    under -= rng.random(n_groups)[:, None]
    below = np.ceil(under, out=under).astype(np.int64)
    # Rounding must not move a probe past the last outcome that has weight: from there on all m lie under F.
    np.copyto(below, sizes[:, None], where=cumulated >= 1.0)
    counts = below.copy()
    counts[:, 1:] -= below[:, :-1]
    outcome = np.empty(len(groups), dtype=dtype)
    outcome[order] = np.repeat(np.tile(np.arange(n_outcomes, dtype=dtype), n_groups), counts.ravel())
    return outcome


def random_orders(rows: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.int64]]:
    """Random orders of ``rows`` rows without end. Of many rows most orders are the one before, applied to the one before that.

    Composed orders are different words in two independent permutations. Read against each other, any two of them are a word that does
    not cancel out, and such a word in random permutations of n things is a random permutation but for a few of the n places.
    """
    while True:
        older, newer = rng.permutation(rows), rng.permutation(rows)
        yield older
        yield newer
        for _ in range(_COMPOSED if rows >= _MANY else 0):
            older, newer = newer, newer.take(older)
            yield newer


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
    if size <= 1 << 8:
        return np.argsort(keys.astype(np.uint8, copy=False), kind="stable")
    order = np.argsort((keys & 0xFFFF).astype(np.uint16) if size > 1 << 16 else keys.astype(np.uint16, copy=False), kind="stable")
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
    orders = random_orders(rows, rng)
    joints: dict[tuple[int, ...], Column] = {}
    for i, clique in enumerate(tree.cliques):
        if only is not None and not set(clique) <= set(only):
            continue
        known = [a for a in clique if columns[a] is not None]
        fresh = [a for a in clique if columns[a] is None]
        if not fresh:
            continue
        shape = [tree.sizes[a] for a in known]
        if tuple(known) not in joints:
            joints[tuple(known)] = _joint(columns, known, shape, rows)
        drawn = _drawn_by_group(joints[tuple(known)], _conditional(beliefs, i, known, fresh), rng, strata, next(orders))
        if len(fresh) > 1:
            drawn = drawn.astype(np.uint32)
        for a in reversed(fresh[1:]):
            drawn, column = np.divmod(drawn, np.uint32(tree.sizes[a]))
            columns[a] = column.astype(code_dtype(tree.sizes[a]))
        columns[fresh[0]] = drawn.astype(code_dtype(tree.sizes[fresh[0]]), copy=False)
    return [c for c in columns if c is not None]


def _conditional(beliefs: Beliefs, i: int, known: list[int], fresh: list[int]) -> npt.NDArray[np.float64]:
    """`_cumulated` of clique ``i``, ``fresh`` given ``known``; kept with the beliefs while there is room, for the next chunk of rows."""
    held = beliefs.conditionals.get((i, tuple(known)))
    if held is None:
        clique = beliefs.tree.cliques[i]
        table = beliefs.tables[i].transpose([clique.index(a) for a in [*known, *fresh]])
        groups = int(np.prod([beliefs.tree.sizes[a] for a in known]))
        held = _cumulated(np.maximum(table.reshape(groups, -1), 0.0))
        if held.size + sum(other.size for other in list(beliefs.conditionals.values())) <= _HELD:
            beliefs.conditionals[i, tuple(known)] = held
    return held


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
    place = starts.take(codes)
    # A merged level of one fine level leaves nothing to draw.
    several = sizes > 1
    rows = np.flatnonzero(several.take(codes))
    group = (np.cumsum(several) - 1).astype(code_dtype(len(sizes))).take(codes.take(rows))
    place[rows] += systematic_groups(group, table[several], rng, None if strata is None else strata[rows])
    fine: Column = order.astype(code_dtype(len(levels))).take(place)
    return fine


def _joint(columns: Sequence[Column | None], known: list[int], shape: list[int], rows: int) -> Column:
    joint = np.zeros(rows, dtype=code_dtype(int(np.prod(shape)) + 1))
    for a, size in zip(known, shape, strict=True):
        column = columns[a]
        if column is not None:
            joint *= joint.dtype.type(size)
            joint += column.astype(joint.dtype, copy=False)
    return joint
