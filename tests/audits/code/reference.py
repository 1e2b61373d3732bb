"""A small correct mechanism that shows all its releases to the hook, and variants of it with one planted defect each.

Noisy total, noisy one-way tables in one vector, two selections of a pair by the exponential mechanism, and the
selected pairs' tables.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from audits.result import Claim, Column, Hook

COLUMNS = (
    Column("age", "ordered", "quasi", minimum=0.0, maximum=80.0),
    Column("sex", "categorical", "quasi", categories=("f", "m")),
    Column("region", "categorical", "quasi", nullable=True, categories=("north", "east", "south", "west")),
    Column("cost", "ordered", "sensitive", nullable=True, minimum=-1.0, maximum=1.5),
)
BINS = 8

DEFECTS = (
    "half_noise",  # noise of half the declared stddev
    "half_noise_in_one_stage",
    "no_noise_in_one_stage",
    "sensitivity_without_k",  # a person's k rows counted as one, everywhere
    "scores_without_k",
    "unbounded_units",  # nothing cuts a person's 40 rows
    "categories_from_data",
    "bounds_from_data",
    "exception_on_nan",
    "exception_on_infinity",
    "nan_bypasses_clip",  # a NaN score reaches the exact answers
    "same_seed_each_measurement",
    "same_seed_each_run",
    "one_draw_for_all_cells",
    "no_noise_on_empty_cells",
    "absolute_noise",
    "truncated_noise",
    "float_noise",
    "stops_on_true_answers",
    "n_from_data",
    "stddev_from_n",  # noise scale divided by the true n
    "rho_from_half_epsilon",  # rho = epsilon^2/16 for a selection
    "monotonic_selection",  # selection four times sharper than declared
    "uncharged_preprocessing",
    "overspends",
    "replace_one_with_add_remove_sensitivity",
    "artefact_quotes_a_record",
    "null_keys_are_units",
)
# Not defects: rounding and clipping of noisy answers, more noise than declared, seeded sampling from the model.
NON_DEFECTS = ("rounds_noisy_counts", "double_noise", "clips_noisy_counts")


def release(event: Mapping[str, Any], exact: np.ndarray, draw: Callable[[], Any]) -> Any:
    return draw()


def discrete_gaussian(rng: np.random.Generator, stddev: float, size: int) -> np.ndarray:
    """Exact up to float: inversion of the tabulated discrete law."""
    reach = math.ceil(12.0 * stddev) + 1
    support = np.arange(-reach, reach + 1)
    cumulated = np.cumsum(np.exp(-0.5 * (support / stddev) ** 2))
    return support[np.searchsorted(cumulated / cumulated[-1], rng.random(size), side="right").clip(0, 2 * reach)]


def claim(rho: float = 0.2, max_rows: int = 3, neighbours: str = "add_remove") -> Claim:
    from audits.profiles import zcdp_epsilon

    return Claim("person", max_rows, neighbours, rho, zcdp_epsilon(rho, 1e-6), 1e-6)


@dataclass
class Reference:
    """``defect`` None is the correct mechanism. ``seed`` makes tests repeatable; the noise differs from run to run."""

    claim: Claim
    defect: str | None = None
    unit_field: str | None = "person"
    columns: Sequence[Column] = COLUMNS
    seed: int = 0
    name: str = "reference"
    rounds: int = 2
    runs: int = field(default=0, init=False)

    def __call__(self, table: pd.DataFrame, hook: Hook | None = None) -> Mapping[str, bytes]:
        self.runs += 1
        self._rng = np.random.default_rng(1 if self.defect == "same_seed_each_run" else [self.seed, self.runs])
        self._hook: Hook = release if hook is None else hook
        return self._fit(table)

    # --- reading

    def _encode(self, table: pd.DataFrame) -> tuple[list[np.ndarray], list[int]]:
        codes, sizes = [], []
        for column in self.columns:
            values = table[column.name]
            if column.kind == "ordered":
                numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
                if self.defect == "exception_on_nan" and not column.nullable and np.isnan(numbers).any():
                    raise ValueError("missing value")
                if self.defect == "exception_on_infinity" and np.isinf(numbers).any():
                    raise OverflowError("infinite value")
                low, high = float(column.minimum or 0.0), float(column.maximum or 0.0)
                if self.defect == "bounds_from_data" and np.isfinite(numbers).any():
                    finite = numbers[np.isfinite(numbers)]
                    low, high = float(finite.min()), float(finite.max()) + 1e-9
                with np.errstate(over="ignore", invalid="ignore"):
                    place = np.floor((np.clip(numbers, low, high) - low) / (high - low) * BINS)
                coded = np.where(np.isnan(place), BINS, np.minimum(place, BINS - 1)).astype(np.int64)
                size = BINS + 1
            else:
                names = list(column.categories or ())
                if self.defect == "categories_from_data":
                    names = sorted({value for value in values if isinstance(value, str)})
                known = {value: i for i, value in enumerate(names)}
                coded = np.array([known.get(v, len(names)) if isinstance(v, str) else len(names) for v in values], dtype=np.int64)
                size = len(names) + 1
            codes.append(coded)
            sizes.append(size)
        return codes, sizes

    def _bounded(self, table: pd.DataFrame) -> pd.DataFrame:
        if self.unit_field is None or self.defect == "unbounded_units":
            return table
        key = self._hook(
            {"kind": "coins", "stage": "bounding", "rho": 0.0},
            np.zeros(0, dtype=np.int64),
            lambda: int(self._rng.integers(1 << 62)),
        )
        keys = table[self.unit_field]
        if self.defect == "null_keys_are_units":
            keys = pd.Series([f"row{i}" if k is None else k for i, k in enumerate(keys)], dtype=object)
        order = np.random.default_rng(key).permutation(len(table))
        ranks = keys.iloc[order].groupby(keys.iloc[order], dropna=False, sort=False).cumcount().sort_index().to_numpy()
        return table[ranks < self.claim.max_rows] if len(table) else table

    # --- releasing

    def _unit_factor(self, stage: str) -> float:
        if self.unit_field is None or self.defect == "sensitivity_without_k":
            return 1.0
        return 1.0 if self.defect == "scores_without_k" and stage == "select" else float(self.claim.max_rows)

    def _gaussian(
        self,
        stage: str,
        cliques: list[list[str]],
        forms: list[str],
        shapes: list[list[int]],
        exact: np.ndarray,
        rho: float,
    ) -> np.ndarray:
        move = math.sqrt(2.0) if self.claim.neighbours == "replace_one" and forms != ["total"] else 1.0
        if self.defect == "replace_one_with_add_remove_sensitivity":
            move = 1.0
        sensitivity = self._unit_factor(stage) * move * math.sqrt(len(cliques))
        stddev = sensitivity / math.sqrt(2.0 * rho)
        if self.defect == "stddev_from_n":
            stddev *= 1.0 + 1.0 / (1.0 + self._n)
        event = {
            "kind": "gaussian", "stage": stage, "cliques": cliques, "shapes": shapes, "forms": forms,
            "cells": int(exact.size), "scale": 1, "l2_sensitivity": sensitivity, "stddev": stddev, "rho": rho,
        }  # fmt: skip
        return np.asarray(self._hook(event, exact, lambda: exact + self._noise(stage, exact, stddev)))

    def _noise(self, stage: str, exact: np.ndarray, stddev: float) -> np.ndarray:
        rng = np.random.default_rng(5 + self.runs) if self.defect == "same_seed_each_measurement" else self._rng
        one_stage = stage == "pairs"
        if self.defect == "half_noise" or (self.defect == "half_noise_in_one_stage" and one_stage):
            stddev /= 2.0
        if self.defect == "double_noise":
            stddev *= 2.0
        if self.defect == "no_noise_in_one_stage" and one_stage:
            return np.zeros(exact.shape, dtype=np.int64)
        if self.defect == "float_noise":
            return rng.normal(0.0, stddev, exact.shape)
        noise = discrete_gaussian(rng, stddev, exact.size)
        if self.defect == "one_draw_for_all_cells":
            noise[:] = noise[0]
        if self.defect == "no_noise_on_empty_cells":
            noise[exact == 0] = 0
        if self.defect == "absolute_noise":
            noise = np.abs(noise)
        if self.defect == "truncated_noise":
            noise = noise.clip(-math.ceil(1.5 * stddev), math.ceil(1.5 * stddev))
        return noise

    def _select(self, scores: np.ndarray, rho: float) -> int:
        sensitivity = self._unit_factor("select") * (2.0 if self.claim.neighbours == "replace_one" else 1.0)
        epsilon = math.sqrt(8.0 * rho)
        sharpness = 4.0 if self.defect == "monotonic_selection" else 1.0
        event = {
            "kind": "exponential", "stage": "select", "candidates": int(scores.size), "score_sensitivity": sensitivity,
            "epsilon": epsilon * (math.sqrt(2.0) if self.defect == "rho_from_half_epsilon" else 1.0), "rho": rho,
        }  # fmt: skip
        rate = sharpness * float(event["epsilon"]) / (2.0 * sensitivity)
        return int(self._hook(event, scores, lambda: int(np.argmax(rate * scores + self._rng.gumbel(size=scores.size)))))

    def _fit(self, table: pd.DataFrame) -> dict[str, bytes]:
        table = self._bounded(table)
        self._n = len(table)
        codes, sizes = self._encode(table)
        names = [column.name for column in self.columns]
        rho = self.claim.rho
        public_total = self.claim.neighbours == "replace_one" and self.unit_field is None
        ones = [np.bincount(c, minlength=s).astype(np.int64) for c, s in zip(codes, sizes, strict=True)]
        pairs = [(i, j) for i in range(len(names)) for j in range(i)]

        total = float(self._n) if public_total else float(self._gaussian("total", [[]], ["total"], [[]], np.array([self._n]), 0.1 * rho)[0])
        one_way = self._gaussian(
            "one_way",
            [[n] for n in names],
            ["marginal"] * len(names),
            [[s] for s in sizes],
            np.concatenate(ones),
            0.5 * rho,
        )
        if self.defect == "uncharged_preprocessing":
            self._gaussian("peek", [[names[0]]], ["marginal"], [[sizes[0]]], ones[0], 0.3 * rho)
        if self.defect == "rounds_noisy_counts":
            one_way = np.rint(one_way / 5.0) * 5.0
        if self.defect == "clips_noisy_counts":
            one_way = one_way.clip(0)
        edges = np.cumsum(sizes)[:-1]
        shares = [np.maximum(part, 0.5) / np.maximum(part, 0.5).sum() for part in np.split(np.asarray(one_way, dtype=np.float64), edges)]

        tables = []
        for _ in range(self.rounds):
            exact_pairs = [np.bincount(codes[i] * sizes[j] + codes[j], minlength=sizes[i] * sizes[j]).astype(np.int64) for i, j in pairs]
            model = [np.rint(max(total, 0.0) * np.outer(shares[i], shares[j]).ravel()) for i, j in pairs]
            scores = np.array([float(np.abs(e - m).sum()) for e, m in zip(exact_pairs, model, strict=True)])
            if self.defect == "nan_bypasses_clip" and table["age"].isna().any():
                scores[0] = np.nan
            if self.defect == "stops_on_true_answers" and scores.max(initial=0.0) < 1.2 * max(total, 0.0):
                break
            share = 0.4 if self.defect == "overspends" else 0.2
            i, j = pairs[self._select(scores, 0.05 * rho)]
            noisy = self._gaussian(
                "pairs",
                [[names[i], names[j]]],
                ["marginal"],
                [[sizes[i], sizes[j]]],
                exact_pairs[pairs.index((i, j))],
                (share - 0.05) * rho,
            )
            tables.append([i, j, *np.asarray(noisy, dtype=np.float64).tolist()])

        n_rows = self._n if self.defect == "n_from_data" else max(0, round(total))
        sampler = np.random.default_rng(0)
        rows = np.stack([sampler.choice(s, size=min(n_rows, 2000), p=share) for s, share in zip(sizes, shares, strict=True)])
        model_json = {"total": total, "shares": [s.tolist() for s in shares], "tables": tables, "sizes": sizes}
        if self.defect == "artefact_quotes_a_record":
            model_json["example"] = str(table.iloc[-1].tolist()) if len(table) else ""
        return {"model.json": json.dumps(model_json).encode(), "rows": rows.astype(np.int64).tobytes()}


def transcript(mechanism: Reference, table: pd.DataFrame) -> dict[str, Any]:
    """What a kernel would write of one run, domain included."""
    from audits.code.recorder import Recorder

    recorder = Recorder()
    mechanism(table, recorder)
    events = []
    for call in recorder.calls:
        if call.kind == "coins":
            continue
        event = dict(call.event)
        if call.kind == "exponential":
            event["selected"] = call.output
        events.append(event)
    c = mechanism.claim
    sizes = [BINS + 1 if column.kind == "ordered" else len(column.categories or ()) + 1 for column in mechanism.columns]
    return {
        "$schema": "dpsynth.transcript/1",
        "unit": {
            "name": c.unit,
            "max_rows": c.max_rows,
            "neighbours": c.neighbours,
            "bounded_by": "uniform sample of at most max_rows rows per unit",
        },
        "budget": {"epsilon": c.epsilon, "delta": repr(c.delta), "rho": c.rho},
        "noise": {"source": "test", "seeded": False, "observed": False},
        "domain": [
            {"name": column.name, "size": size, "ordered": column.kind == "ordered", "provenance": "declared"}
            for column, size in zip(mechanism.columns, sizes, strict=True)
        ],
        "events": events,
    }
