"""What the report says in numbers, against closed forms and values worked out by hand."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from reports.figures.canvas import mix, ticks, xy
from reports.figures.model_graph import Clique, model_graph
from reports.figures.overlay import Shares, overlay
from reports.guarantee import DEPLOYMENTS, advantage, posterior, standing
from reports.wording import anything, exact, limit, num, pct, span


@pytest.mark.parametrize(("epsilon", "words"), [(1, "73.1%"), (2, "88.1%"), (3, "95.3%"), (5, "99.3%"), (10, "> 99.9%")])
def test_a_prior_of_one_half(epsilon: float, words: str) -> None:
    assert pct(posterior(0.5, epsilon)) == words


@pytest.mark.parametrize("prior", [0.001, 0.3, 0.9])
@pytest.mark.parametrize("epsilon", [-1000.0, -2.0, 0.0, 0.5, 4.0, 1000.0])
def test_posterior_is_bayes_rule(prior: float, epsilon: float) -> None:
    factor = math.exp(min(max(epsilon, -700), 700))
    assert posterior(prior, epsilon) == pytest.approx(prior * factor / (1 - prior + prior * factor), rel=1e-12)


@pytest.mark.parametrize(("epsilon", "expected"), [(1, 0.46), (2, 0.76), (3, 0.91), (5, 0.99)])
def test_advantage_against_the_trade_off_region(epsilon: float, expected: float) -> None:
    assert advantage(epsilon, 0.0) == pytest.approx(expected, abs=0.005)
    # oracle: the largest tpr - fpr under both lines of the region, by grid
    delta = 0.05
    e = math.exp(epsilon)
    grid = [i / 20_000 for i in range(20_001)]
    best = max(min(1.0, e * f + delta, 1 - (1 - f - delta) / e) - f for f in grid)
    assert advantage(epsilon, delta) == pytest.approx(best, abs=1e-3)
    assert advantage(1000.0, 0.5) == 1.0 and advantage(0.0, 0.0) == 0.0


def test_standing_among_deployments_at_each_boundary() -> None:
    d = DEPLOYMENTS
    assert (d.count, d.lower_quartile, d.median, d.upper_quartile, d.largest) == (27, 1.45, 2.64, 5.0, 34.9)
    expected = {
        1.44: "lowest quarter",
        1.45: "between the lower",
        2.64: "at the median",
        3.0: "between the median",
        5.0: "between the median",
    }
    expected |= {5.01: "highest quarter", 34.9: "highest quarter", 35.0: "above all"}
    for epsilon, words in expected.items():
        assert words in standing(epsilon), epsilon


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "not measured"),
        (math.nan, "not measured"),
        (math.inf, "not measured"),
        (True, "not measured"),
        ("x", "not measured"),
        ("1e-06", "1e-06"),
        (0, "0"),
        (-0.0, "0"),
        (1234567, "1,234,567"),
        (0.03149, "0.0315"),
        (12345.6, "12,346"),
        (1e300, "1e+300"),
    ],
)
def test_num(value: object, words: str) -> None:
    assert num(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0%"),
        (1, "100%"),
        (0.9999, "> 99.9%"),
        (0.0001, "< 0.1%"),
        (0.5, "50%"),
        (0.123, "12.3%"),
        (None, "not measured"),
    ],
)
def test_pct_never_rounds_to_certainty(value: object, words: str) -> None:
    assert pct(value) == words


def test_privacy_parameters_are_not_rounded_down() -> None:
    assert [exact(v) for v in (3.004, "1.2345e-06", 1e-6, 3.0, None, math.nan)] == [
        "3.004",
        "1.2345e-06",
        "1e-06",
        "3",
        "not stated",
        "not stated",
    ]


def test_digests_are_shortened_and_other_words_are_not() -> None:
    assert anything("ab" * 32) == anything("sha256:" + "ab" * 32) == "abababababababab…"
    assert anything("ab" * 3) == "ababab" and anything("x" * 64) == "x" * 64


def test_span_says_which_side_is_open() -> None:
    assert span(0.1, 0.2) == "[0.1, 0.2]"
    assert span(0.1, None) == "at least 0.1" and span(None, 0.2) == "at most 0.2" and span(None, None) == ""


def test_anything_groups_values_of_many_audits() -> None:
    values = {
        "membership": "NOT_FALSIFIED",
        "linkability": "INCONCLUSIVE",
        **{f"audit_{i}": "NOT_FALSIFIED" for i in range(4)},
    }
    assert anything(values) == "Linkability: inconclusive; 5 × not falsified"


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        ({"op": "<=", "threshold": 0.09}, "at most 0.09"),
        ({"op": "==", "threshold": []}, "equal to none"),
        ({"op": "==", "threshold": False}, "equal to no"),
        ({"op": "subset_of", "threshold": ["declared", "dp"]}, "only declared, dp"),
        ({"op": "report_only"}, "reported, no limit"),
        ({"op": "<=", "ref": "dp.epsilon"}, "at most privacy parameter epsilon"),
        ({}, "not stated"),
    ],
)
def test_limit_in_words(finding: dict[str, object], words: str) -> None:
    assert limit(finding) == words


@pytest.mark.parametrize("top", [1e-9, 0.003, 0.5, 1, 7, 99, 12345, 1e12])
def test_ticks_cover_the_top_with_few_round_steps(top: float) -> None:
    marks = ticks(top)
    assert marks[0] == 0 and marks[-1] >= top and 2 <= len(marks) <= 6
    assert marks[-2] < top
    assert ticks(0) == ticks(-1) == ticks(math.nan) == [0.0, 1.0]


def test_coordinates_and_colours() -> None:
    assert [xy(v) for v in (-0.04, 0.05, 2, 2.25, -3.96)] == ["0", "0.1", "2", "2.2", "-4"]
    assert mix("#000000", "#ffffff", 0) == "#000000" and mix("#000000", "#ffffff", 2) == "#ffffff"


def test_joined_levels_keep_their_total_share() -> None:
    for ordered in (True, False):
        real = [i + 1.0 for i in range(700)]
        total = sum(real)
        shares = [r / total for r in real]
        figure = overlay(0, Shares("c", [f"l{i}" for i in range(700)], shares, shares[::-1], ordered, 0.1, 0.1))
        assert len(figure.rows) <= 32 and "700 levels joined" in figure.note
        assert sum(float(row[1].strip("<>% ")) for row in figure.rows) == pytest.approx(100, abs=1.0)


def test_graph_draws_every_column_once_and_every_measured_clique() -> None:
    cliques = [
        Clique(("a",), 1.0),
        Clique(("b",), None),
        Clique(("a", "b"), 2.0),
        Clique(("b", "c", "d"), 3.0),
        Clique(("e",), 4.0),
    ]
    figure = model_graph(["a", "b", "e"], cliques)
    for name in "abcde":
        assert figure.svg.count(f">{name}</text>") == 1
    assert figure.svg.count("stroke-dasharray") == 1  # the third side of the triangle b, c, d
    assert len(figure.rows) == len(cliques)
    assert "modelled on their own" in figure.svg


def test_graph_of_a_long_chain_does_not_recurse() -> None:
    names = [f"c{i:04d}" for i in range(2000)]
    figure = model_graph(names, [Clique((a, b), 1.0) for a, b in pairwise(names)])
    assert len(figure.rows) == 1999
