"""Small marginals of one clique table, and the way back: multiplying the table by factors on those marginals.

Each target is summed from the smallest table that contains it rather than from the full one, so few passes touch every cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from dpsynth.pgm.junction_tree import Axes

Table = npt.NDArray[np.float64]


class Contraction:
    """A plan for one clique: which marginals are computed from which.

    ``clique`` gives the axes of the full table; targets are subsets of it in the same axis order.
    """

    def __init__(self, clique: Axes, sizes: Sequence[int], targets: Iterable[Axes]) -> None:
        self.clique = clique
        self._shape = {axes: tuple(sizes[a] for a in axes) for axes in [clique]}
        self._source: dict[Axes, Axes] = {}
        self._summed: dict[Axes, tuple[int, ...]] = {}
        self._spread: dict[Axes, tuple[int, ...]] = {}
        self._plan: list[Axes] = []
        for target in sorted(set(targets), key=lambda t: (-len(t), -math.prod(sizes[a] for a in t))):
            self._reach(target, sizes)

    def _reach(self, target: Axes, sizes: Sequence[int]) -> None:
        if target in self._shape:
            return
        wanted = set(target)
        supersets = [axes for axes in self._shape if wanted < set(axes)]
        # Of equally large tables the one with fewer axes: an axis with one level changes no size.
        source = min(supersets, key=lambda axes: (math.prod(self._shape[axes]), len(axes)))
        extra = [a for a in source if a not in wanted]
        if len(extra) > 1 and math.prod(self._shape[source]) > 4096:
            # One axis at a time, the largest first: the table in between is small and serves later targets.
            largest = max(extra, key=lambda a: sizes[a])
            self._reach(tuple(a for a in source if a != largest), sizes)
            self._reach(target, sizes)
            return
        self._shape[target] = tuple(sizes[a] for a in target)
        self._source[target] = source
        self._summed[target] = tuple(i for i, a in enumerate(source) if a not in wanted)
        self._spread[target] = tuple(sizes[a] if a in wanted else 1 for a in source)
        self._plan.append(target)

    def marginals(self, full: Table) -> dict[Axes, Table]:
        """All targets (and tables in between) of ``full``."""
        tables = {self.clique: full}
        for target in self._plan:
            tables[target] = np.add.reduce(tables[self._source[target]], axis=self._summed[target])
        return tables

    def multiply(self, full: Table, factors: dict[Axes, Table]) -> None:
        """``full`` times all ``factors``, in place. Factors travel the same plan backwards: small ones meet before they meet ``full``."""
        gathered = dict(factors)
        for target in reversed(self._plan):
            factor = gathered.pop(target, None)
            if factor is None:
                continue
            source = self._source[target]
            spread = factor.reshape(self._spread[target])
            if source == self.clique:
                full *= spread
            elif source in gathered:
                gathered[source] = gathered[source] * spread
            else:
                gathered[source] = np.broadcast_to(spread, self._shape[source])
        own = gathered.pop(self.clique, None)
        if own is not None:
            full *= own
