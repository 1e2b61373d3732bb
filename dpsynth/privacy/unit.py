"""The privacy unit: whose presence is hidden, and by how much one unit can move a query.

Bounding is enforced here, not assumed: a unit with more rows than ``max_rows`` is cut to a uniform sample of its own rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.errors import ConfigError
from dpsynth.marginals import COUNT, UNIT, Attribute, CodedTable, Domain, code_dtype, count_name

ADD_REMOVE = "add_remove"
REPLACE_ONE = "replace_one"
NEIGHBOURS = (ADD_REMOVE, REPLACE_ONE)
_AT_ONCE = 1 << 20
_SORTED_AT_ONCE = 1 << 24

ROWS = "rows"
PERSON = "person"
WEIGHTS = (ROWS, PERSON)

GRAIN = 27_720
"""Parts into which a person's mass of one is cut: the least common multiple of 1 to 12. A public constant, so counts stay whole numbers."""


@dataclass(frozen=True)
class PrivacyUnit:
    """Neighbouring tables differ in all rows of one ``name``, of which at most ``max_rows`` are kept.

    ``add_remove``: one unit more or less. ``replace_one``: one unit's rows exchanged for another's.
    ``weights``: with ``rows`` each row counts one, so a unit weighs up to ``max_rows``; with ``person`` each of a unit's k rows counts
    1/k, so every unit weighs one.
    """

    name: str
    max_rows: int
    neighbours: str = ADD_REMOVE
    weights: str = ROWS

    def __post_init__(self) -> None:
        # A fraction would keep one row more than the sensitivity counts, and NaN passes every comparison.
        if not isinstance(self.max_rows, int) or self.max_rows < 1:
            raise ConfigError(f"maxRows={self.max_rows!r} of unit {self.name!r} must be a whole number >= 1")
        if self.neighbours not in NEIGHBOURS:
            raise ConfigError(f"neighbours={self.neighbours!r} must be one of {', '.join(NEIGHBOURS)}")
        if self.weights not in WEIGHTS:
            raise ConfigError(f"weights={self.weights!r} must be one of {', '.join(WEIGHTS)}")
        if self.by_person and self.max_rows > GRAIN:
            raise ConfigError(f"maxRows={self.max_rows} of unit {self.name!r} must be <= {GRAIN} where units weigh one")

    @property
    def by_person(self) -> bool:
        """Whether units of several rows weigh one in all."""
        return self.weights == PERSON and self.max_rows > 1

    @property
    def mass(self) -> int:
        """The most that one unit adds to a total: ``max_rows`` rows, or one person."""
        return 1 if self.by_person else self.max_rows

    @property
    def grain(self) -> int:
        """Counts are whole multiples of one part in ``grain``: the integers that get noise are ``grain`` times the counts."""
        return GRAIN if self.by_person else 1

    @property
    def total_is_public(self) -> bool:
        """Under replace-one with one row per unit every neighbour has the same number of rows; never otherwise."""
        return self.neighbours == REPLACE_ONE and self.max_rows == 1

    def vector_sensitivity(self, row_norm: float = 1.0) -> float:
        """L2 sensitivity of a weighted sum over rows of vectors A e, e the one-hot vector of a row's cell, A a fixed linear contraction
        with |A e|_2 <= ``row_norm`` <= 1 (the identity for marginals, centring for residuals).

        A unit adds A c, where c is the sum of its rows' weights times their e: non-negative, with |c|_2 <= |c|_1 <= m, the unit's
        `mass`: k rows of weight 1 weigh at most max_rows, k rows of weight 1/k weigh 1.
        add/remove: |A c| <= m * row_norm, by the triangle inequality. replace-one: c leaves and c' enters; both are non-negative, so
        <c, c'> >= 0 and |c - c'|_2 <= sqrt(2) m, which A does not lengthen; and |A c - A c'| <= 2 m row_norm.
        """
        m = self.mass
        if self.neighbours == ADD_REMOVE:
            return m * row_norm
        return min(math.sqrt(2.0) * m, 2.0 * m * row_norm)

    @property
    def touched_values(self) -> int:
        """How many values of a column can differ in count between neighbours: one for each row of the unit, or of both units."""
        return self.max_rows if self.neighbours == ADD_REMOVE else 2 * self.max_rows

    def score_sensitivity(self) -> float:
        """Change of one |count(D) - constant|_1 between neighbours: at most |c|_1 = m (add/remove), or |c|_1 + |c'|_1 = 2 m."""
        return float(self.mass if self.neighbours == ADD_REMOVE else 2 * self.mass)


