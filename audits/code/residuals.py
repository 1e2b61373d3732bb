"""Is the noise what the transcript says? Residuals of recorded toy runs against the declared discrete law.

Noise that is too large is no violation: every test here looks for too little of it, or for noise that can be guessed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.code.discrete_law import discrete_law, normal_scores
from audits.code.power import least_factor
from audits.code.recorder import Call, Recorder, observe
from audits.code.thresholds import Named, named_values
from audits.code.toy import Toy
from audits.result import AuditInput, AuditResult, Mechanism, Verdict

NAME = "residual_calibration"
Array = npt.NDArray[np.float64]

# Runs until every stage has this many cells, at least two (so that runs can be compared) and at most the second number.
_CELLS = {"smoke": (500, 4), "standard": (2_000, 12), "deep": (20_000, 60)}
_LEAST_CELLS = 20
_AGREEING_UNITS = 400
_POWER = 0.8
# The normal quantile of that power.
_POWER_QUANTILE = 0.8416
# How far the declared law of a selection is tilted to bound a tail.
_TILTS = np.concatenate([np.geomspace(1e-3, 10.0, 49), [100.0, 1000.0]])
# The pooled scale test answers the main question, so it gets this share of alpha; all other tests share the rest.
_POOLED_SHARE = 0.4


@dataclass(frozen=True)
class _Noise:
    """The noise of one Gaussian release, as standard normal scores under the declared law."""

    run: int
    position: int
    stage: str
    scores: Array
    residual: npt.NDArray[np.int64]
    empty: npt.NDArray[np.bool_]
    log_zero: float
    redrawn: bool


@dataclass(frozen=True)
class _Test:
    name: str
    where: str
    p_value: float


def residual_calibration(inp: AuditInput) -> AuditResult:
    """Test recorded residuals for scale, zeros, reuse, correlation, sign, support and integrality.

    ``value`` is the noise actually seen over the noise declared; its interval is two-sided at 1 - alpha.
    ``detectable`` is the factor by which all noise would have to be too small to be caught with 80 % power;
    ``details`` gives it for each stage.
    """
    started = time.perf_counter()
    mechanism = inp.mechanism
    if mechanism is None or inp.tier not in _CELLS:
        what = "no mechanism was given" if mechanism is None else f"tier={inp.tier!r} is unknown"
        return _result(mechanism, inp.alpha, Verdict.INCONCLUSIVE, what, started)
    rng = np.random.default_rng(inp.seed)
    runs, failure = _record(mechanism, *_CELLS[inp.tier], inp.seed)
    if failure is not None:
        return _result(mechanism, inp.alpha, Verdict.INCONCLUSIVE, failure, started)
    named = named_values(mechanism, runs, rng)
    if broken := [values for values in named if values.broken is not None]:
        return _result(mechanism, inp.alpha, Verdict.VIOLATION, f"{broken[0].stage} {broken[0].broken}", started)
    if not all(_is_integral(call) for run in runs for call in run if call.kind == "gaussian"):
        return _result(
            mechanism,
            inp.alpha,
            Verdict.VIOLATION,
            "a Gaussian release is not an integer vector: float noise leaks its grid",
            started,
        )
    if any(call.kind == "gaussian" and not float(call.event["stddev"]) > 0.0 for run in runs for call in run):
        return _result(mechanism, inp.alpha, Verdict.VIOLATION, "a Gaussian release declares no noise", started)
    noises = [
        _standardise(call, output, run, position, rng, redrawn=draw > 0)
        for run, calls in enumerate(runs)
        for position, call in enumerate(calls)
        if call.kind == "gaussian" and call.exact.size
        for draw, output in enumerate((call.output, *call.redraws))
    ]
    cells = sum(len(noise.scores) for noise in noises)
    if cells < _LEAST_CELLS:
        return _result(mechanism, inp.alpha, Verdict.INCONCLUSIVE, f"only {cells} noisy cells; {_LEAST_CELLS} are needed", started)
    return _judge(mechanism, inp.alpha, runs, noises, named, started)


def scale_factor(cells: int, alpha: float, power: float = _POWER) -> float:
    """Smallest f such that noise f times too small fails the lower chi-square test at ``alpha`` with this ``power``."""
    return math.sqrt(_chi2_quantile(power, cells) / _chi2_quantile(alpha, cells))


# --- recording


def _record(mechanism: Mechanism, cells: int, most_runs: int, seed: int) -> tuple[list[list[Call]], str | None]:
    """Runs on toy tables, cut short after their last release.

    On ordinary tables all candidates of a selection are about as good; a table whose columns all agree sets them apart,
    which is what shows a selection that is too sharp. The two take turns.
    """
    claim = mechanism.claim
    toy = Toy(tuple(mechanism.columns), mechanism.unit_field, claim.max_rows if mechanism.unit_field is not None else 1)
    tables = toy.frame(toy.units(100, seed)), toy.frame(toy.agreeing(_AGREEING_UNITS))
    runs: list[list[Call]] = []
    length: int | None = None

    def redraws(event: Mapping[str, Any], size: int) -> int:
        return cells // 5 if event["kind"] == "exponential" else cells // (20 * max(size, 1))

    while len(runs) < 2 or (len(runs) < most_runs and _smallest_stage(runs) < cells):
        outcome = observe(mechanism, tables[len(runs) % 2], Recorder(redraws, stop_after=length))
        if outcome.error is not None:
            return runs, f"the mechanism fails on an ordinary toy table ({outcome.error[0]})"
        if not outcome.calls:
            return runs, "the mechanism showed no release to the hook"
        runs.append(list(outcome.calls))
        # The same length for both tables would cut the longer one short, and cost nothing but draws.
        length = max(length or 0, len(outcome.calls))
    return runs, None


def _smallest_stage(runs: Sequence[Sequence[Call]]) -> int:
    cells: dict[str, int] = {}
    for run in runs:
        for call in run:
            if call.kind == "gaussian":
                cells[call.stage] = cells.get(call.stage, 0) + call.exact.size * (1 + len(call.redraws))
    return min(cells.values(), default=0)


def _is_integral(call: Call) -> bool:
    output = np.asarray(call.output)
    return output.dtype.kind in "iu" and call.exact.dtype.kind in "iu" and output.shape == call.exact.shape


def _standardise(call: Call, output: Any, run: int, position: int, rng: np.random.Generator, *, redrawn: bool) -> _Noise:
    stddev = float(call.event["stddev"])
    residual = (np.asarray(output, dtype=np.int64) - call.exact.astype(np.int64)).ravel()
    mass, _ = discrete_law(np.zeros(1, dtype=np.int64), stddev)
    scores = normal_scores(residual, stddev, rng)
    return _Noise(run, position, call.stage, scores, residual, call.exact.ravel() == 0, math.log(float(mass[0])), redrawn)


# --- tests


def _judge(
    mechanism: Mechanism,
    alpha: float,
    runs: Sequence[Sequence[Call]],
    noises: Sequence[_Noise],
    named: Sequence[Named],
    started: float,
) -> AuditResult:
    pooled = np.concatenate([noise.scores for noise in noises])
    stages = sorted({noise.stage for noise in noises})
    by_stage = {stage: np.concatenate([n.scores for n in noises if n.stage == stage]) for stage in stages}
    main = _Test("scale", "all stages", _lower_chi2(pooled))
    others = [_Test("scale", stage, _lower_chi2(scores)) for stage, scores in by_stage.items() if len(stages) > 1]
    for stage in stages:
        others.append(_Test("exact zeros", stage, _too_many_zeros([n for n in noises if n.stage == stage])))
    others += _shape_tests(noises, pooled)
    others += _reuse_tests(noises)
    others += [_Test("scale of values that are named", values.stage, _lower_chi2(values.scores)) for values in named if len(values.scores)]
    selections = _Selections.of(runs)
    if selections.laws:
        others.append(_Test("selection sharper than declared", "all stages", selections.tail(selections.total)))
    share = (1.0 - _POOLED_SHARE) / len(others)
    weighed = [
        (main, min(1.0, main.p_value / _POOLED_SHARE)),
        *((test, min(1.0, test.p_value / share)) for test in others),
    ]
    worst, p_value = min(weighed, key=lambda pair: pair[1])
    ratio = math.sqrt(float((pooled**2).mean()))
    low = math.sqrt(float((pooled**2).sum()) / _chi2_quantile(1.0 - alpha / 2.0, len(pooled)))
    high = math.sqrt(float((pooled**2).sum()) / _chi2_quantile(alpha / 2.0, len(pooled)))
    violated = p_value <= alpha
    return _result(
        mechanism,
        alpha,
        Verdict.VIOLATION if violated else Verdict.NOT_FALSIFIED,
        f"{worst.name} ({worst.where}) contradicts the declared noise"
        if violated
        else f"{len(pooled)} noisy cells agree with the declared law",
        started,
        value=ratio,
        interval=(low, high),
        n=len(pooled),
        detectable=scale_factor(len(pooled), alpha * _POOLED_SHARE),
        p_value=p_value,
        details={
            "runs": len(runs),
            "stages": {
                stage: {
                    "cells": len(scores),
                    "noise_ratio": math.sqrt(float((scores**2).mean())),
                    "detectable": scale_factor(len(scores), alpha * (share if len(stages) > 1 else _POOLED_SHARE)),
                }
                for stage, scores in by_stage.items()
            },
            "selections": {"draws": sum(selections.counts), "detectable": selections.detectable(alpha * share)}
            if selections.laws
            else None,
            "named_values": {
                v.stage: {"cells": len(v.scores), "detectable": scale_factor(len(v.scores) // 2, alpha * share)}
                for v in named
                if len(v.scores)
            },
            "tests": [{"test": t.name, "where": t.where, "p_value": t.p_value, "adjusted": p} for t, p in weighed],
        },
    )


def _lower_chi2(scores: Array) -> float:
    """P(a sum of squares at most this small), for n standard normal scores."""
    return _chi2_cdf(float((scores**2).sum()), len(scores))


def _too_many_zeros(noises: Sequence[_Noise]) -> float:
    """P(at least this many residuals are exactly 0), each as likely 0 as in the stage's narrowest release."""
    from scipy.special import betainc

    zeros = sum(int((noise.residual == 0).sum()) for noise in noises)
    cells = sum(len(noise.residual) for noise in noises)
    if zeros == 0:
        return 1.0
    chance = math.exp(max(noise.log_zero for noise in noises))
    return float(betainc(zeros, cells - zeros + 1, chance)) if zeros <= cells else 1.0


