"""``python -m benchmarks.audits_broken``: the membership attack on releases that keep their claim and on such that break it.

Broken are a kernel that forgets its noise, and training rows among the synthetic ones. Each is held to its claim, and other people's scores
are given the same releases, targets and reference records.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

import audits
from audits.caps import caps_for
from audits.result import AuditInput, Claim
from benchmarks.audits_attacks import DELTA, asked, scores_of, silent
from benchmarks.audits_releases import as_audited, frame_of
from benchmarks.records import Record
from benchmarks.tables import UNIT, latent_classes
from dpsynth.marginals import CodedTable
from dpsynth.privacy import Cohort, PrivacyBudget, PrivacyUnit, PrivateData
from dpsynth.privacy.noise import release_noise
from dpsynth.synthesizers import SYNTHESIZERS

ROWS, COLUMNS = 2000, 16
LEVELS, FEW_LEVELS = 50, 5
"""Many levels: the more cells are kept, the more there is to find. Where much noise is declared `mst` merges what is rare and keeps few
cells of these, so few levels for the smallest epsilon."""
SHARE = 0.5
SYNTHETIC = 4500
"""Three times as many rows as are expected to train: fewer hide what the model knows behind the chance of a sample."""
EPSILONS = (1.0, 4.0, 10.0)
_RATE = "tpr_at_fpr_0.01"

Release = Callable[[float, int], AuditInput]


def releases() -> Iterator[tuple[str, Release]]:
    """Every kind of release by name: how it is made at an epsilon with a seed."""
    for mechanism in ("mst", "adaptive", "independent"):
        yield f"`{mechanism}`", _released(mechanism, release_noise, 0.0)
    yield "`mst`, few levels", _released("mst", release_noise, 0.0, FEW_LEVELS)
    for mechanism in ("mst", "adaptive", "independent"):
        yield f"`{mechanism}`, noise switched off", _released(mechanism, silent, 0.0)
    for mechanism in ("mst", "adaptive", "independent"):
        yield f"`{mechanism}`, few levels, noise switched off", _released(mechanism, silent, 0.0, FEW_LEVELS)
    yield "`mst`, a tenth of its rows from training", _released("mst", release_noise, 0.1)
    yield "training rows alone", _released("mst", release_noise, 1.0)


def _released(mechanism: str, hook: Any, copied: float, levels: int = LEVELS) -> Release:
    def make(epsilon: float, seed: int) -> AuditInput:
        budget = PrivacyBudget(epsilon, DELTA)
        real = latent_classes(ROWS, (levels,) * COLUMNS, seed=seed)
        private = PrivateData.of_codes(real, budget, unit=PrivacyUnit(UNIT, 1, "add_remove"), cohort=Cohort(SHARE), hook=hook)
        model = SYNTHESIZERS[mechanism]().fit(private)
        made = model.sample_codes(SYNTHETIC, seed=seed)
        train = private.read_for_audit().train
        rng = np.random.default_rng(seed)
        rows = rng.permutation(made.n_rows)[: round(copied * made.n_rows)]
        taken = rng.integers(0, train.n_rows, len(rows))
        columns = {name: codes.copy() for name, codes in made.columns.items()}
        for name, codes in columns.items():
            codes[rows] = train.columns[name][taken]
        given = {**as_audited(private, made), "synthetic": frame_of(CodedTable(made.domain, columns))}
        return AuditInput(**given, claim=Claim(UNIT, 1, "add_remove", budget.rho, epsilon, DELTA), seed=seed)

    return make


def measured(data: AuditInput) -> Mapping[str, Any]:
    """What the membership audit says of a release, and the AUC and TPR of every score on the same units."""
    suite = audits.run(
        synthetic=data.synthetic, train=data.train, control=data.control, columns=data.columns, train_units=data.train_units,
        control_units=data.control_units, members=data.members, transcript=data.transcript, claim=data.claim, seed=data.seed,
        names=["membership"],
    )  # fmt: skip
    result = suite.results["membership"]
    found = result.details[_RATE]
    return {
        "verdict": str(suite.verdict), "auc": result.value, "interval": list(result.interval), "cap": result.details["auc_cap"],
        "tpr": {name: found[name] for name in ("tpr", "tpr_low", "tpr_high", "fpr", "fpr_high")},
        "scores": {name: value for name, value in scores_of(data).items() if isinstance(value, dict)},
    }  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing in ``--out``, then print one line for every kind of release and epsilon."""
    options, records = asked("audits_broken", __doc__, "broken.jsonl", argv)
    print("| release | epsilon | AUC (95 %) | cap | TPR at 1 % FPR (all) | cap | best other AUC | best other TPR | contradicted |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, make in releases():
        for epsilon in EPSILONS if not options.releases or name in options.releases else ():
            rows = [
                records.once({"release": name, "epsilon": epsilon, "repeat": repeat}, lambda: measured(make(epsilon, repeat)))  # noqa: B023
                for repeat in range(options.repeats)
            ]
            print(_line(name, epsilon, rows), flush=True)
    return 0


def _line(name: str, epsilon: float, rows: Sequence[Record]) -> str:
    """Means over the repeats; beside the AUC the interval of the release in the middle, beside the TPR the least and the greatest."""
    middle = sorted(rows, key=lambda row: row["auc"])[len(rows) // 2]
    claim = Claim(UNIT, 1, "add_remove", PrivacyBudget(epsilon, DELTA).rho, epsilon, DELTA)
    low, high = middle["interval"]
    scores = {figure: {n: [row["scores"][n][figure] for row in rows] for n in middle["scores"]} for figure in ("auc", "tpr")}
    best = {figure: max((n for n in scores[figure] if n != "ours"), key=lambda n: float(np.mean(scores[figure][n]))) for figure in scores}
    other = [f"{np.mean(scores[figure][best[figure]]):.3f} ({best[figure]})" for figure in ("auc", "tpr")]
    ours, cap = scores["tpr"]["ours"], caps_for(claim, coin=True).tpr(0.01)
    return (
        f"| {name} | {epsilon:g} | {np.mean(scores['auc']['ours']):.3f} ({low:.3f} to {high:.3f}) | {middle['cap']:.3f} | "
        f"{np.mean(ours):.3f} ({min(ours):.3f} to {max(ours):.3f}) | {cap:.3f} | {other[0]} | {other[1]} | "
        f"{sum(row['verdict'] == 'VIOLATION' for row in rows)} of {len(rows)} |"
    )


if __name__ == "__main__":
    sys.exit(main())
