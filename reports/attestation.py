"""What a certificate says of itself, read from a DSSE envelope or a bare in-toto statement. It verifies nothing."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from reports import evidence as ev


def read(certificate: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """None without a certificate; ``readable`` is False when there is one but its payload is not a statement."""
    if certificate is None:
        return None
    statement: Any = certificate
    if "payload" in certificate:
        try:
            statement = json.loads(base64.b64decode(str(certificate["payload"]), validate=True))
        except (binascii.Error, ValueError, RecursionError):
            statement = None
    predicate = ev.mapping(ev.at(statement, "predicate"))
    signatures = [
        " · ".join(part for part in (ev.text(ev.at(s, "dpsynth.role")), ev.text(ev.at(s, "dpsynth.date")), _key(s)) if part)
        for s in ev.records(certificate.get("signatures"))
    ]
    return {
        "readable": bool(predicate),
        "signed": _signed(predicate, signatures, enveloped="payload" in certificate),
        "predicate_type": ev.text(ev.at(statement, "predicateType")),
        "issued": ev.text(predicate.get("issued")),
        "reassess_by": ev.text(predicate.get("reassess_by")),
        "signatures": [s for s in signatures if s],
        "subjects": [
            (ev.text(s.get("name")) or "", ev.text(ev.at(s, "digest.sha256")) or "") for s in ev.records(ev.at(statement, "subject"))
        ],
    }


def _signed(predicate: Mapping[str, Any], signatures: list[str], *, enveloped: bool) -> bool | None:
    """A bare statement is cut before it is signed, so that it says "unsigned" tells nothing: None."""
    status = predicate.get("signature_status")
    if enveloped:
        return bool(signatures) and status != "unsigned"
    return True if status == "signed" else None


def _key(signature: Mapping[str, Any]) -> str | None:
    keyid = ev.text(signature.get("keyid"))
    return f"key {keyid[:16]}" if keyid else None
