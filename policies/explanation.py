"""A rule in words: what it asks, why, on whose word, and what happens when it is not met."""

from __future__ import annotations

import math
from collections.abc import Iterator

from policies.metrics import Kind, metric
from policies.policy import FAIL_ON, Policy, Rule

_KINDS = {
    "law": "the wording of a law or regulation",
    "guidance": "guidance of an authority; not law",
    "practice": "what others in the field do; no authority sets it",
    "house": "our own choice; no authority stands behind the number",
}
_STATISTICS = {
    "ci_upper": "the upper end of the confidence interval: the attack may succeed that often",
    "ci_lower": "the lower end of the confidence interval: the attack succeeds at least that often",
    "value": "the point estimate",
    "verdict": "the verdict of the audit",
}
_EFFECTS = {
    "deny": "keeps the release back",
    "warn": "is a warning",
    "pass": "is let pass",
    "indeterminate": "is indeterminate",
}


def explain(policy: Policy, rule_id: str) -> str:
    """Plain text about one rule of ``policy``, for the person who has to defend or to meet it."""
    return "\n".join(_lines(policy, policy.rule(rule_id))) + "\n"


def _lines(policy: Policy, rule: Rule) -> Iterator[str]:
    known = metric(rule.metric)
    yield f"{rule.id}  {rule.title}"
    yield f"  looks at   {rule.metric}: {known.meaning}"
    if known.kind is Kind.AUDIT:
        yield f"  judges by  {_STATISTICS[str(rule.statistic)]}"
        if rule.statistic != "verdict" and rule.min_attacks:
            bound = 1 - 0.025 ** (1 / rule.min_attacks)
            yield f"  power      at least {rule.min_attacks} attacks; 0 hits then leave an upper bound of {bound:.4f}"
    yield f"  asks       {_asks(rule, policy)}"
    if rule.warn is not None:
        yield f"  warns      when it is not {rule.op} {rule.warn}"
    yield f"  severity   {rule.severity}; this policy denies from {policy.fail_on}"
    denies = FAIL_ON.index(rule.severity) >= FAIL_ON.index(policy.fail_on)
    if not denies:
        yield "  otherwise  it is a warning, whatever happens"
    elif rule.op == "report_only":
        yield f"  otherwise  no evidence {_EFFECTS[rule.on_missing]}"
    else:
        yield (
            f"  otherwise  not met {_EFFECTS[rule.on_false]}; no evidence {_EFFECTS[rule.on_missing]}; "
            f"evidence that cannot be judged {_EFFECTS[rule.on_indeterminate]}"
        )
    yield f"  waiver     {'never' if rule.id in policy.non_waivable else _waiver(policy)}"
    yield f"  source     {rule.source.text}" + (f" <{rule.source.url}>" if rule.source.url else "")
    yield f"             {rule.source.kind}: {_KINDS[rule.source.kind]}"
    if rule.ref and (term := policy.sources.get(rule.ref.removeprefix("policy."))):
        yield f"  the limit  {term.text}" + (f" <{term.url}>" if term.url else "") + f" ({term.kind})"
    yield f"  set by     {'; '.join(f'{part} in {origin}' for part, origin in rule.origin.items())}"
    if rule.hint:
        yield f"  to do      {rule.hint}"
    if rule.metric == "dp.epsilon" and isinstance(rule.value, int | float):
        yield from _epsilon(float(rule.value))


def _asks(rule: Rule, policy: Policy) -> str:
    if rule.op == "report_only":
        return "nothing; the figure is shown to the reviewer"
    if rule.ref is None:
        limit = ", ".join(map(str, rule.value)) or "empty" if isinstance(rule.value, list) else str(rule.value)
        return f"{rule.op.replace('_', ' ')} {limit}"
    term = policy.budget.get(rule.ref.removeprefix("policy.budget.")) if rule.ref.startswith("policy.") else None
    return f"{rule.op} {rule.ref}" + (f", here {term}" if term is not None else "")


def _waiver(policy: Policy) -> str:
    return f"at most {policy.max_waiver_days} days, {policy.min_approvers} approver(s) other than who asks, for one table"


def _epsilon(epsilon: float) -> Iterator[str]:
    """Posterior from a prior of one half, and the largest membership advantage, of a pure epsilon-DP release."""
    posterior = 1 / (1 + math.exp(-epsilon))
    advantage = math.tanh(epsilon / 2)
    yield (
        f"  in words   at {epsilon:g} somebody who thinks 50 % likely that a person is in the data can become at most "
        f"{100 * posterior:.1f} % sure; membership advantage at most {advantage:.2f}; a bound, not what attacks reach"
    )
