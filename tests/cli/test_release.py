"""From records to a decision through the command line, and what is done with the bundle afterwards.

The cheap tier and a policy with one rule of its own keep the line short. Every policy stands on the core rules anyway.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from dpsynth.privacy.ledger import Ledger
from tests.cli.conftest import CANARY, Result, Run, spoken, table_text

PRICE = ("--epsilon", "2", "--delta", "1e-6")
DEMO_SECONDS = 180  # of processor time, which other tests on the same machine do not change
TELLING = ("value", "interval", "n")  # keys of a finding that are functions of real records


def _arguments(desk: Path, policy: str, out: str, *more: str) -> list[str]:
    named = str(desk / f"{policy}.json") if policy in ("lenient", "strict") else policy
    return [
        "release", str(desk / "visits.csv"), "--schema", str(desk / "visits.schema.json"), *PRICE, "--policy", named,
        "--synthesizer", "independent", "--tier", "smoke", "--out", str(desk / out),
        "--ledger", str(desk / "l.ledger"), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def told(desk: Path) -> dict[str, Any]:
    """What a permitted release printed; signed where the extra is there."""
    key: tuple[str, ...] = ()
    if find_spec("cryptography") is not None:
        assert spoken(["keygen", str(desk / "k")]).code == 0
        key = ("--key", str(desk / "k"))
    approvals = ("--approval", "data-owner=A. Owner", "--approval", "privacy-officer=P. Officer")
    more = (*key, *approvals, "--purpose", "a test", "--rows", "450", "--json")
    return spoken(_arguments(desk, "lenient", "permitted", *more)).json


@pytest.fixture(scope="module")
def released(desk: Path, told: dict[str, Any]) -> Path:
    """The permitted bundle."""
    return desk / "permitted"


@pytest.fixture(scope="module")
def denied(desk: Path) -> Result:
    """A release that its policy denies, in desk/denied."""
    return spoken(_arguments(desk, "strict", "denied"))


@pytest.fixture
def bundle(released: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(released, tmp_path / "bundle"))


def test_a_permitted_release_has_the_keys_and_files_that_scripts_rely_on(told: dict[str, Any]) -> None:
    assert told["exit_code"] == 0
    assert {"decision", "exit_code", "bundle", "epsilon", "delta", "unit", "synthesizer", "n_rows", "seconds"} <= set(told)
    assert (told["epsilon"], told["delta"], told["unit"], told["n_rows"]) == (2.0, 1e-6, "person", 450)
    assert told["decision"]["permitted"] is True
    assert {"read", "synthesize", "audit", "compare", "write"} <= set(told["seconds"])
    public = {path.name for path in Path(told["bundle"]["public"]).iterdir()}
    assert {
        "synthetic.parquet",
        "synthetic.csv",
        "datapackage.json",
        "README.md",
        "certificate.dsse.json",
        "report.html",
    } <= public
    assert {"SHA256SUMS", "VERIFY.md"} <= public
    internal = {path.name for path in Path(told["bundle"]["internal"]).iterdir()}
    assert {
        "report.html",
        "evidence.json",
        "decision.json",
        "policy.json",
        "transcript.json",
        "results.sarif",
    } <= internal
    assert {"results.junit.xml", "provenance.json"} <= internal
    first_line = (Path(told["bundle"]["public"]) / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert "SYNTHETIC DATA" in first_line


def test_a_denied_release_has_reasons_and_nothing_public(desk: Path, denied: Result) -> None:
    assert denied.code == 1
    assert "RELEASE DENIED" in denied.out and "TST-001" in denied.out
    assert not (desk / "denied" / "public").exists()
    assert (desk / "denied" / "internal" / "report.html").is_file()


def test_missing_evidence_is_indeterminate_and_says_which_rule_lacks_what(run: Run, desk: Path) -> None:
    done = run(*_arguments(desk, "demo-health", "unknown"))

    assert done.code == 3
    assert "unknown" in done.out
    assert not (desk / "unknown" / "public").exists()


def test_json_shows_no_measured_value_unless_asked(run: Run, released: Path, desk: Path) -> None:
    evidence = released / "internal" / "evidence.json"

    silent = run("gate", evidence, "--policy", "demo-health", "--json").json
    told = run("gate", evidence, "--policy", "demo-health", "--json", "--disclosure", "reviewer").json

    assert not any(set(finding) & set(TELLING) for finding in silent["findings"])
    assert all(set(TELLING) <= set(finding) for finding in told["findings"])


def test_the_bundle_verifies_whole_and_as_received(run: Run, released: Path, desk: Path) -> None:
    key = ("--key", desk / "k.pub") if (desk / "k.pub").exists() else ()

    assert run("verify", released, *key).code == 0
    told = run("verify", released / "public", *key, "--json").json
    assert told["exit_code"] == 0
    assert told["authentic"] is bool(key)


PUBLIC = [
    "README.md",
    "SHA256SUMS",
    "VERIFY.md",
    "certificate.dsse.json",
    "datapackage.json",
    "report.html",
    "synthetic.csv",
]


@pytest.mark.parametrize("name", [*PUBLIC, "synthetic.parquet", "svr.dsse.json"])
def test_one_flipped_bit_is_found_and_the_file_named(run: Run, bundle: Path, name: str) -> None:
    path = bundle / "public" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    done = run("verify", bundle)

    assert done.code == 5
    assert name in done.err


def test_an_added_and_a_removed_file_are_found(run: Run, bundle: Path) -> None:
    (bundle / "public" / "extra.csv").write_text("a\n", encoding="utf-8")
    added = run("verify", bundle)
    assert added.code == 5 and "extra.csv" in added.err

    (bundle / "public" / "extra.csv").unlink()
    (bundle / "public" / "report.html").unlink()
    removed = run("verify", bundle)
    assert removed.code == 5 and "report.html" in removed.err


def test_a_second_person_signs_and_each_role_can_be_required(run: Run, bundle: Path, desk: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    officer, stranger = tmp_path / "officer", tmp_path / "stranger"
    assert run("keygen", officer).code == run("keygen", stranger).code == 0

    assert run("sign", bundle, "--role", "privacy-officer", "--key", officer).code == 0

    both = ("--key", f"publisher={desk / 'k.pub'}", "--key", f"privacy-officer={officer}.pub")
    assert run("verify", bundle, *both).code == 0
    assert run("verify", bundle, "--key", f"publisher={officer}.pub").code == 5
    assert run("verify", bundle, "--key", f"{stranger}.pub").code == 5
    assert run("verify", bundle, "--key", f"publisher={desk / 'k.pub'}", "--key", f"{officer}.pub").code == 2
    assert run("verify", bundle, "--key", officer).code == 2  # the private half


def test_a_ledger_is_checked_against_the_certificate(run: Run, released: Path, desk: Path) -> None:
    told = run("ledger", "verify", "--ledger", desk / "l.ledger", "--against", released, "--json").json

    assert told["certificates"] == 1


@pytest.mark.parametrize("audience", ["reviewer", "public"])
def test_a_report_is_drawn_again_to_the_byte(run: Run, released: Path, tmp_path: Path, audience: str) -> None:
    flags = ("--public",) if audience == "public" else ()

    assert run("report", released, "--out", tmp_path / "1.html", *flags).code == 0
    assert run("report", released / "internal" / "evidence.json", "--out", tmp_path / "2.html", *flags).code == 0
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()
    assert b"<script" not in (tmp_path / "1.html").read_bytes()


@pytest.mark.parametrize("style", ["text", "json", "sarif", "junit", "github"])
def test_a_gate_writes_what_a_pipeline_reads(run: Run, released: Path, tmp_path: Path, style: str) -> None:
    out = tmp_path / "findings"

    done = run("gate", released, "--policy", "demo-health", "--format", style)
    assert run("gate", released, "--policy", "demo-health", "--format", style, "--out", out).code == done.code == 3
    # The two were judged one after the other, perhaps in two seconds.
    moment = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
    assert moment.sub("then", out.read_text(encoding="utf-8").strip()) == moment.sub("then", done.out.strip())
    assert run("gate", released, "--policy", "demo-health", "--out", out).code == 2  # it exists
    if style in ("json", "sarif"):
        json.loads(done.out)


def test_a_gate_gives_the_codes_of_its_verdicts(run: Run, released: Path, desk: Path) -> None:
    codes = [run("gate", released, "--policy", desk / f"{name}.json").code for name in ("lenient", "strict")]

    assert codes == [0, 1]


def test_the_planted_value_is_nowhere(released: Path, desk: Path, denied: Result) -> None:
    assert CANARY in (desk / "visits.csv").read_text(encoding="utf-8")

    files = [path for folder in (released, desk / "denied") for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 15
    assert [path.name for path in files if CANARY.encode() in path.read_bytes()] == []
    assert CANARY not in denied.out + denied.err


def test_a_release_repeated_to_the_cap_is_refused_before_the_table_is_opened(run: Run, desk: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "capped.ledger"
    cap = ("--population", "clinic-patients", "--unit", "person", "--epsilon", "2", "--delta", "1e-5")
    assert run("ledger", "set-cap", "--ledger", ledger, *cap).code == 0
    arguments = [*_arguments(desk, "lenient", "x"), "--ledger", str(ledger)]

    assert run(*arguments, "--out", tmp_path / "one").code == 0
    arguments[1] = str(tmp_path / "none.csv")
    refused = run(*arguments, "--out", tmp_path / "two")

    assert refused.code == 4
    assert "cap" in refused.err
    assert not (tmp_path / "two").exists()


def test_attempts_beyond_those_of_the_policy_are_refused_before_the_table_is_opened(run: Run, desk: Path, tmp_path: Path) -> None:
    document = json.loads((desk / "strict.json").read_text(encoding="utf-8"))
    (tmp_path / "once.json").write_text(json.dumps({**document, "budget": {"max_attempts": 1}}), encoding="utf-8")
    ledger = tmp_path / "once.ledger"
    arguments = [*_arguments(desk, "strict", "x"), "--ledger", str(ledger), "--policy", str(tmp_path / "once.json")]

    assert run(*arguments, "--out", tmp_path / "one").code == 1
    arguments[1] = str(tmp_path / "none.csv")
    refused = run(*arguments, "--out", tmp_path / "two")

    assert refused.code == 4
    assert "was tried 1 times" in refused.err and "max_attempts=1" in refused.err
    assert float(Ledger.open(ledger, create=False).spent("clinic-patients", "person").epsilon) == 2.0
    assert not (tmp_path / "two").exists()


def test_a_table_without_rows_is_judged_and_charged_like_one_with_a_row(run: Run, desk: Path, tmp_path: Path) -> None:
    seen = []
    for name, rows in (("none", 0), ("one", 1)):
        (tmp_path / f"{name}.csv").write_text(table_text(rows, seed=0), encoding="utf-8")
        ledger = tmp_path / f"{name}.ledger"
        arguments = [*_arguments(desk, "demo-health", "x"), "--ledger", str(ledger), "--out", str(tmp_path / name)]
        arguments[1] = str(tmp_path / f"{name}.csv")
        done = run(*arguments)
        spent = Ledger.open(ledger, create=False).spent("clinic-patients", "person")
        seen.append(
            (done.code, float(spent.epsilon), spent.unfinished, sorted(path.name for path in (tmp_path / name / "internal").iterdir()))
        )
    assert seen[0] == seen[1]
    assert seen[0][:3] == (3, 2.0, 0)


def test_a_killed_release_stays_charged_and_leaves_no_bundle(desk: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "killed.ledger"
    arguments = [*_arguments(desk, "lenient", "x"), "--ledger", str(ledger), "--out", str(tmp_path / "out" / "b")]
    (tmp_path / "out").mkdir()
    # The fit never returns, so the kill falls between reading and the end.
    program = (
        "import sys, time\nfrom dpsynth.cli import main\nfrom dpsynth.synthesizers import Independent\n"
        "Independent.fit = lambda *a: (print('fitting', flush=True), time.sleep(60))\nsys.exit(main(sys.argv[1:]))"
    )
    for number, code in ((signal.SIGTERM, 143), (signal.SIGKILL, -9)):
        with subprocess.Popen([sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"fitting\n"
            os.kill(process.pid, number)
            assert process.wait() == code
        if number == signal.SIGTERM:
            assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "out" / "b").exists()
    spent = Ledger.open(ledger, create=False).spent("clinic-patients", "person")
    assert float(spent.epsilon) == 4.0


def _audit(desk: Path, synthetic: Path, run: Run, *more: object) -> Result:
    (desk / "others.csv").write_text(table_text(600, seed=1), encoding="utf-8")
    tables = ("--train", desk / "visits.csv", "--control", desk / "others.csv", "--synthetic", synthetic)
    return run("audit", *tables, "--tier", "smoke", *more)


def test_anybodys_table_can_be_audited_with_and_without_a_schema(run: Run, released: Path, desk: Path) -> None:
    synthetic = released / "public" / "synthetic.csv"

    told = _audit(desk, synthetic, run, "--schema", desk / "visits.schema.json", *PRICE, "--json").json
    assert {"verdict", "results", "claim"} <= set(told)
    assert told["claim"]["epsilon"] == 2.0
    assert told["results"]["membership"]["verdict"] != "VIOLATION"
    # Rows that know nothing of the training table: without a claim, members may not stand out at all.
    (desk / "fresh.csv").write_text(table_text(600, seed=2), encoding="utf-8")
    guessed = _audit(desk, desk / "fresh.csv", run)
    assert guessed.code in (0, 3)
    assert "membership" in guessed.out


def test_a_copy_of_the_training_table_is_found(run: Run, desk: Path) -> None:
    done = _audit(desk, desk / "visits.csv", run, "--schema", desk / "visits.schema.json", *PRICE)

    assert done.code == 1
    assert "VIOLATION" in done.out


@pytest.mark.slow
def test_the_demonstration_is_permitted_and_verifies(run: Run, tmp_path: Path) -> None:
    began = time.process_time()
    out = tmp_path / "out" / "demo"

    done = run("demo", "--out", out)

    assert done.code == 0, done.out
    assert "RELEASE PERMITTED" in done.out and str(out) in done.out
    key = tmp_path / "out" / "demo.key.pub"
    assert run("verify", out, *(("--key", key) if key.exists() else ())).code == 0
    assert run("demo", "--out", out).code == 2  # it exists
    assert time.process_time() - began < DEMO_SECONDS


@pytest.mark.slow
def test_the_broken_demonstration_is_denied_with_reasons(run: Run, tmp_path: Path) -> None:
    done = run("demo", "--broken", "--out", tmp_path / "broken")

    assert done.code == 1, done.out
    assert "RELEASE DENIED" in done.out and "CORE-001" in done.out
    assert not (tmp_path / "broken" / "public").exists()
