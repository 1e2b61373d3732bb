"""``dpsynth audit-mechanism``: does a synthesizer keep its promise? Worst-case rows of nobody; no user record is read."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpsynth.cli.console import emit, note, out, table_of
from dpsynth.cli.exits import DENIED, INDETERMINATE, OK
from dpsynth.cli.options import AsJson, AuditTier, Delta, Epsilon, NoCache, Tier
from dpsynth.cli.progress import Stages
from dpsynth.errors import ConfigError

if TYPE_CHECKING:
    import audits
    from dpsynth.schema import Schema

_EXIT = {"VIOLATION": DENIED, "NOT_FALSIFIED": OK, "INCONCLUSIVE": INDETERMINATE}


class Neighbours(StrEnum):
    """The tables that must not be told apart."""

    ADD_REMOVE = "add_remove"
    REPLACE_ONE = "replace_one"


def command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A synthesizer by name, e.g. adaptive.")],
    epsilon: Epsilon,
    delta: Delta,
    tier: AuditTier = Tier.STANDARD,
    unit_rows: Annotated[int | None, typer.Option("--unit-rows", min=1, metavar="K", help="Most rows of one person. Default: 1.")] = None,
    neighbours: Annotated[Neighbours | None, typer.Option("--neighbours", help="Default: add_remove.")] = None,
    schema: Annotated[
        Path | None,
        typer.Option("--schema", metavar="FILE", help="Play on columns of this dictionary, with its unit and neighbours."),
    ] = None,
    no_cache: NoCache = False,
    as_json: AsJson = False,
) -> int:
    """Audit a synthesizer on worst-case rows of nobody: 0 no violation found, 1 violation, 3 inconclusive."""
    from dpsynth.code_audit_cache import CodeAuditCache
    from dpsynth.code_audits import audit_code, toy_for
    from dpsynth.privacy import PrivacyBudget
    from dpsynth.synthesizers import SYNTHESIZERS

    if name not in SYNTHESIZERS:
        raise ConfigError(f"synthesizer={name!r} must be one of {', '.join(SYNTHESIZERS)}")
    mechanism = toy_for(SYNTHESIZERS[name](), _shape(schema, unit_rows, neighbours), PrivacyBudget(epsilon, delta))
    with Stages() as progress:
        code = audit_code(mechanism, tier=tier.value, cache=None if no_cache else CodeAuditCache.of_user(), progress=progress)
    verdict = str(code.verdict)
    exit_code = _EXIT[verdict]
    if as_json:
        emit({**code.to_dict(), "verdict": verdict, "exit_code": exit_code, "results": {n: r.to_dict() for n, r in code.results.items()}})
        return exit_code
    unit = mechanism.schema.unit
    console = out()
    console.print(
        f"{name}: epsilon {epsilon:g}, delta {delta:g} per {unit.name} of at most {unit.max_rows} row{'s'[: unit.max_rows > 1]},"
        f" {mechanism.schema.neighbours}; {len(mechanism.columns)} columns of nobody's data\n",
        soft_wrap=True,
    )
    console.print(table_of(("audit", "verdict", "would have caught", "seconds#", "why"), [_row(n, r) for n, r in code.results.items()]))
    stages = _stages(code.results)
    if stages:
        console.print()
        headers = ("stage", "cells#", "noise / declared#", "mu declared#", "mu seen at least#")
        # The smoke tier plays no games, so it has nothing to say of mu.
        shown = len(headers) if any(row[-1] for row in stages) else 3
        console.print(table_of(headers[:shown], [row[:shown] for row in stages]))
    console.print(f"\n{verdict}  (an audit can falsify a claim, never certify one)")
    if code.cached:
        note(f"these answers were kept from {code.made}, for the same code, libraries and configuration; --no-cache runs them again")
    return exit_code


def _shape(path: Path | None, unit_rows: int | None, neighbours: Neighbours | None) -> Schema:
    from dpsynth.schema import Schema
    from dpsynth.toy_schema import standard_schema

    if path is None:
        return standard_schema("person", unit_rows or 1, str(neighbours or Neighbours.ADD_REMOVE))
    if unit_rows is not None or neighbours is not None:
        raise ConfigError("--schema says how many rows a unit has and who are neighbours; leave out --unit-rows and --neighbours")
    return Schema.read(path)


def _row(name: str, result: audits.AuditResult) -> tuple[str, ...]:
    caught = "" if result.detectable is None else _caught(name, result.detectable)
    return name, str(result.verdict), caught, f"{result.seconds:.1f}", result.reason


def _caught(name: str, factor: float) -> str:
    what = "sensitivity understated" if name == "record_replay" else "noise too small"
    return f"{what} {max(factor, 1.0):.3g} times"


def _stages(results: Any) -> list[tuple[str, ...]]:
    """One line per noisy stage: what the residuals and the likelihood ratio saw of it."""
    noise = results["residual_calibration"].details.get("stages", {}) if "residual_calibration" in results else {}
    games = results["transcript_likelihood"].details.get("stages", {}) if "transcript_likelihood" in results else {}
    rows: list[tuple[str, ...]] = []
    for stage in [*noise, *(name for name in (key.split(" (")[0] for key in games) if name not in noise)]:
        seen = noise.get(stage)
        game = next((value for key, value in games.items() if key.split(" (")[0] == stage), None)
        rows.append(
            (
                stage,
                "" if seen is None else str(seen["cells"]),
                "" if seen is None else f"{seen['noise_ratio']:.3f}",
                "" if game is None else f"{game['mu_declared']:.3g}",
                "" if game is None else f"{game.get('mu_lower_of_group', game['mu_lower']):.3g}",
            )
        )
    return rows
