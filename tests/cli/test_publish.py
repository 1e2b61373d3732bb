"""A refused release leaves under a waiver: the table that was attacked, certified, with nothing read or charged anew."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import policies
from dpsynth.bundle import sha256_of
from dpsynth.privacy.ledger import Ledger
from tests.cli.conftest import CANARY, Result, Run, spoken
from tests.cli.test_release import PRICE

TODAY = datetime.now(UTC).date()


@pytest.fixture(scope="module")
def refusal(desk: Path) -> Result:
    """What the refused release printed; it lies in desk/refused."""
    return spoken([
        "release", str(desk / "visits.csv"), "--schema", str(desk / "visits.schema.json"), *PRICE, "--policy", str(desk / "strict.json"),
        "--synthesizer", "independent", "--tier", "smoke", "--out", str(desk / "refused"), "--ledger", str(desk / "l.ledger"),
        "--sign-off", "data-owner",
    ])  # fmt: skip


@pytest.fixture
def hand_out(tmp_path: Path, desk: Path) -> Callable[..., int]:
    """docs/recipes/hand_out.sh with the dpsynth under test; returns its exit code."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "dpsynth"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m dpsynth "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    root = Path(policies.__file__).parents[1]
    environment = {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(root)}

    def run(*arguments: object) -> int:
        command = ["sh", str(Path(__file__).parents[2] / "docs" / "recipes" / "hand_out.sh"), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, timeout=120).returncode

    return run


@pytest.fixture
def refused(desk: Path, refusal: Result, tmp_path: Path) -> Path:
    """A copy of it that a test may change."""
    assert refusal.code == 1
    return Path(shutil.copytree(desk / "refused", tmp_path / "refused"))


def _ledger(desk: Path) -> tuple[str, Path]:
    return "--ledger", desk / "l.ledger"


def _waivers(bundle: Path, **changes: Any) -> Path:
    waiver = {
        "id": "W-1",
        "rule": "TST-001",
        "subject_sha256": sha256_of(bundle / "internal" / "synthetic.parquet"),
        "reason": "agreed once",
        "max_value": 2.0,
        "requested_by": "Ana Lima",
        "approved_by": ["Bo Chen", "Cy Diaz"],
        "created": TODAY.isoformat(),
        "expires": (TODAY + timedelta(days=20)).isoformat(),
        **changes,
    }
    path = bundle.parent / "waivers.json"
    path.write_text(json.dumps({"$schema": "dpsynth.waivers/1", "waivers": [waiver]}), encoding="utf-8")
    return path


def _digests(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def test_the_refusal_says_what_a_waiver_would_name(refusal: Result, refused: Path) -> None:
    assert sha256_of(refused / "internal" / "synthetic.parquet") in refusal.out
    assert "dpsynth publish" in refusal.out and "sign first" not in refusal.out
    for name in ("synthetic.parquet", "synthetic.csv", "withheld.json"):
        assert (refused / "internal" / name).stat().st_mode & 0o777 == 0o600


def test_a_waiver_lets_the_very_table_out(run: Run, desk: Path, refused: Path, tmp_path: Path, hand_out: Callable[..., int]) -> None:
    tables = {name: sha256_of(refused / "internal" / name) for name in ("synthetic.parquet", "synthetic.csv")}
    evidence = sha256_of(refused / "internal" / "evidence.json")
    before = Ledger.open(desk / "l.ledger", create=False).head

    done = run("publish", refused, "--waivers", _waivers(refused), *_ledger(desk))

    assert done.code == 0, done.err
    assert "RELEASE PERMITTED" in done.out and "~ waived" in done.out
    assert "sign first" in done.out and "--role data-owner" in done.out
    assert {name: sha256_of(refused / "public" / name) for name in tables} == tables
    assert sha256_of(refused / "internal" / "evidence.json") == evidence
    assert Ledger.open(desk / "l.ledger", create=False).head == before
    assert json.loads((refused / "internal" / "first-decision.json").read_text())["verdict"] == "denied"
    assert not (refused / "internal" / "synthetic.parquet").exists()
    assert [path.name for path in refused.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()] == []
    # The signature that the release asked for is still asked for.
    assert run("verify", refused).code == 5
    pytest.importorskip("cryptography")
    assert run("keygen", refused.parent / "k").code == 0
    assert run("sign", refused, "--role", "data-owner", "--key", refused.parent / "k").code == 0
    report = run("verify", refused, "--key", f"data-owner={refused.parent / 'k.pub'}", "--json").json
    assert (report["authentic"], report["internal"]) == (True, "rederived")
    assert [(use["id"], use["rule"]) for use in report["statement"]["predicate"]["waivers"]] == [("W-1", "TST-001")]
    assert "W-1" in (refused / "public" / "report.html").read_text(encoding="utf-8")
    assert "| Waived | TST-001 by W-1, until" in (refused / "public" / "README.md").read_text(encoding="utf-8")
    decided = json.loads((refused / "internal" / "decision.json").read_text())["evaluated"]
    assert report["statement"]["predicate"]["issued"] == decided
    key, target = refused.parent / "k.pub", refused.parent / "handed"
    assert hand_out(refused, desk / "strict.json", key, target) == 1  # the waiver was not given
    assert not target.exists()
    assert hand_out(refused, desk / "strict.json", key, target, "--waivers", _waivers_of(refused)) == 0
    assert _digests(target) == _digests(refused / "public")
    assert hand_out(refused, desk / "strict.json", key, target, "--waivers", _waivers_of(refused)) not in (0, 70)
    with (refused / "public" / "synthetic.csv").open("a") as file:
        file.write("1,f,1\n")
    assert hand_out(refused, desk / "strict.json", key, tmp_path / "t", "--waivers", _waivers_of(refused)) == 5
    assert not (tmp_path / "t").exists()
    shutil.copy(target / "synthetic.csv", refused / "public" / "synthetic.csv")
    assert run("ledger", "verify", "--ledger", desk / "l.ledger", "--against", refused).code == 0
    assert run("publish", refused, "--waivers", _waivers_of(refused), *_ledger(desk)).code == 2  # it is out


def _waivers_of(bundle: Path) -> Path:
    return bundle.parent / "waivers.json"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"max_value": 1.9}, "beyond its max_value"),
        ({"subject_sha256": "a" * 64}, "another table"),
        ({"expires": (TODAY - timedelta(days=1)).isoformat(), "created": "2026-01-01"}, "expired"),
        ({"approved_by": ["ana lima", "Bo Chen"]}, "also approved it"),
        ({"rule": "CORE-001"}, "not needed"),
    ],
)
def test_a_waiver_that_does_not_count_changes_nothing(run: Run, desk: Path, refused: Path, changes: dict[str, Any], why: str) -> None:
    before = _digests(refused)
    done = run("publish", refused, "--waivers", _waivers(refused, **changes), *_ledger(desk), "--json")
    assert done.code == 1
    assert why in done.out
    assert _digests(refused) == before


