"""A codebook becomes the schema a person would have written; what it does not say is asked for, all of it at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dpsynth.errors import SchemaError
from dpsynth.schema import Schema
from dpsynth.schema_tools.codebook import from_json, from_lines, read_codebook
from dpsynth.schema_tools.draft import finish

TOP = {"dp:dataset": {"id": "clinic", "population": "patients"}, "dp:unit": {"name": "patient"}}
EXAMPLES = Path(__file__).parents[3] / "examples"


def _field(*lines: dict[str, Any]) -> dict[str, Any]:
    (draft,) = from_lines(list(lines), "book")
    return draft


# (line of the codebook, the field of a schema it stands for)
LINES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"field": "age", "minimum": "0", "maximum": "120"}, {"type": "integer", "constraints": {"minimum": 0, "maximum": 120}}),
    ({"field": "bmi", "minimum": "10", "maximum": "80.5"}, {"type": "number", "constraints": {"minimum": 10, "maximum": 80.5}}),
    ({"field": "sex", "values": "f=female|m"}, {"type": "string", "categories": [{"value": "f", "label": "female"}, {"value": "m"}]}),
    (
        {"field": "code", "values": "V01..V03|9..10"},
        {"type": "string", "categories": [{"value": v} for v in ("V01", "V02", "V03", "9", "10")]},
    ),
    ({"field": "id", "type": "id"}, {"type": "string", "dp:role": "identifier"}),
    (
        {"field": "stage", "type": "ordinal", "values": "I|II", "missing": "?|NA"},
        {
            "type": "string",
            "categoriesOrdered": True,
            "categories": [{"value": "I"}, {"value": "II"}],
            "missingValues": ["", "?", "NA"],
            "dp:nullable": True,
        },
    ),
    ({"field": "cost", "type": "float", "bins": "dp", "resolution": "0.01"}, {"type": "number", "dp:bins": "dp", "dp:resolution": 0.01}),
    ({"field": "cost", "type": "float", "bins": "1|10"}, {"type": "number", "dp:bins": [1, 10]}),
    ({"field": "flag", "type": "bool", "group": "yes"}, {"type": "boolean", "dp:group": True}),
]


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[line["field"] for line, _ in LINES])
def test_a_line_is_a_field(line: dict[str, Any], expected: dict[str, Any]) -> None:
    assert _field(line) == {"name": line["field"], **expected}


def test_one_line_per_value_adds_up() -> None:
    assert _field({"field": "sex", "value": "1", "label": "male"}, {"field": "sex", "value": "2", "label": "female"})["categories"] == [
        {"value": "1", "label": "male"},
        {"value": "2", "label": "female"},
    ]


def test_a_data_dictionary_of_sdnist() -> None:
    book = {
        "NOC": {"description": "Children", "values": {"N": "no household", "0": "none", "min": 1, "max": 19}},
        "SEX": {"description": "Sex", "values": {"1": "Male", "2": "Female"}},
        "POVPIP": {"description": "Ratio", "values": {"N": "N/A", "min": 0, "max": 500, "501": "more"}},
        "DENSITY": {"description": "Density", "values": {"min": 16.3, "max": 52864.7}},
    }
    noc, sex, povpip, density = finish(from_json(book, "book"), TOP, {}).fields

    assert (noc.minimum, noc.maximum, noc.nullable, noc.missing_values) == (0, 19, True, ("", "N"))
    assert (sex.categories, sex.labels) == (("1", "2"), ("Male", "Female"))
    assert povpip.maximum == 501
    assert density.type == "number"


def test_all_missing_facts_are_asked_for_at_once() -> None:
    drafts = from_lines([{"field": "age", "type": "int"}, {"field": "city", "type": "code"}, {"field": "x"}], "book")

    with pytest.raises(SchemaError) as caught:
        finish(drafts, {}, {})
    said = str(caught.value)
    for part in (
        "6 public facts are missing",
        "--dataset",
        "--population",
        "--unit",
        "'age' constraints.minimum and maximum",
        "'city' categories",
    ):
        assert part in said
    assert "'x' type" in said and "--fill" in said


def test_fill_adds_changes_and_leaves_out() -> None:
    drafts = from_lines(
        [{"field": "age", "type": "int", "maximum": "99"}, {"field": "note", "type": "text"}, {"field": "sex", "values": "f|m"}], "b"
    )
    fill = {"fields": {"age": {"constraints": {"minimum": 0}}, "note": None, "sex": {"dp:role": "identifier"}}, "dp:rows": 10}
    schema = finish(drafts, TOP, fill)

    assert [field.name for field in schema.fields] == ["age", "sex"]
    assert (schema["age"].minimum, schema["age"].maximum, schema.rows) == (0, 99, 10)
    assert schema["sex"].categories is None


def test_an_anchor_in_the_fill_stands_for_the_bounds_of_a_date() -> None:
    drafts = from_lines(
        [{"field": "came", "type": "date", "minimum": "2024-01-01", "maximum": "2024-12-31"}, {"field": "left", "type": "date"}], "book"
    )
    fill = {"fields": {"left": {"dp:anchor": "came", "dp:offset": {"minimum": 0, "maximum": 30}}}}
    left = finish(drafts, TOP, fill)["left"]
    assert (left.anchor, left.minimum, left.maximum) == ("came", 0, 30)


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("no name", {"type": "int"}, "entry 1 has no field name"),
    ("unknown type", {"field": "a", "type": "blob"}, "type='blob' must be one of"),
    ("unknown column", {"field": "a", "colour": "red"}, "unknown column 'colour'"),
    ("endless range", {"field": "a", "values": "1..99999999"}, "has more than 65535 values"),
    ("empty range", {"field": "a", "values": "9..1"}, "is empty"),
]


@pytest.mark.parametrize(("line", "message"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_a_mistake_names_the_place(line: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match="book") as caught:
        from_lines([line], "book")
    assert message in str(caught.value)


@pytest.mark.parametrize("fill", [{"fields": []}, {"fields": {"other": {}}}])
def test_a_fill_that_fits_nothing_is_refused(fill: dict[str, Any]) -> None:
    with pytest.raises(SchemaError, match="--fill"):
        finish(from_lines([{"field": "sex", "values": "f|m"}], "book"), TOP, fill)


def test_a_table_of_records_is_no_codebook_and_nothing_of_it_is_shown(tmp_path: Path) -> None:
    table = tmp_path / "patients.csv"
    table.write_text("age,diagnosis\n44,Zebulon\n", encoding="utf-8")

    with pytest.raises(SchemaError, match=r"is not a codebook.*--public") as caught:
        read_codebook(table)
    assert "Zebulon" not in str(caught.value) and "diagnosis" not in str(caught.value)


@pytest.mark.parametrize("name", ["credit-default", "diabetes130"])
def test_the_example_schemas_say_what_their_codebooks_say(name: str) -> None:
    schema = Schema.read(EXAMPLES / f"{name}.schema.json")
    again = finish(read_codebook(EXAMPLES / f"{name}.codebook.csv"), {k: v for k, v in schema.to_dict().items() if k != "fields"}, {})

    assert again == schema


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.schema.json")), ids=lambda path: path.name)
def test_the_example_schemas_are_valid(path: Path) -> None:
    from dpsynth.encode import Encoder

    assert len(Encoder(Schema.read(path)).grid_domain) == len(Schema.read(path).modelled)
