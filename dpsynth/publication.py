"""A refused release that a waiver lets go: the same table and the same evidence, decided again, then written as `release` would have.

Nothing is read, drawn or charged anew. The ledger keeps the verdict of the first decision.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth import bundle as bundles
from dpsynth import certificate, companions
from dpsynth.dossier import TABLES, WITHHELD, WITHHELD_SCHEMA, Dossier
from dpsynth.errors import ConfigError, InputError, VerificationError
from dpsynth.pipeline import ReleaseOutcome
from dpsynth.schema import Schema

if TYPE_CHECKING:
    from policies import Waiver

FIRST_DECISION = "first-decision.json"


def publish(
    bundle: str | Path,
    *,
    waivers: Sequence[Waiver],
    key: str | Path | None = None,
    role: str = "publisher",
    about: companions.About | str | Path | None = None,
    now: datetime | None = None,
) -> ReleaseOutcome:
    """Decide the refused release at ``bundle`` again with ``waivers``; if it is permitted now, replace the bundle by a certified one.

    The policy is the one that refused it. ``about`` replaces what the publisher said then. A release that is still not permitted is
    returned as such and stays as it was. Raises `InputError` for a folder that is no refused release with its table,
    `VerificationError` for a table that is not the one of the evidence.
    """
    import policies

    root = Path(bundle)
    dossier = _read(root)
    if about is not None:
        said = about if isinstance(about, companions.About) else companions.About.read(about)
        dossier = replace(dossier, about=said)
    signing_key = None if key is None else certificate.SigningKey.read(key)
    if dossier.evidence["certificate"]["signed"] and signing_key is None and not dossier.evidence["approvals"]["signatures_required"]:
        raise ConfigError("the evidence says that the certificate is signed; give the key that signs it (--key)")
    certificate.check_role(role)
    moment = (datetime.now(UTC) if now is None else now).replace(microsecond=0)
    decision = policies.evaluate(dossier.evidence, dossier.policy, waivers=waivers, now=moment)
    written = bundles.Bundle(root, None, root / "internal")
    if decision.permitted:
        with bundles.BundleWriter(root, force=True) as writer:
            for name in TABLES:
                writer.write_public(name, root / "internal" / name)
            writer.write_internal(FIRST_DECISION, root / "internal" / "decision.json")
            dossier.write(writer, decision, waivers, signing_key, role)
            written = writer.finish()
    claim, release = dossier.evidence["dp"], dossier.evidence["release"]
    return ReleaseOutcome(
        decision,
        written,
        float(claim["epsilon"]),
        float(claim["delta"]),
        claim["unit"],
        release["synthesizer"],
        release["n_rows"],
        seconds={},
        sign_off=tuple(dossier.evidence["approvals"]["signatures_required"]),
    )


def _read(root: Path) -> Dossier:
    """The dossier of a refused release, its tables checked against the evidence."""
    internal = root / "internal"
    if not internal.is_dir():
        raise InputError(f"{root} is not a bundle: it has no internal/")
    if (root / "public").exists():
        raise InputError(f"{root} has a public/ already; only a refused release can be published later")
    if not (internal / WITHHELD).is_file():
        raise InputError(f"{root} has no table to publish: a rule that takes no waiver keeps it back (see internal/decision.json)")
    try:
        return _checked(internal)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{root} is not the bundle of a refused release: its documents lack {error}") from None


def _checked(internal: Path) -> Dossier:
    import policies

    withheld, evidence = _json(internal / WITHHELD), _json(internal / "evidence.json")
    if withheld.get("$schema") != WITHHELD_SCHEMA:
        raise InputError(f"internal/{WITHHELD} is not in the format {WITHHELD_SCHEMA}")
    schema = Schema.from_dict(withheld["schema"])
    for name in TABLES:
        if not (internal / name).is_file():
            raise InputError(f"internal/{name} is missing")
        if bundles.sha256_of(internal / name) != withheld["files"][name]:
            raise VerificationError(f"internal/{name} is not the table that was refused: its SHA-256 differs")
    if withheld["files"]["synthetic.parquet"] != evidence["release"]["sha256"]:
        raise VerificationError("internal/synthetic.parquet is not the table of the evidence: release.sha256 differs")
    if schema.digest != evidence["schema"]["digest"]:
        raise VerificationError(f"internal/{WITHHELD} holds another schema than the evidence: schema.digest differs")
    effective = {name: part for name, part in _json(internal / "policy.json").items() if name not in ("digest", "files")}
    policy = policies.loads(effective)
    if policy.digest != _json(internal / "decision.json")["policy"]["digest"]:
        raise VerificationError("internal/policy.json is not the policy of the decision: its digest differs")
    return Dossier(
        evidence,
        schema,
        policy,
        _json(internal / "transcript.json"),
        _json(internal / "provenance.json")["seed"],
        companions.About.from_dict(withheld["about"]),
        withheld["supersedes"],
    )


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"internal/{path.name} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise InputError(f"internal/{path.name} is not JSON") from None
