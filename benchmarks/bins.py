"""Bins of skewed columns under one and the same rho: our interval tree, PrivTree as published, and quantiles.

``python -m benchmarks.bins [--runs 100]`` prints the table of docs/decisions/0009. Columns of nobody; the noise is NumPy's, so nothing
here is private.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dpsynth.privacy.bins import TARGET_BINS, IntervalTree
from dpsynth.privacy.budget import rho_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Method = Callable[[Ints, float, np.random.Generator], Ints]

CELLS = 1 << 15
DELTA = 1e-6
# A column's part of a release of ten, and the part of that which finds bins.
_OF_RELEASE, _OF_COLUMN = 0.1, 0.3


def columns(rows: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Values in [0, 1], the public bounds: a long tail far from its bound, many zeros before one, a power law."""
    return {
        "log-normal": np.minimum(rng.lognormal(7.0, 1.4, rows) / 1e6, 1.0),
        "60 % zeros": np.where(rng.random(rows) < 0.6, 0.0, np.minimum(rng.lognormal(5.5, 1.0, rows) / 1e5, 1.0)),
        "power law": np.minimum(rng.pareto(1.3, rows) * 3.0 / 3650.0, 1.0),
    }


def interval_tree(below: Ints, rho: float, rng: np.random.Generator, target: int = TARGET_BINS) -> Ints:
    """What the kernel does; ``below`` are the counts below each cell edge."""
    tree = IntervalTree(CELLS, target)
    stddev = 1.0 / math.sqrt(2.0 * rho / tree.depth)
    for _ in range(tree.depth):
        if not tree.frontier:
            break
        edges = tree.next_edges()
        counts = (below[edges[:, 1]] - below[edges[:, 0]]).astype(np.float64)
        tree.grow(edges, counts + np.rint(rng.normal(0.0, stddev, len(edges))), stddev)
    return tree.edges()


def finer_tree(below: Ints, rho: float, rng: np.random.Generator) -> Ints:
    """The same with four times as many bins."""
    return interval_tree(below, rho, rng, 4 * TARGET_BINS)


def privtree(below: Ints, rho: float, rng: np.random.Generator) -> Ints:
    """Zhang, Xiao and Xie 2016, Algorithm 2 with fanout 2 and threshold 0.

    It is epsilon-DP, which costs epsilon^2 / 2 in zCDP, so its epsilon is sqrt(2 rho).
    """
    scale = 3.0 / math.sqrt(2.0 * rho)
    decay = scale * math.log(2.0)
    starts, open_ = [CELLS], [(0, CELLS, 0)]
    while open_:
        low, high, depth = open_.pop()
        biased = max(float(below[high] - below[low]) - depth * decay, -decay)
        if biased + rng.laplace(0.0, scale) > 0.0 and high - low > 1:
            middle = (low + high) // 2
            open_ += [(low, middle, depth + 1), (middle, high, depth + 1)]
        else:
            starts.append(low)
    return np.unique(np.array(starts, dtype=np.int64))


def quantiles(below: Ints, rho: float, rng: np.random.Generator) -> Ints:
    """Halves of halves by the exponential mechanism on ranks (Kaplan, Schnapp and Stemmer 2022), a level of the recursion for each bit."""
    levels = round(math.log2(TARGET_BINS))
    epsilon = math.sqrt(8.0 * rho / levels)
    cuts = [0, CELLS]
    for _ in range(levels):
        for low, high in list(pairwise(cuts)):
            if high - low > 1:
                places = np.arange(low + 1, high)
                # A record moves the distance from the middle rank by one half.
                score = -np.abs(below[places] - (below[low] + below[high]) / 2.0)
                cuts.append(int(places[np.argmax(epsilon * score + rng.gumbel(size=len(places)))]))
        cuts = sorted(set(cuts))
    return np.array(cuts, dtype=np.int64)


def quantiles_and_tail(below: Ints, rho: float, rng: np.random.Generator) -> Ints:
    """The same, and marks at distances from the middle that grow by half: without them the last bin reaches to the bound."""
    cuts = quantiles(below, rho, rng)
    low, middle, high = (int(cuts[round(len(cuts) * share)]) for share in (0.25, 0.5, 0.75))
    scale = max(high - low, CELLS / 256, 1.0)
    steps = scale * 1.5 ** np.arange(math.ceil(math.log(CELLS / scale, 1.5)) + 1)
    marks = np.rint(np.concatenate([middle - steps, middle + steps])).astype(np.int64)
    return np.union1d(cuts, marks[(marks > 0) & (marks < CELLS)])


METHODS: dict[str, Method] = {
    "interval tree": interval_tree,
    "interval tree, 128 bins": finer_tree,
    "PrivTree": privtree,
    "quantiles": quantiles,
    "quantiles and tail": quantiles_and_tail,
}


def on_simplex(shares: Floats) -> Floats:
    """The nearest shares that are not negative and add up to one, as a fit of a model makes them."""
    ranked = np.sort(shares)[::-1]
    excess = (np.cumsum(ranked) - 1.0) / np.arange(1, len(ranked) + 1)
    nearest = np.maximum(shares - excess[np.flatnonzero(ranked > excess)[-1]], 0.0)
    return np.asarray(nearest / nearest.sum())


def error(values: Floats, method: Method, rho: float, rng: np.random.Generator) -> tuple[float, int]:
    """Wasserstein distance of values drawn evenly inside bins with noisy counts, in standard deviations of the column; how many bins."""
    cells = np.minimum((values * CELLS).astype(np.int64), CELLS - 1)
    below = np.concatenate(([0], np.cumsum(np.bincount(cells, minlength=CELLS)))).astype(np.int64)
    edges = method(below, _OF_COLUMN * rho, rng)
    counts = below[edges[1:]] - below[edges[:-1]]
    stddev = 1.0 / math.sqrt(2.0 * (1.0 - _OF_COLUMN) * rho)
    shares = on_simplex((counts + np.rint(rng.normal(0.0, stddev, len(counts)))) / len(values))
    bins = rng.choice(len(shares), len(values), p=shares)
    drawn = (edges[bins] + rng.random(len(values)) * np.diff(edges)[bins]) / CELLS
    apart = np.abs(np.sort(values) - np.sort(drawn)).mean()
    return float(apart / values.std()), len(counts)


def compare(rows: int, epsilon: float, runs: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Of each column and method the mean error and the mean number of bins over seeded runs."""
    rho = _OF_RELEASE * rho_of(epsilon, DELTA)
    found: dict[str, dict[str, list[tuple[float, int]]]] = {}
    for run in range(runs):
        rng = np.random.default_rng(run)
        for name, values in columns(rows, rng).items():
            for label, method in METHODS.items():
                found.setdefault(name, {}).setdefault(label, []).append(error(values, method, rho, rng))
    return {
        name: {label: (float(np.mean([e for e, _ in seen])), float(np.mean([n for _, n in seen]))) for label, seen in methods.items()}
        for name, methods in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    print("| rows | epsilon | column | " + " | ".join(METHODS) + " |\n|---|---|---|" + "---|" * len(METHODS))
    for rows in (5_000, 50_000):
        for epsilon in (0.3, 1.0, 3.0):
            for name, methods in compare(rows, epsilon, runs).items():
                cells = [f"{mean:.3f} ({bins:.0f})" for mean, bins in methods.values()]
                print(f"| {rows:,} | {epsilon:g} | {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