def _shape_tests(noises: Sequence[_Noise], pooled: Array) -> list[_Test]:
    """Laws that hide in a right variance: peaked, one-sided, truncated, one draw for all cells, none where empty."""
    from scipy.special import bdtr, ndtr
    from scipy.stats import kstest

    n = len(pooled)
    magnitude = np.abs(pooled)
    half_normal = 2.0 * ndtr(magnitude) - 1.0
    # "greater": the empirical distribution function lies above, so magnitudes are smaller than they should be.
    peaked = float(kstest(half_normal, "uniform", alternative="greater").pvalue)
    positive = int((pooled > 0).sum())
    one_sided = min(1.0, 2.0 * float(bdtr(min(positive, n - positive), n, 0.5)))
    truncated = float(half_normal.max()) ** n
    tests = [
        _Test("peaked law", "all stages", peaked),
        _Test("one-sided", "all stages", one_sided),
        _Test("truncated", "all stages", truncated),
    ]
    within, degrees = 0.0, 0
    for noise in noises:
        if len(noise.scores) > 1:
            within += float(((noise.scores - noise.scores.mean()) ** 2).sum())
            degrees += len(noise.scores) - 1
    if degrees:
        tests.append(_Test("one draw for many cells", "all stages", _chi2_cdf(within, degrees)))
    empty = np.concatenate([noise.scores[noise.empty] for noise in noises])
    if 0 < len(empty) < n:
        tests.append(_Test("scale", "empty cells", _lower_chi2(empty)))
    return tests


