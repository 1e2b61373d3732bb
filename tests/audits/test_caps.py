"""Caps against closed forms of mechanisms that meet the claim exactly: never below what an honest mechanism allows."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from audits import caps
from audits.profiles import gaussian_delta, zcdp_delta
from audits.result import AuditError, Claim

RHO = 0.08
CLAIM = Claim("person", 5, "add_remove", rho=RHO, epsilon=1.9, delta=1e-6)
RATES = np.linspace(0, 1, 41)


def test_without_a_claim_members_must_not_differ() -> None:
    found = caps.caps_for(None, coin=True)

    assert [found.tpr(x) for x in RATES] == pytest.approx(RATES.tolist())
    assert (found.auc, found.advantage) == (0.5, 0.0)


def test_pure_epsilon_is_randomised_response() -> None:
    epsilon = 1.3
    found = caps.caps_for(Claim("person", 1, "add_remove", math.inf, epsilon, 0.0), coin=True)
    t = math.exp(epsilon) / (1 + math.exp(epsilon))

    assert found.tpr(1 - t) == pytest.approx(t)
    assert found.advantage == pytest.approx(2 * t - 1)
    # two triangles and a trapezoid under the curve (0,0), (1-t,t), (1,1)
    assert found.auc == pytest.approx(t, abs=2e-3)


def test_zcdp_caps_are_above_the_gaussian_mechanism_of_that_rho_and_not_far() -> None:
    mu = math.sqrt(2 * RHO)
    found = caps.caps_for(CLAIM, coin=True)

    assert all(found.tpr(x) >= caps.gaussian_tpr(mu, x) - 1e-9 for x in RATES[1:-1])
    assert caps.gaussian_advantage(mu) <= found.advantage <= 1.6 * caps.gaussian_advantage(mu)
    assert caps.gaussian_auc(mu) <= found.auc <= caps.gaussian_auc(mu) + 0.12


def test_zcdp_delta_bounds_the_gaussian_mechanism() -> None:
    epsilon = np.linspace(0, 4, 60)

    assert (zcdp_delta(RHO, epsilon) >= gaussian_delta(math.sqrt(2 * RHO), epsilon)).all()


def test_zcdp_delta_bounds_the_exponential_mechanism() -> None:
    """A binary exponential mechanism of epsilon has bounded range epsilon, hence is epsilon^2/8-zCDP."""
    epsilon = 0.8
    p = 1 / (1 + math.exp(-epsilon / 2))
    advantage = 2 * p - 1

    assert zcdp_delta(epsilon**2 / 8, 0.0) >= advantage


def test_gaussian_delta_is_the_hockey_stick_integral() -> None:
    mu, epsilon = 0.7, 0.4
    expected, _ = quad(lambda x: max(0.0, stats.norm.pdf(x, mu) - math.exp(epsilon) * stats.norm.pdf(x)), -8, 9, limit=200)

    assert gaussian_delta(mu, epsilon) == pytest.approx(expected, abs=1e-7)
    assert gaussian_delta(0.0, epsilon) == 0.0


def test_gaussian_auc_is_the_area() -> None:
    area, _ = quad(lambda x: caps.gaussian_tpr(0.9, x), 0, 1)

    assert caps.gaussian_auc(0.9) == pytest.approx(area, abs=1e-6)


def test_a_fixed_control_doubles_the_distance_under_add_remove_only() -> None:
    exact, doubled = caps.caps_for(CLAIM, coin=True), caps.caps_for(CLAIM, coin=False)
    swapped = caps.caps_for(replace(CLAIM, neighbours="replace_one"), coin=False)

    assert doubled.auc > exact.auc
    assert swapped.auc == exact.auc
    # two steps of rho-zCDP are 4 rho: the doubled cap is that of the larger claim
    larger = caps.caps_for(replace(CLAIM, rho=4 * RHO, epsilon=3.8, delta=(1 + math.exp(1.9)) * 1e-6), coin=True)
    assert doubled.tpr(0.2) == pytest.approx(larger.tpr(0.2))


def test_caps_are_monotone_and_start_at_delta() -> None:
    found = caps.caps_for(CLAIM, coin=True)
    heights = [found.tpr(x) for x in RATES]

    assert heights == sorted(heights)
    assert heights[0] <= 1e-5
    assert heights[-1] == 1.0


@pytest.mark.parametrize(
    "claim",
    [replace(CLAIM, neighbours="friends"), replace(CLAIM, epsilon=math.nan), replace(CLAIM, delta=1.0)],
)
def test_an_unusable_claim_is_refused(claim: Claim) -> None:
    with pytest.raises(AuditError):
        caps.caps_for(claim, coin=True)
