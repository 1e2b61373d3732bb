"""``python -m benchmarks.false_alarms``: how often the whole suite accuses a mechanism that keeps its claim.

Each run draws a new table of nobody, fits a registered synthesizer with the kernel's own noise, and audits release and mechanism as a
release does; ``--strangers`` audits tables of other people without any claim instead, where every test is held to its level.
It can be stopped and started again: see `benchmarks.records`.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import audits
from audits import Claim, Verdict
from audits.bounds import clopper_pearson
from benchmarks.audits_releases import as_audited, columns_of, frame_of
from benchmarks.records import Records, source_digest
from benchmarks.tables import UNIT, latent_classes
from dpsynth.privacy import Cohort, PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.synthesizers import SYNTHESIZERS
from dpsynth.toy_mechanism import ToyMechanism

DELTA = 1e-6
ROWS = 1200
SIZES = (30, 2, 6, 4, 12, 3)
SHARE = 0.8
"""Of the units in the cohort: about 480 members and 480 strangers, so that every attack can be judged."""
MECHANISMS = ("mst", "independent", "adaptive")
EPSILONS = (1.0, 4.0, 10.0)
NEIGHBOURS = ("add_remove", "replace_one")
STRANGERS = "strangers"


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing up to ``--runs``, print the rate of false alarms with its exact 95 % interval; 1 if alpha is refuted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.false_alarms", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--runs", type=int, default=216)
    parser.add_argument("--tier", choices=("smoke", "standard"), default="smoke")
    parser.add_argument("--strangers", action="store_true", help="releases of other people against a control table, no claim")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    records = Records(options.out / "false-alarms.jsonl", source_digest("dpsynth", "audits"))
    settings: list[tuple[str, float | None, str]] = [(m, e, n) for n in NEIGHBOURS for e in EPSILONS for m in MECHANISMS]
    if options.strangers:
        settings = [(STRANGERS, None, "")]
    for run in range(options.runs):
        mechanism, epsilon, neighbours = settings[run % len(settings)]
        key = {"run": run, "tier": options.tier, "mechanism": mechanism, "epsilon": epsilon, "neighbours": neighbours}

        def audited(mechanism: str = mechanism, epsilon: float | None = epsilon, neighbours: str = neighbours) -> Mapping[str, Any]:
            return audit_strangers(options.tier) if epsilon is None else audit_once(mechanism, epsilon, neighbours, options.tier)

        records.once(key, audited)
    played = {mechanism for mechanism, _, _ in settings}
    rows = [row for row in records.rows if row["tier"] == options.tier and row["run"] < options.runs and row["mechanism"] in played]
    summary = summarised(rows)
    print(json.dumps(summary, indent=1))
    return int(summary["interval"][0] > summary["alpha"])


def audit_once(mechanism: str, epsilon: float, neighbours: str, tier: str) -> dict[str, Any]:
    """One release of one table, audited whole: verdicts, p-values and seconds."""
    seed = secrets.randbits(32)
    table = latent_classes(ROWS, SIZES, seed=seed)
    budget = PrivacyBudget(epsilon, DELTA)
    recipe = SYNTHESIZERS[mechanism]()
    private = PrivateData.of_codes(table, budget, unit=PrivacyUnit(UNIT, 1, neighbours), cohort=Cohort(SHARE))
    model = recipe.fit(private)
    began = time.process_time()
    suite = audits.run(
        **as_audited(private, model.sample_codes(ROWS, seed=seed)),
        claim=Claim(UNIT, 1, neighbours, budget.rho, epsilon, DELTA),
        mechanism=ToyMechanism(recipe, budget, UNIT, 1, neighbours),
        tier=tier,
        seed=seed,
        names=[name for name in audits.AUDITS if _wanted(name, tier)],
    )
    return _facts(suite, began)


def audit_strangers(tier: str) -> dict[str, Any]:
    """A release of people who have nothing to do with train, without a claim: members may stand out by nothing but luck."""
    seed = secrets.randbits(32)
    table = latent_classes(3 * ROWS, SIZES, seed=seed)
    parts = [frame_of(table.take(np.arange(k * ROWS, (k + 1) * ROWS))) for k in range(3)]
    began = time.process_time()
    suite = audits.run(
        train=parts[0], control=parts[1], synthetic=parts[2], columns=columns_of(table.domain), tier=tier, seed=seed,
        names=[name for name in audits.AUDITS if _wanted(name, tier) and "train" in audits.AUDITS[name].needs],
    )  # fmt: skip
    return _facts(suite, began)


def _facts(suite: audits.SuiteResult, began: float) -> dict[str, Any]:
    return {
        "verdict": str(suite.verdict),
        "verdicts": {name: str(result.verdict) for name, result in suite.results.items()},
        "p_values": {name: result.p_value for name, result in suite.results.items()},
        "alpha": suite.alpha,
        "cpu": time.process_time() - began,
    }


def _wanted(name: str, tier: str) -> bool:
    """Every audit of the tier but the second opinion, which is somebody else's code."""
    return tier in audits.AUDITS[name].tiers and not name.startswith("anonymeter")


def summarised(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """False alarms of the suite and of each audit, and what was inconclusive."""
    if not rows:
        raise ValueError("no run has been made")
    alarms = sum(row["verdict"] == Verdict.VIOLATION for row in rows)
    frame = pd.DataFrame([row["verdicts"] for row in rows])
    cpu = np.array([row["cpu"] for row in rows])
    return {
        "runs": len(rows),
        "false_alarms": alarms,
        "interval": list(clopper_pearson(alarms, len(rows), 0.05)),
        "alpha": rows[0]["alpha"],
        "p_values_below_0.05": {
            name: float(np.mean([row["p_values"][name] <= 0.05 for row in rows if row["p_values"][name] is not None] or [0.0]))
            for name in frame
        },
        "inconclusive_runs": int(sum(row["verdict"] == Verdict.INCONCLUSIVE for row in rows)),
        "by_audit": {name: {str(k): int(v) for k, v in frame[name].value_counts().items()} for name in frame},
        "smallest_p_value": {
            name: min((row["p_values"][name] for row in rows if row["p_values"].get(name) is not None), default=None) for name in frame
        },
        "cpu_seconds": {"median": float(np.median(cpu)), "max": float(cpu.max())},
    }


if __name__ == "__main__":
    sys.exit(main())
