"""Counting coded records: one pure function from a batch to tables, whose results add up.

Because they add up, the same function serves a table in memory, one in memory-mapped files, and one spread over a cluster.
Nothing here adds noise, and nothing here decides who may look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dpsynth.marginals import Clique, CodedTable, Codes, Counts, Domain, code_dtype

# Rows counted at a time: a few columns of them, and the cell numbers, stay in a core's own cache.
_BLOCK_ROWS = 1 << 15
# Rows looked at between two additions of the tables.
_BATCH_ROWS = 1 << 20

Lookups = Mapping[str, npt.NDArray[np.integer[Any]]]


class Records(Protocol):
    """Coded records, wherever they are. Only the kernel asks private ones."""

    @property
    def domain(self) -> Domain:
        """The columns and levels in which `counts` answers."""

    @property
    def n_rows(self) -> int:
        """Rows, one each whatever they weigh. Exact, so private."""

    def counts(self, cliques: Sequence[Clique]) -> list[Counts]:
        """The exact contingency table over each clique, in one pass over the rows."""

    def merged(self, domain: Domain, lookups: Lookups) -> Records:
        """The same rows over ``domain``, where ``lookups[name][old code]`` is the new code of a column."""


def batch_counts(
    columns: Mapping[str, Codes],
    lookups: Lookups,
    domain: Domain,
    cliques: Sequence[Clique],
    weights: npt.NDArray[np.int64] | None = None,
) -> list[Counts]:
    """The contingency tables of a batch over each clique, in the codes of ``domain``; counts of two batches add up to those of both.

    ``weights`` are what each row counts; without them one each.
    """
    tables = [np.zeros(domain.cells(clique), dtype=np.int64) for clique in cliques]
    names = sorted({name for clique in cliques for name in clique})
    rows = len(next(iter(columns.values()))) if columns else 0
    # A table larger than a block costs more to add than its rows cost to count, so it gets larger blocks.
    steps = [max(_BLOCK_ROWS, 4 * table.size) for table in tables]
    for step in sorted(set(steps)):
        here = [place for place, wanted in enumerate(steps) if wanted == step]
        for start in range(0, rows, step):
            block = {name: _merged(columns[name][start : start + step], lookups.get(name)) for name in names}
            worth = None if weights is None else weights[start : start + step]
            for place in here:
                _add(tables[place], [block[name] for name in cliques[place]], domain.shape(cliques[place]), min(step, rows - start), worth)
    return [table.reshape(domain.shape(clique)) for table, clique in zip(tables, cliques, strict=True)]


def _merged(codes: Codes, lookup: npt.NDArray[np.integer[Any]] | None) -> npt.NDArray[np.integer[Any]]:
    return codes if lookup is None else lookup[codes]


def _add(
    table: Counts,
    columns: Sequence[npt.NDArray[np.integer[Any]]],
    shape: Sequence[int],
    rows: int,
    weights: npt.NDArray[np.int64] | None,
) -> None:
    if not columns:
        table += rows if weights is None else int(weights.sum())
        return
    index: npt.NDArray[Any] = columns[0]
    if len(columns) > 1:
        # In the smallest integers that hold the last cell, half the bytes go through the cache.
        index = index.astype(code_dtype(table.size) if table.size <= 1 << 32 else np.int64)
        for codes, size in zip(columns[1:], shape[1:], strict=True):
            index *= size
            index += codes
    if weights is None:
        table += np.bincount(index, minlength=table.size)
    else:
        # Exact: sums of whole numbers in a block stay far below 2^53, where floats stop counting.
        table += np.bincount(index, weights, minlength=table.size).astype(np.int64)


@dataclass(frozen=True)
class LocalRecords:
    """Records in memory or in memory-mapped files of this machine, seen through public merges of levels."""

    table: CodedTable
    domain: Domain
    lookups: Lookups = field(default_factory=dict)

    @classmethod
    def of(cls, table: CodedTable) -> LocalRecords:
        """``table`` with every level as it is."""
        return cls(table, table.domain)

    @property
    def n_rows(self) -> int:
        return self.table.n_rows

    def coded(self) -> CodedTable:
        """The rows in the codes of ``domain``, in memory."""
        columns = {
            name: self.lookups[name].astype(code_dtype(self.domain[name].size))[codes] if name in self.lookups else np.asarray(codes)
            for name, codes in self.table.columns.items()
        }
        return CodedTable(self.domain, columns, self.table.weights)

    def counts(self, cliques: Sequence[Clique]) -> list[Counts]:
        totals: list[Counts] = [np.zeros(self.domain.shape(clique), dtype=np.int64) for clique in cliques]
        names = {name for clique in cliques for name in clique} or set(self.domain.names[:1])
        batch_rows = max([_BATCH_ROWS, *(4 * self.domain.cells(clique) for clique in cliques)])
        for start in range(0, self.n_rows, batch_rows):
            batch = {name: self.table.columns[name][start : start + batch_rows] for name in names}
            worth = None if self.table.weights is None else self.table.weights[start : start + batch_rows]
            for total, part in zip(totals, batch_counts(batch, self.lookups, self.domain, cliques, worth), strict=True):
                total += part
        return totals

    def merged(self, domain: Domain, lookups: Lookups) -> LocalRecords:
        return LocalRecords(self.table, domain, composed(self.lookups, lookups, domain))


def composed(first: Lookups, then: Lookups, domain: Domain) -> dict[str, npt.NDArray[np.integer[Any]]]:
    """One lookup per column for two merges in a row, in the smallest type of code of the ``domain`` they lead to."""
    both = {**first, **{name: lookup[first[name]] if name in first else lookup for name, lookup in then.items()}}
    return {name: lookup.astype(code_dtype(domain[name].size)) for name, lookup in both.items()}


__all__ = ["LocalRecords", "Lookups", "Records", "batch_counts", "composed"]