def _swap_table(internal: Path) -> None:
    (internal / "synthetic.csv").write_text("age,sex,visits\n1,f,1\n", encoding="utf-8")


def _edit(name: str, path: str, value: Any) -> Callable[[Path], None]:
    def change(internal: Path) -> None:
        document = json.loads((internal / name).read_text(encoding="utf-8"))
        *parents, last = path.split(".")
        node = document
        for parent in parents:
            node = node[int(parent) if isinstance(node, list) else parent]
        node[last] = value
        (internal / name).write_text(json.dumps(document), encoding="utf-8")

    return change


def _swap_both(internal: Path) -> None:
    """Another table, and its digest where the refusal wrote down that of the table."""
    _swap_table(internal)
    withheld = json.loads((internal / "withheld.json").read_text(encoding="utf-8"))
    withheld["files"]["synthetic.csv"] = sha256_of(internal / "synthetic.csv")
    (internal / "withheld.json").write_text(json.dumps(withheld), encoding="utf-8")


def _milder_policy(internal: Path) -> None:
    """A looser limit, with the digest of the decision made to match."""
    document = json.loads((internal / "policy.json").read_text(encoding="utf-8"))
    [rule] = (rule for rule in document["rules"] if rule["id"] == "TST-001")
    rule["value"] = 5.0
    (internal / "policy.json").write_text(json.dumps(document), encoding="utf-8")
    effective = {name: part for name, part in document.items() if name not in ("digest", "files")}
    _edit("decision.json", "policy.digest", policies.loads(effective).digest)(internal)


