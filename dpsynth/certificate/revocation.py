"""Taking a release, or a key, back: signed statements in one file, which the verifier brings along.

A statement counts when it is signed by somebody who may say so: a signer of the certificate, the revoked key itself, or a
key that the verifier trusts. Others are mentioned and change nothing, or anybody could take back anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from dpsynth.certificate.envelope import SignedStatement
from dpsynth.certificate.keys import PublicKey, SigningKey
from dpsynth.certificate.statement import STATEMENT_TYPE, check_shape
from dpsynth.errors import ConfigError, OutputError, VerificationError

REVOCATION_TYPE: Final = "https://dpsynth.dev/revocation/v1"
LIST_SCHEMA: Final = "dpsynth.revocations/1"
_MAX_BYTES: Final = 8_000_000
_MAX_REASON: Final = 500


@dataclass(frozen=True)
class Revocation:
    """One statement: ``id`` of a release, or of a key, no longer counts."""

    kind: str
    id: str
    reason: str
    revoked: str
    superseded_by: str | None
    signed: SignedStatement

    @property
    def sentence(self) -> str:
        """What is said to whoever verifies."""
        instead = "" if self.superseded_by is None else f"; release {self.superseded_by} takes its place"
        by = ", ".join(signature.role for signature in self.signed.signatures)
        return f"{self.kind} {self.id} was revoked on {self.revoked} by {by}: {self.reason}{instead}"

    def counts(self, authorities: Collection[PublicKey]) -> bool:
        """True if one of ``authorities``, or the revoked key itself, has signed it."""
        signers = {signature.public for signature in self.signed.signatures}
        return bool(signers & set(authorities)) or (self.kind == "key" and self.id in {public.keyid for public in signers})


def revoke_release(
    certificate: Mapping[str, Any], payload: bytes, key: SigningKey, role: str, *, reason: str, superseded_by: str | None = None
) -> Revocation:
    """Take back the release of a ``certificate`` statement with these ``payload`` bytes. No release takes its own place."""
    id_ = certificate["predicate"]["release"]["id"]
    if superseded_by == id_:
        raise ConfigError(f"release {id_} cannot supersede itself; name the one that takes its place, or leave --superseded-by out")
    subject = {"name": "certificate.dsse.json#payload", "digest": {"sha256": hashlib.sha256(payload).hexdigest()}}
    return _revoke("release", id_, subject, key, role, reason, superseded_by)


def revoke_key(public: PublicKey, key: SigningKey, role: str, *, reason: str) -> Revocation:
    """Say that signatures of ``public`` no longer count, those of the past included: their dates are the signer's word."""
    return _revoke("key", public.keyid, {"name": "ed25519 key", "digest": {"sha256": public.keyid}}, key, role, reason, None)


def read_revocations(path: str | os.PathLike[str]) -> tuple[Revocation, ...]:
    """The statements in a file, each with its signatures checked. A file that cannot be trusted as it is fails as a whole."""
    place, name = Path(path), Path(path).name
    try:
        if place.stat().st_size > _MAX_BYTES:
            raise VerificationError(f"{name} is too large for a list of revocations")
        data = place.read_bytes()
    except OSError as error:
        raise VerificationError(f"revocations {place} cannot be read: {error.strerror}") from None
    try:
        document = json.loads(data)
        envelopes = document["revocations"]
        same = document["$schema"] == LIST_SCHEMA and _list(envelopes) == data
    except (ValueError, KeyError, TypeError, RecursionError):
        same = False
    if not same:
        raise VerificationError(f"{name} is damaged, or is no list of revocations")
    found = []
    for at, envelope in enumerate(envelopes):
        where = f"{name} at /revocations/{at}"
        signed = SignedStatement.parse(json.dumps(envelope, indent=1).encode("ascii") + b"\n", where)
        found.append(_read(signed, where))
    return tuple(found)


def append_revocation(path: str | os.PathLike[str], revocation: Revocation) -> int:
    """Add ``revocation`` to the file at ``path``, which is made if it is not there; how many it holds now."""
    place = Path(path)
    earlier = read_revocations(place) if place.exists() else ()
    content = _list([json.loads(item.signed.dump()) for item in (*earlier, revocation)])
    draft = place.with_name(f".{place.name}.{uuid.uuid4().hex[:12]}.new")
    try:
        draft.write_bytes(content)
        draft.replace(place)
    except OSError as error:
        raise OutputError(f"{place} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return len(earlier) + 1


def check_revocations(
    revocations: Sequence[Revocation], *, release: str, payload: bytes, signers: Collection[PublicKey], trusted: Collection[PublicKey]
) -> tuple[str, ...]:
    """Refuse a release that was taken back, or was signed by a key that was; what was said by strangers is returned.

    An unsigned certificate has nobody who could take it back, so there every statement about it counts.
    """
    digest = hashlib.sha256(payload).hexdigest()
    keys = {public.keyid for public in signers}
    strangers = []
    for item in revocations:
        subject = item.signed.statement["subject"][0]["digest"]["sha256"]
        about = item.id in keys if item.kind == "key" else item.id == release or subject == digest
        if not about:
            continue
        if not signers or item.counts({*signers, *trusted}):
            raise VerificationError(item.sentence)
        strangers.append(f"somebody who neither signed this certificate nor is trusted here says: {item.sentence}")
    return tuple(strangers)


def _revoke(
    kind: str, id_: str, subject: Mapping[str, Any], key: SigningKey, role: str, reason: str, superseded_by: str | None
) -> Revocation:
    if not reason.strip() or len(reason) > _MAX_REASON or not reason.isprintable():
        raise ConfigError(f"a revocation needs a reason: one line of at most {_MAX_REASON} characters")
    now = datetime.now(UTC)
    said = {"kind": kind, "id": id_, "reason": reason.strip(), "revoked": now.date().isoformat(), "superseded_by": superseded_by}
    statement = {"_type": STATEMENT_TYPE, "subject": [subject], "predicateType": REVOCATION_TYPE, "predicate": said}
    return _read(SignedStatement(statement).signed_by(key, role, now.date()), "the revocation")


def _read(signed: SignedStatement, where: str) -> Revocation:
    check_shape(signed.statement, "revocation-1", f"{where}: the revocation")
    if not signed.signatures:
        raise VerificationError(f"{where}: the revocation is unsigned")
    said = signed.statement["predicate"]
    if said["kind"] == "key" and said["id"] != signed.statement["subject"][0]["digest"]["sha256"]:
        raise VerificationError(f"{where}: the revocation names two keys")
    return Revocation(said["kind"], said["id"], said["reason"], said["revoked"], said["superseded_by"], signed)


def _list(envelopes: Any) -> bytes:
    return json.dumps({"$schema": LIST_SCHEMA, "revocations": envelopes}, indent=1).encode("ascii") + b"\n"