def keyed_uniform(units: npt.NDArray[np.int64], ordinals: npt.NDArray[np.integer[Any]] | int, key: int) -> npt.NDArray[np.uint64]:
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


def row_digests(table: CodedTable, key: int, contents: Mapping[str, npt.NDArray[np.uint64]] | None = None) -> npt.NDArray[np.uint64]:
    """A 64-bit digest of each row's codes under a random ``key``.

    A sum of codes times random 64-bit multipliers: two rows that differ have the same one with probability at most 2^-47, as codes are
    below 2^16.
    ``contents`` has a number for each code of columns whose codes depend on what else is in the table: the number stands for the cell.
    """
    multipliers = keyed_uniform(np.arange(len(table.domain), dtype=np.int64), 2, key) | np.uint64(1)
    digests = np.zeros(table.n_rows, dtype=np.uint64)
    for multiplier, name in zip(multipliers, table.domain.names, strict=True):
        for start in range(0, table.n_rows, _AT_ONCE):
            codes = table.columns[name][start : start + _AT_ONCE]
            worth = contents[name][codes] if contents is not None and name in contents else codes.astype(np.uint64)
            digests[start : start + _AT_ONCE] += multiplier * worth
    return digests


def bounded_rows(
    units: npt.NDArray[np.int64], max_rows: int, key: int, content: npt.NDArray[np.uint64] | None = None
) -> npt.NDArray[np.int64]:
    """Positions of the rows to keep: for each unit a uniform sample of at most ``max_rows`` of its rows, in table order.

    A row's priority is drawn from (unit, what the row is, key), and the smallest ``max_rows`` of each unit stay. What a row is: its
    ``content`` and its number among the unit's rows of the same content, so that the rows kept are the same in whatever order the table
    comes; without ``content``, its number within the unit.
    """
    kept = [_bounded(units, rows, max_rows, key, content) for rows in _shares(units)]
    return np.sort(np.concatenate(kept)) if len(kept) > 1 else kept[0]


def _shares(units: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """Positions of all rows in groups that split no unit; sorting needs tens of bytes a row, so many rows are not sorted at once."""
    parts = 1 + len(units) // _SORTED_AT_ONCE
    if parts == 1:
        yield np.arange(len(units), dtype=np.int64)
        return
    for part in range(parts):
        yield np.concatenate(
            [
                start + np.flatnonzero(units[start : start + _AT_ONCE].astype(np.uint64) % np.uint64(parts) == part)
                for start in range(0, len(units), _AT_ONCE)
            ]
        )


def _bounded(
    units: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], max_rows: int, key: int, content: npt.NDArray[np.uint64] | None
) -> npt.NDArray[np.int64]:
    units = units[rows]
    if not len(units):
        return rows
    ordinals = _rank_within([units], np.arange(len(units), dtype=np.uint64))
    if int(ordinals.max()) < max_rows:
        return rows
    return rows[_rank_within([units], priorities(units, key, ordinals, None if content is None else content[rows])) < max_rows]


def bounded_stream(
    batches: Iterable[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[Any]]], max_rows: int, key: int
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[Any]]]:
    """`bounded_rows` for rows that come sorted by unit and content: of batches (units, content, rows) the units and rows that stay.

    Each unit is whole in one of the answers.
    Of the unit that is still open no more than ``max_rows`` rows are held, whatever their number: later rows only take their place.
    """
    held: tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[Any]] | None = None
    last: tuple[int, int, int] | None = None
    for units, content, rows in batches:
        if not len(units):
            continue
        twins, last = _twins(units, content, last)
        draws = keyed_uniform(keyed_uniform(units, content, key).view(np.int64), twins, key)
        if held is not None:
            units, draws, rows = (np.concatenate([old, new]) for old, new in zip(held, (units, draws, rows), strict=True))
        stay = _rank_within([units], draws) < max_rows
        units, draws, rows = units[stay], draws[stay], rows[stay]
        still_open = units == units[-1]
        yield units[~still_open], rows[~still_open]
        held = (units[still_open], draws[still_open], rows[still_open])
    if held is not None:
        yield held[0], held[2]


