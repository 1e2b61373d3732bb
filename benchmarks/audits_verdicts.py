"""``python -m benchmarks.audits_verdicts``: what the release audits say of other people's kinds of generator, on twenty draws each.

Real records are drawn from the bundled tables, half to train on and half to be strangers; without a claim members may fare no worse than
strangers, and a differentially private release is held to its own claim.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import audits
from audits import Claim, Verdict
from benchmarks.audits_generators import COPYING, NOT_COPYING
from benchmarks.audits_releases import columns_of, frame_of
from benchmarks.peers import Peer, environment
from benchmarks.records import Records, source_digest
from benchmarks.tables import UNIT, bundled
from dpsynth.marginals import CodedTable
from dpsynth.privacy import PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.synthesizers import SYNTHESIZERS

DELTA = 1e-6
ROWS = 1500
"""Rows to train on, and as many strangers."""
AUDITS = ("membership", "one_run_epsilon", "singling_out", "linkability", "attribute_inference", "outliers", "exact_copies")

Made = tuple[pd.DataFrame, Claim | None]
Generator = Callable[[CodedTable, np.random.Generator], Made]

COPULAS = Peer(("copulas==0.14.1",), "copulas_model.py", ("GaussianMultivariate",))
"""The model behind SDV's GaussianCopulaSynthesizer, without SDV, which brings a deep-learning framework along."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing in ``--out``, then print the verdicts by generator."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audits_verdicts", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--tier", choices=("smoke", "standard"), default="smoke")
    parser.add_argument("--copulas", action="store_true", help="also a peer's Gaussian copula, in an environment of its own, 5 draws")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    records = Records(options.out / "verdicts.jsonl", source_digest("dpsynth", "audits"))
    chosen = generators()
    if options.copulas:
        chosen["copulas 0.14.1"] = _peer(environment("copulas", COPULAS, options.out / "peers"))
    real = bundled("sipp-401k").table
    for repeat in range(options.repeats):
        for name, generator in chosen.items():
            if name.startswith("copulas") and repeat >= 5:
                continue

            def judged(generator: Generator = generator, repeat: int = repeat) -> Mapping[str, Any]:
                return verdicts(real, generator, repeat, options.tier)

            records.once({"generator": name, "repeat": repeat, "tier": options.tier}, judged)
    for name in chosen:
        rows = [row for row in records.where(generator=name, tier=options.tier) if row["repeat"] < options.repeats]
        counts = {str(v): sum(row["verdict"] == v for row in rows) for v in Verdict}
        by_audit = {audit: sum(row["verdicts"][audit] == Verdict.VIOLATION for row in rows) for audit in AUDITS}
        print(json.dumps({"generator": name, "runs": len(rows), **counts, "violations": by_audit}))
    return 0


def generators() -> dict[str, Generator]:
    """Everything that makes a synthetic table here, by name."""
    made: dict[str, Generator] = {name: _plain(make) for name, make in (COPYING | NOT_COPYING).items()}
    for mechanism in ("mst", "adaptive"):
        for epsilon in (1.0, 4.0):
            made[f"{mechanism}, epsilon {epsilon:g}"] = _private(mechanism, epsilon)
    return made


def verdicts(real: CodedTable, generator: Generator, seed: int, tier: str) -> dict[str, Any]:
    """The suite's answers about one release."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(real.n_rows)
    train, control = real.take(order[:ROWS]), real.take(order[ROWS : 2 * ROWS])
    synthetic, claim = generator(train, rng)
    suite = audits.run(
        train=frame_of(train), control=frame_of(control), synthetic=synthetic, columns=columns_of(real.domain), claim=claim,
        tier=tier, seed=seed, names=[name for name in AUDITS if tier in audits.AUDITS[name].tiers],
    )  # fmt: skip
    found = {name: str(result.verdict) for name, result in suite.results.items()}
    return {"verdict": str(suite.verdict), "verdicts": {name: found.get(name) for name in AUDITS}}


def _plain(make: Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]) -> Generator:
    return lambda train, rng: (make(frame_of(train), rng), None)


def _private(mechanism: str, epsilon: float) -> Generator:
    def generate(train: CodedTable, rng: np.random.Generator) -> Made:
        budget = PrivacyBudget(epsilon, DELTA)
        private = PrivateData.of_codes(train, budget, unit=PrivacyUnit(UNIT, 1, "add_remove"))
        model = SYNTHESIZERS[mechanism]().fit(private)
        made = model.sample_codes(train.n_rows, seed=int(rng.integers(2**31)))
        return frame_of(made), Claim(UNIT, 1, "add_remove", budget.rho, epsilon, DELTA)

    return generate


def _peer(python: Path) -> Generator:
    def generate(train: CodedTable, rng: np.random.Generator) -> Made:
        with tempfile.TemporaryDirectory() as name:
            csv, out = Path(name) / "real.csv", Path(name) / "synthetic.csv"
            pd.DataFrame(dict(train.columns)).to_csv(csv, index=False)
            script = Path(__file__).with_name("peer_scripts") / COPULAS.script
            subprocess.run([str(python), str(script), str(csv), str(rng.integers(2**31)), str(out)], check=True, capture_output=True)
            codes = pd.read_csv(out)
        # What is drawn is continuous: the nearest code of the domain.
        columns = {a.name: np.clip(np.round(codes[a.name]), 0, a.size - 1).astype(np.int64) for a in train.domain}
        return frame_of(CodedTable(train.domain, {name: values.to_numpy() for name, values in columns.items()})), None

    return generate


if __name__ == "__main__":
    sys.exit(main())
