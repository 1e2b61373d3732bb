"""``dpsynth ledger``: what a population has spent, what it may still spend, whether the record is intact."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from dpsynth.cli.console import emit, panel, say, table
from dpsynth.cli.exits import BUDGET, OK
from dpsynth.cli.options import AsJson, Delta, Epsilon

group = typer.Typer(no_args_is_help=True, help="The privacy budget of a population across releases.")

Ledgerfile = Annotated[
    str,
    typer.Option(
        "--ledger",
        envvar="DPSYNTH_LEDGER",
        metavar="FILE|URL",
        help="The ledger: a file, or postgresql://user@host/database.",
    ),
]
Population = Annotated[str, typer.Option("--population", metavar="ID", help="Whose budget: dp:dataset.population of the schema.")]
UnitName = Annotated[str, typer.Option("--unit", metavar="NAME", help="The privacy unit, e.g. person.")]


_BY = {"basic": "sums of epsilon and delta", "zcdp": "zCDP, converted at the cap's delta"}


class Composition(StrEnum):
    """How the charges of a population are added up."""

    BASIC = "basic"
    ZCDP = "zcdp"


@group.command("show")
def show(
    path: Ledgerfile,
    history: Annotated[bool, typer.Option("--history", help="Every row, oldest first.")] = False,
    as_json: AsJson = False,
) -> int:
    """Totals per population and unit. Internal: purposes and attempts are not for the public."""
    ledger = _open(path)
    summary = ledger.show()
    if history:
        summary = {**summary, "history": ledger.history()}
    if as_json:
        emit(summary)
        return OK
    say(f"{ledger.name}: {summary['rows']} rows, head {summary['head'][:16]}")
    table(
        ("population, unit", "releases#", "attempts#", "epsilon of cap#", "delta of cap#", "sum", "unfinished#"),
        [
            (
                f"{item['population']}, {item['unit']}",
                item["spent"]["releases"],
                item["spent"]["attempts"],
                _of_cap(item, "epsilon"),
                _of_cap(item, "delta"),
                item["spent"]["composition"],
                len(item["unfinished"]),
            )
            for item in summary["populations"]
        ],
    )
    if history:
        table(
            ("seq#", "time", "what", "population", "epsilon#", "purpose or reason"),
            [
                (
                    r["seq"],
                    r["time"],
                    r["kind"],
                    r.get("population", ""),
                    _short(r["epsilon"]) if "epsilon" in r else "",
                    r.get("purpose") or r.get("reason") or r.get("outcome") or r.get("declaration") or "",
                )
                for r in summary["history"]
            ],
        )
    return OK


@group.command("verify")
def verify(
    path: Ledgerfile,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="FILE", help="A bundle or certificate that must be anchored here. May be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check the chain of rows; with certificates, that none of their charges was cut off."""
    from dpsynth import certificate

    ledger = _open(path)
    check = ledger.verify(against=[certificate.read(file) for file in against or []]).to_dict()
    if as_json:
        emit({**check, "exit_code": OK})
        return OK
    rows = [
        ("ledger", ledger.name),
        ("rows", f"{check['rows']}, each chained to the one before"),
        ("head", check["head"]),
    ]
    if against:
        rows.append(("certificates", f"{check['certificates']} anchored, {check['unanchored']} without a ledger head"))
    panel("LEDGER INTACT", rows, style="green")
    return OK


@group.command("what-if")
def what_if(path: Ledgerfile, population: Population, unit: UnitName, epsilon: Epsilon, delta: Delta, as_json: AsJson = False) -> int:
    """Whether a release of this price would be granted now. Writes nothing and promises nothing."""
    answer = _open(path).what_if(population, unit, str(epsilon), str(delta)).to_dict()
    code = OK if answer["allowed"] else BUDGET
    if as_json:
        emit({**answer, "exit_code": code})
        return code
    cap = answer["cap"]
    rows = [
        ("spent so far", f"epsilon {_short(answer['before']['epsilon'])}, delta {_short(answer['before']['delta'])}"),
        ("after it", f"epsilon {_short(answer['after']['epsilon'])}, delta {_short(answer['after']['delta'])}"),
        ("cap", f"epsilon {_short(cap['epsilon'])}, delta {_short(cap['delta'])}" if cap else "none set"),
        *([("added up by", _BY[cap["composition"]])] if cap else []),
        ("such releases left", "no limit" if answer["releases_left"] is None else str(answer["releases_left"])),
    ]
    panel(
        "WOULD BE GRANTED" if answer["allowed"] else "WOULD BE REFUSED",
        rows,
        style="green" if answer["allowed"] else "red",
    )
    return code


