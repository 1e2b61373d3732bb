"""What evaluation promises beyond single cases: it fails closed, reads no clock, and says nothing it measured."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import policies
from policies.decision import STATUSES

NAMES = ["core", *policies.names()]


def leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        for key, child in node.items():
            yield (*path, key)
            yield from leaves(child, (*path, key))


def change(document: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    out = copy.deepcopy(document)
    node = out
    for part in path[:-1]:
        node = node[part]
    node[path[-1]] = value
    return out


@pytest.mark.parametrize("name", NAMES)
def test_good_evidence_is_permitted(name: str, evidence: dict[str, Any], now: datetime) -> None:
    decision = policies.evaluate(evidence, policies.load(name), now=now)
    assert (decision.permitted, decision.verdict, decision.exit_code) == (True, "permitted", 0)
    assert [finding.rule for finding in decision.findings] == [rule.id for rule in policies.load(name).rules]
    assert sum(decision.counts.values()) == len(decision.findings)
    assert decision.policy["digest"] == policies.load(name).digest


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("empty", [{}, {"$schema": "dpsynth.evidence/1"}, {"dp": None}, {"dp": []}, {"audits": {"results": []}}])
def test_no_evidence_is_never_permitted(name: str, empty: dict[str, Any], now: datetime) -> None:
    decision = policies.evaluate(empty, policies.load(name), now=now)
    assert not decision.permitted
    assert decision.exit_code == 3


@pytest.mark.parametrize("junk", [float("nan"), "NaN", {}, {"verdict": "NOT_FALSIFIED"}, -1e308])
def test_junk_in_any_place_of_the_evidence_never_turns_a_refusal_into_a_permit(junk: Any, evidence: dict[str, Any], now: datetime) -> None:
    policy = policies.load("healthcare-public")
    evidence["dp"]["epsilon"] = evidence["claim"]["epsilon"] = 7.0
    for path in leaves(evidence):
        if path not in (("dp",), ("dp", "epsilon")):
            decision = policies.evaluate(change(evidence, path, junk), policy, now=now)
            assert not decision.permitted
            json.dumps(decision.to_dict(), allow_nan=False)


@pytest.mark.parametrize("junk", [None, float("nan"), "x", {}, []])
def test_every_denying_rule_fails_closed_on_what_it_looks_at(junk: Any, evidence: dict[str, Any], now: datetime) -> None:
    policy = policies.load("finance-partner")
    for rule in policy.rules:
        if "*" in rule.metric or rule.op == "report_only":
            continue
        finding = policies.evaluate(change(evidence, tuple(rule.metric.split(".")), junk), policy, now=now).finding(rule.id)
        tolerated = "pass" in (rule.on_missing, rule.on_indeterminate) or "warn" in (
            rule.on_missing,
            rule.on_indeterminate,
        )
        light = rule.severity not in ("blocker", "critical")
        empty_is_right = junk == [] and rule.metric in (
            "dp.unprotected_tables",
            "content.identifier_like_columns",
            "schema.domain_provenance",
        )
        assert finding.status in ("fail", "indeterminate") or tolerated or light or empty_is_right, rule.id


@settings(max_examples=60, deadline=None)
@given(
    junk=st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["dp", "audits", "results", "epsilon", "verdict", "$schema"]), inner, max_size=4)
        ),
        max_leaves=8,
    )
)
def test_evaluation_never_raises_on_odd_evidence(junk: Any) -> None:
    evidence = junk if isinstance(junk, dict) else {"dp": junk, "audits": junk}
    decision = policies.evaluate(evidence, policies.load("base"), now=datetime(2026, 11, 22, tzinfo=UTC))
    assert not decision.permitted


def test_numpy_numbers_are_numbers(evidence: dict[str, Any], now: datetime) -> None:
    import numpy as np

    evidence["dp"]["epsilon"] = evidence["claim"]["epsilon"] = np.float64(1.0)
    evidence["approvals"]["distinct_roles"] = np.int64(2)
    decision = policies.evaluate(evidence, policies.load("healthcare-public"), now=now)
    assert decision.permitted
    json.dumps(decision.to_dict(), allow_nan=False)


def test_of_several_audits_the_worst_speaks_and_is_named(evidence: dict[str, Any], now: datetime) -> None:
    results = evidence["audits"]["results"]
    results["a_new_one"] = {"verdict": "VIOLATION"}
    results["another"] = {"verdict": "INCONCLUSIVE"}
    results["broken"] = {"verdict": None}
    finding = policies.evaluate(evidence, policies.load("base"), now=now).finding("CORE-001")
    assert finding.status == "fail"
    assert finding.message.endswith("(audits.results.a_new_one.verdict)")


def test_failures_beside_missing_evidence_are_indeterminate_as_3_outranks_1(evidence: dict[str, Any], now: datetime) -> None:
    evidence["dp"]["epsilon"] = evidence["claim"]["epsilon"] = 50.0
    del evidence["label"]
    decision = policies.evaluate(evidence, policies.load("base"), now=now)
    assert (decision.verdict, decision.exit_code) == ("indeterminate", 3)
    assert (decision.counts["fail"], decision.counts["indeterminate"]) == (1, 1)


def test_the_decision_depends_on_nothing_but_its_arguments(evidence: dict[str, Any], now: datetime) -> None:
    before = copy.deepcopy(evidence)
    first, second = (policies.evaluate(evidence, policies.load("base"), now=now).to_dict() for _ in range(2))
    assert first == second
    assert evidence == before
    assert first["evaluated"] == "2026-11-22T12:00:00Z"


def test_the_decision_follows_its_schema(evidence: dict[str, Any], now: datetime) -> None:
    from policies.documents import validate

    del evidence["label"]
    decision = policies.evaluate(evidence, policies.load("base"), now=now)
    for disclosure in ("verdicts", "reviewer"):
        validate(json.loads(json.dumps(decision.to_dict(disclosure))), "decision-1", what="decision")
    assert {"value", "interval", "n"} & set(decision.to_dict("verdicts")["findings"][0]) == set()
    with pytest.raises(policies.PolicyError, match="must be one of verdicts, reviewer"):
        decision.to_dict("all")


def test_waivers_run_by_the_utc_day(evidence: dict[str, Any]) -> None:
    evidence["approvals"]["distinct_roles"] = 0
    waiver = policies.Waiver("W", "GOV-401", "a" * 64, "why", "Ana", ("Bo", "Cy"), "2026-11-01", "2026-11-22")
    policy = policies.load("healthcare-public")

    def verdict(now: datetime) -> str:
        return policies.evaluate(evidence, policy, waivers=[waiver], now=now).verdict

    assert verdict(datetime(2026, 11, 22, 23, 59, tzinfo=UTC)) == "permitted"
    assert verdict(datetime(2026, 11, 23, 0, 0, tzinfo=UTC)) == "denied"
    assert verdict(datetime(2026, 11, 23, 1, 0, tzinfo=timezone(timedelta(hours=2)))) == "permitted"
    assert verdict(datetime(2026, 11, 22, 23, 0, tzinfo=timezone(timedelta(hours=-2)))) == "denied"


def test_waivers_are_accounted_for(evidence: dict[str, Any], now: datetime) -> None:
    evidence["approvals"]["distinct_roles"] = 0

    def waiver(name: str, rule: str, expires: str = "2026-11-25") -> policies.Waiver:
        return policies.Waiver(name, rule, "a" * 64, "why", "Ana", ("Bo", "Cy"), "2026-11-01", expires)

    given_ = [
        waiver("A", "GOV-401", "2026-11-02"),
        waiver("B", "GOV-401"),
        waiver("C", "ZZ-999"),
        waiver("D", "DP-001"),
    ]
    decision = policies.evaluate(evidence, policies.load("healthcare-public"), waivers=given_, now=now)
    assert [(use.id, use.applied) for use in decision.waivers] == [
        ("A", False),
        ("B", True),
        ("C", False),
        ("D", False),
    ]
    reasons = [use.reason for use in decision.waivers]
    assert reasons[0] == "it expired on 2026-11-02"
    assert reasons[1] == "waived by B, which expires on 2026-11-25, in 3 days"
    assert reasons[2] == "the policy has no rule ZZ-999"
    assert reasons[3].startswith("not needed")
    finding = decision.finding("GOV-401")
    assert (finding.status, finding.waiver, finding.blocking) == ("waived", "B", False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e, p, n: policies.evaluate(cast(Any, list(e)), p, now=n), "must be a JSON object"),
        (lambda e, p, n: policies.evaluate(e, p, now=n.replace(tzinfo=None)), "time zone"),
        (lambda e, p, n: policies.evaluate(e, p, now=n, fail_on="never"), "fail_on='never' must be one of"),
        (lambda e, p, n: policies.evaluate(e, p, now=n).finding("ZZ-999"), "no finding for rule 'ZZ-999'"),
        (lambda e, p, n: p.rule("ZZ-999"), "has no rule 'ZZ-999'"),
    ],
)
def test_wrong_arguments_are_errors(call: Callable[..., Any], message: str, evidence: dict[str, Any], now: datetime) -> None:
    with pytest.raises(policies.PolicyError, match=message):
        call(evidence, policies.load("base"), now)


def test_two_waivers_with_one_id_are_refused(evidence: dict[str, Any], now: datetime) -> None:
    waiver = policies.Waiver("W", "GOV-401", "a" * 64, "why", "Ana", ("Bo",), "2026-11-01", "2026-11-22")
    with pytest.raises(policies.PolicyError, match="stands twice"):
        policies.evaluate(evidence, policies.load("base"), waivers=[waiver, waiver], now=now)


def test_fail_on_only_makes_stricter(evidence: dict[str, Any], now: datetime) -> None:
    evidence["dp"]["epsilon"] = evidence["claim"]["epsilon"] = 50.0
    assert policies.evaluate(evidence, policies.load("base"), now=now, fail_on="blocker").fail_on == "critical"
    assert policies.evaluate(evidence, policies.load("base"), now=now, fail_on="minor").fail_on == "minor"


def test_no_finding_says_what_was_measured(evidence: dict[str, Any], now: datetime) -> None:
    # Canaries in every place of the evidence, of the right kind and of the wrong one.
    number, text, policy = 0.7353953, "CANARY", policies.load("healthcare-public")
    for value in (number, [text]):
        for path in leaves(copy.deepcopy(evidence)):
            if path[-1] in ("sha256", "id", "$schema"):
                continue
            document = change(evidence, path, value)
            out = json.dumps(policies.evaluate(document, policy, now=now).to_dict("verdicts"))
            assert text not in out
            assert "7353953" not in out


def test_statuses_are_named_once() -> None:
    assert len(set(STATUSES)) == len(STATUSES) == 6
