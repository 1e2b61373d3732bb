"""The configured mechanism on a toy table, as the code audits want it: same synthesizer, budget, unit and neighbours, no user record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from audits import Claim, Column
from dpsynth.marginals import count_name
from dpsynth.privacy import PrivacyBudget, PrivateData
from dpsynth.privacy.noise import Hook, release_noise
from dpsynth.schema import Schema

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.synthesizers import Synthesizer

# A column of every kind the encoder knows: nullable categories, a flag, narrow integers, a number with bins to be found under the budget.
# Together they have more cells than `Adaptive` puts into one table, so that its selection is audited too.
_FIELDS: list[dict[str, Any]] = [
    {"name": "ward", "type": "string", "categories": ["a", "b", "c", "d"], "dp:nullable": True},
    {"name": "sex", "type": "string", "categories": ["f", "m"], "dp:other": "m"},
    {"name": "smoker", "type": "boolean", "dp:nullable": True},
    {"name": "region", "type": "string", "categories": ["n", "e", "s", "w", "abroad", "sea"], "dp:nullable": True},
    {"name": "plan", "type": "string", "categories": ["none", "basic", "full", "staff"], "dp:nullable": True},
    {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 30}},
    {"name": "visits", "type": "integer", "constraints": {"minimum": 0, "maximum": 9}},
    {"name": "cost", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}, "dp:bins": "dp"},
]
# What stays the same within a person, where rows come as persons: a column of each kind of what is counted.
_STATIC = ("sex", "smoker", "age")
_SAMPLED_ROWS = 50


@dataclass(frozen=True)
class ToyMechanism:
    """``recipe`` under ``budget`` for units of at most ``max_rows`` rows; calling it fits a toy table and returns model and sample as
    bytes.
    """

    recipe: Synthesizer
    budget: PrivacyBudget
    unit: str
    max_rows: int
    neighbours: str
    weights: str = "rows"

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def unit_field(self) -> str | None:
        return "unit" if self.max_rows > 1 else None

    @property
    def claim(self) -> Claim:
        return Claim(self.unit, self.max_rows, self.neighbours, self.budget.rho, float(self.budget.epsilon), float(self.budget.delta))

    @cached_property
    def schema(self) -> Schema:
        """The toy table's public dictionary."""
        fields = list(_FIELDS)
        unit: dict[str, Any] = {"name": self.unit}
        if self.unit_field is not None:
            fields = [{"name": self.unit_field, "type": "string", "dp:role": "identifier"}, *fields]
            unit |= {"field": self.unit_field, "maxRows": self.max_rows, "weights": self.weights}
            if self.weights == "person":
                fields = [{**field, "dp:static": True} if field["name"] in _STATIC else field for field in fields]
        return Schema.from_dict(
            {
                "fields": fields,
                "dp:dataset": {"id": "toy", "population": "nobody"},
                "dp:unit": unit,
                "dp:neighbours": self.neighbours,
            }
        )

    @property
    def columns(self) -> Sequence[Column]:
        return audit_columns(self.schema)

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        private = PrivateData.read(table, self.schema, self.budget, hook=hook or release_noise)
        model = self.recipe.fit(private)
        sample = model.sample_codes(_SAMPLED_ROWS, seed=0)
        return {"model": model.to_bytes(), "sample": b"".join(codes.tobytes() for codes in sample.columns.values())}


def audit_columns(schema: Schema) -> tuple[Column, ...]:
    """The public facts of a schema that audits may know."""
    columns = []
    for field in schema.modelled:
        numeric = field.has_bounds and field.type in ("integer", "number")
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
