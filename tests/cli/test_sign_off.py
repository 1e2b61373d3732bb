"""Two people sign a release, a third replaces it, and it is taken back: through the command line, on one real bundle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run, schema_document, spoken, table_text
from tests.cli.test_release import _arguments

pytest.importorskip("cryptography", reason="keys are made with the extra 'sign'")

OLD = "0123456789abcdef0123456789abcdef"
ROLES = ("data-owner", "privacy-officer")


def _rule(id_: str, metric: str, op: str, value: float) -> dict[str, object]:
    source = {"kind": "house", "text": "a test"}
    return {"id": id_, "title": metric, "metric": metric, "op": op, "value": value, "severity": "blocker", "source": source}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Table, schema, keys, a policy that asks for two roles, and a release that waits for both signatures."""
    folder = tmp_path_factory.mktemp("desk")
    (folder / "visits.csv").write_text(table_text(600, seed=0), encoding="utf-8")
    (folder / "visits.schema.json").write_text(json.dumps(schema_document()), encoding="utf-8")
    rules = [_rule("TST-001", "dp.epsilon", "<=", 5.0), _rule("TST-002", "approvals.distinct_roles", ">=", 2)]
    policy = {"$schema": "dpsynth.policy/1", "policy": "lenient", "version": "1.0.0", "title": "two roles", "rules": rules}
    (folder / "lenient.json").write_text(json.dumps(policy), encoding="utf-8")
    for role in (*ROLES, "stranger"):
        assert spoken(["keygen", str(folder / role)]).code == 0
    asked = [part for role in ROLES for part in ("--sign-off", role)]
    done = spoken(_arguments(folder, "lenient", "waiting", *asked, "--supersedes", OLD))
    assert done.code == 0, done.err
    assert "dpsynth sign" in done.out
    assert "--role privacy-officer" in done.out
    return folder


@pytest.fixture
def waiting(desk: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(desk / "waiting", tmp_path / "bundle"))


@pytest.fixture
def signed(run: Run, waiting: Path, desk: Path) -> Path:
    for role in ROLES:
        assert run("sign", waiting, "--role", role, "--key", desk / role).code == 0
    return waiting


def _keys(desk: Path, *roles: str) -> list[str]:
    return [part for role in roles for part in ("--key", f"{role}={desk / role}.pub")]


def test_until_both_have_signed_it_does_not_verify(run: Run, waiting: Path, desk: Path) -> None:
    before = run("verify", waiting)
    assert (before.code, "signature of the data-owner is missing; signed by nobody" in before.err) == (5, True)

    first = run("sign", waiting, "--role", "data-owner", "--key", desk / "data-owner")
    assert (first.code, "still to sign" in first.out) == (0, True)
    half = run("verify", waiting, *_keys(desk, "data-owner"))
    assert (half.code, "signature of the privacy-officer is missing" in half.err) == (5, True)
    alone = run("sign", waiting, "--role", "privacy-officer", "--key", desk / "data-owner")
    assert (alone.code, "cannot stand for two roles" in alone.err) == (2, True)

    assert run("sign", waiting, "--role", "privacy-officer", "--key", desk / "privacy-officer").code == 0
    whole = run("verify", waiting, *_keys(desk, *ROLES), "--json").json
    assert (whole["authentic"], whole["internal"], whole["warnings"]) == (True, "rederived", [])
    assert OLD in run("verify", waiting).out  # what it replaces


def test_a_role_that_was_not_asked_for_may_sign_and_is_told_so(run: Run, waiting: Path, desk: Path) -> None:
    done = run("sign", waiting, "--role", "privacy-oficer", "--key", desk / "stranger")
    assert (done.code, "does not ask for privacy-oficer" in done.out) == (0, True)
    assert run("verify", waiting).code == 5


def test_one_flipped_bit_in_any_file_of_a_real_bundle_exits_with_5_and_names_it(run: Run, signed: Path, desk: Path) -> None:
    files = sorted((signed / "public").iterdir())
    assert len(files) >= 9
    for path in files:
        content = path.read_bytes()
        for at in (0, len(content) // 2, len(content) - 1):
            damaged = bytearray(content)
            damaged[at] ^= 1 << (at % 8)
            path.write_bytes(damaged)
            found = run("verify", signed, *_keys(desk, *ROLES))
            assert found.code == 5, f"{path.name} at {at}"
            assert path.name in found.err
        path.write_bytes(content)
    assert run("verify", signed, *_keys(desk, *ROLES)).code == 0


def test_every_other_way_to_break_it_exits_with_5_and_the_reason(run: Run, signed: Path, desk: Path, tmp_path: Path) -> None:
    public = signed / "public"

    def refused(reason: str, *arguments: str) -> None:
        found = run("verify", signed, *arguments)
        assert (found.code, reason in found.err) == (5, True), found.err

    refused("required signature of the privacy-officer", "--key", f"privacy-officer={desk / 'stranger'}.pub")
    for path in sorted(public.iterdir()):
        kept = path.read_bytes()
        path.unlink()
        refused(path.name)
        path.write_bytes(kept)
    (public / "notes.txt").write_text("hello", encoding="utf-8")
    refused("notes.txt is not in the certificate")
    (public / "notes.txt").unlink()
    for name in ("certificate.dsse.json", "svr.dsse.json"):
        kept = (public / name).read_bytes()
        (public / name).write_bytes((desk / "waiting" / "public" / name).read_bytes())  # of the same release, before it was signed
        refused("svr.dsse.json")
        (public / name).write_bytes(kept)
    assert run("verify", signed, *_keys(desk, *ROLES)).code == 0


def test_a_release_is_taken_back_for_everybody_who_has_the_list(run: Run, signed: Path, desk: Path, tmp_path: Path) -> None:
    taken = tmp_path / "revocations.json"
    why = ("--reason", "the unit was wrong", "--out", taken)
    itself = run("revoke", signed, "--key", desk / "data-owner", "--role", "data-owner", *why, "--superseded-by", signed)
    assert (itself.code, "cannot supersede itself" in itself.err, taken.exists()) == (2, True, False)
    told = run("revoke", signed, "--key", desk / "data-owner", "--role", "data-owner", *why, "--superseded-by", OLD, "--json").json
    assert (told["kind"], told["statements"]) == ("release", 1)
    refused = run("verify", signed, "--revocations", taken)
    assert (refused.code, "the unit was wrong" in refused.err, OLD in refused.err) == (5, True, True)
    assert run("verify", signed).code == 0

    lost = tmp_path / "lost.json"
    key = ("--key", desk / "privacy-officer", "--role", "privacy-officer", "--reason", "laptop lost", "--out", lost)
    assert "laptop lost" in run("revoke", desk / "privacy-officer.pub", *key).out
    assert "key" in run("verify", signed, "--revocations", lost).err
    assert run("verify", signed, "--revocations", tmp_path / "none.json").code == 5
    lost.write_bytes(lost.read_bytes()[:-1])
    assert run("verify", signed, "--revocations", lost).code == 5


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (("--sign-off", "Data Owner"), "role=Data Owner"),
        (("--supersedes", "out/no-such-bundle"), "neither a bundle nor the id"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_anything_is_charged(
    run: Run, desk: Path, tmp_path: Path, more: tuple[str, ...], named: str
) -> None:
    rows = run("ledger", "show", "--ledger", desk / "l.ledger", "--json").json["rows"]
    done = run(*_arguments(desk, "lenient", "never", *more))
    assert (done.code, named in done.err) == (2, True)
    assert not (desk / "never").exists()
    assert run("ledger", "show", "--ledger", desk / "l.ledger", "--json").json["rows"] == rows
