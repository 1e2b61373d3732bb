"""The privacy unit: whose presence is hidden, and by how much one unit can move a query.

Bounding is enforced here, not assumed: a unit with more rows than ``max_rows`` is cut to a uniform sample of its own rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpsynth.errors import ConfigError

ADD_REMOVE = "add_remove"
REPLACE_ONE = "replace_one"
NEIGHBOURS = (ADD_REMOVE, REPLACE_ONE)


@dataclass(frozen=True)
class PrivacyUnit:
    """Neighbouring tables differ in all rows of one ``name``, of which at most ``max_rows`` are kept.

    ``add_remove``: one unit more or less. ``replace_one``: one unit's rows exchanged for another's.
    """

    name: str
    max_rows: int
    neighbours: str = ADD_REMOVE

    def __post_init__(self) -> None:
        # A fraction would keep one row more than the sensitivity counts, and NaN passes every comparison.
        if not isinstance(self.max_rows, int) or self.max_rows < 1:
            raise ConfigError(f"maxRows={self.max_rows!r} of unit {self.name!r} must be a whole number >= 1")
        if self.neighbours not in NEIGHBOURS:
            raise ConfigError(f"neighbours={self.neighbours!r} must be one of {', '.join(NEIGHBOURS)}")

    @property
    def total_is_public(self) -> bool:
        """Under replace-one with one row per unit every neighbour has the same number of rows; never otherwise."""
        return self.neighbours == REPLACE_ONE and self.max_rows == 1

    def vector_sensitivity(self, row_norm: float = 1.0) -> float:
        """L2 sensitivity of a sum over rows of vectors u with |u|_2 <= ``row_norm`` <= 1, each a contraction of a one-hot vector.

        add/remove: k rows add k vectors, so k * row_norm. replace-one: k one-hot rows leave and k enter; the two count vectors are
        non-negative with L2 norm at most k each, so their difference has norm at most sqrt(2) k, and at most 2 k row_norm after
        contraction.
        """
        k = self.max_rows
        if self.neighbours == ADD_REMOVE:
            return k * row_norm
        return min(math.sqrt(2.0) * k, 2.0 * k * row_norm)

    def score_sensitivity(self) -> float:
        """Change of one |count(D) - constant|_1 between neighbours: each row moves it by at most 1, so k (add/remove) or 2 k."""
        return float(self.max_rows if self.neighbours == ADD_REMOVE else 2 * self.max_rows)


def keyed_uniform(units: npt.NDArray[np.int64], ordinals: npt.NDArray[np.int64] | int, key: int) -> npt.NDArray[np.uint64]:
    """A 64-bit draw for each (unit, ordinal) under a random ``key``: splitmix64's finaliser over the mixed words.

    One unit's draws depend on the key and on that unit alone, so a neighbour that gains or loses a unit leaves every other draw as it was.
    Each word is mixed in before the next is added: in a plain sum, unit u's coin 1 would be unit u+1's coin 0.
    """
    with np.errstate(over="ignore"):
        state: npt.NDArray[np.uint64] = np.full(len(units), key & 0xFFFFFFFFFFFFFFFF, dtype=np.uint64)
        words = (units.astype(np.uint64), np.asarray(ordinals).astype(np.uint64), np.uint64((key >> 64) & 0xFFFFFFFFFFFFFFFF))
        for word in words:
            state = state + np.uint64(0x9E3779B97F4A7C15) + word
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return state


def bounded_rows(units: npt.NDArray[np.int64], max_rows: int, key: int) -> npt.NDArray[np.int64]:
    """Positions of the rows to keep: for each unit a uniform sample of at most ``max_rows`` of its rows, in table order.

    A row's priority is drawn from (unit, its ordinal within the unit, key), and the smallest ``max_rows`` of each unit stay.
    """
    if not len(units):
        return np.zeros(0, dtype=np.int64)
    ordinals = _rank_within(units, np.arange(len(units), dtype=np.uint64))
    if int(ordinals.max()) < max_rows:
        return np.arange(len(units), dtype=np.int64)
    rank = _rank_within(units, keyed_uniform(units, ordinals, key))
    return np.flatnonzero(rank < max_rows)


def _rank_within(units: npt.NDArray[np.int64], priority: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """Rank of each row among the rows of its unit, by ``priority``."""
    order = np.lexsort((priority, units))
    grouped = units[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]])
    sizes = np.diff(np.r_[starts, len(units)])
    ranks = np.empty(len(units), dtype=np.int64)
    ranks[order] = np.arange(len(units)) - np.repeat(starts, sizes)
    return ranks
