"""Conditions and shares: exact under the model, written out on tiny domains; what cannot be asked is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsynth.constraints.checking import violations
from dpsynth.constraints.steering import balance_of_texts, conditions_of_texts
from dpsynth.errors import ConfigError
from dpsynth.model import SyntheticModel
from dpsynth.streaming import Chunks
from tests.dpsynth.constraints.tables import day, listed, model_of, number, schema, whole
from tests.dpsynth.constraints.test_drawing import _counts, _fits
from tests.dpsynth.pgm.joints import joint_of as joint_table

ROWS = 20_000
LEVELS: list[list[Any]] = [["0", "1", "2"], ["0", "1", None], ["0", "1", "2", "3"]]


@pytest.fixture(scope="module")
def model() -> SyntheticModel:
    fields = [listed("a", "0", "1", "2"), listed("b", "0", "1", nullable=True), listed("c", "0", "1", "2", "3")]
    return model_of(schema(fields), seed=8, cliques=[(0, 1, 2)])


@pytest.fixture(scope="module")
def wide() -> SyntheticModel:
    fields = [
        whole("age", 0, 99, bins=[18, 65]),
        number("cost", 0, 1000, bins=[10, 100]),
        day("on", "2020-01-01", "2020-12-31", nullable=True),
        listed("sex", "f", "m"),
    ]
    return model_of(schema(fields), seed=9, cliques=[(0, 3)])


def test_rows_given_several_values_follow_the_conditional_joint(model: SyntheticModel) -> None:
    joint = joint_table(model.beliefs)
    expected = np.where(np.isin([0, 1, 2], [0, 2])[:, None, None] & np.array([False, True, True])[None, :, None], joint, 0.0)
    observed = _counts(model.sample(ROWS, seed=1, where={"a": ["0", "2"], "b": ["1", None]}), ["a", "b", "c"], LEVELS)
    assert _fits(observed, expected * ROWS / expected.sum())


def test_a_range_cuts_bins_and_moves_what_depends_on_it(wide: SyntheticModel) -> None:
    table = wide.sample(ROWS, seed=1, where={"age": {"minimum": 60, "exclusiveMaximum": 80}, "cost": {"exclusiveMinimum": 50.5}})
    assert table["age"].between(60, 79).all() and (table["cost"] > 50.5).all()
    # Ages are uniform in a bin: 5 of 47 values of the second one, 15 of 35 of the third.
    joint = joint_table(wide.beliefs).sum(axis=(1, 2)) * np.array([0.0, 5 / 47, 15 / 35])[:, None]
    observed = np.array([[((table["age"] < 65) == low)[table["sex"] == sex].sum() for sex in "fm"] for low in (True, False)])
    assert _fits(observed, joint[1:] * ROWS / joint.sum())
    inside = table.loc[table["age"] >= 65, "age"].value_counts()
    assert _fits(inside.reindex(range(65, 80), fill_value=0).to_numpy(), np.full(15, inside.sum() / 15))


def test_single_values_of_numbers_and_dates_are_met_to_the_digit(wide: SyntheticModel) -> None:
    table = wide.sample(300, seed=1, where={"age": [7, 70], "cost": 12.5, "on": "2020-05-06"})
    assert set(table["age"]) == {7, 70} and set(table["cost"]) == {12.5} and set(table["on"]) == {pd.Timestamp("2020-05-06")}
    assert wide.sample(50, seed=1, where={"on": None})["on"].isna().all()
    assert wide.sample(50, seed=1, where={"on": {"missing": False}})["on"].notna().all()


@pytest.mark.parametrize(
    "where",
    [
        {"age": {"minimum": 200}},
        {"age": {"minimum": 50, "maximum": 20}},
        {"age": "old"},
        {"age": 130},
        {"sex": {"minimum": 3}},
        {"sex": "x"},
        {"sex": None},
        {"height": 3},
        {"on": "yesterday"},
    ],
    ids=str,
)
def test_a_condition_that_cannot_hold_is_refused(wide: SyntheticModel, where: Mapping[str, Any]) -> None:
    with pytest.raises(ConfigError):
        wide.sample(5, seed=0, where=where)


def test_a_condition_against_a_relation_is_refused() -> None:
    made = schema([listed("a", "0", "1"), listed("b", "0", "1")], {"kind": "forbidden", "when": {"a": "0", "b": "0"}})
    with pytest.raises(ConfigError, match="no probability to the condition on a, b"):
        model_of(made).sample(5, seed=0, where={"a": "0", "b": "0"})


def test_a_condition_on_a_total_is_met_by_drawing_until_it_is() -> None:
    made = schema([whole("x", 0, 9), whole("y", 0, 9), whole("t", 0, 18)], {"kind": "sum", "total": "t", "parts": ["x", "y"]})
    model = model_of(made, seed=1)
    table = model.sample(ROWS, seed=0, where={"t": {"minimum": 12}})
    joint = joint_table(model.beliefs)
    legal = np.where(np.add.outer(np.arange(10), np.arange(10)) >= 12, joint, 0.0)
    observed = _counts(table, ["x", "y"], [list(range(10))] * 2)
    assert _fits(observed, legal * ROWS / legal.sum())


def test_a_condition_on_a_mapped_column_conditions_what_determines_it() -> None:
    relation = {"kind": "determines", "by": "a", "field": "b", "map": {"0": "x", "1": "y", "2": "y"}}
    table = model_of(schema([listed("a", "0", "1", "2"), listed("b", "x", "y"), listed("c", "0", "1")], relation)).sample(
        900, seed=0, where={"b": "y"}
    )
    assert set(table["b"]) == {"y"} and set(table["a"]) == {"1", "2"}


@pytest.mark.parametrize("shares", ["uniform", {"0": 0.7, "2": 0.3}], ids=["uniform", "shares"])
def test_balanced_rows_keep_everything_given_the_balanced_column(model: SyntheticModel, shares: Any) -> None:
    joint = joint_table(model.beliefs)
    wanted = np.full(3, 1 / 3) if shares == "uniform" else np.array([0.7, 0.0, 0.3])
    expected = joint / joint.sum(axis=(1, 2), keepdims=True) * wanted[:, None, None]
    observed = _counts(model.sample(ROWS, seed=1, balance={"a": shares}), ["a", "b", "c"], LEVELS)
    assert _fits(observed, expected * ROWS)
    assert not _fits(observed, joint * ROWS / joint.sum() + 1e-9)
    np.testing.assert_allclose(observed.sum(axis=(1, 2)), wanted * ROWS, atol=2)


def test_several_columns_are_balanced_at_once_and_nothing_else_moves_more_than_it_must(model: SyntheticModel) -> None:
    # The oracle: proportional fitting of the whole joint to both margins, given a != 1.
    table = joint_table(model.beliefs).copy()
    table[1] = 0.0
    wanted_b = np.array([0.5, 0.5, 0.0])
    for _ in range(500):
        table *= np.divide(wanted_b, table.sum(axis=(0, 2)), where=wanted_b > 0, out=np.zeros(3))[None, :, None]
        table *= (0.25 / table.sum(axis=(0, 1)))[None, None, :]
    drawn = model.sample(ROWS, seed=2, where={"a": ["0", "2"]}, balance=["b", "c"])
    assert _fits(_counts(drawn, ["a", "b", "c"], LEVELS), table * ROWS)


def test_balance_obeys_relations_and_streams_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    import dpsynth.streaming as streaming

    monkeypatch.setattr(streaming, "CHUNK_ROWS", 700)
    made = schema(
        [listed("a", "0", "1"), whole("x", 0, 30, bins=2), whole("y", 0, 30, bins=2)],
        {"kind": "order", "fields": ["x", "y"], "strict": True},
        {"kind": "forbidden", "when": {"a": "1", "x": {"minimum": 20}}},
    )
    model = model_of(made, seed=3)
    batches = list(Chunks(model, 2000, 5, {"y": {"minimum": 10}}, {"a": {"0": 0.25, "1": 0.75}}))
    assert [batch.num_rows for batch in batches] == [700, 700, 600]
    table = pd.concat([batch.to_pandas() for batch in batches])
    assert violations(made, table)["rows"] == 0
    assert table["y"].min() >= 10 and (table["a"] == "1").mean() == pytest.approx(0.75, abs=0.01)
    assert not batches[0].equals(batches[1])


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ("height", "not a modelled column"),
        ({"a": "even"}, '"uniform" or the share'),
        ({"a": {"0": 0.5, "1": 0.2}}, "add up to 0.7"),
        ({"a": {"0": -0.5, "1": 1.5}}, "a number >= 0"),
        ({"a": {"9": 1.0}}, "not in the declared domain"),
    ],
)
def test_shares_that_make_no_sense_are_refused(model: SyntheticModel, balance: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model.sample(5, seed=0, balance=balance)


def test_shares_that_cannot_hold_together_are_refused() -> None:
    relations = [{"kind": "forbidden", "when": {"a": str(i), "b": str(1 - i)}} for i in (0, 1)]
    model = model_of(schema([listed("a", "0", "1"), listed("b", "0", "1")], *relations))
    assert model.sample(100, seed=0, balance={"a": "uniform", "b": "uniform"})["a"].value_counts().tolist() == [50, 50]
    with pytest.raises(ConfigError, match="cannot hold together"):
        model.sample(100, seed=0, balance={"a": {"0": 0.9, "1": 0.1}, "b": {"0": 0.2, "1": 0.8}})
    with pytest.raises(ConfigError, match="no probability to one of the values"):
        model.sample(100, seed=0, where={"a": "0"}, balance={"a": {"0": 0.5, "1": 0.5}})


def test_conditions_and_shares_are_read_from_text() -> None:
    assert conditions_of_texts(["sex=f", "age>=65", "age<80", "cost>3.5", "note="]) == {
        "sex": "f",
        "age": {"minimum": "65", "exclusiveMaximum": "80"},
        "cost": {"exclusiveMinimum": "3.5"},
        "note": None,
    }
    assert balance_of_texts(["sex", "ward:a=0.25,b=0.75"]) == {"sex": "uniform", "ward": {"a": 0.25, "b": 0.75}}
    for wrong in (["sex"], ["=f"], ["age>=1", "age>=2"], ["age=1", "age<3"]):
        with pytest.raises(ConfigError, match="where"):
            conditions_of_texts(wrong)
    for wrong in (["sex:"], ["sex:f"], [":f=1"], ["sex", "sex"], ["sex:f=much"]):
        with pytest.raises(ConfigError, match="balance"):
            balance_of_texts(wrong)
