"""The k-marginal score of SDNist, written from its definition.

For every pair of columns, with the grouping column if there is one, the two tables' shares of records per cell are compared; half
the L1 distance is the total variation. The score is 1000 * (1 - mean total variation): 1000 for equal tables, 0 where no cell is shared.
Continuous columns are cut into 20 bins of equal weight in the real table first, their missing value apart.
Source: NIST, SDNist 2.5, "Deidentified Data Report", k-marginal; sdnist.metrics.kmarginal on https://github.com/usnistgov/SDNist.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

BINS = 20


def k_marginal(real: pd.DataFrame, synthetic: pd.DataFrame, group: str | None = None, continuous: Sequence[str] = ()) -> float:
    """The score of ``synthetic``, 0 to 1000. Both tables have the columns of ``real``; missing is a value like any other."""
    columns = {name: _codes(real[name], synthetic[name], binned=name in continuous) for name in real.columns}
    by = [] if group is None else [group]
    free = [name for name in real.columns if name not in by]
    pairs = list(combinations(free, 2)) if len(free) > 1 else [(free[0],)]
    return 1000.0 * (1.0 - float(np.mean([_total_variation([columns[name] for name in (*by, *pair)]) for pair in pairs])))


def _codes(real: pd.Series, synthetic: pd.Series, *, binned: bool) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if binned:
        numbers = [pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan) for column in (real, synthetic)]
        edges = np.unique(np.nanquantile(numbers[0], np.arange(1, BINS) / BINS, method="higher"))
        left, right = (np.where(np.isnan(column), -1, np.searchsorted(edges, column, side="right")) for column in numbers)
        return left.astype(np.int64), right.astype(np.int64)
    both = pd.concat([real, synthetic], ignore_index=True).astype(object)
    codes = pd.factorize(both.where(both.notna(), None), use_na_sentinel=True)[0].astype(np.int64)
    return codes[: len(real)], codes[len(real) :]


def _total_variation(columns: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]) -> float:
    sides = []
    for side in (0, 1):
        index = np.zeros(len(columns[0][side]), dtype=np.int64)
        for column in columns:
            span = int(max(column[0].max(initial=0), column[1].max(initial=0))) + 2
            index = index * span + column[side] + 1
        sides.append(index)
    cells, both = np.unique(np.concatenate(sides), return_inverse=True)
    shares = [np.bincount(part, minlength=len(cells)) / len(part) for part in np.split(both, [len(sides[0])])]
    return float(np.abs(shares[0] - shares[1]).sum()) / 2.0
