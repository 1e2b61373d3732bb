"""Fit a junction-tree distribution to noisy marginals: minimise sum |Q mu - y|^2 / (2 sigma^2) by accelerated mirror descent.

McKenna, Sheldon and Miklau 2019 (Private-PGM) for the problem; Nesterov momentum on the log-potentials with restart on increase
(O'Donoghue and Candes 2015) for the speed. Stopping early regularises, so ``iterations`` is a modelling choice, not a tolerance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dpsynth.marginals import Measurement, centred
from dpsynth.pgm.beliefs import Beliefs
from dpsynth.pgm.contraction import Table
from dpsynth.pgm.junction_tree import Axes, JunctionTree

# One multiplicative step changes a cell by at most e^20: keeps products of many steps inside float range.
_LARGEST_STEP = 20.0
# No cell falls below e^-200 of the largest in one move: a cell at exactly zero could never come back.
_DEEPEST = 200.0
# Steps are in units of the one that is safe for any data, 1 / (total * sum of weights); real tables take 30 to 50 times that.
_FIRST_STEP = 30.0
# Iterations after a restart from which on a failure is blamed on momentum rather than on the step.
_SETTLED = 12


@dataclass(frozen=True)
class Target:
    """All measurements of one clique combined: precision-weighted mean of the marginals, and of the residuals."""

    axes: Axes
    marginal: Table | None
    marginal_weight: float
    residual: Table | None
    residual_weight: float

    def loss_and_gradient(self, mu: Table) -> tuple[float, Table]:
        """Loss of this clique at model marginal ``mu`` and its gradient in ``mu``. Q is symmetric and idempotent, so Q'(Q mu - y) = Q
        mu - y.
        """
        loss = 0.0
        gradient = np.zeros_like(mu)
        if self.marginal is not None:
            error = mu - self.marginal
            loss += 0.5 * self.marginal_weight * float(np.vdot(error, error))
            gradient += self.marginal_weight * error
        if self.residual is not None:
            error = centred(mu) - self.residual
            loss += 0.5 * self.residual_weight * float(np.vdot(error, error))
            gradient += self.residual_weight * error
        return loss, gradient

    @property
    def cells(self) -> int:
        """Noisy numbers in the targets."""
        return sum(table.size for table in (self.marginal, self.residual) if table is not None)

    @property
    def weight(self) -> float:
        return self.marginal_weight + self.residual_weight


def combine(measurements: Sequence[Measurement], index: Mapping[str, int]) -> list[Target]:
    """One target per measured clique; ``index`` maps column names to attribute positions."""
    sums: dict[Axes, list[tuple[Table, float] | None]] = {}
    for m in measurements:
        axes = tuple(index[name] for name in m.clique)
        weight = 1.0 / m.stddev**2
        slot = 0 if m.form == "marginal" else 1
        held = sums.setdefault(axes, [None, None])
        previous = held[slot]
        held[slot] = (m.values * weight, weight) if previous is None else (previous[0] + m.values * weight, previous[1] + weight)
    targets = []
    for axes, (marginal, residual) in sums.items():
        targets.append(
            Target(
                axes,
                marginal[0] / marginal[1] if marginal else None,
                marginal[1] if marginal else 0.0,
                residual[0] / residual[1] if residual else None,
                residual[1] if residual else 0.0,
            )
        )
    return targets


@dataclass(frozen=True)
class Fitted:
    """Beliefs after fitting, the log-potentials that made them (for a warm start) and the loss per iteration."""

    beliefs: Beliefs
    potentials: dict[Axes, Table]
    losses: tuple[float, ...]


def fit(
    tree: JunctionTree,
    targets: Sequence[Target],
    total: float,
    *,
    iterations: int,
    start: Mapping[Axes, Table] | None = None,
    enough: float = 0.0,
    masks: Sequence[tuple[Axes, Table]] = (),
) -> Fitted:
    """Fit ``targets`` on ``tree`` from uniform, or from the potentials ``start`` of an earlier fit.

    Cells that one of ``masks`` sets to zero are impossible: they have no mass from the start, and every step multiplies.
    Stops after ``iterations``, or when the loss is at most ``enough`` times what the truth itself would have (half the measured cells), or
    when ten iterations gain less than one part in a hundred.
    """
    uniform = [np.full(size, 1.0 / size) for size in tree.sizes]
    warm = {axes: table for axes, table in (start or {}).items() if tree.home(axes) is not None}
    beliefs = Beliefs(tree, uniform, total, {t.axes for t in targets} | set(warm) | {axes for axes, _ in masks})
    if masks:
        beliefs.update(dict(masks))
    potentials = {t.axes: np.zeros(tuple(tree.sizes[a] for a in t.axes)) for t in targets} | dict(warm)
    if warm:
        beliefs.update({axes: np.exp(np.maximum(table - table.max(), -_DEEPEST)) for axes, table in warm.items()})
    losses: list[float] = []
    if not targets:
        return Fitted(beliefs, potentials, ())
    if not warm:
        _move(beliefs, potentials, {t.axes: _log_share(t.marginal) for t in targets if len(t.axes) == 1 and t.marginal is not None})
    step = _FIRST_STEP / (total * sum(t.weight for t in targets))
    previous = best = {t.axes: potentials[t.axes] for t in targets}
    momentum, since_restart, failed = 1.0, _SETTLED, False
    best_loss = np.inf
    goal = enough * 0.5 * sum(t.cells for t in targets)
    for _ in range(iterations):
        loss = 0.0
        gradients = {}
        for t in targets:
            part, gradients[t.axes] = t.loss_and_gradient(beliefs.target(t.axes))
            loss += part
        losses.append(loss)
        if loss > best_loss * (1.0 + 1e-7):
            # Back to the best point without momentum. A failure soon after a restart means that the step itself is too long.
            if since_restart < _SETTLED or not failed:
                step *= 0.7
            failed, momentum, since_restart = True, 1.0, 0
            _move(beliefs, potentials, best)
            previous, best_loss = best, np.inf
            continue
        best_loss = loss
        slow = enough > 0.0 and len(losses) > 40 and since_restart >= 10 and loss > 0.99 * losses[-11]
        if loss <= goal or slow:
            break
        best = {axes: potentials[axes] for axes in gradients}
        since_restart += 1
        if not failed:
            step *= 1.02
        following = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        push = (momentum - 1.0) / following
        momentum = following
        stepped = {axes: potentials[axes] - np.clip(step * g, -_LARGEST_STEP, _LARGEST_STEP) for axes, g in gradients.items()}
        ahead = {axes: table + push * (table - previous[axes]) for axes, table in stepped.items()}
        previous = stepped
        _move(beliefs, potentials, ahead)
    return Fitted(beliefs, potentials, tuple(losses))


def _log_share(values: Table) -> Table:
    """Log of a noisy table, cells under one half raised to it: a start from which the tree need only learn dependence."""
    raised: Table = np.maximum(values, 0.5)
    logs: Table = np.log(raised / raised.sum())
    return logs


def _move(beliefs: Beliefs, potentials: dict[Axes, Table], to: Mapping[Axes, Table]) -> None:
    """Bring beliefs and ``potentials`` to the log-potentials ``to``."""
    factors = {}
    for axes, table in to.items():
        change = table - potentials[axes]
        bounded = np.maximum(change - change.max(), -_DEEPEST)
        factors[axes] = np.exp(bounded)
        # What was applied, so that potentials and beliefs agree; a constant on all cells changes nothing.
        potentials[axes] = potentials[axes] + bounded
    beliefs.update(factors)
