"""``dpsynth sign``: one more signature, in a role, on a certificate that exists."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, panel
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson
from dpsynth.cli.verify import signers


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle folder.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="As what you sign, e.g. data-owner or privacy-officer.")],
    key: Annotated[Path, typer.Option("--key", metavar="FILE", help="Your private key. See: dpsynth keygen.")],
    as_json: AsJson = False,
) -> int:
    """Add your signature to a bundle's certificate, after checking every file it names."""
    from dpsynth import certificate

    report = certificate.sign_bundle(bundle, certificate.SigningKey.read(key), role)
    if as_json:
        emit({**report.to_dict(), "exit_code": OK})
        return OK
    rows = [("bundle", str(bundle)), *signers(report)]
    asked = report.statement["predicate"].get("signatures_required", ())
    if report.pending:
        rows.append(("still to sign", ", ".join(report.pending)))
    if asked and role not in asked:
        rows.append(("but", f"the certificate does not ask for {role}; it asks for {', '.join(asked)}"))
    panel(f"SIGNED AS {role.upper()}", rows, style="yellow" if report.pending else "green")
    return OK
