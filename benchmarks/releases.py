"""``python -m benchmarks.releases --data NAME=PATH``: real tables on schemas from their codebooks, measured against the floor of the noise.

NAME is that of a schema in ``examples/``. One run is one ``dpsynth synth`` in a process of its own; with ``--policy``, a release too.
Two floors of a column's Wasserstein distance are computed from the real records, without privacy:
*fresh*, as many rows drawn from the real table again; *noise*, the real rows weighted so that each bin holds what noise makes of its count.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.k_marginal import k_marginal
from benchmarks.usage import ROOT, measure
from dpsynth.encode import Encoded, Encoder
from dpsynth.model import SyntheticModel, load
from dpsynth.privacy.unit import bounded_rows
from dpsynth.schema import Schema
from dpsynth.sources import open_source
from dpsynth.synthesizers.one_way import on_simplex

_DRAWS = 10
# A missing rate further off than this many standard deviations of noise and sampling is told.
_SIGMAS = 4.0
DEMOGRAPHIC = ("AGEP", "SEX", "MSP", "RAC1P", "HOUSING_TYPE", "OWN_RENT", "EDU", "PINCP_DECILE", "DVET", "DEYE")
"""The columns of the releases "demographic-focused" in NIST's archive."""
ARCHIVE = {"AIM (smartnoise-synth), epsilon 1": 976, "MST (smartnoise-synth), epsilon 1": 958}
"""Their k-marginal scores on the national excerpt of 27,253 records: SDNist repository, sample-reports/acs_excerpt_reports."""
_CONTINUOUS = ("AGEP", "DENSITY", "PINCP", "POVPIP", "PWGTP", "WGTP")


@dataclass(frozen=True)
class Distance:
    """Wasserstein distance of one numeric column from the real one, in units of the column, and its two floors."""

    column: str
    measured: float
    fresh: float
    noise: float

    @property
    def ratio(self) -> float:
        """Over the larger floor; below 2 is the goal. 1 where everything is 0."""
        floor = max(self.fresh, self.noise)
        return self.measured / floor if floor > 0.0 else (1.0 if self.measured == 0.0 else float("inf"))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure each table and print the figures as JSON lines; 1 if a run failed or a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.releases", description=__doc__)
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="a table; NAME.schema.json is in examples/")
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--delta", type=float, default=1e-6)
    parser.add_argument("--synthesizer", default="auto")
    parser.add_argument("--policy", help="also release under this policy, and print the verdict")
    parser.add_argument("--limit", type=float, default=1200.0, help="seconds after which a run is given up")
    options = parser.parse_args(argv)
    missed = False
    for item in options.data:
        name, _, path = item.partition("=")
        figures = run(name, Path(path).resolve(), options)
        print(json.dumps(figures), flush=True)
        missed |= bool(figures["code"]) or bool(figures.get("beyond")) or bool(figures.get("missing_beyond"))
    return int(missed)


