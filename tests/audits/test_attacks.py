"""Every attack on generators that copy their training table (flagged) and on ones that ignore it (quiet)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from audits.registry import AUDITS
from audits.result import AuditInput, Verdict
from audits.tables import prepare
from tests.audits.people import CLAIM, COLUMNS, LEAKY, QUIET, World, copy, population, strangers, world

ATTACKS = (
    "membership", "one_run_epsilon", "singling_out", "linkability", "attribute_inference", "outliers", "exact_copies",
)  # fmt: skip
MISSES = {
    # at epsilon 1 a bootstrap, which leaves out a third of the people, still lets half of the coins be guessed only a little better
    ("one_run_epsilon", "bootstrap"),
    ("attribute_inference", "bootstrap"),
}


@pytest.fixture(scope="module")
def coins() -> World:
    return world()


@pytest.fixture(scope="module")
def prepared(coins: World) -> dict[str, AuditInput]:
    """One input per generator: the attacks on it share their work."""
    return {name: prepare(coins.given(make(coins))) for name, make in (LEAKY | QUIET).items()}


@pytest.mark.parametrize("generator", LEAKY)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_copying_generator_is_flagged(attack: str, generator: str, prepared: dict[str, AuditInput]) -> None:
    if (attack, generator) in MISSES:
        pytest.skip("too weak a leak for this attack at epsilon 1; the others catch it")
    result = AUDITS[attack].run(prepared[generator])

    assert result.verdict is Verdict.VIOLATION, result.reason
    assert result.p_value is not None and result.p_value <= 0.01
    assert result.interval[0] is not None and result.interval[0] > 0.05


@pytest.mark.parametrize("generator", QUIET)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_generator_that_ignores_the_records_is_not(attack: str, generator: str, prepared: dict[str, AuditInput]) -> None:
    result = AUDITS[attack].run(prepared[generator])

    assert result.verdict is Verdict.NOT_FALSIFIED, result.reason
    assert result.detectable is not None
    assert result.claim_digest == CLAIM.digest
    if attack == "membership":
        # One interval in twenty misses one half; none misses it by much.
        assert result.interval[0] is not None and result.interval[0] <= 0.53
        assert result.interval[1] is not None and result.interval[1] >= 0.47
    elif attack != "one_run_epsilon":
        assert result.interval[0] == 0.0 and (result.interval[1] or 0) < 0.2


@pytest.mark.parametrize("attack", ATTACKS)
def test_persons_with_many_rows(attack: str) -> None:
    """Up to four rows a person: units are compared, and neither side stands out by itself."""
    people = world(seed=5, n=1400, cohort=1000, rows_each=4)

    flagged = AUDITS[attack].run(people.given(copy(people), tier="smoke"))
    quiet = AUDITS[attack].run(people.given(strangers(people), tier="smoke"))

    assert flagged.verdict is Verdict.VIOLATION, flagged.reason
    assert quiet.verdict is Verdict.NOT_FALSIFIED, quiet.reason


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_control_table_will_do_without_coins(attack: str, coins: World) -> None:
    flagged = AUDITS[attack].run(coins.given(copy(coins), members=None))
    quiet = AUDITS[attack].run(coins.given(strangers(coins), members=None))

    assert flagged.verdict is Verdict.VIOLATION, flagged.reason
    assert quiet.verdict is Verdict.NOT_FALSIFIED, quiet.reason


@pytest.mark.parametrize("attack", ATTACKS)
def test_without_a_claim_a_copy_is_still_a_violation(attack: str, coins: World) -> None:
    flagged = AUDITS[attack].run(coins.given(copy(coins), claim=None))
    # One world is one draw: 0.01 is met by one in a hundred of them.
    quiet = AUDITS[attack].run(coins.given(strangers(coins), claim=None, alpha=0.001))

    assert flagged.verdict is Verdict.VIOLATION, flagged.reason
    assert quiet.verdict is Verdict.NOT_FALSIFIED, quiet.reason
    assert flagged.claim_digest is None


@pytest.mark.parametrize("attack", ["membership", "singling_out", "linkability", "exact_copies"])
def test_a_control_half_or_twice_the_size_raises_no_alarm(attack: str) -> None:
    """anonymeter 1.1.0 reports 22 % risk on independent data with an unequal control."""
    for n_control in (600, 2400):
        data = AuditInput(
            synthetic=population(1200, 71), columns=COLUMNS, train=population(1200, 72), control=population(n_control, 73),
            claim=None, alpha=0.01,
        )  # fmt: skip
        result = AUDITS[attack].run(data)

        assert result.verdict is Verdict.NOT_FALSIFIED, result.reason
        if attack != "membership":
            assert result.value is not None and result.value < 0.1


@pytest.mark.statistical
def test_membership_scores_of_quiet_generators_are_uniform_enough() -> None:
    """Over 12 worlds and no claim at all, the AUC straddles one half and nobody is accused."""
    p_values = []
    for seed in range(12):
        people = world(seed=100 + seed, n=700, cohort=600)
        data = people.given(population(700, 5000 + seed), claim=None, tier="smoke")
        p_values.append(AUDITS["membership"].run(data).p_value)

    assert sum(p is not None and p <= 0.05 for p in p_values) <= 3  # P[Binomial(12, .05) > 3] = 0.002


def test_the_transcript_makes_the_likelihood_stronger(coins: World) -> None:
    """Noisy two-way tables of the training rows, released as they are: the pairs that were measured tell who was in."""
    from audits.membership import membership_scores

    pairs = [["region", "job"], ["job", "condition"], ["job", "age"]]
    transcript = {
        "events": [
            {"kind": "gaussian", "stage": "pairs", "cliques": pairs, "forms": ["marginal"], "scale": 1, "stddev": 1.0, "rho": 0.1},
            {"kind": "exponential", "stage": "select", "rho": 0.1},
        ]
    }  # fmt: skip
    rng = np.random.default_rng(0)
    synthetic = coins.train.copy()
    for name in ("sex", "balance", "visits", "since", "smoker"):
        synthetic[name] = rng.permutation(synthetic[name].to_numpy(copy=True))
    blind, told = (prepare(coins.given(synthetic, transcript=t)) for t in (None, transcript))

    assert membership_scores(told).selection_auc["likelihood"] > membership_scores(blind).selection_auc["likelihood"]


def test_an_input_is_prepared_once(coins: World) -> None:
    data = prepare(coins.given(strangers(coins)))

    assert prepare(data) is data
    assert prepare(replace(data, seed=1)).game is not data.game


def test_the_same_seed_gives_the_same_answer(coins: World) -> None:
    first, second = (AUDITS["singling_out"].run(coins.given(copy(coins), tier="smoke", seed=9)) for _ in range(2))

    assert (first.value, first.interval, first.n) == (second.value, second.interval, second.n)


def test_membership_is_of_units_not_rows() -> None:
    """A person's rows add up: with three rows each, weakly telling rows tell more about persons."""
    people = world(seed=8, n=1000, cohort=900, rows_each=3)
    result = AUDITS["membership"].run(people.given(copy(people)))

    assert result.n < 900
    assert isinstance(people.train, pd.DataFrame) and len(people.train) > len(np.unique(people.train_units))
