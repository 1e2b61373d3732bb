"""The budget of the population: before, this release, after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.figures.budget_bar import budget_bar
from reports.wording import NOT_STATED, answer, exact, num


def build(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """A bar of epsilon and a table with delta; attempts and releases only where the evidence holds them."""
    budget = ev.mapping(evidence.get("budget"))

    def both(key: str) -> tuple[str, str]:
        part = ev.mapping(budget.get(key))
        return exact(part.get("epsilon")), exact(part.get("delta"))

    before, this, after, cap = (ev.number(ev.at(budget, f"{k}.epsilon")) for k in ("before", "this", "after", "cap"))
    # By zCDP a release adds less to the total than it costs alone; the bar shows what it adds.
    by_rho = ev.at(budget, "after.composition") == "zcdp"
    if by_rho and before is not None and after is not None:
        this = max(0.0, after - before)
    facts = [
        ("Population", ev.text(budget.get("population")) or NOT_STATED),
        ("Privacy unit", ev.text(budget.get("unit")) or NOT_STATED),
        (
            "Kept in a ledger",
            answer(budget.get("ledger"), no="no: nobody counts what these people have already given"),
        ),
        ("Ledger head", ev.text(budget.get("head")) or NOT_STATED),
    ]
    if by_rho:
        facts.append(("Added up by", "zCDP: rhos add up, and their sum is converted at the cap's delta"))
    if (releases := ev.number(ev.at(budget, "before.releases"))) is not None:
        facts.insert(2, ("Earlier releases", num(releases)))
    if (attempt := ev.number(budget.get("attempt"))) is not None:
        facts.insert(3, ("Attempt at this release", num(attempt)))
    return {
        "figure": budget_bar(before, this, cap)
        if before is not None and this is not None and before >= 0 and this >= 0 and (cap is None or cap > 0)
        else None,
        "rows": [
            (label, *both(key)) for label, key in (("Before", "before"), ("This release", "this"), ("After", "after"), ("Cap", "cap"))
        ],
        "known": bool(budget),
        "facts": facts,
    }
