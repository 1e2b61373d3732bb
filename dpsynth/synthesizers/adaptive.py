"""The default mechanism: measure a forest of pairs, score every pair at once, measure more, fill the tree; three rounds, one final fit.

Compared with AIM it selects with Gaussian scores (nearly free), measures many marginals per round, models columns at the resolution
the noise allows and ranks candidates by the error they will really have. Every constant is a function of public quantities:
x = (noisy total) * mu / (mass per unit), column sizes and the tree limit. See docs/algorithms.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations

import numpy as np
import numpy.typing as npt

from dpsynth.constraints.support import kept_apart, support_of
from dpsynth.errors import ConfigError
from dpsynth.marginals import Clique, Domain, Measurement, centred, residual_norm
from dpsynth.model import Refinement, SyntheticModel
from dpsynth.pgm.estimation import Fitted, combine, fit
from dpsynth.pgm.junction_tree import JunctionTree, junction_tree, tree_cells
from dpsynth.pgm.pairs import all_pairs
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers.expected_error import effective_cells
from dpsynth.synthesizers.forest import draw_forest, joined
from dpsynth.synthesizers.independent import one_ways_alone
from dpsynth.synthesizers.levels import coarsen, coarsen_counts, resolution
from dpsynth.synthesizers.one_way import estimate_total, measure_one_ways, on_simplex, recode_one_way, settled, settled_within

Progress = Callable[[str, int, int], None]
_ALL = 1.0 - 1e-12

# Below this x per column noise rules: no residual form, no refinement. Chosen on the development tables of docs/algorithms.md: at 76 error
# was 9 % lower without, at 60 the same, at 150 3 % higher.
_LITTLE = 100.0
# Below this x per column the first forest is drawn pair by pair, since scores of all pairs at once are too noisy. At 54 (64 columns) error
# is a fifth lower, at 108 (32 columns) a tenth, at 150 to 220 a percent, at 600 a percent higher.
_DRAWN_BELOW = 250.0
# Below this many times the next limit there is one forest and no more, and one-ways have most of the budget.
_SCARCE, _SCARCE_SHARE = 1.8, 0.7
# Below this x per column the noise of a pair is of the size of the strongest dependence one can expect: one-ways take the whole budget.
TOO_LITTLE = 10.0
# Shares of the budget: for a first guess of the total, and for marginals of three columns inside the tree.
TOTAL_SHARE, TRIPLES_SHARE = 0.004, 0.06
# A pair beyond the tree is measured if its error is this many times what noise will make of it, up to so many per column; after those, the
# second number counts, up to so many.
_WORTH, _BEYOND_PER_COLUMN = 1.5, 2
_MUCH, _MOST_PER_COLUMN = 4.0, 6
# Fits stop when the loss is this share of what the truth would have; stopping early regularises. The first where measurements say little
# more than noise does, the second where what they say is far above it.
_ENOUGH_LITTLE, _ENOUGH = 0.92, 0.5
# The last fit of a model whose rows are not refined stops earlier, which saves up to half of its time and adds half a percent of error.
_ROUND_ITERATIONS, _FINAL_ITERATIONS, _FAST_ITERATIONS = 80, 600, 300
# The tree limit grows with the square root of x beyond this point, up to this factor.
_LIMIT_GROWS_FROM, _LIMIT_GROWS_TO = 1e4, 2.5
# Beyond this, or under one over it, some pairs would be measured with next to no budget, and noise that no integer holds.
_MOST_EMPHASIS = 1e6
# Candidates in a row that do not fit the tree before the search for one that does is given up.
_MISFITS = 60


def one_way_share(x: float) -> float:
    """Share of the budget for one-ways; it falls as more records stand above the noise."""
    return min(0.4, max(0.08, 0.25 - 0.12 * (math.log10(x) - 3.95)))


@dataclass(frozen=True)
class Adaptive:
    """``tree_limit`` bounds the cells of the model, hence memory and time. ``refine`` measures pairs beyond the tree and fits rows to
    them. Errors of marginals that hold the column ``target`` count ``emphasis`` times. Under x = ``alone_below`` per column one-ways
    take the whole budget. Where a forest is drawn, it may be in no fewer than ``least_draws``.
    """

    refine: bool = True
    tree_limit: int = 200_000
    bins_share: float = 0.1
    score_share: float = 0.08
    rounds: int = 3
    target: str | None = None
    emphasis: float = 2.0
    alone_below: float = TOO_LITTLE
    least_draws: int = 1

    name = "adaptive"

    def __post_init__(self) -> None:
        if not 1.0 / _MOST_EMPHASIS <= self.emphasis <= _MOST_EMPHASIS:
            raise ConfigError(f"emphasis={self.emphasis!r} must be > 0, from {1.0 / _MOST_EMPHASIS:g} to {_MOST_EMPHASIS:g}")

    def fit(self, private: PrivateData, progress: Progress | None = None) -> SyntheticModel:
        """A junction-tree model of ``private``, spending all of its budget."""
        if self.target is not None and self.target not in private.domain:
            raise ConfigError(f"target={self.target!r} must be a column of the schema that is modelled")
        private = private.discretised(self.bins_share * private.rho_left)
        if self.fits_jointly(private.domain):
            return self._fit_joint(private, progress)
        # Half a percent of the budget tells which regime this is.
        rho = private.rho_left
        guess = float(private.total(TOTAL_SHARE * rho).values)
        x = max(1.0, guess) * math.sqrt(2.0 * rho) / private.unit.mass
        if x < self.alone_below * len(private.domain):
            return one_ways_alone(private, self.name, self.tree_limit)
        return _Run(self, private, rho, x, progress).result()

    def fits_jointly(self, domain: Domain) -> bool:
        """Whether the whole joint is one table, so that nothing needs to be selected."""
        return math.prod(a.size for a in domain) <= self.tree_limit and len(domain) <= 20

    @staticmethod
    def joint_shares(columns: int) -> dict[int, float]:
        """How a joint of ``columns`` columns with more than one level divides the budget over orders 1 to 3; adds up to 1."""
        shares = {1: 0.25, 2: 0.35 if columns > 1 else 0.0, 3: 0.40 if columns > 2 else 0.0}
        whole = sum(shares.values())
        return {order: share / whole for order, share in shares.items()}

    def _fit_joint(self, private: PrivateData, progress: Progress | None) -> SyntheticModel:
        """The whole joint fits one table: no selection. One-ways 25 %, pair residuals 35 %, triple residuals 40 % of the budget."""
        names = [a.name for a in private.domain if a.size > 1]
        rho, full = private.rho_left, private
        shares = self.joint_shares(len(names))
        scale = rho * _ALL
        one_ways = measure_one_ways(full, shares[1] * scale)
        total = estimate_total(full, one_ways)
        recoding = coarsen_counts(full.domain, one_ways, total)
        private = full.recoded(recoding)
        measurements = [m for one in one_ways for m in recode_one_way(one, recoding)]
        names = [name for name in names if private.domain[name].size > 1]
        orders: dict[int, list[Clique]] = {2: list(combinations(names, 2)), 3: list(combinations(names, 3))}
        # With a column gone, its orders' shares go to those that are left.
        inner = {order: shares[order] for order in orders if orders[order]}
        shares |= {order: share * (1.0 - shares[1]) / sum(inner.values()) for order, share in inner.items()}
        done, todo = 0, len(orders[2]) + len(orders[3])
        for order in (2, 3):
            for clique in orders[order]:
                measurements.append(
                    private.measure_residual(clique, shares[order] * scale / len(orders[order]) * _ALL, f"residual_{order}")
                )
                done += 1
                if progress:
                    progress("measure", done, todo)
        index = {name: i for i, name in enumerate(private.domain.names)}
        tree = junction_tree([a.size for a in private.domain], [list(range(len(index)))], private.domain.unit_axes)
        support = support_of(private.encoder, private.domain, recoding)
        fitted = fit(tree, combine(measurements, index), total, iterations=150, masks=support.masks)
        return SyntheticModel(
            self.name,
            full.domain,
            fitted.beliefs,
            total,
            tuple(measurements),
            full.transcript(),
            recoding=recoding,
            within=settled_within(full.domain, one_ways, recoding, total),
            encoder=full.encoder,
        )


@dataclass(frozen=True)
class _Candidate:
    """A marginal that could be measured: its noisy error, its price (s n_eff)^(2/3), by which error is ranked, the error that noise will
    leave, and how much its error counts.
    """

    clique: Clique
    error: float
    price: float
    noise: float
    emphasis: float = 1.0

    @property
    def rank(self) -> float:
        return self.emphasis * self.error / self.price

    @property
    def share(self) -> float:
        """Of the budget: what minimises the sum of emphasis times noise is (emphasis s n_eff)^(2/3)."""
        return float(self.emphasis ** (2.0 / 3.0)) * self.price

    @property
    def trust(self) -> float:
        """Weight of its measurement against the model's own table, as if error and noise were independent Gaussian deviations."""
        return self.error**2 / (self.error**2 + self.noise**2)


