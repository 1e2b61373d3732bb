"""The banner: what the policy decided, and why not more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.wording import STATUS, metric, plural, status_of

_BANNER = {
    "permitted": ("good", "Permitted", "permits this release."),
    "denied": ("bad", "Denied", "refuses this release."),
    "indeterminate": (
        "unsure",
        "Indeterminate",
        "cannot decide: evidence is missing or inconclusive. Nothing may leave.",
    ),
}
_BROKEN_TOO = "does not permit this release: a rule is broken, and evidence is missing or inconclusive. Nothing may leave."
EVIDENCE_SCHEMA = "dpsynth.evidence/1"


def build(evidence: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    """Verdict, counts of rules, reasons of a refusal, and contradictions the reader must know first."""
    verdict = ev.text(decision.get("verdict")) or ""
    if verdict not in _BANNER or (verdict == "permitted") != (decision.get("permitted") is True):
        verdict = "indeterminate"  # a decision that contradicts itself permits nothing
    tone, word, tail = _BANNER[verdict]
    policy = {key: ev.text(ev.at(decision, f"policy.{key}")) for key in ("id", "title", "version", "digest")}
    name = f"Policy {policy['id']} {policy['version'] or ''}".strip() if policy["id"] else "The policy"
    findings = ev.records(decision.get("findings"))
    if verdict == "indeterminate" and any(status_of(f) == "fail" for f in findings):
        tail = _BROKEN_TOO
    counts = []
    for status, (label, sign, colour) in STATUS.items():
        count = sum(1 for f in findings if status_of(f) == status)
        if count:
            counts.append(
                {
                    "word": plural(count, "warning").split()[1] if status == "warn" else label.lower(),
                    "sign": sign,
                    "tone": colour,
                    "count": count,
                }
            )
    reasons = [
        {
            "rule": ev.text(f.get("rule")) or "?",
            "title": ev.text(f.get("title")) or metric(f.get("metric")),
            "message": ev.text(f.get("message")),
            "hint": ev.text(f.get("hint")),
            "status": STATUS[status_of(f)],
        }
        for f in findings
        if status_of(f) in ("fail", "indeterminate")
    ]
    return {
        "verdict": verdict,
        "tone": tone,
        "word": word,
        "sentence": f"{name} {tail}",
        "evaluated": ev.text(decision.get("evaluated")),
        "exit_code": ev.text(decision.get("exit_code")),
        "policy": policy,
        "rules": plural(len(findings), "rule"),
        "counts": counts,
        "reasons": reasons,
        "contradictions": _contradictions(evidence, decision, verdict),
    }


def _contradictions(evidence: Mapping[str, Any], decision: Mapping[str, Any], verdict: str) -> list[str]:
    out = []
    if ev.text(decision.get("verdict")) != verdict:
        out.append("The decision contradicts itself or is missing; it is shown as indeterminate.")
    audited, released = ev.text(ev.at(evidence, "subject.sha256")), ev.text(ev.at(evidence, "release.sha256"))
    if audited and released and audited != released:
        out.append("The file that was audited is not the file that is released: their digests differ.")
    if ev.at(evidence, "dp.noise_seeded") is True:
        out.append("The noise was seeded: whoever knows the seed can remove it. There is no privacy guarantee.")
    if ev.at(evidence, "dp.noise_observed") is True:
        out.append("The noise was observed by an audit hook: this run must not be released.")
    if ev.at(evidence, "dp.recomposed") is False:
        out.append("The transcript does not recompose to the claimed privacy loss.")
    schema = ev.text(evidence.get("$schema"))
    if schema != EVIDENCE_SCHEMA:
        out.append(f"The evidence is of {'an unknown version' if schema else 'no stated version'}; parts may be misread.")
    return out
