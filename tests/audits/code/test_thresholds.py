"""A threshold that names values is priced from its own facts, and its noise is tested where it decides; defects are found."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from audits.code.discrete_law import censored_scores, normal_scores
from audits.code.recomposition import event_delta, recomposition, total_delta
from audits.code.record_replay import record_replay
from audits.code.residuals import residual_calibration
from audits.result import AuditInput, Claim, Column, Hook, Verdict

STDDEV, THRESHOLD = 12.0, 70
CLAIM = Claim("person", 1, "add_remove", 0.5 / STDDEV**2, 0.6, 1e-5, 1e-6)
EVENT = {
    "kind": "threshold", "stage": "categories_code", "cliques": [["code"]], "scale": 1, "l0_sensitivity": 1, "linf_sensitivity": 1,
    "l2_sensitivity": 1.0, "stddev": STDDEV, "threshold": THRESHOLD, "rho": 0.5 / STDDEV**2, "delta": 1e-6,
}  # fmt: skip
TRANSCRIPT = {
    "$schema": "dpsynth.transcript/1",
    "unit": {"name": "person", "max_rows": 1, "neighbours": "add_remove", "bounded_by": "one row is one unit"},
    "budget": {"epsilon": 0.6, "delta": "1e-05", "rho": 0.5 / STDDEV**2, "threshold_delta": "1e-06"},
    "noise": {"source": "test", "seeded": False, "observed": False},
    "domain": [{"name": "code", "size": 5, "ordered": False, "provenance": "dp"}],
    "events": [{**EVENT, "selected": 3}],
}


class Names:
    """Counts the values of one column, names those above a threshold, and nothing else. ``defect`` says what is wrong with it.

    ``seed`` makes tests repeatable; the noise differs from run to run.
    """

    deterministic = True
    name = "names"
    unit_field = None
    claim = CLAIM
    columns = (Column("code", "categorical", categories=("a", "b")),)

    def __init__(self, defect: str = "", seed: int = 0) -> None:
        self._defect = defect
        self._rng = np.random.default_rng(seed)

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        counts = table["code"].dropna().map(str).value_counts().sort_index()
        if self._defect == "counted twice":
            counts = counts * 2
        exact = np.array(list(zip(counts.index, counts, strict=True)), dtype=[("value", object), ("count", np.int64)])

        def draw() -> Any:
            scale = {"half the noise": 0.5, "no noise": 0.0}.get(self._defect, 1.0)
            noisy = counts + np.rint(self._rng.normal(0.0, scale * STDDEV, len(counts))).astype(int)
            if self._defect == "float noise":
                noisy = noisy + 0.25
            least = THRESHOLD / 2 if self._defect == "a lower threshold" else THRESHOLD
            named = {value: count for value, count in noisy.items() if count >= least}
            return {**named, "ghost": 100} if self._defect == "names a value of its own" else named

        assert hook is not None
        named = hook(dict(EVENT), exact, draw)
        found = sorted(counts.index) if self._defect == "all values used" else sorted(named)
        return {"model": repr(found).encode()}


def _given(defect: str, **more: Any) -> AuditInput:
    return AuditInput(pd.DataFrame(), (), mechanism=Names(defect), claim=CLAIM, tier="smoke", **more)


def test_an_honest_threshold_stands() -> None:
    assert recomposition(AuditInput(pd.DataFrame(), (), transcript=TRANSCRIPT, claim=CLAIM)).verdict is Verdict.NOT_FALSIFIED
    replayed = record_replay(_given(""))
    assert replayed.verdict is Verdict.NOT_FALSIFIED, replayed.reason
    assert replayed.details["reach_by_stage"] == {"categories_code": 1.0}


def test_what_is_set_aside_is_gone_before_rho_is_converted() -> None:
    found = recomposition(AuditInput(pd.DataFrame(), (), transcript=TRANSCRIPT, claim=CLAIM))
    plain = copy.deepcopy(TRANSCRIPT)
    plain["events"] = [{**EVENT, "kind": "gaussian", "shapes": [[5]], "forms": ["marginal"], "cells": 5}]
    smaller = replace(CLAIM, delta=0.9e-5, threshold_delta=0.0)
    other = recomposition(AuditInput(pd.DataFrame(), (), transcript=plain, claim=smaller))
    assert found.value is not None and found.value == pytest.approx(other.value, rel=1e-9)
    assert found.details["threshold_delta"] == pytest.approx(1e-6)


def _edit(**facts: Any) -> Callable[[dict[str, Any]], None]:
    return lambda t: t["events"][0].update(facts)


def _budget(t: dict[str, Any]) -> None:
    t["budget"]["threshold_delta"] = "1e-07"


def _declared(t: dict[str, Any]) -> None:
    t["domain"][0]["provenance"] = "declared"


def _wider(t: dict[str, Any]) -> None:
    t["domain"][0]["size"] = 6


def _twice(t: dict[str, Any]) -> None:
    t["events"].append(copy.deepcopy(t["events"][0]))
    t["budget"]["rho"] *= 2


def _more_rows(t: dict[str, Any]) -> None:
    t["unit"]["max_rows"] = 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_edit(threshold=40), "delta is less than the chance"),
        (_edit(delta=1e-9), "delta is less than the chance"),
        (_edit(stddev=STDDEV * 2), "delta is less than the chance"),
        (_edit(stddev=STDDEV / 2), "rho is less"),
        (_edit(rho=0.0), "rho is less"),
        (_edit(l0_sensitivity=0), "l0_sensitivity is below"),
        (_edit(linf_sensitivity=0), "linf_sensitivity is below"),
        (_edit(l2_sensitivity=0.5), "l2_sensitivity is below"),
        (_more_rows, "l0_sensitivity is below"),
        (_budget, "pass what is set aside"),
        (_twice, "pass what is set aside"),
        (_declared, "not called dp"),
        (_wider, "more levels than the threshold named"),
    ],
)
def test_a_threshold_that_does_not_add_up_is_found(change: Callable[[dict[str, Any]], None], words: str) -> None:
    t = copy.deepcopy(TRANSCRIPT)
    change(t)
    found = recomposition(AuditInput(pd.DataFrame(), (), transcript=t, claim=CLAIM))
    assert found.verdict is Verdict.VIOLATION
    assert any(words in problem["check"] for problem in found.details["problems"]), found.details["problems"]


def test_a_claim_that_sets_nothing_aside_covers_no_threshold() -> None:
    claim = replace(CLAIM, threshold_delta=0.0)
    assert recomposition(AuditInput(pd.DataFrame(), (), transcript=TRANSCRIPT, claim=claim)).verdict is Verdict.VIOLATION
    assert total_delta([{**EVENT, "delta": -1.0}]) == np.inf


def test_wide_noise_is_priced_like_narrow_noise() -> None:
    """The sum and the normal law agree where the one takes over from the other."""
    wide = {**EVENT, "scale": 1000, "linf_sensitivity": 1000}
    low, high = ({**wide, "stddev": s, "threshold": round(1000 + 5 * s)} for s in (19_999.0, 20_001.0))
    assert event_delta(low) == pytest.approx(event_delta(high), rel=1e-4)
    assert event_delta({**EVENT, "threshold": 1}) == event_delta({**EVENT, "stddev": 0.0}) == 1.0
    assert event_delta({"kind": "gaussian"}) == 0.0


@pytest.mark.parametrize(("defect", "words"), [("all values used", "artefacts"), ("counted twice", "2 times the declared sensitivity")])
def test_replay_finds_what_goes_round_the_threshold(defect: str, words: str) -> None:
    found = record_replay(_given(defect))
    assert found.verdict is Verdict.VIOLATION
    assert any(words in failure["check"] or words in failure["stage"] for failure in found.details["failures"])


class WithCounts(Names):
    """The same with an honest Gaussian answer behind it, which residual tests ask for."""

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        made = super().__call__(table, hook)
        counts = np.full(64, len(table), dtype=np.int64)
        event = {"kind": "gaussian", "stage": "counts", "cliques": [["code"]], "forms": ["marginal"], "cells": 64, "scale": 1,
                 "l2_sensitivity": 1.0, "stddev": STDDEV, "rho": 0.0}  # fmt: skip
        assert hook is not None
        hook(event, counts, lambda: counts + np.rint(self._rng.normal(0.0, STDDEV, 64)).astype(np.int64))
        return made


@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ("", ""),
        ("half the noise", "scale of values that are named"),
        ("no noise", "scale of values that are named"),
        ("a lower threshold", "below the declared threshold"),
        ("float noise", "no integers"),
        ("names a value of its own", "does not have"),
    ],
)
def test_the_noise_behind_a_threshold_is_tested_where_it_decides(defect: str, words: str) -> None:
    mechanism = WithCounts(defect)
    found = residual_calibration(AuditInput(pd.DataFrame(), (), mechanism=mechanism, tier="smoke"))
    assert found.verdict is (Verdict.VIOLATION if defect else Verdict.NOT_FALSIFIED), found.reason
    assert words in found.reason


def test_scores_of_hidden_and_shown_residuals_are_standard_normal_together() -> None:
    rng = np.random.default_rng(0)
    noise: npt.NDArray[np.int64] = np.rint(rng.normal(0.0, 9.0, 40_000)).astype(np.int64)
    limits = np.tile(np.array([-15, -3, 0, 1, 8, 30]), 40_000)[:40_000]
    shown = noise >= limits
    scores = np.concatenate([normal_scores(noise[shown], 9.0, rng), censored_scores(limits[~shown], 9.0, rng)])
    # Mean and variance of 40,000 standard normal scores, at five standard deviations.
    assert abs(float(scores.mean())) < 5 / 200.0
    assert abs(float((scores**2).mean()) - 1.0) < 5 * np.sqrt(2.0) / 200.0
