"""Records that stay on a Spark cluster: coded and bounded there once, counted there, and only tables of counts come back.

Every step is the function that one machine uses, so the counts are the same to the last bit.
Executors need dpsynth, and hold the key of the coins for the time of a job.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dpsynth.counting import Lookups, batch_counts, composed
from dpsynth.encode import Encoder
from dpsynth.marginals import Clique, CodedTable, Codes, Counts, Domain, code_dtype
from dpsynth.privacy.unit import bounded_stream, row_digests
from dpsynth.sources.spark_frame import arrow_schema, frame_of, quiet

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_PACKED = "rows long, payload binary"
_KEYED = "unit long, content long, payload binary"
_COUNTED = "counts binary"
# Rows counted at a time on an executor: enough that adding the tables costs little.
_COUNTED_TOGETHER = 1 << 18
# Partial counts that one task adds up.
_FAN_IN = 8


def coded_on_spark(ref: Any, encoder: Encoder, max_rows: int, key: int) -> SparkRecords:
    """Code the table on the executors, bound each unit's rows, and keep the codes there. Lazy: no record is read before the first count.

    ``key`` is that of the coins of contribution bounding; without a unit column it is not used.
    """
    frame = frame_of(ref, encoder.columns)
    # A wrong type of column is told here, by name; on an executor it would be a stack trace.
    encoder.encode_batch(_empty(frame))
    coder = _Coder(json.dumps(encoder.to_dict()))
    if encoder.schema.unit.field is None:
        packed = frame.mapInArrow(coder.packed, _PACKED)
    else:
        # All rows of a unit meet in one task, sorted, so that bounding needs the memory of one unit's allowance.
        keyed = frame.mapInArrow(_Keyed(coder, key), _KEYED).repartition("unit").sortWithinPartitions("unit", "content")
        packed = keyed.mapInArrow(_Bounded(coder, max_rows, key), _PACKED)
    with quiet():
        return SparkRecords(_Kept(packed.persist()), encoder.grid_domain, encoder.grid_domain)


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
    """`Records` on a cluster. ``stored`` is the domain of the packed codes, ``domain`` what is seen through ``lookups``."""

    _kept: _Kept
    stored: Domain
    domain: Domain
    lookups: Lookups = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        return int(self.counts([()])[0])

    def counts(self, cliques: Sequence[Clique]) -> list[Counts]:
        """One job: tables per task, added up in a tree of tasks."""
        counter = _Counter(self.stored, self.domain, self.lookups, tuple(cliques))
        with quiet():
            parts = self._kept.frame.mapInArrow(counter, _COUNTED)
            tasks = parts.rdd.getNumPartitions() if hasattr(parts, "rdd") else 1
            while tasks > _FAN_IN:
                tasks = -(-tasks // _FAN_IN)
                parts = parts.repartition(tasks).mapInArrow(_added, _COUNTED)
            cells = sum((np.frombuffer(row[0], dtype=np.int64) for row in parts.collect()), np.zeros(counter.cells, dtype=np.int64))
        return counter.split(cells)

    def merged(self, domain: Domain, lookups: Lookups) -> SparkRecords:
        return SparkRecords(self._kept, self.stored, domain, composed(self.lookups, lookups, domain))


@dataclass(frozen=True)
class _Coder:
    """An encoder that travels as JSON; packs the codes of a batch column after column."""

    document: str

    def encoder(self) -> Encoder:
        return Encoder.from_dict(json.loads(self.document))

    def packed(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = self.encoder()
        for batch in batches:
            yield _pack(encoder.encode_batch(batch), encoder.grid_domain)


@dataclass(frozen=True)
class _Keyed:
    """Rows with their unit and digest, each packed into one cell."""

    coder: _Coder
    key: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        encoder = self.coder.encoder()
        domain = encoder.grid_domain
        for batch in batches:
            codes = encoder.encode_batch(batch)
            units = codes.pop("")
            digests = row_digests(CodedTable(domain, codes), self.key)
            parts = [np.ascontiguousarray(codes[name]).view(np.uint8).reshape(len(units), codes[name].itemsize) for name in domain.names]
            rows = np.concatenate(parts, axis=1)
            offsets = np.arange(len(units) + 1, dtype=np.int32) * rows.shape[1]
            cells = pa.Array.from_buffers(pa.binary(), len(units), [None, pa.py_buffer(offsets), pa.py_buffer(rows.tobytes())])
            yield pa.RecordBatch.from_arrays(
                [pa.array(units), pa.array(digests.view(np.int64)), cells], names=["unit", "content", "payload"]
            )


@dataclass(frozen=True)
class _Bounded:
    """Sorted rows of whole units -> the packed codes of those that stay."""

    coder: _Coder
    max_rows: int
    key: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        domain = self.coder.encoder().grid_domain
        types = [np.dtype(code_dtype(a.size)) for a in domain]
        width = sum(kind.itemsize for kind in types)

        def sorted_rows() -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[Any]]]:
            for batch in batches:
                units = batch.column(0).to_numpy()
                content = batch.column(1).to_numpy().view(np.uint64)
                yield units, content, np.frombuffer(b"".join(batch.column(2).to_pylist()), dtype=np.uint8).reshape(-1, width)

        for rows in bounded_stream(sorted_rows(), self.max_rows, self.key):
            codes, start = {}, 0
            for name, kind in zip(domain.names, types, strict=True):
                codes[name] = np.ascontiguousarray(rows[:, start : start + kind.itemsize]).view(kind).ravel()
                start += kind.itemsize
            yield _pack(codes, domain)


@dataclass(frozen=True)
class _Counter:
    """Packed codes -> one cell with all tables of the task."""

    stored: Domain
    domain: Domain
    lookups: Lookups
    cliques: tuple[Clique, ...]

    @property
    def cells(self) -> int:
        return sum(self.domain.cells(clique) for clique in self.cliques)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        total = np.zeros(self.cells, dtype=np.int64)
        waiting: list[Mapping[str, Codes]] = []
        rows = 0
        for batch in batches:
            for n, payload in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                waiting.append(_unpack(payload, n, self.stored))
                rows += n
                if rows >= _COUNTED_TOGETHER:
                    total += self._counted(waiting)
                    waiting, rows = [], 0
        if waiting:
            total += self._counted(waiting)
        yield _cell(total)

    def _counted(self, parts: Sequence[Mapping[str, Codes]]) -> Counts:
        names = {name for clique in self.cliques for name in clique} or set(self.stored.names[:1])
        columns = {name: np.concatenate([part[name] for part in parts]) for name in names}
        return np.concatenate([table.ravel() for table in batch_counts(columns, self.lookups, self.domain, self.cliques)])

    def split(self, cells: Counts) -> list[Counts]:
        """The tables of a sum of cells."""
        ends = np.cumsum([self.domain.cells(clique) for clique in self.cliques])
        parts = np.split(cells, ends[:-1])
        return [part.reshape(self.domain.shape(clique)) for part, clique in zip(parts, self.cliques, strict=True)]


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


def _pack(codes: Mapping[str, npt.NDArray[Any]], domain: Domain) -> pa.RecordBatch:
    payload = b"".join(np.ascontiguousarray(codes[name]).tobytes() for name in domain.names)
    rows = len(codes[domain.names[0]])
    return pa.record_batch({"rows": pa.array([rows], pa.int64()), "payload": pa.array([payload], pa.binary())})


def _unpack(payload: bytes, rows: int, domain: Domain) -> dict[str, Codes]:
    columns, start = {}, 0
    for attribute in domain:
        kind = np.dtype(code_dtype(attribute.size))
        columns[attribute.name] = np.frombuffer(payload, dtype=kind, count=rows, offset=start)
        start += rows * kind.itemsize
    return columns
