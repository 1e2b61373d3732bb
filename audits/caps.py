"""What a privacy claim allows an attacker at most. A lower confidence bound above a cap contradicts the claim.

Every cap comes from the trade-off between true and false positive rate; docs/audits.md derives them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from audits.profiles import zcdp_delta
from audits.result import AuditError, Claim

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Caps:
    """Upper bounds on any attack against one unit, from a privacy profile: pairs (epsilon, delta) that all hold at
    once.

    ``claimed`` is False when no claim was given; then the profile is (0, 0): a training unit fares no worse than a
    stranger.
    """

    epsilons: Floats
    deltas: Floats
    claimed: bool = True

    def tpr(self, fpr: float) -> float:
        """Largest true positive rate at this false positive rate (Kairouz, Oh and Viswanath 2015, eq. 4, both
        halves)."""
        return float(self._tpr(np.array([min(1.0, max(0.0, fpr))]))[0])

    def _tpr(self, fpr: Floats) -> Floats:
        column = fpr[:, None]
        growing = np.exp(np.minimum(self.epsilons, 700.0)) * column + self.deltas
        shrinking = 1.0 - np.exp(-self.epsilons) * (1.0 - column - self.deltas)
        return np.asarray(np.minimum(1.0, np.minimum(growing.min(axis=1), shrinking.min(axis=1))))

    @property
    def advantage(self) -> float:
        """Largest TPR - FPR: the smallest over the profile of (e^epsilon - 1 + 2 delta)/(e^epsilon + 1)."""
        weight = np.exp(-self.epsilons)
        return float(min(1.0, np.min((1.0 - weight + 2.0 * self.deltas * weight) / (1.0 + weight))))

    @property
    def auc(self) -> float:
        """Largest area under a ROC curve: the integral of :meth:`tpr`, from above."""
        if not self.claimed:
            return 0.5
        grid = np.concatenate([[0.0], np.geomspace(1e-8, 1.0, 4001)])
        return float(min(1.0, np.sum(np.diff(grid) * self._tpr(grid[1:]))))  # the curve rises: right ends over-estimate


def caps_for(claim: Claim | None, *, coin: bool) -> Caps:
    """Caps of the membership game of a release.

    ``coin``: each cohort unit was left out by its own fair coin, so a target in and a target out are neighbours under
    ``add_remove``. With a control table of fixed size a left-out target implies that somebody else is in: two steps
    under ``add_remove``, one under ``replace_one``. Two steps of rho-zCDP cost 4 rho, two of (epsilon, delta) cost (2
    epsilon, (1 + e^epsilon) delta).
    """
    if claim is None:
        return Caps(np.zeros(1), np.zeros(1), claimed=False)
    if claim.neighbours not in ("add_remove", "replace_one"):
        raise AuditError(f"neighbours={claim.neighbours!r} must be add_remove or replace_one")
    if not (claim.epsilon >= 0 and 0 <= claim.delta < 1):
        raise AuditError(f"epsilon={claim.epsilon}, delta={claim.delta}: need epsilon >= 0 and 0 <= delta < 1")
    steps = 2 if claim.neighbours == "add_remove" and not coin else 1
    epsilon = steps * claim.epsilon
    delta = claim.delta if steps == 1 else min(1.0, (1.0 + math.exp(min(claim.epsilon, 700.0))) * claim.delta)
    points = [(epsilon, delta)]
    if math.isfinite(claim.rho) and claim.rho > 0:
        rho = steps * steps * claim.rho
        grid = np.linspace(0.0, max(epsilon, rho + 8 * math.sqrt(rho)), 200)
        # What rho does not cover; of two steps one may grow by e^epsilon, as above.
        apart = claim.threshold_delta * (1.0 if steps == 1 else 1.0 + math.exp(min(claim.epsilon, 700.0)))
        points += zip(grid.tolist(), np.minimum(1.0, zcdp_delta(rho, grid) + apart).tolist(), strict=True)
    points.sort()
    table = np.array(points)
    return Caps(table[:, 0], table[:, 1])


def gaussian_auc(mu: float) -> float:
    """AUC of the best attack on mu-Gaussian DP: Phi(mu / sqrt 2)."""
    return float(ndtr(mu / math.sqrt(2.0)))


def gaussian_tpr(mu: float, fpr: float) -> float:
    """True positive rate of the best attack on mu-Gaussian DP: Phi(Phi^-1(fpr) + mu)."""
    return float(ndtr(ndtri(fpr) + mu))


def gaussian_advantage(mu: float) -> float:
    """Membership advantage of mu-Gaussian DP: 2 Phi(mu / 2) - 1."""
    return float(2.0 * ndtr(mu / 2.0) - 1.0)
