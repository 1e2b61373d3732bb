"""docs/policies.md and the recipes do what they say; nothing in them is only text."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import stat
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import policies

DOCS = Path(__file__).parents[2] / "docs"
RECIPES = DOCS / "recipes"
PAGE = (DOCS / "policies.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def bundle(tmp_path: Path, evidence: dict[str, Any]) -> Path:
    """A folder laid out like a bundle, with evidence that healthcare-public permits."""
    (tmp_path / "out" / "claims" / "internal").mkdir(parents=True)
    (tmp_path / "out" / "claims" / "public").mkdir()
    (tmp_path / "out" / "claims" / "public" / "README.md").write_text("SYNTHETIC DATA\n")
    (tmp_path / "out" / "claims" / "internal" / "evidence.json").write_text(json.dumps(evidence))
    return tmp_path / "out" / "claims"


@pytest.fixture
def refuse(bundle: Path, evidence: dict[str, Any]) -> Callable[[], None]:
    def spoil() -> None:
        evidence["dp"]["epsilon"] = evidence["claim"]["epsilon"] = 7.735
        (bundle / "internal" / "evidence.json").write_text(json.dumps(evidence))

    return spoil


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment whose ``dpsynth`` is the one under test."""
    pytest.importorskip("dpsynth.cli", reason="the recipe calls the command line")
    folder = tmp_path / "bin"
    folder.mkdir()
    script = folder / "dpsynth"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dpsynth "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    path = f"{Path(policies.__file__).parents[1]}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    yield {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": path, "NO_COLOR": "1"}


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], types.ModuleType]:
    """Import a recipe file as a scheduler would: with its folder on the path."""
    monkeypatch.syspath_prepend(str(RECIPES))
    monkeypatch.delitem(sys.modules, "gate_task", raising=False)

    def load(name: str) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(f"recipe_{name}", RECIPES / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def test_the_python_of_the_page_runs() -> None:
    (code,) = blocks("python")
    exec(compile(code, "docs/policies.md", "exec"), {})


def test_the_documents_of_the_page_load(tmp_path: Path) -> None:
    policy, waivers, case = blocks("json")
    parent = policies.load("healthcare-public")
    policy = policy.replace("sha256:<digest that policy show prints>", parent.digest)
    (tmp_path / "cardiology.json").write_text(policy)
    assert policies.load(tmp_path / "cardiology.json").rule("DP-001").value == 2.0
    (tmp_path / "waivers.json").write_text(waivers.replace("<sha256 of synthetic.parquet>", "a" * 64))
    assert policies.load_waivers(tmp_path / "waivers.json")[0].max_value == 0.06
    good = Path(__file__).parent / "cases" / "evidence-good.json"
    (tmp_path / "evidence-good.json").write_text(good.read_text())
    (tmp_path / "cases.json").write_text(case)
    assert all(result.passed for result in policies.run_cases(tmp_path / "cases.json"))


def test_the_table_of_policies_is_the_truth() -> None:
    rows = {m[1]: [cell.strip() for cell in m[2].split("|")] for m in re.finditer(r"^\| `([a-z-]+)` \|(.*)\|$", PAGE, re.M)}
    rows = {name: cells for name, cells in rows.items() if len(cells) == 5}
    assert set(rows) == {name for name in policies.names() if not name.startswith("demo-")}
    for name, (_, epsilon, risk, attacks, signers) in rows.items():
        policy = policies.load(name)
        rule = policy.rule("DP-001")
        assert epsilon == f"{rule.warn:g}, {rule.value:g}"
        if name != "base":
            assert (risk, attacks) == (f"{policy.rule('AUD-101').value:g}", f"{policy.rule('AUD-101').min_attacks}")
            assert signers.split(",")[0] == str(policy.rule("GOV-401").value)


def test_the_page_names_every_operator_and_format() -> None:
    for op in policies.OPERATORS:
        assert f"`{op}`" in PAGE
    for output in policies.RENDERERS:
        assert f"`{output}`" in PAGE


def test_the_task_returns_for_a_permitted_release_and_raises_for_another(
    recipe: Callable[[str], types.ModuleType], bundle: Path, refuse: Callable[[], None]
) -> None:
    module = recipe("gate_task")
    evidence = str(bundle / "internal" / "evidence.json")
    assert module.gate(evidence, "healthcare-public", results=str(bundle / "junit.xml")) == "a" * 64
    assert "<testsuite " in (bundle / "junit.xml").read_text()
    refuse()
    with pytest.raises(module.ReleaseRefused, match="DENIED") as caught:
        module.gate(evidence, "healthcare-public")
    assert "7.735" not in str(caught.value)


def test_the_airflow_task_publishes_only_what_is_permitted(
    recipe: Callable[[str], types.ModuleType], bundle: Path, refuse: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stand-ins that call at once what Airflow would schedule.
    decorators: Any = types.ModuleType("airflow.decorators")
    seen: dict[str, Any] = {}
    decorators.dag = lambda **options: seen.update(options) or (lambda function: function)
    decorators.task = lambda function: function
    monkeypatch.setitem(sys.modules, "airflow", types.ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.decorators", decorators)
    monkeypatch.chdir(bundle.parents[1])
    recipe("airflow_dag")
    assert seen["default_args"]["retries"] == 0
    assert [path.name for path in Path("published/claims").iterdir()] == ["README.md"]
    refuse()
    with pytest.raises(RuntimeError, match="DENIED"):
        recipe("airflow_dag")


def test_the_dagster_check_blocks(
    recipe: Callable[[str], types.ModuleType], bundle: Path, refuse: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster: Any = types.ModuleType("dagster")
    dagster.AssetCheckResult = lambda **facts: facts
    dagster.asset_check = lambda *, asset, blocking: lambda function: function if blocking else None
    monkeypatch.setitem(sys.modules, "dagster", dagster)
    monkeypatch.chdir(bundle.parents[1])
    check = recipe("dagster_check").permitted_by_policy
    assert check()["passed"] is True
    refuse()
    assert check() == {
        "passed": False,
        "metadata": {"policy": "healthcare-public", "verdict": "DENIED  policy healthcare-public@1.0.0  exit code 1"},
    }


def test_the_action_fails_the_job_unless_permitted(bundle: Path, refuse: Callable[[], None], shell: dict[str, str]) -> None:
    text = (RECIPES / "github-action" / "action.yml").read_text()
    script = re.sub(r"^ {8}", "", text.split("run: |\n")[1], flags=re.M)
    output = bundle / "github-output"
    variables = dict(re.findall(r"^ {8}([A-Z]+): \$\{\{ inputs\.([a-z]+) \}\}$", text, re.M))
    assert set(variables) == {"EVIDENCE", "POLICY", "WAIVERS", "SARIF"}
    environment = {
        **shell,
        "EVIDENCE": str(bundle / "internal" / "evidence.json"),
        "POLICY": "healthcare-public",
        "WAIVERS": "",
        "SARIF": str(bundle / "dpsynth.sarif"),
        "GITHUB_OUTPUT": str(output),
    }
    for code, command in ((0, "::notice title=dpsynth gate::permitted"), (1, "::error title=DP-001 ")):
        done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        assert command in done.stdout
        assert output.read_text().splitlines()[-1] == f"exit-code={code}"
        sarif = (bundle / "dpsynth.sarif").read_text()
        assert bool(json.loads(sarif)["runs"][0]["results"]) == bool(code)
        assert "7.735" not in sarif + done.stdout + done.stderr
        refuse()


def test_the_pre_commit_hooks_accept_good_and_refuse_bad_files(tmp_path: Path, shell: dict[str, str]) -> None:
    text = (RECIPES / "pre-commit" / ".pre-commit-config.yaml").read_text()
    entries = re.findall(r"entry: (.*)$", text, re.M)
    assert [re.search(r"dpsynth (\w+) lint", entry)[1] for entry in entries] == ["policy", "schema"]  # type: ignore[index]
    pattern = re.findall(r"files: (.*)$", text, re.M)[0]
    assert re.search(pattern, "policies/mine.json")
    assert not re.search(pattern, "data/policies.csv")
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(policies.load("base").to_dict()))
    bad.write_text('{"policy": NaN}')
    for files, code in (([good], 0), ([good, bad], 2), ([bad, good], 2)):
        command = f"{entries[0]} {' '.join(map(str, files))}"
        assert subprocess.run(command, shell=True, env=shell, capture_output=True, timeout=120).returncode == code


def test_the_rego_example_refuses_what_the_gate_refuses_and_what_is_waived(evidence: dict[str, Any], now: Any) -> None:
    regopy = pytest.importorskip("regopy", reason="an oracle only; pip install regopy")
    source = (RECIPES / "rego" / "release.rego").read_text()

    def ask(document: Any) -> tuple[bool, list[str]]:
        rego = regopy.Interpreter()
        rego.add_module("release", source)
        rego.set_input(document)
        # A query that is false has no result: regopy then answers "undefined", as OPA does.
        allow = str(rego.query("data.dpsynth.release.allow")) == '{"expressions":[true]}'
        return allow, sorted(json.loads(str(rego.query("data.dpsynth.release.deny")))["expressions"][0])

    policy = policies.load("healthcare-public")
    assert ask(policies.evaluate(evidence, policy, now=now).to_dict("verdicts")) == (True, [])
    other = policies.evaluate(evidence, policies.load("base"), now=now)
    assert ask(other.to_dict("verdicts")) == (False, ["the policy is not one of ours"])
    evidence["approvals"]["distinct_roles"] = 0
    denied = policies.evaluate(evidence, policy, now=now)
    assert ask(denied.to_dict("verdicts")) == (
        False,
        ["GOV-401 keeps the release back", "the gate does not permit the release"],
    )
    waiver = policies.Waiver("W", "GOV-401", "a" * 64, "away", "Ana", ("Bo", "Cy"), "2026-11-01", "2026-11-30")
    waived = policies.evaluate(evidence, policy, waivers=[waiver], now=now)
    assert ask(waived.to_dict("verdicts")) == (False, ["GOV-401 is waived; this pipeline takes no waivers"])
    assert ask({})[0] is False
