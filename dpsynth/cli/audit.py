"""``dpsynth audit``: attacks on anybody's synthetic table.

What it prints is computed from real records and is internal.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpsynth.cli.console import emit, note, out, say, table_of
from dpsynth.cli.exits import DENIED, INDETERMINATE, OK
from dpsynth.cli.options import AsJson, AuditTier, Tier
from dpsynth.cli.progress import Stages
from dpsynth.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    import audits
    from dpsynth.schema import Schema

_EXIT = {"VIOLATION": DENIED, "NOT_FALSIFIED": OK, "INCONCLUSIVE": INDETERMINATE}


def command(
    train: Annotated[str, typer.Option("--train", metavar="FILE", help="The real records that the synthetic table was made from.")],
    synthetic: Annotated[str, typer.Option("--synthetic", metavar="FILE", help="The synthetic table.")],
    control: Annotated[
        str,
        typer.Option("--control", metavar="FILE", help="Real records of the same kind that took no part: what chance would give."),
    ],
    schema: Annotated[
        Path | None,
        typer.Option("--schema", metavar="FILE", help="The data dictionary. Without it types are guessed from the tables."),
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", metavar="NUMBER", help="The claim to test. Needs --delta and --schema.")
    ] = None,
    delta: Annotated[float | None, typer.Option("--delta", metavar="NUMBER", help="The claim to test.")] = None,
    tier: AuditTier = Tier.STANDARD,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of the attacks.")] = 0,
    as_json: AsJson = False,
) -> int:
    """Attack a synthetic table, whoever made it: 0 no violation found, 1 violation, 3 inconclusive."""
    if (epsilon is None) != (delta is None):
        raise ConfigError("a claim needs both --epsilon and --delta")
    if epsilon is not None and schema is None:
        raise ConfigError("a claim needs --schema, which names the privacy unit")
    import audits

    tables, claim = (
        _with_schema(schema, train, control, synthetic, epsilon, delta) if schema else (_guessed(train, control, synthetic), None)
    )
    with Stages() as progress:
        suite = audits.run(**tables, claim=claim, tier=tier.value, seed=seed, progress=progress)
    code = _EXIT[str(suite.verdict)]
    if as_json:
        emit({**suite.to_dict(), "exit_code": code})
        return code
    rows = [_row(name, result) for name, result in suite.results.items()]
    out().print(table_of(("audit", "verdict", "value#", "95 % interval", "attacks#", "could have caught"), rows))
    reasons = [f"{name}: {result.reason}" for name, result in suite.results.items() if str(result.verdict) != "NOT_FALSIFIED"]
    if reasons:
        say("\n" + "\n".join(reasons))
    out().print(f"\n{suite.verdict}  (an audit can falsify a claim, never certify one)")
    note("these figures are functions of real records: keep them inside")
    return code


def _row(name: str, result: audits.AuditResult) -> tuple[str, ...]:
    """What was found, and what would have been found in 80 % of cases had it been there."""
    low, high = result.interval
    interval = ""
    if low is not None and result.confidence < 1.0:
        interval = f"at least {low:.3g}" if high is None else f"{low:.3g} to {high:.3g}"
    return (
        name,
        str(result.verdict),
        "" if result.value is None else f"{result.value:.3g}",
        interval,
        str(result.n),
        "" if result.detectable is None else f"{result.detectable_unit.removeprefix('an ').removeprefix('a ')}: {result.detectable:.3g}",
    )


def _with_schema(
    path: Path, train: str, control: str, synthetic: str, epsilon: float | None, delta: float | None
) -> tuple[dict[str, Any], audits.Claim | None]:
    """All three tables at the schema's granularity, and the claim if there is one."""
    import audits
    from dpsynth.encode import closed_by
    from dpsynth.privacy import PrivacyBudget
    from dpsynth.schema import Schema, Unit
    from dpsynth.toy_mechanism import audit_columns

    schema = Schema.read(path)
    claim = None
    if epsilon is not None and delta is not None:
        budget = PrivacyBudget(epsilon, delta).with_open_columns(len(schema.open))
        claim = audits.Claim(schema.unit.name, schema.unit.max_rows, schema.neighbours, budget.rho, epsilon, delta, budget.threshold_delta)
    schema = closed_by(schema, synthetic)
    released = replace(schema, unit=Unit(schema.unit.name), primary_key=())
    train_table, train_units = _encoded(schema, train)
    control_table, control_units = _encoded(schema, control)
    synthetic_table, _ = _encoded(released, synthetic)
    tables = {
        "train": train_table,
        "control": control_table,
        "synthetic": synthetic_table,
        "train_units": train_units,
        "control_units": control_units,
        "columns": audit_columns(schema),
    }
    return tables, claim


def _encoded(schema: Schema, source: str) -> tuple[pd.DataFrame, npt.NDArray[np.int64] | None]:
    from dpsynth.encode import Encoder
    from dpsynth.sources import open_source

    encoder = Encoder(schema)
    encoded = encoder.encode(open_source(source, encoder.columns))
    return encoder.canonical(encoded.codes), encoded.units


def _guessed(*sources: str) -> dict[str, Any]:
    """The tables as they are, over the columns that all three have; text that reads as numbers or dates everywhere is taken for such."""
    import pyarrow as pa

    import audits
    from dpsynth.sources import header, open_source

    headers = [header(source) for source in sources]
    shared = [name for name in headers[0] if all(name in other for other in headers)]
    if not shared:
        raise ConfigError("train, control and synthetic have no column in common")
    frames = {}
    for name, source in zip(("train", "control", "synthetic"), sources, strict=True):
        batches = list(open_source(source, shared))
        empty = pa.table({column: pa.array([], pa.string()) for column in shared})
        frames[name] = (pa.Table.from_batches(batches) if batches else empty).to_pandas()
    frames = audits.typed(frames)
    return {**frames, "columns": audits.infer_columns(list(frames.values()))}
