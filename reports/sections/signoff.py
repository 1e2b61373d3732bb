"""Waivers, approvals and the lines to sign on paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.wording import NOT_STATED, answer, num


def build(evidence: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    """Waivers with expiry, approvals by role."""
    waivers = [
        {
            "id": ev.text(w.get("id")) or "?",
            "rule": ev.text(w.get("rule")) or "?",
            "applied": answer(w.get("applied")),
            "reason": ev.text(w.get("reason")) or NOT_STATED,
            "expires": ev.text(w.get("expires")) or NOT_STATED,
            **_terms(w),
        }
        for w in ev.records(decision.get("waivers"))
    ]
    approvals = [
        {key: ev.text(item.get(key)) or NOT_STATED for key in ("role", "name", "date")}
        for item in ev.records(ev.at(evidence, "approvals.items"))
    ]
    return {
        "waivers": waivers,
        "approvals": approvals,
        "signatures": ev.strings(ev.at(evidence, "approvals.signatures_required")),
        "roles": num(ev.at(evidence, "approvals.distinct_roles"), NOT_STATED),
        "model_risk": answer(ev.at(evidence, "docs.model_risk_fields_complete"), "filled in", "incomplete"),
    }


def _terms(waiver: Mapping[str, Any]) -> dict[str, str]:
    """What the waiver itself says: why, by whom, up to what."""
    approvers = ", ".join(ev.strings(ev.at(waiver, "terms.approved_by")))
    limit = ev.at(waiver, "terms.max_value")
    return {
        "given_for": ev.text(ev.at(waiver, "terms.reason")) or NOT_STATED,
        "limit": ev.text(limit) or num(limit, ""),
        "ticket": ev.text(ev.at(waiver, "terms.ticket")) or "",
        "requested_by": ev.text(ev.at(waiver, "terms.requested_by")) or NOT_STATED,
        "approved_by": approvers or NOT_STATED,
    }
