"""Linkability: given half of a person's columns, does the release point out the other half among strangers' halves?"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from audits.nearest import Space
from audits.result import AuditInput, AuditResult
from audits.risk import Successes, judge
from audits.tables import Prepared, chunks, prepare
from audits.verdicts import inconclusive

DECOYS = 9
_GROUP = 20
_MAX_TABLE = 50_000


def link_records(data: AuditInput) -> AuditResult:
    """Link two column halves of each target through the nearest synthetic record, against DECOYS halves of other
    people."""
    started, name = time.perf_counter(), "linkability"
    prepared = prepare(data)
    if len(prepared.names) < 2:
        return inconclusive(name, data, started, "one column cannot be split into two halves")
    if prepared.unusable:
        return inconclusive(name, data, started, prepared.unusable)
    halves = column_halves(prepared)
    details = {"halves": [[prepared.names[j] for j in half] for half in halves], "decoys": DECOYS}
    attacks = {"nearest_record": link_successes(prepared)}
    return judge(name, data, started, prepared, attacks, "members are linked more often", details)


def column_halves(prepared: Prepared) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The columns cut in two at random; quasi-identifiers are dealt first, so that both halves get some."""
    rng = prepared.rng("halves")
    order = rng.permutation(len(prepared.names)).tolist()
    order.sort(key=lambda j: prepared.columns[j].role != "quasi")
    return tuple(sorted(order[::2])), tuple(sorted(order[1::2]))


def link_successes(prepared: Prepared) -> Successes:
    """Per cohort unit the chance that its true pair of halves beats DECOYS random decoys.

    A pair (a, b) scores the distance of the nearest synthetic record to the whole record (a, b). If the true pair
    beats a share s of the group's decoys (ties count half), it is first among K random ones with probability s^K; no
    randomness of the draw is left.
    """
    found: Successes | None = prepared.memo.get("linkability")
    if found is not None:
        return found
    game = prepared.game
    rows, owner = prepared.targets
    rng = prepared.rng("decoys")
    first, second = column_halves(prepared)
    space = Space(prepared.ordered, prepared.sizes, tuple(range(len(prepared.names))))
    synth = prepared.synth
    if len(synth) > _MAX_TABLE:
        synth = synth.take(np.sort(rng.choice(len(synth), _MAX_TABLE, replace=False)))
    # Members and strangers are shuffled together: both meet the same kind of decoys.
    order = rng.permutation(len(rows))
    success = np.zeros(len(rows))

    def link(group: npt.NDArray[np.int64]) -> None:
        targets = prepared.real.take(rows[group])
        left, right = space.distances(targets, synth, first), space.distances(targets, synth, second)
        best = np.stack([(left[i] + right).min(axis=1) for i in range(len(group))])  # best[i, j]: halves of i and j
        own = np.diag(best)
        others = ~np.eye(len(group), dtype=bool)
        beaten = ((own[:, None] < best) + 0.5 * (own[:, None] == best)) * others
        success[group] = (beaten.sum(axis=1) / max(1, len(group) - 1)) ** DECOYS

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(link, [order[part] for part in chunks(len(order), _GROUP)]))
    count = np.bincount(owner, minlength=len(game.member))
    total = np.bincount(owner, weights=success, minlength=len(game.member))
    by_unit = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    attacks = int(game.member[owner].sum())
    prepared.memo["linkability"] = Successes(by_unit, np.ones(len(by_unit)), attacks)
    return prepared.memo["linkability"]  # type: ignore[no-any-return]
