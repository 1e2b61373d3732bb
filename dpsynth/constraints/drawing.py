"""Rows that satisfy every declared relation, and conditions and shares a caller asks for, down to the values.

The model draws levels, conditioned where levels show a relation; values are drawn inside their bins, jointly and uniformly over what the
relations leave of them. Rows that no values inside their bins can save are drawn again from the model; the few left after that take the
constrained columns of the most similar row that is sound. A row that breaks a relation is never returned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth.constraints.condition import Column, Condition, Flags, Floats
from dpsynth.constraints.consistency import components
from dpsynth.constraints.relations import Determines, Order, Relation
from dpsynth.constraints.steering import Balance, Steering
from dpsynth.errors import ConfigError
from dpsynth.marginals import CodedTable, code_dtype
from dpsynth.persons import Persons
from dpsynth.persons import draw as draw_persons

if TYPE_CHECKING:
    from dpsynth.encode import Encoder
    from dpsynth.model import SyntheticModel

Codes = dict[str, npt.NDArray[Any]]

# Draws of values inside the same bins before a row is drawn anew, and rounds of new rows, each of twice as many per row that is wanted.
_TRIES = 120
_ROUNDS = 9
_MOST_DRAWN = 400_000
# Sound rows among which the most similar one is looked for.
_DONORS = 400


@dataclass
class _Rows:
    """Codes over the encoder's domain, the values of the columns that relations or conditions watch, and which rows break one."""

    codes: Codes
    columns: dict[str, Column]
    broken: Flags

    def take(self, rows: npt.NDArray[np.int64]) -> _Rows:
        """Some of the rows."""
        columns = {name: Column(column.values[rows], column.missing[rows]) for name, column in self.columns.items()}
        return _Rows({name: codes[rows] for name, codes in self.codes.items()}, columns, self.broken[rows])

    @classmethod
    def joined(cls, parts: Sequence[_Rows]) -> _Rows:
        """The rows of all parts."""
        return cls(
            {name: np.concatenate([part.codes[name] for part in parts]) for name in parts[0].codes},
            {
                name: Column(
                    np.concatenate([part.columns[name].values for part in parts]),
                    np.concatenate([part.columns[name].missing for part in parts]),
                )
                for name in parts[0].columns
            },
            np.concatenate([part.broken for part in parts]),
        )

    def put(self, rows: npt.NDArray[np.int64], other: _Rows, places: npt.NDArray[np.int64], names: Sequence[str] | None = None) -> None:
        """Rows of ``other``, or some columns of them, in place of own ones."""
        for name, codes in self.codes.items():
            if names is None or name in names:
                codes[rows] = other.codes[name][places]
        for name, column in self.columns.items():
            if names is None or name in names:
                column.values[rows] = other.columns[name].values[places]
                column.missing[rows] = other.columns[name].missing[places]


