"""The kinds of relation a schema can declare, each with its JSON, its check on a table, and its words.

``forbidden``, ``notNullIf`` and ``nullIf`` say which cells never meet; ``order`` and ``sum`` are about numbers and moments; ``determines``
makes one column a function of others. A missing cell satisfies an order.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth import durations
from dpsynth.constraints.condition import Column, Columns, Condition, Flags, Floats, bounds, parse, value_of
from dpsynth.errors import SchemaError

if TYPE_CHECKING:
    from dpsynth.schema import Field

# Combinations of determining values that a public map may have to list.
_LARGEST_MAP = 1_000_000


@dataclass(frozen=True)
class Forbidden:
    """Cells that never meet in a row: not all of ``conditions``, each on another column, hold at once."""

    conditions: tuple[Condition, ...]
    source: str

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns it speaks of."""
        return tuple(condition.field for condition in self.conditions)

    def violated(self, columns: Columns) -> Flags:
        """Which rows break it."""
        met = [condition.holds(columns[condition.field]) for condition in self.conditions]
        return np.asarray(np.logical_and.reduce(met))

    @property
    def text(self) -> str:
        """It in words."""
        said = json.loads(self.source)
        when = ", ".join(f"{name} {_words(value)}" for name, value in said["when"].items())
        if said["kind"] == "forbidden":
            return f"never together: {when}"
        return f"{said['field']} is {'never' if said['kind'] == 'notNullIf' else 'always'} missing when {when}"


@dataclass(frozen=True)
class Order:
    """Values that increase from each of ``fields`` to the next, or with ``strict`` strictly so; missing ones are passed over."""

    fields: tuple[str, ...]
    strict: bool
    source: str

    def violated(self, columns: Columns) -> Flags:
        """Which rows break it."""
        first = columns[self.fields[0]]
        so_far: Floats = np.where(first.missing, -np.inf, first.values)
        broken = np.zeros(len(so_far), dtype=bool)
        for name in self.fields[1:]:
            column = columns[name]
            below = column.values <= so_far if self.strict else column.values < so_far
            broken |= below & ~column.missing
            so_far = np.where(column.missing, so_far, np.maximum(so_far, column.values))
        return broken

    @property
    def text(self) -> str:
        """It in words."""
        return (" < " if self.strict else " <= ").join(self.fields)


@dataclass(frozen=True)
class Sum:
    """``total`` is the sum of ``parts``, missing where one of them is, and within its bounds. ``decimals`` are the parts' own."""

    total: str
    parts: tuple[str, ...]
    decimals: int | None
    low: float
    high: float
    source: str

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns it speaks of, the total first."""
        return (self.total, *self.parts)

    @property
    def derived(self) -> str:
        """The column that is computed and not drawn."""
        return self.total

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that `value` reads."""
        return self.parts

    def value(self, columns: Columns) -> Column:
        """The total of each row, added from left to right."""
        values = np.zeros(len(columns[self.parts[0]].values))
        missing = np.zeros(len(values), dtype=bool)
        for part in self.parts:
            values = values + columns[part].values
            missing |= columns[part].missing
        return Column(values if self.decimals is None else np.round(values, self.decimals), missing)

    def violated(self, columns: Columns) -> Flags:
        """Which rows break it."""
        total, right = columns[self.total], self.value(columns)
        outside = (right.values < self.low) | (right.values > self.high)
        return np.where(right.missing | total.missing, right.missing != total.missing, outside | (total.values != right.values))

    @property
    def text(self) -> str:
        """It in words."""
        return f"{self.total} = {' + '.join(self.parts)}"


