"""Where in a bin a value falls: not anywhere alike, but more often on the side where the neighbouring bins are denser.

Counts of the decoded rows themselves say how dense a bin is, so nothing is learned that the rows did not hold. Every bin keeps its mass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Counts under this say little about a slope.
_ENOUGH = 30.0
# Steepest fall over one bin, in powers of e.
_STEEPEST = 50.0
# A bin of one cell beside one of more than this many is a spike, such as a pile of zeros, and no slope leads to it.
_WIDE = 8
# In an outermost bin the density at the inner edge, as a share of the inner neighbour's: that of an exponential tail in bins of equal mass.
_AT_EDGE = 0.7


def steepness(widths: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]) -> Floats:
    """For each of neighbouring bins the L of a density proportional to exp(-L x), x in [0, 1] across the bin; 0 is uniform.

    Inside, L follows the logarithms of the densities on both sides where they fall or rise throughout. An outermost bin that is sparser
    than its neighbour is a tail: there L makes the density fall from what the neighbour suggests at their common edge.
    """
    size = len(widths)
    found = np.zeros(size)
    if size < 2:
        return found
    width = widths.astype(np.float64)
    density = counts / width
    logs = np.log(np.maximum(density, 1e-300))
    for i in range(size):
        if widths[i] == 1 or counts[i] < _ENOUGH:
            continue
        left = i - 1 if i > 0 and _slopes(widths, counts, i, i - 1) else None
        right = i + 1 if i + 1 < size and _slopes(widths, counts, i, i + 1) else None
        if left is not None and right is not None:
            if (logs[left] - logs[i]) * (logs[i] - logs[right]) > 0.0:
                span = 0.5 * width[left] + width[i] + 0.5 * width[right]
                found[i] = (logs[left] - logs[right]) * width[i] / span
        elif left is not None or right is not None:
            other, sign = (left, 1.0) if left is not None else (right, -1.0)
            assert other is not None
            if i in (0, size - 1) and density[other] > density[i]:
                found[i] = sign * _tail(float(density[other] / density[i]))
            else:
                found[i] = sign * (logs[other] - logs[i]) * width[i] / (0.5 * (width[i] + width[other]))
    return np.clip(found, -_STEEPEST, _STEEPEST)


def place(steep: Floats, widths: Floats, bins: npt.NDArray[np.integer[Any]], uniform: Floats) -> Floats:
    """For each row a place x in [0, width) of its bin with density proportional to exp(-steep x / width), by inversion of ``uniform``."""
    # A slope of a millionth is flat to six digits, and spares every row the question whether its bin is flat.
    slope = np.where(np.abs(steep) < 1e-6, 1e-6, steep)
    places: Floats = np.expm1(-slope).take(bins)
    places *= uniform
    # Several times as fast as `log1p`; what is lost beside the one is 1e-16 of a logarithm of 1e-6 or more.
    places += 1.0
    np.log(places, out=places)
    # Shortened by more than was lost, so that no place is beyond the bin.
    places *= (-(1.0 - 1e-9) * widths / slope).take(bins)
    return places


def _slopes(widths: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], i: int, other: int) -> bool:
    """Whether bin ``other`` says something about the slope in bin ``i``."""
    return bool(counts[other] >= _ENOUGH and not (widths[other] == 1 and widths[i] > _WIDE))


def _tail(ratio: float) -> float:
    """L with L / (1 - e^-L) = the density at the inner edge over the mean density of the bin; 0 if that is not above one."""
    wanted = _AT_EDGE * ratio
    if wanted <= 1.0:
        return 0.0
    steep = min(wanted, _STEEPEST)
    for _ in range(60):
        steep = min(_STEEPEST, wanted * -np.expm1(-steep))
    return float(steep)