class Drawing:
    """Draws tables from ``model`` as ``steering`` asks. Prepared once, drawn from often."""

    def __init__(self, model: SyntheticModel, where: Mapping[str, Any] | None = None, balance: Balance | None = None) -> None:
        if model.encoder is None:
            raise ConfigError("this model was fitted on coded data and has no encoder; use sample_codes")
        self._model = model
        self._steering = Steering(model, where, balance)
        self._values = Values(model.encoder, self._steering.conditions, model.lawful.learned)

    def rows(self, rows: int, seed: int | None) -> tuple[Codes, Mapping[str, Column]]:
        """``rows`` rows of codes, and the values of those columns that relations or conditions are about."""
        free = self._steering.free
        first = self._model.sample_codes(rows, seed=seed).columns if free else self._steering.codes(rows, np.random.default_rng(seed))
        if not self._values.watched:
            return dict(first), {}
        rng = np.random.default_rng(None if seed is None else [seed, 2])
        drawn = self._values.of({name: np.array(codes) for name, codes in first.items()}, rng)
        for doubling in range(_ROUNDS):
            open_rows = np.flatnonzero(drawn.broken)
            if not len(open_rows):
                break
            more = min(_MOST_DRAWN, max(64, len(open_rows) << doubling))
            fresh = self._values.of(self._steering.codes(more, rng), rng)
            sound = np.flatnonzero(~fresh.broken)[: len(open_rows)]
            # Which open rows are filled does not depend on what is in them.
            filled = rng.permutation(open_rows)[: len(sound)]
            drawn.put(filled, fresh, sound)
            drawn.broken[filled] = False
        if drawn.broken.any():
            self._repair(drawn, rng)
        return drawn.codes, drawn.columns

    def persons(self, rows: int, seed: int | None) -> tuple[Persons, Mapping[str, Column]]:
        """Whole persons with about ``rows`` rows, and values as from `rows`; columns that are static have one value per person.

        A person with a row that no values save is replaced by a sound one with as many rows, so that long histories, in which more can
        break, do not become rarer. What the rounds leave open is filled with sound persons of any length.
        """
        model, rng = self._model, np.random.default_rng(seed)

        def fresh(wanted: int) -> Persons:
            return draw_persons(model, self._steering.beliefs, wanted, rng, self._steering.within)

        first = fresh(rows)
        if not self._values.watched or not len(first.owners):
            return first, {}
        wanted, size = int(first.owners[-1]) + 1, len(first.owners)
        places = np.bincount(np.bincount(first.owners))
        parts: list[_Rows] = []
        owners: list[npt.NDArray[np.int64]] = []
        found, drawn = 0, first
        for doubling in range(_ROUNDS):
            values = self._values.of(dict(drawn.table.columns), rng, drawn.owners)
            broken = np.bincount(drawn.owners, weights=values.broken) > 0.0
            lengths = np.bincount(drawn.owners)
            sound = np.flatnonzero(~broken)
            if doubling == _ROUNDS - 1:
                kept = sound[: wanted - found]
            else:
                kept = np.sort(np.concatenate([sound[lengths[sound] == n][:free] for n, free in enumerate(places.tolist())]))
                places -= np.bincount(lengths[kept], minlength=len(places))
            chosen = np.flatnonzero(np.isin(drawn.owners, kept))
            parts.append(values.take(chosen))
            owners.append(found + np.searchsorted(kept, drawn.owners[chosen]))
            found += len(kept)
            if found == wanted:
                break
            drawn = fresh(min(_MOST_DRAWN, max(64, -(-size * (wanted - found) // wanted) << doubling)))
        if not found:
            raise ConfigError(self._refusal())
        joined = _Rows.joined(parts)
        table = CodedTable(model.domain, {a.name: joined.codes[a.name].astype(code_dtype(a.size)) for a in model.domain})
        return Persons(table, np.concatenate(owners)), joined.columns

    def _refusal(self) -> str:
        names = ", ".join(self._values.watched)
        return f"almost no row of the model satisfies what is asked of columns {names}; loosen a condition or a relation"

    def _repair(self, drawn: _Rows, rng: np.random.Generator) -> None:
        sound = np.flatnonzero(~drawn.broken)
        if not len(sound) or self._steering.unseen:
            raise ConfigError(self._refusal())
        for row in np.flatnonzero(drawn.broken):
            donors = rng.choice(sound, min(_DONORS, len(sound)), replace=False)
            alike = sum((codes[donors] == codes[row]).astype(np.int64) for codes in drawn.codes.values())
            donor = donors[int(np.argmax(alike))]
            drawn.put(np.array([row]), drawn, np.array([donor]), self._values.watched)
            drawn.broken[row] = False


class Values:
    """Turns codes into values that satisfy the relations of a schema and further ``conditions``, where their bins allow it."""

    def __init__(self, encoder: Encoder, conditions: Sequence[Condition], learned: Mapping[str, Floats]) -> None:
        self._encoder = encoder
        self._learned = learned
        self._conditions = tuple(conditions)
        self._relations = encoder.schema.relations
        self._groups = [
            _Group(tuple(r for r in group if not (isinstance(r, Determines) and r.table is None)), _names(group), self._asked(group))
            for group in components(self._relations)
        ]
        grouped = {name for group in self._groups for name in group.names}
        for name in dict.fromkeys(condition.field for condition in conditions if condition.field not in grouped):
            self._groups.append(_Group((), (name,), tuple(c for c in conditions if c.field == name)))

    def _asked(self, group: Sequence[Relation]) -> tuple[Condition, ...]:
        names = _names(group)
        return tuple(condition for condition in self._conditions if condition.field in names)

    @cached_property
    def watched(self) -> tuple[str, ...]:
        """Columns that a relation or a condition is about."""
        return tuple(name for group in self._groups for name in group.names)

    def of(self, codes: Codes, rng: np.random.Generator, owners: npt.NDArray[np.int64] | None = None) -> _Rows:
        """``codes`` with values for the watched columns; rows without sound values are marked.

        With ``owners``, the person of each row, static columns get one value per person.
        """
        rows = len(next(iter(codes.values())))
        columns: dict[str, Column] = {}
        broken = np.zeros(rows, dtype=bool)
        for group in self._groups:
            broken |= self._draw(group, codes, columns, rows, rng, owners)
        return _Rows(codes, columns, broken)

    def _draw(
        self,
        group: _Group,
        codes: Codes,
        columns: dict[str, Column],
        rows: int,
        rng: np.random.Generator,
        owners: npt.NDArray[np.int64] | None,
    ) -> Flags:
        """Values of the columns of one group, put into ``columns``; rows that stay broken come back."""
        boxes = {}
        for name in group.names:
            if name not in codes:
                continue
            declared, column = self._encoder.schema[name], codes[name].astype(np.int64)
            size = self._encoder.domain[name].size
            missing = (column == size - 1) if declared.nullable else np.zeros(rows, dtype=bool)
            if declared.has_bounds:
                boxes[name] = _Box.of(self._encoder, name, column, missing, [c for c in group.conditions if c.field == name])
            else:
                columns[name] = Column(column.astype(np.float64), missing)
        group.tighten(boxes)
        if owners is not None:
            for name, box in boxes.items():
                if self._encoder.schema[name].static:
                    box.pin(owners, rng)
                    group.tighten(boxes)
        hopeless = np.zeros(rows, dtype=bool)
        for name, box in boxes.items():
            hopeless |= box.empty & ~box.missing
            columns[name] = Column(box.draw(np.arange(rows), rng), box.missing.copy())
        self._compute(group, columns, codes, None)
        broken = group.broken(columns, rows)
        loose = [name for name, box in boxes.items() if box.loose]
        for _ in range(_TRIES if loose else 0):
            open_rows = np.flatnonzero(broken & ~hopeless)
            if not len(open_rows):
                break
            for name in loose:
                columns[name].values[open_rows] = boxes[name].draw(open_rows, rng)
            self._compute(group, columns, codes, open_rows)
            part = {name: Column(columns[name].values[open_rows], columns[name].missing[open_rows]) for name in group.names}
            broken[open_rows] = group.broken(part, len(open_rows))
        return np.asarray(broken | hopeless)

    def _compute(self, group: _Group, columns: dict[str, Column], codes: Codes, rows: npt.NDArray[np.int64] | None) -> None:
        """Columns that follow from others, for all rows or for some."""
        for relation in self._relations.learned if rows is None else ():
            if relation.field in group.names:
                found = relation.value(columns, self._learned[relation.field])
                columns[relation.field] = found
                codes[relation.field] = np.where(found.missing, relation.size, found.values).astype(np.int64)
        for name, rule in self._relations.rules.items():
            if name not in group.names:
                continue
            if rows is None:
                columns[name] = rule.value(columns)
                continue
            part = rule.value({need: Column(columns[need].values[rows], columns[need].missing[rows]) for need in rule.needs})
            columns[name].values[rows], columns[name].missing[rows] = part


def _names(group: Sequence[Relation]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for relation in group for name in relation.fields))


@dataclass(frozen=True)
class _Group:
    """Columns that are drawn together: relations that share columns, and conditions on them."""

    relations: tuple[Relation, ...]
    names: tuple[str, ...]
    conditions: tuple[Condition, ...]

    def tighten(self, boxes: Mapping[str, _Box]) -> None:
        """Take from the boxes what no order leaves."""
        orders = [relation for relation in self.relations if isinstance(relation, Order)]
        for _ in range(min(2, len(orders))):
            for order in orders:
                _tighten(order, boxes)

    def broken(self, columns: Mapping[str, Column], rows: int) -> Flags:
        """Rows that break a relation or miss a condition."""
        found = np.zeros(rows, dtype=bool)
        for relation in self.relations:
            found |= relation.violated(columns)
        for condition in self.conditions:
            found |= ~condition.holds(columns[condition.field])
        return found


@dataclass
class _Box:
    """The grid cells, from ``low`` to ``high`` in each row, that an ordered column may still take; or one of ``points``, if it must."""

    encoder: Encoder
    name: str
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    missing: Flags
    points: Floats | None
    lowest: Floats
    highest: Floats
    pinned: Floats | None = None

    @classmethod
    def of(cls, encoder: Encoder, name: str, codes: npt.NDArray[np.int64], missing: Flags, conditions: Sequence[Condition]) -> _Box:
        starts = encoder.bin_cells(name)
        bins = np.where(missing, 0, codes)
        lowest, highest = encoder.cell_ends(name)
        box = cls(encoder, name, starts[bins], starts[bins + 1] - 1, missing, None, lowest, highest)
        points = [np.array(condition.points) for condition in conditions if condition.points]
        for condition in conditions:
            some = np.flatnonzero(condition.some(lowest, highest))
            if condition.points is None and len(some):
                box.low, box.high = np.maximum(box.low, some[0]), np.minimum(box.high, some[-1])
        if points:
            box.points = np.sort(points[0])
        return box

    @property
    def empty(self) -> Flags:
        return self.low > self.high

    @property
    def loose(self) -> bool:
        """Whether another draw can give another value."""
        return self.pinned is None and bool(np.any(self.highest[np.maximum(self.high, self.low)] > self.lowest[self.low]))

    def pin(self, owners: npt.NDArray[np.int64], rng: np.random.Generator) -> None:
        """Give all rows of an owner the same value, drawn from what the boxes of its rows have in common."""
        starts = np.flatnonzero(np.r_[True, np.diff(owners) > 0])
        if not len(owners):
            return
        self.low = np.maximum.reduceat(self.low, starts)[owners]
        self.high = np.minimum.reduceat(self.high, starts)[owners]
        self.pinned = self.draw(starts, rng)[owners]
        cells = np.searchsorted(self.highest, self.pinned, side="left")
        sound = ~self.empty
        self.low, self.high = np.where(sound, cells, self.low), np.where(sound, cells, self.high)

    def draw(self, rows: npt.NDArray[np.int64], rng: np.random.Generator) -> Floats:
        """A value for each of ``rows``; any value where it is missing or the box is empty."""
        if self.pinned is not None:
            return self.pinned[rows]
        low, high = self.low[rows], np.maximum(self.high[rows], self.low[rows])
        if self.points is not None:
            first = np.searchsorted(self.points, self.lowest[low], side="left")
            count = np.searchsorted(self.points, self.highest[high], side="right") - first
            return np.asarray(self.points[np.minimum(first + rng.integers(np.maximum(count, 1)), len(self.points) - 1)])
        return self.encoder.values_in(self.name, low + rng.integers(high - low + 1), rng)


def _tighten(order: Order, boxes: Mapping[str, _Box]) -> None:
    """Take from the boxes what no sound row can have: a uniform draw from what is left is uniform over the sound values when others are
    thrown away.
    """
    present = [boxes[name] for name in order.fields if name in boxes]
    if not present:
        return
    rows = len(present[0].low)
    least = np.full(rows, -np.inf)
    for box in present:
        first = np.searchsorted(box.highest, least, side="right" if order.strict else "left")
        box.low = np.where(box.missing, box.low, np.minimum(np.maximum(box.low, first), len(box.lowest) - 1))
        box.high = np.where(~box.missing & (first >= len(box.lowest)), -1, box.high)
        least = np.where(box.missing, least, np.maximum(least, box.lowest[box.low]))
    most = np.full(rows, np.inf)
    for box in reversed(present):
        last = np.searchsorted(box.lowest, most, side="left" if order.strict else "right") - 1
        box.high = np.where(box.missing, box.high, np.minimum(box.high, last))
        most = np.where(box.missing, most, np.minimum(most, box.highest[np.maximum(box.high, 0)]))
