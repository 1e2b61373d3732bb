"""Smoothing of ordered columns: against wavelets shifted one by one, and against the truth."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import pytest

from dpsynth.synthesizers.one_way import on_simplex
from dpsynth.synthesizers.smoothing import denoised

Vector = npt.NDArray[np.float64]


def _haar(values: Vector, threshold: float) -> Vector:
    """Orthonormal Haar transform of 2^k values, small details dropped, and back; by its definition."""
    if len(values) == 1:
        return values
    left, right = values[0::2], values[1::2]
    mean, detail = (left + right) / math.sqrt(2.0), (left - right) / math.sqrt(2.0)
    detail = np.where(np.abs(detail) > threshold, detail, 0.0)
    mean = _haar(mean, threshold)
    back = np.empty(len(values))
    back[0::2], back[1::2] = (mean + detail) / math.sqrt(2.0), (mean - detail) / math.sqrt(2.0)
    return back


@pytest.mark.parametrize("size", [4, 8, 32, 64])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_mean_over_all_shifts_of_the_mirrored_column(size: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(0.0, 1.0, size) + np.where(np.arange(size) > size // 3, 4.0, 0.0)
    threshold = NormalDist().inv_cdf(1.0 - 0.5 / size)
    mirrored = np.concatenate((values, values[::-1]))
    shifted = [np.roll(_haar(np.roll(mirrored, -shift), threshold), shift) for shift in range(2 * size)]
    np.testing.assert_allclose(denoised(values, 1.0), np.mean(shifted, axis=0)[:size], atol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 31, 33, 100, 1001])
def test_any_length_keeps_its_sum_and_a_constant_stays_one(size: int) -> None:
    values = np.random.default_rng(size).normal(3.0, 2.0, size)
    assert denoised(values, 2.0).sum() == pytest.approx(values.sum())
    assert denoised(np.full(size, 7.0), 2.0) == pytest.approx(np.full(size, 7.0))
    assert denoised(values, 2.0).shape == values.shape
    # What is not noisy is not smoothed.
    np.testing.assert_array_equal(denoised(values, 0.0), values)
    np.testing.assert_allclose(denoised(values, 1e-12), values, atol=1e-9)


def test_smooth_shapes_lose_half_of_their_error_and_spikes_keep_their_height() -> None:
    levels = np.arange(100)
    bell = 20_000 * np.exp(-0.5 * ((levels - 40.0) / 12.0) ** 2) / (12.0 * math.sqrt(2.0 * math.pi))
    spiky = bell + np.where(levels == 40, 5000.0, 0.0)
    for truth, share in ((bell, 0.5), (spiky, 0.6)):
        plain, smooth = [], []
        for seed in range(20):
            noisy = truth + np.random.default_rng(seed).normal(0.0, 100.0, 100)
            plain.append(np.abs(on_simplex(noisy, truth.sum()) - truth).sum())
            smooth.append(np.abs(on_simplex(denoised(noisy, 100.0), truth.sum()) - truth).sum())
        assert np.mean(smooth) < share * np.mean(plain)
    noisy = spiky + np.random.default_rng(0).normal(0.0, 100.0, 100)
    assert abs(denoised(noisy, 100.0)[40] - spiky[40]) < 500.0
