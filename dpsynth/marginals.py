"""Domains, cliques and the counting of coded tables: the vocabulary every room shares.

A coded table holds one small-integer array per column. Nothing here adds noise, and nothing here decides who may look.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from dpsynth.errors import ConfigError

Clique = tuple[str, ...]
Codes = npt.NDArray[np.unsignedinteger[Any]]
Counts = npt.NDArray[np.int64]

DECLARED = "declared"
DP = "dp"
PROVENANCES = (DECLARED, DP)

ROW = "row"
UNIT = "unit"
COUNT = "count"
SCOPES = (ROW, UNIT, COUNT)


def count_name(unit: str) -> str:
    """Name of the column that says how many rows a ``unit`` has."""
    return f"rows per {unit}"


@dataclass(frozen=True)
class Attribute:
    """One column of the model: codes ``0..size-1``.

    ``ordered`` codes may be merged into contiguous bins. With ``nullable`` the last code means *missing* and is never merged with a value.
    ``provenance`` says where the codes come from: ``declared`` in the public schema, or ``dp`` (paid for). It is never ``data``.
    ``scope``: a ``row`` column may differ between the rows of a unit, a ``unit`` column is the same in all of them, and the ``count``
    column is how many rows the unit has (code 0 is one row). ``parents`` numbers the group that each level belongs to in a public
    hierarchy.
    """

    name: str
    size: int
    ordered: bool = False
    nullable: bool = False
    provenance: str = DECLARED
    scope: str = ROW
    parents: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.parents is not None:
            object.__setattr__(self, "parents", tuple(self.parents))
            if len(self.parents) != self.size:
                raise ConfigError(f"column {self.name!r} has {len(self.parents)} parents for {self.size} levels")
        if self.scope not in SCOPES:
            raise ConfigError(f"scope={self.scope!r} must be one of {SCOPES}")
        if self.size < 1:
            raise ConfigError(f"column {self.name!r} has size={self.size}; a domain needs at least one level")
        if self.provenance not in PROVENANCES:
            raise ConfigError(f"provenance={self.provenance!r} must be one of {PROVENANCES}")


@dataclass(frozen=True)
class Domain:
    """The ordered columns of a coded table."""

    attributes: tuple[Attribute, ...]

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ConfigError("column names of a domain must be distinct")

    @classmethod
    def of(cls, sizes: Mapping[str, int], ordered: Iterable[str] = ()) -> Domain:
        """A declared domain from ``{name: size}``."""
        marked = set(ordered)
        return cls(tuple(Attribute(name, size, name in marked) for name, size in sizes.items()))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(attribute.name for attribute in self.attributes)

    @cached_property
    def _by_name(self) -> dict[str, Attribute]:
        return {attribute.name: attribute for attribute in self.attributes}

    @cached_property
    def unit_axes(self) -> tuple[int, ...]:
        """Positions of the columns that belong to a unit rather than to a row; empty where rows are modelled on their own."""
        return tuple(i for i, attribute in enumerate(self.attributes) if attribute.scope != ROW)

    @cached_property
    def count_axis(self) -> int | None:
        """Position of the column that says how many rows a unit has."""
        return next((i for i, attribute in enumerate(self.attributes) if attribute.scope == COUNT), None)

    def __getitem__(self, name: str) -> Attribute:
        try:
            return self._by_name[name]
        except KeyError:
            raise ConfigError(f"column {name!r} is not in the domain; it has {', '.join(self.names)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Attribute]:
        return iter(self.attributes)

    def __len__(self) -> int:
        return len(self.attributes)

    def without(self, names: Sequence[str]) -> Domain:
        """The other columns."""
        return Domain(tuple(attribute for attribute in self.attributes if attribute.name not in names))

    def shape(self, clique: Sequence[str]) -> tuple[int, ...]:
        """Levels of each column of ``clique``: the shape of its marginal."""
        return tuple(self[name].size for name in clique)

    def cells(self, clique: Sequence[str]) -> int:
        """Number of cells of the marginal over ``clique``."""
        return math.prod(self.shape(clique))

    def ordered_clique(self, names: Iterable[str]) -> Clique:
        """``names`` in the column order of the domain, without repeats."""
        wanted = set(names)
        clique = tuple(name for name in self.names if name in wanted)
        if len(clique) != len(wanted):
            missing = sorted(wanted - set(clique))
            raise ConfigError(f"column {missing[0]!r} is not in the domain; it has {', '.join(self.names)}")
        return clique


def code_dtype(size: int) -> npt.DTypeLike:
    """Smallest unsigned integer type that holds codes ``0..size-1``."""
    return np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.uint32


@dataclass(frozen=True)
class CodedTable:
    """Columns of codes over a domain; all the same length. ``weights``: what each row counts, a whole number; one each if None."""

    domain: Domain
    columns: Mapping[str, Codes]
    weights: npt.NDArray[np.int64] | None = None

    @property
    def n_rows(self) -> int:
        """Records; 0 without columns."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def take(self, rows: npt.NDArray[Any]) -> CodedTable:
        """The rows with these positions (or this boolean mask)."""
        columns = {name: codes[rows] for name, codes in self.columns.items()}
        return CodedTable(self.domain, columns, None if self.weights is None else self.weights[rows])


