"""What a certificate says and never says; that any change to a bundle is found, named and refused."""

from __future__ import annotations

import base64
import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

import dpsynth
from dpsynth import certificate
from dpsynth.bundle import CERTIFICATE, SUMS, SVR, Bundle
from dpsynth.certificate import PublicKey, SigningKey
from dpsynth.certificate.envelope import SignedStatement
from dpsynth.errors import ConfigError, OutputError, VerificationError
from tests.dpsynth.trust import conftest
from tests.dpsynth.trust.conftest import CANARIES, NOW, WAIVERS, Make, decide, new_key

pytest.importorskip("cryptography", reason="keys are made with the extra 'sign'")

FILES = {"synthetic.parquet": "", "README.md": "b" * 64}


def _files(evidence: dict[str, Any]) -> dict[str, str]:
    return {**FILES, "synthetic.parquet": evidence["release"]["sha256"]}


def _public(bundle: Bundle) -> Path:
    assert bundle.public is not None
    return bundle.public


# --- what it says


def test_the_first_field_says_whether_it_is_signed(make: Make, key: SigningKey) -> None:
    for signer, status in ((None, "unsigned"), (key, "signed")):
        statement = certificate.read(make(signer, name=status).root)
        assert next(iter(statement["predicate"].items())) == ("signature_status", status)


def test_it_is_an_in_toto_statement_about_every_public_file_but_the_envelopes(make: Make) -> None:
    public = _public(make())
    statement = certificate.read(public / CERTIFICATE)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == certificate.PREDICATE_TYPE
    assert {s["name"] for s in statement["subject"]} | {CERTIFICATE, SVR} == {p.name for p in public.iterdir()}


def test_nothing_of_the_real_data_is_in_any_public_file(make: Make, evidence: dict[str, Any]) -> None:
    bundle = make()
    assert all(canary in (bundle.internal / "evidence.json").read_text() for canary in CANARIES)
    for path in _public(bundle).iterdir():
        text = path.read_text(encoding="latin-1")
        if path.name in (CERTIFICATE, SVR):
            text += base64.b64decode(json.loads(text)["payload"]).decode()
        assert [canary for canary in CANARIES if canary in text] == [], path.name


