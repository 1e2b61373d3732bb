"""Composition by zCDP: against sums on paper and the conversion itself; refused wherever the rhos do not add up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dpsynth.errors import ConfigError, LedgerError
from dpsynth.privacy.budget import epsilon_of, log_delta, rho_of
from dpsynth.privacy.ledger import BudgetExhausted, Cap, Ledger, Reservation
from dpsynth.privacy.ledger_book import ZCDP, rho_amount

KIND = "zCDP, add_remove"
RHO = rho_of(1, 1e-6)


def release(ledger: Ledger, epsilon: float = 1, delta: float = 1e-6, population: str = "patients", **more: Any) -> Reservation:
    arguments = {"rho": rho_of(epsilon, delta), "accounting": KIND, "purpose": "file", "max_attempts": 99, **more}
    ticket = ledger.reserve(population, "person", str(epsilon), str(delta), **arguments)
    return ledger.commit(ledger.mark_read(ticket), outcome="permitted")


def capped(ledger: Ledger, epsilon: Any = 2, delta: Any = "1e-5", population: str = "patients", **more: Any) -> None:
    ledger.set_cap(population, "person", epsilon, delta, composition=ZCDP, **more)


def test_sums_of_rho_reach_further_than_sums_of_epsilon(ledger: Ledger) -> None:
    """Cap (2, 1e-5), releases at (1, 1e-6): two by addition of epsilon; by rho as many as rho_of(2, 1e-5) holds."""
    capped(ledger)
    possible = int(rho_of(2, 1e-5) / RHO)
    assert possible == 4  # 0.1106 / 0.0244
    assert ledger.what_if("patients", "person", 1, "1e-6").releases_left == possible
    for done in range(possible):
        release(ledger)
        spent = ledger.spent("patients", "person")
        assert float(spent.epsilon) == pytest.approx(epsilon_of((done + 1) * RHO, 1e-5), abs=1e-9)
        assert (spent.delta, spent.composition) == (Decimal("1e-5"), ZCDP)
    with pytest.raises(BudgetExhausted, match=r"but the cap, epsilon=2 at delta=0\.00001, allows"):
        release(ledger)
    assert not ledger.what_if("patients", "person", 1, "1e-6").allowed
    assert ledger.spent("patients", "person").releases == possible


def test_two_releases_at_epsilon_one_count_as_1_29_at_delta_1e_5() -> None:
    """The figure of the docs, by the definition alone: no smaller epsilon has this delta, and the Gaussian's own is below."""
    from math import erf, exp, log, sqrt

    rho = 2 * RHO
    epsilon = epsilon_of(rho, 1e-5)
    assert epsilon == pytest.approx(1.2896, abs=1e-4)
    assert log_delta(rho, epsilon) <= log(1e-5) < log_delta(rho, epsilon - 1e-6)
    # A Gaussian mechanism is rho-zCDP with mu = sqrt(2 rho); its exact delta (Balle and Wang 2018, Theorem 8) must be covered.
    mu = sqrt(2 * rho)
    phi = lambda x: (1 + erf(x / sqrt(2))) / 2  # noqa: E731
    assert phi(mu / 2 - epsilon / mu) - exp(epsilon) * phi(-mu / 2 - epsilon / mu) <= 1e-5


def test_one_release_at_exactly_the_cap_fits_and_nothing_more(ledger: Ledger) -> None:
    for number, (epsilon, delta) in enumerate([(1, 1e-6), (0.1, 1e-9), (0.01, 1e-6), (10, 1e-5), (3, 1e-6)]):
        population = f"p{number}"
        capped(ledger, epsilon, delta, population)
        release(ledger, epsilon, delta, population)
        with pytest.raises(BudgetExhausted):
            release(ledger, 0.001, 1e-9, population)


@pytest.mark.parametrize("epsilon", ["0.001", "0.05", "1", "10"])
@pytest.mark.parametrize("delta", ["1e-12", "1e-6", "0.01"])
def test_the_rho_of_a_cap_never_implies_more_than_the_cap(epsilon: str, delta: str) -> None:
    cap = Cap(Decimal(epsilon), Decimal(delta), ZCDP)
    assert epsilon_of(float(cap.rho), float(delta)) <= float(epsilon) * (1 + 1e-12)
    assert float(cap.rho) >= rho_of(float(epsilon), float(delta)) - 1e-12


