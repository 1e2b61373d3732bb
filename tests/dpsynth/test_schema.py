from __future__ import annotations

import copy
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from dpsynth.errors import SchemaError
from dpsynth.schema import Field, Schema, Unit

AGE: dict[str, Any] = {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 120}}
SEX: dict[str, Any] = {"name": "sex", "type": "string", "categories": ["f", "m"]}
BASE: dict[str, Any] = {
    "dp:dataset": {"id": "clinic", "population": "patients"},
    "dp:unit": {"name": "person"},
    "fields": [AGE, SEX],
}


def schema(*fields: dict[str, Any], **top: Any) -> dict[str, Any]:
    return {**copy.deepcopy(BASE), **({"fields": list(fields)} if fields else {}), **top}


def number(**keys: Any) -> dict[str, Any]:
    return {"name": "x", "type": "number", "constraints": {"minimum": 0, "maximum": 1}, **keys}


def day(**keys: Any) -> dict[str, Any]:
    return {"name": "d", "type": "date", "constraints": {"minimum": "2000-01-01", "maximum": "2020-12-31"}, **keys}


MISTAKES: list[tuple[str, Any, str]] = [
    ("not an object", [], "a schema is a JSON object, not array"),
    ("no dataset", {k: v for k, v in BASE.items() if k != "dp:dataset"}, "the schema has no dp:dataset"),
    ("no unit", {k: v for k, v in BASE.items() if k != "dp:unit"}, "the schema has no dp:unit"),
    ("no fields", schema(fields=[]), "the schema has an empty fields"),
    ("unknown key", schema(dpunit={}), "the schema has the unknown key 'dpunit'; known keys are"),
    ("unknown key of a field", schema({**AGE, "dp:rol": "quasi"}), "field 'age' has the unknown key 'dp:rol'"),
    (
        "unknown constraint",
        schema({**AGE, "constraints": {"minimum": 0, "maximum": 9, "pattern": "x"}}),
        "field 'age' has the unknown key 'constraints.pattern'",
    ),
    ("no name", schema({"type": "string"}), "field number 1 has no name"),
    ("no type", schema({"name": "age"}), "field 'age' has no type"),
    ("unknown type", schema({**AGE, "type": "geojson"}), "field 'age' has type='geojson'; it must be one of boolean"),
    ("unknown role", schema({**AGE, "dp:role": "key"}), "field 'age' has dp:role='key'; it must be one of identifier"),
    ("role of a wrong type", schema({**AGE, "title": 3}), "field 'age' has title of type integer; it must be string"),
    ("twice the same field", schema(AGE, AGE), "field 'age' is declared twice"),
    (
        "no maximum",
        schema({**AGE, "constraints": {"minimum": 0}}),
        "field 'age' has no constraints.maximum; give a public bound, e.g. 120",
    ),
    (
        "no minimum",
        schema({**AGE, "constraints": {"maximum": 9}}),
        "field 'age' has no constraints.minimum; give a public bound, e.g. 0",
    ),
    (
        "no bounds of a date",
        schema({"name": "d", "type": "date"}),
        "field 'd' has no constraints.minimum; give a public bound, e.g. \"2000-01-01\"",
    ),
    (
        "reversed bounds",
        schema({**AGE, "constraints": {"minimum": 9, "maximum": 1}}),
        "field 'age' has constraints.minimum=9",
    ),
    (
        "reversed dates",
        schema(day(constraints={"minimum": "2020-01-01", "maximum": "2000-01-01"})),
        "constraints.minimum=2020-01-01",
    ),
    ("empty range", schema(number(constraints={"minimum": 1, "maximum": 1})), "field 'x' has constraints.minimum=1"),
    (
        "bound of another type",
        schema({**AGE, "constraints": {"minimum": 0.5, "maximum": 9}}),
        "0.5, which is not of type integer",
    ),
    ("text bound", schema(number(constraints={"minimum": "0", "maximum": 9})), "'0', which is not of type number"),
    (
        "bound that is no date",
        schema(day(constraints={"minimum": "01/02/2000", "maximum": "2020-01-01"})),
        "not an ISO 8601 date",
    ),
    ("number as a date", schema(day(constraints={"minimum": 2000, "maximum": 2020})), "write a date as text"),
    ("huge bound", schema({**AGE, "constraints": {"minimum": 0, "maximum": 10**20}}), "must lie within +-2**53"),
    ("narrow range", schema(number(constraints={"minimum": 1e12, "maximum": 1e12 + 1e-3})), "too close together"),
    (
        "bounds of categories",
        schema({**SEX, "constraints": {"minimum": 0}}),
        "field 'sex' has type=string and constraints.minimum",
    ),
    (
        "no categories",
        schema({"name": "sex", "type": "string"}),
        "field 'sex' has no categories; list its public values",
    ),
    ("empty categories", schema({**SEX, "categories": []}), "field 'sex' has an empty categories"),
    ("category twice", schema({**SEX, "categories": ["f", "m", " f"]}), "field 'sex' has the category ' f' twice"),
    ("category and missing", schema({**SEX, "missingValues": ["m"]}), "'m' both as a category and as a missing value"),
    (
        "categories of a number",
        schema({**AGE, "categories": [1, 2]}),
        'field \'age\' has type=integer and categories; use "type": "string"',
    ),
    (
        "categories of a boolean",
        schema({"name": "b", "type": "boolean", "categories": ["x"]}),
        "use trueValues and falseValues",
    ),
    (
        "true is false",
        schema({"name": "b", "type": "boolean", "trueValues": ["0"]}),
        "'0' in trueValues and in falseValues",
    ),
    (
        "other that is no category",
        schema({**SEX, "dp:other": "x"}),
        "field 'sex' has dp:other='x', which must be one of its categories",
    ),
    (
        "unseen that is no category",
        schema({**SEX, "dp:unseen": "x"}),
        "field 'sex' has dp:unseen='x', which must be one of its categories",
    ),
    ("unseen out of bounds", schema({**AGE, "dp:unseen": 121}), "field 'age' has dp:unseen=121 outside its bounds"),
    ("unseen beside nullable", schema({**AGE, "dp:unseen": 1, "dp:nullable": True}), "dp:unseen beside dp:nullable"),
    ("other of a number", schema({**AGE, "dp:other": 1}), "dp:other, which is for categories"),
    ("required and nullable", schema({**SEX, "constraints": {"required": True}, "dp:nullable": True}), "keep one"),
    ("unordered number", schema({**AGE, "dp:ordered": False}), "field 'age' has type=integer, which is ordered"),
    ("ordered boolean", schema({"name": "b", "type": "boolean", "dp:ordered": True}), "which is not ordered"),
    ("ordered twice", schema({**SEX, "dp:ordered": True, "categoriesOrdered": False}), "they differ; keep one"),
    ("no bins", schema({**AGE, "dp:bins": 0}), "field 'age' has an invalid dp:bins"),
    ("bins by a word", schema({**AGE, "dp:bins": "auto"}), "field 'age' has an invalid dp:bins"),
    (
        "edges out of bounds",
        schema({**AGE, "dp:bins": [0, 121]}),
        "field 'age' has the dp:bins edge 121 outside its bounds",
    ),
    ("edges in disorder", schema({**AGE, "dp:bins": [9, 5]}), "edges that are not strictly increasing"),
    ("bins of categories", schema({**SEX, "dp:bins": 2}), "field 'sex' has type=string and dp:bins"),
    ("resolution of an integer", schema({**AGE, "dp:resolution": 2}), "dp:resolution, which is for numbers and dates"),
    ("resolution of a date", schema(day(**{"dp:resolution": "hour"})), "it must be one of year, month, day"),
    ("resolution zero", schema(number(**{"dp:resolution": 0})), "it must be a step > 0"),
    ("resolution too fine", schema(number(**{"dp:resolution": 1e-17})), "too fine for its range"),
    ("format of a number", schema({**AGE, "format": "%d"}), "format='%d', which is only read for dates"),
    ("decimal comma of a whole number", schema({**AGE, "decimalChar": ","}), "decimalChar=','; it is"),
    ("fake of a model column", schema({**SEX, "dp:fake": "name"}), "which is for identifiers"),
    (
        "bins of an identifier",
        schema({"name": "i", "type": "string", "dp:role": "identifier", "dp:bins": 3}, AGE),
        "dp:bins has no meaning",
    ),
    ("only identifiers", schema({"name": "i", "type": "string", "dp:role": "identifier"}), "there is nothing to model"),
    (
        "unit that is no field",
        schema(**{"dp:unit": {"name": "p", "field": "pid"}}),
        "dp:unit.field='pid' is not a field",
    ),
    ("unit that is modelled", schema(**{"dp:unit": {"name": "p", "field": "sex"}}), 'needs "dp:role": "identifier"'),
    ("rows without a key", schema(**{"dp:unit": {"name": "p", "maxRows": 3}}), "dp:unit.maxRows=3 needs dp:unit.field"),
    ("no rows", schema(**{"dp:unit": {"name": "p", "maxRows": 0}}), "dp:unit.maxRows=0; it must be >= 1"),
    (
        "unknown neighbours",
        schema(**{"dp:neighbours": "bounded"}),
        "dp:neighbours='bounded'; it must be one of add_remove",
    ),
    ("negative rows", schema(**{"dp:rows": -1}), "the schema has dp:rows=-1; it must be >= 1"),
    ("unknown primary key", schema(primaryKey="id"), "primaryKey names 'id', which is not among the fields"),
]


