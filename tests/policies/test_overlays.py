"""A policy on top of another may tighten anything and loosen nothing; parents are pinned."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

import policies
from policies.errors import PolicyError
from policies.loader import names

SOURCE = {"kind": "house", "text": "for the test"}
EPSILON = {
    "id": "DP-001",
    "title": "epsilon",
    "metric": "dp.epsilon",
    "op": "<=",
    "value": 5.0,
    "severity": "blocker",
    "source": SOURCE,
}


def pin(name: str, path: str | None = None) -> str:
    policy = policies.load(path or name)
    return f"{name}@{policy.version}#{policy.digest}"


def overlay(*rules: dict[str, Any], on: str = "healthcare-public", **terms: Any) -> policies.Policy:
    document = {
        "$schema": "dpsynth.policy/1",
        "policy": "mine",
        "version": "1.0.0",
        "title": "mine",
        "extends": [pin(on)],
        "rules": list(rules),
    }
    return policies.loads({**document, **terms})


def rule(name: str, on: str = "healthcare-public", **changes: Any) -> dict[str, Any]:
    """A rule of a shipped policy as its overlay would restate it."""
    document = next(r for r in policies.load(on).to_dict()["rules"] if r["id"] == name)
    return {key: value for key, value in {**document, **changes}.items() if key != "origin" and value is not None}


TIGHTER = [
    ({**EPSILON, "value": 4.0, "warn": 1.0}, "value"),
    ({**EPSILON, "warn": 0.5}, "warn"),
    ({**EPSILON, "op": "<", "warn": 1.0}, "op"),
    (rule("GOV-401", value=3), "value"),
    (rule("SCH-204", value=100_000), "value"),
    (rule("SCH-202", value="decade"), "value"),
    (rule("DP-005", value=["patient"]), "value"),
    (rule("DP-008", value=["declared"]), "value"),
    (rule("AUD-101", min_attacks=5000), "min_attacks"),
    (rule("AUD-101", confidence=0.99), "confidence"),
    (rule("AUD-111", on_indeterminate="deny"), "on_indeterminate"),
    (rule("SCH-203", on_missing="deny"), "on_missing"),
    (rule("CRT-401", severity="blocker"), "severity"),
    (rule("AUD-190", op="<=", value=0.6, severity="critical"), "value"),
    (rule("CORE-004", on_false="deny"), "on_false"),
]
LOOSER = [
    ({**EPSILON, "value": 5.1, "warn": 1.0}, "value 5.1 is looser than 5.0"),
    ({**EPSILON, "warn": 2.0}, "warn is looser"),
    ({**EPSILON, "metric": "dp.rho", "warn": 1.0}, "metric 'dp.rho' replaces 'dp.epsilon'"),
    ({**EPSILON, "op": ">=", "warn": 1.0}, "op '>=' replaces '<='"),
    ({**EPSILON, "severity": "minor"}, "severity 'minor' is lighter than 'blocker'"),
    (rule("DP-001", value=None, warn=None, op="report_only"), "op 'report_only' replaces '<='"),
    (rule("GOV-401", value=1), "value 1 is looser than 2"),
    (rule("SCH-202", value="month"), "value month is looser than year"),
    (rule("DP-005", value=["patient", "visit"]), "is looser than"),
    (rule("DP-008", value=["declared", "dp", "data"]), "is looser than"),
    (rule("DP-003", value=["visits"]), "is looser than"),
    (rule("LBL-301", value=False), "value False is looser than True"),
    (rule("AUD-101", min_attacks=10), "min_attacks 10 is less than 1000"),
    (rule("AUD-101", confidence=0.5), "confidence 0.5 is less than 0.95"),
    (rule("AUD-101", statistic="value"), "statistic 'value' replaces 'ci_upper'"),
    (rule("AUD-101", on_indeterminate="pass"), "on_indeterminate 'pass' is weaker than 'deny'"),
    (rule("DP-001", on_missing="warn"), "on_missing 'warn' is weaker than 'deny'"),
    (rule("DP-001", on_false="warn"), "on_false 'warn' is weaker than 'deny'"),
    (rule("DP-007", ref="claim.rho"), "what the rule compares with changes"),
    (rule("BUD-002", ref=None, value=10.0), "what the rule compares with changes"),
    (rule("CORE-002", severity="info"), "severity 'info' is lighter"),
]


@pytest.mark.parametrize(("change", "part"), TIGHTER, ids=lambda item: item["id"] if isinstance(item, dict) else item)
def test_an_overlay_may_tighten(change: dict[str, Any], part: str) -> None:
    policy = overlay(change)
    assert policy.rule(change["id"]).origin[part] == "mine@1.0.0"
    assert len(policy.rules) == len(policies.load("healthcare-public").rules)


@pytest.mark.parametrize(("change", "reason"), LOOSER, ids=lambda item: item["id"] if isinstance(item, dict) else item[:20])
def test_an_overlay_may_not_loosen(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(policies.PolicyError) as caught:
        overlay(change)
    assert f"at /rules/0: rule {change['id']} loosens" in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("terms", "reason"),
    [
        ({"budget": {"lifetime_epsilon": 11.0}}, "/budget/lifetime_epsilon: 11.0 is looser than 10.0"),
        ({"budget": {"lifetime_delta": "2e-5"}}, "/budget/lifetime_delta: 2e-5 is looser than 1e-5"),
        ({"budget": {"max_attempts": 4}}, "/budget/max_attempts: 4 is looser than 3"),
        ({"waivers": {"max_days": 365}}, "/waivers/max_days: 365 is looser than 90"),
        ({"waivers": {"min_approvers": 1}}, "/waivers/min_approvers: 1 is looser than 2"),
        ({"defaults": {"min_attacks": 10}}, "/defaults/min_attacks: 10 is looser than 1000"),
        ({"defaults": {"on_indeterminate": "warn"}}, "/defaults/on_indeterminate: warn is looser than deny"),
        ({"defaults": {"fail_on": "blocker"}}, "/defaults/fail_on: blocker is looser than critical"),
    ],
)
def test_terms_may_not_loosen(terms: dict[str, Any], reason: str) -> None:
    with pytest.raises(policies.PolicyError, match=reason):
        overlay(**terms)


def test_terms_may_tighten_and_nothing_leaves_the_list_of_rules_without_waiver() -> None:
    policy = overlay(
        budget={"lifetime_epsilon": 3.0, "lifetime_delta": "1e-06", "max_attempts": 1},
        waivers={"max_days": 0, "min_approvers": 3, "non_waivable": ["GOV-401"]},
        defaults={"fail_on": "major"},
    )
    assert policy.budget == {"lifetime_epsilon": 3.0, "lifetime_delta": "1e-06", "max_attempts": 1}
    assert (policy.max_waiver_days, policy.min_approvers, policy.fail_on) == (0, 3, "major")
    assert policy.non_waivable == policies.load("healthcare-public").non_waivable | {"GOV-401"}


def test_a_new_rule_takes_the_defaults_and_a_restated_one_keeps_what_it_had() -> None:
    new = {**rule("AUD-101"), "id": "MY-001", "metric": "audit.singling_out", "value": 0.01}
    for key in ("min_attacks", "confidence", "statistic", "on_missing", "on_indeterminate", "on_false"):
        del new[key]
    policy = overlay(new, {**EPSILON, "value": 2.0, "warn": 0.5}, defaults={"min_attacks": 2000})
    mine = policy.rule("my-001")
    assert (mine.metric, mine.statistic, mine.min_attacks) == ("audits.results.singling_out", "ci_upper", 2000)
    assert (mine.confidence, mine.on_missing, mine.on_indeterminate, mine.on_false) == (0.95, "deny", "deny", "deny")
    assert policy.rule("AUD-101").min_attacks == 1000  # the default came after it
    assert policy.rule("DP-001").hint  # not restated, so kept


def test_the_effective_view_names_where_each_threshold_came_from(tmp_path: Path) -> None:
    house = tmp_path / "house.json"
    house.write_text(json.dumps(overlay_document("house", [pin("base")], {**EPSILON, "value": 6.0, "warn": 2.0})))
    team = tmp_path / "team.json"
    team.write_text(json.dumps(overlay_document("team", [pin("house.json", str(house))], {**EPSILON, "value": 3.0, "warn": 2.0})))
    view = policies.effective(policies.load(team))
    origin = next(r for r in view["rules"] if r["id"] == "DP-001")["origin"]
    assert (origin["rule"], origin["value"], origin["warn"]) == ("base@1.0.0", "team@1.0.0", "house@1.0.0")
    assert view["chain"] == ["core@1.0.0", "base@1.0.0", "house@1.0.0", "team@1.0.0"]
    assert view["files"] == {"team@1.0.0": str(team), "house@1.0.0": str(house)}
    house.write_text(house.read_text().replace("6.0", "5.5"))
    with pytest.raises(policies.PolicyError, match="it changed since it was reviewed"):
        policies.load(team)


def overlay_document(name: str, extends: list[str], *rules: dict[str, Any]) -> dict[str, Any]:
    return {
        "$schema": "dpsynth.policy/1",
        "policy": name,
        "version": "1.0.0",
        "title": name,
        "extends": extends,
        "rules": list(rules),
    }


def test_several_parents_give_the_tighter_of_each_rule_and_term_in_either_order(tmp_path: Path) -> None:
    strict_attempts = overlay_document("attempts", [pin("base")])
    strict_attempts["budget"] = {"max_attempts": 1}
    (tmp_path / "attempts.json").write_text(json.dumps(strict_attempts))
    third = pin("attempts.json", str(tmp_path / "attempts.json"))
    pins = [pin("healthcare-public"), pin("healthcare-controlled"), third]
    for order in (pins, pins[::-1]):
        policy = policies.loads(overlay_document("both", order), folder=tmp_path)
        assert (policy.rule("DP-001").warn, policy.rule("AUD-101").value, policy.rule("SCH-202").value) == (
            1.0,
            0.05,
            "year",
        )
        assert (policy.budget["lifetime_epsilon"], policy.budget["max_attempts"]) == (10.0, 1)


def test_parents_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    pins = []
    for name, unit in (("one", "patient"), ("two", "customer")):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(overlay_document(name, [pin("base")], rule("DP-005", on="base", value=[unit]))))
        pins.append(pin(f"{name}.json", str(path)))
    with pytest.raises(policies.PolicyError, match="contradict each other in DP-005"):
        policies.loads(overlay_document("both", pins), folder=tmp_path)


def test_a_policy_that_extends_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "loop.json"
    path.write_text(json.dumps(overlay_document("loop", ["./loop.json@1.0.0#sha256:" + "0" * 64])))
    with pytest.raises(policies.PolicyError, match=r"extends itself: loop@1.0.0 > loop@1.0.0"):
        policies.load(path)


def test_a_long_chain_is_refused(tmp_path: Path) -> None:
    extends: list[str] = []
    for i in range(9):
        path = tmp_path / f"p{i}.json"
        path.write_text(json.dumps(overlay_document(f"p{i}", extends)))
        if i < 8:
            extends = [pin(f"p{i}.json", str(path))]
    with pytest.raises(policies.PolicyError, match="stands on more than 8 policies"):
        policies.load(path)


@pytest.mark.parametrize("name", ["core", *names()])
def test_a_saved_effective_policy_is_the_same_policy(name: str, tmp_path: Path) -> None:
    policy = policies.load(name)
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(policy.to_dict(), indent=2))
    again = policies.load(path)
    assert again.digest == policy.digest
    assert again.chain == policy.chain
    assert [dict(r.origin) for r in again.rules] == [dict(r.origin) for r in policy.rules]


def test_the_effective_view_loads_again_and_a_changed_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    view = policies.effective(policies.load("healthcare-public"))
    path.write_text(json.dumps(view))
    assert policies.load(path).digest == view["digest"] == policies.load("healthcare-public").digest
    path.write_text(json.dumps(view).replace("20000", "19999"))
    with pytest.raises(policies.PolicyError, match="it was changed after it was written"):
        policies.load(path)


def test_the_digest_changes_with_any_part() -> None:
    seen = {
        policies.load("healthcare-public").digest,
        overlay().digest,
        overlay({**EPSILON, "value": 4.9, "warn": 1.0}).digest,
    }
    seen |= {overlay(title="other").digest, overlay(version="1.0.1").digest, overlay(budget={"max_attempts": 2}).digest}
    assert len(seen) == 6


def test_changing_a_loaded_policy_does_not_change_the_next_one() -> None:
    first = policies.load("base")
    first.document["rules"][0]["severity"] = "info"
    first.to_dict()["rules"].clear()
    assert policies.load("base").rules[0].severity == "blocker"


def test_a_policy_is_restored_as_it_was_and_never_after_a_change() -> None:
    document = policies.effective(policies.load("healthcare-public"))
    assert policies.restore(document).digest == document["digest"] == policies.loads(document).digest
    # An older core, which today's loader refuses.
    older = copy.deepcopy(document)
    next(rule for rule in older["rules"] if rule["id"] == "CORE-005")["on_missing"] = "pass"
    with pytest.raises(PolicyError, match="changed after it was written"):
        policies.restore(older)
    older["digest"] = policies.Policy({k: v for k, v in older.items() if k not in ("digest", "files")}).digest
    assert policies.restore(older).digest == older["digest"]
    with pytest.raises(PolicyError, match="loosens core"):
        policies.loads(older)
    for name in ("digest", "chain", "defaults", "rules"):
        with pytest.raises(PolicyError, match=r"not an effective one|must have|required"):
            policies.restore({k: v for k, v in document.items() if k != name})
    with pytest.raises(PolicyError, match="not JSON"):
        policies.restore({**document, "title": {1, 2}})


def test_a_limit_below_the_inherited_warning_takes_its_place() -> None:
    """A warning beyond the limit could never be given; one that is said must still be the stricter of the two."""
    rule = {"id": "DP-001", "title": "t", "metric": "dp.epsilon", "op": "<=", "value": 2.0, "severity": "blocker", "source": SOURCE}
    pin = f"base@1.0.0#{policies.load('base').digest}"
    document = {"$schema": "dpsynth.policy/1", "policy": "p", "version": "1.0.0", "title": "t", "extends": [pin], "rules": [rule]}
    assert policies.load("base").rule("DP-001").warn == 5.0
    strict = policies.loads(document)
    assert strict.rule("DP-001").warn is None
    assert policies.loads(policies.effective(strict)).digest == strict.digest
    assert policies.loads({**document, "rules": [{**rule, "value": 7.0}]}).rule("DP-001").warn == 5.0
    assert policies.loads({**document, "rules": [{**rule, "warn": 1.0}]}).rule("DP-001").warn == 1.0
    with pytest.raises(PolicyError, match="warn is looser"):
        policies.loads({**document, "rules": [{**rule, "value": 7.0, "warn": 6.0}]})
