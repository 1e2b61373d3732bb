"""Values inside a bin: exponential slopes that follow the neighbours, no mass moved between bins, spikes and short tables left alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import kstest, wasserstein_distance

from dpsynth.encode import Encoder
from dpsynth.inside_bins import place, steepness
from dpsynth.schema import Field, Schema, Unit
from dpsynth.sources import open_source


def _encoder(bins: tuple[float, ...]) -> Encoder:
    field = Field("x", "number", ordered=True, minimum=0, maximum=100_000, bins=bins)
    return Encoder(Schema("d", "nobody", Unit("row"), (field,)))


@pytest.mark.parametrize("steep", [-30.0, -2.0, -1e-9, 0.0, 1e-7, 0.5, 8.0, 50.0])
def test_places_have_the_exponential_density(steep: float) -> None:
    def distribution(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.asarray(x if abs(steep) < 1e-6 else np.expm1(-steep * x) / np.expm1(-steep))

    uniform = np.random.default_rng(0).random(20_000)
    # The ends of what a generator draws stay inside the bin, too.
    uniform[:2] = 0.0, 1.0 - 2.0**-53
    drawn = place(np.array([steep]), np.array([3.0]), np.zeros(20_000, dtype=np.uint8), uniform) / 3.0
    assert np.all((drawn >= 0.0) & (drawn < 1.0))
    # The seed is fixed; for fresh seeds this fails once in a million.
    assert kstest(drawn, distribution).pvalue > 1e-6


def test_bins_of_an_exponential_give_back_its_rate() -> None:
    # Bins of equal width 10 under exp(-x / 20): each falls by e^-1/2 over its width.
    counts = np.rint(1e6 * -np.diff(np.exp(-np.arange(0, 110, 10) / 20))).astype(np.int64)
    found = steepness(np.full(10, 10), counts)
    np.testing.assert_allclose(found[1:-1], 0.5, atol=1e-3)
    assert found[0] == pytest.approx(0.5, abs=1e-3)


def test_flat_bins_a_summit_and_few_rows_are_uniform() -> None:
    assert steepness(np.array([5, 20, 50]), np.array([500, 2000, 5000])).tolist() == [0.0, 0.0, 0.0]
    assert steepness(np.array([10, 10, 10]), np.array([100, 900, 100]))[1] == 0.0
    assert not steepness(np.array([10, 10, 10]), np.array([25, 9, 3])).any()
    assert steepness(np.array([10]), np.array([1000])).tolist() == [0.0]


def test_a_tail_falls_and_a_head_rises() -> None:
    # The last bin is a hundred times sparser: at its edge 0.7 * 100 times its mean, capped.
    tail = steepness(np.array([10, 1000]), np.array([1000, 1000]))
    assert tail[1] == 50.0
    assert steepness(np.array([1000, 10]), np.array([1000, 1000]))[0] == -50.0
    mild = steepness(np.array([10, 40]), np.array([1000, 1000]))[1]
    assert mild / -np.expm1(-mild) == pytest.approx(0.7 * 4.0)


def test_no_slope_leads_to_a_spike() -> None:
    alone = steepness(np.array([100, 200, 400]), np.array([1000, 1000, 1000]))
    beside = steepness(np.array([1, 100, 200, 400]), np.array([90_000, 1000, 1000, 1000]))
    assert beside[0] == 0.0
    np.testing.assert_array_equal(beside[1:], alone)


HEAVY = {
    "lognormal": lambda rng, n: np.exp(rng.normal(5.0, 1.5, n)),
    "exponential": lambda rng, n: rng.exponential(500.0, n),
    "pareto": lambda rng, n: 10.0 * (1.0 + rng.pareto(1.5, n)),
    "zero inflated": lambda rng, n: np.where(rng.random(n) < 0.6, 0.0, np.exp(rng.normal(5.0, 1.5, n))),
}


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_tails_come_back_far_closer_than_uniform_bins_would(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.clip(HEAVY[name](np.random.default_rng(1), 30_000), 0, 100_000)
    positive = values[values > 0]
    coder = _encoder((0.01, *np.quantile(positive, np.arange(0.05, 1.0, 0.05)).tolist()))
    codes = coder.bin(coder.encode(open_source(_table(values), ["x"])).codes).columns
    sloped = coder.decode(codes, np.random.default_rng(2))["x"].to_numpy()
    again = coder.bin(coder.encode(open_source(_table(sloped), ["x"])).codes).columns
    np.testing.assert_array_equal(again["x"], codes["x"])
    monkeypatch.setattr("dpsynth.encode.steepness", lambda widths, counts: np.zeros(len(widths)))
    uniform = coder.decode(codes, np.random.default_rng(2))["x"].to_numpy()
    assert wasserstein_distance(values, sloped) < 0.2 * wasserstein_distance(values, uniform)


def test_flat_data_is_not_bent() -> None:
    values = np.random.default_rng(1).uniform(0, 100_000, 30_000)
    coder = _encoder(tuple(np.linspace(0, 100_000, 33)[1:-1].tolist()))
    codes = coder.bin(coder.encode(open_source(_table(values), ["x"])).codes).columns
    drawn = coder.decode(codes, np.random.default_rng(2))["x"].to_numpy()
    # Two samples of 30,000 from one uniform law are about 100,000 / sqrt(30,000) / 2 = 290 apart.
    assert wasserstein_distance(values, drawn) < 290


def _table(values: npt.NDArray[np.float64]) -> object:
    import pandas as pd

    return pd.DataFrame({"x": values})
