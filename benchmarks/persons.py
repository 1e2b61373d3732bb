"""``python -m benchmarks.persons``: each row counts one, or each person does; error on tables whose persons have several rows.

The bundled person-years (at most 5 rows a person), and a generated table in which few people have up to 40 rows. The error is the mean
total variation of all pairs of columns, over rows, and over persons (a person's rows share the weight one) where there are persons to see.
"""

from __future__ import annotations

import argparse
import itertools
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from dpsynth import Adaptive, PrivacyBudget, PrivateData, Schema, datasets

_STATIC = (
    "site", "coinsurance", "individual_deductible", "baseline_physical", "sex", "black", "education", "income", "health", "chronic",
    "limitation", "mental_health", "general_health",
)  # fmt: skip
_PERSONS = 20_000


def person_years() -> tuple[pd.DataFrame, dict[str, Any]]:
    """The bundled table and its schema."""
    return pd.read_csv(datasets.path("rand-hie"), dtype=str), json.loads(datasets.schema_path("rand-hie").read_text(encoding="utf-8"))


def visits(seed: int) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Made-up visits: a chronic tenth comes up to 40 times and is treated otherwise; cost and ward depend on age and sex."""
    rng = np.random.default_rng(seed)
    chronic = rng.random(_PERSONS) < 0.1
    rows = np.where(chronic, rng.integers(8, 41, _PERSONS), rng.geometric(0.6, _PERSONS).clip(1, 40))
    who = np.repeat(np.arange(_PERSONS), rows)
    age, sex = rng.integers(0, 8, _PERSONS), rng.integers(0, 2, _PERSONS)
    ward = (age[who] + 4 * chronic[who] + rng.integers(0, 4, len(who))) % 10
    cost = np.clip(ward + 3 * sex[who] + rng.integers(0, 5, len(who)), 0, 15)
    day = rng.integers(0, 12, len(who))
    table = pd.DataFrame({"who": who, "age": age[who], "sex": sex[who], "ward": ward, "cost": cost, "day": day}).astype(str)
    levels = {"age": 8, "sex": 2, "ward": 10, "cost": 16, "day": 12}
    fields: list[dict[str, Any]] = [{"name": "who", "type": "string", "dp:role": "identifier"}]
    fields += [{"name": name, "type": "string", "categories": [str(i) for i in range(size)]} for name, size in levels.items()]
    return table, {"dp:dataset": {"id": "visits", "population": "nobody"}, "dp:unit": {"name": "person", "field": "who"}, "fields": fields}


def declared(schema: dict[str, Any], weights: str, max_rows: int, static: tuple[str, ...]) -> Schema:
    """The schema with this way of counting."""
    fields = [{**f, "dp:static": True} if weights == "person" and f["name"] in static else f for f in schema["fields"]]
    return Schema.from_dict({**schema, "fields": fields, "dp:unit": {**schema["dp:unit"], "maxRows": max_rows, "weights": weights}})


def shares(table: pd.DataFrame, key: str | None, weigh: bool, edges: dict[str, npt.NDArray[Any]]) -> list[npt.NDArray[np.float64]]:
    """Shares of the cells of every pair of columns, numbers in the bins of ``edges``."""
    codes = {}
    for name, cuts in edges.items():
        if cuts.dtype.kind == "f":
            values = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
            codes[name] = np.where(np.isnan(values), len(cuts) + 1, np.searchsorted(cuts, values, side="right"))
        else:
            codes[name] = pd.Categorical(table[name].astype(str).str.lower(), categories=cuts).codes.astype(np.int64) + 1
    weight = 1.0 / table.groupby(key)[key].transform("size").to_numpy(dtype=np.float64) if weigh and key else np.ones(len(table))
    found = []
    for a, b in itertools.combinations(codes, 2):
        counts = np.bincount(codes[a] * 64 + codes[b], weight, minlength=4096)
        found.append(counts / counts.sum())
    return found


def edges_of(table: pd.DataFrame, schema: Schema) -> dict[str, npt.NDArray[Any]]:
    """Deciles of the real numbers, and the declared categories: a ruler for the score alone."""
    found: dict[str, npt.NDArray[Any]] = {}
    for field in schema.modelled:
        if field.has_bounds:
            values = pd.to_numeric(table[field.name], errors="coerce").dropna().to_numpy(dtype=np.float64)
            found[field.name] = np.unique(np.quantile(values, np.arange(0.1, 1.0, 0.1)))
        else:
            found[field.name] = np.array([level.lower() for level in field.levels], dtype=object)
    return found


def error(real: list[npt.NDArray[np.float64]], made: list[npt.NDArray[np.float64]]) -> float:
    return float(np.mean([0.5 * np.abs(a - b).sum() for a, b in zip(real, made, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.persons", description=__doc__)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[0.5, 1.0, 4.0])
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    years, years_schema = person_years()
    made_up, made_up_schema = visits(0)
    cases = [("person-years", years, years_schema, 5, _STATIC), ("visits", made_up, made_up_schema, 40, ("age", "sex"))]
    print("table         epsilon  weights  pairs over rows  pairs over persons")
    for (label, table, schema, max_rows, static), epsilon in itertools.product(cases, args.epsilon):
        key = schema["dp:unit"]["field"]
        for weights in ("rows", "person"):
            kind = declared(schema, weights, max_rows, static)
            edges = edges_of(table, kind)
            rows, persons = [], []
            for seed in range(args.runs):
                private = PrivateData.read(table, kind, PrivacyBudget(epsilon, 1e-6))
                made = Adaptive().fit(private).sample(len(table), seed=seed)
                owner = key if weights == "person" else None
                rows.append(error(shares(table, None, False, edges), shares(made, None, False, edges)))
                if owner is not None:
                    persons.append(error(shares(table, key, True, edges), shares(made, owner, True, edges)))
            mean = f"{np.mean(persons):.4f}" if persons else "-"
            print(f"{label:13} {epsilon:7g}  {weights:7}  {np.mean(rows):15.4f}  {mean:>18}", flush=True)


if __name__ == "__main__":
    main()
