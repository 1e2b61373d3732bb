"""Replay finds what depends on a record, and says nothing against a mechanism whose answers alone do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from audits.code.record_replay import record_replay
from audits.code.recorder import Call, Diverged, Recorder, Replayer, RunComplete, observe
from audits.code.toy import KINDS, Toy, unit_rows, worst_case_pairs
from audits.result import AuditInput, Column, Hook, Verdict
from tests.audits.code.reference import COLUMNS, NON_DEFECTS, Reference, claim

Given = Callable[..., AuditInput]
CONFIGURATIONS = [
    ("add_remove", 3, "person"),
    ("replace_one", 3, "person"),
    ("add_remove", 1, None),
    ("replace_one", 1, None),
]


def reference(defect: str | None, neighbours: str, max_rows: int, unit_field: str | None, seed: int = 0) -> Reference:
    return Reference(claim(max_rows=max_rows, neighbours=neighbours), defect, unit_field, seed=seed)


@pytest.mark.parametrize(("neighbours", "max_rows", "unit_field"), CONFIGURATIONS)
@pytest.mark.parametrize("tier", ["smoke", "standard"])
def test_a_correct_mechanism_is_not_falsified(given: Given, neighbours: str, max_rows: int, unit_field: str | None, tier: str) -> None:
    result = record_replay(given(reference(None, neighbours, max_rows, unit_field), tier=tier))
    assert result.verdict is Verdict.NOT_FALSIFIED, result.details
    # The neighbours reach the declared sensitivity, or nearly so where the smoke tier's few exchanges must do.
    assert result.value is not None and (0.8 if tier == "smoke" else 1.0 - 1e-9) <= result.value <= 1.0 + 1e-9
    assert result.detectable is not None and result.detectable < 2.0
    assert result.details["notes"] == []


@pytest.mark.parametrize("defect", NON_DEFECTS)
def test_what_is_no_defect_stays_green(given: Given, defect: str) -> None:
    assert record_replay(given(reference(defect, "add_remove", 3, "person"))).verdict is Verdict.NOT_FALSIFIED


@pytest.mark.parametrize(("neighbours", "max_rows", "unit_field"), CONFIGURATIONS)
@pytest.mark.parametrize(
    "defect",
    [
        "categories_from_data", "bounds_from_data", "exception_on_nan", "exception_on_infinity", "nan_bypasses_clip",
        "stops_on_true_answers", "uncharged_preprocessing", "overspends", "artefact_quotes_a_record",
    ],
)  # fmt: skip
def test_a_dependence_on_records_is_found(given: Given, defect: str, neighbours: str, max_rows: int, unit_field: str | None) -> None:
    result = record_replay(given(reference(defect, neighbours, max_rows, unit_field)))
    assert result.verdict is Verdict.VIOLATION, result.reason


@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
@pytest.mark.parametrize(
    "defect",
    [
        "sensitivity_without_k",
        "scores_without_k",
        "unbounded_units",
        "null_keys_are_units",
        "n_from_data",
        "stddev_from_n",
    ],
)
def test_a_person_with_many_rows_is_not_one_row(given: Given, defect: str, neighbours: str) -> None:
    assert record_replay(given(reference(defect, neighbours, 3, "person"))).verdict is Verdict.VIOLATION


def test_the_number_of_rows_may_be_used_where_neighbours_share_it(given: Given) -> None:
    assert record_replay(given(reference("n_from_data", "replace_one", 1, None))).verdict is Verdict.NOT_FALSIFIED
    assert record_replay(given(reference("n_from_data", "add_remove", 1, None))).verdict is Verdict.VIOLATION


def test_replace_one_needs_more_than_add_remove_sensitivity(given: Given) -> None:
    for max_rows, unit_field in ((3, "person"), (1, None)):
        mechanism = reference("replace_one_with_add_remove_sensitivity", "replace_one", max_rows, unit_field)
        result = record_replay(given(mechanism))
        assert result.verdict is Verdict.VIOLATION
        assert result.value is not None and 1.0 < result.value <= 1.4143


def test_a_failure_names_the_neighbour_and_the_stage_and_no_value(given: Given) -> None:
    result = record_replay(given(reference("scores_without_k", "add_remove", 3, "person")))
    assert {failure["stage"] for failure in result.details["failures"]} == {"select"}
    assert all("/" in failure["neighbour"] for failure in result.details["failures"])
    quoted = record_replay(given(reference("artefact_quotes_a_record", "add_remove", 3, "person")))
    text = json.dumps(quoted.to_dict())
    assert "north" not in text and "u0-" not in text


class _Raising(Reference):
    """Fails on every table, with a message that quotes a cell."""

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        raise KeyError(str(table.iloc[0].tolist()) if len(table) else "")


class _Restless(Reference):
    """Draws something at random outside the hook."""

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        made = dict(super().__call__(table, hook))
        return {**made, "nonce": self._rng.bytes(8)}


class _Hidden(Reference):
    """Releases without the hook."""

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        return {"model": b"constant"}


class _Blind(Reference):
    """Shows the hook exact answers that are not the records'."""

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        return super().__call__(table.iloc[:0], hook)


