"""Which cells of a model are impossible under the declared relations, as masks over small cliques of merged levels.

A mask is zero only where no values inside the levels satisfy the relation: what a level mixes is left to the drawing of values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from dpsynth.constraints.condition import Column, Condition, Flags, Floats
from dpsynth.constraints.relations import Determines, Forbidden, Order
from dpsynth.marginals import Domain, Recoding
from dpsynth.pgm.junction_tree import Axes, tree_cells

if TYPE_CHECKING:
    from dpsynth.encode import Encoder

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Support:
    """``masks`` are 0 for impossible cells and 1 else, each over attribute positions; ``links`` are cliques that should share a table."""

    masks: tuple[tuple[Axes, Table], ...] = ()
    links: tuple[Axes, ...] = ()

    @property
    def cliques(self) -> tuple[Axes, ...]:
        """Every set of attribute positions that must lie in one clique of a tree, masks before links."""
        return (*(axes for axes, _ in self.masks), *self.links)

    def within(self, sizes: Sequence[int], limit: float, held: Iterable[Axes] = (), first: Sequence[int] = ()) -> Support:
        """The part whose cliques, the first ones first, keep a tree that has ``held`` (and starts with ``first``) under
        ``limit`` cells.
        """
        taken = list(held)
        masks, links = [], []
        for axes, mask in self.masks:
            if tree_cells(sizes, [*taken, axes], first, enough=limit) <= limit:
                taken.append(axes)
                masks.append((axes, mask))
        for axes in self.links:
            if tree_cells(sizes, [*taken, axes], first, enough=limit) <= limit:
                taken.append(axes)
                links.append(axes)
        return Support(tuple(masks), tuple(links))


def support_of(encoder: Encoder | None, domain: Domain, recoding: Recoding) -> Support:
    """What the schema of ``encoder`` rules out over ``domain``, whose levels are those of the encoder merged by ``recoding``."""
    if encoder is None or not encoder.schema.relations:
        return Support()
    index = {name: place for place, name in enumerate(domain.names)}
    levels = _Levels(encoder, recoding)
    masks: dict[Axes, Table] = {}
    later: dict[Axes, Table] = {}
    links: list[Axes] = []
    for relation in encoder.schema.relations:
        if isinstance(relation, Forbidden):
            found = _forbidden(relation, levels, index)
            if found is not None:
                _meet(masks, *found)
        elif isinstance(relation, Order):
            names = [name for name in relation.fields if name in index]
            for a, b in combinations(names, 2):
                first = names.index(b) - names.index(a) == 1
                _meet(masks if first else later, *_ordered(a, b, relation.strict, levels, index))
        elif isinstance(relation, Determines) and relation.table is None:
            links.append(tuple(sorted(index[name] for name in relation.fields)))
    for axes, mask in later.items():
        _meet(masks, axes, mask)
    return Support(tuple((axes, mask) for axes, mask in masks.items() if not mask.all()), tuple(dict.fromkeys(links)))


def _meet(masks: dict[Axes, Table], axes: Axes, mask: Table) -> None:
    masks[axes] = masks[axes] * mask if axes in masks else mask


@dataclass(frozen=True)
class _Levels:
    """What the merged levels of a column hold."""

    encoder: Encoder
    recoding: Recoding

    def merged_all(self, name: str, fine: Flags) -> Flags:
        """Per merged level, whether ``fine`` holds for all that it merges."""
        levels = self.recoding.levels.get(name)
        if levels is None:
            return fine
        return np.asarray(np.bincount(levels, weights=~fine) == 0)

    def range(self, name: str) -> tuple[Floats, Floats, Flags]:
        """Per merged level of an ordered column the least and the greatest value, and whether it may be missing."""
        lowest, highest, missing = level_ends(self.encoder, name)
        levels = self.recoding.levels.get(name)
        if levels is None:
            return np.where(missing, np.inf, lowest), np.where(missing, -np.inf, highest), missing
        size = int(levels.max()) + 1
        low, high = np.full(size, np.inf), np.full(size, -np.inf)
        np.minimum.at(low, levels[~missing], lowest[~missing])
        np.maximum.at(high, levels[~missing], highest[~missing])
        return low, high, np.bincount(levels, weights=missing, minlength=size) > 0


def level_ends(encoder: Encoder, name: str) -> tuple[Floats, Floats, Flags]:
    """Per code of ``encoder.domain`` the least and the greatest value, as floats, and whether it means missing."""
    size = encoder.domain[name].size
    missing = np.zeros(size, dtype=bool)
    declared = encoder.schema[name]
    if declared.nullable:
        missing[-1] = True
    if not declared.has_bounds:
        codes = np.arange(size, dtype=np.float64)
        return codes, codes, missing
    lowest, highest = encoder.cell_ends(name)
    starts = encoder.bin_cells(name)
    low, high = lowest[starts[:-1]], highest[starts[1:] - 1]
    pad = np.zeros(size - len(low))
    return np.concatenate([low, pad]), np.concatenate([high, pad]), missing


def _forbidden(relation: Forbidden, levels: _Levels, index: dict[str, int]) -> tuple[Axes, Table] | None:
    """The mask of a forbidden combination, or None where it involves columns that no single column of the model decides."""
    met: dict[str, Flags] = {}
    for condition in relation.conditions:
        found = throughout(levels.encoder, condition)
        if found is None:
            return None
        name, fine = found
        met[name] = met[name] & fine if name in met else fine
    names = sorted(met, key=index.__getitem__)
    impossible = np.ones((), dtype=bool)
    for name in names:
        impossible = np.logical_and.outer(impossible, levels.merged_all(name, met[name]))
    return tuple(index[name] for name in names), 1.0 - impossible


def throughout(encoder: Encoder, condition: Condition) -> tuple[str, Flags] | None:
    """The modelled column that decides ``condition`` and, per code of its domain, whether the condition surely holds."""
    rules = encoder.schema.relations.rules
    name = condition.field
    if name not in rules:
        lowest, highest, missing = level_ends(encoder, name)
        return name, np.where(missing, condition.missing, condition.whole(lowest, highest))
    rule = rules[name]
    if not isinstance(rule, Determines) or len(rule.by) != 1 or rule.by[0] in rules:
        return None
    source = rule.by[0]
    codes, _, missing = level_ends(encoder, source)
    return source, condition.holds(rule.value({source: Column(codes, missing)}))


def _ordered(a: str, b: str, strict: bool, levels: _Levels, index: dict[str, int]) -> tuple[Axes, Table]:
    low, _, lacking = levels.range(a)
    _, high, lacking_too = levels.range(b)
    fits = np.less.outer(low, high) if strict else np.less_equal.outer(low, high)
    mask = np.where(fits | lacking[:, None] | lacking_too[None, :], 1.0, 0.0)
    return ((index[a], index[b]), mask) if index[a] < index[b] else ((index[b], index[a]), np.ascontiguousarray(mask.T))


def kept_apart(encoder: Encoder | None, recoding: Recoding) -> Recoding:
    """``recoding`` split where it merges levels that a condition of a relation tells apart; public, so it costs nothing."""
    if encoder is None or not encoder.schema.relations:
        return recoding
    split = dict(recoding.levels)
    for relation in encoder.schema.relations:
        for condition in relation.conditions if isinstance(relation, Forbidden) else ():
            found = throughout(encoder, condition)
            if found is not None and found[0] in split:
                name, fine = found
                split[name] = np.unique(split[name] * 2 + fine, return_inverse=True)[1].astype(np.int64)
    return Recoding({name: levels for name, levels in split.items() if int(levels.max()) + 1 < len(levels)})
