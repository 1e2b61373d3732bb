"""Privacy profiles that audits test against, derived here from the definitions and not from anybody's accountant.

Every function errs towards the claim: a returned delta, epsilon or power is never smaller than what the guarantee
allows.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.result import AuditError

Array = npt.NDArray[np.float64]


def _orders() -> Array:
    """Renyi orders alpha > 1, dense in log(alpha - 1)."""
    return np.asarray(1.0 + np.logspace(-4.0, 7.0, 40_001))


def zcdp_epsilon(rho: float, delta: float) -> float:
    """Smallest epsilon on a dense, locally refined grid of orders such that rho-zCDP implies (epsilon, delta)-DP.

    epsilon(alpha) = alpha rho + log((alpha-1)/alpha) - (log delta + log alpha)/(alpha-1) for any alpha > 1 (Canonne,
    Kamath and Steinke 2020, Proposition 12, solved for epsilon). Every order is valid, so the grid's minimum is too.
    """
    if not (rho >= 0.0 and 0.0 < delta < 1.0):
        raise AuditError(f"rho={rho!r} must be >= 0 and delta={delta!r} between 0 and 1")
    if rho == 0.0:
        return 0.0

    def epsilon(alpha: Array) -> Array:
        return np.asarray(alpha * rho + np.log1p(-1.0 / alpha) - (math.log(delta) + np.log(alpha)) / (alpha - 1.0))

    grid = _orders()
    best = int(np.argmin(epsilon(grid)))
    fine = np.linspace(grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)], 2001)
    return max(0.0, float(epsilon(fine).min()))


def gaussian_delta(mu: float, epsilon: npt.ArrayLike) -> Array:
    """Smallest delta of a mu-GDP mechanism at each ``epsilon`` (Balle and Wang 2018, Theorem 8); the shape of ``epsilon``."""
    from scipy.special import log_ndtr

    eps = np.asarray(epsilon, dtype=np.float64)
    if mu <= 0.0:
        return np.zeros_like(eps)
    if math.isinf(mu):
        return np.ones_like(eps)
    return np.asarray(np.exp(log_ndtr(mu / 2.0 - eps / mu)) - np.exp(eps + log_ndtr(-mu / 2.0 - eps / mu)))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Smallest epsilon at ``delta`` of a mu-GDP mechanism."""
    if math.isinf(mu):
        return math.inf
    low, high = 0.0, 1.0
    if gaussian_delta(mu, low) <= delta:
        return 0.0
    while gaussian_delta(mu, high) > delta:
        high *= 2.0
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (low, middle) if gaussian_delta(mu, middle) <= delta else (middle, high)
    return high


def bounded_range_mu(epsilon: float) -> float:
    """Gaussian-DP parameter that covers one epsilon-bounded-range selection, such as the exponential mechanism.

    The extreme pairs have privacy loss t or t - epsilon, 0 <= t <= epsilon (Dong, Durfee and Rogers 2020): one vertex
    (fpr, tpr) = (q, e^t q) of a piecewise linear trade-off, which lies under a concave GDP curve if its vertex does.
    """
    from scipy.special import ndtri

    if epsilon <= 0.0:
        return 0.0
    t = np.linspace(0.0, epsilon, 4001)[1:-1]
    fpr = (1.0 - np.exp(t - epsilon)) / (np.exp(t) - np.exp(t - epsilon))
    return float((ndtri(np.exp(t) * fpr) - ndtri(fpr)).max()) * (1.0 + 1e-6)


def lattice_slack(stddev: float) -> float:
    """Factor by which mu of a discrete Gaussian may pass that of the continuous one: 1 + 1/(12 sigma^2).

    Twice the largest excess found by enumerating one-dimensional shifts for sigma >= 1/2; vectors come closer to the
    continuous law.
    """
    return 1.0 + 1.0 / (12.0 * stddev * stddev)


def event_mu(event: dict[str, Any]) -> float:
    """Gaussian-DP parameter that one transcript event declares for itself."""
    if event["kind"] in ("gaussian", "threshold"):
        return float(event["l2_sensitivity"]) / float(event["stddev"]) * lattice_slack(float(event["stddev"]))
    if event["kind"] == "exponential":
        return bounded_range_mu(float(event["epsilon"]))
    return 0.0


def zcdp_power(rho: float, fpr: Array) -> Array:
    """Largest true positive rate that rho-zCDP leaves to any test with these false positive rates.

    Data processing: the test's answers under both tables are two coins whose Renyi divergences, both ways, are at
    most alpha rho.
    """
    alpha = np.concatenate([1.0 + np.logspace(-3.0, 2.0, 41), [1e3, 1e4]])[:, None]
    q = np.clip(np.asarray(fpr, dtype=np.float64), 1e-300, 1.0 - 1e-12)[None, :]

    def allowed(p: Array) -> npt.NDArray[np.bool_]:
        p = np.clip(p, 1e-300, 1.0 - 1e-15)
        bound = (alpha - 1.0) * alpha * rho + 1e-12
        with np.errstate(over="ignore"):
            forth = np.logaddexp(alpha * np.log(p) + (1 - alpha) * np.log(q), alpha * np.log1p(-p) + (1 - alpha) * np.log1p(-q))
            back = np.logaddexp(alpha * np.log(q) + (1 - alpha) * np.log(p), alpha * np.log1p(-q) + (1 - alpha) * np.log1p(-p))
        return np.asarray(((forth <= bound) & (back <= bound)).all(axis=0))

    low, high = q.copy(), np.ones_like(q)
    for _ in range(40):
        middle = (low + high) / 2.0
        ok = allowed(middle)[None, :]
        low, high = np.where(ok, middle, low), np.where(ok, high, middle)
    return np.asarray(np.minimum(high[0], 1.0))


@lru_cache(maxsize=64)
def _power_curve(rho: float) -> tuple[Array, Array]:
    fpr = np.concatenate([[0.0], np.logspace(-12.0, -3.0, 200), np.linspace(1e-3, 1.0, 1200)[1:]])
    return fpr, zcdp_power(rho, fpr)


def zcdp_delta(rho: float, epsilon: npt.ArrayLike) -> Array:
    """Smallest delta known here at each ``epsilon`` under rho-zCDP; the shape of ``epsilon``.

    The better of Canonne, Kamath and Steinke 2020, Proposition 12, and the two-coin curve. Between two grid points the
    curve is bounded by the right end's power at the left end's false positive rate.
    """
    eps = np.asarray(epsilon, dtype=np.float64)
    if rho <= 0.0:
        return np.zeros_like(eps)
    fpr, power = _power_curve(rho)
    alpha = _orders()
    free_of_epsilon = (alpha - 1.0) * alpha * rho - np.log(alpha - 1.0) + alpha * np.log1p(-1.0 / alpha)

    def at(value: float) -> float:
        by_order = float((free_of_epsilon - (alpha - 1.0) * value).min())
        curve = float(np.max(power[1:] - math.exp(min(value, 700.0)) * fpr[:-1]))
        return min(math.exp(min(0.0, by_order)), max(0.0, curve))

    return np.array([at(value) for value in eps.ravel().tolist()]).reshape(eps.shape)
