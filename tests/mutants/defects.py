"""Defects to plant in the real kernel, each a context manager, and changes that are none.

They are defects seen in published libraries, or one line away from them. A patch changes the kernel and nothing of the audits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa

from dpsynth import encode, grids
from dpsynth.counting import LocalRecords
from dpsynth.marginals import CodedTable, Domain, Measurement, Recoding
from dpsynth.model import SyntheticModel
from dpsynth.privacy import PrivateData, noise, private_data
from dpsynth.privacy.budget import Filter
from dpsynth.privacy.unit import PrivacyUnit
from dpsynth.synthesizers import adaptive, aim, independent, mst, one_way
from dpsynth.synthesizers.levels import coarsen
from dpsynth.synthesizers.one_way import merge_rare

ALL = ("adaptive", "aim", "mst", "independent")
WITH_SELECTION = ("adaptive", "aim", "mst")
_MODULES = (adaptive, aim, independent, mst)


@dataclass(frozen=True)
class Change:
    """A patch of the kernel, the mechanisms it touches, and the neighbour relation and rows per person under which it is one."""

    name: str
    what: str
    patch: Callable[[], Any]
    mechanisms: tuple[str, ...] = ALL
    neighbours: str = "add_remove"
    max_rows: int = 3


# --- tools


@contextmanager
def _patched(*patches: Any) -> Iterator[None]:
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield


def _everywhere(name: str, new: Any) -> list[Any]:
    """Patches of a function in every mechanism that imported it by name."""
    return [mock.patch.object(module, name, new) for module in _MODULES if hasattr(module, name)]


def _unchecked(exact: np.ndarray, stddev: float) -> np.ndarray:
    """Noise without the kernel's own check of its price, which would refuse most of these defects."""
    return np.asarray(noise._gaussian(stddev)(exact.tolist()), dtype=np.int64) if exact.size else exact.copy()


def _gaussian_noise(made: Callable[[np.ndarray, float], Any]) -> Callable[[], Any]:
    return lambda: _patched(mock.patch.object(noise, "discrete_gaussian", lambda exact, stddev, sensitivity, rho: made(exact, stddev)))


def _in_stage(method: str, wanted: Callable[[str], bool], made: Callable[[np.ndarray, float], Any]) -> Any:
    """Another noise inside ``method`` of `PrivateData` for the stages that are ``wanted``."""
    original, drawn = getattr(PrivateData, method), noise.discrete_gaussian

    def wrapped(self: PrivateData, *given: Any, **named: Any) -> Any:
        stage = named.get("stage", next((value for value in given[::-1] if isinstance(value, str)), method))
        if not wanted(stage):
            return original(self, *given, **named)
        with mock.patch.object(noise, "discrete_gaussian", lambda exact, stddev, sensitivity, rho: made(exact, stddev)):
            return original(self, *given, **named)

    assert drawn is noise.discrete_gaussian
    return mock.patch.object(PrivateData, method, wrapped)


def _sharper(factor: float) -> Any:
    """Selections that favour high scores ``factor`` times as much as declared."""

    def select(scores: np.ndarray, epsilon: float, sensitivity: float, rho: float) -> int:
        return int(noise._noisy_max(2.0 * sensitivity / epsilon / factor)(scores.tolist()))

    return mock.patch.object(noise, "exponential_mechanism", select)


def _uncharged(stages: Callable[[str], bool]) -> Any:
    """Nothing is charged or written down in these stages; the noise is as it should be."""
    spend = Filter.spend
    charged = private_data.Transcript.append
    return _patched(
        mock.patch.object(Filter, "spend", lambda self, rho, what: None if stages(what) else spend(self, rho, what)),
        mock.patch.object(
            private_data.Transcript, "append", lambda self, event: dict(event) if stages(str(event["stage"])) else charged(self, event)
        ),
    )


# --- defects


def _selection_noise_halved() -> Any:
    return _patched(_sharper(2.0), _in_stage("scores", lambda stage: True, lambda exact, stddev: _unchecked(exact, stddev / 2.0)))


def _selection_without_noise() -> Any:
    best = mock.patch.object(noise, "exponential_mechanism", lambda scores, epsilon, sensitivity, rho: int(np.argmax(scores)))
    return _patched(best, _in_stage("scores", lambda stage: True, lambda exact, stddev: exact.copy()))


