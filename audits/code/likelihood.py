"""Empirical privacy of the transcript on worst-case pairs, end to end and by stage, from its likelihood ratio.

Looks at the noisy answers, not at synthetic rows: post-processing only hides leakage. Stages are tested apart because
slack in one hides a bug in another.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.bounds import lower_bound, rate_exceeds, upper_bound
from audits.code.games import Game, GameError, StageDraw, Trial
from audits.code.power import least_factor
from audits.profiles import zcdp_power
from audits.result import AuditInput, AuditResult, Claim, Mechanism, Verdict

NAME = "transcript_likelihood"
Array = npt.NDArray[np.float64]
Cap = Callable[[float], float]

# Pairs of runs at most, seconds at most, fresh draws of each stage in each run. Time depends on the machine and never
# on an outcome.
_TIERS = {"smoke": (20, 3.0, 16), "standard": (200, 15.0, 8), "deep": (5_000, 600.0, 32)}
_LEAST_PAIRS = 10
_CONFIDENCE = 0.95
# Where a threshold half way between two normal laws tells their distance best, relative to its size.
_GROUP_MU = 3.1
# Above the rounding of sums, below the least step between two log ratios.
_ZERO = 1e-9


@dataclass(frozen=True)
class _Separation:
    """How well a threshold, chosen on one half, tells left from right on the other half."""

    mu_lower: float
    mu_upper: float
    p_value: float
    n: int
    tpr: float
    fpr: float


def transcript_likelihood(inp: AuditInput) -> AuditResult:
    """Lower bound on the Gaussian-DP mu that the transcript shows, against the claim.

    ``value`` is the end-to-end bound (95 %, exact binomial bounds at a threshold chosen on the other half of the
    runs; Nasr et al. 2023); each stage has its own in ``details``. A violation needs a rate pair beyond what the
    claim's rho allows, or a stage beyond what it declares.
    """
    started = time.perf_counter()
    mechanism = inp.mechanism
    if mechanism is None or inp.tier not in _TIERS:
        what = "no mechanism was given" if mechanism is None else f"tier={inp.tier!r} is unknown"
        return _inconclusive(mechanism, what, started)
    most, seconds, redraws = _TIERS[inp.tier]
    left: list[Trial] = []
    right: list[Trial] = []
    try:
        game = Game(mechanism, inp.seed)
        while len(left) < most and (len(left) < 2 * _LEAST_PAIRS or time.perf_counter() - started < seconds):
            left.append(game.play(True, redraws))
            right.append(game.play(False, redraws))
    except GameError as failure:
        return _inconclusive(mechanism, str(failure), started)
    return _judge(mechanism, game.pair.label, left, right, inp.alpha, started)


def _judge(mechanism: Mechanism, pair: str, left: Sequence[Trial], right: Sequence[Trial], alpha: float, started: float) -> AuditResult:
    cap = end_to_end_cap(mechanism.claim, [*left, *right])
    whole = _separate(np.array([t.log_ratio for t in left]), np.array([t.log_ratio for t in right]), cap)
    draws = [draw for trial in (*left, *right) for draw in trial.stages]
    stages = {name: _stage([d for d in draws if (d.stage, d.kind) == name]) for name in sorted({(d.stage, d.kind) for d in draws})}
    # Half of alpha for the whole, half shared by the stages.
    p_value = min(1.0, 2.0 * whole.p_value, *(2.0 * len(stages) * s.p_value for s, _ in stages.values()))
    attained = float(np.mean([t.attained for t in (*left, *right)]))
    found = [shortfall_factor(attained, whole.n, alpha / 2.0, cap)]
    for (_, kind), (s, extra) in stages.items():
        power = partial(_gaussian_power, extra["mu_declared"])
        extra["detectable"] = shortfall_factor(extra["mu_attained"], s.n, alpha / (2.0 * len(stages)), power)
        if kind == "gaussian":
            found.append(extra["detectable"])
    # A shortfall of all noise is caught by whichever of these sees it first.
    detectable = min((factor for factor in found if factor is not None), default=None)
    verdict, reason = (
        Verdict.NOT_FALSIFIED,
        f"mu of at least {whole.mu_lower:.3g} seen, {mechanism.claim.mu:.3g} claimed",
    )
    if p_value <= alpha:
        worst = min(((s.p_value * len(stages), name[0]) for name, (s, _) in stages.items()), default=(1.0, ""))
        where = worst[1] if worst[0] < whole.p_value else "the whole transcript"
        verdict, reason = Verdict.VIOLATION, f"{where} tells neighbours apart better than the claim allows"
    elif detectable is None:
        verdict, reason = Verdict.INCONCLUSIVE, "no shortfall of the noise would have been seen in so few runs"
    return AuditResult(
        name=NAME,
        verdict=verdict,
        value=whole.mu_lower,
        interval=(whole.mu_lower, whole.mu_upper),
        confidence=_CONFIDENCE,
        n=len(left) + len(right),
        detectable=detectable,
        detectable_unit="factor by which all noise is too small",
        claim_digest=mechanism.claim.digest,
        seconds=time.perf_counter() - started,
        reason=reason,
        p_value=p_value,
        details={
            "mechanism": mechanism.name,
            "pair": pair,
            "mu_claimed": mechanism.claim.mu,
            "mu_declared_by_events": max(t.declared for t in (*left, *right)),
            "mu_attained_by_the_pair": attained,
            "tpr": whole.tpr,
            "fpr": whole.fpr,
            "stages": {
                f"{stage} ({kind})": {
                    "mu_lower": s.mu_lower, "p_value": s.p_value, "n": s.n, **extra,
                }
                for (stage, kind), (s, extra) in stages.items()
            },
        },
    )  # fmt: skip


def end_to_end_cap(claim: Claim, trials: Sequence[Trial]) -> Cap:
    """Largest true positive rate at a false positive rate: by rho-zCDP and by the events' own Gaussian-DP composition.

    The second bound is the claim's only if the events add up to at most its rho; adaptive composition of GDP is GDP
    (Dong, Roth, Su 2022).
    """
    mu = max(t.declared for t in trials)
    within = max(t.rho for t in trials) <= claim.rho * (1.0 + 1e-7)

    def cap(fpr: float) -> float:
        allowed = float(zcdp_power(claim.rho, np.array([fpr]))[0])
        # Beside both stand the events that rho does not cover.
        return min(1.0, (min(allowed, _gaussian_power(mu, fpr)) if within else allowed) + claim.threshold_delta)

    return cap


def shortfall_factor(mu: float, n: int, alpha: float, cap: Cap) -> float | None:
    """Smallest factor, below 1000, by which noise of attained ``mu`` is too small and caught with 80 % power."""
    from scipy.special import bdtr, ndtr

    counts = np.arange(n + 1.0)

    def caught(factor: float) -> bool:
        tpr = float(ndtr(factor * mu / 2.0))
        # Counts that are reached in nine of ten cases on either side, so in at least eight of ten on both.
        hits = int((bdtr(counts, n, tpr) <= 0.1).sum())
        alarms = int((bdtr(counts, n, 1.0 - tpr) < 0.9).sum())
        return lower_bound(hits, n, alpha / 2.0) > cap(upper_bound(alarms, n, alpha / 2.0))

    return least_factor(caught) if mu > 0.0 and n >= 1 else None


def _stage(draws: Sequence[StageDraw]) -> tuple[_Separation, dict[str, Any]]:
    left, right = np.array([d.left for d in draws]), np.array([d.right for d in draws])
    declared, attained = max(d.declared for d in draws), float(np.mean([d.attained for d in draws]))
    found = _separate(left, right, partial(_gaussian_power, declared))
    extra: dict[str, Any] = {"mu_declared": declared, "mu_attained": attained}
    if draws[0].kind == "gaussian" and attained > 0.0:
        extra["mu_lower_of_group"] = group_bound(draws)
    return found, extra


def group_bound(draws: Sequence[StageDraw]) -> float:
    """Lower bound (95 %) on the mu of Gaussian releases, from tables as many units apart as show it best.

    Noise is added to the exact answer whatever that is, so on tables m units apart along the line between the two exact
    answers the statistic moves by m times the distance; mu-GDP allows those at most m mu (Dong, Roth, Su 2022). A
    single unit at small mu would take a million draws to be bounded as tightly. m is fixed by what is declared and the
    threshold is 0: nothing is fitted to these draws.
    """
    units = group_units(max(d.declared for d in draws))
    shift = (units - 1) * np.array([d.attained for d in draws]) / 2.0
    wrong = wrong_guesses(np.array([d.left for d in draws]) + shift, np.array([d.right for d in draws]) - shift)
    return mu_bound(wrong, 2 * len(draws)) / units


def wrong_guesses(left: Array, right: Array) -> int:
    """How often "left where the log ratio is above 0" is wrong. Ratios of integer noise fall on 0 itself: one answer to all of these."""
    return int((left <= _ZERO).sum() + (right > _ZERO).sum())


def group_units(mu: float) -> int:
    """How many units apart two tables show a mechanism of this ``mu`` best: so many that their mu is about 3.

    The relative error of the bound goes with sqrt(p (1 - p)) / (phi(z) z) at z = m mu / 2, p = Phi(z), which is least at z = 1.57.
    """
    return max(1, round(_GROUP_MU / mu))


def mu_bound(wrong: int, guesses: int) -> float:
    """Lower bound (95 %) on mu after ``wrong`` of ``guesses``, half of them made on either table.

    mu-GDP lets the two kinds of error add up to no less than 2 Phi(-mu/2), whatever the test, so that on average at least Phi(-mu/2) of
    the guesses are wrong. Independent guesses with unequal chances are no likelier to have so few wrong than guesses with the average
    chance (Hoeffding 1956, Theorem 5), so the exact binomial bound holds.
    """
    return max(0.0, -2.0 * _mu(upper_bound(wrong, guesses, 1.0 - _CONFIDENCE), 0.5))


def _separate(left: Array, right: Array, cap: Cap) -> _Separation:
    """Choose events on the even trials, bound their rates on the odd ones.

    Two events: the one that shows the largest mu, and the one that stands farthest above the cap, which is what the
    p-value is about.
    """
    level = (1.0 - _CONFIDENCE) / 2.0
    seen, test = _choose(left[::2], right[::2], _mu), _choose(left[::2], right[::2], lambda tpr, fpr: tpr - cap(fpr))
    hits, alarms, n = seen.count(left[1::2], right[1::2])
    lower = _mu(lower_bound(hits, n, level), upper_bound(alarms, n, level))
    upper = _mu(upper_bound(hits, n, level), lower_bound(alarms, n, level))
    above, below, _ = test.count(left[1::2], right[1::2])
    return _Separation(max(0.0, lower), upper, rate_exceeds(above, n, below, n, cap), n, hits / n, alarms / n)


@dataclass(frozen=True)
class _Event:
    """The adversary says "left" above the threshold; mirrored, "right" below minus the threshold."""

    threshold: float
    mirrored: bool

    def count(self, left: Array, right: Array) -> tuple[int, int, int]:
        """True positives, false positives, trials on either side."""
        x, y = (-right, -left) if self.mirrored else (left, right)
        return int((x > self.threshold).sum()), int((y > self.threshold).sum()), min(len(x), len(y))


def _choose(left: Array, right: Array, merit: Callable[[float, float], float]) -> _Event:
    """Event with the largest ``merit`` of pessimistic rates on these trials."""
    best, chosen = -math.inf, _Event(0.0, False)
    both = np.concatenate([left, right])
    for mirrored in (False, True):
        points = np.quantile(-both if mirrored else both, np.linspace(0.02, 0.98, 49))
        for threshold in np.unique(np.concatenate([[0.0], points])).tolist():
            event = _Event(float(threshold), mirrored)
            hits, alarms, n = event.count(left, right)
            found = merit(lower_bound(hits, n, 0.05), upper_bound(alarms, n, 0.05))
            if found > best:
                best, chosen = found, event
    return chosen


def _mu(tpr: float, fpr: float) -> float:
    from scipy.special import ndtri

    inside = np.clip([tpr, fpr], 1e-12, 1.0 - 1e-12)
    return float(ndtri(inside[0]) - ndtri(inside[1]))


def _gaussian_power(mu: float, fpr: float) -> float:
    from scipy.special import ndtr, ndtri

    return 1.0 if fpr >= 1.0 else float(ndtr(ndtri(fpr) + mu)) if fpr > 0.0 else 0.0


def _inconclusive(mechanism: Mechanism | None, reason: str, started: float) -> AuditResult:
    return AuditResult(
        name=NAME,
        verdict=Verdict.INCONCLUSIVE,
        value=None,
        interval=(None, None),
        confidence=_CONFIDENCE,
        n=0,
        detectable=None,
        detectable_unit="factor by which all noise is too small",
        claim_digest=None if mechanism is None else mechanism.claim.digest,
        seconds=time.perf_counter() - started,
        reason=reason,
    )
