"""e2 and e3: mean L1 distance between normalised marginals of two tables, twice the total variation. Reads both tables; not private."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from dpsynth.marginals import Clique, CodedTable, Domain, flat_index

# Above this a table's cells are more than its rows by far, and only the occupied ones are visited.
_DENSE_CELLS = 1 << 21
MOST_CLIQUES = 400


def cliques(domain: Domain, order: int, limit: int = MOST_CLIQUES) -> list[Clique]:
    """All column sets of ``order``; of more than ``limit`` a sample that is the same for every mechanism and run."""
    every = list(combinations(domain.names, order))
    if len(every) <= limit:
        return every
    chosen = np.random.default_rng(0).choice(len(every), limit, replace=False)
    return [every[i] for i in sorted(chosen.tolist())]


def marginal_error(real: CodedTable, synthetic: CodedTable, order: int) -> float:
    """Mean over `cliques` of the L1 distance of the marginals, each divided by its number of rows: 0 to 2."""
    return float(np.mean([_distance(real, synthetic, clique) for clique in cliques(real.domain, order)]))


def _distance(real: CodedTable, synthetic: CodedTable, clique: Clique) -> float:
    shape, cells = real.domain.shape(clique), real.domain.cells(clique)
    left, right = (flat_index([table.columns[name] for name in clique], shape) for table in (real, synthetic))
    if cells > _DENSE_CELLS:
        occupied, both = np.unique(np.concatenate([left, right]), return_inverse=True)
        cells, left, right = len(occupied), both[: len(left)], both[len(left) :]
    shares = [np.bincount(index, minlength=cells) / max(1, len(index)) for index in (left, right)]
    return float(np.abs(shares[0] - shares[1]).sum())
