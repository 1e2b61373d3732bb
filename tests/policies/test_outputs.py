"""The formats a gate writes follow their standards, show no measured value by default, and obey nothing in evidence."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest

import policies

SCHEMAS = Path(__file__).parent / "schemas"
CANARY = 0.7353953
HOSTILE = "x\n::error::owned\r\n]]><script>alert(1)</script>\x1b[2J\x00 % : , \u202e"


@pytest.fixture
def decision(evidence: dict[str, Any], now: datetime) -> policies.Decision:
    """One of each status, with canaries and hostile text wherever evidence has a say."""
    evidence = copy.deepcopy(evidence)
    results = evidence["audits"]["results"]
    results["singling_out"] |= {"value": CANARY, "interval": [CANARY, CANARY]}
    results[HOSTILE] = {"verdict": "VIOLATION"}
    evidence["release"] |= {"id": HOSTILE, "purpose": HOSTILE}
    evidence["content"]["identifier_like_columns"] = [HOSTILE]
    evidence["certificate"]["reassess_months"] = 36
    evidence["approvals"]["distinct_roles"] = 0
    del evidence["label"]
    waiver = policies.Waiver("W-1", "GOV-401", "a" * 64, "away", "Ana", ("Bo", "Cy"), "2026-11-01", "2026-11-30")
    out = policies.evaluate(evidence, policies.load("healthcare-public"), waivers=[waiver], now=now)
    assert all(out.counts[status] for status in ("fail", "indeterminate", "waived", "warn", "info", "pass"))
    return out


@pytest.fixture
def permitted(evidence: dict[str, Any], now: datetime) -> policies.Decision:
    return policies.evaluate(evidence, policies.load("healthcare-public"), now=now)


@pytest.mark.parametrize("output", policies.RENDERERS)
def test_no_output_shows_a_measured_value_unless_asked(output: str, decision: policies.Decision) -> None:
    assert str(CANARY) not in policies.render(decision, output)
    shown = policies.render(decision, output, disclosure="reviewer")
    assert (str(CANARY) in shown) is True


@pytest.mark.parametrize("output", policies.RENDERERS)
@pytest.mark.parametrize("disclosure", ["verdicts", "reviewer"])
def test_evidence_cannot_write_control_characters(output: str, disclosure: str, decision: policies.Decision) -> None:
    text = policies.render(decision, output, disclosure=disclosure)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202e]", text)
    assert text.endswith("\n")


@pytest.mark.parametrize("disclosure", ["all", "", "Verdicts"])
def test_an_unknown_disclosure_shows_nothing(disclosure: str, decision: policies.Decision) -> None:
    for output in policies.RENDERERS:
        with pytest.raises(policies.PolicyError, match="must be one of verdicts, reviewer"):
            policies.render(decision, output, disclosure=disclosure)


def test_an_unknown_output_is_refused(decision: policies.Decision) -> None:
    with pytest.raises(policies.PolicyError, match="must be one of github, json, junit, sarif, text"):
        policies.render(decision, "yaml")


def test_text_puts_what_keeps_the_release_back_first(decision: policies.Decision, permitted: policies.Decision) -> None:
    lines = policies.render(decision).splitlines()
    assert lines[0] == "INDETERMINATE  policy healthcare-public@1.0.0  exit code 3"
    statuses = [line.split()[0] for line in lines if re.match(r"(fail|indeterminate|waived|warn|info|pass) +\S+ +[A-Z]+-\d", line)]
    order = ["fail", "indeterminate", "waived", "warn"]
    assert statuses == sorted(statuses, key=order.index)
    assert "name who signs with --sign-off" not in policies.render(permitted)
    assert policies.render(permitted).startswith("PERMITTED  policy healthcare-public@1.0.0  exit code 0\n")


def test_json_follows_our_schema(decision: policies.Decision) -> None:
    from policies.documents import parse, validate

    for disclosure in ("verdicts", "reviewer"):
        document = parse(policies.render(decision, "json", disclosure=disclosure), what="decision")
        validate(document, "decision-1", what="decision")
        assert document["disclosure"] == disclosure


@pytest.mark.parametrize("disclosure", ["verdicts", "reviewer"])
def test_sarif_follows_the_oasis_schema(disclosure: str, decision: policies.Decision, permitted: policies.Decision) -> None:
    schema = json.loads((SCHEMAS / "sarif-2.1.0-rtm.5.json").read_text())
    for each in (decision, permitted):
        jsonschema.Draft4Validator(schema).validate(json.loads(policies.render(each, "sarif", disclosure=disclosure)))


def test_sarif_results_point_at_their_rules_and_keep_their_fingerprints(
    decision: policies.Decision, evidence: dict[str, Any], now: datetime
) -> None:
    run = json.loads(policies.render(decision, "sarif"))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [finding.rule for finding in decision.findings]
    assert len(run["results"]) == sum(decision.counts[status] for status in ("fail", "indeterminate", "waived", "warn"))
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert (result["level"] == "error") == result["properties"]["blocking"]
        assert ("suppressions" in result) == (result["properties"]["status"] == "waived")
    evidence["approvals"]["distinct_roles"] = 1
    again = policies.evaluate(evidence, policies.load("healthcare-public"), now=now.replace(year=2027))
    (later,) = json.loads(policies.render(again, "sarif"))["runs"][0]["results"]
    (earlier,) = [r for r in run["results"] if r["ruleId"] == "GOV-401"]
    assert later["partialFingerprints"] == earlier["partialFingerprints"]


def test_junit_counts_what_it_holds(decision: policies.Decision) -> None:
    root = ElementTree.fromstring(policies.render(decision, "junit"))
    (suite,) = root
    cases = suite.findall("testcase")
    assert int(suite.get("tests", "")) == len(cases) == len(decision.findings)
    for attribute, tag, status in (
        ("failures", "failure", "fail"),
        ("errors", "error", "indeterminate"),
        ("skipped", "skipped", "waived"),
    ):
        assert int(suite.get(attribute, "")) == len(suite.findall(f"testcase/{tag}")) == decision.counts[status]


@pytest.mark.parametrize("disclosure", ["verdicts", "reviewer"])
def test_junit_follows_the_jenkins_xsd(disclosure: str, decision: policies.Decision, permitted: policies.Decision) -> None:
    xmlschema = pytest.importorskip("xmlschema", reason="an oracle only; pip install xmlschema")
    schema = xmlschema.XMLSchema(str(SCHEMAS / "junit-10.xsd"))
    for each in (decision, permitted):
        schema.validate(policies.render(each, "junit", disclosure=disclosure))


def test_junit_uses_only_what_the_jenkins_xsd_names(decision: policies.Decision) -> None:
    # The same without an XSD validator: every element with its attributes is declared, required ones are there.
    xs = "{http://www.w3.org/2001/XMLSchema}"
    declared: dict[str, tuple[set[str], set[str]]] = {}
    for element in ElementTree.parse(SCHEMAS / "junit-10.xsd").getroot().findall(f"{xs}element"):
        attributes = list(element.iter(f"{xs}attribute"))
        names = {str(a.get("name")) for a in attributes}
        declared[str(element.get("name"))] = (
            names,
            {str(a.get("name")) for a in attributes if a.get("use") == "required"},
        )
    for node in ElementTree.fromstring(policies.render(decision, "junit", disclosure="reviewer")).iter():
        names, required = declared[node.tag]
        assert required <= set(node.attrib) <= names, node.tag


def test_github_commands_are_one_line_each_and_ours(decision: policies.Decision) -> None:
    for disclosure in ("verdicts", "reviewer"):
        for line in policies.render(decision, "github", disclosure=disclosure).splitlines():
            assert re.fullmatch(r"::(error|warning|notice) title=[^:,\r\n]*::.*", line)
    assert "::error title=dpsynth gate::indeterminate: policy healthcare-public@1.0.0, exit code 3" in policies.render(decision, "github")


@pytest.mark.parametrize("reader", [json.loads, lambda text: json.dumps(json.loads(text))], ids=["loads", "round trip"])
def test_sarif_is_plain_ascii_json(reader: Callable[[str], Any], decision: policies.Decision) -> None:
    text = policies.render(decision, "sarif")
    assert text.isascii()
    assert reader(text)


def test_the_people_and_reasons_of_a_waiver_are_for_reviewers(evidence: dict[str, Any], now: datetime) -> None:
    evidence["approvals"]["distinct_roles"] = 0
    given = policies.Waiver("W-1", "GOV-401", "a" * 64, "Qreason", "Qasker", ("Qfirst", "Qsecond"), "2026-11-01", "2026-11-30")
    decision = policies.evaluate(evidence, policies.load("healthcare-public"), waivers=[given], now=now)
    (use,) = decision.to_dict("reviewer")["waivers"]
    assert (use["terms"]["reason"], use["terms"]["approved_by"]) == ("Qreason", ["Qfirst", "Qsecond"])
    for output in policies.RENDERERS:
        assert not re.search("Q(reason|asker|first|second)", policies.render(decision, output))
    assert "terms" not in decision.to_dict("verdicts")["waivers"][0]
