"""The contract of the operator table; a new operator is tested the moment it is listed."""

from __future__ import annotations

import inspect
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import OPERATORS
from policies.documents import schema
from policies.metrics import to_number
from policies.operators import JUDGES, Unjudgeable, same
from policies.overlays import TIGHTER

# Per operator: a limit, values that hold, values that do not, values it cannot judge.
EXAMPLES: dict[str, tuple[Any, list[Any], list[Any], list[Any]]] = {
    "<": (1, [0, 0.999, "0.5", -1], [1, 1.0, "1.0", 2], [None, "one", math.nan, math.inf, True, [1]]),
    "<=": (
        "1e-6",
        [0, 1e-6, "0.000001", "1E-06"],
        ["1.0000001e-6", 1, 1e-5],
        [None, "", "1e", math.nan, -math.inf, False],
    ),
    "==": ("a", ["a"], ["b", "", 1, True, ["a"], "A"], []),
    ">": (20000, [20001, 20000.5], [20000, "20000.0", 0], [None, "many", math.nan]),
    ">=": (2, [2, 2.0, "2", 3], [1, 1.9999999999999998], [None, {}, math.nan]),
    "coarser_or_equal": (
        "month",
        ["month", "quarter", "year", "decade"],
        ["second", "day", "week"],
        ["fortnight", None, 3],
    ),
    "in": (["a", 1, True], ["a", 1, 1.0, True], ["b", False, 0, None, ["a"]], []),
    "report_only": (None, [None, 1, "x", math.nan, []], [], []),
    "subset_of": (
        ["a", "b"],
        [[], ["a"], ["b", "a", "a"]],
        [["c"], ["a", "c"], [None], [["a"]]],
        ["a", None, {"a": 1}],
    ),
}


def broken(op: str, limit: Any, value: Any) -> list[str]:
    return list(OPERATORS[op](limit, value))


def test_the_tables_name_the_same_operators() -> None:
    allowed = schema("rule-1")["properties"]["op"]["enum"]
    assert set(OPERATORS) == set(allowed) == set(JUDGES) == set(TIGHTER) == set(EXAMPLES)


@pytest.mark.parametrize("op", OPERATORS)
def test_an_operator_is_a_generator_of_sentences(op: str) -> None:
    assert inspect.isgeneratorfunction(OPERATORS[op])
    limit, holds, breaks, unclear = EXAMPLES[op]
    assert [value for value in holds if broken(op, limit, value)] == []
    assert [value for value in breaks if not broken(op, limit, value)] == []
    for value in breaks:
        assert all(sentence.startswith("must be ") for sentence in broken(op, limit, value))
    for value in unclear:
        with pytest.raises(Unjudgeable):
            broken(op, limit, value)


@pytest.mark.parametrize("op", OPERATORS)
def test_no_sentence_quotes_the_value(op: str) -> None:
    limit, _, breaks, unclear = EXAMPLES[op]
    for value in [*breaks, *unclear, "SECRET", ["SECRET"], 987654321]:
        try:
            text = " ".join(broken(op, limit, value))
        except Unjudgeable as error:
            text = str(error)
        assert "SECRET" not in text
        assert "987654321" not in text


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_orders_agree_with_floats(limit: float, value: float) -> None:
    assert (not broken("<=", limit, value)) == (value <= limit)
    assert (not broken("<", limit, value)) == (value < limit)
    assert (not broken(">=", limit, value)) == (value >= limit)
    assert (not broken(">", limit, value)) == (value > limit)


@given(st.sampled_from(["<", "<=", ">", ">="]), st.integers(-9, 9), st.integers(-9, 9), st.integers(-9, 9))
def test_a_tighter_limit_lets_nothing_more_through(op: str, new: int, old: int, value: int) -> None:
    if TIGHTER[op](new, old):
        assert broken(op, old, value) == [] or broken(op, new, value) != []
    else:
        assert any(broken(op, old, v) and not broken(op, new, v) for v in range(-10, 11))


@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", "1e0", np.int64(1), np.float64(1), np.float32(1), Decimal(1)])
def test_a_number_is_a_number_in_every_dress(value: Any) -> None:
    assert to_number(value) == 1
    assert same(1, value) or isinstance(value, str)


@pytest.mark.parametrize("value", [True, np.nan, "nan", "Infinity", "1_0", "٣", " 1", "1" * 31, "1e9999", Decimal("NaN"), 1j, b"1", None])
def test_what_is_no_plain_number_is_none(value: Any) -> None:
    assert to_number(value) is None
