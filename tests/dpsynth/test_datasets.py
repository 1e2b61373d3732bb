from __future__ import annotations

import gzip
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dpsynth import datasets
from dpsynth.encode import Encoder
from dpsynth.errors import ConfigError, InputError, SchemaError
from dpsynth.identifiers import surrogates
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import header, open_source

SHAPES = {"rand-hie": (20_190, 24, 5_912), "sipp-401k": (9_275, 9, 9_275)}
SCRIPT = Path(__file__).parents[2] / "scripts" / "derive_datasets.py"


def test_the_names_are_those_tested() -> None:
    assert set(datasets.NAMES) == set(SHAPES)


@pytest.mark.parametrize("name", datasets.NAMES)
def test_a_dataset_follows_its_schema(name: str) -> None:
    schema = Schema.read(datasets.schema_path(name))
    rows, columns, units = SHAPES[name]
    assert schema.dataset == name
    assert schema.lint() == []
    assert header(datasets.path(name)) == [field.name for field in schema.fields]
    assert len(schema.fields) == columns
    encoder = Encoder(schema)
    coded = encoder.encode(open_source(datasets.path(name), encoder.columns))
    assert coded.n_rows == rows
    # Public and round: the number of rows to draw is never the number of records.
    assert schema.rows is not None and schema.rows % 1000 == 0 and schema.rows != rows
    persons = np.arange(rows) if coded.units is None else coded.units
    _, rows_of_a_person = np.unique(persons, return_counts=True)
    assert len(rows_of_a_person) == units
    assert rows_of_a_person.max() <= schema.unit.max_rows
    assert schema.population_bound is not None and units <= schema.population_bound


@pytest.mark.parametrize("name", datasets.NAMES)
def test_no_declared_bound_or_list_was_missed(name: str) -> None:
    """Every cell of the bundled records is in its list or its bounds: nothing of them is silently clipped."""
    schema = Schema.read(datasets.schema_path(name))
    lines = gzip.decompress(datasets.path(name).read_bytes()).decode().splitlines()
    names = lines[0].split(",")
    for field in schema.modelled:
        place = names.index(field.name)
        cells = {line.split(",")[place] for line in lines[1:]}
        assert field.nullable or "" not in cells
        cells.discard("")
        if field.has_bounds:
            low, high = field.minimum, field.maximum
            assert isinstance(low, int | float) and isinstance(high, int | float)
            assert all(low <= float(cell) <= high for cell in cells), field.name
        else:
            assert cells <= set(field.levels), field.name


def test_the_datasets_are_small_and_documented() -> None:
    files = list(datasets.path("rand-hie").parent.iterdir())
    assert sum(file.stat().st_size for file in files) < 1_500_000
    for name in datasets.NAMES:
        notes = datasets.notes_path(name).read_text(encoding="utf-8")
        assert "**Licence.**" in notes and "**Origin.**" in notes and "**Limits.**" in notes


def test_an_unknown_dataset_is_an_error_that_lists_the_known() -> None:
    with pytest.raises(InputError, match="dataset 'adult' is not bundled; there are rand-hie, sipp-401k"):
        datasets.path("adult")


@pytest.fixture
def derive() -> ModuleType:
    if not SCRIPT.exists():
        pytest.skip("the scripts are not beside the tests")
    spec = importlib.util.spec_from_file_location("derive_datasets", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_script_writes_one_derived_record_as_expected(derive: ModuleType) -> None:
    used = (
        "zper site year coins idp tookphys female black xage educdec num income hlthg hlthf hlthp disea physlm mhi "
        "ghindx mdvis notmdvis mentvis totadm outpdol drugdol inpdol"
    )
    source = dict.fromkeys(used.split(), "0")
    source |= {"zper": "7", "black": "0.022", "xage": "42.9", "income": "99.6", "ghindx": "", "outpdol": "1.239"}
    record = derive.rand_hie(source)
    assert record["person"] == "7"
    assert (record["sex"], record["black"], record["limitation"]) == ("male", "", "false")  # imputed: missing
    assert (record["age"], record["income"], record["health"]) == ("42", "100", "excellent")
    assert (record["general_health"], record["outpatient_spending"]) == ("", "1.24")
    assert list(record) == header(datasets.path("rand-hie"))


ROW = Field("v", "boolean")


def identified(*fields: Field) -> Schema:
    return Schema("d", "p", Unit("person"), (*fields, ROW))


def test_surrogates_are_distinct_keys_or_fakes_and_follow_the_seed() -> None:
    schema = identified(
        Field("key", "string", role="identifier"),
        Field("number", "integer", role="identifier"),
        Field("name", "string", role="identifier", fake="name"),
    )
    first = surrogates(schema, 50, seed=3)
    assert first["key"][:2].tolist() == ["SYN-000001", "SYN-000002"]
    assert first["number"].tolist() == list(range(1, 51))
    assert len(set(first["name"])) > 25
    assert first["name"].tolist() == surrogates(schema, 50, seed=3)["name"].tolist()
    assert first["name"].tolist() != surrogates(schema, 50, seed=4)["name"].tolist()
    assert all(len(values) == 0 for values in surrogates(schema, 0, seed=3).values())


@pytest.mark.parametrize("provider", ["nothing_of_the_kind", "seed_instance", "add_provider", "random"])
def test_only_providers_of_faker_make_fakes(provider: str) -> None:
    with pytest.raises(SchemaError, match=f"dp:fake='{provider}', which is not a provider of Faker"):
        surrogates(identified(Field("name", "string", role="identifier", fake=provider)), 1, seed=0)


def test_surrogates_need_a_type_that_can_be_made_up() -> None:
    with pytest.raises(SchemaError, match="field 'born' is an identifier of type date"):
        surrogates(identified(Field("born", "date", role="identifier")), 1, seed=0)
    with pytest.raises(ConfigError, match="n=-1 must be >= 0"):
        surrogates(identified(), -1, seed=0)
