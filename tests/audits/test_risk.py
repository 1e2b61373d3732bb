"""Risk: by hand where nothing is weighted; covered, and sharper, where units differ in how hard they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from audits.risk import Successes, measure
from audits.tables import Prepared, prepare
from tests.audits.people import CLAIM, strangers, world


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    people = world(seed=3, n=900, cohort=900)
    return prepare(people.given(strangers(people)))


def test_unweighted_risk_is_the_excess_over_what_is_left(prepared: Prepared) -> None:
    member = prepared.game.member
    rng = np.random.default_rng(0)
    by_unit = np.where(member, rng.random(len(member)) < 0.6, rng.random(len(member)) < 0.2).astype(float)
    risk = measure(prepared, Successes(by_unit, np.ones(len(member)), 1))
    assert risk is not None
    a, c = by_unit[member].mean(), by_unit[~member].mean()

    assert risk.value == pytest.approx((a - c) / (1 - c))
    assert (risk.on_members, risk.on_strangers) == pytest.approx((a, c))
    assert risk.low < risk.value < risk.high
    assert risk.p_value < 0.01  # 0.6 against 0.2 is more than epsilon 1 allows


def test_nothing_is_said_of_too_few_units_or_of_certain_success(prepared: Prepared) -> None:
    member = prepared.game.member
    ones = np.ones(len(member))
    few = np.where(np.arange(len(member)) % 20 == 0, 0.0, np.nan)

    assert measure(prepared, Successes(few, ones, 1)) is None
    assert measure(prepared, Successes(ones, ones, 1)) is None


@pytest.mark.statistical
def test_weights_cover_the_truth_and_tighten_the_interval(prepared: Prepared) -> None:
    """One unit in eight is hard (weight .9, guessed at .05), the rest are easy (.1, .95); a share ``risk`` of what is left leaks."""
    member = prepared.game.member
    rng = np.random.default_rng(1)
    runs, covered, width, plain = 200, {0.0: 0, 0.3: 0}, [], []
    for risk in covered:
        for _ in range(runs):
            hard = rng.random(len(member)) < 0.125
            weight, rate = np.where(hard, 0.9, 0.1), np.where(hard, 0.05, 0.95)
            rate = np.where(member, rate + risk * (1 - rate), rate)
            by_unit = (rng.random(len(member)) < rate).astype(float)
            found = measure(prepared, Successes(by_unit, weight, 1))
            assert found is not None
            covered[risk] += found.low <= risk <= found.high
            width.append(found.high - found.low)
            plain.append(1.96 * 2 * np.sqrt(by_unit.var() * 2 / (len(member) / 2)) / (1 - by_unit.mean()))

    assert min(covered.values()) >= stats.binom.ppf(1e-3, runs, 0.94)
    assert np.mean(width) < 0.6 * np.mean(plain)


def test_detectable_is_larger_for_a_weaker_claim(prepared: Prepared) -> None:
    weaker = prepare(replace(prepared, claim=replace(CLAIM, rho=0.2, epsilon=3.5), memo={}))
    by_unit = np.zeros(len(prepared.game.member))
    strict, loose = (measure(data, Successes(by_unit, by_unit + 1, 1)) for data in (prepared, weaker))
    assert strict is not None and loose is not None and strict.detectable is not None and loose.detectable is not None

    assert strict.detectable < loose.detectable
