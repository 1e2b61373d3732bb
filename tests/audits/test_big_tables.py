"""Tables too large to be audited whole: the cohort, a sample of the rest, and a release of everybody."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from audits import AuditInput, Verdict, measure_similarity, nearest
from audits.nearest import Space, nearest_of_many
from audits.registry import AUDITS
from audits.tables import Coded
from tests.audits.people import World, copy, strangers, world

ROWS = 6000
ATTACKS = ["membership", "one_run_epsilon", "singling_out", "linkability", "attribute_inference", "exact_copies"]


@pytest.fixture(scope="module")
def everybody() -> World:
    """One row a unit, so that a row can be left away."""
    return world(seed=5, n=ROWS, cohort=1600)


def _sampled(w: World, rest: int) -> dict[str, Any]:
    """Training rows of the cohort and ``rest`` others, as an engine hands them out."""
    others = np.flatnonzero(~np.isin(w.train_units, w.members))
    keep = np.sort(np.concatenate([np.flatnonzero(np.isin(w.train_units, w.members)), others[:rest]]))
    return {"train": w.train.iloc[keep].reset_index(drop=True), "train_units": w.train_units[keep], "trained": len(w.train)}


def _run(name: str, data: AuditInput) -> Any:
    return AUDITS[name].run(data)


@pytest.mark.parametrize("name", ATTACKS)
def test_a_sample_that_is_the_table_changes_no_answer(name: str, everybody: World) -> None:
    release = everybody.given(strangers(everybody), tier="smoke")
    whole, sampled = _run(name, release), _run(name, everybody.given(strangers(everybody), tier="smoke", trained=len(everybody.train)))
    assert (whole.value, whole.interval, whole.p_value) == (sampled.value, sampled.interval, sampled.p_value)


@pytest.mark.parametrize("name", ["membership", "one_run_epsilon", "singling_out", "linkability", "exact_copies"])
def test_a_copy_of_the_whole_table_is_caught_through_the_sample(name: str, everybody: World) -> None:
    found = _run(name, everybody.given(copy(everybody), tier="smoke", **_sampled(everybody, 1500)))
    assert found.verdict is Verdict.VIOLATION, found.reason


@pytest.mark.parametrize("name", ATTACKS)
def test_a_release_that_knows_nobody_is_not_accused_through_the_sample(name: str, everybody: World) -> None:
    found = _run(name, everybody.given(strangers(everybody), tier="smoke", **_sampled(everybody, 1500)))
    assert found.verdict is not Verdict.VIOLATION, found.reason


@pytest.mark.parametrize(
    ("release", "verdict", "low", "high"), [(copy, Verdict.VIOLATION, 0.9, 1.0), (strangers, Verdict.NOT_FALSIFIED, 0.0, 0.1)]
)
def test_conditions_are_aimed_where_the_cohort_is_a_drop_in_the_table(
    release: Any, verdict: Verdict, low: float, high: float, everybody: World
) -> None:
    """800 members of ten million: 60,000 conditions read off anywhere would hit five of them."""
    found = _run("singling_out", everybody.given(release(everybody), tier="smoke", **{**_sampled(everybody, 1500), "trained": 10_000_000}))
    assert found.details["aimed"]
    assert found.verdict is verdict, found.reason
    assert low <= found.value <= high
    assert found.n >= 1000


def test_a_share_of_a_sample_is_not_told_as_that_of_the_table(everybody: World) -> None:
    data = everybody.given(copy(everybody), tier="smoke", **_sampled(everybody, 1500))
    assert measure_similarity(data)["identical_match_share"] is None
    assert _run("exact_copies", data).details["synthetic_rows_equal_to_a_train_row"] is None
    assert measure_similarity(everybody.given(copy(everybody), tier="smoke"))["identical_match_share"] == 1.0


def _coded(rng: np.random.Generator, rows: int) -> Coded:
    codes = rng.integers(1, 9, (rows, 10)).astype(np.int32)
    return Coded(codes, codes)


def _brute_force(space: Space, targets: Coded, table: Coded) -> Any:
    return space.distances(targets, table).astype(np.int64)


def test_the_nearest_record_of_a_table_that_is_searched_whole_is_the_nearest() -> None:
    rng = np.random.default_rng(0)
    targets, table, space = _coded(rng, 40), _coded(rng, 3000), Space(np.zeros(10, dtype=bool), np.full(10, 9), tuple(range(10)))
    distance, place = nearest_of_many(space, targets, table, rng)
    gaps = _brute_force(space, targets, table)
    np.testing.assert_array_equal(distance, gaps.min(axis=1))
    np.testing.assert_array_equal(place, gaps.argmin(axis=1))


def test_in_a_larger_table_copies_with_a_changed_cell_are_found_and_no_distance_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed cell is in none of eight halves of ten columns with a chance of 2^-8 a target, two in more; most of forty are found."""
    monkeypatch.setattr(nearest, "WHOLE", 100)
    rng = np.random.default_rng(1)
    targets, table, space = _coded(rng, 40), _coded(rng, 3000), Space(np.zeros(10, dtype=bool), np.full(10, 9), tuple(range(10)))
    for i in range(40):
        table.fine[1000 + i] = targets.fine[i]
        table.fine[1000 + i, i % 10] = 1 + targets.fine[i, i % 10] % 8
    distance, place = nearest_of_many(space, targets, table, rng)
    gaps = _brute_force(space, targets, table)
    np.testing.assert_array_equal(distance, gaps[np.arange(40), place])
    assert (distance == gaps.min(axis=1)).sum() >= 36
