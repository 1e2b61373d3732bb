"""Anytime-valid tests of a privacy claim: bet against it run by run, stop when you like, go on from a saved state.

Under the claim the wealth is a non-negative supermartingale that starts at 1, so it ever reaches 1/alpha with
probability at most alpha (Ville 1939), however often one looks.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.code.discrete_law import normal_scores
from audits.code.games import Game, GameError, StageDraw, Trial
from audits.code.power import least_factor
from audits.code.recorder import Recorder, observe
from audits.code.toy import Toy
from audits.profiles import gaussian_delta, zcdp_delta
from audits.result import AuditError, AuditInput, AuditResult, Claim, Mechanism, Verdict

NAME = "noise_eprocess"
STATE = "audits.eprocess/1"
Array = npt.NDArray[np.float64]

EPSILONS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
_REMEMBERED = 256
_ADAPT_EVERY = 8
# Shares of the capital: the scale of the noise, the whole transcript, all stages together.
_SHARES = {"scale": 0.5, "transcript": 0.25, "stages": 0.25}
# Pairs of full runs, seconds, fresh draws per stage and run, and recorded runs for the scale of the noise.
_TIERS = {"smoke": (4, 2.0, 8, 2), "standard": (60, 8.0, 4, 3), "deep": (2_000, 300.0, 16, 10)}
_FACTORS = np.array([1.05, 1.1, 1.2, 1.4142135623730951, 2.0, 4.0, 16.0])


@dataclass
class ScaleProcess:
    """E-process against "the noise is at least as wide as declared", fed with residuals as standard normal scores.

    The wealth is the likelihood ratio of noise f times too small, f^n exp(-(f^2 - 1) sum x^2 / 2), averaged over f. A
    wider law only lowers its mean. Two numbers are its whole state.
    """

    n: int = 0
    sum_of_squares: float = 0.0

    def update(self, scores: Array) -> None:
        """Take in residuals of fresh noise."""
        self.n += len(scores)
        self.sum_of_squares += float((scores**2).sum())

    @property
    def log_wealth(self) -> float:
        """Natural logarithm of the e-value."""
        logs = self.n * np.log(_FACTORS) - (_FACTORS**2 - 1.0) * self.sum_of_squares / 2.0
        return float(np.logaddexp.reduce(logs)) - math.log(len(_FACTORS))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"n": self.n, "sum_of_squares": self.sum_of_squares}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ScaleProcess:
        """The inverse of `to_dict`."""
        return cls(int(state["n"]), float(state["sum_of_squares"]))


@dataclass
class ProfileProcess:
    """E-process against a privacy profile delta(epsilon), fed with an adversary's statistic under two neighbours.

    For any event A fixed before the pair is drawn, Z = 1[x in A] - e^epsilon 1[y in A] - delta(epsilon) has mean at
    most 0 under the claim, and
    so has its mirror image with the tables exchanged; each bettor stakes a share of its wealth on the average of the
    two. Events are thresholds of the statistic: fixed ones, and one per epsilon chosen from past pairs. ``unit`` is
    the statistic's size of one unit of log likelihood ratio.
    """

    deltas: tuple[float, ...]
    unit: float = 1.0
    pairs: int = 0
    log_wealths: Array = field(default_factory=lambda: np.zeros(0))
    sums: Array = field(default_factory=lambda: np.zeros(0))
    squares: Array = field(default_factory=lambda: np.zeros(0))
    past: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if len(self.deltas) != len(EPSILONS):
            raise AuditError(f"deltas has {len(self.deltas)} entries, needs one for each of {len(EPSILONS)} epsilons")
        fixed = [(i, factor * EPSILONS[i] * self.unit) for i in range(len(EPSILONS)) for factor in ((0.25, 1.0) if EPSILONS[i] else (1.0,))]
        self._which = np.array([i for i, _ in fixed] + list(range(len(EPSILONS))))
        self._fixed = np.array([threshold for _, threshold in fixed])
        self._growth = np.exp(np.array(EPSILONS))[self._which]
        self._delta = np.array(self.deltas)[self._which]
        self._adapted = self._best_thresholds()
        if not len(self.log_wealths):
            self.log_wealths, self.sums, self.squares = (np.zeros(len(self._which)) for _ in range(3))

    def update(self, left: float, right: float) -> None:
        """Bet on one more pair: the statistic under the left table and under the right one."""
        thresholds = np.concatenate([self._fixed, self._adapted])
        # Stake from past outcomes alone: mean over second moment approximates the growth-optimal share (Waudby-Smith
        # and Ramdas 2024).
        n = self.pairs + 1.0
        mean = self.sums / n
        second = (self.squares + 0.25 * self._growth) / n
        most = 0.8 / (self._growth + self._delta)
        stake = np.clip(mean / second, 0.0, most)
        forth = (left > thresholds) - self._growth * (right > thresholds) - self._delta
        back = (-right > thresholds) * 1.0 - self._growth * (-left > thresholds) - self._delta
        z = (forth + back) / 2.0
        self.log_wealths = self.log_wealths + np.log1p(stake * z)
        self.sums, self.squares = self.sums + z, self.squares + z**2
        self.pairs += 1
        self.past = [*self.past[-_REMEMBERED + 1 :], (left, right)]
        if self.pairs % _ADAPT_EVERY == 0:
            self._adapted = self._best_thresholds()

    def _best_thresholds(self) -> Array:
        """For each epsilon the threshold that would have paid best on the pairs remembered."""
        if len(self.past) < _ADAPT_EVERY:
            return np.array(EPSILONS) * self.unit
        x, y = (np.array(side) for side in zip(*self.past, strict=True))
        high, low = np.concatenate([x, -y]), np.concatenate([y, -x])
        grid = np.quantile(np.concatenate([high, low]), np.linspace(0.02, 0.98, 33))
        gain = (high[:, None] > grid).mean(axis=0) - np.exp(np.array(EPSILONS))[:, None] * (low[:, None] > grid).mean(axis=0)
        return np.asarray(grid[np.argmax(gain, axis=1)])

    @property
    def log_wealth(self) -> float:
        """Natural logarithm of the e-value: the bettors' average."""
        return float(np.logaddexp.reduce(self.log_wealths)) - math.log(len(self.log_wealths))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "deltas": list(self.deltas),
            "unit": self.unit,
            "pairs": self.pairs,
            "log_wealths": self.log_wealths.tolist(),
            "sums": self.sums.tolist(),
            "squares": self.squares.tolist(),
            "past": [list(pair) for pair in self.past],
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ProfileProcess:
        """The inverse of `to_dict`."""
        return cls(
            deltas=tuple(float(d) for d in state["deltas"]),
            unit=float(state["unit"]),
            pairs=int(state["pairs"]),
            log_wealths=np.array(state["log_wealths"], dtype=np.float64),
            sums=np.array(state["sums"], dtype=np.float64),
            squares=np.array(state["squares"], dtype=np.float64),
            past=[(float(x), float(y)) for x, y in state["past"]],
        )


