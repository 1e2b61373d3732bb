"""The one door to the records. Every method that reads them charges first, writes to the transcript, and only then looks.

What comes out is noisy and may be reused for free. The exception is `PrivateData.read_for_audit`, whose answers are not differentially
private.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth.code_store import taken
from dpsynth.counting import LocalRecords, Records
from dpsynth.errors import BudgetError, ConfigError
from dpsynth.marginals import (
    COUNT,
    Clique,
    CodedTable,
    Counts,
    Domain,
    Measurement,
    Recoding,
    centred,
    code_dtype,
    residual_norm,
)
from dpsynth.privacy import bins, noise, thresholds
from dpsynth.privacy.budget import Filter, PrivacyBudget
from dpsynth.privacy.cohort import AuditTables, Cohort, set_aside
from dpsynth.privacy.transcript import Transcript
from dpsynth.privacy.unit import PrivacyUnit, bounded_rows, row_digests, weighed_by_person

if TYPE_CHECKING:
    from dpsynth.encode import Encoder
    from dpsynth.lexicon import Lexicon
    from dpsynth.schema import Schema

# Exact tables kept for reuse inside the kernel, in cells; beyond this they are counted again.
_CACHE_CELLS = 20_000_000
# Largest cell of a model that counts are compared with: sums of a million such cells stay far inside 64 bits.
_LARGEST_MODEL = 1 << 42
# Largest error that is told from larger ones: 17 billion records off.
_LARGEST_ERROR = 1 << 34


@dataclass
class _Account:
    """What all views of the same records share."""

    unit: PrivacyUnit
    budget: PrivacyBudget
    filter: Filter
    transcript: Transcript
    hook: noise.Hook


def _account(budget: PrivacyBudget, unit: PrivacyUnit, hook: noise.Hook, *, keyed: bool) -> _Account:
    """A new account, with nothing spent. ``keyed`` rows name their unit; others are a unit each."""
    total = budget.rho
    header = {
        "unit": {
            "name": unit.name,
            "max_rows": unit.max_rows,
            "neighbours": unit.neighbours,
            "weights": unit.weights,
            "bounded_by": "uniform sample of at most max_rows rows per unit" if keyed else "one row is one unit",
        },
        "budget": {
            "epsilon": budget.epsilon,
            "delta": repr(budget.delta),
            "rho": total,
            **({"threshold_delta": repr(budget.threshold_delta)} if budget.threshold_delta else {}),
        },
        "noise": {
            "source": f"opendp {noise.opendp_version()}",
            "seeded": bool(getattr(hook, "seeded", False)),
            "observed": hook is not noise.release_noise,
        },
    }
    return _Account(unit, budget, Filter(total, budget.threshold_delta), Transcript(header), hook)


class PrivateData:
    """Coded records behind a budget. Build it with `read` (from a table and its schema) or `of_codes`."""

    def __init__(
        self, table: Records, account: _Account, encoder: Encoder | None = None, audit: Callable[[], AuditTables] | None = None
    ) -> None:
        self._table = table
        self._account = account
        self._encoder = encoder
        self._audit = audit
        self._exact: dict[Clique, Counts] = {}
        self._scored: dict[Clique, tuple[npt.NDArray[np.int64], int]] = {}
        self._cached_cells = 0

    @classmethod
    def read(
        cls,
        source: Any,
        schema: Schema,
        budget: PrivacyBudget,
        *,
        cohort: Cohort | None = None,
        hook: noise.Hook = noise.release_noise,
        before_reading: Callable[[], None] | None = None,
    ) -> PrivateData:
        """Encode ``source`` by the public ``schema``, bound each unit's rows, set the cohort's control aside.

        ``before_reading`` runs once the public header was checked and before the first record is read: the ledger charges there.
        Where columns are open, part of delta is set aside and a share of rho is spent here on finding their categories.
        """
        from dpsynth.encode import Encoder
        from dpsynth.sources import open_source, spark_frame

        for declared in schema.modelled:
            if declared.open and declared.categories is not None:
                raise ConfigError(f'field {declared.name!r} has categories and "dp:categories": "dp"; keep one of them')
        encoder, lexicons = Encoder(schema), Encoder(schema).lexicons()
        budget = budget.with_open_columns(len(lexicons))
        unit = PrivacyUnit(schema.unit.name, schema.unit.max_rows, schema.neighbours, schema.unit.weights)
        # An audit that is to see every row, and open columns, need them on this machine.
        if not lexicons and spark_frame.recognises(source) and (cohort is None or cohort.audited_rows is not None):
            return cls._on_spark(source, encoder, unit, budget, cohort, hook, before_reading)
        batches = open_source(source, encoder.columns)
        if before_reading is not None:
            before_reading()
        encoded = encoder.encode(batches, lexicons=lexicons)
        table = CodedTable(encoder.open_domain(lexicons), encoded.codes)
        digests = {name: lexicon.digests() for name, lexicon in lexicons.items()}
        private = cls.of_codes(table, budget, unit=unit, unit_ids=encoded.units, cohort=cohort, hook=hook, contents=digests)
        private._encoder = encoder
        return (private._closed(lexicons) if lexicons else private)._measured()

    @classmethod
    def _on_spark(
        cls,
        source: Any,
        encoder: Encoder,
        unit: PrivacyUnit,
        budget: PrivacyBudget,
        cohort: Cohort | None,
        hook: noise.Hook,
        before_reading: Callable[[], None] | None,
    ) -> PrivateData:
        """As `read`, with the records left on the cluster; those that an audit asks for come to this machine when it does."""
        from dpsynth.privacy.spark_records import Coins, coded_on_spark

        keyed = encoder.schema.unit.field is not None
        coins = Coins(
            _coins(hook, "contribution_bounding") if keyed else 0,
            _coins(hook, "static_values") if unit.by_person else 0,
            _coins(hook, "cohort") if cohort is not None else 0,
        )
        records = coded_on_spark(source, encoder, unit, coins, cohort)
        if before_reading is not None:
            before_reading()
        audit = None if cohort is None else records.for_audit
        return cls(records, _account(budget, unit, hook, keyed=keyed), encoder, audit)._measured()

    @classmethod
    def of_codes(
        cls,
        table: CodedTable,
        budget: PrivacyBudget,
        *,
        unit: PrivacyUnit,
        unit_ids: npt.NDArray[np.int64] | None = None,
        cohort: Cohort | None = None,
        hook: noise.Hook = noise.release_noise,
        contents: Mapping[str, npt.NDArray[np.uint64]] | None = None,
    ) -> PrivateData:
        """Records that are coded already. Without ``unit_ids`` each row is one unit.

        ``contents``: see `row_digests`; by it the rows that are kept of a unit depend on that unit alone.
        """
        if unit_ids is None and unit.max_rows != 1:
            raise ConfigError(f"unit {unit.name!r} has maxRows={unit.max_rows}, so the rows need unit ids")
        table = _inside(table)
        if unit_ids is not None:
            if unit_ids.dtype.kind not in "iu" or unit_ids.shape != (table.n_rows,):
                # NaN differs from itself, so every row with a float key would be a unit of its own.
                raise ConfigError("unit_ids must be whole numbers, one for each row")
            key = _coins(hook, "contribution_bounding")
            keep = bounded_rows(unit_ids, unit.max_rows, key, row_digests(table, key, contents))
            if len(keep) < table.n_rows:
                table, unit_ids = taken(table, keep), unit_ids[keep]
            if unit.by_person:
                table = weighed_by_person(table, unit_ids, unit, _coins(hook, "static_values"), contents)
        audit = None
        if cohort is not None:
            units = np.arange(table.n_rows, dtype=np.int64) if unit_ids is None else unit_ids
            table, audit = set_aside(table, units, cohort, _coins(hook, "cohort"))
        return cls(LocalRecords.of(table), _account(budget, unit, hook, keyed=unit_ids is not None), None, audit)

    # --- what is public -------------------------------------------------------------------------------------------------------

    @property
    def domain(self) -> Domain:
        """The columns as the schema (and paid-for bins) define them."""
        return self._table.domain

    @property
    def unit(self) -> PrivacyUnit:
        """Who is protected, and how many of their rows are used."""
        return self._account.unit

    @property
    def budget(self) -> PrivacyBudget:
        """What may be spent in all."""
        return self._account.budget

    @property
    def encoder(self) -> Encoder | None:
        """Turns codes of ``domain`` back into values; None for tables that came coded.

        Its schema has the categories that were found for open columns.
        """
        return self._encoder

    @property
    def rho_left(self) -> float:
        """What may still be spent, in zCDP."""
        return self._account.filter.left

    @property
    def rho_spent(self) -> float:
        """What was spent so far, in zCDP."""
        return self._account.filter.spent

    def transcript(self) -> dict[str, Any]:
        """Everything that was charged so far, as plain JSON."""
        domain = [{"name": a.name, "size": a.size, "ordered": a.ordered, "provenance": a.provenance} for a in self.domain]
        return self._account.transcript.to_dict(domain)

    def __repr__(self) -> str:
        return f"PrivateData({len(self.domain)} columns, unit {self.unit.name!r}, rho left {self.rho_left:.4g})"

    # --- what costs -----------------------------------------------------------------------------------------------------------

    def total(self, rho: float, stage: str = "total") -> Measurement:
        """The number of rows (of units, where each weighs one); free and exact where the neighbour relation makes it public, else noisy:
        a unit adds or takes away at most its mass.
        """
        if self.unit.total_is_public:
            return Measurement((), np.array(float(self._table.n_rows)), 0.0)
        grain = self.unit.grain
        answer, stddev = self._gaussian(
            rho, stage, float(self.unit.mass * grain), ["total"], [()], lambda: self._count(()).reshape(1), scale=grain
        )
        return Measurement((), answer[0].astype(np.float64) / grain, stddev / grain)

    def measure(self, clique: Sequence[str], rho: float, stage: str) -> Measurement:
        """The marginal over ``clique`` with discrete Gaussian noise.

        A row adds its weight to one cell, so the L2 sensitivity is that of a unit's mass (`PrivacyUnit.vector_sensitivity`).
        """
        names = self.domain.ordered_clique(clique)
        grain = self.unit.grain
        answer, stddev = self._gaussian(
            rho, stage, self.unit.vector_sensitivity() * grain, ["marginal"], [names], lambda: self._count(names).ravel(), scale=grain
        )
        return Measurement(names, answer.astype(np.float64).reshape(self.domain.shape(names)) / grain, stddev / grain)

    def measure_residual(self, clique: Sequence[str], rho: float, stage: str) -> Measurement:
        """The part of the marginal that sums to zero along each axis, with less noise than the marginal itself.

        Centring a one-hot table along an axis of n levels leaves L2 norm sqrt(1 - 1/n), axis by axis, so a row has norm
        prod sqrt(1 - 1/n_a) (ResidualPlanner, Xiao et al. 2023). Multiplied by prod n_a the residual is an integer vector, so the discrete
        Gaussian applies as it stands; the noisy vector is then projected back, which is post-processing.
        """
        names = self.domain.ordered_clique(clique)
        shape = self.domain.shape(names)
        scale = math.prod(shape) * self.unit.grain
        if scale == 0 or min(shape) < 2:
            raise ConfigError(f"a residual needs at least two levels in each of {', '.join(names)}")
        row_norm = residual_norm(shape)

        def exact() -> npt.NDArray[np.int64]:
            table = self._count(names)
            for axis, size in enumerate(shape):
                table = size * table - table.sum(axis=axis, keepdims=True)
            return table.ravel()

        # Sensitivity rounded up: the square root above may be a float digit low.
        sensitivity = self.unit.vector_sensitivity(row_norm) * scale * (1.0 + 1e-12)
        answer, stddev = self._gaussian(rho, stage, sensitivity, ["residual"], [names], exact, scale=scale)
        values = centred(answer.astype(np.float64).reshape(shape) / scale)
        return Measurement(names, values, stddev / scale, "residual")

    def scores(
        self, cliques: Sequence[Clique], models: Sequence[npt.NDArray[np.int64]], rho: float, stage: str
    ) -> tuple[npt.NDArray[np.float64], float]:
        """Noisy |count - model|_1 of all ``cliques`` at once, and the stddev of the noise.

        A unit moves each error by at most its mass (twice that under replace-one), a whole number, also after the error was rounded
        down to a whole number; so the vector of m errors has L2 sensitivity sqrt(m) times as much.
        """
        self._check_models(cliques, models)
        sensitivity = self.unit.score_sensitivity() * math.sqrt(len(cliques))
        answer, stddev = self._gaussian(
            rho,
            stage,
            sensitivity * (1.0 + 1e-12),
            ["scores"] * len(cliques),
            list(cliques),
            lambda: self._errors(cliques, models),
            cells=len(cliques),
        )
        return answer.astype(np.float64), stddev

    def select(
        self,
        cliques: Sequence[Clique],
        models: Sequence[npt.NDArray[np.int64]],
        rho: float,
        stage: str,
        *,
        penalties: npt.NDArray[np.float64] | None = None,
        weights: npt.NDArray[np.int64] | None = None,
    ) -> int:
        """Index of a clique drawn by the exponential mechanism on weight * (|count - model|_1 - penalty).

        Weights are integers, penalties are rounded to integers, and scores stay below 2^53: so they are exact in floats, and a unit moves
        them by at most max(weight) * k, without a rounding on top.
        """
        return self._select(cliques, models, rho, stage, penalties, weights, none=False)

    def select_or_none(
        self,
        cliques: Sequence[Clique],
        models: Sequence[npt.NDArray[np.int64]],
        rho: float,
        stage: str,
        *,
        penalties: npt.NDArray[np.float64] | None = None,
        weights: npt.NDArray[np.int64] | None = None,
    ) -> int | None:
        """As `select`, with one candidate more whose score is 0 on every table: None where that one is drawn, at the same cost.

        A constant score moves by nothing between neighbours, so the sensitivity is that of the others.
        """
        chosen = self._select(cliques, models, rho, stage, penalties, weights, none=True)
        return chosen if chosen < len(cliques) else None

    def _select(
        self,
        cliques: Sequence[Clique],
        models: Sequence[npt.NDArray[np.int64]],
        rho: float,
        stage: str,
        penalties: npt.NDArray[np.float64] | None,
        weights: npt.NDArray[np.int64] | None,
        *,
        none: bool,
    ) -> int:
        self._check_models(cliques, models)
        importance = np.ones(len(cliques), dtype=np.int64) if weights is None else weights
        if importance.dtype.kind not in "iu" or importance.max() < 1 or importance.min() < 0:
            raise ConfigError("weights must be whole numbers >= 0, not all 0")
        offset = np.zeros(len(cliques)) if penalties is None else np.rint(penalties)
        if not float(importance.max()) * (_LARGEST_ERROR + np.abs(offset).max()) < 2.0**53:
            raise ConfigError("weights times penalties must be finite and below 2^53, where floats stop counting")
        sensitivity = self.unit.score_sensitivity() * float(importance.max())
        epsilon = noise.selection_epsilon(rho)
        event = {
            "kind": "exponential",
            "stage": stage,
            "candidates": len(cliques) + none,
            "score_sensitivity": sensitivity,
            "epsilon": epsilon,
            "rho": rho,
        }
        self._account.filter.spend(rho, stage)
        stored = self._account.transcript.append(event)
        scores = np.asarray(importance * (self._errors(cliques, models) - offset), dtype=np.float64)
        if none:
            scores = np.append(scores, 0.0)
        chosen = int(self._account.hook(event, scores, lambda: noise.exponential_mechanism(scores, epsilon, sensitivity, rho)))
        stored["selected"] = chosen
        return chosen

    def discretised(self, rho: float) -> PrivateData:
        """The same records with data-adapted bins in the columns whose schema says ``dp``; itself when there are none.

        One vector of interval counts per level of a tree over the public grid: m columns at once have L2 sensitivity sqrt(m) times
        that of one.
        """
        if self._encoder is None or not self._encoder.pending:
            return self
        names = tuple(self._encoder.pending)
        trees = [bins.IntervalTree(self._encoder.grid_cells(name)) for name in names]
        rounds = max(tree.depth for tree in trees)
        histograms = [self._cumulated(name, tree.cells) for name, tree in zip(names, trees, strict=True)]

        def counts(active: list[int], edges: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
            parts = [histograms[i]()[e[:, 1]] - histograms[i]()[e[:, 0]] for i, e in zip(active, edges, strict=True)]
            return np.concatenate(parts)

        for level in range(rounds):
            active = [i for i, tree in enumerate(trees) if tree.frontier]
            if not active:
                break
            edges = [trees[i].next_edges() for i in active]
            grain = self.unit.grain
            sensitivity = self.unit.vector_sensitivity() * math.sqrt(len(active)) * grain * (1.0 + 1e-12)
            answer, stddev = self._gaussian(
                rho / rounds,
                f"bins_{level}",
                sensitivity,
                ["histogram"] * len(active),
                [(names[i],) for i in active],
                partial(counts, active, edges),
                scale=grain,
                cells=sum(len(e) for e in edges),
            )
            start = 0
            for i, e in zip(active, edges, strict=True):
                trees[i].grow(e, answer[start : start + len(e)].astype(np.float64) / grain, stddev / grain)
                start += len(e)
        encoder = self._encoder.with_edges({name: tree.edges() for name, tree in zip(names, trees, strict=True)})
        return PrivateData(self._table, self._account, encoder, self._audit)._binned()

    def recoded(self, recoding: Recoding) -> PrivateData:
        """A view of the same records, on the same account, with levels merged by a public rule."""
        if not recoding.levels:
            return self
        return PrivateData(self._table.merged(recoding.domain(self.domain), recoding.levels), self._account, self._encoder, self._audit)

    def _closed(self, lexicons: Mapping[str, Lexicon]) -> PrivateData:
        """The same records with the categories of open columns found: values common enough to be named, the rest as ``dp:other``.

        See `dpsynth.privacy.thresholds` for what a unit's own value can show. The columns share rho and delta evenly.
        """
        if self._encoder is None:
            raise BudgetError("there is no encoder to close")
        budget, schema = self.budget, self._encoder.schema
        rho = thresholds.LEVELS_SHARE * budget.rho / len(lexicons)
        delta = budget.threshold_delta / len(lexicons)
        found = {
            name: self._common_values(name, lexicon, rho, delta, schema[name].minimum_count or 0) for name, lexicon in lexicons.items()
        }
        encoder = self._encoder.closed(found)
        codes = {name: encoder.codes_of(name, lexicon) for name, lexicon in lexicons.items()}

        def closed(table: CodedTable) -> CodedTable:
            counted = [attribute for attribute in table.domain if attribute.scope == COUNT]
            columns = {name: codes[name][column] if name in codes else column for name, column in table.columns.items()}
            return CodedTable(Domain((*encoder.grid_domain, *counted)), columns, table.weights)

        given = self._audit

        def audit() -> AuditTables:
            assert given is not None
            seen = given()
            return replace(seen, train=closed(seen.train), control=closed(seen.control))

        return PrivateData(LocalRecords.of(closed(self._local())), self._account, encoder, None if given is None else audit)

    def _local(self) -> CodedTable:
        if not isinstance(self._table, LocalRecords):
            raise ConfigError("categories are found in records of this machine")
        return self._table.table

    def _common_values(self, name: str, lexicon: Lexicon, rho: float, delta: float, least: int) -> list[str]:
        """The texts of ``lexicon`` whose noisy count reaches the threshold, and ``least`` rows (units, where each weighs one).

        The most common ones, by their noisy counts, if there are more than a column can have.
        """
        from dpsynth.schema import MAX_LEVELS

        grain, unit = self.unit.grain, self.unit
        l0, linf = unit.touched_values, unit.mass * grain
        sensitivity = unit.vector_sensitivity() * grain * (1.0 + 1e-12)
        stddev = noise.gaussian_stddev(sensitivity, rho)
        threshold = max(least * grain, thresholds.threshold_for(delta, stddev, l0, linf))
        event = {
            "kind": "threshold",
            "stage": f"categories_{name}",
            "cliques": [[name]],
            "scale": grain,
            "l0_sensitivity": l0,
            "linf_sensitivity": linf,
            "l2_sensitivity": sensitivity,
            "stddev": stddev,
            "threshold": threshold,
            "rho": rho,
            "delta": delta,
        }
        self._account.filter.spend(rho, str(event["stage"]))
        self._account.filter.spend_delta(delta, str(event["stage"]))
        stored = self._account.transcript.append(event)
        exact = _observed(lexicon.texts, self._count((name,)))

        def draw() -> dict[str, int]:
            noisy = noise.discrete_gaussian(exact["count"].astype(np.int64), stddev, sensitivity, rho)
            return {text: int(count) for text, count in zip(exact["value"], noisy, strict=True) if count >= threshold}

        common = self._account.hook(event, exact, draw)
        stored["selected"] = len(common)
        return sorted(common, key=lambda text: (-common[text], text))[: MAX_LEVELS - 2]

    # --- what is not private ----------------------------------------------------------------------------------------------------

    def read_for_audit(self, why: str = "read for internal audit") -> AuditTables:
        """The records themselves, for the internal audit; stamped on the transcript. Whatever is computed from them stays in
        ``internal/``.
        """
        if self._audit is None:
            raise ConfigError("this PrivateData was made without an audit cohort; pass cohort=Cohort(share)")
        self._account.transcript.append({"kind": "audit_read", "stage": why, "rho": 0.0})
        return self._audit()

    # --- inside -----------------------------------------------------------------------------------------------------------------

    def _gaussian(
        self,
        rho: float,
        stage: str,
        sensitivity: float,
        forms: list[str],
        cliques: Sequence[Clique],
        exact: Callable[[], npt.NDArray[np.int64]],
        *,
        scale: int = 1,
        cells: int | None = None,
    ) -> tuple[npt.NDArray[np.int64], float]:
        stddev = noise.gaussian_stddev(sensitivity, rho)
        shapes = [list(self.domain.shape(clique)) for clique in cliques]
        event = {
            "kind": "gaussian",
            "stage": stage,
            "cliques": [list(clique) for clique in cliques],
            "shapes": shapes,
            "forms": forms,
            "cells": sum(math.prod(shape) for shape in shapes) if cells is None else cells,
            "scale": scale,
            "l2_sensitivity": sensitivity,
            "stddev": stddev,
            "rho": rho,
        }
        self._account.filter.spend(rho, stage)
        self._account.transcript.append(event)
        answer = exact()
        noisy = self._account.hook(event, answer, lambda: noise.discrete_gaussian(answer, stddev, sensitivity, rho))
        return np.asarray(noisy, dtype=np.int64), stddev

    def _check_models(self, cliques: Sequence[Clique], models: Sequence[npt.NDArray[np.int64]]) -> None:
        """Refuse models under which a row could move an error by more than one: other shapes broadcast, huge integers wrap round."""
        for clique, model in zip(cliques, models, strict=True):
            if model.dtype.kind not in "iu" or model.shape != self.domain.shape(clique):
                raise ConfigError(f"the model of {', '.join(clique)} must be whole numbers in the shape of the clique")
            largest = _LARGEST_MODEL // self.unit.grain
            if model.size and not -largest < int(model.min()) <= int(model.max()) < largest:
                raise ConfigError(f"the model of {', '.join(clique)} has cells beyond {largest}")

    def _errors(self, cliques: Sequence[Clique], models: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
        """|count - model|_1 over all cells of each clique in whole rows (or units), capped where exact floats would end.

        Neither the cap nor rounding down adds to a sensitivity that is a whole number. The last error of a clique is kept with the model
        that it is of: where one pair after another is drawn, all others are asked for again.
        """
        grain = self.unit.grain
        held = [self._scored.get(clique) for clique in cliques]
        errors = [entry[1] if entry and entry[0] is model else -1 for entry, model in zip(held, models, strict=True)]
        asked = [place for place, error in enumerate(errors) if error < 0]
        for place, counts in zip(asked, self._counts([cliques[place] for place in asked]), strict=True):
            # In 64 bits: a model of narrower codes would wrap round under the grain.
            error = int(np.abs(counts - grain * models[place].astype(np.int64)).sum() // grain)
            errors[place] = min(error, _LARGEST_ERROR)
            self._scored[cliques[place]] = models[place], errors[place]
        return np.array(errors, dtype=np.int64)

    def _count(self, clique: Clique) -> Counts:
        """Exact counts of one clique, in parts of ``unit.grain``; see `_counts`."""
        return next(self._counts([clique]))

    def _counts(self, cliques: Sequence[Clique]) -> Iterator[Counts]:
        """Exact counts of each clique in turn, kept while memory lasts. Only methods above, which have charged, call this.

        Those that are not kept yet are counted together, as many in one pass over the records as memory holds.
        """
        counted: dict[Clique, Counts] = {}
        for place, clique in enumerate(cliques):
            if clique not in self._exact and clique not in counted:
                counted = dict(self._pass([c for c in cliques[place:] if c not in self._exact]))
            yield self._exact[clique] if clique in self._exact else counted[clique]

    def _pass(self, cliques: Sequence[Clique]) -> Iterator[tuple[Clique, Counts]]:
        """One pass over the records, for the first of ``cliques`` and as many more as fit beside each other."""
        room = _CACHE_CELLS
        now: list[Clique] = []
        for clique in dict.fromkeys(cliques):
            room -= self.domain.cells(clique)
            if now and room < 0:
                break
            now.append(clique)
        for clique, table in zip(now, self._table.counts(now), strict=True):
            if self._cached_cells + table.size <= _CACHE_CELLS:
                self._exact[clique] = table
                self._cached_cells += table.size
            yield clique, table

    def _cumulated(self, name: str, cells: int) -> Callable[[], npt.NDArray[np.int64]]:
        """Counts below each grid edge, made on first use, which is after the charge. The code for missing lies beyond ``cells``."""
        return lambda: np.concatenate(([0], np.cumsum(self._count((name,))[:cells])))

    def _measured(self) -> PrivateData:
        """Without the columns that a relation computes from others: they are released, hence audited, but never measured."""
        encoder = self._encoder
        if encoder is None:
            raise BudgetError("there is no encoder to say which columns are measured")
        table = self._table.merged(self.domain.without(encoder.schema.derived), {})
        private = PrivateData(table, self._account, encoder, self._audit)
        return private if encoder.pending else private._binned()

    def _binned(self) -> PrivateData:
        """Grid codes become codes of the encoder's bins."""
        encoder = self._encoder
        if encoder is None:
            raise BudgetError("there is no encoder to bin by")
        counted = [attribute for attribute in self._table.domain if attribute.scope == COUNT]
        domain = Domain((*encoder.domain, *counted))
        return PrivateData(self._table.merged(domain, encoder.bins()), self._account, encoder, self._audit)


