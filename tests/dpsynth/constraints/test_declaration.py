"""Declared relations: read back as written, refused with the place of the mistake, contradictions found before a record is read."""

from __future__ import annotations

from typing import Any

import pytest

from dpsynth.errors import SchemaError
from dpsynth.schema import Schema
from tests.dpsynth.constraints.tables import day, listed, number, schema, whole

FIELDS = [
    listed("sex", "f", "m"),
    listed("ward", "a", "b", "c", nullable=True),
    {"name": "pregnant", "type": "boolean"},
    whole("age", 0, 100, bins=[18, 65]),
    whole("x", 0, 10),
    whole("y", 5, 20),
    whole("z", 0, 30, nullable=True),
    number("cost", 0, 100),
    day("start", "2020-01-01", "2020-12-31"),
    day("end", "2020-01-01", "2021-12-31", nullable=True),
    {"name": "key", "type": "string", "dp:role": "identifier"},
]
GOOD: list[dict[str, Any]] = [
    {"kind": "forbidden", "when": {"sex": "m", "pregnant": True}},
    {"kind": "forbidden", "when": {"age": {"exclusiveMaximum": 12}, "ward": ["a", None]}, "description": "no children there"},
    {"kind": "order", "fields": ["start", "end"], "strict": True},
    {"kind": "sum", "total": "z", "parts": ["x", "y"]},
    {"kind": "determines", "by": "ward", "field": "sex"},
    {"kind": "notNullIf", "field": "end", "when": {"age": {"minimum": 65}}},
    {"kind": "nullIf", "field": "end", "when": {"start": {"minimum": "2020-06-01"}, "ward": {"missing": False}}},
]


def test_relations_come_back_as_they_were_written() -> None:
    made = schema(FIELDS, *GOOD)
    again = Schema.from_dict(made.to_dict())
    assert again == made
    assert again.digest == made.digest
    assert made.to_dict()["dp:constraints"] == GOOD
    assert made.digest != schema(FIELDS, *GOOD[1:]).digest
    assert "dp:constraints" not in schema(FIELDS).to_dict()


