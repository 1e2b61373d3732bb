"""Taking releases and keys back: who may, that it is found, and that nothing else gets in or out of the list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dpsynth import certificate
from dpsynth.bundle import CERTIFICATE
from dpsynth.certificate import Revocation, SigningKey
from dpsynth.errors import ConfigError, VerificationError
from tests.dpsynth.trust.conftest import NOW, Make, new_key

pytest.importorskip("cryptography", reason="keys are made with the extra 'sign'")

RELEASE = "0123456789abcdef0123456789abcdef"


def _verify(bundle: Any, *revocations: Revocation, keys: Any = ()) -> certificate.VerificationReport:
    return certificate.verify(bundle.root, keys=keys, revocations=revocations, now=NOW)


def test_a_release_revoked_by_a_signer_is_refused_with_the_reason_and_what_to_use(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    taken = certificate.revoke_bundle(bundle.root, key, "data-owner", reason="wrong unit", superseded_by="feed" * 8)
    with pytest.raises(VerificationError, match=rf"release {RELEASE} was revoked on .* by data-owner: wrong unit; release feed") as caught:
        _verify(bundle, taken, keys=[key.public])
    assert caught.value.exit_code == 5
    _verify(bundle)  # whoever has no list does not know


def test_a_revocation_needs_only_the_certificate(make: Make, key: SigningKey, tmp_path: Path) -> None:
    bundle = make(key)
    assert bundle.public is not None
    (bundle.public / "synthetic.csv").unlink()
    for place in (bundle.root, bundle.public, bundle.public / CERTIFICATE):
        assert certificate.revoke_bundle(place, key, "data-owner", reason="x").id == RELEASE


def test_a_release_cannot_supersede_itself(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    with pytest.raises(ConfigError, match=f"release {RELEASE} cannot supersede itself; name the one") as caught:
        certificate.revoke_bundle(bundle.root, key, "data-owner", reason="x", superseded_by=RELEASE)
    assert caught.value.exit_code == 2


def test_a_strangers_revocation_is_mentioned_and_changes_nothing_unless_the_verifier_trusts_them(
    make: Make, key: SigningKey, tmp_path: Path
) -> None:
    bundle, stranger = make(key), new_key(tmp_path, "stranger")
    taken = certificate.revoke_bundle(bundle.root, stranger, "passer-by", reason="I do not like it")
    report = _verify(bundle, taken, keys=[key.public])
    assert any("neither signed this certificate nor is trusted here" in warning for warning in report.warnings)
    certificate.sign_bundle(bundle.root, stranger, "privacy-officer")
    with pytest.raises(VerificationError, match="by passer-by"):
        _verify(bundle, taken, keys=[key.public])  # a signer of the certificate may take it back


def test_an_unsigned_release_can_be_taken_back_by_anybody(make: Make, tmp_path: Path) -> None:
    bundle = make()
    taken = certificate.revoke_bundle(bundle.root, new_key(tmp_path, "anybody"), "publisher", reason="withdrawn")
    with pytest.raises(VerificationError, match="withdrawn"):
        _verify(bundle, taken)


@pytest.mark.parametrize("by", ["itself", "another signer", "a trusted key"])
def test_a_revoked_key_takes_all_it_signed_with_it(make: Make, key: SigningKey, tmp_path: Path, by: str) -> None:
    bundle, officer = make(key), new_key(tmp_path, "officer")
    if by == "another signer":
        certificate.sign_bundle(bundle.root, officer, "privacy-officer")
    who = key if by == "itself" else officer
    keys = [key.public, officer.public] if by == "another signer" else []
    if by == "a trusted key":
        # A key that the verifier gives must have signed, so trust beyond the signers comes as a signature too.
        certificate.sign_bundle(bundle.root, officer, "auditor")
        keys = [officer.public]
    taken = certificate.revoke_key(key.public, who, "security", reason="laptop lost")
    with pytest.raises(VerificationError, match=f"key {key.public.keyid} was revoked on .* by security: laptop lost"):
        _verify(bundle, taken, keys=keys)


def test_a_strangers_word_about_a_key_is_only_mentioned(make: Make, key: SigningKey, tmp_path: Path) -> None:
    taken = certificate.revoke_key(key.public, new_key(tmp_path, "stranger"), "security", reason="x")
    assert any("somebody who neither" in w for w in _verify(make(key), taken, keys=[key.public]).warnings)


def test_revocations_of_other_releases_and_keys_do_not_matter(
    make: Make, key: SigningKey, evidence: dict[str, Any], tmp_path: Path
) -> None:
    bundle = make(key, name="this")
    evidence["release"]["id"] = "f" * 32
    other = certificate.revoke_bundle(make(key, name="other").root, key, "data-owner", reason="x")
    lost = certificate.revoke_key(new_key(tmp_path, "lost").public, key, "data-owner", reason="x")
    assert _verify(bundle, other, lost, keys=[key.public]).warnings == ()


def test_the_list_keeps_what_was_added_and_refuses_any_flipped_bit(make: Make, key: SigningKey, tmp_path: Path) -> None:
    bundle, path = make(key), tmp_path / "revocations.json"
    first = certificate.revoke_bundle(bundle.root, key, "data-owner", reason="wrong unit")
    assert certificate.append_revocation(path, first) == 1
    assert certificate.append_revocation(path, certificate.revoke_key(key.public, key, "data-owner", reason="lost")) == 2
    assert [item.kind for item in certificate.read_revocations(path)] == ["release", "key"]
    assert [p.name for p in tmp_path.glob("*revocations*")] == ["revocations.json"]
    content = path.read_bytes()
    for at in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[at] ^= 1 << (at % 8)
        path.write_bytes(damaged)
        with pytest.raises(VerificationError):
            certificate.read_revocations(path)


def _without_signatures(document: Any) -> None:
    document["revocations"][0]["signatures"] = []


def _another_schema(document: Any) -> None:
    document["$schema"] = "dpsynth.revocations/2"


def _certificate_instead(document: Any) -> None:
    document["revocations"] = [document["certificate"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_signatures, "unsigned"),
        (_another_schema, "no list of revocations"),
        (_certificate_instead, "at /revocations/0: .*malformed"),
    ],
)
def test_a_list_that_is_none_is_refused_as_a_whole(make: Make, key: SigningKey, tmp_path: Path, change: Any, message: str) -> None:
    bundle, path = make(key), tmp_path / "revocations.json"
    certificate.append_revocation(path, certificate.revoke_bundle(bundle.root, key, "data-owner", reason="x"))
    document = json.loads(path.read_bytes())
    assert bundle.public is not None
    document["certificate"] = json.loads((bundle.public / CERTIFICATE).read_bytes())
    change(document)
    del document["certificate"]
    path.write_bytes(json.dumps(document, indent=1).encode() + b"\n")
    with pytest.raises(VerificationError, match=message):
        certificate.read_revocations(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"$schema": "dpsynth.revocations/1"}'])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(content)
    with pytest.raises(VerificationError, match=r"list\.json is damaged"):
        certificate.read_revocations(path)
    with pytest.raises(VerificationError, match="cannot be read"):
        certificate.read_revocations(tmp_path / "none.json")
    path.write_bytes(b" " * 9_000_000)
    with pytest.raises(VerificationError, match="too large"):
        certificate.read_revocations(path)


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 501])
def test_a_reason_is_one_line(make: Make, key: SigningKey, reason: str) -> None:
    with pytest.raises(ConfigError, match="needs a reason"):
        certificate.revoke_bundle(make(key).root, key, "data-owner", reason=reason)


# --- roles that must sign


def test_a_certificate_that_asks_for_two_signatures_verifies_only_with_both(
    make: Make, key: SigningKey, evidence: dict[str, Any], tmp_path: Path
) -> None:
    evidence["approvals"]["signatures_required"] = ["data-owner", "privacy-officer"]
    officer, bundle = new_key(tmp_path, "officer"), make()
    with pytest.raises(VerificationError, match="signature of the data-owner is missing; signed by nobody"):
        _verify(bundle)
    assert certificate.sign_bundle(bundle.root, key, "data-owner").pending == ("privacy-officer",)
    for keys in ((), [key.public], {"data-owner": key.public}):
        with pytest.raises(VerificationError, match="signature of the privacy-officer is missing; signed by data-owner") as caught:
            _verify(bundle, keys=keys)
        assert caught.value.exit_code == 5
    done = certificate.sign_bundle(bundle.root, officer, "privacy-officer")
    assert done.pending == ()
    report = _verify(bundle, keys={"data-owner": key.public, "privacy-officer": officer.public})
    assert (report.warnings, len(report.signers)) == ((), 2)
    report = _verify(bundle, keys={"data-owner": key.public})
    assert report.warnings == ("the privacy-officer signed with a key that you did not give",)


def test_one_person_cannot_sign_for_two(make: Make, key: SigningKey, evidence: dict[str, Any]) -> None:
    evidence["approvals"]["signatures_required"] = ["data-owner", "privacy-officer"]
    bundle = make(key)
    with pytest.raises(ConfigError, match="one key cannot stand for two roles"):
        certificate.sign_bundle(bundle.root, key, "privacy-officer")


def test_who_must_sign_is_part_of_what_is_signed(make: Make, key: SigningKey, evidence: dict[str, Any], tmp_path: Path) -> None:
    """Taking a role off the list takes the first signature off too."""
    evidence["approvals"]["signatures_required"] = ["data-owner", "privacy-officer"]
    bundle = make(key)
    statement: Any = json.loads(json.dumps(certificate.read(bundle.root)))
    statement["predicate"]["signatures_required"] = ["data-owner"]
    assert bundle.public is not None
    content = json.loads((bundle.public / CERTIFICATE).read_bytes())
    forged = {**json.loads(certificate.seal(statement)), "signatures": content["signatures"]}
    (bundle.public / CERTIFICATE).write_bytes(json.dumps(forged, indent=1).encode() + b"\n")
    with pytest.raises(VerificationError, match="does not fit the content"):
        _verify(bundle, keys=[key.public])
