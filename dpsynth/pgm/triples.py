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

    def table(self, attributes: Sequence[int]) -> Table:
        """The marginal over ``attributes``, in that order; it sums to the model's total."""
        clique = min(range(len(self._cliques)), key=lambda i: self._cost(i, attributes))
        axes, table = self._joined(clique, attributes, -1)
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

    def _cost(self, clique: int, attributes: Sequence[int]) -> int:
        """About how many multiplications it takes to meet at ``clique``: the cells looked at times the levels brought along."""
        sizes, towards = self._beliefs.tree.sizes, self._towards[clique]
        wanted: set[int] = set()
        levels: dict[int, int] = {}
        for a in attributes:
            if a in towards:
                first = towards[a]
                wanted.update(self._separators[clique, first])
                levels[first] = levels.get(first, 1) * sizes[a]
            else:
                wanted.add(a)
        return math.prod(sizes[a] for a in wanted) * max(levels.values(), default=1)

    def _joined(self, clique: int, attributes: Iterable[int], origin: int) -> tuple[Axes, Table]:
        """P over ``attributes``, none of which lies behind ``origin``, together with the separator towards ``origin``."""
        towards = self._towards[clique]
        keep = {a for a in attributes if a not in towards}
        if origin >= 0:
            keep.update(self._separators[clique, origin])
        groups: dict[int, list[int]] = {}
        for a in attributes:
            if a in towards:
                groups.setdefault(towards[a], []).append(a)
        # The group with the fewest levels first: what comes after works on the smaller table.
        order = sorted(groups, key=lambda n: math.prod(self._beliefs.tree.sizes[a] for a in groups[n]))
        separators = [self._separators[clique, n] for n in order]
        axes, table = self._summed(clique, keep.union(*separators))
        for place, neighbour in enumerate(order):
            later = keep.union(*separators[place + 1 :])
            group = tuple(groups[neighbour])
            axes, table = self._contracted(axes, table, separators[place], group, self._conditional(neighbour, clique, group), later)
        return axes, table

    def _conditional(self, clique: int, towards: int, group: Axes) -> Table:
        """P(group | separator) as seen from ``towards``: axes of the separator, then of the group; zero where the separator has no mass."""
        key = (clique, towards, group)
        if key not in self._carried:
            separator = self._separators[clique, towards]
            axes, joint = self._joined(clique, group, towards)
            joint = joint.transpose([axes.index(a) for a in (*separator, *group)])
            mass = joint.sum(axis=tuple(range(len(separator), joint.ndim)), keepdims=True)
            self._carried[key] = np.divide(joint, mass, out=np.zeros(joint.shape), where=mass > 0.0)
        return self._carried[key]

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
        if keep not in known:
            axes, table = known[min((held for held in known if keep <= held), key=lambda held: known[held][1].size)]
            summed = np.asarray(table.sum(axis=tuple(i for i, a in enumerate(axes) if a not in keep)))
            known[keep] = (tuple(a for a in axes if a in keep), summed)
        return known[keep]