@group.command("set-cap")
def set_cap(
    path: Ledgerfile,
    population: Population,
    unit: UnitName,
    epsilon: Epsilon,
    delta: Delta,
    composition: Annotated[
        Composition | None,
        typer.Option(
            "--composition",
            help="basic: epsilons and deltas add up. zcdp: rhos add up, converted at the cap's delta. Default: as set, else basic.",
        ),
    ] = None,
    reason: Annotated[str, typer.Option("--reason", help="Why a cap is raised or recomposed; becomes a row.")] = "",
    approved_by: Annotated[str, typer.Option("--approved-by", help="Who approved that; becomes a row.")] = "",
    as_json: AsJson = False,
) -> int:
    """Set what a population may ever spend. Raising it needs a reason and a name. Makes the ledger if there is none."""
    from dpsynth.privacy.ledger import Ledger

    cap = (
        Ledger.open(path)
        .set_cap(
            population,
            unit,
            str(epsilon),
            str(delta),
            composition=None if composition is None else composition.value,
            reason=reason,
            approved_by=approved_by,
        )
        .to_dict()
    )
    if as_json:
        emit({"population": population, "unit": unit, "cap": cap, "exit_code": OK})
        return OK
    panel(
        "CAP SET",
        [
            ("population", f"{population}, per {unit}"),
            ("epsilon", _short(cap["epsilon"])),
            ("delta", _short(cap["delta"])),
            ("added up by", _BY[cap["composition"]]),
        ],
        style="green",
    )
    return OK


@group.command("overlap")
def overlap(
    path: Ledgerfile,
    population: Population,
    other: Annotated[str, typer.Option("--other", metavar="ID", help="The population that shares units with it.")],
    unit: UnitName,
    as_json: AsJson = False,
) -> int:
    """Declare that one unit may be in both populations. From now on each pays for the other's releases, past and future."""
    ledger = _open(path)
    ledger.declare_overlap(population, other, unit)
    spent = {name: ledger.spent(name, unit).to_dict() for name in (population, other)}
    if as_json:
        emit({"population": population, "other": other, "unit": unit, "spent": spent, "exit_code": OK})
        return OK
    rows = [(name, f"epsilon {_short(total['epsilon'])}, delta {_short(total['delta'])}") for name, total in spent.items()]
    panel("OVERLAP DECLARED", rows, style="green")
    return OK


@group.command("new-epoch")
def new_epoch(
    path: Ledgerfile,
    population: Population,
    unit: UnitName,
    declaration: Annotated[
        str, typer.Option("--declaration", help="Why no unit of the population was in it before; becomes a row.", show_default=False)
    ],
    approved_by: Annotated[str, typer.Option("--approved-by", help="Who approved it; becomes a row.", show_default=False)],
    as_json: AsJson = False,
) -> int:
    """Count a population anew because its people are new. There is no reset for the same people."""
    ledger = _open(path)
    ledger.new_epoch(population, unit, declaration=declaration, approved_by=approved_by)
    if as_json:
        emit({"population": population, "unit": unit, "spent": ledger.spent(population, unit).to_dict(), "exit_code": OK})
        return OK
    say(f"{population}, per {unit}: counting starts at zero; the declaration is row {ledger.show()['rows']}")
    return OK


@group.command("abandon")
def abandon(
    path: Ledgerfile,
    reservation: Annotated[str, typer.Argument(metavar="ID", help="The reservation, as shown by: dpsynth ledger show --json.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; becomes a row.")] = "",
    as_json: AsJson = False,
) -> int:
    """Close the reservation of a run that died. The charge is given back only if no data was read."""
    refunded = _open(path).abandon(reservation, reason=reason)
    if as_json:
        emit({"reservation": reservation, "refunded": refunded, "exit_code": OK})
        return OK
    say(f"{reservation} closed; " + ("its charge is given back" if refunded else "its charge stays, because data was read"))
    return OK


def _open(path: str) -> Any:
    from dpsynth.privacy.ledger import Ledger

    return Ledger.open(path, create=False)


def _of_cap(item: Mapping[str, Any], name: str) -> str:
    cap = item["cap"]
    return f"{_short(item['spent'][name])} of {_short(cap[name])}" if cap else f"{_short(item['spent'][name])}, no cap"


def _short(amount: str) -> str:
    """A decimal string without the zeros at its end."""
    return f"{float(amount):.6g}"
