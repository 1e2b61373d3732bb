"""Marginals over a few attributes that no single clique holds, exactly and many at a time: conditionals carried to the clique where the
paths to them meet.

For attributes a, b, c met at clique C through separators S: P(a, b, c) = sum over C of P(C) P(a | S_a) P(b | S_b) P(c | S_c).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.contraction import Table
from dpsynth.pgm.junction_tree import Axes

# Conditionals and sums kept for later marginals, in cells; beyond this they are computed again.
_KEPT_CELLS = 4_000_000


class TreeMarginals:
    """Any small marginal of fixed ``beliefs``. Conditionals are kept, so the hundredth triple costs little more than its own cells."""

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs
        tree = beliefs.tree
        self._cliques = [frozenset(clique) for clique in tree.cliques]
        self._separators: dict[tuple[int, int], Axes] = {}
        for i, parent in enumerate(tree.parents):
            if parent >= 0:
                self._separators[i, parent] = self._separators[parent, i] = tree.separators[i]
        self._towards = [self._directions(i) for i in range(len(tree.cliques))]
        self._sums: list[dict[frozenset[int], tuple[Axes, Table]]] = [
            {frozenset(axes): (axes, table) for axes, table in known.items()} for known in beliefs.marginals
        ]
        self._carried: dict[tuple[int, int, Axes], Table] = {}
        self._costs: dict[tuple[int, int, Axes], int] = {}
        self._room = _KEPT_CELLS

    def table(self, attributes: Sequence[int]) -> Table:
        """The marginal over ``attributes``, in that order; it sums to the model's total."""
        clique = min(range(len(self._cliques)), key=lambda i: self._cost(i, tuple(attributes), -1))
        axes, table = self._joined(clique, tuple(attributes), -1)
        return table.transpose([axes.index(a) for a in attributes])

    def _directions(self, start: int) -> dict[int, int]:
        """For each attribute outside clique ``start`` the neighbour behind which it lies."""
        found = {a: start for a in self._cliques[start]}
        stack = [(start, nxt, nxt) for origin, nxt in self._separators if origin == start]
        while stack:
            origin, clique, first = stack.pop()
            for a in self._cliques[clique]:
                found.setdefault(a, first)
            stack.extend((clique, nxt, first) for one, nxt in self._separators if one == clique and nxt != origin)
        return {a: first for a, first in found.items() if first != start}

    def _cost(self, clique: int, attributes: Axes, origin: int) -> int:
        """How many cells `_joined` looks at, those of the conditionals it needs included."""
        key = (clique, origin, attributes)
        if key not in self._costs:
            sizes = self._beliefs.tree.sizes
            keep, groups = self._parts(clique, attributes, origin)
            separators = [self._separators[clique, neighbour] for neighbour, _ in groups]
            wanted = keep.union(*separators)
            cost = math.prod(sizes[a] for a in wanted)
            brought = 1
            for place, (neighbour, group) in enumerate(groups):
                brought *= math.prod(sizes[a] for a in group)
                cost += math.prod(sizes[a] for a in wanted) * brought + self._cost(neighbour, group, clique)
                wanted = keep.union(*separators[place + 1 :])
            self._costs[key] = cost
        return self._costs[key]

    def _parts(self, clique: int, attributes: Axes, origin: int) -> tuple[set[int], list[tuple[int, Axes]]]:
        """Which of ``attributes`` (and of the separator towards ``origin``) lie inside, and which lie behind which neighbour.

        The group with the fewest levels comes first, since what comes after works on the table that it leaves.
        """
        towards, sizes = self._towards[clique], self._beliefs.tree.sizes
        keep = set(self._separators[clique, origin]) if origin >= 0 else set()
        groups: dict[int, Axes] = {}
        for a in attributes:
            if a in towards:
                groups[towards[a]] = (*groups.get(towards[a], ()), a)
            else:
                keep.add(a)
        return keep, sorted(groups.items(), key=lambda item: math.prod(sizes[a] for a in item[1]))

    def _joined(self, clique: int, attributes: Axes, origin: int) -> tuple[Axes, Table]:
        """P over ``attributes``, none of which lies behind ``origin``, together with the separator towards ``origin``."""
        keep, groups = self._parts(clique, attributes, origin)
        separators = [self._separators[clique, neighbour] for neighbour, _ in groups]
        axes, table = self._summed(clique, keep.union(*separators))
        for place, (neighbour, group) in enumerate(groups):
            later = keep.union(*separators[place + 1 :])
            axes, table = self._contracted(axes, table, separators[place], group, self._conditional(neighbour, clique, group), later)
        return axes, table

    def _conditional(self, clique: int, towards: int, group: Axes) -> Table:
        """P(group | separator) as seen from ``towards``: axes of the separator, then of the group; zero where the separator has no mass."""
        kept = self._carried.get((clique, towards, group))
        if kept is not None:
            return kept
        separator = self._separators[clique, towards]
        axes, joint = self._joined(clique, group, towards)
        joint = joint.transpose([axes.index(a) for a in (*separator, *group)])
        mass = joint.sum(axis=tuple(range(len(separator), joint.ndim)), keepdims=True)
        conditional = np.divide(joint, mass, out=np.zeros(joint.shape), where=mass > 0.0)
        if conditional.size <= self._room:
            self._carried[clique, towards, group] = conditional
            self._room -= conditional.size
        return conditional

    def _contracted(
        self, axes: Axes, table: Table, separator: Axes, group: Axes, conditional: Table, later: set[int]
    ) -> tuple[Axes, Table]:
        """``table`` times ``conditional``, summed over the axes of the separator that ``later`` does not need: a batched matrix product."""
        sizes = self._beliefs.tree.sizes

        def cells(some: Axes) -> int:
            return math.prod(sizes[a] for a in some)

        both = tuple(a for a in separator if a in later)
        gone = tuple(a for a in separator if a not in later)
        rest = tuple(a for a in axes if a not in separator)
        left = table.transpose([axes.index(a) for a in (*both, *rest, *gone)]).reshape(cells(both), cells(rest), cells(gone))
        places = [separator.index(a) for a in (*both, *gone)]
        right = conditional.transpose([*places, *range(len(separator), conditional.ndim)])
        product = left @ right.reshape(cells(both), cells(gone), cells(group))
        joined = (*both, *rest, *group)
        return joined, product.reshape([sizes[a] for a in joined])

    def _summed(self, clique: int, wanted: Iterable[int]) -> tuple[Axes, Table]:
        """Marginal of one clique table, from the smallest one at hand that contains it."""
        keep = frozenset(wanted)
        known = self._sums[clique]
        if keep in known:
            return known[keep]
        axes, table = known[min((held for held in known if keep <= held), key=lambda held: known[held][1].size)]
        summed = np.asarray(table.sum(axis=tuple(i for i, a in enumerate(axes) if a not in keep)))
        found = (tuple(a for a in axes if a in keep), summed)
        if summed.size <= self._room:
            known[keep] = found
            self._room -= summed.size
        return found