@pytest.mark.parametrize(("data", "message"), [case[1:] for case in MISTAKES], ids=[case[0] for case in MISTAKES])
def test_each_mistake_is_named(data: Any, message: str) -> None:
    with pytest.raises(SchemaError) as caught:
        Schema.from_dict(data)
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.exit_code == 2


FULL = schema(
    {"name": "pid", "type": "string", "dp:role": "identifier", "dp:fake": "uuid4", "title": "Person"},
    {**AGE, "dp:bins": [18, 65], "dp:role": "quasi", "dp:group": True, "dp:unseen": 40},
    {
        "name": "sex",
        "type": "string",
        "categories": [{"value": 1, "label": "male"}, {"value": 2}],
        "categoriesOrdered": True,
        "dp:nullable": True,
    },
    {**SEX, "name": "region", "dp:other": "m", "missingValues": ["", "NA"]},
    number(**{"dp:resolution": 0.01, "dp:bins": "dp"}),
    day(**{"dp:resolution": "month", "dp:bins": ["2010-01-01"], "format": "%d.%m.%Y"}),
    {"name": "t", "type": "datetime", "constraints": {"minimum": "2000-01-01T00:00:00Z", "maximum": "2020-01-01"}},
    {"name": "b", "type": "boolean", "trueValues": ["J"], "falseValues": ["N"], "dp:unseen": True},
    **{
        "dp:unit": {"name": "person", "field": "pid", "maxRows": 5},
        "dp:dataset": {"id": "clinic", "population": "patients", "populationBound": 1000},
        "dp:rows": 100,
        "dp:neighbours": "replace_one",
        "primaryKey": "pid",
        "title": "Clinic",
    },
)


