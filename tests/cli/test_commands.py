"""Each command on good input: its code, its files, one JSON object on stdout, everything else on stderr."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import pandas as pd
import pytest

import policies
from tests.cli.conftest import CANARY, Run

PRICE = ("--epsilon", "1", "--delta", "1e-6")
UNIT = ("--population", "clinic-patients", "--unit", "person")


@pytest.fixture
def model(run: Run, tmp_path: Path, table: Path, schema: Path) -> Path:
    path = tmp_path / "visits.model"
    arguments = ("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "made.parquet", "--model", path)
    assert run(*arguments).code == 0
    return path


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_synth_writes_a_table_in_the_types_of_the_schema(run: Run, tmp_path: Path, table: Path, schema: Path, name: str) -> None:
    out, ledger = tmp_path / name, tmp_path / "l.ledger"

    done = run("synth", table, "--schema", schema, *PRICE, "--out", out, "--ledger", ledger, "--rows", 77, "--json")

    assert done.code == 0
    told = done.json
    assert (told["n_rows"], told["epsilon"], told["delta"], told["unit"]) == (77, 1.0, 1e-6, "person")
    assert "synthesize" in done.err
    made = pd.read_csv(out) if name.endswith("csv") else pd.read_parquet(out)
    assert list(made.columns) == ["age", "sex", "visits"]
    assert len(made) == 77
    assert made["age"].between(0, 100).all() and set(made["sex"]) <= {"f", "m"}
    assert run("ledger", "show", "--ledger", ledger, "--json").json["populations"][0]["spent"]["attempts"] == 1


def test_synth_without_a_ledger_says_so(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    assert "no --ledger" in run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv").err


def test_nothing_of_a_cell_that_fits_nowhere_is_in_table_or_model(run: Run, tmp_path: Path, model: Path) -> None:
    assert CANARY.encode() not in model.read_bytes() + (tmp_path / "made.parquet").read_bytes()


def test_sample_is_free_repeatable_and_conditional(run: Run, tmp_path: Path, model: Path) -> None:
    first, second = tmp_path / "1.csv", tmp_path / "2.csv"
    arguments = ("sample", model, "--rows", 300, "--seed", 7, "--where", "sex=f", "--where", "visits=3")

    assert run(*arguments, "--out", first, "--json").json["n_rows"] == 300
    assert run(*arguments, "--out", second).code == 0
    assert first.read_bytes() == second.read_bytes()
    made = pd.read_csv(first)
    assert set(made["sex"]) == {"f"} and set(made["visits"]) == {3}


@pytest.mark.parametrize("where", ["sex", "=f", "height=3", "sex=unknown"])
def test_a_condition_that_cannot_hold_is_refused(run: Run, tmp_path: Path, model: Path, where: str) -> None:
    done = run("sample", model, "--rows", 3, "--where", where, "--out", tmp_path / "r.csv")

    assert done.code == 2
    assert not (tmp_path / "r.csv").exists()


def test_a_sample_takes_ranges_and_shares(run: Run, tmp_path: Path, model: Path) -> None:
    arguments = ("--where", "age>=30", "--where", "age<60", "--balance", "sex:f=0.25,m=0.75", "--out", tmp_path / "s.csv")

    assert run("sample", model, "--rows", 400, "--seed", 1, *arguments).code == 0
    made = pd.read_csv(tmp_path / "s.csv")
    assert made["age"].between(30, 59).all()
    assert abs((made["sex"] == "m").mean() - 0.75) < 0.01
    assert run("sample", model, "--rows", 4, "--balance", "sex:f=0.25", "--out", tmp_path / "t.csv").code == 2


def test_a_mixed_table_is_marked_and_said_to_be_internal(run: Run, tmp_path: Path, table: Path, schema: Path, model: Path) -> None:
    drawn, mixed = tmp_path / "drawn.parquet", tmp_path / "mixed.parquet"
    assert run("sample", model, "--rows", 50, "--out", drawn).code == 0
    arguments = ("mix", table, "--schema", schema, "--synthetic", drawn)

    done = run(*arguments, "--out", mixed, "--json")

    assert done.code == 0 and done.json["holds_real_records"] is True
    assert "must stay inside" in done.err
    made = pd.read_parquet(mixed)
    assert (made["dp_origin"] == "synthetic").sum() == 50 and len(made) == done.json["n_rows"] > 50
    assert run(*arguments, "--out", mixed).code == 2
    assert run(*arguments, "--out", tmp_path / "mixed.csv").code == 2


def test_a_condition_is_given_once(run: Run, tmp_path: Path, model: Path) -> None:
    done = run("sample", model, "--rows", 3, "--where", "sex=f", "--where", "sex=m", "--out", tmp_path / "r.csv")

    assert done.code == 2


def test_force_replaces_a_file(run: Run, tmp_path: Path, model: Path) -> None:
    out = tmp_path / "r.csv"
    out.write_text("old", encoding="utf-8")

    assert run("sample", model, "--rows", 3, "--out", out).code == 2
    assert out.read_text(encoding="utf-8") == "old"
    assert run("sample", model, "--rows", 3, "--out", out, "--force").code == 0
    assert len(pd.read_csv(out)) == 3


def test_schema_lint_gives_digest_and_advice(run: Run, schema: Path) -> None:
    told = run("schema", "lint", schema, "--json").json

    assert told["fields"] == 3
    assert isinstance(told["advice"], list)
    assert told["digest"] in run("schema", "lint", schema).out


def test_the_ledger_from_cap_to_abandon(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    ledger = ("--ledger", tmp_path / "l.ledger")

    assert run("ledger", "set-cap", *ledger, *UNIT, "--epsilon", 2, "--delta", "1e-5", "--json").code == 0
    # Raising a cap silently is refused; with a reason and a name it becomes a row.
    assert run("ledger", "set-cap", *ledger, *UNIT, "--epsilon", 3, "--delta", "1e-5").code == 4
    why = ("--reason", "a second study", "--approved-by", "data protection officer")
    assert run("ledger", "set-cap", *ledger, *UNIT, "--epsilon", 3, "--delta", "1e-5", *why).code == 0

    assert run("ledger", "what-if", *ledger, *UNIT, *PRICE, "--json").json["releases_left"] == 3
    assert run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "r.csv", *ledger).code == 0
    assert run("ledger", "what-if", *ledger, *UNIT, *PRICE, "--json").json["releases_left"] == 2
    refused = run("ledger", "what-if", *ledger, *UNIT, "--epsilon", 2.5, "--delta", "1e-6", "--json")
    assert (refused.code, refused.json["allowed"]) == (4, False)

    assert run("ledger", "verify", *ledger, "--json").json["rows"] == 6
    assert "committed" in run("ledger", "show", *ledger, "--history").out
    assert run("ledger", "abandon", "no-such-id", *ledger).code == 4


def test_the_ledger_with_rhos_an_overlap_and_an_epoch(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    ledger = ("--ledger", tmp_path / "l.ledger")
    cap = run("ledger", "set-cap", *ledger, *UNIT, "--epsilon", 2, "--delta", "1e-5", "--composition", "zcdp", "--json").json["cap"]
    assert cap == {"epsilon": 2.0, "delta": "0.00001", "composition": "zcdp"}
    assert run("ledger", "what-if", *ledger, *UNIT, *PRICE, "--json").json["releases_left"] == 4
    for name in ("a.csv", "b.csv"):
        assert run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / name, *ledger).code == 0
    spent = run("ledger", "show", *ledger, "--json").json["populations"][0]["spent"]
    assert 1.28 < spent["epsilon"] < 1.3
    assert "zcdp" in run("ledger", "show", *ledger).out
    assert "zCDP, converted at the cap's delta" in run("ledger", "what-if", *ledger, *UNIT, *PRICE).out
    assert run("ledger", "set-cap", *ledger, *UNIT, "--epsilon", 1, "--delta", "1e-5", "--composition", "basic").code == 4

    shared = run("ledger", "overlap", *ledger, *UNIT, "--other", "registry", "--json")
    assert shared.json["spent"]["registry"]["epsilon"] == 2.0
    why = ("--declaration", "patients admitted after the merger only", "--approved-by", "privacy officer")
    assert run("ledger", "new-epoch", *ledger, *UNIT, *why, "--json").json["spent"]["epsilon"] == 0
    assert run("ledger", "new-epoch", *ledger, *UNIT, "--declaration", " ", "--approved-by", "x").code == 4
    # An overlap is not undone by new people: the registry keeps what it paid.
    registry = next(p for p in run("ledger", "show", *ledger, "--json").json["populations"] if p["population"] == "registry")
    assert registry["spent"]["epsilon"] == 2.0


def test_a_ledger_url_keeps_its_password_to_itself(run: Run, tmp_path: Path, table: Path, schema: Path) -> None:
    url = "postgresql://me:swordfish@localhost:1/privacy"
    synth = run("synth", table, "--schema", schema, *PRICE, "--out", tmp_path / "rows.csv", "--ledger", url)
    shown = run("ledger", "show", "--ledger", url)
    assert {synth.code, shown.code} <= {2, 4}  # 2 without the extra
    assert "swordfish" not in synth.out + synth.err + shown.out + shown.err
    assert not (tmp_path / "rows.csv").exists()
    assert run("ledger", "show", "--ledger", "mysql://localhost/privacy").code == 4


def test_keygen_makes_a_private_and_a_public_key_once(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    key = tmp_path / "release.key"

    told = run("keygen", key, "--json").json

    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert Path(told["public_key"]).read_text(encoding="utf-8").startswith("-----BEGIN PUBLIC KEY-----")
    assert run("keygen", key).code == 2


def test_every_shipped_policy_is_listed_shown_and_clean(run: Run) -> None:
    listed = run("policy", "list", "--json").json["policies"]

    assert [item["name"] for item in listed] == list(policies.names())
    for item in listed:
        assert run("policy", "show", item["name"], "--json").json["digest"] == item["digest"]
        assert run("policy", "lint", item["name"], "--json").json["advice"] == []
        assert item["digest"] in run("policy", "show", item["name"]).out


def test_a_rule_is_explained_with_its_source(run: Run) -> None:
    text = run("policy", "explain", "healthcare-public", "dp-001").out

    assert "DP-001" in text and "source" in text
    assert run("policy", "explain", "healthcare-public", "DP-001", "--json").json["rule"] == "DP-001"


def test_a_diff_names_what_was_tightened(run: Run) -> None:
    told = run("policy", "diff", "base", "healthcare-public", "--json").json

    assert "DP-001" in {change["rule"] for change in told["changes"]}
    assert "DP-001" in run("policy", "diff", "base", "healthcare-public").out


def _case(folder: Path, verdict: str) -> Path:
    path = folder / "case.json"
    cases = [{"description": "nothing is known", "verdict": verdict}]
    document = {
        "$schema": "dpsynth.policy-case/1",
        "description": "empty",
        "policy": "base",
        "evidence": {},
        "cases": cases,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_a_policy_case_that_holds_gives_0_and_one_that_does_not_gives_1(run: Run, tmp_path: Path) -> None:
    assert run("policy", "test", _case(tmp_path, "indeterminate")).code == 0

    failed = run("policy", "test", _case(tmp_path, "permitted"), "--json")
    assert (failed.code, failed.json["failed"]) == (1, 1)


def test_help_of_every_command_says_what_it_does(run: Run) -> None:
    from tests.house.cli_pages import commands

    for path, command in commands():
        done = run(*path.split(), "--help")
        assert done.code == 0
        assert command.help and command.help.split()[0] in done.out


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_sample_in_chunks_is_one_table(run: Run, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    from dpsynth import streaming

    monkeypatch.setattr(streaming, "CHUNK_ROWS", 100)
    out = tmp_path / f"rows.{suffix}"
    # Rows under a condition are not refined, so they come in chunks.
    done = run("sample", model, "--rows", 250, "--seed", 1, "--where", "sex=f", "--out", out, "--json")
    assert done.code == 0
    assert done.json["n_rows"] == 250
    table = pd.read_csv(out) if suffix == "csv" else pd.read_parquet(out)
    assert len(table) == 250
    assert list(table.columns) == ["age", "sex", "visits"]
    assert set(table["sex"]) == {"f"}
    assert table["age"].between(0, 100).all()
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_sample_that_fails_midway_leaves_no_file(run: Run, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dpsynth import streaming
    from dpsynth.errors import ConfigError

    monkeypatch.setattr(streaming, "CHUNK_ROWS", 100)
    honest = streaming.Chunks.draw

    def broken(self: streaming.Chunks, number: int) -> object:
        if number == 1:
            raise ConfigError("no more")
        return honest(self, number)

    monkeypatch.setattr(streaming.Chunks, "draw", broken)
    before = set(tmp_path.iterdir())
    assert run("sample", model, "--rows", 250, "--where", "sex=f", "--out", tmp_path / "rows.parquet").code == 2
    assert set(tmp_path.iterdir()) == before


def test_a_large_synthesis_is_written_in_chunks(
    run: Run, tmp_path: Path, table: Path, schema: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dpsynth import pipeline, streaming

    monkeypatch.setattr(pipeline, "_STREAMED_FROM", 300)
    monkeypatch.setattr(streaming, "CHUNK_ROWS", 100)
    out, small = tmp_path / "rows.parquet", tmp_path / "small.parquet"
    options = ("--schema", schema, "--epsilon", 3, "--delta", 1e-6, "--synthesizer", "independent", "--json")
    done = run("synth", table, *options, "--rows", 350, "--out", out)
    assert done.code == 0
    assert done.json["n_rows"] == 350
    assert run("synth", table, *options, "--rows", 300, "--out", small).code == 0
    large, few = pd.read_parquet(out), pd.read_parquet(small)
    assert len(large) == 350
    assert list(large.columns) == list(few.columns)
    assert large["age"].between(0, 100).all()


def test_show_names_the_file_of_each_threshold_and_diff_takes_a_bundle(run: Run, tmp_path: Path) -> None:
    base = run("policy", "show", "base", "--json").json
    rule = {"id": "DP-001", "title": "Epsilon", "metric": "dp.epsilon", "op": "<=", "value": 2.0, "severity": "blocker"}
    document = {
        "$schema": "dpsynth.policy/1", "policy": "mine", "version": "1.0.0", "title": "Mine", "extends": [f"base@1.0.0#{base['digest']}"],
        "rules": [{**rule, "source": {"kind": "house", "text": "the board"}}],
    }  # fmt: skip
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(document), encoding="utf-8")
    shown = [line.split() for line in run("policy", "show", mine).out.splitlines()]
    assert any("mine.json" in line for line in shown if line[:1] == ["DP-001"])
    assert "core" in next(line for line in shown if line[:1] == ["CORE-002"])

    (tmp_path / "bundle" / "internal").mkdir(parents=True)
    good = Path(__file__).parents[1] / "policies" / "cases" / "evidence-good.json"
    shutil.copy(good, tmp_path / "bundle" / "internal" / "evidence.json")
    replays = run("policy", "diff", "base", mine, "--evidence", tmp_path / "bundle", "--json").json["replays"]
    assert replays == run("policy", "diff", "base", mine, "--evidence", good, "--json").json["replays"] != []
