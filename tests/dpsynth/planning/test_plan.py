"""A plan keeps its target, and says what the policy's own evaluator says."""

from __future__ import annotations

from typing import Any

import pytest

from dpsynth.errors import ConfigError
from dpsynth.planning import plan
from dpsynth.planning.cost import cost
from dpsynth.schema import Schema
from tests.cli.conftest import schema_document


def _schema(**changes: Any) -> Schema:
    return Schema.from_dict(schema_document(**{"dp:rows": 20_000, **changes}))


@pytest.mark.parametrize("synthesizer", ["auto", "independent", "mst", "adaptive"])
@pytest.mark.parametrize("target", [0.2, 0.02, 0.001])
def test_the_solved_epsilon_is_the_smallest_that_meets_the_target(synthesizer: str, target: float) -> None:
    schema = _schema()
    solved = plan(schema, delta=1e-6, target_error=target, synthesizer=synthesizer)
    cheaper = plan(schema, delta=1e-6, epsilon=solved.chosen.epsilon * 0.97, synthesizer=synthesizer)

    assert solved.chosen.one_way_error.even <= target
    assert cheaper.chosen.one_way_error.even > target


def test_an_error_that_no_epsilon_reaches_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"target_error=1e-09 is out of reach"):
        plan(_schema(), delta=1e-6, target_error=1e-9)


@pytest.mark.parametrize("given", [{}, {"epsilon": 1.0, "target_error": 0.1}])
def test_budget_or_target_but_not_both(given: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="give either epsilon or target_error"):
        plan(_schema(), delta=1e-6, **given)  # type: ignore[arg-type]


def test_rows_must_be_public_or_guessed() -> None:
    schema = Schema.from_dict({k: v for k, v in schema_document().items() if k != "dp:rows"})

    with pytest.raises(ConfigError, match="--rows-estimate"):
        plan(schema, delta=1e-6, epsilon=1.0)
    assert plan(schema, delta=1e-6, epsilon=1.0, rows=777).rows == 777


def test_more_rows_or_epsilon_mean_less_error_and_more_rows_of_a_person_more() -> None:
    def error(epsilon: float = 1.0, rows: int = 10_000, cap: int = 1) -> float:
        fields = [*schema_document()["fields"], {"name": "key", "type": "string", "dp:role": "identifier"}]
        schema = _schema(fields=fields, **{"dp:unit": {"name": "person", "field": "key", "maxRows": cap}})
        return plan(schema, delta=1e-6, epsilon=epsilon, rows=rows, synthesizer="independent").chosen.one_way_error.even

    assert error(2.0) < error() < error(0.5)
    assert error(rows=100_000) < error() < error(cap=4)


def test_rules_that_cannot_be_met_are_told_before_the_run() -> None:
    age, *others = schema_document()["fields"]
    fields = [{**age, "constraints": {"minimum": 0, "maximum": 100}}, *others]
    rules = plan(_schema(fields=fields, **{"dp:unit": {"name": "row"}}), delta=1e-3, epsilon=20.0, policy="demo-health").rules

    assert rules is not None
    assert {outcome.rule for outcome in rules.blocking} == {"DP-001", "DP-002", "DP-005", "SCH-203"}
    assert rules.left_to_the_run > 10


def test_a_plan_within_the_rules_blocks_nothing() -> None:
    fields = [{**schema_document()["fields"][0], "constraints": {"minimum": 0, "maximum": 90}}, *schema_document()["fields"][1:]]
    rules = plan(_schema(fields=fields), delta=1e-6, epsilon=1.0, policy="demo-health").rules

    assert rules is not None and rules.blocking == ()


def test_levels_that_drown_in_noise_are_advised_against() -> None:
    many = {"name": "zip", "type": "string", "categories": [f"{n:05d}" for n in range(5000)]}
    advice = plan(_schema(fields=[*schema_document()["fields"], many]), delta=1e-6, epsilon=0.5).advice

    assert any("'zip' has 5000 levels, of which at most" in line for line in advice)


def test_a_column_that_the_table_lacks_is_told() -> None:
    advice = plan(_schema(), delta=1e-6, epsilon=1.0, header=["age", "sex"]).advice

    assert advice[0] == "column 'visits' is in the schema but not in the table"


# (synthesizer, rows, columns, epsilon at delta 1e-9, CPU seconds, MB), from docs/performance.md.
MEASURED = [
    ("adaptive", 48_842, 14, 1.0, 5.9, 516),
    ("adaptive", 101_766, 25, 1.0, 7.8, 523),
    ("adaptive", 30_000, 24, 10.0, 12.6, 490),
    ("adaptive", 7_634, 22, 0.1, 2.0, 325),
    ("adaptive", 1_000_000, 14, 1.0, 15.7, 845),
    ("adaptive", 20_000, 98, 1.0, 23.5, 869),
    ("mst", 1_000_000, 14, 1.0, 8.1, 837),
    ("mst", 20_000, 98, 1.0, 6.4, 366),
    ("independent", 48_842, 14, 1.0, 1.9, 309),
]


@pytest.mark.parametrize(("synthesizer", "rows", "columns", "epsilon", "seconds", "megabytes"), MEASURED)
def test_the_cost_law_is_within_a_factor_of_three_of_what_was_measured(
    synthesizer: str, rows: int, columns: int, epsilon: float, seconds: float, megabytes: float
) -> None:
    from dpsynth.privacy import PrivacyBudget

    told = cost(synthesizer, rows, columns, rows * (2.0 * PrivacyBudget(epsilon, 1e-9).rho) ** 0.5)

    assert told.cpu_seconds is not None and 1 / 3 < told.cpu_seconds / seconds < 3
    assert told.peak_mb is not None and 1 / 3 < told.peak_mb / megabytes < 3


def test_the_cost_of_aim_is_not_told() -> None:
    assert cost("aim", 1000, 10, 100.0).cpu_seconds is None


def test_persons_that_weigh_one_have_no_price_for_many_rows() -> None:
    fields = [*schema_document()["fields"], {"name": "key", "type": "string", "dp:role": "identifier"}]

    def look(**unit: Any) -> float:
        dataset = {"id": "visits", "population": "patients", "populationBound": 5_000}
        schema = _schema(fields=fields, **{"dp:dataset": dataset, "dp:unit": {"name": "person", "field": "key", "maxRows": 10, **unit}})
        return plan(schema, delta=1e-6, epsilon=1.0, synthesizer="independent").chosen.columns[0].stddev

    assert look(weights="person") < look() / 8
