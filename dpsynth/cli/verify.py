"""``dpsynth verify``: offline, from the bundle alone; names the first file that differs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, panel
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle folder, or its public/ as you received it.")],
    key: Annotated[
        list[Path] | None,
        typer.Option("--key", metavar="FILE", help="A public key you trust. Each must have signed. May be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check every file and signature of a bundle. Exit code 5 names the first thing that is wrong."""
    from dpsynth import certificate

    checked = certificate.verify(bundle, keys=key or [])
    if as_json:
        emit({**checked.to_dict(), "exit_code": OK})
        return OK
    panel("BUNDLE VERIFIED", checked.lines(), style="green")
    return OK
