"""A forest of pairs drawn one by one with the exponential mechanism: the first look at a table of many columns or little budget.

All m pairs scored at once carry sqrt(m) times the noise of one score. A forest needs fewer draws than there are columns, and what a draw
may miss grows with log m alone: with 64 columns, a twentieth of the noise for the same budget.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import Clique
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers.expected_error import expected_l1

Tables = Mapping[Clique, npt.NDArray[np.float64]]

# A draw is paid so much that the pair it gives misses the best by at most about this share of the records, whatever the number of pairs.
# A pair must be that much more wrong than its noise is worth, or none is as likely.
_MAY_MISS = 0.2
# All draws together get at most this share of the budget: with little, the forest is smaller, down to one pair.
_DRAWS_SHARE = 0.1
# One more pair among j that share a budget adds 3/2 of its own noise, since the others get less; half of it may be fitted away again.
_NOISE_COUNTS = 0.75
# A preference among pairs is rounded to this part and counts at most so many times, since weights of scores are whole numbers and the
# largest of them is what a draw pays for.
_WEIGHT_GRAIN, _MOST_WEIGHT = 8, 16


def draw_forest(
    private: PrivateData,
    tables: Tables,
    total: float,
    rho: float,
    budget: float,
    *,
    emphasis: Mapping[Clique, float],
    fits: Callable[[Sequence[Clique]], bool],
    stage: str,
    least: int = 1,
) -> list[Clique]:
    """Pairs of columns, each between two parts that no earlier one links, by how wrong the model's ``tables`` are about them.

    ``tables`` hold the model's counts of every pair that may be drawn, ``total`` records in all. ``rho`` is the whole budget of the fit,
    ``budget`` what draws and measurements of the pairs have together. Errors count ``emphasis`` times where it says so. Draws stop when
    none is drawn; a drawn pair that does not pass ``fits`` with those before is left out. ``least`` draws share what is allowed, however
    little that is.
    """
    pairs = list(tables)
    columns = {name for pair in pairs for name in pair}
    wanted = np.clip([emphasis.get(pair, 1.0) for pair in pairs], 1.0 / _WEIGHT_GRAIN, _MOST_WEIGHT)
    weights = np.rint(_WEIGHT_GRAIN * wanted).astype(np.int64)
    weights //= np.gcd.reduce(weights)
    # Of m + 1 scores with Gumbel noise of scale 2 k / sqrt(8 rho), the largest noise is about log(m + 1) scales.
    reach = math.log(len(pairs) + 1) * private.unit.score_sensitivity() * float(weights.max() / weights.min())
    each = 0.5 * (reach / (_MAY_MISS * total)) ** 2
    allowed = min(_DRAWS_SHARE * rho, budget / 2.0)
    most = max(least, min(len(columns) - 1, int(allowed / each)))
    each = min(each, allowed / most)
    alone, growth = _noise(private, tables, budget, most)
    rounded = [np.rint(table).astype(np.int64) for table in tables.values()]
    part = {name: i for i, name in enumerate(columns)}
    picked: list[Clique] = []
    for draw in range(1, most + 1):
        free = [i for i, (a, b) in enumerate(pairs) if part[a] != part[b]]
        if not free:
            break
        chosen = private.select_or_none(
            [pairs[i] for i in free],
            [rounded[i] for i in free],
            each,
            stage,
            penalties=_NOISE_COUNTS * alone[free] * draw ** growth[free] + _MAY_MISS * total,
            weights=weights[free],
        )
        if chosen is None:
            break
        a, b = pairs[free[chosen]]
        part = joined(part, a, b)
        if fits([*picked, (a, b)]):
            picked.append((a, b))
    return picked


def joined(part: Mapping[str, int], a: str, b: str) -> dict[str, int]:
    """The parts of a forest's columns, by number, when ``a`` and ``b`` are linked too."""
    old, new = part[a], part[b]
    return {name: new if number == old else number for name, number in part.items()}


def _noise(private: PrivateData, tables: Tables, budget: float, most: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Expected L1 error of each table measured with all of ``budget``, and the power of the number of pairs that share it with which
    that grows; fitted to one pair and to ``most``.
    """
    sigma = private.unit.vector_sensitivity(1.0) / math.sqrt(2.0 * budget)
    alone = np.array([expected_l1(table.ravel(), sigma) for table in tables.values()])
    if most == 1:
        return alone, np.zeros(len(alone))
    shared = np.array([expected_l1(table.ravel(), sigma * math.sqrt(most)) for table in tables.values()])
    return alone, np.log(np.maximum(shared, 1e-300) / np.maximum(alone, 1e-300)) / math.log(most)
