"""``dpsynth release``: real records in; a certified bundle out, or a refusal with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli import outcome
from dpsynth.cli.options import (
    AsJson,
    AuditTier,
    Data,
    Delta,
    Disclose,
    Disclosure,
    Epsilon,
    Force,
    LedgerPath,
    PolicyName,
    Rows,
    SchemaPath,
    Seed,
    Synthesizer,
    Tier,
    WaiversPath,
)
from dpsynth.cli.progress import Stages


def command(
    data: Data,
    schema: SchemaPath,
    policy: PolicyName,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The bundle: public/ to hand out, internal/ to keep.")
    ],
    epsilon: Epsilon,
    delta: Delta,
    synthesizer: Synthesizer = "auto",
    rows: Rows = None,
    ledger: LedgerPath = None,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="FILE", help="Private key that signs the certificate. See: dpsynth keygen."),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            "--control",
            metavar="FILE",
            help="Records of other people that the audits compare with. Default: a hold-out.",
        ),
    ] = None,
    tier: AuditTier = Tier.STANDARD,
    waivers: WaiversPath = None,
    seed: Seed = None,
    force: Force = False,
    disclosure: Disclose = Disclosure.VERDICTS,
    as_json: AsJson = False,
) -> int:
    """Synthesize under a privacy budget, attack the result, and release it only if the policy permits."""
    from dpsynth import pipeline

    with Stages() as progress:
        result = pipeline.release(
            data,
            schema=schema,
            policy=policy,
            out=out,
            epsilon=epsilon,
            delta=delta,
            synthesizer=synthesizer,
            rows=rows,
            ledger=ledger,
            key=key,
            control=control,
            seed=seed,
            tier=tier.value,
            waivers=_waivers(waivers),
            force=force,
            progress=progress,
        )
    return outcome.show(result, as_json=as_json, disclosure=disclosure)


def _waivers(path: Path | None) -> tuple[object, ...]:
    if path is None:
        return ()
    import policies

    return policies.load_waivers(path)
