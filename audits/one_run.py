"""A lower bound on epsilon from this one release, with the cohort's coins as the canaries.

Steinke, Nasr and Jagielski 2023 for single points of the claim, Mahloujifar, Melis and Chaudhuri 2024 for all of it at once.
Weak at small epsilon by nature: ``detectable`` says how large epsilon would have to be to be seen.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, logit, ndtr

from audits.bounds import TradeOff, one_run_epsilon_bound, one_run_excludes, one_run_p_value, one_run_p_value_f
from audits.caps import Caps
from audits.membership import Scores, membership_scores
from audits.profiles import gaussian_delta
from audits.result import AuditInput, AuditResult
from audits.tables import Prepared, prepare
from audits.verdicts import allowed, answer, inconclusive

Floats = npt.NDArray[np.float64]

GUESS_SHARES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
_STRIDE = 5
_LARGEST_MU = 10.0


def bound_epsilon(data: AuditInput) -> AuditResult:
    """Guess the coins of the units with the most telling scores; how many guesses are right bounds epsilon from
    below."""
    started, name = time.perf_counter(), "one_run_epsilon"
    prepared = prepare(data)
    if prepared.unusable:
        return inconclusive(name, data, started, prepared.unusable)
    scores = membership_scores(prepared)
    steps, delta = _steps(prepared), 0.0
    if data.claim:
        delta = data.claim.delta * (1.0 if steps == 1 else 1.0 + math.exp(min(data.claim.epsilon, 700.0)))
    # How many to guess is learnt where the statistic was, on the selection part, among the numbers that could
    # contradict the claim.
    judged = [_guess(prepared, scores, ~scores.selection, share) for share in GUESS_SHARES]
    needs = [_needed(prepared.caps, m, r, data.first_alpha) for m, r, _ in judged]
    learned = [_guess(prepared, scores, scores.selection, share) for share in GUESS_SHARES]
    promise = [(need is not None, _epsilon_bound(m, r, v, delta) if r else 0.0, r) for need, (m, r, v) in zip(needs, learned, strict=True)]
    chosen = max(range(len(promise)), key=promise.__getitem__)
    m, r, v = judged[chosen]
    details: dict[str, Any] = {"coins": m, "guesses": r, "right": v, "delta": delta, "coin": prepared.game.coin}
    need, p_value, detectable = needs[chosen], 1.0, None
    if need is not None:
        p_value = need.p_value(m, r, v)
        details |= {"test": need.test, "right_to_contradict": need.right}
        # The accuracy that gives enough right guesses with 80 % probability.
        detectable = _epsilon_of(float(betaincinv(need.right, r - need.right + 1, 0.8)), r / m, delta, steps)
    low = _epsilon_bound(m, r, v, delta) / steps
    details["mu_low"] = _mu_bound(m, r, v) / steps
    return answer(
        name, data, started, value=low, interval=(low, None), n=r,
        p_value=p_value, detectable=detectable,
        unit="an epsilon", violated=f"membership can be guessed better than {allowed(data)}", details=details,
    )  # fmt: skip


def _steps(prepared: Prepared) -> int:
    # Without coins members and strangers are paired, and swapping a pair is two steps under add/remove
    # (audits.caps.caps_for).
    return 2 if prepared.claim and prepared.claim.neighbours == "add_remove" and not prepared.game.coin else 1


def _guess(prepared: Prepared, scores: Scores, part: npt.NDArray[np.bool_], share: float) -> tuple[int, int, int]:
    """Coins, guesses and right guesses on a part of the cohort.

    Fair coins: the highest scores are guessed in, the lowest out. A fixed control: members and strangers are paired
    at random, and who of a pair is the member is as good as a fair coin, since the split was exchangeable; the pairs
    that differ most are guessed.
    """
    member, values = prepared.game.member, scores.values
    if prepared.game.coin:
        units = np.flatnonzero(part)
        units = units[np.argsort(values[units], kind="stable")]
        half = int(len(units) * share) // 2
        right = int((~member[units[:half]]).sum() + member[units[len(units) - half :]].sum())
        return len(units), 2 * half, right
    rng = prepared.rng("pairs")
    inside, outside = rng.permutation(np.flatnonzero(part & member)), rng.permutation(np.flatnonzero(part & ~member))
    pairs = min(len(inside), len(outside))
    gap = values[inside[:pairs]] - values[outside[:pairs]]
    # A tie is a guess too, decided by a coin.
    gap = np.where(gap == 0, (rng.random(pairs) - 0.5) * 1e-300, gap)
    kept = np.argsort(-np.abs(gap), kind="stable")[: int(pairs * share)]
    return pairs, len(kept), int((gap[kept] > 0).sum())


def _epsilon_bound(m: int, r: int, v: int, delta: float, alpha: float = 0.05) -> float:
    """Largest epsilon excluded at confidence 95 %: by the trade-off curve, or, where delta is 0, by the binomial test, which is sharper
    there."""
    if delta <= 0:
        return one_run_epsilon_bound(m, r, v, delta, alpha)
    return _largest_excluded(lambda epsilon: TradeOff.of_profile(epsilon, delta), m, r, v, alpha, 30.0)


def _mu_bound(m: int, r: int, v: int, alpha: float = 0.05) -> float:
    """Largest mu of Gaussian differential privacy excluded at confidence 95 %."""
    grid = np.linspace(0.0, 30.0, 120)
    return _largest_excluded(lambda mu: TradeOff.of_profile(grid, gaussian_delta(mu, grid)), m, r, v, alpha, _LARGEST_MU)


def _epsilon_of(accuracy: float, share: float, delta: float, steps: int) -> float:
    """The epsilon, at the claim's delta, of a Gaussian mechanism whose most telling ``share`` of the coins is guessed so accurately; at
    delta 0, of randomised response.

    Members' scores are normal around mu/2 and strangers' around -mu/2; those furthest from 0 are guessed.
    """
    if delta <= 0:
        return float(logit(accuracy)) / steps

    def guessed(mu: float) -> float:
        far = _root(lambda t: share - float(ndtr(mu / 2 - t) + ndtr(-mu / 2 - t)), 0.0, mu / 2 + 40.0)
        return float(ndtr(mu / 2 - far)) / share - accuracy

    mu = _root(guessed, 0.0, 60.0) / steps
    return _root(lambda epsilon: delta - float(gaussian_delta(mu, epsilon)), 0.0, 700.0)


def _root(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function crosses 0, or the end it does not reach."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return high


def _largest_excluded(curve: Callable[[float], TradeOff], m: int, r: int, v: int, alpha: float, largest: float) -> float:
    if v == 0 or not one_run_excludes(m, r, v, curve(0.0), alpha):
        return 0.0
    low, high = 0.0, largest
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if one_run_excludes(m, r, v, curve(middle), alpha) else (low, middle)
    return low


@dataclass(frozen=True)
class _Need:
    """A test of the claim and the fewest right guesses that contradict it."""

    test: str
    p_value: Callable[[int, int, int], float]
    right: int


def _needed(caps: Caps, m: int, r: int, alpha: float) -> _Need | None:
    """The test of the claim that falls to the fewest right guesses of ``r``, and how many; None if none can fall.

    Every point of the profile must hold, and so must the whole of it; what is tested is settled here, before anyone looks at how many
    guesses were right.
    """
    curve = TradeOff.of_profile(caps.epsilons, caps.deltas)
    best: _Need | None = None

    def consider(test: str, p_value: Callable[[int, int, int], float]) -> None:
        nonlocal best
        low, high = 0, best.right if best else r + 1  # the p-value falls with right guesses; high is the fewest known to reject
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if p_value(m, r, middle) <= alpha else (middle, high)
        if high <= r and (best is None or high < best.right):
            best = _Need(test, p_value, high)

    consider("trade-off curve", lambda m, r, v: one_run_p_value_f(m, r, v, curve))
    for epsilon, delta in zip(caps.epsilons[::_STRIDE].tolist(), caps.deltas[::_STRIDE].tolist(), strict=True):
        consider(f"epsilon {epsilon:.3g}, delta {delta:.3g}", partial(_point_p_value, epsilon, delta))
    return best


def _point_p_value(epsilon: float, delta: float, m: int, r: int, v: int) -> float:
    return one_run_p_value(m, r, v, epsilon, delta)
