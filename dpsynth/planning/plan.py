"""What a release will be like, from its schema alone: noise, error, size, time, and the rules that are decided beforehand.

No record is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dpsynth.encode import Encoder
from dpsynth.errors import ConfigError
from dpsynth.marginals import COUNT, Attribute, Domain, count_name
from dpsynth.planning.accuracy import Error, one_way_errors, pair_errors
from dpsynth.planning.cost import Cost, cost
from dpsynth.planning.rules import RuleForecast, forecast
from dpsynth.planning.spending import spending
from dpsynth.privacy import PrivacyBudget, PrivacyUnit
from dpsynth.privacy.bins import TARGET_BINS
from dpsynth.privacy.noise import gaussian_stddev
from dpsynth.privacy.thresholds import LEVELS_SHARE, threshold_for
from dpsynth.schema import Schema
from dpsynth.schema_tools.advice import advise
from dpsynth.synthesizers import SYNTHESIZERS, Synthesizer, choose

LADDER = (0.1, 0.3, 1.0, 3.0, 10.0)
"""Epsilons that are shown beside the one that was asked for."""

GUESSED_LEVELS = 64
"""Categories that a column is planned with while they are still to be found under the budget."""

_SMALLEST, _LARGEST = 1e-3, 100.0
_STEPS = 40
# A level that holds fewer records than this many standard deviations cannot be told from an empty one.
_STANDS_OUT = 3.0


@dataclass(frozen=True)
class ColumnPlan:
    """One column: its levels, the noise in each of their counts, and the share of records that noise is expected to misplace.

    ``found``: its bins are to be found under the budget, so ``levels`` is an estimate.
    """

    name: str
    levels: int
    found: bool
    stddev: float
    error: Error


@dataclass(frozen=True)
class Outlook:
    """One synthesizer at one epsilon. ``pair_*`` are None where no pair is measured."""

    synthesizer: str
    epsilon: float
    rho: float
    columns: tuple[ColumnPlan, ...]
    one_way_error: Error
    pair_stddev: float | None
    pair_error: Error | None
    cost: Cost

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "synthesizer": self.synthesizer,
            "epsilon": self.epsilon,
            "rho": self.rho,
            "one_way_error": vars(self.one_way_error),
            "pair_stddev": self.pair_stddev,
            "pair_error": None if self.pair_error is None else vars(self.pair_error),
            "cpu_seconds": self.cost.cpu_seconds,
            "peak_mb": self.cost.peak_mb,
            "columns": [{**vars(c), "error": vars(c.error)} for c in self.columns],
        }


@dataclass(frozen=True)
class Plan:
    """The answer. ``chosen`` is what was asked for, ``ladder`` the same at other epsilons, ``rivals`` other synthesizers at this epsilon.

    ``cells`` counts those of all pairs of columns. ``solved_for`` is the target error, where epsilon was sought.
    """

    schema: Schema
    delta: float
    rows: int
    chosen: Outlook
    ladder: tuple[Outlook, ...]
    rivals: tuple[Outlook, ...]
    cells: int
    advice: tuple[str, ...]
    rules: RuleForecast | None = None
    solved_for: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        rules = self.rules
        return {
            "dataset": self.schema.dataset,
            "unit": {"name": self.schema.unit.name, "max_rows": self.schema.unit.max_rows, "neighbours": self.schema.neighbours},
            "rows": self.rows,
            "delta": self.delta,
            "cells_of_all_pairs": self.cells,
            "target_error": self.solved_for,
            "chosen": self.chosen.to_dict(),
            "ladder": [{k: v for k, v in o.to_dict().items() if k != "columns"} for o in self.ladder],
            "rivals": [{k: v for k, v in o.to_dict().items() if k != "columns"} for o in self.rivals],
            "rules": None
            if rules is None
            else {"policy": rules.policy, "left_to_the_run": rules.left_to_the_run, "outcomes": [vars(o) for o in rules.outcomes]},
            "advice": list(self.advice),
        }


def plan(
    schema: Schema,
    *,
    delta: float,
    epsilon: float | None = None,
    target_error: float | None = None,
    synthesizer: str = "auto",
    rows: int | None = None,
    policy: str | None = None,
    ledger: Mapping[str, Any] | None = None,
    header: Sequence[str] | None = None,
) -> Plan:
    """Plan a release at ``epsilon``, or at the smallest epsilon whose expected one-way error is at most ``target_error``.

    ``rows`` is a public number or a guess: the schema's ``dp:rows`` if not given. ``header`` are the names of the table's columns.
    """
    rows = _rows(schema, rows)
    domain, found = planned_domain(schema)
    unit = PrivacyUnit(schema.unit.name, schema.unit.max_rows, schema.neighbours, schema.unit.weights)
    look = _Look(schema, domain, found, unit, rows, _counted(schema, rows), delta, synthesizer)
    if (epsilon is None) == (target_error is None):
        raise ConfigError("give either epsilon or target_error: the budget, or the error that it must reach")
    if target_error is not None:
        epsilon = look.solve(target_error)
    assert epsilon is not None
    budget = look.budget(epsilon)
    chosen = look.at(budget)
    return Plan(
        schema=schema,
        delta=delta,
        rows=rows,
        chosen=chosen,
        ladder=tuple(look.at(look.budget(step)) for step in LADDER),
        rivals=tuple(look.at(budget, SYNTHESIZERS[name]()) for name in SYNTHESIZERS if name != chosen.synthesizer),
        cells=_pair_cells(domain),
        advice=(
            *_missing_columns(schema, header),
            *advise(schema),
            *_open_advice(schema, unit, budget),
            *_noise_advice(chosen, look.counted),
        ),
        rules=None if policy is None else forecast(policy, schema, domain, budget, ledger=ledger),
        solved_for=target_error,
    )


def planned_domain(schema: Schema) -> tuple[Domain, frozenset[str]]:
    """The columns as they will be counted.

    Those whose bins are to be found under the budget get as many as the search aims at, open columns `GUESSED_LEVELS` categories.
    Where units weigh one, the number of rows of a unit is a column too.
    """
    encoder = Encoder(schema.closed({name: map(str, range(GUESSED_LEVELS - 1)) for name in schema.open}))
    pending = encoder.pending
    edges = {}
    for name in pending:
        cells = encoder.grid_cells(name)
        edges[name] = range(0, cells, max(1, cells // TARGET_BINS))
    domain = (encoder.with_edges(edges) if pending else encoder).domain
    unit = schema.unit
    if unit.by_person:
        domain = Domain((*domain, Attribute(count_name(unit.name), unit.max_rows, ordered=True, scope=COUNT)))
    return domain, frozenset({*pending, *schema.open})


@dataclass(frozen=True)
class _Look:
    """Everything about a plan but the budget."""

    schema: Schema
    domain: Domain
    found: frozenset[str]
    unit: PrivacyUnit
    rows: int
    counted: int
    delta: float
    synthesizer: str

    def budget(self, epsilon: float) -> PrivacyBudget:
        """The budget at ``epsilon``, with what open columns set aside."""
        return PrivacyBudget(epsilon, self.delta).with_open_columns(len(self.schema.open))

    def _rho(self, budget: PrivacyBudget) -> float:
        """What is left of rho when the categories of open columns are found."""
        return budget.rho * (1.0 - LEVELS_SHARE) if self.schema.open else budget.rho

    @property
    def _bins(self) -> int:
        return len(self.found - set(self.schema.open))

    def at(self, budget: PrivacyBudget, recipe: Synthesizer | None = None) -> Outlook:
        recipe = recipe or self._recipe(budget)
        spent = spending(recipe, self.domain, self._bins, self.unit, self._rho(budget), self.counted)
        errors = one_way_errors(self.domain, spent, self.counted)
        pairs = pair_errors(self.domain, spent.pairs, self.unit, self.counted) if spent.pairs else {}
        columns = tuple(ColumnPlan(a.name, a.size, a.name in self.found, spent.one_way[a.name], errors[a.name]) for a in self.domain)
        x = self.counted * math.sqrt(2.0 * (self._rho(budget) - spent.bins_rho)) / self.unit.mass
        noises = sorted(spent.pairs.stddev(self.unit, spent.pairs.shape(*pair)) for pair in pairs) if spent.pairs else []
        return Outlook(
            recipe.name,
            float(budget.epsilon),
            budget.rho,
            columns,
            Error.mean(list(errors.values())),
            noises[len(noises) // 2] if noises else None,
            Error.mean(list(pairs.values())) if pairs else None,
            cost(recipe.name, self.rows, len(self.domain), x),
        )

    def solve(self, target: float) -> float:
        """The smallest epsilon with an expected one-way error, cells equally full, of at most ``target``; to three digits, rounded up."""
        if not 0.0 < target < 1.0:
            raise ConfigError(f"target_error={target!r} must be > 0 and < 1: a share of the records, e.g. 0.02")
        low, high = math.log(_SMALLEST), math.log(_LARGEST)
        if self._error(_LARGEST) > target:
            raise ConfigError(f"target_error={target:g} is out of reach for epsilon up to {_LARGEST:g}; use fewer or coarser columns")
        if self._error(_SMALLEST) <= target:
            return _SMALLEST
        for _ in range(_STEPS):
            middle = (low + high) / 2.0
            if self._error(math.exp(middle)) <= target:
                high = middle
            else:
                low = middle
        scale = 10.0 ** (math.floor(high / math.log(10.0)) - 2)
        return float(f"{math.ceil(math.exp(high) / scale - 1e-9) * scale:.6g}")

    def _error(self, epsilon: float) -> float:
        budget = self.budget(epsilon)
        spent = spending(self._recipe(budget), self.domain, self._bins, self.unit, self._rho(budget), self.counted)
        return Error.mean(list(one_way_errors(self.domain, spent, self.counted).values())).even

    def _recipe(self, budget: PrivacyBudget) -> Synthesizer:
        if self.synthesizer == "auto":
            return choose(
                self.schema.rows, len(self.schema.modelled), 1 if self.schema.unit.by_person else self.schema.unit.max_rows, budget
            )
        if self.synthesizer not in SYNTHESIZERS:
            raise ConfigError(f"synthesizer={self.synthesizer!r} must be one of auto, {', '.join(SYNTHESIZERS)}")
        return SYNTHESIZERS[self.synthesizer]()


def _rows(schema: Schema, rows: int | None) -> int:
    if rows is not None and rows < 1:
        raise ConfigError(f"rows={rows} must be >= 1")
    known = rows or schema.rows
    if known is None:
        raise ConfigError("how many rows is not declared; give --rows-estimate, a public number or a guess, or dp:rows in the schema")
    return known


def _counted(schema: Schema, rows: int) -> int:
    """What the tables of counts add up to: rows, or persons where each weighs one; half of maxRows each if nothing public says more."""
    if not schema.unit.by_person:
        return rows
    return min(rows, schema.population_bound or max(1, round(2 * rows / (1 + schema.unit.max_rows))))


def _pair_cells(domain: Domain) -> int:
    sizes = [a.size for a in domain]
    return (sum(sizes) ** 2 - sum(n * n for n in sizes)) // 2


def _missing_columns(schema: Schema, header: Sequence[str] | None) -> list[str]:
    if header is None:
        return []
    absent = [name for name in schema.columns if name not in header]
    extra = len(set(header) - {f.name for f in schema.fields})
    said = [f"column {name!r} is in the schema but not in the table" for name in absent]
    return said + ([f"{extra} columns of the table are not in the schema; they will not be read"] if extra else [])


def _open_advice(schema: Schema, unit: PrivacyUnit, budget: PrivacyBudget) -> list[str]:
    """From how many records on a value of an open column is named."""
    advice = []
    for name in schema.open:
        rho, delta = LEVELS_SHARE * budget.rho / len(schema.open), budget.threshold_delta / len(schema.open)
        stddev = gaussian_stddev(unit.vector_sensitivity() * unit.grain, rho)
        found = threshold_for(delta, stddev, unit.touched_values, unit.mass * unit.grain) / unit.grain
        least = max(math.ceil(found), schema[name].minimum_count or 0)
        whose = f"{unit.name}s" if unit.by_person else "rows"
        advice.append(
            f"field {name!r} names values from about {least} {whose} on (noise {stddev / unit.grain:.3g}); what is rarer becomes "
            f"{schema[name].other!r}. It is planned with {GUESSED_LEVELS} categories, a guess"
        )
    return advice


def _noise_advice(chosen: Outlook, rows: int) -> list[str]:
    advice = []
    for column in chosen.columns:
        above = int(rows / (_STANDS_OUT * column.stddev))
        if column.found or column.levels <= max(2, above):
            continue
        advice.append(
            f"field {column.name!r} has {column.levels} levels, of which at most {above} can stand above the noise; "
            "fewer, larger levels would be kept apart"
        )
    return advice
