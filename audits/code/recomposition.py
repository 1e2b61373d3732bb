"""Recomputes what a release cost from its transcript alone, by formulas of its own, and compares that with the claim.

It reads no table. What it cannot price it calls INCONCLUSIVE; it never takes the kernel's word for a cost.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from audits.profiles import gaussian_epsilon, zcdp_epsilon
from audits.result import AuditInput, AuditResult, Claim, Verdict

NAME = "recomposition"
# Rounding that is nobody's privacy: OpenDP and the kernel round in the twelfth digit.
_TOLERANCE = 1e-7
_FORMS = ("marginal", "residual", "total", "scores", "histogram")
_NEIGHBOURS = ("add_remove", "replace_one")
# What the rows of one unit count: one each, or one all together.
_WEIGHTS = ("rows", "person")
_SHOWN = 50
_WIDE = 20_000.0


class _Unpriced(Exception):
    """The transcript lacks what is needed to price it. The text names keys and positions, never a value."""


def recomposition(inp: AuditInput) -> AuditResult:
    """Reprice every event, check it against its own facts, keep the total under the budget, convert it to epsilon.

    ``value`` is the recomposed epsilon at the claim's delta (Canonne, Kamath and Steinke 2020, Proposition 12,
    minimised on a dense grid); the interval's lower end is what the same total of pure Gaussian noise would cost, a
    floor for any accountant of Gaussian releases.
    """
    started = time.perf_counter()
    claim = inp.claim
    if inp.transcript is None or claim is None:
        missing = "transcript" if inp.transcript is None else "claim"
        return _result(claim, Verdict.INCONCLUSIVE, f"no {missing} was given", started)
    try:
        problems, rho, steps = _reprice(inp.transcript, claim)
        apart = total_delta(inp.transcript["events"])
        # What the thresholds cost is gone from delta before rho is converted.
        delta = claim.delta - max(apart, claim.threshold_delta)
        if not claim.delta > 0.0:
            raise _Unpriced("the claim's delta is not above 0")
        if not delta > 0.0:
            problems.append({"event": None, "check": "thresholds cost as much delta as is claimed, or more"})
        epsilon = zcdp_epsilon(rho, delta) if delta > 0.0 else math.inf
    except _Unpriced as gap:
        return _result(claim, Verdict.INCONCLUSIVE, str(gap), started)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as failure:
        return _result(claim, Verdict.INCONCLUSIVE, f"the transcript is malformed ({type(failure).__name__})", started)
    if epsilon > claim.epsilon * (1.0 + _TOLERANCE):
        problems.append({"event": None, "check": "epsilon of the recomposed total exceeds the claim"})
    verdict = Verdict.VIOLATION if problems else Verdict.NOT_FALSIFIED
    reason = f"{len(problems)} inconsistencies; first: {problems[0]['check']}" if problems else "recomposes to at most the claim"
    floor = 0.0 if rho <= 0.0 else gaussian_epsilon(math.sqrt(2.0 * rho), delta) if delta > 0.0 else math.inf
    return AuditResult(
        name=NAME,
        verdict=verdict,
        value=epsilon,
        interval=(floor, epsilon),
        confidence=1.0,
        n=len(steps),
        detectable=1.0 + _TOLERANCE,
        detectable_unit="factor by which any declared cost is too small",
        claim_digest=claim.digest,
        seconds=time.perf_counter() - started,
        reason=reason,
        details={
            "rho": rho,
            "claimed_rho": claim.rho,
            "threshold_delta": apart,
            "claimed_epsilon": claim.epsilon,
            "epsilon_if_all_gaussian": floor,
            "by_stage": _by_stage(steps),
            "problems": problems[:_SHOWN],
            "n_problems": len(problems),
        },
    )


def event_rho(event: Mapping[str, Any]) -> float:
    """What one event costs: Delta^2/(2 sigma^2) for Gaussian noise, epsilon^2/8 for a bounded-range selection.

    A threshold on noisy counts costs `event_delta` besides.
    """
    kind = event.get("kind")
    if kind in ("gaussian", "threshold"):
        sensitivity, stddev = _number(event, "l2_sensitivity"), _number(event, "stddev")
        if stddev <= 0.0:
            return math.inf
        return sensitivity**2 / (2.0 * stddev**2)
    if kind == "exponential":
        return _number(event, "epsilon") ** 2 / 8.0
    if kind in ("audit_read", "coins"):
        return 0.0
    raise _Unpriced("an event has a kind this audit cannot price")


def event_delta(event: Mapping[str, Any]) -> float:
    """The chance that a unit's own value passes a threshold: at most l0 values, each with at most linf in its count.

    Summed from the discrete Gaussian itself; where it is so wide that this differs from the normal law in no digit that counts, from that.
    """
    if event.get("kind") != "threshold":
        return 0.0
    values, most = _number(event, "l0_sensitivity"), _number(event, "linf_sensitivity")
    stddev, distance = _number(event, "stddev"), math.ceil(_number(event, "threshold") - most)
    if stddev <= 0.0 or distance <= 0:
        return 1.0
    if stddev > _WIDE:
        from scipy.special import ndtr

        return min(1.0, values * float(ndtr(-(distance - 0.5) / stddev)))
    places = distance + np.arange(math.ceil(40.0 * stddev) + 2, dtype=np.float64)
    # The normaliser is at least stddev sqrt(2 pi): its other terms, by Poisson summation, are positive.
    tail = float(np.exp(-0.5 * (places / stddev) ** 2).sum()) / (stddev * math.sqrt(2.0 * math.pi))
    return min(1.0, values * tail)


def total_delta(events: Sequence[Mapping[str, Any]]) -> float:
    """Sum of the deltas that the events cost by their own facts, or declare where that is more."""
    try:
        return math.fsum(max(event_delta(event), _number(event, "delta")) for event in events if event.get("kind") == "threshold")
    except _Unpriced:
        return math.inf


def total_rho(events: Sequence[Mapping[str, Any]]) -> float:
    """Sum of what the events cost by their own facts; infinite when one cannot be priced."""
    try:
        return math.fsum(event_rho(event) for event in events)
    except _Unpriced:
        return math.inf


def least_sensitivity(event: Mapping[str, Any], sizes: Mapping[str, int], max_rows: int, neighbours: str) -> float:
    """Smallest L2 sensitivity that the concatenated tables of a Gaussian event can have: a bound below it is wrong.

    One unit's ``max_rows`` rows may all fall into one cell of every table at once; under replace-one they may move
    from there to the cell that differs most. Each table adds its square. Where a unit's rows weigh one together, that is
    what one row alone can do.
    """
    scale = _number(event, "scale") if "scale" in event else 1.0
    total = 0.0
    for form, shape in zip(_forms(event), _shapes(event, sizes), strict=True):
        total += _squared_sensitivity(form, shape, max_rows, neighbours)
    return scale * math.sqrt(total)


def _squared_sensitivity(form: str, shape: Sequence[int], k: int, neighbours: str) -> float:
    replace = neighbours == "replace_one"
    if form == "total":
        return float((k - 1) ** 2 if replace else k**2)
    if form == "scores":
        return float((2 * k if replace else k) ** 2)
    if form == "residual":
        own = math.prod(1.0 - 1.0 / n for n in shape)
        if not replace:
            return k**2 * own
        # Two rows agree on some columns; the inner product of their centred one-hot tables is a product of 1-1/n
        # (agree) or -1/n (not).
        products = [
            math.prod((1.0 - 1.0 / n) if agree else -1.0 / n for agree, n in zip(which, shape, strict=True))
            for which in itertools.product(*((True, False) if n > 1 else (True,) for n in shape))
        ]
        return k**2 * (2.0 * own - 2.0 * min(products))
    if replace:
        return 2.0 * k**2 if math.prod(shape) > 1 else 0.0
    return float(k**2)


def _forms(event: Mapping[str, Any]) -> list[str]:
    forms, cliques = list(event["forms"]), list(event["cliques"])
    if len(forms) == 1 and len(cliques) > 1:
        forms *= len(cliques)
    if not forms or len(forms) != len(cliques) or any(form not in _FORMS for form in forms):
        raise _Unpriced("an event's forms and cliques do not fit together")
    return [str(form) for form in forms]


def _shapes(event: Mapping[str, Any], sizes: Mapping[str, int]) -> list[list[int]]:
    """Shapes as the event states them (columns may have been merged into fewer levels) or as the domain implies."""
    if "shapes" in event:
        return [[int(n) for n in shape] for shape in event["shapes"]]
    return [[int(sizes[name]) for name in clique] for clique in event["cliques"]]


def _number(event: Mapping[str, Any], key: str) -> float:
    value = event.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise _Unpriced(f"an event's {key} is missing or not a finite number >= 0")
    return float(value)


def _reprice(transcript: Mapping[str, Any], claim: Claim) -> tuple[list[dict[str, Any]], float, list[tuple[str, float]]]:
    problems: list[dict[str, Any]] = []
    events = transcript["events"]
    if not isinstance(events, (list, tuple)) or not any(e.get("kind") != "audit_read" for e in events):
        raise _Unpriced("the transcript has no release to price")
    _check_header(transcript, claim, problems)
    unit = transcript["unit"]
    sizes = {str(item["name"]): int(item["size"]) for item in transcript["domain"]}
    together = int(unit["max_rows"]) if unit.get("weights", "rows") == "rows" else 1
    budget = _number(transcript["budget"], "rho")
    spent: list[float] = []
    steps: list[tuple[str, float]] = []
    over = False
    apart, set_aside = 0.0, min(claim.threshold_delta, float(transcript["budget"].get("threshold_delta", 0.0)))
    for position, event in enumerate(events):

        def problem(check: str, at: int = position, stage: object = event.get("stage")) -> None:
            problems.append({"event": at, "stage": str(stage), "check": check})

        implied, declared = event_rho(event), _number(event, "rho")
        if declared < implied * (1.0 - _TOLERANCE):
            problem("rho is less than the event's own noise and sensitivity cost")
        if event["kind"] == "gaussian":
            _check_gaussian(event, sizes, together, str(unit["neighbours"]), problem)
        elif event["kind"] == "threshold":
            apart += _check_threshold(event, transcript["domain"], together, unit, problem)
            if apart > set_aside * (1.0 + _TOLERANCE):
                problem("the deltas of thresholds pass what is set aside for them")
        elif event["kind"] == "exponential":
            if _number(event, "candidates") < 1 or _number(event, "score_sensitivity") <= 0:
                problem("a selection needs candidates and a score sensitivity above 0")
            selected = event.get("selected")
            if selected is not None and not 0 <= int(selected) < int(event["candidates"]):
                problem("the selected candidate is not among the candidates")
        spent.append(max(implied, declared))
        steps.append((str(event.get("stage")), spent[-1]))
        if not over and math.fsum(spent) > budget * (1.0 + _TOLERANCE):
            over = True
            problem("the running total passes the budget here")
    return problems, math.fsum(spent), steps


def _check_header(transcript: Mapping[str, Any], claim: Claim, problems: list[dict[str, Any]]) -> None:
    def problem(check: str) -> None:
        problems.append({"event": None, "check": check})

    unit, budget, noise = transcript["unit"], transcript["budget"], transcript["noise"]
    if not str(transcript.get("$schema", "")).startswith("dpsynth.transcript/1"):
        raise _Unpriced("the transcript's schema version is unknown")
    if unit["neighbours"] not in _NEIGHBOURS:
        raise _Unpriced("the transcript's neighbour relation is unknown")
    if unit.get("weights", "rows") not in _WEIGHTS:
        raise _Unpriced("the transcript's weights of rows are unknown")
    if unit["neighbours"] != claim.neighbours:
        problem("the transcript's neighbour relation is not the claim's")
    if unit["name"] != claim.unit:
        problem("the transcript's privacy unit is not the claim's")
    if int(unit["max_rows"]) < claim.max_rows:
        problem("the transcript protects fewer rows per unit than the claim")
    if not unit.get("bounded_by"):
        problem("nothing says how a unit's rows were bounded")
    if _number(budget, "rho") > claim.rho * (1.0 + _TOLERANCE):
        problem("the transcript's budget exceeds the claim's rho")
    if not float(budget["delta"]) <= claim.delta * (1.0 + _TOLERANCE):
        problem("the transcript's delta exceeds the claim's")
    if noise.get("seeded") is not False:
        problem("the noise was seeded, or nothing says that it was not")
    if noise.get("observed") is not False:
        problem("the noise was observed, or nothing says that it was not")
    # Levels come from a threshold on counts, bins from noisy counts of intervals; a table of a column says nothing of its levels.
    finding = [e for e in transcript["events"] if e.get("kind") == "threshold" or "histogram" in e.get("forms", ())]
    found: set[str] = {str(name) for event in finding for clique in event["cliques"] for name in clique}
    for item in transcript["domain"]:
        if item["provenance"] not in ("declared", "dp"):
            problem("a column's domain is neither declared nor paid for")
        elif item["provenance"] == "dp" and str(item["name"]) not in found:
            problem("a column's domain is called dp, but no event finds its levels or bins")


def _check_gaussian(event: Mapping[str, Any], sizes: Mapping[str, int], max_rows: int, neighbours: str, problem: Any) -> None:
    forms, shapes = _forms(event), _shapes(event, sizes)
    if any(name not in sizes for clique in event["cliques"] for name in clique):
        problem("a clique names a column outside the domain")
        return
    if len(shapes) != len(forms):
        raise _Unpriced("an event's shapes and cliques do not fit together")
    if _number(event, "l2_sensitivity") < least_sensitivity(event, sizes, max_rows, neighbours) * (1.0 - _TOLERANCE):
        problem("l2_sensitivity is below what one unit can do to these tables")
    # Intervals of a histogram are its own; everything else has the cells of its tables, and the answers of one error
    # vector one cell each.
    if "histogram" in forms:
        return
    expected = sum(1 if form == "scores" else math.prod(shape) for form, shape in zip(forms, shapes, strict=True))
    if int(_number(event, "cells")) != expected:
        problem("cells is not the product of the sizes")
    for clique, shape in zip(event["cliques"], shapes, strict=True):
        if len(shape) != len(clique) or any(n > sizes[name] for n, name in zip(shape, clique, strict=True)):
            problem("a table is larger than its columns' domain")


def _check_threshold(
    event: Mapping[str, Any], domain: Sequence[Mapping[str, Any]], mass: int, unit: Mapping[str, Any], problem: Any
) -> float:
    """The delta of an event that names values, after a look at its sensitivities and at the column that it made."""
    implied, declared = event_delta(event), _number(event, "delta")
    if declared < implied * (1.0 - _TOLERANCE):
        problem("delta is less than the chance that a unit's own value passes the threshold")
    both = unit["neighbours"] == "replace_one"
    most = mass * _number(event, "scale")
    if _number(event, "l0_sensitivity") < int(unit["max_rows"]) * (2 if both else 1):
        problem("l0_sensitivity is below the number of values that one unit can bring")
    if _number(event, "linf_sensitivity") < most:
        problem("linf_sensitivity is below what one unit can add to a value")
    if _number(event, "l2_sensitivity") < most * (math.sqrt(2.0) if both else 1.0) * (1.0 - _TOLERANCE):
        problem("l2_sensitivity is below what one unit can do to the counts of values")
    named = [str(name) for clique in event["cliques"] for name in clique]
    made = [item for item in domain if str(item["name"]) in named]
    if len(named) != 1 or len(made) != len(named):
        problem("a threshold names the values of one column of the domain")
    elif made[0]["provenance"] != "dp":
        problem("a column's values were found in the records, but its domain is not called dp")
    # Beside the named values there are one for the rest and one for missing.
    elif "selected" not in event or int(made[0]["size"]) > int(event["selected"]) + 2:
        problem("a column has more levels than the threshold named")
    return max(implied, declared)


def _by_stage(steps: Sequence[tuple[str, float]]) -> dict[str, float]:
    out: dict[str, float] = {}
    for stage, rho in steps:
        out[stage] = out.get(stage, 0.0) + rho
    return out


def _result(claim: Claim | None, verdict: Verdict, reason: str, started: float) -> AuditResult:
    return AuditResult(
        name=NAME,
        verdict=verdict,
        value=None,
        interval=(None, None),
        confidence=1.0,
        n=0,
        detectable=None,
        detectable_unit="factor by which any declared cost is too small",
        claim_digest=None if claim is None else claim.digest,
        seconds=time.perf_counter() - started,
        reason=reason,
    )
