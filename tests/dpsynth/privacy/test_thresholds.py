"""A value that one unit alone holds is named with at most the declared probability: by the law itself, by enumeration, and by drawing."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy.stats import binom

from audits.code.recomposition import event_delta
from audits.profiles import zcdp_delta
from dpsynth.errors import BudgetError, ConfigError
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.budget import THRESHOLD_DELTA_SHARE, Filter, epsilon_of
from dpsynth.privacy.noise import gaussian_stddev
from dpsynth.privacy.thresholds import LEVELS_SHARE, delta_of, threshold_for
from dpsynth.schema import Schema

Law = dict[int, float]


def _law(stddev: float, reach: float = 30.0) -> Law:
    """The discrete Gaussian on what lies within ``reach`` standard deviations."""
    support = np.arange(-math.ceil(reach * stddev), math.ceil(reach * stddev) + 1)
    weight = np.exp(-0.5 * (support / stddev) ** 2)
    return dict(zip(support.tolist(), (weight / weight.sum()).tolist(), strict=True))


def _tail(stddev: float, least: int) -> float:
    return math.fsum(p for n, p in _law(stddev).items() if n >= least)


def _schema(rows: int = 1, neighbours: str = "add_remove", weights: str = "rows", **code: Any) -> Schema:
    key = [] if rows == 1 else [{"name": "id", "type": "string", "dp:role": "identifier"}]
    unit = {"name": "person"} if rows == 1 else {"name": "person", "field": "id", "maxRows": rows, "weights": weights}
    return Schema.from_dict(
        {
            "dp:dataset": {"id": "d", "population": "p"},
            "dp:unit": unit,
            "dp:neighbours": neighbours,
            "fields": [*key, {"name": "code", "type": "string", "dp:categories": "dp", **code}, {"name": "x", "type": "boolean"}],
        }
    )


def _event(private: PrivateData) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in private.transcript()["events"] if e["kind"] == "threshold")
    return found


@pytest.mark.parametrize("stddev", [0.4, 1.0, 3.3, 20.0, 180.0])
@pytest.mark.parametrize("delta", [0.05, 1e-3, 1e-7])
@pytest.mark.parametrize(("l0", "linf"), [(1, 1), (6, 3)])
def test_the_threshold_keeps_its_delta_and_one_less_would_hardly(stddev: float, delta: float, l0: int, linf: int) -> None:
    threshold = threshold_for(delta, stddev, l0, linf)

    exact = l0 * _tail(stddev, threshold - linf)
    assert exact <= delta_of(threshold, stddev, l0, linf) <= delta
    assert delta_of(threshold - 1, stddev, l0, linf) > delta
    # The bound is not wasteful where noise is wide: it is the midpoint rule of the tail.
    assert stddev < 20.0 or delta_of(threshold, stddev, l0, linf) < 1.03 * exact
    # An audit that sums the law itself prices the threshold no higher.
    event = {"kind": "threshold", "l0_sensitivity": l0, "linf_sensitivity": linf, "stddev": stddev, "threshold": threshold}
    assert event_delta(event) <= delta_of(threshold, stddev, l0, linf)
    assert event_delta(event) == pytest.approx(exact, rel=0.1 if stddev < 1.0 else 1e-6)


def test_a_bound_is_not_given_where_its_proof_ends() -> None:
    assert delta_of(3, 10.0, 1, 1) == 1.0
    with pytest.raises(BudgetError, match=r"delta=0\.0 of a threshold"):
        threshold_for(0.0, 1.0, 1, 1)


def _outcomes(counts: dict[str, int], values: list[str], stddev: float, threshold: int) -> dict[tuple[int | None, ...], float]:
    """The distribution of the whole release: for each value its noisy count, or None where it is not named."""
    law = _law(stddev, 6.0)  # what is left out has a probability of 2e-9
    each = []
    for value in values:
        if value not in counts:
            each.append({None: 1.0})
            continue
        named = {counts[value] + n: p for n, p in law.items() if counts[value] + n >= threshold}
        each.append({**named, None: 1.0 - math.fsum(named.values())})
    return {tuple(o): math.prod(e[x] for e, x in zip(each, o, strict=True)) for o in itertools.product(*each)}


@pytest.mark.parametrize(
    ("here", "there", "neighbours", "rows"),
    [
        ({"a": 3}, {"a": 3, "b": 1}, "add_remove", 1),  # one more person, with a value of their own
        ({}, {"b": 1}, "add_remove", 1),  # the only person
        ({"a": 3}, {"a": 2, "b": 1}, "replace_one", 1),  # exchanged for one with a value of their own
        ({"a": 2, "b": 1}, {"a": 2, "c": 1}, "replace_one", 1),  # each with a value of their own
        ({"a": 3}, {"a": 4, "b": 1, "c": 1}, "add_remove", 3),  # three rows
        ({"a": 3}, {"a": 3, "b": 3}, "add_remove", 3),  # three rows of one value
    ],
)
def test_rho_and_delta_together_bound_every_set_of_outcomes(
    here: dict[str, int], there: dict[str, int], neighbours: str, rows: int
) -> None:
    unit = PrivacyUnit("person", rows, neighbours)
    delta, rho = 0.02, 0.3
    stddev = gaussian_stddev(unit.vector_sensitivity(), rho)
    threshold = threshold_for(delta, stddev, unit.touched_values, unit.mass)
    values = sorted({*here, *there})

    left, right = (_outcomes(table, values, stddev, threshold) for table in (here, there))
    for one, other in ((left, right), (right, left)):
        for epsilon in (0.0, 0.3, 1.0, 2.0):
            worst = math.fsum(max(0.0, p - math.exp(epsilon) * other.get(o, 0.0)) for o, p in one.items())
            assert worst <= float(zcdp_delta(rho, epsilon)) + delta + 1e-8
    # Half the threshold does not hold: the test would see it.
    left, right = (_outcomes(table, values, stddev, unit.mass) for table in (here, there))
    assert max(math.fsum(p for o, p in right.items() if o not in left), math.fsum(p for o, p in left.items() if o not in right)) > delta


@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
def test_values_of_single_persons_are_named_as_often_as_the_law_says(neighbours: str) -> None:
    n = 20_000
    table = pd.DataFrame({"code": [f"only-{i}" for i in range(n)], "x": "true"})
    private = PrivateData.read(table, _schema(neighbours=neighbours), PrivacyBudget(2.0, 0.3))
    event = _event(private)

    share = _tail(event["stddev"], event["threshold"] - 1)
    assert 0.4 * event["delta"] < share * event["l0_sensitivity"] <= event["delta"] == pytest.approx(0.03)
    # Both sides of the binomial law: a chance of 2e-7.
    assert binom.cdf(event["selected"], n, share) > 1e-7 and binom.sf(event["selected"] - 1, n, share) > 1e-7


def test_common_values_are_found_and_the_rest_become_other() -> None:
    values = ["flu"] * 900 + [" cold "] * 700 + ["7"] * 300 + ["7.0"] * 300 + ["Alice"] * 2 + [""] * 50 + [None] * 50
    table = pd.DataFrame({"code": values, "x": "true"})
    private = PrivateData.read(table, _schema(**{"dp:nullable": True}), PrivacyBudget(1.0, 1e-6))

    assert private.encoder is not None
    closed = private.encoder.schema
    assert closed["code"].categories == ("other", "7", "cold", "flu")
    attribute = private.domain["code"]
    assert (attribute.size, attribute.nullable, attribute.provenance) == (5, True, "dp")
    counts = private.measure(("code",), private.rho_left, "one_way").values
    assert np.abs(counts - [2, 600, 700, 900, 100]).max() < 60
    assert closed.declared.digest == closed.digest == _schema(**{"dp:nullable": True}).digest


def test_without_a_missing_level_missing_cells_are_other_and_a_value_called_other_is_too() -> None:
    table = pd.DataFrame({"code": ["rest"] * 500 + [None] * 500 + ["flu"] * 500 + ["x" * 300] * 500 + ["a\x00b"] * 500, "x": "true"})
    private = PrivateData.read(table, _schema(**{"dp:other": "rest"}), PrivacyBudget(1.0, 1e-6))

    assert private.encoder is not None and private.encoder.schema["code"].categories == ("rest", "flu")
    assert np.abs(private.measure(("code",), private.rho_left, "one_way").values - [2000, 500]).max() < 60


@pytest.mark.parametrize(
    ("rows", "weights", "neighbours"), [(4, "rows", "add_remove"), (4, "person", "add_remove"), (4, "rows", "replace_one")]
)
def test_the_cost_follows_the_unit(rows: int, weights: str, neighbours: str) -> None:
    table = pd.DataFrame({"id": [f"p{i // 4}" for i in range(8000)], "code": [f"c{i % 2}" for i in range(8000)], "x": "true"})
    budget = PrivacyBudget(1.0, 1e-6)
    private = PrivateData.read(table, _schema(rows, neighbours, weights), budget)
    event, unit = _event(private), private.unit

    assert event["l0_sensitivity"] == (4 if neighbours == "add_remove" else 8)
    assert event["linf_sensitivity"] == (4 if weights == "rows" else 1) * event["scale"]
    assert event["l2_sensitivity"] == pytest.approx(unit.vector_sensitivity() * event["scale"])
    set_aside = budget.with_open_columns(1)
    assert event["rho"] == pytest.approx(LEVELS_SHARE * set_aside.rho)
    assert event["delta"] == pytest.approx(THRESHOLD_DELTA_SHARE * 1e-6)
    # Each person has two rows of either value: 8,000 rows, or 2,000 persons that weigh one, stand far above the threshold.
    assert event["selected"] == 2
    assert private.transcript()["budget"]["threshold_delta"] == repr(set_aside.threshold_delta)


def test_a_minimum_count_only_raises_the_threshold() -> None:
    table = pd.DataFrame({"code": ["a"] * 3000 + ["b"] * 600, "x": "true"})
    low = _event(PrivateData.read(table, _schema(), PrivacyBudget(1.0, 1e-6)))
    same = _event(PrivateData.read(table, _schema(**{"dp:minimumCount": 1}), PrivacyBudget(1.0, 1e-6)))
    high = _event(PrivateData.read(table, _schema(**{"dp:minimumCount": 1500}), PrivacyBudget(1.0, 1e-6)))

    assert low["threshold"] == same["threshold"] < high["threshold"] == 1500
    assert (low["selected"], high["selected"]) == (2, 1)


def test_an_empty_table_and_one_without_common_values_have_other_alone() -> None:
    for values in ([], ["rare"]):
        table = pd.DataFrame({"code": pd.Series(values, dtype=object), "x": pd.Series(["true"] * len(values), dtype=object)})
        private = PrivateData.read(table, _schema(), PrivacyBudget(1.0, 1e-6))
        assert private.domain["code"].size == 1


def test_delta_that_is_set_aside_converts_no_rho() -> None:
    plain, budget = PrivacyBudget(1.0, 1e-6), PrivacyBudget(1.0, 1e-6).with_open_columns(2)

    assert budget.threshold_delta == pytest.approx(1e-7)
    assert budget.rho == PrivacyBudget(1.0, 0.9e-6).rho < plain.rho
    assert epsilon_of(budget.rho, 1e-6 - budget.threshold_delta) == pytest.approx(1.0, rel=1e-6)
    assert PrivacyBudget(1.0, 1e-6).with_open_columns(0) == plain
    with pytest.raises(ConfigError, match="threshold_delta"):
        PrivacyBudget(1.0, 1e-6, 1e-6)


def test_the_filter_refuses_delta_beyond_what_is_set_aside() -> None:
    account = Filter(1.0, 1e-7)
    account.spend_delta(0.5e-7, "one")
    account.spend_delta(0.5e-7, "two")
    with pytest.raises(BudgetError, match="three asks delta=1e-09, but 0 of 1e-07 set aside is left"):
        account.spend_delta(1e-9, "three")
    with pytest.raises(BudgetError, match="must be > 0"):
        Filter(1.0, 1e-7).spend_delta(0.0, "nothing")


def test_opendp_understates_the_delta_of_its_threshold() -> None:
    """Why the threshold is our own; if this fails, the library was corrected and may be used."""
    from opendp.domains import atom_domain, map_domain
    from opendp.measurements import make_gaussian_threshold
    from opendp.metrics import absolute_distance, l02inf_distance
    from opendp.mod import enable_features

    enable_features("contrib")
    counts = map_domain(atom_domain(T="i64"), atom_domain(T="i64"))
    release = make_gaussian_threshold(counts, l02inf_distance(absolute_distance(T="f64")), scale=1.0, threshold=3)
    n = 20_000
    named = len(release({i: 1 for i in range(n)}))

    _, declared = release.map((1, 1.0, 1.0))
    assert declared == pytest.approx(0.02275, rel=1e-3)
    truth = _tail(1.0, 2)
    assert truth == pytest.approx(0.05856, rel=1e-3)
    assert abs(named - n * truth) < 5 * math.sqrt(n * truth)


def test_categories_and_dp_categories_together_are_refused_before_anything_is_read() -> None:
    schema = _schema().closed({"code": ["a"]})
    with pytest.raises(ConfigError, match="field 'code' has categories and \"dp:categories\""):
        PrivateData.read(pd.DataFrame({"code": ["a"], "x": ["true"]}), schema, PrivacyBudget(1.0, 1e-6))


def test_rows_kept_of_a_person_do_not_depend_on_the_texts_of_others() -> None:
    """With the same coins, one more person in front changes the counts by that person's rows alone."""
    seen: list[npt.NDArray[Any]] = []

    def hook(event: Any, exact: npt.NDArray[Any], draw: Any) -> Any:
        if event["kind"] == "coins":
            return 12345
        if event["kind"] == "threshold":
            seen.append(exact)
            return {}
        return draw()

    people = pd.DataFrame({"id": [f"p{i // 9}" for i in range(900)], "code": [f"c{i % 7}" for i in range(900)], "x": "true"})
    newcomer = pd.DataFrame({"id": "new", "code": [f"n{i}" for i in range(9)], "x": "true"})
    for table in (people, pd.concat([newcomer, people])):
        PrivateData.read(table, _schema(2), PrivacyBudget(1.0, 1e-6), hook=hook)
    before, after = (dict(zip(exact["value"], exact["count"], strict=True)) for exact in seen)

    assert sum(after.values()) - sum(before.values()) == 2
    assert {value: count for value, count in after.items() if not value.startswith("n")} == before