def _twins(
    units: npt.NDArray[np.int64], content: npt.NDArray[np.uint64], last: tuple[int, int, int] | None
) -> tuple[npt.NDArray[np.int64], tuple[int, int, int]]:
    """The number of each row among equal rows before it in the stream, and the last row with how many there were up to it."""
    new = np.r_[True, (units[1:] != units[:-1]) | (content[1:] != content[:-1])]
    starts = np.flatnonzero(new)
    numbers = np.arange(len(units)) - np.repeat(starts, np.diff(np.r_[starts, len(units)]))
    if last is not None and last[:2] == (int(units[0]), int(content[0])):
        numbers[: starts[1] if len(starts) > 1 else None] += last[2]
    return numbers, (int(units[-1]), int(content[-1]), int(numbers[-1]) + 1)


def priorities(
    units: npt.NDArray[np.int64], key: int, ordinals: npt.NDArray[np.int64], content: npt.NDArray[np.uint64] | None
) -> npt.NDArray[np.uint64]:
    """A 64-bit draw for each row of complete units; see `bounded_rows`."""
    if content is None:
        return keyed_uniform(units, ordinals, key)
    twins = _rank_within([units, content], ordinals)
    return keyed_uniform(keyed_uniform(units, content, key).view(np.int64), twins, key)


def _rank_within(groups: Sequence[npt.NDArray[Any]], priority: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Rank of each row, by ``priority``, among the rows that agree with it in all ``groups``."""
    order = np.lexsort((priority, *reversed(groups)))
    new = np.zeros(len(order), dtype=bool)
    new[:1] = True
    for group in groups:
        new[1:] |= group[order[1:]] != group[order[:-1]]
    starts = np.flatnonzero(new)
    sizes = np.diff(np.r_[starts, len(order)])
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return ranks


def rows_per_unit(units: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each row how many rows its unit has."""
    _, places, counts = np.unique(units, return_inverse=True, return_counts=True)
    return counts[places].astype(np.int64)


def row_order(units: npt.NDArray[np.int64], key: int, content: npt.NDArray[np.uint64] | None = None) -> npt.NDArray[np.int64]:
    """Rank of each row among those of its unit, drawn under ``key``; see `bounded_rows` for what ``content`` is."""
    ordinals = _rank_within([units], np.arange(len(units), dtype=np.uint64))
    return _rank_within([units], priorities(units, key, ordinals, content))


def row_weights(units: npt.NDArray[np.int64], order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Whole weights that add up to exactly `GRAIN` in each unit, and differ by at most one inside a unit: the first rows in ``order``
    have one part more.

    They depend on the unit's own rows alone. A unit may have at most `GRAIN` rows.
    """
    rows = np.maximum(rows_per_unit(units), 1)
    return GRAIN // rows + (order < GRAIN % rows)


def settled(
    codes: npt.NDArray[Any], units: npt.NDArray[np.int64], order: npt.NDArray[np.int64], missing: int | None = None
) -> npt.NDArray[Any]:
    """The same code in all rows of a unit: that of the first row in ``order`` whose code is not ``missing``, if there is one.

    What a unit gets depends on its own rows alone.
    """
    rank = _rank_within([units], order + np.where(codes == (-1 if missing is None else missing), np.int64(1) << 40, 0))
    _, places = np.unique(units, return_inverse=True)
    leaders = np.zeros(len(units), dtype=np.int64)
    leaders[places[rank == 0]] = np.flatnonzero(rank == 0)
    return np.asarray(codes[leaders[places]])


def weighed_domain(domain: Domain, unit: PrivacyUnit) -> Domain:
    """``domain`` and a column for the number of rows of a unit."""
    return Domain((*domain, Attribute(count_name(unit.name), unit.max_rows, ordered=True, scope=COUNT)))


def weighed_by_person(
    table: CodedTable,
    units: npt.NDArray[np.int64],
    unit: PrivacyUnit,
    key: int,
    contents: Mapping[str, npt.NDArray[np.uint64]] | None = None,
) -> CodedTable:
    """Rows of whole units, weighing one per unit, over `weighed_domain`: static columns made the same in all rows of a unit, and the
    number of its rows as a column.

    What a unit gets depends on its own rows alone. ``contents``: see `row_digests`.
    """
    columns = dict(table.columns)
    order = row_order(units, key, row_digests(table, key, contents))
    for attribute in table.domain:
        if attribute.scope == UNIT:
            columns[attribute.name] = settled(columns[attribute.name], units, order, attribute.size - 1 if attribute.nullable else None)
    columns[count_name(unit.name)] = (rows_per_unit(units) - 1).astype(code_dtype(unit.max_rows))
    return CodedTable(weighed_domain(table.domain, unit), columns, row_weights(units, order))
