"""Residuals: both sides of every claim about power, and no false alarm on the declared law."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, kstest

from audits.code.residuals import normal_scores, residual_calibration, scale_factor, selection_log_probabilities
from audits.result import AuditInput, Verdict
from tests.audits.code.reference import NON_DEFECTS, Reference, claim, discrete_gaussian

Given = Callable[..., AuditInput]


@pytest.mark.parametrize("stddev", [0.3, 1.0, 7.5, 60.0, 1e4])
def test_scores_of_the_declared_law_are_standard_normal_whatever_the_stddev(stddev: float) -> None:
    rng = np.random.default_rng(0)
    residual = discrete_gaussian(rng, stddev, 20_000) if stddev < 100 else np.rint(rng.normal(0, stddev, 20_000)).astype(int)
    assert kstest(normal_scores(residual, stddev, rng), "norm").pvalue > 1e-3
    assert kstest(normal_scores(residual, 1.5 * stddev, rng), "norm").pvalue < 1e-12


def test_scores_far_in_the_tail_stay_finite() -> None:
    scores = normal_scores(np.array([0, 300, -300, 10**12]), 1.0, np.random.default_rng(0))
    assert np.isfinite(scores).all() and scores[1] > 30.0 and scores[2] < -30.0


@pytest.mark.parametrize("rho", [0.01, 2.0, 50.0])
@pytest.mark.parametrize(("neighbours", "max_rows", "unit_field"), [("add_remove", 3, "person"), ("replace_one", 1, None)])
def test_declared_noise_is_not_falsified(given: Given, rho: float, neighbours: str, max_rows: int, unit_field: str | None) -> None:
    mechanism = Reference(claim(rho, max_rows, neighbours), None, unit_field, seed=3)
    result = residual_calibration(given(mechanism))
    assert result.verdict is Verdict.NOT_FALSIFIED, result.reason
    assert result.value == pytest.approx(1.0, abs=0.15)
    assert result.detectable is not None and result.detectable < 1.2
    assert set(result.details["stages"]) >= {"one_way", "pairs"}


@pytest.mark.parametrize("defect", NON_DEFECTS)
def test_more_noise_and_rounding_are_no_defects(given: Given, defect: str) -> None:
    assert residual_calibration(given(Reference(claim(), defect))).verdict is Verdict.NOT_FALSIFIED


@pytest.mark.parametrize(
    ("defect", "reason"),
    [
        ("half_noise", "scale"),
        ("half_noise_in_one_stage", "scale (pairs)"),
        ("no_noise_in_one_stage", "pairs"),
        ("same_seed_each_measurement", "between releases"),
        ("same_seed_each_run", "between runs"),
        ("one_draw_for_all_cells", "one draw"),
        ("no_noise_on_empty_cells", "empty cells"),
        ("absolute_noise", "one-sided"),
        ("truncated_noise", "truncated"),
        ("float_noise", "integer"),
        ("monotonic_selection", "selection"),
    ],
)
def test_each_defect_of_the_noise_is_found_and_named(given: Given, defect: str, reason: str) -> None:
    result = residual_calibration(given(Reference(claim(), defect, seed=1)))
    assert result.verdict is Verdict.VIOLATION
    assert reason in result.reason


def test_a_release_that_declares_no_noise_is_a_violation(given: Given) -> None:
    class Silent(Reference):
        def _gaussian(self, *args: Any) -> np.ndarray:
            hook = self._hook
            self._hook = lambda event, exact, draw: hook({**event, "stddev": 0.0}, exact, draw)
            try:
                return super()._gaussian(*args)
            finally:
                self._hook = hook

    assert residual_calibration(given(Silent(claim()))).verdict is Verdict.VIOLATION


def test_too_few_cells_or_a_failing_mechanism_is_inconclusive(given: Given) -> None:
    class Failing(Reference):
        def _fit(self, table: object) -> dict[str, bytes]:
            raise RuntimeError("north")

    result = residual_calibration(given(Failing(claim())))
    assert result.verdict is Verdict.INCONCLUSIVE and "north" not in result.reason
    assert residual_calibration(given()).verdict is Verdict.INCONCLUSIVE


def test_log_probabilities_are_the_declared_exponential_mechanism() -> None:
    event = {"epsilon": 2.0, "score_sensitivity": 4.0}
    scores = np.array([0.0, 4.0, 1000.0])
    expected = np.exp(scores[:2] * 0.25 - 250.0)
    assert np.exp(selection_log_probabilities(scores, event))[:2] == pytest.approx(expected)


# --- power and false alarms

RUNS = 120
ALPHA = 0.05
# P(Binomial(RUNS, ALPHA) > limit) is below 1e-6, so a correct audit fails this test once in a million seeds.
FALSE_ALARMS_AT_MOST = int(binom.isf(1e-6, RUNS, ALPHA))


@pytest.mark.statistical
def test_false_alarms_are_at_most_alpha(given: Given) -> None:
    alarms = 0
    for seed in range(RUNS):
        result = residual_calibration(given(Reference(claim(), seed=seed), alpha=ALPHA, seed=seed))
        alarms += result.verdict is Verdict.VIOLATION
    assert alarms <= FALSE_ALARMS_AT_MOST


@pytest.mark.statistical
@pytest.mark.parametrize(("cells", "factor"), [(476, 1.1), (38, math.sqrt(2.0)), (11, 2.0)])
def test_the_published_cell_counts_catch_their_shortfall(cells: int, factor: float) -> None:
    """95 % confidence and 90 % power, the closed form and a simulation of it."""
    assert scale_factor(cells, 0.05, 0.9) == pytest.approx(factor, rel=0.03)
    rng = np.random.default_rng(0)
    stddev, trials = 40.0, 400
    scores = normal_scores(discrete_gaussian(rng, stddev / factor, trials * cells), stddev, rng).reshape(trials, cells)
    limit = float(np.quantile((rng.standard_normal((20_000, cells)) ** 2).sum(axis=1), 0.05))
    caught = float(((scores**2).sum(axis=1) < limit).mean())
    assert 0.9 - 5 * math.sqrt(0.09 / trials) < caught


@pytest.mark.statistical
def test_detectable_is_what_is_detected(given: Given) -> None:
    """Noise short by the factor the audit quotes is caught in about 80 % of runs; short by a quarter of that,
    seldom."""

    class Short(Reference):
        factor = 1.0

        def _noise(self, stage: str, exact: np.ndarray, stddev: float) -> np.ndarray:
            return super()._noise(stage, exact, stddev / self.factor)

    runs = 40
    quoted = residual_calibration(given(Short(claim()))).detectable
    assert quoted is not None
    rates = {}
    for factor in (quoted, 1.0 + (quoted - 1.0) / 4.0):
        hits = 0
        for seed in range(runs):
            mechanism = Short(claim(), seed=1000 + seed)
            mechanism.factor = factor
            hits += residual_calibration(given(mechanism, seed=seed)).verdict is Verdict.VIOLATION
        rates[factor] = hits / runs
    # The number of cells varies from run to run; three standard errors of 0.8 at 40 runs are 0.19.
    assert rates[quoted] > 0.6
    assert rates[1.0 + (quoted - 1.0) / 4.0] < 0.4
