"""Profiles against enumeration, quadrature and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import ndtr, ndtri
from scipy.stats import norm

from audits import profiles
from audits.result import AuditError


@pytest.mark.parametrize("mu", [0.05, 0.7, 3.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_gaussian_delta_is_the_integral_of_the_hockey_stick(mu: float, epsilon: float) -> None:
    def excess(x: float) -> float:
        return max(0.0, float(norm.pdf(x - mu)) - math.exp(epsilon) * float(norm.pdf(x)))

    start = epsilon / mu + mu / 2.0
    assert profiles.gaussian_delta(mu, epsilon) == pytest.approx(quad(excess, start, start + 40.0)[0], rel=1e-6)


@pytest.mark.parametrize("rho", [1e-4, 0.01, 0.3, 5.0])
@pytest.mark.parametrize("delta", [1e-9, 1e-5])
def test_zcdp_epsilon_is_the_minimum_over_orders_and_above_the_gaussian_floor(rho: float, delta: float) -> None:
    # A plain second minimisation of Proposition 12, over a coarser grid of orders.
    alpha = 1.0 + np.exp(np.linspace(-6.0, 15.0, 20_001))
    twin = float((alpha * rho + np.log1p(-1.0 / alpha) - (math.log(delta) + np.log(alpha)) / (alpha - 1.0)).min())
    epsilon = profiles.zcdp_epsilon(rho, delta)
    assert epsilon == pytest.approx(twin, rel=1e-6)
    assert profiles.gaussian_epsilon(math.sqrt(2.0 * rho), delta) < epsilon
    # Back through the profile: epsilon is enough for delta, and a little less is not.
    assert profiles.zcdp_delta(rho, epsilon) <= delta * (1.0 + 1e-5)


def test_gaussian_epsilon_inverts_gaussian_delta() -> None:
    epsilon = profiles.gaussian_epsilon(0.8, 1e-6)
    assert profiles.gaussian_delta(0.8, epsilon) == pytest.approx(1e-6, rel=1e-6)
    assert profiles.gaussian_epsilon(1e-9, 0.1) == 0.0


@pytest.mark.parametrize(("rho", "delta"), [(-1.0, 1e-6), (math.nan, 1e-6), (0.1, 0.0), (0.1, 1.0)])
def test_a_claim_out_of_range_is_refused(rho: float, delta: float) -> None:
    with pytest.raises(AuditError):
        profiles.zcdp_epsilon(rho, delta)


@pytest.mark.parametrize("rho", [0.001, 0.05, 0.5, 2.0])
def test_the_power_and_profile_of_zcdp_cover_those_of_the_gaussian_with_that_rho(rho: float) -> None:
    mu = math.sqrt(2.0 * rho)
    fpr = np.array([0.0, 1e-9, 1e-4, 0.01, 0.2, 0.5, 0.9, 1.0])
    assert (profiles.zcdp_power(rho, fpr) >= ndtr(ndtri(fpr) + mu) - 1e-6).all()
    for epsilon in (0.0, 0.25, 1.0, 4.0):
        assert profiles.zcdp_delta(rho, epsilon) >= profiles.gaussian_delta(mu, epsilon)
        assert profiles.zcdp_delta(rho, epsilon) <= min(1.0, math.sqrt(rho / 2.0) + 1e-3)  # Pinsker


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 4.0])
def test_bounded_range_mu_covers_the_exponential_mechanism_on_random_neighbours(epsilon: float) -> None:
    rng = np.random.default_rng(0)
    mu = profiles.bounded_range_mu(epsilon)
    tightest = 0.0
    for trial in range(300):
        # Two candidates that count, shifted apart, are the worst case; the rest is random.
        base = np.array([trial / 75.0 - 2.0, 0.0, -90.0, -90.0]) if trial % 2 else rng.normal(0.0, 2.0, 4)
        shift = np.array([0.5, -0.5, 0.5, -0.5]) if trial % 2 else rng.uniform(-0.5, 0.5, 4)
        p, q = (np.exp(epsilon * s) / np.exp(epsilon * s).sum() for s in (base, base + shift))
        for subset in range(1, 15):
            inside = np.array([bool(subset >> i & 1) for i in range(4)])
            if 1e-12 < p[inside].sum() < 1.0 - 1e-12:
                tightest = max(tightest, float(ndtri(q[inside].sum()) - ndtri(p[inside].sum())))
    assert tightest <= mu
    assert tightest > 0.9 * mu  # and the bound is not loose


@pytest.mark.parametrize("stddev", [0.5, 0.8, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("shift", [1, 2, 5])
def test_lattice_slack_covers_the_discrete_gaussian(stddev: float, shift: int) -> None:
    support = np.arange(-60, 61)
    p, q = (np.exp(-0.5 * ((support - s) / stddev) ** 2) for s in (0, shift))
    tpr, fpr = (np.cumsum((law / law.sum())[::-1])[::-1] for law in (q, p))
    inside = (fpr > 1e-9) & (tpr < 1.0 - 1e-9)
    exact = float((ndtri(tpr[inside]) - ndtri(fpr[inside])).max())
    assert exact <= shift / stddev * profiles.lattice_slack(stddev)
