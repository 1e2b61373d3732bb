"""The bar of the budget shows what a release adds to the total, however the ledger adds up."""

from __future__ import annotations

from typing import Any

from reports.figures.budget_bar import budget_bar
from reports.sections.budget import build


def _evidence(after: float, **more: Any) -> dict[str, Any]:
    parts = {"before": {"epsilon": 1.0, **more}, "this": {"epsilon": 1.0}, "after": {"epsilon": after, **more}, "cap": {"epsilon": 3.0}}
    return {"budget": {"ledger": True, **parts}}


def test_sums_of_epsilon_show_the_price_of_the_release() -> None:
    made = build(_evidence(2.0))
    assert made["figure"] == budget_bar(1.0, 1.0, 3.0)
    assert "Added up by" not in dict(made["facts"])


def test_sums_of_rho_show_what_it_adds_which_is_less() -> None:
    made = build(_evidence(1.5, composition="zcdp"))
    assert made["figure"] == budget_bar(1.0, 0.5, 3.0)
    assert dict(made["facts"])["Added up by"].startswith("zCDP")