def test_before_and_after_are_totals_by_the_same_rule(ledger: Ledger) -> None:
    capped(ledger)
    first, second = release(ledger), release(ledger)
    assert (first.before.epsilon, first.before.delta) == (0, 0)
    assert (first.after.epsilon, first.after.rho) == (second.before.epsilon, second.before.rho)
    assert float(second.after.epsilon) == pytest.approx(epsilon_of(2 * RHO, 1e-5), abs=1e-9)
    assert second.after.to_dict()["composition"] == ZCDP


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"rho": None}, "this charge has no rho"),
        ({"rho": 0}, "this charge has no rho"),
        ({"accounting": None}, "does not say its accounting"),
        ({"accounting": "zCDP, replace_one"}, "differ in kind: zCDP, add_remove, zCDP, replace_one"),
    ],
)
def test_charges_that_do_not_add_up_are_refused(ledger: Ledger, more: dict[str, Any], message: str) -> None:
    capped(ledger)
    release(ledger)
    rows = ledger.show()["rows"]
    with pytest.raises(LedgerError, match=message):
        release(ledger, **more)
    assert ledger.show()["rows"] == rows


@pytest.mark.parametrize("more", [{"rho": None}, {"accounting": None}, {"accounting": "other"}])
def test_a_population_with_a_charge_of_another_kind_cannot_be_switched(ledger: Ledger, more: dict[str, Any]) -> None:
    release(ledger)
    release(ledger, **more)
    with pytest.raises(LedgerError, match="population 'patients' is composed by zcdp, but"):
        capped(ledger, 99)


def test_switching_a_cap_needs_a_reason_and_an_approver_and_keeps_otherwise(ledger: Ledger) -> None:
    ledger.set_cap("patients", "person", 2, "1e-5")
    with pytest.raises(LedgerError, match="recomposing it needs reason"):
        capped(ledger, 1)
    capped(ledger, 1, reason="declared before the first release", approved_by="privacy officer")
    ledger.set_cap("patients", "person", "0.5", "1e-5")  # lower, and composed as before
    assert ledger.show()["populations"][0]["cap"] == {"epsilon": 0.5, "delta": "0.00001", "composition": ZCDP}
    with pytest.raises(LedgerError, match="recomposing it needs reason"):
        ledger.set_cap("patients", "person", "0.5", "1e-5", composition="basic")


def test_a_request_with_a_stricter_cap_is_held_to_it_by_the_same_rule(ledger: Ledger) -> None:
    capped(ledger)
    release(ledger, cap=("1.3", "1e-5"))
    release(ledger, cap=("1.3", "1e-5"))  # 1.29
    with pytest.raises(BudgetExhausted, match=r"epsilon=1\.3 at"):
        release(ledger, cap=("1.3", "1e-5"))


def test_overlapping_populations_are_held_each_by_its_own_rule(ledger: Ledger) -> None:
    capped(ledger, population="a")
    ledger.set_cap("b", "person", 2, "1e-5")
    ledger.declare_overlap("a", "b", "person")
    release(ledger, population="a")
    release(ledger, population="b")
    assert float(ledger.spent("a", "person").epsilon) == pytest.approx(epsilon_of(2 * RHO, 1e-5), abs=1e-9)
    assert ledger.spent("b", "person").epsilon == 2
    with pytest.raises(BudgetExhausted, match="population 'b'"):
        release(ledger, population="a")  # a has room left by rho, b has none by epsilon
    assert not ledger.what_if("a", "person", 1, "1e-6").allowed


@pytest.mark.parametrize(("composition", "delta"), [("renyi", "1e-5"), (ZCDP, 0)])
def test_unknown_compositions_and_a_delta_of_zero_are_refused(ledger: Ledger, composition: str, delta: Any) -> None:
    with pytest.raises(ConfigError, match="composition="):
        ledger.set_cap("patients", "person", 1, delta, composition=composition)
    assert ledger.show()["rows"] == 1


def test_amounts_of_rho_are_rounded_up() -> None:
    assert rho_amount(RHO) >= Decimal(repr(RHO))
