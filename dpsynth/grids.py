"""Public grids: the finest cells an ordered column is ever known by, from its declared bounds alone.

A grid maps values to cells ``0..size-1`` in increasing order, and cells back to values that fall into the same cell.
The bounds are cells of their own, so that clipped values, and a pile of zeros at the minimum, come back as they were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dpsynth.schema import MAX_LEVELS, Field

Cells = npt.NDArray[np.int64]
BASE_CELLS = 1 << 15
"""Cells between the bounds of a number without a resolution, and of ranges too long for a cell per value."""

_UNIT_CODES = {"year": "Y", "month": "M", "day": "D", "hour": "h", "minute": "m", "second": "s"}

_MICROSECONDS = {"day": 86_400_000_000, "hour": 3_600_000_000, "minute": 60_000_000, "second": 1_000_000}


class Grid(Protocol):
    """Values of an ordered column <-> cells."""

    @property
    def size(self) -> int:
        """Number of cells."""

    def cells(self, values: npt.NDArray[Any]) -> Cells:
        """The cell of each value; values outside the bounds, infinities included, are clipped. NaN is not allowed."""

    def values(self, cells: Cells, rng: np.random.Generator | None) -> npt.NDArray[Any]:
        """A value in each cell: uniform when ``rng`` is given, else the one in the middle."""

    def ends(self, cells: Cells) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The least and the greatest value of each cell."""

    def edge(self, value: Any) -> int:
        """The first cell at or above a declared edge."""


