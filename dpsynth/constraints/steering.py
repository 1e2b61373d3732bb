"""What a caller asks of the rows: conditions (``where``) and shares of a column's values (``balance``), exact under the model.

A condition multiplies the model by the share of each level that satisfies it; shares are met by iterative proportional fitting of the
model's own margins, which changes nothing else more than needed (Csiszar 1975, I-projection).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth import durations
from dpsynth.constraints.condition import Column, Condition, Floats, bounds, ordered_value, parse
from dpsynth.constraints.relations import Determines
from dpsynth.constraints.support import level_ends
from dpsynth.errors import ConfigError, SchemaError
from dpsynth.pgm.beliefs import Beliefs

if TYPE_CHECKING:
    from dpsynth.encode import Encoder
    from dpsynth.model import SyntheticModel
    from dpsynth.schema import Field

Balance = str | Sequence[str] | Mapping[str, "str | Mapping[str, float]"]
"""A column, several, or per column ``"uniform"`` or the share of each value."""

UNIFORM = "uniform"
_MOST_ROUNDS = 200
_CLOSE = 1e-9
# Of a longer list an error shows the beginning.
_LISTED = 12
_TEXT = re.compile(r"(?P<name>.+?)\s*(?P<sign><=|>=|<|>|=)\s*(?P<value>.*)", re.DOTALL)
_BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


class Steering:
    """A model under conditions and shares. Prepared once, drawn from often."""

    def __init__(self, model: SyntheticModel, where: Mapping[str, Any] | None, balance: Balance | None) -> None:
        if model.encoder is None:
            raise ConfigError("this model was fitted on coded data and has no encoder; use sample_codes")
        if where is not None and not isinstance(where, Mapping):
            raise ConfigError(f"where={where!r} must map columns to conditions, e.g. {{'sex': 'f'}}")
        self._model = model
        self.conditions = tuple(condition_of(model.encoder, name, said) for name, said in (where or {}).items())
        self._weights: dict[str, Floats] = {}
        self.unseen = False
        for condition in self.conditions:
            found = weights_of(model.encoder, condition)
            if found is None:
                # A total, say: the model does not hold it, so its rows are drawn and thrown away.
                self.unseen = True
                continue
            name, weights = found
            self._weights[name] = self._weights[name] * weights if name in self._weights else weights
        self._shares = {name: _shares(model.encoder, name, said) for name, said in _balanced(balance).items()}
        self.within: dict[str, Floats] = {}
        self.beliefs = model.lawful.beliefs
        if self._weights or self._shares:
            self._steer()

    @property
    def free(self) -> bool:
        """Whether nothing was asked."""
        return not (self.conditions or self._shares)

    def codes(self, rows: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """``rows`` rows of codes over the model's full levels."""
        return dict(self._model.draw_codes(self.beliefs, rows, rng, self.within))

    def _steer(self) -> None:
        model = self._model
        place = {name: i for i, name in enumerate(model.domain.names)}
        beliefs = Beliefs.of_tables(
            self.beliefs.tree,
            [table.copy() for table in self.beliefs.tables],
            self.beliefs.total,
            [(place[name],) for name in {*self._weights, *self._shares}],
        )
        factors: dict[tuple[int, ...], Floats] = {}
        for name, weights in self._weights.items():
            inside = model.shares_within(name) * weights
            factors[(place[name],)] = _summed(model, name, inside)
            self.within[name] = inside
        if factors:
            beliefs.update(factors)
            if not beliefs.tables[0].sum() > 0.0:
                asked = ", ".join(condition.field for condition in self.conditions)
                raise ConfigError(f"the model gives no probability to the condition on {asked}")
        self._rebalance(beliefs, place)
        self.beliefs = beliefs

    def _rebalance(self, beliefs: Beliefs, place: Mapping[str, int]) -> None:
        model, wanted = self._model, {}
        for name, asked in self._shares.items():
            inside = self.within.get(name, model.shares_within(name))
            current = _summed(model, name, inside) > 0.0
            has_mass = beliefs.target((place[name],)) > 0.0
            possible = (inside > 0.0) & _spread(model, name, current & has_mass)
            if asked is None:
                # The same share for every value that can occur; missing is not a value.
                asked = np.where(_missing(model, name), 0.0, possible.astype(np.float64))
            elif np.any((asked > 0.0) & ~possible):
                raise ConfigError(f"balance {name!r}: the model gives no probability to one of the values; leave it out of the shares")
            if not asked.sum() > 0.0:
                raise ConfigError(f"balance {name!r}: the model gives no probability to any of the values")
            asked = asked / asked.sum()
            self.within[name] = asked
            wanted[(place[name],)] = _summed(model, name, asked)
        for _ in range(_MOST_ROUNDS if wanted else 0):
            worst = 0.0
            for axes, target in wanted.items():
                share = beliefs.target(axes) / beliefs.total
                worst = max(worst, float(np.abs(share - target).max()))
                beliefs.update({axes: np.divide(target, share, out=np.zeros_like(target), where=share > 0.0)})
                if not beliefs.tables[0].sum() > 0.0:
                    raise ConfigError(f"balance: the shares of {', '.join(self._shares)} cannot hold together under the model")
            if worst < _CLOSE:
                return
        if wanted:
            off = max(float(np.abs(beliefs.target(axes) / beliefs.total - target).max()) for axes, target in wanted.items())
            if off > 1e-4:
                raise ConfigError(f"balance: the shares of {', '.join(self._shares)} cannot hold together under the model")


