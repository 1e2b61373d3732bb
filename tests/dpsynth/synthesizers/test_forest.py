"""The forest that is drawn: which pairs, how many, what it costs, and when it stops."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.marginals import Attribute, Clique, CodedTable, Domain, count
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import SeededNoise
from dpsynth.synthesizers.forest import draw_forest

ROWS, LEVELS = 20_000, 4


def _linked(columns: int, links: Mapping[int, int], seed: int = 0) -> CodedTable:
    """Columns of random codes; one that ``links`` names repeats another in nine rows of ten."""
    rng = np.random.default_rng(seed)
    made: list[npt.NDArray[np.integer[Any]]] = []
    for column in range(columns):
        fresh = rng.integers(LEVELS, size=ROWS)
        made.append(np.where(rng.random(ROWS) < 0.9, made[links[column]], fresh) if column in links else fresh)
    domain = Domain(tuple(Attribute(f"c{i}", LEVELS, False) for i in range(columns)))
    return CodedTable(domain, {f"c{i}": codes.astype(np.uint8) for i, codes in enumerate(made)})


def _drawn(
    table: CodedTable,
    epsilon: float = 1.0,
    *,
    seed: int = 0,
    emphasis: Mapping[Clique, float] | None = None,
    fits: Callable[[Any], bool] = lambda pairs: True,
    least: int = 1,
) -> tuple[list[Clique], PrivateData]:
    private = PrivateData.of_codes(table, PrivacyBudget(epsilon, 1e-9), unit=PrivacyUnit("row", 1), hook=SeededNoise(seed))
    names = table.domain.names
    shares = {name: count(table, (name,)) / table.n_rows for name in names}
    tables = {(a, b): table.n_rows * np.outer(shares[a], shares[b]) for a, b in combinations(names, 2)}
    rho = private.rho_left
    drawn = draw_forest(private, tables, table.n_rows, rho, 0.5 * rho, emphasis=emphasis or {}, fits=fits, stage="draw", least=least)
    return drawn, private


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_the_links_there_are_before_any_other(seed: int) -> None:
    drawn, private = _drawn(_linked(12, {3: 1, 7: 3, 8: 0}), seed=seed)
    assert set(drawn[:3]) == {("c1", "c3"), ("c3", "c7"), ("c0", "c8")}
    # The last draw was that of none.
    assert private.transcript()["events"][-1]["selected"] == private.transcript()["events"][-1]["candidates"] - 1


@pytest.mark.parametrize("seed", range(5))
def test_of_a_triangle_two_sides_are_drawn(seed: int) -> None:
    drawn, _ = _drawn(_linked(6, {1: 0, 2: 0, 3: 0, 4: 0, 5: 0}), seed=seed)
    assert len(drawn) == 5
    part = {f"c{i}": i for i in range(6)}
    for a, b in drawn:
        assert part[a] != part[b]
        part = {name: part[a] if held == part[b] else held for name, held in part.items()}


def test_independent_columns_have_next_to_no_forest() -> None:
    """In each draw none is about as likely as any pair."""
    assert np.mean([len(_drawn(_linked(10, {}), seed=seed)[0]) for seed in range(20)]) < 1.5


@pytest.mark.parametrize("epsilon", [1e-3, 0.01, 0.1, 1.0, 100.0])
def test_draws_cost_at_most_a_tenth_of_the_budget_and_there_is_at_least_one(epsilon: float) -> None:
    _, private = _drawn(_linked(12, {3: 1, 7: 3, 8: 0}), epsilon)
    assert 0.0 < private.rho_spent <= 0.1 * private.budget.rho * (1.0 + 1e-9)


def test_at_least_so_many_draws_share_what_one_would_have() -> None:
    table = _linked(12, {3: 1, 7: 3, 8: 0})
    one, three = _drawn(table, 1e-3)[1], _drawn(table, 1e-3, least=3)[1]
    assert one.transcript()["events"][0]["rho"] == pytest.approx(3.0 * three.transcript()["events"][0]["rho"])
    assert three.rho_spent <= one.rho_spent * (1.0 + 1e-9)
    # A forest of two columns is one pair, whatever the draws allowed.
    assert len(_drawn(_linked(2, {1: 0}), least=3)[0]) == 1


def test_a_draw_is_paid_by_how_far_it_may_miss_not_by_what_is_there() -> None:
    few, many = _drawn(_linked(12, {3: 1}), 10.0)[1], _drawn(_linked(12, {3: 1}), 100.0)[1]
    assert few.transcript()["events"][0]["rho"] == pytest.approx(many.transcript()["events"][0]["rho"])


def test_a_pair_that_does_not_fit_is_left_out_and_the_draws_go_on() -> None:
    drawn, _ = _drawn(_linked(12, {3: 1, 7: 3, 8: 0}), fits=lambda pairs: ("c1", "c3") not in pairs)
    assert set(drawn[:2]) == {("c3", "c7"), ("c0", "c8")}
    assert ("c1", "c3") not in drawn


def test_emphasis_decides_between_like_pairs() -> None:
    table = _linked(4, {1: 0, 3: 2})
    for seed in range(5):
        assert _drawn(table, seed=seed, emphasis={("c2", "c3"): 4.0})[0][0] == ("c2", "c3")
        assert _drawn(table, seed=seed, emphasis={("c0", "c1"): 4.0})[0][0] == ("c0", "c1")
