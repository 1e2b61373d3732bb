"""The arithmetic of the tests' own helper against chance, and that its seeded kernel follows OpenDP's law."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import pytest

from audits import AuditResult, Verdict
from dpsynth.errors import BudgetError
from dpsynth.privacy import noise, private_data
from tests.chance import CHANCE, kernel_noise, not_falsified, runs_for

_GOOD = AuditResult("a", Verdict.NOT_FALSIFIED, 1.0, (0.0, 2.0), 0.99, 5, 2.0, "times", None, 0.0, "fine", p_value=0.5)
_ALARM = dataclasses.replace(_GOOD, verdict=Verdict.VIOLATION, p_value=0.001)


def _in_turn(answers: Iterable[AuditResult]) -> tuple[list[AuditResult], object]:
    left = list(answers)
    return left, lambda: left.pop(0)


@pytest.mark.parametrize(("alpha", "runs"), [(0.01, 3), (0.005, 3), (0.02, 4), (0.001, 2), (1e-7, 1)])
def test_as_many_runs_as_are_all_alarms_once_in_a_million(alpha: float, runs: int) -> None:
    assert runs_for(alpha) == runs
    assert alpha**runs <= CHANCE * (1 + 1e-9) < alpha ** (runs - 1)


def test_an_alarm_is_asked_for_again_and_three_are_a_failure() -> None:
    left, audit = _in_turn([_ALARM, _ALARM, _GOOD, _ALARM])
    assert not_falsified(audit) is _GOOD and left == [_ALARM]
    left, audit = _in_turn([_ALARM] * 4)
    with pytest.raises(AssertionError, match="run 3: VIOLATION"):
        not_falsified(audit)
    assert left == [_ALARM]


@pytest.mark.parametrize(
    "answer",
    [dataclasses.replace(_ALARM, p_value=None), dataclasses.replace(_GOOD, verdict=Verdict.INCONCLUSIVE)],
)
def test_what_is_no_matter_of_chance_fails_at_once(answer: AuditResult) -> None:
    left, audit = _in_turn([answer, _GOOD])
    with pytest.raises(AssertionError, match="run 1"):
        not_falsified(audit)
    assert left == [_GOOD]


@pytest.mark.parametrize("stddev", [0.3, 2.0, 40.0, 5000.0])
def test_the_seeded_kernel_has_the_variance_of_the_discrete_gaussian_and_repeats_itself(stddev: float) -> None:
    exact, rho = np.full(40_000, 7, dtype=np.int64), 1.0 / (2.0 * stddev**2) * (1 + 1e-9)
    draws = []
    for _ in range(2):
        with kernel_noise(1):
            draws.append(noise.discrete_gaussian(exact, stddev, 1.0, rho))
    np.testing.assert_array_equal(*draws)
    around = np.arange(-60_000, 60_001, dtype=np.float64)
    weights = np.exp(-(around**2) / (2.0 * stddev**2))
    variance = float((around**2 * weights).sum() / weights.sum())
    # 40,000 squares of kurtosis up to that of a rare +-1: five standard errors.
    error = 5.0 * float(np.sqrt(((around**4 * weights).sum() / weights.sum() - variance**2) / 40_000))
    assert abs(float(((draws[0] - 7) ** 2).mean()) - variance) < error
    assert abs(float(draws[0].mean()) - 7.0) < 5.0 * np.sqrt(variance / 40_000)


def test_the_seeded_kernel_selects_with_the_probabilities_of_the_exponential_mechanism() -> None:
    scores, epsilon = np.array([0.0, 1.0, 3.0]), 1.5
    with kernel_noise(2):
        chosen = np.bincount([noise.exponential_mechanism(scores, epsilon, 1.0, epsilon**2 / 8 * (1 + 1e-9)) for _ in range(20_000)])
    wanted = np.exp(epsilon * scores / 2.0)
    np.testing.assert_allclose(chosen / 20_000, wanted / wanted.sum(), atol=5 * 0.5 / np.sqrt(20_000))


def test_the_seeded_kernel_still_refuses_what_was_not_paid_for_and_ends_with_its_block() -> None:
    before = noise._gaussian, noise._noisy_max, private_data.secrets
    with kernel_noise(3):
        coins = private_data._coins(noise.release_noise, "cohort")
        with pytest.raises(BudgetError, match="OpenDP charges"):
            noise.discrete_gaussian(np.zeros(3, dtype=np.int64), 1.0, 1.0, 0.49)
    with kernel_noise(3):
        assert private_data._coins(noise.release_noise, "cohort") == coins > 0
    assert (noise._gaussian, noise._noisy_max, private_data.secrets) == before
