"""A transcript that adds up is not falsified; each way of not adding up is found, and what cannot be priced is
INCONCLUSIVE."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audits.code.recomposition import event_rho, least_sensitivity, recomposition
from audits.code.toy import Toy
from audits.result import AuditInput, Verdict
from tests.audits.code.reference import COLUMNS, Reference, claim, transcript

Given = Callable[..., AuditInput]
TOY = Toy(COLUMNS, "person", 3)


def honest(defect: str | None = None, **claims: Any) -> dict[str, Any]:
    mechanism = Reference(claim(**claims), defect)
    return transcript(mechanism, TOY.frame(TOY.units(40, 0)))


def event(t: dict[str, Any], stage: str) -> dict[str, Any]:
    found: dict[str, Any] = next(e for e in t["events"] if e["stage"] == stage)
    return found


@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
def test_an_honest_transcript_recomposes_to_its_claim(given: Given, neighbours: str) -> None:
    result = recomposition(given(transcript=honest(neighbours=neighbours), claim=claim(neighbours=neighbours)))
    assert result.verdict is Verdict.NOT_FALSIFIED, result.details
    assert result.value == pytest.approx(claim().epsilon, rel=1e-6)
    assert result.interval[0] is not None and result.interval[0] < result.value
    assert result.claim_digest == claim(neighbours=neighbours).digest
    assert sum(result.details["by_stage"].values()) == pytest.approx(0.2)


def _half_stddev(t: dict[str, Any]) -> None:
    event(t, "one_way")["stddev"] /= 2.0


def _no_noise(t: dict[str, Any]) -> None:
    event(t, "one_way")["stddev"] = 0.0


def _free_event(t: dict[str, Any]) -> None:
    event(t, "total")["rho"] = 0.0


def _double_selection(t: dict[str, Any]) -> None:
    event(t, "select")["epsilon"] *= math.sqrt(2.0)  # rho = epsilon^2 / 16


def _without_k(t: dict[str, Any]) -> None:
    for e in t["events"]:
        if e["kind"] == "gaussian":
            e["l2_sensitivity"] /= 3.0
            e["stddev"] /= 3.0


def _one_clique_counted(t: dict[str, Any]) -> None:
    event(t, "one_way")["l2_sensitivity"] /= 2.0
    event(t, "one_way")["stddev"] /= 2.0


def _cells(t: dict[str, Any]) -> None:
    event(t, "pairs")["cells"] -= 1


def _more_levels(t: dict[str, Any]) -> None:
    e = event(t, "pairs")
    e["shapes"][0][0] += 1
    e["cells"] = math.prod(e["shapes"][0])


def _foreign_column(t: dict[str, Any]) -> None:
    event(t, "pairs")["cliques"][0][0] = "elsewhere"


def _repeated_event(t: dict[str, Any]) -> None:
    t["events"].append(event(t, "total"))


def _dearer_delta(t: dict[str, Any]) -> None:
    t["budget"]["delta"] = "1e-05"


def _larger_budget(t: dict[str, Any]) -> None:
    t["budget"]["rho"] = 0.3


def _learned_domain(t: dict[str, Any]) -> None:
    t["domain"][0]["provenance"] = "data"


def _unpaid_domain(t: dict[str, Any]) -> None:
    t["domain"].append({"name": "extra", "size": 4, "ordered": False, "provenance": "dp"})


def _seeded(t: dict[str, Any]) -> None:
    t["noise"]["seeded"] = True


def _observed(t: dict[str, Any]) -> None:
    t["noise"]["observed"] = True


def _unsaid_noise(t: dict[str, Any]) -> None:
    t["noise"] = {}


def _unbounded(t: dict[str, Any]) -> None:
    t["unit"]["bounded_by"] = ""


def _other_unit(t: dict[str, Any]) -> None:
    t["unit"]["name"] = "visit"


def _fewer_rows(t: dict[str, Any]) -> None:
    t["unit"]["max_rows"] = 1


def _other_neighbours(t: dict[str, Any]) -> None:
    t["unit"]["neighbours"] = "replace_one"


def _impossible_selection(t: dict[str, Any]) -> None:
    event(t, "select")["selected"] = 6


@pytest.mark.parametrize(
    "damage",
    [
        _half_stddev, _no_noise, _free_event, _double_selection, _without_k, _one_clique_counted, _cells, _more_levels,
        _foreign_column, _repeated_event, _dearer_delta, _larger_budget, _learned_domain, _unpaid_domain, _seeded,
        _observed, _unsaid_noise, _unbounded, _other_unit, _fewer_rows, _other_neighbours, _impossible_selection,
    ],
    ids=lambda damage: damage.__name__.strip("_"),
)  # fmt: skip
def test_each_inconsistency_is_a_violation(given: Given, damage: Callable[[dict[str, Any]], None]) -> None:
    damaged = copy.deepcopy(honest())
    damage(damaged)
    result = recomposition(given(transcript=damaged, claim=claim()))
    assert result.verdict is Verdict.VIOLATION
    assert result.details["n_problems"] >= 1


def test_a_claim_with_a_smaller_epsilon_than_the_total_is_a_violation(given: Given) -> None:
    low = replace(claim(), epsilon=claim().epsilon * 0.999)
    assert recomposition(given(transcript=honest(), claim=low)).verdict is Verdict.VIOLATION
    same = replace(claim(), epsilon=claim().epsilon * (1.0 - 1e-12))
    assert recomposition(given(transcript=honest(), claim=same)).verdict is Verdict.NOT_FALSIFIED


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("events", 0, "rho"), math.nan),
        (("events", 0, "stddev"), None),
        (("events", 0, "kind"), "laplace"),
        (("events", 1, "forms"), ["cumulative"]),
        (("events",), []),
        (("unit", "neighbours"), "substitute"),
        (("$schema",), "dpsynth.transcript/9"),
        (("domain",), None),
        (("budget",), {}),
    ],
)
def test_what_cannot_be_priced_is_inconclusive(given: Given, where: tuple[Any, ...], value: object) -> None:
    damaged: Any = copy.deepcopy(honest())
    at = damaged
    for key in where[:-1]:
        at = at[key]
    at[where[-1]] = value
    result = recomposition(given(transcript=damaged, claim=claim()))
    assert result.verdict is Verdict.INCONCLUSIVE, result.reason


def test_nothing_to_look_at_is_inconclusive(given: Given) -> None:
    assert recomposition(given(transcript=honest())).verdict is Verdict.INCONCLUSIVE
    assert recomposition(given(claim=claim())).verdict is Verdict.INCONCLUSIVE


def test_an_audit_read_costs_nothing(given: Given) -> None:
    with_read = honest()
    with_read["events"].append({"kind": "audit_read", "stage": "audit", "rho": 0.0})
    assert recomposition(given(transcript=with_read, claim=claim())).verdict is Verdict.NOT_FALSIFIED
    assert event_rho(with_read["events"][-1]) == 0.0


@pytest.mark.parametrize("shape", [(2,), (5,), (2, 3), (4, 3, 2), (1, 4)])
@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
@pytest.mark.parametrize("form", ["marginal", "residual"])
def test_least_sensitivity_is_what_two_rows_can_do(shape: tuple[int, ...], neighbours: str, form: str) -> None:
    """Brute force: centre the one-hot tables of every pair of cells and take the largest distance."""
    k, scale = 3, 7
    tables = []
    for cell in itertools.product(*(range(n) for n in shape)):
        table = np.zeros(shape)
        table[cell] = k
        if form == "residual":
            for axis in range(len(shape)):
                table = table - table.mean(axis=axis, keepdims=True)
        tables.append(scale * table.ravel())
    if neighbours == "add_remove":
        expected = max(float(np.linalg.norm(t)) for t in tables)
    else:
        expected = max(float(np.linalg.norm(a - b)) for a in tables for b in tables)
    names = [str(i) for i in range(len(shape))]
    e = {"cliques": [names], "forms": [form], "scale": scale}
    sizes = dict(zip(names, shape, strict=True))
    assert least_sensitivity(e, sizes, k, neighbours) == pytest.approx(expected)
    twice = {"cliques": [names, names], "forms": [form], "scale": scale}
    assert least_sensitivity(twice, sizes, k, neighbours) == pytest.approx(expected * math.sqrt(2.0))