@dataclass(frozen=True)
class Determines:
    """``field`` is a function of the columns ``by``.

    ``table`` is the public map, row-major over the levels of ``by`` (a missing level last, where there is one), NaN for missing. Without
    one, the function is the likeliest value under the noisy model, and ``size`` counts the levels of ``field``.
    """

    by: tuple[str, ...]
    field: str
    shape: tuple[int, ...]
    size: int
    table: tuple[float, ...] | None
    source: str

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns it speaks of, the determined one last."""
        return (*self.by, self.field)

    @property
    def derived(self) -> str | None:
        """The column that is computed and not drawn; None without a public map."""
        return None if self.table is None else self.field

    @property
    def needs(self) -> tuple[str, ...]:
        """The columns that `value` reads."""
        return self.by

    def place(self, columns: Columns) -> npt.NDArray[np.int64]:
        """The place of each row's determining values in the map."""
        index = np.zeros(len(columns[self.by[0]].values), dtype=np.int64)
        for name, size in zip(self.by, self.shape, strict=True):
            column = columns[name]
            index = index * size + np.where(column.missing, size - 1, column.values).astype(np.int64)
        return index

    def value(self, columns: Columns, learned: npt.NDArray[np.float64] | None = None) -> Column:
        """What the map, or a ``learned`` one, makes of each row."""
        table = np.array(self.table) if learned is None else learned
        found = table[self.place(columns)]
        missing = np.isnan(found)
        return Column(np.where(missing, 0.0, found), missing)

    def violated(self, columns: Columns) -> Flags:
        """Which rows break it; without a public map, those that differ from the commonest value beside the same determining values."""
        column = columns[self.field]
        if self.table is not None:
            right = self.value(columns)
            return np.where(right.missing | column.missing, right.missing != column.missing, right.values != column.values)
        codes = np.where(column.missing, self.size, column.values).astype(np.int64)
        place = self.place(columns)
        pairs, times = np.unique(place * (self.size + 1) + codes, return_counts=True)
        commonest: dict[int, tuple[int, int]] = {}
        for pair, count in zip(pairs.tolist(), times.tolist(), strict=True):
            at, code = divmod(pair, self.size + 1)
            commonest[at] = max(commonest.get(at, (0, 0)), (count, code))
        where, inverse = np.unique(place, return_inverse=True)
        wanted = np.array([commonest[at][1] for at in where.tolist()], dtype=np.int64)
        return np.asarray(codes != (wanted[inverse] if len(wanted) else codes))

    @property
    def text(self) -> str:
        """It in words."""
        return f"{', '.join(self.by)} {'determine' if len(self.by) > 1 else 'determines'} {self.field}"


Relation = Forbidden | Order | Sum | Determines


