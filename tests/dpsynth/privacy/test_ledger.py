"""The ledger's arithmetic, refusals and life of a reservation, against amounts one can add on paper."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from dpsynth.errors import ConfigError, LedgerError
from dpsynth.privacy import ledger as module
from dpsynth.privacy.ledger import (
    AttemptsExhausted,
    BudgetExhausted,
    Cap,
    Ledger,
    LedgerCorrupt,
    Reservation,
)
from dpsynth.privacy.ledger_book import delta_amount, epsilon_amount, plain
from tests.dpsynth.privacy.conftest import Place


def reserve(ledger: Ledger, epsilon: Any = "1", delta: Any = "1e-6", **more: Any) -> Reservation:
    arguments = {"population": "patients", "unit": "person", "rho": None, "purpose": "file", "max_attempts": 99, **more}
    return ledger.reserve(epsilon=epsilon, delta=delta, **arguments)


def finish(ledger: Ledger, ticket: Reservation, outcome: str = "permitted") -> Reservation:
    return ledger.commit(ledger.mark_read(ticket), outcome=outcome)


def test_ten_tenths_fit_under_a_cap_of_one_and_an_eleventh_does_not(ledger: Ledger) -> None:
    for _ in range(10):
        finish(ledger, reserve(ledger, 0.1, 1e-7, cap=(1.0, 1e-6)))
    spent = ledger.spent("patients", "person")
    assert (spent.epsilon, spent.delta, spent.releases) == (Decimal(1), Decimal("1e-6"), 10)
    with pytest.raises(BudgetExhausted, match=r"would make 1\.000000000001, but the cap is 1 "):
        reserve(ledger, "1e-12", 0)
    assert ledger.spent("patients", "person") == spent
    assert BudgetExhausted.exit_code == 4


def test_delta_alone_can_exhaust_the_cap(ledger: Ledger) -> None:
    ledger.set_cap("patients", "person", 100, "1e-6")
    reserve(ledger, 1, "6e-7")
    with pytest.raises(BudgetExhausted, match=r"delta=0\.0000006 "):
        reserve(ledger, 1, "6e-7")


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("0.1", "0.1"),
        (0.1, "0.1"),
        (3, "3"),
        ("1.0000000000001", "1.000000000001"),  # rounded up, never down
        ("1e-30", "0.000000000001"),
        (Decimal("2.5"), "2.5"),
    ],
)
def test_epsilon_is_kept_as_a_decimal_rounded_up(value: Any, kept: str) -> None:
    assert plain(epsilon_amount(value)) == kept


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0, "0"),
        ("1e-06", "0.000001"),
        (1e-9, "0.000000001"),
        ("1.0000000000001e-6", "0.00000100000000001"),
        ("1e-400", format(Decimal("1e-60"), "f")),  # too small to write down exactly: rounded up to 1e-60
    ],
)
def test_delta_is_kept_as_a_decimal_rounded_up(value: Any, kept: str) -> None:
    assert plain(delta_amount(value)) == kept


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "nan", "Infinity", "one", "", None, True, 10**7, [1]])
def test_a_bad_epsilon_is_refused_and_charges_nothing(ledger: Ledger, value: Any) -> None:
    with pytest.raises(ConfigError, match="epsilon"):
        reserve(ledger, value)
    assert ledger.spent("patients", "person").attempts == 0


@pytest.mark.parametrize("value", [1, 1.5, -1e-9, math.nan, "x", None])
def test_a_bad_delta_is_refused(ledger: Ledger, value: Any) -> None:
    with pytest.raises(ConfigError, match="delta"):
        reserve(ledger, 1, value)


@pytest.mark.parametrize(
    "more",
    [
        {"population": " "},
        {"unit": ""},
        {"max_attempts": 0},
        {"rho": -1},
        {"meta": {"x": math.nan}},
        {"meta": {"x": object()}},
    ],
)
def test_other_bad_arguments_are_refused(ledger: Ledger, more: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        reserve(ledger, **more)
    assert ledger.show()["rows"] == 1


def test_sums_are_exact_for_the_smallest_deltas(ledger: Ledger) -> None:
    reserve(ledger, 1, "1e-60")
    reserve(ledger, 1, "0.5")
    assert plain(ledger.spent("patients", "person").delta) == "0.5" + "0" * 58 + "1"


def test_rho_adds_up_and_is_unknown_once_one_charge_has_none(ledger: Ledger) -> None:
    reserve(ledger, rho=0.25)
    reserve(ledger, rho="0.5")
    assert ledger.spent("patients", "person").rho == Decimal("0.75")
    reserve(ledger, rho=None)
    assert ledger.spent("patients", "person").rho is None


def test_the_docstring_example_runs() -> None:
    assert doctest.testmod(module).failed == 0


def test_populations_and_units_are_counted_apart(ledger: Ledger) -> None:
    reserve(ledger)
    reserve(ledger, population="staff")
    reserve(ledger, unit="stay")
    assert ledger.spent("patients", "person").epsilon == 1
    assert [p["population"] for p in ledger.show()["populations"]] == ["patients", "patients", "staff"]


# --- life of a reservation


def test_a_reservation_is_charged_from_the_start_and_knows_the_totals(ledger: Ledger) -> None:
    first = reserve(ledger, 1, cap=(5, "1e-5"))
    second = reserve(ledger, 2)
    assert (first.before.epsilon, first.after.epsilon, second.before.epsilon, second.after.epsilon) == (0, 1, 1, 3)
    assert second.cap == Cap(Decimal(5), Decimal("1e-5"))
    assert ledger.spent("patients", "person").unfinished == 2


def test_abandoning_before_reading_gives_the_charge_back(ledger: Ledger) -> None:
    ticket = reserve(ledger)
    assert ledger.abandon(ticket) is True
    assert ledger.spent("patients", "person").attempts == 0
    with pytest.raises(LedgerError, match="is abandoned; it cannot become read"):
        ledger.mark_read(ticket)


def test_abandoning_after_reading_stays_charged(ledger: Ledger) -> None:
    ticket = ledger.mark_read(reserve(ledger))
    assert ledger.abandon(ticket.id, reason="crashed") is False
    spent = ledger.spent("patients", "person")
    assert (spent.epsilon, spent.attempts, spent.unfinished, spent.releases) == (1, 1, 0, 0)


def _read(ledger: Ledger, ticket: Reservation) -> Any:
    return ledger.mark_read(ticket)


def _commit(ledger: Ledger, ticket: Reservation) -> Any:
    return ledger.commit(ticket, outcome="denied")


def _abandon(ledger: Ledger, ticket: Reservation) -> Any:
    return ledger.abandon(ticket)


@pytest.mark.parametrize(
    ("before", "forbidden"),
    [
        ([], _commit),  # never read
        ([_read], _read),  # only one caller may read on one charge
        ([_read, _commit], _read),
        ([_read, _commit], _commit),
        ([_read, _commit], _abandon),
        ([_read, _abandon], _commit),
        ([_abandon], _abandon),
    ],
)
def test_a_reservation_lives_only_once(
    ledger: Ledger, before: list[Callable[[Ledger, Reservation], Any]], forbidden: Callable[[Ledger, Reservation], Any]
) -> None:
    ticket = reserve(ledger)
    for step in before:
        step(ledger, ticket)
    rows = ledger.show()["rows"]
    with pytest.raises(LedgerError, match="it cannot become"):
        forbidden(ledger, ticket)
    assert ledger.show()["rows"] == rows


def test_an_unknown_reservation_and_an_unknown_outcome_are_refused(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="no reservation nothing"):
        ledger.abandon("nothing")
    with pytest.raises(ConfigError, match="outcome=fine must be one of"):
        ledger.commit(ledger.mark_read(reserve(ledger)), outcome="fine")


def test_the_same_idempotency_key_returns_the_same_charge_until_data_is_read(ledger: Ledger) -> None:
    first = reserve(ledger, idempotency_key="night-run")
    again = reserve(ledger, idempotency_key="night-run")
    assert again == first
    assert ledger.spent("patients", "person").epsilon == 1
    with pytest.raises(LedgerError, match="of another request"):
        reserve(ledger, 2, idempotency_key="night-run")
    ledger.mark_read(again)
    with pytest.raises(LedgerError, match="which is read; use a new key"):
        reserve(ledger, idempotency_key="night-run")


# --- attempts


@pytest.mark.parametrize("outcome", ["denied", "indeterminate", None])
def test_a_purpose_is_tried_at_most_max_attempts_times(ledger: Ledger, outcome: str | None) -> None:
    for attempt in (1, 2, 3):
        ticket = reserve(ledger, max_attempts=3)
        assert ticket.attempt == attempt
        if outcome:
            finish(ledger, ticket, outcome)  # None: the run died
    with pytest.raises(AttemptsExhausted, match="was tried 3 times"):
        reserve(ledger, max_attempts=3)
    assert reserve(ledger, max_attempts=3, purpose="another").attempt == 1


def test_a_permitted_release_closes_the_series_and_ungated_or_unread_runs_do_not_count(ledger: Ledger) -> None:
    finish(ledger, reserve(ledger), "denied")
    finish(ledger, reserve(ledger), "ungated")
    ledger.abandon(reserve(ledger))
    assert reserve(ledger).attempt == 2
    finish(ledger, reserve(ledger), "permitted")
    assert reserve(ledger).attempt == 1


# --- caps, epochs, overlaps


def test_the_first_cap_given_stays_and_a_looser_one_does_not_loosen_it(ledger: Ledger) -> None:
    reserve(ledger, 1, cap=(2, "1e-5"))
    with pytest.raises(BudgetExhausted, match="the cap is 2"):
        reserve(ledger, 2, cap=(50, "1e-5"))
    with pytest.raises(BudgetExhausted, match=r"the cap is 1\.5"):
        reserve(ledger, 1, cap=(1.5, "1e-5"))  # a stricter one holds for this request
    reserve(ledger, 1)


def test_raising_a_cap_needs_a_reason_and_an_approver_and_lowering_does_not(ledger: Ledger) -> None:
    ledger.set_cap("patients", "person", 2, "1e-5")
    for more in ({}, {"reason": "new study"}, {"approved_by": "privacy officer"}):
        with pytest.raises(LedgerError, match="needs reason and approved_by"):
            ledger.set_cap("patients", "person", 2, "2e-5", **more)
    ledger.set_cap("patients", "person", 1, "1e-5")
    ledger.set_cap("patients", "person", 3, "1e-5", reason="new study", approved_by="privacy officer")
    assert ledger.history()[-1]["approved_by"] == "privacy officer"


def test_a_refused_first_use_leaves_no_cap_behind(ledger: Ledger) -> None:
    with pytest.raises(BudgetExhausted):
        reserve(ledger, 3, cap=(2, "1e-5"))
    assert ledger.show()["rows"] == 1


def test_an_epoch_starts_at_zero_and_needs_a_declaration(ledger: Ledger) -> None:
    reserve(ledger, 1, cap=(1, "1e-5"))
    with pytest.raises(LedgerError, match="declaration"):
        ledger.new_epoch("patients", "person", declaration="", approved_by="x")
    ledger.new_epoch("patients", "person", declaration="only patients admitted after 2026", approved_by="x")
    assert ledger.spent("patients", "person").epsilon == 0
    assert reserve(ledger, 1).attempt == 1  # new people: the earlier attempts were on others
    with pytest.raises(BudgetExhausted):
        reserve(ledger, 1)


def test_overlapping_populations_pay_for_each_other_but_not_for_third_ones(ledger: Ledger) -> None:
    reserve(ledger, 1, population="a")
    reserve(ledger, 2, population="b")
    reserve(ledger, 4, population="c")
    ledger.declare_overlap("a", "b", "person")
    ledger.declare_overlap("b", "c", "person")
    assert [ledger.spent(p, "person").epsilon for p in "abc"] == [3, 7, 6]
    ledger.set_cap("c", "person", 6, "1e-5")
    with pytest.raises(BudgetExhausted, match="population 'c'"):
        reserve(ledger, 1, population="b")
    assert not ledger.what_if("b", "person", 1, 0).allowed
    ledger.new_epoch("b", "person", declaration="new people", approved_by="x")
    assert [ledger.spent(p, "person").epsilon for p in "abc"] == [3, 5, 6]  # b's past still weighs on a and c
    with pytest.raises(LedgerError, match="itself"):
        ledger.declare_overlap("a", "a", "person")


def test_what_if_answers_without_writing(ledger: Ledger) -> None:
    reserve(ledger, 1, "1e-6", cap=(4, "1e-5"))
    answer = ledger.what_if("patients", "person", "1.5", "1e-6")
    assert (answer.allowed, answer.releases_left, answer.epsilon_after) == (True, 2, Decimal("2.5"))
    assert ledger.what_if("patients", "person", 1, "3e-6").releases_left == 3
    assert not ledger.what_if("patients", "person", "3.1", 0).allowed
    assert not ledger.what_if("patients", "person", 2, 0, cap=(2, "1e-5")).allowed
    assert ledger.what_if("staff", "person", 100, "0.1").releases_left is None
    assert answer.to_dict()["before"] == {**ledger.spent("patients", "person").to_dict(), "epsilon": 1.0}
    assert ledger.show()["rows"] == 3


# --- tampering, the same in both stores


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET body = '{}'",
        "DELETE FROM entries WHERE seq = 2",
        "INSERT INTO entries VALUES (9, '{}', 'x', 'y')",
        "INSERT INTO entries VALUES (3, '{}', 'x', 'y')",  # the next number, on another chain
    ],
)
def test_the_store_itself_refuses_anything_but_the_next_row(ledger: Ledger, place: Place, where: str, statement: str) -> None:
    reserve(ledger)
    with pytest.raises(Exception, match="append-only"):
        place.execute(where, statement)
    assert ledger.verify().rows == 2


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ('UPDATE entries SET body = replace(body, \'"epsilon":"2"\', \'"epsilon":"1"\')', "row 3 was edited"),
        ("DELETE FROM entries WHERE seq = 2", "row 2 is missing"),
        ("DELETE FROM entries", "no rows"),
        ("UPDATE entries SET seq = 9 WHERE seq = 4", "row 4 is missing"),
        ("UPDATE entries SET hash = lower(hex(randomblob(32))) WHERE seq = 4", "row 4 was edited"),
    ],
)
def test_an_edited_or_deleted_row_stops_every_later_charge(ledger: Ledger, place: Place, where: str, statement: str, message: str) -> None:
    for epsilon in (1, 2, 3):
        reserve(ledger, epsilon)
    place.unguard(where)
    place.execute(where, statement)
    place.guard(where)
    for action in (lambda: reserve(ledger), lambda: ledger.spent("patients", "person"), ledger.history, ledger.verify):
        with pytest.raises(LedgerCorrupt, match=message):
            action()


def test_missing_triggers_are_found(ledger: Ledger, place: Place, where: str) -> None:
    place.unguard(where)
    with pytest.raises(LedgerCorrupt, match="triggers"):
        ledger.verify()
    place.guard(where)
    assert ledger.verify().rows == 1


def _certificate(ticket: Reservation, **changes: Any) -> dict[str, Any]:
    return {
        "predicate": {
            "release": {"id": changes.get("release", ticket.id)},
            "guarantee": {"epsilon": changes.get("epsilon", float(ticket.epsilon)), "delta": plain(ticket.delta)},
            "ledger": {"head": changes.get("head", ticket.head)},
        }
    }


def test_a_truncated_tail_is_found_by_the_certificates(ledger: Ledger, place: Place, where: str) -> None:
    first = finish(ledger, reserve(ledger))
    second = finish(ledger, reserve(ledger))
    certificates = [_certificate(first), _certificate(second)]
    assert ledger.verify(certificates).certificates == 2
    assert ledger.verify([_certificate(first, head=None)]).unanchored == 1
    place.unguard(where)
    place.execute(where, "DELETE FROM entries WHERE seq > 4")
    place.guard(where)
    assert ledger.spent("patients", "person").attempts == 1  # the chain alone looks fine
    assert ledger.verify([certificates[0]]).certificates == 1
    with pytest.raises(LedgerCorrupt, match=f"certified with release {second.id} is gone"):
        ledger.verify(certificates)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"release": "other"}, "no charge for the certified release"),
        ({"epsilon": 1.5}, "charged another price"),
        ({"epsilon": 0.2}, "charged another price"),
    ],
)
def test_a_certificate_that_the_ledger_never_paid_for_is_found(ledger: Ledger, changes: dict[str, Any], message: str) -> None:
    ticket = finish(ledger, reserve(ledger))
    with pytest.raises(LedgerCorrupt, match=message):
        ledger.verify([_certificate(ticket, **changes)])
    with pytest.raises(LedgerError, match="no release, guarantee or ledger"):
        ledger.verify([{"predicate": {}}])


def test_a_replaced_ledger_does_not_know_the_reservation(ledger: Ledger, place: Place) -> None:
    ticket = reserve(ledger)
    with pytest.raises(LedgerCorrupt, match="was it replaced"):
        Ledger.open(place.new()).mark_read(ticket)


def test_opening_again_finds_the_same_ledger_and_does_not_make_a_missing_one(ledger: Ledger, place: Place, where: str) -> None:
    ticket = reserve(ledger)
    again = Ledger.open(where, create=False)
    assert (again.head, again.spent("patients", "person").epsilon) == (ticket.head, 1)
    with pytest.raises(LedgerError, match="there is no ledger"):
        Ledger.open(place.new(), create=False)
