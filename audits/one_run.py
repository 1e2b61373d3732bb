"""A lower bound on epsilon from this one release (Steinke, Nasr and Jagielski 2023), with the cohort's coins as the
canaries.

Weak at small epsilon by nature: ``detectable`` says how large epsilon would have to be to be seen.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaincinv, logit

from audits.bounds import one_run_epsilon_bound, one_run_p_value
from audits.caps import Caps
from audits.membership import Scores, membership_scores
from audits.result import AuditInput, AuditResult
from audits.tables import Prepared, prepare
from audits.verdicts import allowed, answer, inconclusive

Floats = npt.NDArray[np.float64]

GUESS_SHARES = (0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
_STRIDE = 5


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
    needs = [_needed(prepared.caps, m, r, data.alpha) for m, r, _ in judged]
    learned = [_guess(prepared, scores, scores.selection, share) for share in GUESS_SHARES]
    promise = [
        (need is not None, one_run_epsilon_bound(m, r, v, delta, 0.05) if r else 0.0, r)
        for need, (m, r, v) in zip(needs, learned, strict=True)
    ]
    chosen = max(range(len(promise)), key=promise.__getitem__)
    m, r, v = judged[chosen]
    details = {"coins": m, "guesses": r, "right": v, "delta": delta, "coin": prepared.game.coin}
    need, p_value, detectable = needs[chosen], 1.0, None
    if need is not None:
        p_value = one_run_p_value(m, r, v, need.epsilon, need.delta)
        # The accuracy that gives enough right guesses with 80 % probability, as the epsilon of randomised response.
        detectable = float(logit(betaincinv(need.right, r - need.right + 1, 0.8))) / steps
    low = one_run_epsilon_bound(m, r, v, delta, 0.05) / steps
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


@dataclass(frozen=True)
class _Need:
    epsilon: float
    delta: float
    right: int


def _needed(caps: Caps, m: int, r: int, alpha: float) -> _Need | None:
    """The point of the claim's profile that falls to the fewest right guesses of ``r``, and how many; None if none
    can fall.

    Every point of the profile must hold; which one is tested is settled here, before anyone looks at how many guesses
    were right.
    """
    best: _Need | None = None
    for epsilon, delta in zip(caps.epsilons[::_STRIDE].tolist(), caps.deltas[::_STRIDE].tolist(), strict=True):
        low, high = 0, r + 1  # the p-value falls with right guesses; high is the fewest known to reject
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if one_run_p_value(m, r, middle, epsilon, delta) <= alpha else (middle, high)
        if high <= r and (best is None or high < best.right):
            best = _Need(epsilon, delta, high)
    return best
