"""The second opinion, with its guards: what its version 1.1.0 gets wrong must not reach the answer."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pandas as pd
import pytest

from audits import anonymeter_adapter
from audits.anonymeter_adapter import anonymeter_inference, anonymeter_linkability, anonymeter_singling_out, installed
from audits.result import AuditInput, Column, Verdict
from audits.tables import infer_columns, prepare
from tests.audits.people import COLUMNS, copy, population, strangers, world

ALL = [anonymeter_singling_out, anonymeter_linkability, anonymeter_inference]


@pytest.fixture
def people():  # type: ignore[no-untyped-def]
    return world(seed=6, n=900, cohort=900)


def needs_anonymeter() -> None:
    if not installed():
        pytest.skip("anonymeter is not installed")


@pytest.mark.parametrize("audit", ALL)
def test_without_the_extra_it_says_so(audit, people, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(anonymeter_adapter, "installed", lambda: False)
    result = audit(people.given(strangers(people)))

    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reason == "anonymeter extra not installed"


@pytest.mark.parametrize("audit", ALL)
def test_copies_are_risky_and_strangers_are_not(audit, people, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    needs_anonymeter()
    # Its random links are the one thing it draws without a seed. Once in fifty thousand runs they are so good that no answer is given.
    rng = np.random.default_rng(0)
    guess = "anonymeter.evaluators.linkability_evaluator._random_links"
    monkeypatch.setattr(guess, lambda n_synthetic, n_attacks, n_neighbors: rng.integers(n_synthetic, size=(n_attacks, n_neighbors)))
    leaky, quiet = (audit(people.given(make(people), tier="smoke")) for make in (copy, strangers))

    assert leaky.value > 0.2 and leaky.interval[0] > 0.1, leaky.reason
    assert quiet.verdict is Verdict.NOT_FALSIFIED and quiet.value < 0.1, quiet.reason
    assert quiet.detectable is not None


def test_an_unequal_control_does_not_make_risk() -> None:
    needs_anonymeter()
    for n_control in (500, 3000):
        data = AuditInput(
            synthetic=population(1000, 3), columns=COLUMNS, train=population(1000, 1), control=population(n_control, 2), tier="smoke"
        )
        result = anonymeter_singling_out(data)

        assert result.interval[0] == 0.0 and result.value is not None and result.value < 0.08


def test_zero_predicates_are_not_a_pass() -> None:
    needs_anonymeter()
    frames = [pd.DataFrame({"a": ["x", "y"] * 150, "b": ["p", "q", "q", "p"] * 75}) for _ in range(3)]
    data = AuditInput(synthetic=frames[0], columns=infer_columns(frames), train=frames[1], control=frames[2])
    result = anonymeter_singling_out(data)

    assert result.verdict is Verdict.INCONCLUSIVE


def test_predicates_generated_are_the_denominator() -> None:
    """120 distinct records cannot give 500 predicates; the rate is over those that came out."""
    needs_anonymeter()
    people = world(seed=7, n=800, cohort=800)
    small = copy(people).head(150)
    result = anonymeter_singling_out(people.given(small, tier="smoke", columns=COLUMNS[:4]))

    assert result.verdict is Verdict.INCONCLUSIVE or result.n < 500


def test_negative_secrets_are_not_always_right() -> None:
    """Its regression mode calls every negative guess correct."""
    needs_anonymeter()
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame({"a": rng.normal(size=400), "b": rng.normal(size=400), "s": -rng.exponential(size=400)}) for _ in range(3)]
    columns = (*infer_columns(frames)[:2], Column("s", "ordered", role="sensitive"))
    result = anonymeter_inference(AuditInput(synthetic=frames[0], columns=columns, train=frames[1], control=frames[2], tier="smoke"))

    assert result.verdict is not Verdict.VIOLATION
    assert result.details["on_members"] < 0.3


def test_it_leaves_the_process_as_it_found_it(people, caplog) -> None:  # type: ignore[no-untyped-def]
    needs_anonymeter()
    np.random.seed(11)
    before = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG):
        warnings.simplefilter("error")
        anonymeter_singling_out(people.given(strangers(people), tier="smoke"))

    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]
    assert not [record for record in caplog.records if record.name.startswith("anonymeter")]


def test_no_value_of_the_tables_reaches_it(people) -> None:  # type: ignore[no-untyped-def]
    data = prepare(people.given(strangers(people)))
    for frame in anonymeter_adapter._tables(data, distinct=True, ordered_as_numbers=True):
        assert list(frame.columns) == [f"c{j}" for j in range(len(COLUMNS))]
        assert all(str(value).startswith("v") for value in frame["c0"])
