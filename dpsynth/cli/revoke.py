"""``dpsynth revoke``: a signed statement that a release, or a key, no longer counts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, panel
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson
from dpsynth.errors import ConfigError


def command(
    what: Annotated[
        Path,
        typer.Argument(metavar="WHAT", help="The bundle or certificate to take back, or a public key (.pub) that no longer counts."),
    ],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why. It is published: no names, no figures.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key: one that signed, or that verifiers trust.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="As what you revoke, e.g. data-owner.")],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The list of revocations to add it to; made if it is not there.")
    ] = Path("revocations.json"),
    superseded_by: Annotated[
        str | None, typer.Option("--superseded-by", metavar="BUNDLE|ID", help="The release that takes its place.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Take back a release or a key. Give the list to everybody who verifies: dpsynth verify BUNDLE --revocations FILE."""
    from dpsynth import certificate

    signer = certificate.SigningKey.read(key)
    if what.suffix == ".pub":
        if superseded_by is not None:
            raise ConfigError("a key is not superseded by a release; leave --superseded-by out")
        made = certificate.revoke_key(certificate.PublicKey.read(what), signer, role, reason=reason)
    else:
        instead = None if superseded_by is None else release_id(superseded_by)
        made = certificate.revoke_bundle(what, signer, role, reason=reason, superseded_by=instead)
    held = certificate.append_revocation(out, made)
    if as_json:
        emit({"kind": made.kind, "id": made.id, "revoked": made.revoked, "list": str(out), "statements": held, "exit_code": OK})
        return OK
    rows = [
        (made.kind, made.id),
        ("reason", made.reason),
        *([("instead", made.superseded_by)] if made.superseded_by else []),
        ("signed by", f"{role}, key {signer.public.keyid[:16]}"),
        ("list", f"{out}, {held} statement{'s' if held > 1 else ''}"),
        ("hand it out", f"dpsynth verify BUNDLE --revocations {out}"),
    ]
    panel("REVOKED", rows, style="yellow")
    return OK


def release_id(given: str) -> str:
    """The id itself, or the one in the certificate of a bundle."""
    from dpsynth import certificate

    if not Path(given).exists():
        return certificate.check_release_id(given)
    return str(certificate.read(given)["predicate"]["release"]["id"])
