"""Each way of making bins covers the grid in order, and nearly without noise puts them where the records are."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bins import CELLS, METHODS, columns, error


@pytest.mark.parametrize("name", METHODS)
def test_bins_cover_the_grid_and_follow_the_records(name: str) -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros(CELLS, dtype=np.int64)
    counts[: CELLS // 64] = 100
    below = np.concatenate(([0], np.cumsum(counts)))

    edges = METHODS[name](below, 50.0, rng)

    assert (edges[0], edges[-1]) == (0, CELLS) and np.all(np.diff(edges) > 0)
    assert (edges < CELLS // 60).sum() > 15  # most bins lie in the first 64th, where all records are


def test_the_error_is_small_where_noise_is_and_bins_are_fine() -> None:
    values = columns(20_000, np.random.default_rng(0))["log-normal"]
    found, bins = error(values, METHODS["interval tree"], 10.0, np.random.default_rng(1))
    assert found < 0.05 and bins > 20
