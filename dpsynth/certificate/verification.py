"""Checks a bundle against its certificate, offline, and says what was not checked.

Order: the envelopes, then every public file, then the signers, then (with ``internal/``) the verdicts derived anew.
The first thing that differs is named and ends the check.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from dpsynth.bundle import CERTIFICATE, COMMITMENT, ENVELOPES, SUMS, SVR, commitment, sha256_of, sums_text
from dpsynth.certificate.envelope import Signature, SignedStatement, as_signed
from dpsynth.certificate.keys import PublicKey, SigningKey
from dpsynth.certificate.revocation import Revocation, check_revocations, revoke_release
from dpsynth.certificate.statement import SIGNED, check_shape, companion, dump
from dpsynth.errors import OutputError, VerificationError

Key = PublicKey | str | os.PathLike[str]

_MAX_SMALL_FILE: Final = 64_000_000


@dataclass(frozen=True)
class Signer:
    """Who signed. ``trusted``: the key is one the verifier was given (in this role, where roles were given)."""

    role: str
    date: str
    keyid: str
    trusted: bool


@dataclass(frozen=True)
class VerificationReport:
    """What held. Whatever did not hold was a ``VerificationError`` instead.

    ``authentic``: signed by every key the verifier was given. ``pending``: roles that must still sign, which only
    ``sign_bundle`` tolerates. ``internal``: ``rederived`` (certified files that
    give the same verdict again), ``matched`` (certified files, but nothing to derive a verdict from) or ``absent``.
    """

    release: str
    authentic: bool
    signature_status: str
    signers: tuple[Signer, ...]
    files: int
    internal: str
    pending: tuple[str, ...]
    warnings: tuple[str, ...]
    statement: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"verified": True, **asdict(self)}


def verify(
    bundle: str | os.PathLike[str],
    *,
    keys: Sequence[Key] | Mapping[str, Key] = (),
    revocations: Sequence[Revocation] = (),
    now: datetime | None = None,
) -> VerificationReport:
    """Verify the bundle at ``bundle`` (root or ``public/``) or raise ``VerificationError`` naming what differs first.

    Every one of ``keys`` must have signed; given as role -> key, in that role. So must every role that the certificate
    itself asks for. Without keys, damage is found but who signed is not known. ``revocations`` are statements that the
    verifier has (``read_revocations``).
    """
    return _verify(Path(bundle), keys=keys, revocations=revocations, now=now)


def _verify(
    bundle: Path,
    *,
    keys: Sequence[Key] | Mapping[str, Key] = (),
    revocations: Sequence[Revocation] = (),
    now: datetime | None = None,
    pending_allowed: bool = False,
) -> VerificationReport:
    root = _public(bundle)
    parsed = _certificate(root)
    said = parsed.statement["predicate"]
    _check_files(root, {item["name"]: item["digest"]["sha256"] for item in parsed.statement["subject"]})
    _check_companion(root, parsed)
    signers = _signers(parsed, keys)
    strangers = check_revocations(
        revocations,
        release=said["release"]["id"],
        payload=parsed.payload,
        signers=[signature.public for signature in parsed.signatures],
        trusted=[_public_key(key) for key in (keys.values() if isinstance(keys, Mapping) else keys)],
    )
    pending = _pending(parsed)
    if pending and not pending_allowed:
        signed = ", ".join(signer.role for signer in signers) or "nobody"
        raise VerificationError(f"the required signature of the {pending[0]} is missing; signed by {signed}")
    # A public folder that travelled alone, under a name of its own, may lie beside a stranger's internal folder.
    beside = root.parent / "internal" if root.name == "public" else None
    internal, warnings = ("absent", ()) if beside is None else _check_internal(beside, said)
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    if said["reassess_by"] is not None and date.fromisoformat(said["reassess_by"]) < today:
        warnings = (*warnings, f"the release was to be reassessed by {said['reassess_by']}")
    warnings = (*warnings, *strangers, *(f"still to be signed by the {role}" for role in pending))
    if not parsed.signatures:
        warnings = (*warnings, "the certificate is unsigned: it shows damage, not authorship")
    elif not keys:
        warnings = (*warnings, "no key was given, so the signers are not known to be who they should be")
    else:
        unknown = [s.role for s in signers if s.role in said.get("signatures_required", ()) and not s.trusted]
        warnings = (*warnings, *(f"the {role} signed with a key that you did not give" for role in unknown))
    return VerificationReport(
        release=said["release"]["id"],
        authentic=bool(keys),
        signature_status=said["signature_status"],
        signers=signers,
        files=len(parsed.statement["subject"]) + len(ENVELOPES),
        internal=internal,
        pending=pending,
        warnings=warnings,
        statement=parsed.statement,
    )


def read(path: str | os.PathLike[str]) -> Mapping[str, Any]:
    """The statement of a bundle or certificate file. Its form and signatures hold; other files are not looked at."""
    place = Path(path)
    if place.is_dir():
        return _certificate(_public(place)).statement
    return _certificate(place.parent, place.name).statement


def envelopes(
    statement: Mapping[str, Any], key: SigningKey | None = None, role: str = "publisher", day: date | None = None
) -> dict[str, bytes]:
    """The two envelope files of a bundle, by name: certificate and companion verdict; signed if there is a ``key``."""
    return _both(SignedStatement(statement), (), key, role, day)


def sign_bundle(bundle: str | os.PathLike[str], key: SigningKey, role: str, day: date | None = None) -> VerificationReport:
    """Add a signature to a bundle whose files are the certified ones. Running it again after a crash completes it."""
    root = _public(Path(bundle))
    parsed = _certificate(root)
    _check_files(root, {item["name"]: item["digest"]["sha256"] for item in parsed.statement["subject"]})
    old = SignedStatement.parse(_content(root / SVR), SVR).signatures
    for name, content in _both(parsed, old, key, role, day).items():
        draft = root.parent / f".{name}.new"
        try:
            draft.write_bytes(content)
            draft.replace(root / name)
        except OSError as error:
            raise OutputError(f"{root / name} cannot be written: {error.strerror}") from None
        finally:
            draft.unlink(missing_ok=True)
    return _verify(root, pending_allowed=True)


def revoke_bundle(
    bundle: str | os.PathLike[str], key: SigningKey, role: str, *, reason: str, superseded_by: str | None = None
) -> Revocation:
    """A signed statement that this release no longer counts. Only the certificate has to be sound; files may be gone."""
    place = Path(bundle)
    parsed = _certificate(_public(place)) if place.is_dir() else _certificate(place.parent, place.name)
    return revoke_release(parsed.statement, parsed.payload, key, role, reason=reason, superseded_by=superseded_by)


def _pending(parsed: SignedStatement) -> tuple[str, ...]:
    """The roles the certificate asks for that have not signed."""
    have = {signature.role for signature in parsed.signatures}
    return tuple(role for role in parsed.statement["predicate"].get("signatures_required", ()) if role not in have)


def _public_key(key: Key) -> PublicKey:
    return key if isinstance(key, PublicKey) else PublicKey.read(key)


def _both(
    parsed: SignedStatement, svr_signatures: Sequence[Signature], key: SigningKey | None, role: str, day: date | None
) -> dict[str, bytes]:
    stamp = day or datetime.now(UTC).date()
    certificate = parsed if key is None else as_signed(parsed).signed_by(key, role, stamp)
    svr = SignedStatement(companion(certificate.statement))
    if dump(parsed.statement) == dump(certificate.statement):
        svr = replace(svr, signatures=tuple(svr_signatures))  # same payload, so the earlier signatures still fit
    if key is not None:
        mine = next(s for s in certificate.signatures if s.public == key.public)
        svr = svr.signed_by(key, role, date.fromisoformat(mine.date))
    return {CERTIFICATE: certificate.dump(), SVR: svr.dump()}


def _public(bundle: Path) -> Path:
    for place in (bundle / "public", bundle):
        if (place / CERTIFICATE).is_file():
            return place
    raise VerificationError(f"{bundle} holds no {CERTIFICATE}: it is not a released bundle, or its certificate was removed")


def _certificate(root: Path, name: str = CERTIFICATE) -> SignedStatement:
    parsed = SignedStatement.parse(_content(root / name), name)
    check_shape(parsed.statement)
    if (parsed.statement["predicate"]["signature_status"] == SIGNED) != bool(parsed.signatures):
        raise VerificationError(f"{name} says it is signed and is not, or the other way round")
    return parsed


def _check_files(root: Path, certified: Mapping[str, str]) -> None:
    """Every file of the folder is certified and unchanged, and every certified file is there."""
    try:
        found = {path.name: path for path in root.iterdir() if path.name not in ENVELOPES}
    except OSError as error:
        raise VerificationError(f"{root} cannot be read: {error.strerror}") from None
    for name in sorted({*found, *certified}):
        if name not in certified:
            raise VerificationError(f"{name} is not in the certificate: it was added later")
        if name not in found:
            raise VerificationError(f"{name} is certified but missing")
        if found[name].is_symlink() or not found[name].is_file():
            raise VerificationError(f"{name} is not a regular file")
        if _digest(found[name]) != certified[name]:
            raise VerificationError(f"{name} differs from the certified file{_of_another_release(found, certified)}")
    listed = {name: digest for name, digest in certified.items() if name != SUMS}
    if SUMS in certified and _content(root / SUMS) != sums_text(listed).encode():
        raise VerificationError(f"{SUMS} does not list the certified files")


def _of_another_release(found: Mapping[str, Path], certified: Mapping[str, str]) -> str:
    """What to add where no table is the certified one: one changed file and a swapped certificate call for different acts."""
    tables = [name for name in certified if name.startswith("synthetic.") and name in found and found[name].is_file()]
    if not tables or any(_digest(found[name]) == certified[name] for name in tables):
        return ""
    return ", and no table is the certified one: the certificate is of another release"


def _check_companion(root: Path, parsed: SignedStatement) -> None:
    svr = SignedStatement.parse(_content(root / SVR), SVR)
    if svr.payload != dump(companion(parsed.statement)):
        raise VerificationError(f"{SVR} does not follow from {CERTIFICATE}")
    if {(s.public, s.role) for s in svr.signatures} != {(s.public, s.role) for s in parsed.signatures}:
        raise VerificationError(f"{SVR} and {CERTIFICATE} are signed by different keys; sign the bundle again")


def _signers(parsed: SignedStatement, keys: Sequence[Key] | Mapping[str, Key]) -> tuple[Signer, ...]:
    """Who signed; refuses if one of the verifier's ``keys`` did not, or not in the role it was given for."""
    wanted = list(keys.items()) if isinstance(keys, Mapping) else [(None, key) for key in keys]
    trusted = set()
    for role, key in wanted:
        public = _public_key(key)
        who = f"key {public.keyid[:12]}" if role is None else f"the {role} (key {public.keyid[:12]})"
        if not parsed.signatures:
            raise VerificationError(f"the certificate is unsigned; the signature of {who} is required")
        match = next((s for s in parsed.signatures if s.public == public and role in (None, s.role)), None)
        if match is None:
            signed = ", ".join(f"{s.role} (key {s.public.keyid[:12]})" for s in parsed.signatures)
            raise VerificationError(f"the required signature of {who} is missing; signed by {signed}")
        trusted.add(public)
    if len(trusted) != len(wanted):
        raise VerificationError("one key was given twice; every required signature needs a key of its own")
    return tuple(Signer(s.role, s.date, s.public.keyid, s.public in trusted) for s in parsed.signatures)


