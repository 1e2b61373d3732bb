"""Confidence bounds and tests, apart from the attacks that use them.

Binomial bounds are exact (Clopper and Pearson 1934). Where an interval is only asymptotic the docstring says so.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrc, betaincinv, expit, logit, ndtr, ndtri

Floats = npt.NDArray[np.float64]

P_FLOOR = 1e-12
"""Smallest p-value reported: below it the bounds are limited by floating point, not by data."""


def lower_bound(k: float, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson lower bound of a rate at confidence ``1 - alpha``."""
    return 0.0 if k <= 0 else float(betaincinv(k, n - k + 1, alpha))


def upper_bound(k: float, n: int, alpha: float) -> float:
    """One-sided Clopper-Pearson upper bound of a rate at confidence ``1 - alpha``."""
    return 1.0 if k >= n else float(betaincinv(k + 1, n - k, 1.0 - alpha))


def clopper_pearson(k: int, n: int, alpha: float) -> tuple[float, float]:
    """Two-sided exact interval of a rate after ``k`` successes in ``n`` trials, at confidence ``1 - alpha``."""
    if not 0 <= k <= n or n < 1:
        raise ValueError(f"k={k} of n={n}: need 0 <= k <= n and n >= 1")
    return lower_bound(k, n, alpha / 2), upper_bound(k, n, alpha / 2)


def mcnemar(b: int, d: int) -> float:
    """Exact one-sided McNemar test: probability of ``b`` or more of the ``b + d`` discordant pairs by fair coins."""
    return 1.0 if b <= 0 else float(bdtrc(b - 1, b + d, 0.5))