@dataclass(frozen=True)
class Relations:
    """The declared relations of one schema."""

    items: tuple[Relation, ...] = ()

    def __iter__(self) -> Iterator[Relation]:
        return iter(self.items)

    def __bool__(self) -> bool:
        return bool(self.items)

    @classmethod
    def from_list(cls, said: Sequence[Any], fields: Mapping[str, Field]) -> Relations:
        """The relations in parsed JSON (``dp:constraints``); a mistake is an error that names its place."""
        return cls(tuple(_relation(item, f"dp:constraints[{place}]", fields) for place, item in enumerate(said)))

    def to_list(self) -> list[Any]:
        """Plain JSON; ``from_list`` reads it back to equal relations."""
        return [json.loads(relation.source) for relation in self.items]

    @cached_property
    def rules(self) -> dict[str, Sum | Determines]:
        """Columns that are computed rather than modelled, each after those it needs."""
        made = {r.derived: r for r in self.items if isinstance(r, Sum | Determines) and r.derived is not None}
        ordered: dict[str, Sum | Determines] = {}

        def visit(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                raise SchemaError(f"dp:constraints compute field {name!r} from itself, by way of {', '.join(above)}")
            if name in made and name not in ordered:
                for other in made[name].needs:
                    visit(other, (*above, name))
                ordered[name] = made[name]

        for name in made:
            visit(name, ())
        return ordered

    @cached_property
    def learned(self) -> tuple[Determines, ...]:
        """Functions that the noisy model decides, each after those that decide what it needs."""
        left = [r for r in self.items if isinstance(r, Determines) and r.table is None]
        ordered: list[Determines] = []
        while left:
            ready = [r for r in left if not any(other.field in r.by for other in left)]
            if not ready:
                raise SchemaError(f"dp:constraints determine field {left[0].field!r} from itself")
            ordered += ready
            left = [r for r in left if r not in ready]
        return tuple(ordered)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """Every column that a relation is about."""
        return tuple(dict.fromkeys(name for relation in self.items for name in relation.fields))

    def violated(self, columns: Columns) -> Flags:
        """Which rows break any relation."""
        return np.asarray(np.logical_or.reduce([relation.violated(columns) for relation in self.items]))


# --- from JSON ----------------------------------------------------------------------------------------------------------------------


def _relation(said: Any, where: str, fields: Mapping[str, Field]) -> Relation:
    if not isinstance(said, Mapping):
        raise SchemaError(f"{where} must be an object")
    kind = said.get("kind")
    if not isinstance(kind, str) or kind not in _READERS:
        raise SchemaError(f"{where}.kind must be one of {', '.join(_READERS)}")
    reader, required, optional = _READERS[kind]
    for key in required:
        if key not in said:
            raise SchemaError(f"{where} has no {key}; a relation of kind {kind} needs {', '.join(required)}")
    unknown = sorted(set(said) - {"kind", "description", *required, *optional})
    if unknown:
        raise SchemaError(f"{where} has the unknown key {unknown[0]!r}; known keys are {', '.join(('kind', *required, *optional))}")
    source = json.dumps(said, ensure_ascii=True)
    return reader(said, where, fields, source)


def _field(name: Any, where: str, fields: Mapping[str, Field]) -> Field:
    if not isinstance(name, str) or name not in fields:
        shown = repr(name) if isinstance(name, str) else "something else than text"
        raise SchemaError(f"{where} names {shown}, which is not a field; the schema has {', '.join(fields)}")
    if fields[name].role == "identifier":
        raise SchemaError(f"{where} names {name!r}, an identifier; identifiers are made up anew and take part in no relation")
    if fields[name].open:
        raise SchemaError(f'{where} names {name!r}, whose categories are found under the budget ("dp:categories"); list them instead')
    return fields[name]


def _distinct(names: Any, where: str, fields: Mapping[str, Field], least: int) -> list[Field]:
    if not isinstance(names, list) or len(names) < least:
        raise SchemaError(f"{where} must be a list of at least {least} field{'s' if least > 1 else ''}")
    found = [_field(name, f"{where}[{place}]", fields) for place, name in enumerate(names)]
    for place, field in enumerate(found):
        if field in found[:place]:
            raise SchemaError(f"{where}[{place}] names {field.name!r} twice")
    return found


def _conditions(said: Any, where: str, fields: Mapping[str, Field]) -> list[Condition]:
    if not isinstance(said, Mapping) or not said:
        raise SchemaError(f"{where} must be an object of fields and their values")
    return [parse(_field(name, where, fields), value, f"{where}.{name}") for name, value in said.items()]


def _forbidden(said: Mapping[str, Any], where: str, fields: Mapping[str, Field], source: str) -> Forbidden:
    conditions = _conditions(said["when"], f"{where}.when", fields)
    if len(conditions) < 2:
        name = conditions[0].field
        raise SchemaError(f"{where}.when is about field {name!r} alone; change its categories or bounds instead")
    return Forbidden(tuple(conditions), source)


def _null_rule(said: Mapping[str, Any], where: str, fields: Mapping[str, Field], source: str) -> Forbidden:
    field = _field(said["field"], f"{where}.field", fields)
    conditions = _conditions(said["when"], f"{where}.when", fields)
    if any(condition.field == field.name for condition in conditions):
        raise SchemaError(f"{where}.when is about field {field.name!r} itself; name other columns")
    if not field.nullable:
        raise SchemaError(f'{where}.field={field.name!r} can never be missing; add "dp:nullable": true to it or remove the relation')
    # What must not happen: missing for notNullIf, anything else for nullIf.
    wrong = Condition(field.name, (), missing=True) if said["kind"] == "notNullIf" else Condition(field.name)
    return Forbidden((*conditions, wrong), source)


def _order(said: Mapping[str, Any], where: str, fields: Mapping[str, Field], source: str) -> Order:
    found = _distinct(said["fields"], f"{where}.fields", fields, 2)
    for place, field in enumerate(found):
        if field.anchor is not None:
            raise SchemaError(
                f"{where}.fields[{place}]={field.name!r} is counted from {field.anchor!r} (dp:anchor), so it takes part in no order; "
                'its dp:offset bounds the distance, e.g. "minimum": 0 for not before it'
            )
        if not field.has_bounds:
            raise SchemaError(
                f"{where}.fields[{place}]={field.name!r} has type={field.type}; an order is about numbers, dates, datetimes and durations"
            )
        if _measure(field) != _measure(found[0]):
            raise SchemaError(f"{where}.fields compares {found[0].name!r} ({found[0].type}) with {field.name!r} ({field.type})")
    strict = said.get("strict", False)
    if not isinstance(strict, bool):
        raise SchemaError(f"{where}.strict must be true or false")
    return Order(tuple(field.name for field in found), strict, source)


def _measure(field: Field) -> str:
    """What the values of a column with bounds can be compared with."""
    if field.type == "duration":
        return f"durations in {durations.step_of(field)}s"
    return "moments" if field.type in ("date", "datetime") else "numbers"


def _sum(said: Mapping[str, Any], where: str, fields: Mapping[str, Field], source: str) -> Sum:
    total = _field(said["total"], f"{where}.total", fields)
    parts = _distinct(said["parts"], f"{where}.parts", fields, 2)
    for place, field in [("total", total), *((f"parts[{i}]", part) for i, part in enumerate(parts))]:
        if field.type not in ("integer", "number"):
            raise SchemaError(f"{where}.{place}={field.name!r} has type={field.type}; a sum is about numbers")
        if total.type == "integer" and field.type != "integer":
            raise SchemaError(f"{where}.total={total.name!r} is an integer, but its part {field.name!r} is not")
    if total in parts:
        raise SchemaError(f"{where}.parts names the total {total.name!r}")
    for part in parts:
        if part.nullable and not total.nullable:
            raise SchemaError(
                f"{where}.total={total.name!r} must be dp:nullable, because its part {part.name!r} is; the sum is then missing"
            )
    low, high = bounds(total)
    return Sum(total.name, tuple(part.name for part in parts), _decimals(total, parts, where), low, high, source)


def _decimals(total: Field, parts: Iterable[Field], where: str) -> int | None:
    """Decimal places that all parts have; None where one has no step. A declared step of the total must hold every sum."""
    places = [_places(part) for part in parts]
    finest = None if any(place is None for place in places) else max(place or 0 for place in places)
    if total.resolution is not None:
        own = _places(total)
        if finest is None or own is None or own < finest or not math.isclose(float(total.resolution), 10.0**-own):
            raise SchemaError(
                f"{where}.total={total.name!r} has a dp:resolution that its parts do not have; remove it, it follows from the parts"
            )
    return finest


def _places(field: Field) -> int | None:
    if field.type == "integer":
        return 0
    if field.resolution is None:
        return None
    shown = (np.format_float_positional(float(str(value)), trim="-") for value in (field.resolution, field.minimum))
    return max(len(text.partition(".")[2]) for text in shown)


def _determines(said: Mapping[str, Any], where: str, fields: Mapping[str, Field], source: str) -> Determines:
    by = _distinct([said["by"]] if isinstance(said["by"], str) else said["by"], f"{where}.by", fields, 1)
    field = _field(said["field"], f"{where}.field", fields)
    if field in by:
        raise SchemaError(f"{where}.field={field.name!r} is among the columns that determine it")
    for place, column in enumerate(by):
        if column.has_bounds:
            raise SchemaError(f"{where}.by[{place}]={column.name!r} has type={column.type}; what determines must list its values")
    shape = tuple(len(column.levels) + column.nullable for column in by)
    names = tuple(column.name for column in by)
    if "map" not in said:
        if "default" in said:
            raise SchemaError(f"{where}.default is for a map; there is none")
        if field.has_bounds:
            raise SchemaError(f"{where}.field={field.name!r} has type={field.type}; without a map it must list its values")
        return Determines(names, field.name, shape, len(field.levels), None, source)
    if field.has_bounds and field.type != "integer":
        raise SchemaError(f"{where}.field={field.name!r} has type={field.type}; a map gives categories, booleans or integers")
    if math.prod(shape) > _LARGEST_MAP:
        raise SchemaError(f"{where}.map would need {math.prod(shape)} entries; at most {_LARGEST_MAP} are supported")
    table = _table(said, where, by, shape, field)
    return Determines(names, field.name, shape, 0 if field.has_bounds else len(field.levels), table, source)


def _table(said: Mapping[str, Any], where: str, by: list[Field], shape: tuple[int, ...], field: Field) -> tuple[float, ...]:
    """The map as one number per combination of determining levels; every one must have a value."""
    table = np.full(shape, np.inf)
    entries = said["map"]
    if isinstance(entries, Mapping) and len(by) == 1:
        rows = [([key], value, f"{where}.map[{key!r}]") for key, value in entries.items()]
    elif isinstance(entries, list) and all(isinstance(entry, list) and len(entry) == len(by) + 1 for entry in entries):
        rows = [(entry[:-1], entry[-1], f"{where}.map[{place}]") for place, entry in enumerate(entries)]
    else:
        shape_word = "an object, or " if len(by) == 1 else ""
        raise SchemaError(f"{where}.map must be {shape_word}a list of lists: {', '.join(f.name for f in by)}, {field.name}")
    for keys, value, place in rows:
        at = tuple(_level(column, key, place) for column, key in zip(by, keys, strict=True))
        if not np.isinf(table[at]):
            raise SchemaError(f"{place} gives a second value to the same combination")
        table[at] = _result(field, value, place)
    absent = np.argwhere(np.isinf(table))
    if len(absent):
        if "default" not in said:
            first = ", ".join(_named(column, int(code)) for column, code in zip(by, absent[0], strict=True))
            raise SchemaError(
                f"{where}.map has no value for {len(absent)} of {table.size} combinations, e.g. {first}; add them or a default"
            )
        table[np.isinf(table)] = _result(field, said["default"], f"{where}.default")
    return tuple(table.ravel().tolist())


def _level(field: Field, value: Any, where: str) -> int:
    if value is None:
        if not field.nullable:
            raise SchemaError(f"{where} is about missing values, but field {field.name!r} is not dp:nullable")
        return len(field.levels)
    return int(value_of(field, value, where))


def _result(field: Field, value: Any, where: str) -> float:
    if value is None:
        if not field.nullable:
            raise SchemaError(f"{where} is null, but field {field.name!r} is not dp:nullable")
        return math.nan
    number = value_of(field, value, where)
    if field.type == "integer" and not number.is_integer():
        raise SchemaError(f"{where} must be a whole number, as field {field.name!r} is")
    return number


def _named(field: Field, code: int) -> str:
    return f"{field.name} missing" if code == len(field.levels) else f"{field.name}={field.levels[code]!r}"


def _words(value: Any) -> str:
    """A condition of the schema in words."""
    if isinstance(value, Mapping):
        if "missing" in value:
            return "missing" if value["missing"] else "not missing"
        signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
        return " and ".join(f"{signs[key]} {bound}" for key, bound in value.items())
    if isinstance(value, list):
        return "in " + ", ".join("missing" if one is None else str(one) for one in value)
    return "missing" if value is None else f"= {str(value).lower() if isinstance(value, bool) else value}"


_Reader = Callable[[Mapping[str, Any], str, Mapping[str, "Field"], str], Relation]
_READERS: dict[str, tuple[_Reader, tuple[str, ...], tuple[str, ...]]] = {
    "forbidden": (_forbidden, ("when",), ()),
    "determines": (_determines, ("by", "field"), ("map", "default")),
    "order": (_order, ("fields",), ("strict",)),
    "sum": (_sum, ("total", "parts"), ()),
    "notNullIf": (_null_rule, ("field", "when"), ()),
    "nullIf": (_null_rule, ("field", "when"), ()),
}