def gaussian_profile(mu: float) -> tuple[float, ...]:
    """delta of mu-GDP at each of `EPSILONS`."""
    return tuple(gaussian_delta(mu, EPSILONS).tolist())


@lru_cache(maxsize=64)
def zcdp_profile(rho: float) -> tuple[float, ...]:
    """delta of rho-zCDP at each of `EPSILONS`."""
    return tuple(zcdp_delta(rho, EPSILONS).tolist())


@dataclass
class _Bets:
    """All processes of one mechanism; what a state file holds."""

    scale: ScaleProcess = field(default_factory=ScaleProcess)
    transcript: ProfileProcess | None = None
    stages: dict[str, ProfileProcess] = field(default_factory=dict)

    @property
    def log_wealth(self) -> float:
        """Logarithm of the weighted average of all wealths: an e-value again, whatever their dependence."""
        logs = [math.log(_SHARES["scale"]) + self.scale.log_wealth]
        logs.append(math.log(_SHARES["transcript"]) + (0.0 if self.transcript is None else self.transcript.log_wealth))
        stages = [process.log_wealth for process in self.stages.values()] or [0.0]
        logs.append(math.log(_SHARES["stages"] / len(stages)) + float(np.logaddexp.reduce(stages)))
        return float(np.logaddexp.reduce(logs))

    def to_dict(self, claim_digest: str) -> dict[str, Any]:
        return {
            "$schema": STATE,
            "claim": claim_digest,
            "scale": self.scale.to_dict(),
            "transcript": None if self.transcript is None else self.transcript.to_dict(),
            "stages": {name: process.to_dict() for name, process in self.stages.items()},
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any], claim_digest: str) -> _Bets:
        if state.get("$schema") != STATE or state.get("claim") != claim_digest:
            raise AuditError("the e-process state is of another version or another claim; start a new one")
        return cls(
            ScaleProcess.from_dict(state["scale"]),
            None if state["transcript"] is None else ProfileProcess.from_dict(state["transcript"]),
            {str(name): ProfileProcess.from_dict(process) for name, process in state["stages"].items()},
        )


