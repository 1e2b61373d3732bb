"""A refused release that a waiver lets go: the same table and the same evidence, decided again, then written as `release` would have.

Nothing is read, drawn or charged anew. The ledger keeps the verdict of the first decision, and the seal by which a refusal that somebody
edited is told from the one that was written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dpsynth import bundle as bundles
from dpsynth import certificate, companions
from dpsynth.dossier import SEALED, TABLES, WITHHELD, WITHHELD_SCHEMA, Dossier, seal_of
from dpsynth.errors import ConfigError, InputError, VerificationError
from dpsynth.pipeline import ReleaseOutcome
from dpsynth.privacy.ledger import Ledger
from dpsynth.schema import Schema

if TYPE_CHECKING:
    from policies import Waiver

FIRST_DECISION = "first-decision.json"


def publish(
    bundle: str | Path,
    *,
    waivers: Sequence[Waiver],
    ledger: str | Path,
    key: str | Path | None = None,
    role: str = "publisher",
    about: companions.About | str | Path | None = None,
    now: datetime | None = None,
) -> ReleaseOutcome:
    """Decide the refused release at ``bundle`` again with ``waivers``; if it is permitted now, replace the bundle by a certified one.

    The policy is the one that refused it. ``about`` replaces what the publisher said then. A release that is still not permitted is
    returned as such and stays as it was. ``ledger`` is the one that was charged. Raises `InputError` for a folder that is no refused
    release with its table, `VerificationError` for one in which anything is not as it was when it was refused.
    """
    import policies

    root = Path(bundle)
    dossier, tables = _read(root, Ledger.open(ledger, create=False))
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
                if bundles.sha256_of(writer.public_path(name)) != tables[name]:
                    raise VerificationError(f"internal/{name} is not the table that was refused: its SHA-256 differs")
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


def _read(root: Path, ledger: Ledger) -> tuple[Dossier, dict[str, str]]:
    """The dossier of a refused release, as the ledger remembers it, and the digests of its tables."""
    internal = root / "internal"
    if not internal.is_dir():
        raise InputError(f"{root} is not a bundle: it has no internal/")
    if (root / "public").exists():
        raise InputError(f"{root} has a public/ already; only a refused release can be published later")
    if not (internal / WITHHELD).is_file():
        raise InputError(
            f"{root} has no table to publish: it was refused without a ledger, or a rule that takes no waiver keeps it back "
            "(see internal/decision.json)"
        )
    written = {name: _bytes(internal / name) for name in SEALED}
    documents = {name: _json(name, content) for name, content in written.items()}
    try:
        if documents[WITHHELD].get("$schema") != WITHHELD_SCHEMA:
            raise InputError(f"internal/{WITHHELD} is not in the format {WITHHELD_SCHEMA}")
        if seal_of(written) not in _seals(ledger, documents["evidence.json"]["release"]["id"]):
            raise VerificationError(f"the documents in {internal} are not those of the refusal that {ledger.name} remembers")
        return _dossier(documents), {name: str(documents[WITHHELD]["files"][name]) for name in TABLES}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{root} is not the bundle of a refused release: its documents lack {error}") from None


def _seals(ledger: Ledger, release: str) -> set[str]:
    """What the ledger, whose chain is checked on the way, wrote down when it closed the charge of ``release``."""
    closed = (row for row in ledger.history() if row["kind"] == "committed" and row["id"] == release)
    return {row["meta"]["refusal"] for row in closed if "refusal" in row["meta"]}


def _dossier(documents: Mapping[str, Any]) -> Dossier:
    import policies

    withheld = documents[WITHHELD]
    effective = {name: part for name, part in documents["policy.json"].items() if name not in ("digest", "files")}
    return Dossier(
        documents["evidence.json"],
        Schema.from_dict(withheld["schema"]),
        policies.loads(effective),
        documents["transcript.json"],
        documents["provenance.json"]["seed"],
        companions.About.from_dict(withheld["about"]),
        withheld["supersedes"],
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"internal/{path.name} cannot be read: {error.strerror}") from None


def _json(name: str, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise InputError(f"internal/{name} is not JSON") from None
