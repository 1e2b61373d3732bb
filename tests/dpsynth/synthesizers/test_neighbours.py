"""From a table of values to a model, on neighbours: same domain, same questions, same noise, same files; never an exception.

Every noisy answer of a first run is frozen and given again on the neighbour, so that whatever still differs comes from the records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dpsynth.model import SyntheticModel
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.schema import Schema
from dpsynth.synthesizers import SYNTHESIZERS
from tests.dpsynth.synthesizers.hooks import Frozen, Recording, recipe

BUDGET = PrivacyBudget(6.0, 1e-6)
UNITS = 200
MAX_ROWS = 3
Row = tuple[Any, ...]
COLUMNS = ["who", "ward", "sex", "smoker", "visits", "cost", "since"]


@cache
def _schema(neighbours: str) -> Schema:
    return Schema.from_dict(
        {
            "fields": [
                {"name": "who", "type": "string", "dp:role": "identifier"},
                {"name": "ward", "type": "string", "categories": ["a", "b", "c", "d"], "dp:nullable": True},
                {"name": "sex", "type": "string", "categories": ["f", "m", "x"], "dp:other": "x"},
                {"name": "smoker", "type": "boolean", "dp:nullable": True},
                {"name": "visits", "type": "integer", "constraints": {"minimum": 0, "maximum": 40}},
                {
                    "name": "cost",
                    "type": "number",
                    "constraints": {"minimum": 0, "maximum": 1000},
                    "dp:bins": "dp",
                    "dp:nullable": True,
                },
                {
                    "name": "since",
                    "type": "date",
                    "constraints": {"minimum": "1990-01-01", "maximum": "2025-12-31"},
                    "dp:resolution": "year",
                },
            ],
            "dp:dataset": {"id": "toy", "population": "nobody"},
            "dp:unit": {"name": "person", "field": "who", "maxRows": MAX_ROWS},
            "dp:neighbours": neighbours,
        }
    )


def _crowd() -> list[list[Row]]:
    """The rows of each ordinary unit."""
    rng = np.random.default_rng(0)
    units = []
    for u in range(UNITS):
        units.append(
            [
                (
                    f"u{u}",
                    "abcd"[rng.integers(4)],
                    "fmx"[rng.integers(3)],
                    ["true", "false", None][rng.integers(3)],
                    float(rng.integers(0, 41)),
                    float(rng.gamma(2.0, 60.0)),
                    f"{rng.integers(1990, 2026)}-05-01",
                )
                for _ in range(1 + u % MAX_ROWS)
            ]
        )
    return units


# What one unit may bring instead of ordinary rows. The key is the newcomer's own, or none at all.
KINDS: dict[str, Row] = {
    "copy": ("new", "a", "f", "true", 3.0, 100.0, "2001-05-01"),
    "last of every domain": ("new", "d", "x", "false", 40.0, 1000.0, "2025-12-31"),
    "unseen categories": ("new", "zz", "qq", "maybe", 7.0, 1.0, "1999-99-99"),
    "not a number": ("new", math.nan, math.nan, math.nan, math.nan, math.nan, None),
    "plus infinity": ("new", "inf", "inf", "inf", math.inf, math.inf, "inf"),
    "minus infinity": ("new", "-inf", "-inf", "-inf", -math.inf, -math.inf, "-inf"),
    "largest floats": ("new", "1e308", "1e308", "1e308", 1.7e308, -1.7e308, "9999-12-31"),
    "integer extremes": ("new", str(2**63), str(-(2**63)), "1", float(2**63), float(-(2**63)), "0001-01-01"),
    "far outlier": ("new", "a", "f", "true", 1e9, -1e9, "1066-10-14"),
    "empty texts": ("new", "", "", "", 0.0, 0.0, ""),
    "odd unicode": ("new", "\u202e\x00a", "f\u0301\U0001f600", "\ud800", 0.0, 0.0, "２００１-01-01"),
    "very long text": ("new", "a" * 100_000, "m " * 1000, "true" * 99, 1.0, 1.0, "2001-01-01" * 99),
    "all null": ("new", None, None, None, math.nan, math.nan, None),
    "other Python types": ("new", 3.5, b"f", True, 1.0, 2.0, pd.Timestamp("2003-01-01")),
    "no key": (None, "a", "f", "true", 3.0, 100.0, "2001-05-01"),
    "key of spaces": ("  ", "a", "f", "true", 3.0, 100.0, "2001-05-01"),
}


def _frame(units: Sequence[Sequence[Row]]) -> pd.DataFrame:
    """One table; numbers are float64 and everything else is Python objects, whoever is in it."""
    rows = [row for unit in units for row in unit]
    data = {
        name: pd.Series([row[i] for row in rows], dtype=np.float64 if name in ("visits", "cost") else object)
        for i, name in enumerate(COLUMNS)
    }
    return pd.DataFrame(data)


def _fit(name: str, units: Sequence[Sequence[Row]], neighbours: str, hook: Recording | Frozen) -> SyntheticModel:
    private = PrivateData.read(_frame(units), _schema(neighbours), BUDGET, hook=hook)
    return recipe(name).fit(private)


@cache
def _recorded(name: str, neighbours: str, kind: str | None, rows: int) -> tuple[Recording, SyntheticModel]:
    """A run on the crowd and, unless ``kind`` is None, a newcomer."""
    hook = Recording(seed=1)
    newcomer = [] if kind is None else [[KINDS[kind]] * rows]
    return hook, _fit(name, [*_crowd(), *newcomer], neighbours, hook)


def _check(name: str, base: tuple[Recording, SyntheticModel], units: Sequence[Sequence[Row]], neighbours: str) -> None:
    recorded, model = base
    replay = Frozen(recorded.looks)
    again = _fit(name, units, neighbours, replay)
    assert len(replay.looks) == len(recorded.looks)
    for ours, theirs in zip(recorded.looks, replay.looks, strict=True):
        assert ours.event == theirs.event
        assert (ours.exact.shape, ours.exact.dtype) == (theirs.exact.shape, theirs.exact.dtype)
        gap = ours.exact.astype(np.float64) - theirs.exact.astype(np.float64)
        if ours.event["kind"] == "gaussian":
            assert float(np.linalg.norm(gap)) <= ours.event["l2_sensitivity"] * (1.0 + 1e-12)
        elif ours.event["kind"] == "exponential":
            assert float(np.abs(gap).max()) <= ours.event["score_sensitivity"] * (1.0 + 1e-12)
    assert again.to_bytes() == model.to_bytes()
    assert again.sample(30, seed=0).equals(model.sample(30, seed=0))


MANY = 10 * MAX_ROWS
# The slower mechanisms see the largest number of rows only.
ADDED = [(name, kind, rows) for name in SYNTHESIZERS for kind in KINDS for rows in ((1, MANY) if name == "mst" else (MANY,))]


@pytest.mark.parametrize(("name", "kind", "rows"), ADDED)
def test_one_unit_more_changes_nothing_but_exact_answers(name: str, kind: str, rows: int) -> None:
    _check(name, _recorded(name, "add_remove", None, 0), [*_crowd(), [KINDS[kind]] * rows], "add_remove")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["mst"])
def test_one_unit_less_changes_nothing_but_exact_answers(name: str, kind: str) -> None:
    _check(name, _recorded(name, "add_remove", kind, MAX_ROWS), _crowd(), "add_remove")


@pytest.mark.parametrize("rows", [1, MANY])
@pytest.mark.parametrize(
    ("name", "kind"), [*(("mst", kind) for kind in KINDS), *((name, "no key") for name in SYNTHESIZERS if name != "mst")]
)
def test_one_unit_exchanged_changes_nothing_but_exact_answers(name: str, kind: str, rows: int) -> None:
    crowd = _crowd()
    units = [*crowd[:7], [KINDS[kind]] * rows, *crowd[8:]]
    _check(name, _recorded(name, "replace_one", None, 0), units, "replace_one")


@pytest.mark.parametrize("name", SYNTHESIZERS)
def test_an_empty_table_and_a_lone_unit_are_neighbours_like_any_other(name: str) -> None:
    hook = Recording(seed=1)
    empty = hook, _fit(name, [], "add_remove", hook)
    _check(name, empty, [[KINDS["copy"]]], "add_remove")


def test_the_order_of_rows_and_of_columns_does_not_matter_to_what_is_asked() -> None:
    recorded, model = _recorded("mst", "add_remove", None, 0)
    private = PrivateData.read(
        _frame(list(reversed(_crowd())))[COLUMNS[::-1]], _schema("add_remove"), BUDGET, hook=(replay := Frozen(recorded.looks))
    )
    again = recipe("mst").fit(private)
    assert [look.event for look in replay.looks] == [look.event for look in recorded.looks]
    assert again.to_bytes() == model.to_bytes()
    # Whoever has at most max_rows rows keeps them all, so every exact answer is the same too.
    for ours, theirs in zip(recorded.releases, replay.releases, strict=True):
        np.testing.assert_array_equal(ours.exact, theirs.exact)


def test_the_table_of_this_file_makes_every_mechanism_do_all_it_does() -> None:
    for name, stages in {
        "independent": {"bins_0", "bins_1", "one_way"},
        "mst": {"bins_0", "bins_1", "one_way", "select_edge", "two_way"},
        "adaptive": {"bins_0", "bins_1", "total", "one_way", "score_pairs", "two_way"},
    }.items():
        recorded, _ = _recorded(name, "add_remove", None, 0)
        assert stages <= {look.event["stage"] for look in recorded.releases}


def test_the_neighbours_of_this_file_do_move_the_answers() -> None:
    """Or the tests above would see nothing: the worst of them reaches the declared sensitivity."""
    recorded, _ = _recorded("mst", "add_remove", None, 0)
    replay = Frozen(recorded.looks)
    _fit("mst", [*_crowd(), [KINDS["copy"]] * MANY], "add_remove", replay)
    reach: dict[str, float] = {}
    for ours, theirs in zip(recorded.releases, replay.releases, strict=True):
        if ours.event["kind"] == "gaussian":
            gap = float(np.linalg.norm((ours.exact - theirs.exact).astype(np.float64)))
            stage = ours.event["stage"]
            reach[stage] = max(reach.get(stage, 0.0), gap / ours.event["l2_sensitivity"])
    assert reach["one_way"] == pytest.approx(1.0)
    assert reach["two_way"] == pytest.approx(1.0)
    assert reach["bins_0"] == pytest.approx(1.0)
