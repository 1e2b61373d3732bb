"""The scores by which releases of real tables are judged, on tables one can check on paper."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from benchmarks.k_marginal import k_marginal
from benchmarks.releases import Distance, distance

RNG = np.random.default_rng(0)
TABLE = pd.DataFrame({"p": RNG.choice(list("ab"), 400), "x": RNG.integers(0, 3, 400), "y": RNG.choice(["u", "v", None], 400)})


def _by_hand(real: pd.DataFrame, synthetic: pd.DataFrame, group: list[str]) -> float:
    """The definition, cell by cell."""
    free = [name for name in real.columns if name not in group]
    total = []
    for pair in combinations(free, 2):
        sides = [table.fillna("N").groupby([*group, *pair]).size() / len(table) for table in (real, synthetic)]
        total.append(sides[0].subtract(sides[1], fill_value=0.0).abs().sum() / 2.0)
    return 1000.0 * (1.0 - float(np.mean(total)))


def test_equal_tables_score_a_thousand_in_any_order_of_rows() -> None:
    assert k_marginal(TABLE, TABLE.sample(frac=1.0, random_state=1)) == pytest.approx(1000.0)


def test_tables_without_a_common_cell_score_nothing() -> None:
    assert k_marginal(TABLE[["p", "x"]], TABLE[["p", "x"]].assign(x=9)) == pytest.approx(0.0)


@pytest.mark.parametrize("group", [None, "p"])
def test_the_score_is_the_definition(group: str | None) -> None:
    other = TABLE.sample(150, random_state=2, replace=True)

    assert k_marginal(TABLE, other, group) == pytest.approx(_by_hand(TABLE, other, [group] if group else []))


def test_on_paper() -> None:
    # Shares (1/2, 1/2) against (1/4, 3/4): a quarter of the records is in the wrong cell.
    real = pd.DataFrame({"a": ["x", "x", "y", "y"], "b": [0, 0, 0, 0]})
    made = pd.DataFrame({"a": ["x", "y", "y", "y"], "b": [0, 0, 0, 0]})

    assert k_marginal(real, made) == pytest.approx(750.0)


def test_continuous_columns_are_cut_by_the_real_table_and_keep_missing_apart() -> None:
    real = pd.DataFrame({"v": np.append(np.arange(1000.0), [np.nan] * 1000), "w": 0})
    near = real.assign(v=real["v"] + 0.4)

    assert k_marginal(real, near, continuous=["v"]) == pytest.approx(1000.0)
    assert k_marginal(real, real.assign(v=real["v"].fillna(0.0)), continuous=["v"]) == pytest.approx(500.0)


def test_distances_and_floors() -> None:
    rng = np.random.default_rng(1)
    values = pd.Series(rng.normal(50.0, 10.0, 5000))
    bins = np.clip(values // 5, 0, 19).astype(np.uint8).to_numpy()
    middles = np.arange(20) * 5 + 2.5
    again = pd.Series(rng.normal(50.0, 10.0, 5000))
    fine = distance("x", values, again, bins, middles, stddev=5.0)
    off = distance("x", values, again + 3.0, bins, middles, stddev=5.0)

    assert fine.fresh == pytest.approx(0.2, abs=0.15)
    assert fine.ratio < 2.0 < off.ratio
    # More noise is a higher floor.
    assert distance("x", values, again, bins, middles, stddev=50.0).noise > 3.0 * fine.noise


def test_a_column_without_any_floor() -> None:
    assert Distance("x", 0.0, 0.0, 0.0).ratio == 1.0
    assert Distance("x", 1.0, 0.0, 0.0).ratio == float("inf")