def _check_internal(internal: Path, said: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    if not internal.is_dir():
        return "absent", ()
    if said["internal_commitment"] is None:
        return "absent", ("internal/ is there, but the certificate binds none of its files: they were not checked",)
    record = _json(internal / COMMITMENT)
    try:
        files: dict[str, str] = dict(record["files"])
        bound = commitment(bytes.fromhex(record["key"]), files)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise VerificationError(f"internal/{COMMITMENT} is damaged") from None
    if bound != said["internal_commitment"]:
        raise VerificationError(f"internal/{COMMITMENT} is not the one that was certified")
    found = {path.name: path for path in internal.iterdir() if path.name != COMMITMENT}
    for name in sorted(files):
        if name not in found:
            raise VerificationError(f"internal/{name} is missing")
        if found[name].is_symlink() or _digest(found[name]) != files[name]:
            raise VerificationError(f"internal/{name} differs from the certified file")
    added = sorted(set(found) - set(files))
    warnings = (f"internal/{added[0]} was added after certification",) if added else ()
    if not {"evidence.json", "policy.json", "decision.json"} <= set(files):
        return "matched", (*warnings, "internal/ has no evidence, policy or decision: no verdict was derived")
    return "rederived", (*warnings, *_rederive(internal, files, said))


def _rederive(internal: Path, files: Collection[str], said: Mapping[str, Any]) -> tuple[str, ...]:
    """Judge the evidence again by the policy in force then, at the time of the decision, and compare every rule.

    Only certified ``files`` are looked at: a waiver that was added later changes nothing. Returns what to say of a policy that this
    version would not load any more, because its core rules are others.
    """
    import policies

    evidence, decided = _json(internal / "evidence.json"), _json(internal / "decision.json")
    rules: Any = _json(internal / "policy.json")
    waivers: Any = _json(internal / "waivers.json") if "waivers.json" in files else {"waivers": []}
    try:
        policy = policies.restore(rules)
        derived = policies.evaluate(
            evidence,
            policy,
            waivers=[policies.Waiver.from_dict(waiver) for waiver in waivers["waivers"]],
            now=datetime.fromisoformat(decided["evaluated"]),
            fail_on=decided["fail_on"],
        ).to_dict()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerificationError(f"the verdict cannot be derived from internal/: {error}") from None
    if derived["policy"]["digest"] != said["policy"]["digest"]:
        raise VerificationError("internal/policy.json is not the certified policy")
    if not derived["permitted"]:
        raise VerificationError(f"internal/evidence.json does not permit this release: the verdict is {derived['verdict']}")
    certified = {rule["id"]: rule["status"] for rule in said["rules"]}
    again = {finding["rule"]: finding["status"] for finding in derived["findings"]}
    for rule in sorted({*certified, *again}):
        if certified.get(rule) != again.get(rule):
            raise VerificationError(f"rule {rule} is {certified.get(rule, 'absent')} in the certificate, {again.get(rule, 'absent')} anew")
    if evidence.get("release", {}).get("id") != said["release"]["id"]:
        raise VerificationError("internal/evidence.json is of another release")
    try:
        current = policies.loads(policy.document).digest == policy.digest
    except policies.PolicyError:
        current = False
    return (
        ()
        if current
        else ("the core rules of this version are others than those of the certificate; the verdict follows from those of then",)
    )


def _digest(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise VerificationError(f"{path.name} cannot be read: {error.strerror}") from None


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MAX_SMALL_FILE:
            raise VerificationError(f"{path.name} is too large")
        return path.read_bytes()
    except FileNotFoundError:
        raise VerificationError(f"{path.name} is missing") from None
    except OSError as error:
        raise VerificationError(f"{path.name} cannot be read: {error.strerror}") from None


def _json(path: Path) -> Any:
    content = _content(path)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise VerificationError(f"internal/{path.name} is not JSON") from None
