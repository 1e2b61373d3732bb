"""``dpsynth synth``: synthetic rows without audit or policy. The budget is charged all the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, note, panel
from dpsynth.cli.exits import OK
from dpsynth.cli.options import (
    AsJson,
    Data,
    Delimiter,
    Delta,
    Epsilon,
    Force,
    LedgerPath,
    Rows,
    SchemaPath,
    Seed,
    Synthesizer,
    source,
)
from dpsynth.cli.progress import Stages
from dpsynth.cli.tables import check_free, check_table_path, write_batches, write_bytes, write_table
from dpsynth.errors import OutputError


def command(
    data: Data,
    schema: SchemaPath,
    epsilon: Epsilon,
    delta: Delta,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Ends in .parquet or .csv.")],
    synthesizer: Synthesizer = "auto",
    fast: Annotated[bool, typer.Option("--fast", help="Skip the refinement of rows: half the time, a little more error.")] = False,
    target: Annotated[
        str | None, typer.Option("--target", metavar="COLUMN", help="The column whose relations to the others matter most.")
    ] = None,
    rows: Rows = None,
    model: Annotated[Path | None, typer.Option("--model", metavar="FILE", help="Also save the fitted model.")] = None,
    ledger: LedgerPath = None,
    seed: Seed = None,
    delimiter: Delimiter = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Synthetic rows for use inside the house: no audit, no policy, no certificate."""
    reads = (data, schema, ledger)
    check_table_path(out, force, reads=reads)
    if model is not None:
        check_free(model, force, reads=(*reads, out))
    from dpsynth import pipeline

    with Stages() as progress:
        fitted = pipeline.fit(
            source(data, delimiter),
            schema=schema,
            epsilon=epsilon,
            delta=delta,
            synthesizer=synthesizer,
            fast=fast,
            target=target,
            rows=rows,
            ledger=ledger,
            seed=seed,
            progress=progress,
        )
        # Model and rows are both paid for: where one cannot be written the other still is.
        unsaved: OutputError | None = None
        if model is not None:
            try:
                write_bytes(fitted.model.to_bytes(), model)
            except OutputError as error:
                unsaved = error
        if fitted.streams:
            batches = fitted.batches()
            write_batches(batches, batches.schema, out, lambda done: progress("write", done, fitted.rows))
            n_rows = fitted.rows
        else:
            progress("write", 0, 0)
            table = fitted.table()
            write_table(table, out)
            n_rows = len(table)
    if unsaved is not None:
        raise unsaved
    if ledger is None:
        note("no --ledger: this release is in no budget; the next one will not know of it")
    if as_json:
        emit(
            {
                "out": str(out),
                "model": None if model is None else str(model),
                "epsilon": epsilon,
                "delta": delta,
                "unit": fitted.schema.unit.name,
                "synthesizer": fitted.synthesizer,
                "n_rows": n_rows,
                "seconds": progress.seconds,
                "exit_code": OK,
            }
        )
        return OK
    panel(
        "SYNTHETIC TABLE WRITTEN, NOT AUDITED",
        [
            ("table", f"{out}  ({n_rows} rows)"),
            *([("model", f"{model}  (more rows for free: dpsynth sample)")] if model is not None else []),
            ("guarantee", f"epsilon {epsilon:g}, delta {delta:g} per {fitted.schema.unit.name}; {fitted.synthesizer}"),
        ],
        style="green",
    )
    return OK
