"""Bounds against closed forms, a second library and brute force; tests hold their level and still find what is there."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import optimize, stats

from audits import bounds

SEED = 20_260_101


@pytest.mark.parametrize(("k", "n"), [(0, 1), (0, 50), (3, 17), (50, 50), (499, 1000)])
@pytest.mark.parametrize("alpha", [0.05, 1e-4])
def test_clopper_pearson_agrees_with_scipy(k: int, n: int, alpha: float) -> None:
    expected = stats.binomtest(k, n).proportion_ci(1 - alpha, "exact")

    assert bounds.clopper_pearson(k, n, alpha) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clopper_pearson_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="k=5 of n=4"):
        bounds.clopper_pearson(5, 4, 0.05)


@pytest.mark.parametrize(("b", "d"), [(0, 0), (0, 5), (5, 0), (12, 3), (40, 41)])
def test_mcnemar_is_the_binomial_tail(b: int, d: int) -> None:
    expected = stats.binomtest(b, b + d, 0.5, "greater").pvalue if b + d else 1.0

    assert bounds.mcnemar(b, d) == pytest.approx(expected)


def test_holm_steps_down_and_stops() -> None:
    # 0.01 <= .05/4, 0.016 <= .05/3, 0.03 > .05/2: stop
    assert bounds.holm([0.03, 0.01, 0.04, 0.016], 0.05) == [False, True, False, True]


def test_holm_counts_planned_tests_that_gave_nothing() -> None:
    assert bounds.holm([0.01], 0.05) == [True]
    assert bounds.holm([0.01], 0.05, family=6) == [False]


def test_average_of_e_values() -> None:
    assert bounds.average_e_value([0.0, 300.0]) == 150.0


def test_auc_and_its_variance_are_delongs_by_brute_force() -> None:
    rng = np.random.default_rng(SEED)
    x, y = rng.integers(0, 6, 9).astype(float), rng.integers(0, 5, 7).astype(float)  # with ties
    psi = np.array([[(a > b) + 0.5 * (a == b) for b in y] for a in x])
    variance = psi.mean(axis=1).var(ddof=1) / len(x) + psi.mean(axis=0).var(ddof=1) / len(y)

    assert bounds.auc(x, y) == pytest.approx((psi.mean(), variance))


def test_separated_scores_keep_an_interval() -> None:
    low, high = bounds.auc_interval(1.0, 0.0, 20, 30, 0.05)

    assert high == 1.0
    assert low == pytest.approx(0.025 ** (1 / 20))
    assert bounds.auc_exceeds(1.0, 0.0, 20, 30, 0.7) == pytest.approx(0.7**20)
    assert bounds.auc_exceeds(1.0, 0.0, 20, 30, 1.0) == 1.0


@pytest.mark.statistical
def test_auc_test_holds_its_level_and_sees_a_real_difference() -> None:
    rng = np.random.default_rng(SEED)
    runs, n, mu = 400, 200, 0.5
    cap = stats.norm.cdf(mu / math.sqrt(2))
    rejected = {0.0: 0, 0.45: 0}
    for extra in rejected:
        for _ in range(runs):
            x, y = rng.normal(mu + extra, 1, n), rng.normal(0, 1, n)
            rejected[extra] += bounds.auc_exceeds(*bounds.auc(x, y), n, n, cap) <= 0.05

    assert rejected[0.0] <= stats.binom.ppf(0.9999, runs, 0.06)  # 5 %, and a little for the normal approximation
    assert rejected[0.45] >= 0.8 * runs


def test_auc_detectable_has_the_power_it_claims() -> None:
    rng = np.random.default_rng(SEED)
    n, cap, runs = 300, 0.6, 300
    detectable = bounds.auc_detectable(cap, n, n, 0.01)
    assert detectable is not None
    mu = math.sqrt(2) * stats.norm.ppf(detectable)
    found = sum(bounds.auc_exceeds(*bounds.auc(rng.normal(mu, 1, n), rng.normal(0, 1, n)), n, n, cap) <= 0.01 for _ in range(runs))

    assert 0.7 <= found / runs <= 0.95
    assert bounds.auc_detectable(1.0, n, n, 0.01) is None


@pytest.mark.statistical
def test_rate_test_holds_its_level_at_the_cap_and_detects_beyond_it() -> None:
    rng = np.random.default_rng(SEED)
    runs, n = 400, 300

    def cap(x: float) -> float:
        return min(1.0, 2.0 * x)

    at_cap = sum(bounds.rate_exceeds(int(rng.binomial(n, 0.3)), n, int(rng.binomial(n, 0.15)), n, cap) <= 0.05 for _ in range(runs))
    detectable = bounds.rate_detectable(n, 45, n, cap, 0.05)
    assert detectable is not None
    beyond = sum(bounds.rate_exceeds(int(rng.binomial(n, detectable)), n, 45, n, cap) <= 0.05 for _ in range(runs))

    assert at_cap <= stats.binom.ppf(0.9999, runs, 0.05)
    assert 0.75 <= beyond / runs <= 0.95


def test_rate_test_extremes() -> None:
    assert bounds.rate_exceeds(0, 10, 0, 10, lambda x: x) == 1.0
    assert bounds.rate_exceeds(1000, 1000, 0, 1000, lambda x: x) == bounds.P_FLOOR
    assert bounds.rate_exceeds(1000, 1000, 0, 1000, lambda _: 1.0) == 1.0
    assert bounds.rate_detectable(1000, 0, 1000, lambda _: 1.0, 0.01) is None


def test_tpr_at_fpr_counts_above_a_fixed_threshold() -> None:
    found = bounds.tpr_at_fpr(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 5.0]), 1.0, 0.05)

    assert (found["hits"], found["alarms"]) == (2, 1)
    assert (found["tpr_low"], found["tpr_high"]) == bounds.clopper_pearson(2, 3, 0.05)


@pytest.mark.statistical
@pytest.mark.parametrize("rate", [0.0, 0.02, 0.4])
def test_excess_interval_covers(rate: float) -> None:
    rng = np.random.default_rng(SEED)
    runs, n = 500, 250
    covered = 0
    for _ in range(runs):
        x, y = (rng.random(n) < min(1.0, rate + 0.1)) * 1.0, (rng.random(n) < rate) * 1.0
        _, low, high = bounds.excess_interval(x, y, 0.05)
        covered += low <= min(1.0, rate + 0.1) - rate <= high

    assert covered >= stats.binom.ppf(0.0001, runs, 0.95)


def test_no_success_at_all_keeps_a_width() -> None:
    zeros = np.zeros(100)

    assert bounds.excess_interval(zeros, zeros, 0.05)[2] == pytest.approx(1 - 0.025 ** (1 / 100), rel=1e-6)


def brute_one_run(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    q = 1 / (1 + math.exp(-epsilon))
    pmf = stats.binom.pmf(np.arange(r + 1), r, q)
    slope = max((pmf[v - i : v].sum() / i for i in range(1, v + 1)), default=0.0)
    return min(1.0, pmf[v:].sum() + 2 * m * delta * slope)


@pytest.mark.parametrize(("m", "r", "v"), [(10, 10, 10), (50, 20, 15), (200, 100, 60), (7, 3, 0), (5, 1, 1)])
@pytest.mark.parametrize(("epsilon", "delta"), list(itertools.product([0.0, 0.7, 3.0], [0.0, 1e-4])))
def test_one_run_p_value_is_the_theorems_sum(m: int, r: int, v: int, epsilon: float, delta: float) -> None:
    expected = max(brute_one_run(m, r, v, epsilon, delta), bounds.P_FLOOR)

    assert bounds.one_run_p_value(m, r, v, epsilon, delta) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.statistical
def test_one_run_bound_is_below_the_truth_and_not_far() -> None:
    """Randomised response with epsilon 1, all coins guessed: the theorem is tight there."""
    rng = np.random.default_rng(SEED)
    runs, m, epsilon = 400, 1000, 1.0
    found = np.array([
        bounds.one_run_epsilon_bound(m, m, int(rng.binomial(m, 1 / (1 + math.exp(-epsilon)))), 0.0, 0.05) for _ in range(runs)
    ])  # fmt: skip

    assert (found > epsilon).sum() <= stats.binom.ppf(0.9999, runs, 0.05)
    assert np.median(found) > 0.85


def test_one_run_refuses_impossible_counts() -> None:
    with pytest.raises(ValueError, match="v=3"):
        bounds.one_run_p_value(5, 2, 3, 1.0, 0.0)


def largest_tail(m: int, r: int, v: int, profile: list[tuple[float, float]]) -> float:
    """The largest P[right >= v] that all inequalities of the trade-off curve's lines allow, by linear programming."""
    i = np.arange(r + 1)
    left, limits = [], []
    for c in range(1, r + 1):
        right, wrong = np.where(i >= c, i / m, 0.0), np.where(i >= c - 1, (r - i) / m, 0.0)
        for epsilon, delta in profile:
            left += [right - math.exp(epsilon) * wrong, right - math.exp(-epsilon) * wrong]
            limits += [delta, 1 - math.exp(-epsilon) * (1 - delta)]
    found = optimize.linprog(
        -(i >= v).astype(float), A_ub=np.array(left), b_ub=limits, A_eq=np.ones((1, r + 1)), b_eq=[1.0], bounds=(0, 1), method="highs"
    )
    return -float(found.fun)


