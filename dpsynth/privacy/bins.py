"""Bins that follow the mass of a column, from noisy interval counts alone: a tree over the public grid that splits where much mass lies.

Post-processing of the counts it is given. The idea is PrivTree's (Zhang, Xiao and Xie 2016), with Gaussian counts and a fixed depth.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_BRANCH = 16
_WIDE = 256
# Bins of a tail grow by this factor with their distance from the median.
_GROWTH = 1.5
TARGET_BINS = 32


class IntervalTree:
    """Intervals of grid cells ``0..cells``; grows one level per round of counts.

    ``frontier`` holds the intervals to be split next; ``leaves`` those that are fine enough, with their noisy counts.
    """

    def __init__(self, cells: int, target_bins: int = TARGET_BINS) -> None:
        self.cells = cells
        self._target_bins = target_bins
        self.frontier: list[tuple[int, int]] = [(0, cells)]
        self._leaves: list[tuple[int, int, float]] = []
        self._total: float | None = None
        self.depth = 1
        reach = _WIDE
        while reach < cells:
            reach *= _BRANCH
            self.depth += 1
        self._grown = 0

    def next_edges(self) -> npt.NDArray[np.int64]:
        """Intervals to be counted now, shape (m, 2): every frontier interval cut into equal parts; the last round reaches single cells."""
        parts = []
        for low, high in self.frontier:
            left_levels = self.depth - self._grown - 1
            pieces = min(high - low, -(-(high - low) // (_WIDE * _BRANCH ** (left_levels - 1))) if left_levels else high - low)
            pieces = min(pieces, _WIDE)
            cuts = np.unique(np.linspace(low, high, pieces + 1).astype(np.int64))
            parts.append(np.stack([cuts[:-1], cuts[1:]], axis=1))
        return np.concatenate(parts)

    def grow(self, edges: npt.NDArray[np.int64], counts: npt.NDArray[np.float64], stddev: float) -> None:
        """Take in the noisy counts of `next_edges`: heavy intervals of several cells are split again, the rest are leaves."""
        self._grown += 1
        if self._total is None:
            self._total = max(1.0, float(counts.sum()))
        heavy = max(self._total / self._target_bins, 2.0 * stddev)
        self.frontier = []
        for (low, high), mass in zip(edges.tolist(), counts.tolist(), strict=True):
            if mass > heavy and high - low > 1 and self._grown < self.depth:
                self.frontier.append((low, high))
            else:
                self._leaves.append((low, high, mass))

    def edges(self) -> npt.NDArray[np.int64]:
        """Bin boundaries in grid cells, from 0 to ``cells``: neighbouring leaves are joined up to about total / target_bins records."""
        leaves = sorted(self._leaves + [(low, high, 0.0) for low, high in self.frontier])
        spans = np.array([(low, high) for low, high, _ in leaves], dtype=np.int64)
        masses = _settled(np.array([mass for _, _, mass in leaves]), self._total or 1.0)
        target = max(float(masses.sum()) / self._target_bins, 1e-9)
        cuts = [0]
        held = 0.0
        for (low, high), mass in zip(spans.tolist(), masses.tolist(), strict=True):
            # Even an empty stretch is a bin of its own before a heavy leaf: joined, it would smear a spike over itself.
            if low > cuts[-1] and held + mass > 1.5 * target:
                cuts.append(low)
                held = 0.0
            held += mass
            if held >= target and high < self.cells:
                cuts.append(high)
                held = 0.0
        bins = np.unique(np.array([*cuts, self.cells], dtype=np.int64))
        return np.union1d(bins, _tail_marks(bins, spans, masses, self.cells))


def _settled(masses: npt.NDArray[np.float64], total: float) -> npt.NDArray[np.float64]:
    """Noisy masses as non-negative ones with the noisy total: the same is taken from all, so noise in empty leaves does not add up."""
    ranked = np.sort(masses)[::-1]
    excess = (np.cumsum(ranked) - total) / np.arange(1, len(ranked) + 1)
    settled: npt.NDArray[np.float64] = np.maximum(masses - max(0.0, excess[np.flatnonzero(ranked > excess)[-1]]), 0.0)
    return settled


def _tail_marks(
    bins: npt.NDArray[np.int64], spans: npt.NDArray[np.int64], masses: npt.NDArray[np.float64], cells: int
) -> npt.NDArray[np.int64]:
    """Further boundaries inside wide bins, at distances from the median that grow by a constant factor.

    A few records in a bin that reaches to a bound far away would be spread over all of it, and in a mean they would outweigh the rest.
    """
    whole = float(masses.sum())
    if whole <= 0.0:
        return np.zeros(0, dtype=np.int64)
    below = np.concatenate(([0.0], np.cumsum(masses))) / whole
    low, middle, high = np.interp((0.25, 0.5, 0.75), below, np.append(spans[:, 0], cells))
    scale = max(high - low, cells / _WIDE, 1.0)
    steps = scale * _GROWTH ** np.arange(max(1, math.ceil(math.log(cells / scale, _GROWTH)) + 1))
    marks = np.rint(np.concatenate([middle - steps, middle + steps])).astype(np.int64)
    marks = marks[(marks > 0) & (marks < cells)]
    place = np.searchsorted(bins, marks, side="right")
    first, last = bins[place - 1], bins[place]
    inside: npt.NDArray[np.int64] = marks[(last - first > scale) & (np.minimum(marks - first, last - marks) > 0.25 * scale)]
    return inside
