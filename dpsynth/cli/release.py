"""``dpsynth release``: real records in; a certified bundle out, or a refusal with reasons."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dpsynth.cli import outcome
from dpsynth.cli.disclosure import check_disclosure
from dpsynth.cli.options import (
    AsJson,
    AuditTier,
    Data,
    Delimiter,
    Delta,
    Disclose,
    Disclosure,
    Epsilon,
    Force,
    LedgerPath,
    NoCache,
    PolicyName,
    Rows,
    SchemaPath,
    Seed,
    SigningKeyPath,
    Synthesizer,
    Tier,
    WaiversPath,
    source,
)
from dpsynth.cli.progress import Stages
from dpsynth.cli.revoke import release_id
from dpsynth.errors import ConfigError

if TYPE_CHECKING:
    from policies import Waiver


def command(
    data: Data,
    schema: SchemaPath,
    policy: PolicyName,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="The bundle: public/ to hand out, internal/ to keep.")],
    epsilon: Epsilon,
    delta: Delta,
    synthesizer: Synthesizer = "auto",
    rows: Rows = None,
    ledger: LedgerPath = None,
    key: SigningKeyPath = None,
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
    purpose: Annotated[str | None, typer.Option("--purpose", metavar="TEXT", help="What the release is for.")] = None,
    recipient: Annotated[str | None, typer.Option("--recipient", metavar="TEXT", help="Who it is for.")] = None,
    approval: Annotated[
        list[str] | None,
        typer.Option("--approval", metavar="ROLE=NAME", help="Who approved it, in which role. May be repeated."),
    ] = None,
    about: Annotated[
        Path | None,
        typer.Option("--about", metavar="FILE", help="What the publisher says in public: licence, region, datasheet answers, as JSON."),
    ] = None,
    sign_off: Annotated[
        list[str] | None,
        typer.Option(
            "--sign-off", metavar="ROLE", help="Who must sign before the bundle verifies: dpsynth sign --role ROLE. May be repeated."
        ),
    ] = None,
    supersedes: Annotated[
        str | None, typer.Option("--supersedes", metavar="BUNDLE|ID", help="The earlier release that this one replaces.")
    ] = None,
    delimiter: Delimiter = None,
    force: Force = False,
    no_cache: NoCache = False,
    disclosure: Disclose = Disclosure.VERDICTS,
    as_json: AsJson = False,
) -> int:
    """Synthesize under a privacy budget, attack the result, and release it only if the policy permits."""
    from dpsynth import pipeline

    check_disclosure(disclosure)
    with Stages() as progress:
        result = pipeline.release(
            source(data, delimiter),
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
            approvals=_approvals(approval or []),
            sign_off=sign_off or (),
            supersedes=None if supersedes is None else release_id(supersedes),
            purpose=purpose,
            recipient=recipient,
            about=about,
            force=force,
            cache=not no_cache,
            progress=progress,
        )
    return outcome.show(result, as_json=as_json, disclosure=disclosure, hints=outcome.to_sign(result))


def _approvals(given: list[str]) -> tuple[dict[str, str], ...]:
    """Approvals as the evidence holds them; the day is today's."""
    approvals = []
    for item in given:
        role, equals, name = item.partition("=")
        if not (role.strip() and equals and name.strip()):
            raise ConfigError(f"approval={item!r} must have the form ROLE=NAME")
        approvals.append({"role": role.strip(), "name": name.strip(), "date": datetime.now(UTC).date().isoformat()})
    return tuple(approvals)


def _waivers(path: Path | None) -> tuple[Waiver, ...]:
    if path is None:
        return ()
    import policies

    return policies.load_waivers(path)
