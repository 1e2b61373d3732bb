"""Distinguishing games on worst-case pairs of toy tables: run on one side, replay on the other, compare transcripts.

Post-processing can only hide leakage, so the game stops at the last noisy release and never fits or samples a final
model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from audits.code.recomposition import total_rho
from audits.code.recorder import RELEASES, Call, Outcome, Recorder, Redraws, Replayer, no_redraws, observe
from audits.code.residuals import selection_log_probabilities
from audits.code.toy import Pair, Toy, worst_case_pairs
from audits.profiles import event_mu
from audits.result import AuditError, Mechanism


@dataclass(frozen=True)
class StageDraw:
    """One stage drawn afresh on both sides under one and the same history.

    ``left`` and ``right`` are the adversary's statistic (likelihood ratio, standardised for Gaussian noise);
    ``attained`` is the Gaussian-DP mu of the true distance between the exact answers, ``declared`` that of the
    declared sensitivity.
    """

    stage: str
    kind: str
    left: float
    right: float
    attained: float
    declared: float


@dataclass(frozen=True)
class Trial:
    """One run of the mechanism: log P_left(transcript)/P_right(transcript), and each stage drawn afresh on both sides.

    ``declared`` and ``attained`` are Gaussian-DP parameters of the whole run, ``rho`` what its events cost by their
    own facts.
    """

    log_ratio: float
    stages: tuple[StageDraw, ...]
    declared: float
    attained: float
    rho: float


class GameError(AuditError):
    """The game cannot be played: a run fails, diverges, or shows no release."""


class Game:
    """Plays one worst-case pair of a mechanism: that of `worst_case_pairs` whose exact answers lie farthest apart."""

    def __init__(self, mechanism: Mechanism, seed: int) -> None:
        claim = mechanism.claim
        toy = Toy(tuple(mechanism.columns), mechanism.unit_field, claim.max_rows if mechanism.unit_field is not None else 1)
        self._mechanism = mechanism
        self._length: int | None = None
        farthest = -1.0
        for candidate in worst_case_pairs(toy, claim.neighbours, seed):
            attained = self._play(candidate, True, 0).attained
            if attained > farthest:
                farthest, self.pair = attained, candidate

    def play(self, left: bool, redraws: int) -> Trial:
        """Run on the left (or right) table and replay on the other, with fresh draws of each stage on both."""
        return self._play(self.pair, left, redraws)

    def _play(self, pair: Pair, left: bool, redraws: int) -> Trial:
        here, there = (pair.left, pair.right) if left else (pair.right, pair.left)
        extra: Redraws = (lambda event, cells: redraws) if redraws else no_redraws
        run = observe(self._mechanism, here, Recorder(extra, self._length))
        self._check(run)
        self._length = max(self._length or 0, len(run.calls))
        other = observe(self._mechanism, there, Replayer(run.calls, extra, len(run.calls)))
        self._check(other)
        if len(other.calls) != len(run.calls):
            raise GameError("the replay makes another number of releases")
        ours, theirs = (run.calls, other.calls) if left else (other.calls, run.calls)
        ratio = sum(log_ratio(a, b, answer.output) for a, b, answer in zip(ours, theirs, run.calls, strict=True))
        stages = _stages(ours, theirs, redraws)
        declared = math.sqrt(sum(event_mu(dict(call.event)) ** 2 for call in run.calls))
        attained = math.sqrt(sum(_attained(a, b) ** 2 for a, b in zip(ours, theirs, strict=True)))
        return Trial(ratio, stages, declared, attained, total_rho([call.event for call in run.calls]))

    def _check(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            raise GameError(f"the mechanism fails on a toy table ({outcome.error[0]})")
        if outcome.diverged:
            raise GameError("the replay asks for another sequence of releases")
        if not any(call.kind in RELEASES for call in outcome.calls):
            raise GameError("the mechanism showed no release to the hook")


def log_ratio(left: Call, right: Call, output: Any) -> float:
    """log P(output | left) / P(output | right) for one release, under the declared law.

    0 for one that names values: the adversary does without it, and its cost is in ``declared`` all the same.
    """
    if left.kind == "gaussian":
        y = np.asarray(output, dtype=np.float64)
        near, far = y - left.exact, y - right.exact
        return float((far**2).sum() - (near**2).sum()) / (2.0 * float(left.event["stddev"]) ** 2)
    if left.kind == "exponential":
        ours, theirs = (selection_log_probabilities(call.exact, call.event) for call in (left, right))
        return float(ours[int(output)] - theirs[int(output)])
    return 0.0


def _attained(left: Call, right: Call) -> float:
    """Gaussian-DP mu of the distance actually between the exact answers; for a selection, of its mean log ratio."""
    if left.kind == "gaussian":
        return float(np.linalg.norm(left.exact.astype(np.float64) - right.exact.astype(np.float64))) / float(left.event["stddev"])
    if left.kind == "exponential":
        ours, theirs = (selection_log_probabilities(call.exact, call.event) for call in (left, right))
        # The Kullback-Leibler divergence of mu-GDP is mu^2 / 2.
        return math.sqrt(max(0.0, 2.0 * float((np.exp(ours) * (ours - theirs)).sum())))
    return 0.0


def _stages(left: tuple[Call, ...], right: tuple[Call, ...], redraws: int) -> tuple[StageDraw, ...]:
    """Statistics of the fresh draws, by stage: given the history, draws are independent and a stage is a product."""
    groups: dict[tuple[str, str], list[tuple[Call, Call]]] = {}
    for ours, theirs in zip(left, right, strict=True):
        if ours.kind in ("gaussian", "exponential"):
            groups.setdefault((ours.stage, ours.kind), []).append((ours, theirs))
    out = []
    for (stage, kind), calls in groups.items():
        attained = math.sqrt(sum(_attained(a, b) ** 2 for a, b in calls))
        declared = math.sqrt(sum(event_mu(dict(a.event)) ** 2 for a, _ in calls))
        # For Gaussian noise the log ratio over the distance is N(+-attained/2, 1), whatever the history.
        unit = attained if kind == "gaussian" and attained > 0.0 else 1.0
        for draw in range(redraws):
            x = sum(log_ratio(a, b, a.redraws[draw]) for a, b in calls) / unit
            y = sum(log_ratio(a, b, b.redraws[draw]) for a, b in calls) / unit
            out.append(StageDraw(stage, kind, x, y, attained, declared))
    return tuple(out)