def count(table: CodedTable, clique: Sequence[str]) -> Counts:
    """Exact contingency table over ``clique`` (weighted, if the table is), shape ``domain.shape(clique)``. Touches records: only the
    kernel calls it on private ones.
    """
    shape = table.domain.shape(clique)
    if not clique:
        return np.array(table.n_rows if table.weights is None else table.weights.sum(), dtype=np.int64)
    index = flat_index([table.columns[name] for name in clique], shape)
    if table.weights is not None:
        # Exact: sums of whole numbers stay below 2^53, where floats stop counting (3e11 units of 27,720 parts).
        return np.bincount(index, table.weights, minlength=math.prod(shape)).astype(np.int64).reshape(shape)
    return np.bincount(index, minlength=math.prod(shape)).astype(np.int64, copy=False).reshape(shape)


def flat_index(columns: Sequence[npt.NDArray[np.integer[Any]]], shape: Sequence[int]) -> npt.NDArray[np.int64]:
    """Row-major cell number of each record in a table of ``shape``."""
    index = columns[0].astype(np.int64)
    for codes, size in zip(columns[1:], shape[1:], strict=True):
        index *= size
        index += codes
    return index


@dataclass(frozen=True)
class Measurement:
    """A noisy answer, already paid for: everything computed from it is post-processing.

    ``values`` has shape ``domain.shape(clique)`` and estimates counts (``form="marginal"``) or the residual, the part of the marginal
    that sums to
    zero along every axis (``form="residual"``). ``stddev`` is that of the noise in one cell, in records.
    """

    clique: Clique
    values: npt.NDArray[np.float64]
    stddev: float
    form: str = "marginal"


def centred(table: npt.NDArray[np.float64], first: int = 0) -> npt.NDArray[np.float64]:
    """The residual of a marginal: the table minus its means along each axis, an orthogonal projection.

    Axes before ``first`` number tables that are centred apart.
    """
    for axis in range(first, table.ndim):
        table = table - np.add.reduce(table, axis=axis, keepdims=True) / table.shape[axis]
    return table


def residual_norm(shape: Sequence[int]) -> float:
    """L2 norm of what `centred` leaves of a one-hot table: sqrt(1 - 1/n) along each axis of n levels."""
    return math.sqrt(math.prod(1.0 - 1.0 / n for n in shape))


@dataclass(frozen=True)
class Recoding:
    """A public merge of the levels of some columns: ``levels[name][old code]`` is the new code, ``0..max``.

    Built from noisy measurements or from the schema, so applying it to records is part of the query and costs nothing.
    """

    levels: Mapping[str, npt.NDArray[np.int64]]

    def domain(self, domain: Domain) -> Domain:
        """The domain after the merge."""
        return Domain(
            tuple(
                replace(a, size=int(self.levels[a.name].max()) + 1, nullable=False, parents=None) if a.name in self.levels else a
                for a in domain.attributes
            )
        )

    def table(self, table: CodedTable) -> CodedTable:
        """The same rows in merged codes."""
        merged = self.domain(table.domain)
        columns = dict(table.columns)
        for name, levels in self.levels.items():
            columns[name] = levels.astype(code_dtype(merged[name].size))[table.columns[name]]
        return CodedTable(merged, columns, table.weights)
