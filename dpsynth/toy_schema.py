"""The shape of the table that code audits play on: the caller's columns, cut to what a few seconds allow, and nobody's rows.

The rule is public and fixed: one column of every kind first, then the widest, `MOST_COLUMNS` in all; long lists and long rows of bins are
cut to `MOST_LEVELS`. Standard columns are added where the table would otherwise become so small that a mechanism treats it differently.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from dpsynth.grids import bin_starts, grid_of
from dpsynth.marginals import DP
from dpsynth.schema import PERSON, ROWS, Field, Schema

MOST_COLUMNS = 6
MOST_LEVELS = 64
# A caller's joint of more cells than this keeps as many in the toy: a mechanism that puts small tables into one model does not do so here.
LARGE_JOINT = 400_000
# Bins, or categories, that a column is counted with while they are still to be found under the budget.
_PENDING_BINS = 16

# A column of every kind the encoder knows: nullable categories, a flag, narrow integers, a number with bins to be found under the budget.
_STANDARD: list[dict[str, Any]] = [
    {"name": "ward", "type": "string", "categories": ["a", "b", "c", "d"], "dp:nullable": True},
    {"name": "sex", "type": "string", "categories": ["f", "m"], "dp:other": "m"},
    {"name": "smoker", "type": "boolean", "dp:nullable": True},
    {"name": "region", "type": "string", "categories": ["n", "e", "s", "w", "abroad", "sea"], "dp:nullable": True},
    {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 30}},
    {"name": "visits", "type": "integer", "constraints": {"minimum": 0, "maximum": 9}},
    {"name": "cost", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}, "dp:bins": "dp"},
]


# What stays the same within a person, where rows come as persons: a column of each kind of what is counted.
_STATIC = ("sex", "smoker", "age")


def standard_schema(unit: str, max_rows: int, neighbours: str, weights: str = ROWS) -> Schema:
    """A schema of seven columns, one of every kind, for a mechanism that is audited without anybody's schema."""
    key: dict[str, Any] = {"name": "unit", "type": "string", "dp:role": "identifier"}
    declared = {"name": unit, "field": "unit", "maxRows": max_rows, "weights": weights}
    fields = [{**field, "dp:static": True} if weights == PERSON and field["name"] in _STATIC else field for field in _STANDARD]
    return Schema.from_dict(
        {
            "fields": fields if max_rows == 1 else [key, *fields],
            "dp:dataset": {"id": "toy", "population": "nobody"},
            "dp:unit": {"name": unit} if max_rows == 1 else declared,
            "dp:neighbours": neighbours,
        }
    )


def toy_schema(schema: Schema, keep: Collection[str] = ()) -> Schema:
    """The schema of a toy table for mechanisms that will run on ``schema``: same unit and neighbours, columns by the rule above.

    Columns named in ``keep``, and the one that orders a person's rows, stay whatever the rule says.
    """
    kept = {*keep, schema.unit.order} - {None}
    # A mechanism sees the distance of an anchored date as whole numbers.
    chosen = _chosen([_narrowed(field.counted) for field in schema.modelled], kept)
    wanted = math.log(min(LARGE_JOINT, math.prod(cells(field) for field in schema.modelled)))
    fields = [*chosen]
    names = {field.name for field in schema.fields}
    for spare in standard_schema(schema.unit.name, 1, schema.neighbours).fields[::-1]:
        if sum(math.log(cells(field)) for field in fields) >= wanted - 1e-9:
            break
        fields.append(replace(spare, name=_unused(spare.name, names)))
    key = [] if schema.unit.field is None else [schema[schema.unit.field]]
    return Schema("toy", "nobody", schema.unit, (*key, *fields), missing_values=schema.missing_values, neighbours=schema.neighbours)


def cells(field: Field) -> int:
    """Levels of a column in the model, the one for missing included."""
    if field.open:
        return _PENDING_BINS + field.nullable
    if not field.has_bounds:
        return len(field.levels) + field.nullable
    starts = bin_starts(field, grid_of(field))
    return (_PENDING_BINS if starts is None else len(starts)) + field.nullable


def _chosen(fields: list[Field], keep: Collection[str | None]) -> list[Field]:
    """At most `MOST_COLUMNS` (and those to ``keep``), in the order of the schema."""
    wide = sorted(fields, key=lambda field: -cells(field))
    names = [field.name for field in wide if field.name in keep]
    for field in [*_first_of_each_kind(wide), *wide]:
        if field.name not in names and len(names) < max(MOST_COLUMNS, len(keep)):
            names.append(field.name)
    return [field for field in fields if field.name in names]


def _first_of_each_kind(fields: list[Field]) -> Iterator[Field]:
    seen = set()
    for field in fields:
        bins = field.bins if field.bins == DP else type(field.bins).__name__
        kind = (
            field.type,
            field.nullable,
            field.other is None,
            field.unseen is None,
            field.ordered,
            field.static,
            field.open,
            bins,
            field.format,
            field.resolution,
        )
        if kind not in seen:
            seen.add(kind)
            yield field


def _narrowed(field: Field) -> Field:
    if field.categories is not None and len(field.categories) > MOST_LEVELS:
        named = [value for value in (field.other, field.unseen) if value is not None]
        kept = tuple(c for i, c in enumerate(field.categories) if i < MOST_LEVELS - len(named) or c in named)
        return replace(field, categories=kept, labels=None)
    if isinstance(field.bins, int) and field.bins > MOST_LEVELS:
        return replace(field, bins=MOST_LEVELS)
    if isinstance(field.bins, tuple) and len(field.bins) > MOST_LEVELS:
        return replace(field, bins=field.bins[:MOST_LEVELS])
    return field


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name = f"{name}_toy"
    taken.add(name)
    return name
