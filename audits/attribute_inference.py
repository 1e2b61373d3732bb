"""Attribute inference: does the release tell a member's secret better than a stranger's?

What it tells about both alike is a fact about the population, hence utility; only the difference is a loss of privacy.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.bounds import mcnemar
from audits.nearest import FINE, WEIGHT, Distances, Space, blocks
from audits.result import AuditInput, AuditResult
from audits.risk import Successes, judge
from audits.tables import Coded, Codes, Ints, Prepared, prepare
from audits.verdicts import inconclusive

Floats = npt.NDArray[np.float64]

MAX_SECRETS = 20
_DEFAULT_SECRETS = 4
_CLASSES = 12
_FOREST_ROWS = 10_000
_MAX_TABLE = 50_000
_SHARPNESS = 4.0
_PRIOR = 0.5
_MIN_EFFECTIVE = 50.0


def infer_attributes(data: AuditInput) -> AuditResult:
    """Guess every secret of every target from its other columns, as someone holding only the release would; Holm is
    the suite's."""
    started, name = time.perf_counter(), "attribute_inference"
    prepared = prepare(data)
    if len(prepared.names) < 2:
        return inconclusive(name, data, started, "one column leaves nothing to infer from")
    if prepared.unusable:
        return inconclusive(name, data, started, prepared.unusable)
    secrets, known = secrets_and_known(prepared)
    if not known:
        return inconclusive(name, data, started, "every column is a secret: nothing to infer from")
    attacks, skipped = inference_successes(prepared)
    details: dict[str, Any] = {
        "secrets": [prepared.names[j] for j in secrets],
        "known": [prepared.names[j] for j in known],
        "skipped": skipped,
    }
    if not attacks:
        reason = "no secret could be attacked better than by guessing its most frequent value"
        return inconclusive(name, data, started, reason, details=details)
    return judge(name, data, started, prepared, attacks, "members' secrets are guessed more often", details)


