"""``dpsynth keygen``: a key pair for signing certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, panel
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson


def command(
    path: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where the private key goes; the public key goes to FILE.pub.")
    ],
    as_json: AsJson = False,
) -> int:
    """Make an Ed25519 key pair. Needs the extra "sign"."""
    from dpsynth import certificate

    certificate.keygen(path)
    public = path.with_name(path.name + ".pub")
    if as_json:
        emit({"private_key": str(path), "public_key": str(public), "exit_code": OK})
        return OK
    panel(
        "KEY PAIR MADE",
        [
            ("private key", f"{path}  (keep it secret; mode 0600)"),
            ("public key", f"{public}  (hand it to who verifies)"),
        ],
        style="green",
    )
    return OK