def _transcript_forgets() -> Any:
    written = private_data.Transcript.append
    kept = ("bins_", "total", "read")
    return _patched(
        mock.patch.object(
            private_data.Transcript,
            "append",
            lambda self, event: written(self, event) if str(event["stage"]).startswith(kept) else dict(event),
        )
    )


def _one_ways_round_the_hook() -> Any:
    original = PrivateData.measure

    def measure(self: PrivateData, clique: Sequence[str], rho: float, stage: str) -> Measurement:
        if stage != "one_way":
            return original(self, clique, rho, stage)
        stddev = noise.gaussian_stddev(self.unit.vector_sensitivity(), rho)
        values = noise.discrete_gaussian(self._count(tuple(clique)).ravel(), stddev, self.unit.vector_sensitivity(), rho)
        return Measurement(tuple(clique), values.astype(np.float64), stddev)

    return _patched(mock.patch.object(PrivateData, "measure", measure))


def _noise_thrown_away() -> Any:
    original = PrivateData.measure

    def measure(self: PrivateData, clique: Sequence[str], rho: float, stage: str) -> Measurement:
        noisy = original(self, clique, rho, stage)
        return replace(noisy, values=self._count(noisy.clique).astype(np.float64))

    return _patched(mock.patch.object(PrivateData, "measure", measure))


def _true_n() -> Any:
    return _patched(*_everywhere("estimate_total", lambda private, one_ways: max(1.0, float(private._table.n_rows))))


def _noise_by_n() -> Any:
    original = PrivateData._gaussian
    stddev = noise.gaussian_stddev

    def gaussian(self: PrivateData, *given: Any, **named: Any) -> Any:
        share = 100.0 / max(100.0, float(self._table.n_rows))
        with _patched(
            mock.patch.object(noise, "gaussian_stddev", lambda sensitivity, rho: stddev(sensitivity, rho) * share),
            mock.patch.object(noise, "discrete_gaussian", lambda exact, stddev, sensitivity, rho: _unchecked(exact, stddev)),
        ):
            return original(self, *given, **named)

    return _patched(mock.patch.object(PrivateData, "_gaussian", gaussian))


def _person_factor_dropped() -> Any:
    one = PrivacyUnit.vector_sensitivity, PrivacyUnit.score_sensitivity
    return _patched(
        mock.patch.object(PrivacyUnit, "vector_sensitivity", lambda self, row_norm=1.0: one[0](replace(self, max_rows=1), row_norm)),
        mock.patch.object(PrivacyUnit, "score_sensitivity", lambda self: one[1](replace(self, max_rows=1))),
    )


def _replace_factor_dropped() -> Any:
    return _patched(
        mock.patch.object(PrivacyUnit, "vector_sensitivity", lambda self, row_norm=1.0: self.max_rows * row_norm),
        mock.patch.object(PrivacyUnit, "score_sensitivity", lambda self: float(self.max_rows)),
    )


def _half_score_sensitivity() -> Any:
    original = PrivacyUnit.score_sensitivity
    return _patched(mock.patch.object(PrivacyUnit, "score_sensitivity", lambda self: 0.5 * original(self)))


def _score_vector_as_one() -> Any:
    """The vector of m errors charged as if it were one error: no square root of m."""
    original = PrivateData._gaussian

    def gaussian(self: PrivateData, rho: float, stage: str, sensitivity: float, forms: list[str], *given: Any, **named: Any) -> Any:
        share = 1.0 / math.sqrt(len(forms)) if forms[0] == "scores" else 1.0
        return original(self, rho, stage, sensitivity * share, forms, *given, **named)

    return _patched(mock.patch.object(PrivateData, "_gaussian", gaussian))


def _later_draws_uncharged() -> Any:
    """Of the pairs that are drawn one after the other only the first is charged and written down."""
    original = PrivateData.select_or_none

    def drawn(self: PrivateData, *given: Any, **named: Any) -> int | None:
        again = any(event["kind"] == "exponential" for event in self.transcript()["events"])
        with _uncharged(lambda stage: again):
            return original(self, *given, **named)

    return _patched(mock.patch.object(PrivateData, "select_or_none", drawn))


