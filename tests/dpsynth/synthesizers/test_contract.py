"""What every synthesizer promises, whatever it does inside: a new entry of ``SYNTHESIZERS`` is tested the moment it is listed."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dpsynth.errors import BudgetError
from dpsynth.marginals import Attribute, CodedTable, Domain
from dpsynth.model import SyntheticModel, load
from dpsynth.privacy import Cohort, PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import Hook, SeededNoise
from dpsynth.synthesizers import SYNTHESIZERS
from tests.dpsynth.synthesizers.hooks import Frozen, Recording, dependent_table, recipe, table_of

BUDGET = PrivacyBudget(1.0, 1e-6)
PERSON = PrivacyUnit("person", 1)
SMALL = Domain.of({"a": 3, "b": 4, "c": 2, "d": 5}, ordered=["b", "d"])
# Too many cells for one table, so the adaptive mechanism selects.
WIDE = Domain.of({f"x{i}": 2 + i % 5 for i in range(10)}, ordered=["x3", "x4", "x8"])

every = pytest.mark.parametrize("name", list(SYNTHESIZERS))


def _private(table: CodedTable, *, unit: PrivacyUnit = PERSON, hook: Hook | None = None, budget: PrivacyBudget = BUDGET) -> PrivateData:
    ids = None if unit.max_rows == 1 else np.arange(table.n_rows) // unit.max_rows
    return PrivateData.of_codes(table, budget, unit=unit, unit_ids=ids, hook=hook or Recording())


def _fit(name: str, private: PrivateData) -> SyntheticModel:
    return recipe(name).fit(private)


def _recomposed(transcript: dict[str, Any]) -> float:
    """The cost by the events' own facts: Delta^2 / (2 sigma^2) and epsilon^2 / 8."""
    return math.fsum(
        e["l2_sensitivity"] ** 2 / (2.0 * e["stddev"] ** 2) if e["kind"] == "gaussian" else e["epsilon"] ** 2 / 8.0
        for e in transcript["events"]
        if e["kind"] != "audit_read"
    )


TABLES: dict[str, CodedTable] = {
    "small": dependent_table(SMALL, 800, 0),
    "wide": dependent_table(WIDE, 1500, 1),
    "empty": table_of(SMALL, []),
    "empty and wide": dependent_table(WIDE, 0, 0),
    "one row": table_of(SMALL, [(2, 3, 1, 4)]),
    "one column": dependent_table(Domain.of({"a": 6}), 300, 0),
    "two columns": dependent_table(Domain.of({"a": 6, "b": 3}), 300, 0),
    "one column of one level": table_of(Domain.of({"a": 1}), [(0,)] * 50),
    "all levels single": table_of(Domain.of({"a": 1, "b": 1, "c": 1}), [(0, 0, 0)] * 50),
    "one level beside others": dependent_table(Domain.of({"a": 1, "b": 3, "c": 1, "d": 2}), 300, 0),
    "constant column": CodedTable(SMALL, {**dependent_table(SMALL, 500, 2).columns, "b": np.full(500, 2, dtype=np.uint8)}),
    "all rows the same": table_of(SMALL, [(0, 0, 0, 0)] * 500),
    "more levels than rows": dependent_table(Domain.of({"a": 3000, "b": 900, "c": 2}, ordered=["a"]), 100, 0),
    "forty columns": dependent_table(Domain.of({f"x{i}": 2 + i % 2 for i in range(40)}), 400, 0),
    "nullable": dependent_table(Domain((Attribute("a", 500, True, True), Attribute("b", 400, True, True), Attribute("c", 90))), 900, 0),
}


