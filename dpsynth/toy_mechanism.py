"""The configured mechanism on a toy table, as the code audits want it: same synthesizer, budget, unit and neighbours, no user record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from audits import Claim, Column
from dpsynth.grids import seconds_of
from dpsynth.marginals import count_name
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.privacy.noise import Hook, release_noise
from dpsynth.schema import Field, Schema
from dpsynth.synthesizers import Adaptive

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.synthesizers import Synthesizer

_SAMPLED_ROWS = 50
_DRAWS = 3
_EPOCH = datetime(1970, 1, 1)
_DAY = 86_400.0


@dataclass(frozen=True)
class ToyMechanism:
    """``recipe`` under ``budget`` on tables of ``schema``; calling it fits a toy table and returns model and sample as bytes.

    Everything random passes the hook: with the same answers, two runs make the same bytes. Dates are written as numbers in the tables it
    takes (days, or seconds, since 1970) and handed to the encoder as text.
    """

    recipe: Synthesizer
    budget: PrivacyBudget
    schema: Schema

    deterministic = True

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def unit_field(self) -> str | None:
        return self.schema.unit.field

    @property
    def claim(self) -> Claim:
        """What a release under the budget promises, with the delta of thresholds where categories are found."""
        unit = self.schema.unit
        budget = self.budget.with_open_columns(len(self.schema.open))
        return Claim(
            unit.name,
            unit.max_rows,
            self.schema.neighbours,
            budget.rho,
            float(budget.epsilon),
            float(budget.delta),
            float(budget.threshold_delta),
        )

    @cached_property
    def columns(self) -> Sequence[Column]:
        """The modelled columns, bounds of dates as numbers."""
        return [
            replace(column, minimum=_number(field, field.minimum), maximum=_number(field, field.maximum)) if _dated(field) else column
            for column, field in zip(audit_columns(self.schema), self.schema.modelled, strict=True)
        ]

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        private = PrivateData.read(self._written(table), self.schema, self.budget, hook=hook or release_noise)
        model = self._played.fit(private)
        sample = model.sample_codes(_SAMPLED_ROWS, seed=0)
        return {
            "model": model.to_bytes(),
            "sample": b"".join(codes.tobytes() for codes in sample.columns.values()),
            "transcript": json.dumps(private.transcript()).encode(),
        }

    @property
    def _played(self) -> Synthesizer:
        # Toy tables are small: the rules by which `adaptive` measures one-ways alone, or draws one pair and no second, would keep the rest
        # of its code from being seen.
        return replace(self.recipe, alone_below=0.0, least_draws=_DRAWS) if isinstance(self.recipe, Adaptive) else self.recipe

    def _written(self, table: pd.DataFrame) -> pd.DataFrame:
        """``table`` with dates and flags spelled as the schema says."""
        import pandas as pd

        spelled: dict[str, Any] = {}
        for field in self.schema.modelled:
            if _dated(field):
                spelled[field.name] = pd.Series([_moment(field, value) for value in table[field.name]], dtype=object)
            elif field.type == "boolean":
                words = {"true": field.true_values[0], "false": field.false_values[0]}
                spelled[field.name] = pd.Series([words.get(v, v) if isinstance(v, str) else v for v in table[field.name]], dtype=object)
        return table.assign(**spelled) if spelled else table


def _dated(field: Field) -> bool:
    return field.type in ("date", "datetime")


def _number(field: Field, moment: Any) -> float | None:
    return seconds_of(moment) / (_DAY if field.type == "date" else 1.0) if isinstance(moment, date) else None


def _moment(field: Field, value: Any) -> Any:
    """A number of the toy as the text of a date; what is no date stays what it is, as text."""
    try:
        number = float(value)
        if math.isnan(number):
            return None if isinstance(value, float) else value
        moment = _EPOCH + timedelta(**{"days" if field.type == "date" else "seconds": number})
    except (TypeError, ValueError, OverflowError):
        return None if value is None else str(value)
    if field.format not in (None, "default"):
        return moment.strftime(str(field.format))
    return moment.date().isoformat() if field.type == "date" else moment.isoformat()


def audit_columns(schema: Schema) -> tuple[Column, ...]:
    """The public facts of a schema that audits may know."""
    columns = []
    for field in schema.modelled:
        numeric = field.has_bounds and field.type in ("integer", "number", "duration")
        columns.append(
            Column(
                field.name,
                "ordered" if field.has_bounds else "categorical",
                field.role,
                field.group,
                field.nullable,
                None if field.has_bounds else tuple(field.levels),
                float(field.minimum) if numeric and isinstance(field.minimum, (int, float)) else None,
                float(field.maximum) if numeric and isinstance(field.maximum, (int, float)) else None,
            )
        )
    return tuple(columns)


def count_column(schema: Schema) -> Column:
    """How many rows the person of a row has: what audits see of persons, besides the columns."""
    return Column(count_name(schema.unit.name), "ordered", "quasi", minimum=1.0, maximum=float(schema.unit.max_rows))
