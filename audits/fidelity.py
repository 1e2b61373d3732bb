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

from audits.bounds import auc, auc_interval
from audits.result import AuditError, AuditInput
from audits.tables import Coded, Codes, Ints, Prepared, cells, flat, labels, numbers, prepare

Floats = npt.NDArray[np.float64]

_PAIRS, _TRIPLES, _QUERIES = 300, 100, 200
_GROUP_PAIRS = 45
_MAX_CELLS = 4_000_000
_MODEL_ROWS = 10_000
_PROPENSITY_ROWS = 4_000
_MIN_GROUP_ROWS = 100
_RARE_SHARE = 0.005
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
        "tstr": _models(prepared, rng),
        "propensity_auc": _propensity(prepared, tables, rng),
        "groups": groups,
        "worst_group": worst,
        "subgroup_error_ratio_max": worst["ratio"] if worst else None,
        "rare": _rare(prepared, train),
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
    """Cramér's V of every pair with Bergsma's bias correction (2013); 1 on the diagonal."""
    d = min(len(prepared.names), _ASSOCIATION_COLUMNS)
    out = [np.eye(d), np.eye(d)]
    for a, b in itertools.combinations(range(d), 2):
        shape = (int(prepared.sizes[a]), int(prepared.sizes[b]))
        for matrix, table in zip(out, (tables.train, tables.synthetic), strict=True):
            counts = np.bincount(flat(table, (a, b), prepared.sizes), minlength=shape[0] * shape[1]).reshape(shape)
            matrix[a, b] = matrix[b, a] = _cramer(counts.astype(np.float64))
    return {"columns": list(prepared.names[:d]), "train": out[0].tolist(), "synthetic": out[1].tolist()}


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


def _models(prepared: Prepared, rng: np.random.Generator) -> list[dict[str, Any]]:
    """For every target: a forest fitted to the release and one fitted to train, both tested on rows neither has
    seen."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    out = []
    train, test = _split(prepared, rng)
    real, synth, seed = prepared.real.coarse, prepared.synth.coarse, int(rng.integers(2**31))
    for j, column in enumerate(prepared.columns):
        if column.role != "target" or len(prepared.names) < 2 or len(test) < _MIN_GROUP_ROWS:
            continue
        others = [i for i in range(len(prepared.names)) if i != j]
        sets = [(synth, np.arange(len(synth))), (real, train)]
        continuous = bool(prepared.ordered[j]) and int(prepared.sizes[j]) > 13
        if continuous:
            values = numbers(prepared, j)
            truth = values[test]
            usable = ~np.isnan(truth)
            scores = []
            for table, rows in sets:
                y = values[rows + (len(real) if table is synth else 0)]
                keep = rng.permutation(np.flatnonzero(~np.isnan(y)))[:_MODEL_ROWS]
                model = RandomForestRegressor(40, min_samples_leaf=5, random_state=seed, n_jobs=2)
                model.fit(table[rows[keep]][:, others], y[keep])
                scores.append(_r2(truth[usable], model.predict(real[test[usable]][:, others])))
            out.append(_line(column.name, "r2", scores, 0.0))
            continue
        truth_codes = real[test, j]
        levels = np.unique(real[train, j])
        positive = levels[-1] if len(levels) == 2 else None
        scores = []
        for table, rows in sets:
            keep = rng.permutation(rows)[:_MODEL_ROWS]
            forest = RandomForestClassifier(40, min_samples_leaf=5, random_state=seed, n_jobs=2)
            forest.fit(table[keep][:, others], table[keep, j])
            scores.append(_class_score(forest, real[test][:, others], truth_codes, positive))
        common = np.bincount(real[train, j]).argmax()
        baseline = 0.5 if positive is not None else float(np.mean(truth_codes == common))
        out.append(_line(column.name, "auc" if positive is not None else "accuracy", scores, baseline))
    return out


def _split(prepared: Prepared, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows to fit on and rows to test on: train and control, or four fifths and one fifth of the units of train."""
    if prepared.control is not None and len(prepared.control) >= _MIN_GROUP_ROWS:
        test = np.arange(prepared.n_train, len(prepared.real))
        return np.arange(prepared.n_train), rng.permutation(test)[:_MODEL_ROWS]
    unique, inverse = np.unique(prepared.units[0], return_inverse=True)
    held = (rng.random(len(unique)) < 0.2)[inverse.reshape(-1)]
    return np.flatnonzero(~held), np.flatnonzero(held)