PROFILES: dict[str, list[tuple[float, float]]] = {
    "perfect": [(0.0, 0.0)],
    "pure": [(1.0, 0.0)],
    "one point": [(1.0, 0.01)],
    "profile": [(0.0, 0.16), (0.5, 0.06), (1.0, 0.015), (2.0, 1e-4)],
}


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("m", "r", "v"), [(10, 10, 9), (20, 20, 17), (40, 20, 18), (60, 12, 12), (30, 30, 16), (25, 10, 1)])
def test_the_trade_off_p_value_is_the_linear_programs(m: int, r: int, v: int, profile: str) -> None:
    points = PROFILES[profile]
    curve = bounds.TradeOff.of_profile(*zip(*points, strict=True))

    assert bounds.one_run_p_value_f(m, r, v, curve) == pytest.approx(largest_tail(m, r, v, points), rel=1e-5, abs=1e-9)


def test_the_trade_off_p_value_is_sharper_than_the_theorem_with_a_delta_in_it() -> None:
    curve = bounds.TradeOff.of_profile([1.0], [1e-3])

    assert bounds.one_run_p_value_f(400, 100, 92, curve) < 0.2 * bounds.one_run_p_value(400, 100, 92, 1.0, 1e-3)


def test_guesses_at_random_are_called_a_violation_as_seldom_as_promised() -> None:
    """Perfect privacy: r guesses are fair coins. P[p <= .1] over 4,000 draws exceeds .1 by four standard errors with chance 3e-5."""
    rng, runs = np.random.default_rng(SEED), 4000
    curve = bounds.TradeOff.of_profile([0.0], [0.0])
    p = {v: bounds.one_run_p_value_f(60, 40, v, curve) for v in range(41)}
    share = np.mean([p[v] <= 0.1 for v in rng.binomial(40, 0.5, runs).tolist()])

    assert share <= 0.1 + 4 * math.sqrt(0.09 / runs)


