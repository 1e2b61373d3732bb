"""Labels of levels lead back to their codes; a marginal as a table says what the arrays say."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import dpsynth
from dpsynth.constraints.steering import condition_of
from dpsynth.encode import Encoder
from dpsynth.errors import ConfigError
from dpsynth.level_labels import level_labels
from dpsynth.marginals import COUNT, Attribute
from dpsynth.schema import Schema
from dpsynth.sources import open_source

SCHEMA = Schema.from_dict(
    {
        "dp:dataset": {"id": "labels", "population": "nobody"},
        "dp:unit": {"name": "person"},
        "fields": [
            {"name": "flag", "type": "boolean", "dp:nullable": True},
            {"name": "ward", "type": "string", "categories": ["a", "b, c", "10 to 19"]},
            {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 99}, "dp:bins": [18, 65, 66]},
            {"name": "pay", "type": "number", "constraints": {"minimum": -1, "maximum": 1}, "dp:resolution": 0.1, "dp:bins": [0]},
            {"name": "free", "type": "number", "constraints": {"minimum": 0, "maximum": 1e6}, "dp:bins": "dp", "dp:nullable": True},
            {"name": "day", "type": "date", "constraints": {"minimum": "2024-02-01", "maximum": "2025-03-31"}, "dp:bins": 7},
            {"name": "stay", "type": "duration", "constraints": {"minimum": "P0D", "maximum": "P30D"}, "dp:bins": ["P1D", "P8D"]},
            {
                "name": "hour",
                "type": "datetime",
                "constraints": {"minimum": "2024-02-01T00:00", "maximum": "2024-02-03T23:00"},
                "dp:bins": 3,
            },
        ],
    }
)
ENCODER = Encoder(SCHEMA).with_edges({"free": [100, 20_000]})


@pytest.mark.parametrize("name", [field.name for field in SCHEMA.fields])
def test_a_label_leads_back_to_its_level(name: str) -> None:
    labels = level_labels(ENCODER.domain[name], ENCODER)

    assert len(labels) == ENCODER.domain[name].size
    for code, label in enumerate(labels):
        ends = str(label).split(" to ") if SCHEMA[name].has_bounds and label is not None else [label]
        # The ranges of real numbers without a resolution touch each other.
        assert _levels(name, ends[:1] if name == "free" else ends) == {code}, label


def _levels(name: str, values: list[object]) -> set[int]:
    """The levels that cells with these values come to."""
    rows = pd.DataFrame(
        {field.name: pd.Series(values if field.name == name else [None] * len(values), dtype=object) for field in SCHEMA.fields}
    )
    return set(ENCODER.bin(ENCODER.encode(open_source(rows, ENCODER.columns)).codes).columns[name].tolist())


def test_labels_are_written_as_people_write_them() -> None:
    assert level_labels(ENCODER.domain["age"], ENCODER) == ("0 to 17", "18 to 64", 65, "66 to 99")
    assert level_labels(ENCODER.domain["pay"], ENCODER) == ("-1 to -0.1", "0 to 1")
    assert level_labels(ENCODER.domain["flag"], ENCODER) == (False, True, None)
    assert level_labels(ENCODER.domain["stay"], ENCODER) == ("P0D", "P1D to P7D", "P8D to P30D")
    assert level_labels(ENCODER.domain["hour"], ENCODER)[0] == "2024-02-01 00:00:00 to 2024-02-01 23:00:00"


def test_without_an_encoder_a_label_is_the_code_and_a_number_of_rows_is_itself() -> None:
    assert level_labels(Attribute("a", 3), None) == (0, 1, 2)
    assert level_labels(Attribute("rows per person", 3, ordered=True, scope=COUNT), ENCODER) == (1, 2, 3)


def test_a_marginal_as_a_table_has_a_row_per_cell() -> None:
    rows = pd.DataFrame({"flag": [True, None] * 200, "ward": ["a"] * 400, "age": [70] * 400, "pay": [0.5] * 400})
    rows = rows.assign(free=3.0, day="2024-05-05", stay="P2D", hour="2024-02-02")
    model = dpsynth.Independent().fit(dpsynth.PrivateData.read(rows, SCHEMA, dpsynth.PrivacyBudget(epsilon=8.0, delta=1e-6)))

    found = model.marginal(["age", "flag"])
    table = found.table()

    assert list(table.columns) == ["age", "flag", "count", "standard_error"]
    assert len(table) == found.values.size == 12
    wanted = table[(table["age"] == "66 to 99") & table["flag"].isna()]
    assert wanted["count"].item() == found.values[3, 2] > 100
    assert wanted["standard_error"].item() == found.standard_error[3, 2]
    assert np.isclose(table["count"].sum(), model.total)
    pd.testing.assert_frame_equal(model.marginal("age").table(), model.marginal(["age"]).table())


def test_what_is_no_condition_and_no_number_of_rows_is_refused() -> None:
    rows = pd.DataFrame({name: [None] for name in ENCODER.columns})
    model = dpsynth.Independent().fit(dpsynth.PrivateData.read(rows, SCHEMA, dpsynth.PrivacyBudget(epsilon=8.0, delta=1e-6)))

    with pytest.raises(ConfigError, match="where='ward' must map columns to conditions"):
        model.sample(3, where="ward")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integer"):
        model.sample(2.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="column 'wards' is not in the domain; it has flag, ward"):
        model.marginal("wards")


def test_a_model_is_shown_in_a_line_without_its_tables() -> None:
    rows = pd.DataFrame({name: [None] for name in ("flag", "ward", "age", "pay", "free", "day", "stay", "hour")})
    model = dpsynth.Independent().fit(dpsynth.PrivateData.read(rows, SCHEMA, dpsynth.PrivacyBudget(epsilon=8.0, delta=1e-6)))

    assert repr(model).startswith("SyntheticModel(independent, 8 columns, epsilon 8, delta 1e-06, about ")
    assert len(repr(model)) < 120


@pytest.mark.parametrize(
    ("column", "asked", "offered"),
    [
        ("ward", "d", ": a, b, c, 10 to 19"),
        ("flag", "perhaps", ": false, true"),
        ("age", 100, ", from 0 to 99"),
        ("day", "2026-01-01", ", from 2024-02-01 to 2025-03-31"),
        ("stay", "P31D", ", from P0D to P30D"),
    ],
)
def test_an_error_says_what_may_be_asked_for(column: str, asked: object, offered: str) -> None:
    with pytest.raises(ConfigError, match=f"where '{column}': that value is not in the declared domain of the column{offered}"):
        condition_of(ENCODER, column, asked)
