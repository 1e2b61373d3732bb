"""All pair marginals of a junction-tree model, exactly, by carrying P(attribute, separator) along the tree.

For attribute a outside clique C, reached through separator S: P(a, x) = sum over s of P(a, s) P(x | s), and likewise for the next
separator.
"""

from __future__ import annotations

import numpy as np

from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.contraction import Table

Pair = tuple[int, int]


def all_pairs(beliefs: Beliefs) -> dict[Pair, Table]:
    """Marginals over every pair a < b of attributes, each of shape (levels of a, levels of b), summing to the model's total."""
    tree = beliefs.tree
    neighbours: list[list[tuple[int, tuple[int, ...]]]] = [[] for _ in tree.cliques]
    for i, parent in enumerate(tree.parents):
        if parent >= 0:
            neighbours[i].append((parent, tree.separators[i]))
            neighbours[parent].append((i, tree.separators[i]))
    pairs: dict[Pair, Table] = {}
    for a in range(len(tree.sizes)):
        home = tree.home([a])
        if home is None:
            continue
        seen = {a}
        for b in tree.cliques[home]:
            if b not in seen:
                seen.add(b)
                _store(pairs, a, b, _within(beliefs, home, [a, b]))
        stack = [(home, nxt, sep, _carried(beliefs, home, a, sep)) for nxt, sep in neighbours[home]]
        while stack:
            origin, clique, separator, carried = stack.pop()
            # carried: P(a, separator), shape (n_a, cells of separator), axes of the separator in its own order
            fresh = [b for b in tree.cliques[clique] if b not in separator]
            for b in fresh:
                if b > a and b not in seen:
                    seen.add(b)
                    _store(pairs, a, b, carried @ _conditional(beliefs, clique, separator, [b]))
            for nxt, onward in neighbours[clique]:
                if nxt != origin:
                    stack.append((clique, nxt, onward, _forward(beliefs, clique, separator, onward, carried)))
    return pairs


def _store(pairs: dict[Pair, Table], a: int, b: int, table: Table) -> None:
    if a < b:
        pairs[a, b] = table


def _within(beliefs: Beliefs, clique: int, attributes: list[int]) -> Table:
    keep = set(attributes)
    known = beliefs.marginals[clique]
    axes = min((axes for axes in known if keep <= set(axes)), key=lambda axes: known[axes].size)
    left = [a for a in axes if a in keep]
    table: Table = known[axes].sum(axis=tuple(i for i, a in enumerate(axes) if a not in keep))
    return table.transpose([left.index(a) for a in attributes])


def _carried(beliefs: Beliefs, clique: int, a: int, separator: tuple[int, ...]) -> Table:
    """P(a, separator) inside the home clique; a diagonal block where a is itself in the separator."""
    size = beliefs.tree.sizes[a]
    if a not in separator:
        return _within(beliefs, clique, [a, *separator]).reshape(size, -1)
    table = _within(beliefs, clique, list(separator))
    place = separator.index(a)
    spread = np.zeros((size, *table.shape))
    index = np.arange(size)
    moved = np.moveaxis(table, place, 0)
    target = np.moveaxis(spread, place + 1, 1)
    target[index, index] = moved
    return spread.reshape(size, -1)


def _conditional(beliefs: Beliefs, clique: int, separator: tuple[int, ...], fresh: list[int]) -> Table:
    """P(fresh | separator), shape (cells of separator, cells of fresh); rows without mass are zero."""
    joint = _within(beliefs, clique, [*separator, *fresh])
    joint = joint.reshape(int(np.prod([beliefs.tree.sizes[s] for s in separator], dtype=np.int64)), -1)
    mass = joint.sum(axis=1, keepdims=True)
    return np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0.0)


def _forward(beliefs: Beliefs, clique: int, separator: tuple[int, ...], onward: tuple[int, ...], carried: Table) -> Table:
    """P(a, onward) from P(a, separator), where the two separators of ``clique`` may overlap."""
    tree = beliefs.tree
    fresh = [s for s in onward if s not in separator]
    kept = [s for s in separator if s in onward]
    rows = carried.shape[0]
    if not kept:
        return np.asarray(carried @ _conditional(beliefs, clique, separator, fresh) if fresh else carried.sum(axis=1, keepdims=True))
    shape = [tree.sizes[s] for s in separator]
    block = carried.reshape(rows, *shape)
    if not fresh:
        summed: Table = block.sum(axis=tuple(1 + i for i, s in enumerate(separator) if s not in kept))
        return summed.transpose([0, *[1 + kept.index(s) for s in onward]]).reshape(rows, -1)
    conditional = _conditional(beliefs, clique, separator, fresh).reshape(*shape, *[tree.sizes[f] for f in fresh])
    letters = {s: chr(98 + i) for i, s in enumerate([*separator, *fresh])}
    left = "a" + "".join(letters[s] for s in separator)
    right = "".join(letters[s] for s in [*separator, *fresh])
    out = "a" + "".join(letters[s] for s in onward)
    joined: Table = np.einsum(f"{left},{right}->{out}", block, conditional, optimize=False)
    return joined.reshape(rows, -1)
