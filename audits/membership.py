"""Membership inference: can one tell from the release who was in the training table?

Published scores and a blend of them compete on a disjoint part of the cohort; the winner alone is judged, on the rest.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from audits import caps as theory
from audits.bounds import auc, auc_detectable, auc_exceeds, auc_interval, paired_difference, placements, rate_exceeds, tpr_at_fpr
from audits.nearest import Space, kth_distance, nearest_distances, nearest_of_many
from audits.result import AuditInput, AuditResult
from audits.tables import Ints, Prepared, cells, flat, prepare
from audits.verdicts import allowed, answer, inconclusive

Floats = npt.NDArray[np.float64]

FALSE_POSITIVE_RATES = (0.01, 0.001)
_SELECTION_SHARE = 0.3
_PAIRS, _TRIPLES = 200, 60
_MAX_CELLS = 4_000_000
_NEIGHBOURS = 10_000
_SMOKE_TABLE = 20_000
_KAPPA = 1.0
_LOW_RATES = (0.005, 0.01, 0.02, 0.05)
_FOLDS = 5
_RIDGE = 0.1
_MARGIN = 1.5

DEFAULT, BLEND = "likelihood", "blend"
_RIVALS = ("likelihood without noise", "log_ratio", "nearest_ratio", BLEND)
"""The other statistics are inside the blend only."""


@dataclass(frozen=True)
class Scores:
    """Scores per cohort unit, by statistic. What is chosen among them is chosen on ``selection``; all else is judged on ``~selection``.

    ``overall`` is the statistic of the best area there, ``extreme`` the one that finds most members at low false positive rates.
    """

    candidates: Mapping[str, Floats]
    overall: str
    extreme: str
    selection: npt.NDArray[np.bool_]
    selection_auc: Mapping[str, float]

    @property
    def values(self) -> Floats:
        """The scores of the statistic with the best area."""
        return self.candidates[self.overall]

    @property
    def extremes(self) -> Floats:
        """The scores of the statistic that is best at low false positive rates."""
        return self.candidates[self.extreme]


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
        "statistic": scores.overall, "statistic_at_low_fpr": scores.extreme, "selection_auc": dict(scores.selection_auc),
        "members": m, "strangers": n,
        "auc_cap": cap.auc, "advantage_cap": cap.advantage, "coin": game.coin,
    }  # fmt: skip
    if data.claim is not None and data.claim.rho > 0:
        details["gaussian_caps"] = {
            "auc": theory.gaussian_auc(data.claim.mu),
            "advantage": theory.gaussian_advantage(data.claim.mu),
            **{f"tpr_at_fpr_{rate:g}": theory.gaussian_tpr(data.claim.mu, rate) for rate in FALSE_POSITIVE_RATES},
        }
    learned = scores.extremes[scores.selection & ~game.member]
    far_inside, far_outside = scores.extremes[judged & game.member], scores.extremes[judged & ~game.member]
    for rate in FALSE_POSITIVE_RATES:
        at = tpr_at_fpr(far_inside, far_outside, float(np.quantile(learned, 1 - rate, method="higher")), 0.05)
        p_values.append(rate_exceeds(int(at["hits"]), m, int(at["alarms"]), n, cap.tpr))
        details[f"tpr_at_fpr_{rate:g}"] = {**at, "tpr_cap": cap.tpr(at["fpr"])}
    alpha = data.first_alpha / len(p_values)
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
    game, selection = prepared.game, _selection(prepared)
    candidates = {name: game.per_unit(values) for name, values in _row_scores(prepared).items()}
    inside, outside = selection & game.member, selection & ~game.member
    learnt_on = {name: (values[inside], values[outside]) for name, values in candidates.items()}
    blend, held_out = _blend(prepared, candidates, selection)
    candidates[BLEND], learnt_on[BLEND] = blend, (held_out[inside], held_out[outside])
    placed = {name: placements(*sides) for name, sides in learnt_on.items()}
    early = {name: (_found_early(*sides),) for name, sides in learnt_on.items()}
    areas = {name: float(above.mean()) for name, (above, _) in placed.items()}
    prepared.memo["membership"] = Scores(candidates, _chosen(placed), _chosen(early), selection, areas)
    return prepared.memo["membership"]  # type: ignore[no-any-return]


def _chosen(figures: Mapping[str, tuple[Floats, ...]]) -> str:
    """The likelihood ratio, unless a rival is ahead by more than chance explains: of equals on a few hundred units the best is luck."""
    ahead = {}
    for name in _RIVALS:
        gain, variance = paired_difference(*zip(figures[name], figures[DEFAULT], strict=True))
        ahead[name] = gain - _MARGIN * math.sqrt(variance)
    best = max(ahead, key=ahead.__getitem__)
    return best if ahead[best] > 0 else DEFAULT


def _selection(prepared: Prepared) -> npt.NDArray[np.bool_]:
    """The part of the cohort that is learnt from. Where coins were flipped it is drawn without looking at them, so that those of the rest
    stay independent; otherwise it holds the same share of both sides."""
    game, rng = prepared.game, prepared.rng("selection")
    everyone = np.arange(len(game.member))
    sides = [everyone] if game.coin else [everyone[game.member], everyone[~game.member]]
    selection = np.zeros(len(everyone), dtype=bool)
    for side in sides:
        selection[rng.permutation(side)[: max(1, round(_SELECTION_SHARE * len(side)))]] = True
    return selection


def _found_early(inside: Floats, outside: Floats) -> Floats:
    """For each member, at what share of some low false positive rates its score is above the threshold."""
    thresholds = [float(np.quantile(outside, 1 - rate, method="higher")) for rate in _LOW_RATES]
    return np.asarray(np.mean([inside > threshold for threshold in thresholds], axis=0))


def _blend(prepared: Prepared, candidates: Mapping[str, Floats], selection: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """A logistic regression on the normal scores of all statistics, fitted to the selection part; and, there, its scores out of fold.

    Normal scores are ranks within the whole cohort, whoever was in.
    """
    from sklearn.linear_model import LogisticRegression

    member = prepared.game.member
    features = np.stack([ndtri((_ranks(values) - 0.5) / len(values)) for values in candidates.values()], axis=1)
    units = np.flatnonzero(selection)
    fold = np.empty(len(units), dtype=np.int64)
    for side in (True, False):
        mine = np.flatnonzero(member[units] == side)
        fold[mine] = np.arange(len(mine)) % _FOLDS
    held_out = np.zeros(len(member))
    if min(int(member[units].sum()), int((~member[units]).sum())) < 2 * _FOLDS:
        return np.zeros(len(member)), held_out
    for k in range(_FOLDS):
        model = LogisticRegression(C=_RIDGE).fit(features[units[fold != k]], member[units[fold != k]])
        held_out[units[fold == k]] = model.decision_function(features[units[fold == k]])
    model = LogisticRegression(C=_RIDGE).fit(features[units], member[units])
    return np.asarray(model.decision_function(features), dtype=np.float64), held_out


def _ranks(values: Floats) -> Floats:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), dtype=np.float64)


def _row_scores(prepared: Prepared) -> dict[str, Floats]:
    """Each statistic for each cohort row."""
    game = prepared.game
    measured = _measured(prepared)
    cliques = measured or {clique: 0.0 for clique in _cliques(prepared)}
    names = [DEFAULT, "likelihood without noise", "log_ratio", "density_ratio", "nearest_ratio", "nearest"]
    scores = {name: np.zeros(len(game.rows)) for name in names}
    space = Space(prepared.ordered, prepared.sizes, tuple(range(len(prepared.names))))
    rng = prepared.rng("neighbours")
    targets = prepared.real.take(game.rows)
    if prepared.tier == "smoke":
        first = kth_distance(space, targets, prepared.synth.take(_sample(rng, len(prepared.synth), _SMOKE_TABLE)), 1)
    else:
        first = nearest_of_many(space, targets, prepared.synth, rng)[0].astype(np.float64)
    third = kth_distance(space, targets, prepared.synth.take(_sample(rng, len(prepared.synth), _NEIGHBOURS)), 3)
    scores["nearest"] = -first
    for units, reference in prepared.references:
        rows = units[game.owner]
        # The noise that the transcript tells of may not be there.
        for label, values in zip(
            (DEFAULT, "likelihood without noise", "log_ratio"), _likelihood(prepared, cliques, rows, reference), strict=True
        ):
            scores[label][rows] = values
        crowd = prepared.real.take(reference[_sample(rng, len(reference), _NEIGHBOURS)])
        own, own_third = nearest_distances(space, prepared.real.take(game.rows[rows]), crowd, (1, 3))
        scores["nearest_ratio"][rows] = np.log((own + 1.0) / (first[rows] + 1.0))
        scores["density_ratio"][rows] = np.log((own_third + 1.0) / (third[rows] + 1.0))
    return scores


def _likelihood(
    prepared: Prepared, cliques: Mapping[tuple[int, ...], float], rows: npt.NDArray[np.bool_], reference: Ints
) -> tuple[Floats, Floats, Floats]:
    """Marginal-aware log likelihood ratio, the same without noise, and the log density ratio of MAMA-MIA (Golob et al. 2024), summed
    over cliques.

    A member adds one to the cell it falls in. With the rest of train known, the synthetic count there, scaled to n
    rows, differs from the expectation without it by ``gap``; its variance is that of the unknown rows, of sampling
    the release and of the noise, so the Gaussian log likelihood ratio of "one more" is (gap - 1/2) / variance. Where train is a sample,
    the rest is known with the error of a sample.
    """
    game, sizes = prepared.game, prepared.sizes
    real, synth = prepared.real.coarse, prepared.synth.coarse
    target_rows = game.rows[rows]
    n, n_synth, n_rest = prepared.n_trained, len(synth), len(game.rest)
    n_cohort = prepared.n_train - n_rest
    each = (n - n_cohort) / n_rest if n_rest else 1.0
    likelihood, noiseless, log_ratio = (np.zeros(len(target_rows)) for _ in range(3))
    crowd, rest = np.asfortranarray(real[reference]), np.asfortranarray(real[game.rest])
    for clique, variance in cliques.items():
        at = flat(real[target_rows], clique, sizes)
        count = _counter(at, cells(clique, sizes))
        synthetic = count(flat(synth, clique, sizes))
        population = count(flat(crowd, clique, sizes))
        known = population if reference is game.rest else count(flat(rest, clique, sizes)) if n_rest else np.zeros(len(at))
        p_ref = (population + 0.5) / (len(reference) + 1.0)
        p_syn = (synthetic + _KAPPA * p_ref) / (n_synth + _KAPPA)
        gap = n * p_syn - each * known - n_cohort * p_ref
        spread = p_ref * (1 - p_ref)
        total = (n_cohort + (each - 1) * each * n_rest) * spread + n * spread * n / n_synth
        likelihood += (gap - 0.5) / (total + variance)
        noiseless += (gap - 0.5) / total
        log_ratio += np.log((synthetic + 0.5) / (n_synth + 1.0)) - np.log(p_ref)
    return likelihood, noiseless, log_ratio


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