@dataclass(frozen=True)
class Steps:
    """``count`` equally spaced values ``0..count-1``, one to a cell when they fit, else contiguous groups.

    Each of ``edges`` is the first step of a cell.
    """

    count: int
    edges: tuple[int, ...] = ()

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64] | None:
        """First step of each cell; None when every step is a cell."""
        if self.count <= MAX_LEVELS:
            return None
        width = math.ceil((self.count - 2) / BASE_CELLS)
        inner = np.arange(1, self.count - 1, width, dtype=np.int64)
        starts: npt.NDArray[np.int64] = np.unique(np.array([0, *inner.tolist(), self.count - 1, *self.edges], dtype=np.int64))
        return starts

    @property
    def size(self) -> int:
        return self.count if self._starts is None else len(self._starts)

    def of_steps(self, steps: npt.NDArray[np.int64]) -> Cells:
        """The cell of each step, both from 0."""
        if self._starts is None:
            return steps
        return np.searchsorted(self._starts, steps, side="right").astype(np.int64) - 1

    def steps(self, cells: Cells, rng: np.random.Generator | None) -> npt.NDArray[np.int64]:
        """A step in each cell: uniform when ``rng`` is given, else the one in the middle. Without groups ``cells`` itself comes back."""
        if self._starts is None:
            return cells
        first = self._starts.take(cells)
        width = np.diff(self._starts, append=self.count)
        if rng is None:
            return first + ((width - 1) // 2).take(cells)
        # As in a bin: `rng.integers` takes longer, and no width has so many bits that the product would reach it.
        offset = rng.random(len(cells))
        offset *= width.astype(np.float64).take(cells)
        first += offset.astype(np.int64)
        return first

    def ends(self, cells: Cells) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First and last step of each cell."""
        if self._starts is None:
            return cells, cells
        return self._starts[cells], np.append(self._starts[1:], self.count)[cells] - 1

    def first_cell(self, step: int) -> int:
        """The first cell that begins at or after ``step``; the number of cells where none does."""
        return int(step if self._starts is None else np.searchsorted(self._starts, step, side="left"))


@dataclass(frozen=True)
class IntegerGrid:
    """Whole numbers from ``low`` to ``low + steps.count - 1``."""

    low: int
    steps: Steps

    @property
    def size(self) -> int:
        return self.steps.size

    def cells(self, values: npt.NDArray[Any]) -> Cells:
        whole = np.rint(np.clip(values, self.low, self.low + self.steps.count - 1)).astype(np.int64)
        return self.steps.of_steps(whole - self.low)

    def values(self, cells: Cells, rng: np.random.Generator | None) -> npt.NDArray[np.int64]:
        return self.low + self.steps.steps(cells, rng)

    def ends(self, cells: Cells) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        first, last = self.steps.ends(cells)
        return self.low + first, self.low + last

    def edge(self, value: Any) -> int:
        return self.steps.first_cell(math.ceil(value) - self.low)


@dataclass(frozen=True)
class StepGrid:
    """Numbers ``low, low + step, ...`` up to ``high``; others are rounded to the nearest."""

    low: float
    step: float
    steps: Steps

    @property
    def size(self) -> int:
        return self.steps.size

    @cached_property
    def _decimals(self) -> int:
        """Decimal places of the step and the minimum, so that 0.1 * 3 is written 0.3."""
        return max(_decimals(self.low), _decimals(self.step))

    def cells(self, values: npt.NDArray[Any]) -> Cells:
        high = self.low + self.step * (self.steps.count - 1)
        place = np.clip((np.clip(values, self.low, high) - self.low) / self.step, 0, self.steps.count - 1)
        return self.steps.of_steps(np.rint(place).astype(np.int64))

    def values(self, cells: Cells, rng: np.random.Generator | None) -> npt.NDArray[np.float64]:
        return self._of_steps(self.steps.steps(cells, rng))

    def ends(self, cells: Cells) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        first, last = self.steps.ends(cells)
        return self._of_steps(first), self._of_steps(last)

    def _of_steps(self, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return np.round(self.low + steps * self.step, self._decimals)

    def edge(self, value: Any) -> int:
        return self.steps.first_cell(_step_at(value, self.low, self.step))


@dataclass(frozen=True)
class RealGrid:
    """Numbers from the first to the last of ``edges``: the minimum, the half-open intervals between, the maximum."""

    edges: tuple[float, ...]

    @cached_property
    def _edges(self) -> npt.NDArray[np.float64]:
        return np.array(self.edges)

    @property
    def size(self) -> int:
        return len(self.edges) + 1

    @cached_property
    def _nearby(self) -> npt.NDArray[np.int64]:
        """For equal parts of the range, two to an edge, the interval in which each part begins."""
        parts = np.linspace(self.edges[0], self.edges[-1], 2 * len(self.edges) + 1)[:-1]
        return np.maximum(np.searchsorted(self._edges, parts, side="right").astype(np.int64) - 1, 0)

    def cells(self, values: npt.NDArray[Any]) -> Cells:
        low, high = self.edges[0], self.edges[-1]
        with np.errstate(over="ignore"):
            parts_per_unit = min(len(self._nearby) / np.float64(high - low), np.finfo(np.float64).max)
        inside = np.clip(values, low, high)
        # Most edges are nearly equally spaced, so a division and one step find the interval; searching all edges takes ten times longer.
        guess = self._nearby[np.minimum(((inside - low) * parts_per_unit).astype(np.int64), len(self._nearby) - 1)]
        above = np.append(self._edges[1:], np.inf)
        guess += above[guess] <= inside
        wrong = np.flatnonzero((self._edges[guess] > inside) | (above[guess] <= inside))
        guess[wrong] = np.searchsorted(self._edges, inside[wrong], side="right") - 1
        found: Cells = guess + 1
        found[values <= low] = 0
        return found

    def ends(self, cells: Cells) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        low, high = self._around(cells)
        first, last = cells == 0, cells == self.size - 1
        lowest = np.where(first | last, low, np.nextafter(low, high))
        return np.where(last, high, lowest), np.where(first, low, np.where(last, high, np.nextafter(high, low)))

    def _around(self, cells: Cells) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        last = len(self.edges) - 1
        return self._edges[np.clip(cells - 1, 0, last)], self._edges[np.clip(cells, 0, last)]

    def values(self, cells: Cells, rng: np.random.Generator | None) -> npt.NDArray[np.float64]:
        least, length = self._intervals
        values = length.take(cells)
        values *= rng.random(len(cells)) if rng is not None else 0.5
        values += least.take(cells)
        return values

    @cached_property
    def _intervals(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Of every cell the least value, and how far it is to the greatest, so that no rounded sum is beyond that: it is another cell's."""
        least, most = self.ends(np.arange(self.size))
        # The interval of a spike holds one number.
        least = np.minimum(least, most)
        length = most - least
        while (beyond := least + length > most).any():
            length[beyond] = np.nextafter(length[beyond], 0.0)
        return least, length

    def edge(self, value: Any) -> int:
        return int(np.searchsorted(self._edges, value, side="left")) + 1


@dataclass(frozen=True)
class TimeGrid:
    """Moments as seconds since 1970, in whole units of ``resolution``.

    Values come back as the first moment of the unit, but not before the minimum.
    """

    low: int
    high: int
    resolution: str
    steps: Steps

    @property
    def size(self) -> int:
        return self.steps.size

    def _step(self, seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        moments = np.clip(seconds, self.low, self.high).astype("datetime64[s]")
        return moments.astype(f"datetime64[{_UNIT_CODES[self.resolution]}]").astype(np.int64)

    @cached_property
    def _first(self) -> int:
        return int(self._step(np.array([self.low]))[0])

    def cells(self, values: npt.NDArray[Any]) -> Cells:
        return self.steps.of_steps(self._step(values) - self._first)

    def values(self, cells: Cells, rng: np.random.Generator | None) -> npt.NDArray[np.datetime64]:
        return self._of_steps(self.steps.steps(cells, rng))

    def ends(self, cells: Cells) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        first, last = self.steps.ends(cells)
        return self._of_steps(first), self._of_steps(last)

    def _of_steps(self, steps: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
        units = self._first + steps
        if self.resolution in _MICROSECONDS:
            # Plain numbers: a conversion of moments takes several times longer.
            units *= _MICROSECONDS[self.resolution]
        else:
            units = units.astype(f"datetime64[{_UNIT_CODES[self.resolution]}]").astype("datetime64[us]").view(np.int64)
        return np.maximum(units, 1_000_000 * self.low, out=units).view("datetime64[us]")

    def edge(self, value: Any) -> int:
        return self.steps.first_cell(int(self._step(np.array([seconds_of(value)]))[0]) - self._first)


def seconds_of(moment: date) -> int:
    """Seconds since 1970 of a declared date or (naive UTC) datetime."""
    whole = moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)
    since = whole - datetime(1970, 1, 1)
    return since.days * 86_400 + since.seconds


def grid_of(field: Field) -> Grid:
    """The grid of a column with declared bounds; of an anchored date that of its distance."""
    field = field.counted
    low, high = field.minimum, field.maximum
    edges: Sequence[Any] = field.bins if isinstance(field.bins, tuple) else ()
    spikes: Sequence[Any] = field.spikes
    if isinstance(low, date) and isinstance(high, date):
        return _time_grid(seconds_of(low), seconds_of(high), str(field.resolution or _finest(field)), edges, spikes)
    assert isinstance(low, int | float) and isinstance(high, int | float)
    if field.type == "integer":
        starts = tuple(math.ceil(edge) - int(low) for edge in (*edges, *spikes, *(spike + 1 for spike in spikes if spike < high)))
        return IntegerGrid(int(low), Steps(int(high) - int(low) + 1, starts))
    if field.resolution is not None:
        step = float(field.resolution)
        count = math.floor((high - low) / step + 1e-6) + 1
        alone = [round((spike - low) / step) + after for spike in spikes for after in (0, 1)]
        return StepGrid(
            float(low), step, Steps(count, tuple(min(s, count - 1) for s in (*(_step_at(e, low, step) for e in edges), *alone)))
        )
    # The half-open interval from a spike to the next float holds nothing but the spike.
    points = [edge for spike in map(float, spikes) if low < spike < high for edge in (spike, math.nextafter(spike, math.inf))]
    return RealGrid(tuple(_marks(float(low), float(high), field.bins if isinstance(field.bins, int) else 1, (*edges, *points))))


def _cells_per_bin(bins: int) -> int:
    return math.ceil(BASE_CELLS / bins)


def _marks(low: float, high: float, bins: int, edges: Sequence[float]) -> list[float]:
    """Equally spaced marks, as many in each of ``bins`` bins, and the declared edges in place of marks next to them."""
    equal = np.linspace(low, high, bins * _cells_per_bin(bins) + 1)
    declared = np.unique(np.array([low, *(edge for edge in edges if low < edge < high), high], dtype=np.float64))
    above = np.searchsorted(declared, equal).clip(1, len(declared) - 1)
    nearest = np.minimum(np.abs(declared[above] - equal), np.abs(equal - declared[above - 1]))
    kept: list[float] = np.unique(np.concatenate([equal[nearest > 1e-9 * (high - low)], declared])).tolist()
    return kept


def _time_grid(low: int, high: int, resolution: str, edges: Sequence[Any], spikes: Sequence[Any]) -> TimeGrid:
    plain = TimeGrid(low, high, resolution, Steps(1))
    first, last = plain._step(np.array([low, high])).tolist()
    marks = plain._step(np.array([seconds_of(edge) for edge in (*edges, *spikes)], dtype=np.int64)).tolist()
    after = [mark + 1 for mark in marks[len(edges) :] if mark < last]
    return TimeGrid(low, high, resolution, Steps(last - first + 1, tuple(mark - first for mark in (*marks, *after))))


def _finest(field: Field) -> str:
    return "day" if field.type == "date" else "hour"


def _step_at(value: float, low: float, step: float) -> int:
    """Number of the first step at or above ``value``."""
    place = (value - low) / step
    return round(place) if math.isclose(place, round(place), rel_tol=0, abs_tol=1e-6) else math.ceil(place)


def _decimals(value: float) -> int:
    text = np.format_float_positional(value, trim="-")
    return len(text.partition(".")[2])


def spike_starts(field: Field, grid: Grid) -> tuple[int, ...]:
    """The cell of each declared spike and the cell after it: where bins must start so that a spike is a bin of its own."""
    values = np.array([seconds_of(spike) if isinstance(spike, date) else spike for spike in field.spikes])
    cells = grid.cells(values) if len(values) else np.zeros(0, dtype=np.int64)
    return tuple(sorted({start for cell in cells.tolist() for start in (cell, cell + 1) if start < grid.size}))


def bin_starts(field: Field, grid: Grid) -> tuple[int, ...] | None:
    """First cell of each declared bin; None when bins are to be found under the budget."""
    starts = _bin_starts(field, grid)
    return starts if starts is None or not field.spikes else tuple(sorted({*starts, *spike_starts(field, grid)}))


def _bin_starts(field: Field, grid: Grid) -> tuple[int, ...] | None:
    if field.bins is None:
        return tuple(range(grid.size)) if grid.size <= 128 else None
    if isinstance(field.bins, str):
        return None
    if isinstance(field.bins, tuple):
        inner = [grid.edge(edge) for edge in field.bins if edge not in (field.minimum, field.maximum)]
        return tuple(sorted({0, *(start for start in inner if start < grid.size)}))
    if isinstance(grid, RealGrid) and field.spikes:
        low, high = grid.edges[0], grid.edges[-1]
        return (0, *(grid.edge(mark) for mark in np.linspace(low, high, field.bins + 1)[1:-1].tolist()))
    if isinstance(grid, RealGrid):
        return (0, *(1 + number * _cells_per_bin(field.bins) for number in range(1, field.bins)))
    marks = np.linspace(0, grid.size, min(field.bins, grid.size) + 1)[:-1]
    return tuple(round(mark) for mark in marks.tolist())
