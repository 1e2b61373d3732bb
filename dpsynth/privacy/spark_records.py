"""Records that stay on a Spark cluster: coded and bounded there once, counted there, and only tables of counts come back.

Every step is the function that one machine uses, so the counts are the same to the last bit. For an audit the rows of the cohort come
back too, and a sample of the others. Executors need dpsynth, and hold the keys of the coins for the time of a job.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dpsynth.counting import Lookups, batch_counts, composed
from dpsynth.encode import Encoder
from dpsynth.errors import ConfigError
from dpsynth.marginals import Clique, CodedTable, Codes, Counts, Domain, code_dtype
from dpsynth.privacy.cohort import BUCKETS, AuditTables, Cohort, buckets, first_left, sides
from dpsynth.privacy.unit import PrivacyUnit, bounded_stream, row_digests, weighed_by_person, weighed_domain
from dpsynth.sources.spark_errors import quiet
from dpsynth.sources.spark_frame import arrow_schema, frame_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PACKED = "part int, rows long, payload binary"
_KEYED = "unit long, content long, payload binary"
_COUNTED = "counts binary"
# Parts of the records: who trains outside the cohort, its members, and who is left out.
_OTHERS, _MEMBERS, _CONTROL = range(3)
_TRAINS = f"part < {_CONTROL}"
# Rows counted at a time on an executor: enough that adding the tables costs little.
_COUNTED_TOGETHER = 1 << 18
# Partial counts that one task adds up.
_FAN_IN = 8


@dataclass(frozen=True)
class Coins:
    """The keys of contribution bounding, of static values and of the cohort; 0 where there is no such thing."""

    bounding: int
    static: int = 0
    cohort: int = 0


def coded_on_spark(ref: Any, encoder: Encoder, unit: PrivacyUnit, coins: Coins, cohort: Cohort | None = None) -> SparkRecords:
    """Code the table on the executors, bound each unit's rows, and keep the codes there. Lazy: no record is read before the first count."""
    frame = frame_of(ref, encoder.columns)
    # A wrong type of column is told here, by name; on an executor it would be a stack trace.
    encoder.encode_batch(_empty(frame))
    domain = weighed_domain(encoder.grid_domain, unit) if unit.by_person else encoder.grid_domain
    packer = _Packer(json.dumps(encoder.to_dict()), unit, coins, cohort, _Layout(domain, cohort is not None, unit.by_person))
    if encoder.schema.unit.field is None:
        packed = frame.mapInArrow(packer.rows, _PACKED)
    else:
        # All rows of a unit meet in one task, sorted, so that bounding needs the memory of one unit's allowance.
        keyed = frame.mapInArrow(packer.keyed, _KEYED).repartition("unit").sortWithinPartitions("unit", "content")
        packed = keyed.mapInArrow(packer.bounded, _PACKED)
    with quiet():
        return SparkRecords(_Kept(packed.persist()), packer, domain)


def _empty(frame: DataFrame) -> pa.RecordBatch:
    schema = arrow_schema(frame)
    return pa.RecordBatch.from_arrays([pa.array([], kind.type) for kind in schema], schema=schema)


class _Kept:
    """A persisted DataFrame that is dropped from the executors when nobody holds it any more."""

    def __init__(self, frame: DataFrame) -> None:
        self.frame = frame
        weakref.finalize(self, _drop, frame).atexit = False


def _drop(frame: DataFrame) -> None:
    from py4j.protocol import Py4JError

    # The session may have ended before; then there is nothing left to drop.
    with suppress(Py4JError, OSError, AttributeError):
        frame.unpersist()


@dataclass(frozen=True)
class SparkRecords:
    """`Records` on a cluster: those that train. ``domain`` is what is seen of the packed codes through ``lookups``."""

    _kept: _Kept
    packer: _Packer
    domain: Domain
    lookups: Lookups = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """One job on the cluster, each time."""
        with quiet():
            [row] = self._training().groupBy().sum("rows").collect()
        return int(row[0] or 0)

    def counts(self, cliques: Sequence[Clique]) -> list[Counts]:
        """One job: tables per task, added up in a tree of tasks."""
        counter = _Counter(self.packer.layout, self.domain, self.lookups, tuple(cliques))
        return counter.split(_summed(self._training(), counter, counter.cells))

    def merged(self, domain: Domain, lookups: Lookups) -> SparkRecords:
        return SparkRecords(self._kept, self.packer, domain, composed(self.lookups, lookups, domain))

    def for_audit(self) -> AuditTables:
        """The rows of the cohort and a sample of the others, brought to this machine."""
        packer = self.packer
        if packer.cohort is None:
            raise ConfigError("these records were coded without a cohort; pass one to coded_on_spark")
        frame, layout, key = self._kept.frame, packer.layout, packer.coins.cohort
        others = frame.where(f"part = {_OTHERS}")
        drawn = _summed(others, _Drawn(layout, key), BUCKETS)
        picked = _Picked(layout, key, first_left(drawn, packer.cohort.audited_rows))
        with quiet():
            cells = [*others.mapInArrow(picked, _PACKED).collect(), *frame.where(f"part <> {_OTHERS}").collect()]
        train, train_units = layout.joined([cell for cell in cells if cell[0] != _CONTROL])
        control, control_units = layout.joined([cell for cell in cells if cell[0] == _CONTROL])
        members = np.unique(layout.joined([cell for cell in cells if cell[0] == _MEMBERS])[1])
        return AuditTables(train, train_units, control, control_units, members, self.n_rows)

    def _training(self) -> DataFrame:
        return self._kept.frame.where(_TRAINS)


