"""The tables that are measured: a caller's coded files, the bundled data sets, and generated ones.

A coded file is a CSV of codes ``0..size-1`` with a domain in JSON, ``{column: {"size": 85, "ordered": true}}``. Codes and their meaning are
public, the same for every mechanism.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dpsynth.marginals import Attribute, CodedTable, Domain, code_dtype

# One row is one unit in every benchmark, whatever the bundled schema says of persons: tables, not persons, are compared.
UNIT = "record"

BINARY = (2,) * 16
MIXED = (85, 9, 100, 16, 7, 15, 6, 5, 2, 60, 40, 99, 42, 2)
"""Sizes of the 14 generated columns whose rows are scaled."""

_BINS = 32
_ORDERED_ABOVE = 16


@dataclass(frozen=True)
class Benchmark:
    """A table and the name under which its figures are shown."""

    name: str
    table: CodedTable


def from_files(name: str, csv: Path, domain: Path | None = None) -> Benchmark:
    """A caller's coded table. Without ``domain`` it is ``<name>-domain.json`` beside the CSV."""
    text = (domain or csv.with_name(f"{name}-domain.json")).read_text(encoding="utf-8")
    declared: Mapping[str, Mapping[str, Any]] = json.loads(text)
    frame = pd.read_csv(csv)
    attributes = tuple(Attribute(column, int(facts["size"]), bool(facts["ordered"])) for column, facts in declared.items())
    return Benchmark(name, coded(frame, Domain(attributes)))


def bundled(name: str) -> Benchmark:
    """A bundled data set on its schema; columns whose bins would be found under the budget get 32 equal ones instead."""
    from dpsynth import datasets
    from dpsynth.encode import Encoder
    from dpsynth.schema import Schema
    from dpsynth.sources import open_source

    schema = Schema.read(datasets.schema_path(name))
    pending = set(Encoder(schema).pending)
    schema = replace(schema, fields=tuple(replace(f, bins=_BINS) if f.name in pending else f for f in schema.fields))
    encoder = Encoder(schema)
    table = encoder.bin(encoder.encode(open_source(datasets.path(name), encoder.columns)).codes)
    # Missing is one more level of a coded table. A column in which it is one is no longer ordered.
    plain = Domain(tuple(Attribute(a.name, a.size, a.ordered and not a.nullable) for a in table.domain))
    return Benchmark(name, CodedTable(plain, table.columns))


def latent_classes(rows: int, sizes: Sequence[int], *, classes: int = 8, seed: int = 0) -> CodedTable:
    """Rows of ``classes`` hidden classes; within a class the columns are independent.

    A column of more than 16 levels is ordered and has one bump per class; any other has Dirichlet profiles.
    """
    rng = np.random.default_rng(seed)
    member = rng.choice(classes, rows, p=rng.dirichlet(np.full(classes, 2.0)))
    attributes, columns = [], {}
    for place, size in enumerate(sizes):
        name, ordered = f"c{place:02d}", size > _ORDERED_ABOVE
        if ordered:
            centres, widths = rng.uniform(0.0, size, classes), rng.uniform(0.03, 0.2, classes) * size
            profiles = np.exp(-0.5 * ((np.arange(size) - centres[:, None]) / widths[:, None]) ** 2) + 1e-4
        else:
            profiles = rng.dirichlet(np.full(size, 0.7), classes) + 1e-4
        edges = np.cumsum(profiles / profiles.sum(axis=1, keepdims=True), axis=1)
        # One search in the classes' distributions laid end to end: class c owns the interval from c to c + 1.
        laid = (edges + np.arange(classes)[:, None]).ravel()
        drawn = np.searchsorted(laid, rng.random(rows) + member, side="right") - member * size
        attributes.append(Attribute(name, size, ordered))
        columns[name] = np.clip(drawn, 0, size - 1).astype(code_dtype(size))
    return CodedTable(Domain(tuple(attributes)), columns)


def wide_sizes(columns: int) -> tuple[int, ...]:
    """Sizes of ``columns`` generated columns, from 2 to 20 levels in turn."""
    return tuple((2, 5, 10, 3, 20, 2, 8)[place % 7] for place in range(columns))


def coded(frame: pd.DataFrame, domain: Domain) -> CodedTable:
    """A table of codes from a frame that holds codes, as numbers or as texts."""
    columns = {}
    for attribute in domain:
        codes = frame[attribute.name].astype(np.int64).to_numpy()
        if len(codes) and not 0 <= codes.min() <= codes.max() < attribute.size:
            raise ValueError(f"column {attribute.name!r} has codes outside 0..{attribute.size - 1}")
        columns[attribute.name] = codes.astype(code_dtype(attribute.size))
    return CodedTable(domain, columns)


def write_inputs(benchmark: Benchmark, folder: Path) -> tuple[Path, Path]:
    """What a user would hand to the command: the CSV and its schema, whose domain sizes equal the coded ones."""
    folder.mkdir(parents=True, exist_ok=True)
    table = benchmark.table
    csv, schema = folder / f"{benchmark.name}.csv", folder / f"{benchmark.name}.schema.json"
    pd.DataFrame(dict(table.columns)).to_csv(csv, index=False)
    declared = {
        "title": benchmark.name,
        "dp:dataset": {"id": benchmark.name, "population": "benchmark records"},
        "dp:unit": {"name": UNIT},
        "fields": [_field(attribute) for attribute in table.domain],
    }
    schema.write_text(json.dumps(declared, indent=1), encoding="utf-8")
    return csv, schema


def _field(attribute: Attribute) -> dict[str, Any]:
    if attribute.ordered:
        bounds = {"minimum": 0, "maximum": attribute.size - 1}
        # As many bins as values: the default would look for bins under the budget above 128 values.
        return {"name": attribute.name, "type": "integer", "constraints": bounds, "dp:bins": attribute.size}
    return {"name": attribute.name, "type": "string", "categories": [str(code) for code in range(attribute.size)]}