def run(name: str, data: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One table: exit codes, time, memory, distances, missing rates and, for NIST's excerpt, scores."""
    schema_path = ROOT / "examples" / f"{name}.schema.json"
    schema = Schema.read(schema_path)
    price = ["--schema", str(schema_path), "--epsilon", repr(options.epsilon), "--delta", repr(options.delta), "--json"]
    price += ["--synthesizer", options.synthesizer]
    with tempfile.TemporaryDirectory() as folder:
        out, model = Path(folder) / "rows.parquet", Path(folder) / "model.zip"
        command = [sys.executable, "-m", "dpsynth", "synth", str(data), *price, "--out", str(out), "--model", str(model)]
        used = measure(command, options.limit)
        figures: dict[str, Any] = {"data": name, "epsilon": options.epsilon, "code": used.code, "cpu": used.cpu, "peak_mb": used.peak_mb}
        if used.code:
            return {**figures, "error": used.stderr.strip()[-400:]}
        figures |= {"synthesizer": json.loads(used.stdout)["synthesizer"], **_compared(schema, data, pd.read_parquet(out), load(model))}
        if options.policy:
            bundle = Path(folder) / "bundle"
            command = [sys.executable, "-m", "dpsynth", "release", str(data), *price, "--policy", options.policy, "--out", str(bundle)]
            released = measure([*command, "--ledger", str(Path(folder) / "l.ledger")], options.limit)
            figures |= {"release_code": released.code, "release_cpu": released.cpu}
    return figures


def _compared(schema: Schema, data: Path, synthetic: pd.DataFrame, model: SyntheticModel) -> dict[str, Any]:
    encoder = model.encoder
    assert encoder is not None
    coded = _bounded(encoder, data)
    real = Encoder(schema).canonical(coded.codes)
    noise = {m.clique[0]: m for m in model.measurements if len(m.clique) == 1 and m.form == "marginal"}
    bins = encoder.bin(coded.codes).columns
    distances = [
        distance(f.name, real[f.name], synthetic[f.name], bins[f.name], _middles(encoder, f.name), noise[f.name].stddev)
        for f in schema.modelled
        if f.type in ("integer", "number")
    ]
    figures = {
        "rows": len(real),
        "synthetic_rows": len(synthetic),
        "wasserstein": {d.column: [round(d.measured, 4), round(d.fresh, 4), round(d.noise, 4), round(d.ratio, 2)] for d in distances},
        "beyond": [d.column for d in distances if d.ratio > 2.0],
        **_missing(schema, real, synthetic, {name: m.stddev for name, m in noise.items()}),
    }
    if "PUMA" in real:
        plain = _plain(synthetic[list(real.columns)])
        figures["k_marginal"] = round(k_marginal(_plain(real), plain, "PUMA", [c for c in _CONTINUOUS if c in real]), 1)
        some = [name for name in DEMOGRAPHIC if name in real]
        figures["k_marginal_demographic"] = round(k_marginal(_plain(real[some]), plain[some], None, ["AGEP"]), 1)
        figures["archive"] = ARCHIVE
    return figures


def _bounded(encoder: Encoder, data: Path) -> Encoded:
    """The rows that a release counts: at most maxRows of each unit."""
    coded = encoder.encode(open_source(data, encoder.columns))
    if coded.units is None:
        return coded
    return coded.take(bounded_rows(coded.units, encoder.schema.unit.max_rows, 0))


def distance(
    name: str,
    real: pd.Series,
    synthetic: pd.Series,
    bins: npt.NDArray[np.unsignedinteger[Any]],
    middles: npt.NDArray[np.float64],
    stddev: float,
    seed: int = 0,
) -> Distance:
    """Measured distance and floors; ``bins`` are the real rows' codes in the model, ``stddev`` the noise of their counts.

    Records that noise puts into an empty bin lie in its middle, of which ``middles`` has one for each.
    """
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(seed)
    there = real.notna().to_numpy()
    values = real[there].to_numpy(dtype=np.float64)
    made = synthetic.dropna().to_numpy(dtype=np.float64)
    codes = bins[there].astype(np.int64)
    counts = np.bincount(codes, minlength=len(middles)).astype(np.float64)
    empty = np.flatnonzero(counts == 0.0)
    places = np.concatenate([values, middles[empty]])
    fresh, noisy = [], []
    for _ in range(_DRAWS):
        fresh.append(wasserstein_distance(values, rng.choice(values, len(values))))
        measured = on_simplex(counts + rng.normal(0.0, stddev, counts.shape), counts.sum())
        each = measured / np.where(counts > 0.0, counts, 1.0)
        noisy.append(wasserstein_distance(values, places, v_weights=np.concatenate([each[codes], measured[empty]])))
    return Distance(name, float(wasserstein_distance(values, made)), float(np.mean(fresh)), float(np.mean(noisy)))


def _middles(encoder: Encoder, name: str) -> npt.NDArray[np.float64]:
    """The value in the middle of each bin of a column."""
    bins = encoder.domain[name].size - encoder.domain[name].nullable
    codes = {a.name: np.arange(bins) if a.name == name else np.zeros(bins, dtype=np.int64) for a in encoder.domain}
    return encoder.decode({key: column.astype(np.uint32) for key, column in codes.items()})[name].to_numpy(dtype=np.float64)


def _missing(schema: Schema, real: pd.DataFrame, synthetic: pd.DataFrame, stddev: Mapping[str, float]) -> dict[str, Any]:
    """Largest difference of missing rates, and the columns whose difference is more than noise and sampling explain."""
    n = len(real)
    worst, beyond = 0.0, []
    for field in schema.modelled:
        p, q = float(real[field.name].isna().mean()), float(synthetic[field.name].isna().mean())
        spread = (stddev[field.name] ** 2 + n * p * (1.0 - p)) ** 0.5 / n
        worst = max(worst, abs(p - q))
        if abs(p - q) > _SIGMAS * spread + 1.0 / n:
            beyond.append(field.name)
    return {"missing_worst": round(worst, 5), "missing_beyond": beyond}


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    """Categories as text, numbers as numbers, so that both sides have the same types."""
    return pd.DataFrame(
        {
            name: pd.to_numeric(column, errors="coerce").astype("float64")
            if pd.api.types.is_numeric_dtype(column)
            else column.astype(object)
            for name, column in table.items()
        }
    )


if __name__ == "__main__":
    sys.exit(main())
