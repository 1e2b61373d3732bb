"""Synthetic rows chunk by chunk, as Arrow batches: a billion rows take the memory of a few chunks.

Each chunk has a seed of its own, so the rows do not depend on threads or on the machine that draws them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from dpsynth.errors import ConfigError
from dpsynth.in_order import in_order
from dpsynth.model import SyntheticModel
from dpsynth.persons import longitudinal_batch, with_key

if TYPE_CHECKING:
    import pyarrow as pa

    from dpsynth.constraints.drawing import Drawing
    from dpsynth.constraints.steering import Balance
    from dpsynth.schema import Field, Schema

CHUNK_ROWS = 1 << 17
"""What is drawn of a chunk stays in the cache of a core: twice as many rows take a seventh longer each."""


@dataclass(frozen=True)
class Chunks:
    """``rows`` rows of ``model``, cut into chunks that can be drawn in any order and anywhere.

    Rows that the model would refine together (see `dpsynth.model.Refinement`) are one chunk; other chunks are drawn from the tree alone.
    Rows that come as persons come as whole persons, so their number is about ``rows``; no key is in two chunks.
    ``where`` and ``balance`` are as in `SyntheticModel.sample`.
    """

    model: SyntheticModel
    rows: int
    seed: int
    where: Mapping[str, Any] | None = None
    balance: Balance | None = None

    def __post_init__(self) -> None:
        if self.model.encoder is None:
            raise ConfigError("this model was fitted on coded data and has no encoder; use sample_codes")
        if self.rows < 1:
            raise ConfigError(f"rows={self.rows} must be >= 1")

    @property
    def schema(self) -> pa.Schema:
        """The columns of every chunk."""
        assert self.model.encoder is not None
        encoder = self.model.encoder
        return encoder.arrow_schema if not self._persons else with_key(encoder, encoder.arrow_schema)

    @property
    def _persons(self) -> bool:
        return bool(self.model.domain.unit_axes)

    @property
    def whole(self) -> bool:
        """Whether all rows are one chunk."""
        refinement = self.model.refinement
        refined = refinement is not None and not self.where and not self.balance and refinement.applies(self.rows)
        return refined or self.rows <= CHUNK_ROWS

    def __len__(self) -> int:
        return 1 if self.whole else -(-self.rows // CHUNK_ROWS)

    @cached_property
    def _unrefined(self) -> SyntheticModel:
        return replace(self.model, refinement=None)

    @cached_property
    def _drawing(self) -> Drawing:
        return (self.model if self.whole else self._unrefined).drawing(self.where, self.balance)

    def draw(self, number: int) -> pa.RecordBatch:
        """Chunk ``number`` of ``len(self)``, counted from zero."""
        encoder = self.model.encoder
        assert encoder is not None
        if self.whole:
            rows, seed = self.rows, self.seed
        else:
            rows = min(CHUNK_ROWS, self.rows - number * CHUNK_ROWS)
            seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1, np.uint64)[0])
        rng = np.random.default_rng([seed, 1])
        if self._persons:
            persons, drawn = self._drawing.persons(rows, seed)
            # A person has a row at least, so earlier chunks have at most this many.
            return longitudinal_batch(encoder, persons, rng, drawn, number * CHUNK_ROWS, None if self.whole else self.rows)
        codes, drawn = self._drawing.rows(rows, seed)
        return encoder.decode_batch(codes, rng, drawn)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return in_order(self.draw, range(len(self)))


@dataclass(frozen=True)
class IdentifiedChunks:
    """Chunks with the identifier columns of ``schema`` in their places: made up anew, keys numbered through all chunks."""

    chunks: Chunks
    identified: Schema

    @property
    def schema(self) -> pa.Schema:
        """The columns of every chunk."""
        import pyarrow as pa

        plain = self.chunks.schema
        fields = [
            plain.field(f.name) if f.name in plain.names else pa.field(f.name, pa.int64() if _numbered(f) else pa.string())
            for f in self.identified.fields
            if f.name in plain.names or f in self.identified.identifiers
        ]
        return pa.schema(fields)

    def draw(self, number: int) -> pa.RecordBatch:
        """Chunk ``number`` of ``len(self)``, counted from zero."""
        import pyarrow as pa

        from dpsynth.identifiers import surrogates

        batch, chunks = self.chunks.draw(number), self.chunks
        seed = chunks.seed + number * len(self.identified.fields)
        made = surrogates(self.identified, batch.num_rows, seed, before=number * CHUNK_ROWS, total=chunks.rows)
        arrays = []
        for field in self.schema:
            if field.name not in made:
                arrays.append(batch.column(field.name))
            else:
                values = made[field.name]
                arrays.append(pa.array(values if field.type == pa.int64() else [str(value) for value in values], field.type))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return in_order(self.draw, range(len(self)))


def _numbered(field: Field) -> bool:
    return field.type == "integer" and field.fake is None
