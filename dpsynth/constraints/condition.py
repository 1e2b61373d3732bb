"""A condition on one column: some of its values, a range, or missing. Used by declared relations and by ``where``.

Columns are compared as floats: the number of the level for a listed column, the number itself, or seconds since 1970 for a moment.
All of them lie within 2**53, so floats hold them exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from dpsynth import durations
from dpsynth.errors import SchemaError

if TYPE_CHECKING:
    from dpsynth.schema import Field

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_RANGE_KEYS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


class Column(NamedTuple):
    """Cells of one column: ``values`` as floats (anything where missing) and which are ``missing``."""

    values: Floats
    missing: Flags


Columns = Mapping[str, Column]


@dataclass(frozen=True)
class Condition:
    """Holds for the cells of ``field`` that are one of ``points`` if given, else from ``low`` to ``high``; missing as ``missing`` says."""

    field: str
    points: tuple[float, ...] | None = None
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False
    missing: bool = False

    def holds(self, column: Column) -> Flags:
        """For which cells it holds."""
        return np.where(column.missing, self.missing, self._inside(column.values))

    def _inside(self, values: Floats) -> Flags:
        if self.points is not None:
            return np.isin(values, np.array(self.points))
        above = values > self.low if self.open_low else values >= self.low
        below = values < self.high if self.open_high else values <= self.high
        return np.asarray(above & below)

    def whole(self, lowest: Floats, highest: Floats) -> Flags:
        """Which cells, each an interval of values, it holds for throughout."""
        same = lowest == highest if self.points is not None else True
        return np.asarray(same & self._inside(lowest) & self._inside(highest))

    def some(self, lowest: Floats, highest: Floats) -> Flags:
        """Which cells, each an interval of values, it holds for somewhere."""
        if self.points is not None:
            points = np.sort(np.array(self.points))
            return np.searchsorted(points, lowest, side="left") < np.searchsorted(points, highest, side="right")
        above = highest > self.low if self.open_low else highest >= self.low
        below = lowest < self.high if self.open_high else lowest <= self.high
        return np.asarray(above & below)


def parse(field: Field, said: Any, where: str) -> Condition:
    """The condition that JSON states about ``field``; ``where`` is its place, for errors.

    A value, a list of values, null for missing, or an object: a range (``minimum``, ``maximum``, ``exclusiveMinimum``,
    ``exclusiveMaximum``) or ``{"missing": true}`` or ``{"missing": false}``.
    """
    if isinstance(said, Mapping):
        return _parse_object(field, said, where)
    values = list(said) if isinstance(said, list | tuple | set | frozenset) else [said]
    if not values:
        _refuse(where, "is an empty list; name the values it is about")
    missing = any(value is None for value in values)
    if missing and not field.nullable:
        _refuse(where, f"is about missing values, but field {field.name!r} is not dp:nullable")
    points = tuple(sorted({value_of(field, value, where) for value in values if value is not None}))
    return Condition(field.name, points, missing=missing)


def _parse_object(field: Field, said: Mapping[str, Any], where: str) -> Condition:
    if set(said) == {"missing"}:
        if not isinstance(said["missing"], bool):
            _refuse(f"{where}.missing", "must be true or false")
        if not field.nullable:
            _refuse(where, f"is about missing values, but field {field.name!r} is not dp:nullable")
        return Condition(field.name, (), missing=True) if said["missing"] else Condition(field.name)
    unknown = sorted(set(map(str, said)) - set(_RANGE_KEYS))
    if unknown or not said:
        _refuse(where, f"must have {', '.join(_RANGE_KEYS)} or missing" + (f"; it has {unknown[0]!r}" if unknown else ""))
    if not field.has_bounds:
        _refuse(where, f"is a range, but field {field.name!r} has type={field.type}; list its values")
    for one, other in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if one in said and other in said:
            _refuse(where, f"has {one} and {other}; keep one")
    low = said.get("minimum", said.get("exclusiveMinimum"))
    high = said.get("maximum", said.get("exclusiveMaximum"))
    made = Condition(
        field.name,
        None,
        -math.inf if low is None else ordered_value(field, low, where),
        math.inf if high is None else ordered_value(field, high, where),
        "exclusiveMinimum" in said,
        "exclusiveMaximum" in said,
    )
    if made.low > made.high or (made.low == made.high and (made.open_low or made.open_high)):
        _refuse(where, "is an empty range")
    return made


def value_of(field: Field, value: Any, where: str) -> float:
    """A declared value of ``field`` as the float it is compared by; it must lie in the column's domain."""
    if not field.has_bounds:
        text = (
            str(value).lower() if isinstance(value, bool) else str(int(value) if isinstance(value, float) and value.is_integer() else value)
        )
        levels = [level.strip() for level in field.levels]
        wanted = text.strip().lower() if field.type == "boolean" else text.strip()
        if wanted not in levels:
            _refuse(where, f"names a value that is not among those of field {field.name!r}")
        return float(levels.index(wanted))
    number = ordered_value(field, value, where)
    low, high = bounds(field)
    if not low <= number <= high:
        _refuse(where, f"names a value outside the bounds of field {field.name!r}")
    return number


def ordered_value(field: Field, value: Any, where: str) -> float:
    """A number, or a moment as seconds since 1970; of an anchored date the distance from its anchor, of a duration its steps."""
    if field.type == "duration":
        return float(durations.declared(field.name, field.resolution, where, value))
    if field.anchor is not None and (isinstance(value, bool) or not _numeric(value)):
        _refuse(where, f"must be a distance from {field.anchor!r} as a number, because field {field.name!r} is counted from it")
    field = field.counted
    if field.type in ("date", "datetime"):
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                _refuse(where, f"must be an ISO 8601 {field.type}, e.g. 2024-01-31")
        if not isinstance(value, date):
            _refuse(where, f"must be a {field.type} as text, e.g. 2024-01-31")
        return seconds_of(value)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            _refuse(where, f"must be a number, as field {field.name!r} is")
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating) or not math.isfinite(value):
        _refuse(where, f"must be a finite number, as field {field.name!r} is")
    return float(value)


def _numeric(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def seconds_of(moment: date) -> float:
    """Seconds since 1970 of a date or datetime; one with a time zone is brought to UTC."""
    whole = moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)
    if whole.tzinfo is not None:
        whole = whole.astimezone(UTC).replace(tzinfo=None)
    return float((whole - datetime(1970, 1, 1)).total_seconds())


def bounds(field: Field) -> tuple[float, float]:
    """The least and the greatest value of a column, as floats."""
    if not field.has_bounds:
        return 0.0, float(len(field.levels) - 1)
    low, high = field.minimum, field.maximum
    if isinstance(low, date) and isinstance(high, date):
        return seconds_of(low), seconds_of(high)
    assert isinstance(low, int | float) and isinstance(high, int | float)
    return float(low), float(high)


def _refuse(where: str, rule: str) -> NoReturn:
    raise SchemaError(f"{where} {rule}")
