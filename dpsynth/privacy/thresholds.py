"""Which values of a column may be named: those whose noisy count passes a threshold that a unit's own value passes with probability delta.

Counts of *observed* values get discrete Gaussian noise, and a value is released where the noisy count reaches the threshold: a stability
histogram (Korolova et al. 2009; Bun, Nissim and Stemmer 2016; with Gaussian noise Swanberg et al. 2023).

Why it is enough. Let D and D' be neighbours, l0 the number of values that one unit (or the two of replace-one) can touch, linf the most
that it can add to a count, and l2 the L2 sensitivity of the vector of all counts. Take the values that D and D' both have. Their noisy
counts are l2^2 / (2 sigma^2)-zCDP, and the threshold is post-processing. A value that only one of the two tables has is there through the
differing unit alone, so its count is at most linf, and there are at most l0 such values. Call *bad* the event that one of them is released.
Without it, the outputs of both tables are functions of the common values' noisy counts. A value with count c is released with probability
P[N >= T - c] <= P[N >= T - linf], so by the union bound P[bad] <= l0 P[N >= T - linf] = delta, under either table. So the release is
delta-approximately rho-zCDP (Bun and Steinke 2016, Definition 8.1); deltas of several releases add up, and so do rhos.

The tail of the discrete Gaussian, P[N >= t] with N proportional to exp(-n^2 / (2 sigma^2)): the normaliser is at least sigma sqrt(2 pi)
(Poisson summation: the other terms are positive), and where n - 1/2 >= sigma the density is convex, so its value at n is at most its
integral from n - 1/2 to n + 1/2. So P[N >= t] <= Phi(-(t - 1/2) / sigma) if t - 1/2 >= sigma.

OpenDP's thresholded Gaussian is not used: version 0.16 releases counts equal to the threshold, while its map bounds the probability of
counts above it. At sigma = 1, linf = 1 and threshold 3 it declares delta 0.023, and 0.059 is true (a test shows both).
"""

from __future__ import annotations

import math

from dpsynth.errors import BudgetError

# Rounding of the normal quantile and of the products below is in the 15th digit.
_SAFETY = 1.0 + 1e-9

LEVELS_SHARE = 0.1
"""Part of rho that finds the categories of open columns, all of them together."""


def delta_of(threshold: int, stddev: float, l0: int, linf: int) -> float:
    """Bound on the probability that a unit's own value is released: ``l0`` Phi(-(threshold - linf - 1/2) / stddev), rounded up.

    1 where the bound does not hold, which is closer to ``linf`` than one ``stddev``. ``stddev``, ``threshold`` and ``linf`` are in parts
    of the integers that get noise.
    """
    from scipy.special import ndtr

    distance = (threshold - linf - 0.5) / stddev
    return min(1.0, l0 * float(ndtr(-distance)) * _SAFETY) if distance >= 1.0 else 1.0


def threshold_for(delta: float, stddev: float, l0: int, linf: int) -> int:
    """The least whole threshold whose `delta_of` is at most ``delta``."""
    from scipy.special import ndtri

    if not 0.0 < delta < 1.0:
        raise BudgetError(f"delta={delta!r} of a threshold must be > 0 and < 1; is delta spent?")
    distance = max(1.0, -float(ndtri(delta / (l0 * _SAFETY))))
    threshold = math.floor(linf + 0.5 + stddev * distance)
    while delta_of(threshold, stddev, l0, linf) > delta:
        threshold += 1
    return threshold
