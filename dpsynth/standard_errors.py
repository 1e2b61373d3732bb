"""How far the noise of the measurements may put a cell of a marginal off; the error of the model's own assumptions is not in it.

Each measurement that holds the wanted columns gives an estimate of every cell; the best of them is quoted. Where none does, the answer is
a product of parts, and the noise of the noisiest part is quoted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import Domain, Measurement

Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Merged:
    """A column in merged levels: the merged level of each level, and its share of that one."""

    levels: npt.NDArray[np.int64]
    shares: Table

    def whole(self, values: Table, axis: int) -> Table:
        """``values`` with every level along ``axis`` replaced by the sum over its merged level."""
        first = np.moveaxis(values, axis, 0)
        sums = np.zeros((int(self.levels.max()) + 1, *first.shape[1:]))
        np.add.at(sums, self.levels, first)
        return np.moveaxis(sums[self.levels], 0, axis)


def standard_errors(
    names: Sequence[str],
    values: Table,
    domain: Domain,
    measurements: Sequence[Measurement],
    merged: Mapping[str, Merged],
) -> Table:
    """A standard error for each cell of ``values``, the marginal over ``names``; infinite where nothing was measured.

    ``merged`` names the columns that the model keeps in merged levels.
    """
    best = np.full(values.shape, math.inf)
    wanted = set(names)
    for m in measurements:
        if wanted <= set(m.clique):
            own = dict(zip(m.clique, m.values.shape, strict=True))
            summed = math.prod(size for name, size in own.items() if name not in wanted)
            if m.form == "marginal":
                error: Table = np.asarray(m.stddev * math.sqrt(summed))
            elif summed == 1:
                error = _with_parts(m, names, measurements)
            else:
                # The sum of a residual over an axis is zero: it says nothing of fewer columns.
                continue
            best = np.minimum(best, _told_apart(error, names, own, values, domain, measurements, merged))
    if np.all(np.isinf(best)) and len(names) > 1:
        for name in names:
            others = tuple(i for i, other in enumerate(names) if other != name)
            alone = standard_errors([name], values.sum(axis=others), domain, measurements, merged)
            spread = alone.reshape([-1 if other == name else 1 for other in names])
            best = spread if np.all(np.isinf(best)) else np.maximum(best, spread)
    return np.broadcast_to(best, values.shape).copy()


def _with_parts(m: Measurement, names: Sequence[str], measurements: Sequence[Measurement]) -> Table:
    """A residual adds to what is known of fewer columns; each of those, spread over the levels of the column it lacks, adds noise."""
    variance = m.stddev**2
    for name in names:
        part = [other for other in names if other != name]
        size = m.values.shape[m.clique.index(name)]
        least = [
            x.stddev * math.sqrt(x.values.size / math.prod(x.values.shape[x.clique.index(other)] for other in part))
            for x in measurements
            if set(part) <= set(x.clique) and x.form == "marginal"
        ]
        if not least:
            return np.asarray(math.inf)
        variance += (min(least) / size) ** 2
    return np.asarray(math.sqrt(variance))


def _told_apart(
    error: Table,
    names: Sequence[str],
    own: Mapping[str, int],
    values: Table,
    domain: Domain,
    measurements: Sequence[Measurement],
    merged: Mapping[str, Merged],
) -> Table:
    """A merged cell's error in its levels: scaled by their share of it, together with what noise leaves unknown of that share."""
    scale = np.ones([1] * len(names))
    unknown = np.zeros([1] * len(names))
    for axis, name in enumerate(names):
        if own[name] == domain[name].size or name not in merged:
            continue
        shape = [-1 if i == axis else 1 for i in range(len(names))]
        scale = scale * merged[name].shares.reshape(shape)
        whole = merged[name].whole(values, axis)
        mass = whole.sum(axis=tuple(i for i in range(len(names)) if i != axis))
        alone = min((m.stddev for m in measurements if m.clique == (name,) and m.values.size == domain[name].size), default=math.inf)
        # The share of a level is known to the noise of its own count over that of the merged level, and lies between 0 and 1.
        unknown = unknown + (whole * np.minimum(1.0, alone / np.maximum(mass, 1e-9)).reshape(shape)) ** 2
    told: Table = np.sqrt((error * scale) ** 2 + unknown)
    return told
