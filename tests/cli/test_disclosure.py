"""Measured values are never printed by default, and on a build server not even when asked."""

from __future__ import annotations

import copy
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

GOOD = Path(__file__).parents[1] / "policies" / "cases" / "evidence-good.json"
VALUE = 0.2735395  # beyond the limit, so that every format has something to say


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    document: dict[str, Any] = copy.deepcopy(json.loads(GOOD.read_text(encoding="utf-8")))
    document["audits"]["results"]["singling_out"] |= {"value": VALUE, "interval": [0.0, VALUE]}
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.mark.parametrize("style", ["text", "json", "sarif", "junit", "github"])
def test_values_are_printed_only_when_asked_and_never_on_a_build_server(
    run: Run, evidence: Path, style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = ("gate", evidence, "--policy", "healthcare-controlled", "--format", style)
    assert str(VALUE) not in run(*gate).out
    assert str(VALUE) in run(*gate, "--disclosure", "reviewer").out
    for word in ("true", "1", "yes"):
        monkeypatch.setenv("CI", word)
        refused = run(*gate, "--disclosure", "reviewer")
        assert refused.code == 2 and str(VALUE) not in refused.out + refused.err
        assert "disclosure=reviewer" in refused.err and "--out FILE" in refused.err
        assert str(VALUE) not in run(*gate).out
    for word in ("", "false", "0"):
        monkeypatch.setenv("CI", word)
        assert str(VALUE) in run(*gate, "--disclosure", "reviewer").out


def test_a_build_server_may_write_values_to_a_file_of_its_owner(run: Run, evidence: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = evidence.with_name("findings.json")
    gate = ("gate", evidence, "--policy", "healthcare-controlled", "--format", "json", "--disclosure", "reviewer", "--out", out)
    monkeypatch.setenv("CI", "true")
    done = run(*gate)
    assert str(VALUE) in out.read_text() and str(VALUE) not in done.out + done.err
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert run(*gate, "--force", "--json").code == 2  # --json prints, whatever is written


def test_a_release_that_would_print_values_on_a_build_server_reads_no_record(
    run: Run, table: Path, schema: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    arguments = ("release", table, "--schema", schema, "--policy", "demo-health", "--epsilon", 1, "--delta", "1e-6")
    done = run(*arguments, "--out", tmp_path / "out", "--ledger", tmp_path / "l", "--json", "--disclosure", "reviewer")
    assert done.code == 2
    assert not (tmp_path / "out").exists() and not (tmp_path / "l").exists()
