"""Every column on its own: the baseline, and the honest choice when the budget is too small for structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dpsynth.constraints.support import support_of
from dpsynth.marginals import Recoding
from dpsynth.model import SyntheticModel
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.estimation import combine, fit
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers.one_way import estimate_total, measure_one_ways, settled

_BINS_SHARE = 0.1
_ALL = 1.0 - 1e-12
# Of the fit that declared relations make necessary.
_ITERATIONS = 200


@dataclass(frozen=True)
class Independent:
    """Spends the whole budget on one-way marginals (a tenth on bins first, if the schema asks for data-adapted ones).

    Columns are independent but for declared relations; ``max_cells`` bounds what those may add to the model. Half of the budget goes to
    columns that others determine by a map that is not public, where there are any.
    """

    max_cells: int = 1_000_000

    name = "independent"

    def fit(self, private: PrivateData, progress: Callable[[str, int, int], None] | None = None) -> SyntheticModel:
        """One-way marginals of ``private``, projected to non-negative tables."""
        model = one_ways_alone(private.discretised(_BINS_SHARE * private.rho_left), self.name, self.max_cells)
        if progress:
            progress("measure", 1, 1)
        return model


def one_ways_alone(private: PrivateData, synthesizer: str, max_cells: int) -> SyntheticModel:
    """All that is left of the budget on one-way marginals, and on those of columns that the schema links; the model is their product."""
    sizes = [a.size for a in private.domain]
    support = support_of(private.encoder, private.domain, Recoding({})).within(sizes, max_cells, (), private.domain.unit_axes)
    links = [tuple(private.domain.names[a] for a in axes) for axes in support.links]
    left = private.rho_left
    measurements = measure_one_ways(private, left / 2.0 if links else left)
    # A column that others determine is only known together with them.
    measurements_of_links = [private.measure(link, left / 2.0 / len(links) * _ALL, "links") for link in links]
    total = estimate_total(private, measurements)
    tree = junction_tree(sizes, support.cliques, private.domain.unit_axes)
    if support.cliques:
        index = {name: place for place, name in enumerate(private.domain.names)}
        beliefs = fit(
            tree, combine([*measurements, *measurements_of_links], index), total, iterations=_ITERATIONS, masks=support.masks
        ).beliefs
    else:
        beliefs = Beliefs(tree, [settled(a, m, total) for a, m in zip(private.domain, measurements, strict=True)], total)
    return SyntheticModel(
        synthesizer=synthesizer,
        domain=private.domain,
        beliefs=beliefs,
        total=total,
        measurements=(*measurements, *measurements_of_links),
        transcript=private.transcript(),
        encoder=private.encoder,
    )
