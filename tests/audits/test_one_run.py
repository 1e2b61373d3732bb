"""The bound from one run: what it says it can detect is what it detects, and it never accuses a mechanism that keeps its claim."""

from __future__ import annotations

import math

import numpy as np
import pytest

from audits import one_run
from audits.caps import caps_for
from audits.profiles import gaussian_delta
from audits.result import Claim

COINS, SHARE, ALPHA, DELTA, RUNS = 1000, 0.25, 0.01, 1e-6, 300


def right_guesses(mu: float, rng: np.random.Generator) -> int:
    """Scores of a Gaussian mechanism for fair coins; the most telling quarter is guessed."""
    member = rng.random(COINS) < 0.5
    scores = rng.normal(size=COINS) + np.where(member, mu / 2, -mu / 2)
    kept = np.argsort(-np.abs(scores), kind="stable")[: int(SHARE * COINS)]
    return int(((scores > 0) == member)[kept].sum())


def mu_at(epsilon: float) -> float:
    """Mu of the Gaussian mechanism with this epsilon at DELTA."""
    return one_run._root(lambda mu: float(gaussian_delta(mu, epsilon)) - DELTA, 0.0, 40.0)


def test_the_epsilon_of_an_accuracy_is_that_of_the_gaussian_mechanism_that_has_it() -> None:
    for mu in (0.3, 1.0, 2.5):
        rng = np.random.default_rng(1)
        accuracy = float(np.mean([right_guesses(mu, rng) for _ in range(200)])) / (SHARE * COINS)
        found = one_run._epsilon_of(accuracy, SHARE, DELTA, 1)
        assert mu_at(found) == pytest.approx(mu, rel=0.1)


def test_without_a_delta_it_is_that_of_randomised_response() -> None:
    assert one_run._epsilon_of(math.e / (1 + math.e), 0.3, 0.0, 1) == pytest.approx(1.0)


@pytest.mark.statistical
def test_what_is_detectable_is_detected_and_what_is_allowed_is_not() -> None:
    """Binomial with 300 runs: 0.80 is missed by 0.1, or 0.01 exceeded at 0.05, with chance below 1e-5."""
    rho = mu_at(1.0) ** 2 / 2
    caps = caps_for(Claim("person", 1, "add_remove", rho, 1.0, DELTA), coin=True)
    r = int(SHARE * COINS)
    need = one_run._needed(caps, COINS, r, ALPHA)
    assert need is not None
    from scipy.special import betaincinv

    detectable = one_run._epsilon_of(float(betaincinv(need.right, r - need.right + 1, 0.8)), SHARE, DELTA, 1)
    rng = np.random.default_rng(2)
    caught, accused = (
        np.mean([need.p_value(COINS, r, right_guesses(mu, rng)) <= ALPHA for _ in range(RUNS)]) for mu in (mu_at(detectable), mu_at(1.0))
    )

    assert caught == pytest.approx(0.8, abs=0.1)
    assert accused <= 0.05


def test_the_bounds_stay_below_the_truth() -> None:
    """Of 60 bounds at 95 %, more than 9 are above the truth with chance 3e-3, and the theorem is not that sharp."""
    rng, mu = np.random.default_rng(3), 3.0
    truth = one_run._root(lambda epsilon: DELTA - float(gaussian_delta(mu, epsilon)), 0.0, 100.0)
    rights = [right_guesses(mu, rng) for _ in range(60)]
    r = int(SHARE * COINS)

    assert np.mean([one_run._mu_bound(COINS, r, v) > mu for v in rights]) <= 0.15
    assert np.mean([one_run._epsilon_bound(COINS, r, v, DELTA) > truth for v in rights]) <= 0.15
    assert np.median([one_run._mu_bound(COINS, r, v) for v in rights]) > 0.4 * mu
