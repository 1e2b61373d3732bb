"""Noise far out in an ordered column is taken for noise; what stands out stays, and so does the total."""

from __future__ import annotations

import numpy as np
import pytest

from dpsynth.marginals import Attribute, Measurement
from dpsynth.synthesizers.levels import coarsen
from dpsynth.synthesizers.one_way import on_simplex, settled

STDDEV = 10.0


def _noisy(truth: np.ndarray, seed: int) -> Measurement:
    return Measurement(("x",), truth + np.random.default_rng(seed).normal(0.0, STDDEV, truth.shape), STDDEV)


def _truth(size: int = 100, held: int = 5) -> np.ndarray:
    truth = np.zeros(size)
    truth[:held] = 1000.0 / 2.0 ** np.arange(held)
    return truth


def test_empty_ends_stay_empty_and_the_mean_is_right() -> None:
    truth = _truth()
    total, middle = truth.sum(), np.arange(100.0)
    shares = [settled(Attribute("x", 100, ordered=True), _noisy(truth, seed), total) / total for seed in range(40)]
    plain = [on_simplex(_noisy(truth, seed).values, total) / total for seed in range(40)]
    real = float(truth @ middle / total)

    assert all(share.sum() == pytest.approx(1.0) and share.min() >= 0.0 for share in shares)
    assert np.mean([abs(share @ middle - real) for share in shares]) < 0.6 * np.mean([abs(share @ middle - real) for share in plain])


def test_what_stands_out_far_away_is_kept() -> None:
    truth = _truth()
    truth[90] = 100.0

    assert settled(Attribute("x", 100, ordered=True), _noisy(truth, 0), truth.sum())[90] > 50.0


@pytest.mark.parametrize(
    "attribute",
    [Attribute("x", 100), Attribute("x", 2, ordered=True)],
    ids=["nominal", "two levels"],
)
def test_other_columns_are_projected_as_they_are(attribute: Attribute) -> None:
    m = _noisy(_truth(attribute.size, min(5, attribute.size)), 0)

    assert settled(attribute, m, 1900.0) == pytest.approx(on_simplex(m.values, 1900.0))


def test_the_level_for_missing_is_no_end_of_the_column() -> None:
    truth = _truth()
    truth[-1] = 5.0
    shares = [settled(Attribute("x", 100, ordered=True, nullable=True), _noisy(truth, seed), truth.sum())[-1] for seed in range(40)]

    assert max(shares) > 0.0


def test_a_column_of_noise_alone_is_not_emptied() -> None:
    shares = settled(Attribute("x", 50, ordered=True), _noisy(np.full(50, 1.0), 0), 50.0)

    assert shares.sum() == pytest.approx(50.0)


def test_empty_ends_share_a_bin_with_their_neighbour() -> None:
    # In a bin of its own their share would be spread over all of them.
    attribute = Attribute("x", 100, ordered=True)
    from dpsynth.marginals import Domain

    codes = coarsen(Domain((attribute,)), [_noisy(_truth(), 3)], 1900.0, 10).levels["x"]

    assert codes[4] == codes[-1]


def test_the_ends_of_a_short_column_are_kept() -> None:
    """Their levels are near each other, and real tails do not stand out."""
    truth = np.array([900.0, 80.0, 12.0, 9.0, 6.0, 5.0])
    kept = [settled(Attribute("x", 6, ordered=True), _noisy(truth, seed), truth.sum())[2:].sum() for seed in range(40)]

    assert np.mean(kept) == pytest.approx(32.0, rel=0.5)