def _none_by_all_errors() -> Any:
    """The score of none is the sum of all errors instead of 0: a row moves it once for every pair."""
    select, append = PrivateData._select, np.append

    def selected(self: PrivateData, cliques: Any, models: Any, *given: Any, **named: Any) -> int:
        def scored(scores: np.ndarray, none: float) -> np.ndarray:
            return append(scores, float(self._errors(cliques, models).sum()))

        with mock.patch.object(np, "append", scored):
            return select(self, cliques, models, *given, **named)

    return _patched(mock.patch.object(PrivateData, "_select", selected))


def _residual_norm_squared() -> Any:
    return _patched(mock.patch.object(private_data, "residual_norm", lambda shape: math.prod(1.0 - 1.0 / n for n in shape)))


def _bounding_skipped() -> Any:
    return _patched(mock.patch.object(private_data, "bounded_rows", lambda units, *rest: np.arange(len(units))))


def _first_rows_are_all_kept() -> Any:
    """Every person keeps one row more than the sensitivity counts."""
    original = private_data.bounded_rows
    return _patched(mock.patch.object(private_data, "bounded_rows", lambda units, max_rows, *rest: original(units, max_rows + 1, *rest)))


def _keyless_rows_are_units() -> Any:
    original = encode._number_units

    def number(keys: pa.Array) -> np.ndarray:
        units = original(keys)
        empty = units == encode.KEYLESS_UNIT
        return np.where(empty, 1 + np.arange(len(units)), units)

    return _patched(mock.patch.object(encode, "_number_units", number))


def _bins_peeked() -> Any:
    """Quantiles of the records themselves as bins; nothing measured."""

    def discretised(self: PrivateData, rho: float) -> PrivateData:
        encoder = self.encoder
        if encoder is None or not encoder.pending:
            return self
        edges = {}
        for name in encoder.pending:
            below = np.cumsum(self._count((name,)))
            edges[name] = np.unique(np.searchsorted(below, np.linspace(0, below[-1], 9)[1:-1]).clip(0, encoder.grid_cells(name) - 1))
        return PrivateData(self._table, self._account, encoder.with_edges({n: e.tolist() for n, e in edges.items()}), self._audit)._binned()

    return _patched(mock.patch.object(PrivateData, "discretised", discretised))


def _rare_levels_by_true_counts() -> Any:
    def exact(private: PrivateData, one_ways: list[Measurement]) -> list[Measurement]:
        return [replace(m, values=private._count(m.clique).astype(np.float64)) for m in one_ways]

    held: list[PrivateData] = []
    original = one_way.measure_one_ways

    def measured(private: PrivateData, rho: float) -> list[Measurement]:
        held[:] = [private]
        return original(private, rho)

    def merged(domain: Domain, one_ways: list[Measurement], sigmas: float = 3.0) -> Recoding:
        return merge_rare(domain, exact(held[0], one_ways), sigmas)

    def coarse(domain: Domain, one_ways: list[Measurement], total: float, bins: int, sigmas: float = 3.0) -> Recoding:
        return coarsen(domain, exact(held[0], one_ways), total, bins, sigmas)

    return _patched(*_everywhere("measure_one_ways", measured), *_everywhere("merge_rare", merged), *_everywhere("coarsen", coarse))


def _domain_from_data() -> Any:
    original = PrivateData._binned

    def trimmed(self: PrivateData) -> PrivateData:
        binned = original(self)
        last = {a.name: int(np.flatnonzero(binned._count((a.name,)))[-1:].sum()) for a in binned.domain}
        return binned.recoded(Recoding({a.name: np.minimum(np.arange(a.size), last[a.name]) for a in binned.domain}))

    return _patched(mock.patch.object(PrivateData, "_binned", trimmed))


def _categories_from_data() -> Any:
    """Codes in the order in which the values first occur."""
    original = encode._Levels.encode

    def in_order_of_sight(self: Any, array: pa.Array) -> np.ndarray:
        codes = original(self, array)
        seen = {code: place for place, code in enumerate(dict.fromkeys(codes[codes >= 0].tolist()))}
        return np.array([seen.get(code, code) for code in codes.tolist()], dtype=np.int64)

    return _patched(mock.patch.object(encode._Levels, "encode", in_order_of_sight))