class _Run:
    """One fit: the measurements so far and the model they imply."""

    def __init__(self, recipe: Adaptive, private: PrivateData, rho: float, guessed_x: float, progress: Progress | None) -> None:
        self.recipe = recipe
        self.full = private
        self.progress = progress
        self.rho = rho
        self.scarce = guessed_x < _SCARCE * recipe.alone_below * len(private.domain)
        self.one_ways, self.total = self._one_ways(guessed_x)
        self.x = self.total * math.sqrt(2.0 * self.rho) / private.unit.mass
        self.limit = int(recipe.tree_limit * min(_LIMIT_GROWS_TO, max(1.0, math.sqrt(self.x / _LIMIT_GROWS_FROM))))
        bins = resolution(private.domain, self.x, recipe.tree_limit)
        self.recoding = kept_apart(private.encoder, coarsen(private.domain, self.one_ways, self.total, bins))
        self.private = private.recoded(self.recoding)
        self.measurements = self._coarse()
        self.index = {name: i for i, name in enumerate(self.domain.names)}
        self.sizes = [a.size for a in self.domain]
        # What relations need may take half of the model; measurements have the rest.
        self.support = support_of(private.encoder, self.domain, self.recoding).within(
            self.sizes, self.limit / 2.0, (), self.domain.unit_axes
        )
        self.edges: list[Clique] = []
        self.outside: list[tuple[Measurement, float]] = []
        # Thinning picks single rows, which would tear persons apart.
        self.refine = recipe.refine and self.enough and not private.domain.unit_axes
        self.fitted: Fitted | None = None

    @property
    def domain(self) -> Domain:
        return self.private.domain

    @property
    def enough(self) -> bool:
        """Whether the records stand so far above the noise that detail pays."""
        return self.x >= _LITTLE * len(self.domain)

    @property
    def _model(self) -> Fitted:
        """The latest fit."""
        if self.fitted is None:
            self.fitted = self._fit(_ROUND_ITERATIONS)
        return self.fitted

    def result(self) -> SyntheticModel:
        triples = 0.0 if self.scarce or len(self.domain) < 3 else TRIPLES_SHARE * self.rho
        rounds = 1 if self.scarce else self.recipe.rounds
        score_rho = 0.0 if self.scarce else self.recipe.score_share * self.rho / rounds
        drawn = self.scarce or (rounds > 1 and self.x < _DRAWN_BELOW * len(self.domain))
        for done in range(rounds):
            budget = (self.private.rho_left - triples - score_rho * (rounds - done)) / (rounds - done)
            if drawn and done == 0:
                self._drawn(budget)
            else:
                self._round(score_rho, budget, last=done == rounds - 1)
            if self.progress:
                self.progress("select and measure", done + 1, rounds + 1)
        if triples > 0.0:
            self._triples()
        if self.progress:
            self.progress("select and measure", rounds + 1, rounds + 1)
        self._spend_rest()
        fitted = self._fit(_FINAL_ITERATIONS if self.recipe.refine else _FAST_ITERATIONS, warm=False)
        return SyntheticModel(
            synthesizer=self.recipe.name,
            domain=self.full.domain,
            beliefs=fitted.beliefs,
            total=self.total,
            measurements=(*self.one_ways, *self.measurements[len(self.one_ways) :], *(m for m, _ in self.outside)),
            transcript=self.full.transcript(),
            recoding=self.recoding,
            within=settled_within(self.full.domain, self.one_ways, self.recoding, self.total),
            encoder=self.full.encoder,
            refinement=Refinement(self._refinement(fitted)) if self.refine else None,
        )

    def _refinement(self, fitted: Fitted) -> tuple[tuple[tuple[int, ...], npt.NDArray[np.float64]], ...]:
        """Measurements that found no place in the tree, as non-negative tables; the part that a residual leaves out comes from the
        model.
        """
        tables = all_pairs(fitted.beliefs) if self.outside else {}
        targets = []
        for m, trust in self.outside:
            a, b = (self.index[name] for name in m.clique)
            model = tables[a, b]
            values = m.values + model - centred(model) if m.form == "residual" else m.values
            targets.append(((a, b), trust * on_simplex(values, self.total) + (1.0 - trust) * model))
        return tuple(targets)

    def _one_ways(self, x: float) -> tuple[list[Measurement], float]:
        """Their share falls with x."""
        one_ways = measure_one_ways(self.full, (_SCARCE_SHARE if self.scarce else one_way_share(x)) * self.rho)
        return one_ways, estimate_total(self.full, one_ways)

    def _coarse(self) -> list[Measurement]:
        """The one-ways in merged levels, settled first: smoothed, non-negative, of one total."""
        domain = self.full.domain
        ones = [replace(m, values=settled(domain[m.clique[0]], m, self.total)) for m in self.one_ways]
        return [m for one in ones for m in recode_one_way(one, self.recoding)]

    def _fit(self, iterations: int, *, warm: bool = True) -> Fitted:
        tree = self._tree(self.edges)
        targets = combine([m for m in self.measurements if m.stddev > 0.0], self.index)
        start = self.fitted.potentials if warm and self.fitted else None
        enough = _ENOUGH if self.enough else min(_ENOUGH_LITTLE, _ENOUGH + 2.0 / self._contrast())
        return fit(tree, targets, self.total, iterations=iterations, start=start, enough=enough, masks=self.support.masks)

    def _contrast(self) -> float:
        """How far the measured pairs and triples are from independence, in variances of their noise per cell; at least 1.

        1 is what noise alone gives. Then a fit has nothing but noise to find, and stops at what noise explains.
        """
        shares = {m.clique[0]: on_simplex(m.values, self.total) / self.total for m in self.measurements if len(m.clique) == 1}
        distance, cells = 0.0, 0
        for m in self.measurements:
            if len(m.clique) < 2 or m.stddev <= 0.0:
                continue
            # Of an independent table nothing is left in a residual.
            expected = reduce(np.multiply.outer, [shares[name] for name in m.clique]) * (self.total if m.form == "marginal" else 0.0)
            distance += float(((m.values - expected) ** 2).sum()) / m.stddev**2
            cells += m.values.size
        return max(1.0, distance / cells) if cells else 1.0

    def _tree(self, edges: Sequence[Clique]) -> JunctionTree:
        links = [[self.index[name] for name in edge] for edge in edges]
        return junction_tree(self.sizes, [*self.support.cliques, *links], self.domain.unit_axes)

    def _pairs(self) -> dict[Clique, npt.NDArray[np.float64]]:
        """What the model says of each pair of columns in which there is something to learn."""
        names = self.domain.names
        return {(names[a], names[b]): table for (a, b), table in all_pairs(self._model.beliefs).items() if min(table.shape) > 1}

    def _drawn(self, budget: float) -> None:
        """Draw a forest, measure it with what is left of ``budget``, refit."""
        tables = self._pairs()
        if not tables:
            return
        before = self.private.rho_left
        emphasis = {pair: self._emphasis(pair) for pair in tables}
        forest = draw_forest(
            self.private,
            tables,
            self.total,
            self.rho,
            budget,
            emphasis=emphasis,
            fits=self._fits,
            stage="draw_pair",
            least=self.recipe.least_draws,
        )
        left = budget - (before - self.private.rho_left)
        self._measure([self._candidate(pair, tables[pair], 0.0, left, len(forest)) for pair in forest], left, "two_way")

    def _round(self, score_rho: float, budget: float, *, last: bool) -> None:
        """Score all pairs, pick, measure, refit."""
        tables = self._pairs()
        pairs = list(tables)
        if not pairs:
            return
        rounded = [np.rint(tables[pair]).astype(np.int64) for pair in pairs]
        errors, noise = self.private.scores(pairs, rounded, score_rho, "score_pairs")
        candidates = self._candidates(pairs, list(tables.values()), errors, 2.0 * noise, budget, expected=len(self.domain))
        picked = self._fitting(candidates) if last else self._forest(candidates)
        beyond = self._beyond(candidates, picked) if last and self.refine else []
        self._measure(picked, budget, "two_way", beyond)

    def _candidates(
        self,
        cliques: Sequence[Clique],
        tables: Sequence[npt.NDArray[np.float64]],
        errors: npt.NDArray[np.float64],
        threshold: float,
        budget: float,
        expected: int,
    ) -> list[_Candidate]:
        """Candidates whose error stands out from the score noise, best first. ``expected`` of them will share ``budget``."""
        found = [
            self._candidate(clique, table, error, budget, expected)
            for clique, table, error in zip(cliques, tables, errors.tolist(), strict=True)
            if error > threshold
        ]
        return sorted(found, key=lambda c: -c.rank)

    def _candidate(self, clique: Clique, table: npt.NDArray[np.float64], error: float, budget: float, expected: int) -> _Candidate:
        """``clique`` as one of ``expected`` that share ``budget``."""
        norm = residual_norm(self.domain.shape(clique)) if self._as_residual(clique) else 1.0
        sigma = self.private.unit.vector_sensitivity(norm) / math.sqrt(2.0 * budget / expected)
        cells = effective_cells(table, sigma)
        noise = math.sqrt(2.0 / math.pi) * sigma * cells
        return _Candidate(clique, error, (norm * cells) ** (2.0 / 3.0), noise, self._emphasis(clique))

    def _emphasis(self, clique: Clique) -> float:
        return self.recipe.emphasis if self.recipe.target in clique else 1.0

    def _forest(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """A spanning forest of the best candidates that keeps the whole model within the tree limit."""
        part = {name: i for i, name in enumerate(self.domain.names)}
        picked: list[_Candidate] = []
        for candidate in candidates:
            a, b = candidate.clique
            if part[a] == part[b] or not self._fits([*(c.clique for c in picked), candidate.clique]):
                continue
            part = joined(part, a, b)
            picked.append(candidate)
        return picked

    def _fitting(self, candidates: list[_Candidate]) -> list[_Candidate]:
        """Candidates in order of rank, each that still fits the tree limit; gives up after many misfits in a row."""
        picked: list[_Candidate] = []
        misses = 0
        for candidate in candidates:
            if self._fits([*(c.clique for c in picked), candidate.clique]):
                picked.append(candidate)
                misses = 0
            else:
                misses += 1
                if misses >= _MISFITS:
                    break
        return picked

    def _beyond(self, candidates: list[_Candidate], picked: list[_Candidate]) -> list[_Candidate]:
        """The best candidates that did not fit the tree and are worth their noise."""
        taken = {c.clique for c in picked}
        worth = [c for c in candidates if c.clique not in taken and c.error > _WORTH * c.noise]
        few, most = _BEYOND_PER_COLUMN * len(self.domain), _MOST_PER_COLUMN * len(self.domain)
        return [*worth[:few], *(c for c in worth[few:] if c.error > _MUCH * c.noise)][:most]

    def _fits(self, more: Sequence[Clique]) -> bool:
        edges = [[self.index[name] for name in edge] for edge in [*self.edges, *more]]
        return tree_cells(self.sizes, [*self.support.cliques, *edges], self.domain.unit_axes, enough=self.limit) <= self.limit

    def _measure(self, picked: list[_Candidate], budget: float, stage: str, beyond: Sequence[_Candidate] = ()) -> None:
        """Measure ``picked`` (and those ``beyond`` the tree) with budgets in proportion to their share, and refit from where the model
        stands.
        """
        if not picked and not beyond:
            return
        scale = budget * _ALL / sum(c.share for c in [*picked, *beyond])
        for place, candidate in enumerate([*picked, *beyond]):
            rho = candidate.share * scale
            if self._as_residual(candidate.clique):
                m = self.private.measure_residual(candidate.clique, rho, f"{stage}_residual")
            else:
                m = self.private.measure(candidate.clique, rho, stage)
            if place >= len(picked):
                self.outside.append((m, candidate.trust))
                continue
            self.measurements.append(m)
            if candidate.clique not in self.edges:
                self.edges.append(candidate.clique)
        self.fitted = self._fit(_ROUND_ITERATIONS)

    def _triples(self) -> None:
        """Measure the three-ways that lie inside one clique of the tree, scored and paid for like the pairs."""
        tree = self._model.beliefs.tree
        names = self.domain.names
        inside = {tuple(sorted(triple)) for clique in tree.cliques for triple in combinations(clique, 3)}
        triples = [t for t in sorted(inside) if min(self.sizes[a] for a in t) > 1]
        if not triples:
            return
        tables = []
        for triple in triples:
            table = self._model.beliefs.within(triple)
            tables.append(np.zeros(0) if table is None else table)
        cliques = [tuple(names[a] for a in triple) for triple in triples]
        budget = self.private.rho_left
        score_rho = 0.1 * budget
        errors, noise = self.private.scores(cliques, [np.rint(t).astype(np.int64) for t in tables], score_rho, "score_triples")
        candidates = self._candidates(cliques, tables, errors, 2.0 * noise, budget, expected=max(1, len(cliques) // 2))
        self._measure(candidates[: len(names)], self.private.rho_left, "three_way")

    def _spend_rest(self) -> None:
        """Budget that no candidate asked for goes into the one-ways again."""
        left = self.private.rho_left
        if left > 1e-6 * self.rho:
            self.measurements.extend(measure_one_ways(self.private, left * _ALL))

    def _as_residual(self, clique: Clique) -> bool:
        """Residual form pays when it cuts the noise by a quarter and the lower orders are known well enough."""
        return self.enough and residual_norm(self.domain.shape(clique)) <= 0.75
