"""Control-adjusted risk: how much more often an attack succeeds on members than on strangers.

An attack gives every cohort unit a success in [0, 1] (the mean over its attacked rows). Being one test per unit, its
mean on members is capped by the claim given its mean on strangers, and the two means are over independent units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.bounds import excess_interval, rate_detectable, rate_exceeds
from audits.result import AuditInput, AuditResult
from audits.tables import MIN_UNITS, Prepared
from audits.verdicts import allowed, answer, inconclusive

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Successes:
    """Outcome of an attack on the cohort.

    ``by_unit``: success of each cohort unit, NaN where it was not attacked. ``weight``: how much each unit counts in
    the risk (1 unless the attack says otherwise). ``attacks``: attacks on members.
    """

    by_unit: Floats
    weight: Floats
    attacks: int

    def among(self, mask: npt.NDArray[np.bool_]) -> Successes:
        """The same attack on the units of ``mask`` only."""
        share = float(mask.mean()) if len(mask) else 0.0
        return Successes(np.where(mask, self.by_unit, np.nan), self.weight, round(self.attacks * share))


@dataclass(frozen=True)
class Risk:
    """Control-adjusted risk (a - c)/(1 - c), its 95 % interval, and the test of the cap."""

    value: float
    low: float
    high: float
    on_members: float
    on_strangers: float
    members: int
    strangers: int
    p_value: float
    detectable: float | None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON for the details of a result."""
        return dict(vars(self))


def measure(prepared: Prepared, successes: Successes, confidence: float = 0.95, alpha: float | None = None) -> Risk | None:
    """The risk, or None with fewer than MIN_UNITS units on a side or where strangers always fall too.

    ``detectable`` is at level ``alpha`` (default the first of the input's).
    """
    attacked = ~np.isnan(successes.by_unit) & (successes.weight > 0)
    sides = [attacked & prepared.game.member, attacked & ~prepared.game.member]
    if min(int(side.sum()) for side in sides) < MIN_UNITS:
        return None
    level = float(np.average(successes.by_unit[sides[1]], weights=successes.weight[sides[1]]))
    if not level < 0.99:
        return None
    inside, outside = (_residuals(successes, side, sides[1]) for side in sides)
    excess, low, high = excess_interval(inside, outside, 1 - confidence)
    room = 1 - level
    rng = prepared.rng("rounding")
    # weight * success is in [0, 1], so a coin of that bias is a test of membership; coins make the exact binomial
    # bounds apply.
    coins = [rng.random(int(side.sum())) < (successes.weight * successes.by_unit)[side] for side in sides]
    k1, n1, k0, n0 = int(coins[0].sum()), len(coins[0]), int(coins[1].sum()), len(coins[1])
    return Risk(
        value=min(1.0, max(0.0, excess / room)),
        low=min(1.0, max(0.0, low / room)),
        high=min(1.0, max(0.0, high / room)),
        on_members=level + excess,
        on_strangers=level,
        members=n1,
        strangers=n0,
        p_value=rate_exceeds(k1, n1, k0, n0, prepared.caps.tpr),
        detectable=rate_detectable(n1, k0, n0, prepared.caps.tpr, prepared.first_alpha if alpha is None else alpha),
    )


def _residuals(successes: Successes, side: npt.NDArray[np.bool_], strangers: npt.NDArray[np.bool_]) -> Floats:
    """Values whose mean is the weighted mean, on one side, of success beyond that of strangers of the same weight.

    Success is regressed on weight among the strangers (quadratically, with the weights): a unit that is hard to guess by its weight is
    so on
    both sides, and a side that happens to hold more of them must not look safer. On the strangers the mean is 0. The spread is that of the
    ratio estimate, linearised (Cochran 1977, section 6.4, with residuals as in 7.3).
    """
    y, w = successes.by_unit, successes.weight
    if np.ptp(w[strangers]) > 1e-9:
        basis = np.stack([np.ones_like(w), w, w * w], axis=1)
        scale = np.sqrt(w[strangers])
        fit, *_ = np.linalg.lstsq(basis[strangers] * scale[:, None], y[strangers] * scale, rcond=None)
        expected = basis @ fit
    else:
        expected = np.full_like(w, y[strangers].mean())
    residual, weight = (y - expected)[side], w[side]
    ratio = float((weight * residual).sum() / weight.sum())
    return np.asarray(ratio + weight * (residual - ratio) / weight.mean())


def judge(
    name: str,
    data: AuditInput,
    started: float,
    prepared: Prepared,
    attacks: dict[str, Successes],
    violated: str,
    details: dict[str, Any],
) -> AuditResult:
    """The answer over one or several attacks of a kind: the largest risk, with simultaneous bounds, and Bonferroni's
    p-value.

    The upper bound is the largest of the upper 95 % bounds: the truly largest risk exceeds its own bound with 2.5 %
    probability, so this one with no more. The lower bound pays for the choice.
    """
    family = max(1, len(attacks))
    risks = {}
    for label, successes in attacks.items():
        risk = measure(prepared, successes, alpha=data.first_alpha / family)
        if risk is not None:
            risks[label] = risk
    if not risks:
        return inconclusive(
            name,
            data,
            started,
            f"no attack had {MIN_UNITS} units on each side and room above the strangers",
            details=details,
        )
    worst = max(risks, key=lambda label: risks[label].value)
    corrected = [measure(prepared, attacks[label], 1 - 0.05 / family) for label in risks]
    found = [risk.detectable for risk in risks.values()]
    return answer(
        name, data, started,
        value=risks[worst].value,
        interval=(max(r.low for r in corrected if r is not None), max(r.high for r in risks.values())),
        n=min(attacks[label].attacks for label in risks),
        p_value=min(1.0, family * min(r.p_value for r in risks.values())),
        detectable=None if any(x is None for x in found) else max(x for x in found if x is not None),
        unit="a success rate on members",
        violated=f"{violated} than {allowed(data)}",
        details={**details, "worst": worst, "risks": {label: r.to_dict() for label, r in risks.items()}},
    )  # fmt: skip
