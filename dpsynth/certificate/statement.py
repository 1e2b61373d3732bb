"""What a certificate says: a whitelist of public facts about a permitted release, and the digest of each public file.

Nothing is copied wholesale. Each field is named here, looked up in the evidence and checked for its type, so that no
audit figure, true count, seed, timing, path or host name rides along. A field that is absent stops the certificate.
"""

from __future__ import annotations

import calendar
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from importlib import resources
from typing import Any, Final

from dpsynth.errors import ConfigError, VerificationError

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://dpsynth.dev/dp-release/v1"
SVR_TYPE: Final = "https://in-toto.io/attestation/svr/v0.2"
SVR_VERIFIER: Final = "https://dpsynth.dev/release-gate/v1"
UNSIGNED: Final = "unsigned"
SIGNED: Final = "signed"

_PERMITTED_STATUSES: Final = ("pass", "warn", "waived", "info")
_HEX: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,99}")
_LIMITS: Final = (
    "The guarantee is about one privacy unit, as named, and this table alone; releases on the same population add up.",
    "Audits can falsify a claim and never prove one; their figures come from real records and are not published.",
    "The records are synthetic. What they say about a group is still about that group.",
)


def build(
    evidence: Mapping[str, Any],
    decision: Mapping[str, Any],
    files: Mapping[str, str],
    *,
    internal_commitment: str | None = None,
    supersedes: str | None = None,
) -> dict[str, Any]:
    """The in-toto statement of a permitted release whose public ``files`` are name -> SHA-256 in hex.

    ``internal_commitment`` is a keyed digest of the internal folder (``BundleWriter.commit_internal``) that tells
    nothing to somebody without that folder. The statement says it is unsigned until it is signed.
    """
    said = predicate(evidence, decision, internal_commitment=internal_commitment, supersedes=supersedes)
    for name, digest in files.items():
        if not _HEX.fullmatch(digest):
            raise ConfigError(f"file '{name}' has no SHA-256 in lower-case hex")
    table = _read(evidence, "release.sha256", str)
    if _read(evidence, "subject.sha256", str) != table:
        raise VerificationError("the audits looked at another table than the one released: subject.sha256 differs")
    if files.get("synthetic.parquet") != table:
        raise VerificationError("synthetic.parquet is not the table of the evidence: release.sha256 differs")
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": files[name]}} for name in sorted(files)],
        "predicateType": PREDICATE_TYPE,
        "predicate": said,
    }
    check_shape(statement)
    return statement


