"""What the noise primitives promise without statistics: scales, costs, refusals, integers, no seed."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest

from dpsynth.errors import BudgetError
from dpsynth.privacy import noise


@pytest.mark.parametrize("rho", [1e-6, 0.01, 0.5, 3.0])
@pytest.mark.parametrize("sensitivity", [1.0, math.sqrt(2.0), 5.0, 1234.5])
def test_the_gaussian_scale_costs_at_most_what_is_charged_by_opendps_map(rho: float, sensitivity: float) -> None:
    stddev = noise.gaussian_stddev(sensitivity, rho)
    cost = noise._gaussian(stddev).map(sensitivity)
    assert rho * (1.0 - 1e-9) < cost <= rho


@pytest.mark.parametrize("rho", [1e-6, 0.01, 0.5, 3.0])
@pytest.mark.parametrize("sensitivity", [1.0, 2.0, 7.0])
def test_the_selection_costs_at_most_what_is_charged_by_opendps_map(rho: float, sensitivity: float) -> None:
    epsilon = noise.selection_epsilon(rho)
    assert epsilon**2 / 8.0 <= rho
    cost = noise._noisy_max(2.0 * sensitivity / epsilon).map(sensitivity)
    assert rho * (1.0 - 1e-9) < cost <= rho


def test_a_gaussian_charged_too_little_refuses() -> None:
    exact = np.zeros(3, dtype=np.int64)
    stddev = noise.gaussian_stddev(1.0, 0.5)
    with pytest.raises(BudgetError, match="OpenDP charges"):
        noise.discrete_gaussian(exact, stddev, 1.0, 0.499)
    with pytest.raises(BudgetError, match="OpenDP charges"):
        noise.discrete_gaussian(exact, stddev * 0.999, 1.0, 0.5)
    with pytest.raises(BudgetError, match="OpenDP charges"):
        noise.discrete_gaussian(exact, stddev, 1.001, 0.5)
    with pytest.raises(BudgetError, match="OpenDP charges"):
        noise.discrete_gaussian(exact, stddev, 1.0, math.nan)


def test_a_selection_charged_too_little_refuses() -> None:
    scores = np.zeros(3)
    epsilon = noise.selection_epsilon(0.5)
    with pytest.raises(BudgetError, match="OpenDP charges"):
        noise.exponential_mechanism(scores, epsilon, 1.0, 0.499)
    with pytest.raises(BudgetError, match="OpenDP charges"):
        noise.exponential_mechanism(scores, epsilon * 1.001, 1.0, 0.5)


def test_what_was_charged_in_full_is_drawn() -> None:
    for rho in (1e-6, 0.01, 3.0):
        scores = np.array([0.0, 1.0, 2.0])
        assert noise.exponential_mechanism(scores, noise.selection_epsilon(rho), 2.0, rho) in (0, 1, 2)
        exact = np.zeros(4, dtype=np.int64)
        assert noise.discrete_gaussian(exact, noise.gaussian_stddev(2.0, rho), 2.0, rho).shape == (4,)


def test_a_selection_is_not_charged_as_pure_dp() -> None:
    """epsilon^2 / 2 would be four times what a bounded range costs; nor is it less than epsilon^2 / 8."""
    assert noise.selection_epsilon(0.125) == pytest.approx(1.0)


@pytest.mark.parametrize("rho", [0.0, -1.0, math.nan, math.inf])
def test_a_cost_that_is_none_is_a_budget_error(rho: float) -> None:
    with pytest.raises(BudgetError):
        noise.gaussian_stddev(1.0, rho)
    with pytest.raises(BudgetError):
        noise.selection_epsilon(rho)


def test_answers_are_integers_around_the_exact_ones_and_two_draws_differ() -> None:
    exact = np.arange(0, 4000, 100, dtype=np.int64)
    rho = 0.005
    stddev = noise.gaussian_stddev(1.0, rho)
    one, other = (noise.discrete_gaussian(exact, stddev, 1.0, rho) for _ in range(2))
    assert one.dtype == np.int64
    assert one.shape == exact.shape
    # 40 cells at sigma 10 are equal in one draw and the next with probability 1e-60: a seed would make them so.
    assert not np.array_equal(one, other)
    assert not np.array_equal(one - exact, other - exact)
    assert np.abs(one - exact).max() < 12 * stddev


def test_no_primitive_takes_a_seed() -> None:
    for function in (noise.discrete_gaussian, noise.exponential_mechanism, noise._gaussian, noise._noisy_max):
        assert not {"seed", "rng", "random_state"} & set(inspect.signature(function).parameters)


def test_no_cells_need_no_noise() -> None:
    assert noise.discrete_gaussian(np.zeros(0, dtype=np.int64), 1.0, 0.0, 1.0).size == 0


def test_seeded_noise_says_so_and_repeats_itself() -> None:
    event = {"kind": "gaussian", "stddev": 3.0}
    exact = np.arange(5)
    draws = [noise.SeededNoise(4)(event, exact, lambda: None) for _ in range(2)]
    np.testing.assert_array_equal(*draws)
    assert noise.SeededNoise.seeded is True
