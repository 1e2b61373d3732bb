"""``dpsynth plan``: what a release will be like, before a record is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from dpsynth.cli.console import emit, panel, say, table
from dpsynth.cli.exits import OK
from dpsynth.cli.options import AsJson, Delimiter, Delta, LedgerPath, SchemaPath, Synthesizer, source

if TYPE_CHECKING:
    from dpsynth.planning import Error, Outlook, Plan
    from dpsynth.schema import Schema

_SHOWN_COLUMNS = 8


def command(
    schema: SchemaPath,
    delta: Delta,
    data: Annotated[str | None, typer.Argument(metavar="[DATA]", help="The table; only its header is read, and only if given.")] = None,
    epsilon: Annotated[float | None, typer.Option("--epsilon", metavar="NUMBER", help="Privacy loss the release may cost.")] = None,
    target_error: Annotated[
        float | None,
        typer.Option("--target-error", metavar="SHARE", help="Instead of --epsilon: find the epsilon for this mean one-way error."),
    ] = None,
    policy: Annotated[str | None, typer.Option("--policy", metavar="POLICY", help="Say which of its rules are decided already.")] = None,
    synthesizer: Synthesizer = "auto",
    rows_estimate: Annotated[
        int | None,
        typer.Option("--rows-estimate", min=1, metavar="N", help="A public number or a guess. Default: the schema's dp:rows."),
    ] = None,
    ledger: LedgerPath = None,
    delimiter: Delimiter = None,
    as_json: AsJson = False,
) -> int:
    """Noise, expected error, size and time of a release, and the rules it cannot pass. Reads no record.

    Errors are shares of records in the wrong cell: first for counts that fall off as 1/rank, then for equally full cells, about the worst.
    """
    from dpsynth.planning import plan
    from dpsynth.schema import Schema
    from dpsynth.sources import header

    declared = Schema.read(schema)
    planned = plan(
        declared,
        delta=delta,
        epsilon=epsilon,
        target_error=target_error,
        synthesizer=synthesizer,
        rows=rows_estimate,
        policy=policy,
        ledger=None if ledger is None or epsilon is None else _budget(ledger, declared, epsilon, delta),
        header=None if data is None else header(source(data, delimiter)),
    )
    if as_json:
        emit({**planned.to_dict(), "exit_code": OK})
    else:
        _show(planned)
    return OK


def _budget(path: str, schema: Schema, epsilon: float, delta: float) -> dict[str, Any]:
    """The budget section of the evidence, as the ledger would make it now."""
    from dpsynth.privacy.ledger import Ledger

    answer = Ledger.open(path, create=False).what_if(schema.population, schema.unit.name, str(epsilon), str(delta)).to_dict()
    return {"ledger": True, "cap": answer["cap"], "before": answer["before"], "after": answer["after"]}


def _show(planned: Plan) -> None:
    from dpsynth.schema_tools.advice import grouped

    chosen, unit = planned.chosen, planned.schema.unit
    each = f"one row per {unit.name}" if unit.field is None else f"at most {unit.max_rows} rows per {unit.name}"
    rows = [
        ("table", f"{planned.rows} rows (public or guessed), {len(chosen.columns)} modelled columns, {each}"),
        ("guarantee", f"epsilon {chosen.epsilon:g}, delta {planned.delta:g} per {unit.name} (rho {chosen.rho:.3g})"),
        *([("solved", f"the smallest epsilon with a mean one-way error of at most {planned.solved_for:g}")] if planned.solved_for else []),
        ("synthesizer", chosen.synthesizer),
        ("size", f"{planned.cells:,} cells in all pairs of columns"),
        ("cost", _cost(chosen)),
    ]
    panel("PLAN: NO RECORD WAS READ", rows, style="cyan")
    shown = sorted([*planned.ladder, *([] if any(o.epsilon == chosen.epsilon for o in planned.ladder) else [chosen])], key=_epsilon)
    say("\nExpected error by epsilon: share of records in the wrong cell, skewed to even counts")
    table(_HEADERS, [_row(f"{o.epsilon:g}", o, mark=o.epsilon == chosen.epsilon) for o in shown])
    say(f"\nThe same at epsilon {chosen.epsilon:g} by synthesizer")
    table(_HEADERS[1:], [_row("", o, mark=o is chosen)[1:] for o in [chosen, *planned.rivals]])
    worst = sorted(chosen.columns, key=lambda c: -c.error.even)[:_SHOWN_COLUMNS]
    say(f"\nThe {len(worst)} columns with the largest error")
    table(
        ("column", "levels#", "noise per level#", "error#"),
        [(c.name, f"{'about ' if c.found else ''}{c.levels}", f"{c.stddev:.3g}", _range(c.error)) for c in worst],
    )
    _show_rules(planned)
    for line in grouped(planned.advice):
        say(f"advice: {line}")


_HEADERS = ("epsilon#", "synthesizer", "one-way error#", "noise in a pair#", "pair error, where measured#", "CPU s#", "MB#")


def _row(name: str, outlook: Outlook, *, mark: bool) -> tuple[str, ...]:
    return (
        f"{'> ' if mark else ''}{name}",
        outlook.synthesizer,
        _range(outlook.one_way_error),
        "none" if outlook.pair_stddev is None else f"{outlook.pair_stddev:.3g}",
        "none" if outlook.pair_error is None else _range(outlook.pair_error),
        "?" if outlook.cost.cpu_seconds is None else f"{outlook.cost.cpu_seconds:.0f}",
        "?" if outlook.cost.peak_mb is None else f"{outlook.cost.peak_mb:.0f}",
    )


def _show_rules(planned: Plan) -> None:
    rules = planned.rules
    if rules is None:
        return
    held = len(rules.outcomes) - len(rules.blocking)
    say(f"\n{rules.policy}: {held} rules hold already, {len(rules.blocking)} cannot be met, {rules.left_to_the_run} are decided by the run")
    blocking = [(o.rule, {"fail": "✗ fails", "unknown": "? unknown"}[o.status], f"{o.title}: {o.message}") for o in rules.blocking]
    warned = [(o.rule, "! warns", f"{o.title}: {o.message}") for o in rules.outcomes if o.status == "warn"]
    if blocking or warned:
        table(("rule", "", "why"), [*blocking, *warned])


def _cost(outlook: Outlook) -> str:
    seconds, memory = outlook.cost.cpu_seconds, outlook.cost.peak_mb
    if seconds is None or memory is None:
        return "from seconds to hours, and up to gigabytes: it depends on what the noise shows"
    time = f"{seconds:.0f} CPU seconds" if seconds < 120 else f"{seconds / 60:.0f} CPU minutes"
    return f"about {time} and {memory:.0f} MB to synthesize, a factor of three either way; audits come on top"


def _range(error: Error) -> str:
    return f"{error.skewed:.3f} to {error.even:.3f}"


def _epsilon(outlook: Outlook) -> float:
    return outlook.epsilon
