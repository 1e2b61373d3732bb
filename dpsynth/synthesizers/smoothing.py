"""An ordered column without the noise between its neighbours: what a block of levels has in common is known better than each level is."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

_HALF = math.sqrt(0.5)


def once_in(n: int) -> float:
    """The number of stddevs that noise exceeds, on either side, once in ``n`` times on average."""
    return NormalDist().inv_cdf(1.0 - 0.5 / n)


def denoised(values: npt.NDArray[np.float64], stddev: float) -> npt.NDArray[np.float64]:
    """``values`` of n ordered levels with noise ``stddev`` each, smoothed where noise explains their differences; the same sum.

    Hard thresholding of Haar wavelets in all shifts (Coifman and Donoho 1995, Translation-invariant de-noising), the ends mirrored: the
    difference of two neighbouring blocks is kept where it exceeds a threshold that noise alone exceeds once among n. So steps and spikes
    stay as they are, and flat or empty stretches get their mean. Post-processing; time and memory n log n.
    """
    n = len(values)
    if n < 3 or stddev <= 0.0:
        return values
    threshold = stddev * once_in(n)
    mean = np.concatenate((values, values[::-1]))
    kept = []
    width = 1
    # One entry per shift: of the block of this width that begins there, its sum and its difference from the next, over sqrt(width).
    while width <= n:
        ahead = np.roll(mean, -width)
        difference = (mean - ahead) * _HALF
        kept.append(np.where(np.abs(difference) > threshold, difference, 0.0))
        mean = (mean + ahead) * _HALF
        width *= 2
    for difference in reversed(kept):
        width //= 2
        # A block is the left one of a pair and the right one of another; it gets the mean of what both say.
        mean = 0.5 * _HALF * (mean + difference + np.roll(mean - difference, width))
    smooth: npt.NDArray[np.float64] = mean[:n] + (values.sum() - mean[:n].sum()) / n
    return smooth
