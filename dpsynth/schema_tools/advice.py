"""Advice on a valid schema: what is allowed but probably not meant, or costs more than it needs to. From the schema alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from dpsynth.schema import Field, Schema

# The first number in a label such as "[10-20)", ">200" or "3 months".
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_NAMED = re.compile(r"field ('(?:[^'\\]|\\.)*'|\"[^\"]*\") (.*)", re.DOTALL)
_CODE_WORDS = {"id", "code", "cd", "type", "status", "category", "cat", "class"}
_TEXT_WORDS = {"note", "notes", "comment", "comments", "text", "remarks", "narrative", "freetext"}
_FEW_VALUES = 25
# Wider than this, the default search for bins spends its first rounds on ranges that nobody is in.
_WIDE_RANGE = 1e7
_MANY_TIMES_THE_MEAN = 10


def advise(schema: Schema) -> list[str]:
    """All advice, most of it about single fields; empty when there is none."""
    return [*schema.lint(), *(f"field {f.name!r} {text}" for f in schema.modelled for text in _field(f)), *_table(schema)]


def grouped(advice: Iterable[str]) -> list[str]:
    """The same advice to several fields said once, with the fields' names."""
    fields: dict[str, list[str]] = {}
    for line in advice:
        named = _NAMED.fullmatch(line)
        fields.setdefault(named[2] if named else line, []).append(named[1] if named else "")
    return [_said(names, text) for text, names in fields.items()]


def _said(names: Sequence[str], text: str) -> str:
    if not names[0]:
        return text
    others = f" (also {', '.join(names[1:])})" if names[1:] else ""
    return f"field {names[0]}{others} {text}"


def _field(field: Field) -> Iterator[str]:
    yield from _levels(field) if not field.has_bounds else _bounds(field)
    if _words(field) & _TEXT_WORDS:
        yield 'looks like free text by its name; text is not synthesized: set "dp:role": "identifier" to replace it, or leave it out'


def _levels(field: Field) -> Iterator[str]:
    if len(field.levels) == 1 and not field.nullable and not field.open:
        yield "has one level and cannot vary; it costs little, and tells nothing"
    numbers = _numbers(field.levels)
    if field.type != "string" or numbers is None or len(numbers) < 4:
        return
    rising = all(a < b for a, b in pairwise(numbers))
    if rising and not field.ordered and any(not level.strip().lstrip("-").isdigit() for level in field.levels):
        yield 'lists ranges in rising order; "categoriesOrdered": true lets neighbouring levels share their noise'
    if field.ordered and not rising and not all(a > b for a, b in pairwise(numbers)):
        yield "is categoriesOrdered, but its levels neither rise nor fall; neighbours in the list are merged first, so sort them"


def _numbers(levels: Sequence[str]) -> list[float] | None:
    """The first number of each level; None if one has none. '<5' lies below 5 and '>5' above it."""
    found = []
    for level in levels:
        match = _NUMBER.search(level)
        if match is None:
            return None
        found.append(float(match[0].removeprefix("-") if match.start() and level[match.start() - 1].isdigit() else match[0]))
        found[-1] += {"<": -1e-9, ">": 1e-9}.get(level.strip()[:1], 0.0)
    return found


def _bounds(field: Field) -> Iterator[str]:
    low, high = field.minimum, field.maximum
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return
    if low == high:
        yield "has equal bounds and cannot vary; it costs little, and tells nothing"
    if field.type == "integer" and high - low < _FEW_VALUES and _words(field) & _CODE_WORDS:
        yield 'looks like a code by its name, but is ordered as a number; use "type": "string" with categories if 2 is not between 1 and 3'
    if high - low > _WIDE_RANGE and field.bins is None:
        yield "has very wide bounds; bounds that people in the table can really reach, or dp:bins edges, leave less to the noise"
    if field.type == "number" and field.resolution is None:
        yield 'has no dp:resolution; synthetic values get random decimals. Give a step, e.g. "dp:resolution": 0.01'


def _table(schema: Schema) -> Iterable[str]:
    unit = schema.unit
    # Where persons weigh one, their number of rows does not move the noise.
    if unit.max_rows > 1 and not unit.by_person and schema.rows is not None and schema.population_bound is not None:
        mean = schema.rows / schema.population_bound
        if unit.max_rows > max(2.0, _MANY_TIMES_THE_MEAN * mean):
            yield (
                f"dp:unit.maxRows={unit.max_rows}, while dp:rows / populationBound is {mean:.2g} rows per {unit.name}; "
                "noise grows with maxRows, so a smaller cap that most people stay under does better"
            )
    if unit.field is not None and unit.max_rows == 1 and schema.rows is not None:
        yield "dp:unit.field is set and maxRows is 1: all but one row of each unit are left out"


def _words(field: Field) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", field.name)
    return set(re.split(r"[^a-z]+", spaced.lower()))
