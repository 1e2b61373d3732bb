"""What a model learnt from the release is worth on real people: for everybody, and for each group.

Beside each score stand those of a model fitted to train and of one fitted to people who took no part. Not differentially private.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.bounds import auc, auc_interval
from audits.tables import Codes, Ints, Prepared, labels, numbers

Floats = npt.NDArray[np.float64]
Predict = Callable[[Codes], Floats]

MODEL_ROWS = 10_000
MIN_ROWS = 100
"""Fewer rows to test on give no score."""
_PROPENSITY_ROWS = 4_000
_TREES = 40


def train_and_test(prepared: Prepared, rng: np.random.Generator) -> list[dict[str, Any]]:
    """For every target: forests fitted to the release, to train and to control, all tested on real rows that they have not seen.

    Half of the control at a time is fitted to and the other half tested on: what people who took no part would have taught. ``groups``
    holds the scores within each level of each group column, ``worst_group`` the one that loses most by the release.
    """
    out = []
    train, test = _split(prepared, rng)
    for j, column in enumerate(prepared.columns):
        if column.role != "target" or len(prepared.names) < 2 or len(test) < MIN_ROWS:
            continue
        task = _Task.of(prepared, j, train, int(rng.integers(2**31)))
        rows = test[~np.isnan(task.truth[test])]
        n_real = len(prepared.real)
        guesses = [
            task.fitted(prepared, n_real + np.arange(len(prepared.synth)), rng)(prepared.real.coarse[rows]),
            task.fitted(prepared, train, rng)(prepared.real.coarse[rows]),
        ]
        truth = task.truth[rows]
        scores = [task.score(truth, guess) for guess in guesses]
        groups = [
            {**level, **dict(zip(_SCORES, (task.score(truth[mine], guess[mine]) for guess in guesses), strict=True))}
            for level, mine in _levels(prepared, rows)
        ]
        judged = [g for g in groups if g[_SCORES[0]] is not None and g[_SCORES[1]] is not None]
        out.append({
            "target": column.name,
            "metric": task.metric,
            **dict(zip(_SCORES, scores, strict=True)),
            "train_on_control": _control_line(prepared, task, rows, rng),
            "baseline": task.baseline(truth, train),
            "groups": groups,
            "worst_group": max(judged, key=lambda g: g[_SCORES[1]] - g[_SCORES[0]], default=None),
        })  # fmt: skip
    return out


_SCORES = ("train_on_synthetic", "train_on_real")


@dataclass(frozen=True)
class _Task:
    """A target as numbers for every row of train, control and synthetic (NaN where missing), and how it is predicted and scored."""

    j: int
    metric: str
    truth: Floats
    seed: int

    @classmethod
    def of(cls, prepared: Prepared, j: int, train: Ints, seed: int) -> _Task:
        if prepared.ordered[j] and int(prepared.sizes[j]) > 13:
            return cls(j, "r2", numbers(prepared, j), seed)
        codes = np.concatenate([prepared.real.coarse[:, j], prepared.synth.coarse[:, j]]).astype(np.float64)
        levels = np.unique(codes[train])
        if len(levels) == 2:
            return cls(j, "auc", np.where(np.isin(codes, levels), codes == levels[1], np.nan), seed)
        return cls(j, "accuracy", codes, seed)

    def fitted(self, prepared: Prepared, rows: Ints, rng: np.random.Generator) -> Predict:
        """A forest on the other columns of these rows of the stacked table; what it returns is what `score` wants."""
        from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

        others = [i for i in range(len(prepared.names)) if i != self.j]
        kept = rng.permutation(rows[~np.isnan(self.truth[rows])])[:MODEL_ROWS]
        if not len(kept):
            return lambda x: np.full(len(x), np.nan)
        x = np.concatenate([prepared.real.coarse, prepared.synth.coarse])[kept][:, others]
        options = {"min_samples_leaf": 5, "random_state": self.seed, "n_jobs": 2}
        if self.metric == "r2":
            model = RandomForestRegressor(_TREES, **options).fit(x, self.truth[kept])
            return lambda x: np.asarray(model.predict(x[:, others]))
        forest = RandomForestClassifier(_TREES, **options).fit(x, self.truth[kept])
        if self.metric == "accuracy":
            return lambda x: np.asarray(forest.predict(x[:, others]))
        if 1.0 not in forest.classes_:
            return lambda x: np.zeros(len(x))
        place = list(forest.classes_).index(1.0)
        return lambda x: np.asarray(forest.predict_proba(x[:, others])[:, place])

    def score(self, truth: Floats, guess: Floats) -> float | None:
        """AUC, share right, or R squared; None where there is nothing to tell apart."""
        if not len(truth) or np.isnan(guess).any():
            return None
        if self.metric == "accuracy":
            return float(np.mean(guess == truth))
        if self.metric == "auc":
            hits = truth == 1.0
            return None if hits.all() or not hits.any() else auc(guess[hits], guess[~hits])[0]
        spread = float(((truth - truth.mean()) ** 2).sum())
        return 1.0 - float(((truth - guess) ** 2).sum()) / spread if spread > 0 else None

    def baseline(self, truth: Floats, train: Ints) -> float:
        """The score of somebody who knows only the target's own distribution."""
        if self.metric != "accuracy":
            return {"auc": 0.5, "r2": 0.0}[self.metric]
        values, counts = np.unique(self.truth[train], return_counts=True)
        return float(np.mean(truth == values[counts.argmax()]))


