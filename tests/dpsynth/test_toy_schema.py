"""The toy table has the caller's columns, unit and neighbours, and stays small by a public rule."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, datetime

import numpy as np
import pytest

from audits.code.toy import Toy, unit_rows
from dpsynth.code_audits import toy_for
from dpsynth.encode import Encoder
from dpsynth.privacy import PrivacyBudget
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import open_source
from dpsynth.synthesizers import SYNTHESIZERS, Aim, Independent
from dpsynth.toy_mechanism import ToyMechanism
from dpsynth.toy_schema import LARGE_JOINT, MOST_COLUMNS, MOST_LEVELS, cells, standard_schema, toy_schema
from tests.chance import kernel_noise

BUDGET = PrivacyBudget(1.0, 1e-6)
KEY = Field("key", "string", role="identifier")
EVERY_KIND = (
    Field("ward", "string", categories=("a", "b", "c"), nullable=True),
    Field("state", "string", categories=("x", "y", "other"), other="other"),
    Field("flag", "boolean", true_values=("Y",), false_values=("N",)),
    Field("age", "integer", ordered=True, minimum=0, maximum=99),
    Field("cost", "number", ordered=True, minimum=0.0, maximum=10.0, bins="dp"),
    Field("born", "date", ordered=True, minimum=date(1990, 1, 1), maximum=date(2020, 12, 31), resolution="year"),
)


def schema(fields: tuple[Field, ...], max_rows: int = 3, neighbours: str = "add_remove") -> Schema:
    return Schema("real", "patients", Unit("person", "key", max_rows), (KEY, *fields), neighbours=neighbours)


def test_few_columns_stay_as_they_are() -> None:
    made = toy_schema(schema(EVERY_KIND, 4, "replace_one"))

    assert made.modelled == EVERY_KIND
    assert (made.unit, made.neighbours) == (Unit("person", "key", 4), "replace_one")
    assert "patients" not in str(made.to_dict())


def test_of_many_columns_every_kind_stays_and_then_the_widest() -> None:
    many = tuple(Field(f"c{i}", "string", categories=tuple("ab")) for i in range(30))
    made = toy_schema(schema((*many, *EVERY_KIND[:4])))

    assert {"ward", "state", "flag", "age"} <= {field.name for field in made.modelled}
    assert [f.name for f in made.modelled if f.name.startswith("c") and f.name != "cost"] != [f.name for f in many]


@pytest.mark.parametrize("n_columns", [1, 3, 19, 60])
def test_a_joint_that_is_large_stays_large_and_a_small_one_small(n_columns: int) -> None:
    given = schema(tuple(Field(f"c{i}", "string", categories=tuple("ab")) for i in range(n_columns)))
    joint = math.prod(cells(f) for f in toy_schema(given).modelled)

    assert joint >= min(LARGE_JOINT, 2**n_columns)
    if 2**n_columns < LARGE_JOINT:
        assert len(toy_schema(given).modelled) <= max(MOST_COLUMNS, n_columns)
        assert n_columns > MOST_COLUMNS or joint == 2**n_columns


def test_long_lists_are_cut_and_keep_what_the_encoder_falls_back_to() -> None:
    codes = tuple(str(i) for i in range(5000))
    made = toy_schema(
        schema(
            (
                Field("icd", "string", categories=codes, other="4999"),
                Field("zip", "string", categories=codes, unseen="3000"),
                Field("score", "number", ordered=True, minimum=0.0, maximum=1.0, bins=1000),
                Field("edges", "integer", ordered=True, minimum=0, maximum=999, bins=tuple(range(1, 900))),
            )
        )
    )

    assert all(cells(field) <= MOST_LEVELS + 1 for field in made.modelled)
    assert "4999" in made["icd"].levels and "3000" in made["zip"].levels


def test_a_column_that_a_recipe_names_stays() -> None:
    many = tuple(Field(f"c{i}", "string", categories=tuple("abcdefgh")) for i in range(12))
    target = Field("y", "boolean")

    made = toy_for(Aim(target="y"), schema((*many, replace(many[0], name="z"), target)), BUDGET)
    assert "y" in {field.name for field in made.schema.modelled}


def test_spare_columns_take_names_of_their_own() -> None:
    given = schema(tuple(Field(name, "string", categories=tuple("ab")) for name in ("cost", *(f"c{i}" for i in range(40)))))

    names = [field.name for field in toy_schema(given).fields]
    assert len(set(names)) == len(names)


def test_dates_and_flags_of_the_toy_are_read_as_declared() -> None:
    when = Field("when", "datetime", ordered=True, minimum=datetime(2020, 1, 1), maximum=datetime(2020, 1, 3))
    odd = Field("day", "date", ordered=True, minimum=date(2000, 1, 1), maximum=date(2000, 3, 1), format="%d.%m.%Y", nullable=True)
    mechanism = ToyMechanism(Independent(), BUDGET, schema((*EVERY_KIND, when, odd)))
    toy = Toy(tuple(mechanism.columns), "key", 3)
    encoder = Encoder(mechanism.schema)
    units = [(f"u{i}", [[column_value(column, i / 4) for column in toy.columns]]) for i in range(5)]
    codes = encoder.encode(open_source(mechanism._written(toy.frame(units)), encoder.columns)).codes

    for name in ("born", "when", "day"):
        size = encoder.grid_cells(name)
        assert codes[name][0] == 0 and codes[name][-1] == size - 1
        assert (np.diff(codes[name].astype(int)) > 0).all()
    assert codes["flag"].tolist() == [0, 0, 1, 1, 1]


def column_value(column: object, place: float) -> object:
    from audits.code.toy import inside

    return inside(column, place)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", SYNTHESIZERS)
@pytest.mark.parametrize("kind", ["outlier", "nan", "infinite", "extreme", "surrogate", "foreign_type"])
def test_odd_cells_of_the_toy_never_raise(name: str, kind: str) -> None:
    mechanism = ToyMechanism(SYNTHESIZERS[name](), PrivacyBudget(0.5, 1e-6), toy_schema(schema(EVERY_KIND[2:6])))
    toy = Toy(tuple(mechanism.columns), "key", 3)
    like = toy.units(1, 0)[0][1][0]
    table = toy.frame([*toy.units(5, 0), ("odd", unit_rows(toy, kind, 3, like))])

    with kernel_noise(0):
        assert set(mechanism(table)) == {"model", "sample", "transcript"}


def test_the_standard_schema_is_a_toy_of_its_own() -> None:
    for rows in (1, 3):
        made = standard_schema("person", rows, "add_remove")
        assert math.prod(cells(field) for field in made.modelled) > LARGE_JOINT
        assert made.unit.max_rows == rows
