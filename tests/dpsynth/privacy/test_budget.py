"""Conversions between (epsilon, delta) and rho against OpenDP and a dense grid; the filter against sums one can do on paper."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from dpsynth.errors import BudgetError, ConfigError
from dpsynth.privacy.budget import Filter, PrivacyBudget, epsilon_of, log_delta, rho_of

EPSILONS = (0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 30.0)
DELTAS = (1e-12, 1e-9, 1e-6, 1e-3, 0.1)
GRID = list(product(EPSILONS, DELTAS))


@pytest.mark.parametrize(("epsilon", "delta"), GRID)
def test_epsilon_and_rho_are_inverse_and_rounded_towards_more_noise(epsilon: float, delta: float) -> None:
    rho = rho_of(epsilon, delta)
    back = epsilon_of(rho, delta)
    # Down by a part in 1e9 of rho one way, by nothing on the way back: all of a budget reads as no more than the budget.
    assert back == pytest.approx(epsilon, rel=2e-8)
    assert back <= epsilon
    assert epsilon_of(rho * (1.0 + 1e-12), delta) <= epsilon
    assert log_delta(rho, epsilon) <= math.log(delta)
    assert epsilon_of(rho * (1.0 + 1e-6), delta) > epsilon * (1.0 + 1e-7)


@pytest.mark.parametrize(("epsilon", "delta"), GRID)
def test_the_conversion_agrees_with_opendp(epsilon: float, delta: float) -> None:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    rho = rho_of(epsilon, delta)
    # Sensitivity 1 at this scale costs rho.
    scale = 1.0 / math.sqrt(2.0 * rho)
    space = (dp.atom_domain(T="i64"), dp.absolute_distance(T="f64"))
    measurement = dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=scale))
    theirs = measurement.map(1.0).epsilon(delta)  # type: ignore[no-untyped-call]
    assert theirs <= epsilon
    assert theirs == pytest.approx(epsilon, rel=1e-8)
    assert epsilon_of(rho, delta) == pytest.approx(theirs, rel=1e-8)


@pytest.mark.parametrize(("epsilon", "delta"), GRID)
def test_no_order_on_a_dense_grid_gives_a_smaller_delta_than_ours_and_ours_is_one_of_them(epsilon: float, delta: float) -> None:
    rho = rho_of(epsilon, delta)
    alpha = 1.0 + np.geomspace(1e-6, 1e6, 400_001)
    values = (alpha - 1.0) * (alpha * rho - epsilon) + alpha * np.log1p(-1.0 / alpha) - np.log(alpha - 1.0)
    best = float(values.min())
    # The guarantee holds at every order, so being above the minimum is safe; being below any value of it would not be.
    # Neighbouring orders of the grid are 7e-5 apart, so its minimum is that squared, times log(1/delta), too high.
    assert best - 1e-6 <= log_delta(rho, epsilon) <= best + 1e-9
    assert best <= math.log(delta) + 1e-6


@pytest.mark.parametrize(("epsilon", "delta"), GRID)
def test_the_closed_form_is_never_better_than_ours(epsilon: float, delta: float) -> None:
    """epsilon = rho + 2 sqrt(rho log(1/delta)) (Bun and Steinke 2016, Proposition 1.3) is valid, so ours may not exceed it."""
    rho = rho_of(epsilon, delta)
    assert epsilon_of(rho, delta) <= rho + 2.0 * math.sqrt(rho * math.log(1.0 / delta))
    # Of two valid rhos the larger one is spent: solving the closed form leaves budget on the table.
    log = math.log(1.0 / delta)
    assert rho >= (math.sqrt(log + epsilon) - math.sqrt(log)) ** 2 * (1.0 - 2e-9)


def test_more_budget_is_more_rho() -> None:
    for delta in DELTAS:
        assert all(a < b for a, b in zip(*(lambda r: (r, r[1:]))([rho_of(e, delta) for e in EPSILONS]), strict=False))
    for epsilon in EPSILONS:
        assert sorted(rho_of(epsilon, d) for d in DELTAS) == [rho_of(epsilon, d) for d in DELTAS]


@pytest.mark.parametrize("delta", [5e-324, 1e-300, 0.5, 0.999, 1.0 - 2**-53])
@pytest.mark.parametrize("epsilon", [1e-12, 1e-3, 1.0, 1e3])
def test_extreme_budgets_convert_without_error_and_stay_inside_the_claim(epsilon: float, delta: float) -> None:
    rho = PrivacyBudget(epsilon, delta).rho
    assert 0.0 < rho <= epsilon + 1.0
    assert log_delta(rho, epsilon) <= math.log(delta)


def test_nothing_spent_costs_nothing() -> None:
    assert epsilon_of(0.0, 1e-6) == 0.0
    assert log_delta(0.0, 1.0) == -math.inf


@pytest.mark.parametrize("epsilon", [0, 0.0, -1.0, math.nan, math.inf, -math.inf, "1", None, 1j])
def test_a_bad_epsilon_is_refused(epsilon: object) -> None:
    with pytest.raises(ConfigError, match="epsilon"):
        PrivacyBudget(epsilon, 1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("delta", [0, 0.0, -1e-6, math.nan, math.inf, 1, 1.0, 1.5, "1e-6", None])
def test_a_bad_delta_is_refused(delta: object) -> None:
    with pytest.raises(ConfigError, match="delta"):
        PrivacyBudget(1.0, delta)  # type: ignore[arg-type]


def test_neither_parameter_has_a_default() -> None:
    with pytest.raises(TypeError):
        PrivacyBudget(1.0)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        PrivacyBudget(delta=1e-6)  # type: ignore[call-arg]


def test_the_filter_adds_up_and_refuses_what_would_pass_the_total() -> None:
    account = Filter(1.0)
    account.spend(0.25, "a")
    account.spend(0.5, "b")
    assert (account.spent, account.left) == (0.75, 0.25)
    with pytest.raises(BudgetError, match=r"c asks rho=0\.250001, but 0\.25 of total_rho=1 is left"):
        account.spend(0.250001, "c")
    # A refused spend charges nothing.
    assert (account.spent, account.left) == (0.75, 0.25)
    account.spend(0.25, "d")
    assert account.left == 0.0
    with pytest.raises(BudgetError):
        account.spend(1e-9, "e")


@pytest.mark.parametrize("rho", [0.0, -0.1, -math.inf, math.inf, math.nan, -1e-300])
def test_the_filter_refuses_what_is_not_a_cost(rho: float) -> None:
    account = Filter(1.0)
    with pytest.raises(BudgetError, match="must be > 0 and finite"):
        account.spend(rho, "x")
    assert account.spent == 0.0


def test_many_small_spends_do_not_creep_past_the_total() -> None:
    account = Filter(1.0)
    for i in range(10):
        account.spend(0.1, str(i))
    assert account.spent == pytest.approx(1.0, abs=1e-15)
    with pytest.raises(BudgetError):
        account.spend(1e-11, "creep")


def test_rounding_slack_of_the_filter_is_covered_by_the_conversion() -> None:
    budget = PrivacyBudget(1.0, 1e-6)
    account = Filter(budget.rho)
    account.spend(budget.rho * (1.0 + 9e-13), "all and a rounding")
    assert log_delta(account.spent, budget.epsilon) <= math.log(budget.delta)


def test_a_filter_without_budget_refuses_everything() -> None:
    for total in (0.0, -1.0, math.nan):
        with pytest.raises(BudgetError):
            Filter(total).spend(1e-300, "x")
