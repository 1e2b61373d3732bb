"""One measured run of the command: synthetic rows written, their error scored, the privacy claim recomposed from the transcript.

A figure whose transcript costs more than was asked is refused, not reported.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from audits.code.recomposition import recomposition
from audits.result import AuditInput, Claim, Verdict
from benchmarks.scoring import marginal_error
from benchmarks.tables import UNIT, Benchmark, coded, write_inputs
from benchmarks.usage import measure
from dpsynth.model import SyntheticModel, load
from dpsynth.privacy import PrivacyBudget
from dpsynth.synthesizers import SYNTHESIZERS

DELTA = 1e-9

FAST = "adaptive --fast"
VARIANTS: dict[str, tuple[str, ...]] = {name: ("--synthesizer", name) for name in SYNTHESIZERS} | {
    FAST: ("--synthesizer", "adaptive", "--fast")
}
"""What is measured, and how one asks the command for it."""


class RefusedFigure(RuntimeError):
    """The run failed, or its privacy claim did not hold."""


def run_trial(benchmark: Benchmark, variant: str, epsilon: float, *, limit: float = 600.0) -> dict[str, Any]:
    """Error, time, memory and recomposed cost of one ``dpsynth synth``. Noise and sampling are fresh in every call."""
    rows = benchmark.table.n_rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv, schema = write_inputs(benchmark, folder)
        out, model = folder / "synthetic.parquet", folder / "model.zip"
        budget = ["--epsilon", repr(epsilon), "--delta", repr(DELTA)]
        outputs = ["--rows", str(rows), "--out", str(out), "--model", str(model), "--json"]
        command = [sys.executable, "-m", "dpsynth", "synth", str(csv), "--schema", str(schema), *budget, *outputs, *VARIANTS[variant]]
        used = measure(command, limit)
        if used.code != 0:
            reason = f"ran past {limit:g} s" if used.code == -9 else f"exit code {used.code}: {used.stderr.strip()[-300:]}"
            raise RefusedFigure(f"{benchmark.name}, {variant}, epsilon {epsilon:g}: {reason}")
        fitted = load(model)
        priced = recompose(fitted, epsilon, DELTA)
        synthetic = coded(pd.read_parquet(out), benchmark.table.domain)
        stages = json.loads(used.stdout)["seconds"]
        cliques = [clique for clique in fitted.beliefs.tree.cliques if len(clique) > 1]
    if synthetic.n_rows != rows:
        raise RefusedFigure(f"{benchmark.name}, {variant}: {synthetic.n_rows} rows instead of {rows}")
    return {
        "data": benchmark.name,
        "rows": rows,
        "columns": len(benchmark.table.domain),
        "variant": variant,
        "epsilon": epsilon,
        "delta": DELTA,
        "e2": marginal_error(benchmark.table, synthetic, 2),
        "e3": marginal_error(benchmark.table, synthetic, 3),
        "wall": used.wall,
        "cpu": used.cpu,
        "peak_mb": used.peak_mb,
        "recomposed_epsilon": priced,
        "model_cells": int(sum(np.prod([fitted.beliefs.tree.sizes[a] for a in clique]) for clique in cliques)),
        "stages": stages,
    }


def recompose(model: SyntheticModel, epsilon: float, delta: float) -> float:
    """Epsilon that the model's own transcript costs at ``delta``; refuses more than ``epsilon``, seeded noise and watched runs."""
    noise = model.transcript["noise"]
    if noise["seeded"] or noise["observed"]:
        raise RefusedFigure("the noise was seeded or watched")
    claim = Claim(UNIT, 1, "add_remove", PrivacyBudget(epsilon, delta).rho, epsilon, delta)
    result = recomposition(AuditInput(synthetic=pd.DataFrame(), columns=(), transcript=model.transcript, claim=claim))
    if result.verdict is not Verdict.NOT_FALSIFIED or result.value is None:
        raise RefusedFigure(f"the privacy claim is {result.verdict}: {result.reason}")
    return result.value
