"""A fitted model: sample, condition, ask for marginals, save, load. Post-processing only, and immutable.

Files are npz plus JSON; nothing is pickled, so a model from a stranger can be opened.
"""

from __future__ import annotations

import io
import json
import math
import operator
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth.errors import ConfigError, InputError
from dpsynth.level_labels import Label, level_labels
from dpsynth.marginals import Attribute, CodedTable, Codes, Domain, Measurement, Recoding, code_dtype
from dpsynth.persons import Persons, draw, longitudinal, rows_per_unit
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.junction_tree import JunctionTree
from dpsynth.pgm.neighbours import Levels, Neighbours
from dpsynth.pgm.refine import rake, thin
from dpsynth.pgm.sampling import Column, sample, told_apart
from dpsynth.standard_errors import Merged, standard_errors

if TYPE_CHECKING:
    import pandas as pd

    from dpsynth.constraints.drawing import Drawing
    from dpsynth.constraints.lawful import Lawful
    from dpsynth.constraints.steering import Balance
    from dpsynth.encode import Encoder

FORMAT = "dpsynth.model/1"


@dataclass(frozen=True)
class MarginalEstimate:
    """Estimated counts over ``columns`` and a standard error for each cell (of the measurement noise; model error is not in it).

    ``values`` and ``standard_error`` have an axis per column; ``labels`` say what its levels stand for. The unit is a row of the training
    table, or a person where persons weigh one.
    """

    columns: tuple[str, ...]
    values: npt.NDArray[np.float64]
    standard_error: npt.NDArray[np.float64]
    labels: tuple[tuple[Label, ...], ...]

    def table(self) -> pd.DataFrame:
        """The same as a table: a row per cell, with its levels, ``count`` and ``standard_error``. Missing is None."""
        import pandas as pd

        cells = list(product(*self.labels))
        levels = {name: pd.Series([cell[i] for cell in cells], dtype=object) for i, name in enumerate(self.columns)}
        return pd.DataFrame({**levels, "count": self.values.ravel(), "standard_error": self.standard_error.ravel()})


