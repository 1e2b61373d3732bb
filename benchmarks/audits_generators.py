"""Small honest generators of other people's kinds, for the release audits to be tried on: some copy their training rows, some do not.

Each takes a training table and a generator of random numbers, and returns as many synthetic rows. None of them is differentially private.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Rng = np.random.Generator
Generator = Callable[[pd.DataFrame, Rng], pd.DataFrame]

_NEIGHBOURS = 5


def changed_copy(train: pd.DataFrame, rng: Rng, share: float = 0.01) -> pd.DataFrame:
    """Every training row once, one cell in a hundred exchanged with that of another row."""
    out = train.iloc[rng.permutation(len(train))].reset_index(drop=True)
    for name in out.columns:
        values = out[name].to_numpy(copy=True)
        changed = rng.random(len(out)) < share
        values[changed] = rng.permutation(values)[changed]
        out[name] = values
    return out


def bootstrap(train: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Training rows drawn with replacement."""
    return train.iloc[rng.integers(0, len(train), len(train))].reset_index(drop=True)


def interpolation(train: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """A point between a row and one of its nearest neighbours, categories from either (SMOTE, Chawla et al. 2002, over the whole table)."""
    from sklearn.neighbors import NearestNeighbors

    places = _scaled(train)
    neighbours = NearestNeighbors(n_neighbors=_NEIGHBOURS + 1).fit(places).kneighbors(places, return_distance=False)[:, 1:]
    first = rng.integers(0, len(train), len(train))
    second = neighbours[first, rng.integers(0, _NEIGHBOURS, len(train))]
    way = rng.random(len(train))
    out = {}
    for name in train.columns:
        a, b = train[name].to_numpy()[first], train[name].to_numpy()[second]
        if _is_number(train[name]):
            between = a + way * (b - a)
            # A missing end leaves the other one; whole numbers stay whole.
            between = np.where(np.isnan(between), np.where(rng.random(len(a)) < 0.5, a, b), between)
            out[name] = np.round(between) if _is_whole(train[name]) else between
        else:
            out[name] = np.where(rng.random(len(a)) < 0.5, a, b)
    return pd.DataFrame(out)


def trees(train: pd.DataFrame, rng: Rng, leaf: int = 1) -> pd.DataFrame:
    """Column by column, a tree on the columns before, a value of a training row in the leaf reached (synthpop's CART, fully grown)."""
    from sklearn.tree import DecisionTreeRegressor

    n = len(train)
    codes = _codes(train)
    made = np.empty_like(codes)
    source = rng.integers(0, n, n)
    made[:, 0] = codes[source, 0]
    out = {train.columns[0]: train.iloc[:, 0].to_numpy()[source]}
    for j, name in enumerate(train.columns[1:], 1):
        tree = DecisionTreeRegressor(min_samples_leaf=leaf, random_state=int(rng.integers(2**31)))
        tree.fit(codes[:, :j], codes[:, j])
        at, reached = tree.apply(codes[:, :j]), tree.apply(made[:, :j])
        order = np.argsort(at, kind="stable")
        low, high = np.searchsorted(at[order], reached, "left"), np.searchsorted(at[order], reached, "right")
        donors = order[low + (rng.random(n) * (high - low)).astype(np.int64)]
        made[:, j] = codes[donors, j]
        out[name] = train[name].to_numpy()[donors]
    return pd.DataFrame(out)


def gaussian_copula(train: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Correlated normals through each column's quantiles, interpolated for numbers (SDV's default model)."""
    from scipy.special import ndtr, ndtri

    n = len(train)
    codes = _codes(train)
    # A category owns the interval of its share; a row falls anywhere in it, so that the scores are normal.
    ranks = np.empty(codes.shape)
    for j in range(codes.shape[1]):
        _, inverse, counts = np.unique(codes[:, j], return_inverse=True, return_counts=True)
        ends = np.cumsum(counts)
        ranks[:, j] = (ends[inverse] - rng.random(n) * counts[inverse]) / n
    scores = ndtri(np.clip(ranks, 0.5 / n, 1 - 0.5 / n))
    drawn = ndtr(rng.multivariate_normal(np.zeros(codes.shape[1]), np.corrcoef(scores.T), n, method="cholesky"))
    out = {}
    for j, name in enumerate(train.columns):
        order = np.argsort(codes[:, j], kind="stable")
        values = train[name].to_numpy()[order]
        taken = values[np.minimum((drawn[:, j] * n).astype(np.int64), n - 1)]
        if _is_number(train[name]) and not _is_whole(train[name]):
            known = values[~np.isnan(values)]
            taken = np.where(np.isnan(taken), np.nan, np.quantile(known, drawn[:, j]))
        out[name] = taken
    return pd.DataFrame(out)


def independent(train: pd.DataFrame, rng: Rng) -> pd.DataFrame:
    """Every column by itself: a histogram of the training column, at most 20 bins where it is a number, uniform within."""
    out = {}
    for name in train.columns:
        values = train[name].to_numpy()
        drawn = values[rng.integers(0, len(values), len(values))]
        if _is_number(train[name]):
            known = values[~np.isnan(values)]
            counts, edges = np.histogram(known, bins=min(20, len(np.unique(known))))
            cells = rng.choice(len(counts), len(values), p=counts / counts.sum())
            inside = edges[cells] + rng.random(len(values)) * np.diff(edges)[cells]
            inside = np.clip(np.round(inside), known.min(), known.max()) if _is_whole(train[name]) else inside
            drawn = np.where(np.isnan(drawn), np.nan, inside)
        out[name] = drawn
    return pd.DataFrame(out)


COPYING: dict[str, Generator] = {
    "copy, 1 % of cells changed": changed_copy,
    "bootstrap": bootstrap,
    "interpolation": interpolation,
    "overfitted trees": trees,
}
"""Their rows are those of people, or lie beside them."""

NOT_COPYING: dict[str, Generator] = {"gaussian copula": gaussian_copula, "independent columns": independent}
"""They keep a few summaries of the table."""


def _is_number(column: pd.Series[Any]) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype)) and not pd.api.types.is_bool_dtype(column.dtype)


def _is_whole(column: pd.Series[Any]) -> bool:
    known = column.dropna().to_numpy()
    return bool((known == np.round(known)).all())


def _codes(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Numbers as they are, categories as the rank of their frequency, missing below all."""
    out = np.empty(table.shape)
    for j, name in enumerate(table.columns):
        column = table[name]
        if _is_number(column):
            known = column.dropna()
            out[:, j] = column.fillna(float(known.min()) - 1.0 if len(known) else 0.0).to_numpy(dtype=np.float64)
        else:
            order = {level: place for place, level in enumerate(column.value_counts(dropna=False).index)}
            out[:, j] = [order[value] for value in column]
    return out


def _scaled(table: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Numbers scaled to [0, 1], a unit step for another category."""
    parts = []
    codes = _codes(table)
    for j, name in enumerate(table.columns):
        column = codes[:, [j]]
        if _is_number(table[name]):
            parts.append((column - column.min()) / max(float(np.ptp(column)), 1e-12))
        else:
            parts.append((column == np.unique(column)) / np.sqrt(2.0))
    return np.concatenate(parts, axis=1)