def _reuse_tests(noises: Sequence[_Noise]) -> list[_Test]:
    """Noise that repeats between the releases of a run or between runs; vectors are laid side by side."""
    within: dict[tuple[int, int], list[tuple[Array, Array]]] = {}
    across: dict[tuple[int, int], list[tuple[Array, Array]]] = {}
    first = [noise for noise in noises if not noise.redrawn]
    for i, one in enumerate(first):
        for other in first[i + 1 :]:
            if one.run == other.run:
                within.setdefault((one.position, other.position), []).append(_aligned(one, other))
            elif one.position == other.position:
                across.setdefault((one.run, other.run), []).append(_aligned(one, other))
    tests = []
    for name, groups in (("noise reused between releases", within), ("noise reused between runs", across)):
        values = [_correlated(pairs) for pairs in groups.values()]
        found = [p for p in values if p is not None]
        if found:
            tests.append(_Test(name, f"{len(found)} comparisons", min(1.0, len(found) * min(found))))
    return tests


def _aligned(one: _Noise, other: _Noise) -> tuple[Array, Array]:
    m = min(len(one.scores), len(other.scores))
    return one.scores[:m], other.scores[:m]


def _correlated(pairs: Sequence[tuple[Array, Array]]) -> float | None:
    """Two-sided p-value of the correlation of independent standard normal vectors; None for fewer than 8 cells."""
    from scipy.special import stdtr

    x, y = (np.concatenate(side) for side in zip(*pairs, strict=True))
    if len(x) < 8 or not x.std() or not y.std():
        return None
    r = float(np.clip(np.corrcoef(x, y)[0, 1], -1.0 + 1e-15, 1.0 - 1e-15))
    t = abs(r) * math.sqrt((len(x) - 2) / (1.0 - r * r))
    return min(1.0, 2.0 * float(stdtr(len(x) - 2, -t)))


