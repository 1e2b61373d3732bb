"""The first step of every mechanism: noisy one-way marginals, the total from them, and the public merges they allow."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import COUNT, Attribute, Domain, Measurement, Recoding
from dpsynth.privacy import PrivateData
from dpsynth.synthesizers.smoothing import denoised, once_in

# Ordered columns of so many levels have ends that may be far from all records, which are emptied. With them means of long tails were twice
# as wrong; on shorter columns emptying costs real tails and helps nothing.
_LONG, _EMPTY = 16, 0.02
# A run of cells of a column of row counts stands out by so many stddevs, or more where there are many runs.
_ROWS_STAND_OUT = 2.5


def one_way_shares(domain: Domain, rho: float) -> list[float]:
    """``rho`` split over the columns in proportion to (levels)^(2/3).

    The expected L1 error of a table of n cells is n sigma sqrt(2/pi), and minimising the sum of errors under sum of 1/sigma^2 = const gives
    1/sigma^2 ~ n^(2/3).
    """
    shares = np.array([a.size for a in domain], dtype=np.float64) ** (2.0 / 3.0)
    divided: list[float] = (shares * (rho * (1.0 - 1e-12) / shares.sum())).tolist()
    return divided


def measure_one_ways(private: PrivateData, rho: float) -> list[Measurement]:
    """Every column's marginal, ``rho`` divided as `one_way_shares` says."""
    shares = one_way_shares(private.domain, rho)
    return [_trimmed(a, private.measure((a.name,), share, "one_way")) for a, share in zip(private.domain, shares, strict=True)]


def _trimmed(attribute: Attribute, m: Measurement) -> Measurement:
    """A measured number of rows per unit without the cells beyond the last that stands out: only there does noise add up, as rows do.

    It stands out by so many stddevs that by noise alone hardly any of the n log2(n) runs would: a phantom in a far cell brings as many rows
    as the cell says.
    """
    if attribute.scope != COUNT:
        return m
    runs = attribute.size * max(1.0, math.log2(attribute.size))
    last = _outermost(m.values, m.stddev, max(_ROWS_STAND_OUT, math.sqrt(2.0 * math.log(2.0 * runs))))
    if last is None:
        return m
    return replace(m, values=np.where(np.arange(len(m.values)) <= last, m.values, 0.0))


def estimate_total(private: PrivateData, one_ways: list[Measurement]) -> float:
    """Number of rows, at least 1: exact where it is public, else the precision-weighted mean of the noisy tables' sums."""
    if private.unit.total_is_public:
        return max(1.0, float(private.total(0.0).values))
    weights = np.array([1.0 / (m.stddev**2 * m.values.size) for m in one_ways])
    sums = np.array([m.values.sum() for m in one_ways])
    return max(1.0, float(np.dot(weights, sums) / weights.sum()))


def on_simplex(values: npt.NDArray[np.float64], total: float) -> npt.NDArray[np.float64]:
    """The non-negative table with sum ``total`` nearest to ``values`` in L2 (Duchi et al. 2008, figure 1)."""
    flat = np.sort(values.ravel())[::-1]
    cut = (np.cumsum(flat) - total) / np.arange(1, len(flat) + 1)
    threshold = cut[np.flatnonzero(flat > cut)[-1]]
    projected: npt.NDArray[np.float64] = np.maximum(values - threshold, 0.0)
    return projected


def settled(attribute: Attribute, m: Measurement, total: float) -> npt.NDArray[np.float64]:
    """A measured column as a non-negative table with sum ``total``: ordered levels smoothed, and none of the records that noise puts far
    out; any others as they are.

    Noise in the empty ends of an ordered column would put records next to a bound that nobody comes near, and they would outweigh the rest
    in a mean. So from each end the cells are emptied up to the first run of cells that stands out from the noise.
    """
    size = attribute.size - attribute.nullable
    values, ends = m.values, slice(0, size)
    if attribute.scope == COUNT:
        # Cells beyond the last that stands out are zero (`_trimmed`) and stay so.
        ends = slice(0, int(np.flatnonzero(values)[-1]) + 1 if values.any() else size)
    elif attribute.ordered:
        ends = _standing(values[:size], m.stddev) if size >= _LONG else ends
        values = np.append(denoised(values[:size], m.stddev), values[size:])
    kept = np.ones(len(values), dtype=bool)
    kept[:size] = False
    kept[ends] = True
    out: npt.NDArray[np.float64] = np.zeros(len(values))
    out[kept] = on_simplex(values[kept], total)
    return out