def holm(p_values: Sequence[float], alpha: float, family: int | None = None) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects, with family-wise error at most ``alpha``.

    ``family`` is the number of tests planned; a planned test that gave no p-value still counts, as if it were 1.
    """
    m = max(len(p_values), family or 0)
    rejected = [False] * len(p_values)
    for step, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if not p_values[index] <= alpha / (m - step):
            break
        rejected[index] = True
    return rejected


def average_e_value(e_values: Sequence[float]) -> float:
    """Mean of e-values: an e-value again under arbitrary dependence (Vovk and Wang 2021), so reject at 1/alpha."""
    return math.fsum(e_values) / len(e_values)


def auc(positive: Floats, negative: Floats) -> tuple[float, float]:
    """Area under the ROC curve and DeLong's variance of it; ties count one half.

    DeLong, DeLong and Clarke-Pearson 1988, through ranks as in Sun and Xu 2014.
    """
    above, below = placements(positive, negative)
    return float(above.mean()), _variance_of_mean(above) + _variance_of_mean(below)


def placements(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """Share of negatives below each positive, and of positives above each negative; both have the AUC as their mean."""
    m, n = len(positive), len(negative)
    rank = _midranks(np.concatenate([positive, negative]))
    return (rank[:m] - _midranks(positive)) / n, 1.0 - (rank[m:] - _midranks(negative)) / m


def paired_difference(*values: tuple[Floats, Floats]) -> tuple[float, float]:
    """Difference of two means over the same individuals and its variance, for one or more independent groups of them: the first group's
    difference is the estimate, each group's spread adds to the variance (DeLong's test of two correlated AUCs, on their placements)."""
    gaps = [first - second for first, second in values]
    return float(gaps[0].mean()), sum(map(_variance_of_mean, gaps))


def _variance_of_mean(values: Floats) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.25


def auc_interval(value: float, variance: float, m: int, n: int, alpha: float) -> tuple[float, float]:
    """Two-sided interval of an AUC: DeLong on the logit scale, widened so that separation never has width zero.

    Asymptotic, except at the ends: if all of ``min(m, n)`` disjoint pairs are ordered correctly, A**min(m, n) is the
    probability of that, whence the exact bound (alpha/2)**(1/min(m, n)) for perfect separation.
    """
    pairs = min(m, n)
    extreme = (alpha / 2) ** (1.0 / pairs)
    if value >= 1.0:
        return extreme, 1.0
    if value <= 0.0:
        return 0.0, 1.0 - extreme
    centre, error = _on_logit_scale(value, variance, pairs)
    half = float(ndtri(1 - alpha / 2)) * error
    return min(value, float(expit(centre - half))), max(value, float(expit(centre + half)))


def auc_exceeds(value: float, variance: float, m: int, n: int, cap: float) -> float:
    """One-sided p-value of "the AUC is at most ``cap``"; asymptotic, exact under perfect separation."""
    if cap >= 1.0 or value <= cap:
        return 1.0
    pairs = min(m, n)
    if value >= 1.0:
        return max(P_FLOOR, cap**pairs)
    centre, error = _on_logit_scale(value, variance, pairs)
    return max(P_FLOOR, float(ndtr((float(logit(cap)) - centre) / error)))


def auc_detectable(cap: float, m: int, n: int, alpha: float, power: float = 0.8) -> float | None:
    """Smallest AUC that :func:`auc_exceeds` would tell from ``cap`` with this power; None if there is none."""
    if cap >= 1.0:
        return None
    # Hanley and McNeil 1982, eq. 1-2: standard error of the AUC for exponential scores.
    first, second = cap / (2 - cap), 2 * cap * cap / (1 + cap)
    variance = (cap * (1 - cap) + (m - 1) * (first - cap * cap) + (n - 1) * (second - cap * cap)) / (m * n)
    centre, error = _on_logit_scale(cap, variance, min(m, n))
    found = float(expit(centre + (ndtri(1 - alpha) + ndtri(power)) * error))
    return found if cap < found < 1.0 else None


def _on_logit_scale(value: float, variance: float, pairs: int) -> tuple[float, float]:
    """Logit of an AUC and its standard error, both kept away from the ends.

    DeLong's variance tends to zero there, where a sample is too small to show its spread: the AUC is moved to within half a
    pair of the end, and its variance is at least that of a rate so extreme in ``pairs`` trials.
    """
    value = min(max(value, 0.5 / pairs), 1 - 0.5 / pairs)
    return float(logit(value)), math.sqrt(max(variance, 0.5 / (pairs + 1) ** 2)) / (value * (1 - value))


def _midranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse.reshape(-1)], dtype=np.float64)


def tpr_at_fpr(positive: Floats, negative: Floats, threshold: float, alpha: float) -> dict[str, float]:
    """True and false positive rates above a threshold *fixed on other data*, with exact intervals."""
    hits, alarms = int(np.sum(positive > threshold)), int(np.sum(negative > threshold))
    t_low, t_high = clopper_pearson(hits, len(positive), alpha)
    f_low, f_high = clopper_pearson(alarms, len(negative), alpha)
    return {
        "tpr": hits / len(positive), "tpr_low": t_low, "tpr_high": t_high,
        "fpr": alarms / len(negative), "fpr_low": f_low, "fpr_high": f_high,
        "hits": hits, "alarms": alarms,
    }  # fmt: skip


def rate_exceeds(k1: int, n1: int, k0: int, n0: int, cap: Callable[[float], float]) -> float:
    """P-value of "rate one is at most ``cap`` of rate zero", ``cap`` non-decreasing; exact, conservative.

    The smallest level at which the Clopper-Pearson lower bound of rate one, at half the level, is above ``cap`` of
    the upper bound of rate zero at the other half (a union bound).
    """

    def rejected(alpha: float) -> bool:
        return lower_bound(k1, n1, alpha / 2) > cap(upper_bound(k0, n0, alpha / 2))

    low, high = math.log(P_FLOOR), 0.0
    if not rejected(1.0):
        return 1.0
    if rejected(P_FLOOR):
        return P_FLOOR
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if rejected(math.exp(middle)) else (middle, high)
    return math.exp(high)


def rate_detectable(n1: int, k0: int, n0: int, cap: Callable[[float], float], alpha: float, power: float = 0.8) -> float | None:
    """Smallest rate one that :func:`rate_exceeds` catches at ``alpha`` with this power, rate zero as seen; None if
    none."""
    limit = cap(upper_bound(k0, n0, alpha / 2))
    if not lower_bound(n1, n1, alpha / 2) > limit:
        return None
    low, high = 0, n1  # lower_bound(low) <= limit < lower_bound(high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if lower_bound(middle, n1, alpha / 2) > limit else (middle, high)
    # P[Binomial(n1, a) >= high] = I_a(high, n1 - high + 1), set to the power.
    return float(betaincinv(high, n1 - high + 1, power))


def excess_interval(treated: Floats, control: Floats, alpha: float) -> tuple[float, float, float]:
    """Difference of two means of values in [0, 1] and its two-sided interval: ``(difference, low, high)``.

    Normal with Welch's variance, plus in quadrature the exact bound for a rate that was never seen, so that "no
    success in n" keeps its width.
    """
    z = float(ndtri(1 - alpha / 2))
    difference = float(treated.mean() - control.mean())
    spread = sum(float(x.var(ddof=1)) / len(x) if len(x) > 1 else 0.25 for x in (treated, control))
    unseen = sum((1.0 - (alpha / 2) ** (1.0 / len(x))) ** 2 for x in (treated, control)) / 2
    half = math.sqrt(z * z * spread + unseen)
    return difference, max(-1.0, difference - half), min(1.0, difference + half)


def one_run_p_value(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """P-value of (epsilon, delta)-DP after ``v`` right of ``r`` guesses about ``m`` fair coins, in one run of the
    mechanism.

    Steinke, Nasr and Jagielski 2023, Theorem 5.2: with B ~ Binomial(r, e^epsilon/(1+e^epsilon)),
    P[B >= v] + 2 m delta max_i P[v-i <= B < v]/i.
    """
    if not 0 <= v <= r <= m:
        raise ValueError(f"v={v}, r={r}, m={m}: need 0 <= v <= r <= m")
    if v == 0:
        return 1.0
    q = float(expit(epsilon))
    tail = float(bdtrc(v - 1, r, q))
    if delta <= 0:
        return min(1.0, max(P_FLOOR, tail))
    steps = np.arange(1, v + 1)
    below = np.zeros(v)
    below[: v - 1] = bdtr((v - 1 - steps[:-1]).astype(float), r, q)  # P[B < v - i]; the last one is P[B < 0] = 0
    slope = float(np.max((bdtr(float(v - 1), r, q) - below) / steps))
    return min(1.0, max(P_FLOOR, tail + 2.0 * m * delta * max(0.0, slope)))


def one_run_epsilon_bound(m: int, r: int, v: int, delta: float, alpha: float, largest: float = 30.0) -> float:
    """Largest epsilon that ``v`` right of ``r`` guesses about ``m`` coins exclude at confidence ``1 - alpha`` (0 if
    none)."""
    if one_run_p_value(m, r, v, 0.0, delta) > alpha:
        return 0.0
    low, high = 0.0, largest
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if one_run_p_value(m, r, v, middle, delta) <= alpha else (low, middle)
    return low


@dataclass(frozen=True)
class TradeOff:
    """Largest true positive rate for each false positive rate, as the smallest of straight lines ``slope * fpr + intercept`` and of one.

    A concave curve is the smallest of its tangents, so that any of them leave a valid curve, only a weaker one.
    """

    ends: Floats
    slopes: Floats
    intercepts: Floats

    @classmethod
    def of_profile(cls, epsilons: npt.ArrayLike, deltas: npt.ArrayLike) -> TradeOff:
        """The curve of a privacy profile, both halves (Kairouz, Oh and Viswanath 2015, eq. 4)."""
        eps, delta = np.atleast_1d(np.asarray(epsilons, dtype=np.float64)), np.atleast_1d(np.asarray(deltas, dtype=np.float64))
        # Of the line tpr <= a fpr + b: fpr >= tpr / a - b / a. A slope of e^700 or e^-700 is as good as infinity or nothing.
        eps = np.minimum(eps, 700.0)
        slopes = np.concatenate([np.exp(-eps), np.exp(eps), [0.0]])
        intercepts = np.concatenate([-np.exp(-eps) * delta, 1.0 - delta - np.exp(eps), [0.0]])
        return cls(*_upper_envelope(slopes, intercepts))

    def fpr(self, tpr: float) -> float:
        """Smallest false positive rate that allows this true positive rate."""
        k = bisect_right(self._ends, tpr)
        return self._slopes[k] * tpr + self._intercepts[k]

    @cached_property
    def _ends(self) -> list[float]:
        return self.ends.tolist()  # type: ignore[no-any-return]

    @cached_property
    def _slopes(self) -> list[float]:
        return self.slopes.tolist()  # type: ignore[no-any-return]

    @cached_property
    def _intercepts(self) -> list[float]:
        return self.intercepts.tolist()  # type: ignore[no-any-return]


def _upper_envelope(slopes: Floats, intercepts: Floats) -> tuple[Floats, Floats, Floats]:
    """The lines that are largest somewhere, from left to right, and where each gives way to the next."""
    kept: list[tuple[float, float]] = []
    ends: list[float] = []
    for slope, intercept in sorted(zip(slopes.tolist(), intercepts.tolist(), strict=True)):
        if kept and kept[-1][0] == slope:
            kept.pop()  # sorted: the later of two parallels is the higher
            ends = ends[: max(0, len(kept) - 1)]
        while kept:
            meet = (kept[-1][1] - intercept) / (slope - kept[-1][0])
            if not ends or meet > ends[-1]:
                ends.append(meet)
                break
            kept.pop()
            ends.pop()
        kept.append((slope, intercept))
    table = np.array(kept)
    return np.array(ends), table[:, 0], table[:, 1]


def one_run_excludes(m: int, r: int, v: int, curve: TradeOff, alpha: float) -> bool:
    """Whether ``v`` right of ``r`` guesses about ``m`` fair coins have probability at most ``alpha`` under a trade-off curve.

    Mahloujifar, Melis and Chaudhuri 2024: with p_i the chance of i right guesses, for every c
    sum_{i >= c} i/m p_i <= f(sum_{i >= c-1} (r-i)/m p_i), since turning a coin that was guessed right leaves at least c - 1 others right.
    The left sums cannot be smaller, given P[right >= v] = alpha, than when all of that mass sits at v; going down from there, each
    inequality forces the next mass, and if more than all is needed, alpha was too much.
    """
    if not 0 <= v <= r <= m:
        raise ValueError(f"v={v}, r={r}, m={m}: need 0 <= v <= r <= m")
    right, wrong = alpha * v / m, alpha * (r - v) / m
    for i in range(v - 1, -1, -1):
        if right > 1.0 or right + wrong > r / m:
            return True
        needed = curve.fpr(right)
        if needed > wrong:
            right += i / (r - i) * (needed - wrong)
            wrong = needed
    return right + wrong > r / m


def one_run_p_value_f(m: int, r: int, v: int, curve: TradeOff) -> float:
    """P-value of a trade-off curve after ``v`` right of ``r`` guesses: the smallest level at which :func:`one_run_excludes` it."""
    if v == 0 or not one_run_excludes(m, r, v, curve, 1.0):
        return 1.0
    if one_run_excludes(m, r, v, curve, P_FLOOR):
        return P_FLOOR
    low, high = math.log(P_FLOOR), 0.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if one_run_excludes(m, r, v, curve, math.exp(middle)) else (middle, high)
    return math.exp(high)