def predicate(
    evidence: Mapping[str, Any],
    decision: Mapping[str, Any],
    *,
    internal_commitment: str | None = None,
    supersedes: str | None = None,
) -> dict[str, Any]:
    """The public facts of a permitted release: what the certificate, the README and the public report may say."""
    if decision.get("permitted") is not True or decision.get("verdict") != "permitted":
        raise ConfigError("a certificate is issued for a permitted release only")
    created = _time(_read(evidence, "release.created", str), "release.created")
    rows_source = _read(evidence, "release.rows_source", str)
    if rows_source not in ("caller", "schema", "dp"):
        raise ConfigError(f"release.rows_source={rows_source} must be caller, schema or dp: the true count is private")
    return {
        "signature_status": UNSIGNED,
        "synthetic": True,
        "release": {
            "id": _read(evidence, "release.id", str),
            "title": _read(evidence, "release.title", str),
            "dataset": _read(evidence, "release.dataset", str),
            "population": _read(evidence, "release.population", str),
            "purpose": _read(evidence, "release.purpose", str, optional=True),
            "recipient": _read(evidence, "release.recipient", str, optional=True),
            "synthesizer": _read(evidence, "release.synthesizer", str),
            "n_rows": _read(evidence, "release.n_rows", int),
            "rows_source": rows_source,
            "supersedes": supersedes,
        },
        "guarantee": {
            "variant": _read(evidence, "dp.variant", str),
            "epsilon": _number(_read(evidence, "dp.epsilon", float), "dp.epsilon"),
            "delta": _delta(_read(evidence, "dp.delta", str)),
            "rho": _number(_read(evidence, "dp.rho", float, optional=True), "dp.rho"),
            "unit": _read(evidence, "dp.unit", str),
            "max_rows": _read(evidence, "dp.max_rows", int),
            "adjacency": _read(evidence, "dp.adjacency", str),
            "mechanisms": _texts(evidence, "dp.mechanisms"),
            "accountant": _read(evidence, "dp.accountant", str),
            "libraries": _versions(evidence, "dp.libraries"),
        },
        "domain_provenance": _texts(evidence, "schema.domain_provenance"),
        "unprotected_quantities": _texts(evidence, "dp.unprotected_quantities"),
        "policy": {key: _read(decision, f"policy.{key}", str) for key in ("id", "version", "digest")},
        "verdict": "permitted",
        "rules": [_rule(finding) for finding in _list(decision, "findings")],
        "waivers": [
            {key: _read(use, key, str) for key in ("id", "rule", "expires")}
            for use in _list(decision, "waivers", optional=True)
            if use.get("applied") is True
        ],
        "approvals": [
            {key: _read(item, key, str) for key in ("role", "date")} for item in _list(evidence, "approvals.items", optional=True)
        ],
        **({"signatures_required": required} if (required := _texts(evidence, "approvals.signatures_required", optional=True)) else {}),
        "ledger": _ledger(evidence),
        "internal_commitment": internal_commitment,
        # A release that a waiver lets go is issued when that is decided; it is assessed again by the age of its table.
        "issued": _time(_read(decision, "evaluated", str), "decision.evaluated").strftime("%Y-%m-%dT%H:%M:%SZ"),
        "reassess_by": _reassess_by(created.date(), _read(evidence, "certificate.reassess_months", int, optional=True)),
        "tool": {key: _read(evidence, f"tool.{key}", str) for key in ("name", "version")},
        "limits": list(_LIMITS),
    }


def check_release_id(text: str) -> str:
    """``text`` itself, if it can be the id of a release; a path that leads nowhere cannot."""
    if not _ID.fullmatch(text):
        raise ConfigError(f"'{text}' is neither a bundle nor the id of a release")
    return text


def companion(statement: Mapping[str, Any]) -> dict[str, Any]:
    """The Simple Verification Result (in-toto svr/v0.2) that follows from ``statement``: which rules passed.

    It is a function of the certificate, so ``verify`` derives it anew. Its last subject is the certificate's payload.
    """
    said = statement["predicate"]
    policy = said["policy"]
    payload_digest = hashlib.sha256(dump(statement)).hexdigest()
    payload = {"name": "certificate.dsse.json#payload", "digest": {"sha256": payload_digest}}
    digest = policy["digest"].removeprefix("sha256:")
    return {
        "_type": STATEMENT_TYPE,
        "subject": [*statement["subject"], payload],
        "predicateType": SVR_TYPE,
        "predicate": {
            "verifier": {
                "id": SVR_VERIFIER,
                "policies": [{"name": f"{policy['id']}@{policy['version']}", "digest": {"sha256": digest}}],
            },
            "timeCreated": said["issued"],
            "properties": [
                "DPSYNTH_RELEASE_PERMITTED",
                *(f"DPSYNTH_RULE_{rule['id']}" for rule in said["rules"] if rule["status"] == "pass"),
            ],
        },
    }


