"""The release certificate: an in-toto statement in a DSSE envelope, signed by one or more people, verified offline."""

from dpsynth.certificate.envelope import Signature, SignedStatement, seal, sign
from dpsynth.certificate.keys import KeyPair, PublicKey, SigningKey, keygen
from dpsynth.certificate.statement import PREDICATE_TYPE, SVR_TYPE, build, companion, predicate
from dpsynth.certificate.verification import VerificationReport, envelopes, read, sign_bundle, verify

__all__ = [
    "PREDICATE_TYPE",
    "SVR_TYPE",
    "KeyPair",
    "PublicKey",
    "Signature",
    "SignedStatement",
    "SigningKey",
    "VerificationReport",
    "build",
    "companion",
    "envelopes",
    "keygen",
    "predicate",
    "read",
    "seal",
    "sign",
    "sign_bundle",
    "verify",
]
