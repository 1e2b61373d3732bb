"""What every shipped policy must have, whatever its numbers."""

from __future__ import annotations

from typing import Any

import pytest

import policies
from policies.decision import plain

NAMES = policies.names()
REAL = [name for name in NAMES if name != "base" and not name.startswith("demo-")]
# Rules without which nothing leaves, and the severity from which they keep it back.
ALWAYS = {
    "dp.adjacency",
    "dp.delta",
    "dp.epsilon",
    "dp.noise_observed",
    "dp.noise_seeded",
    "dp.recomposed",
    "dp.unit",
    "dp.unprotected_tables",
    "schema.direct_identifiers",
    "schema.domain_provenance",
    "subject.sha256",
    "content.identifier_like_columns",
    "content.luhn_valid_pan_outside_test_bins",
    "budget.ledger",
    "budget.after.epsilon",
    "budget.after.delta",
    "budget.attempt",
    "bundle.public.non_dp_real_statistics",
    "label.synthetic",
    "audits.tier",
    "audits.results.*.verdict",
    "audits.results.recomposition",
    "audits.results.record_replay",
    "audits.results.residual_calibration",
    "audits.results.membership",
    "audits.results.exact_copies",
    "audits.results.direct_identifiers",
}


def test_the_shipped_policies_are_these() -> None:
    assert NAMES == (
        "base",
        "demo-finance",
        "demo-health",
        "finance-internal-test",
        "finance-partner",
        "healthcare-controlled",
        "healthcare-public",
        "stats-agency",
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_policy_denies_on_every_fact_of_the_claim(name: str) -> None:
    denying = {rule.metric for rule in policies.load(name).rules if rule.severity in ("blocker", "critical") and rule.on_false != "warn"}
    assert denying >= ALWAYS


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_policy_needs_no_advice_and_says_where_each_number_comes_from(name: str) -> None:
    policy = policies.load(name)
    assert policies.lint(name) == ()
    for rule in policy.rules:
        assert rule.source.kind in ("law", "guidance", "practice", "house")
        # A number of ours never borrows the name of a law.
        assert rule.source.kind != "law" or any(word in rule.source.text for word in ("CFR", "GDPR"))
        for word in ("anonymous", "compliant", "guaranteed safe"):
            assert word not in f"{rule.title} {rule.hint} {rule.source.text} {policy.title}".lower()


@pytest.mark.parametrize("name", REAL)
def test_policies_for_real_releases_ask_for_the_three_criteria_and_show_distance_only(name: str) -> None:
    policy = policies.load(name)
    for attack in (
        "singling_out",
        "linkability",
        "attribute_inference",
        "anonymeter_singling_out",
        "anonymeter_linkability",
    ):
        (rule,) = [rule for rule in policy.rules if rule.metric == f"audits.results.{attack}"]
        assert (rule.statistic, rule.severity, rule.on_missing) == ("ci_upper", "blocker", "deny")
    assert {rule.op for rule in policy.rules if rule.metric.startswith("similarity.")} == {"report_only"}


def test_thresholds_follow_sensitivity() -> None:
    limits = {name: policies.load(name).rule("AUD-101").value for name in REAL}
    assert limits == {
        "finance-internal-test": 0.09,
        "finance-partner": 0.075,
        "healthcare-controlled": 0.09,
        "healthcare-public": 0.05,
        "stats-agency": 0.05,
    }


def test_what_cannot_be_waived() -> None:
    for name in NAMES:
        held = policies.load(name).non_waivable
        assert held >= {
            "CORE-001",
            "CORE-002",
            "CORE-003",
            "CORE-004",
            "DP-003",
            "DP-006",
            "DP-008",
            "PUB-001",
            "AUD-010",
        }


def test_the_demo_policies_say_what_they_are_for() -> None:
    for name in ("demo-health", "demo-finance"):
        policy = policies.load(name)
        assert "Not a policy for data about anybody" in policy.document["description"]
        assert policy.context == {
            "sector": name.removeprefix("demo-").replace("health", "healthcare"),
            "release": "internal",
            "sensitivity": "low",
            "export": False,
        }


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        ({1: [float("inf"), 1]}, {"1": [None, 1]}),
        (b"x", None),
        ((True, "a"), [True, "a"]),
        (2**70, 2**70),
    ],
)
def test_values_are_written_as_json_can(value: Any, expected: Any) -> None:
    assert plain(value) == expected
