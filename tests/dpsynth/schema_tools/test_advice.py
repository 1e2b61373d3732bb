"""Advice comes when it should and stays away when it should not."""

from __future__ import annotations

from typing import Any

import pytest

from dpsynth.schema import Schema
from dpsynth.schema_tools.advice import advise, grouped

AGES = ["[0-10)", "[10-20)", "[20-30)", "[30-40)"]


def _advice(*fields: dict[str, Any], **top: Any) -> str:
    document = {"dp:dataset": {"id": "d", "population": "p"}, "dp:unit": {"name": "person"}, "fields": list(fields), **top}
    return "\n".join(advise(Schema.from_dict(document)))


def _integer(name: str, low: int, high: int) -> dict[str, Any]:
    return {"name": name, "type": "integer", "constraints": {"minimum": low, "maximum": high}}


# (what is said, a field it is said of, a field it is not said of)
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "lists ranges in rising order",
        {"name": "a", "type": "string", "categories": AGES},
        {"name": "a", "type": "string", "categories": AGES[::-1]},
    ),
    (
        "lists ranges in rising order",
        {"name": "a", "type": "string", "categories": ["<5", "5", "6", ">6"]},
        {"name": "a", "type": "string", "categories": AGES, "categoriesOrdered": True},
    ),
    (
        "lists ranges in rising order",
        {"name": "a", "type": "string", "categories": AGES},
        {"name": "a", "type": "string", "categories": list("1234")},
    ),
    (
        "neither rise nor fall",
        {"name": "a", "type": "string", "categories": ["1", "3", "2", "4"], "categoriesOrdered": True},
        {"name": "a", "type": "string", "categories": ["4", "3", "2", "1"], "categoriesOrdered": True},
    ),
    ("looks like a code", _integer("admission_type", 1, 8), _integer("visits", 1, 8)),
    ("very wide bounds", _integer("cost", 0, 10**9), _integer("cost", 0, 10**5)),
    (
        "cannot vary",
        {"name": "a", "type": "string", "categories": ["x"]},
        {"name": "a", "type": "string", "categories": ["x"], "dp:nullable": True},
    ),
    (
        "looks like free text",
        {"name": "visitNote", "type": "string", "categories": ["x", "y"]},
        {"name": "notebook", "type": "string", "categories": ["x", "y"]},
    ),
    (
        "no dp:resolution",
        {"name": "a", "type": "number", "constraints": {"minimum": 0, "maximum": 1}},
        {"name": "a", "type": "number", "constraints": {"minimum": 0, "maximum": 1}, "dp:resolution": 0.1},
    ),
    (
        "group rare ones",
        {"name": "a", "type": "string", "categories": [str(code) for code in range(1000, 1600)]},
        {"name": "a", "type": "string", "categories": [str(code) for code in range(1000, 1600)], "dp:hierarchy": "prefix:2"},
    ),
    ("looks like an identifier", _integer("patient_id", 0, 10**6), {"name": "type_id", "type": "string", "categories": ["1", "2"]}),
]


@pytest.mark.parametrize(("words", "yes", "no"), CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)])
def test_when_it_is_said_and_when_not(words: str, yes: dict[str, Any], no: dict[str, Any]) -> None:
    assert words in _advice(yes)
    assert words not in _advice(no)


def test_a_cap_far_above_what_people_have_is_advised_against() -> None:
    fields = [_integer("age", 0, 90), {"name": "key", "type": "string", "dp:role": "identifier"}]

    def said(cap: int, weights: str = "rows") -> bool:
        dataset = {"id": "d", "population": "p", "populationBound": 1000}
        unit = {"name": "person", "field": "key", "maxRows": cap, "weights": weights}
        return "a smaller cap" in _advice(*fields, **{"dp:dataset": dataset, "dp:unit": unit, "dp:rows": 1500})

    assert said(18) and not said(5)
    # a person weighs one, however many rows are kept
    assert not said(18, "person")


def test_the_same_advice_is_said_once() -> None:
    lines = ["field 'a' is odd", "field 'b' is odd", "field 'a' is even", "the table is small"]

    assert grouped(lines) == ["field 'a' (also 'b') is odd", "field 'a' is even", "the table is small"]
