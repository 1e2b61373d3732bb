"""What the guarantee does not cover: each hazard, after the headings of NIST SP 800-226, answered from this run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.wording import NOT_STATED, num


def build(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Hazard, answer, and its state: it remains (``open``), does not (``closed``) or cannot be known (``unknown``)."""
    dp = ev.mapping(evidence.get("dp"))
    unit = ev.text(dp.get("unit")) or "privacy unit"
    rows = [
        _unit(dp, unit),
        (
            "Several people together",
            f"The guarantee protects one {unit} at a time. A family or household of k is protected k times less.",
            "open",
        ),
        _domain(evidence),
        _noise(dp),
        (
            "Rounding and floating point",
            "Counts are integers and so is their noise, which closes the known attacks on floating-point noise.",
            "closed",
        ),
        _tables(dp),
        _quantities(dp),
        (
            "Repeated releases",
            "Every further release about the same people adds to the total. The ledger counts only releases made "
            "through it, not what others publish.",
            "open",
        ),
        (
            "Side channels",
            "Running time, memory use and error behaviour of the machine that made the release are not covered.",
            "open",
        ),
        (
            "Trust in the operator",
            ("The real records were read in clear by the operator. The guarantee concerns what leaves, not what happens inside."),
            "open",
        ),
        (
            "Facts about groups",
            (f"That smokers fall ill more often can be learned with or without any one {unit}; such inference is not prevented."),
            "open",
        ),
        (
            "Fitness for a purpose",
            "Only the measured marginals are kept, with noise. Other relations may be weaker, absent or wrong. Do not "
            "decide about individuals on these rows, and check a finding on the real table before it matters.",
            "open",
        ),
        ("Passing of time", _reassess(evidence), "open"),
    ]
    return {
        "rows": rows,
        "quantities": ev.strings(dp.get("unprotected_quantities")),
        "tables": ev.strings(dp.get("unprotected_tables")),
    }


def _unit(dp: Mapping[str, Any], unit: str) -> tuple[str, str, str]:
    rows = ev.number(dp.get("max_rows"))
    if not ev.text(dp.get("unit")) or rows is None:
        return "Privacy unit", f"Unit or rows per unit {NOT_STATED}.", "unknown"
    bound = (
        "each row is taken to be one unit; this is an assumption about the data"
        if rows == 1
        else f"rows beyond {num(rows)} per {unit} were dropped before counting"
    )
    return "Privacy unit", f"The unit is one {unit}: {bound}.", "open" if rows == 1 else "closed"


def _domain(evidence: Mapping[str, Any]) -> tuple[str, str, str]:
    found = ev.strings(ev.at(evidence, "schema.domain_provenance"))
    if not found:
        return "Domain of the columns", f"Origin of categories and bounds {NOT_STATED}.", "unknown"
    if set(found) <= {"declared", "dp"}:
        named = [
            ev.text(field.get("name")) or "?"
            for field in ev.records(ev.at(evidence, "schema.fields"))
            if field.get("provenance") == "dp" and ev.sequence(field.get("categories"))
        ]
        columns = ", ".join(named[:6]) + (f" and {len(named) - 6} more" if len(named) > 6 else "")
        return (
            "Domain of the columns",
            "Categories and bounds were declared in public or paid for from the budget; none was read off the data."
            + (f" The categories of {columns} are values that many records share, named under a noisy threshold." if named else ""),
            "closed",
        )
    return (
        "Domain of the columns",
        "Some categories or bounds were read off the real data, outside the guarantee.",
        "open",
    )


def _noise(dp: Mapping[str, Any]) -> tuple[str, str, str]:
    seeded, observed = ev.flag(dp.get("noise_seeded")), ev.flag(dp.get("noise_observed"))
    if seeded or observed:
        return "Source of noise", "The noise was seeded or observed in this run: it can be removed again.", "open"
    if seeded is None or observed is None:
        return "Source of noise", f"Whether the noise was seeded or observed is {NOT_STATED}.", "unknown"
    return (
        "Source of noise",
        "Noise came from the operating system's entropy, without a seed, and nobody recorded it.",
        "closed",
    )


def _tables(dp: Mapping[str, Any]) -> tuple[str, str, str]:
    if not isinstance(dp.get("unprotected_tables"), (list, tuple)):
        return "Tables outside the guarantee", f"{NOT_STATED.capitalize()}.", "unknown"
    tables = ev.strings(dp.get("unprotected_tables"))
    return "Tables outside the guarantee", (", ".join(tables) if tables else "None."), "open" if tables else "closed"


def _quantities(dp: Mapping[str, Any]) -> tuple[str, str, str]:
    if not isinstance(dp.get("unprotected_quantities"), (list, tuple)):
        return "Quantities outside the guarantee", f"{NOT_STATED.capitalize()}.", "unknown"
    found = ev.strings(dp.get("unprotected_quantities"))
    return (
        "Quantities outside the guarantee",
        (f"{found[0][:1].upper()}{', '.join(found)[1:]}." if found else "None declared."),
        "open" if found else "closed",
    )


def _reassess(evidence: Mapping[str, Any]) -> str:
    months = ev.number(ev.at(evidence, "certificate.reassess_months"))
    when = (
        f"Look at this release again within {num(months)} months"
        if months is not None
        else "No date for looking at this release again is stated; look again"
    )
    return f"{when}, and sooner if new data about the same people becomes public."