@every
@pytest.mark.parametrize("table", TABLES)
def test_any_table_is_fitted_and_the_budget_is_spent_to_the_last_permille(name: str, table: str, tmp_path: Path) -> None:
    private = _private(TABLES[table])
    model = _fit(name, private)
    rho = BUDGET.rho
    assert 0.999 * rho <= private.rho_spent <= rho * (1.0 + 1e-12)
    # The transcript is complete, and recomposes to no more than the claim.
    transcript = model.transcript
    assert transcript == private.transcript()
    assert _recomposed(dict(transcript)) <= rho
    assert _recomposed(dict(transcript)) == pytest.approx(private.rho_spent, rel=1e-6)
    json.dumps(transcript, allow_nan=False)
    # The model is over the domain it was given, and rows come in it.
    assert model.synthesizer == name
    assert model.domain == private.domain
    assert math.isfinite(model.total) and model.total >= 1.0
    for rows in (0, 1, 137):
        drawn = model.sample_codes(rows, seed=0)
        assert drawn.domain == private.domain
        assert drawn.n_rows == rows
        assert all(rows == 0 or int(drawn.columns[a.name].max()) < a.size for a in private.domain)
    # It comes back from its file.
    model.save(tmp_path / "m.model")
    again = load(tmp_path / "m.model")
    assert again.to_bytes() == model.to_bytes()
    assert [c.tolist() for c in again.sample_codes(50, seed=1).columns.values()] == [
        c.tolist() for c in model.sample_codes(50, seed=1).columns.values()
    ]


@every
def test_the_recipe_as_it_comes_keeps_the_promises_too(name: str) -> None:
    private = _private(TABLES["small"])
    model = SYNTHESIZERS[name]().fit(private)
    assert 0.999 * BUDGET.rho <= private.rho_spent <= BUDGET.rho * (1.0 + 1e-12)
    assert _recomposed(dict(model.transcript)) <= BUDGET.rho
    assert model.domain == SMALL


@every
@pytest.mark.parametrize("table", ["small", "wide"])
@pytest.mark.parametrize(
    "unit", [PrivacyUnit("person", 3), PrivacyUnit("person", 1, "replace_one"), PrivacyUnit("person", 4, "replace_one")]
)
def test_every_unit_is_paid_for_in_every_event(name: str, table: str, unit: PrivacyUnit) -> None:
    private = _private(TABLES[table], unit=unit)
    model = _fit(name, private)
    assert 0.999 * BUDGET.rho <= private.rho_spent <= BUDGET.rho * (1.0 + 1e-12)
    k = unit.max_rows
    factor = k if unit.neighbours == "add_remove" else 2 * k
    for event in model.transcript["events"]:
        forms, shapes = set(event.get("forms", [])), event.get("shapes", [])
        if event["kind"] == "exponential":
            assert event["score_sensitivity"] >= factor
        elif forms == {"scores"}:
            assert event["l2_sensitivity"] >= factor * math.sqrt(len(shapes))
        elif forms == {"total"}:
            assert event["l2_sensitivity"] >= k
        elif forms == {"marginal"}:
            assert event["l2_sensitivity"] >= k * (1.0 if unit.neighbours == "add_remove" else math.sqrt(2.0)) - 1e-9
        else:
            own = event["scale"] * math.sqrt(math.prod(1.0 - 1.0 / n for n in shapes[0]))
            assert event["l2_sensitivity"] >= k * own


@every
@pytest.mark.parametrize("table", ["small", "wide", "one column"])
def test_without_budget_nothing_is_read(name: str, table: str) -> None:
    private = _private(TABLES[table])
    private.measure((private.domain.names[0],), private.rho_left, "everything")
    events = private.transcript()["events"]
    with pytest.raises(BudgetError):
        _fit(name, private)
    assert private.transcript()["events"] == events


@every
def test_a_second_fit_on_the_same_budget_is_refused(name: str) -> None:
    private = _private(TABLES["small"])
    _fit(name, private)
    with pytest.raises(BudgetError):
        _fit(name, private)


@every
def test_a_part_of_the_budget_is_enough_and_no_more_is_taken(name: str) -> None:
    private = _private(TABLES["wide"])
    private.measure(("x0",), 0.6 * private.rho_left, "something else")
    _fit(name, private)
    assert private.rho_spent <= BUDGET.rho * (1.0 + 1e-12)
    assert private.rho_spent >= 0.999 * BUDGET.rho


@every
@pytest.mark.parametrize("table", ["small", "wide"])
def test_the_same_answers_give_the_same_model_byte_for_byte(name: str, table: str) -> None:
    hook = Recording(seed=3)
    model = _fit(name, _private(TABLES[table], hook=hook))
    again = _fit(name, _private(TABLES[table], hook=Frozen(hook.looks)))
    assert again.to_bytes() == model.to_bytes()
    assert _fit(name, _private(TABLES[table], hook=Recording(seed=4))).to_bytes() != model.to_bytes()


