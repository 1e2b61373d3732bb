"""Worst-case toy tables and neighbours, made from the columns' public dictionary and a seed, far from any record.

In every pair all units but the one that differs have at most ``max_rows`` rows, so that bounding leaves them whole on
both sides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from audits.result import Column

if TYPE_CHECKING:
    import pandas as pd

Row = list[Any]
MANY_ROWS = 40
# Of an ordinary unit at most, however many it may have: tables stay small.
_ORDINARY_ROWS = 6
_NAMES = ("alpha", "beta", "gamma")


@dataclass(frozen=True)
class Toy:
    """Makes tables for one mechanism: its public columns, the unit column, the number of rows a unit may have."""

    columns: tuple[Column, ...]
    unit_field: str | None
    max_rows: int
    as_text: bool = False

    @property
    def names(self) -> list[str]:
        """Column names of the tables, the unit column first where it is none of the public columns."""
        names = [column.name for column in self.columns]
        return names if self.unit_field is None or self.unit_field in names else [self.unit_field, *names]

    def frame(self, units: Sequence[tuple[str | None, Sequence[Row]]]) -> pd.DataFrame:
        """One table from (unit key, rows) pairs: objects, and float64 (text if ``as_text``) for ordered columns."""
        import pandas as pd

        data: dict[str, Any] = {}
        if self.unit_field is not None:
            data[self.unit_field] = pd.Series([key for key, rows in units for _ in rows], dtype=object)
        for position, column in enumerate(self.columns):
            if column.name == self.unit_field:
                continue
            values = [row[position] for _, rows in units for row in rows]
            if column.kind != "ordered" or column.role == "identifier":
                data[column.name] = pd.Series(values, dtype=object)
            elif self.as_text:
                data[column.name] = pd.Series([_text(value) for value in values], dtype=object)
            else:
                data[column.name] = pd.Series(values, dtype=np.float64)
        return pd.DataFrame(data, columns=self.names)

    def units(self, n_units: int, seed: int) -> list[tuple[str | None, list[Row]]]:
        """Ordinary units: one to ``max_rows`` rows (six at most) inside the declared domain, some nullable cells missing."""
        rng = np.random.default_rng(seed)
        out: list[tuple[str | None, list[Row]]] = []
        for number in range(n_units):
            n_rows = int(rng.integers(1, min(self.max_rows, _ORDINARY_ROWS) + 1)) if self.unit_field is not None else 1
            out.append((f"u{seed}-{number:05d}", [self._ordinary(rng) for _ in range(n_rows)]))
        return out

    def constant(self, n_units: int) -> list[tuple[str | None, list[Row]]]:
        """Units that all carry one and the same row."""
        row = [inside(column, 0.0) for column in self.columns]
        return [(f"c{number:05d}", [list(row)]) for number in range(n_units)]

    def agreeing(self, n_units: int) -> list[tuple[str | None, list[Row]]]:
        """Units of one row each that sit at the first or at the last value of every column: all columns agree."""
        rows = [[inside(column, place) for column in self.columns] for place in (0.0, 1.0)]
        return [(f"a{number:05d}", [list(rows[number % 2])]) for number in range(n_units)]

    def _ordinary(self, rng: np.random.Generator) -> Row:
        row: Row = []
        for column in self.columns:
            value = inside(column, float(rng.random()))
            row.append(missing(column) if column.nullable and rng.random() < 0.1 else value)
        return row


def inside(column: Column, position: float) -> Any:
    """A value of the declared domain; ``position`` in [0, 1] walks from its first to its last."""
    if column.role == "identifier":
        return f"id-{int(position * 1e9):09d}"
    if column.kind != "ordered":
        names = column.categories or _NAMES
        return names[min(int(position * len(names)), len(names) - 1)]
    low, high = bounds(column)
    # Whole numbers between whole bounds: an integer column would refuse a fraction by its declared type, which is
    # public.
    value = low + position * (high - low)
    return float(round(value)) if low.is_integer() and high.is_integer() and high - low >= 1.0 else value


def bounds(column: Column) -> tuple[float, float]:
    """Declared bounds of an ordered column, or 0 to 100 where there are none."""
    low = 0.0 if column.minimum is None else float(column.minimum)
    high = low + 100.0 if column.maximum is None else float(column.maximum)
    return low, high


def missing(column: Column) -> Any:
    """A missing cell of this column."""
    return math.nan if column.kind == "ordered" and column.role != "identifier" else None


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return None if math.isnan(value) else repr(int(value)) if math.isfinite(value) and value.is_integer() else repr(value)


def _ordered(column: Column) -> bool:
    return column.kind == "ordered" and column.role != "identifier"


def _opposite(column: Column, parity: int) -> Any:
    return inside(column, 1.0)


def _in_domain(column: Column, parity: int) -> Any:
    return inside(column, 0.5)


def _unseen(column: Column, parity: int) -> Any:
    low, high = bounds(column)
    return (high + 1.0 if parity else low - 1.0) if _ordered(column) else "unseen-level"


def _nan(column: Column, parity: int) -> Any:
    return math.nan


def _all_null(column: Column, parity: int) -> Any:
    return missing(column)


def _infinite(column: Column, parity: int) -> Any:
    return (math.inf if parity else -math.inf) if _ordered(column) else ("inf" if parity else "-Infinity")


def _infinite_swapped(column: Column, parity: int) -> Any:
    return _infinite(column, 1 - parity)


def _extreme(column: Column, parity: int) -> Any:
    return (np.finfo(np.float64).max * (1.0 if parity else -1.0)) if _ordered(column) else "x" * 10_000


def _wide_integer(column: Column, parity: int) -> Any:
    return (2.0**63 if parity else -(2.0**63)) if _ordered(column) else str(2**64)


def _subnormal(column: Column, parity: int) -> Any:
    return (5e-324 if parity else -0.0) if _ordered(column) else "0"


def _outlier(column: Column, parity: int) -> Any:
    low, high = bounds(column)
    reach = 1e6 * max(high - low, 1.0)
    return (high + reach if parity else low - reach) if _ordered(column) else "far-outlier"


def _fraction(column: Column, parity: int) -> Any:
    low, high = bounds(column)
    return low + (high - low) / math.pi if _ordered(column) else "1.5"


def _empty(column: Column, parity: int) -> Any:
    return missing(column) if _ordered(column) else ""


def _padded(column: Column, parity: int) -> Any:
    if _ordered(column):
        return inside(column, 0.5)
    name = str(inside(column, 0.0))
    return f" {name} " if parity else name.swapcase()


def _null_word(column: Column, parity: int) -> Any:
    return missing(column) if _ordered(column) else ("NaN" if parity else "None")


def _unicode(column: Column, parity: int) -> Any:
    return inside(column, 0.5) if _ordered(column) else ("‮é\u200b\U0001d54a" if parity else "e\u0301\ufeff\U0001f600")


def _control(column: Column, parity: int) -> Any:
    return inside(column, 0.5) if _ordered(column) else "a\x00b\n\"',;\r\t"


def _surrogate(column: Column, parity: int) -> Any:
    return inside(column, 0.5) if _ordered(column) else "\ud800"


def _foreign(column: Column, parity: int) -> Any:
    return inside(column, 0.5) if _ordered(column) else (7 if parity else b"\xff")


# What one cell of the differing unit may look like. A copy of an existing row is made apart, since it needs the table.
VALUES: dict[str, Callable[[Column, int], Any]] = {
    "opposite": _opposite,
    "in_domain": _in_domain,
    "unseen": _unseen,
    "nan": _nan,
    "all_null": _all_null,
    "infinite": _infinite,
    "extreme": _extreme,
    "outlier": _outlier,
    "empty": _empty,
    "unicode": _unicode,
    "infinite_swapped": _infinite_swapped,
    "wide_integer": _wide_integer,
    "subnormal": _subnormal,
    "fraction": _fraction,
    "padded": _padded,
    "null_word": _null_word,
    "control": _control,
    "surrogate": _surrogate,
    "foreign_type": _foreign,
}
COPY = "copy"
KINDS = (COPY, *VALUES)
SMOKE_KINDS = KINDS[:11]

# Cells of a number column that arrives as text, as from a CSV file.
TEXTS = ("abc", "", "1e999", "-inf", "0x1F", "１２", "1,5", "1_0", " 7 ", "\x00")


def unit_rows(toy: Toy, kind: str, n_rows: int, like: Row) -> list[Row]:
    """``n_rows`` rows of one kind. The parity of row and column alternates signs and spellings."""
    if kind == COPY:
        return [list(like) for _ in range(n_rows)]
    make = VALUES[kind]
    return [[make(column, (r + c) % 2) for c, column in enumerate(toy.columns)] for r in range(n_rows)]


def text_rows(toy: Toy, text: str, n_rows: int, like: Row) -> list[Row]:
    """Rows whose number cells all read ``text``."""
    row = [text if _ordered(column) else value for column, value in zip(toy.columns, like, strict=True)]
    return [list(row) for _ in range(n_rows)]


@dataclass(frozen=True)
class Pair:
    """Two tables that differ in one unit."""

    label: str
    left: pd.DataFrame
    right: pd.DataFrame


def worst_case_pairs(toy: Toy, neighbours: str, seed: int, n_units: int = 30) -> list[Pair]:
    """Pairs that make one unit count most: it disagrees in every column, in three, or repeats the only row there is.

    Add/remove takes the unit away; replace-one exchanges it for a copy of the others.
    """
    crowd = toy.constant(n_units)
    common = crowd[0][1][0]
    k = toy.max_rows if toy.unit_field is not None else 1
    lone = [inside(column, 1.0) for column in toy.columns]
    narrow = [value if i < 3 else common[i] for i, value in enumerate(lone)]
    mixed = toy.units(n_units, seed)
    pairs = []
    for label, target, others in (
        ("disagreeing", lone, crowd),
        ("narrow", narrow, crowd),
        ("repeated", common, crowd),
        ("disagreeing_in_a_mixture", lone, mixed),
    ):
        unit = ("target", [list(target) for _ in range(k)])
        if neighbours == "replace_one":
            other = lone if target == common else common
            pairs.append(Pair(label, toy.frame([*others, unit]), toy.frame([*others, ("target", [list(other) for _ in range(k)])])))
        else:
            pairs.append(Pair(label, toy.frame([*others, unit]), toy.frame(others)))
    return pairs