def _bounds_from_data() -> Any:
    original = encode._Ordered.encode

    def scaled(self: Any, array: pa.Array) -> np.ndarray:
        cells = original(self, array)
        inside = cells[cells >= 0]
        if not len(inside) or inside.min() == inside.max():
            return cells
        spread = (cells - inside.min()) * (self.size - 1) // (inside.max() - inside.min())
        return np.where(cells >= 0, spread, cells)

    return _patched(mock.patch.object(encode._Ordered, "encode", scaled))


def _outliers_bypass_the_clip() -> Any:
    return _patched(
        mock.patch.object(private_data, "_inside", lambda table: table),
        mock.patch.object(grids.IntegerGrid, "cells", lambda self, v: np.rint(np.clip(v, -9e15, 9e15)).astype(np.int64) - self.low),
        mock.patch.object(encode, "code_dtype", lambda size: np.int64),
    )


def _nan_bypasses_the_clip() -> Any:
    """A missing number is no number to clip, so it becomes whatever the cast makes of it: a code outside the domain."""
    original = encode._Ordered.encode

    def unclipped(self: Any, array: pa.Array) -> np.ndarray:
        cells = original(self, array)
        return np.where(cells == -1, self.size + 5, cells)

    return _patched(
        mock.patch.object(encode._Ordered, "encode", unclipped),
        mock.patch.object(private_data, "_inside", lambda table: table),
        mock.patch.object(encode, "code_dtype", lambda size: np.int64),
    )


def _raises_on_nan() -> Any:
    from dpsynth import cells

    original = cells.numbers

    def strict(array: pa.Array, *given: Any) -> Any:
        values, status = original(array, *given)
        if (status != cells.VALUE).any():
            raise ValueError("cannot convert float NaN to integer")
        return values, status

    return _patched(mock.patch.object(cells, "numbers", strict))


def _skips_what_is_small() -> Any:
    """A stopping rule read on true answers: tables whose largest true count is small are not measured."""
    original = PrivateData.measure

    def measure(self: PrivateData, clique: Sequence[str], rho: float, stage: str) -> Measurement:
        names = self.domain.ordered_clique(clique)
        if self._count(names).max(initial=0) < 5:
            return Measurement(names, np.zeros(self.domain.shape(names)), 1e6)
        return original(self, clique, rho, stage)

    return _patched(mock.patch.object(PrivateData, "measure", measure))


def _half_epsilon_squared() -> Any:
    from dpsynth.privacy import budget

    return _patched(mock.patch.object(budget, "rho_of", lambda epsilon, delta: epsilon**2 / 2.0))


def _selection_charged_a_quarter() -> Any:
    return _patched(mock.patch.object(noise, "selection_epsilon", lambda rho: math.sqrt(32.0 * rho)), _sharper(1.0))


def _seed_per_measurement() -> Any:
    def drawn(exact: np.ndarray, stddev: float) -> np.ndarray:
        return exact + np.rint(np.random.default_rng(0).normal(0.0, stddev, exact.shape)).astype(np.int64)

    return _gaussian_noise(drawn)()


def _seed_per_run() -> Any:
    rng = [np.random.default_rng(7)]
    original = PrivateData.of_codes.__func__  # type: ignore[attr-defined]

    def of_codes(cls: type[PrivateData], *given: Any, **named: Any) -> PrivateData:
        rng[0] = np.random.default_rng(7)
        return original(cls, *given, **named)  # type: ignore[no-any-return]

    def drawn(exact: np.ndarray, stddev: float) -> np.ndarray:
        return exact + np.rint(rng[0].normal(0.0, stddev, exact.shape)).astype(np.int64)

    return _patched(mock.patch.object(PrivateData, "of_codes", classmethod(of_codes)), _gaussian_noise(drawn)())


def _truncated(exact: np.ndarray, stddev: float) -> np.ndarray:
    return exact + np.clip(_unchecked(np.zeros_like(exact), stddev), -int(2 * stddev), int(2 * stddev))


def _float_noise(exact: np.ndarray, stddev: float) -> np.ndarray:
    return exact + np.random.default_rng().normal(0.0, stddev, exact.shape)


def _filter_not_charged() -> Any:
    return _patched(mock.patch.object(Filter, "spend", lambda self, rho, what: None))


