"""A corpus of bad policies, waivers and evidence: each is refused, by a message that says where."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import policies

SOURCE = {"kind": "house", "text": "for the test"}
RULE = {
    "id": "AB-001",
    "title": "a rule",
    "metric": "dp.epsilon",
    "op": "<=",
    "value": 1.0,
    "severity": "blocker",
    "source": SOURCE,
}
AUDIT = {**RULE, "metric": "audits.results.membership"}
POLICY = {"$schema": "dpsynth.policy/1", "policy": "mine", "version": "1.0.0", "title": "mine", "rules": [RULE]}
WAIVER = {
    "id": "W-1",
    "rule": "AB-001",
    "subject_sha256": "a" * 64,
    "reason": "because",
    "requested_by": "Ana",
    "approved_by": ["Bo"],
    "created": "2026-11-01",
    "expires": "2026-11-30",
}
WAIVERS = {"$schema": "dpsynth.waivers/1", "waivers": [WAIVER]}


def rule(without: str | None = None, base: dict[str, Any] = RULE, **changes: Any) -> str:
    return json.dumps({**POLICY, "rules": [{k: v for k, v in {**base, **changes}.items() if k != without}]})


def policy(without: str | None = None, **changes: Any) -> str:
    return json.dumps({k: v for k, v in {**POLICY, **changes}.items() if k != without})


def waiver(without: str | None = None, **changes: Any) -> str:
    return json.dumps({**WAIVERS, "waivers": [{k: v for k, v in {**WAIVER, **changes}.items() if k != without}]})


TEXT = json.dumps(POLICY)
PIN = "base@1.0.0#" + policies.load("base").digest
NOT_JSON: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "is not JSON"),
    "blank": ("  \n", "is not JSON"),
    "cut off": (TEXT[:-5], "is not JSON"),
    "single quotes": (TEXT.replace('"', "'"), "is not JSON"),
    "trailing comma": (TEXT[:-1] + ",}", "is not JSON"),
    "comment": ("// mine\n" + TEXT, "is not JSON"),
    "two documents": (TEXT + TEXT, "is not JSON"),
    "byte-order mark": (b"\xef\xbb\xbf" + TEXT.encode(), "is not JSON"),
    "UTF-16": (TEXT.encode("utf-16"), "is not UTF-8"),
    "Latin-1": (TEXT.replace("a rule", "une règle").encode("latin-1"), "is not UTF-8 at byte"),
    "control character": (TEXT.replace("a rule", "a \x01 rule"), "is not JSON"),
    "lone surrogate": (TEXT.replace("a rule", "a \\ud800 rule"), "at /rules/0/title: a lone surrogate"),
    "duplicate key on top": (TEXT[:-1] + ', "policy": "other"}', "at /: duplicate key 'policy'"),
    "duplicate key in a rule": (
        TEXT.replace('"value": 1.0', '"value": 1.0, "value": 9.0'),
        "at /rules/0: duplicate key 'value'",
    ),
    "duplicate key in what a duplicate replaced": ('{"a": {"b": 1, "b": 2}, "a": 1}', "duplicate key"),
    "NaN": (TEXT.replace("1.0,", "NaN,"), "at /rules/0/value: not a finite number"),
    "Infinity": (TEXT.replace("1.0,", "Infinity,"), "at /rules/0/value: not a finite number"),
    "minus Infinity": (TEXT.replace("1.0,", "-Infinity,"), "at /rules/0/value: not a finite number"),
    "a float beyond floats": (TEXT.replace("1.0,", "1e999,"), "at /rules/0/value: not a finite number"),
    "an integer of 5000 digits": (TEXT.replace("1.0,", "9" * 5000 + ","), "at /rules/0/value: not a finite number"),
    "10 MB": (TEXT[:-1] + " " * 10_000_000 + "}", "at most 1000000 are read"),
    "nested 40 deep": ('{"a":' * 40 + "1" + "}" * 40, "nested deeper than 32"),
    "nested 100,000 deep": ("[" * 100_000 + "]" * 100_000, "nested deeper than 32"),
}
BAD_POLICIES: dict[str, tuple[str, str]] = {
    "a list": ("[]", "at /: .* is not of type 'object'"),
    "null": ("null", "at /: None is not of type 'object'"),
    "no schema": (policy(without="$schema"), "'\\$schema' is a required property"),
    "a later schema": (policy(**{"$schema": "dpsynth.policy/2"}), "at /\\$schema"),
    "unknown key": (policy(rulez=[]), "'rulez' was unexpected"),
    "remote reference": (policy(**{"$ref": "https://example.org/policy.json"}), "'\\$ref' was unexpected"),
    "no name": (policy(without="policy"), "'policy' is a required property"),
    "name with a path": (policy(policy="../mine"), "at /policy"),
    "version of two parts": (policy(version="1.0"), "at /version"),
    "no rules": (policy(without="rules"), "'rules' is a required property"),
    "rules as object": (policy(rules={}), "at /rules"),
    "default unknown": (policy(defaults={"on_missing": "ignore"}), "at /defaults/on_missing"),
    "default denies nothing": (policy(defaults={"fail_on": "never"}), "at /defaults/fail_on"),
    "default looser than core": (
        policy(defaults={"on_missing": "pass"}),
        "at /defaults/on_missing: pass is looser than deny",
    ),
    "fails on blockers only": (
        policy(defaults={"fail_on": "blocker"}),
        "at /defaults/fail_on: blocker is looser than critical",
    ),
    "delta as number": (policy(budget={"lifetime_delta": 1e-6}), "at /budget/lifetime_delta"),
    "delta with a comma": (policy(budget={"lifetime_delta": "1,5e-6"}), "at /budget/lifetime_delta"),
    "budget zero": (policy(budget={"lifetime_epsilon": 0}), "at /budget/lifetime_epsilon"),
    "budget resets": (policy(budget={"reset": "monthly"}), "'reset' was unexpected"),
    "waivers by nobody": (policy(waivers={"min_approvers": 0}), "at /waivers/min_approvers"),
    "non-waivable rule that is not there": (policy(waivers={"non_waivable": ["ZZ-999"]}), "there is no rule ZZ-999"),
    "rule twice": (policy(rules=[RULE, RULE]), "at /rules/1/id: rule AB-001 stands twice"),
    "rule without source": (rule(without="source"), "at /rules/0: 'source' is a required property"),
    "rule without severity": (rule(without="severity"), "'severity' is a required property"),
    "rule without value": (rule(without="value"), "at /rules/0"),
    "rule with value and ref": (rule(ref="claim.epsilon"), "at /rules/0"),
    "rule with an unknown key": (rule(valeu=2), "'valeu' was unexpected"),
    "rule id in small letters": (rule(id="ab-001"), "at /rules/0/id"),
    "severity unknown": (rule(severity="fatal"), "at /rules/0/severity"),
    "operator unknown": (rule(op="!="), "at /rules/0/op"),
    "source kind unknown": (rule(source={"kind": "rumour", "text": "x"}), "at /rules/0/source/kind"),
    "source text empty": (rule(source={"kind": "law", "text": ""}), "at /rules/0/source/text"),
    "source address not https": (rule(source={**SOURCE, "url": "javascript:alert(1)"}), "at /rules/0/source/url"),
    "metric unknown": (
        rule(metric="dp.epsilom"),
        "at /rules/0/metric: metric 'dp.epsilom' is unknown; did you mean 'dp.epsilon'",
    ),
    "metric of the policy": (rule(metric="policy.budget.max_attempts"), "at /rules/0/metric: .* use it as ref"),
    "metric is a star": (rule(metric="*"), "at /rules/0/metric: metric '\\*' is unknown"),
    "metric starred where no star is": (rule(metric="dp.*"), "at /rules/0/metric: metric 'dp.\\*' is unknown"),
    "ref unknown": (rule(without="value", ref="claim.epsilom"), "at /rules/0/ref: metric 'claim.epsilom' is unknown"),
    "ref of another kind": (rule(without="value", ref="label.synthetic"), "at /rules/0/ref: .* cannot be compared"),
    "ref to an audit": (rule(without="value", ref="audits.results.membership"), "at /rules/0/ref"),
    "ref to a term the policy does not set": (
        rule(without="value", ref="policy.budget.max_attempts"),
        "which the policy does not set",
    ),
    "limit is text": (rule(value="small"), "at /rules/0/value"),
    "limit is true": (rule(value=True), "at /rules/0/value"),
    "limit is a list": (rule(value=[1]), "at /rules/0/value"),
    "warning is text": (rule(warn="soon"), "at /rules/0/warn"),
    "warning on a flag": (rule(metric="label.synthetic", op="==", value=True, warn=1), "at /rules/0"),
    "flag equals 1": (rule(metric="label.synthetic", op="==", value=1), "at /rules/0/value: it cannot be compared"),
    "number in a set of text": (rule(op="in", value=["small"]), "at /rules/0/value: it cannot be compared"),
    "empty set": (rule(metric="dp.unit", op="in", value=[]), "at /rules/0/value"),
    "set of text for in": (rule(metric="dp.unit", op="in", value="person"), "at /rules/0/value"),
    "order of text": (rule(metric="dp.unit"), "at /rules/0/op: '<=' cannot judge 'dp.unit', which is a text"),
    "subset of a number": (rule(op="subset_of", value=[1]), "at /rules/0/op"),
    "granularity unknown": (
        rule(metric="schema.date_precision", op="coarser_or_equal", value="fortnight"),
        "at /rules/0/value",
    ),
    "granularity of a number": (rule(op="coarser_or_equal", value="year"), "at /rules/0/op"),
    "report_only with a value": (rule(op="report_only"), "at /rules/0"),
    "statistic of what is no audit": (rule(statistic="value"), "at /rules/0/statistic: only a rule about an audit"),
    "min_attacks of what is no audit": (rule(min_attacks=5), "at /rules/0/min_attacks"),
    "verdict with an order": (rule(base=AUDIT, statistic="verdict"), "at /rules/0/statistic"),
    "figure with a set": (
        rule(base=AUDIT, op="in", value=["NOT_FALSIFIED"], statistic="value"),
        "at /rules/0/statistic",
    ),
    "violation allowed": (
        rule(base=AUDIT, op="in", value=["NOT_FALSIFIED", "VIOLATION"]),
        "at /rules/0/value: a VIOLATION",
    ),
    "verdict unknown": (rule(base=AUDIT, op="in", value=["PASSED"]), "at /rules/0/value: it cannot be compared"),
    "unknown audit that may be absent": (
        rule(base=AUDIT, metric="audits.results.my_audit", on_missing="pass"),
        "at /rules/0/on_missing",
    ),
    "confidence one": (rule(base=AUDIT, confidence=1), "at /rules/0/confidence"),
    "attacks negative": (rule(base=AUDIT, min_attacks=-1), "at /rules/0/min_attacks"),
    "extends without version": (policy(extends=["base"]), "at /extends/0"),
    "extends without digest": (policy(extends=["base@1.0.0"]), "has no digest; .* write base@1.0.0#sha256:"),
    "extends another version": (policy(extends=[PIN.replace("1.0.0", "1.0.1")]), "has version 1.0.0, not 1.0.1"),
    "extends another digest": (policy(extends=["base@1.0.0#sha256:" + "0" * 64]), "changed since it was reviewed"),
    "extends what is not shipped": (
        policy(extends=["bass@1.0.0"]),
        "policy 'bass' is not shipped; did you mean 'base'",
    ),
    "extends a missing file": (policy(extends=["./no.json@1.0.0"]), "is not a file"),
    "extends a remote policy": (policy(extends=["https://example.org/base.json@1.0.0"]), "is remote"),
    "extends a network share": (policy(extends=["//host/base.json@1.0.0"]), "is remote"),
    "core rule loosened": (
        rule(id="CORE-002", metric="dp.noise_seeded", op="==", value=False, severity="minor"),
        "rule CORE-002 loosens core@1.0.0: severity 'minor' is lighter than 'blocker'",
    ),
}
BAD_WAIVERS: dict[str, tuple[str, str]] = {
    "a list": (json.dumps([WAIVER]), "is not of type 'object'"),
    "no schema": (json.dumps({"waivers": []}), "'\\$schema' is a required property"),
    "no expiry": (waiver(without="expires"), "at /waivers/0: 'expires' is a required property"),
    "expiry is a number": (waiver(expires=20261130), "at /waivers/0/expires"),
    "expiry is null": (waiver(expires=None), "at /waivers/0/expires"),
    "no reason": (waiver(reason="  "), "at /waivers/0/reason"),
    "nobody approved": (waiver(approved_by=[]), "at /waivers/0/approved_by"),
    "approver without name": (waiver(approved_by=[" "]), "at /waivers/0/approved_by/0"),
    "approver is text": (waiver(approved_by="Bo"), "at /waivers/0/approved_by"),
    "all rules": (waiver(rule="*"), "at /waivers/0/rule"),
    "all tables": (waiver(subject_sha256="*"), "at /waivers/0/subject_sha256"),
    "cap is text": (waiver(max_value="much"), "at /waivers/0/max_value"),
    "cap is NaN": (waiver(max_value=0.5).replace("0.5", "NaN"), "at /waivers/0/max_value: not a finite number"),
    "unknown key": (waiver(approver="Cy"), "'approver' was unexpected"),
    "twice the same id": (json.dumps({**WAIVERS, "waivers": [WAIVER, WAIVER]}), "waiver 'W-1' stands twice"),
}


def _write(folder: Path, text: str | bytes) -> Path:
    path = folder / "document.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


@pytest.mark.parametrize("name", NOT_JSON)
@pytest.mark.parametrize("reader", [policies.load, policies.load_waivers], ids=["policy", "waivers"])
def test_what_is_not_strict_json_is_refused(tmp_path: Path, name: str, reader: Callable[[Path], Any]) -> None:
    text, message = NOT_JSON[name]
    with pytest.raises(policies.PolicyError, match=message):
        reader(_write(tmp_path, text))


@pytest.mark.parametrize("name", BAD_POLICIES)
def test_a_bad_policy_is_refused_by_loader_and_linter(tmp_path: Path, name: str) -> None:
    text, message = BAD_POLICIES[name]
    path = _write(tmp_path, text)
    with pytest.raises(policies.PolicyError, match=message) as caught:
        policies.load(path)
    assert str(path) in str(caught.value) or "extends" in name or "non-waivable" in name
    assert [(advice.level, advice.message) for advice in policies.lint(path)] == [("error", str(caught.value))]


@pytest.mark.parametrize("name", BAD_WAIVERS)
def test_a_bad_waiver_file_is_refused(tmp_path: Path, name: str) -> None:
    text, message = BAD_WAIVERS[name]
    with pytest.raises(policies.PolicyError, match=message):
        policies.load_waivers(_write(tmp_path, text))


def test_the_documents_that_the_corpus_bends_are_good(tmp_path: Path) -> None:
    assert policies.load(_write(tmp_path, TEXT)).rule("AB-001").value == 1.0
    assert policies.load_waivers(_write(tmp_path, json.dumps(WAIVERS)))[0].approved_by == ("Bo",)
    assert policies.loads(policy(extends=[PIN])).rule("DP-002").value == "1e-6"


def test_the_corpus_is_large_enough() -> None:
    assert len(BAD_POLICIES) + len(BAD_WAIVERS) + len(NOT_JSON) >= 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "must be a JSON object"),
        ("{}", "at /\\$schema"),
        ('{"$schema": "dpsynth.evidence/9"}', "at /\\$schema"),
        ('{"$schema": "dpsynth.evidence/1", "dp": {"epsilon": NaN}}', "at /dp/epsilon: not a finite number"),
        ('{"$schema": "dpsynth.evidence/1", "dp": {"epsilon": 9, "epsilon": 1}}', "at /dp: duplicate key 'epsilon'"),
        ('{"$schema": "dpsynth.evidence/1", "pad": "' + " " * 10_000_000 + '"}', "at most 8000000 are read"),
    ],
)
def test_bad_evidence_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(policies.PolicyError, match=message):
        policies.load_evidence(_write(tmp_path, text))


def test_what_is_not_a_plain_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(policies.PolicyError, match="is not a file"):
            policies.load_evidence(path)
    fifo = tmp_path / "fifo.json"
    os.mkfifo(fifo)
    with pytest.raises(policies.PolicyError, match="is not a file"):
        policies.load(fifo)


def test_errors_about_evidence_do_not_quote_it(tmp_path: Path) -> None:
    for text in ('{"$schema": "SECRET"}', '{"a": "SECRET", "b": NaN}', '{"a": "SECRET" "b"}', '["SECRET"]'):
        with pytest.raises(policies.PolicyError) as caught:
            policies.load_evidence(_write(tmp_path, text))
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_parsed_document_goes_through_the_same_checks() -> None:
    document: dict[str, Any] = copy.deepcopy(POLICY)
    document["rules"][0]["value"] = float("nan")
    with pytest.raises(policies.PolicyError, match="not JSON"):
        policies.loads(document)
    document["rules"][0]["value"] = {1, 2}
    with pytest.raises(policies.PolicyError, match="not JSON"):
        policies.loads(document)
