"""How much of the claimed privacy loss the audits really see: lower bounds on mu, per stage and end to end.

``python -m benchmarks.tightness [--mechanism NAME ...] [--epsilon E ...]`` prints the table of docs/audit-power.md. Worst-case rows of
nobody; no record is read.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence

from audits.code.games import Game, StageDraw
from audits.code.likelihood import group_bound
from audits.code.toy import Toy, worst_case_pairs
from dpsynth.privacy import PrivacyBudget
from dpsynth.schema import Field, Schema, Unit
from dpsynth.synthesizers import SYNTHESIZERS, Adaptive
from dpsynth.toy_mechanism import ToyMechanism

DELTA = 1e-6
# Six yes/no columns: what counts is the noise and the distance, and few cells are drawn fast. More than one table of `Adaptive` may hold.
_SCHEMA = Schema("toy", "nobody", Unit("person"), tuple(Field(f"c{i}", "string", categories=("no", "yes")) for i in range(6)))
_TREE_LIMIT = 32


def measured(name: str, epsilon: float, runs: int, redraws: int) -> str:
    """One line of the table: all Gaussian releases together, then the stage that is seen least well.

    Each is played on the pair of tables that moves it most, as an adversary would choose.
    """
    began = time.process_time()
    recipe = Adaptive(tree_limit=_TREE_LIMIT) if name == "adaptive" else SYNTHESIZERS[name]()
    mechanism = ToyMechanism(recipe, PrivacyBudget(epsilon, DELTA), _SCHEMA)
    game = Game(mechanism, seed=0)
    toy = Toy(tuple(mechanism.columns), None, 1)
    whole, stages = 0.0, dict[str, float]()
    for pair in worst_case_pairs(toy, "add_remove", 0):
        game.pair = pair
        trials = [[d for d in game.play(run % 2 == 0, redraws).stages if d.kind == "gaussian"] for run in range(runs)]
        whole = max(whole, group_bound([draw for trial in trials for draw in _together(trial, redraws)]))
        for stage in {draw.stage for trial in trials for draw in trial}:
            mine = [draw for trial in trials for draw in trial if draw.stage == stage]
            stages[stage] = max(stages.get(stage, 0.0), group_bound(mine) / max(draw.declared for draw in mine))
    worst = min(stages, key=lambda stage: stages[stage])
    implied = mechanism.claim.mu
    return (
        f"| {name} | {epsilon:g} | {implied:.3f} | {whole:.3f} | {whole / implied:.3f} | {len(stages)} | "
        f"{stages[worst]:.3f} ({worst}) | {runs * redraws} | {time.process_time() - began:.0f} |"
    )


def _together(trial: Sequence[StageDraw], redraws: int) -> list[StageDraw]:
    """The Gaussian releases of one run as one: given the history they are independent, so their log ratios add up."""
    stages = [trial[at : at + redraws] for at in range(0, len(trial), redraws)]
    attained = math.sqrt(sum(stage[0].attained ** 2 for stage in stages))
    declared = math.sqrt(sum(stage[0].declared ** 2 for stage in stages))
    return [
        StageDraw(
            "all", "gaussian", sum(d.attained * d.left for d in draws) / attained, sum(d.attained * d.right for d in draws) / attained,
            attained, declared,
        )
        for draws in zip(*stages, strict=True)
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mechanism", nargs="+", default=["mst", "aim", "adaptive"], choices=sorted(SYNTHESIZERS))
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0, 4.0, 10.0])
    parser.add_argument("--runs", type=int, default=4, help="histories, half of them drawn on either table")
    parser.add_argument("--redraws", type=int, default=2000, help="draws of every stage in each")
    options = parser.parse_args(argv)
    sys.stdout.write(
        "| mechanism | epsilon | mu implied | mu seen | share | Gaussian stages | least share of a stage | draws a side | CPU seconds |\n"
        "|---|---|---|---|---|---|---|---|---|\n"
    )
    for name in options.mechanism:
        for epsilon in options.epsilon:
            sys.stdout.write(measured(name, epsilon, options.runs, options.redraws) + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
