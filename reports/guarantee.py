"""What epsilon and delta let an attacker learn, and where epsilon stands among public deployments."""

from __future__ import annotations

import math
from dataclasses import dataclass

PRIORS = (0.001, 0.01, 0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Deployments:
    """Summary of the public registry of deployments that state an epsilon."""

    count: int
    lower_quartile: float
    median: float
    upper_quartile: float
    largest: float
    source: str
    url: str


# OpenDP deployments registry, data of 2026-07-15: 41 entries, 27 with an epsilon; the largest is a user-month figure.
DEPLOYMENTS = Deployments(
    count=27,
    lower_quartile=1.45,
    median=2.64,
    upper_quartile=5.0,
    largest=34.9,
    source="OpenDP deployments registry, data of 15 July 2026 (41 entries, 27 state an epsilon)",
    url="https://github.com/opendp/deployments-registry-data",
)


def posterior(prior: float, epsilon: float) -> float:
    """Largest belief an attacker can reach from ``prior``: p e^eps / (1 - p + p e^eps), Bayes at ratio e^eps.

    A negative ``epsilon`` gives the smallest belief. With delta above 0 an outcome may tell more, with a
    probability of the order of delta (delta is the mean of the excess, not the probability of one).
    """
    odds = (1.0 - prior) / prior
    if epsilon < -700:  # exp would overflow
        return 0.0
    return 1.0 / (1.0 + odds * math.exp(-epsilon))


def advantage(epsilon: float, delta: float) -> float:
    """Largest true-positive minus false-positive rate of any membership test: (e^eps - 1 + 2 delta) / (e^eps + 1).

    Kairouz, Oh and Viswanath 2015, the (epsilon, delta) trade-off region at equal error rates.
    """
    return min(1.0, math.tanh(epsilon / 2.0) + 2.0 * delta / (1.0 + math.exp(min(epsilon, 700.0))))


def standing(epsilon: float) -> str:
    """Where ``epsilon`` stands among the deployments; only the quartiles are known, so no finer rank is claimed."""
    d = DEPLOYMENTS
    if epsilon < d.lower_quartile:
        return f"in the lowest quarter (below {d.lower_quartile:g})"
    if epsilon < d.median:
        return f"between the lower quartile ({d.lower_quartile:g}) and the median ({d.median:g})"
    if epsilon == d.median:
        return f"at the median ({d.median:g})"
    if epsilon <= d.upper_quartile:
        return f"between the median ({d.median:g}) and the upper quartile ({d.upper_quartile:g})"
    if epsilon <= d.largest:
        return f"in the highest quarter (above {d.upper_quartile:g})"
    return f"above all of them (the largest is {d.largest:g})"


def strength(epsilon: float) -> str:
    """Plain words for the size of epsilon. The steps 1 and 5 follow practice and NIST's authors, 10 is ours."""
    if epsilon <= 1:
        return "A small worst-case bound: no single outcome says much about any one person."
    if epsilon <= 5:
        return "A middling worst-case bound, inside the range 0 to 5 that NIST's authors describe as conservative."
    if epsilon <= 10:
        return "A loose worst-case bound: on its own it promises little, so the measured attacks carry more of the weight."
    return "A very loose worst-case bound: it rules out almost nothing on its own."
