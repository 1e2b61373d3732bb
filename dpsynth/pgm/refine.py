"""Rows that agree with more marginals than the tree holds: draw many, weight them (raking), thin them to the number wanted (halving).

Raking is iterative proportional fitting on row weights (Deming and Stephan 1940). Thinning halves the rows again and again: similar rows
are paired and of each pair the one is kept that brings the counts over column pairs back towards the weighted total (discrepancy halving).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import code_dtype

Column = npt.NDArray[np.int64]
Table = npt.NDArray[np.float64]
Cells = npt.NDArray[np.unsignedinteger[Any]]

# A cell's weight moves by at most this factor per pass: an empty noisy cell must not wipe out rows that others need.
_LARGEST_RATIO = 5.0
_BATCHES = 1024
_MOST_PAIRS = 400


def rake(
    columns: Sequence[Column], sizes: Sequence[int], targets: Sequence[tuple[tuple[int, ...], Table]], passes: int
) -> npt.NDArray[np.float64]:
    """Weights, one per row, under which the counts over each target's attributes approach its table. Later targets are met more tightly."""
    rows = len(columns[0])
    weights = np.ones(rows)
    prepared = []
    for axes, table in targets:
        total = float(table.sum())
        if total > 0.0:
            index = _flat(columns, sizes, axes)
            prepared.append((index, table.ravel() * (rows / total)))
    for _ in range(passes):
        for index, wanted in prepared:
            present = np.bincount(index, weights=weights, minlength=wanted.size)
            ratio = np.divide(wanted, present, out=np.ones_like(wanted), where=present > 0.0)
            weights *= np.clip(ratio, 1.0 / _LARGEST_RATIO, _LARGEST_RATIO)[index]
    return weights


def thin(
    columns: Sequence[Column],
    sizes: Sequence[int],
    weights: npt.NDArray[np.float64],
    rows: int,
    rng: np.random.Generator,
    prefer: Sequence[tuple[int, int]] = (),
) -> list[Column]:
    """``rows`` rows whose counts over column pairs are close to the weighted ones. ``prefer`` are kept when there are too many pairs
    to watch.
    """
    available = len(columns[0])
    halvings = max(0, int(np.floor(np.log2(max(1, available // max(1, rows))))))
    codes = np.stack(columns, axis=1).astype(np.int32)
    # Systematic resampling to 2^halvings copies of the wanted size, in sorted order so that neighbours are alike.
    order = _sorted_order(codes, sizes, rng)
    size = rows << halvings
    cumulated = np.cumsum(weights[order])
    probe = (np.arange(size) + rng.random()) * (cumulated[-1] / size)
    kept = codes[order[np.minimum(np.searchsorted(cumulated, probe, side="right"), available - 1)]]
    pairs = list(combinations(range(len(columns)), 2))
    if len(pairs) > _MOST_PAIRS:
        chosen = list(dict.fromkeys(tuple(sorted(p)) for p in prefer))[:_MOST_PAIRS]
        others = [pairs[i] for i in rng.permutation(len(pairs))]
        pairs = list(dict.fromkeys([*chosen, *others]))[:_MOST_PAIRS]
    watch = _Watch(sizes, pairs)
    discrepancy = np.zeros(watch.cells)
    for _ in range(halvings):
        kept = _halve(kept[_sorted_order(kept, sizes, rng)], watch, discrepancy, rng)
        discrepancy *= 0.5
    kept = kept[rng.permutation(len(kept))]
    return [kept[:, a].astype(np.int64) for a in range(kept.shape[1])]


class _Watch:
    """Cell numbers of rows in the concatenated tables of all watched column pairs."""

    def __init__(self, sizes: Sequence[int], pairs: Sequence[tuple[int, int]]) -> None:
        self._first = np.array([a for a, _ in pairs], dtype=np.int64)
        self._second = np.array([b for _, b in pairs], dtype=np.int64)
        levels = np.array(sizes, dtype=np.int32)
        self._width = levels[self._second]
        cells = levels[self._first].astype(np.int64) * self._width
        self._offset = (np.cumsum(cells) - cells).astype(np.int32)
        self.cells = int(cells.sum())

    def __call__(self, codes: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        cells: npt.NDArray[np.int32] = codes[:, self._first] * self._width + codes[:, self._second] + self._offset
        return cells


def _halve(
    codes: npt.NDArray[np.int32], watch: _Watch, discrepancy: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """One row of each neighbouring pair. ``discrepancy`` (kept minus dropped counts per cell) is carried on in place."""
    left, right = codes[0::2], codes[1::2]
    take_left = np.empty(len(left), dtype=bool)
    order = rng.permutation(len(left))
    for batch in np.array_split(order, min(_BATCHES, len(order))):
        one, two = watch(left[batch]), watch(right[batch])
        score = discrepancy[one].sum(axis=1) - discrepancy[two].sum(axis=1)
        first = np.where(score == 0.0, rng.random(len(batch)) < 0.5, score < 0.0)
        take_left[batch] = first
        plus, minus = np.where(first[:, None], one, two), np.where(first[:, None], two, one)
        discrepancy += np.bincount(plus.ravel(), minlength=watch.cells)
        discrepancy -= np.bincount(minus.ravel(), minlength=watch.cells)
    return np.where(take_left[:, None], left, right)


def _sorted_order(codes: npt.NDArray[np.int32], sizes: Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """An order in which neighbouring rows are alike: lexicographic, columns with few levels first, ties at random."""
    columns = sorted(range(codes.shape[1]), key=lambda a: (sizes[a], rng.random()))
    keys: list[npt.NDArray[Any]] = [rng.random(len(codes)), *(codes[:, a] for a in reversed(columns))]
    order: npt.NDArray[np.int64] = np.lexsort(keys)
    return order


def _flat(columns: Sequence[Column], sizes: Sequence[int], axes: tuple[int, ...]) -> Cells:
    """The cell of each row, in the smallest integers that hold it: many of these are held at once."""
    index = np.zeros(len(columns[0]), dtype=np.int64)
    for a in axes:
        index = index * sizes[a] + columns[a]
    return index.astype(code_dtype(math.prod(sizes[a] for a in axes)))
