"""Distance figures people ask for. Diagnostics, never a gate: on discretised data they call a verbatim copy safe."""

from __future__ import annotations

from typing import Any

import numpy as np

from audits.nearest import Space, kth_distance
from audits.result import AuditInput
from audits.tables import fingerprints, prepare

NOTE = (
    "diagnostic only: closeness to training records is neither necessary nor sufficient for a privacy loss "
    "(Ganev and De Cristofaro 2023; Yao et al. 2025), so no rule may pass a release for it"
)
_ROWS = 2_000
_TABLE = 20_000


def measure_similarity(data: AuditInput) -> dict[str, Any]:
    """Share of synthetic rows nearer to train than to as many control rows (ties count half), and share equal to a
    train row.

    Both are null without the tables they need, the second also where train is a sample. Not differentially private.
    """
    prepared = prepare(data)
    out: dict[str, Any] = {"dcr_share": None, "identical_match_share": None, "n": 0, "note": NOTE}
    if prepared.train is None or not len(prepared.synth) or not prepared.n_train:
        return out
    train = prepared.real.take(np.arange(prepared.n_train))
    if prepared.n_trained == prepared.n_train:
        out["identical_match_share"] = float(np.isin(fingerprints(prepared.synth.fine), fingerprints(train.fine)).mean())
    if prepared.control is None or not len(prepared.control):
        return out
    rng = prepared.rng("similarity")
    control = prepared.real.take(np.arange(prepared.n_train, len(prepared.real)))
    size = min(len(train), len(control), _TABLE)
    space = Space(prepared.ordered, prepared.sizes, tuple(range(len(prepared.names))))
    rows = prepared.synth.take(rng.permutation(len(prepared.synth))[:_ROWS])
    near, far = (kth_distance(space, rows, table.take(rng.permutation(len(table))[:size]), 1) for table in (train, control))
    out["dcr_share"] = float(np.mean((near < far) + 0.5 * (near == far)))
    out["n"] = len(rows)
    return out
