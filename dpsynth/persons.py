"""Whole units from a model of a unit and one of its rows: static columns and the number of rows are drawn once, then the rows given them.

Under such a model (every unit has weight one, spread evenly over its rows) the joint of the unit columns is that of units, and the
distribution of the other columns given them is that of a row drawn at random from a unit. The tree starts with the unit columns, so both
draws are exact. Rows of one unit are independent given its unit columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth.constraints import Column as Drawn
from dpsynth.marginals import CodedTable, Codes, code_dtype, count_name
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.sampling import sample

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from dpsynth.encode import Encoder
    from dpsynth.model import SyntheticModel
    from dpsynth.schema import Schema

Column = npt.NDArray[np.integer[Any]]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Persons:
    """Coded rows, rows of one unit together; ``owners`` numbers the unit of each row from 0."""

    table: CodedTable
    owners: npt.NDArray[np.int64]


def rows_per_unit(model: SyntheticModel, beliefs: Beliefs | None = None) -> float:
    """Expected number of rows of a unit, under ``beliefs`` (default: the model's own)."""
    shares = _sizes(model, model.beliefs if beliefs is None else beliefs)
    return float(shares @ np.arange(1, len(shares) + 1))


def draw(model: SyntheticModel, beliefs: Beliefs, rows: int, rng: np.random.Generator, within: Mapping[str, Weights]) -> Persons:
    """Units whose rows are about ``rows`` in all. ``within`` replaces the model's weights inside merged levels."""
    domain, counted = model.domain, model.domain.count_axis
    if counted is None:
        raise ValueError("the domain has no column for the number of rows of a unit")

    def fine(axis: int, merged: Column, strata: Column | None = None) -> Column:
        return model.full_levels(domain.names[axis], merged, within, rng, strata)

    units = max(1, round(rows / rows_per_unit(model, beliefs))) if rows else 0
    of_units = dict(zip(domain.unit_axes, sample(beliefs, units, rng, only=domain.unit_axes), strict=True))
    sizes = fine(counted, of_units[counted]).astype(np.int64) + 1
    owners = np.repeat(np.arange(units, dtype=np.int64), sizes)
    # The first rows of all units are drawn together, then the second rows: low variance over units, independence within a unit.
    ordinals = np.arange(len(owners), dtype=np.int64) - (np.cumsum(sizes) - sizes)[owners]
    given = {axis: codes[owners] for axis, codes in of_units.items()}
    merged = sample(beliefs, len(owners), rng, given=given, strata=ordinals)
    columns = {}
    for axis, attribute in enumerate(domain):
        codes: Column
        if axis == counted:
            codes = sizes[owners] - 1
        elif axis in of_units:
            codes = fine(axis, of_units[axis])[owners]
        else:
            codes = fine(axis, merged[axis], ordinals)
        columns[attribute.name] = codes.astype(code_dtype(attribute.size))
    return Persons(CodedTable(domain, columns), owners)


def longitudinal(encoder: Encoder, persons: Persons, rng: np.random.Generator, drawn: Mapping[str, Drawn] | None = None) -> pd.DataFrame:
    """One flat table in the schema's column order, with a new key for each person; ``dp:unit.order`` ascends within a person.

    Static columns are decoded once per person, so that they agree to the last digit. Columns in ``drawn`` have their values already.
    """
    from dpsynth.identifiers import keys

    schema = encoder.schema
    codes, first = _split(encoder, persons)
    held = dict(drawn or {})
    static = encoder.decode({name: column[first] for name, column in codes.items()}, rng, _of(held, first))
    held |= {name: _again(static[name], persons.owners) for name in _fixed_anchors(schema, held)}
    table = encoder.decode(codes, rng, held)
    for name in codes:
        if schema[name].static and name not in held:
            table[name] = static[name].iloc[persons.owners].array
    if schema.unit.order is not None:
        table = table.iloc[_ascending(table[schema.unit.order], persons.owners)].reset_index(drop=True)
    name, place = _key_place(encoder)
    table.insert(place, name, keys(schema[name], len(first), int(rng.integers(1 << 31)))[persons.owners])
    return table


def longitudinal_batch(
    encoder: Encoder,
    persons: Persons,
    rng: np.random.Generator,
    drawn: Mapping[str, Drawn] | None = None,
    before: int = 0,
    at_most: int | None = None,
) -> pa.RecordBatch:
    """As `longitudinal`, as an Arrow batch of schema `with_key`. Keys count on from ``before``; ``at_most`` persons are drawn in all, if
    this is not all of them.
    """
    import pyarrow as pa

    from dpsynth.identifiers import keys

    schema = encoder.schema
    codes, first = _split(encoder, persons)
    held = dict(drawn or {})
    of_first = {name: column[first] for name, column in codes.items()}
    static = encoder.decode_batch(of_first, rng, _of(held, first)).take(pa.array(persons.owners))
    held |= {name: _again(static.column(name).to_pandas(), slice(None)) for name in _fixed_anchors(schema, held)}
    rows = encoder.decode_batch(codes, rng, held)
    if schema.unit.order is not None:
        rows = rows.take(pa.array(_ascending(rows.column(schema.unit.order).to_pandas(), persons.owners)))
    columns = [(static if schema[name].static and name not in held else rows).column(name) for name in rows.schema.names]
    name, place = _key_place(encoder)
    made = keys(schema[name], len(first), int(rng.integers(1 << 31)), before, at_most)
    whole = with_key(encoder, rows.schema)
    columns.insert(place, pa.array(made, whole.field(place).type).take(pa.array(persons.owners)))
    return pa.RecordBatch.from_arrays(columns, schema=whole)


def with_key(encoder: Encoder, schema: pa.Schema) -> pa.Schema:
    """The Arrow ``schema`` of decoded columns with the key of the person where the table's schema has it."""
    import pyarrow as pa

    name, place = _key_place(encoder)
    kind = pa.int64() if encoder.schema[name].type == "integer" and encoder.schema[name].fake is None else pa.string()
    return schema.insert(place, pa.field(name, kind))


def _key_place(encoder: Encoder) -> tuple[str, int]:
    """The column of the key, and how many modelled columns stand before it."""
    schema = encoder.schema
    assert schema.unit.field is not None
    before = schema.fields[: [field.name for field in schema.fields].index(schema.unit.field)]
    return schema.unit.field, sum(field.role != "identifier" for field in before)


def _of(drawn: Mapping[str, Drawn], rows: Column) -> dict[str, Drawn]:
    return {name: Drawn(column.values[rows], column.missing[rows]) for name, column in drawn.items()}


def _fixed_anchors(schema: Schema, held: Mapping[str, Drawn]) -> set[str]:
    """Static dates from which dates of the rows are counted, so that their values must be known before those are written."""
    return {field.anchor for field in schema.modelled if field.anchor is not None and schema[field.anchor].static} - held.keys()


def _again(series: pd.Series[Any], rows: Any) -> Drawn:
    """A decoded column of moments as drawn values."""
    missing = series.isna().to_numpy(dtype=bool)
    seconds = series.to_numpy().astype("datetime64[s]").astype(np.int64)
    return Drawn(np.where(missing, 0, seconds).astype(np.float64)[rows], missing[rows])


def _split(encoder: Encoder, persons: Persons) -> tuple[dict[str, Codes], Column]:
    """The codes of the table's own columns, and the first row of each person."""
    codes = {name: persons.table.columns[name] for name in encoder.domain.names}
    owners = persons.owners
    return codes, np.flatnonzero(np.r_[True, np.diff(owners) > 0]) if len(owners) else owners


def with_counts(table: pd.DataFrame, units: Column, schema: Schema) -> pd.DataFrame:
    """``table`` with one more column: how many of its rows have the same unit."""
    _, places, sizes = np.unique(units, return_inverse=True, return_counts=True)
    return table.assign(**{count_name(schema.unit.name): sizes[places].astype(np.float64)})


def _ascending(values: pd.Series[Any], owners: Column) -> Column:
    """Row order by owner, then value, missing values last."""
    place = values.rank(method="first").fillna(np.inf).to_numpy(dtype=np.float64)
    order: Column = np.lexsort((place, owners)).astype(np.int64)
    return order


def _sizes(model: SyntheticModel, beliefs: Beliefs) -> npt.NDArray[np.float64]:
    """Share of units with 1, 2, ... rows."""
    axis = model.domain.count_axis
    if axis is None:
        raise ValueError("the domain has no column for the number of rows of a unit")
    table = beliefs.within([axis])
    name = model.domain.names[axis]
    levels = model.recoding.levels.get(name)
    if table is None:
        raise ValueError(f"no clique of the tree contains {name!r}")
    shares = np.asarray(table, dtype=np.float64)
    if levels is not None:
        within = model.within[name]
        mass, members = np.bincount(levels, weights=within), np.bincount(levels)
        spread = np.where(mass[levels] > 0.0, within / np.where(mass[levels] > 0.0, mass[levels], 1.0), 1.0 / members[levels])
        shares = shares[levels] * spread
    total = float(shares.sum())
    return shares / total if total > 0.0 else np.full(len(shares), 1.0 / len(shares))
