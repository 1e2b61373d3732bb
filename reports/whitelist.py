"""The public copy of evidence, decision and certificate: every path that may leave is written here, the rest stays.

Audit numbers, fidelity and similarity, messages and measured values of rules, attempts, approvals, timings and the
environment are functions of real records or of the house, and have no line below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from reports import evidence as ev

EVIDENCE = (
    "$schema",
    "tool.name",
    "tool.version",
    "release.id",
    "release.created",
    "release.title",
    "release.dataset",
    "release.population",
    "release.synthesizer",
    "release.rows_source",
    "release.whole_units",
    "release.sha256",
    "release.purpose",
    "release.recipient",
    "subject.sha256",
    "dp.variant",
    "dp.epsilon",
    "dp.delta",
    "dp.rho",
    "dp.unit",
    "dp.max_rows",
    "dp.adjacency",
    "dp.noise_seeded",
    "dp.noise_observed",
    "dp.recomposed",
    "dp.unprotected_tables",
    "dp.unprotected_quantities",
    "dp.accountant",
    "dp.mechanisms",
    "dp.population_bound",
    "dp.libraries.opendp",
    "schema.digest",
    "schema.domain_provenance",
    "schema.date_precision",
    "schema.age_top_code",
    "schema.geo_min_population",
    "schema.relations",
    "budget.ledger",
    "budget.population",
    "budget.unit",
    "budget.cap.epsilon",
    "budget.cap.delta",
    "budget.before.epsilon",
    "budget.before.delta",
    "budget.this.epsilon",
    "budget.this.delta",
    "budget.after.epsilon",
    "budget.after.delta",
    "budget.head",
    "label.synthetic",
    "certificate.signed",
    "certificate.reassess_months",
)
FIELD = ("name", "title", "type", "role", "ordered", "nullable", "provenance", "group")
# the domain of a column is public only where it was declared or paid for
DOMAIN = ("size", "minimum", "maximum", "categories", "bins")
DECISION = ("verdict", "permitted", "exit_code", "policy.id", "policy.title", "policy.version", "policy.digest")
FINDING = (
    "rule",
    "title",
    "severity",
    "status",
    "metric",
    "op",
    "ref",
    "waiver",
    "source.kind",
    "source.text",
    "source.url",
)
CERTIFICATE = ("readable", "signed", "predicate_type", "issued", "reassess_by", "signatures")


def public_evidence(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """A fresh copy that holds nothing but the paths above."""
    out = _copy(evidence, EVIDENCE)
    # under add/remove the true number of rows is private: a count of unknown origin could be it
    if ev.at(evidence, "release.rows_source") in ("caller", "schema", "dp"):
        _put(out, "release.n_rows", ev.at(evidence, "release.n_rows"))
    fields = []
    for field in ev.records(ev.at(evidence, "schema.fields")):
        known = field.get("provenance") in ("declared", "dp", "computed")
        fields.append(_copy(field, (*FIELD, *(DOMAIN if known else ()))))
    if fields:
        out.setdefault("schema", {})["fields"] = fields
    return out


def public_decision(decision: Mapping[str, Any]) -> dict[str, Any]:
    """Verdict, policy and the verdict of each rule. A threshold that is another metric is named, not quoted."""
    out = _copy(decision, DECISION)
    findings = []
    for finding in ev.records(decision.get("findings")):
        # a limit that refers to other evidence could be a measured number; a number written in the policy is public
        written = (ev.text(finding.get("ref")) or "policy.").startswith("policy.")
        findings.append(_copy(finding, (*FINDING, "threshold", "warn") if written else FINDING))
    out["findings"] = findings
    return out


def public_attestation(attestation: Mapping[str, Any]) -> dict[str, Any]:
    """What the certificate says of itself; ``attestation`` is the output of ``reports.attestation.read``."""
    return {key: attestation[key] for key in CERTIFICATE if key in attestation}


def _copy(tree: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for path in paths:
        _put(out, path, ev.at(tree, path))
    return out


def _put(tree: dict[str, Any], path: str, value: Any) -> None:
    if isinstance(value, (list, tuple)):
        value = [item for item in value if _scalar(item)]
    elif not _scalar(value):
        return
    *parents, leaf = path.split(".")
    for key in parents:
        tree = tree.setdefault(key, {})
    tree[leaf] = value


def _scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float))
