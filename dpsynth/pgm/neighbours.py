"""Merged levels told apart in step with a neighbour: where age and income go together, so do their places inside a bin.

The fine table of a pair is unknown. It is taken as the merged one with its density ratio smoothed along both columns, such that its sums
over bins and over levels stay what they were. Post-processing: only noisy tables go in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import code_dtype
from dpsynth.pgm.sampling import Column, told_apart

Table = npt.NDArray[np.float64]

_ROUNDS = 3
# Weaker dependence, in nats, says nothing about the inside of a bin; larger fine tables are not worth their memory.
_WEAKEST, _MOST_CELLS = 0.02, 1 << 18


@dataclass(frozen=True)
class Levels:
    """Of one column: the merged level of each level, its share of that one, and whether neighbouring levels are alike.

    Where ``nullable``, the last level stands for missing and is like no other.
    """

    merged: npt.NDArray[np.int64]
    shares: Table
    ordered: bool
    nullable: bool

    @property
    def contiguous(self) -> bool:
        """Whether merged levels are runs of levels."""
        return self.ordered and bool(np.all(np.diff(self.merged) >= 0))

    @property
    def is_merged(self) -> bool:
        """Whether any two levels are one in the model."""
        return int(self.merged.max()) + 1 < len(self.merged)

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """The first level of each merged one."""
        return np.searchsorted(self.merged, np.arange(int(self.merged[-1]) + 1)).astype(np.int64)


@dataclass(frozen=True)
class _Link:
    """``column`` is drawn given the levels of ``before`` and the merged levels of ``after``, either of which may be missing.

    ``cumulated`` is 0 and the running sum of a table with axes before, after, levels of ``column``.
    """

    column: int
    before: int | None
    after: int | None
    afters: int
    cumulated: Table


class Neighbours:
    """The spanning forest of the strongest dependences between ordered columns, at least one of each two merged.

    ``pairs`` maps positions of two columns to their table over merged levels. From a root on, each column follows the level of the one
    before it, and leans towards the merged level of the strongest one after it.
    """

    def __init__(self, columns: Sequence[Levels], pairs: Mapping[tuple[int, int], Table]) -> None:
        self._columns = columns
        part = list(range(len(columns)))
        links: dict[int, list[tuple[int, Table]]] = {}
        usable = [(_information(table), pair) for pair, table in pairs.items() if self._usable(*pair)]
        for information, (a, b) in sorted(usable, key=lambda item: (-item[0], item[1])):
            if part[a] != part[b] and information >= _WEAKEST:
                part = [part[b] if p == part[a] else p for p in part]
                table = spread(pairs[a, b], columns[a], columns[b])
                links.setdefault(a, []).append((b, table))
                links.setdefault(b, []).append((a, table.T))
        self._links: list[_Link] = []
        # Columns whose levels are known come first: others follow them.
        reached: set[int] = set()
        for root in sorted(links, key=lambda a: (columns[a].is_merged, a)):
            if root not in reached:
                self._reach(root, None, links, reached)

    def _reach(
        self, column: int, before: tuple[int, Table] | None, links: Mapping[int, list[tuple[int, Table]]], reached: set[int]
    ) -> None:
        reached.add(column)
        after = [(other, table) for other, table in links[column] if other not in reached]
        if self._columns[column].is_merged:
            self._links.append(self._link(column, before, after[0] if after else None))
        for other, table in after:
            self._reach(other, (column, table), links, reached)

    def _link(self, column: int, before: tuple[int, Table] | None, after: tuple[int, Table] | None) -> _Link:
        levels = self._columns[column]
        # Axes: before, after, own level.
        weights = np.ones((1, 1, len(levels.merged))) if before is None else before[1][:, None, :]
        if after is not None:
            likely = np.add.reduceat(after[1], self._columns[after[0]].starts, axis=1)
            if before is not None:
                likely = likely * _ratio(np.ones(len(likely)), likely.sum(axis=1))[:, None]
            if weights.size * likely.shape[1] <= _MOST_CELLS:
                weights = weights * likely.T[None]
            else:
                after = None
        return _Link(
            column,
            before and before[0],
            after and after[0],
            weights.shape[1],
            np.append(0.0, np.cumsum(weights)),
        )

    def _usable(self, a: int, b: int) -> bool:
        one, two = self._columns[a], self._columns[b]
        return one.contiguous and two.contiguous and (one.is_merged or two.is_merged) and len(one.merged) * len(two.merged) <= _MOST_CELLS

    def told_apart(self, merged: Sequence[Column], rng: np.random.Generator) -> list[Column]:
        """Levels for rows of ``merged`` ones, one array per column. A column without a neighbour is drawn by its own shares."""
        linked = {link.column for link in self._links}
        fine = [
            codes if a in linked or not levels.is_merged else told_apart(codes, levels.merged, levels.shares, rng)
            for a, (codes, levels) in enumerate(zip(merged, self._columns, strict=True))
        ]
        for link in self._links:
            fine[link.column] = self._follow(link, fine, merged, rng)
        return fine

    def _follow(self, link: _Link, fine: Sequence[Column], merged: Sequence[Column], rng: np.random.Generator) -> Column:
        """Draws from the part of a row of the link's table that lies inside the merged level."""
        levels, own = self._columns[link.column], merged[link.column]
        size, starts = len(levels.merged), levels.starts
        ends = np.append(starts[1:], size)
        row = np.zeros(len(own), dtype=np.int64) if link.before is None else fine[link.before].astype(np.int64)
        row *= link.afters
        if link.after is not None:
            row += merged[link.after]
        row *= size
        first, last = row + starts[own], row + ends[own]
        low, high = link.cumulated[first], link.cumulated[last]
        place = np.searchsorted(link.cumulated, low + (high - low) * rng.random(len(row)), side="right") - 1
        drawn: Column = (np.clip(place, first, last - 1) - row).astype(code_dtype(size))
        # Differences of running sums lose what is under a billionth of them.
        unseen = np.flatnonzero(high - low <= 1e-9 * high)
        if len(unseen):
            drawn[unseen] = told_apart(own[unseen], levels.merged, levels.shares, rng)
        return drawn


