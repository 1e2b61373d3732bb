"""Relations where rows come as persons: none is broken, and what is static stays so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from dpsynth.constraints.checking import violations
from dpsynth.model import SyntheticModel
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.privacy.noise import SeededNoise
from dpsynth.schema import Schema
from dpsynth.synthesizers import SYNTHESIZERS
from tests.dpsynth.constraints.tables import day, listed, schema, whole

PERSONS = 600


def _declared() -> Schema:
    fields = [
        {"name": "key", "type": "string", "dp:role": "identifier"},
        {**day("born", "1950-01-01", "2020-12-31", bins=4), "dp:static": True},
        {**listed("sex", "f", "m"), "dp:static": True},
        day("seen", "2000-01-01", "2021-12-31", bins=4),
        day("left", "2000-01-01", "2022-12-31", bins=4, nullable=True),
        {"name": "pregnant", "type": "boolean"},
        whole("drugs", 0, 20, bins=3),
        whole("stay", 0, 50, bins=3),
        whole("cost", 0, 60),
    ]
    return schema(
        fields,
        {"kind": "order", "fields": ["born", "seen", "left"]},
        {"kind": "forbidden", "when": {"sex": "m", "pregnant": True}},
        {"kind": "sum", "total": "cost", "parts": ["drugs", "stay"]},
        **{"dp:unit": {"name": "patient", "field": "key", "maxRows": 6, "weights": "person"}},
    )


@pytest.fixture(scope="module")
def model() -> SyntheticModel:
    rng = np.random.default_rng(0)
    times = rng.integers(1, 7, PERSONS)
    owner = np.repeat(np.arange(PERSONS), times)
    rows = len(owner)
    born = pd.Timestamp("1950-01-01") + pd.to_timedelta(rng.integers(0, 25_000, PERSONS), unit="D")
    seen = np.maximum(born[owner], pd.Timestamp("2000-01-01")) + pd.to_timedelta(rng.integers(0, 900, rows), unit="D")
    sex = rng.choice(["f", "m"], PERSONS)[owner]
    table = pd.DataFrame({"key": owner.astype(str), "born": born[owner], "sex": sex, "seen": seen})
    table["left"] = (seen + pd.to_timedelta(rng.integers(0, 60, rows), unit="D")).where(rng.random(rows) < 0.8)
    table["pregnant"] = (sex == "f") & (rng.random(rows) < 0.3)
    table["drugs"], table["stay"] = rng.integers(0, 15, rows), rng.integers(0, 30, rows)
    table["cost"] = table["drugs"] + table["stay"]
    return SYNTHESIZERS["adaptive"]().fit(PrivateData.read(table, _declared(), PrivacyBudget(5.0, 1e-6), hook=SeededNoise(0)))


@pytest.mark.parametrize("where", [None, {"sex": "f", "seen": {"minimum": "2010-06-15"}}], ids=["all", "some"])
def test_persons_keep_their_static_values_and_every_relation(model: SyntheticModel, where: dict[str, object] | None) -> None:
    table = model.sample(3000, seed=1, where=where)
    assert len(table) > 2000
    assert violations(_declared(), table)["rows"] == 0
    of_person = table.groupby("key")
    assert (of_person["born"].nunique() == 1).all() and (of_person["sex"].nunique() == 1).all()
    assert 1 < of_person.size().mean() <= 6
    assert list(table.columns) == [field.name for field in _declared().fields]
    if where:
        assert set(table["sex"]) == {"f"} and table["seen"].min() >= pd.Timestamp("2010-06-15")


def test_dates_of_birth_are_not_clipped_to_the_first_visit(model: SyntheticModel) -> None:
    table = model.sample(3000, seed=1)
    first = table.groupby("key").agg(born=("born", "first"), seen=("seen", "min"))
    assert (first["born"] == first["seen"]).mean() < 0.02


def test_long_histories_do_not_become_rarer_though_more_can_break_in_them(model: SyntheticModel) -> None:
    # A total is no column of the model, so rows that miss the condition are found after the draw.
    table = model.sample(20_000, seed=2, where={"cost": {"minimum": 25}})
    assert table["cost"].min() >= 25
    sizes = np.bincount(table.groupby("key").size(), minlength=7)[1:7]
    counted = model.domain.names[model.domain.count_axis or 0]
    shares = model.marginal([counted]).values[:6] / model.marginal([counted]).values.sum()
    np.testing.assert_allclose(sizes / sizes.sum(), shares, atol=0.002)
    assert abs(len(table) - 20_000) < 20
