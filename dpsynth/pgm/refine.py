"""Rows that agree with more marginals than the tree holds: draw many, weight them (raking), thin them to the number wanted (halving).

Raking is iterative proportional fitting on row weights (Deming and Stephan 1940). Thinning halves the rows again and again: similar rows
are paired and of each pair the one is kept that brings the counts over column pairs back towards the weighted total (discrepancy halving).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import flat_index
from dpsynth.pgm.sampling import Column, stable_order

Table = npt.NDArray[np.float64]
Codes = npt.NDArray[np.unsignedinteger[Any]]

# A cell's weight moves by at most this factor per pass: an empty noisy cell must not wipe out rows that others need.
_LARGEST_RATIO = 5.0
# Pairs of rows are decided this many at a time, or a 1,024th of them: later ones see what earlier ones did to the counts.
_BATCHES, _SMALLEST_BATCH = 1024, 64
_MOST_PAIRS = 400
# Halvings beyond these are left to plain resampling: counts over millions of rows are close to the weighted ones anyhow.
_MOST_HALVINGS, _MOST_HALVED = 3, 420_000


def rake(
    columns: Sequence[Column], sizes: Sequence[int], targets: Sequence[tuple[tuple[int, ...], Table]], passes: int
) -> npt.NDArray[np.float64]:
    """Weights, one per row, under which the counts over each target's attributes approach its table. Later targets are met more tightly."""
    rows = len(columns[0])
    weights = np.ones(rows)
    for _ in range(passes):
        for axes, table in targets:
            total = float(table.sum())
            if total <= 0.0:
                continue
            cells = flat_index([columns[a] for a in axes], [sizes[a] for a in axes])
            wanted = table.ravel() * (rows / total)
            present = np.bincount(cells, weights=weights, minlength=wanted.size)
            ratio = np.divide(wanted, present, out=np.ones_like(wanted), where=present > 0.0)
            weights *= np.clip(ratio, 1.0 / _LARGEST_RATIO, _LARGEST_RATIO)[cells]
    return weights


def thin(
    columns: Sequence[Column],
    sizes: Sequence[int],
    weights: npt.NDArray[np.float64],
    rows: int,
    rng: np.random.Generator,
    prefer: Sequence[tuple[int, int]] = (),
    told_apart: Callable[[list[Column]], list[Column]] | None = None,
    fine_sizes: Sequence[int] | None = None,
) -> list[Column]:
    """``rows`` rows whose counts over column pairs are close to the weighted ones. ``prefer`` are kept when there are too many pairs
    to watch.

    ``told_apart`` turns merged codes into those of ``fine_sizes`` levels; it is asked once, before the halving, which then watches
    fine levels.
    """
    available = len(columns[0])
    copies = max(1, available // max(1, rows))
    halvings = min(copies.bit_length() - 1, _MOST_HALVINGS)
    while halvings > 1 and rows << halvings > _MOST_HALVED:
        halvings -= 1
    # Systematic resampling to 2^halvings copies of the wanted size, in sorted order so that neighbours are alike.
    order = _sorted_order(columns, sizes, rng)
    size = rows << halvings
    cumulated = np.cumsum(weights[order])
    probe = (np.arange(size) + rng.random()) * (cumulated[-1] / size)
    chosen = order[np.minimum(np.searchsorted(cumulated, probe, side="right"), available - 1)]
    kept = [column[chosen] for column in columns]
    if told_apart is not None and fine_sizes is not None:
        kept, sizes = told_apart(kept), fine_sizes
    pairs = list(combinations(range(len(kept)), 2))
    if len(pairs) > _MOST_PAIRS:
        first = list(dict.fromkeys(tuple(sorted(p)) for p in prefer))[:_MOST_PAIRS]
        others = [pairs[i] for i in rng.permutation(len(pairs))]
        pairs = list(dict.fromkeys([*first, *others]))[:_MOST_PAIRS]
    watch = _Watch(sizes, pairs)
    discrepancy = np.zeros(watch.cells, dtype=np.float32)
    for _ in range(halvings):
        order = _sorted_order(kept, sizes, rng)
        taken = _halve([column[order] for column in kept], watch, discrepancy, rng)
        kept = [column[order[taken]] for column in kept]
        discrepancy *= 0.5
    shuffled = rng.permutation(len(kept[0]))
    return [column[shuffled] for column in kept]


class _Watch:
    """Cell numbers of rows in the concatenated tables of all watched column pairs."""

    def __init__(self, sizes: Sequence[int], pairs: Sequence[tuple[int, int]]) -> None:
        self._first = np.array([a for a, _ in pairs], dtype=np.int64)
        self._second = np.array([b for _, b in pairs], dtype=np.int64)
        levels = np.array(sizes, dtype=np.int64)
        self._width = levels[self._second]
        cells = levels[self._first] * self._width
        self._offset = np.cumsum(cells) - cells
        self.cells = int(cells.sum())

    def __call__(self, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Shape (rows, pairs) for ``codes`` of shape (rows, columns)."""
        cells = np.take(codes, self._first, axis=1)
        cells *= self._width
        cells += np.take(codes, self._second, axis=1)
        cells += self._offset
        return cells


def _halve(
    columns: Sequence[Column], watch: _Watch, discrepancy: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The place of one row of each neighbouring pair. ``discrepancy`` (kept minus dropped counts per cell) is carried on in place."""
    codes = np.stack(columns, axis=1)
    half = len(codes) // 2
    codes = codes[: 2 * half].reshape(half, 2, -1)
    take_left = np.empty(half, dtype=bool)
    order = rng.permutation(half)
    coin = rng.random(half) < 0.5
    size = max(_SMALLEST_BATCH, -(-half // _BATCHES))
    for start in range(0, half, size):
        batch = order[start : start + size]
        both = codes[batch].astype(np.int64)
        one, two = watch(both[:, 0]), watch(both[:, 1])
        score = discrepancy[one].sum(axis=1) - discrepancy[two].sum(axis=1)
        left = np.where(score == 0.0, coin[batch], score < 0.0)
        take_left[batch] = left
        sign = np.where(left, np.float32(1.0), np.float32(-1.0))[:, None]
        signs = np.broadcast_to(sign, one.shape).ravel()
        np.add.at(discrepancy, one.ravel(), signs)
        np.subtract.at(discrepancy, two.ravel(), signs)
    return 2 * np.arange(half) + ~take_left


def _sorted_order(columns: Sequence[Column], sizes: Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """An order in which neighbouring rows are alike: lexicographic, columns with few levels first, ties at random."""
    order = rng.permutation(len(columns[0]))
    # From the last key to the first, as stable sorts; keys are joined while they fit into one pass.
    keys = sorted(range(len(columns)), key=lambda a: (sizes[a], rng.random()))
    while keys:
        size, joined = sizes[keys[-1]], [keys.pop()]
        while keys and size * sizes[keys[-1]] <= 1 << 16:
            size *= sizes[keys[-1]]
            joined.insert(0, keys.pop())
        cells = flat_index([columns[a][order] for a in joined], [sizes[a] for a in joined])
        order = order[stable_order(cells, size)]
    return order
