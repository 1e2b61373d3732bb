"""What is particular to the adaptive mechanism: where noise rules it measures one-ways alone, and a target's relations get more budget."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dpsynth.errors import ConfigError
from dpsynth.marginals import Attribute, CodedTable, Domain
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import SeededNoise
from dpsynth.synthesizers import Adaptive
from dpsynth.synthesizers.adaptive import TOO_LITTLE

ROWS = 4000


def _table(columns: int = 8, levels: int = 8) -> CodedTable:
    """Every column leans on the one before, so that pairs are worth measuring; the joint is far beyond the tree limit."""
    rng = np.random.default_rng(0)
    found = [rng.integers(0, levels, ROWS)]
    for _ in range(columns - 1):
        found.append(np.where(rng.random(ROWS) < 0.6, found[-1], rng.integers(0, levels, ROWS)))
    domain = Domain(tuple(Attribute(f"c{i}", levels, False) for i in range(columns)))
    return CodedTable(domain, {f"c{i}": column.astype(np.uint8) for i, column in enumerate(found)})


def _private(epsilon: float) -> PrivateData:
    return PrivateData.of_codes(_table(), PrivacyBudget(epsilon, 1e-9), unit=PrivacyUnit("row", 1), hook=SeededNoise(0))


def test_one_ways_alone_below_the_limit_and_pairs_above_it() -> None:
    for times, stages in ((0.5, {"total", "one_way"}), (3.0, {"total", "one_way", "score_pairs", "two_way"})):
        rho = (times * TOO_LITTLE * 8 / ROWS) ** 2 / 2.0
        low, high = 1e-6, 50.0
        while high - low > 1e-9:
            middle = (low + high) / 2.0
            low, high = (middle, high) if PrivacyBudget(middle, 1e-9).rho < rho else (low, middle)
        private = _private(high)
        Adaptive().fit(private)
        events = private.transcript()["events"]
        assert {event["stage"] for event in events} >= stages
        assert ("score_pairs" in {event["stage"] for event in events}) == ("score_pairs" in stages)
        assert math.fsum(event["rho"] for event in events) <= private.budget.rho
        assert private.rho_left < 1e-5 * private.budget.rho


def test_pairs_with_the_target_are_measured_with_less_noise_than_like_pairs_without() -> None:
    private = _private(3.0)
    Adaptive(target="c3", emphasis=8.0, rounds=1).fit(private)
    noise: dict[bool, list[float]] = {True: [], False: []}
    for event in private.transcript()["events"]:
        if event["stage"].startswith("two_way"):
            noise["c3" in event["cliques"][0]].append(event["stddev"] / event["l2_sensitivity"])
    assert noise[True] and noise[False]
    assert max(noise[True]) < min(noise[False])


@pytest.mark.parametrize("emphasis", [1e-6, 1e6])
def test_the_largest_and_smallest_emphasis_spend_the_budget(emphasis: float) -> None:
    private = _private(1.0)
    Adaptive(target="c3", emphasis=emphasis).fit(private)
    assert private.rho_left <= 1e-5 * private.budget.rho


def test_a_target_must_be_a_column_and_an_emphasis_positive() -> None:
    with pytest.raises(ConfigError, match="target='nobody' must be a column"):
        Adaptive(target="nobody").fit(_private(1.0))
    # With 1e300 the other pairs would be measured with noise that no 64-bit integer holds.
    for emphasis in (math.nan, math.inf, 0.0, 1e-300, 1e300):
        with pytest.raises(ConfigError, match="emphasis"):
            Adaptive(emphasis=emphasis)
