"""The noise that is really drawn, against the law that was declared. Each test also shows that half the noise would not pass.

Bounds are set for a failure probability of at most 1e-9 a test; there are no reruns.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.marginals import Domain
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData, noise
from tests.dpsynth.synthesizers.hooks import dependent_table

pytestmark = pytest.mark.statistical

DRAWS = 20_000
FAILURE = 1e-9
RHO = 0.02


def _chi_square_bounds(freedom: int) -> tuple[float, float]:
    """Quantiles at FAILURE / 2 on either side."""
    from scipy.stats import chi2

    return float(chi2.ppf(FAILURE / 2.0, freedom)), float(chi2.isf(FAILURE / 2.0, freedom))


def _law(stddev: float, reach: int) -> npt.NDArray[np.float64]:
    """Probabilities of -reach..reach under the discrete Gaussian with parameter ``stddev``."""
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / stddev) ** 2)
    return np.asarray(weights / weights.sum())


def _fit_to_law(noise_drawn: npt.NDArray[np.int64], stddev: float) -> tuple[float, float]:
    """Pearson's statistic against the declared law, tails pooled to at least 20 expected, and its upper bound."""
    reach = int(8.0 * stddev) + 2
    expected = len(noise_drawn) * _law(stddev, reach)
    inner = np.flatnonzero(expected >= 20.0)
    low, high = int(inner[0]), int(inner[-1])
    seen = np.bincount(np.clip(noise_drawn + reach, low, high) - low, minlength=high - low + 1)
    pooled = expected[low : high + 1].copy()
    pooled[0], pooled[-1] = expected[: low + 1].sum(), expected[high:].sum()
    return float(((seen - pooled) ** 2 / pooled).sum()), _chi_square_bounds(len(pooled) - 1)[1]


def _drawn(stddev: float, rho: float, sensitivity: float) -> npt.NDArray[np.int64]:
    exact = np.arange(DRAWS, dtype=np.int64) * 1000
    return noise.discrete_gaussian(exact, stddev, sensitivity, rho) - exact


@pytest.mark.parametrize("sensitivity", [1.0, 3.0])
def test_gaussian_noise_has_the_declared_variance_and_half_of_it_would_be_seen(sensitivity: float) -> None:
    stddev = noise.gaussian_stddev(sensitivity, RHO)
    drawn = _drawn(stddev, RHO, sensitivity)
    low, high = _chi_square_bounds(DRAWS)
    statistic = float((drawn.astype(np.float64) ** 2).sum()) / stddev**2
    assert low < statistic < high
    # A broken mechanism: rounded halves of the same draws. And one with sqrt(2) too little, a forgotten replace-one factor.
    for factor in (0.5, 1.0 / math.sqrt(2.0)):
        assert float((np.rint(factor * drawn) ** 2).sum()) / stddev**2 < low
    # No bias either.
    assert abs(float(drawn.mean())) < 6.2 * stddev / math.sqrt(DRAWS)


@pytest.mark.parametrize("rho", [0.005, 0.5])
def test_gaussian_noise_follows_the_discrete_law_and_half_the_noise_does_not(rho: float) -> None:
    stddev = noise.gaussian_stddev(1.0, rho)
    drawn = _drawn(stddev, rho, 1.0)
    statistic, bound = _fit_to_law(drawn, stddev)
    assert statistic < bound
    wrong, bound = _fit_to_law(np.rint(0.5 * drawn).astype(np.int64), stddev)
    assert wrong > 5.0 * bound
    # Continuous noise cut down to integers is another law when sigma is about one.
    if stddev < 2.0:
        cut = np.floor(np.random.default_rng(0).normal(0.0, stddev, DRAWS)).astype(np.int64)
        wrong, bound = _fit_to_law(cut, stddev)
        assert wrong > 5.0 * bound


