"""Junction trees on attribute bit masks: triangulate, keep the maximal cliques, join them by separators.

Koller and Friedman 2009, chapter 10. Two elimination rules are tried (fewest fill edges, lightest clique) and the smaller tree is kept.

A tree can be made to start with some attributes (``first``): they fill the cliques at the root, and no clique below adds another of them,
so that they are drawn, exactly, before all others and those others given them. Such a tree has a strong root (Jensen, Jensen and Dittmer
1994, "From influence diagrams to junction trees"): eliminate the others first, as if a helper attribute of one level was linked to all of
``first``; cliques that hold the helper hold nothing but ``first`` and are connected; root the tree at one of them. An attribute of
``first`` shares a clique with the helper, so every clique that holds it below has it from its parent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

Axes = tuple[int, ...]


@dataclass(frozen=True)
class JunctionTree:
    """Cliques of attribute positions, parents before children, axes of each sorted by size with the largest last.

    ``parents[i] < i`` is the parent of clique ``i`` (-1 for the root) and ``separators[i]`` what it shares with it; separators of
    unconnected
    parts are empty, so a forest is a tree too. ``sizes`` are the levels of each attribute; ``cells`` is the sum of all clique tables.
    """

    sizes: tuple[int, ...]
    cliques: tuple[Axes, ...]
    parents: tuple[int, ...]
    separators: tuple[Axes, ...]

    @property
    def cells(self) -> int:
        return sum(math.prod(self.sizes[a] for a in clique) for clique in self.cliques)

    def starts_with(self, first: Iterable[int]) -> bool:
        """Whether no clique adds one of ``first`` unless it holds nothing else."""
        starting = set(first)
        return all(
            set(clique) <= starting or not starting & (set(clique) - set(separator))
            for clique, separator in zip(self.cliques, self.separators, strict=True)
        )

    def home(self, attributes: Iterable[int]) -> int | None:
        """The smallest clique that contains all ``attributes``, or None."""
        wanted = set(attributes)
        fits = [i for i, clique in enumerate(self.cliques) if wanted <= set(clique)]
        return min(fits, key=lambda i: math.prod(self.sizes[a] for a in self.cliques[i])) if fits else None


def junction_tree(sizes: Sequence[int], cliques: Iterable[Iterable[int]], first: Sequence[int] = ()) -> JunctionTree:
    """The smaller of the min-fill and the min-weight junction tree in which each of ``cliques`` fits into one table.

    With ``first`` the tree starts with those attributes, see above.
    """
    masks = _maximal(cliques, sizes, first)
    return _assemble(sizes, masks)


def tree_cells(sizes: Sequence[int], cliques: Iterable[Iterable[int]], first: Sequence[int] = (), enough: float = 0.0) -> int:
    """Total cells of `junction_tree` without building the tree; the measure of what a model costs in memory and time.

    A triangulation of at most ``enough`` cells is as good as the best.
    """
    helped = [*sizes, 1]
    return sum(math.prod(helped[a] for a in _bits(mask)) for mask in _maximal(cliques, sizes, first, enough))


def _maximal(cliques: Iterable[Iterable[int]], sizes: Sequence[int], first: Sequence[int], enough: float = 0.0) -> list[int]:
    """Maximal cliques, as bit masks, of the better triangulation; every attribute is in one. Bit ``len(sizes)`` is the helper's."""
    weights = [math.log(size) if size > 1 else 0.0 for size in sizes]
    neighbours = [0] * len(sizes)
    for clique in cliques:
        mask = sum(1 << a for a in set(clique))
        for a in _bits(mask):
            neighbours[a] |= mask & ~(1 << a)
    starting = sum(1 << a for a in set(first))
    stages = [(1 << len(sizes)) - 1]
    if starting:
        helper = 1 << len(sizes)
        for a in _bits(starting):
            neighbours[a] |= helper
        neighbours.append(starting)
        weights.append(0.0)
        stages = [stages[0] & ~starting, starting, helper]
    best: list[int] = []
    best_cells = math.inf
    for by_fill in (False, True):
        found = _eliminate(list(neighbours), weights, by_fill, stages)
        # Capped where floats end: trees of that size are only ever refused.
        cells = sum(math.exp(min(700.0, sum(weights[a] for a in _bits(mask)))) for mask in found)
        if cells < best_cells * (1.0 - 1e-9):
            best, best_cells = found, cells
        if cells <= enough * (1.0 - 1e-9):
            break
    return best


def _eliminate(neighbours: list[int], weights: list[float], by_fill: bool, stages: list[int]) -> list[int]:
    """Cliques of an elimination of all attributes of one stage after another."""
    count = len(neighbours)
    left = (1 << count) - 1
    cost = [_cost(a, neighbours, weights, by_fill) for a in range(count)]
    found: list[int] = []
    waiting = list(stages)
    while left:
        while not left & waiting[0]:
            waiting.pop(0)
        vertex = min(_bits(left & waiting[0]), key=lambda a: cost[a])
        around = neighbours[vertex]
        clique = around | 1 << vertex
        if not any(clique & ~other == 0 for other in found):
            found.append(clique)
        left &= ~(1 << vertex)
        touched = around
        for a in _bits(around):
            added = around & ~neighbours[a] & ~(1 << a)
            if added and by_fill:
                touched |= neighbours[a]
            neighbours[a] = (neighbours[a] | around) & ~(1 << a) & ~(1 << vertex)
        for a in _bits(touched & left):
            cost[a] = _cost(a, neighbours, weights, by_fill)
    return found


def _cost(vertex: int, neighbours: list[int], weights: list[float], by_fill: bool) -> tuple[float, float]:
    around = neighbours[vertex]
    weight = weights[vertex] + sum(weights[a] for a in _bits(around))
    if not by_fill:
        return (weight, 0.0)
    fill = sum((around & ~neighbours[a] & ~(1 << a)).bit_count() for a in _bits(around))
    return (float(fill), weight)


def _assemble(sizes: Sequence[int], masks: list[int]) -> JunctionTree:
    """Join maximal cliques by Prim's algorithm on separator size: a maximum-weight spanning tree has the running-intersection property."""
    count = len(masks)
    if not count:
        return JunctionTree(tuple(sizes), (), (), ())
    helped = [*sizes, 1]
    helper = 1 << len(sizes)
    cells = [math.prod(helped[a] for a in _bits(mask)) for mask in masks]
    root = max(range(count), key=lambda i: (masks[i] & helper, cells[i]))
    order, parent_of = [root], {root: -1}
    link = {i: (root, (masks[i] & masks[root]).bit_count()) for i in range(count) if i != root}
    while link:
        chosen = max(link, key=lambda i: (link[i][1], cells[i]))
        parent_of[chosen] = link.pop(chosen)[0]
        order.append(chosen)
        for i, (_, shared) in link.items():
            new = (masks[i] & masks[chosen]).bit_count()
            if new > shared:
                link[i] = (chosen, new)
    position = {clique: place for place, clique in enumerate(order)}

    def axes(mask: int) -> Axes:
        return tuple(sorted(_bits(mask & ~helper), key=lambda a: (sizes[a], a)))

    return JunctionTree(
        tuple(sizes),
        tuple(axes(masks[i]) for i in order),
        tuple(position[parent_of[i]] if parent_of[i] >= 0 else -1 for i in order),
        tuple(axes(masks[i] & masks[parent_of[i]]) if parent_of[i] >= 0 else () for i in order),
    )


@lru_cache(maxsize=1 << 15)
def _bits(mask: int) -> tuple[int, ...]:
    """Positions of the bits set; the same masks come again and again."""
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return tuple(found)