def _control_line(prepared: Prepared, task: _Task, rows: Ints, rng: np.random.Generator) -> float | None:
    """Mean score of two models, each fitted to one half of the control's units and tested on the other."""
    control = rows[rows >= prepared.n_train]
    if len(control) < 2 * MIN_ROWS:
        return None
    _, unit = np.unique(prepared.units[1][control - prepared.n_train], return_inverse=True)
    half = (rng.random(int(unit.max()) + 1) < 0.5)[unit.reshape(-1)]
    scores = []
    for side in (half, ~half):
        guess = task.fitted(prepared, control[side], rng)(prepared.real.coarse[control[~side]])
        scores.append(task.score(task.truth[control[~side]], guess))
    return None if None in scores else float(np.mean([s for s in scores if s is not None]))


def _split(prepared: Prepared, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Rows to fit on and rows to test on: train and control, or four fifths and one fifth of the units of train."""
    if prepared.control is not None and len(prepared.control) >= MIN_ROWS:
        test = np.arange(prepared.n_train, len(prepared.real))
        return np.arange(prepared.n_train), rng.permutation(test)[:MODEL_ROWS]
    unique, inverse = np.unique(prepared.units[0], return_inverse=True)
    held = (rng.random(len(unique)) < 0.2)[inverse.reshape(-1)]
    return np.flatnonzero(~held), np.flatnonzero(held)


def _levels(prepared: Prepared, rows: Ints) -> Iterator[tuple[dict[str, Any], npt.NDArray[np.bool_]]]:
    """Each level of each group column that has enough of these rows."""
    for j, column in enumerate(prepared.columns):
        if not column.group:
            continue
        text, codes = labels(prepared, j), prepared.real.coarse[rows, j]
        for code in np.unique(codes):
            mine = codes == code
            if int(mine.sum()) >= MIN_ROWS:
                yield {"field": column.name, "level": text[int(code)], "rows": int(mine.sum())}, mine


def propensity(prepared: Prepared, rng: np.random.Generator) -> dict[str, Any]:
    """AUC of a forest that tells synthetic from real rows, on rows it was not fitted to; 0.5 if it cannot. The same within each group."""
    from sklearn.ensemble import RandomForestClassifier

    n, made = prepared.n_train, len(prepared.synth)
    size = min(n, made, _PROPENSITY_ROWS)
    empty = {"value": None, "floor": 0.5, "interval": [None, None], "groups": [], "worst_group": None}
    if size < 20:
        return empty
    x = np.concatenate([prepared.synth.coarse[rng.permutation(made)[:size]], prepared.real.coarse[rng.permutation(n)[:size]]])
    synthetic = np.arange(2 * size) < size
    half = np.arange(2 * size) % 2
    forest = RandomForestClassifier(60, min_samples_leaf=5, random_state=int(rng.integers(2**31)), n_jobs=2)
    tested, mine = x[half == 1], synthetic[half == 1]
    score = forest.fit(x[half == 0], synthetic[half == 0]).predict_proba(tested)[:, 1]
    value, variance = auc(score[mine], score[~mine])
    interval = auc_interval(value, variance, int(mine.sum()), int((~mine).sum()), 0.05)
    groups: list[dict[str, Any]] = []
    for j, column in enumerate(prepared.columns):
        if not column.group:
            continue
        text = labels(prepared, j)
        for code in np.unique(tested[:, j]):
            here = tested[:, j] == code
            if min(int((here & side).sum()) for side in (mine, ~mine)) >= MIN_ROWS // 2:
                groups.append({
                    "field": column.name, "level": text[int(code)], "value": auc(score[here & mine], score[here & ~mine])[0],
                })  # fmt: skip
    worst = max(groups, key=lambda g: float(g["value"]), default=None)
    return {"value": value, "floor": 0.5, "interval": list(interval), "groups": groups, "worst_group": worst}
