"""Advice on a policy that loads: what it forgot, what can never fire, what will surprise its owner.

A policy that cannot be trusted as written is an error of the loader; this module turns that error into the first
finding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.errors import PolicyError
from policies.loader import load, loads
from policies.metrics import AUDIT_NAMES, Kind, metric, to_number
from policies.overlays import TIGHTER
from policies.policy import FAIL_ON, Policy, Rule

# 1 - (1 - 0.975) ** (1 / n): the upper bound of an exact 95 % interval after 0 hits in n attacks.
_TAIL = 0.025


@dataclass(frozen=True)
class Advice:
    """One remark; ``level`` is error (the policy does not load) or warning."""

    level: str
    rule: str | None
    message: str

    def __str__(self) -> str:
        return f"{self.level}: {f'{self.rule}: ' if self.rule else ''}{self.message}"


def lint(policy: Policy | str | os.PathLike[str] | Mapping[str, Any]) -> tuple[Advice, ...]:
    """Everything to say about a policy, a shipped name, a file or a parsed document; empty when there is nothing.

    >>> lint("base")
    ()
    """
    if not isinstance(policy, Policy):
        try:
            policy = loads(policy) if isinstance(policy, Mapping) else load(policy)
        except PolicyError as error:
            return (Advice("error", None, str(error)),)
    return tuple(Advice("warning", rule, message) for rule, message in _remarks(policy))


def _remarks(policy: Policy) -> Iterator[tuple[str | None, str]]:
    metrics = {rule.metric for rule in policy.rules}
    for wanted in ("dp.epsilon", "dp.delta", "dp.unit", "dp.noise_seeded", "label.synthetic"):
        if wanted not in metrics:
            yield None, f"no rule looks at {wanted}"
    if not any(name.startswith("base@") for name in policy.chain):
        yield None, "it does not extend 'base', which has the rules every release needs"
    named = {name.split(".")[2] for name in metrics if name.startswith("audits.results.")} - {"*"}
    if not named:
        yield None, "no rule asks for an audit by name, so a release without audits is not refused for that"
    for section in ("budget", "defaults", "waivers"):
        for term, value in policy.document[section].items():
            if to_number(value) is not None and f"{section}.{term}" not in policy.sources:
                yield None, f"{section}.{term} = {value} has no source; write on whose word under sources"
    for rule in policy.rules:
        yield from ((rule.id, message) for message in _about(rule, policy))


def _about(rule: Rule, policy: Policy) -> Iterator[str]:
    known = metric(rule.metric)
    denies = FAIL_ON.index(rule.severity) >= FAIL_ON.index(policy.fail_on)
    if not denies and rule.id in policy.non_waivable:
        yield f"it takes no waiver, but severity {rule.severity} does not deny"
    if denies and rule.on_missing == rule.on_indeterminate == "pass":
        yield "evidence that is missing or unclear lets it pass without a warning"
    if rule.warn is not None and rule.value is not None and TIGHTER[rule.op](rule.value, rule.warn):
        yield f"it never warns: what is not {rule.op} {rule.warn} fails already"
    limit = to_number(rule.value)
    if limit is not None and rule.op in ("<", "<=") and known.high is not None and limit >= to_number(known.high):  # type: ignore[operator]
        yield "it can never fail: the quantity cannot be larger than the limit"
    if limit is not None and rule.op in (">", ">=") and known.low is not None and limit < to_number(known.low):  # type: ignore[operator]
        yield "it can never fail: the quantity cannot be smaller than the limit"
    if rule.op == "coarser_or_equal" and rule.value == "second":
        yield "it can never fail: no date is finer than a second"
    if known.kind is not Kind.AUDIT:
        return
    name = rule.metric.split(".")[2]
    if name not in AUDIT_NAMES | {"*"}:
        yield f"audit '{name}' is not one of ours; the rule denies until evidence of that name comes"
    if rule.statistic == "ci_upper" and rule.op in ("<", "<=") and limit is not None:
        best = 1 - _TAIL ** (1 / rule.min_attacks) if rule.min_attacks else 1.0
        if best > limit:
            yield f"min_attacks={rule.min_attacks} cannot meet it: 0 hits still leave an upper bound of {best:.3f}"