def _observed(texts: Sequence[str], counts: Counts) -> npt.NDArray[Any]:
    """Values that are in the table with their counts, sorted by value: code 0 is what can be no category, code i text i-1."""
    held = sorted((text, int(count)) for text, count in zip(texts, counts[1:].tolist(), strict=False) if count > 0)
    return np.array(held, dtype=[("value", object), ("count", np.int64)])


def _inside(table: CodedTable) -> CodedTable:
    """Codes clipped to the domain: a code beyond it would raise when it is counted, and one record must not be able to do that."""
    columns = {}
    for attribute in table.domain:
        codes = table.columns[attribute.name]
        if codes.dtype.kind not in "iu" or codes.shape != (table.n_rows,):
            raise ConfigError(f"codes of column {attribute.name!r} must be whole numbers, as many as in every other column")
        if table.n_rows and not 0 <= int(codes.min()) <= int(codes.max()) < attribute.size:
            codes = np.clip(codes.astype(np.int64), 0, attribute.size - 1)
        columns[attribute.name] = codes.astype(code_dtype(attribute.size), copy=False)
    return CodedTable(table.domain, columns)


def _coins(hook: noise.Hook, stage: str) -> int:
    """A 128-bit key for per-unit coins. Passed through the hook so that a replay on a neighbour can use the same coins."""
    event: Mapping[str, Any] = {"kind": "coins", "stage": stage, "rho": 0.0}
    return int(hook(event, np.zeros(0, dtype=np.int64), lambda: secrets.randbits(128)))
