"""``dpsynth mix``: real and synthetic rows in one marked table, for training inside the house. It must not leave."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, note, panel
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson, Data, Delimiter, Force, SchemaPath, Seed, source
from dpsynth.cli.tables import check_free, whole
from dpsynth.errors import ConfigError


def command(
    data: Data,
    schema: SchemaPath,
    synthetic: Annotated[Path, typer.Option("--synthetic", metavar="FILE", help="Synthetic rows, e.g. rare ones from: dpsynth sample.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Ends in .parquet, which can carry the mark.")],
    seed: Seed = None,
    delimiter: Delimiter = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """Real and synthetic rows together, for training inside the house. The file is as private as its real rows and is marked so."""
    if out.suffix != ".parquet":
        raise ConfigError(f"out={str(out)!r} must end in .parquet, which can say that it holds real records")
    check_free(out, force, reads=(data, schema, synthetic))
    from dpsynth import mixing
    from dpsynth.schema import Schema

    table = mixing.mix(source(data, delimiter), synthetic, Schema.read(schema), seed=seed)
    with whole(out) as draft:
        mixing.write(table, draft)
    share = float((table[mixing.ORIGIN] == mixing.SYNTHETIC).mean()) if len(table) else 0.0
    note("this file holds real records: it is not synthetic data, no guarantee covers it, and it must stay inside")
    if as_json:
        emit({"out": str(out), "n_rows": len(table), "synthetic_share": share, "holds_real_records": True, "exit_code": OK})
        return OK
    panel(
        "MIXED TABLE WRITTEN, INTERNAL ONLY",
        [
            ("table", f"{out}  ({len(table)} rows, {share:.0%} synthetic)"),
            ("marked by", f"column {mixing.ORIGIN} and the file's metadata; bundles refuse it"),
        ],
        style="yellow",
    )
    return OK
