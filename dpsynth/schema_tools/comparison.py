"""What changed between two schemas, and what the change means for budgets, claims, models and tables that were made before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import date
from enum import StrEnum
from typing import Any

from dpsynth.schema import Field, Schema


class Effect(StrEnum):
    """The furthest thing a change touches."""

    BUDGET = "other budget"
    CLAIM = "other claim"
    COLUMNS = "other columns"
    AUDIT = "other audit"
    WORDS = "words only"

    @property
    def means(self) -> str:
        """In one sentence."""
        return _MEANS[self]


_MEANS = {
    Effect.BUDGET: "releases are charged to another account of the ledger; if the people are the same, declare the overlap there",
    Effect.CLAIM: "epsilon now protects somebody else or another number of rows: earlier certificates and plans do not carry over",
    Effect.COLUMNS: "models fitted before do not fit, and tables cannot be compared cell by cell; a new release is needed, and pays again",
    Effect.AUDIT: "attacks and fairness figures change, the noise does not",
    Effect.WORDS: "the digest changes, nothing else",
}
_TABLE_EFFECTS = {
    "population": Effect.BUDGET,
    "population_bound": Effect.AUDIT,
    "unit": Effect.CLAIM,
    "neighbours": Effect.CLAIM,
    "rows": Effect.AUDIT,
    "dataset": Effect.WORDS,
    "title": Effect.WORDS,
    "description": Effect.WORDS,
    # Fields carry their own missing values.
    "missing_values": Effect.WORDS,
}
_FIELD_EFFECTS = {"title": Effect.WORDS, "description": Effect.WORDS, "labels": Effect.WORDS, "role": Effect.AUDIT, "group": Effect.AUDIT}
_SHOWN = 60


@dataclass(frozen=True)
class Change:
    """One difference. ``where`` is a field or the table; ``before`` and ``after`` are shortened for people."""

    where: str
    key: str
    before: str
    after: str
    effect: Effect


def compare(old: Schema, new: Schema) -> list[Change]:
    """Every difference, those that touch most first."""
    changes = [*_of_table(old, new), *_of_fields(old, new)]
    return sorted(changes, key=lambda change: list(Effect).index(change.effect))


def _of_table(old: Schema, new: Schema) -> Iterator[Change]:
    for item in fields(Schema):
        before, after = getattr(old, item.name), getattr(new, item.name)
        if item.name == "fields" or before == after:
            continue
        effect = _TABLE_EFFECTS.get(item.name, Effect.COLUMNS)
        if item.name == "unit":
            for part in fields(before):
                was, is_ = getattr(before, part.name), getattr(after, part.name)
                if was != is_:
                    # The ledger keeps an account per population and unit.
                    yield Change("table", f"unit.{part.name}", _show(was), _show(is_), Effect.BUDGET if part.name == "name" else effect)
        elif item.name == "relations":
            was, is_ = ({relation.source: relation.text for relation in relations} for relations in (before, after))
            yield from (Change("table", "relation", text, "removed", effect) for source, text in was.items() if source not in is_)
            yield from (Change("table", "relation", "absent", text, effect) for source, text in is_.items() if source not in was)
        else:
            yield Change("table", item.name, _show(before), _show(after), effect)


def _of_fields(old: Schema, new: Schema) -> Iterator[Change]:
    before, after = ({field.name: field for field in schema.fields} for schema in (old, new))
    for name in before.keys() - after.keys():
        yield Change(name, "field", before[name].type, "removed", Effect.COLUMNS)
    for name in after.keys() - before.keys():
        yield Change(name, "field", "absent", after[name].type, Effect.COLUMNS)
    shared = [name for name in before if name in after]
    if shared != [name for name in after if name in before]:
        yield Change("table", "order of fields", "", "", Effect.COLUMNS)
    for name in shared:
        yield from _of_field(before[name], after[name])


def _of_field(old: Field, new: Field) -> Iterator[Change]:
    for item in fields(Field):
        before, after = getattr(old, item.name), getattr(new, item.name)
        if before == after:
            continue
        effect = _FIELD_EFFECTS.get(item.name, Effect.COLUMNS)
        if item.name == "role" and "identifier" in (before, after):
            effect = Effect.COLUMNS
        yield Change(old.name, item.name, _show(before), _show(after), effect)


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        text = ", ".join(map(_show, value))
        return text if len(text) <= _SHOWN else f"{len(value)} values"
    if isinstance(value, date):
        return value.isoformat()
    text = "none" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
