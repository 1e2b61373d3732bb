"""The recipes do what they say, run as they stand in docs/recipes, action.yml and .pre-commit-hooks.yaml."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import policies

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "docs" / "recipes"
ACTION = ROOT / "action.yml"
HOOKS = ROOT / ".pre-commit-hooks.yaml"


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


class _Parameter:
    """What Airflow puts in place of an argument of a DAG: of use as the argument of a task, and for nothing else."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __str__(self) -> str:
        raise AssertionError("a parameter of a run is not known before the run")


def test_the_airflow_task_publishes_only_what_is_permitted(
    recipe: Callable[[str], types.ModuleType], bundle: Path, refuse: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Stand-ins that call at once what Airflow would schedule.
    sdk: Any = types.ModuleType("airflow.sdk")
    seen: dict[str, Any] = {}

    def dag(**options: Any) -> Callable[[Callable[..., None]], Callable[[], None]]:
        seen.update(options)
        return lambda function: lambda: function(*(_Parameter(value) for value in function.__defaults__ or ()))

    def task(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: function(*(a.value if isinstance(a, _Parameter) else a for a in arguments))

    sdk.dag, sdk.task = dag, task
    monkeypatch.setitem(sys.modules, "airflow", types.ModuleType("airflow"))
    monkeypatch.setitem(sys.modules, "airflow.sdk", sdk)
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


def test_the_action_is_one_that_github_would_read() -> None:
    yaml = pytest.importorskip("yaml", reason="an oracle only; pip install pyyaml")
    schema = json.loads((Path(__file__).parent / "schemas" / "github-actions.json").read_text(encoding="utf-8"))
    action = yaml.safe_load(ACTION.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(action)
    assert action["runs"]["using"] == "composite"
    # No input is pasted into a script, where its text would run: inputs reach the shell as variables only.
    assert [step["run"] for step in action["runs"]["steps"] if "${{" in step["run"]] == []
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate({**action, "runs": {"using": "composite", "steps": [{"run": "true"}]}})


def test_the_action_fails_the_job_unless_permitted(bundle: Path, refuse: Callable[[], None], shell: dict[str, str]) -> None:
    text = ACTION.read_text(encoding="utf-8")
    script = re.sub(r"^ {8}", "", text.split("run: |\n")[1], flags=re.M)
    output, summary = bundle / "github-output", bundle / "github-summary"
    variables = dict(re.findall(r"^ {8}([A-Z]+): \$\{\{ inputs\.([a-z]+) \}\}$", text, re.M))
    assert set(variables) == {"EVIDENCE", "POLICY", "WAIVERS", "SARIF"}
    environment = {
        **shell,
        "EVIDENCE": str(bundle / "internal" / "evidence.json"),
        "POLICY": "healthcare-public",
        "WAIVERS": "",
        "SARIF": str(bundle / "dpsynth.sarif"),
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    for code, command, word in ((0, "::notice title=dpsynth gate::permitted", "PERMITTED"), (1, "::error title=DP-001 ", "DENIED")):
        summary.unlink(missing_ok=True)
        done = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stderr
        assert command in done.stdout
        assert output.read_text().splitlines()[-1] == f"exit-code={code}"
        assert summary.read_text().startswith(f"```\n{word}  policy healthcare-public")
        sarif = (bundle / "dpsynth.sarif").read_text()
        assert bool(json.loads(sarif)["runs"][0]["results"]) == bool(code)
        assert "7.735" not in sarif + done.stdout + done.stderr + summary.read_text()
        refuse()


def _hooks(path: Path) -> dict[str, dict[str, str]]:
    """Hook id -> its one-line keys, read without a YAML library."""
    parts = re.split(r"^ *- (?=id: )", path.read_text(encoding="utf-8"), flags=re.M)[1:]
    return {m["id"]: m for part in parts if (m := dict(re.findall(r"^ *([a-z_]+): (.*)$", part, re.M)))}


def test_the_published_hooks_and_the_local_ones_are_the_same() -> None:
    published, local = _hooks(HOOKS), _hooks(RECIPES / "pre-commit" / ".pre-commit-config.yaml")
    assert set(published) == set(local) == {"dpsynth-policy-lint", "dpsynth-schema-lint"}
    for name, hook in published.items():
        assert (hook["entry"], hook["files"]) == (local[name]["entry"], local[name]["files"])
        assert (hook["language"], local[name]["language"]) == ("python", "system")


def test_the_hooks_accept_good_and_refuse_bad_files(tmp_path: Path, shell: dict[str, str]) -> None:
    hook = _hooks(HOOKS)["dpsynth-policy-lint"]
    assert re.search(hook["files"], "policies/mine.json")
    assert not re.search(hook["files"], "data/policies.csv")
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(policies.load("base").to_dict()))
    bad.write_text('{"policy": NaN}')
    for files, code in (([good], 0), ([good, bad], 2), ([bad, good], 2)):
        command = f"{hook['entry']} {' '.join(map(str, files))}"
        assert subprocess.run(command, shell=True, env=shell, capture_output=True, timeout=120).returncode == code


@pytest.mark.skipif(importlib.util.find_spec("pre_commit") is None, reason="an oracle only; pip install pre-commit")
def test_pre_commit_runs_the_recipe_and_reads_the_published_hooks(tmp_path: Path, shell: dict[str, str]) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git on this machine")
    repository = tmp_path / "repository"
    (repository / "policies").mkdir(parents=True)
    shutil.copy(RECIPES / "pre-commit" / ".pre-commit-config.yaml", repository)
    (repository / "policies" / "mine.json").write_text(json.dumps(policies.load("base").to_dict()))
    (repository / "data.csv").write_text("not,for,linting\n")
    environment = {**shell, "PRE_COMMIT_HOME": str(tmp_path / "cache"), "GIT_CONFIG_GLOBAL": os.devnull}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=240)

    pre_commit = (sys.executable, "-m", "pre_commit")
    assert run(*pre_commit, "validate-manifest", str(HOOKS)).returncode == 0
    assert run("git", "init", "-q").returncode == 0
    assert run("git", "add", "-A").returncode == 0
    good = run(*pre_commit, "run", "--all-files")
    assert good.returncode == 0, good.stdout + good.stderr
    assert re.search(r"lint release policies\.*Passed", good.stdout) and "Skipped" in good.stdout
    (repository / "policies" / "mine.json").write_text('{"policy": NaN}')
    (repository / "t.schema.json").write_text('{"fields": []}')
    assert run("git", "add", "-A").returncode == 0
    bad = run(*pre_commit, "run", "--all-files")
    assert bad.returncode == 1
    assert len(re.findall(r"Failed$", bad.stdout, re.M)) == 2


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