def spread(table: Table, rows: Levels, columns: Levels) -> Table:
    """``table`` over merged levels as a smooth one over levels, shape (levels of rows, levels of columns).

    Its sums over merged levels are those of ``table`` (exact), and over levels those that the shares give (after a few rounds of
    proportional fitting, nearly).
    """
    by_row = table.sum(axis=1)[rows.merged] * rows.shares
    by_column = table.sum(axis=0)[columns.merged] * columns.shares
    even = np.outer(by_row, by_column)

    def fitted(fine: Table) -> Table:
        for _ in range(2):
            fine = fine * _ratio(by_row, fine.sum(axis=1))[:, None]
            fine = fine * _ratio(by_column, fine.sum(axis=0))
            sums = np.add.reduceat(np.add.reduceat(fine, rows.starts, axis=0), columns.starts, axis=1)
            fine = fine * _ratio(table, sums)[rows.merged][:, columns.merged]
        return fine

    fine = fitted(even)
    for _ in range(_ROUNDS):
        ratio = _smoothed(_smoothed(_ratio(fine, even), rows.nullable).T, columns.nullable).T
        fine = fitted(ratio * even)
    return fine


def _smoothed(values: Table, last_apart: bool) -> Table:
    """Each row as half itself and a quarter of either neighbour; the ends are their own neighbours."""
    body = values[: len(values) - last_apart]
    mixed = 0.5 * body + 0.25 * np.concatenate([body[:1], body[:-1]]) + 0.25 * np.concatenate([body[1:], body[-1:]])
    return np.concatenate([mixed, values[len(body) :]])


def _ratio(wanted: Table, present: Table) -> Table:
    return np.divide(wanted, present, out=np.zeros_like(wanted), where=present > 0.0)


def _information(table: Table) -> float:
    """Mutual information of the two columns of ``table``, in nats."""
    total = float(table.sum())
    if total <= 0.0:
        return 0.0
    joint = table / total
    even = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    held = joint > 0.0
    return float((joint[held] * np.log(joint[held] / even[held])).sum())