def test_relations_are_said_in_words() -> None:
    texts = [relation.text for relation in schema(FIELDS, *GOOD).relations]
    assert texts == [
        "never together: sex = m, pregnant = true",
        "never together: age < 12, ward in a, missing",
        "start < end",
        "z = x + y",
        "ward determines sex",
        "end is never missing when age >= 65",
        "end is always missing when start >= 2020-06-01, ward not missing",
    ]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown kind": ({"kind": "implies"}, r"dp:constraints"),
    "no kind": ({"when": {}}, r"dp:constraints"),
    "missing key": ({"kind": "sum", "total": "z"}, r"dp:constraints\[0\] has no parts"),
    "unknown key": ({"kind": "order", "fields": ["x", "y"], "strickt": True}, r"dp:constraints\[0\] has the unknown key 'strickt'"),
    "unknown field": (
        {"kind": "forbidden", "when": {"sexx": "m", "age": 3}},
        r"dp:constraints\[0\]\.when names 'sexx', which is not a field",
    ),
    "identifier": ({"kind": "forbidden", "when": {"key": "m", "age": 3}}, r"names 'key', an identifier"),
    "unknown value": ({"kind": "forbidden", "when": {"sex": "x", "age": 3}}, r"dp:constraints\[0\]\.when\.sex names a value"),
    "value outside bounds": ({"kind": "forbidden", "when": {"sex": "m", "age": 130}}, r"\.when\.age names a value outside the bounds"),
    "wrong type": ({"kind": "forbidden", "when": {"sex": "m", "age": "old"}}, r"\.when\.age must be a number"),
    "not a date": ({"kind": "forbidden", "when": {"sex": "m", "start": {"minimum": "soon"}}}, r"\.when\.start must be an ISO 8601 date"),
    "range of a list": ({"kind": "forbidden", "when": {"sex": {"minimum": 1}, "age": 3}}, r"\.when\.sex is a range"),
    "unknown bound": ({"kind": "forbidden", "when": {"sex": "m", "age": {"min": 1}}}, r"\.when\.age must have minimum"),
    "two lower bounds": ({"kind": "forbidden", "when": {"sex": "m", "age": {"minimum": 1, "exclusiveMinimum": 2}}}, r"keep one"),
    "empty range": ({"kind": "forbidden", "when": {"sex": "m", "age": {"minimum": 9, "maximum": 2}}}, r"is an empty range"),
    "empty list": ({"kind": "forbidden", "when": {"sex": [], "age": 3}}, r"is an empty list"),
    "missing that cannot be": ({"kind": "forbidden", "when": {"sex": None, "age": 3}}, r"'sex' is not dp:nullable"),
    "one column": ({"kind": "forbidden", "when": {"sex": "m"}}, r"is about field 'sex' alone"),
    "null rule of a full column": ({"kind": "notNullIf", "field": "x", "when": {"sex": "m"}}, r"field='x' can never be missing"),
    "null rule on itself": ({"kind": "nullIf", "field": "z", "when": {"z": 3}}, r"about field 'z' itself"),
    "order of texts": ({"kind": "order", "fields": ["sex", "age"]}, r"fields\[0\]='sex' has type=string"),
    "order of unlike": ({"kind": "order", "fields": ["start", "age"]}, r"compares 'start' \(date\) with 'age'"),
    "order of one": ({"kind": "order", "fields": ["age"]}, r"a list of at least 2 fields"),
    "order twice": ({"kind": "order", "fields": ["x", "y", "x"]}, r"fields\[2\] names 'x' twice"),
    "strict is no flag": ({"kind": "order", "fields": ["x", "y"], "strict": "yes"}, r"strict must be true or false"),
    "sum of dates": ({"kind": "sum", "total": "z", "parts": ["x", "start"]}, r"parts\[1\]='start' has type=date"),
    "fraction in a whole sum": ({"kind": "sum", "total": "z", "parts": ["x", "cost"]}, r"'z' is an integer, but its part 'cost' is not"),
    "total among its parts": ({"kind": "sum", "total": "z", "parts": ["x", "z"]}, r"names the total 'z'"),
    "missing part": ({"kind": "sum", "total": "x", "parts": ["y", "z"]}, r"total='x' must be dp:nullable"),
    "map without a key": (
        {"kind": "determines", "by": "ward", "field": "sex", "map": {"a": "f", "b": "m"}},
        r"no value for 2 of 4.*ward='c'",
    ),
    "map with a strange key": (
        {"kind": "determines", "by": "ward", "field": "sex", "map": {"q": "f"}, "default": "m"},
        r"map\['q'\] names a value",
    ),
    "map to a strange value": (
        {"kind": "determines", "by": "ward", "field": "sex", "map": {"a": "x"}, "default": "m"},
        r"map\['a'\] names a value",
    ),
    "map to missing": (
        {"kind": "determines", "by": "ward", "field": "sex", "map": {"a": None}, "default": "m"},
        r"'sex' is not dp:nullable",
    ),
    "two values": (
        {"kind": "determines", "by": "ward", "field": "sex", "map": [["a", "f"], ["a", "m"]], "default": "m"},
        r"a second value",
    ),
    "short rows": ({"kind": "determines", "by": ["ward", "pregnant"], "field": "sex", "map": [["a", "f"]]}, r"a list of lists: ward, preg"),
    "itself": ({"kind": "determines", "by": ["sex"], "field": "sex"}, r"is among the columns that determine it"),
    "by a number": ({"kind": "determines", "by": "age", "field": "sex"}, r"by\[0\]='age' has type=integer"),
    "learned number": ({"kind": "determines", "by": "sex", "field": "age"}, r"without a map it must list its values"),
    "map to a real number": (
        {"kind": "determines", "by": "sex", "field": "cost", "map": {"f": 1, "m": 2}},
        r"gives categories, booleans or int",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_refused_by_its_place_and_field(name: str) -> None:
    said, message = BAD[name]
    with pytest.raises(SchemaError, match=message):
        schema(FIELDS, said)


CONTRADICTIONS: dict[str, tuple[list[dict[str, Any]], str]] = {
    "a cycle": (
        [{"kind": "order", "fields": ["x", "y"], "strict": True}, {"kind": "order", "fields": ["y", "z", "x"]}],
        r"order field 'x' before itself",
    ),
    "bounds that cannot meet": (
        [{"kind": "order", "fields": ["high", "low"]}],
        r"no legal row for fields high, low",
    ),
    "strict whole numbers without room": ([{"kind": "order", "fields": ["p", "q", "r"], "strict": True}], r"no legal row"),
    "every combination forbidden": (
        [
            {"kind": "forbidden", "when": {"sex": ["f", "m"], "pregnant": True}},
            {"kind": "forbidden", "when": {"sex": ["f", "m"], "pregnant": False}},
        ],
        r"no legal row for fields sex, pregnant",
    ),
    "a sum out of bounds": ([{"kind": "sum", "total": "low", "parts": ["high", "y"]}], r"no legal row"),
    "never and always missing": (
        [
            {"kind": "notNullIf", "field": "z", "when": {"sex": ["f", "m"]}},
            {"kind": "nullIf", "field": "z", "when": {"pregnant": [True, False]}},
        ],
        r"no legal row",
    ),
    "computed from itself": (
        [{"kind": "sum", "total": "z", "parts": ["x", "w"]}, {"kind": "sum", "total": "w", "parts": ["z", "y"]}],
        r"compute field 'z' from itself",
    ),
    "computed twice": (
        [{"kind": "sum", "total": "z", "parts": ["x", "y"]}, {"kind": "sum", "total": "z", "parts": ["x", "low"]}],
        r"compute field 'z' twice",
    ),
    "determined in a circle": (
        [{"kind": "determines", "by": "sex", "field": "ward"}, {"kind": "determines", "by": "ward", "field": "sex"}],
        r"from itself",
    ),
}
MORE = [*FIELDS, whole("low", 0, 4), whole("high", 6, 9), whole("w", 0, 30, nullable=True), *(whole(name, 0, 1) for name in "pqr")]


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_contradictions_are_found_when_the_schema_is_read(name: str) -> None:
    relations, message = CONTRADICTIONS[name]
    with pytest.raises(SchemaError, match=message):
        schema(MORE, *relations)


def test_what_is_nearly_a_contradiction_is_allowed() -> None:
    schema(MORE, {"kind": "order", "fields": ["p", "q"], "strict": True})
    schema(MORE, {"kind": "order", "fields": ["low", "high"]}, {"kind": "order", "fields": ["low", "y"]})
    schema(MORE, {"kind": "forbidden", "when": {"sex": ["f", "m"], "pregnant": True}})


def test_every_field_computed_leaves_nothing_to_model() -> None:
    with pytest.raises(SchemaError, match=r"itself|nothing to model"):
        schema(
            [listed("a", "1"), listed("b", "1")],
            {"kind": "determines", "by": "a", "field": "b", "map": {"1": "1"}},
            {"kind": "determines", "by": "b", "field": "a", "map": {"1": "1"}},
        )


def test_lint_names_values_that_can_never_occur() -> None:
    made = schema(MORE, {"kind": "forbidden", "when": {"sex": ["f", "m"], "pregnant": True}}, {"kind": "order", "fields": ["y", "x"]})
    advice = [line for line in made.lint() if "dp:constraints" in line]
    assert advice == ["field 'pregnant' can never be 'true' under dp:constraints; tighten its domain"]
