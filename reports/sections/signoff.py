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
        "roles": num(ev.at(evidence, "approvals.distinct_roles"), NOT_STATED),
        "model_risk": answer(ev.at(evidence, "docs.model_risk_fields_complete"), "filled in", "incomplete"),
    }
