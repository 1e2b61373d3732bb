"""The README runs as printed: its schema, its commands in their order, its Python."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from dpsynth.cli import main
from dpsynth.cli.app import COMMANDS, GROUPS
from tests.cli.conftest import schema_document, table_text
from tests.house.test_docs import ROOT, shell_lines

README = (ROOT / "README.md").read_text(encoding="utf-8")
ROWS = 4000
# What a command of the README may end with besides 0. Noise takes no seed, so verdicts on so small a table are up to it: the policy's,
# and that of `audit`, which tests at level 0.01 and so is wrong once in a while.
VERDICTS = {"release": {0, 1, 3}, "gate": {0, 1, 3}, "audit": {0, 1, 3}}
# Only there if the release was permitted.
AFTER_PERMISSION = ("verify",)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "visits.csv").write_text(table_text(ROWS, seed=0), encoding="utf-8")
    (tmp_path / "others.csv").write_text(table_text(ROWS, seed=1), encoding="utf-8")
    (tmp_path / "visits.schema.json").write_text(_blocks("json")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_schema_in_the_readme_is_the_one_the_tests_use() -> None:
    assert json.loads(_blocks("json")[0]) == schema_document()


def _run(line: str) -> int:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return main(shlex.split(line)[1:])


@pytest.mark.parametrize("line", [line for line in shell_lines(README) if line.split()[1] == "policy"])
def test_the_policy_commands_run(line: str) -> None:
    assert _run(line) == 0


def test_the_python_runs(folder: Path) -> None:
    for block in _blocks("python"):
        exec(compile(block, "README.md", "exec"), {})

    assert (folder / "visits.model").exists()


@pytest.mark.slow
def test_the_commands_run_in_their_order(folder: Path) -> None:
    pytest.importorskip("cryptography")
    permitted = True
    for line in shell_lines(README):
        name = line.split()[1]
        if name in AFTER_PERMISSION and not permitted:
            continue
        code = _run(line)
        assert code in VERDICTS.get(name, {0}), f"{line}: exit code {code}"
        if name == "release":
            permitted = code == 0


def test_every_command_is_named() -> None:
    named = set(re.findall(r"[a-z]+(?:-[a-z]+)*", " ".join(re.findall(r"`([^`\n]+)`", README)) + " ".join(shell_lines(README))))

    assert {*COMMANDS, *GROUPS} - {"demo"} - named == set()
    assert "make demo" in README


def test_every_page_can_be_found() -> None:
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    for text, prefix in ((README, "docs/"), ((ROOT / "docs" / "README.md").read_text(encoding="utf-8"), "")):
        assert pages - set(re.findall(rf"\({prefix}([a-z-]+\.md)(?:#[a-z-]+)?\)", text)) == set()


def test_every_extra_for_users_is_explained() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]

    assert set(extras) - {"test"} == set(re.findall(r"^\| `([a-z]+)` \|", README.split("| extra |")[1], re.MULTILINE))


def test_the_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    for page in ("README.md", "CONTRIBUTING.md"):
        named = re.findall(r"\bmake ([a-z-]+)\b", (ROOT / page).read_text(encoding="utf-8"))
        assert {name for name in named if name not in ("and", "sure")} <= targets
