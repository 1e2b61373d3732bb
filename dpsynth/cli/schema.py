"""``dpsynth schema``: the public data dictionary, checked before any record is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpsynth.cli.console import emit, panel, say, table
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson, Delimiter, Force, source
from dpsynth.cli.tables import check_free, write_text

if TYPE_CHECKING:
    from dpsynth.schema import Schema
    from dpsynth.schema_tools.draft import Draft

group = typer.Typer(no_args_is_help=True, help="The public data dictionary of a table.")


@group.callback()
def _group() -> None:
    """The public data dictionary of a table."""


Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the schema goes.")]
Fill = Annotated[
    Path | None,
    typer.Option("--fill", metavar="FILE", help="JSON with the missing facts, in the keys of a schema; a field that is null is left out."),
]
Dataset = Annotated[str | None, typer.Option("--dataset", metavar="ID", help="What the table is called.")]
Population = Annotated[str | None, typer.Option("--population", metavar="TEXT", help="Whose privacy budget it is charged to.")]
UnitName = Annotated[str | None, typer.Option("--unit", metavar="NAME", help="Who is protected, e.g. person or patient.")]
UnitField = Annotated[str | None, typer.Option("--unit-field", metavar="FIELD", help="The column that tells them apart.")]
MaxRows = Annotated[int | None, typer.Option("--max-rows", min=1, metavar="N", help="Rows of one of them that are used.")]


@group.command("init")
def init(
    codebook: Annotated[str, typer.Argument(metavar="CODEBOOK", help="CSV or JSON codebook; with --public, a table.")],
    out: Out,
    dataset: Dataset = None,
    population: Population = None,
    unit: UnitName = None,
    unit_field: UnitField = None,
    max_rows: MaxRows = None,
    public: Annotated[bool, typer.Option("--public", help="I declare that every value of this table is public.")] = False,
    fill: Fill = None,
    delimiter: Delimiter = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """A schema from a codebook, or from a table that you declare public. What is missing is asked for, all at once."""
    check_free(out, force, reads=(codebook, fill))
    if public:
        from dpsynth.schema_tools.public_table import from_public_table

        drafts = from_public_table(source(codebook, delimiter))
    else:
        from dpsynth.schema_tools.codebook import read_codebook

        drafts = read_codebook(Path(codebook))
    return _write(drafts, _top(dataset, population, unit, unit_field, max_rows), {}, fill, out, as_json)


@group.command("convert")
def convert(
    path: Annotated[Path, typer.Argument(metavar="METADATA", help="JSON, or the indented YAML of SmartNoise.")],
    kind: Annotated[str, typer.Option("--from", metavar="KIND", help="sdv, smartnoise or sdnist.")],
    out: Out,
    dataset: Dataset = None,
    population: Population = None,
    unit: UnitName = None,
    unit_field: UnitField = None,
    max_rows: MaxRows = None,
    table_name: Annotated[str | None, typer.Option("--table", metavar="NAME", help="Which table, where there are several.")] = None,
    fill: Fill = None,
    force: Force = False,
    as_json: AsJson = False,
) -> int:
    """A schema from another tool's metadata. What that format does not hold is asked for, all at once."""
    from dpsynth.schema_tools import converters

    check_free(out, force, reads=(path, fill))
    drafts, found = converters.read(path, kind, table_name)
    return _write(drafts, _top(dataset, population, unit, unit_field, max_rows), found, fill, out, as_json)


@group.command("diff")
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A schema.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another.")],
    as_json: AsJson = False,
) -> int:
    """What changed between two schemas, and whether budgets, claims, models or audits are touched."""
    from dpsynth.schema import Schema
    from dpsynth.schema_tools.comparison import compare

    changes = compare(Schema.read(old), Schema.read(new))
    if as_json:
        emit({"changes": [vars(change) for change in changes], "exit_code": OK})
        return OK
    if not changes:
        say("the schemas are equal")
        return OK
    table(("where", "what", "before", "after", "touches"), [(c.where, c.key, c.before, c.after, c.effect) for c in changes])
    for effect in dict.fromkeys(change.effect for change in changes):
        say(f"{effect}: {effect.means}")
    return OK


def _top(dataset: str | None, population: str | None, unit: str | None, unit_field: str | None, max_rows: int | None) -> dict[str, Any]:
    """Keys beside the fields, from options."""
    known: dict[str, dict[str, Any]] = {
        "dp:dataset": {"id": dataset, "population": population},
        "dp:unit": {"name": unit, "field": unit_field, "maxRows": max_rows},
    }
    return {key: {name: value for name, value in item.items() if value is not None} for key, item in known.items()}


def _write(drafts: Sequence[Draft], top: Mapping[str, Any], found: Mapping[str, Any], fill: Path | None, out: Path, as_json: bool) -> int:
    from dpsynth.schema_tools.draft import finish, merged, read_fill

    schema = finish(drafts, merged(found, top), read_fill(fill))
    write_text(schema_text(schema), out)
    return _report("SCHEMA WRITTEN", out, schema, as_json)


def schema_text(schema: Schema) -> str:
    """A schema as people edit it: one line per field, its value list beside it."""
    import json

    document = schema.to_dict()
    shared = document["missingValues"]
    fields = [{k: v for k, v in item.items() if k != "missingValues" or v != shared} for item in document.pop("fields")]
    head = json.dumps(document, indent=1, ensure_ascii=False).removesuffix("\n}")
    lines = ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in fields)
    return f'{head},\n "fields": [\n{lines}\n ]\n}}\n'


@group.command("lint")
def lint(
    path: Annotated[Path, typer.Argument(metavar="SCHEMA", help="A schema file.")],
    as_json: AsJson = False,
) -> int:
    """Check a schema file and give advice. Errors exit with 2; advice does not."""
    from dpsynth.schema import Schema

    return _report("SCHEMA IS VALID", path, Schema.read(path), as_json)


def _report(title: str, path: Path, schema: Schema, as_json: bool) -> int:
    from dpsynth.schema_tools.advice import advise, grouped

    advice = advise(schema)
    if as_json:
        emit({"schema": str(path), "digest": schema.digest, "fields": len(schema.fields), "advice": advice, "exit_code": OK})
        return OK
    unit = schema.unit
    panel(
        title,
        [
            ("schema", str(path)),
            ("fields", f"{len(schema.modelled)} modelled; identifiers, never modelled: {len(schema.identifiers)}"),
            ("privacy unit", f"{unit.name}, " + ("one row each" if unit.field is None else f"at most {unit.max_rows} rows each")),
            ("digest", schema.digest),
        ],
        style="green",
    )
    for line in grouped(advice):
        say(f"advice: {line}")
    return OK
