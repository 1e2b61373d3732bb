"""Distances between coded records: Gower's, in whole steps of 1/WEIGHT of a column, by blocks small enough to stay in
cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from audits.tables import Coded, Ints, chunks, fingerprints

Distances = npt.NDArray[np.uint16]
T = TypeVar("T")

WEIGHT = 96
"""Distance of two different categories, of present and missing, or of the two ends of an ordered column."""
FINE = 2
"""Distance of two values of one coarse bin."""
_BLOCK = 1 << 21
"""Distances held at once by a thread."""
WHOLE = 200_000
"""Rows of a table that are all searched for the nearest."""
HALVES = 8
_ALIKE = 64


@dataclass(frozen=True)
class Space:
    """Which columns are compared, and how."""

    ordered: npt.NDArray[np.bool_]
    sizes: Ints
    columns: tuple[int, ...]

    def distances(self, targets: Coded, table: Coded, columns: Sequence[int] | None = None) -> Distances:
        """All distances of a few targets to a table, shape (targets, table)."""
        total = np.zeros((len(targets), len(table)), dtype=np.uint16)
        unequal = np.zeros((len(targets), len(table)), dtype=np.uint8)  # counted in bytes, 255 columns at a time
        counted = 0
        for j in self.columns if columns is None else columns:
            a, b = targets.coarse[:, j].astype(np.int16)[:, None], table.coarse[:, j].astype(np.int16)[None, :]
            if self.ordered[j] and self.sizes[j] > 2:
                step = np.int16(max(1, round(WEIGHT / (int(self.sizes[j]) - 2))))
                gap = np.abs(a - b)
                gap *= step
                np.minimum(gap, WEIGHT, out=gap)
                if not (a.all() and b.all()):
                    gap[(a == 0) != (b == 0)] = WEIGHT
                total += gap.view(np.uint16)
            else:
                unequal += (a != b).view(np.uint8)
                counted += 1
                if counted == 255:
                    total += unequal.astype(np.uint16) * np.uint16(WEIGHT)
                    unequal[:], counted = 0, 0
            if not np.array_equal(table.coarse[:, j], table.fine[:, j]):
                total += (targets.fine[:, j][:, None] != table.fine[:, j][None, :]).astype(np.uint16) * np.uint16(FINE)
        total += unequal.astype(np.uint16) * np.uint16(WEIGHT)
        return total


def blocks(space: Space, targets: Coded, table: Coded, reduce: Callable[[slice, Distances], T], workers: int = 2) -> list[T]:
    """``reduce(rows, distances)`` of each block of targets, in order; NumPy releases the lock, so two threads help."""
    size = max(1, min(256, _BLOCK // max(1, len(table))))

    def work(rows: slice) -> T:
        return reduce(rows, space.distances(targets.take(np.arange(rows.start, rows.stop)), table))

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, chunks(len(targets), size)))


def kth_distance(space: Space, targets: Coded, table: Coded, k: int) -> npt.NDArray[np.float64]:
    """Distance of each target to its ``k``-th nearest record of the table."""
    return np.asarray(nearest_distances(space, targets, table, (k,))[0])


def nearest_of_many(space: Space, targets: Coded, table: Coded, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Distance of each target to its nearest record of the table, and where that is (the first of several).

    A table of more than WHOLE rows is searched where it counts: a random part of WHOLE rows, and in all of it the rows that are
    equal to the target in one of HALVES random halves of the columns. A copy with a few cells changed is among them; of others the
    distance may be that of the second nearest or later.
    """
    rows = np.arange(len(table)) if len(table) <= WHOLE else np.sort(rng.choice(len(table), WHOLE, replace=False))

    def reduce(_: slice, distances: Distances) -> Ints:
        return np.stack([distances.min(axis=1).astype(np.int64), distances.argmin(axis=1)])

    distance, place = np.concatenate(blocks(space, targets, table if len(rows) == len(table) else table.take(rows), reduce), axis=1)
    place = rows[place]
    for _ in range(HALVES if len(rows) < len(table) else 0):
        half = rng.permutation(space.columns)[: (len(space.columns) + 1) // 2]
        keys = fingerprints(table.fine[:, half])
        order = np.argsort(keys, kind="stable")
        wanted, ordered = fingerprints(targets.fine[:, half]), keys[order]
        starts, ends = np.searchsorted(ordered, wanted, "left"), np.searchsorted(ordered, wanted, "right")
        for target in np.flatnonzero(ends > starts):
            alike = order[starts[target] : min(ends[target], starts[target] + _ALIKE)]
            gaps = space.distances(targets.take(np.array([target])), table.take(alike))[0]
            best = int(gaps.argmin())
            if gaps[best] < distance[target]:
                distance[target], place[target] = gaps[best], alike[best]
    return distance, place


def nearest_distances(space: Space, targets: Coded, table: Coded, ranks: Sequence[int]) -> npt.NDArray[np.float64]:
    """Distances of each target to its nearest records of these ranks (1 is the nearest), shape (ranks, targets)."""
    wanted = [min(k, len(table)) - 1 for k in ranks]

    def reduce(_: slice, distances: Distances) -> Distances:
        if max(wanted) == 0:
            return np.asarray(np.broadcast_to(distances.min(axis=1), (len(wanted), len(distances))))
        return np.asarray(np.partition(distances, sorted(set(wanted)), axis=1)[:, wanted].T)

    return np.concatenate(blocks(space, targets, table, reduce), axis=1).astype(np.float64)
