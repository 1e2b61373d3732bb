"""Which levels the model keeps apart: ordered columns in equal-mass bins, nominal columns without their rare levels.

Decided from noisy one-ways and public sizes. Fine values come back when sampling, drawn from the noisy one-way inside their bin.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import Attribute, Domain, Measurement, Recoding
from dpsynth.synthesizers.one_way import rare_as_one, settled

# Records above the noise count for one column in this many: the budget of the pairs is shared by about as many as there are columns.
_SHARED_BY = 14.0


def resolution(domain: Domain, x: float, limit: int) -> int:
    """Bins per column: (14 x / columns)^(1/3), which balances noise against resolution, but no more than lets triples of columns fit
    ``limit`` cells.
    """
    largest = 4
    for k in range(4, 2049):
        if sum(min(a.size, k) ** 3 for a in domain) > limit:
            break
        largest = k
    return max(4, min(round(math.cbrt(x * _SHARED_BY / len(domain))), largest))


def coarsen(domain: Domain, one_ways: list[Measurement], total: float, bins: int, sigmas: float = 3.0) -> Recoding:
    """A recoding of every column that has more levels than the noise, or ``bins``, allows."""
    levels = {}
    for attribute, m in zip(domain, one_ways, strict=True):
        codes = (
            _equal_mass(attribute, settled(attribute, m, total), bins) if attribute.ordered else rare_as_one(m.values, sigmas * m.stddev)
        )
        if codes is not None and int(codes.max()) + 1 < attribute.size:
            levels[attribute.name] = codes
    # Nominal columns with a public hierarchy merge inside its groups.
    grouped = {
        a.name: rare_as_one(m.values, sigmas * m.stddev, a.parents)
        for a, m in zip(domain, one_ways, strict=True)
        if a.parents and not a.ordered
    }
    merged = {name: codes for name, codes in grouped.items() if codes is not None}
    return Recoding({**coarsen_counts(domain, one_ways, total).levels, **levels, **merged})


def coarsen_counts(domain: Domain, one_ways: list[Measurement], total: float) -> Recoding:
    """A recoding of the numbers of rows per unit alone: those that hardly any unit has join their neighbours.

    As levels of their own they would gather the noise of every table they are in, and a unit there brings as many rows.
    """
    counted = domain.count_axis
    if counted is None:
        return Recoding({})
    attribute = domain.attributes[counted]
    codes = _equal_mass(attribute, settled(attribute, one_ways[counted], total), attribute.size - 1)
    return Recoding({attribute.name: codes} if codes is not None and int(codes.max()) + 1 < attribute.size else {})


def _equal_mass(attribute: Attribute, mass: npt.NDArray[np.float64], bins: int) -> npt.NDArray[np.int64] | None:
    """Contiguous bins of about equal mass; the level for missing, if any, stays on its own."""
    size = attribute.size - attribute.nullable
    if size <= bins:
        return None
    cumulated = np.cumsum(mass[:size])
    whole = float(cumulated[-1])
    if whole <= 0.0:
        codes = np.arange(size) * bins // size
    else:
        middle = (cumulated - 0.5 * mass[:size]) / whole
        codes = np.minimum((middle * bins).astype(np.int64), bins - 1)
        # Empty ends join their neighbour: in a bin without any mass, values would be spread over all of it.
        held = np.flatnonzero(mass[:size] > 0.0)
        codes[: held[0]], codes[held[-1] + 1 :] = codes[held[0]], codes[held[-1]]
        codes = np.unique(codes, return_inverse=True)[1]
    codes = codes.astype(np.int64)
    return np.append(codes, codes[-1] + 1) if attribute.nullable else codes
