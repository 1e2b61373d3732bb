"""Count the rows of a table that break a declared relation: by reading the table, not by trusting who made it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dpsynth import durations
from dpsynth.anchors import distance_column
from dpsynth.constraints.condition import Column

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.schema import Field, Schema


def violations(schema: Schema, table: pd.DataFrame) -> dict[str, Any]:
    """Per declared relation how many rows of ``table`` break it, and ``rows``: how many break any.

    ``table`` has the columns of the relations in the types of the schema, as a release writes them. Only for synthetic tables: on real
    ones the counts are statistics of real records that nobody paid for.
    """
    relations = schema.relations
    if not relations:
        return {"rows": 0, "relations": []}
    columns = {name: _column(schema[name], table[name]) for name in columns_read(schema)}
    for name in relations.fields:
        anchor = schema[name].anchor
        if anchor is not None:
            columns[name] = distance_column(schema[name], columns[anchor], columns[name])
    broken = [relation.violated(columns) for relation in relations]
    return {
        "rows": int(np.logical_or.reduce(broken).sum()),
        "relations": [{"text": relation.text, "violations": int(rows.sum())} for relation, rows in zip(relations, broken, strict=True)],
    }


def columns_read(schema: Schema) -> list[str]:
    """The columns that `violations` looks at: those of the relations, and the anchors from which they are counted."""
    named = schema.relations.fields
    return list(dict.fromkeys([*named, *(str(schema[name].anchor) for name in named if schema[name].anchor is not None)]))


def _column(declared: Field, series: pd.Series[Any]) -> Column:
    import pandas as pd

    missing = series.isna().to_numpy(dtype=bool)
    if declared.type in ("date", "datetime"):
        moments = pd.to_datetime(series).to_numpy().astype("datetime64[s]").astype(np.int64)
        return Column(np.where(missing, 0, moments).astype(np.float64), missing)
    if declared.type == "duration":
        seconds = np.array([0 if absent else durations.seconds_of(str(text)) or 0 for text, absent in zip(series, missing, strict=True)])
        return Column(durations.steps_of(declared, seconds.astype(np.int64)).astype(np.float64), missing)
    if declared.has_bounds:
        return Column(series.to_numpy(dtype=np.float64, na_value=0.0), missing)
    if declared.type == "boolean":
        return Column(series.astype("boolean").fillna(False).to_numpy(dtype=np.float64), missing)
    places = pd.Index(declared.levels).get_indexer(pd.Index(series.to_numpy(dtype=object)))
    return Column(places.astype(np.float64), missing)