def settled_within(domain: Domain, one_ways: Sequence[Measurement], recoding: Recoding, total: float) -> dict[str, npt.NDArray[np.float64]]:
    """The settled one-way of each column with merged levels, by which a model tells them apart."""
    return {m.clique[0]: settled(domain[m.clique[0]], m, total) for m in one_ways if m.clique[0] in recoding.levels}


def _standing(values: npt.NDArray[np.float64], stddev: float) -> slice:
    """From the first to the last of the n log2(n) runs of cells that stands out further than noise does once among them.

    All cells where none does; and all on a side where more than `_EMPTY` of the records seem to lie beyond: then it is the noise that is
    large, not the end that is empty.
    """
    far = once_in(round(len(values) * math.log2(len(values))))
    last, first = _outermost(values, stddev, far), _outermost(values[::-1], stddev, far)
    if last is None or first is None:
        return slice(0, len(values))
    low, high, most = len(values) - 1 - first, last + 1, _EMPTY * values.sum()
    return slice(low if values[:low].sum() <= most else 0, high if values[high:].sum() <= most else len(values))


def _outermost(values: npt.NDArray[np.float64], stddev: float, far: float) -> int | None:
    """The end of the last run of 1, 2, 4, ... cells whose sum stands ``far`` stddevs out of the noise; None where none does.

    Of the runs that begin at the last cell where one does, the shortest.
    """
    below = np.concatenate(([0.0], np.cumsum(values)))
    best: tuple[int, int] | None = None
    width = 1
    while width <= len(values):
        begins = np.flatnonzero(below[width:] - below[:-width] > far * stddev * width**0.5)
        if len(begins) and (best is None or int(begins[-1]) > best[0]):
            best = (int(begins[-1]), width)
        width *= 2
    return None if best is None else best[0] + best[1] - 1


def merge_rare(domain: Domain, one_ways: list[Measurement], sigmas: float = 3.0) -> Recoding:
    """Merge the levels of each column whose noisy count is under ``sigmas`` standard deviations into one; they are told apart again
    when sampling.

    Source: McKenna, Miklau and Sheldon 2021 (MST), section 3.1. Columns with fewer than two such levels stay as they are.
    """
    merged = {a.name: rare_as_one(m.values, sigmas * m.stddev, a.parents) for a, m in zip(domain, one_ways, strict=True)}
    return Recoding({name: codes for name, codes in merged.items() if codes is not None})


def rare_as_one(values: npt.NDArray[np.float64], threshold: float, parents: tuple[int, ...] | None = None) -> npt.NDArray[np.int64] | None:
    """New codes in which all levels under ``threshold`` are one, the last; None where there is nothing to merge.

    With ``parents``, rare levels of one parent are one level where together they stand above their noise, which grows with the root of
    their number; what is left over is the last.
    """
    rare = values < threshold
    if rare.sum() < 2 or len(values) <= 2:
        return None
    if parents is not None:
        of = np.array(parents)
        mass, members = np.bincount(of, weights=np.where(rare, values, 0.0)), np.bincount(of, weights=rare)
        enough = (members > 1) & (mass >= threshold * np.sqrt(np.maximum(members, 1.0)))
        kind = np.where(~rare, np.arange(len(values)), np.where(enough[of], len(values) + of, 2 * len(values) + len(enough)))
        merged: npt.NDArray[np.int64] = np.unique(kind, return_inverse=True)[1].astype(np.int64)
        return merged
    codes: npt.NDArray[np.int64] = np.cumsum(~rare).astype(np.int64) - 1
    codes[rare] = int((~rare).sum())
    return codes


def recode_one_way(m: Measurement, recoding: Recoding) -> list[Measurement]:
    """A one-way measurement in merged levels: per new level the sum of the old ones, with the noise that sum has.

    Levels merged from different numbers of old ones have different noise, hence the stddev that fits the average cell.
    """
    levels = recoding.levels.get(m.clique[0])
    if levels is None:
        return [m]
    size = int(levels.max()) + 1
    values: npt.NDArray[np.float64] = np.bincount(levels, weights=m.values, minlength=size).astype(np.float64)
    return [Measurement(m.clique, values, m.stddev * float(np.sqrt(m.values.size / size)))]
