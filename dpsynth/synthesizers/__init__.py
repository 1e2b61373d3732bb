"""One file per mechanism. Adding one is a module and a line in ``SYNTHESIZERS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from dpsynth.model import SyntheticModel
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers.adaptive import Adaptive
from dpsynth.synthesizers.independent import Independent
from dpsynth.synthesizers.mst import Mst


class Synthesizer(Protocol):
    """A recipe: frozen, without data. ``fit`` spends the whole budget of ``private`` and returns a fitted model."""

    @property
    def name(self) -> str: ...

    def fit(self, private: PrivateData, progress: Callable[[str, int, int], None] | None = None) -> SyntheticModel: ...


SYNTHESIZERS: dict[str, type[Synthesizer]] = {
    "adaptive": Adaptive,
    "independent": Independent,
    "mst": Mst,
}

__all__ = ["SYNTHESIZERS", "Adaptive", "Independent", "Mst", "Synthesizer"]
