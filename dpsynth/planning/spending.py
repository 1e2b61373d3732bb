"""How each synthesizer divides its budget, as noise per marginal: computed from public sizes, before any record.

Each function mirrors one mechanism in ``dpsynth.synthesizers``. A test fits the mechanism and compares with its transcript.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dpsynth.marginals import Domain, residual_norm
from dpsynth.privacy import PrivacyUnit
from dpsynth.synthesizers import Adaptive, Aim, Mst, Synthesizer
from dpsynth.synthesizers.adaptive import TOTAL_SHARE, TRIPLES_SHARE, one_way_share
from dpsynth.synthesizers.levels import resolution
from dpsynth.synthesizers.one_way import one_way_shares

# As many pairs per column would share the budget if all had the noise of a typical one; from transcripts of both mechanisms.
_TYPICAL_PAIRS = {"adaptive": 6, "aim": 4}
# Levels with fewer records than so many standard deviations are merged before pairs are measured.
_MERGED_BELOW = 3.0


@dataclass(frozen=True)
class PairNoise:
    """The measured pairs: the noise of a typical one, for ``rho`` each.

    ``levels`` is at how many levels a column enters a pair, at most.
    ``residual``: only the part that the one-ways do not know is measured, with less noise.
    """

    rho: float
    levels: Mapping[str, int]
    residual: bool = False

    def shape(self, a: str, b: str) -> tuple[int, int]:
        """The sizes at which a pair of columns is measured."""
        return self.levels[a], self.levels[b]

    def stddev(self, unit: PrivacyUnit, shape: tuple[int, ...]) -> float:
        """Noise in one cell of a pair of this shape, in records."""
        norm = residual_norm(shape) if self.residual else 1.0
        return unit.vector_sensitivity(norm) / math.sqrt(2.0 * self.rho)


@dataclass(frozen=True)
class Spending:
    """What a fit will measure: the noise of each one-way, and of a typical pair (None where no pair is measured)."""

    one_way: Mapping[str, float]
    pairs: PairNoise | None
    bins_rho: float


def spending(recipe: Synthesizer, domain: Domain, pending: int, unit: PrivacyUnit, rho: float, rows: int) -> Spending:
    """The spending of ``recipe`` on ``domain``; ``pending`` columns have bins still to be found, for a tenth of the budget."""
    law = _LAWS[recipe.name]
    bins = _BINS_SHARE * rho if pending else 0.0
    return law(recipe, domain, unit, rho - bins, rows, bins)


_BINS_SHARE = 0.1


def _one_way(domain: Domain, unit: PrivacyUnit, rho: float) -> dict[str, float]:
    shares = one_way_shares(domain, rho)
    return {a.name: unit.vector_sensitivity() / math.sqrt(2.0 * share) for a, share in zip(domain, shares, strict=True)}


def _independent(recipe: Synthesizer, domain: Domain, unit: PrivacyUnit, rho: float, rows: int, bins: float) -> Spending:
    return Spending(_one_way(domain, unit, rho), None, bins)


def _mst(recipe: Synthesizer, domain: Domain, unit: PrivacyUnit, rho: float, rows: int, bins: float) -> Spending:
    assert isinstance(recipe, Mst)
    edges = len(domain) - 1
    if not edges:
        return _independent(recipe, domain, unit, rho, rows, bins)
    one_way = _one_way(domain, unit, recipe.one_way_share * rho)
    left = rho * (1.0 - recipe.one_way_share - recipe.select_share)
    return Spending(one_way, PairNoise(left / edges, _frequent(domain, one_way, rows)), bins)


def _aim(recipe: Synthesizer, domain: Domain, unit: PrivacyUnit, rho: float, rows: int, bins: float) -> Spending:
    assert isinstance(recipe, Aim)
    if sum(a.size > 1 for a in domain) < 2:
        return _independent(recipe, domain, unit, rho, rows, bins)
    one_way = _one_way(domain, unit, recipe.one_way_share * rho)
    left = (1.0 - recipe.one_way_share) * recipe.measure_share * rho
    return Spending(one_way, PairNoise(left / (_TYPICAL_PAIRS["aim"] * len(domain)), _frequent(domain, one_way, rows)), bins)


def _adaptive(recipe: Synthesizer, domain: Domain, unit: PrivacyUnit, rho: float, rows: int, bins: float) -> Spending:
    assert isinstance(recipe, Adaptive)
    if recipe.fits_jointly(domain):
        return _adaptive_joint(domain, unit, rho, bins)
    x = rows * math.sqrt(2.0 * rho) / unit.mass
    share = one_way_share(x)
    one_way = _one_way(domain, unit, share * rho)
    triples = TRIPLES_SHARE if len(domain) > 2 else 0.0
    left = rho * (1.0 - TOTAL_SHARE - share - recipe.score_share - triples)
    bands = resolution(domain, x, recipe.tree_limit)
    frequent = _frequent(domain, one_way, rows)
    levels = {a.name: min(a.size, bands + a.nullable) if a.ordered else frequent[a.name] for a in domain}
    return Spending(one_way, PairNoise(left / (_TYPICAL_PAIRS["adaptive"] * len(domain)), levels), bins)


def _adaptive_joint(domain: Domain, unit: PrivacyUnit, rho: float, bins: float) -> Spending:
    wide = sum(a.size > 1 for a in domain)
    shares = Adaptive.joint_shares(wide)
    pairs = math.comb(wide, 2)
    levels = {a.name: a.size for a in domain}
    return Spending(
        _one_way(domain, unit, shares[1] * rho), PairNoise(shares[2] * rho / pairs, levels, residual=True) if pairs else None, bins
    )


def _frequent(domain: Domain, one_way: Mapping[str, float], rows: int) -> dict[str, int]:
    """How many levels of each column can have so many records that they are not merged, and one for the rest."""
    return {a.name: min(a.size, int(rows / (_MERGED_BELOW * one_way[a.name])) + 1) for a in domain}


_LAWS: dict[str, Callable[[Synthesizer, Domain, PrivacyUnit, float, int, float], Spending]] = {
    "adaptive": _adaptive,
    "aim": _aim,
    "independent": _independent,
    "mst": _mst,
}