def _summed(frame: DataFrame, counter: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]], cells: int) -> Counts:
    with quiet():
        parts = frame.mapInArrow(counter, _COUNTED)
        tasks = parts.rdd.getNumPartitions() if hasattr(parts, "rdd") else 1
        while tasks > _FAN_IN:
            tasks = -(-tasks // _FAN_IN)
            parts = parts.repartition(tasks).mapInArrow(_added, _COUNTED)
        return sum((np.frombuffer(row[0], dtype=np.int64) for row in parts.collect()), np.zeros(cells, dtype=np.int64))


@dataclass(frozen=True)
class _Layout:
    """What a packed cell holds: perhaps the units of its rows, perhaps their weights, then their codes, column after column."""

    domain: Domain
    units: bool
    weighed: bool

    @property
    def _columns(self) -> list[tuple[str, npt.DTypeLike]]:
        before: list[tuple[str, npt.DTypeLike]] = [("unit", np.int64)] * self.units + [("weight", np.uint16)] * self.weighed
        return [*before, *(("", code_dtype(attribute.size)) for attribute in self.domain)]

    def packed(self, part: int, table: CodedTable, units: npt.NDArray[np.int64] | None) -> pa.RecordBatch:
        before = [column for column, wanted in ((units, self.units), (table.weights, self.weighed)) if wanted and column is not None]
        columns = [*before, *(table.columns[name] for name in self.domain.names)]
        types = [kind for _, kind in self._columns]
        payload = b"".join(np.ascontiguousarray(column, dtype=kind).tobytes() for column, kind in zip(columns, types, strict=True))
        cells = {
            "part": pa.array([part], pa.int32()),
            "rows": pa.array([table.n_rows], pa.int64()),
            "payload": pa.array([payload], pa.binary()),
        }
        return pa.record_batch(cells)

    def unpacked(self, payload: bytes, rows: int) -> tuple[CodedTable, npt.NDArray[np.int64]]:
        found, start = [], 0
        for _, kind in self._columns:
            found.append(np.frombuffer(payload, dtype=kind, count=rows, offset=start))
            start += found[-1].nbytes
        units = found.pop(0) if self.units else np.zeros(0, dtype=np.int64)
        weights = found.pop(0).astype(np.int64) if self.weighed else None
        return CodedTable(self.domain, dict(zip(self.domain.names, found, strict=True)), weights), units

    def joined(self, cells: Sequence[Any]) -> tuple[CodedTable, npt.NDArray[np.int64]]:
        """The rows of cells (part, rows, payload), one after the other."""
        parts = [self.unpacked(bytes(cell[2]), int(cell[1])) for cell in cells]
        none = self.unpacked(b"", 0)
        return _stacked([table for table, _ in (none, *parts)]), np.concatenate([units for _, units in (none, *parts)])


def _stacked(tables: Sequence[CodedTable]) -> CodedTable:
    domain = tables[0].domain
    weights = [table.weights for table in tables if table.weights is not None]
    columns = {name: np.concatenate([table.columns[name] for table in tables]) for name in domain.names}
    return CodedTable(domain, columns, np.concatenate(weights) if weights else None)


@dataclass(frozen=True)
class _Packer:
    """The steps from a batch of the table to packed cells of codes. The encoder travels as JSON."""

    document: str
    unit: PrivacyUnit
    coins: Coins
    cohort: Cohort | None
    layout: _Layout

    def encoder(self) -> Encoder:
        return Encoder.from_dict(json.loads(self.document))

    def rows(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Each row is a unit, numbered by task and place in the task."""
        encoder = self.encoder()
        first = _task() << 40
        for batch in batches:
            table = CodedTable(encoder.grid_domain, encoder.encode_batch(batch))
            yield from self._cells(table, first + np.arange(table.n_rows, dtype=np.int64))
            first += table.n_rows

    def keyed(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Rows with their unit and digest, each packed into one cell."""
        encoder = self.encoder()
        domain = encoder.grid_domain
        for batch in batches:
            codes = encoder.encode_batch(batch)
            units = codes.pop("")
            digests = row_digests(CodedTable(domain, codes), self.coins.bounding)
            parts = [np.ascontiguousarray(codes[name]).view(np.uint8).reshape(len(units), codes[name].itemsize) for name in domain.names]
            rows = np.concatenate(parts, axis=1)
            offsets = np.arange(len(units) + 1, dtype=np.int32) * rows.shape[1]
            cells = pa.Array.from_buffers(pa.binary(), len(units), [None, pa.py_buffer(offsets), pa.py_buffer(rows.tobytes())])
            yield pa.RecordBatch.from_arrays(
                [pa.array(units), pa.array(digests.view(np.int64)), cells], names=["unit", "content", "payload"]
            )

    def bounded(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Sorted rows of whole units -> the packed codes of those that stay."""
        domain = self.encoder().grid_domain
        types = [np.dtype(code_dtype(a.size)) for a in domain]
        width = sum(kind.itemsize for kind in types)

        def sorted_rows() -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[Any]]]:
            for batch in batches:
                units = batch.column(0).to_numpy()
                content = batch.column(1).to_numpy().view(np.uint64)
                yield units, content, np.frombuffer(b"".join(batch.column(2).to_pylist()), dtype=np.uint8).reshape(-1, width)

        for units, rows in bounded_stream(sorted_rows(), self.unit.max_rows, self.coins.bounding):
            codes, start = {}, 0
            for name, kind in zip(domain.names, types, strict=True):
                codes[name] = np.ascontiguousarray(rows[:, start : start + kind.itemsize]).view(kind).ravel()
                start += kind.itemsize
            table = CodedTable(domain, codes)
            yield from self._cells(weighed_by_person(table, units, self.unit, self.coins.static) if self.unit.by_person else table, units)

    def _cells(self, table: CodedTable, units: npt.NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        if self.cohort is None:
            yield self.layout.packed(_OTHERS, table, None)
            return
        member, out = sides(units, self.cohort.share, self.coins.cohort)
        for part, rows in ((_OTHERS, ~(member | out)), (_MEMBERS, member), (_CONTROL, out)):
            if rows.any():
                yield self.layout.packed(part, table.take(rows), units[rows])


def _task() -> int:
    from pyspark import TaskContext

    context = TaskContext.get()
    return 0 if context is None else int(context.partitionId())


@dataclass(frozen=True)
class _Counter:
    """Packed codes -> one cell with all tables of the task."""

    layout: _Layout
    domain: Domain
    lookups: Lookups
    cliques: tuple[Clique, ...]

    @property
    def cells(self) -> int:
        return sum(self.domain.cells(clique) for clique in self.cliques)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total = np.zeros(self.cells, dtype=np.int64)
        waiting: list[CodedTable] = []
        rows = 0
        for table, _ in _tables(batches, self.layout):
            waiting.append(table)
            rows += table.n_rows
            if rows >= _COUNTED_TOGETHER:
                total += self._counted(waiting)
                waiting, rows = [], 0
        if waiting:
            total += self._counted(waiting)
        yield _cell(total)

    def _counted(self, parts: Sequence[CodedTable]) -> Counts:
        names = {name for clique in self.cliques for name in clique} or set(self.layout.domain.names[:1])
        columns: Mapping[str, Codes] = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
        given = [part.weights for part in parts if part.weights is not None]
        weights = np.concatenate(given) if given else None
        return np.concatenate([table.ravel() for table in batch_counts(columns, self.lookups, self.domain, self.cliques, weights)])

    def split(self, cells: Counts) -> list[Counts]:
        """The tables of a sum of cells."""
        ends = np.cumsum([self.domain.cells(clique) for clique in self.cliques])
        parts = np.split(cells, ends[:-1])
        return [part.reshape(self.domain.shape(clique)) for part, clique in zip(parts, self.cliques, strict=True)]


@dataclass(frozen=True)
class _Drawn:
    """Packed codes -> how many of their rows fall into each bucket of the audit's sample."""

    layout: _Layout
    key: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total = np.zeros(BUCKETS, dtype=np.int64)
        for _, units in _tables(batches, self.layout):
            np.add.at(total, buckets(units, self.key), 1)
        yield _cell(total)


@dataclass(frozen=True)
class _Picked:
    """Packed codes -> those of units whose bucket comes before ``end``."""

    layout: _Layout
    key: int
    end: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table, units in _tables(batches, self.layout):
            seen = buckets(units, self.key) < self.end
            if seen.any():
                yield self.layout.packed(_OTHERS, table.take(seen), units[seen])


def _tables(batches: Iterator[pa.RecordBatch], layout: _Layout) -> Iterator[tuple[CodedTable, npt.NDArray[np.int64]]]:
    for batch in batches:
        for rows, payload in zip(batch.column(1).to_pylist(), batch.column(2).to_pylist(), strict=True):
            yield layout.unpacked(payload, rows)


def _added(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    total: Counts | None = None
    for batch in batches:
        for cell in batch.column(0).to_pylist():
            counts = np.frombuffer(cell, dtype=np.int64)
            total = counts if total is None else total + counts
    if total is not None:
        yield _cell(total)


def _cell(counts: Counts) -> pa.RecordBatch:
    return pa.record_batch({"counts": pa.array([counts.tobytes()], pa.binary())})