def _class_score(forest: Any, x: Codes, truth: Codes, positive: int | None) -> float | None:
    if positive is None:
        return float(np.mean(forest.predict(x) == truth))
    hits = truth == positive
    if hits.all() or not hits.any() or positive not in forest.classes_:
        return None
    score = forest.predict_proba(x)[:, list(forest.classes_).index(positive)]
    return auc(score[hits], score[~hits])[0]


def _r2(truth: Floats, guess: Floats) -> float | None:
    spread = float(((truth - truth.mean()) ** 2).sum())
    return 1.0 - float(((truth - guess) ** 2).sum()) / spread if spread > 0 else None


def _line(target: str, metric: str, scores: list[float | None], baseline: float) -> dict[str, Any]:
    return {
        "target": target,
        "metric": metric,
        "train_on_synthetic": scores[0],
        "train_on_real": scores[1],
        "baseline": baseline,
    }


def _propensity(prepared: Prepared, tables: _Tables, rng: np.random.Generator) -> dict[str, Any]:
    """AUC of a forest that tells synthetic from real rows, on rows it was not fitted to; 0.5 if it cannot."""
    from sklearn.ensemble import RandomForestClassifier

    size = min(len(tables.train), len(tables.synthetic), _PROPENSITY_ROWS)
    if size < 20:
        return {"value": None, "floor": 0.5, "interval": [None, None]}
    x = np.concatenate([rng.permutation(tables.synthetic)[:size], rng.permutation(tables.train)[:size]])
    synthetic = np.arange(2 * size) < size
    half = np.arange(2 * size) % 2
    forest = RandomForestClassifier(60, min_samples_leaf=5, random_state=int(rng.integers(2**31)), n_jobs=2)
    score = forest.fit(x[half == 0], synthetic[half == 0]).predict_proba(x[half == 1])[:, 1]
    mine = synthetic[half == 1]
    value, variance = auc(score[mine], score[~mine])
    interval = auc_interval(value, variance, int(mine.sum()), int((~mine).sum()), 0.05)
    return {"value": value, "floor": 0.5, "interval": list(interval)}


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
        everyone = np.mean([_variations(prepared, tables, pair) for pair in pairs], axis=0)
        overall = float(everyone[0] / max(everyone[1], 1e-9))
        text = labels(prepared, j)
        for level in np.unique(tables.train[:, j]):
            part = _Tables(*(t[t[:, j] == level] for t in (tables.train, tables.synthetic, tables.fresh)))
            tv2, floor = np.mean([_variations(prepared, part, pair) for pair in pairs], axis=0)
            judged = len(part.train) >= _MIN_GROUP_ROWS and overall > 0
            out.append({
                "field": column.name,
                "level": text[int(level)],
                "share": len(part.train) / len(tables.train),
                "tv2": float(tv2),
                "floor": float(floor),
                "ratio": float(tv2 / max(floor, 1e-9) / overall) if judged else None,
            })  # fmt: skip
    return out


def _rare(prepared: Prepared, train: Coded) -> dict[str, int]:
    """Categories held by at most _RARE_SHARE of train: kept or lost in the release; and values of the release that
    train does not have."""
    kept = lost = invented = 0
    for j in np.flatnonzero(~prepared.ordered):
        real, counts = np.unique(train.fine[:, j], return_counts=True)
        synthetic = np.unique(prepared.synth.fine[:, j])
        rare = real[(counts <= _RARE_SHARE * len(train)) & (real > 0)]
        found = int(np.isin(rare, synthetic).sum())
        kept, lost = kept + found, lost + len(rare) - found
        invented += len(np.setdiff1d(synthetic[synthetic > 0], real))
    return {"kept": kept, "lost": lost, "invented": invented}
