"""AIM beyond the contract of all synthesizers: what each round pays, when it anneals, how it ends, what it may choose."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.errors import ConfigError
from dpsynth.marginals import CodedTable, Domain
from dpsynth.model import SyntheticModel
from dpsynth.pgm.junction_tree import tree_cells
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.synthesizers import Aim, aim
from tests.dpsynth.synthesizers.hooks import Recording, dependent_table, exact_answers

BUDGET = PrivacyBudget(1.0, 1e-6)
DOMAIN = Domain.of({"a": 3, "b": 4, "c": 2, "d": 5, "e": 3})
TABLE = dependent_table(DOMAIN, 2000, 0)


def _private(
    table: CodedTable = TABLE, *, unit: PrivacyUnit | None = None, budget: PrivacyBudget = BUDGET, hook: Any = None
) -> PrivateData:
    unit = unit or PrivacyUnit("person", 1)
    ids = None if unit.max_rows == 1 else np.arange(table.n_rows) // unit.max_rows
    return PrivateData.of_codes(table, budget, unit=unit, unit_ids=ids, hook=hook or Recording())


def _events(model: SyntheticModel, stage: str) -> list[dict[str, Any]]:
    return [dict(e) for e in model.transcript["events"] if e["stage"] == stage]


def _cost(event: Mapping[str, Any]) -> float:
    if event["kind"] == "exponential":
        return float(event["epsilon"] ** 2 / 8.0)
    return float(event["l2_sensitivity"] ** 2 / (2.0 * event["stddev"] ** 2))


def test_one_ways_choices_and_measurements_add_up_to_the_budget() -> None:
    model = Aim().fit(_private())
    one_ways, choices, marginals = (_events(model, stage) for stage in ("one_way", "select", "marginal"))
    assert [e["cliques"] for e in one_ways] == [[[name]] for name in DOMAIN.names]
    assert len(choices) == len(marginals) > 2
    spent = math.fsum(_cost(e) for e in [*one_ways, *choices, *marginals])
    assert spent == pytest.approx(BUDGET.rho, rel=1e-6)
    assert math.fsum(_cost(e) for e in one_ways) == pytest.approx(0.2 * BUDGET.rho, rel=1e-6)
    # Every round, the last included, gives its choice one part in ten.
    for choice, marginal in zip(choices, marginals, strict=True):
        assert _cost(choice) == pytest.approx(_cost(marginal) / 9.0, rel=1e-6)


def test_rounds_start_at_a_part_in_16_d_and_grow_by_four_until_the_last_takes_the_rest() -> None:
    model = Aim().fit(_private())
    rounds = [_cost(c) + _cost(m) for c, m in zip(_events(model, "select"), _events(model, "marginal"), strict=True)]
    assert rounds[0] == pytest.approx(BUDGET.rho / (16 * len(DOMAIN)), rel=1e-6)
    for before, after in pairwise(rounds[:-1]):
        assert any(after == pytest.approx(factor * before, rel=1e-6) for factor in (1.0, 4.0))
    left = BUDGET.rho * (1.0 - 0.2) - math.fsum(rounds[:-1])
    assert rounds[-1] == pytest.approx(left, rel=1e-6)


@pytest.mark.parametrize(("rounds_per_column", "share"), [(1, 0.1), (1, 0.5), (2, 0.99)])
def test_few_rounds_do_not_overspend(rounds_per_column: int, share: float) -> None:
    """With one round per column and half the budget in one-ways, the planned rounds would cost more than is left."""
    private = _private()
    Aim(rounds_per_column=rounds_per_column, one_way_share=share).fit(private)
    assert 0.999 * BUDGET.rho <= private.rho_spent <= BUDGET.rho * (1.0 + 1e-12)


@pytest.mark.parametrize(
    ("unit", "vector", "score"),
    [
        (PrivacyUnit("person", 1), 1.0, 1.0),
        (PrivacyUnit("person", 3), 3.0, 3.0),
        (PrivacyUnit("person", 1, "replace_one"), math.sqrt(2.0), 2.0),
        (PrivacyUnit("person", 3, "replace_one"), 3.0 * math.sqrt(2.0), 6.0),
    ],
)
def test_choices_and_measurements_carry_the_units_sensitivities(unit: PrivacyUnit, vector: float, score: float) -> None:
    """The workload of all three-ways has weights 1, 2, 3 for marginals of one, two, three columns, and the largest counts."""
    model = Aim().fit(_private(unit=unit))
    assert {e["score_sensitivity"] for e in _events(model, "select")} == {3.0 * score}
    for event in [*_events(model, "one_way"), *_events(model, "marginal")]:
        assert event["l2_sensitivity"] == pytest.approx(vector)


class _Scores:
    """Records the score vectors of the exponential mechanism; no noise, so the best is chosen."""

    def __init__(self) -> None:
        self.seen: list[npt.NDArray[np.float64]] = []

    def __call__(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
        if event["kind"] == "exponential":
            self.seen.append(np.array(exact))
        return exact_answers(event, exact, draw)


def test_the_first_scores_are_weight_times_error_under_independence_less_the_expected_noise() -> None:
    """By hand on 400 rows: a equals b, c is alone. Workload {ab: 1, bc: 2}: columns weigh 1, 3, 2, so marginals 1, 3, 2, 4, 5."""
    domain = Domain.of({"a": 2, "b": 2, "c": 2})
    rows = np.array([(i % 2, i % 2, i // 2 % 2) for i in range(400)])
    table = CodedTable(domain, {name: rows[:, k].astype(np.uint8) for k, name in enumerate("abc")})
    hook = _Scores()
    Aim(workload={("b", "a"): 1, ("b", "c"): 2}).fit(_private(table, hook=hook))
    sigma = 1.0 / math.sqrt(2.0 * 0.9 * BUDGET.rho / 48)
    noise = math.sqrt(2.0 / math.pi) * sigma
    pair, column = round(4 * noise), round(2 * noise)
    # |(200, 0, 0, 200) - (100, 100, 100, 100)|_1 = 400; everything else is as the model says.
    expected = sorted([-1 * column, -3 * column, -2 * column, 4 * (400 - pair), -5 * pair])
    np.testing.assert_allclose(sorted(hook.seen[0]), expected, atol=1e-9)


def test_the_dependence_is_found_and_fitted() -> None:
    model = Aim().fit(_private(hook=_Scores(), budget=PrivacyBudget(50.0, 1e-6)))
    for clique in [("a", "b", "d"), ("c", "d", "e")]:
        truth = np.zeros(DOMAIN.shape(clique))
        np.add.at(truth, tuple(TABLE.columns[name] for name in clique), 1.0)
        assert np.abs(model.marginal(clique).values - truth).sum() < 0.05 * TABLE.n_rows


@pytest.mark.parametrize(
    ("recipe", "allowed"),
    [
        (Aim(degree=2), lambda clique: len(clique) <= 2),
        (Aim(degree=1), lambda clique: len(clique) == 1),
        (Aim(target="e"), lambda clique: len(clique) <= 2 or "e" in clique),
        (Aim(workload={("d", "a", "c"): 5}), lambda clique: set(clique) <= {"a", "c", "d"}),
    ],
)
def test_only_the_workload_and_its_parts_are_measured(recipe: Aim, allowed: Callable[[list[str]], bool]) -> None:
    marginals = _events(recipe.fit(_private()), "marginal")
    assert marginals
    assert all(allowed(clique) for e in marginals for clique in e["cliques"])


@pytest.mark.parametrize("max_cells", [1, 40, 200])
def test_the_model_stays_within_its_cells(max_cells: int) -> None:
    """Where not even pairs fit there is nothing but columns."""
    private = _private()
    model = Aim(max_cells=max_cells).fit(private)
    assert model.beliefs.tree.cells <= max(max_cells, sum(a.size for a in DOMAIN))
    assert 0.999 * BUDGET.rho <= private.rho_spent <= BUDGET.rho * (1.0 + 1e-12)


def test_a_crowded_tree_stays_within_its_cells_and_what_is_said_of_a_place_in_it_is_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links measured inside a clique of the tree change how the next tree is triangulated; what fitted before may not fit after."""
    sizes: list[int] = []
    choose = aim._Run._select

    def checked(run: aim._Run, limit: float) -> aim._Candidate | None:
        for c in run.candidates:
            if c.version == run.version:
                assert c.tree == tree_cells(run.sizes, [*run._edges(), c.axes])
        sizes.append(run.tree.cells)
        return choose(run, limit)

    monkeypatch.setattr(aim._Run, "_select", checked)
    monkeypatch.setattr(aim, "_ROUND_ITERATIONS", 4)
    table = dependent_table(Domain.of({f"x{i}": 2 + 3 * i % 7 for i in range(8)}), 4000, 0)
    model = Aim(max_cells=600).fit(_private(table, budget=PrivacyBudget(30.0, 1e-6)))
    assert len(sizes) > 10
    assert 300 < model.beliefs.tree.cells <= 600
    assert max(sizes) <= 600


