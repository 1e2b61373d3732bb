"""Exact copies: does the release repeat records that occur once among the real ones, more for members than for
strangers?

May only fail a release: a generator that changes one cell of every record passes this audit.
"""

from __future__ import annotations

import time

import numpy as np

from audits.result import AuditInput, AuditResult
from audits.risk import Successes, judge
from audits.tables import fingerprints, prepare
from audits.verdicts import inconclusive


def find_exact_copies(data: AuditInput) -> AuditResult:
    """Share of units with a unique record that the release repeats, members against strangers."""
    started, name = time.perf_counter(), "exact_copies"
    prepared = prepare(data)
    if prepared.unusable:
        return inconclusive(name, data, started, prepared.unusable)
    game = prepared.game
    real, synth = fingerprints(prepared.real.fine), fingerprints(prepared.synth.fine)
    _, inverse, counts = np.unique(real, return_inverse=True, return_counts=True)
    unique = counts[inverse.reshape(-1)][game.rows] == 1
    copied = np.isin(real[game.rows], synth)
    candidates = game.per_unit(unique.astype(float))
    hits = game.per_unit((unique & copied).astype(float))
    by_unit = np.where(candidates > 0, hits > 0, np.nan)
    members = game.member & (candidates > 0)
    details = {
        "copied_members": int((members & (hits > 0)).sum()),
        "copied_strangers": int((~game.member & (hits > 0)).sum()),
        # A share of a sample is no share of the table.
        "synthetic_rows_equal_to_a_train_row": None
        if prepared.n_trained > prepared.n_train
        else float(np.isin(synth, real[: prepared.n_train]).mean()),
    }
    attacks = {"unique_records": Successes(by_unit, np.ones(len(by_unit)), int(members.sum()))}
    return judge(name, data, started, prepared, attacks, "unique records of members are repeated more often", details)
