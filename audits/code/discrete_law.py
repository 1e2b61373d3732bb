"""The discrete Gaussian as a law to test against, and residuals as standard normal scores under it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def normal_scores(residual: npt.NDArray[np.int64], stddev: float, rng: np.random.Generator) -> Array:
    """Residuals as standard normal scores: exactly N(0, 1) if they are discrete Gaussian with this ``stddev``.

    The randomised probability integral transform spreads each integer evenly over its own probability, so it needs no
    large stddev.
    """
    from scipy.special import ndtri

    magnitude = np.abs(residual)
    mass, beyond = discrete_law(magnitude, stddev)
    # Upper tail of |r| with its own cell split at random, then the sign back: no precision is lost in either tail.
    share = rng.random(residual.shape)
    scores = -ndtri(np.clip(beyond + mass * share, 1e-300, 1.0 - 1e-16))
    return np.asarray(np.where(residual < 0, -scores, scores), dtype=np.float64)


def discrete_law(magnitude: npt.NDArray[np.int64], stddev: float) -> tuple[Array, Array]:
    """P(X = m) and P(X > m) of the discrete Gaussian, for m >= 0."""
    from scipy.special import ndtr

    if stddev > 50.0:
        # Each integer's probability is its unit cell's under the continuous law up to a relative 1/(24 sigma^2).
        upper, lower = ndtr(-(magnitude - 0.5) / stddev), ndtr(-(magnitude + 0.5) / stddev)
        return np.asarray(upper - lower), np.asarray(lower)
    reach = (
        max(int(magnitude.max(initial=0)), math.ceil(40.0 * stddev)) + 2 if magnitude.max(initial=0) < 1e6 else math.ceil(40.0 * stddev) + 2
    )
    support = np.arange(reach + 1, dtype=np.float64)
    weight = np.exp(-0.5 * (support / stddev) ** 2)
    total = 2.0 * weight.sum() - weight[0]
    tail = np.cumsum(weight[::-1])[::-1]
    at = np.minimum(magnitude, reach - 1)
    return np.asarray(weight[at] / total), np.asarray(tail[at + 1] / total)


def censored_scores(limits: npt.NDArray[np.int64], stddev: float, rng: np.random.Generator) -> Array:
    """Scores of residuals of which nothing is known but that they lie below ``limits``: exactly N(0, 1) beside those that are known.

    The score is drawn evenly from the probability below the limit.
    """
    from scipy.special import ndtri

    mass, beyond = discrete_law(np.abs(limits), stddev)
    reached = np.where(limits > 0, mass + beyond, 1.0 - beyond)
    share = rng.random(limits.shape)
    return np.asarray(-ndtri(np.clip(reached + (1.0 - reached) * share, 1e-300, 1.0 - 1e-16)), dtype=np.float64)