def secrets_and_known(prepared: Prepared) -> tuple[list[int], list[int]]:
    """Columns to guess and columns the attacker knows.

    Secrets are the sensitive columns, else the targets, else a few with most entropy in the release; known are the
    quasi-identifiers, else every column that is no secret.
    """
    roles = [column.role for column in prepared.columns]
    secrets = [j for j, role in enumerate(roles) if role == "sensitive"] or [j for j, role in enumerate(roles) if role == "target"]
    if not secrets:
        entropy = [_entropy(prepared.synth.coarse[:, j]) for j in range(len(roles))]
        limit = min(_DEFAULT_SECRETS, len(roles) // 2)
        secrets = sorted(np.argsort(entropy)[::-1][:limit].tolist())
    secrets = secrets[:MAX_SECRETS]
    known = [j for j, role in enumerate(roles) if role == "quasi" and j not in secrets]
    return secrets, known or [j for j in range(len(roles)) if j not in secrets]


def inference_successes(prepared: Prepared) -> tuple[dict[str, Successes], dict[str, str]]:
    """Per secret the success of each cohort unit, and the secrets left out with the reason.

    The guess is the value with most votes: synthetic records vote with exp(-distance), so an exact match decides, and
    a forest fitted to the release fills in where nothing is near. Units weigh 1 - q, where q is the probability that
    real records other than the target's own give to the true value: what the population already tells counts little.
    """
    if "inference" in prepared.memo:
        return prepared.memo["inference"]  # type: ignore[no-any-return]
    game = prepared.game
    rows, owner = prepared.targets
    secrets, known = secrets_and_known(prepared)
    rng = prepared.rng("inference")
    seed = int(rng.integers(2**31))
    synth = prepared.synth
    if len(synth) > _MAX_TABLE:
        synth = synth.take(np.sort(rng.choice(len(synth), _MAX_TABLE, replace=False)))
    targets = prepared.real.take(rows)
    classes = {j: _classes(prepared, j) for j in secrets}
    labels = {j: classes[j][synth.coarse[:, j]] for j in secrets}
    hot = {j: np.eye(int(classes[j].max()) + 1, dtype=np.float32)[labels[j]] for j in secrets}
    votes = _votes(prepared, targets, synth, known, hot)
    attacks: dict[str, Successes] = {}
    skipped: dict[str, str] = {}
    count = np.bincount(owner, minlength=len(game.member))
    for j in secrets:
        truth = classes[j][targets.coarse[:, j]]
        n_classes = int(classes[j].max()) + 1
        prior = _forest(synth.coarse[:, known], labels[j], targets.coarse[:, known], n_classes, seed)
        guess = np.argmax(votes[j] + _PRIOR * prior, axis=1)
        right = guess == truth
        naive = np.bincount(labels[j], minlength=n_classes).argmax() == truth
        if mcnemar(int((naive & ~right).sum()), int((right & ~naive).sum())) < 0.01:
            skipped[prepared.names[j]] = "guessing the most frequent value does better"
            continue
        weight_by_row = 1.0 - _reference(prepared, j, known, classes[j], truth, seed)
        weight = np.bincount(owner, weights=weight_by_row, minlength=len(game.member)).astype(np.float64)
        gain = np.bincount(owner, weights=weight_by_row * right, minlength=len(game.member))
        if min(_effective(weight[side]) for side in (game.member, ~game.member)) < _MIN_EFFECTIVE:
            skipped[prepared.names[j]] = "the population tells it already"
            continue
        by_unit = np.where(weight > 0, gain / np.maximum(weight, 1e-12), np.nan)
        mean_weight = weight / np.maximum(count, 1)
        attacks[prepared.names[j]] = Successes(by_unit, mean_weight, int(game.member[owner].sum()))
    prepared.memo["inference"] = (attacks, skipped)
    return attacks, skipped


def _votes(
    prepared: Prepared, targets: Coded, synth: Coded, known: list[int], hot: dict[int, npt.NDArray[np.float32]]
) -> dict[int, Floats]:
    """Votes of the synthetic records for each class of each secret, shape (targets, classes)."""
    space = Space(prepared.ordered, prepared.sizes, tuple(known))
    decay = np.exp(-_SHARPNESS * np.arange((WEIGHT + FINE) * len(known) + 1) / WEIGHT).astype(np.float32)

    def reduce(_: slice, distances: Distances) -> list[npt.NDArray[np.float32]]:
        weights = decay[distances]
        return [weights @ columns for columns in hot.values()]

    parts = blocks(space, targets, synth, reduce)
    return {j: np.concatenate([part[i] for part in parts]).astype(np.float64) for i, j in enumerate(hot)}


def _classes(prepared: Prepared, j: int) -> Ints:
    """Class of each coarse code of a secret: a category each, or at most CLASSES ranges of equal synthetic mass;
    missing is class 0."""
    size = int(prepared.sizes[j])
    if not prepared.ordered[j] or size <= _CLASSES + 1:
        return np.arange(size)
    mass = np.bincount(prepared.synth.coarse[:, j], minlength=size).astype(np.float64)
    mass[0] = 0.0
    ranges = np.minimum((np.cumsum(mass) - mass / 2) / max(1.0, mass.sum()) * _CLASSES, _CLASSES - 1).astype(np.int64) + 1
    ranges[0] = 0
    return np.asarray(ranges)


def _reference(prepared: Prepared, j: int, known: list[int], classes: Ints, truth: Ints, seed: int) -> Floats:
    """Probability that a forest fitted to real records other than a target's own gives to the target's true value."""
    rows, owner = prepared.targets
    probability = np.zeros(len(rows))
    rng = np.random.default_rng(seed)
    for units, reference in prepared.references:
        mine = units[owner]
        sample = rng.permutation(reference)[:_FOREST_ROWS]
        crowd = prepared.real.coarse[sample]
        fitted = _forest(
            crowd[:, known],
            classes[crowd[:, j]],
            prepared.real.coarse[rows[mine]][:, known],
            int(classes.max()) + 1,
            seed,
        )
        probability[mine] = fitted[np.arange(int(mine.sum())), truth[mine]]
    return probability


def _forest(x: Codes, y: Ints, at: Codes, n_classes: int, seed: int) -> Floats:
    """Class probabilities of a random forest, a column for every class whether seen or not."""
    from sklearn.ensemble import RandomForestClassifier

    keep = np.random.default_rng(seed).permutation(len(x))[:_FOREST_ROWS]
    model = RandomForestClassifier(30, min_samples_leaf=5, random_state=seed).fit(x[keep], y[keep])
    out = np.zeros((len(at), n_classes))
    out[:, model.classes_] = model.predict_proba(at)
    return out


def _effective(weight: Floats) -> float:
    """Kish's effective number of units."""
    square = float((weight**2).sum())
    return float(weight.sum()) ** 2 / square if square > 0 else 0.0


def _entropy(codes: Codes) -> float:
    share = np.bincount(codes) / max(1, len(codes))
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())