def test_a_link_that_found_room_in_the_tree_puts_all_places_out_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cycle of four gets a chord for nothing; measuring that chord leaves the tree as it is, but not the trees that may follow."""
    script = [(0, 1), (1, 2), (2, 3), (0, 3), (0, 2), (0, 1)]
    versions: list[tuple[bool, int]] = []
    choose = aim._Run._select

    def scripted(run: aim._Run, limit: float) -> aim._Candidate | None:
        wanted = script[min(len(versions), len(script) - 1)]
        choose(run, math.inf)
        versions.append((run.tree.home(wanted) is not None, run.version))
        return next(c for c in run.candidates if c.axes == wanted)

    monkeypatch.setattr(aim._Run, "_select", scripted)
    table = dependent_table(Domain.of({"a": 2, "b": 3, "c": 2, "d": 3}), 4000, 0)
    Aim(degree=2).fit(_private(table, budget=PrivacyBudget(30.0, 1e-6)))
    assert versions[:6] == [(False, 0), (False, 1), (False, 2), (False, 3), (True, 4), (True, 5)]
    # Measured again, nothing is new.
    assert {version for _, version in versions[6:]} <= {5}


def test_the_limit_of_the_tree_grows_with_the_budget_spent() -> None:
    model = Aim(max_cells=400).fit(_private())
    sizes = {a.name: a.size for a in DOMAIN}
    used = math.fsum(_cost(e) for e in _events(model, "one_way"))
    for choice, marginal in zip(_events(model, "select"), _events(model, "marginal"), strict=True):
        used += _cost(choice) + _cost(marginal)
        cells = math.prod(sizes[name] for name in marginal["cliques"][0])
        assert cells <= 400.0 * used / BUDGET.rho * (1.0 + 1e-9) or len(marginal["cliques"][0]) == 1


def test_answers_and_places_out_of_date_break_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide table brings few candidates up to date each round; a choice that no longer fits is paid for and not measured."""
    monkeypatch.setattr(aim, "_REFRESHED_CELLS", 1)
    monkeypatch.setattr(aim, "_RECHECKED", 0)
    table = dependent_table(Domain.of({f"x{i}": 2 + i % 4 for i in range(9)}), 3000, 1)
    private = _private(table, budget=PrivacyBudget(20.0, 1e-6))
    model = Aim(max_cells=150).fit(private)
    assert model.beliefs.tree.cells <= 150
    assert len(_events(model, "select")) > len(_events(model, "marginal"))
    assert 0.999 * private.budget.rho <= private.rho_spent <= private.budget.rho * (1.0 + 1e-12)


