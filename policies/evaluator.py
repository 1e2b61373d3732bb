"""Evidence and a policy in, a ``Decision`` out. Nothing else is read: no clock, no file, no network.

Three values, failing closed: what cannot be judged is indeterminate, and indeterminate does not leave the building
unless the policy says, rule by rule, that it may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

from policies.decision import STATUSES, Decision, Finding, WaiverUse, plain
from policies.errors import PolicyError
from policies.metrics import Reading, readings
from policies.operators import OPERATORS, Unjudgeable
from policies.policy import FAIL_ON, Policy, Rule
from policies.waivers import Waiver, check_unique


@dataclass(frozen=True)
class _Outcome:
    """What a rule said of one reading before the policy weighs it: pass, warn, false, indeterminate or missing."""

    kind: str
    message: str
    reading: Reading


def evaluate(
    evidence: Mapping[str, Any],
    policy: Policy,
    *,
    waivers: Iterable[Waiver] = (),
    now: datetime,
    fail_on: str | None = None,
) -> Decision:
    """Decide whether the release that ``evidence`` describes may leave under ``policy``.

    ``now`` must carry a time zone; waivers run by the UTC day. ``fail_on`` makes lighter failures deny too
    (``"warn"``: any warning does) and never makes heavier ones pass.

    >>> from datetime import UTC, datetime
    >>> from policies import load
    >>> evaluate({}, load("base"), now=datetime(2026, 11, 22, tzinfo=UTC)).verdict
    'indeterminate'
    """
    if not isinstance(evidence, Mapping):
        raise PolicyError("evidence must be a JSON object")
    if now.tzinfo is None:
        raise PolicyError("now must carry a time zone")
    if fail_on is not None and fail_on not in FAIL_ON:
        raise PolicyError(f"fail_on='{fail_on}' must be one of {', '.join(FAIL_ON)}")
    level = min(policy.fail_on, fail_on or policy.fail_on, key=FAIL_ON.index)
    waivers = tuple(waivers)
    check_unique(waivers)
    today = now.astimezone(UTC).date()
    subject = _at(evidence, "subject", "sha256")
    findings = []
    uses: dict[str, WaiverUse] = {}
    for rule in policy.rules:
        finding, judged = _find(rule, evidence, policy, level)
        mine = [waiver for waiver in waivers if waiver.rule == rule.id]
        findings.append(_waive(finding, rule, judged, mine, uses, policy, subject, today))
    for waiver in waivers:
        uses.setdefault(waiver.id, WaiverUse(waiver.id, waiver.rule, False, _unused(waiver, policy), waiver.expires, waiver.terms))
    statuses = {finding.status for finding in findings}
    verdict = "indeterminate" if "indeterminate" in statuses else "denied" if "fail" in statuses else "permitted"
    return Decision(
        permitted=verdict == "permitted",
        verdict=verdict,
        exit_code={"permitted": 0, "denied": 1, "indeterminate": 3}[verdict],
        findings=tuple(findings),
        policy={
            "id": policy.name,
            "version": policy.version,
            "title": policy.title,
            "digest": policy.digest,
            "chain": list(policy.chain),
        },
        release={"id": _text(_at(evidence, "release", "id")), "sha256": _text(_at(evidence, "release", "sha256"))},
        fail_on=level,
        evaluated=now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        waivers=tuple(uses[waiver.id] for waiver in waivers),
    )


def _find(rule: Rule, evidence: Mapping[str, Any], policy: Policy, level: str) -> tuple[Finding, bool]:
    """The finding of one rule, and whether it rests on usable evidence; of several readings the worst speaks."""
    threshold, unknown = _threshold(rule, evidence, policy)
    found = readings(evidence, rule.metric, statistic=rule.statistic, min_attacks=rule.min_attacks, confidence=rule.confidence)
    outcomes = [_Outcome(*unknown, reading) if unknown else _judge(rule, threshold, reading) for reading in found]
    weighed = [(*_weigh(rule, outcome, level), outcome) for outcome in outcomes]
    status, message, worst = min(weighed, key=lambda item: STATUSES.index(item[0]))
    if len(found) > 1 and status not in ("pass", "info"):
        labels = [outcome.reading.label for s, m, outcome in weighed if (s, m) == (status, message)]
        message = f"{message} ({', '.join(labels)})"
    single = worst.reading if len(found) == 1 else None
    public = rule.ref is None or rule.ref.startswith("policy.")
    finding = Finding(
        rule=rule.id,
        title=rule.title,
        severity=rule.severity,
        status=status,
        metric=rule.metric,
        op=rule.op,
        threshold=threshold if public else None,
        value=plain(single.value if single else {reading.label: reading.value for reading in found}),
        message=message,
        source=rule.source,
        statistic=rule.statistic,
        ref=rule.ref,
        warn=rule.warn,
        interval=plain(single.interval) if single else None,
        n=single.n if single else None,
        hint=rule.hint if status not in ("pass", "info") else None,
        origin=rule.origin.get("value", rule.origin.get("rule", "")),
    )
    return finding, worst.kind in ("false", "warn")


def _threshold(rule: Rule, evidence: Mapping[str, Any], policy: Policy) -> tuple[Any, tuple[str, str] | None]:
    """What the rule compares with, or the outcome that follows when that is not known."""
    if rule.ref is None:
        return rule.value, None
    document = {"policy": policy.document} if rule.ref.startswith("policy.") else evidence
    other = readings(document, rule.ref, statistic=None, min_attacks=0, confidence=0)[0]
    if other.problem:
        return None, (
            "missing" if other.missing else "indeterminate",
            f"cannot be compared with {rule.ref}: {other.problem}",
        )
    return other.value, None


def _judge(rule: Rule, threshold: Any, reading: Reading) -> _Outcome:
    if reading.violation and rule.op != "report_only":
        return _Outcome("false", "the audit found a violation of the claim", reading)
    if reading.problem:
        return _Outcome("missing" if reading.missing else "indeterminate", reading.problem, reading)
    check = OPERATORS[rule.op]
    try:
        if broken := list(check(threshold, reading.value)):
            return _Outcome("false", f"must be {rule.op} {rule.ref}" if rule.ref else "; ".join(broken), reading)
        if rule.warn is not None and list(check(rule.warn, reading.value)):
            return _Outcome("warn", f"holds, but a value that is not {rule.op} {rule.warn} deserves a look", reading)
    except Unjudgeable as problem:
        return _Outcome("indeterminate", str(problem), reading)
    return _Outcome("pass", "reported, not judged" if rule.op == "report_only" else "holds", reading)


def _weigh(rule: Rule, outcome: _Outcome, level: str) -> tuple[str, str]:
    """From what was seen to what follows: the rule's effects, then its severity against ``level``."""
    status, message = outcome.kind, outcome.message
    effect = {"missing": rule.on_missing, "indeterminate": rule.on_indeterminate}.get(status)
    if status == "false":
        status = {"deny": "fail", "indeterminate": "indeterminate", "warn": "warn"}[rule.on_false]
        effect = rule.on_indeterminate if status == "indeterminate" else None
    if effect is not None:
        status = {"deny": "indeterminate", "warn": "warn", "pass": "info"}[effect]
        message = message if effect == "deny" else f"{message}; the policy lets this pass"
    if status in ("fail", "indeterminate") and FAIL_ON.index(rule.severity) < FAIL_ON.index(level):
        status, message = "warn", f"{message}; severity {rule.severity} does not deny under this policy"
    if status == "warn" and level == "warn":
        status = "fail" if outcome.kind in ("warn", "false") else "indeterminate"
    if status == "pass" and rule.op == "report_only":
        status = "info"
    return status, message


def _waive(
    finding: Finding,
    rule: Rule,
    judged: bool,
    waivers: Sequence[Waiver],
    uses: dict[str, WaiverUse],
    policy: Policy,
    subject: Any,
    today: date,
) -> Finding:
    if not finding.blocking:
        return finding
    refused = []
    for waiver in waivers:
        why = waiver.refusal(policy, rule, subject=subject, value=finding.value, judged=judged, today=today)
        uses[waiver.id] = WaiverUse(waiver.id, waiver.rule, why is None, why or waiver.remark(today), waiver.expires, waiver.terms)
        if why is None:
            return replace(finding, status="waived", waiver=waiver.id, message=f"{finding.message}; {waiver.remark(today)}")
        refused.append(f"waiver {waiver.id} does not count: {why}")
    return replace(finding, message="; ".join([finding.message, *refused])) if refused else finding


def _unused(waiver: Waiver, policy: Policy) -> str:
    known = any(rule.id == waiver.rule for rule in policy.rules)
    return "not needed: the rule does not keep this release back" if known else f"the policy has no rule {waiver.rule}"


def _at(node: Any, *path: str) -> Any:
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
