"""Metadata of other tools, and the part of YAML it is written in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dpsynth.errors import SchemaError
from dpsynth.schema_tools import converters
from dpsynth.schema_tools.draft import finish
from dpsynth.schema_tools.indented import parse

TOP = {"dp:dataset": {"id": "clinic", "population": "patients"}, "dp:unit": {"name": "patient"}}

SDV = {
    "METADATA_SPEC_VERSION": "SINGLE_TABLE_V1",
    "primary_key": "guest",
    "columns": {
        "guest": {"sdtype": "id"},
        "mail": {"sdtype": "email", "pii": True},
        "rate": {"sdtype": "numerical", "computer_representation": "Float"},
        "nights": {"sdtype": "numerical", "computer_representation": "Int64"},
        "arrived": {"sdtype": "datetime", "datetime_format": "%d %b %Y"},
        "room": {"sdtype": "categorical"},
        "stars": {"sdtype": "categorical", "order": ["one", "two"]},
        "paid": {"sdtype": "boolean"},
    },
}
SMARTNOISE = """
# as the documentation of SmartNoise SQL writes it
"":
  hospital:
    visits:
      row_privacy: False
      rows: 1000
      max_ids: 3
      pid:
        type: int
        private_id: True
      age:
        type: int
        lower: 0
        upper: 110
      cost:
        type: float     # in euro
        lower: 0.5
        upper: 1e5
        nullable: true
      ward:
        type: string
        cardinality: 4
"""


def test_sdv_lacks_bounds_and_categories_and_they_are_asked_for() -> None:
    drafts, top = converters.from_sdv(SDV)

    with pytest.raises(SchemaError) as caught:
        finish(drafts, {**TOP, **top}, {})
    said = str(caught.value)
    assert "4 public facts are missing" in said
    for name in ("rate", "nights", "arrived", "room"):
        assert f"'{name}'" in said


def test_sdv_with_its_gaps_filled() -> None:
    drafts, top = converters.from_sdv({"tables": {"stays": SDV}})
    bounds = {"constraints": {"minimum": 0, "maximum": 900}}
    days = {"constraints": {"minimum": "2020-01-01", "maximum": "2024-12-31"}}
    fill = {"fields": {"rate": bounds, "nights": bounds, "arrived": days, "room": {"categories": ["basic", "suite"]}}}
    schema = finish(drafts, {**TOP, **top}, fill)

    assert [field.type for field in schema.fields] == ["string", "string", "number", "integer", "date", "string", "string", "boolean"]
    assert (schema["mail"].fake, schema["guest"].role, schema["stars"].ordered, schema["arrived"].format) == (
        "email",
        "identifier",
        True,
        "%d %b %Y",
    )
    assert schema.primary_key == ("guest",)


def test_smartnoise_yaml(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(SMARTNOISE, encoding="utf-8")
    drafts, top = converters.read(path, "smartnoise")
    schema = finish(drafts, {"dp:dataset": TOP["dp:dataset"], "dp:unit": {**top["dp:unit"], "name": "patient"}}, {"fields": {"ward": None}})

    assert (schema.unit.field, schema.unit.max_rows) == ("pid", 3)
    assert (schema["age"].minimum, schema["age"].maximum) == (0, 110)
    assert (schema["cost"].maximum, schema["cost"].nullable) == (1e5, True)
    # A private table's size is not taken over.
    assert schema.rows is None


def test_sdnist() -> None:
    data = {
        "schema": {
            "SEX": {"dtype": "int64", "values": [1, 2]},
            "MSP": {"has_null": True, "null_value": "N", "dtype": "object", "values": ["N", "1", "2"]},
            "PINCP": {"has_null": True, "null_value": "N", "dtype": "object", "min": -4600, "max": 1341000},
            "DENSITY": {"dtype": "float64", "min": 1457, "max": 3683},
        }
    }
    drafts, _ = converters.from_sdnist(data)
    sex, msp, pincp, density = finish(drafts, TOP, {}).fields

    assert (sex.categories, msp.categories, msp.missing_values) == (("1", "2"), ("1", "2"), ("", "N"))
    assert (pincp.type, pincp.minimum, pincp.nullable, density.type) == ("integer", -4600, True, "number")


@pytest.mark.parametrize("kind", converters.CONVERTERS)
@pytest.mark.parametrize("data", [[], {}, {"columns": 3}, {"a": {"b": 1}}, "text", None])
def test_what_is_not_metadata_is_refused(kind: str, data: Any) -> None:
    with pytest.raises(SchemaError, match="this is not"):
        converters.CONVERTERS[kind](data, None)


def test_one_of_several_tables_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    path.write_text(json.dumps({"tables": {"a": SDV, "b": {"columns": {"x": {"sdtype": "boolean"}}}}}), encoding="utf-8")

    with pytest.raises(SchemaError, match="name one of the tables a, b with --table"):
        converters.read(path, "sdv")
    assert len(converters.read(path, "sdv", "b")[0]) == 1
    with pytest.raises(SchemaError, match="kind='csvw' must be one of"):
        converters.read(path, "csvw")


def test_indented_values() -> None:
    text = "a: 1\nb:\n    c: 'it''s'  # note\n    d: \"x: y\"\n    e:\n      f: -2.5\n    g: no\nh: a # b\ni:\n"

    assert parse(text, "t") == {"a": 1, "b": {"c": "it's", "d": "x: y", "e": {"f": -2.5}, "g": False}, "h": "a", "i": None}


@pytest.mark.parametrize(
    "text",
    ["- a", "a: [1]", "a: &x", "a: {b: 1}", "a: |", "a:\n    b: 1\n  c: 2", "a: 1\na: 2", "just text", "a: 1\n  b: 2"],
)
def test_yaml_beyond_mappings_is_refused_by_line(text: str) -> None:
    with pytest.raises(SchemaError, match=r"'t', line \d"):
        parse(text, "t")