def test_a_schema_survives_json() -> None:
    first = Schema.from_dict(FULL)
    again = Schema.from_dict(json.loads(json.dumps(first.to_dict())))
    assert again == first
    assert again.digest == first.digest


def test_declared_values_have_the_types_of_their_columns() -> None:
    read = Schema.from_dict(FULL)
    assert read["sex"].categories == ("1", "2")
    assert read["sex"].labels == ("male", "2")
    assert read["d"].minimum == date(2000, 1, 1)
    assert read["t"].minimum == datetime(2000, 1, 1)
    assert read["b"].unseen is True
    assert read.unit == Unit("person", "pid", 5)
    assert (read.rows, read.population_bound, read.neighbours) == (100, 1000, "replace_one")


def test_identifiers_are_not_modelled_and_only_the_unit_key_is_read() -> None:
    name = {"name": "name", "type": "string", "dp:role": "identifier"}
    read = Schema.from_dict({**FULL, "fields": [name, *FULL["fields"]]})
    assert {field.name for field in read.identifiers} == {"name", "pid"}
    assert "name" not in read.columns and "pid" in read.columns
    assert "pid" not in {field.name for field in read.modelled}


def test_any_change_of_meaning_changes_the_digest() -> None:
    one = Schema.from_dict(BASE)
    other = Schema.from_dict(schema({**AGE, "constraints": {"minimum": 0, "maximum": 121}}, SEX))
    assert one.digest != other.digest
    assert one.digest == Schema.from_dict(copy.deepcopy(BASE)).digest


def test_a_field_made_in_python_is_checked_too() -> None:
    with pytest.raises(SchemaError, match="must be finite"):
        Field("x", "number", minimum=float("-inf"), maximum=1.0)
    with pytest.raises(SchemaError, match="which is not of type number"):
        Field("x", "number", minimum=True, maximum=2.0)
    with pytest.raises(SchemaError, match="has type='text'"):
        Field("x", "text")


def test_an_unknown_column_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(SchemaError, match="field 'height' is not in the schema; it has age, sex"):
        Schema.from_dict(BASE)["height"]