def _training_row_sampled() -> Any:
    held: list[CodedTable] = []
    fitted, sampled = PrivateData.transcript, SyntheticModel.sample_codes

    def transcript(self: PrivateData) -> dict[str, Any]:
        assert isinstance(self._table, LocalRecords)
        held[:] = [self._table.coded()]
        return fitted(self)

    def sample(self: SyntheticModel, rows: int, **named: Any) -> CodedTable:
        made = sampled(self, rows, **named)
        copied = {name: codes.copy() for name, codes in made.columns.items()}
        for name, codes in copied.items():
            if rows and held and held[0].n_rows:
                codes[0] = held[0].columns[name][-1]
        return CodedTable(made.domain, copied)

    return _patched(mock.patch.object(PrivateData, "transcript", transcript), mock.patch.object(SyntheticModel, "sample_codes", sample))


DEFECTS: tuple[Change, ...] = (
    Change("selection noise halved", "scores, or the choice by them, with half the noise", _selection_noise_halved, WITH_SELECTION),
    Change("selection without noise", "the best candidate is taken", _selection_without_noise, WITH_SELECTION),
    Change("one-ways uncharged", "measured with noise, neither charged nor written down", lambda: _uncharged(lambda s: s == "one_way")),
    Change("transcript forgets", "measurements are charged and not written down", _transcript_forgets),
    Change("one-ways round the hook", "the same, and the hook is not told", _one_ways_round_the_hook),
    Change("person factor dropped", "a person's k rows counted as one", _person_factor_dropped),
    Change("true n used", "the total of the model is the number of rows", _true_n),
    Change("stddev halved", "all Gaussian noise half as wide as declared", _gaussian_noise(lambda exact, s: _unchecked(exact, s / 2.0))),
    Change(
        "mean of two draws",
        "noise drawn twice and averaged",
        _gaussian_noise(lambda exact, s: exact + np.rint((_unchecked(exact * 0, s) + _unchecked(exact * 0, s)) / 2.0).astype(np.int64)),
    ),
    Change("noise scale divided by n", "less noise where there are more rows", _noise_by_n),
    Change(
        "one-ways without noise",
        "charged, written down, and exact",
        lambda: _patched(_in_stage("measure", lambda stage: stage == "one_way", lambda exact, stddev: exact.copy())),
    ),
    Change("noise thrown away", "the noisy answer is replaced by the true one behind the hook", _noise_thrown_away),
    Change("no noise on empty cells", "zeros stay zeros", _gaussian_noise(lambda exact, s: np.where(exact == 0, 0, _unchecked(exact, s)))),
    Change("truncated noise", "noise cut at two standard deviations", _gaussian_noise(_truncated)),
    Change("float noise", "noise from numpy, not rounded", _gaussian_noise(_float_noise)),
    Change("a seed per measurement", "every measurement draws the same noise", _seed_per_measurement),
    Change("a seed per run", "every run draws the same noise", _seed_per_run),
    Change("half L1 sensitivity of scores", "|count - model| said to move by k / 2", _half_score_sensitivity, WITH_SELECTION),
    Change("score vector charged as one score", "no square root of the number of scores", _score_vector_as_one, ("adaptive",)),
    Change("later draws uncharged", "the first drawn pair is charged, the next are not", _later_draws_uncharged, ("adaptive",)),
    Change("none scored by the records", "to draw none has the score of all errors, not 0", _none_by_all_errors, ("adaptive",)),
    Change("norm of a residual squared", "sensitivity of a residual a little too small", _residual_norm_squared, ("adaptive",)),
    Change("selection charged a quarter", "epsilon^2 / 32 instead of epsilon^2 / 8", _selection_charged_a_quarter, WITH_SELECTION),
    Change("rho = epsilon^2 / 2", "the budget converted as if it were pure", _half_epsilon_squared),
    Change("filter not charged", "nothing adds up what was spent", _filter_not_charged),
    Change("bins uncharged", "data-adapted bins measured and not charged", lambda: _uncharged(lambda s: s.startswith("bins_"))),
    Change("bins peeked", "data-adapted bins are quantiles of the records", _bins_peeked),
    Change("rare levels by true counts", "levels merged by true counts", _rare_levels_by_true_counts, WITH_SELECTION),
    Change("contribution bounding skipped", "forty rows of one person stay", _bounding_skipped),
    Change("one row too many", "a person keeps maxRows + 1 rows", _first_rows_are_all_kept),
    Change("keyless rows are units", "rows without a key each get an allowance", _keyless_rows_are_units),
    Change("replace-one factor dropped", "sensitivity of add/remove under replace-one", _replace_factor_dropped, neighbours="replace_one"),
    Change(
        "L2 sensitivity 1 under replace-one",
        "the same with one row per person",
        _replace_factor_dropped,
        neighbours="replace_one",
        max_rows=1,
    ),
    Change("domain from data", "columns end at the largest code seen", _domain_from_data),
    Change("categories from data", "codes in order of first sight", _categories_from_data),
    Change("bounds from data", "numbers scaled between their smallest and largest", _bounds_from_data),
    Change("outliers bypass the clip", "a number outside its bounds gets a code outside the domain", _outliers_bypass_the_clip),
    Change("NaN bypasses the clip", "a missing number gets a code outside the domain", _nan_bypasses_the_clip),
    Change("raises on NaN", "a missing number is an exception", _raises_on_nan),
    Change("stopping rule on true answers", "tables with small true counts are not measured", _skips_what_is_small),
    Change("a training row sampled", "one synthetic row is a record", _training_row_sampled),
)  # fmt: skip


