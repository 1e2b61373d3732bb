"""The package as others import it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import policies
from policies.documents import schema
from policies.metrics import AUDIT_NAMES, METRICS, Kind, metric

ROOT = Path(policies.__file__).parent


def test_all_is_sorted_and_true() -> None:
    assert policies.__all__ == sorted(policies.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert all(hasattr(policies, name) for name in policies.__all__)


def test_the_package_imports_no_other_room() -> None:
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = (
                [a.name for a in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
            assert not {name.split(".")[0] for name in names} & {
                "dpsynth",
                "audits",
                "reports",
                "opendp",
                "requests",
                "urllib",
                "socket",
            }, path


def test_importing_and_evaluating_stays_light() -> None:
    code = "import sys, policies; print(json.dumps(sorted(m for m in sys.modules if m in HEAVY)))"
    code = "import json; HEAVY = {'numpy', 'pandas', 'scipy', 'jsonschema', 'referencing', 'yaml'}; " + code
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent)
    assert json.loads(out.stdout) == []


@pytest.mark.parametrize("name", ["policy-1", "rule-1", "waivers-1", "decision-1", "case-1"])
def test_the_schemas_are_schemas_and_closed(name: str) -> None:
    from jsonschema import Draft202012Validator

    document = schema(name)
    Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"

    def objects(node: object) -> list[dict[str, object]]:
        if isinstance(node, dict):
            found = [node] if node.get("type") == "object" and "properties" in node else []
            return found + [item for child in node.values() for item in objects(child)]
        return [item for child in node for item in objects(child)] if isinstance(node, list) else []

    assert all(item.get("unevaluatedProperties") is False for item in objects(document))


def test_no_schema_is_ever_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from policies import documents

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    documents._validator.cache_clear()
    assert policies.loads({"$schema": "dpsynth.policy/1", "policy": "p", "version": "1.0.0", "title": "t", "rules": []}).name == "p"


def test_every_metric_has_a_meaning_and_can_be_found() -> None:
    for path, found in METRICS.items():
        assert found.meaning
        assert metric(path) is found
    assert metric("audit.membership").kind is Kind.AUDIT
    assert all(metric(f"audits.results.{name}").kind is Kind.AUDIT for name in AUDIT_NAMES)


def test_the_doctests_hold() -> None:
    import doctest

    from policies import evaluator, linter, loader

    for module in (evaluator, linter, loader):
        failures, tried = doctest.testmod(module)
        assert (failures, tried > 0) == (0, True)


def test_the_known_audits_are_those_of_the_audit_room() -> None:
    audits = pytest.importorskip("audits")
    assert set(audits.AUDITS) == AUDIT_NAMES