class _Fragile(Reference):
    """Fails on some noisy answers, whatever the records."""

    def _gaussian(self, *args: Any) -> np.ndarray:
        noisy = super()._gaussian(*args)
        if args[0] == "pairs" and int(noisy[0]) % 3 == 0:
            raise OverflowError(str(int(noisy[0])))
        return noisy


def test_failing_on_noise_alone_is_inconclusive_and_no_violation(given: Given) -> None:
    reasons = set()
    for seed in range(8):
        result = record_replay(given(_Fragile(claim(), seed=seed)))
        if result.verdict is not Verdict.NOT_FALSIFIED:  # it may be lucky on every table
            assert result.verdict is Verdict.INCONCLUSIVE
            reasons.add(result.reason)
    # On the first table, or only on a later one.
    assert reasons == {
        "the mechanism fails on an ordinary toy table (OverflowError)",
        "the mechanism fails on some noise (OverflowError)",
    }


class _Chatty(Reference):
    """Warns about a table of its own."""

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        import warnings

        if table.empty:
            warnings.warn("no rows", UserWarning, stacklevel=2)
        return super().__call__(table, hook)


@pytest.mark.parametrize("mechanism", [_Raising, _Restless, _Hidden, _Blind])
def test_what_cannot_be_compared_is_inconclusive(given: Given, mechanism: type[Reference]) -> None:
    result = record_replay(given(mechanism(claim())))
    assert result.verdict is Verdict.INCONCLUSIVE, result.reason
    assert result.detectable is None
    assert "u0-" not in json.dumps(result.to_dict())


def test_no_mechanism_or_an_unknown_tier_is_inconclusive(given: Given) -> None:
    assert record_replay(given()).verdict is Verdict.INCONCLUSIVE
    assert record_replay(given(Reference(claim()), tier="swift")).verdict is Verdict.INCONCLUSIVE


def test_a_warning_on_one_side_is_noted_and_no_violation(given: Given) -> None:
    result = record_replay(given(_Chatty(claim())))
    assert result.verdict is Verdict.NOT_FALSIFIED
    assert len(result.details["notes"]) == 1


# --- the hooks ------------------------------------------------------------------------------------------------------


EVENT = {"kind": "gaussian", "stage": "s", "l2_sensitivity": 1.0, "stddev": 2.0, "rho": 0.125}


def test_the_recorder_keeps_copies_and_the_replayer_returns_them() -> None:
    exact = np.array([1, 2, 3])
    recorder = Recorder(lambda event, cells: cells)
    output = recorder(EVENT, exact, lambda: exact + 1)
    exact[:] = 0
    output[:] = 9
    (call,) = recorder.calls
    assert call.exact.tolist() == [1, 2, 3] and call.output.tolist() == [2, 3, 4] and len(call.redraws) == 3
    replayer = Replayer(recorder.calls)
    again = replayer(EVENT, np.array([5, 5, 5]), lambda: pytest.fail("a replay must not draw"))
    assert again.tolist() == [2, 3, 4]
    assert replayer.calls[0].exact.tolist() == [5, 5, 5]


