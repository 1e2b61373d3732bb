"""The release certificate: an in-toto statement in a DSSE envelope, signed by one or more people, verified offline."""

from dpsynth.certificate.envelope import Signature, SignedStatement, check_role, seal, sign
from dpsynth.certificate.keys import KeyPair, PublicKey, SigningKey, keygen
from dpsynth.certificate.revocation import (
    REVOCATION_TYPE,
    Revocation,
    append_revocation,
    read_revocations,
    revoke_key,
)
from dpsynth.certificate.statement import PREDICATE_TYPE, SVR_TYPE, build, check_release_id, companion, predicate
from dpsynth.certificate.verification import VerificationReport, envelopes, read, revoke_bundle, sign_bundle, verify

__all__ = [
    "PREDICATE_TYPE",
    "REVOCATION_TYPE",
    "SVR_TYPE",
    "KeyPair",
    "PublicKey",
    "Revocation",
    "Signature",
    "SignedStatement",
    "SigningKey",
    "VerificationReport",
    "append_revocation",
    "build",
    "check_release_id",
    "check_role",
    "companion",
    "envelopes",
    "keygen",
    "predicate",
    "read",
    "read_revocations",
    "revoke_bundle",
    "revoke_key",
    "seal",
    "sign",
    "sign_bundle",
    "verify",
]