FILES = {
    "missing": (None, "does not exist"),
    "binary": (b"\xff\xfe{", "is not UTF-8 text"),
    "not json": (b"{", "is not JSON"),
    "empty": (b"", "is not JSON"),
    "key twice": (b'{"fields": [], "fields": []}', "key 'fields' appears twice"),
    "nan": (b'{"dp:rows": NaN}', "contains NaN"),
    "deep": (b"[" * 100_000, "nested too deeply"),
}


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_schema_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "s.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SchemaError, match=message):
        Schema.read(file)


def test_a_folder_is_not_a_schema(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="cannot be read"):
        Schema.read(tmp_path)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "s.json"
    file.write_text(json.dumps(BASE), encoding="utf-8-sig")
    assert Schema.read(file) == Schema.from_dict(BASE)


def test_lint_gives_advice_and_is_silent_when_there_is_none() -> None:
    advice = "\n".join(Schema.from_dict(schema({**AGE, "name": "patient_id", "missingValues": ["NA"]}, day())).lint())
    for words in ("looks like an identifier", "declares missing values", "keeps exact dates", '"quasi"', "no dp:rows"):
        assert words in advice
    good = schema({**AGE, "dp:role": "quasi"}, {**SEX, "dp:role": "sensitive"}, **{"dp:rows": 10})
    assert Schema.from_dict(good).lint() == []


def test_the_json_schema_is_itself_valid() -> None:
    import jsonschema

    from dpsynth import schema as module

    shape = json.loads((Path(module.__file__).parent / "schemas" / "dpsynth-schema-1.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(shape)


def test_the_example_in_the_docs_is_a_schema_without_advice() -> None:
    page = Path(__file__).parents[2] / "docs" / "schema.md"
    if not page.exists():
        pytest.skip("the docs are not beside the tests")
    text = page.read_text(encoding="utf-8")
    example = Schema.from_dict(json.loads(text.split("```json\n")[1].split("```")[0]))
    assert example.unit == Unit("patient", "patient_id", 5)
    assert example.lint() == []


def test_the_docs_name_every_key_of_a_field() -> None:
    from dpsynth import schema as module

    page = Path(__file__).parents[2] / "docs" / "schema.md"
    if not page.exists():
        pytest.skip("the docs are not beside the tests")
    text = page.read_text(encoding="utf-8")
    shape = json.loads((Path(module.__file__).parent / "schemas" / "dpsynth-schema-1.json").read_text(encoding="utf-8"))
    keys = {*shape["properties"], *shape["$defs"]["field"]["properties"]} - {"$schema", "fields", "dp:ordered"}
    assert [key for key in sorted(keys) if key not in text] == []


def test_the_population_of_the_smallest_area_is_declared_and_reaches_the_evidence() -> None:
    from dpsynth.evidence import dictionary
    from dpsynth.marginals import Attribute, Domain

    zip3 = {"name": "zip3", "type": "string", "categories": ["036", "100"]}
    place = {**zip3, "dp:areaPopulation": 24_000}
    county = {"name": "county", "type": "string", "categories": ["a", "b"], "dp:areaPopulation": 31_000}
    undeclared, declared = Schema.from_dict(schema(zip3)), Schema.from_dict(schema(place, county))
    assert any("'zip3'" in line and "dp:areaPopulation" in line for line in undeclared.lint())
    assert not any("dp:areaPopulation" in line for line in declared.lint())
    assert Schema.from_dict(declared.to_dict()) == declared
    for made, least in ((undeclared, None), (declared, 24_000)):
        domain = Domain(tuple(Attribute(field.name, 2, False, False, "declared") for field in made.modelled))
        assert dictionary(made, domain)["geo_min_population"] == least
    for wrong in (-1, 2.5, "many"):
        with pytest.raises(SchemaError, match=r"areaPopulation|zip3"):
            Schema.from_dict(schema({**place, "dp:areaPopulation": wrong}))
    with pytest.raises(SchemaError, match="dp:areaPopulation has no meaning"):
        Schema.from_dict(schema({"name": "id", "type": "string", "dp:role": "identifier", "dp:areaPopulation": 5}, county))


def test_a_decimal_comma_is_written_down_and_read_back() -> None:
    field = Field("x", "number", ordered=True, minimum=0.0, maximum=1.0, decimal=",")
    assert field.to_dict()["decimalChar"] == ","
    read = Schema.from_dict(Schema("d", "p", Unit("row"), (field,)).to_dict())
    assert read["x"] == field
