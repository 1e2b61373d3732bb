"""One file per mechanism. Adding one is a module and a line in ``SYNTHESIZERS``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from dpsynth.model import SyntheticModel
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.synthesizers.adaptive import TOO_LITTLE, Adaptive
from dpsynth.synthesizers.aim import Aim
from dpsynth.synthesizers.independent import Independent
from dpsynth.synthesizers.mst import Mst


class Synthesizer(Protocol):
    """A recipe: frozen, without data. ``fit`` spends the whole budget of ``private`` and returns a fitted model."""

    @property
    def name(self) -> str:
        """Its key in `SYNTHESIZERS`; evidence and certificate call it so."""

    def fit(self, private: PrivateData, progress: Callable[[str, int, int], None] | None = None) -> SyntheticModel:
        """``progress`` is told the stage, the steps done and the steps in all."""


SYNTHESIZERS: dict[str, type[Synthesizer]] = {
    "adaptive": Adaptive,
    "aim": Aim,
    "independent": Independent,
    "mst": Mst,
}


def choose(rows: int | None, columns: int, max_rows: int, budget: PrivacyBudget, *, fast: bool = False) -> Synthesizer:
    """What ``auto`` means, from public numbers.

    `Independent` when ``rows`` * sqrt(2 rho) / ``max_rows`` is under 18 per column, else `Adaptive`.
    Without a declared number of rows it is `Adaptive`, which applies the same rule to a noisy count. ``fast`` leaves out the
    refinement of rows.
    """
    if rows is not None and rows * math.sqrt(2.0 * budget.rho) / max_rows < TOO_LITTLE * columns:
        return Independent()
    return Adaptive(refine=not fast)


__all__ = ["SYNTHESIZERS", "Adaptive", "Aim", "Independent", "Mst", "Synthesizer", "choose"]
