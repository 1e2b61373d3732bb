"""Each kind of change, and what it touches."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from dpsynth.schema import Schema
from dpsynth.schema_tools.comparison import Effect, compare
from tests.dpsynth.constraints.tables import schema, whole

BASE: dict[str, Any] = {
    "dp:dataset": {"id": "clinic", "population": "patients"},
    "dp:unit": {"name": "person", "field": "key", "maxRows": 3},
    "fields": [
        {"name": "key", "type": "string", "dp:role": "identifier"},
        {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 120}},
        {"name": "sex", "type": "string", "categories": ["f", "m"]},
    ],
}


def _changed(path: tuple[Any, ...], value: Any) -> Schema:
    document = copy.deepcopy(BASE)
    node: Any = document
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return Schema.from_dict(document)


CASES: list[tuple[tuple[Any, ...], Any, Effect]] = [
    (("dp:dataset", "population"), "staff", Effect.BUDGET),
    (("dp:unit", "name"), "patient", Effect.BUDGET),
    (("dp:unit", "maxRows"), 5, Effect.CLAIM),
    (("dp:neighbours",), "replace_one", Effect.CLAIM),
    (("fields", 1, "constraints", "maximum"), 110, Effect.COLUMNS),
    (("fields", 2, "categories"), ["f", "m", "x"], Effect.COLUMNS),
    (("fields", 2, "dp:nullable"), True, Effect.COLUMNS),
    (("fields", 2, "name"), "gender", Effect.COLUMNS),
    (("fields", 1, "dp:role"), "quasi", Effect.AUDIT),
    (("dp:rows",), 100, Effect.AUDIT),
    (("fields", 1, "title"), "Age", Effect.WORDS),
    (("title",), "Clinic", Effect.WORDS),
]


@pytest.mark.parametrize(("path", "value", "effect"), CASES, ids=[".".join(map(str, case[0])) for case in CASES])
def test_what_a_change_touches(path: tuple[Any, ...], value: Any, effect: Effect) -> None:
    changes = compare(Schema.from_dict(BASE), _changed(path, value))

    assert changes and changes[0].effect is effect
    assert {change.effect for change in compare(_changed(path, value), Schema.from_dict(BASE))} == {change.effect for change in changes}


def test_equal_schemas_have_no_changes() -> None:
    assert compare(Schema.from_dict(BASE), Schema.from_dict(copy.deepcopy(BASE))) == []


def test_another_order_of_fields_is_another_table() -> None:
    document = {**BASE, "fields": BASE["fields"][::-1]}

    assert [change.key for change in compare(Schema.from_dict(BASE), Schema.from_dict(document))] == ["order of fields"]


def test_relations_are_compared_one_by_one() -> None:
    fields = [whole("x", 0, 9), whole("y", 0, 9), whole("z", 0, 9)]
    kept, gone, new = ({"kind": "order", "fields": list(pair)} for pair in ("xy", "yz", "xz"))
    found = compare(schema(fields, kept, gone), schema(fields, kept, new))
    assert [(change.key, change.before, change.after) for change in found] == [
        ("relation", "y <= z", "removed"),
        ("relation", "absent", "x <= z"),
    ]
    assert {change.effect for change in found} == {Effect.COLUMNS}