def test_the_guarantee_the_rules_and_the_ledger_head_are_in_it(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    said = certificate.build(evidence, decision, _files(evidence))["predicate"]
    assert said["guarantee"]["epsilon"] == 3.0
    assert said["guarantee"]["delta"] == "1e-06"
    assert said["ledger"] == {
        "population": "hie-participants",
        "unit": "person",
        "spent": {"epsilon": 3.0, "delta": "0.000001"},
        "head": "a" * 64,
    }
    assert {"id": "DP-001", "status": "warn", "severity": "blocker"} in said["rules"]
    assert said["unprotected_quantities"] == ["the verdict of each release attempt"]
    assert said["approvals"] == [{"role": "data-owner", "date": "2026-11-21"}]
    assert (said["issued"], said["reassess_by"]) == ("2026-11-22T10:00:00Z", "2027-11-22")


def test_reassessment_falls_on_the_last_day_of_a_short_month(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    evidence["release"]["created"] = "2027-08-31T23:30:00-01:00"  # already September in UTC
    evidence["certificate"]["reassess_months"] = 5
    said = certificate.predicate(evidence, decision)
    assert (said["issued"], said["reassess_by"]) == (decision["evaluated"], "2028-02-01")
    evidence["release"]["created"] = "2027-08-31T12:00:00Z"
    evidence["certificate"]["reassess_months"] = 6
    assert certificate.predicate(evidence, decision)["reassess_by"] == "2028-02-29"
    del evidence["certificate"]["reassess_months"]
    assert certificate.predicate(evidence, decision)["reassess_by"] is None


def test_the_companion_lists_passed_rules_only(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    svr = certificate.companion(certificate.build(evidence, decision, _files(evidence)))
    assert svr["predicateType"] == "https://in-toto.io/attestation/svr/v0.2"
    assert svr["predicate"]["timeCreated"] == "2026-11-22T10:00:00Z"
    assert "DPSYNTH_RULE_AUD-001" in svr["predicate"]["properties"]
    assert "DPSYNTH_RULE_DP-001" not in svr["predicate"]["properties"]  # it warned
    policy = svr["predicate"]["verifier"]["policies"][0]
    assert policy == {
        "name": "test-policy@1.2.0",
        "digest": {"sha256": decision["policy"]["digest"].removeprefix("sha256:")},
    }


def _set(path: str, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        node = decision if parents[:1] == ["decision"] else evidence
        for parent in parents[node is decision :]:
            node = node[parent]
        node[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("decision.permitted", False), "permitted release only"),
        (_set("decision.verdict", "indeterminate"), "permitted release only"),
        (_set("decision.findings", [{"rule": "X", "status": "fail", "severity": "minor"}]), "rule X is fail"),
        (_set("release.rows_source", "data"), "the true count is private"),
        (_set("release.title", None), "no release.title"),
        (_set("release.title", {"text": 1}), "release.title must be a str"),
        (_set("release.title", "x" * 2001), "release.title must be a str"),
        (_set("release.n_rows", True), "release.n_rows must be a int"),
        (_set("release.n_rows", 2.5), "release.n_rows must be a int"),
        (_set("release.created", "22 November"), "ISO 8601"),
        (_set("release.created", "2026-11-22T10:00:00"), "time zone"),
        (_set("dp.epsilon", float("nan")), "dp.epsilon must be finite"),
        (_set("dp.epsilon", "lots"), "dp.epsilon must be a number"),
        (_set("dp.delta", "1.5"), "delta must be a decimal"),
        (_set("dp.delta", "small"), "delta must be a decimal"),
        (_set("dp.mechanisms", [1]), "list of texts"),
        (_set("dp.libraries", {"opendp": 1}), "versions"),
        (_set("budget.head", None), "no budget.head"),
        (_set("budget.ledger", None), "no budget.ledger"),
        (_set("budget", None), "no budget.ledger"),
    ],
)
def test_no_certificate_without_a_permit_or_with_a_field_missing_or_odd(
    evidence: dict[str, Any],
    decision: dict[str, Any],
    change: Callable[[dict[str, Any], dict[str, Any]], None],
    message: str,
) -> None:
    change(evidence, decision)
    with pytest.raises(ConfigError, match=message):
        certificate.build(evidence, decision, _files(evidence))


def test_no_certificate_for_a_table_that_was_not_the_audited_one(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    with pytest.raises(VerificationError, match=r"synthetic\.parquet is not the table"):
        certificate.build(evidence, decision, FILES | {"synthetic.parquet": "c" * 64})
    with pytest.raises(ConfigError, match="no SHA-256"):
        certificate.build(evidence, decision, FILES)
    evidence["subject"]["sha256"] = "d" * 64
    with pytest.raises(VerificationError, match="another table"):
        certificate.build(evidence, decision, _files(evidence))


def test_domain_learned_from_data_cannot_be_certified(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    evidence["schema"]["domain_provenance"] = ["declared", "data"]
    with pytest.raises(VerificationError, match=r"domain_provenance\[1\]"):
        certificate.build(evidence, decision, _files(evidence))


def test_a_release_without_ledger_says_so(evidence: dict[str, Any], decision: dict[str, Any]) -> None:
    evidence["budget"] = {"ledger": False, "population": None, "unit": None, "head": None}
    assert certificate.build(evidence, decision, _files(evidence))["predicate"]["ledger"]["head"] is None


# --- keys


def test_keygen_writes_a_private_and_a_public_file_and_overwrites_neither(tmp_path: Path) -> None:
    pair = certificate.keygen(tmp_path / "k.pem")
    assert pair.private.stat().st_mode & 0o777 == 0o600
    assert PublicKey.read(pair.public).keyid == pair.keyid == SigningKey.read(pair.private).public.keyid
    assert "PRIVATE" not in pair.public.read_text()
    with pytest.raises(OutputError, match="never overwritten"):
        certificate.keygen(tmp_path / "k.pem")
    pair.public.unlink()
    with pytest.raises(OutputError, match="never overwritten"):
        certificate.keygen(tmp_path / "k.pem")
    with pytest.raises(OutputError, match="cannot be written"):
        certificate.keygen(tmp_path / "no" / "k.pem")


def test_key_ids_are_those_of_securesystemslib(key: SigningKey) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    raw = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key.public.public))
    assert SSlibKey.from_crypto(raw).keyid == key.public.keyid
    assert "private" not in repr(key).lower()


def test_bad_key_files_are_refused(tmp_path: Path) -> None:
    pair = certificate.keygen(tmp_path / "k.pem")
    with pytest.raises(ConfigError, match=r"give the public one .*k\.pem\.pub"):
        PublicKey.read(pair.private)
    with pytest.raises(ConfigError, match="not a private key"):
        pair.public.chmod(0o600)
        SigningKey.read(pair.public)
    pair.private.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        SigningKey.read(pair.private)
    for reader in (PublicKey.read, SigningKey.read):
        with pytest.raises(ConfigError, match="cannot be read"):
            reader(tmp_path / "none")
    for content in ("", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "hello"):
        (tmp_path / "bad.pub").write_text(content)
        with pytest.raises(ConfigError, match="not an Ed25519 public key"):
            PublicKey.read(tmp_path / "bad.pub")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "ec.pem"
    private = generate_private_key(SECP256R1())
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        SigningKey.read(path)


# --- signing and verifying


def test_a_signed_bundle_verifies_with_its_key_from_root_and_from_public(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    for place in (bundle.root, _public(bundle)):
        report = certificate.verify(place, keys=[key.public], now=NOW)
        assert report.authentic
        assert report.internal == "rederived"
        assert [(s.role, s.trusted) for s in report.signers] == [("data-owner", True)]
        assert report.warnings == ()
    assert json.loads(json.dumps(report.to_dict()))["verified"] is True


def test_any_dsse_reader_accepts_the_signature(make: Make, key: SigningKey) -> None:
    for name in (CERTIFICATE, SVR):
        envelope = Envelope.from_dict(json.loads((_public(make(key, name=name)) / name).read_text()))
        keys = [SSlibKey(key.public.keyid, "ed25519", "ed25519", {"public": key.public.public})]
        assert list(envelope.verify(keys, 1)) == [key.public.keyid]


def test_an_unsigned_bundle_verifies_with_a_warning_but_never_against_a_key(make: Make, key: SigningKey) -> None:
    bundle = make()
    report = certificate.verify(bundle.root, now=NOW)
    assert not report.authentic
    assert "unsigned" in report.warnings[0]
    with pytest.raises(VerificationError, match=r"is unsigned; the signature of key .* is required"):
        certificate.verify(bundle.root, keys=[key.public])


def test_without_a_key_the_signers_are_said_to_be_unknown(make: Make, key: SigningKey) -> None:
    report = certificate.verify(make(key).root, now=NOW)
    assert not report.authentic
    assert not report.signers[0].trusted
    assert "no key was given" in report.warnings[0]


def test_two_people_sign_in_their_roles(make: Make, key: SigningKey, tmp_path: Path) -> None:
    officer, stranger = new_key(tmp_path, "officer"), new_key(tmp_path, "stranger")
    bundle = make(key)
    required = {"data-owner": key.public, "privacy-officer": officer.public}
    with pytest.raises(VerificationError, match=r"required signature of the privacy-officer .* is missing; signed by data-own"):
        certificate.verify(bundle.root, keys=required)
    before = (_public(bundle) / CERTIFICATE).read_bytes()
    certificate.sign_bundle(bundle.root, officer, "privacy-officer")
    assert certificate.verify(bundle.root, keys=required).authentic
    payloads = [json.loads(text)["payload"] for text in (before, (_public(bundle) / CERTIFICATE).read_bytes())]
    assert payloads[0] == payloads[1]  # the first signature still covers the same bytes
    for wrong, message in (
        ([stranger.public], "is missing"),
        ([key.public, stranger.public], "is missing"),
        ({"privacy-officer": key.public}, "required signature of the privacy-officer"),
        ({"data-owner": key.public, "privacy-officer": key.public}, "is missing"),
        ([key.public, key.public], "given twice"),
    ):
        with pytest.raises(VerificationError, match=message):
            certificate.verify(bundle.root, keys=wrong)


def test_one_key_cannot_sign_in_two_roles_and_signing_twice_changes_nothing(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    before = (_public(bundle) / CERTIFICATE).read_bytes()
    with pytest.raises(ConfigError, match="has signed as data-owner"):
        certificate.sign_bundle(bundle.root, key, "privacy-officer")
    with pytest.raises(ConfigError, match="role=Data Owner"):
        certificate.sign_bundle(bundle.root, key, "Data Owner")
    certificate.sign_bundle(bundle.root, key, "data-owner", date(2027, 1, 1))
    assert (_public(bundle) / CERTIFICATE).read_bytes() == before


def test_an_unsigned_bundle_can_be_signed_later_and_then_says_so(make: Make, key: SigningKey) -> None:
    bundle = make()
    report = certificate.sign_bundle(_public(bundle), key, "publisher")
    assert report.signature_status == "signed"
    assert certificate.verify(bundle.root, keys=[key.public]).authentic


@pytest.mark.parametrize("survivor", [CERTIFICATE, SVR])
def test_signing_cut_off_between_its_two_files_is_found_and_completed_by_signing_again(
    make: Make, key: SigningKey, tmp_path: Path, survivor: str
) -> None:
    officer = new_key(tmp_path, "officer")
    for first in (None, key):
        bundle = make(first, name=f"b-{first is None}")
        public = _public(bundle)
        old = (public / survivor).read_bytes()
        certificate.sign_bundle(bundle.root, officer, "privacy-officer", date(2026, 11, 23))
        done = (public / survivor).read_bytes()
        (public / survivor).write_bytes(old)
        with pytest.raises(VerificationError):
            certificate.verify(bundle.root)
        certificate.sign_bundle(bundle.root, officer, "privacy-officer", date(2026, 11, 23))
        assert (public / survivor).read_bytes() == done


def test_a_broken_bundle_is_not_signed(make: Make, key: SigningKey) -> None:
    bundle = make()
    (_public(bundle) / "README.md").write_text("SYNTHETIC DATA, improved")
    with pytest.raises(VerificationError, match=r"README\.md differs"):
        certificate.sign_bundle(bundle.root, key, "publisher")


@pytest.mark.parametrize("signed", [True, False])
def test_one_flipped_bit_in_any_public_file_is_found_and_the_file_named(make: Make, key: SigningKey, signed: bool) -> None:
    bundle = make(key if signed else None)
    for path in sorted(_public(bundle).iterdir()):
        content = path.read_bytes()
        # A stride that hits each part of the envelopes, and the last bytes.
        for at in {*range(0, len(content), 97), *range(max(0, len(content) - 4), len(content))}:
            damaged = bytearray(content)
            damaged[at] ^= 1 << (at % 8)
            path.write_bytes(damaged)
            with pytest.raises(VerificationError) as caught:
                certificate.verify(bundle.root, keys=[key.public] if signed else [])
            if path.name != CERTIFICATE:
                assert path.name in str(caught.value)
        path.write_bytes(content)
    certificate.verify(bundle.root)


def test_every_single_bit_of_a_signature_and_its_role_counts(make: Make, key: SigningKey) -> None:
    path = _public(make(key)) / CERTIFICATE
    content = path.read_bytes()
    for at in range(content.index(b'"signatures"'), len(content)):
        for bit in range(8):
            damaged = bytearray(content)
            damaged[at] ^= 1 << bit
            with pytest.raises(VerificationError):
                SignedStatement.parse(bytes(damaged), CERTIFICATE)


def test_added_missing_and_odd_files_are_found(make: Make, key: SigningKey) -> None:
    def broken(change: Callable[[Path], Any], message: str) -> None:
        bundle = make(key, name="b", force=True)
        change(_public(bundle))
        with pytest.raises(VerificationError, match=message) as caught:
            certificate.verify(bundle.root, keys=[key.public])
        assert caught.value.exit_code == 5

    broken(lambda p: (p / "extra.csv").write_text("x"), r"extra\.csv is not in the certificate")
    broken(lambda p: (p / ".hidden").write_text("x"), r"\.hidden is not in the certificate")
    broken(lambda p: (p / "sub").mkdir(), "sub is not in the certificate")
    broken(lambda p: (p / "synthetic.csv").unlink(), r"synthetic\.csv is certified but missing")
    broken(lambda p: (p / SUMS).unlink(), "SHA256SUMS is certified but missing")
    broken(lambda p: (p / SVR).unlink(), r"svr\.dsse\.json is missing")
    broken(lambda p: (p / CERTIFICATE).unlink(), r"holds no certificate\.dsse\.json")
    broken(lambda p: shutil.rmtree(p), r"holds no certificate\.dsse\.json")

    def link(public: Path) -> None:
        target = public.parent / "elsewhere.csv"
        (public / "synthetic.csv").rename(target)
        (public / "synthetic.csv").symlink_to(target)

    broken(link, r"synthetic\.csv is not a regular file")


def test_a_certificate_of_another_release_does_not_fit(make: Make, key: SigningKey, evidence: dict[str, Any]) -> None:
    first = make(key, name="first")
    evidence["release"]["title"] = "Another"
    second = make(key, name="second")
    shutil.copy(_public(second) / CERTIFICATE, _public(first) / CERTIFICATE)
    with pytest.raises(VerificationError, match=r"DATASHEET\.md differs"):
        certificate.verify(first.root, keys=[key.public])
    # ... nor does it with its companion verdict and all its files, over the first one's internal folder
    shutil.rmtree(_public(first))
    shutil.copytree(_public(second), _public(first))
    with pytest.raises(VerificationError, match=r"commitment\.json is not the one"):
        certificate.verify(first.root, keys=[key.public])


def test_a_forger_without_the_key_is_found_out(make: Make, key: SigningKey, tmp_path: Path) -> None:
    bundle = make(key)
    forger = new_key(tmp_path, "forger")
    statement: Any = copy.deepcopy(certificate.read(bundle.root))
    statement["predicate"]["guarantee"]["epsilon"] = 0.1
    statement["predicate"]["signature_status"] = "unsigned"
    for name, content in certificate.envelopes(statement, forger, "data-owner").items():
        (_public(bundle) / name).write_bytes(content)
    with pytest.raises(VerificationError, match=r"required signature of key .* is missing"):
        certificate.verify(bundle.root, keys=[key.public])


def test_a_signature_cannot_be_relabelled_or_moved_to_other_content(make: Make, key: SigningKey) -> None:
    path = _public(make(key)) / CERTIFICATE
    envelope = json.loads(path.read_text())

    def write(changed: Any) -> bytes:
        return json.dumps(changed, indent=1).encode() + b"\n"

    assert write(envelope) == path.read_bytes()
    for field, value, message in (
        ("role", "privacy-officer", "role or date"),
        ("date", "2026-11-23", "role or date"),
        ("date", "soon", "damaged"),
        ("role", "Data Owner", "damaged"),
    ):
        changed = copy.deepcopy(envelope)
        changed["signatures"][0]["dpsynth"][field] = value
        with pytest.raises(VerificationError, match=message):
            SignedStatement.parse(write(changed), "c")
    changed = copy.deepcopy(envelope)
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"]["guarantee"]["epsilon"] = 0.1
    payload = json.dumps(statement, separators=(",", ":")).encode()
    changed["payload"] = base64.b64encode(payload).decode()
    with pytest.raises(VerificationError, match="does not fit the content"):
        SignedStatement.parse(write(changed), "c")
    twice = copy.deepcopy(envelope)
    twice["signatures"] *= 2
    with pytest.raises(VerificationError, match="two signatures of one key"):
        SignedStatement.parse(write(twice), "c")


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"payload": "", "payloadType": "x", "signatures": []}'],
    ids=["empty", "object", "list", "null", "not utf-8", "deep", "other type"],
)
def test_what_is_no_envelope_is_refused(content: bytes) -> None:
    with pytest.raises(VerificationError):
        SignedStatement.parse(content, "c")
    with pytest.raises(VerificationError, match="at most"):
        SignedStatement.parse(b" " * 9_000_000, "c")


def test_a_signed_statement_of_another_shape_is_refused(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    statement: Any = copy.deepcopy(certificate.read(bundle.root))
    statement["predicate"]["true_count"] = 5912
    content = certificate.sign(certificate.seal(statement), key, "data-owner")
    (_public(bundle) / CERTIFICATE).write_bytes(content)
    with pytest.raises(VerificationError, match=r"malformed at \$\.predicate: additionalProperties"):
        certificate.verify(bundle.root)


def test_a_certificate_that_lies_about_being_signed_is_refused(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    envelope = json.loads((_public(bundle) / CERTIFICATE).read_text())
    envelope["signatures"] = []
    (_public(bundle) / CERTIFICATE).write_text(json.dumps(envelope, indent=1) + "\n")
    with pytest.raises(VerificationError, match="says it is signed and is not"):
        certificate.verify(bundle.root)


def test_overdue_releases_are_named(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    report = certificate.verify(bundle.root, keys=[key.public], now=datetime(2027, 11, 23, tzinfo=UTC))
    assert report.warnings == ("the release was to be reassessed by 2027-11-22",)
    assert certificate.verify(bundle.root, keys=[key.public], now=datetime(2027, 11, 22, tzinfo=UTC)).warnings == ()


# --- the internal folder


def test_a_bundle_without_internal_verifies(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    shutil.rmtree(bundle.internal)
    assert certificate.verify(bundle.root, keys=[key.public], now=NOW).internal == "absent"


def test_a_public_folder_that_travelled_alone_is_not_judged_by_a_strangers_internal(make: Make, key: SigningKey, tmp_path: Path) -> None:
    received = tmp_path / "inbox" / "claims"
    shutil.copytree(_public(make(key)), received)
    (received.parent / "internal").mkdir()
    assert certificate.verify(received, keys=[key.public], now=NOW).internal == "absent"


def test_a_waiver_added_after_certification_is_not_used(make: Make, key: SigningKey) -> None:
    bundle = make(key, waived=False)
    (bundle.internal / "waivers.json").write_text("not even JSON")
    report = certificate.verify(bundle.root, keys=[key.public], now=NOW)
    assert report.warnings == ("internal/waivers.json was added after certification",)


@pytest.mark.parametrize("name", ["evidence.json", "decision.json", "policy.json", "commitment.json"])
def test_swapped_or_missing_internal_files_are_found(make: Make, key: SigningKey, name: str) -> None:
    bundle = make(key)
    content = (bundle.internal / name).read_text()
    (bundle.internal / name).write_text(content.replace("a", "b", 1))
    with pytest.raises(VerificationError, match=rf"internal/{name}"):
        certificate.verify(bundle.root)
    (bundle.internal / name).unlink()
    with pytest.raises(VerificationError, match=rf"{name} is missing"):
        certificate.verify(bundle.root)


def test_an_added_internal_file_is_only_mentioned(make: Make, key: SigningKey) -> None:
    bundle = make(key)
    (bundle.internal / "minutes.pdf").write_text("signed off in the meeting")
    report = certificate.verify(bundle.root, keys=[key.public], now=NOW)
    assert report.warnings == ("internal/minutes.pdf was added after certification",)


def test_a_certificate_whose_verdicts_do_not_follow_from_its_evidence_is_refused(
    make: Make, key: SigningKey, evidence: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lenient(evidence: dict[str, Any]) -> dict[str, Any]:
        decision = decide({**evidence, "dp": {**evidence["dp"], "epsilon": 0.5}})
        assert decision["permitted"]
        return decision

    monkeypatch.setattr(conftest, "decide", lenient)
    bundle = make(key, name="warned")  # the certificate says DP-001 passed; the evidence makes it warn
    with pytest.raises(VerificationError, match="rule DP-001 is pass in the certificate, warn anew"):
        certificate.verify(bundle.root)
    evidence["dp"]["epsilon"] = 9.0
    bundle = make(key, name="denied")
    with pytest.raises(VerificationError, match="does not permit this release: the verdict is denied"):
        certificate.verify(bundle.root)


def test_a_certificate_of_another_release_is_called_that(make: Make, key: SigningKey, tmp_path: Path) -> None:
    first, second = make(key, name="first"), make(key, name="second")
    assert first.public is not None and second.public is not None
    for name in ("synthetic.parquet", "synthetic.csv", "README.md"):
        (second.public / name).write_bytes(b"another " + (second.public / name).read_bytes())
    with pytest.raises(VerificationError, match=r"README\.md differs .* the certificate is of another release"):
        certificate.verify(second.public)
    (first.public / "README.md").write_bytes(b"changed")
    with pytest.raises(VerificationError, match=r"README\.md differs from the certified file$"):
        certificate.verify(first.public)


def test_a_verdict_under_earlier_core_rules_still_verifies_and_says_so(
    make: Make, key: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A core rule that was made stricter since must not turn every earlier certificate into a damaged one."""
    from policies import loader

    then = copy.deepcopy(loader._shipped_effective("core"))
    next(rule for rule in then["rules"] if rule["id"] == "CORE-005")["on_missing"] = "pass"
    now = loader._shipped_effective
    with monkeypatch.context() as patch:
        patch.setattr(loader, "_shipped_effective", lambda name: then if name == "core" else now(name))
        bundle = make(key)
    report = certificate.verify(bundle.root, keys=[key.public], now=NOW)
    assert report.internal == "rederived"
    (warning,) = report.warnings
    assert "core rules of this version are others" in warning
    assert certificate.verify(make(key, name="today").root, keys=[key.public], now=NOW).warnings == ()


def test_a_waived_rule_is_derived_with_its_waiver(
    make: Make, key: SigningKey, evidence: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import policies
    from policies.waivers import read_waivers
    from tests.dpsynth.trust.conftest import POLICY

    waivers = {
        "$schema": "dpsynth.waivers/1",
        "waivers": [
            {
                "id": "W-1",
                "rule": "DP-001",
                "subject_sha256": evidence["release"]["sha256"],
                "reason": "agreed with the board",
                "requested_by": "a",
                "approved_by": ["b"],
                "created": "2026-11-01",
                "expires": "2026-12-01",
            }
        ],
    }
    evidence["dp"]["epsilon"] = 9.0

    def waived(evidence: dict[str, Any]) -> dict[str, Any]:
        return policies.evaluate(evidence, policies.loads(POLICY), waivers=read_waivers(waivers), now=NOW).to_dict()

    monkeypatch.setitem(WAIVERS, "waivers", waivers["waivers"])
    monkeypatch.setattr(conftest, "decide", waived)
    report = certificate.verify(make(key).root, keys=[key.public])
    assert report.internal == "rederived"
    assert report.statement["predicate"]["waivers"] == [{"id": "W-1", "rule": "DP-001", "expires": "2026-12-01"}]


# --- without cryptography


def test_verifying_needs_no_cryptography_and_signing_says_what_to_install(make: Make, key: SigningKey, tmp_path: Path) -> None:
    bundle = make(key)
    (tmp_path / "signer.pub").write_text(key.public.pem())
    code = f"""
import sys
sys.modules["cryptography"] = None
from dpsynth import certificate
from dpsynth.errors import ConfigError, VerificationError
from pathlib import Path
bundle, pub = Path({str(bundle.root)!r}), {str(tmp_path / "signer.pub")!r}
assert certificate.verify(bundle, keys=[pub]).authentic
try:
    certificate.keygen({str(tmp_path / "new.pem")!r})
except ConfigError as error:
    print(error)
path = bundle / "public" / "README.md"
path.write_bytes(path.read_bytes() + b".")
try:
    certificate.verify(bundle, keys=[pub])
except VerificationError as error:
    print(error)
"""
    environment = {"PYTHONPATH": str(Path(dpsynth.__file__).parents[1]), "PATH": ""}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert child.stderr == ""
    assert child.stdout.splitlines() == [
        "signing needs the extra 'sign': pip install 'dpsynth-release[sign]'",
        "README.md differs from the certified file",
    ]


def test_the_second_signature_of_the_same_message_is_refused(key: SigningKey) -> None:
    signature = key.sign(b"message")
    order = 2**252 + 27742317777372353535851937790883648493
    twin = signature[:32] + (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
    assert key.public.verifies(signature, b"message")
    assert not key.public.verifies(twin, b"message")  # the pure-Python verifier alone would accept it
    assert not key.public.verifies(signature, b"Message")
    assert not key.public.verifies(signature[:-1], b"message")
