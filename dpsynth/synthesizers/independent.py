"""Every column on its own: the baseline, and the honest choice when the budget is too small for structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dpsynth.model import SyntheticModel
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers.one_way import estimate_total, measure_one_ways, on_simplex

_BINS_SHARE = 0.1


@dataclass(frozen=True)
class Independent:
    """Spends the whole budget on one-way marginals (a tenth on bins first, if the schema asks for data-adapted ones)."""

    name = "independent"

    def fit(self, private: PrivateData, progress: Callable[[str, int, int], None] | None = None) -> SyntheticModel:
        """One-way marginals of ``private``, projected to non-negative tables."""
        private = private.discretised(_BINS_SHARE * private.rho_left)
        measurements = measure_one_ways(private, private.rho_left)
        if progress:
            progress("measure", 1, 1)
        total = estimate_total(private, measurements)
        tables = [on_simplex(m.values, total) for m in measurements]
        tree = junction_tree([a.size for a in private.domain], [], private.domain.unit_axes)
        return SyntheticModel(
            synthesizer=self.name,
            domain=private.domain,
            beliefs=Beliefs(tree, tables, total),
            total=total,
            measurements=tuple(measurements),
            transcript=private.transcript(),
            encoder=private.encoder,
        )
