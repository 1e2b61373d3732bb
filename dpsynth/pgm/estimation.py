"""Fit a junction-tree distribution to noisy marginals: minimise sum |Q mu - y|^2 / (2 sigma^2) by accelerated mirror descent.

McKenna, Sheldon and Miklau 2019 (Private-PGM) for the problem; Nesterov momentum on the log-potentials with restart on increase
(O'Donoghue and Candes 2015) for the speed. Stopping early regularises, so ``iterations`` is a modelling choice, not a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

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
    if warm:
        beliefs.update({axes: np.exp(np.maximum(table - table.max(), -_DEEPEST)) for axes, table in warm.items()})
    losses: list[float] = []
    if not targets:
        return Fitted(beliefs, warm, ())
    stack = Stack(targets, tree.sizes)
    potentials = stack.flat(warm)
    if not warm:
        potentials = stack.move(
            beliefs,
            potentials,
            stack.flat({t.axes: _log_share(t.marginal) for t in targets if len(t.axes) == 1 and t.marginal is not None}),
        )
    step = _FIRST_STEP / (total * sum(t.weight for t in targets))
    previous = best = potentials
    momentum, since_restart, failed = 1.0, _SETTLED, False
    best_loss = np.inf
    goal = enough * 0.5 * sum(t.cells for t in targets)
    for _ in range(iterations):
        loss, gradient = stack.loss_and_gradient(stack.marginals(beliefs))
        losses.append(loss)
        if loss > best_loss * (1.0 + 1e-7):
            # Back to the best point without momentum. A failure soon after a restart means that the step itself is too long.
            if since_restart < _SETTLED or not failed:
                step *= 0.7
            failed, momentum, since_restart = True, 1.0, 0
            potentials = stack.move(beliefs, potentials, best)
            previous, best_loss = best, np.inf
            continue
        best_loss = loss
        slow = enough > 0.0 and len(losses) > 40 and since_restart >= 10 and loss > 0.99 * losses[-11]
        if loss <= goal or slow:
            break
        best = potentials
        since_restart += 1
        if not failed:
            step *= 1.02
        following = (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        push = (momentum - 1.0) / following
        momentum = following
        stepped = potentials - np.clip(step * gradient, -_LARGEST_STEP, _LARGEST_STEP)
        ahead = stepped + push * (stepped - previous)
        previous = stepped
        potentials = stack.move(beliefs, potentials, ahead)
    return Fitted(beliefs, warm | stack.tables(potentials), tuple(losses))


class Stack:
    """The tables of all targets as one vector, so that a step over many small tables is a few passes over one array.

    Targets with residuals come first, equal shapes side by side: those are centred together.
    """

    def __init__(self, targets: Sequence[Target], sizes: Sequence[int]) -> None:
        def shape(t: Target) -> tuple[int, ...]:
            return tuple(sizes[a] for a in t.axes)

        self.targets = sorted(targets, key=lambda t: (t.residual is None, shape(t)))
        shapes = [shape(t) for t in self.targets]
        self._lengths = np.array([math.prod(s) for s in shapes], dtype=np.int64)
        self._starts = np.cumsum(self._lengths) - self._lengths
        self._slots = [
            (t.axes, slice(int(start), int(start + length)), s)
            for t, start, length, s in zip(self.targets, self._starts, self._lengths, shapes, strict=True)
        ]
        residuals = [t for t in self.targets if t.residual is not None]
        self._residual_cells = int(self._lengths[: len(residuals)].sum())
        self._groups: list[tuple[slice, tuple[int, ...]]] = []
        place = 0
        for of_shape, members in groupby(shapes[: len(residuals)]):
            count = len(list(members))
            stop = place + count * math.prod(of_shape)
            self._groups.append((slice(place, stop), (count, *of_shape)))
            place = stop
        blank = [np.zeros(s) for s in shapes]
        self._marginal = self._joined([b if t.marginal is None else t.marginal for t, b in zip(self.targets, blank, strict=True)])
        self._residual = self._joined([t.residual for t in residuals if t.residual is not None])
        self._marginal_weight = np.repeat([t.marginal_weight for t in self.targets], self._lengths)
        self._residual_weight = np.repeat([t.residual_weight for t in residuals], self._lengths[: len(residuals)])

    @staticmethod
    def _joined(tables: Sequence[Table]) -> Table:
        return np.concatenate([table.ravel() for table in tables]) if tables else np.zeros(0)

    def flat(self, tables: Mapping[Axes, Table]) -> Table:
        """One vector of ``tables``; a target that is not among them is zero."""
        vector = np.zeros(int(self._lengths.sum()))
        for axes, place, shape in self._slots:
            if axes in tables:
                vector[place].reshape(shape)[...] = tables[axes]
        return vector

    def tables(self, vector: Table) -> dict[Axes, Table]:
        """Views of ``vector``, one per target."""
        return {axes: vector[place].reshape(shape) for axes, place, shape in self._slots}

    def marginals(self, beliefs: Beliefs) -> Table:
        """The model's marginals over all targets."""
        return self.flat({axes: beliefs.target(axes) for axes, _, _ in self._slots})

    def loss_and_gradient(self, mu: Table) -> tuple[float, Table]:
        """Loss at model marginals ``mu`` and its gradient there. Q is symmetric and idempotent, so Q'(Q mu - y) = Q mu - y."""
        error = mu - self._marginal
        gradient = self._marginal_weight * error
        loss = 0.5 * float(np.dot(gradient, error))
        if self._residual_cells:
            off = np.empty(self._residual_cells)
            for place, shape in self._groups:
                off[place] = centred(mu[place].reshape(shape), first=1).ravel()
            off -= self._residual
            part = self._residual_weight * off
            gradient[: self._residual_cells] += part
            loss += 0.5 * float(np.dot(part, off))
        return loss, gradient

    def move(self, beliefs: Beliefs, potentials: Table, to: Table) -> Table:
        """Bring ``beliefs`` from the log-potentials ``potentials`` to ``to``; the potentials that were reached."""
        change = to - potentials
        change -= np.repeat(np.maximum.reduceat(change, self._starts), self._lengths)
        np.maximum(change, -_DEEPEST, out=change)
        depth = -float(np.minimum.reduceat(change, self._starts).sum())
        beliefs.update(self.tables(np.exp(change)), depth)
        # What was applied, so that potentials and beliefs agree; a constant on all cells changes nothing.
        return potentials + change


def _log_share(values: Table) -> Table:
    """Log of a noisy table, cells under one half raised to it: a start from which the tree need only learn dependence."""
    raised: Table = np.maximum(values, 0.5)
    logs: Table = np.log(raised / raised.sum())
    return logs