def noise_eprocess(inp: AuditInput, state: Mapping[str, Any] | None = None) -> AuditResult:
    """Bet against the mechanism's noise and transcript until the wealth passes 1/alpha or the tier's runs are over.

    ``value`` is the e-value reached; ``details["state"]`` goes into the next call as ``state`` to continue.
    ``detectable`` is the factor by which noise would have to be too small for the scale process alone to reach
    1/alpha in 80 % of cases.
    """
    started = time.perf_counter()
    mechanism = inp.mechanism
    if mechanism is None or inp.tier not in _TIERS:
        what = "no mechanism was given" if mechanism is None else f"tier={inp.tier!r} is unknown"
        return _inconclusive(mechanism, what, started)
    bets = _Bets() if state is None else _Bets.from_dict(state, mechanism.claim.digest)
    goal = math.log(1.0 / inp.alpha)
    try:
        plays = _bet(mechanism, bets, inp, goal, started)
    except GameError as failure:
        return _inconclusive(mechanism, str(failure), started)
    reached = bets.log_wealth
    violated = reached >= goal
    detectable = None if bets.scale.n == 0 else _scale_detectable(bets.scale.n, inp.alpha)
    verdict = Verdict.VIOLATION if violated else Verdict.NOT_FALSIFIED if detectable is not None else Verdict.INCONCLUSIVE
    e_value = math.exp(min(reached, 700.0))
    return AuditResult(
        name=NAME,
        verdict=verdict,
        value=e_value,
        interval=(None, None),
        confidence=1.0 - inp.alpha,
        n=bets.scale.n + (0 if bets.transcript is None else bets.transcript.pairs),
        detectable=detectable,
        detectable_unit="factor by which all noise is too small",
        claim_digest=mechanism.claim.digest,
        seconds=time.perf_counter() - started,
        reason=f"the bets against the claim {'won' if violated else 'stand at'} {e_value:.3g} to 1",
        e_value=e_value,
        details={
            "mechanism": mechanism.name,
            "pairs": plays,
            "log_e": {
                "scale": bets.scale.log_wealth,
                "transcript": None if bets.transcript is None else bets.transcript.log_wealth,
                **{f"stage {name}": process.log_wealth for name, process in bets.stages.items()},
            },
            "state": bets.to_dict(mechanism.claim.digest),
        },
    )


def _bet(mechanism: Mechanism, bets: _Bets, inp: AuditInput, goal: float, started: float) -> int:
    most, seconds, redraws, recorded = _TIERS[inp.tier]
    _bet_on_scale(mechanism, bets.scale, recorded, inp.seed)
    if bets.log_wealth >= goal:
        return 0
    game = Game(mechanism, inp.seed)
    plays = 0
    while plays < most and bets.log_wealth < goal and (plays < 1 or time.perf_counter() - started < seconds):
        left, right = game.play(True, redraws), game.play(False, redraws)
        _bet_on_pair(mechanism, bets, left, right)
        plays += 1
    return plays