def test_the_replayer_stops_where_it_has_no_answer() -> None:
    frozen = [Call(EVENT, np.array([1, 2]), np.array([1, 1]))]
    with pytest.raises(Diverged):  # another shape
        Replayer(frozen)(EVENT, np.array([1, 2, 3]), lambda: None)
    with pytest.raises(Diverged):  # another kind
        Replayer(frozen)({**EVENT, "kind": "exponential"}, np.array([1, 2]), lambda: None)
    with pytest.raises(Diverged):  # one release more
        Replayer([])(EVENT, np.array([1, 2]), lambda: None)


def test_a_run_can_be_cut_short_and_no_handler_swallows_that() -> None:
    assert not issubclass(RunComplete, Exception) and not issubclass(Diverged, Exception)
    toy = Toy(COLUMNS, "person", 3)
    outcome = observe(Reference(claim()), toy.frame(toy.units(5, 0)), Recorder(stop_after=2))
    assert outcome.complete and outcome.artefacts is None and len(outcome.calls) == 2


def test_an_error_is_kept_as_type_and_digest() -> None:
    toy = Toy(COLUMNS, "person", 3)
    outcome = observe(_Raising(claim()), toy.frame(toy.units(5, 0)), Recorder())
    assert outcome.error is not None and outcome.error[0] == "KeyError"
    assert len(outcome.error[1]) == 64


# --- the tables ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_row_makes_a_table_of_the_declared_types(kind: str) -> None:
    toy = Toy(COLUMNS, "person", 3)
    crowd = toy.units(4, 0)
    table = toy.frame([*crowd, ("newcomer", unit_rows(toy, kind, 2, crowd[0][1][0]))])
    assert list(table.columns) == ["person", "age", "sex", "region", "cost"]
    assert table["age"].dtype == np.float64 and table["sex"].dtype == object
    assert len(table) == sum(len(rows) for _, rows in crowd) + 2


def test_tables_of_no_unit_and_of_text_keep_their_header() -> None:
    empty = Toy(COLUMNS, "person", 3).frame([])
    assert len(empty) == 0 and list(empty.columns) == ["person", "age", "sex", "region", "cost"]
    text = Toy(COLUMNS, None, 1, as_text=True)
    assert text.frame(text.units(3, 0))["age"].map(type).eq(str).all()


@pytest.mark.parametrize("neighbours", ["add_remove", "replace_one"])
def test_worst_case_pairs_differ_in_one_unit(neighbours: str) -> None:
    for pair in worst_case_pairs(Toy(COLUMNS, "person", 3), neighbours, 0):
        others = [table[table["person"] != "target"].reset_index(drop=True) for table in (pair.left, pair.right)]
        pd.testing.assert_frame_equal(*others)
        assert (pair.left["person"] == "target").sum() == 3
        assert (pair.right["person"] == "target").sum() == (0 if neighbours == "add_remove" else 3)


def test_columns_without_a_declared_domain_still_get_rows(given: Given) -> None:
    columns = (Column("x", "ordered"), Column("y", "categorical"), Column("who", "categorical", "identifier"))
    toy = Toy(columns, "who", 2)
    table = toy.frame(toy.units(3, 0))
    assert list(table.columns) == ["x", "y", "who"]
    assert table["who"].nunique() == 3


def test_counts_of_neighbours_do_not_shrink(given: Given) -> None:
    """Coverage is part of the verdict: fewer neighbours than this would be a weaker audit under the same name."""
    least = {"smoke": 35, "standard": 120}
    for tier, n in least.items():
        result: Any = record_replay(given(reference(None, "add_remove", 3, "person"), tier=tier))
        assert result.n >= n