@every
@pytest.mark.parametrize("table", ["small", "wide"])
@pytest.mark.parametrize("rows", [0, 1, 12, 5000])
def test_nothing_but_noisy_answers_decides_what_is_asked_next(name: str, table: str, rows: int) -> None:
    """With the answers of one table frozen, any other table, however far, is asked the same and gives the same model."""
    hook = Recording(seed=5)
    model = _fit(name, _private(TABLES[table], hook=hook))
    other = dependent_table(TABLES[table].domain, rows, 9)
    replay = Frozen(hook.looks)
    again = _fit(name, _private(other, hook=replay))
    assert [look.event for look in replay.looks] == [look.event for look in hook.looks]
    assert again.to_bytes() == model.to_bytes()


@every
@pytest.mark.parametrize("table", ["small", "wide"])
def test_progress_is_told_in_steps_that_end(name: str, table: str) -> None:
    told: list[tuple[str, int, int]] = []
    recipe(name).fit(_private(TABLES[table]), lambda stage, done, todo: told.append((stage, done, todo)))
    assert told
    assert all(0 <= done <= todo for _, done, todo in told)
    last = {stage: (done, todo) for stage, done, todo in told}
    assert all(done == todo for done, todo in last.values())


@every
def test_seeded_noise_is_stamped_on_the_models_transcript(name: str) -> None:
    stamp = _fit(name, _private(TABLES["small"], hook=SeededNoise(1))).transcript["noise"]
    assert (stamp["seeded"], stamp["observed"]) == (True, True)


@every
def test_real_noise_is_paid_for_by_opendps_own_map_and_differs_from_run_to_run(name: str) -> None:
    """Each draw asks OpenDP what it costs and refuses if that is more than was charged, so a fit that ends was charged enough."""
    models = []
    for _ in range(2):
        private = PrivateData.of_codes(TABLES["small"], BUDGET, unit=PERSON)
        models.append(_fit(name, private))
        stamp = models[-1].transcript["noise"]
        assert (stamp["seeded"], stamp["observed"]) == (False, False)
    assert models[0].to_bytes() != models[1].to_bytes()


@every
def test_the_audit_cohort_changes_the_records_and_not_the_mechanism(name: str) -> None:
    private = PrivateData.of_codes(TABLES["small"], BUDGET, unit=PERSON, cohort=Cohort(0.5), hook=Recording())
    model = _fit(name, private)
    private.read_for_audit()
    assert [e["kind"] for e in private.transcript()["events"]].count("audit_read") == 1
    assert _recomposed(private.transcript()) <= BUDGET.rho
    assert "audit_read" not in [e["kind"] for e in model.transcript["events"]]


@every
@pytest.mark.parametrize(("epsilon", "table"), [(0.001, "wide"), (0.001, "small"), (100.0, "small")])
def test_tiny_and_huge_budgets_are_spent_alike(name: str, epsilon: float, table: str) -> None:
    budget = PrivacyBudget(epsilon, 1e-9)
    private = _private(TABLES[table], budget=budget)
    model = _fit(name, private)
    assert 0.999 * budget.rho <= private.rho_spent <= budget.rho * (1.0 + 1e-12)
    assert model.sample_codes(20, seed=0).n_rows == 20


def _events(model: SyntheticModel) -> Sequence[dict[str, Any]]:
    return [dict(event) for event in model.transcript["events"]]


@every
def test_the_independent_auditor_recomposes_the_same_cost(name: str) -> None:
    recomposition = pytest.importorskip("audits.code.recomposition")
    model = _fit(name, _private(TABLES["wide"], unit=PrivacyUnit("person", 3)))
    assert recomposition.total_rho(_events(model)) == pytest.approx(_recomposed(dict(model.transcript)), rel=1e-12)
    assert recomposition.total_rho(_events(model)) <= BUDGET.rho
    sizes = {item["name"]: item["size"] for item in model.transcript["domain"]}
    for event in _events(model):
        if event["kind"] == "gaussian":
            least = recomposition.least_sensitivity(event, sizes, 3, "add_remove")
            assert event["l2_sensitivity"] >= least * (1.0 - 1e-9)
