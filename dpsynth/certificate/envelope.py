"""The DSSE envelope around a statement: sealing, signing and strict reading.

Reading accepts only the bytes that writing would produce: JSON and base64 have many spellings of one content, and a
flipped bit must not hide in them. Every signature also binds its role and date and names its public key, so that damage
shows even to a reader who was given no key. A named key proves nothing about who holds it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

from dpsynth.certificate.keys import PublicKey, SigningKey
from dpsynth.certificate.statement import SIGNED, dump
from dpsynth.errors import ConfigError, VerificationError

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
ROLE_TYPE: Final = "application/vnd.dpsynth.role+json"
_EXTENSION: Final = "dpsynth"
_ROLE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}")
_MAX_BYTES: Final = 8_000_000


@dataclass(frozen=True)
class Signature:
    """One signature over a payload, in a role, on a day (UTC), by the key ``public``."""

    public: PublicKey
    role: str
    date: str
    sig: bytes
    role_sig: bytes

    def to_dict(self) -> dict[str, Any]:
        """A DSSE signature with one extension member, which other DSSE readers ignore."""
        return {
            "keyid": self.public.keyid,
            "sig": base64.b64encode(self.sig).decode(),
            _EXTENSION: {
                "role": self.role,
                "date": self.date,
                "public": self.public.public,
                "role_sig": base64.b64encode(self.role_sig).decode(),
            },
        }


@dataclass(frozen=True)
class SignedStatement:
    """An in-toto statement with the signatures over it; every signature was checked against the key it names."""

    statement: Mapping[str, Any]
    signatures: tuple[Signature, ...] = ()

    @classmethod
    def parse(cls, data: bytes, name: str) -> SignedStatement:
        """Read an envelope; ``name`` is what errors call it."""
        if len(data) > _MAX_BYTES:
            raise VerificationError(f"{name} has {len(data)} bytes; a certificate has at most {_MAX_BYTES}")
        try:
            envelope = json.loads(data)
            if envelope["payloadType"] != PAYLOAD_TYPE:
                raise VerificationError(f"{name} does not hold an in-toto statement")
            statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
            parsed = cls(statement, tuple(_signature(item) for item in envelope["signatures"]))
            same = parsed.dump() == data
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
            if isinstance(error, VerificationError):
                raise
            raise VerificationError(f"{name} is damaged: it is not a DSSE envelope") from None
        if not same:
            raise VerificationError(f"{name} is damaged: its bytes are not the ones that were written")
        keys = [signature.public for signature in parsed.signatures]
        if len(set(keys)) != len(keys):
            raise VerificationError(f"{name} has two signatures of one key")
        for signature in parsed.signatures:
            parsed._check(signature, name)
        return parsed

    @property
    def payload(self) -> bytes:
        """The bytes that are signed, before DSSE's pre-authentication encoding."""
        return dump(self.statement)

    def dump(self) -> bytes:
        """The envelope as it stands in the file."""
        envelope = {
            "payload": base64.b64encode(self.payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [signature.to_dict() for signature in self.signatures],
        }
        return json.dumps(envelope, indent=1).encode("ascii") + b"\n"

    def signed_by(self, key: SigningKey, role: str, day: date) -> SignedStatement:
        """With one more signature. Signing the same payload again with the same key changes nothing."""
        check_role(role)
        for old in self.signatures:
            if old.public == key.public and old.role != role:
                raise ConfigError(f"this key has signed as {old.role}; one key cannot stand for two roles")
            if old.public == key.public:
                return self
        stamp = day.isoformat()
        signature = Signature(
            key.public,
            role,
            stamp,
            key.sign(_pae(PAYLOAD_TYPE, self.payload)),
            key.sign(_role_message(self.payload, key.public, role, stamp)),
        )
        return SignedStatement(self.statement, (*self.signatures, signature))

    def _check(self, signature: Signature, name: str) -> None:
        by = f"{signature.role} (key {signature.public.keyid[:12]})"
        if not signature.public.verifies(signature.sig, _pae(PAYLOAD_TYPE, self.payload)):
            raise VerificationError(f"{name}: the signature of {by} does not fit the content")
        message = _role_message(self.payload, signature.public, signature.role, signature.date)
        if not signature.public.verifies(signature.role_sig, message):
            raise VerificationError(f"{name}: the role or date of the signature of {by} was changed")


def check_role(role: str) -> str:
    """``role`` itself, if it can stand in a signature."""
    if not _ROLE.fullmatch(role):
        raise ConfigError(f"role={role} must be lower-case letters, digits and hyphens, e.g. data-owner")
    return role


def seal(statement: Mapping[str, Any]) -> bytes:
    """The envelope of ``statement`` without signatures."""
    return SignedStatement(statement).dump()


def sign(envelope: bytes, key: SigningKey, role: str, day: date | None = None) -> bytes:
    """``envelope`` with one more signature, by ``key`` in ``role`` on ``day`` (today in UTC unless given).

    The first signature changes the certificate's own ``signature_status``; later ones leave the payload alone.
    """
    parsed = SignedStatement.parse(envelope, "the envelope")
    return as_signed(parsed).signed_by(key, role, day or datetime.now(UTC).date()).dump()


def as_signed(parsed: SignedStatement) -> SignedStatement:
    """``parsed`` saying of itself that it is signed, before its first signature; else unchanged."""
    said = parsed.statement.get("predicate", {})
    if parsed.signatures or "signature_status" not in said:
        return parsed
    return SignedStatement({**parsed.statement, "predicate": {**said, "signature_status": SIGNED}})


def _signature(item: Any) -> Signature:
    more = item[_EXTENSION]
    date.fromisoformat(more["date"])
    if not _ROLE.fullmatch(more["role"]):
        raise ValueError("role")
    return Signature(
        PublicKey(more["public"]),
        more["role"],
        more["date"],
        base64.b64decode(item["sig"], validate=True),
        base64.b64decode(more["role_sig"], validate=True),
    )


def _pae(payload_type: str, payload: bytes) -> bytes:
    from securesystemslib.dsse import Envelope

    return Envelope(payload, payload_type, {}).pae()


def _role_message(payload: bytes, public: PublicKey, role: str, day: str) -> bytes:
    """What a signer says besides the payload: in which role and when. Without it, anybody could relabel a signature."""
    said = {"date": day, "keyid": public.keyid, "payload_sha256": hashlib.sha256(payload).hexdigest(), "role": role}
    return _pae(ROLE_TYPE, dump(said))
