"""What becomes of the rare: categories, pairs of categories and tails that few training rows have. Not differentially private."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from audits.tables import Codes, Prepared, flat, numbers

RARE_SHARE = 0.005
"""Held by at most this share of train."""
_TAIL = 0.01
_PAIRS = 200


def rare_events(prepared: Prepared, rng: np.random.Generator) -> dict[str, Any]:
    """Rare categories kept, lost and invented; the same for pairs of them and for a fresh sample of train; and the mass in the tails.

    ``tails``: mean share of rows below the 1st or above the 99th percentile of train's ordered columns. A category that train does not have
    is invented, however often.
    """
    n, made = prepared.n_train, len(prepared.synth)
    train = prepared.real.fine[:n]
    fresh = train[rng.integers(0, n, made)]
    tables = {"release": prepared.synth.fine, "floor": fresh}
    categorical = np.flatnonzero(~prepared.ordered)
    single = {label: np.zeros(3, dtype=np.int64) for label in tables}
    for j in categorical:
        for label, table in tables.items():
            single[label] += _fate(train[:, j], table[:, j])
    pairs = list(itertools.combinations(categorical.tolist(), 2))
    if len(pairs) > _PAIRS:
        pairs = [pairs[k] for k in np.sort(rng.choice(len(pairs), _PAIRS, replace=False))]
    both = {label: np.zeros(3, dtype=np.int64) for label in tables}
    sizes = np.maximum(train.max(axis=0, initial=0), prepared.synth.fine.max(axis=0, initial=0)).astype(np.int64) + 1
    for pair in pairs:
        whole = _present(train, pair)
        for label, table in tables.items():
            both[label] += _fate(flat(train[whole], pair, sizes) + 1, flat(table[_present(table, pair)], pair, sizes) + 1)
    return {
        **_named(single["release"]),
        "floor": _named(single["floor"]),
        "pairs": {**_named(both["release"]), "floor": _named(both["floor"])},
        "tails": _tails(prepared, fresh_rows=rng.integers(0, n, made)),
    }


def _named(counts: Any) -> dict[str, int]:
    return dict(zip(("kept", "lost", "invented"), (int(x) for x in counts), strict=True))


def _present(table: Codes, pair: tuple[int, ...]) -> Any:
    return (table[:, pair[0]] > 0) & (table[:, pair[1]] > 0)


def _fate(train: Any, table: Any) -> Any:
    """How many rare values are kept and lost, and how many values are new; code 0 is missing and none of them."""
    real, counts = np.unique(train, return_counts=True)
    there = np.unique(table)
    rare = real[(counts <= RARE_SHARE * len(train)) & (real > 0)]
    kept = int(np.isin(rare, there).sum())
    return np.array([kept, len(rare) - kept, len(np.setdiff1d(there[there > 0], real))])


def _tails(prepared: Prepared, fresh_rows: Any) -> dict[str, float | None]:
    shares = []
    n, n_real = prepared.n_train, len(prepared.real)
    for j in np.flatnonzero(prepared.ordered):
        values = numbers(prepared, int(j))
        train, synthetic = values[:n], values[n_real:]
        if np.isnan(train).all():
            continue
        low, high = np.nanquantile(train, [_TAIL, 1 - _TAIL])
        shares.append([float(np.mean((x < low) | (x > high))) for x in (train, synthetic, train[fresh_rows])])
    if not shares:
        return {"train": None, "mean_abs_error": None, "floor": None}
    found = np.array(shares)
    gaps = np.abs(found[:, 1:] - found[:, :1]).mean(axis=0)
    return {"train": float(found[:, 0].mean()), "mean_abs_error": float(gaps[0]), "floor": float(gaps[1])}
