"""All pair marginals of a junction-tree model, exactly, by carrying P(attribute, separator) along the tree.

For attribute a outside clique C, reached through separator S: P(a, x) = sum over s of P(a, s) P(x | s), and likewise for the next
separator.
"""

from __future__ import annotations

import math

import numpy as np

from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.contraction import Table
from dpsynth.pgm.junction_tree import Axes

Pair = tuple[int, int]

# Cells of conditionals that are kept for the next walk; those beyond are computed again.
_HELD = 4_000_000


def all_pairs(beliefs: Beliefs) -> dict[Pair, Table]:
    """Marginals over every pair a < b of attributes, each of shape (levels of a, levels of b), summing to the model's total.

    From every attribute a walk visits the cliques that come later in depth-first order: what they add meets each pair once.
    """
    return _Walk(beliefs).pairs()


class _Walk:
    """The tree with its children, and the conditionals that walks from different attributes share."""

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs
        tree = beliefs.tree
        self._tree = tree
        self._children: list[list[int]] = [[] for _ in tree.cliques]
        for i, parent in enumerate(tree.parents):
            if parent >= 0:
                self._children[parent].append(i)
        # Places in depth-first order: the part of the tree under clique i has the places place[i]..last[i].
        self._place = [0] * len(tree.cliques)
        stack, placed = [i for i, parent in enumerate(tree.parents) if parent < 0], 0
        while stack:
            clique = stack.pop()
            self._place[clique], placed = placed, placed + 1
            stack.extend(self._children[clique])
        self._last = list(self._place)
        for i in reversed(range(1, len(tree.cliques))):
            self._last[tree.parents[i]] = max(self._last[tree.parents[i]], self._last[i])
        self._fresh = [[b for b in clique if b not in tree.separators[i]] for i, clique in enumerate(tree.cliques)]
        self._conditionals: dict[tuple[int, Axes, Axes], Table] = {}
        self._held = 0

    def pairs(self) -> dict[Pair, Table]:
        """See `all_pairs`."""
        tree, found = self._tree, dict[Pair, Table]()

        def store(a: int, b: int, table: Table) -> None:
            found[min(a, b), max(a, b)] = table if a < b else np.ascontiguousarray(table.T)

        for a in range(len(tree.sizes)):
            region = [i for i, clique in enumerate(tree.cliques) if a in clique]
            if not region:
                continue
            top = min(region, key=lambda i: self._place[i])
            # Cliques to enter, from above, with P(a, separator) of shape (levels of a, cells of the separator).
            down: list[tuple[int, Table]] = []
            for i in region:
                for b in self._fresh[i]:
                    if b > a or (b != a and i != top):
                        store(a, b, _within(self._beliefs, i, [a, b]))
                down.extend((child, self._leaving(i, a, tree.separators[child])) for child in self._children[i] if child not in region)
            origin = top
            carried = self._leaving(top, a, tree.separators[top]) if self._more_after(top) else None
            while carried is not None:
                clique, separator = tree.parents[origin], tree.separators[origin]
                for child in self._children[clique]:
                    if self._place[child] > self._place[origin]:
                        down.append((child, self._forward(clique, separator, tree.separators[child], carried)))
                onward = tree.separators[clique]
                carried = self._forward(clique, separator, onward, carried) if self._more_after(clique) else None
                origin = clique
            while down:
                clique, carried = down.pop()
                separator = tree.separators[clique]
                for b in self._fresh[clique]:
                    store(a, b, carried @ self._conditional(clique, separator, (b,)))
                for child in self._children[clique]:
                    down.append((child, self._forward(clique, separator, tree.separators[child], carried)))
        return found

    def _more_after(self, clique: int) -> bool:
        """Whether the walk has anything to meet after what is under ``clique``."""
        return self._last[clique] + 1 < len(self._place)

    def _leaving(self, clique: int, a: int, separator: Axes) -> Table:
        """P(a, separator) inside a clique that holds both."""
        return _within(self._beliefs, clique, [a, *separator]).reshape(self._tree.sizes[a], -1)

    def _conditional(self, clique: int, separator: Axes, fresh: Axes) -> Table:
        """P(fresh | separator), shape (cells of separator, cells of fresh); rows without mass are zero."""
        key = clique, separator, fresh
        held = self._conditionals.get(key)
        if held is not None:
            return held
        joint = _within(self._beliefs, clique, [*separator, *fresh])
        joint = joint.reshape(math.prod(self._tree.sizes[s] for s in separator), -1)
        mass = joint.sum(axis=1, keepdims=True)
        table: Table = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0.0)
        if self._held + table.size <= _HELD:
            self._conditionals[key] = table
            self._held += table.size
        return table

    def _forward(self, clique: int, separator: Axes, onward: Axes, carried: Table) -> Table:
        """P(a, onward) from P(a, separator), where the two separators of ``clique`` may overlap."""
        fresh = tuple(s for s in onward if s not in separator)
        kept = [s for s in separator if s in onward]
        rows, sizes = carried.shape[0], self._tree.sizes
        if not kept:
            return np.asarray(carried @ self._conditional(clique, separator, fresh) if fresh else carried.sum(axis=1, keepdims=True))
        shape = [sizes[s] for s in separator]
        block = carried.reshape(rows, *shape)
        if not fresh:
            summed: Table = block.sum(axis=tuple(1 + i for i, s in enumerate(separator) if s not in kept))
            return summed.transpose([0, *[1 + kept.index(s) for s in onward]]).reshape(rows, -1)
        conditional = self._conditional(clique, separator, fresh).reshape(*shape, *[sizes[f] for f in fresh])
        letters = {s: chr(98 + i) for i, s in enumerate([*separator, *fresh])}
        left = "a" + "".join(letters[s] for s in separator)
        right = "".join(letters[s] for s in [*separator, *fresh])
        out = "a" + "".join(letters[s] for s in onward)
        joined: Table = np.einsum(f"{left},{right}->{out}", block, conditional, optimize=False)
        return joined.reshape(rows, -1)


def _within(beliefs: Beliefs, clique: int, attributes: list[int]) -> Table:
    keep = set(attributes)
    known = beliefs.marginals[clique]
    axes = min((axes for axes in known if keep <= set(axes)), key=lambda axes: known[axes].size)
    left = [a for a in axes if a in keep]
    table: Table = known[axes].sum(axis=tuple(i for i, a in enumerate(axes) if a not in keep))
    return table.transpose([left.index(a) for a in attributes])
