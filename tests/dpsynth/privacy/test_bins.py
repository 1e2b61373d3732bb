"""The interval tree: at every level the intervals tile what they split, and the edges it ends with are bins of about equal mass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpsynth.privacy.bins import TARGET_BINS, IntervalTree

SIZES = [1, 2, 3, 16, 255, 256, 257, 4096, 4097, 32_770, 65_535]


def _grow(tree: IntervalTree, mass: npt.NDArray[np.float64], stddev: float = 0.0, seed: int = 0) -> list[int]:
    """Grow to the end on exact counts plus Gaussian noise; returns the number of intervals counted per level."""
    rng = np.random.default_rng(seed)
    below = np.concatenate(([0.0], np.cumsum(mass)))
    counted: list[int] = []
    while tree.frontier and len(counted) < tree.depth:
        edges = tree.next_edges()
        counted.append(len(edges))
        counts = below[edges[:, 1]] - below[edges[:, 0]]
        tree.grow(edges, counts + rng.normal(0.0, stddev, len(edges)) if stddev else counts, stddev)
    return counted


@pytest.mark.parametrize("cells", SIZES)
def test_each_level_tiles_what_it_splits_so_a_row_falls_into_one_interval(cells: int) -> None:
    tree = IntervalTree(cells)
    for _ in range(tree.depth):
        if not tree.frontier:
            break
        edges = tree.next_edges()
        assert np.all(edges[:, 0] < edges[:, 1])
        # Disjoint: this is what the sensitivity of one per row rests on.
        order = np.argsort(edges[:, 0])
        assert np.all(edges[order][1:, 0] >= edges[order][:-1, 1])
        covered = sum(high - low for low, high in tree.frontier)
        assert int((edges[:, 1] - edges[:, 0]).sum()) == covered
        tree.grow(edges, np.full(len(edges), 1e9), 1.0)
    assert not tree.frontier


@pytest.mark.parametrize("cells", SIZES)
def test_the_last_level_reaches_single_cells_where_all_the_mass_lies(cells: int) -> None:
    spike = cells // 3
    mass = np.zeros(cells)
    mass[spike] = 1e5
    tree = IntervalTree(cells)
    levels = _grow(tree, mass)
    assert len(levels) <= tree.depth
    assert max(levels) <= 256
    edges = tree.edges().tolist()
    low, high = max(e for e in edges if e <= spike), min(e for e in edges if e > spike)
    # The spike's own bin holds little else.
    assert high - low <= max(1, cells // 100)


@pytest.mark.parametrize("cells", SIZES)
@pytest.mark.parametrize("stddev", [0.0, 50.0, 1e6])
def test_edges_run_from_zero_to_the_end_and_increase(cells: int, stddev: float) -> None:
    rng = np.random.default_rng(cells)
    mass = rng.multinomial(20_000, rng.dirichlet(np.full(cells, 0.1))).astype(np.float64)
    tree = IntervalTree(cells)
    _grow(tree, mass, stddev)
    edges = tree.edges()
    assert edges[0] == 0
    assert edges[-1] == cells
    assert np.all(np.diff(edges) > 0)


def test_an_empty_column_is_one_bin_or_a_few_and_no_error() -> None:
    tree = IntervalTree(10_000)
    _grow(tree, np.zeros(10_000))
    edges = tree.edges()
    assert edges[0] == 0
    assert edges[-1] == 10_000


def test_smooth_mass_gives_about_the_wanted_number_of_bins_of_about_equal_mass() -> None:
    cells = 4096
    mass = np.exp(-0.5 * ((np.arange(cells) - 900) / 300.0) ** 2)
    mass *= 50_000 / mass.sum()
    tree = IntervalTree(cells)
    _grow(tree, mass, 20.0)
    edges = tree.edges()
    shares = np.add.reduceat(mass, edges[:-1]) / mass.sum()
    assert TARGET_BINS / 2 <= len(shares) <= 2 * TARGET_BINS
    assert shares.max() < 4.0 / TARGET_BINS


def test_flat_mass_leaves_no_sliver_at_either_edge() -> None:
    tree = IntervalTree(4096)
    _grow(tree, np.full(4096, 10.0), 5.0)
    widths = np.diff(tree.edges())
    assert widths[0] > 4096 / TARGET_BINS / 4
    assert widths[-1] > 4096 / TARGET_BINS / 4


def test_the_tree_is_a_function_of_the_counts_it_is_given() -> None:
    counts = np.random.default_rng(0).normal(100.0, 50.0, 10_000)
    ends = []
    for _ in range(2):
        tree = IntervalTree(10_000)
        _grow(tree, counts, 10.0, seed=5)
        ends.append(tree.edges().tolist())
    assert ends[0] == ends[1]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 70_000), st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=300), st.floats(0.0, 1e9))
def test_no_counts_however_odd_break_the_tree(cells: int, counts: list[float], stddev: float) -> None:
    tree = IntervalTree(cells)
    for _ in range(tree.depth):
        if not tree.frontier:
            break
        edges = tree.next_edges()
        tree.grow(edges, np.resize(np.array(counts), len(edges)), stddev)
    edges = tree.edges()
    assert (edges[0], edges[-1]) == (0, cells)


def _spread(mass: npt.NDArray[np.float64], edges: npt.NDArray[np.int64]) -> float:
    """Wasserstein distance between the mass and the same with each bin's share spread evenly over the bin, in cells per record."""
    widths = np.diff(edges)
    even = np.repeat(np.add.reduceat(mass, edges[:-1]) / widths, widths)
    return float(np.abs(np.cumsum(mass - even)).sum() / mass.sum())


@pytest.mark.parametrize("flipped", [False, True])
def test_a_long_tail_is_not_spread_up_to_the_bound(flipped: bool) -> None:
    # Half of the records are in the first hundredth of the range, and the bound is far beyond all of them.
    cells = 32_770
    mass = 30_000 * np.exp(-np.arange(cells) / 400.0) / 400.0
    reach = int(np.searchsorted(np.cumsum(mass), 0.967 * mass.sum()))
    mass = mass[::-1] if flipped else mass
    tree = IntervalTree(cells)
    _grow(tree, mass, 25.0)
    edges = tree.edges()

    assert _spread(mass, edges) < 40.0
    # Without the marks in the tail the last thirtieth of the records would reach up to the bound.
    bulk = edges[edges >= cells - reach] if flipped else edges[edges <= reach]
    bulk = np.unique(np.append(bulk, (0, cells)))

    assert _spread(mass, bulk) > 400.0


def test_noise_in_empty_stretches_does_not_add_up() -> None:
    # All records in one cell of 4096; the noisy rest must not shift the shares by which bins are joined.
    mass = np.zeros(4096)
    mass[100] = 5000.0
    tree = IntervalTree(4096)
    _grow(tree, mass, 20.0, seed=1)
    edges = tree.edges()

    assert 100 in edges and 101 in edges
