"""Encoder: record batches <-> integer codes, from the schema (and bins paid for under the budget) alone.

Codes come in two levels. The *grid* is public and fine. The *domain* merges the cells of ordered columns into bins;
it is what a model counts.
No cell content raises, and none changes what becomes of another cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth import anchors, durations
from dpsynth.code_store import MEMORY, CodeStore
from dpsynth.constraints import Column
from dpsynth.errors import ConfigError, InputError
from dpsynth.grids import Grid, bin_starts, grid_of, seconds_of, spike_starts
from dpsynth.hierarchies import CLASSIFICATIONS, parents
from dpsynth.in_order import in_order
from dpsynth.inside_bins import place, steepness
from dpsynth.lexicon import Lexicon
from dpsynth.marginals import DECLARED, DP, ROW, UNIT, Attribute, CodedTable, Codes, Domain, code_dtype
from dpsynth.schema import Field, Schema, Unit

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


# The number of the unit that all rows without a key make up together.
KEYLESS_UNIT = 0
# The name under which a batch of codes holds its units; no column has an empty name.
_UNITS = ""
# A column of at most this many values is worth a dictionary in a file.
_FEW = 8192


# Values of an ordered column, and which are missing if any can be.
_Cells = tuple[npt.NDArray[Any], npt.NDArray[np.bool_] | None]


@dataclass(frozen=True)
class Encoded:
    """A table as codes on the public grid.

    ``units`` numbers the privacy unit of each row; it is None when each row is a unit.
    """

    codes: Mapping[str, Codes]
    units: npt.NDArray[np.int64] | None
    n_rows: int

    def take(self, rows: npt.NDArray[Any]) -> Encoded:
        """The rows with these positions (or this boolean mask)."""
        codes = {name: column[rows] for name, column in self.codes.items()}
        return Encoded(codes, None if self.units is None else self.units[rows], len(next(iter(codes.values()))))


@dataclass(frozen=True)
class _Levels:
    """A column with a list of values."""

    declared: Field

    @property
    def size(self) -> int:
        return len(self.declared.levels)

    @cached_property
    def _trimmed(self) -> list[str]:
        return [level.strip() for level in self.declared.levels]

    @cached_property
    def _alike(self) -> dict[str, int]:
        """Canonical text -> code; when two levels are alike the first one has it."""
        from dpsynth.cells import canonical

        alike: dict[str, int] = {}
        for text, code in self._accepted:
            alike.setdefault(canonical(text), code)
        return alike

    @cached_property
    def _accepted(self) -> list[tuple[str, int]]:
        if self.declared.type == "boolean":
            return [(text.strip(), 1) for text in self.declared.true_values] + [(text.strip(), 0) for text in self.declared.false_values]
        return [(text, code) for code, text in enumerate(self._trimmed)]

    def _within(self, text: str) -> int:
        """The code of the category that a finer code belongs to, by the declared hierarchy; -2 if there is none."""
        rule = self.declared.hierarchy
        known = CLASSIFICATIONS.get(rule) if isinstance(rule, str) else None
        category = None if known is None else known[1](text)
        return -2 if category is None else self._alike.get(category, -2)

    @property
    def fallback(self) -> int:
        """The code of a cell that fits nowhere when nothing better is declared."""
        unseen = self.declared.other if self.declared.other is not None else self.declared.unseen
        if unseen is None:
            return 0
        return int(unseen) if isinstance(unseen, bool) else self.declared.levels.index(str(unseen))

    def encode(self, array: pa.Array) -> npt.NDArray[np.int64]:
        """Codes, with -1 for missing and -2 for unseen."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from dpsynth import cells

        texts = cells.texts(array)
        accepted, codes = zip(*self._accepted, strict=True)
        places = pc.fill_null(pc.index_in(texts, value_set=pa.array(accepted, texts.type)), -1).to_numpy(zero_copy_only=False)
        out: npt.NDArray[np.int64] = np.array([*codes, -cells.UNSEEN], dtype=np.int64)[places]
        odd = np.flatnonzero(places < 0)
        if len(odd):
            absent = {text.strip() for text in self.declared.missing_values}
            known: dict[str | None, int] = {None: -1}
            for row, text in zip(odd, texts.take(pa.array(odd)).to_pylist(), strict=True):
                if text not in known:
                    known[text] = -1 if text in absent else self._alike.get(cells.canonical(text), self._within(str(text)))
                out[row] = known[text]
        return out