@dataclass(frozen=True)
class Refinement:
    """Marginals that rows should agree with beyond what the tree holds, as attribute positions and tables; see `dpsynth.pgm.refine`.

    At most ``copies`` rows are drawn for each one kept, and no more than ``most_drawn`` in all unless one for each takes more. More than
    ``most_rows`` rows are drawn from the tree alone.
    """

    targets: tuple[tuple[tuple[int, ...], npt.NDArray[np.float64]], ...]
    copies: int = 16
    passes: int = 2
    most_drawn: int = 900_000
    most_rows: int = 2_000_000

    def applies(self, rows: int) -> bool:
        """Whether ``rows`` rows are refined."""
        return 0 < rows <= self.most_rows

    def sample(
        self,
        beliefs: Beliefs,
        rows: int,
        rng: np.random.Generator,
        told_apart: Callable[[list[Column]], list[Column]],
        fine_sizes: Sequence[int],
    ) -> list[Column]:
        """``rows`` codes per attribute, of ``fine_sizes`` levels; ``told_apart`` turns columns of merged codes into those."""
        copies = max(1, min(self.copies, self.most_drawn // rows))
        drawn = sample(beliefs, rows * copies, rng)
        sizes = beliefs.tree.sizes
        fitted = [(axes, beliefs.target(axes)) for axes in beliefs.homes]
        outside = list(self.targets)
        inner = sorted(fitted, key=lambda item: -len(item[0]))
        weights = rake(drawn, sizes, [*outside, *inner], self.passes)
        watched = [(axes[0], axes[1]) for axes, _ in [*outside, *inner] if len(axes) == 2]
        return thin(drawn, sizes, weights, rows, rng, watched, told_apart, fine_sizes)


@dataclass(frozen=True)
class SyntheticModel:
    """A distribution over the columns of ``domain``.

    The graphical model lives on merged levels (``recoding``); ``within`` holds, per merged column, the weights by which a merged level is
    told apart again. ``total`` estimates the number of rows of the training table, or of its units where the domain has unit columns:
    then the distribution is that of a unit drawn at random and one of its rows, and samples are whole units (see `dpsynth.persons`).
    """

    synthesizer: str
    domain: Domain
    beliefs: Beliefs
    total: float
    measurements: tuple[Measurement, ...]
    transcript: Mapping[str, Any]
    recoding: Recoding = field(default_factory=lambda: Recoding({}))
    within: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    encoder: Encoder | None = None
    refinement: Refinement | None = None

    def __repr__(self) -> str:
        budget = self.transcript.get("budget", {})
        price = f"epsilon {budget['epsilon']:g}, delta {budget['delta']}, " if {"epsilon", "delta"} <= budget.keys() else ""
        counted = "units" if self.domain.unit_axes else "rows"
        return f"SyntheticModel({self.synthesizer}, {len(self.domain)} columns, {price}about {max(1, round(self.total))} {counted})"

    @cached_property
    def model_domain(self) -> Domain:
        """The domain in merged levels."""
        return self.recoding.domain(self.domain)

    @property
    def rows(self) -> int:
        """Estimated number of training rows, at least 1."""
        return max(1, round(self.total * rows_per_unit(self, self.lawful.beliefs))) if self.domain.unit_axes else max(1, round(self.total))

    def sample_codes(self, rows: int, *, seed: int | None = None, where: Mapping[str, int] | None = None) -> CodedTable:
        """``rows`` coded records; ``where`` fixes columns to codes of ``domain`` (exact under the model, not by rejection).

        Where rows come as units, whole units are drawn, so their rows are about as many as asked for: see `sample_units`.
        """
        if self.domain.unit_axes:
            return self.sample_units(rows, seed=seed, where=where).table
        if rows < 0:
            raise ConfigError(f"rows={rows} must be >= 0")
        rng = np.random.default_rng(seed)
        conditions = dict(where or {})
        beliefs = self._conditioned(conditions)
        return CodedTable(self.domain, self.draw_codes(beliefs, rows, rng, self._only(conditions), refined=not conditions))

    def draw_codes(
        self,
        beliefs: Beliefs,
        rows: int,
        rng: np.random.Generator,
        within: Mapping[str, npt.NDArray[np.float64]],
        *,
        refined: bool = False,
    ) -> dict[str, Codes]:
        """``rows`` rows from ``beliefs`` over the merged levels, in full levels; ``within`` replaces the weights inside merged levels.

        Where nothing is asked (``refined``), rows agree with more than the beliefs hold: with marginals that found no place in the tree,
        and ordered columns are told apart in step with their neighbours.
        """

        def apart(merged: list[Column]) -> list[Column]:
            if refined:
                return self._neighbours.told_apart(merged, rng)
            return [self.full_levels(name, codes, within, rng) for name, codes in zip(self.domain.names, merged, strict=True)]

        if not refined or self.refinement is None or not self.refinement.applies(rows):
            fine = apart(sample(beliefs, rows, rng))
        else:
            fine = self.refinement.sample(beliefs, rows, rng, apart, [a.size for a in self.domain])
        return {a.name: codes.astype(code_dtype(a.size), copy=False) for a, codes in zip(self.domain, fine, strict=True)}

    def full_levels(
        self,
        name: str,
        codes: Column,
        within: Mapping[str, npt.NDArray[np.float64]],
        rng: np.random.Generator,
        strata: Column | None = None,
    ) -> Column:
        """Levels of column ``name`` for its merged ``codes``, one column by itself; see `dpsynth.pgm.sampling.told_apart`."""
        levels = self.recoding.levels.get(name)
        return codes if levels is None else told_apart(codes, levels, within.get(name, self.within[name]), rng, strata)

    def sample_units(self, rows: int, *, seed: int | None = None, where: Mapping[str, int] | None = None) -> Persons:
        """Whole units with about ``rows`` rows together; with ``where`` every one of their rows fulfils it."""
        if rows < 0:
            raise ConfigError(f"rows={rows} must be >= 0")
        conditions = dict(where or {})
        return draw(self, self._conditioned(conditions), rows, np.random.default_rng(seed), self._only(conditions))

    def sample(
        self,
        rows: int | None = None,
        *,
        seed: int | None = None,
        where: Mapping[str, Any] | None = None,
        balance: Balance | None = None,
    ) -> pd.DataFrame:
        """``rows`` records as a pandas table (default: as many as the training table had, by the noisy estimate).

        Every relation that the schema declares holds in every row. ``where={"fraud": "yes", "age": {"minimum": 65}}`` draws from the
        distribution given those values. ``balance="fraud"`` gives all its values the same share, ``balance={"sex": {"f": 0.5, "m": 0.5}}``
        those shares, and leaves the rest as it is given them.
        Rows that come as persons bear a new key each, in the column of ``dp:unit.field``; rows of one person stand together.
        """
        if self.encoder is None:
            raise ConfigError("this model was fitted on coded data and has no encoder; use sample_codes")
        n = self.rows if rows is None else operator.index(rows)
        rng = np.random.default_rng(None if seed is None else [seed, 1])
        drawing = self.drawing(where, balance)
        if self.domain.unit_axes:
            persons, drawn = drawing.persons(n, seed)
            return longitudinal(self.encoder, persons, rng, drawn)
        codes, drawn = drawing.rows(n, seed)
        return self.encoder.decode(codes, rng, drawn)

    def drawing(self, where: Mapping[str, Any] | None = None, balance: Balance | None = None) -> Drawing:
        """What `sample` draws with: the model under conditions and shares, prepared once."""
        from dpsynth.constraints.drawing import Drawing

        return Drawing(self, where, balance)

    @cached_property
    def lawful(self) -> Lawful:
        """The distribution under the relations of the schema, as far as its levels show them; the model's own where none are declared."""
        from dpsynth.constraints.lawful import lawful

        return lawful(self)

    def shares_within(self, name: str) -> npt.NDArray[np.float64]:
        """The share of each level inside the merged level it belongs to; 1 where nothing is merged."""
        if name not in self.recoding.levels:
            return np.ones(self.domain[name].size)
        levels, share = self.recoding.levels[name], self.within[name]
        mass, count = np.bincount(levels, weights=share), np.bincount(levels)
        return np.where(mass[levels] > 0.0, share / np.where(mass[levels] > 0.0, mass[levels], 1.0), 1.0 / count[levels])

    def marginal(self, columns: str | Sequence[str]) -> MarginalEstimate:
        """Counts over ``columns``, in that order, with a standard error for each; ``.table()`` of it is for people."""
        names = (columns,) if isinstance(columns, str) else tuple(columns)
        values = self._full_marginal(names)
        merged = {name: Merged(self.recoding.levels[name], self.shares_within(name)) for name in names if name in self.recoding.levels}
        labels = tuple(level_labels(self.domain[name], self.encoder) for name in names)
        return MarginalEstimate(names, values, standard_errors(names, values, self.domain, self.measurements, merged), labels)

    def explain(self) -> list[dict[str, Any]]:
        """What was measured, and how noisily: one entry per measurement, strongest first."""
        seen = [{"clique": list(m.clique), "form": m.form, "stddev": m.stddev, "cells": int(m.values.size)} for m in self.measurements]
        return sorted(seen, key=lambda entry: float(str(entry["stddev"])))

    def save(self, path: str | Path) -> None:
        """Write the model to one zip file of arrays and JSON."""
        Path(path).write_bytes(self.to_bytes())

    def to_bytes(self) -> bytes:
        """The file that `save` writes; the same model gives the same bytes."""
        arrays: dict[str, npt.NDArray[Any]] = {}
        for i, table in enumerate(self.beliefs.tables):
            arrays[f"table_{i}"] = table
        for i, m in enumerate(self.measurements):
            arrays[f"measurement_{i}"] = m.values
        for i, (_, table) in enumerate(self.refinement.targets if self.refinement else ()):
            arrays[f"refine_{i}"] = table
        for i, name in enumerate(self.recoding.levels):
            arrays[f"levels_{i}"] = self.recoding.levels[name]
            arrays[f"within_{i}"] = self.within[name]
        tree = self.beliefs.tree
        meta = {
            "format": FORMAT,
            "synthesizer": self.synthesizer,
            "total": self.total,
            "domain": [vars(a) for a in self.domain],
            "tree": {"sizes": tree.sizes, "cliques": tree.cliques, "parents": tree.parents, "separators": tree.separators},
            "measurements": [{"clique": m.clique, "stddev": m.stddev, "form": m.form} for m in self.measurements],
            "refinement": None
            if self.refinement is None
            else {
                "axes": [axes for axes, _ in self.refinement.targets],
                "homes": list(self.beliefs.homes),
                "copies": self.refinement.copies,
                "passes": self.refinement.passes,
                "most_drawn": self.refinement.most_drawn,
                "most_rows": self.refinement.most_rows,
            },
            "recoded": list(self.recoding.levels),
            "transcript": self.transcript,
            "encoder": None if self.encoder is None else self.encoder.to_dict(),
        }
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            # A fixed timestamp: the same model is the same bytes.
            archive.writestr(zipfile.ZipInfo("model.json", (1980, 1, 1, 0, 0, 0)), json.dumps(meta, sort_keys=True))
            for name, array in arrays.items():
                raw = io.BytesIO()
                np.save(raw, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), raw.getvalue(), zipfile.ZIP_DEFLATED)
        return buffer.getvalue()

    # --- inside -----------------------------------------------------------------------------------------------------------------

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.domain.names)}

    @cached_property
    def _neighbours(self) -> Neighbours:
        """How columns are told apart together: by the tables of the pairs that were measured."""
        columns = [
            Levels(self.recoding.levels.get(a.name, np.arange(a.size)), self.shares_within(a.name), a.ordered, a.nullable)
            for a in self.domain
        ]
        outside = dict(self.refinement.targets) if self.refinement else {}
        pairs: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
        for m in self.measurements:
            if len(m.clique) == 2:
                axes = self._index[m.clique[0]], self._index[m.clique[1]]
                table = self.lawful.beliefs.within(axes)
                table = outside.get(axes) if table is None else table
                if table is not None:
                    pairs[axes] = table
        return Neighbours(columns, pairs)

    def _conditioned(self, conditions: Mapping[str, int]) -> Beliefs:
        if not conditions:
            return self.lawful.beliefs
        beliefs = _copied(self.lawful.beliefs, [(self._index[name],) for name in conditions if name in self.domain])
        factors: dict[tuple[int, ...], npt.NDArray[np.float64]] = {}
        for name, code in conditions.items():
            size = self.domain[name].size
            if not 0 <= code < size:
                raise ConfigError(f"where {name!r}: code must be in 0..{size - 1}")
            merged = int(self.recoding.levels[name][code]) if name in self.recoding.levels else code
            indicator = np.zeros(self.model_domain[name].size)
            indicator[merged] = 1.0
            factors[(self._index[name],)] = indicator
        beliefs.update(factors)
        if not beliefs.tables or beliefs.tables[0].sum() <= 0.0:
            raise ConfigError(f"the model gives no probability to the condition on {', '.join(conditions)}")
        return beliefs

    def _only(self, conditions: Mapping[str, int]) -> dict[str, npt.NDArray[np.float64]]:
        """Weights inside merged levels under which nothing but the conditions' own codes is drawn."""
        return {name: np.eye(1, self.domain[name].size, code)[0] for name, code in conditions.items()}

    def _full_marginal(self, names: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """Marginal over full levels: the merged marginal, each merged cell spread by the weights within."""
        attributes = [self._index[name] for name in self.domain.ordered_clique(names)]
        if not attributes:
            return np.array(self.total)
        table = _any_marginal(self.lawful.beliefs, attributes)
        for axis, a in enumerate(attributes):
            name = self.domain.names[a]
            if name in self.recoding.levels:
                levels = self.recoding.levels[name]
                inside = self.shares_within(name)
                table = np.take(table, levels, axis=axis) * inside.reshape([-1 if i == axis else 1 for i in range(table.ndim)])
        ordered = [self.domain.names[a] for a in attributes]
        return table.transpose([ordered.index(name) for name in names])


def load(path: str | Path | IO[bytes]) -> SyntheticModel:
    """Read a model written by `SyntheticModel.save`, from its path or from an open file. Opens arrays and JSON only."""
    try:
        with zipfile.ZipFile(path) as archive:
            meta = json.loads(archive.read("model.json"))
            arrays = {
                name[:-4]: np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
                for name in archive.namelist()
                if name.endswith(".npy")
            }
    except FileNotFoundError:
        raise InputError(f"model file {str(path)!r} does not exist") from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError):
        raise InputError(f"model file {str(path)!r} is not a dpsynth model") from None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise InputError(f"model file {str(path)!r} has another format; this version reads {FORMAT}")
    try:
        model = _restored(meta, arrays)
        _check_restored(model)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise InputError(f"model file {str(path)!r} is damaged: its parts do not fit together") from None
    return model