def dump(document: Mapping[str, Any]) -> bytes:
    """The one byte string we write for a JSON document: order kept, no spaces, ASCII, no NaN."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def check_shape(statement: Any, schema: str = "certificate-1", what: str = "the certificate") -> None:
    """Refuse a statement that says more or less than the closed ``schema`` of its kind allows."""
    import jsonschema

    text = resources.files("dpsynth").joinpath("schemas", f"{schema}.json").read_text(encoding="utf-8")
    validator = jsonschema.Draft202012Validator(json.loads(text))
    error = next(iter(sorted(validator.iter_errors(statement), key=lambda e: e.json_path)), None)
    if error is not None:
        raise VerificationError(f"{what} is malformed at {error.json_path}: {error.validator} does not hold")


def _rule(finding: Any) -> dict[str, str]:
    rule = {"id": _read(finding, "rule", str), "status": _read(finding, "status", str)}
    if rule["status"] not in _PERMITTED_STATUSES:
        raise ConfigError(f"rule {rule['id']} is {rule['status']}; only a permitted release gets a certificate")
    return {**rule, "severity": _read(finding, "severity", str)}


def _ledger(evidence: Mapping[str, Any]) -> dict[str, Any]:
    names = {key: _read(evidence, f"budget.{key}", str, optional=True) for key in ("population", "unit", "head")}
    if _read(evidence, "budget.ledger", bool) is not True:
        return {"population": names["population"], "unit": names["unit"], "spent": None, "head": None}
    if names["head"] is None:
        raise ConfigError("evidence has no budget.head although a ledger was used")
    spent = {
        "epsilon": _number(_read(evidence, "budget.after.epsilon", float), "budget.after.epsilon"),
        "delta": _delta(_read(evidence, "budget.after.delta", str)),
    }
    composition = _read(evidence, "budget.after.composition", str, optional=True)
    said = {"population": names["population"], "unit": names["unit"], "spent": spent, "head": names["head"]}
    # How the total was added up, where that is not by sums of epsilon and delta.
    return said if composition in (None, "basic") else {**said, "composition": composition}


def _read(document: Any, path: str, kind: type, *, optional: bool = False) -> Any:
    """The value at the dotted ``path`` if it is of ``kind`` (an int or a decimal string may stand for a float)."""
    value = document
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if value is None and optional:
        return None
    if value is None:
        raise ConfigError(f"evidence has no {path}, so no certificate can be issued")
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool) and path.endswith("delta"):
        return repr(value)
    if kind is float and isinstance(value, str):
        return _float(value, path)
    fits = isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)
    if not fits or (kind is str and len(value) > 2000):
        raise ConfigError(f"evidence field {path} must be a {kind.__name__}")
    return value


def _list(document: Any, path: str, *, optional: bool = False) -> Sequence[Any]:
    value = _read(document, path, list, optional=optional)
    return [] if value is None else value


def _texts(document: Any, path: str, *, optional: bool = False) -> list[str]:
    values = _list(document, path, optional=optional)
    if not all(isinstance(value, str) and len(value) <= 2000 for value in values):
        raise ConfigError(f"evidence field {path} must be a list of texts")
    return list(values)


def _versions(document: Any, path: str) -> dict[str, str]:
    versions = _read(document, path, dict)
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in versions.items()):
        raise ConfigError(f"evidence field {path} must map library names to versions")
    return dict(sorted(versions.items()))


def _float(text: str, path: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"evidence field {path} must be a number") from None


def _number(value: float | None, path: str) -> float | None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise ConfigError(f"evidence field {path} must be finite and >= 0")
    return value


def _delta(text: str) -> str:
    try:
        inside = 0 <= Decimal(text) < 1
    except InvalidOperation:
        inside = False
    if not inside:
        raise ConfigError("delta must be a decimal in [0, 1)")
    return text


def _time(text: str, path: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"evidence field {path} must be an ISO 8601 time") from None
    if moment.tzinfo is None:
        raise ConfigError(f"evidence field {path} must carry a time zone")
    return moment.astimezone(UTC)


def _reassess_by(issued: date, months: int | None) -> str | None:
    """``months`` after ``issued``; a day the month does not have becomes its last."""
    if months is None:
        return None
    year, month = divmod(issued.year * 12 + issued.month - 1 + months, 12)
    return date(year, month + 1, min(issued.day, calendar.monthrange(year, month + 1)[1])).isoformat()
