"""The corpus of bad policies, waivers and evidence through the command line: each fails closed, with its code and the place.

2: the document cannot be trusted as written. 3: it can be read, and what a rule needs is missing or unusable. 1: a rule
does not hold. Nothing here is ever permitted, and nothing measured is quoted.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

import policies
from tests.cli.conftest import CANARY, Run
from tests.policies.test_bad_documents import BAD_POLICIES, BAD_WAIVERS, NOT_JSON

CASES = Path(__file__).parents[1] / "policies" / "cases"
GOOD = CASES / "evidence-good.json"
POLICY = "healthcare-public"
# Where something is wrong: a JSON pointer, or what stands for one where the text is no JSON.
PLACE = re.compile(r" at (/|line \d|byte \d)|bytes; at most|nested deeper|at /waivers")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def _write(folder: Path, text: str | bytes, name: str = "document.json") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    return path


class _Stopped(datetime):
    """A clock that shows no midnight between a waiver and its use."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return NOON.astimezone(tz)


@pytest.fixture(autouse=True)
def the_same_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dpsynth.cli.gate.datetime", _Stopped)


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    return json.loads(GOOD.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def test_the_good_evidence_is_permitted(run: Run) -> None:
    assert run("gate", GOOD, "--policy", POLICY).code == 0


def test_the_corpus_has_at_least_60_documents() -> None:
    assert len(NOT_JSON) * 3 + len(BAD_POLICIES) + len(BAD_WAIVERS) + len(EVIDENCE) + len(WAIVED) + len(OTHER) >= 200


@pytest.mark.parametrize("name", NOT_JSON)
@pytest.mark.parametrize("what", ["policy", "waivers", "evidence"])
def test_what_is_not_strict_json(run: Run, tmp_path: Path, name: str, what: str) -> None:
    text, _ = NOT_JSON[name]
    bad = _write(tmp_path, text)
    arguments = {
        "policy": (GOOD, "--policy", bad),
        "waivers": (GOOD, "--policy", POLICY, "--waivers", bad),
        "evidence": (bad, "--policy", POLICY),
    }
    done = run("gate", *arguments[what])
    if what == "evidence" and name == "10 MB":
        assert "at most 8000000" in done.err
    assert (done.code, done.out) == (2, "")
    assert PLACE.search(done.err) or "duplicate key" in done.err, done.err


@pytest.mark.parametrize("name", BAD_POLICIES)
def test_a_bad_policy(run: Run, tmp_path: Path, name: str) -> None:
    text, message = BAD_POLICIES[name]
    path = _write(tmp_path, text)
    for arguments in (("gate", GOOD, "--policy", path), ("policy", "lint", path), ("policy", "diff", "base", path)):
        done = run(*arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert re.search(message, done.err), done.err
        assert PLACE.search(done.err) or "rule " in done.err, done.err


@pytest.mark.parametrize("name", BAD_WAIVERS)
def test_a_bad_waiver_file(run: Run, tmp_path: Path, name: str) -> None:
    text, message = BAD_WAIVERS[name]
    done = run("gate", GOOD, "--policy", POLICY, "--waivers", _write(tmp_path, text))
    assert (done.code, done.out) == (2, "")
    assert re.search(message, done.err)
    assert PLACE.search(done.err) or "stands twice" in done.err, done.err


def _loop(folder: Path) -> Path:
    """Two policies that extend each other; whichever digest is written, it cannot be the right one."""
    for name, other in (("a", "b"), ("b", "a")):
        document = {"$schema": "dpsynth.policy/1", "policy": name, "version": "1.0.0", "title": name, "rules": []}
        pin = f"./{other}.json@1.0.0#sha256:{'0' * 64}"
        _write(folder, json.dumps({**document, "extends": [pin]}), f"{name}.json")
    return folder / "a.json"


OTHER: dict[str, tuple[Callable[[Path], tuple[object, ...]], str]] = {
    "YAML by name": (lambda d: ("gate", GOOD, "--policy", _write(d, "policy: mine\n", "mine.yaml")), "is not JSON|not shipped"),
    "YAML in a JSON file": (lambda d: ("gate", GOOD, "--policy", _write(d, "policy: &a mine\nrules: *a\n")), "is not JSON"),
    "YAML that is JSON but for an anchor": (lambda d: ("gate", GOOD, "--policy", _write(d, '{"policy": &a "x"}')), "is not JSON"),
    "a policy that extends itself": (lambda d: ("gate", GOOD, "--policy", _loop(d)), "extends itself|a@1.0.0"),
    "a remote policy": (lambda d: ("gate", GOOD, "--policy", "https://example.org/p.json"), "is not a file"),
    "a misspelt policy": (lambda d: ("gate", GOOD, "--policy", "healthcare-pubic"), "did you mean 'healthcare-public'"),
    "a folder as policy": (lambda d: ("gate", GOOD, "--policy", f"{d}/"), "is not a file"),
    "a folder as waivers": (lambda d: ("gate", GOOD, "--policy", POLICY, "--waivers", d), "is not a file"),
    "no evidence": (lambda d: ("gate", d / "none.json", "--policy", POLICY), "is not a file"),
    "a bundle without evidence": (lambda d: ("gate", d, "--policy", POLICY), "is not a file"),
    "evidence of another version": (
        lambda d: ("gate", _write(d, '{"$schema": "dpsynth.evidence/2"}'), "--policy", POLICY),
        r"at /\$schema",
    ),
    "evidence that is a list": (lambda d: ("gate", _write(d, "[]"), "--policy", POLICY), "must be a JSON object"),
    "case file without cases": (lambda d: ("policy", "test", _write(d, '{"$schema": "dpsynth.policy-case/1"}')), "at /: "),
    "case file with an unknown verdict": (
        lambda d: (
            "policy",
            "test",
            _write(
                d,
                '{"$schema": "dpsynth.policy-case/1", "description": "x", "policy": "base", "evidence": {},'
                ' "cases": [{"description": "x", "verdict": "fine"}]}',
            ),
        ),
        "at /cases/0/verdict",
    ),
    "no case file": (lambda d: ("policy", "test", d), "no case file"),
    "past evidence that is damaged": (
        lambda d: ("policy", "diff", "base", POLICY, "--evidence", _write(d, '{"$schema": NaN}')),
        r"at /\$schema",
    ),
    "a rule that is not there": (lambda d: ("policy", "explain", POLICY, "ZZ-999"), "ZZ-999"),
}


@pytest.mark.parametrize("name", OTHER)
def test_other_documents_that_cannot_be_trusted(run: Run, tmp_path: Path, name: str) -> None:
    make, message = OTHER[name]
    done = run(*make(tmp_path))
    assert (done.code, done.out) == (2, ""), done.err
    assert re.search(message, done.err), done.err


# --- evidence that is JSON, and lies or lacks

GONE = object()
SHA = "f" * 64
_AUDIT: dict[str, Any] = {
    "verdict": "NOT_FALSIFIED",
    "value": 0.01,
    "interval": [0.0, 0.02],
    "confidence": 0.99,
    "n": 5000,
    "claim_digest": "c" * 64,
}
# what is changed, the exit code, and the metric that the answer names
EVIDENCE: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing at all": ({"*": GONE}, 3, "dp.epsilon"),
    "the digest of another table": ({"subject.sha256": SHA}, 3, "subject.sha256"),
    "no digest": ({"subject.sha256": GONE}, 3, "subject.sha256"),
    "digest null": ({"release.sha256": None}, 3, "release.sha256"),
    "digest is a number": ({"release.sha256": 1, "subject.sha256": 1}, 3, "release.sha256"),
    "release is a list": ({"release": []}, 3, "release.sha256"),
    "dp is text": ({"dp": CANARY}, 3, "dp.epsilon"),
    "dp is a list": ({"dp": [{"epsilon": 1}]}, 3, "dp.epsilon"),
    "no epsilon": ({"dp.epsilon": GONE}, 3, "dp.epsilon"),
    "epsilon is text": ({"dp.epsilon": CANARY}, 3, "dp.epsilon"),
    "epsilon is true": ({"dp.epsilon": True}, 3, "dp.epsilon"),
    "epsilon is below zero": ({"dp.epsilon": -1}, 3, "dp.epsilon"),
    "epsilon is a list": ({"dp.epsilon": [1]}, 3, "dp.epsilon"),
    "epsilon is an object with a verdict": ({"dp.epsilon": {"verdict": "NOT_FALSIFIED"}}, 3, "dp.epsilon"),
    "epsilon too large": ({"dp.epsilon": 5.000001, "claim.epsilon": 5.000001}, 1, "dp.epsilon"),
    "epsilon in another digit": ({"dp.epsilon": "५"}, 3, "dp.epsilon"),
    "delta with a comma": ({"dp.delta": "1,0e-7"}, 3, "dp.delta"),
    "delta is one": ({"dp.delta": 1}, 1, "dp.delta"),
    "delta above one": ({"dp.delta": "2"}, 3, "dp.delta"),
    "noise seeded": ({"dp.noise_seeded": True}, 1, "dp.noise_seeded"),
    "noise seeded is text": ({"dp.noise_seeded": "false"}, 3, "dp.noise_seeded"),
    "noise seeded is zero": ({"dp.noise_seeded": 0}, 3, "dp.noise_seeded"),
    "noise seed unknown": ({"dp.noise_seeded": GONE}, 3, "dp.noise_seeded"),
    "noise watchers unknown": ({"dp.noise_observed": GONE}, 3, "dp.noise_observed"),
    "broken relations unknown": ({"content.constraint_violations": GONE}, 3, "content.constraint_violations"),
    "a broken relation": ({"content.constraint_violations": 1}, 1, "content.constraint_violations"),
    "an audit of an unknown claim": ({"audits.results.membership.claim_digest": GONE}, 3, "audits.results.*.claim_digest"),
    "noise watched": ({"dp.noise_observed": True}, 1, "dp.noise_observed"),
    "unit is a row": ({"dp.unit": "row"}, 1, "dp.unit"),
    "unit in capitals": ({"dp.unit": "PERSON"}, 1, "dp.unit"),
    "unprotected tables is null": ({"dp.unprotected_tables": None}, 3, "dp.unprotected_tables"),
    "unprotected tables": ({"dp.unprotected_tables": ["totals"]}, 1, "dp.unprotected_tables"),
    "domain from the data": ({"schema.domain_provenance": ["declared", "data"]}, 1, "schema.domain_provenance"),
    "domain provenance is text": ({"schema.domain_provenance": "declared"}, 3, "schema.domain_provenance"),
    "exact dates": ({"schema.date_precision": "day"}, 1, "schema.date_precision"),
    "dates of an unknown kind": ({"schema.date_precision": "fortnight"}, 3, "schema.date_precision"),
    "direct identifiers": ({"schema.direct_identifiers": 1}, 1, "schema.direct_identifiers"),
    "no audits": ({"audits": GONE}, 3, "audits.results"),
    "audits is a list": ({"audits.results": []}, 3, "audits.results"),
    "an audit is a word": ({"audits.results.singling_out": "NOT_FALSIFIED"}, 3, "audits.results.singling_out"),
    "an audit is missing": ({"audits.results.singling_out": GONE}, 3, "audits.results.singling_out"),
    "a verdict nobody knows": ({"audits.results.singling_out": {**_AUDIT, "verdict": "PASSED"}}, 3, "audits.results.singling_out"),
    "inconclusive": ({"audits.results.singling_out": {**_AUDIT, "verdict": "INCONCLUSIVE"}}, 3, "audits.results.singling_out"),
    "too few attacks": ({"audits.results.singling_out": {**_AUDIT, "n": 99}}, 3, "audits.results.singling_out"),
    "attacks is true": ({"audits.results.singling_out": {**_AUDIT, "n": True}}, 3, "audits.results.singling_out"),
    "attacks is text": ({"audits.results.singling_out": {**_AUDIT, "n": "5000"}}, 3, "audits.results.singling_out"),
    "no interval": ({"audits.results.singling_out": {**_AUDIT, "interval": None}}, 3, "audits.results.singling_out"),
    "interval of one": ({"audits.results.singling_out": {**_AUDIT, "interval": [0.0]}}, 3, "audits.results.singling_out"),
    "interval of text": ({"audits.results.singling_out": {**_AUDIT, "interval": ["low", "high"]}}, 3, "audits.results.singling_out"),
    "no confidence": ({"audits.results.singling_out": {**_AUDIT, "confidence": None}}, 3, "audits.results.singling_out"),
    "less confidence": ({"audits.results.singling_out": {**_AUDIT, "confidence": 0.5}}, 3, "audits.results.singling_out"),
    "upper bound too high": ({"audits.results.singling_out": {**_AUDIT, "interval": [0.0, 0.051]}}, 1, "audits.results.singling_out"),
    "a violation": ({"audits.results.membership": {**_AUDIT, "verdict": "VIOLATION"}}, 1, "audits.results.membership"),
    "a violation of an audit no rule names": ({"audits.results.zz": {**_AUDIT, "verdict": "VIOLATION"}}, 1, "audits.results.zz"),
    "card numbers": ({"content.luhn_valid_pan_outside_test_bins": 1}, 1, "content.luhn_valid_pan_outside_test_bins"),
    "real statistics in public": ({"bundle.public.non_dp_real_statistics": 1}, 1, "bundle.public.non_dp_real_statistics"),
    "real statistics unknown": ({"bundle.public": 0}, 3, "bundle.public.non_dp_real_statistics"),
    "budget spent": ({"budget.after.epsilon": 10.5}, 1, "budget.after.epsilon"),
    "no ledger": ({"budget": {"ledger": False}}, 3, "budget."),
    "too many attempts": ({"budget.attempt": 4}, 1, "budget.attempt"),
    "attempt zero": ({"budget.attempt": 0}, 3, "budget.attempt"),
    "label is the word true": ({"label.synthetic": "true"}, 3, "label.synthetic"),
    "nobody signed off": ({"approvals.distinct_roles": 0}, 1, "approvals.distinct_roles"),
    "roles is text": ({"approvals.distinct_roles": "two"}, 3, "approvals.distinct_roles"),
}


def _changed(document: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = copy.deepcopy(document)
    for path, value in changes.items():
        if path == "*":
            return {"$schema": out["$schema"]}
        *parents, last = path.split(".")
        node = out
        for name in parents:
            node = node.setdefault(name, {})
        if value is GONE:
            node.pop(last, None)
        else:
            node[last] = value
    return out


@pytest.mark.parametrize("name", EVIDENCE)
def test_evidence_that_lies_or_lacks(run: Run, tmp_path: Path, good: dict[str, Any], name: str) -> None:
    changes, code, metric = EVIDENCE[name]
    path = _write(tmp_path, json.dumps(_changed(good, changes)))
    done = run("gate", path, "--policy", POLICY)
    assert done.code == code, done.out + done.err
    assert metric in done.out
    assert CANARY not in done.out + done.err
    assert json.loads(run("gate", path, "--policy", POLICY, "--json").out)["permitted"] is False


JUNK = [None, "junk", "", [], ["junk"], {}, {"verdict": "NOT_FALSIFIED"}, -1, "NaN", "1e999", 10**40]


def test_whatever_a_deciding_metric_is_replaced_by_it_is_never_permitted(good: dict[str, Any]) -> None:
    """Each rule that denies, each kind of junk. Only what is a right answer in itself may pass."""
    policy = policies.load(POLICY)
    tried = 0
    for rule in policy.rules:
        if (
            rule.severity not in ("blocker", "critical")
            or (rule.on_missing, rule.on_indeterminate) != ("deny", "deny")
            or rule.op == "report_only"
            or "*" in rule.metric
        ):
            continue
        for junk in JUNK:
            right = (
                junk == rule.value
                or (junk == [] and rule.op == "subset_of")
                or (junk in (10**40, "1e999") and rule.op in (">", ">="))
                or (isinstance(junk, dict) and bool(junk) and rule.op == "in")  # a verdict alone answers a rule about verdicts
            )
            if right:
                continue
            decision = policies.evaluate(_changed(good, {rule.metric: junk}), policy, now=NOON)
            assert not decision.permitted, f"{rule.id} {rule.metric} = {junk!r}"
            tried += 1
    assert tried > 200


# --- waivers that do not count

DAY = timedelta(days=1)


def _day(days: int) -> str:
    return (NOON + days * DAY).date().isoformat()


WAIVED: dict[str, tuple[dict[str, Any], str]] = {
    "expired yesterday": ({"expires": _day(-1)}, "it expired on"),
    "a month that is none": ({"expires": "2026-13-45"}, "cannot be read, which counts as expired"),
    "a date in words": ({"expires": "next year"}, "cannot be read, which counts as expired"),
    "a date with a time": ({"expires": f"{_day(5)}T00:00:00"}, "cannot be read, which counts as expired"),
    "a date without hyphens": ({"expires": _day(5).replace("-", "")}, "cannot be read, which counts as expired"),
    "a date in other digits": ({"expires": "२०२७-०१-०१"}, "cannot be read, which counts as expired"),
    "a year of five digits": ({"expires": "20270-01-01"}, "cannot be read, which counts as expired"),
    "a start that cannot be read": ({"created": "yesterday"}, "creation date cannot be read"),
    "it starts tomorrow": ({"created": _day(1)}, "it starts on"),
    "it runs too long": ({"expires": _day(400)}, "more than the 90 days"),
    "approved by whoever asked": ({"requested_by": " BO  chen "}, "also approved it"),
    "one approver twice": ({"approved_by": ["Bo Chen", "bo  CHEN"]}, "1 of the 2 approvers"),
    "for another table": ({"subject_sha256": SHA}, "for another table"),
    "for another rule": ({"rule": "DP-002"}, "DP-002"),
    "beyond its cap": ({"max_value": 5.5}, "beyond its max_value"),
}


def _waivers(folder: Path, good: dict[str, Any], **changes: Any) -> Path:
    waiver = {
        "id": "W-1",
        "rule": "DP-001",
        "subject_sha256": good["subject"]["sha256"],
        "reason": "agreed with the board",
        "requested_by": "Ana Lima",
        "approved_by": ["Bo Chen", "Cy Diaz"],
        "created": _day(-1),
        "expires": _day(0),  # the last day counts
        **changes,
    }
    return _write(folder, json.dumps({"$schema": "dpsynth.waivers/1", "waivers": [waiver]}), "waivers.json")


def test_a_good_waiver_counts_on_its_last_day(run: Run, tmp_path: Path, good: dict[str, Any]) -> None:
    evidence = _write(tmp_path, json.dumps(_changed(good, {"dp.epsilon": 6, "claim.epsilon": 6})))
    assert run("gate", evidence, "--policy", POLICY).code == 1
    done = run("gate", evidence, "--policy", POLICY, "--waivers", _waivers(tmp_path, good))
    assert done.code == 0, done.out
    assert "waived by W-1" in done.out


@pytest.mark.parametrize("name", WAIVED)
def test_a_waiver_that_does_not_count_is_reported_with_the_reason(run: Run, tmp_path: Path, good: dict[str, Any], name: str) -> None:
    changes, message = WAIVED[name]
    evidence = _write(tmp_path, json.dumps(_changed(good, {"dp.epsilon": 6, "claim.epsilon": 6})))
    done = run("gate", evidence, "--policy", POLICY, "--waivers", _waivers(tmp_path, good, **changes))
    assert done.code == 1
    assert message in done.out, done.out


@pytest.mark.parametrize("rule", ["DP-003", "CORE-001"])
def test_some_rules_take_no_waiver(run: Run, tmp_path: Path, good: dict[str, Any], rule: str) -> None:
    metric = policies.load(POLICY).rule(rule).metric
    evidence = _write(tmp_path, json.dumps(_changed(good, {metric: GONE})))
    done = run("gate", evidence, "--policy", POLICY, "--waivers", _waivers(tmp_path, good, rule=rule))
    assert done.code in (1, 3)
    assert f"rule {rule} takes no waiver" in done.out