def _summed(model: SyntheticModel, name: str, fine: Floats) -> Floats:
    """Weights per level -> per merged level of the model."""
    levels = model.recoding.levels.get(name)
    if levels is None:
        return fine
    return np.asarray(np.bincount(levels, weights=fine), dtype=np.float64)


def _spread(model: SyntheticModel, name: str, merged: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    levels = model.recoding.levels.get(name)
    return merged if levels is None else merged[levels]


def _missing(model: SyntheticModel, name: str) -> npt.NDArray[np.bool_]:
    out = np.zeros(model.domain[name].size, dtype=bool)
    if model.encoder is not None and model.encoder.schema[name].nullable:
        out[-1] = True
    return out


# --- what was asked -----------------------------------------------------------------------------------------------------------------


def conditions_of_texts(items: Sequence[str]) -> dict[str, Any]:
    """Conditions written ``column=value``, ``column>=value`` and so on, as `Steering` takes them; two bounds of a column are a range.

    An empty value after = means missing.
    """
    found: dict[str, Any] = {}
    for item in items:
        match = _TEXT.fullmatch(item)
        if match is None:
            raise ConfigError(f"where={item!r} must have the form COLUMN=VALUE, or >=, >, <= or < for numbers and dates")
        name, sign, value = match["name"], match["sign"], match["value"]
        if sign == "=":
            if name in found:
                raise ConfigError(f"where names column {name!r} twice")
            found[name] = value or None
            continue
        bound = found.setdefault(name, {})
        if not isinstance(bound, dict) or _BOUNDS[sign] in bound:
            raise ConfigError(f"where names column {name!r} twice")
        bound[_BOUNDS[sign]] = value
    return found


def balance_of_texts(items: Sequence[str]) -> dict[str, str | Mapping[str, float]]:
    """Shares written ``column``, for the same share of every value, or ``column:value=share,value=share``."""
    found: dict[str, str | Mapping[str, float]] = {}
    for item in items:
        name, colon, listed = item.partition(":")
        if not name or name in found:
            raise ConfigError(f"balance={item!r} must name a column, each once: COLUMN or COLUMN:VALUE=SHARE,...")
        if not colon:
            found[name] = UNIFORM
            continue
        shares: dict[str, float] = {}
        for pair in listed.split(","):
            value, equals, share = pair.rpartition("=")
            try:
                shares[value] = float(share)
            except ValueError:
                equals = ""
            if not equals:
                raise ConfigError(f"balance={item!r} must have the form COLUMN or COLUMN:VALUE=SHARE,...")
        found[name] = shares
    return found


def condition_of(encoder: Encoder, name: str, said: Any) -> Condition:
    """A caller's condition: a value, a list of values, None for missing, or a range as in the schema."""
    schema = encoder.schema
    names = [field.name for field in schema.modelled]
    if name not in names:
        raise ConfigError(f"column {name!r} is not in the model; it has {', '.join(names)}")
    declared = schema[name]
    if isinstance(said, Mapping):
        return _parsed(declared, said)
    values = list(said) if isinstance(said, list | tuple | set | frozenset) else [said]
    if not declared.has_bounds:
        points = {float(_code(encoder, declared, value)) for value in values if value is not None}
        if any(value is None for value in values):
            _parsed(declared, None)
        return Condition(name, tuple(sorted(points)), missing=any(value is None for value in values))
    condition = _parsed(declared, values)
    low, high = encoder.cell_ends(name)
    found = [int(np.searchsorted(high, point, side="left")) for point in condition.points or ()]
    # Whatever else a cell of one value stood for is that value.
    whole = [float(low[cell]) if low[cell] == high[cell] else point for cell, point in zip(found, condition.points or (), strict=True)]
    return replace(condition, points=tuple(sorted(set(whole))))


def _code(encoder: Encoder, declared: Field, value: Any) -> int:
    code = encoder.level_of(declared.name, value)
    if code is None:
        raise ConfigError(f"where {declared.name!r}: that value is not in the declared domain of the column{_declared_domain(declared)}")
    return code


def _declared_domain(declared: Field) -> str:
    """What a caller may ask for; a schema is public."""
    if declared.has_bounds:
        counted = declared.counted
        if counted.minimum is None:
            return ""
        shown = partial(durations.shown, declared) if declared.type == "duration" else str
        return f", from {shown(counted.minimum)} to {shown(counted.maximum)}"
    more = len(declared.levels) - _LISTED
    return f": {', '.join(declared.levels[:_LISTED])}" + (f" and {more} more" if more > 0 else "")


def _parsed(declared: Field, said: Any) -> Condition:
    low, high = bounds(declared)
    if isinstance(said, list):
        for value in said:
            if value is not None and not low <= _number(declared, value) <= high:
                raise ConfigError(
                    f"where {declared.name!r}: that value is not in the declared domain of the column{_declared_domain(declared)}"
                )
    try:
        return parse(declared, said, f"where {declared.name!r}")
    except SchemaError as error:
        raise ConfigError(str(error)) from None


def _number(declared: Field, value: Any) -> float:
    try:
        return ordered_value(declared, value, f"where {declared.name!r}")
    except SchemaError as error:
        raise ConfigError(str(error)) from None


def weights_of(encoder: Encoder, condition: Condition) -> tuple[str, Floats] | None:
    """The modelled column that decides ``condition`` and, per code of its domain, the share of the code's values that satisfy it.

    None where no single modelled column decides it.
    """
    name, rules = condition.field, encoder.schema.relations.rules
    if name in rules:
        rule = rules[name]
        if not isinstance(rule, Determines) or len(rule.by) != 1 or rule.by[0] in rules:
            return None
        codes, _, missing = level_ends(encoder, rule.by[0])
        return rule.by[0], condition.holds(rule.value({rule.by[0]: Column(codes, missing)})).astype(np.float64)
    lowest, _, missing = level_ends(encoder, name)
    if not encoder.schema[name].has_bounds:
        return name, condition.holds(Column(lowest, missing)).astype(np.float64)
    low, high = encoder.cell_ends(name)
    starts = encoder.bin_cells(name)
    if condition.points is not None:
        cells = np.searchsorted(high, np.array(condition.points), side="left")
        cell_shares = np.bincount(cells, minlength=len(low)).astype(np.float64)
    else:
        width = np.where(high > low, high - low, 1.0)
        overlap = np.minimum(high, condition.high) - np.maximum(low, condition.low)
        partly = np.clip(np.where(high > low, overlap / width, 1.0), 0.0, 1.0)
        cell_shares = np.where(condition.some(low, high), partly, 0.0)
    shares = np.add.reduceat(cell_shares, starts[:-1]) / np.diff(starts)
    return name, np.concatenate([shares, np.full(len(missing) - len(shares), float(condition.missing))])


def _balanced(balance: Balance | None) -> dict[str, str | Mapping[str, float]]:
    if balance is None:
        return {}
    if isinstance(balance, str):
        return {balance: UNIFORM}
    return dict(balance) if isinstance(balance, Mapping) else dict.fromkeys(balance, UNIFORM)


def _shares(encoder: Encoder, name: str, said: str | Mapping[str, float]) -> Floats | None:
    """The share of each code of ``name``; None for the same share of all that can occur."""
    if name not in encoder.domain:
        names = ", ".join(encoder.domain.names)
        raise ConfigError(f"balance {name!r}: not a modelled column; the model has {names}")
    if isinstance(said, str):
        if said != UNIFORM:
            raise ConfigError(f'balance {name!r}: {said!r} must be "uniform" or the share of each value')
        return None
    declared = encoder.schema[name]
    if declared.has_bounds:
        raise ConfigError(f'balance {name!r}: shares are for listed values; for a column with bins use "uniform"')
    shares = np.zeros(encoder.domain[name].size)
    for value, share in said.items():
        code = encoder.level_of(name, value)
        if code is None:
            raise ConfigError(
                f"balance {name!r}: one of the values is not in the declared domain of the column{_declared_domain(declared)}"
            )
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0.0 <= share < np.inf:
            raise ConfigError(f"balance {name!r}: a share must be a number >= 0")
        shares[code] += float(share)
    if abs(float(shares.sum()) - 1.0) > 1e-6:
        raise ConfigError(f"balance {name!r}: the shares add up to {float(shares.sum()):g}, not to 1")
    return shares
