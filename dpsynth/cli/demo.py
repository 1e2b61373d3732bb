"""``dpsynth demo``: the whole line on real records that come with the package.

The records are public, so their budget is for show.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli import outcome
from dpsynth.cli.console import note
from dpsynth.cli.options import AsJson, AuditTier, Disclosure, Force, Tier
from dpsynth.cli.progress import Stages
from dpsynth.errors import OutputError

EPSILON = 3.0
DELTA = 1e-6
# Three demonstrations fit; the fourth on the same ledger is refused with exit code 4.
CAP = (9.0, 3e-6)


def command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the bundle goes.")] = Path("out/demo"),
    finance: Annotated[bool, typer.Option("--finance", help="Household finance records instead of health records.")] = False,
    broken: Annotated[
        bool,
        typer.Option("--broken", help="Use a synthesizer that copies its training rows. Must be refused: exit code 1."),
    ] = False,
    tier: AuditTier = Tier.STANDARD,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Release bundled real records at epsilon 3, delta 1e-6, audited and gated.

    Beside DIR go DIR.ledger and, with the extra "sign", DIR.key and DIR.key.pub.
    The ledger is capped at epsilon 9: the fourth demonstration is refused, unless --force starts a new count.
    """
    from dpsynth import datasets, pipeline
    from dpsynth.cli.broken import CopyRows

    if not out.name:
        raise OutputError(f"out={str(out)!r} must name a folder, e.g. out/demo")
    name = "sipp-401k" if finance else "rand-hie"
    ledger, key = _beside(out, ".ledger"), _beside(out, ".key")
    public_key = _beside(out, ".key.pub")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"folder {str(out.parent)!r} cannot be made: {error.strerror}") from None
    signing = _signing_key(key)
    if force:
        _new_count(ledger, datasets.schema_path(name))
    with Stages() as progress:
        result = pipeline.release(
            datasets.path(name),
            schema=datasets.schema_path(name),
            policy="demo-finance" if finance else "demo-health",
            out=out,
            epsilon=EPSILON,
            delta=DELTA,
            synthesizer=CopyRows() if broken else "mst",
            ledger=ledger,
            cap=CAP,
            key=signing,
            tier=tier.value,
            force=force,
            progress=progress,
        )
    hints = []
    if result.decision.permitted:
        hints.append(("check it", f"dpsynth verify {out}" + (f" --key {public_key}" if signing else "")))
    return outcome.show(result, as_json=as_json, disclosure=Disclosure.VERDICTS, hints=hints)


def _beside(out: Path, suffix: str) -> Path:
    return out.with_name(out.name + suffix)


def _new_count(path: Path, schema_path: Path) -> None:
    """Let the demonstration run again. On real people this needs new people; the ledger keeps the row that says why."""
    from dpsynth.privacy.ledger import Ledger
    from dpsynth.schema import Schema

    if path.exists():
        schema = Schema.read(schema_path)
        Ledger.open(path).new_epoch(
            schema.population,
            schema.unit.name,
            declaration="a demonstration on published records, started again with --force",
            approved_by="dpsynth demo",
        )


def _signing_key(key: Path) -> Path | None:
    """A key for this demonstration, made on first use; None, and a word about it, without the extra."""
    if find_spec("cryptography") is None:
        note('the extra "sign" is not installed; the certificate will say that it is unsigned')
        return None
    if not key.exists():
        from dpsynth import certificate

        certificate.keygen(key)
    return key
