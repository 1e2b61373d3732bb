"""Outliers and groups: the figures of the other attacks on the isolated half of the cohort and on each fairness group.

The isolated are picked after the fact, from the cohort as it is; who is left out of training never depends on a record.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.attribute_inference import inference_successes, secrets_and_known
from audits.bounds import auc, auc_exceeds, auc_interval
from audits.linkability import link_successes
from audits.membership import membership_scores
from audits.nearest import Space, kth_distance
from audits.result import AuditInput, AuditResult
from audits.risk import Successes, judge, measure
from audits.tables import MIN_UNITS, Prepared, labels, prepare
from audits.verdicts import inconclusive

_CROWD = 20_000
_NEIGHBOURS = 5


def attack_outliers(data: AuditInput) -> AuditResult:
    """Linkability and attribute inference on the isolated half; membership AUC there and in each group beside it.

    A unit is as isolated as its most isolated row: distance to the 5th nearest real record other than itself, in
    train and control together, so that members and strangers are measured alike.
    """
    started, name = time.perf_counter(), "outliers"
    prepared = prepare(data)
    if prepared.unusable:
        return inconclusive(name, data, started, prepared.unusable)
    distance = _isolation(prepared)
    isolated = distance > float(np.median(distance))
    attacks = _attacks(prepared)
    game = prepared.game
    if min(int((isolated & side).sum()) for side in (game.member, ~game.member)) < MIN_UNITS:
        reason = f"fewer than {MIN_UNITS} units on a side are further from their neighbours than the median"
        return inconclusive(name, data, started, reason)
    details = {
        "isolated_units": int(isolated.sum()),
        "membership": _membership(prepared, isolated),
        "groups": _groups(prepared, attacks),
    }
    subset = {label: successes.among(isolated) for label, successes in attacks.items()}
    return judge(name, data, started, prepared, subset, "isolated members are attacked more successfully", details)


def _attacks(prepared: Prepared) -> dict[str, Successes]:
    attacks: dict[str, Successes] = {}
    if len(prepared.names) > 1:
        attacks["linkability"] = link_successes(prepared)
        if secrets_and_known(prepared)[1]:
            attacks |= {f"inference:{name}": found for name, found in inference_successes(prepared)[0].items()}
    return attacks


def _isolation(prepared: Prepared) -> npt.NDArray[np.float64]:
    game, rng = prepared.game, prepared.rng("isolation")
    crowd = rng.permutation(len(prepared.real))[:_CROWD]
    space = Space(prepared.ordered, prepared.sizes, tuple(range(len(prepared.names))))
    rows, owner = prepared.targets
    # One neighbour more, because a target that is in the crowd is its own nearest neighbour; the error is one rank
    # where it is not.
    distance = kth_distance(space, prepared.real.take(rows), prepared.real.take(crowd), _NEIGHBOURS + 1)
    out = np.zeros(len(game.member))
    np.maximum.at(out, owner, distance)
    return out


def _membership(prepared: Prepared, mask: npt.NDArray[np.bool_]) -> dict[str, Any] | None:
    """AUC of the membership score among some units of the judged part, with its interval and the p-value against the
    cap."""
    scores, member = membership_scores(prepared), prepared.game.member
    judged = mask & ~scores.selection
    inside, outside = scores.values[judged & member], scores.values[judged & ~member]
    m, n = len(inside), len(outside)
    if min(m, n) < MIN_UNITS:
        return None
    area, variance = auc(inside, outside)
    low, high = auc_interval(area, variance, m, n, 0.05)
    p_value = auc_exceeds(area, variance, m, n, prepared.caps.auc)
    return {"auc": area, "low": low, "high": high, "members": m, "strangers": n, "p_value": p_value}


def _groups(prepared: Prepared, attacks: dict[str, Successes]) -> list[dict[str, Any]]:
    """The same figures for every level of every group column: a unit belongs to the level of its first row."""
    game = prepared.game
    first = game.rows[np.unique(game.owner, return_index=True)[1]]
    out = []
    for j, column in enumerate(prepared.columns):
        if not column.group:
            continue
        codes, text = prepared.real.coarse[first, j], labels(prepared, j)
        for code in np.unique(codes):
            mask = codes == code
            risks = {label: measure(prepared, successes.among(mask)) for label, successes in attacks.items()}
            out.append({
                "field": column.name,
                "level": text[int(code)],
                "units": int(mask.sum()),
                "membership": _membership(prepared, mask),
                "risks": {label: {"value": r.value, "high": r.high} for label, r in risks.items() if r is not None},
            })  # fmt: skip
    return out
