"""``dpsynth keygen``: a key pair for signing certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, panel
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson


def command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Where the private key goes; the public key goes to FILE.pub.")],
    as_json: AsJson = False,
) -> int:
    """Make an Ed25519 key pair. Needs the extra "sign"."""
    from dpsynth import certificate

    pair = certificate.keygen(path)
    if as_json:
        emit({"private_key": str(pair.private), "public_key": str(pair.public), "keyid": pair.keyid, "exit_code": OK})
        return OK
    panel(
        "KEY PAIR MADE",
        [
            ("private key", f"{pair.private}  (mode 0600; keep it away from the bundle and the data)"),
            ("public key", f"{pair.public}  (for whoever verifies)"),
            ("key id", pair.keyid),
        ],
        style="green",
    )
    return OK
