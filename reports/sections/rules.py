"""Every rule of the policy with its source, threshold, outcome and, for reviewers, the measured value."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.links import safe_url
from reports.wording import NOT_STATED, SOURCE_KIND, STATUS, anything, limit, metric, num, span, status_of


def build(evidence: Mapping[str, Any], decision: Mapping[str, Any]) -> dict[str, Any]:
    """Rows in order of urgency, then of the policy. An unknown status is shown as indeterminate."""
    rows: list[dict[str, Any]] = []
    order = list(STATUS)
    own = f"{ev.text(ev.at(decision, 'policy.id'))}@{ev.text(ev.at(decision, 'policy.version'))}"
    for finding in ev.records(decision.get("findings")):
        status = status_of(finding)
        result = ev.mapping(ev.at(evidence, ev.metric_path(ev.text(finding.get("metric")) or "")))
        low, high = ev.interval(finding.get("interval") or result.get("interval"))
        n = finding.get("n") if ev.number(finding.get("n")) is not None else result.get("n")
        rows.append(
            {
                "status": STATUS[status],
                "rank": order.index(status),
                "rule": ev.text(finding.get("rule")) or "?",
                "title": ev.text(finding.get("title")) or metric(finding.get("metric")),
                "severity": ev.text(finding.get("severity")) or NOT_STATED,
                "limit": limit(finding),
                "warn": num(finding.get("warn")) if ev.number(finding.get("warn")) is not None else None,
                "value": anything(finding.get("value")),
                "interval": span(low, high),
                "n": num(n) if ev.number(n) is not None else None,
                "message": ev.text(finding.get("message")),
                "origin": origin if (origin := ev.text(finding.get("origin"))) != own else None,
                "waiver": ev.text(finding.get("waiver")),
                "source": source(finding.get("source")),
            }
        )
    rows.sort(key=lambda row: row["rank"])  # stable: the policy's order within a status
    kinds = [(label, sum(1 for r in rows if r["source"]["kind"] == kind)) for kind, label in SOURCE_KIND.items()]
    return {"rows": rows, "kinds": [(label, count) for label, count in kinds if count]}


def source(value: Any) -> dict[str, Any]:
    """Kind, words and a link that is safe to follow, or no link."""
    kind = ev.text(ev.at(value, "kind")) or ""
    return {
        "kind": kind,
        "label": SOURCE_KIND.get(kind, kind or "No source"),
        "text": ev.text(ev.at(value, "text")),
        "url": safe_url(ev.at(value, "url")),
    }
