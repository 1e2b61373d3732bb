"""``dpsynth publish``: a refused release leaves after all, under a waiver. The table that was attacked, not a new one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli import outcome
from dpsynth.cli.disclosure import check_disclosure
from dpsynth.cli.options import AsJson, Disclose, Disclosure, SigningKeyPath


def command(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle of a refused release, with its internal/.")],
    waivers: Annotated[Path, typer.Option("--waivers", metavar="FILE", help="Waivers in force, as JSON.")],
    ledger: Annotated[
        str,
        typer.Option(
            "--ledger", envvar="DPSYNTH_LEDGER", metavar="FILE|URL", help="The ledger that was charged; it remembers the refusal."
        ),
    ],
    key: SigningKeyPath = None,
    about: Annotated[
        Path | None,
        typer.Option("--about", metavar="FILE", help="What the publisher says in public. Default: as given to the release."),
    ] = None,
    disclosure: Disclose = Disclosure.VERDICTS,
    as_json: AsJson = False,
) -> int:
    """Publish a refused release under waivers: no record is read, nothing is drawn or charged anew."""
    import policies
    from dpsynth.publication import publish

    check_disclosure(disclosure)
    result = publish(bundle, waivers=policies.load_waivers(waivers), ledger=ledger, key=key, about=about)
    return outcome.show(result, as_json=as_json, disclosure=disclosure, hints=outcome.to_sign(result))
