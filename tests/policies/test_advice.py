"""lint, explain and diff: what a policy's owner and its critics read."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

import pytest

import policies

SOURCE = {"kind": "house", "text": "for the test"}


def mine(*rules: dict[str, Any], **terms: Any) -> policies.Policy:
    base = policies.load("base")
    document = {
        "$schema": "dpsynth.policy/1",
        "policy": "mine",
        "version": "2.0.0",
        "title": "mine",
        "rules": list(rules),
    }
    return policies.loads({**document, "extends": [f"{base.id}#{base.digest}"], **terms})


def rule(name: str, metric: str, op: str, value: Any, **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "title": "a rule",
        "metric": metric,
        "op": op,
        "value": value,
        "severity": "blocker",
        "source": SOURCE,
        **changes,
    }


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (rule("MY-001", "release.attempt", ">=", 0), "it can never fail: the quantity cannot be smaller"),
        (rule("MY-001", "fidelity.tv1.mean", "<=", 1), "it can never fail: the quantity cannot be larger"),
        (rule("MY-001", "schema.date_precision", "coarser_or_equal", "second"), "it can never fail: no date is finer"),
        (rule("MY-001", "audit.my_attack", "<=", 0.1), "audit 'my_attack' is not one of ours"),
        (
            rule("MY-001", "audit.linkability", "<=", 0.05, min_attacks=50),
            "min_attacks=50 cannot meet it: 0 hits still leave an upper bound of 0.071",
        ),
        (
            rule("MY-001", "dp.rho", "<=", 1, on_missing="pass", on_indeterminate="pass"),
            "lets it pass without a warning",
        ),
        (rule("MY-001", "dp.rho", "<=", 1, warn=2), "it never warns: what is not <= 2 fails already"),
    ],
)
def test_lint_warns_of_rules_that_surprise(document: dict[str, Any], message: str) -> None:
    (advice,) = policies.lint(mine(document))
    assert (advice.level, advice.rule) == ("warning", "MY-001")
    assert message in advice.message
    assert str(advice).startswith("warning: MY-001: ")


def test_lint_warns_of_what_a_policy_forgot() -> None:
    advice = policies.lint({"$schema": "dpsynth.policy/1", "policy": "bare", "version": "1.0.0", "title": "bare", "rules": []})
    text = "\n".join(map(str, advice))
    for part in (
        "dp.epsilon",
        "dp.delta",
        "label.synthetic",
        "does not extend 'base'",
        "no rule asks for an audit by name",
    ):
        assert part in text


def test_lint_of_what_does_not_load_is_an_error() -> None:
    (advice,) = policies.lint("no-such-policy")
    assert advice.level == "error"
    assert "is not shipped" in advice.message


def test_lint_notices_a_rule_that_takes_no_waiver_and_does_not_deny() -> None:
    policy = mine(rule("MY-001", "dp.rho", "<=", 1, severity="minor"), waivers={"non_waivable": ["MY-001"]})
    assert "does not deny" in policies.lint(policy)[0].message


def test_every_rule_of_every_shipped_policy_explains_itself() -> None:
    for name in policies.names():
        policy = policies.load(name)
        for each in policy.rules:
            text = policies.explain(policy, each.id)
            assert text.startswith(f"{each.id}  {each.title}\n")
            assert each.source.text in text
            assert f"{each.source.kind}: " in text
            assert "None" not in text


def test_explain_puts_epsilon_and_power_in_words() -> None:
    policy = policies.load("healthcare-public")
    text = policies.explain(policy, "dp-001")
    assert "at most 99.3 % sure; membership advantage at most 0.99" in text
    assert "rule in base@1.0.0; value in healthcare-public@1.0.0" in text
    assert "at least 1000 attacks; 0 hits then leave an upper bound of 0.0037" in policies.explain(policy, "AUD-101")
    assert "waiver     never" in policies.explain(policy, "PUB-001")
    assert "here 10.0" in policies.explain(policy, "BUD-002")
    assert "here a warning" not in text


def test_explain_of_an_unknown_rule_lists_the_known() -> None:
    with pytest.raises(policies.PolicyError, match="has no rule 'ZZ-999'; it has CORE-000, "):
        policies.explain(policies.load("base"), "ZZ-999")


def test_diff_says_what_tightened_loosened_and_moved(now: datetime) -> None:
    base = policies.load("base")
    changed = {
        **{
            "id": "DP-001",
            "title": "Epsilon of this release",
            "metric": "dp.epsilon",
            "op": "<=",
            "severity": "blocker",
            "source": SOURCE,
        },
        "value": 2.0,
        "warn": 1.0,
    }
    policy = mine(changed, rule("MY-001", "dp.rho", "<=", 1), budget={"max_attempts": 1})
    there, back = policies.diff(base, policy, now=now), policies.diff(policy, base, now=now)
    assert [(c.rule, c.direction) for c in there.changes] == [("DP-001", "tightened"), ("MY-001", "added")]
    assert [(c.rule, c.direction) for c in back.changes] == [("DP-001", "loosened"), ("MY-001", "removed")]
    assert there.terms == ("budget.max_attempts: 3 -> 1",)
    assert there.sentence == "mine@2.0.0 has 2 rule(s) unlike base@1.0.0; no past evidence was given"
    reworded = mine({**changed, "value": 10.0, "warn": 5.0, "title": "Epsilon", "source": {**SOURCE, "text": "another"}})
    assert [c.direction for c in policies.diff(base, reworded, now=now).changes] == ["reworded"]
    assert policies.diff(base, base, now=now).changes == ()
    mixed = policies.diff(policies.load("healthcare-public"), policies.load("stats-agency"), now=now)
    assert {c.rule: c.direction for c in mixed.changes}["DP-005"] == "mixed"


def test_diff_replays_past_evidence(evidence: dict[str, Any], now: datetime) -> None:
    past = []
    for i, epsilon in enumerate((0.5, 1.5, 3.0, 4.0)):
        each = copy.deepcopy(evidence)
        each["dp"]["epsilon"] = each["claim"]["epsilon"] = epsilon
        each["dp"]["epsilon_spent"] = epsilon
        each["release"]["id"] = f"r{i}"
        past.append(each)
    strict = mine(rule("MY-001", "dp.epsilon", "<=", 2.0))
    difference = policies.diff(policies.load("base"), strict, past, now=now)
    assert difference.sentence == (
        "of 4 past releases mine@2.0.0 would have refused 2 that base@1.0.0 permitted and permitted 0 that it refused"
    )
    assert [(r.release, r.after, r.rules) for r in difference.replays[2:]] == [
        ("r2", "denied", ("MY-001",)),
        ("r3", "denied", ("MY-001",)),
    ]
    back = policies.diff(strict, policies.load("base"), past, now=now)
    assert back.sentence.endswith("refused 0 that mine@2.0.0 permitted and permitted 2 that it refused")
    assert set(difference.to_dict()) == {"before", "after", "sentence", "changes", "terms", "replays"}
