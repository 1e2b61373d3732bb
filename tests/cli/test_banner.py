"""The headline of a release: a broken rule is said even where missing evidence decides the exit code."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

import policies
from dpsynth.cli.outcome import banner

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SHA = "a" * 64


def _rule(id_: str, metric: str, severity: str = "blocker") -> dict[str, Any]:
    source = {"kind": "house", "text": "a test"}
    return {"id": id_, "title": id_, "metric": metric, "op": "<=", "value": 1.0, "severity": severity, "source": source}


@pytest.mark.parametrize(
    ("evidence", "severity", "title", "style", "code"),
    [
        ({"dp": {"epsilon": 1.0, "rho": 1.0}}, "blocker", "RELEASE PERMITTED", "green", 0),
        ({"dp": {"epsilon": 2.0, "rho": 1.0}}, "blocker", "RELEASE DENIED", "red", 1),
        ({"dp": {"epsilon": 1.0}}, "blocker", "RELEASE NOT PERMITTED: EVIDENCE IS INCOMPLETE", "yellow", 3),
        ({"dp": {"epsilon": 2.0}}, "blocker", "RELEASE NOT PERMITTED: RULES ARE BROKEN, AND EVIDENCE IS INCOMPLETE", "red", 3),
        # a light rule that does not hold is no broken rule
        ({"dp": {"epsilon": 2.0}}, "minor", "RELEASE NOT PERMITTED: EVIDENCE IS INCOMPLETE", "yellow", 3),
    ],
)
def test_the_banner_says_what_keeps_the_release_back(evidence: dict[str, Any], severity: str, title: str, style: str, code: int) -> None:
    rules = [_rule("TST-001", "dp.epsilon", severity), _rule("TST-002", "dp.rho")]
    policy = policies.loads({"$schema": "dpsynth.policy/1", "policy": "p", "version": "1.0.0", "title": "p", "rules": rules})
    dp = {"noise_seeded": False, "noise_observed": False, **evidence["dp"]}
    audits = {"results": {"membership": {"verdict": "NOT_FALSIFIED", "n": 10}}, "verdict": "NOT_FALSIFIED"}
    whole = {
        "$schema": "dpsynth.evidence/1",
        "dp": dp,
        "audits": audits,
        "release": {"sha256": SHA, "id": "x"},
        "subject": {"sha256": SHA},
        "content": {"constraint_violations": 0},
    }
    decision = policies.evaluate(whole, policy, now=NOW)
    assert (banner(decision), decision.exit_code) == ((title, style), code)
    assert ("rules are broken too" in policies.render(decision)) == ("RULES ARE BROKEN" in title)