# --- no defects


def _clipped_counts() -> Any:
    original = PrivateData.measure

    def measure(self: PrivateData, *given: Any, **named: Any) -> Measurement:
        m = original(self, *given, **named)
        return replace(m, values=np.maximum(m.values, 0.0))

    return _patched(mock.patch.object(PrivateData, "measure", measure))


def _rounded_counts() -> Any:
    original = PrivateData.measure

    def measure(self: PrivateData, *given: Any, **named: Any) -> Measurement:
        m = original(self, *given, **named)
        return replace(m, values=10.0 * np.rint(m.values / 10.0))

    return _patched(mock.patch.object(PrivateData, "measure", measure))


def _rows_backwards() -> Any:
    original = encode.Encoder.encode

    def reversed_rows(self: encode.Encoder, *given: Any, **named: Any) -> encode.Encoded:
        encoded = original(self, *given, **named)
        return encoded.take(np.arange(encoded.n_rows)[::-1])

    return _patched(mock.patch.object(encode.Encoder, "encode", reversed_rows))


def _counted_one_by_one() -> Any:
    def counts(self: LocalRecords, cliques: Sequence[Sequence[str]]) -> list[np.ndarray]:
        table = self.coded()
        tables = []
        for clique in cliques:
            made = np.zeros(table.domain.shape(clique), dtype=np.int64)
            for row in zip(*(table.columns[name].tolist() for name in clique), strict=True):
                made[row] += 1
            tables.append(made if clique else np.array(table.n_rows))
        return tables

    return _patched(mock.patch.object(LocalRecords, "counts", counts))


def _equal_split() -> Any:
    def measured(private: PrivateData, rho: float) -> list[Measurement]:
        share = rho * (1.0 - 1e-12) / len(private.domain)
        return [private.measure((a.name,), share, "one_way") for a in private.domain]

    return _patched(*_everywhere("measure_one_ways", measured))


def _other_sample() -> Any:
    original = SyntheticModel.sample_codes
    return _patched(
        mock.patch.object(SyntheticModel, "sample_codes", lambda self, rows, seed=None, **named: original(self, rows, seed=11, **named))
    )


HARMLESS: tuple[Change, ...] = (
    Change("nothing changed", "the kernel as it is", _patched),
    Change(
        "public n under replace-one",
        "the kernel as it is, where the number of rows is public",
        _patched,
        neighbours="replace_one",
        max_rows=1,
    ),
    Change("noisy counts clipped at 0", "post-processing", _clipped_counts),
    Change("noisy counts rounded to tens", "post-processing", _rounded_counts),
    Change("more noise than declared", "half as much again", _gaussian_noise(lambda exact, s: _unchecked(exact, 1.5 * s))),
    Change("rows read backwards", "another order of the table", _rows_backwards),
    Change("counted one by one", "another way to count", _counted_one_by_one),
    Change("exact tables not kept", "every table counted anew", lambda: _patched(mock.patch.object(private_data, "_CACHE_CELLS", 0))),
    Change("one-ways share equally", "another split of the budget", _equal_split),
    Change("seeded sampling", "another seed of the sample, public", _other_sample),
)  # fmt: skip
