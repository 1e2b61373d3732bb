"""Figures against hand calculation, and that each moves the right way between a copy, other people and noise."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

from audits import measure_fidelity, measure_similarity
from audits.result import AuditError, AuditInput, Column
from tests.audits.people import COLUMNS, World, copy, independent, strangers, world


@pytest.fixture(scope="module")
def coins() -> World:
    return world(seed=2, n=1500, cohort=600)


def test_total_variation_by_hand() -> None:
    train = pd.DataFrame({"a": list("xxxy"), "b": list("pqpq")})
    synthetic = pd.DataFrame({"a": list("xxyy"), "b": list("pppp")})
    columns = (Column("a", "categorical"), Column("b", "categorical"))
    found = measure_fidelity(AuditInput(synthetic=synthetic, columns=columns, train=train))

    assert found["columns"]["a"]["tv"] == pytest.approx(0.25)
    assert found["columns"]["b"]["tv"] == pytest.approx(0.5)
    assert found["columns"]["a"]["labels"] == ["x", "y"]
    assert found["columns"]["a"]["train"] == [0.75, 0.25]
    # cells xp xq yp yq: 2/4 1/4 0 1/4 against 2/4 0 2/4 0
    assert found["tv2"] == {"mean": 0.5, "max": 0.5, "floor": pytest.approx(found["tv2"]["floor"])}
    assert found["tv3"] == {"mean": None, "max": None, "floor": None}


def test_association_is_one_for_copies_and_near_zero_for_strangers() -> None:
    rng = np.random.default_rng(0)
    a = rng.choice(list("pqrs"), 2000)
    train = pd.DataFrame({"a": a, "b": a, "c": rng.permutation(a)})
    columns = tuple(Column(name, "categorical") for name in "abc")
    found = measure_fidelity(AuditInput(synthetic=train, columns=columns, train=train))["association"]

    assert found["train"][0][1] == pytest.approx(1.0, abs=1e-6)
    assert found["train"][0][2] < 0.05


def test_order_of_generators(coins: World) -> None:
    scores = {make.__name__: measure_fidelity(coins.given(make(coins))) for make in (copy, strangers, independent)}
    exact, fresh, noise = scores["copy"], scores["strangers"], scores["independent"]

    assert exact["tv3"]["mean"] == 0 and exact["rare"]["invented"] == 0 and exact["rare"]["lost"] == 0
    assert 0.5 < fresh["tv2"]["mean"] / fresh["tv2"]["floor"] < 2
    assert noise["tv2"]["mean"] > fresh["tv2"]["mean"]
    assert noise["range_queries"]["mean_abs_error"] > 0
    assert abs(fresh["propensity_auc"]["value"] - 0.5) < 0.1
    plain = measure_fidelity(coins.given(strangers(coins).assign(condition="none")))
    assert plain["propensity_auc"]["interval"][0] > 0.7
    (line,) = fresh["tstr"]
    assert (line["target"], line["metric"], line["baseline"]) == ("smoker", "auc", 0.5)
    assert line["train_on_synthetic"] > 0.55 and line["train_on_real"] > 0.55
    assert noise["tstr"][0]["train_on_synthetic"] < line["train_on_synthetic"]


def test_a_spoilt_group_is_named(coins: World) -> None:
    synthetic = strangers(coins)
    rng = np.random.default_rng(0)
    spoilt = (synthetic["region"] == "south").to_numpy()
    for name in ("job", "condition", "age"):
        values = synthetic[name].to_numpy(copy=True)
        values[spoilt] = rng.permutation(np.resize(values[spoilt][:2], spoilt.sum()))
        synthetic[name] = values
    found = measure_fidelity(coins.given(synthetic))

    assert found["worst_group"]["field"] == "region" and found["worst_group"]["level"] == "south"
    assert found["subgroup_error_ratio_max"] == found["worst_group"]["ratio"] > 1.2
    assert math.isclose(sum(g["share"] for g in found["groups"] if g["field"] == "region"), 1.0)


def test_numeric_targets_are_scored_by_r2(coins: World) -> None:
    columns = tuple(Column(c.name, c.kind, role="target" if c.name == "balance" else "other") for c in COLUMNS if c.name != "smoker")
    found = measure_fidelity(coins.given(strangers(coins), columns=columns, control=None, control_units=None))["tstr"]

    assert [(line["target"], line["metric"]) for line in found] == [("balance", "r2")]


def test_rare_categories_are_counted() -> None:
    train = pd.DataFrame({"a": ["x"] * 997 + ["r1", "r2", "r3"]})
    synthetic = pd.DataFrame({"a": ["x"] * 50 + ["r1", "new"]})
    found = measure_fidelity(AuditInput(synthetic=synthetic, columns=(Column("a", "categorical"),), train=train))

    assert {fate: found["rare"][fate] for fate in ("kept", "lost", "invented")} == {"kept": 1, "lost": 2, "invented": 1}
    assert found["rare"]["floor"]["invented"] == 0


def test_result_is_plain_json(coins: World) -> None:
    json.dumps(measure_fidelity(coins.given(strangers(coins))), allow_nan=False)


def test_nothing_to_compare_is_an_error(coins: World) -> None:
    with pytest.raises(AuditError, match="needs rows"):
        measure_fidelity(AuditInput(synthetic=strangers(coins), columns=COLUMNS))


def test_similarity_is_half_for_strangers_and_one_for_copies(coins: World) -> None:
    everyone = coins.given(strangers(coins))
    small = coins.train.iloc[: len(coins.control)].reset_index(drop=True)
    copied = AuditInput(synthetic=small, columns=COLUMNS, train=small, control=coins.control)

    assert abs(measure_similarity(everyone)["dcr_share"] - 0.5) < 0.1
    assert measure_similarity(copied)["dcr_share"] > 0.95
    assert measure_similarity(copied)["identical_match_share"] == 1.0
    assert "diagnostic only" in measure_similarity(everyone)["note"]
    assert measure_similarity(AuditInput(synthetic=small, columns=COLUMNS))["dcr_share"] is None


def test_rare_pairs_and_tails_by_hand() -> None:
    # 400 rows: the pair (x, q) twice, (y, p) once; one row beyond each end of 0..9
    train = pd.DataFrame({"a": ["x"] * 399 + ["y"], "b": ["p"] * 397 + ["q"] * 2 + ["p"], "n": [-50.0] + [5.0] * 398 + [70.0]})
    synthetic = pd.DataFrame({"a": ["x"] * 18 + ["y"] * 2, "b": ["p"] * 17 + ["q"] + ["q"] * 2, "n": [5.0] * 18 + [99.0, -99.0]})
    columns = (Column("a", "categorical"), Column("b", "categorical"), Column("n", "ordered"))
    found = measure_fidelity(AuditInput(synthetic=synthetic, columns=columns, train=train))["rare"]

    assert found["pairs"]["kept"] == 1 and found["pairs"]["lost"] == 1  # (x, q) is kept, (y, p) lost
    assert found["pairs"]["invented"] == 1  # (y, q)
    assert found["tails"]["train"] == pytest.approx(2 / 400)
    assert found["tails"]["mean_abs_error"] == pytest.approx(0.1 - 2 / 400)


def test_a_group_that_learns_nothing_from_the_release_is_named(coins: World) -> None:
    """The target is shuffled among women only: a model fitted to the release fails them alone."""
    rng = np.random.default_rng(0)
    tables = [
        table.assign(smoker=np.where(table["age"] + 10 * rng.normal(size=len(table)) > 50, "yes", "no"))
        for table in (coins.train, coins.control, strangers(coins))
    ]
    women = (tables[2]["sex"] == "f").to_numpy()
    spoilt = tables[2]["smoker"].to_numpy(copy=True)
    spoilt[women] = rng.permutation(spoilt[women])
    given = coins.given(tables[2].assign(smoker=spoilt), train=tables[0], control=tables[1])
    (line,) = measure_fidelity(given)["tstr"]

    assert (line["worst_group"]["field"], line["worst_group"]["level"]) == ("sex", "f")
    assert line["worst_group"]["train_on_synthetic"] < line["worst_group"]["train_on_real"] - 0.03
    assert line["train_on_control"] is not None and abs(line["train_on_control"] - line["train_on_real"]) < 0.1
    assert min(g["rows"] for g in line["groups"]) >= 100


def test_a_group_that_is_easily_told_is_named(coins: World) -> None:
    synthetic = strangers(coins)
    women = (synthetic["sex"] == "f").to_numpy()
    found = measure_fidelity(coins.given(synthetic.assign(age=np.where(women, 3, synthetic["age"]))))["propensity_auc"]

    assert (found["worst_group"]["field"], found["worst_group"]["level"]) == ("sex", "f")
    assert found["worst_group"]["value"] > found["value"] > 0.6


def test_associations_differ_from_trains_by_their_floor_or_more(coins: World) -> None:
    kept, lost = (measure_fidelity(coins.given(make(coins)))["association"]["difference"] for make in (copy, independent))

    assert kept["mean"] == kept["max"] == 0.0
    assert lost["mean"] > lost["floor"] > 0
