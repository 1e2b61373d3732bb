"""Tightness is near 1 for the kernel's noise and far above it where the noise is half as wide."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.tightness import measured, toy_of, worst_case
from dpsynth.privacy import noise
from tests.chance import kernel_noise

# 1,000 draws a side: the bound lies 0.05 under the truth and its standard error is 0.03, 0.05 for a stage with little of the budget.
_HISTORIES, _REDRAWS = 2, 500
_LOWEST, _HIGHEST = 0.8, 1.1


@pytest.fixture(autouse=True)
def the_same_draws() -> Iterator[None]:
    """These limits are two to five standard errors away, and there are twelve of them."""
    with kernel_noise(0):
        yield


@pytest.mark.parametrize("name", ["independent", "mst", "adaptive"])
def test_nearly_all_of_the_claim_is_seen_and_no_more(name: str) -> None:
    found = measured(toy_of(name, 4.0), _HISTORIES, _REDRAWS)

    assert all(share == pytest.approx(1.0, abs=1e-6) for share in found.attained.values())
    assert all(_LOWEST < share < _HIGHEST for share in found.stages.values()), found.stages
    assert 0.7 < found.whole < _HIGHEST
    # A third of the budget of mst goes into selections, and the pair is made so that they leak.
    assert (0.15 < found.selections < 0.4) if name == "mst" else found.selections == 0.0


def test_half_the_noise_is_seen_as_twice_the_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = noise.discrete_gaussian
    monkeypatch.setattr(
        noise, "discrete_gaussian", lambda exact, stddev, sensitivity, rho: drawn(exact, stddev / 2, sensitivity, 4.001 * rho)
    )
    found = measured(toy_of("independent", 4.0), _HISTORIES, _REDRAWS)

    assert found.stages["one_way"] > 1.5


def test_the_worst_case_is_on_both_sides_of_independence() -> None:
    mechanism = toy_of("mst", 4.0)
    far, without, one = worst_case(mechanism, 3)

    assert (len(far), len(one)) == (len(without) + 3, len(without) + 1)
    flags = (without == "yes").to_numpy()
    excess = [flags[:, i].mean() * flags[:, j].mean() - (flags[:, i] & flags[:, j]).mean() for i in range(6) for j in range(i)]
    assert np.allclose(np.abs(excess), 0.125, atol=0.005)
    assert 6 <= sum(gap > 0 for gap in excess) <= 9