@dataclass(frozen=True)
class _Selections:
    """All draws of all selections: the declared log probabilities of each selection, how often it was drawn, and the
    sum of the log probabilities drawn."""

    laws: tuple[Array, ...]
    counts: tuple[int, ...]
    total: float

    @classmethod
    def of(cls, runs: Sequence[Sequence[Call]]) -> _Selections:
        laws, counts, total = [], [], 0.0
        for call in (call for run in runs for call in run if call.kind == "exponential" and call.exact.size > 1):
            law = selection_log_probabilities(call.exact, call.event)
            drawn = [int(output) for output in (call.output, *call.redraws)]
            laws.append(law)
            counts.append(len(drawn))
            total += float(law[drawn].sum())
        return cls(tuple(laws), tuple(counts), total)

    def tail(self, total: float) -> float:
        """Upper bound on P(a sum at least this large) under the declared laws (Chernoff: any tilt gives a valid one)."""
        exponents = [
            sum(n * float(_log_sum_exp((1.0 + t) * law)) for law, n in zip(self.laws, self.counts, strict=True)) - t * total
            for t in _TILTS.tolist()
        ]
        return math.exp(min(0.0, *exponents))

    def moments(self, factor: float) -> tuple[float, float]:
        """Mean and standard deviation of the sum if selections were ``factor`` times as sharp as declared."""
        mean = variance = 0.0
        for law, n in zip(self.laws, self.counts, strict=True):
            chance = np.exp(factor * law - _log_sum_exp(factor * law))
            middle = float((chance * law).sum())
            mean += n * middle
            variance += n * float((chance * (law - middle) ** 2).sum())
        return mean, math.sqrt(variance)

    def detectable(self, alpha: float) -> float | None:
        """Smallest factor by which selections are too sharp that is caught at ``alpha`` with 80 % power."""

        def caught(factor: float) -> bool:
            mean, stddev = self.moments(factor)
            return self.tail(mean - _POWER_QUANTILE * stddev) <= alpha

        return least_factor(caught)


def _log_sum_exp(values: Array) -> float:
    top = float(values.max())
    return top + math.log(float(np.exp(values - top).sum()))


def selection_log_probabilities(scores: npt.NDArray[Any], event: Any) -> Array:
    """Log probabilities of the selection that ``event`` declares: exp(epsilon score / (2 Delta)), normalised."""
    rate = float(event["epsilon"]) / (2.0 * float(event["score_sensitivity"]))
    logits = rate * np.asarray(scores, dtype=np.float64)
    logits = logits - logits.max()
    return np.asarray(logits - math.log(float(np.exp(logits).sum())))


def _chi2_cdf(x: float, n: int) -> float:
    from scipy.special import gammainc

    return float(gammainc(n / 2.0, x / 2.0))


def _chi2_quantile(p: float, n: int) -> float:
    from scipy.special import gammaincinv

    return 2.0 * float(gammaincinv(n / 2.0, p))


def _result(
    mechanism: Mechanism | None,
    alpha: float,
    verdict: Verdict,
    reason: str,
    started: float,
    *,
    value: float | None = None,
    interval: tuple[float | None, float | None] = (None, None),
    n: int = 0,
    detectable: float | None = None,
    p_value: float | None = None,
    details: dict[str, Any] | None = None,
) -> AuditResult:
    return AuditResult(
        name=NAME,
        verdict=verdict,
        value=value,
        interval=interval,
        confidence=1.0 - alpha,
        n=n,
        detectable=detectable,
        detectable_unit="factor by which all noise is too small",
        claim_digest=None if mechanism is None else mechanism.claim.digest,
        seconds=time.perf_counter() - started,
        reason=reason,
        p_value=p_value,
        details={"mechanism": None if mechanism is None else mechanism.name, **(details or {})},
    )
