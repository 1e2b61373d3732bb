"""AIM: again and again, the marginal of a workload that the model answers worst is chosen, measured and fitted.

McKenna, Mullins, Sheldon and Miklau 2022 (arXiv 2201.12677), algorithms 2 to 4. Selection is charged at its full, non-monotonic cost.
Different from the paper: the one-ways get a share of their own, and rare levels are merged as in MST; see docs/decisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.constraints.support import kept_apart, support_of
from dpsynth.errors import ConfigError
from dpsynth.marginals import Clique, Domain, Measurement
from dpsynth.model import SyntheticModel
from dpsynth.pgm.estimation import Fitted, combine, fit
from dpsynth.pgm.junction_tree import Axes, junction_tree, tree_cells
from dpsynth.pgm.triples import TreeMarginals
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers.one_way import estimate_total, measure_one_ways, merge_rare, recode_one_way, settled_within

Progress = Callable[[str, int, int], None]
_ALL = 1.0 - 1e-12
# Mean absolute value of a standard normal.
_MEAN_ABSOLUTE = math.sqrt(2.0 / math.pi)
# Cells of all candidates together; of a larger workload the largest marginals are left out. Bounds memory and the time of a selection.
_CANDIDATE_CELLS = 30_000_000
# Per round: cells of candidates brought up to date in turn, and candidates whose fit into the tree is checked again.
_REFRESHED_CELLS = 400_000
_RECHECKED = 300
_ROUND_ITERATIONS = 40
# Scores stay below 2^53, where floats stop counting: larger weights are scaled down, and to be 17 billion records too noisy is to be so.
_LARGEST_WEIGHT = 1 << 16
_LARGEST_PENALTY = float(1 << 34)


@dataclass(frozen=True)
class Aim:
    """The workload is every marginal over ``degree`` columns (that include ``target``), or the cliques of ``workload`` with their
    whole-number weights. ``max_cells`` bounds the model.

    ``one_way_share`` of the budget goes into the one-ways; in the paper they are measured with the noise of a first round each, which is
    measure_share / rounds_per_column. There are at most ``rounds_per_column`` * columns rounds; each gives ``measure_share`` of its budget
    to the measurement and the rest to the selection.
    """

    degree: int = 3
    target: str | None = None
    workload: Mapping[Clique, int] | None = None
    max_cells: int = 1_000_000
    rounds_per_column: int = 16
    one_way_share: float = 0.2
    measure_share: float = 0.9
    bins_share: float = 0.1

    name = "aim"

    def __post_init__(self) -> None:
        if self.degree < 1:
            raise ConfigError(f"degree={self.degree} must be >= 1")
        if self.rounds_per_column < 1:
            raise ConfigError(f"rounds_per_column={self.rounds_per_column} must be >= 1")
        for name in ("one_way_share", "measure_share", "bins_share"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ConfigError(f"{name}={getattr(self, name)!r} must be > 0 and < 1")
        if self.workload is not None:
            if self.target is not None:
                raise ConfigError("give a target or a workload, not both")
            weights = list(self.workload.values())
            if not weights or not all(isinstance(weight, int) and weight > 0 for weight in weights):
                raise ConfigError("a workload needs cliques, and a whole number > 0 as the weight of each")

    def fit(self, private: PrivateData, progress: Progress | None = None) -> SyntheticModel:
        """A junction-tree model of ``private``, spending all of its budget."""
        weighted = self._weighted(private.domain)
        private = private.discretised(self.bins_share * private.rho_left)
        return _Run(self, private, weighted, progress).result()

    def _weighted(self, domain: Domain) -> dict[Clique, int]:
        """The workload as cliques in column order."""
        if self.workload is None:
            degree = min(self.degree, len(domain))
            if self.target is None:
                return dict.fromkeys(combinations(domain.names, degree), 1)
            aim = domain[self.target].name
            return {clique: 1 for clique in combinations(domain.names, degree) if aim in clique}
        weighted: dict[Clique, int] = {}
        for names, weight in self.workload.items():
            clique = domain.ordered_clique(names)
            weighted[clique] = weighted.get(clique, 0) + weight
        return weighted


@dataclass
class _Candidate:
    """A marginal of the workload or a part of one, and what was last known of it.

    ``model`` is the model's answer, rounded; ``tree`` the cells of the model with this marginal in it, right for the links of ``version``.
    Both may be out of date, which costs accuracy and no privacy: they are functions of noisy answers.
    """

    clique: Clique
    axes: Axes
    cells: int
    weight: int
    tree: int
    version: int
    model: npt.NDArray[np.signedinteger[Any]] | None = None


class _Run:
    """One fit: the measurements so far and the model they imply."""

    def __init__(self, recipe: Aim, private: PrivateData, weighted: Mapping[Clique, int], progress: Progress | None) -> None:
        self.recipe = recipe
        self.full = private
        self.progress = progress
        self.rho = private.rho_left
        rounds = recipe.rounds_per_column * len(private.domain)
        self.measure_rho = recipe.measure_share * self.rho / rounds
        self.select_rho = (1.0 - recipe.measure_share) * self.rho / rounds
        # Of the marginals of a single column there is nothing to choose.
        alone = sum(a.size > 1 for a in private.domain) < 2
        self.one_ways = measure_one_ways(private, self.rho * (1.0 if alone else recipe.one_way_share))
        self.total = estimate_total(private, self.one_ways)
        self.recoding = kept_apart(private.encoder, merge_rare(private.domain, self.one_ways))
        self.private = private.recoded(self.recoding)
        self.domain = self.private.domain
        self.index = {name: i for i, name in enumerate(self.domain.names)}
        self.sizes = [a.size for a in self.domain]
        self.measured: list[Measurement] = []
        self.coarse = [m for one in self.one_ways for m in recode_one_way(one, self.recoding)]
        self.links: set[Axes] = set()
        self.version = 0
        # What relations need may take half of the model; measurements have the rest.
        self.support = support_of(private.encoder, self.domain, self.recoding).within(
            self.sizes, recipe.max_cells / 2.0, (), self.domain.unit_axes
        )
        self.tree = junction_tree(self.sizes, self.support.cliques, self.domain.unit_axes)
        self.candidates = [] if alone else self._closure(weighted)
        self.turn = 0
        self.fitted = self._fit(_ROUND_ITERATIONS, None)

    def result(self) -> SyntheticModel:
        last = not self.candidates
        while not last:
            left = self.private.rho_left
            last = left < 2.0 * (self.measure_rho + self.select_rho)
            if last:
                self.measure_rho, self.select_rho = self.recipe.measure_share * left, (1.0 - self.recipe.measure_share) * left
            limit = self.recipe.max_cells * (self.rho - left + self.measure_rho + self.select_rho) / self.rho
            self._recheck(limit, len(self.candidates) if last else _RECHECKED)
            candidate = self._select(limit)
            # None: its place in the tree was taken since it was last checked. The choice is paid for; the next round goes on.
            if candidate is not None:
                self._measure(candidate, self.private.rho_left * _ALL if last else self.measure_rho)
            self._tell()
        left = self.private.rho_left
        if left > 1e-6 * self.rho:
            self.measured.extend(measure_one_ways(self.private, left * _ALL))
        fitted = self._fit(self._iterations(), None)
        if self.progress:
            self.progress("select and measure", 100, 100)
        return SyntheticModel(
            synthesizer=self.recipe.name,
            domain=self.full.domain,
            beliefs=fitted.beliefs,
            total=self.total,
            measurements=(*self.one_ways, *self.measured),
            transcript=self.full.transcript(),
            recoding=self.recoding,
            within=settled_within(self.full.domain, self.one_ways, self.recoding, self.total),
            encoder=self.full.encoder,
        )

    def _tell(self) -> None:
        if self.progress:
            self.progress("select and measure", min(99, int(100.0 * (1.0 - self.private.rho_left / self.rho))), 100)

    def _closure(self, weighted: Mapping[Clique, int]) -> list[_Candidate]:
        """The workload and all parts of it, smallest first, with weights w_r = sum over s of c_s |r and s| (equation 1 of the paper).

        The sum over s is one number per column: w_r = sum over a in r of (sum of c_s over the s that contain a).
        """
        of_column = dict.fromkeys(self.domain.names, 0)
        cliques: set[Clique] = set()
        for clique, weight in weighted.items():
            for name in clique:
                of_column[name] += weight
            # A column of one level adds nothing to a marginal.
            wide = [name for name in clique if self.domain[name].size > 1]
            cliques.update(part for length in range(1, len(wide) + 1) for part in combinations(wide, length))
        weights = {clique: sum(of_column[name] for name in clique) for clique in cliques}
        unit = max(math.gcd(*weights.values()), max(weights.values(), default=0) / _LARGEST_WEIGHT)
        found: list[_Candidate] = []
        room = _CANDIDATE_CELLS
        for clique in sorted(cliques, key=lambda c: (self.domain.cells(c), c)):
            cells = self.domain.cells(clique)
            room -= cells
            if cells > self.recipe.max_cells or room < 0:
                break
            axes = tuple(self.index[name] for name in clique)
            alone = cells + sum(n for a, n in enumerate(self.sizes) if a not in axes)
            found.append(_Candidate(clique, axes, cells, max(1, round(weights[clique] / unit)), alone, self.version))
        return found

    # --- a round ----------------------------------------------------------------------------------------------------------------

    def _select(self, limit: float) -> _Candidate | None:
        """The exponential mechanism's choice among the candidates that fit ``limit``; None if it turns out not to fit."""
        allowed = [c for c in self.candidates if c.tree <= limit or self._inside(c)]
        marginals = TreeMarginals(self.fitted.beliefs)
        models = [self._refreshed(c, marginals) if c.model is None else c.model for c in allowed]
        stddev = self.private.unit.vector_sensitivity() / math.sqrt(2.0 * self.measure_rho)
        chosen = self.private.select(
            [c.clique for c in allowed],
            models,
            self.select_rho,
            "select",
            penalties=np.array([min(_LARGEST_PENALTY, _MEAN_ABSOLUTE * stddev * c.cells) for c in allowed]),
            weights=np.array([c.weight for c in allowed], dtype=np.int64),
        )
        candidate = allowed[chosen]
        self._check(candidate)
        return candidate if candidate.tree <= limit or self._inside(candidate) else None

    def _measure(self, candidate: _Candidate, rho: float) -> None:
        """Measure, refit from where the model stands, and halve the noise of later rounds if this one hardly moved the model."""
        before = TreeMarginals(self.fitted.beliefs).table(candidate.axes)
        m = self.private.measure(candidate.clique, rho, "marginal")
        self.measured.append(m)
        links = set(combinations(candidate.axes, 2))
        if not links <= self.links:
            # Also where the tree has room already: a new link changes how the next tree is triangulated, hence what fits.
            self.links |= links
            self.version += 1
        if not self._inside(candidate):
            self.tree = junction_tree(self.sizes, self._edges(), self.domain.unit_axes)
        self.fitted = self._fit(_ROUND_ITERATIONS, self.fitted)
        marginals = TreeMarginals(self.fitted.beliefs)
        change = float(np.abs(marginals.table(candidate.axes) - before).sum())
        if change <= _MEAN_ABSOLUTE * m.stddev * candidate.cells:
            self.measure_rho *= 4.0
            self.select_rho *= 4.0
        self._refresh(candidate, marginals)

    def _refresh(self, measured: _Candidate, marginals: TreeMarginals) -> None:
        """Bring up to date the answers that a measurement is likely to have moved, and some of the others in turn."""
        near = set(measured.axes)
        known = [c for c in self.candidates if c.model is not None]
        for c in known:
            if len(near.intersection(c.axes)) >= min(2, len(c.axes)):
                self._refreshed(c, marginals)
        room = _REFRESHED_CELLS
        for step in range(len(known)):
            c = known[(self.turn + step) % len(known)]
            room -= c.cells
            if room < 0 and step:
                break
            self._refreshed(c, marginals)
        self.turn = (self.turn + step) % len(known)

    def _refreshed(self, candidate: _Candidate, marginals: TreeMarginals) -> npt.NDArray[np.signedinteger[Any]]:
        narrow = self.total < 1 << 30
        candidate.model = np.rint(marginals.table(candidate.axes)).astype(np.int32 if narrow else np.int64)
        return candidate.model

    def _recheck(self, limit: float, most: int) -> None:
        """See again how large the tree would be, for those longest unchecked. What was too large in a smaller tree is so in this one."""
        stale = [c for c in self.candidates if c.version < self.version and c.tree <= limit and not self._inside(c)]
        for c in sorted(stale, key=lambda c: c.version)[:most]:
            self._check(c)

    def _check(self, candidate: _Candidate) -> None:
        if candidate.version < self.version:
            candidate.tree = tree_cells(self.sizes, [*self._edges(), candidate.axes], self.domain.unit_axes)
            candidate.version = self.version

    def _inside(self, candidate: _Candidate) -> bool:
        return self.tree.home(candidate.axes) is not None

    def _edges(self) -> list[Axes]:
        measured = (tuple(self.index[name] for name in m.clique) for m in self.measured)
        return list(dict.fromkeys([*self.support.cliques, *measured]))

    # --- fits -------------------------------------------------------------------------------------------------------------------

    def _fit(self, iterations: int, start: Fitted | None) -> Fitted:
        targets = combine([m for m in (*self.coarse, *self.measured) if m.stddev > 0.0], self.index)
        potentials = start.potentials if start else None
        return fit(self.tree, targets, self.total, iterations=iterations, start=potentials, masks=self.support.masks)

    def _iterations(self) -> int:
        """Of the last fit. Stopping early regularises: the more records per noise, the later (see the adaptive mechanism)."""
        x = self.total * math.sqrt(2.0 * self.rho) / self.full.unit.mass
        return int(min(500, max(15, 35.0 * (x / 1000.0) ** 0.6)))
