"""From a p-value to an answer: the three verdicts are given here and nowhere else among the release audits."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from audits.result import AuditInput, AuditResult, Verdict


def inconclusive(
    name: str, data: AuditInput, started: float, reason: str, *, n: int = 0, details: Mapping[str, Any] | None = None
) -> AuditResult:
    """The answer of an audit that could not be judged, and why."""
    return AuditResult(
        name=name,
        verdict=Verdict.INCONCLUSIVE,
        value=None,
        interval=(None, None),
        confidence=0.95,
        n=n,
        detectable=None,
        detectable_unit="",
        claim_digest=data.claim.digest if data.claim else None,
        seconds=time.perf_counter() - started,
        reason=reason,
        details=dict(details or {}),
    )


def answer(
    name: str,
    data: AuditInput,
    started: float,
    *,
    value: float,
    interval: tuple[float | None, float | None],
    n: int,
    p_value: float | None,
    detectable: float | None,
    unit: str,
    violated: str,
    details: Mapping[str, Any],
) -> AuditResult:
    """VIOLATION if ``p_value`` is at most ``data.alpha``; otherwise NOT_FALSIFIED, provided a violation could have
    been seen at all."""
    if p_value is not None and p_value <= data.alpha:
        verdict, reason = Verdict.VIOLATION, f"{violated} (p = {p_value:.2g})"
    elif detectable is None:
        verdict, reason = Verdict.INCONCLUSIVE, "the cohort is too small to contradict this claim whatever happened"
    else:
        verdict = Verdict.NOT_FALSIFIED
        reason = f"not falsified; would have caught {unit} of {detectable:.3g} in 80 % of cases"
    return AuditResult(
        name=name,
        verdict=verdict,
        value=value,
        interval=interval,
        confidence=0.95,
        n=n,
        detectable=detectable,
        detectable_unit=unit,
        claim_digest=data.claim.digest if data.claim else None,
        seconds=time.perf_counter() - started,
        reason=reason,
        p_value=p_value,
        details=dict(details),
    )


def allowed(data: AuditInput) -> str:
    """What the caps stand for, in words, for the sentence of a violation."""
    if data.claim is None:
        return "strangers of the training table allow (no claim was given)"
    return f"the claim (epsilon {data.claim.epsilon:g}, delta {data.claim.delta:g} per {data.claim.unit}) allows"