def _restored(meta: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> SyntheticModel:
    spec = meta["tree"]
    tree = JunctionTree(
        tuple(spec["sizes"]),
        tuple(map(tuple, spec["cliques"])),
        tuple(spec["parents"]),
        tuple(map(tuple, spec["separators"])),
    )
    refinement, homes = None, []
    if meta["refinement"] is not None:
        spec = meta["refinement"]
        homes = [tuple(axes) for axes in spec["homes"]]
        targets = tuple((tuple(axes), arrays[f"refine_{i}"]) for i, axes in enumerate(spec["axes"]))
        refinement = Refinement(targets, spec["copies"], spec["passes"], spec["most_drawn"], spec["most_rows"])
    beliefs = Beliefs.of_tables(tree, [arrays[f"table_{i}"] for i in range(len(tree.cliques))], meta["total"], homes)
    encoder = None
    if meta["encoder"] is not None:
        from dpsynth.encode import Encoder

        encoder = Encoder.from_dict(meta["encoder"])
    return SyntheticModel(
        synthesizer=meta["synthesizer"],
        domain=Domain(tuple(Attribute(**a) for a in meta["domain"])),
        beliefs=beliefs,
        total=meta["total"],
        measurements=tuple(
            Measurement(tuple(m["clique"]), arrays[f"measurement_{i}"], m["stddev"], m["form"]) for i, m in enumerate(meta["measurements"])
        ),
        transcript=meta["transcript"],
        recoding=Recoding({name: arrays[f"levels_{i}"] for i, name in enumerate(meta["recoded"])}),
        within={name: arrays[f"within_{i}"] for i, name in enumerate(meta["recoded"])},
        encoder=encoder,
        refinement=refinement,
    )


def _check_restored(model: SyntheticModel) -> None:
    """Refuse tables that do not fit the tree, the domain and each other, or hold something else than weights."""
    tree, domain = model.beliefs.tree, model.domain
    refined = () if model.refinement is None else model.refinement.targets
    weights = [*zip(tree.cliques, model.beliefs.tables, strict=True), *refined]
    sound = (
        math.isfinite(model.total)
        and tree.sizes == tuple(a.size for a in model.model_domain)
        and {a for clique in tree.cliques for a in clique} == set(range(len(domain)))
        and len(tree.cliques) == len(tree.parents) == len(tree.separators)
        and tree.starts_with(domain.unit_axes)
        and all(
            parent < i and (set(separator) == set(tree.cliques[i]) & set(tree.cliques[parent]) if i else parent == -1)
            for i, (parent, separator) in enumerate(zip(tree.parents, tree.separators, strict=True))
        )
        and all(t.shape == tuple(tree.sizes[a] for a in axes) and _are_weights(t) for axes, t in weights)
        and all(t.shape == (domain[name].size,) for name, t in model.recoding.levels.items())
        and all(t.shape == (domain[name].size,) and _are_weights(t) for name, t in model.within.items())
        and all(math.isfinite(m.stddev) and m.clique == domain.ordered_clique(m.clique) for m in model.measurements)
    )
    if not sound:
        raise ValueError("the parts of the model do not fit together")


def _are_weights(table: npt.NDArray[Any]) -> bool:
    return bool(table.dtype == np.float64 and np.all(np.isfinite(table)) and np.all(table >= 0.0))


def _copied(beliefs: Beliefs, targets: Sequence[tuple[int, ...]]) -> Beliefs:
    return Beliefs.of_tables(beliefs.tree, [table.copy() for table in beliefs.tables], beliefs.total, targets)


def _any_marginal(beliefs: Beliefs, attributes: list[int]) -> npt.NDArray[np.float64]:
    """Marginal over any attributes: inside a clique directly, else by joining the tree's conditionals along the way."""
    direct = beliefs.within(attributes)
    if direct is not None:
        return direct
    return beliefs.eliminated(attributes)
