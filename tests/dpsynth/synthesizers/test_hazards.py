"""Mistakes seen in other libraries, one test each; see the list of hazards in the notes on algorithms."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

from dpsynth.encode import Encoder
from dpsynth.errors import BudgetError
from dpsynth.marginals import Domain, Measurement
from dpsynth.pgm.estimation import combine
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.budget import rho_of
from dpsynth.schema import Schema
from dpsynth.synthesizers import SYNTHESIZERS, Adaptive, Mst
from tests.dpsynth.synthesizers.hooks import Recording, dependent_table, exact_answers, real_noise, recipe

BUDGET = PrivacyBudget(1.0, 1e-6)
PERSON = PrivacyUnit("person", 1)
WIDE = Domain.of({f"x{i}": 2 + i % 5 for i in range(10)})

every = pytest.mark.parametrize("name", list(SYNTHESIZERS))


def _private(rows: int = 2000, *, domain: Domain = WIDE, hook: Any = None, unit: PrivacyUnit = PERSON) -> PrivateData:
    ids = None if unit.max_rows == 1 else np.arange(rows) // unit.max_rows
    table = dependent_table(domain, rows, 0)
    return PrivateData.of_codes(table, BUDGET, unit=unit, unit_ids=ids, hook=hook or Recording())


def test_selection_is_not_charged_as_if_scores_moved_one_way() -> None:
    """L1 errors fall for one candidate and rise for another when a row comes; the monotonic form would cost four times what it says."""
    hook = Recording()
    Mst().fit(_private(hook=hook))
    picks = [look for look in hook.releases if look.event["kind"] == "exponential"]
    assert len(picks) == len(WIDE) - 1
    for look in picks:
        epsilon, sensitivity = look.event["epsilon"], look.event["score_sensitivity"]
        assert epsilon**2 / 8.0 <= look.event["rho"]
        assert sensitivity == 1.0


def test_scores_go_both_ways_when_a_row_comes() -> None:
    """The reason for the test above."""
    table = dependent_table(WIDE, 50, 0)
    models = [np.full(WIDE.shape(("x1",)), value) for value in (0, 10**6)]
    answers = []
    for rows in (np.arange(50), np.arange(49)):
        hook = Recording()
        private = PrivateData.of_codes(table.take(rows), BUDGET, unit=PERSON, hook=hook)
        private.scores([("x1",), ("x1",)], models, 0.001, "scores")
        answers.append(hook.releases[0].exact)
    assert (answers[0] - answers[1]).tolist() == [1, -1]


def test_l1_errors_are_released_under_the_l2_norm_of_their_own_changes() -> None:
    """m errors move by one each: their L2 sensitivity is sqrt(m), not one."""
    hook = Recording()
    Adaptive().fit(_private(hook=hook))
    scored = [look.event for look in hook.releases if "scores" in look.event.get("forms", [])]
    assert scored
    for event in scored:
        assert event["l2_sensitivity"] >= math.sqrt(event["cells"])


def test_measurements_weigh_by_variance_not_by_stddev() -> None:
    looks = [Measurement(("a",), np.ones(2), 2.0), Measurement(("a", "b"), np.ones((2, 2)), 10.0)]
    one, pair = combine(looks, {"a": 0, "b": 1})
    assert one.weight / pair.weight == pytest.approx(25.0)


@every
def test_the_rows_of_a_person_count_in_every_single_event(name: str) -> None:
    def sensitivities(k: int) -> dict[str, set[float]]:
        hook = Recording()
        recipe(name).fit(_private(hook=hook, unit=PrivacyUnit("person", k)))
        found: dict[str, set[float]] = {}
        for look in hook.releases:
            event = look.event
            if event["kind"] == "exponential":
                # A weighted score moves by a whole multiple of what a row does.
                assert event["score_sensitivity"] >= k
                assert event["score_sensitivity"] % k == 0.0
                continue
            if event["forms"][0] == "scores":
                per_row = event["l2_sensitivity"] / math.sqrt(event["cells"])
            elif event["forms"][0] == "residual":
                own = math.sqrt(math.prod(1.0 - 1.0 / n for n in event["shapes"][0]))
                per_row = event["l2_sensitivity"] / (event["scale"] * own)
            else:
                per_row = event["l2_sensitivity"]
            found.setdefault(event["stage"], set()).add(round(per_row, 9))
        return found

    assert all(values == {1.0} for values in sensitivities(1).values())
    assert all(values == {7.0} for values in sensitivities(7).values())


@every
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_few_rounds_still_pay_for_the_one_ways(name: str, columns: int) -> None:
    private = _private(domain=Domain.of({f"x{i}": 3 for i in range(columns)}))
    recipe(name).fit(private)
    assert private.rho_spent <= BUDGET.rho * (1 + 1e-12)
    assert sum(e["rho"] for e in private.transcript()["events"]) == pytest.approx(private.rho_spent)


@pytest.mark.parametrize("rounds", [1, 2, 7])
def test_no_number_of_rounds_overspends_in_the_last(rounds: int) -> None:
    private = _private()
    Adaptive(rounds=rounds, tree_limit=2000).fit(private)
    assert 0.999 * BUDGET.rho <= private.rho_spent <= BUDGET.rho * (1 + 1e-12)


def test_of_two_valid_conversions_the_one_that_allows_more_is_used() -> None:
    closed = (math.sqrt(math.log(1e6) + 1.0) - math.sqrt(math.log(1e6))) ** 2
    assert rho_of(1.0, 1e-6) > closed * 1.3


@every
def test_nothing_has_a_seed_of_zero_by_default(name: str) -> None:
    chosen = recipe(name)
    model = chosen.fit(_private(300))
    assert inspect.signature(type(model).sample_codes).parameters["seed"].default is None
    assert not {"seed", "rng", "random_state"} & set(inspect.signature(chosen.fit).parameters)
    one, other = (tuple(model.sample_codes(200).columns["x3"].tolist()) for _ in range(2))
    assert one != other


@every
def test_noise_is_drawn_on_the_integers_themselves(name: str) -> None:
    """Noise drawn at zero and added in floats has gaps that give the exact answer away; here all answers are integers."""
    small = Domain.of({"a": 3, "b": 4})
    answers: list[Any] = []

    def notes(event: Any, exact: Any, draw: Any) -> Any:
        answers.append((exact.dtype, real_noise(event, exact, draw)))
        return answers[-1][1]

    recipe(name).fit(_private(300, domain=small, hook=notes))
    for dtype, answer in answers:
        if isinstance(answer, np.ndarray):
            assert (dtype, answer.dtype) == (np.int64, np.int64)


@every
def test_the_number_of_rows_written_is_not_the_exact_one(name: str) -> None:
    def off_by_a_hundred(event: Any, exact: Any, draw: Any) -> Any:
        return exact + 100 if event["kind"] == "gaussian" else exact_answers(event, exact, draw)

    domain = Domain.of({"a": 2, "b": 2})
    model = recipe(name).fit(_private(500, domain=domain, hook=off_by_a_hundred))
    assert model.rows != 500
    exact = recipe(name).fit(_private(500, domain=domain, hook=exact_answers))
    assert exact.rows == 500


def test_a_run_that_died_is_not_repeated_at_half_the_price() -> None:
    calls = 0

    def fails_late(event: Any, exact: Any, draw: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise MemoryError
        return exact_answers(event, exact, draw)

    private = _private(hook=fails_late)
    with pytest.raises(MemoryError):
        Mst().fit(private)
    spent = private.rho_spent
    assert spent > 0.0
    with pytest.raises(BudgetError):
        private.measure(("x0",), BUDGET.rho, "again")
    assert private.rho_spent == spent


@pytest.mark.parametrize("limit", [500, 5000, 50_000])
def test_the_limit_on_the_model_bounds_what_it_holds(limit: int) -> None:
    domain = Domain.of({f"x{i}": 8 for i in range(14)})
    model = Adaptive(tree_limit=limit).fit(_private(4000, domain=domain))
    assert sum(table.size for table in model.beliefs.tables) <= max(limit, sum(8 for _ in domain))


def test_a_spike_is_a_bin_of_its_own_and_bins_come_back_as_spread_values() -> None:
    """Nine of ten people cost nothing, the tenth anything: neither is smeared into the other, nor put into the middle."""
    schema = Schema.from_dict(
        {
            "fields": [
                {"name": "cost", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}, "dp:bins": "dp"},
                {"name": "sex", "type": "string", "categories": ["f", "m"]},
            ],
            "dp:dataset": {"id": "t", "population": "p"},
            "dp:unit": {"name": "person"},
        }
    )
    rng = np.random.default_rng(0)
    encoder = Encoder(schema)
    cells = encoder.grid_cells("cost")
    codes = np.where(rng.random(5000) < 0.9, 0, rng.integers(1, cells, size=5000))
    import pandas as pd

    table = pd.DataFrame({"cost": np.where(codes == 0, 0.0, codes * (1000.0 / cells)), "sex": "f"})
    model = Mst().fit(PrivateData.read(table, schema, PrivacyBudget(10.0, 1e-6), hook=Recording()))
    drawn = model.sample(5000, seed=0)["cost"].to_numpy()
    assert 0.85 < float(np.mean(drawn == 0.0)) < 0.95
    rest = drawn[drawn > 0.0]
    assert len(np.unique(rest)) > 0.9 * len(rest)
    assert abs(float(rest.mean()) - 500.0) < 100.0
