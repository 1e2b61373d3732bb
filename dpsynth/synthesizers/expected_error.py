"""How wrong a measured table will be once it is made non-negative with the right total: the price of measuring it.

A sparse table measured with noise sigma per cell is much less wrong than n sigma sqrt(2/pi), since most of its cells end at zero.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

_SQRT_2_PI = math.sqrt(2.0 * math.pi)
_MOST_STEPS = 60


def expected_l1(x: npt.NDArray[np.float64], sigma: float) -> float:
    """E |(x + sigma Z - tau)_+ - x|_1 where tau makes the expected sum equal sum(x); ``x`` >= 0.

    With u = x - tau: E (u + sigma Z)_+ = sigma phi(u/sigma) + u Phi(u/sigma), increasing in u, so Newton's method finds tau. Splitting at
    sigma Z < tau - x (cell ends at 0), < tau (ends low) and above (ends high) gives, with a = (tau - x)/sigma and b = tau/sigma,
    x Phi(a) + tau (Phi(b) - Phi(a)) - sigma (phi(a) - phi(b)) + sigma phi(b) - tau (1 - Phi(b)) per cell.
    """
    from scipy.special import ndtr

    values, weights = _condensed(x.ravel(), sigma)
    total = float(np.dot(values, weights))

    # The expected sum is convex and falls with tau, so Newton's steps from 0 stay on the low side and only grow towards the root.
    tau = 0.0
    for _ in range(_MOST_STEPS):
        u = (values - tau) / sigma
        above = ndtr(u)
        excess = float(np.dot(weights, sigma * (np.exp(-0.5 * u * u) / _SQRT_2_PI) + (values - tau) * above)) - total
        step = excess / max(float(np.dot(weights, above)), 1e-300)
        tau += step
        if step <= 1e-9 * sigma:
            break
    a, b = (tau - values) / sigma, tau / sigma
    phi_a, phi_b = np.exp(-0.5 * a * a) / _SQRT_2_PI, math.exp(-0.5 * b * b) / _SQRT_2_PI
    cdf_a, cdf_b = ndtr(a), float(ndtr(b))
    cell = values * cdf_a + tau * (cdf_b - cdf_a) - sigma * (phi_a - phi_b) + sigma * phi_b - tau * (1.0 - cdf_b)
    return float(np.dot(weights, cell))


def effective_cells(x: npt.NDArray[np.float64], sigma: float) -> float:
    """Cells that will really carry noise: `expected_l1` in units of one cell's mean absolute noise; between 1 and the number of cells."""
    return min(float(x.size), max(1.0, expected_l1(x, sigma) / (math.sqrt(2.0 / math.pi) * sigma)))


def _condensed(x: npt.NDArray[np.float64], sigma: float) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """``x`` as at most a few hundred (value, weight) pairs: cells far under the noise behave alike, so big tables cost no more than
    small ones.
    """
    if x.size <= 256:
        return np.maximum(x, 0.0), np.ones(x.size)
    grid = np.log1p(np.maximum(x, 0.0) / (0.01 * sigma))
    bins = np.minimum((grid * 16.0).astype(np.int64), 400)
    weights = np.bincount(bins).astype(np.float64)
    sums = np.bincount(bins, weights=np.maximum(x, 0.0))
    held = weights > 0.0
    return sums[held] / weights[held], weights[held]
