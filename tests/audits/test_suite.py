"""The suite fails closed, keeps its alpha, says what it needs, and quotes no record."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import polars as pl
import pytest

import audits
from audits import AUDITS, AuditError, AuditInput, AuditResult, Verdict, suite
from audits.registry import TIERS, Audit
from tests.audits.people import CLAIM, COLUMNS, copy, population, strangers, world

NAMES = {
    "recomposition", "record_replay", "residual_calibration", "transcript_likelihood", "noise_eprocess", "membership",
    "one_run_epsilon", "singling_out", "linkability", "attribute_inference", "outliers", "exact_copies", "direct_identifiers",
    "anonymeter_singling_out", "anonymeter_linkability", "anonymeter_inference",
}  # fmt: skip
FAST = ["membership", "exact_copies", "direct_identifiers"]


def answer(name: str, verdict: Verdict, p: float | None = None, e: float | None = None) -> AuditResult:
    return AuditResult(name, verdict, 1.0, (0.0, 1.0), 0.95, 10, 0.5, "an AUC", None, 0.0, "", p, e)


def release(**changes: Any) -> dict[str, Any]:
    people = world(seed=9, n=500, cohort=400)
    found = people.given(strangers(people))
    return {
        "train": found.train, "control": found.control, "synthetic": found.synthetic, "columns": COLUMNS, "claim": CLAIM,
        "train_units": found.train_units, "control_units": found.control_units, "members": found.members, "names": FAST, **changes,
    }  # fmt: skip


def test_the_registry_lists_every_audit() -> None:
    assert set(AUDITS) == NAMES
    assert all(audit.tier in TIERS and set(audit.tiers) <= set(TIERS) and "deep" in audit.tiers for audit in AUDITS.values())


def test_a_quiet_release() -> None:
    found = audits.run(**release())

    assert found.verdict is Verdict.NOT_FALSIFIED
    assert list(found.results) == FAST
    document = found.to_dict()
    assert set(document) == {"tier", "alpha", "verdict", "requested", "results", "claim"}
    assert document["claim"]["digest"] == CLAIM.digest
    json.dumps(document, allow_nan=False)


def test_a_copy_is_a_violation() -> None:
    people = world(seed=9, n=500, cohort=400)

    assert audits.run(**release(synthetic=copy(people))).verdict is Verdict.VIOLATION


def test_by_default_it_runs_what_its_inputs_allow() -> None:
    found = audits.run(synthetic=population(60, 1))

    assert list(found.results) == ["direct_identifiers"]


def test_what_was_asked_for_and_cannot_run_is_inconclusive() -> None:
    found = audits.run(synthetic=population(60, 1), names=["membership", "direct_identifiers", "membership"])

    assert list(found.results) == ["membership", "direct_identifiers"]
    assert found.results["membership"].verdict is Verdict.INCONCLUSIVE
    assert found.verdict is Verdict.INCONCLUSIVE


def test_code_audits_say_what_they_miss() -> None:
    names = ["recomposition", "record_replay", "residual_calibration", "transcript_likelihood", "noise_eprocess"]
    found = audits.run(synthetic=population(60, 1), names=names)

    assert {result.verdict for result in found.results.values()} == {Verdict.INCONCLUSIVE}


def test_a_crash_is_inconclusive_and_quotes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(data: AuditInput) -> AuditResult:
        raise RuntimeError("patient Zebulon")

    monkeypatch.setitem(AUDITS, "membership", Audit(crash, "smoke", ()))
    found = audits.run(**release())

    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.results["membership"].reason == "crashed: RuntimeError"
    assert "Zebulon" not in json.dumps(found.to_dict())  # no number: the seconds of an audit have all kinds of digits


def test_no_audits_is_not_a_pass() -> None:
    assert audits.run(**release(names=[])).verdict is Verdict.INCONCLUSIVE


def test_holm_takes_back_what_chance_explains() -> None:
    results = {
        "sure": answer("sure", Verdict.VIOLATION, p=1e-9),
        "maybe": answer("maybe", Verdict.VIOLATION, p=0.004),
        "fine": answer("fine", Verdict.NOT_FALSIFIED, p=0.5),
        "broken": replace(answer("broken", Verdict.INCONCLUSIVE), detectable=None),
    }
    settled = suite._settle(results, 0.01)

    assert settled["sure"].verdict is Verdict.VIOLATION
    assert settled["maybe"].verdict is Verdict.NOT_FALSIFIED  # .004 > .005 / 3
    assert "Holm" in settled["maybe"].reason


def test_what_is_detectable_allows_for_the_other_audits() -> None:
    """A violation found by one audit alone must reach alpha / 2 over the number of tests; that is what `detectable` speaks of."""
    alone = audits.run(**release(names=["membership"])).results["membership"]
    among = audits.run(**release(names=["membership", "one_run_epsilon", "exact_copies", "direct_identifiers"])).results["membership"]
    stricter = audits.run(**release(names=["membership"], alpha=0.01 / 3)).results["membership"]

    assert alone.detectable is not None and among.detectable is not None
    assert among.detectable > alone.detectable
    assert among.detectable == stricter.detectable  # three of the four give a p-value


def test_the_mean_of_e_values_decides() -> None:
    one = {"a": answer("a", Verdict.VIOLATION, e=250.0)}
    two = {**one, "b": answer("b", Verdict.NOT_FALSIFIED, e=1.0)}

    assert suite._settle(one, 0.01)["a"].verdict is Verdict.VIOLATION
    assert suite._settle(two, 0.01)["a"].verdict is Verdict.NOT_FALSIFIED


def test_a_deterministic_contradiction_stands() -> None:
    assert suite._settle({"r": answer("r", Verdict.VIOLATION)}, 0.01)["r"].verdict is Verdict.VIOLATION


def test_progress_is_told_before_each_audit() -> None:
    calls: list[tuple[str, int, int]] = []
    audits.run(**release(progress=lambda *call: calls.append(call)))

    assert calls == [(name, i, 3) for i, name in enumerate(FAST)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tier": "quick"}, "tier='quick'"),
        ({"alpha": 0.0}, "alpha=0.0"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"names": ["memberships"]}, "unknown audit 'memberships'"),
        ({"columns": ()}, "columns is empty"),
        ({"synthetic": [1, 2]}, "synthetic must be a data frame, not list"),
    ],
)
def test_wrong_arguments_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(AuditError, match=message.replace("(", r"\(")):
        audits.run(**release(**change))


def test_duplicate_columns_are_refused() -> None:
    frame = population(10, 1)
    with pytest.raises(AuditError, match="'age' occurs twice in the synthetic table"):
        audits.run(synthetic=frame.join(frame[["age"]].rename(columns={"age": "age_"})).rename(columns={"age_": "age"}))


def test_other_frames_are_converted() -> None:
    frame = pl.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "x"]})

    assert audits.run(synthetic=frame).verdict is Verdict.NOT_FALSIFIED


def test_importing_audits_is_light() -> None:
    code = "import sys, audits; print(sorted({'scipy', 'pandas', 'sklearn', 'anonymeter', 'numba'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert found.stdout.strip() == "[]"


def test_unknown_names_are_attribute_errors() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = audits.nothing


def test_results_never_quote_a_category() -> None:
    """Direct figures apart (fidelity labels, group levels), no answer carries a cell."""
    people = world(seed=9, n=500, cohort=400)
    columns = tuple(replace(column, group=False) for column in COLUMNS)
    names = [name for name in AUDITS if not name.startswith("anonymeter")]
    text = json.dumps(audits.run(**release(synthetic=copy(people), columns=columns, names=names)).to_dict())

    assert not [value for value in ("O'Brien", "job 3", "asthma", "überall") if value in text]