@dataclass(frozen=True)
class _Ordered:
    """A column with bounds. ``written`` is the field as its cells are written, where it is counted in other terms."""

    declared: Field
    grid: Grid
    written: Field | None = None

    @property
    def size(self) -> int:
        return self.grid.size

    @cached_property
    def fallback(self) -> int:
        unseen: Any = self.declared.minimum if self.declared.unseen is None else self.declared.unseen
        if self.declared.type in ("date", "datetime"):
            unseen = seconds_of(unseen)
        return int(self.grid.cells(np.array([unseen]))[0])

    def encode(self, array: pa.Array) -> npt.NDArray[np.int64]:
        """Cells, with -1 for missing and -2 for unseen."""
        from dpsynth import cells

        values: npt.NDArray[Any]
        if self.written is not None and self.written.type == "duration":
            seconds, status = cells.durations(array, self.declared.missing_values)
            values = durations.steps_of(self.written, seconds)
        elif self.declared.type in ("date", "datetime"):
            values, status = cells.moments(array, self.declared.missing_values, self.declared.format)
        else:
            values, status = cells.numbers(array, self.declared.missing_values, self.declared.decimal)
        return np.where(status == cells.VALUE, self.grid.cells(values), -status.astype(np.int64))


@dataclass(frozen=True)
class Encoder:
    """Encodes tables that follow ``schema``.

    ``edges`` maps a column, if its bins were found under the budget, to the first grid cell of each.

    >>> from dpsynth.schema import Field, Schema, Unit
    >>> age = Field("age", "integer", ordered=True, minimum=0, maximum=120, bins=(18, 65))
    >>> encoder = Encoder(Schema("clinic", "patients", Unit("person"), (age,)))
    >>> encoder.domain["age"].size
    3
    """

    schema: Schema
    edges: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @cached_property
    def _columns(self) -> dict[str, _Levels | _Ordered]:
        return {
            declared.name: _Ordered(declared.counted, grid_of(declared), declared) if declared.has_bounds else _Levels(declared)
            for declared in self.schema.modelled
        }

    @property
    def columns(self) -> tuple[str, ...]:
        """What to read from a source: the modelled columns and the unit key."""
        return self.schema.columns

    @cached_property
    def grid_domain(self) -> Domain:
        """The public grid: one attribute per modelled column, a missing level last where the column is nullable."""
        if self.schema.open:
            raise ConfigError(
                f"columns {', '.join(self.schema.open)} have no categories yet; they are found under the budget when a table is read "
                "by PrivateData, or listed in the schema"
            )
        return Domain(tuple(self._attribute(name, column.size, DECLARED) for name, column in self._columns.items()))

    @cached_property
    def domain(self) -> Domain:
        """The bins. Needs every pending column to have edges."""
        if self.pending:
            raise ConfigError(f"columns {', '.join(self.pending)} have no bins yet; call with_edges first")
        paid = set(self.edges)
        return Domain(tuple(self._attribute(name, len(starts), DP if name in paid else DECLARED) for name, starts in self._starts.items()))

    def _attribute(self, name: str, size: int, provenance: str) -> Attribute:
        declared = self.schema[name]
        groups = None
        if declared.hierarchy is not None and declared.categories is not None:
            # A missing cell is of no group: of one of its own.
            known = parents(declared.categories, declared.hierarchy)
            groups = (*known, max(known) + 1) if declared.nullable else known
        scope = UNIT if declared.static else ROW
        source = DP if declared.open else provenance
        return Attribute(name, size + declared.nullable, declared.ordered, declared.nullable, source, scope, groups)

    @cached_property
    def _declared_starts(self) -> dict[str, tuple[int, ...] | None]:
        """First cell of each bin of the modelled columns; those that a relation computes from others are not among them."""
        return {
            name: bin_starts(column.declared, column.grid) if isinstance(column, _Ordered) else tuple(range(column.size))
            for name, column in self._columns.items()
            if name not in self.schema.derived
        }

    @cached_property
    def _starts(self) -> dict[str, tuple[int, ...]]:
        return {name: starts if starts is not None else self.edges[name] for name, starts in self._declared_starts.items()}

    @cached_property
    def pending(self) -> tuple[str, ...]:
        """Columns whose bins are still to be found under the budget."""
        return tuple(name for name, starts in self._declared_starts.items() if starts is None and name not in self.edges)

    def open_domain(self, lexicons: Mapping[str, Lexicon]) -> Domain:
        """`grid_domain` while the categories of open columns are the texts of their lexicons: as private as those."""
        sizes = {name: lexicons[name].size - declared.nullable for name in lexicons for declared in [self.schema[name]]}
        return Domain(tuple(self._attribute(name, sizes.get(name, column.size), DECLARED) for name, column in self._columns.items()))

    def closed(self, found: Mapping[str, Iterable[str]]) -> Encoder:
        """The encoder with categories for its open columns, as `Schema.closed` orders them."""
        return replace(self, schema=self.schema.closed(found))

    def codes_of(self, name: str, lexicon: Lexicon) -> Codes:
        """The grid code of each code of the ``lexicon`` of a column that was open."""
        import pyarrow as pa

        column = self._columns[name]
        named = pa.array([column.declared.other, *lexicon.texts, *([None] if lexicon.nullable else [])], pa.large_string())
        return self._placed(column, column.encode(named))

    def with_edges(self, edges: Mapping[str, Iterable[int]]) -> Encoder:
        """The encoder with bins for pending columns: for each, the grid cells at which a new bin starts.

        The first cell and the end of the grid are implied.
        The cells must come from a differentially private release: the attribute is marked as paid for.
        """
        starts: dict[str, tuple[int, ...]] = {}
        for name, cells in edges.items():
            if self._declared_starts.get(name, ()) is not None:
                raise ConfigError(f'column {name!r} has declared bins; edges are only for columns with "dp:bins": "dp"')
            size = self._columns[name].size
            marks = sorted({0, *(int(cell) for cell in cells), *self._cuts(name)})
            if marks[0] < 0 or marks[-1] > size:
                raise ConfigError(f"edges of column {name!r} must be grid cells from 0 to {size}")
            column = self._columns[name]
            alone = spike_starts(column.declared, column.grid) if isinstance(column, _Ordered) else ()
            starts[name] = tuple(sorted({*(mark for mark in marks if mark < size), *alone}))
        return replace(self, edges={**self.edges, **starts})

    def _cuts(self, name: str) -> Iterable[int]:
        """Grid cells at which a condition of a declared relation begins or ends to hold: public bin edges."""
        lowest, highest = self.cell_ends(name)
        for relation in self.schema.relations:
            for condition in getattr(relation, "conditions", ()):
                if condition.field == name:
                    changes = np.diff(condition.some(lowest, highest).astype(np.int8), prepend=0)
                    yield from np.flatnonzero(changes).tolist()

    def cell_ends(self, name: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """The least and the greatest value of each grid cell of an ordered column, as floats (moments in seconds since 1970)."""
        column = self._columns[name]
        assert isinstance(column, _Ordered)
        low, high = column.grid.ends(np.arange(column.size))
        return floats_of(low), floats_of(high)

    def bin_cells(self, name: str) -> npt.NDArray[np.int64]:
        """First grid cell of each bin of an ordered column, and behind the last bin the number of cells."""
        return np.array([*self._starts[name], self._columns[name].size], dtype=np.int64)

    def values_in(self, name: str, cells: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """A value drawn in each grid cell of an ordered column, as floats."""
        column = self._columns[name]
        assert isinstance(column, _Ordered)
        return floats_of(column.grid.values(cells, rng))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON from which `from_dict` makes an equal encoder."""
        return {"schema": self.schema.to_dict(), "edges": {name: list(cells) for name, cells in self.edges.items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Encoder:
        """The inverse of `to_dict`."""
        return cls(Schema.from_dict(data["schema"]), {name: tuple(cells) for name, cells in data["edges"].items()})

    def grid_cells(self, name: str) -> int:
        """Cells of the public grid of ``name``, the level for missing not counted."""
        return self._columns[name].size

    def level_of(self, name: str, value: object) -> int | None:
        """The level of a listed column that a caller's value names, ``None`` meaning missing; None where there is no such level."""
        import pyarrow as pa

        column, declared = self._columns[name], self.schema[name]
        if value is None:
            return column.size if declared.nullable else None
        code = int(column.encode(pa.array([str(value)]))[0])
        return code if code >= 0 else None

    def lexicons(self) -> dict[str, Lexicon]:
        """An empty lexicon for each open column."""
        fields = [self.schema[name] for name in self.schema.open]
        return {field.name: Lexicon(field.missing_values, str(field.other).strip(), field.nullable) for field in fields}

    def encode(self, batches: Iterable[pa.RecordBatch], memory: int = MEMORY, lexicons: Mapping[str, Lexicon] | None = None) -> Encoded:
        """Read a stream of record batches into codes on the grid.

        Touches private data and spends nothing: only the kernel and code that stays internal may call it on a private
        table. A cell outside the bounds is clipped. A missing cell goes to the missing level, else to ``dp:other``. A
        cell that does not parse or is not in the list goes to ``dp:other``, else to the missing level. Where there is
        neither, both go to ``dp:unseen``. Rows without a unit key are one unit together.
        Codes of more than ``memory`` bytes are kept in temporary files without a name.
        The codes of open columns are those of ``lexicons``, which take in the texts of the stream.
        """
        held = lexicons or {}
        types = self._stored_types(held)
        with CodeStore(types, memory) as store:
            for codes, texts in in_order(lambda batch: (self.encode_batch(batch), self._texts(batch, held)), batches):
                store.append({**codes, **{name: held[name].code(*cells) for name, cells in texts.items()}})
            columns = store.finish()
        units = columns.pop(_UNITS, None)
        n_rows = len(next(iter(columns.values()))) if columns else 0
        return Encoded(columns, None if units is None else units.astype(np.int64, copy=False), n_rows)

    def _stored_types(self, lexicons: Mapping[str, Lexicon]) -> dict[str, npt.DTypeLike]:
        domain = self.open_domain(lexicons) if lexicons else self.grid_domain
        types: dict[str, npt.DTypeLike] = {a.name: np.uint32 if a.name in lexicons else code_dtype(a.size) for a in domain}
        return types if self.schema.unit.field is None else {**types, _UNITS: np.int64}

    def encode_batch(self, batch: pa.RecordBatch) -> dict[str, npt.NDArray[Any]]:
        """The codes of one batch; which batch a row is in makes no difference to it. Units, if any, are under the empty name."""
        codes: dict[str, npt.NDArray[Any]] = {
            name: self._encode_column(column, _pick(batch, name))
            if isinstance(column, _Levels) or self.schema[name].anchor is None
            # An anchored column is the distance of two cells of the row, whatever bounds the anchor has.
            else self._encode_distance(column, batch)
            for name, column in self._columns.items()
            if name not in self.schema.open
        }
        if self.schema.unit.field is not None:
            codes[_UNITS] = _number_units(self._unit_keys(_pick(batch, self.schema.unit.field)))
        return codes

    def _encode_column(self, column: _Levels | _Ordered, array: pa.Array) -> Codes:
        from dpsynth import cells

        declared = self.schema[column.declared.name]
        year = declared.type in ("date", "datetime") and declared.resolution == "year"
        cells.require_cells(declared.name, "year" if year else declared.type, array.type)
        if not cells.repeats(array.type, listed=isinstance(column, _Levels)):
            return self._placed(column, column.encode(array))
        places, distinct = cells.distinct(array)
        codes: Codes = self._placed(column, column.encode(distinct))[places]
        return codes

    def _texts(self, batch: pa.RecordBatch, names: Iterable[str]) -> dict[str, tuple[npt.NDArray[np.integer[Any]], pa.Array]]:
        """Of each open column the distinct texts of a batch, and which of them each cell is."""
        from dpsynth import cells

        found = {}
        for name in names:
            array = _pick(batch, name)
            cells.require_cells(name, self.schema[name].type, array.type)
            places, distinct = cells.distinct(array) if cells.repeats(array.type, listed=True) else (np.arange(len(array)), array)
            found[name] = (places, cells.texts(distinct))
        return found

    def _encode_distance(self, column: _Ordered, batch: pa.RecordBatch) -> Codes:
        from dpsynth import cells

        declared = self.schema[column.declared.name]
        (anchor, of_anchor), (moment, of_moment) = (self._moments(batch, str(declared.anchor)), self._moments(batch, declared.name))
        absent = (of_anchor == cells.MISSING) | (of_moment == cells.MISSING)
        status = np.where(absent, cells.MISSING, np.maximum(of_anchor, of_moment)).astype(np.int64)
        steps = column.grid.cells(anchors.distances(declared, anchor, moment))
        return self._placed(column, np.where(status == cells.VALUE, steps, -status))

    def _moments(self, batch: pa.RecordBatch, name: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
        from dpsynth import cells

        declared, array = self.schema[name], _pick(batch, name)
        cells.require_cells(name, "year" if declared.resolution == "year" else declared.type, array.type)
        return cells.moments(array, declared.missing_values, declared.format)

    def _placed(self, column: _Levels | _Ordered, codes: npt.NDArray[np.int64]) -> Codes:
        """Missing and unseen cells where the schema says they go."""
        from dpsynth import cells

        declared = column.declared
        missing = column.size if declared.nullable else column.fallback
        unseen = column.size if declared.nullable and declared.other is None else column.fallback
        codes = np.where(codes == -cells.MISSING, missing, np.where(codes == -cells.UNSEEN, unseen, codes))
        return codes.astype(code_dtype(column.size + declared.nullable))

    def _unit_keys(self, array: pa.Array) -> pa.Array:
        """Texts that are equal when the keys are; null where there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from dpsynth import cells

        assert self.schema.unit.field is not None
        declared = self.schema[self.schema.unit.field]
        cells.require_cells(declared.name, "unit", array.type)
        texts = pc.cast(cells.texts(array), pa.large_string())
        absent = pa.array([text.strip() for text in declared.missing_values], texts.type)
        texts = pc.if_else(pc.is_in(texts, value_set=absent), pa.scalar(None, texts.type), texts)
        return pc.replace_substring_regex(texts, r"^([+-]?[0-9]+)\.0*$", r"\1")

    def bin(self, codes: Mapping[str, Codes]) -> CodedTable:
        """Grid codes -> a table over ``domain``."""
        return CodedTable(self.domain, {name: lookup[codes[name]] for name, lookup in self.bins().items()})

    def bins(self) -> dict[str, Codes]:
        """For each column the bin of each grid cell."""
        lookups = {}
        for name in self.domain.names:
            grid, starts = self.grid_domain[name], self._starts[name]
            values = grid.size - grid.nullable
            lookup = np.searchsorted(starts, np.arange(grid.size), side="right") - 1
            lookup[values:] = len(starts)
            lookups[name] = lookup.astype(code_dtype(self.domain[name].size))
        return lookups

    def decode(
        self, codes: Mapping[str, Codes], rng: np.random.Generator | None = None, drawn: Mapping[str, Column] | None = None
    ) -> pd.DataFrame:
        """Codes over ``domain`` -> a table of values in the types of the schema, identifiers left out.

        Within a bin a grid cell is drawn, more often where its neighbours are denser (see `dpsynth.inside_bins`), and within a cell a
        value, uniformly; without ``rng`` both are the middle. Encoding the table again gives the same bins. Columns in
        ``drawn`` have their values already.
        """
        held = drawn or {}
        return self._table({name: self._spread(name, codes[name], rng) for name in self.domain.names if name not in held}, rng, held)

    def decode_batch(
        self, codes: Mapping[str, Codes], rng: np.random.Generator | None = None, drawn: Mapping[str, Column] | None = None
    ) -> pa.RecordBatch:
        """As `decode`, as one Arrow record batch of `arrow_schema`: no cell becomes a Python object."""
        import pyarrow as pa

        held = drawn or {}
        grid = {name: self._spread(name, codes[name], rng) for name in self.domain.names if name not in held}
        ordered: dict[str, _Cells] = {}
        arrays: dict[str, pa.Array] = {}
        for name, column in self._columns.items():
            if isinstance(column, _Levels):
                levels = grid.get(name)
                arrays[name] = _drawn_array(column.declared, held[name]) if levels is None else _level_array(column.declared, levels)
            elif name in held:
                ordered[name] = (_typed(column.declared, held[name]), held[name].missing if column.declared.nullable else None)
            else:
                cells = grid.pop(name).astype(np.int64, copy=False)
                missing = cells >= column.size if column.declared.nullable else None
                ordered[name] = (column.grid.values(cells if missing is None else np.where(missing, 0, cells), rng), missing)
        for name, (values, missing) in self._dated(ordered).items():
            arrays[name] = _ordered_array(self.schema[name], values, missing)
        return pa.RecordBatch.from_arrays([arrays[name] for name in self._columns], schema=self.arrow_schema)

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The columns of `decode_batch`: dictionaries of texts, booleans, 64-bit numbers, moments in microseconds.

        Columns of few distinct numbers say so in their metadata, for writers that can make use of it.
        """
        import pyarrow as pa

        types = {
            "boolean": pa.bool_(),
            "integer": pa.int64(),
            "number": pa.float64(),
            "date": pa.timestamp("us"),
            "datetime": pa.timestamp("us"),
        }
        fields = []
        for name, column in self._columns.items():
            declared = self.schema[name]
            few = (
                isinstance(column, _Ordered)
                and declared.type not in ("number", "duration")
                and declared.anchor is None
                and column.size <= _FEW
            )
            kind = types.get(declared.type, pa.dictionary(pa.int32(), pa.string()))
            fields.append(pa.field(name, kind, metadata={"repeats": "yes"} if few else None))
        return pa.schema(fields)

    def spread(self, codes: Mapping[str, Codes], rng: np.random.Generator | None = None) -> dict[str, Codes]:
        """Codes over ``domain`` -> codes on the grid: a cell of each bin as in `decode`, or its middle one without ``rng``."""
        return {name: self._spread(name, codes[name], rng).astype(code_dtype(self.grid_domain[name].size)) for name in self.domain.names}

    def _spread(self, name: str, codes: Codes, rng: np.random.Generator | None) -> npt.NDArray[np.integer[Any]]:
        grid = self.grid_domain[name]
        values = grid.size - grid.nullable
        first = np.array([*self._starts[name], values], dtype=np.int64)
        widths = np.append(np.diff(first), 1)
        if widths.max() == 1:
            return codes
        bins = codes.astype(np.intp)
        cells = first.take(bins)
        if rng is None:
            cells += (widths // 2).take(bins)
        else:
            share = rng.random(len(codes))
            steep = np.zeros(len(widths))
            steep[: len(first) - 1] = steepness(widths[:-1], np.bincount(codes, minlength=len(widths))[: len(first) - 1])
            if steep.any():
                share = place(steep, widths.astype(np.float64), bins, share)
            else:
                # A product with a number below one stays below the width, which has far fewer than 53 bits; `rng.integers` takes longer.
                share *= widths.astype(np.float64).take(bins)
            cells += share.astype(np.int64)
        return cells

    def canonical(self, codes: Mapping[str, Codes], *, typed: bool = False) -> pd.DataFrame:
        """Grid codes -> the one table they stand for, the form in which audits compare real and synthetic rows.

        Categories and booleans are texts, with None where missing; numbers and dates are the middle of their cell.
        With ``typed`` booleans are booleans, as in `decode`. The table is as private as the codes.
        """
        return self._table(codes, None, {}, typed=typed)

    def _table(
        self,
        grid_codes: Mapping[str, npt.NDArray[Any]],
        rng: np.random.Generator | None,
        drawn: Mapping[str, Column],
        *,
        typed: bool = True,
    ) -> pd.DataFrame:
        import pandas as pd

        ordered: dict[str, _Cells] = {}
        series = {}
        for name, column in self._columns.items():
            if name in drawn:
                inside, missing = _typed(column.declared, drawn[name]), drawn[name].missing
            else:
                codes = grid_codes[name].astype(np.int64)
                missing = codes >= column.size
                inside = np.where(missing, 0, codes)
                inside = inside if isinstance(column, _Levels) else column.grid.values(inside, rng)
            if isinstance(column, _Levels):
                series[name] = _level_series(column.declared, inside, missing, typed=typed or name in drawn)
            else:
                ordered[name] = (inside, missing)
        for name, (values, absent) in self._dated(ordered).items():
            series[name] = _ordered_series(self.schema[name], values, absent, typed=typed)
        return pd.DataFrame({name: series[name] for name in self._columns})

    def _dated(self, ordered: Mapping[str, _Cells]) -> dict[str, _Cells]:
        """``ordered`` with the date that each distance leads to; missing where either the distance or its anchor is."""
        out = dict(ordered)
        for name, (steps, missing) in ordered.items():
            declared = self.schema[name]
            if declared.anchor is not None:
                start, absent = ordered[declared.anchor]
                lacking = missing if absent is None else absent if missing is None else missing | absent
                out[name] = (anchors.moments_at(declared, start, steps), lacking)
        return out


def closed_by(schema: Schema, public: Any) -> Schema:
    """The schema with the values of a ``public`` table, such as a released one, as the categories of open columns."""
    from dpsynth.sources import open_source

    if not schema.open:
        return schema
    fields = tuple(replace(declared, static=False) for declared in schema.modelled if declared.name in schema.open)
    encoder = Encoder(Schema(schema.dataset, schema.population, Unit(schema.unit.name), fields))
    lexicons = encoder.lexicons()
    encoder.encode(open_source(public, encoder.columns), lexicons=lexicons)
    return schema.closed({name: lexicon.texts for name, lexicon in lexicons.items()})


def floats_of(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Values of an ordered column as floats: moments in seconds since 1970."""
    whole = values.astype("datetime64[s]").astype(np.int64) if values.dtype.kind == "M" else values
    return whole.astype(np.float64)


def _typed(declared: Field, column: Column) -> npt.NDArray[Any]:
    """Floats as codes of levels, whole numbers, numbers or moments; any value where missing."""
    values = np.where(column.missing, 0.0, column.values)
    if declared.type == "number":
        return values
    whole = values.astype(np.int64)
    return whole.astype("datetime64[s]").astype("datetime64[us]") if declared.type in ("date", "datetime") else whole


def _drawn_array(declared: Field, column: Column) -> pa.Array:
    return _level_array(declared, np.where(column.missing, len(declared.levels), _typed(declared, column)))


def _level_series(declared: Field, codes: npt.NDArray[np.int64], missing: npt.NDArray[np.bool_], *, typed: bool) -> pd.Series[Any]:
    import pandas as pd

    if declared.type == "boolean" and typed:
        flags = codes.astype(bool)
        return pd.Series(pd.arrays.BooleanArray(flags, missing) if declared.nullable else flags)
    texts = np.array([*declared.levels, None], dtype=object)
    return pd.Series(texts[np.where(missing, len(declared.levels), codes)], dtype=object)


def _level_array(declared: Field, codes: npt.NDArray[np.integer[Any]]) -> pa.Array:
    import pyarrow as pa

    missing = codes >= len(declared.levels) if declared.nullable else None
    if declared.type == "boolean":
        return pa.array(codes == 1, mask=missing)
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=missing), pa.array(declared.levels, pa.string()))


def _ordered_array(declared: Field, values: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None) -> pa.Array:
    import pyarrow as pa

    if declared.type != "duration":
        return pa.array(values, mask=missing)
    places, texts = durations.texts_of(declared, values)
    return pa.DictionaryArray.from_arrays(pa.array(places.astype(np.int32), mask=missing), pa.array(texts, pa.string()))


def _ordered_series(
    declared: Field, values: npt.NDArray[Any], missing: npt.NDArray[np.bool_] | None, *, typed: bool = True
) -> pd.Series[Any]:
    import pandas as pd

    missing = np.zeros(len(values), dtype=bool) if missing is None else missing
    if declared.type == "duration" and typed:
        places, texts = durations.texts_of(declared, values)
        return pd.Series(np.array([*texts, None], dtype=object)[np.where(missing, len(texts), places)], dtype=object)
    if declared.type in ("integer", "duration"):
        return pd.Series(pd.arrays.IntegerArray(values, missing) if declared.nullable else values)
    values[missing] = np.nan if declared.type == "number" else np.datetime64("NaT")
    return pd.Series(values)


def _pick(batch: pa.RecordBatch, name: str) -> pa.Array:
    places = batch.schema.get_all_field_indices(name)
    if len(places) != 1:
        raise InputError(f"column {name!r} is in the schema but {'not' if not places else 'more than once'} in the table")
    return batch.column(places[0])


def _number_units(keys: pa.Array) -> npt.NDArray[np.int64]:
    """Equal keys get equal numbers, a 64-bit hash of the key alone; rows without a key share one number.

    A unit's number must not depend on who else is in the table: contribution bounding draws its coins from it. Two of a million keys
    collide with probability 3e-8; they would then share one unit's allowance of rows. Rows without a key could all be one person's,
    so together they get the allowance of one.
    """
    import pandas as pd

    encoded = keys.dictionary_encode(null_encoding="encode")
    texts = encoded.dictionary.to_pylist()
    numbers = pd.util.hash_array(np.array([text or "" for text in texts], dtype=object), categorize=False).view(np.int64)
    numbers = np.where([text is None for text in texts], KEYLESS_UNIT, numbers)
    units: npt.NDArray[np.int64] = numbers.astype(np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]
    return units
