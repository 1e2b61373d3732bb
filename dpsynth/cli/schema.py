"""``dpsynth schema``: the public data dictionary, checked before any record is read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dpsynth.cli.console import emit, panel, say
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson

group = typer.Typer(no_args_is_help=True, help="The public data dictionary of a table.")


@group.callback()
def _group() -> None:
    """The public data dictionary of a table."""


@group.command("lint")
def lint(
    path: Annotated[Path, typer.Argument(metavar="SCHEMA", help="A schema file.")],
    as_json: AsJson = False,
) -> int:
    """Check a schema file and give advice. Errors exit with 2; advice does not."""
    from dpsynth.schema import Schema
    from dpsynth.schema_tools.advice import advise, grouped

    schema = Schema.read(path)
    advice = advise(schema)
    if as_json:
        emit(
            {
                "schema": str(path),
                "digest": schema.digest,
                "fields": len(schema.fields),
                "advice": advice,
                "exit_code": OK,
            }
        )
        return OK
    unit = schema.unit
    panel(
        "SCHEMA IS VALID",
        [
            ("fields", f"{len(schema.modelled)} modelled; identifiers, never modelled: {len(schema.identifiers)}"),
            (
                "privacy unit",
                f"{unit.name}, " + ("one row each" if unit.field is None else f"at most {unit.max_rows} rows each"),
            ),
            ("digest", schema.digest),
        ],
        style="green",
    )
    for line in grouped(advice):
        say(f"advice: {line}")
    return OK