@pytest.mark.parametrize("weight", [1, 10**6, 10**30])
def test_weights_count_by_their_ratio_however_large_they_are(weight: int) -> None:
    hook = _Scores()
    recipe = Aim(workload={("a", "b"): weight, ("d",): 2 * weight})
    model = recipe.fit(_private(hook=hook))
    assert {e["score_sensitivity"] for e in _events(model, "select")} == {2.0}
    uneven = Aim(workload={("a", "b"): 1, ("d",): weight}).fit(_private())
    assert all(e["score_sensitivity"] <= 1 << 16 for e in _events(uneven, "select"))


def test_noise_beyond_all_records_is_still_compared() -> None:
    private = _private(budget=PrivacyBudget(1e-9, 1e-12), unit=PrivacyUnit("person", 1000))
    Aim().fit(private)
    assert private.rho_spent >= 0.999 * private.budget.rho


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"degree": 0}, "degree=0"),
        ({"rounds_per_column": 0}, "rounds_per_column=0"),
        ({"one_way_share": 1.0}, "one_way_share=1.0"),
        ({"measure_share": math.nan}, "measure_share=nan"),
        ({"workload": {}}, "workload needs cliques"),
        ({"workload": {("a",): 0}}, "whole number > 0"),
        ({"workload": {("a",): 1}, "target": "a"}, "not both"),
    ],
)
def test_wrong_recipes_are_refused_when_they_are_written(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Aim(**wrong)


@pytest.mark.parametrize("recipe", [Aim(target="nowhere"), Aim(workload={("a", "nowhere"): 1})])
def test_unknown_columns_are_refused_before_anything_is_spent(recipe: Aim) -> None:
    private = _private()
    with pytest.raises(ConfigError, match="nowhere"):
        recipe.fit(private)
    assert private.rho_spent == 0.0