EDITED = "are not those of the refusal that"
DAMAGE: dict[str, tuple[Callable[[Path], None], int, str]] = {
    "another table": (_swap_table, 5, "synthetic.csv is not the table that was refused"),
    "another table and its digest": (_swap_both, 5, EDITED),
    "a smaller epsilon": (_edit("evidence.json", "dp.epsilon", 0.4), 5, EDITED),
    "evidence of another table": (_edit("evidence.json", "release.sha256", "b" * 64), 5, EDITED),
    "another release's id": (_edit("evidence.json", "release.id", "0" * 32), 5, EDITED),
    "another schema": (_edit("withheld.json", "schema.dp:rows", 501), 5, EDITED),
    "a milder policy": (_milder_policy, 5, EDITED),
    "another seed": (_edit("provenance.json", "seed", 1), 5, EDITED),
    "no table": (lambda internal: (internal / "synthetic.csv").unlink(), 2, "synthetic.csv"),
    "no evidence": (lambda internal: (internal / "evidence.json").unlink(), 2, "evidence.json cannot be read"),
    "evidence that is not JSON": (lambda internal: (internal / "evidence.json").write_text("{"), 2, "is not JSON"),
    "evidence that is a list": (
        lambda internal: (internal / "evidence.json").write_text("[]"),
        2,
        "is not the bundle of a refused release",
    ),
    "nothing withheld": (lambda internal: (internal / "withheld.json").unlink(), 2, "has no table to publish"),
    "another format": (_edit("withheld.json", "$schema", "dpsynth.withheld/2"), 2, "not in the format"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_changed_refusal_is_not_published(run: Run, desk: Path, refused: Path, name: str) -> None:
    change, code, words = DAMAGE[name]
    waivers = _waivers(refused)
    change(refused / "internal")
    done = run("publish", refused, "--waivers", waivers, *_ledger(desk))
    assert done.code == code, done.out + done.err
    assert words in done.err
    assert not (refused / "public").exists()


def test_a_folder_that_is_no_bundle(run: Run, desk: Path, refused: Path, tmp_path: Path) -> None:
    done = run("publish", tmp_path, "--waivers", _waivers(refused), *_ledger(desk))
    assert done.code == 2 and "is not a bundle" in done.err


def test_another_ledger_does_not_know_the_refusal(run: Run, desk: Path, refused: Path, tmp_path: Path) -> None:
    Ledger.open(tmp_path / "other.ledger").set_cap("p", "record", 5.0, 1e-3)
    done = run("publish", refused, "--waivers", _waivers(refused), "--ledger", tmp_path / "other.ledger")
    assert done.code == 5 and EDITED in done.err
    assert run("publish", refused, "--waivers", _waivers(refused), "--ledger", tmp_path / "none.ledger").code == 4
    assert not (refused / "public").exists()


def test_without_a_ledger_no_table_is_kept(run: Run, desk: Path, tmp_path: Path) -> None:
    done = run(
        "release", desk / "visits.csv", "--schema", desk / "visits.schema.json", *PRICE, "--policy", desk / "strict.json",
        "--synthesizer", "independent", "--tier", "smoke", "--out", tmp_path / "free",
    )  # fmt: skip
    assert done.code in (1, 3) and "dpsynth publish" not in done.out
    assert not {path.name for path in (tmp_path / "free" / "internal").iterdir()} & {"synthetic.parquet", "synthetic.csv", "withheld.json"}


def test_a_table_that_no_waiver_can_let_out_is_not_kept(run: Run, desk: Path, refused: Path, tmp_path: Path) -> None:
    document = json.loads((desk / "strict.json").read_text(encoding="utf-8"))
    (tmp_path / "never.json").write_text(json.dumps({**document, "waivers": {"non_waivable": ["TST-001"]}}), encoding="utf-8")
    done = run(
        "release", desk / "visits.csv", "--schema", desk / "visits.schema.json", *PRICE, "--policy", tmp_path / "never.json",
        "--synthesizer", "independent", "--tier", "smoke", "--out", tmp_path / "never", *_ledger(desk),
    )  # fmt: skip
    assert done.code == 1 and "dpsynth publish" not in done.out
    assert not {path.name for path in (tmp_path / "never" / "internal").iterdir()} & {"synthetic.parquet", "synthetic.csv", "withheld.json"}
    again = run("publish", tmp_path / "never", "--waivers", _waivers(refused), *_ledger(desk))
    assert again.code == 2 and "takes no waiver" in again.err


def test_what_the_publisher_says_may_come_late_and_a_promised_signature_may_not(run: Run, desk: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    assert run("keygen", tmp_path / "key").code == 0
    bundle, ledger = tmp_path / "signed", ("--ledger", tmp_path / "signed.ledger")
    done = run(
        "release", desk / "visits.csv", "--schema", desk / "visits.schema.json", *PRICE, "--policy", desk / "strict.json",
        "--synthesizer", "independent", "--tier", "smoke", "--out", bundle, *ledger, "--key", tmp_path / "key",
    )  # fmt: skip
    assert done.code == 1
    waivers = _waivers(bundle)
    unsigned = run("publish", bundle, "--waivers", waivers, *ledger)
    assert unsigned.code == 2 and "give the key that signs it" in unsigned.err
    assert not (bundle / "public").exists()

    (tmp_path / "about.json").write_text(
        json.dumps({"$schema": "dpsynth.about/1", "publisher": ["Institute of Examples"]}), encoding="utf-8"
    )
    done = run("publish", bundle, "--waivers", waivers, *ledger, "--key", tmp_path / "key", "--about", tmp_path / "about.json", "--json")
    assert (done.code, done.json["exit_code"], done.json["n_rows"]) == (0, 0, 500)
    assert "Institute of Examples" in (bundle / "public" / "DATASHEET.md").read_text(encoding="utf-8")
    assert run("verify", bundle, "--key", tmp_path / "key.pub", "--json").json["authentic"] is True