def test_the_envelope_of_lines_is_their_maximum() -> None:
    rng = np.random.default_rng(SEED)
    for _ in range(20):
        epsilons = np.sort(rng.uniform(0, 5, 7))
        deltas = np.sort(rng.uniform(0, 0.3, 7))[::-1]
        curve = bounds.TradeOff.of_profile(epsilons, deltas)
        for tpr in rng.random(20):
            lines = [(tpr - d) / math.exp(e) for e, d in zip(epsilons, deltas, strict=True)]
            lines += [1 - d - (1 - tpr) * math.exp(e) for e, d in zip(epsilons, deltas, strict=True)]
            assert curve.fpr(float(tpr)) == pytest.approx(max(0.0, *lines), abs=1e-12)


def test_the_paired_difference_of_two_areas_has_delongs_variance() -> None:
    """Against the spread over many draws: two noisy views of one signal, 60 members and 50 strangers."""
    rng, gaps, variances = np.random.default_rng(SEED), [], []
    for _ in range(800):
        signal = np.concatenate([rng.normal(1, 1, 60), rng.normal(0, 1, 50)])
        a, b = (signal + 0.5 * rng.normal(size=110) for _ in range(2))
        placed = [bounds.placements(x[:60], x[60:]) for x in (a, b)]
        gap, variance = bounds.paired_difference(*zip(*placed, strict=True))
        assert gap == pytest.approx(bounds.auc(a[:60], a[60:])[0] - bounds.auc(b[:60], b[60:])[0])
        gaps.append(gap)
        variances.append(variance)

    assert np.mean(variances) == pytest.approx(np.var(gaps), rel=0.25)  # four standard errors of a variance of 800 are 0.2
