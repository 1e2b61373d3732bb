"""How much of the claimed privacy loss the audits really see: lower bounds on mu, per stage and end to end.

``python -m benchmarks.tightness [--mechanism NAME ...] [--epsilon E ...]`` prints the table of docs/audit-power.md. Worst-case rows of
nobody; no record is read. The noise is the kernel's own, drawn in bulk.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.optimize import brentq
from scipy.special import ndtr

from audits.bounds import upper_bound
from audits.code.likelihood import group_units, mu_bound, wrong_guesses
from audits.code.recorder import Call, Recorder, Replayer, observe
from audits.code.residuals import selection_log_probabilities
from audits.code.toy import Toy
from dpsynth.privacy import PrivacyBudget, noise
from dpsynth.schema import Field, Schema, Unit
from dpsynth.synthesizers import SYNTHESIZERS, Adaptive
from dpsynth.toy_mechanism import ToyMechanism

Floats = npt.NDArray[np.float64]
Tables = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]

DELTA = 1e-6
# Six yes/no columns: what counts is the noise and the distance, and few cells are drawn fast. More than one table of `Adaptive` may hold.
_COLUMNS = 6
_SCHEMA = Schema("toy", "nobody", Unit("person"), tuple(Field(f"c{i}", "string", categories=("no", "yes")) for i in range(_COLUMNS)))
_TREE_LIMIT = 32
_CROWD = 2000


@dataclass(frozen=True)
class Draws:
    """One stage, drawn afresh on both tables under one history: log likelihood ratios, and what their law is.

    ``attained`` is the Gaussian-DP mu of one unit by the distance between the exact answers, ``declared`` by the declared sensitivity;
    both 0 for a selection. ``noise`` is the noise along that unit's distance, standardised.
    """

    stage: str
    left: Floats
    right: Floats
    attained: float = 0.0
    declared: float = 0.0
    noise: tuple[Floats, Floats] | None = None


@dataclass(frozen=True)
class Found:
    """Bounds (95 %) on mu as shares of what is declared: all releases together, and each Gaussian stage."""

    implied: float
    whole: float
    stages: Mapping[str, float]
    attained: Mapping[str, float]
    selections: float


def worst_case(mechanism: ToyMechanism, units: int) -> Tables:
    """Two tables that differ in ``units`` units, which say yes to everything, and one between them with a single unit of these.

    Half of the others follow one pattern or its opposite (three columns one way, three the other), so that all pairs of columns are
    equally far from independence, some above it and some below in the cell that the units add to. Then the scores of all candidates are
    about equal, and some rise where others fall: what a selection leaks is largest.
    """
    toy = Toy(tuple(mechanism.columns), None, 1)
    words = ("no", "yes")
    pattern = [i < _COLUMNS // 2 for i in range(_COLUMNS)]
    rows = []
    for i in range(_CROWD):
        flags = [(i // 4 >> j) % 2 == 1 for j in range(_COLUMNS)] if i % 4 > 1 else [one == (i % 4 == 0) for one in pattern]
        rows.append((f"u{i}", [[words[flag] for flag in flags]]))
    target = [(f"t{i}", [["yes"] * _COLUMNS]) for i in range(units)]
    return toy.frame([*rows, *target]), toy.frame(rows), toy.frame([*rows, target[0]])


def measured(mechanism: ToyMechanism, histories: int, redraws: int) -> Found:
    """Play ``histories``, half of them recorded on either table, each of its releases drawn ``redraws`` times on both.

    Given the history the releases are independent, so their log ratios add up. Under mu-GDP tables m units apart allow m mu.
    """
    implied = mechanism.claim.mu
    units = group_units(implied)
    tables = worst_case(mechanism, units)
    errors, drawn = 0, 0
    selected: list[float] = []
    by_stage: dict[str, list[Draws]] = {}
    for history in range(histories):
        stages = _played(mechanism, tables, history % 2, redraws)
        left, right = (sum((getattr(stage, side) for stage in stages), np.zeros(redraws)) for side in ("left", "right"))
        errors += wrong_guesses(left, right)
        drawn += 2 * redraws
        for stage in stages:
            by_stage.setdefault(stage.stage, []).append(stage)
        chosen = [stage for stage in stages if stage.noise is None]
        selected.append(sum(float(np.concatenate([stage.left, -stage.right]).mean()) for stage in chosen))
    # Twice the Kullback-Leibler divergence of all selections, as a share of what m units may have by all of the claim.
    share = 2.0 * float(np.mean(selected)) / (units * implied) ** 2
    found: dict[str, float] = {}
    attained: dict[str, float] = {}
    for name, draws in by_stage.items():
        if draws[0].noise is not None:
            found[name] = stage_share(draws)
            attained[name] = min(d.attained / d.declared for d in draws)
    return Found(implied, mu_bound(errors, drawn) / units / implied, found, attained, share)


def _played(mechanism: ToyMechanism, tables: Tables, side: int, redraws: int) -> list[Draws]:
    """One history, recorded on one of the far tables and replayed on the others, and fresh draws of every stage on both."""
    run = observe(mechanism, tables[side], Recorder())
    others = [observe(mechanism, tables[i], Replayer(run.calls)) for i in (1 - side, 2)]
    if any(outcome.error is not None or len(outcome.calls) != len(run.calls) for outcome in (run, *others)):
        raise RuntimeError(f"{mechanism.name} cannot be played on these tables")
    left, right = (run.calls, others[0].calls) if side == 0 else (others[0].calls, run.calls)
    groups: dict[str, list[tuple[Call, Call, Call]]] = {}
    for calls in zip(left, right, others[1].calls, strict=True):
        if calls[0].kind in ("gaussian", "exponential"):
            groups.setdefault(calls[0].stage, []).append(calls)
    return [_gaussian(stage, calls, redraws) if calls[0][0].kind == "gaussian" else _selections(stage, calls, redraws)
            for stage, calls in groups.items()]  # fmt: skip


def _gaussian(stage: str, calls: Sequence[tuple[Call, Call, Call]], redraws: int) -> Draws:
    """Gaussian releases: the log ratio is the noise along the line between the exact answers, plus or minus a constant.

    Only cells that differ enter it, so only their noise is drawn.
    """
    far, near = (np.zeros(redraws), np.zeros(redraws)), (np.zeros(redraws), np.zeros(redraws))
    apart = attained = declared = 0.0
    for left, right, one in calls:
        stddev, sensitivity, rho = (float(left.event[name]) for name in ("stddev", "l2_sensitivity", "rho"))
        exact = right.exact.ravel().astype(np.float64)
        gaps = np.stack([left.exact.ravel() - exact, one.exact.ravel() - exact], axis=1)
        gaps = gaps[np.abs(gaps).sum(axis=1) > 0.0]
        for side in (0, 1):
            drawn = noise.discrete_gaussian(np.zeros(redraws * len(gaps), dtype=np.int64), stddev, sensitivity, rho)
            along = drawn.reshape(redraws, -1) @ gaps / stddev**2
            far[side][:] += along[:, 0]
            near[side][:] += along[:, 1]
        squares = (gaps**2).sum(axis=0) / stddev**2
        apart += float(squares[0])
        attained += float(squares[1])
        declared += (sensitivity / stddev) ** 2
    unit = math.sqrt(attained) or 1.0
    standard = (near[0] / unit, near[1] / unit)
    return Draws(stage, far[0] + apart / 2.0, far[1] - apart / 2.0, math.sqrt(attained), math.sqrt(declared), standard)


def _selections(stage: str, calls: Sequence[tuple[Call, Call, Call]], redraws: int) -> Draws:
    sums = np.zeros(redraws), np.zeros(redraws)
    for left, right, _ in calls:
        event = left.event
        laws = [selection_log_probabilities(call.exact, event) for call in (left, right)]
        # The kernel's own selection, built once for all draws.
        draw = noise._noisy_max(2.0 * float(event["score_sensitivity"]) / float(event["epsilon"]))
        for side, call in enumerate((left, right)):
            scores = np.asarray(call.exact, dtype=np.float64).tolist()
            sums[side][:] += (laws[0] - laws[1])[[int(draw(scores)) for _ in range(redraws)]]
    return Draws(stage, *sums)


def stage_share(draws: Sequence[Draws]) -> float:
    """Lower bound (95 %) on the mu of a stage as a share of what it declares, which may differ between histories.

    As `audits.code.likelihood.group_bound`: noise is added whatever the exact answer is, so m units apart may be played from one. If no
    history shows more than this share, the average chance of a wrong guess is at least the mean of Phi(-share m declared / 2).
    """
    units = np.array([group_units(d.declared) for d in draws])
    wrong = 0
    for draw, m in zip(draws, units.tolist(), strict=True):
        assert draw.noise is not None
        wrong += wrong_guesses(draw.noise[0] + m * draw.attained / 2.0, draw.noise[1] - m * draw.attained / 2.0)
    chance = upper_bound(wrong, 2 * sum(len(d.left) for d in draws), 0.05)
    declared = units * np.array([d.declared for d in draws])
    return float(brentq(lambda share: float(ndtr(-share * declared / 2.0).mean()) - chance, 0.0, 20.0)) if chance < 0.5 else 0.0


def toy_of(name: str, epsilon: float) -> ToyMechanism:
    """The mechanism on the table of six columns."""
    recipe = Adaptive(tree_limit=_TREE_LIMIT) if name == "adaptive" else SYNTHESIZERS[name]()
    return ToyMechanism(recipe, PrivacyBudget(epsilon, DELTA), _SCHEMA)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mechanism", nargs="+", default=["mst", "aim", "adaptive", "independent"], choices=sorted(SYNTHESIZERS))
    parser.add_argument("--epsilon", nargs="+", type=float, default=[1.0, 4.0, 10.0])
    parser.add_argument("--histories", type=int, default=16, help="runs, half of them on either table")
    parser.add_argument("--redraws", type=int, default=500, help="draws of every release in each, on either table")
    options = parser.parse_args(argv)
    sys.stdout.write(
        "| mechanism | epsilon | mu implied | seen of it | selections, of its square | Gaussian stages | least seen of a stage | "
        "distance there | draws a side | CPU seconds |\n|---|---|---|---|---|---|---|---|---|---|\n"
    )
    for name in options.mechanism:
        for epsilon in options.epsilon:
            began = time.process_time()
            found = measured(toy_of(name, epsilon), options.histories, options.redraws)
            worst = min(found.stages, key=lambda stage: found.stages[stage])
            sys.stdout.write(
                f"| `{name}` | {epsilon:g} | {found.implied:.3f} | {found.whole:.3f} | {found.selections:.3f} | {len(found.stages)} | "
                f"{found.stages[worst]:.3f} (`{worst}`) | {found.attained[worst]:.3f} | {options.histories * options.redraws} | "
                f"{time.process_time() - began:.0f} |\n"
            )
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