def test_the_cells_of_one_release_carry_independent_noise() -> None:
    stddev = noise.gaussian_stddev(1.0, RHO)
    drawn = _drawn(stddev, RHO, 1.0).astype(np.float64) / stddev
    for lag in (1, 2, 7):
        assert abs(float(np.mean(drawn[lag:] * drawn[:-lag]))) < 6.2 / math.sqrt(DRAWS)
    # One draw given to all cells, or the same seed for two measurements, has correlation one.
    assert float(np.mean(drawn * drawn)) > 0.9


EPSILON = 1.5
SENSITIVITY = 2.0
SCORES = np.array([0.0, 1.0, 2.5, 4.0, 4.0, -30.0])
SELECTIONS = 5_000


def _softmax(exponents: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    weights = np.exp(exponents - exponents.max())
    return np.asarray(weights / weights.sum())


def _frequencies_fit(seen: npt.NDArray[np.int64], law: npt.NDArray[np.float64]) -> bool:
    expected = SELECTIONS * law
    likely = expected >= 20.0
    statistic = float(((seen[likely] - expected[likely]) ** 2 / expected[likely]).sum())
    rest, mean = int(seen[~likely].sum()), float(expected[~likely].sum())
    return statistic < _chi_square_bounds(int(likely.sum()) - 1)[1] and rest <= mean + 6.2 * math.sqrt(mean) + 20.0


def test_selections_follow_the_exponential_mechanism_with_the_two_in_its_exponent() -> None:
    """exp(epsilon s / (2 Delta)), not the monotonic exp(epsilon s / Delta), which here would leak twice as much."""
    rho = EPSILON**2 / 8.0
    drawn = [noise.exponential_mechanism(SCORES, EPSILON, SENSITIVITY, rho) for _ in range(SELECTIONS)]
    seen = np.bincount(drawn, minlength=len(SCORES))
    right = _softmax(EPSILON * SCORES / (2.0 * SENSITIVITY))
    monotonic = _softmax(EPSILON * SCORES / SENSITIVITY)
    assert _frequencies_fit(seen, right)
    assert not _frequencies_fit(seen, monotonic)
    # And the test would not take the one for the other.
    broken = np.random.default_rng(0).multinomial(SELECTIONS, monotonic)
    assert not _frequencies_fit(broken, right)


def test_only_differences_of_scores_matter() -> None:
    rho = EPSILON**2 / 8.0
    shifted = SCORES + 2.0**40
    drawn = [noise.exponential_mechanism(shifted, EPSILON, SENSITIVITY, rho) for _ in range(SELECTIONS)]
    assert _frequencies_fit(np.bincount(drawn, minlength=len(SCORES)), _softmax(EPSILON * SCORES / (2.0 * SENSITIVITY)))


@pytest.mark.parametrize("unit", [PrivacyUnit("person", 1), PrivacyUnit("person", 3), PrivacyUnit("person", 1, "replace_one")])
def test_answers_of_the_kernel_are_as_noisy_as_they_say(unit: PrivacyUnit) -> None:
    """From the public side: marginals and residuals of a known table, standardised by the stddev that came with them."""
    domain = Domain.of({"a": 40, "b": 50})
    table = dependent_table(domain, 300, 0)
    private = PrivateData.of_codes(table, PrivacyBudget(5.0, 1e-6), unit=unit, unit_ids=np.arange(300))
    counts = np.zeros((40, 50))
    np.add.at(counts, (table.columns["a"], table.columns["b"]), 1.0)
    marginal = private.measure(("a", "b"), 0.2, "pair")
    low, high = _chi_square_bounds(2000)
    assert low < float(((marginal.values - counts) ** 2).sum()) / marginal.stddev**2 < high
    residual = private.measure_residual(("a", "b"), 0.2, "pair")
    exact = counts - counts.mean(0, keepdims=True) - counts.mean(1, keepdims=True) + counts.mean()
    # The projection leaves (40 - 1)(50 - 1) degrees of freedom.
    low, high = _chi_square_bounds(39 * 49)
    statistic = float(((residual.values - exact) ** 2).sum()) / residual.stddev**2
    assert low < statistic < high
    assert not low < statistic / 4.0 < high
