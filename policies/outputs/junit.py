"""The decision as JUnit XML: a rule is a test case; failing is a failure, indeterminate an error, waived skipped."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from policies.decision import Decision, Finding
from policies.outputs.text import printable


def render_junit(decision: Decision, disclosure: str) -> str:
    """One test suite, after the XSD that Jenkins reads."""
    counts = decision.counts
    policy = decision.policy
    numbers = {
        "tests": str(len(decision.findings)),
        "failures": str(counts["fail"]),
        "errors": str(counts["indeterminate"]),
    }
    root = ElementTree.Element("testsuites", {"name": "dpsynth gate", **numbers})
    name = f"{policy['id']}@{policy['version']}"
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {"name": name, **numbers, "skipped": str(counts["waived"]), "time": "0.000", "timestamp": decision.evaluated},
    )
    properties = ElementTree.SubElement(suite, "properties")
    facts = {
        "verdict": decision.verdict,
        "exit_code": str(decision.exit_code),
        "policy_digest": policy["digest"],
        "disclosure": disclosure,
    }
    facts |= {"release": decision.release["id"] or "", "sha256": decision.release["sha256"] or ""}
    for key, value in facts.items():
        ElementTree.SubElement(properties, "property", {"name": key, "value": printable(value)})
    for finding in decision.findings:
        _case(suite, name, finding, disclosure)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _case(suite: ElementTree.Element, policy: str, finding: Finding, disclosure: str) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {"classname": f"dpsynth.{policy}", "name": f"{finding.rule} {finding.title}", "time": "0.000"},
    )
    message = printable(f"{finding.metric}: {finding.message}")
    tag = {"fail": "failure", "indeterminate": "error", "waived": "skipped"}.get(finding.status)
    if tag:
        ElementTree.SubElement(case, tag, {"type": finding.severity, "message": message}).text = finding.hint
    elif finding.status == "warn":
        ElementTree.SubElement(case, "system-out").text = f"warning: {message}"
    if disclosure == "reviewer":
        measured = json.dumps({"value": finding.value, "interval": finding.interval, "n": finding.n})
        ElementTree.SubElement(case, "system-err").text = printable(measured)
