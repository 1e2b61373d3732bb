"""Schemas of a few columns, and models fitted on tables of nobody, for the tests of relations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dpsynth.encode import Encoder
from dpsynth.marginals import Domain
from dpsynth.model import SyntheticModel
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import junction_tree
from dpsynth.schema import Schema

TRANSCRIPT = {"$schema": "dpsynth.transcript/1", "events": []}


def schema(fields: Sequence[Mapping[str, Any]], *relations: Mapping[str, Any], **more: Any) -> Schema:
    """A schema with these fields and ``dp:constraints``."""
    return Schema.from_dict(
        {
            "dp:dataset": {"id": "toy", "population": "nobody"},
            "dp:unit": {"name": "person"},
            "fields": list(fields),
            "dp:constraints": list(relations),
            **more,
        }
    )


def listed(name: str, *levels: str, nullable: bool = False) -> dict[str, Any]:
    return {"name": name, "type": "string", "categories": list(levels), "dp:nullable": nullable}


def whole(name: str, low: int, high: int, *, bins: Any = None, nullable: bool = False) -> dict[str, Any]:
    field = {"name": name, "type": "integer", "constraints": {"minimum": low, "maximum": high}, "dp:nullable": nullable}
    return field if bins is None else {**field, "dp:bins": bins}


def number(name: str, low: float, high: float, *, bins: Any = 4, step: float | None = None, nullable: bool = False) -> dict[str, Any]:
    field = {"name": name, "type": "number", "constraints": {"minimum": low, "maximum": high}, "dp:nullable": nullable, "dp:bins": bins}
    return field if step is None else {**field, "dp:resolution": step}


def day(name: str, low: str, high: str, *, bins: Any = 6, nullable: bool = False, resolution: str = "day") -> dict[str, Any]:
    bounds = {"minimum": low, "maximum": high}
    return {"name": name, "type": "date", "constraints": bounds, "dp:bins": bins, "dp:nullable": nullable, "dp:resolution": resolution}


def model_of(made: Schema, *, seed: int = 0, cliques: Sequence[Sequence[int]] = (), skew: float = 1.0) -> SyntheticModel:
    """A model with random tables: independent columns, or a random joint over the one clique that is given."""
    encoder = Encoder(made)
    domain: Domain = encoder.domain
    rng = np.random.default_rng(seed)
    sizes = [attribute.size for attribute in domain]
    tree = junction_tree(sizes, cliques)
    beliefs = Beliefs(tree, [rng.gamma(skew, size=size) + 0.05 for size in sizes], 1000.0)
    if cliques:
        axes = tree.cliques[int(tree.home(cliques[0]) or 0)]
        table = np.ascontiguousarray(rng.gamma(skew, size=tuple(sizes[a] for a in axes)) + 0.01)
        lone = Beliefs.of_tables(tree, [part.copy() for part in beliefs.tables], 1000.0, [axes])
        lone.update({axes: table})
        beliefs = lone
    return SyntheticModel("toy", domain, beliefs, 1000.0, (), TRANSCRIPT, encoder=encoder)


def joint_of(table: pd.DataFrame, names: Sequence[str]) -> dict[tuple[Any, ...], int]:
    """How often each combination of values occurs."""
    counted = table[list(names)].astype(object).where(table[list(names)].notna(), None)
    found: dict[tuple[Any, ...], int] = {}
    for row in counted.itertuples(index=False, name=None):
        found[row] = found.get(row, 0) + 1
    return found
