"""The decision as SARIF 2.1.0, for code-scanning pages: one result per rule that does not simply hold."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from policies.decision import Decision, Finding

# SARIF has kind "open" for evidence that was not enough to decide, but only with level "none", which viewers hide. A
# release that is kept back must be seen, so it is an error that says it is indeterminate.
_LEVELS = {"fail": "error", "indeterminate": "error", "warn": "warning", "waived": "note"}


def render_sarif(decision: Decision, disclosure: str) -> str:
    """Fingerprints depend on policy, rule and release only, so that a page recognises a finding that comes back."""
    shown = [finding for finding in decision.findings if finding.status in _LEVELS]
    policy = decision.policy
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "dpsynth gate",
                "rules": [_rule(finding) for finding in decision.findings],
            }
        },
        "automationDetails": {"id": f"dpsynth-gate/{policy['id']}/"},
        "invocations": [
            {
                "executionSuccessful": decision.verdict != "indeterminate",
                "exitCode": decision.exit_code,
                "endTimeUtc": decision.evaluated,
            }
        ],
        "results": [_result(finding, decision, disclosure) for finding in shown],
        "columnKind": "utf16CodeUnits",
        "properties": {"verdict": decision.verdict, "policyDigest": policy["digest"], "disclosure": disclosure},
    }
    log = {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [run],
    }
    return json.dumps(log, indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def _rule(finding: Finding) -> dict[str, Any]:
    out: dict[str, Any] = {
        "id": finding.rule,
        "name": "".join(word.capitalize() for word in finding.title.split() if word.isalnum()) or finding.rule,
        "shortDescription": {"text": finding.title},
        "fullDescription": {"text": f"{finding.title}. Source ({finding.source.kind}): {finding.source.text}"},
        "defaultConfiguration": {"level": "error" if finding.severity in ("blocker", "critical") else "warning"},
        "properties": {
            "severity": finding.severity,
            "source.kind": finding.source.kind,
            "tags": ["privacy", "release"],
        },
    }
    if finding.source.url:
        out["helpUri"] = finding.source.url
    if finding.hint:
        out["help"] = {"text": finding.hint}
    return out


def _result(finding: Finding, decision: Decision, disclosure: str) -> dict[str, Any]:
    key = f"{decision.policy['id']}|{finding.rule}|{decision.release['sha256']}"
    out: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": [f.rule for f in decision.findings].index(finding.rule),
        "kind": "fail",
        "level": _LEVELS[finding.status],
        "message": {"text": f"{finding.status}: {finding.metric}: {finding.message}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": "evidence.json"}, "region": {"startLine": 1}},
                "logicalLocations": [{"fullyQualifiedName": finding.metric, "kind": "member"}],
            }
        ],
        "partialFingerprints": {"releaseRule/v1": hashlib.sha256(key.encode()).hexdigest()},
        "properties": {"status": finding.status, "severity": finding.severity, "blocking": finding.blocking},
    }
    if finding.status == "waived":
        out["suppressions"] = [{"kind": "external", "status": "accepted", "justification": f"waiver {finding.waiver}"}]
    if disclosure == "reviewer":
        out["properties"] |= {"value": finding.value, "n": finding.n, "interval": finding.interval}
    return out
