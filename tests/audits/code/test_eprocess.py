"""Bets against the claim: they lose on honest noise however long one looks, and win soon on short noise."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import binom

from audits.code import eprocess
from audits.code.discrete_law import normal_scores
from audits.code.eprocess import (
    ProfileProcess,
    ScaleProcess,
    gaussian_profile,
    noise_eprocess,
    zcdp_profile,
)
from audits.result import AuditError, AuditInput, Verdict
from tests.audits.code.reference import Reference, claim, discrete_gaussian

Given = Callable[..., AuditInput]
ALPHA = 0.01


@pytest.fixture(autouse=True)
def by_counts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine must not change what is tested: no time limit, fixed numbers of pairs."""
    monkeypatch.setattr(eprocess, "_TIERS", {"smoke": (4, math.inf, 8, 2), "standard": (40, math.inf, 4, 3)})


@pytest.mark.parametrize("tier", ["smoke", "standard"])
@pytest.mark.parametrize(("neighbours", "max_rows", "unit_field"), [("add_remove", 3, "person"), ("replace_one", 1, None)])
def test_honest_noise_wins_against_the_bets(given: Given, tier: str, neighbours: str, max_rows: int, unit_field: str | None) -> None:
    result = noise_eprocess(given(Reference(claim(0.5, max_rows, neighbours), None, unit_field), tier=tier))
    assert result.verdict is Verdict.NOT_FALSIFIED
    assert result.e_value is not None and result.e_value < 20.0
    assert result.detectable is not None and result.detectable < 1.5


@pytest.mark.parametrize("defect", ["half_noise", "half_noise_in_one_stage", "no_noise_in_one_stage"])
def test_short_noise_is_caught_in_the_smoke_tier(given: Given, defect: str) -> None:
    result = noise_eprocess(given(Reference(claim(), defect)))
    assert result.verdict is Verdict.VIOLATION
    assert result.e_value is not None and result.e_value >= 100.0


def test_an_understated_sensitivity_is_caught_by_the_transcript_alone(given: Given) -> None:
    result = noise_eprocess(given(Reference(claim(0.5), "sensitivity_without_k"), tier="standard"))
    assert result.verdict is Verdict.VIOLATION
    assert result.details["log_e"]["scale"] < 2.0  # the noise itself is as declared


def test_the_state_continues_where_it_stopped_and_fits_one_claim_only(given: Given) -> None:
    first = noise_eprocess(given(Reference(claim(), seed=1)))
    state = json.loads(json.dumps(first.to_dict()))["details"]["state"]
    second = noise_eprocess(given(Reference(claim(), seed=2)), state)
    assert second.n > first.n
    assert second.details["state"]["transcript"]["pairs"] == 2 * state["transcript"]["pairs"]
    with pytest.raises(AuditError):
        noise_eprocess(given(Reference(claim(0.3))), state)
    with pytest.raises(AuditError):
        noise_eprocess(given(Reference(claim())), {**state, "$schema": "audits.eprocess/0"})


def test_a_process_read_back_from_json_bets_the_same() -> None:
    rng = np.random.default_rng(0)
    ours = ProfileProcess(gaussian_profile(0.5))
    for _ in range(24):
        ours.update(rng.normal(0.5), rng.normal(-0.5))
    theirs = ProfileProcess.from_dict(json.loads(json.dumps(ours.to_dict())))
    for _ in range(20):
        x, y = rng.normal(0.5), rng.normal(-0.5)
        ours.update(x, y)
        theirs.update(x, y)
    assert theirs.log_wealth == pytest.approx(ours.log_wealth)
    scale = ScaleProcess(3, 2.5)
    assert ScaleProcess.from_dict(scale.to_dict()) == scale


def test_a_profile_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(AuditError):
        ProfileProcess((0.1, 0.2))


def test_what_cannot_be_played_is_inconclusive(given: Given) -> None:
    class Failing(Reference):
        def _fit(self, table: object) -> dict[str, bytes]:
            raise RuntimeError("north")

    for mechanism in (Failing(claim()), Reference(claim(), "categories_from_data"), None):
        assert noise_eprocess(given(mechanism)).verdict is Verdict.INCONCLUSIVE


def test_the_scale_process_tells_honest_integer_noise_from_short_and_wide() -> None:
    rng = np.random.default_rng(0)

    def bet(stddev: float) -> ScaleProcess:
        process = ScaleProcess()
        process.update(normal_scores(discrete_gaussian(rng, stddev, 200), 20.0, rng))
        return process

    honest, short, wide = bet(20.0), bet(14.0), bet(30.0)
    assert honest.log_wealth < math.log(1 / ALPHA) < short.log_wealth
    assert wide.log_wealth < honest.log_wealth


# --- false alarms and speed ------------------------------------------------------------------------------------------

RUNS = 200
HORIZON = 150
# Ville: the wealth ever reaches 1/alpha with probability at most alpha. More alarms than this come once in a million.
FALSE_ALARMS_AT_MOST = int(binom.isf(1e-6, RUNS, ALPHA))


def _pairs_until_won(profile: tuple[float, ...], mu: float, shortfall: float, rng: np.random.Generator) -> int:
    """Pairs of log ratios of a mu-GDP mechanism whose noise is ``shortfall`` times too small; HORIZON + 1 if never
    won."""
    process = ProfileProcess(profile)
    for pair in range(1, HORIZON + 1):
        x, y = (mu * (side * mu / 2 + rng.normal() / shortfall) for side in (1, -1))
        process.update(x, y)
        if process.log_wealth >= math.log(1 / ALPHA):
            return pair
    return HORIZON + 1


@pytest.mark.statistical
@pytest.mark.parametrize("mu", [0.1, 0.8, 2.0])
def test_looking_after_every_pair_raises_few_false_alarms(mu: float) -> None:
    rng = np.random.default_rng(0)
    won = sum(_pairs_until_won(gaussian_profile(mu), mu, 1.0, rng) <= HORIZON for _ in range(RUNS // 4))
    assert won <= int(binom.isf(1e-6, RUNS // 4, ALPHA))


@pytest.mark.statistical
def test_looking_after_every_cell_raises_few_false_alarms() -> None:
    rng = np.random.default_rng(0)
    won = 0
    for _ in range(RUNS):
        process, ever = ScaleProcess(), False
        for _ in range(20):
            process.update(rng.standard_normal(25))
            ever = ever or process.log_wealth >= math.log(1 / ALPHA)
        won += ever
    assert won <= FALSE_ALARMS_AT_MOST


@pytest.mark.statistical
def test_twofold_short_noise_at_epsilon_4_is_caught_in_a_median_of_100_pairs() -> None:
    mu = math.sqrt(2.0 * 0.311)  # rho of epsilon 4, delta 1e-6
    rng = np.random.default_rng(0)
    assert np.median([_pairs_until_won(gaussian_profile(mu), mu, 2.0, rng) for _ in range(15)]) <= 100


def test_profiles_are_nested() -> None:
    """zCDP allows more than the Gaussian of that rho, and both fall with epsilon."""
    gaussian, zcdp = gaussian_profile(math.sqrt(0.4)), zcdp_profile(0.2)
    assert all(g <= z for g, z in zip(gaussian, zcdp, strict=True))
    assert sorted(gaussian, reverse=True) == list(gaussian) and sorted(zcdp, reverse=True) == list(zcdp)
