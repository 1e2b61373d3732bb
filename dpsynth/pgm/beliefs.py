"""Calibrated clique tables: a distribution over all columns that has a junction tree, in the probability domain (Hugin form).

Invariant: neighbouring tables agree on their separator, and every table sums to ``total``.
Source: Lauritzen and Spiegelhalter 1988; Jensen, Lauritzen and Olesen 1990.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dpsynth.pgm.contraction import Contraction, Table
from dpsynth.pgm.junction_tree import Axes, JunctionTree

# Of the logarithms in one update; floats end at e^-745.
_LARGEST_RANGE = 300.0


class Beliefs:
    """Clique tables over a junction tree. Starts as the product of independent one-way tables."""

    def __init__(self, tree: JunctionTree, one_way: Sequence[Table], total: float, targets: Iterable[Axes] = ()) -> None:
        shares = [_share(table) for table in one_way]
        tables = [np.ascontiguousarray(_product(clique, shares, total)) for clique in tree.cliques]
        self._set(tree, tables, total, targets)

    @classmethod
    def of_tables(cls, tree: JunctionTree, tables: list[Table], total: float, targets: Iterable[Axes] = ()) -> Beliefs:
        """Beliefs from calibrated ``tables``, one per clique of ``tree``; they are used, not copied."""
        beliefs = cls.__new__(cls)
        beliefs._set(tree, tables, total, targets)
        return beliefs

    def _set(self, tree: JunctionTree, tables: list[Table], total: float, targets: Iterable[Axes]) -> None:
        self.tree = tree
        self.total = total
        self.tables = tables
        # What `dpsynth.pgm.sampling` made of the tables, by clique and given attributes.
        self.conditionals: dict[tuple[int, Axes], Table] = {}
        wanted: list[set[Axes]] = [set() for _ in tree.cliques]
        self.homes: dict[Axes, tuple[int, Axes]] = {}
        for target in targets:
            home = tree.home(target)
            if home is None:
                raise ValueError(f"no clique of the tree contains attributes {target}")
            inside = tuple(a for a in tree.cliques[home] if a in set(target))
            wanted[home].add(inside)
            self.homes[target] = (home, inside)
        for i, parent in enumerate(tree.parents):
            if parent >= 0:
                wanted[i].add(tree.separators[i])
                wanted[parent].add(tree.separators[i])
        self.plans = [Contraction(clique, tree.sizes, want) for clique, want in zip(tree.cliques, wanted, strict=True)]
        self.marginals: list[dict[Axes, Table]] = [plan.marginals(t) for plan, t in zip(self.plans, self.tables, strict=True)]
        self._separators = [
            self.marginals[i][separator] if parent >= 0 else np.array(total)
            for i, (separator, parent) in enumerate(zip(tree.separators, tree.parents, strict=True))
        ]

    def update(self, factors: Mapping[Axes, Table], log_range: float | None = None) -> None:
        """Multiply the distribution by ``factors`` (over the targets' own axis order), renormalise and recalibrate.

        ``log_range``, if known, is the sum over the factors of the logarithm of their largest by their smallest positive cell.
        """
        # Many factors that disagree have a product below the range of floats in every cell: their roots are applied one after another.
        if log_range is None:
            log_range = sum(_log_range(factor) for factor in factors.values())
        parts = math.ceil(log_range / _LARGEST_RANGE)
        if parts > 1:
            factors = {target: factor ** (1.0 / parts) for target, factor in factors.items()}
        for _ in range(max(1, parts)):
            self._update(factors)

    def _update(self, factors: Mapping[Axes, Table]) -> None:
        tree = self.tree
        self.conditionals.clear()
        by_clique: list[dict[Axes, Table]] = [{} for _ in tree.cliques]
        for target, factor in factors.items():
            home, inside = self.homes[target]
            arranged = factor if inside == target else factor.transpose([target.index(a) for a in inside])
            held = by_clique[home]
            held[inside] = held[inside] * arranged if inside in held else arranged
        # Collect: children before parents (the order reversed).
        for i in range(len(tree.cliques) - 1, -1, -1):
            if by_clique[i]:
                self.plans[i].multiply(self.tables[i], by_clique[i])
            parent = tree.parents[i]
            if parent >= 0:
                separator = tree.separators[i]
                new = self._sum_to(i, separator)
                ratio = _ratio(new, self._separators[i])
                held = by_clique[parent]
                held[separator] = held[separator] * ratio if separator in held else ratio
                self._separators[i] = new
        # Distribute: the root is right once it is scaled, then every child is brought to its parent's separator.
        for i in range(len(tree.cliques)):
            parent = tree.parents[i]
            if parent < 0:
                mass = float(self.tables[i].sum())
                if mass > 0.0:
                    self.tables[i] *= self.total / mass
            else:
                separator = tree.separators[i]
                new = self.marginals[parent][separator]
                self.plans[i].multiply(self.tables[i], {separator: _ratio(new, self._separators[i])})
                self._separators[i] = new
            self.marginals[i] = self.plans[i].marginals(self.tables[i])

    def target(self, target: Axes) -> Table:
        """The current marginal over a declared target, in the target's own axis order."""
        home, inside = self.homes[target]
        table = self.marginals[home][inside]
        return table if inside == target else table.transpose([inside.index(a) for a in target])

    def within(self, attributes: Sequence[int]) -> Table | None:
        """Marginal over ``attributes``, in that order, if one clique holds them all; else None."""
        home = self.tree.home(attributes)
        if home is None:
            return None
        clique = self.tree.cliques[home]
        keep = set(attributes)
        # Start from the smallest table at hand that contains them.
        axes = min((axes for axes in self.marginals[home] if keep <= set(axes)), key=lambda axes: self.marginals[home][axes].size)
        table: Table = self.marginals[home][axes].sum(axis=tuple(i for i, a in enumerate(axes) if a not in keep))
        left = [a for a in clique if a in keep]
        return table.transpose([left.index(a) for a in attributes])

    def eliminated(self, attributes: Sequence[int]) -> Table:
        """Marginal over any ``attributes``, in that order: messages up the tree that keep the wanted axes open.

        Memory grows with the product of the wanted levels and one separator.
        """
        tree = self.tree
        wanted = set(attributes)
        pending: list[list[tuple[Axes, Table]]] = [[] for _ in tree.cliques]
        for i in range(len(tree.cliques) - 1, -1, -1):
            axes, table = tree.cliques[i], self.tables[i]
            for other, message in pending[i]:
                open_axes = (*axes, *(a for a in other if a not in axes))
                table = _outer_join(table, axes, message, other, open_axes)
                axes = open_axes
            separator = tree.separators[i]
            keep = tuple(a for a in axes if a in wanted or (tree.parents[i] >= 0 and a in separator))
            table = np.asarray(table.sum(axis=tuple(p for p, a in enumerate(axes) if a not in keep)))
            if tree.parents[i] < 0:
                return table.transpose([keep.index(a) for a in attributes])
            if any(a not in separator for a in keep):
                # Divided by the separator: a message is conditional on what the parent already knows.
                mass = table.sum(axis=tuple(p for p, a in enumerate(keep) if a not in separator), keepdims=True)
                table = np.divide(table, mass, out=np.zeros_like(table), where=mass > 0.0)
                pending[tree.parents[i]].append((keep, table))
        raise ValueError("a junction tree without cliques has no marginals")

    def _sum_to(self, i: int, separator: Axes) -> Table:
        clique = self.tree.cliques[i]
        keep = set(separator)
        return np.asarray(self.tables[i].sum(axis=tuple(axis for axis, a in enumerate(clique) if a not in keep)))


def _outer_join(left: Table, axes: Axes, right: Table, other: Axes, joined: Axes) -> Table:
    """The product of two tables over the union ``joined`` of their axes, by broadcasting."""

    def spread(table: Table, held: Axes) -> Table:
        ordered = [a for a in joined if a in held]
        shape = [table.shape[held.index(a)] if a in held else 1 for a in joined]
        return table.transpose([held.index(a) for a in ordered]).reshape(shape)

    return spread(left, axes) * spread(right, other)


def _log_range(factor: Table) -> float:
    """How many powers of e lie between the largest and the smallest positive cell."""
    smallest = float(np.min(factor, where=factor > 0.0, initial=np.inf))
    return math.log(float(factor.max())) - math.log(smallest) if smallest < np.inf else 0.0


def _ratio(new: Table, old: Table) -> Table:
    """new / old with 0/0 = 0: where the old separator has no mass, neither does the table it scales."""
    return np.divide(new, old, out=np.zeros_like(new), where=old > 0.0)


def _product(axes: Axes, shares: Sequence[Table], total: float) -> Table:
    table = np.array(total)
    for a in axes:
        table = np.multiply.outer(table, shares[a])
    return table


def _share(table: Table) -> Table:
    total = float(table.sum())
    return table / total if total > 0.0 else np.full(table.shape, 1.0 / math.prod(table.shape))
