"""Membership inference: can one tell from the release who was in the training table?

Four published scores compete on a disjoint part of the cohort; the winner alone is judged, on the rest.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audits import caps as theory
from audits.bounds import auc, auc_detectable, auc_exceeds, auc_interval, rate_exceeds, tpr_at_fpr
from audits.nearest import Space, kth_distance
from audits.result import AuditInput, AuditResult
from audits.tables import Ints, Prepared, cells, flat, prepare
from audits.verdicts import allowed, answer, inconclusive

Floats = npt.NDArray[np.float64]

FALSE_POSITIVE_RATES = (0.01, 0.001)
_SELECTION_SHARE = 0.3
_PAIRS, _TRIPLES = 200, 60
_MAX_CELLS = 4_000_000
_NEIGHBOURS = 10_000
_KAPPA = 1.0


@dataclass(frozen=True)
class Scores:
    """A score per cohort unit of the statistic chosen on ``selection``; everything else is judged on ``~selection``."""

    values: Floats
    statistic: str
    selection: npt.NDArray[np.bool_]
    selection_auc: Mapping[str, float]


def infer_membership(data: AuditInput) -> AuditResult:
    """Attack the membership of whole units; compare AUC and TPR at low FPR with what the claim allows."""
    started, name = time.perf_counter(), "membership"
    prepared = prepare(data)
    if prepared.unusable:
        return inconclusive(name, data, started, prepared.unusable)
    scores, game, cap = membership_scores(prepared), prepared.game, prepared.caps
    judged = ~scores.selection
    inside, outside = scores.values[judged & game.member], scores.values[judged & ~game.member]
    m, n = len(inside), len(outside)
    area, variance = auc(inside, outside)
    p_values = [auc_exceeds(area, variance, m, n, cap.auc)]
    details: dict[str, Any] = {
        "statistic": scores.statistic, "selection_auc": dict(scores.selection_auc), "members": m, "strangers": n,
        "auc_cap": cap.auc, "advantage_cap": cap.advantage, "coin": game.coin,
    }  # fmt: skip
    if data.claim is not None and data.claim.rho > 0:
        details["gaussian_caps"] = {
            "auc": theory.gaussian_auc(data.claim.mu),
            "advantage": theory.gaussian_advantage(data.claim.mu),
            **{f"tpr_at_fpr_{rate:g}": theory.gaussian_tpr(data.claim.mu, rate) for rate in FALSE_POSITIVE_RATES},
        }
    learned = scores.values[scores.selection & ~game.member]
    for rate in FALSE_POSITIVE_RATES:
        at = tpr_at_fpr(inside, outside, float(np.quantile(learned, 1 - rate, method="higher")), 0.05)
        p_values.append(rate_exceeds(int(at["hits"]), m, int(at["alarms"]), n, cap.tpr))
        details[f"tpr_at_fpr_{rate:g}"] = {**at, "tpr_cap": cap.tpr(at["fpr"])}
    alpha = data.alpha / len(p_values)
    return answer(
        name, data, started,
        value=area, interval=auc_interval(area, variance, m, n, 0.05), n=m + n,
        p_value=min(1.0, len(p_values) * min(p_values)),
        detectable=auc_detectable(cap.auc, m, n, alpha), unit="an AUC",
        violated=f"members stand out more than {allowed(data)}", details=details,
    )  # fmt: skip


def membership_scores(prepared: Prepared) -> Scores:
    """Score every cohort unit (higher: more like a member), the sum over its rows; computed once per input."""
    found: Scores | None = prepared.memo.get("membership")
    if found is not None:
        return found
    game = prepared.game
    selection = np.zeros(len(game.member), dtype=bool)
    rng = prepared.rng("selection")
    for side in (True, False):
        mine = rng.permutation(np.flatnonzero(game.member == side))
        selection[mine[: max(1, round(_SELECTION_SHARE * len(mine)))]] = True
    candidates = {name: game.per_unit(values) for name, values in _row_scores(prepared).items()}
    areas = {name: auc(values[selection & game.member], values[selection & ~game.member])[0] for name, values in candidates.items()}
    best = max(areas, key=areas.__getitem__)
    prepared.memo["membership"] = Scores(candidates[best], best, selection, areas)
    return prepared.memo["membership"]  # type: ignore[no-any-return]


def _row_scores(prepared: Prepared) -> dict[str, Floats]:
    """Each statistic for each cohort row."""
    game = prepared.game
    scores = {k: np.zeros(len(game.rows)) for k in ("likelihood", "log_ratio", "density_ratio", "nearest")}
    measured = _measured(prepared)
    generic = {clique: 0.0 for clique in _cliques(prepared)}
    space = Space(prepared.ordered, prepared.sizes, tuple(range(len(prepared.names))))
    rng = prepared.rng("neighbours")
    targets = prepared.real.take(game.rows)
    near = kth_distance(space, targets, prepared.synth, 1)
    scores["nearest"] = -near
    third = kth_distance(space, targets, prepared.synth.take(_sample(rng, len(prepared.synth), _NEIGHBOURS)), 3)
    for units, reference in prepared.references:
        rows = units[game.owner]
        if measured:
            scores["likelihood"][rows] = _likelihood(prepared, measured, rows, reference)[0]
            scores["log_ratio"][rows] = _likelihood(prepared, generic, rows, reference)[1]
        else:
            scores["likelihood"][rows], scores["log_ratio"][rows] = _likelihood(prepared, generic, rows, reference)
        crowd = prepared.real.take(reference[_sample(rng, len(reference), _NEIGHBOURS)])
        fresh = kth_distance(space, prepared.real.take(game.rows[rows]), crowd, 3)
        scores["density_ratio"][rows] = np.log((fresh + 1.0) / (third[rows] + 1.0))
    return scores


def _likelihood(
    prepared: Prepared, cliques: Mapping[tuple[int, ...], float], rows: npt.NDArray[np.bool_], reference: Ints
) -> tuple[Floats, Floats]:
    """Marginal-aware log likelihood ratio, and the log density ratio of MAMA-MIA (Golob et al. 2024), summed over
    cliques.

    A member adds one to the cell it falls in. With the rest of train known, the synthetic count there, scaled to n
    rows, differs from the expectation without it by ``gap``; its variance is that of the unknown rows, of sampling
    the release and of the noise, so the Gaussian log likelihood ratio of "one more" is (gap - 1/2) / variance.
    """
    game, sizes = prepared.game, prepared.sizes
    real, synth = prepared.real.coarse, prepared.synth.coarse
    target_rows = game.rows[rows]
    n, n_synth, n_rest = prepared.n_train, len(synth), len(game.rest)
    likelihood, log_ratio = np.zeros(len(target_rows)), np.zeros(len(target_rows))
    for clique, variance in cliques.items():
        at = flat(real[target_rows], clique, sizes)
        count = _counter(at, cells(clique, sizes))
        synthetic = count(flat(synth, clique, sizes))
        population = count(flat(real[reference], clique, sizes))
        known = count(flat(real[game.rest], clique, sizes)) if n_rest else np.zeros(len(at))
        p_ref = (population + 0.5) / (len(reference) + 1.0)
        p_syn = (synthetic + _KAPPA * p_ref) / (n_synth + _KAPPA)
        gap = n * p_syn - known - (n - n_rest) * p_ref
        spread = p_ref * (1 - p_ref)
        total = (n - n_rest) * spread + n * spread * n / n_synth + variance
        likelihood += (gap - 0.5) / total
        log_ratio += np.log((synthetic + 0.5) / (n_synth + 1.0)) - np.log(p_ref)
    return likelihood, log_ratio


def _counter(at: Ints, n_cells: int) -> Any:
    """How often the cells of ``at`` occur in another index; by table where that is small, by sorting where not."""
    if n_cells <= _MAX_CELLS:
        return lambda index: np.bincount(index, minlength=n_cells)[at].astype(np.float64)

    def search(index: Ints) -> Floats:
        ordered = np.sort(index)
        return (np.searchsorted(ordered, at, "right") - np.searchsorted(ordered, at, "left")).astype(np.float64)

    return search


def _measured(prepared: Prepared) -> dict[tuple[int, ...], float]:
    """Cliques the transcript says were measured, with the variance of the noise in one cell (independent measurements
    pooled)."""
    position = {name: j for j, name in enumerate(prepared.names)}
    precision: dict[tuple[int, ...], float] = {}
    for event in (prepared.transcript or {}).get("events", ()):
        if event.get("kind") != "gaussian":
            continue
        stddev = float(event["stddev"]) / float(event.get("scale", 1))
        for clique, form in zip(event.get("cliques", ()), itertools.cycle(event.get("forms") or ["marginal"])):
            key = tuple(sorted(position[name] for name in clique if name in position))
            if key and len(key) == len(clique) and form in ("marginal", "residual", "histogram"):
                precision[key] = precision.get(key, 0.0) + (1.0 / stddev**2 if stddev > 0 else np.inf)
    return {key: 1.0 / value for key, value in precision.items()}


def _cliques(prepared: Prepared) -> list[tuple[int, ...]]:
    """All columns, all pairs, some triples and the whole record: what a marginal-based release could have kept."""
    d, rng = len(prepared.names), prepared.rng("cliques")
    single: list[tuple[int, ...]] = [(j,) for j in range(d)]
    pairs = _some(rng, list(itertools.combinations(range(d), 2)), _PAIRS)
    if d < 3:
        return single + pairs
    triples = {tuple(sorted(rng.choice(d, 3, replace=False).tolist())) for _ in range(_TRIPLES)}
    return single + pairs + sorted(triples)


def _some(rng: np.random.Generator, items: Sequence[tuple[int, ...]], limit: int) -> list[tuple[int, ...]]:
    if len(items) <= limit:
        return list(items)
    return [items[i] for i in np.sort(rng.choice(len(items), limit, replace=False))]


def _sample(rng: np.random.Generator, n: int, limit: int) -> Ints:
    return np.sort(rng.choice(n, limit, replace=False)) if n > limit else np.arange(n)
