"""How long a fit takes and how much memory, from public sizes: laws fitted to the figures of docs/performance.md.

They are for one machine and good for choosing between seconds and hours: a factor of three either way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Python, its libraries and reading the file: CPU seconds and MB.
_START_SECONDS, _START_MB = 1.7, 270.0
# Per cell of the real table: encoding, counting, sampling and writing.
_CELL_SECONDS, _CELL_MB = 0.45e-6, 40e-6
# Per column of an adaptive model at x = 10,000; both go with the square root of x, between limits.
_ADAPTIVE_SECONDS, _ADAPTIVE_MB = 0.3, 9.0
_MIDDLE, _SMALLEST, _LARGEST = 1e4, 0.3, 2.5
_MST_SECONDS = 0.02


@dataclass(frozen=True)
class Cost:
    """CPU seconds and peak memory of ``dpsynth synth``; None where they cannot be told beforehand."""

    cpu_seconds: float | None
    peak_mb: float | None


def cost(synthesizer: str, rows: int, columns: int, x: float) -> Cost:
    """Of one fit and its sample; ``x`` is the number of records that stand above the noise (docs/algorithms.md).

    Of ``aim`` nothing can be told: its rounds depend on what the noise shows, and it has taken from seconds to hours.
    """
    if synthesizer == "aim":
        return Cost(None, None)
    seconds = _START_SECONDS + _CELL_SECONDS * rows * columns
    memory = _START_MB + _CELL_MB * rows * columns
    if synthesizer == "adaptive":
        grown = min(_LARGEST, max(_SMALLEST, math.sqrt(x / _MIDDLE)))
        seconds += _ADAPTIVE_SECONDS * columns * grown
        memory += _ADAPTIVE_MB * columns * grown
    elif synthesizer == "mst":
        seconds += _MST_SECONDS * columns
    return Cost(seconds, memory)
