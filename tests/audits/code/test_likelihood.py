"""The transcript game: correct mechanisms stay within their caps, short noise does not, and the bounds are as tight
as they say."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr, ndtri
from scipy.stats import binom

from audits.code import likelihood
from audits.code.games import Game, log_ratio
from audits.code.likelihood import group_units, mu_bound, shortfall_factor, transcript_likelihood
from audits.code.recorder import Call
from audits.result import AuditInput, Verdict
from tests.audits.code.reference import Reference, claim

Given = Callable[..., AuditInput]


@pytest.fixture(autouse=True)
def by_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine must not change what is tested: no time limit, fixed numbers of pairs."""
    monkeypatch.setattr(likelihood, "_TIERS", {"smoke": (30, math.inf, 32), "standard": (100, math.inf, 16)})


@pytest.mark.parametrize(("neighbours", "max_rows", "unit_field"), [("add_remove", 3, "person"), ("replace_one", 1, None)])
def test_a_correct_mechanism_is_not_falsified(given: Given, neighbours: str, max_rows: int, unit_field: str | None) -> None:
    mechanism = Reference(claim(0.5, max_rows, neighbours), None, unit_field)
    result = transcript_likelihood(given(mechanism))
    assert result.verdict is Verdict.NOT_FALSIFIED, result.reason
    assert result.value is not None and result.value <= mechanism.claim.mu
    assert result.detectable is not None and result.detectable < 3.0
    stages = result.details["stages"]
    for name in ("one_way (gaussian)", "pairs (gaussian)"):
        # The worst-case pair reaches what the stage declares, and the bound from groups of units is close
        # to it.
        assert stages[name]["mu_attained"] > 0.98 * stages[name]["mu_declared"]
        assert 0.9 * stages[name]["mu_declared"] < stages[name]["mu_lower_of_group"] <= stages[name]["mu_declared"] * 1.02


@pytest.mark.parametrize("defect", ["half_noise", "half_noise_in_one_stage", "no_noise_in_one_stage", "sensitivity_without_k"])
def test_short_noise_tells_neighbours_apart_better_than_claimed(given: Given, defect: str) -> None:
    result = transcript_likelihood(given(Reference(claim(0.5), defect, seed=2)))
    assert result.verdict is Verdict.VIOLATION
    assert result.p_value is not None and result.p_value <= 0.01


def test_the_stage_at_fault_is_named(given: Given) -> None:
    result = transcript_likelihood(given(Reference(claim(0.5), "no_noise_in_one_stage")))
    stages = result.details["stages"]
    worst = min(stages, key=lambda name: stages[name]["p_value"])
    assert worst == "pairs (gaussian)"


def test_more_noise_than_declared_is_no_violation(given: Given) -> None:
    assert transcript_likelihood(given(Reference(claim(0.5), "double_noise"))).verdict is Verdict.NOT_FALSIFIED


def test_a_game_that_cannot_be_played_is_inconclusive(given: Given) -> None:
    class Failing(Reference):
        def _fit(self, table: object) -> dict[str, bytes]:
            raise RuntimeError("north")

    for mechanism in (Failing(claim()), Reference(claim(), "categories_from_data"), None):
        result = transcript_likelihood(given(mechanism))
        assert result.verdict is Verdict.INCONCLUSIVE and "north" not in result.reason


def test_log_ratio_of_gaussian_and_selection_are_the_densities() -> None:
    event = {"kind": "gaussian", "stage": "s", "stddev": 2.0}
    left, right = (Call(event, np.array(q), None) for q in ([3, 0], [1, 1]))
    y = np.array([2, 5])
    by_hand = (((y - right.exact) ** 2).sum() - ((y - left.exact) ** 2).sum()) / 8.0
    assert log_ratio(left, right, y) == pytest.approx(by_hand)
    choice = {"kind": "exponential", "stage": "s", "epsilon": 1.0, "score_sensitivity": 1.0}
    left, right = (Call(choice, np.array(q), None) for q in ([1.0, 0.0], [0.0, 1.0]))
    assert log_ratio(left, right, 0) == pytest.approx(0.5)
    coins = {"kind": "coins", "stage": "s"}
    assert log_ratio(Call(coins, np.zeros(0), 1), Call(coins, np.zeros(0), 1), 1) == 0.0


