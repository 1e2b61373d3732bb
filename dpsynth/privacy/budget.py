"""Privacy budgets: (epsilon, delta) outside, zCDP rho inside, and the filter that refuses an overspend.

Conversion: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010), Proposition 12. Filter: for zCDP the plain sum of adaptively chosen
rhos is a valid filter (Feldman and Zrnic 2021; Whitehouse et al. 2023, Theorem 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

from dpsynth.errors import BudgetError, ConfigError

THRESHOLD_DELTA_SHARE = 0.1
"""Part of delta that is set aside where a schema has columns whose categories are found under the budget."""

# The bisection result is shrunk by this factor so that float rounding can only lower the privacy loss we allow ourselves.
_SAFETY = 1.0 - 1e-9


def log_delta(rho: float, epsilon: float) -> float:
    """log of the smallest delta that Proposition 12 gives for rho-zCDP at ``epsilon``.

    delta = min over alpha > 1 of exp((alpha-1)(alpha rho - epsilon)) / (alpha-1) * (1-1/alpha)^alpha. The exponent's derivative is
    increasing in alpha, so bisection finds the minimum; any alpha is valid, so an inexact minimum errs towards a larger delta.
    """
    if rho <= 0.0:
        return -math.inf
    low, high = 1.0 + 1e-9, (epsilon + 1.0) / (2.0 * rho) + 2.0
    for _ in range(200):
        alpha = (low + high) / 2.0
        if (2.0 * alpha - 1.0) * rho - epsilon + math.log1p(-1.0 / alpha) < 0.0:
            low = alpha
        else:
            high = alpha
    alpha = high
    return (alpha - 1.0) * (alpha * rho - epsilon) + alpha * math.log1p(-1.0 / alpha) - math.log(alpha - 1.0)


@lru_cache(maxsize=256)
def rho_of(epsilon: float, delta: float) -> float:
    """Largest rho whose zCDP guarantee implies (epsilon, delta)-DP, rounded down."""
    target = math.log(delta)
    # rho <= epsilon always holds for delta < 1: at rho = epsilon already the mean privacy loss is epsilon.
    low, high = 0.0, epsilon + 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if log_delta(middle, epsilon) <= target:
            low = middle
        else:
            high = middle
    return low * _SAFETY


def epsilon_of(rho: float, delta: float) -> float:
    """Smallest epsilon such that rho-zCDP implies (epsilon, delta)-DP, rounded up."""
    if rho <= 0.0:
        return 0.0
    target = math.log(delta)
    low, high = 0.0, rho + 2.0 * math.sqrt(rho * math.log(1.0 / delta)) + 1.0
    for _ in range(200):
        middle = (low + high) / 2.0
        if log_delta(rho, middle) <= target:
            high = middle
        else:
            low = middle
    return high


@dataclass(frozen=True)
class PrivacyBudget:
    """What one release may cost: (epsilon, delta)-DP for the schema's privacy unit. Neither has a default.

    ``threshold_delta`` is the part of delta that is set aside for categories found in the records (`dpsynth.privacy.thresholds`);
    only the rest converts rho. A mechanism that is rho-zCDP but for events of probability d in all is
    (epsilon, d + d')-DP wherever rho-zCDP implies (epsilon, d')-DP: on the events nothing is promised, beside them everything.
    """

    epsilon: float
    delta: float
    threshold_delta: float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.epsilon, (int, float)) and 0.0 < self.epsilon < math.inf):
            raise ConfigError(f"epsilon={self.epsilon!r} must be > 0 and finite")
        if not (isinstance(self.delta, (int, float)) and 0.0 < self.delta < 1.0):
            raise ConfigError(f"delta={self.delta!r} must be > 0 and < 1; below 1/population, e.g. 1e-6")
        if not 0.0 <= self.threshold_delta < self.delta:
            raise ConfigError(f"threshold_delta={self.threshold_delta!r} must be >= 0 and < delta={self.delta!r}")

    @property
    def rho(self) -> float:
        """The same budget in zCDP, without what is set aside."""
        return rho_of(self.epsilon, self.delta - self.threshold_delta)

    def with_open_columns(self, columns: int) -> PrivacyBudget:
        """The same epsilon and delta; `THRESHOLD_DELTA_SHARE` of delta is set aside where categories of columns are to be found."""
        return replace(self, threshold_delta=THRESHOLD_DELTA_SHARE * self.delta if columns else 0.0)


class Filter:
    """Adds up rho, and delta where it is paid apart, and refuses the spend that would pass ``total`` or ``total_delta``.

    The caller spends first and looks at records after.
    """

    def __init__(self, total: float, total_delta: float = 0.0) -> None:
        self.total = total
        self.total_delta = total_delta
        self._spent: list[float] = []
        self._spent_delta: list[float] = []

    @property
    def spent(self) -> float:
        """rho of all spends; delta that is paid apart is not in it."""
        return math.fsum(self._spent)

    @property
    def left(self) -> float:
        """What may still be spent. Less than a part in 1e9 of the total is rounding, not a budget for another fit."""
        left = self.total - self.spent
        return left if left > 1e-9 * self.total else 0.0

    def spend(self, rho: float, what: str) -> None:
        """Charge ``rho`` or raise `BudgetError` and charge nothing."""
        if not 0.0 < rho < math.inf:
            raise BudgetError(f"{what} asks rho={rho!r}; a spend must be > 0 and finite")
        # One part in 1e12 is the rounding of "spend all that is left"; `_SAFETY` in the conversion pays for it a thousand times over.
        if not math.fsum([*self._spent, rho]) <= self.total * (1.0 + 1e-12):
            raise BudgetError(f"{what} asks rho={rho:.6g}, but {self.left:.6g} of total_rho={self.total:.6g} is left")
        self._spent.append(rho)

    def spend_delta(self, delta: float, what: str) -> None:
        """Charge ``delta`` to what was set aside or raise `BudgetError` and charge nothing."""
        if not 0.0 < delta < 1.0:
            raise BudgetError(f"{what} asks delta={delta!r}; a spend must be > 0 and < 1")
        # As for rho: the rounding of equal shares that add up to all of it.
        if not math.fsum([*self._spent_delta, delta]) <= self.total_delta * (1.0 + 1e-12):
            left = self.total_delta - math.fsum(self._spent_delta)
            raise BudgetError(f"{what} asks delta={delta:.3g}, but {left:.3g} of {self.total_delta:.3g} set aside is left")
        self._spent_delta.append(delta)
