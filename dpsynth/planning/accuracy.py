"""What the noise will do to a table of counts, before anybody has seen the counts.

The error of a table is the share of records in the wrong cell: half the L1 distance, from 0 to 1. It depends on how the records lie, which
is private, so it is computed for two public shapes: all cells equally full, about the worst, and counts that fall off as 1/rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from dpsynth.marginals import Domain
from dpsynth.planning.spending import PairNoise, Spending
from dpsynth.privacy import PrivacyUnit
from dpsynth.synthesizers.expected_error import expected_l1

# Above this many cells the law is computed on as many: the error is next to 1 by then, unless the rows are more still.
_MOST_CELLS = 200_000


@dataclass(frozen=True)
class Error:
    """Expected share of misplaced records: ``even`` where all cells are equally full, ``skewed`` where counts fall off as 1/rank."""

    even: float
    skewed: float

    @classmethod
    def mean(cls, errors: Sequence[Error]) -> Error:
        """The mean over columns or pairs."""
        return cls(math.fsum(e.even for e in errors) / len(errors), math.fsum(e.skewed for e in errors) / len(errors))


def table_error(cells: int, stddev: float, rows: float) -> Error:
    """Error of a table of ``cells`` cells measured with ``stddev`` and brought back to counts that are not negative."""
    return _table_error(cells, float(f"{stddev:.3g}"), rows)


@cache
def _table_error(cells: int, stddev: float, rows: float) -> Error:
    if cells < 2:
        return Error(0.0, 0.0)
    cells = min(cells, _MOST_CELLS)
    even = np.full(cells, rows / cells)
    skewed = 1.0 / np.arange(1.0, cells + 1.0)
    skewed *= rows / skewed.sum()
    return Error(*(min(1.0, expected_l1(table, stddev) / (2.0 * rows)) for table in (even, skewed)))


def one_way_errors(domain: Domain, spending: Spending, rows: int) -> Mapping[str, Error]:
    """Expected error of each column."""
    return {a.name: table_error(a.size, spending.one_way[a.name], rows) for a in domain}


def pair_errors(domain: Domain, pairs: PairNoise, unit: PrivacyUnit, rows: int) -> Mapping[tuple[str, str], Error]:
    """Expected error of each pair if it is measured, at the sizes at which it is measured."""
    found = {}
    for a, b in combinations(domain.names, 2):
        shape = pairs.shape(a, b)
        if min(shape) < 2:
            continue
        # A residual has no part along the margins, so fewer of its cells carry independent noise.
        kept = math.prod(1.0 - 1.0 / n for n in shape) if pairs.residual else 1.0
        found[a, b] = table_error(math.prod(shape), pairs.stddev(unit, shape) * math.sqrt(kept), rows)
    return found