def test_the_game_plays_the_pair_that_lies_farthest_apart() -> None:
    trial = Game(Reference(claim(0.5)), 0).play(True, 1)
    assert trial.attained == pytest.approx(trial.declared, rel=0.1)
    assert {draw.stage for draw in trial.stages} == {"total", "one_way", "select", "pairs"}


RUNS = 200
ALPHA = 0.05
FALSE_ALARMS_AT_MOST = int(binom.isf(1e-6, RUNS, ALPHA))


@pytest.mark.statistical
@pytest.mark.parametrize("mu", [0.1, 1.0, 3.0])
def test_separation_has_few_false_alarms_and_its_quoted_power(mu: float) -> None:
    """On exact mu-GDP scores: alarms at most alpha against the true cap, and the quoted factor is caught in most
    runs."""
    n = 200
    rng = np.random.default_rng(0)

    def cap(fpr: float) -> float:
        return float(ndtr(ndtri(fpr) + mu)) if 0.0 < fpr < 1.0 else float(fpr >= 1.0)

    alarms = sum(likelihood._separate(rng.normal(mu / 2, 1, n), rng.normal(-mu / 2, 1, n), cap).p_value <= ALPHA for _ in range(RUNS))
    assert alarms <= FALSE_ALARMS_AT_MOST
    factor = shortfall_factor(mu, n // 2, ALPHA, cap)
    assert factor is not None
    caught = sum(
        likelihood._separate(
            rng.normal(mu / 2, 1 / factor, n), rng.normal(-mu / 2, 1 / factor, n), cap
        ).p_value <= ALPHA
        for _ in range(100)
    )  # fmt: skip
    assert caught > 60
    assert shortfall_factor(0.0, n, ALPHA, cap) is None


@pytest.mark.parametrize("mu", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("pairs", [5, 40, 300])
def test_the_bound_on_mu_is_above_the_truth_in_at_most_five_cases_of_a_hundred(mu: float, pairs: int) -> None:
    """Exact: every number of wrong guesses with its probability, at the best threshold a mu-GDP mechanism allows."""
    wrong = np.arange(2 * pairs + 1)
    above = np.array([mu_bound(int(k), 2 * pairs) > mu for k in wrong])

    assert binom.pmf(wrong, 2 * pairs, ndtr(-mu / 2))[above].sum() <= 0.05


def test_the_bound_on_mu_holds_for_guesses_of_unequal_chances() -> None:
    """Hoeffding's theorem by brute force: wrong guesses with chances of their own, convolved, against the bound at their mean."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        chances = rng.choice([rng.uniform(0, 0.5, 30), rng.choice([0.01, 0.9], 30), np.repeat([0.0, 0.6], 15)])
        law = np.ones(1)
        for chance in chances:
            law = np.convolve(law, [1 - chance, chance])
        mu = -2 * float(ndtri(min(chances.mean(), 0.5)))
        above = np.array([mu_bound(k, 30) > mu for k in range(31)])

        assert law[above].sum() <= 0.05


def test_the_bound_on_mu_comes_close() -> None:
    """3.9 / sqrt(pairs) of the 3.1 that a group of the chosen size has."""
    wrong = round(2 * 8000 * float(ndtr(-3.1 / 2)))

    assert 0.98 < mu_bound(wrong, 16000) / 3.1 < 0.99
    assert mu_bound(8000, 16000) == 0.0


def test_groups_are_as_large_as_shows_them_best() -> None:
    def error(mu: float) -> float:
        """Of the bound, relative to mu, up to a factor."""
        p = float(ndtr(mu / 2))
        return math.sqrt(p * (1 - p)) * math.exp(mu * mu / 8) / mu

    for mu in (0.02, 0.1, 0.22, 0.79):
        best = min(range(1, int(8 / mu)), key=lambda m: error(m * mu))
        assert error(group_units(mu) * mu) <= 1.01 * error(best * mu)
    assert group_units(3.0) == group_units(30.0) == 1
