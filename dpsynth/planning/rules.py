"""Which rules of a policy are decided before a record is read: the policy's own evaluator on the facts that are known by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dpsynth.evidence import EVIDENCE_SCHEMA, dictionary
from dpsynth.marginals import Domain
from dpsynth.privacy import PrivacyBudget
from dpsynth.schema import Schema


@dataclass(frozen=True)
class RuleOutcome:
    """What one rule will say: ``pass``, ``warn`` or ``fail``, or ``unknown`` where the release will lack the evidence."""

    rule: str
    title: str
    status: str
    message: str
    hint: str | None


@dataclass(frozen=True)
class RuleForecast:
    """Rules that are decided now, and the number of those that the run decides."""

    policy: str
    outcomes: tuple[RuleOutcome, ...]
    left_to_the_run: int

    @property
    def blocking(self) -> tuple[RuleOutcome, ...]:
        """Outcomes that will keep the release back, whatever the run shows."""
        return tuple(o for o in self.outcomes if o.status in ("fail", "unknown"))


def forecast(
    policy: str, schema: Schema, domain: Domain, budget: PrivacyBudget, *, tier: str = "standard", ledger: Mapping[str, Any] | None = None
) -> RuleForecast:
    """Evaluate ``policy`` on what is known: the claim, the schema and, with ``ledger``, the budget section of the evidence."""
    import policies

    rules = policies.load(policy)
    known = _known(schema, domain, budget, tier, ledger)
    decision = policies.evaluate(known, rules, now=datetime.now(UTC))
    outcomes, left = [], 0
    for finding in decision.findings:
        if not _is_known(known, finding.metric) or (finding.ref is not None and not _ref_known(known, finding.ref)):
            left += 1
        elif finding.status != "info":
            status = "unknown" if finding.status == "indeterminate" else finding.status
            outcomes.append(RuleOutcome(finding.rule, finding.title, status, finding.message, finding.hint))
    return RuleForecast(rules.id, tuple(outcomes), left)


def _known(schema: Schema, domain: Domain, budget: PrivacyBudget, tier: str, ledger: Mapping[str, Any] | None) -> dict[str, Any]:
    unit = schema.unit
    return {
        "$schema": EVIDENCE_SCHEMA,
        "release": {"population": schema.population},
        "dp": {
            "epsilon": float(budget.epsilon),
            "delta": repr(budget.delta),
            "rho": budget.rho,
            "unit": unit.name,
            "max_rows": unit.max_rows,
            "adjacency": f"{schema.neighbours}_unit" if schema.neighbours == "replace_one" else f"{schema.neighbours}_one_unit",
            "population_bound": schema.population_bound,
        },
        "schema": dictionary(schema, domain),
        "audits": {"tier": tier},
        **({} if ledger is None else {"budget": dict(ledger)}),
    }


def _is_known(known: Mapping[str, Any], metric: str) -> bool:
    node: Any = known
    for part in metric.split("."):
        if not isinstance(node, Mapping) or part not in node:
            return False
        node = node[part]
    return True


def _ref_known(known: Mapping[str, Any], ref: str) -> bool:
    return ref.startswith("policy.") or _is_known(known, ref)
