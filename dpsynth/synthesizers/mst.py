"""MST: noisy one-ways, a spanning tree of pairs chosen by the exponential mechanism, those pairs measured.

McKenna, Miklau and Sheldon 2021 (arXiv 2108.04978), with the selection charged at its full, non-monotonic cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from dpsynth.constraints.support import kept_apart, support_of
from dpsynth.marginals import Clique, Measurement
from dpsynth.model import SyntheticModel
from dpsynth.pgm.estimation import combine, fit
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers.forest import joined
from dpsynth.synthesizers.one_way import estimate_total, measure_one_ways, merge_rare, on_simplex, recode_one_way, settled_within


@dataclass(frozen=True)
class Mst:
    """``iterations`` of the final fit; the shares are those of the budget that remains after bins. ``max_cells`` bounds what declared
    relations may add to the tree.
    """

    bins_share: float = 0.1
    one_way_share: float = 1.0 / 3.0
    select_share: float = 1.0 / 3.0
    iterations: int = 200
    max_cells: int = 1_000_000

    name = "mst"

    def fit(self, private: PrivateData, progress: Callable[[str, int, int], None] | None = None) -> SyntheticModel:
        """A tree-shaped model of ``private``, spending all of its budget."""
        private = private.discretised(self.bins_share * private.rho_left)
        rho = private.rho_left
        # A single column has no edges to spend the other shares on.
        one_ways = measure_one_ways(private, rho * (self.one_way_share if len(private.domain) > 1 else 1.0))
        total = estimate_total(private, one_ways)
        recoding = kept_apart(private.encoder, merge_rare(private.domain, one_ways))
        merged = private.recoded(recoding)
        coarse = [m for one in one_ways for m in recode_one_way(one, recoding)]
        edges = self._select(merged, coarse, total, self.select_share * rho, progress)
        # Everything that is left: rounding of the shares above is spent here.
        left = merged.rho_left * (1.0 - 1e-12)
        pairs: list[Measurement] = []
        for done, edge in enumerate(edges):
            pairs.append(merged.measure(edge, left / len(edges), "two_way"))
            if progress:
                progress("measure", done + 1, len(edges))
        index = {name: i for i, name in enumerate(merged.domain.names)}
        sizes = [a.size for a in merged.domain]
        links = [tuple(index[name] for name in edge) for edge in edges]
        support = support_of(private.encoder, merged.domain, recoding).within(sizes, self.max_cells, links, merged.domain.unit_axes)
        tree = junction_tree(sizes, [*links, *support.cliques], merged.domain.unit_axes)
        fitted = fit(tree, combine([*coarse, *pairs], index), total, iterations=self.iterations, masks=support.masks)
        return SyntheticModel(
            synthesizer=self.name,
            domain=private.domain,
            beliefs=fitted.beliefs,
            total=total,
            measurements=(*one_ways, *pairs),
            transcript=private.transcript(),
            recoding=recoding,
            within=settled_within(private.domain, one_ways, recoding, total),
            encoder=private.encoder,
        )

    def _select(
        self,
        private: PrivateData,
        one_ways: list[Measurement],
        total: float,
        rho: float,
        progress: Callable[[str, int, int], None] | None,
    ) -> list[Clique]:
        """A spanning tree: in each round one more edge between two parts, by its error under independence."""
        names = private.domain.names
        rounds = len(names) - 1
        shares = {m.clique[0]: on_simplex(m.values, total) / total for m in one_ways}
        models = {(a, b): np.rint(total * np.outer(shares[a], shares[b])).astype(np.int64) for a, b in combinations(names, 2)}
        part = {name: i for i, name in enumerate(names)}
        edges: list[Clique] = []
        for done in range(rounds):
            open_edges = [edge for edge in models if part[edge[0]] != part[edge[1]]]
            chosen = open_edges[private.select(open_edges, [models[e] for e in open_edges], rho / rounds, "select_edge")]
            part = joined(part, chosen[0], chosen[1])
            edges.append(chosen)
            if progress:
                progress("select", done + 1, rounds)
        return edges
