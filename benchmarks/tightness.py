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
from dpsynth.privacy import PrivacyBudget
from dpsynth.synthesizers import SYNTHESIZERS
from dpsynth.toy_mechanism import ToyMechanism
from dpsynth.toy_schema import standard_schema

DELTA = 1e-6


def measured(name: str, epsilon: float, runs: int, redraws: int, max_rows: int = 1) -> str:
    """One line of the table: the whole transcript, then its Gaussian stage that is seen least well."""
    began = time.process_time()
    mechanism = ToyMechanism(SYNTHESIZERS[name](), PrivacyBudget(epsilon, DELTA), standard_schema("person", max_rows, "add_remove"))
    game = Game(mechanism, seed=0)
    draws = [draw for run in range(runs) for draw in game.play(run % 2 == 0, redraws).stages if draw.kind == "gaussian"]
    stages = {stage: [draw for draw in draws if draw.stage == stage] for stage in dict.fromkeys(draw.stage for draw in draws)}
    # A stage that only some runs have shows less than it could; what is implied is what those runs declare.
    ratios = {stage: group_bound(mine) / max(draw.declared for draw in mine) for stage, mine in stages.items() if len(mine) >= redraws}
    whole = group_bound(_together(draws, runs, redraws))
    worst = min(ratios, key=lambda stage: ratios[stage])
    implied = mechanism.claim.mu
    return (
        f"| {name} | {epsilon:g} | {implied:.3f} | {whole:.3f} | {whole / implied:.3f} | {len(ratios)} | "
        f"{ratios[worst]:.3f} ({worst}) | {runs * redraws} | {time.process_time() - began:.0f} |"
    )


def _together(draws: Sequence[StageDraw], runs: int, redraws: int) -> list[StageDraw]:
    """All Gaussian releases of a run as one: given the history they are independent, so their log ratios add up."""
    out = []
    size = len(draws) // (runs * redraws) if len(draws) % (runs * redraws) == 0 else 0
    start = 0
    while start < len(draws):
        # The stages of one run come one after the other, each with all its redraws.
        stop = start
        seen: set[str] = set()
        while stop < len(draws) and draws[stop].stage not in seen:
            seen.add(draws[stop].stage)
            stop += redraws
        blocks = [draws[at : at + redraws] for at in range(start, stop, redraws)]
        attained = math.sqrt(sum(block[0].attained ** 2 for block in blocks))
        declared = math.sqrt(sum(block[0].declared ** 2 for block in blocks))
        for parts in zip(*blocks, strict=True):
            left = sum(part.attained * part.left for part in parts) / attained
            right = sum(part.attained * part.right for part in parts) / attained
            out.append(StageDraw("all", "gaussian", left, right, attained, declared))
        start = stop
    assert size == 0 or len(out) == runs * redraws
    return out


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mechanism", nargs="+", default=["mst", "aim", "adaptive"], choices=sorted(SYNTHESIZERS))
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0, 4.0, 10.0])
    parser.add_argument("--runs", type=int, default=10, help="histories, half of them drawn on either table")
    parser.add_argument("--redraws", type=int, default=1000, help="draws of every stage in each")
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