def _bet_on_scale(mechanism: Mechanism, scale: ScaleProcess, runs: int, seed: int) -> None:
    claim = mechanism.claim
    toy = Toy(tuple(mechanism.columns), mechanism.unit_field, claim.max_rows if mechanism.unit_field is not None else 1)
    table = toy.frame(toy.units(100, seed))
    # The spread of integers over their own probability must be fresh at every look, or a continued process would bet
    # on old dice.
    rng = np.random.default_rng([seed, scale.n])
    for _ in range(runs):
        outcome = observe(mechanism, table, Recorder(_more_draws_of_small_releases))
        if outcome.error is not None:
            raise GameError(f"the mechanism fails on an ordinary toy table ({outcome.error[0]})")
        for call in outcome.calls:
            stddev = float(call.event.get("stddev", 0.0)) if call.kind == "gaussian" else 0.0
            if stddev > 0.0 and call.exact.size and np.asarray(call.output).dtype.kind in "iu":
                for output in (call.output, *call.redraws):
                    scale.update(normal_scores(np.asarray(output - call.exact, dtype=np.int64).ravel(), stddev, rng))


def _more_draws_of_small_releases(event: Mapping[str, Any], cells: int) -> int:
    return 50 // max(cells, 1) if event["kind"] == "gaussian" else 0


def _bet_on_pair(mechanism: Mechanism, bets: _Bets, left: Trial, right: Trial) -> None:
    claim = mechanism.claim
    if bets.transcript is None:
        bets.transcript = ProfileProcess(_claimed_profile(claim, left))
    if _covers(bets.transcript, _claimed_profile(claim, left)) and _covers(bets.transcript, _claimed_profile(claim, right)):
        bets.transcript.update(left.log_ratio, right.log_ratio)
    for draw in (*left.stages, *right.stages):
        name = f"{draw.stage} ({draw.kind})"
        process = bets.stages.get(name)
        if process is None:
            process = bets.stages[name] = _stage_process(draw)
        if _covers(process, gaussian_profile(draw.declared)):
            process.update(draw.left, draw.right)


def _covers(process: ProfileProcess, profile: tuple[float, ...]) -> bool:
    """Whether the profile under test is no tighter than this run's own; if it is, the bet would not be fair."""
    return all(tested >= declared - 1e-12 for tested, declared in zip(process.deltas, profile, strict=True))


def _claimed_profile(claim: Claim, trial: Trial) -> tuple[float, ...]:
    """delta of the claim's rho, or of the run's own Gaussian-DP composition where that is smaller and within rho."""
    allowed = zcdp_profile(claim.rho)
    if trial.rho <= claim.rho * (1.0 + 1e-7):
        allowed = tuple(min(pair) for pair in zip(allowed, gaussian_profile(trial.declared), strict=True))
    # Beside either stand the events that rho does not cover.
    return tuple(min(1.0, delta + claim.threshold_delta) for delta in allowed)


def _stage_process(draw: StageDraw) -> ProfileProcess:
    """A stage against the Gaussian-DP profile it declares; Gaussian statistics are log ratios over the distance."""
    unit = 1.0 / draw.declared if draw.kind == "gaussian" and draw.declared > 0.0 else 1.0
    return ProfileProcess(gaussian_profile(draw.declared), unit)


def _scale_detectable(cells: int, alpha: float) -> float | None:
    """Smallest factor at which the scale process passes 1/alpha with 80 % power on this many cells, if below 1000."""
    from scipy.special import gammaincinv

    quantile = 2.0 * float(gammaincinv(cells / 2.0, 0.8))
    needed = math.log(1.0 / (alpha * _SHARES["scale"]))

    def caught(factor: float) -> bool:
        return ScaleProcess(cells, quantile / factor**2).log_wealth >= needed

    return least_factor(caught)


def _inconclusive(mechanism: Mechanism | None, reason: str, started: float) -> AuditResult:
    return AuditResult(
        name=NAME,
        verdict=Verdict.INCONCLUSIVE,
        value=None,
        interval=(None, None),
        confidence=0.0,
        n=0,
        detectable=None,
        detectable_unit="factor by which all noise is too small",
        claim_digest=None if mechanism is None else mechanism.claim.digest,
        seconds=time.perf_counter() - started,
        reason=reason,
    )
