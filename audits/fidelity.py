"""How well the release keeps what people want to learn, and for whom it does not.

Every figure stands beside its floor: what as many rows drawn afresh from the training table would score. Not
differentially private.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.rare_events import rare_events
from audits.result import AuditError, AuditInput
from audits.tables import Codes, Ints, Prepared, cells, flat, labels, prepare
from audits.usefulness import propensity, train_and_test

Floats = npt.NDArray[np.float64]

_PAIRS, _TRIPLES, _QUERIES = 300, 100, 200
_GROUP_PAIRS, _GROUP_TRIPLES = 45, 20
_MAX_CELLS = 4_000_000
_MIN_GROUP_ROWS = 100
_ASSOCIATION_COLUMNS = 40


@dataclass(frozen=True)
class _Tables:
    train: Codes
    synthetic: Codes
    fresh: Codes


def measure_fidelity(data: AuditInput) -> dict[str, Any]:
    """Total variation of 1-, 2- and 3-way tables, associations, range queries, models, propensity, groups and rare
    categories."""
    prepared = prepare(data)
    if prepared.train is None or not prepared.n_train or not len(prepared.synth):
        raise AuditError("fidelity needs rows in train and in synthetic")
    rng = prepared.rng("fidelity")
    train = prepared.real.take(np.arange(prepared.n_train))
    fresh = train.coarse[rng.integers(0, len(train), len(prepared.synth))]
    tables = _Tables(train.coarse, prepared.synth.coarse, fresh)
    d = len(prepared.names)
    columns = _columns(prepared, tables)
    pairs = _some(rng, list(itertools.combinations(range(d), 2)), _PAIRS)
    triples = _triples(rng, d)
    groups = _groups(prepared, tables, rng)
    judged = [g for g in groups if g["ratio"] is not None]
    worst = max(judged, key=lambda g: g["ratio"], default=None)
    return {
        "tv1": _summary([(c["tv"], c["floor"]) for c in columns.values()]),
        "tv2": _summary([_variations(prepared, tables, pair) for pair in pairs]),
        "tv3": _summary([_variations(prepared, tables, triple) for triple in triples]),
        "columns": columns,
        "association": _associations(prepared, tables),
        "range_queries": _range_queries(prepared, tables, rng),
        "tstr": train_and_test(prepared, rng),
        "propensity_auc": propensity(prepared, rng),
        "groups": groups,
        "worst_group": worst,
        "subgroup_error_ratio_max": worst["ratio"] if worst else None,
        "rare": rare_events(prepared, rng),
    }


def _summary(values: list[tuple[float, float]]) -> dict[str, float | None]:
    if not values:
        return {"mean": None, "max": None, "floor": None}
    found = np.array(values)
    return {"mean": float(found[:, 0].mean()), "max": float(found[:, 0].max()), "floor": float(found[:, 1].mean())}


def _variation(first: Ints, second: Ints, n_cells: int) -> float:
    """Total variation distance of two tables given as cell numbers."""
    if not len(first) or not len(second):
        return 1.0
    if n_cells > _MAX_CELLS:
        _, both = np.unique(np.concatenate([first, second]), return_inverse=True)
        both = both.reshape(-1)
        first, second, n_cells = both[: len(first)], both[len(first) :], int(both.max()) + 1
    p = np.bincount(first, minlength=n_cells) / len(first)
    q = np.bincount(second, minlength=n_cells) / len(second)
    return float(0.5 * np.abs(p - q).sum())


def _variations(prepared: Prepared, tables: _Tables, clique: tuple[int, ...]) -> tuple[float, float]:
    n_cells = cells(clique, prepared.sizes)
    train, synthetic, fresh = (flat(t, clique, prepared.sizes) for t in (tables.train, tables.synthetic, tables.fresh))
    return _variation(train, synthetic, n_cells), _variation(train, fresh, n_cells)


def _columns(prepared: Prepared, tables: _Tables) -> dict[str, dict[str, Any]]:
    out = {}
    for j, name in enumerate(prepared.names):
        size = int(prepared.sizes[j])
        shares = [np.bincount(t[:, j], minlength=size) / len(t) for t in (tables.train, tables.synthetic)]
        used = np.flatnonzero(shares[0] + shares[1] > 0)
        text = labels(prepared, j)
        tv, floor = _variations(prepared, tables, (j,))
        out[name] = {
            "tv": tv,
            "floor": floor,
            "labels": [text[k] for k in used],
            "train": shares[0][used].tolist(),
            "synthetic": shares[1][used].tolist(),
        }
    return out


def _triples(rng: np.random.Generator, d: int) -> list[tuple[int, ...]]:
    if d < 3:
        return []
    if d <= 9:
        return list(itertools.combinations(range(d), 3))
    return sorted({tuple(sorted(rng.choice(d, 3, replace=False).tolist())) for _ in range(_TRIPLES)})


def _some(rng: np.random.Generator, items: list[tuple[int, ...]], limit: int) -> list[tuple[int, ...]]:
    if len(items) <= limit:
        return items
    return [items[i] for i in np.sort(rng.choice(len(items), limit, replace=False))]


def _associations(prepared: Prepared, tables: _Tables) -> dict[str, Any]:
    """Cramér's V of every pair with Bergsma's bias correction (2013), 1 on the diagonal; and how far the release's are from train's."""
    d = min(len(prepared.names), _ASSOCIATION_COLUMNS)
    # Resampled rows repeat train's accidents, which no bias correction takes out again: the floor is the difference of two halves of train,
    # brought to the sizes of train and release.
    first = np.random.default_rng(prepared.seed).permutation(len(tables.train)) % 2 == 0
    compared = (tables.train, tables.synthetic, tables.train[first], tables.train[~first])
    out = [np.eye(d) for _ in compared]
    for a, b in itertools.combinations(range(d), 2):
        shape = (int(prepared.sizes[a]), int(prepared.sizes[b]))
        for matrix, table in zip(out, compared, strict=True):
            counts = np.bincount(flat(table, (a, b), prepared.sizes), minlength=shape[0] * shape[1]).reshape(shape)
            matrix[a, b] = matrix[b, a] = _cramer(counts.astype(np.float64))
    above = np.triu_indices(d, 1)
    gaps = np.abs(out[1] - out[0])[above]
    floor = np.abs(out[2] - out[3])[above] * np.sqrt((1 + len(tables.train) / len(tables.synthetic)) / 4)
    return {
        "columns": list(prepared.names[:d]),
        "train": out[0].tolist(),
        "synthetic": out[1].tolist(),
        "difference": {
            "mean": float(gaps.mean()) if d > 1 else None,
            "max": float(gaps.max()) if d > 1 else None,
            "floor": float(floor.mean()) if d > 1 else None,
        },
    }


def _cramer(counts: Floats) -> float:
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    n, (r, k) = counts.sum(), counts.shape
    if min(r, k) < 2 or n < 2:
        return 0.0
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    phi = max(0.0, float(((counts - expected) ** 2 / expected).sum() / n) - (r - 1) * (k - 1) / (n - 1))
    rows, columns = r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)
    room = min(rows, columns) - 1
    return min(1.0, float(np.sqrt(phi / room))) if room > 0 else 0.0


def _range_queries(prepared: Prepared, tables: _Tables, rng: np.random.Generator) -> dict[str, float]:
    """Mean absolute error of the share of rows in random boxes of two or three columns: ranges if ordered, else half
    of the categories."""
    d, errors, floors = len(prepared.names), [], []
    for _ in range(_QUERIES):
        chosen = rng.permutation(d)[: rng.integers(min(2, d), min(3, d) + 1)]
        inside = [np.ones(len(t), dtype=bool) for t in (tables.train, tables.synthetic, tables.fresh)]
        for j in chosen:
            size = int(prepared.sizes[j])
            if prepared.ordered[j]:
                low, high = np.sort(rng.integers(0, size, 2))
                keep = (np.arange(size) >= low) & (np.arange(size) <= high)
            else:
                keep = rng.random(size) < 0.5
            for mask, t in zip(inside, (tables.train, tables.synthetic, tables.fresh), strict=True):
                mask &= keep[t[:, j]]
        shares = np.array([mask.mean() for mask in inside])
        errors.append(abs(shares[1] - shares[0]))
        floors.append(abs(shares[2] - shares[0]))
    return {"mean_abs_error": float(np.mean(errors)), "floor": float(np.mean(floors))}


def _groups(prepared: Prepared, tables: _Tables, rng: np.random.Generator) -> list[dict[str, Any]]:
    """2-way error within each level of each group column, over its floor, over the same of everybody: 1 means no
    worse than the rest.

    Dividing by the floor takes out that a small group has noisier tables even in a fresh sample. Levels below
    _MIN_GROUP_ROWS training rows get no ratio.
    """
    out: list[dict[str, Any]] = []
    for j, column in enumerate(prepared.columns):
        others = [i for i in range(len(prepared.names)) if i != j]
        pairs = _some(rng, list(itertools.combinations(others, 2)) or [(i,) for i in others], _GROUP_PAIRS)
        if not column.group or not pairs:
            continue
        triples = _some(rng, list(itertools.combinations(others, 3)), _GROUP_TRIPLES) if len(others) < 20 else []
        everyone = np.mean([_variations(prepared, tables, pair) for pair in pairs], axis=0)
        overall = float(everyone[0] / max(everyone[1], 1e-9))
        text = labels(prepared, j)
        for level in np.unique(tables.train[:, j]):
            part = _Tables(*(t[t[:, j] == level] for t in (tables.train, tables.synthetic, tables.fresh)))
            tv1, floor1 = np.mean([_variations(prepared, part, (i,)) for i in others], axis=0)
            tv2, floor = np.mean([_variations(prepared, part, pair) for pair in pairs], axis=0)
            tv3, floor3 = np.mean([_variations(prepared, part, t) for t in triples], axis=0) if triples else (None, None)
            judged = len(part.train) >= _MIN_GROUP_ROWS and overall > 0
            out.append({
                "field": column.name,
                "level": text[int(level)],
                "share": len(part.train) / len(tables.train),
                "tv1": float(tv1),
                "tv1_floor": float(floor1),
                "tv2": float(tv2),
                "floor": float(floor),
                "tv3": None if tv3 is None else float(tv3),
                "tv3_floor": None if floor3 is None else float(floor3),
                "ratio": float(tv2 / max(floor, 1e-9) / overall) if judged else None,
            })  # fmt: skip
    return out
