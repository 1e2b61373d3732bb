"""How small a defect an audit would still have caught: bisection on the factor by which noise is too small."""

from __future__ import annotations

import math
from collections.abc import Callable

_LARGEST = 1000.0


def least_factor(caught: Callable[[float], bool]) -> float | None:
    """The smallest factor above 1 that is ``caught``, to a rounding error from above; None when not even a thousand is.

    ``caught`` must be monotone: a larger defect is not harder to see.
    """
    if not caught(_LARGEST):
        return None
    low, high = 1.0, _LARGEST
    for _ in range(40):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if caught(middle) else (middle, high)
    return high
