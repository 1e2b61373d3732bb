"""Contradictions among declared relations, found before a record is read: cycles, and columns left without a legal value.

A search over classes of values that no relation tells apart, with intervals propagated along orders and sums. It refuses only what is
proven impossible: where the search grows too long it gives up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dpsynth.constraints.condition import Column, Condition, bounds
from dpsynth.constraints.relations import Determines, Forbidden, Order, Relation, Relations, Sum
from dpsynth.errors import SchemaError

if TYPE_CHECKING:
    from dpsynth.schema import Field

_MOST_STEPS = 20_000
# Classes of one column whose legality is looked at one by one, for advice.
_MOST_CLASSES = 64


@dataclass(frozen=True)
class _Class:
    """Values of one column that no relation tells apart: missing, or all from ``low`` to ``high``; of a listed column one of them."""

    low: float
    high: float
    missing: bool = False


class _TooLong(Exception):
    """The search was given up."""


def check(relations: Relations, fields: Mapping[str, Field]) -> None:
    """Refuse relations that contradict each other or the declared domains."""
    derived: dict[str, Relation] = {}
    for relation in relations:
        name = relation.field if isinstance(relation, Determines) else relation.derived if isinstance(relation, Sum) else None
        if name is not None and name in derived:
            raise SchemaError(f"dp:constraints compute field {name!r} twice: {derived[name].text}; {relation.text}")
        if name is not None:
            derived[name] = relation
    for relation in relations.learned:
        computed = next((name for name in relation.by if name in relations.rules), None)
        if computed is not None:
            raise SchemaError(
                f"dp:constraints determine field {relation.field!r} from {computed!r}, which is computed itself; give it a map"
            )
    _refuse_cycles([relation for relation in relations if isinstance(relation, Order)])
    for group in components(relations):
        try:
            if not _satisfiable(group, fields, {}):
                texts = "; ".join(relation.text for relation in group)
                names = ", ".join(dict.fromkeys(name for relation in group for name in relation.fields))
                raise SchemaError(f"dp:constraints leave no legal row for fields {names}: {texts}")
        except _TooLong:
            continue


def advice(relations: Relations, fields: Mapping[str, Field]) -> Iterator[str]:
    """Values that the relations rule out altogether, and relations that rule out nothing."""
    for group in components(relations):
        for name in dict.fromkeys(name for relation in group for name in relation.fields):
            classes = _classes(name, group, fields)
            if name in relations.rules or len(classes) > _MOST_CLASSES:
                continue
            for one in classes:
                try:
                    if not _satisfiable(group, fields, {name: one}):
                        yield f"field {name!r} can never be {_words(fields[name], one)} under dp:constraints; tighten its domain"
                except _TooLong:
                    break


def components(relations: Relations) -> list[tuple[Relation, ...]]:
    """Relations in groups that share no column."""
    groups: list[tuple[set[str], list[Relation]]] = []
    for relation in relations:
        names, members = set(relation.fields), [relation]
        for group in [group for group in groups if group[0] & names]:
            names |= group[0]
            members = [*group[1], *members]
            groups.remove(group)
        groups.append((names, members))
    place = {id(relation): i for i, relation in enumerate(relations)}
    return [tuple(sorted(members, key=lambda r: place[id(r)])) for _, members in groups]


def _refuse_cycles(orders: list[Order]) -> None:
    above: dict[str, set[str]] = {}
    for order in orders:
        for i, name in enumerate(order.fields):
            above.setdefault(name, set()).update(order.fields[i + 1 :])
    for start in above:
        seen, stack = set(), list(above[start])
        while stack:
            name = stack.pop()
            if name == start:
                texts = "; ".join(order.text for order in orders)
                raise SchemaError(f"dp:constraints order field {start!r} before itself: {texts}")
            if name not in seen:
                seen.add(name)
                stack.extend(above.get(name, ()))


# --- the search ---------------------------------------------------------------------------------------------------------------------


def _satisfiable(group: tuple[Relation, ...], fields: Mapping[str, Field], fixed: Mapping[str, _Class]) -> bool:
    names = list(dict.fromkeys(name for relation in group for name in relation.fields))
    choices = {name: [fixed[name]] if name in fixed else _classes(name, group, fields) for name in names}
    # Columns with few classes first; those that others determine last, since they have one choice left.
    made = {r.field for r in group if isinstance(r, Determines) and r.table is not None}
    names.sort(key=lambda name: (name in made, len(choices[name])))
    steps = 0

    def extend(taken: dict[str, _Class]) -> bool:
        nonlocal steps
        steps += 1
        if steps > _MOST_STEPS:
            raise _TooLong
        if not all(_possible(relation, taken) for relation in group) or not _intervals_fit(group, taken, fields):
            return False
        if len(taken) == len(names):
            return True
        name = names[len(taken)]
        return any(extend({**taken, name: one}) for one in choices[name])

    return extend({})


def _possible(relation: Relation, taken: Mapping[str, _Class]) -> bool:
    """Whether the classes chosen so far can satisfy a discrete relation; orders and sums are left to the intervals."""
    if not all(name in taken for name in relation.fields):
        return True
    if isinstance(relation, Forbidden):
        return not all(_holds(condition, taken[condition.field]) for condition in relation.conditions)
    if isinstance(relation, Determines) and relation.table is not None:
        columns = {name: _column(taken[name]) for name in relation.by}
        value, one = relation.value(columns), taken[relation.field]
        return bool(value.missing[0]) == one.missing and (one.missing or one.low <= value.values[0] <= one.high)
    return True


def _holds(condition: Condition, one: _Class) -> bool:
    return bool(condition.holds(_column(one))[0])


def _column(one: _Class) -> Column:
    return Column(np.array([one.low]), np.array([one.missing]))


def _intervals_fit(group: tuple[Relation, ...], taken: Mapping[str, _Class], fields: Mapping[str, Field]) -> bool:
    """Whether some values inside the chosen intervals satisfy every order and sum among them; propagation only, so never a false no."""
    low = {name: one.low for name, one in taken.items() if not one.missing}
    high = {name: one.high for name, one in taken.items() if not one.missing}
    for _ in range(len(low) + 1):
        for relation in group:
            if isinstance(relation, Order):
                names = [name for name in relation.fields if name in low]
                for a, b in pairwise(names):
                    step = 1.0 if relation.strict and {fields[a].type, fields[b].type} == {"integer"} else 0.0
                    low[b] = max(low[b], low[a] + step)
                    high[a] = min(high[a], high[b] - step)
                    if relation.strict and low[a] >= high[b]:
                        return False
            elif isinstance(relation, Sum) and all(name in low for name in relation.fields):
                low[relation.total] = max(low[relation.total], sum(low[part] for part in relation.parts))
                high[relation.total] = min(high[relation.total], sum(high[part] for part in relation.parts))
            elif isinstance(relation, Sum) and all(name in taken for name in relation.fields):
                lacking = any(taken[part].missing for part in relation.parts)
                if lacking != taken[relation.total].missing:
                    return False
        if any(low[name] > high[name] for name in low):
            return False
    return True


def _classes(name: str, group: tuple[Relation, ...], fields: Mapping[str, Field]) -> list[_Class]:
    field = fields[name]
    conditions = [c for relation in group if isinstance(relation, Forbidden) for c in relation.conditions if c.field == name]
    low, high = bounds(field)
    missing = [_Class(0.0, 0.0, missing=True)] if field.nullable else []
    if field.has_bounds:
        return [*_pieces(field, low, high, conditions, group), *missing]
    maps = [relation for relation in group if isinstance(relation, Determines) and name in relation.fields]
    seen: dict[object, _Class] = {}
    for code in range(len(field.levels)):
        one = _Class(float(code), float(code))
        signature: object = code if maps else tuple(_holds(condition, one) for condition in conditions)
        seen.setdefault(signature, one)
    return [*seen.values(), *missing]


def _pieces(field: Field, low: float, high: float, conditions: list[Condition], group: tuple[Relation, ...]) -> list[_Class]:
    """The bounds, cut at every value that a condition or a map names: those values, and the stretches between."""
    marks = {value for c in conditions for value in (c.points or (c.low, c.high)) if low <= value <= high}
    for relation in group:
        if isinstance(relation, Determines) and relation.field == field.name and relation.table is not None:
            marks |= {value for value in relation.table if not math.isnan(value)}
    whole = field.type == "integer"
    pieces, start = [], low
    for mark in sorted(marks):
        end = mark - 1.0 if whole else float(np.nextafter(mark, -math.inf))
        if start <= end:
            pieces.append(_Class(start, end))
        pieces.append(_Class(mark, mark))
        start = mark + 1.0 if whole else float(np.nextafter(mark, math.inf))
    if start <= high:
        pieces.append(_Class(start, high))
    return pieces


def _words(field: Field, one: _Class) -> str:
    if one.missing:
        return "missing"
    if not field.has_bounds:
        return repr(field.levels[int(one.low)])
    if field.type in ("date", "datetime"):
        low, high = (str(np.datetime64(int(value), "s")).removesuffix("T00:00:00") for value in (one.low, one.high))
        return low if low == high else f"from {low} to {high}"
    return f"{one.low:g}" if one.low == one.high else f"between {one.low:g} and {one.high:g}"
