"""``dpsynth sample``: more rows from a fitted model. Post-processing: it costs no privacy and reads no record."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, say
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson, Force, Seed
from dpsynth.cli.progress import Stages
from dpsynth.cli.tables import check_table_path, write_batches


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model saved by: dpsynth synth --model FILE.")],
    rows: Annotated[int, typer.Option("--rows", min=1, metavar="N", help="How many rows.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Ends in .parquet or .csv.")],
    where: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="COLUMN=VALUE", help="Rows given this value; >=, >, <= and < too. May be repeated."),
    ] = None,
    balance: Annotated[
        list[str] | None,
        typer.Option("--balance", metavar="COLUMN", help="The same share for each value, or COLUMN:VALUE=SHARE,... May be repeated."),
    ] = None,
    seed: Seed = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Draw rows from a fitted model: all kinds, those with given values, or in given shares. Free: the model paid."""
    check_table_path(out, force, reads=[model])
    from dpsynth.constraints.steering import balance_of_texts, conditions_of_texts
    from dpsynth.model import load
    from dpsynth.streaming import Chunks

    conditions, shares = conditions_of_texts(where or []), balance_of_texts(balance or [])
    chunks = Chunks(load(model), rows, secrets.randbits(32) if seed is None else seed, conditions or None, shares or None)
    with Stages() as progress:
        written = write_batches(chunks, chunks.schema, out, lambda done: progress("sample", done, rows))
    if as_json:
        emit({"out": str(out), "n_rows": written, "exit_code": OK})
    else:
        say(f"{written} synthetic rows in {out}")
    return OK
