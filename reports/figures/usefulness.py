"""Usefulness: scores of models trained on synthetic rows, between a baseline and models trained on real rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import FAINT, MUTED, RULE, SYNTHETIC, Canvas, Figure, legend, short
from reports.wording import num

_LEFT, _WIDTH, _STEP, _TOP = 214.0, 520.0, 32.0, 28.0


@dataclass(frozen=True)
class Task:
    """One prediction task; scores where higher is better."""

    target: str
    metric: str
    synthetic: float | None
    real: float | None
    baseline: float | None


def usefulness(tasks: Sequence[Task]) -> Figure:
    """One line per target on a scale from 0 to 1; a negative score (r2) is drawn at 0 and written out."""
    bottom = _TOP + _STEP * len(tasks)
    canvas = Canvas(_LEFT + _WIDTH + 180, bottom + 36)
    legend(
        canvas,
        4,
        14,
        [
            ("ring", MUTED, "baseline"),
            ("dot", SYNTHETIC, "trained on synthetic"),
            ("box", "#6b7785", "trained on real"),
        ],
    )
    for mark in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _LEFT + _WIDTH * mark
        canvas.line(x, _TOP, x, bottom, FAINT)
        canvas.text(x, bottom + 15, f"{mark:g}", size=10.5, anchor="middle", fill=MUTED)

    def x_of(value: float) -> float:
        return _LEFT + _WIDTH * min(max(value, 0.0), 1.0)

    rows = []
    for i, task in enumerate(tasks):
        y = _TOP + _STEP * (i + 0.5)
        canvas.text(4, y + 4, short(f"{task.target} ({task.metric})", 29), size=12)
        drawn = [x_of(v) for v in (task.baseline, task.synthetic, task.real) if v is not None]
        if drawn:
            canvas.line(min(drawn), y, max(drawn), y, RULE, width=3)
        if task.real is not None:
            canvas.rect(x_of(task.real) - 5, y - 5, 10, 10, "#6b7785")
        if task.synthetic is not None:
            canvas.circle(x_of(task.synthetic), y, 5.5, SYNTHETIC)
        if task.baseline is not None:
            canvas.circle(x_of(task.baseline), y, 4.5, "#fff", stroke=MUTED, stroke_width=1.8)
        canvas.text(_LEFT + _WIDTH + 14, y + 4, num(task.synthetic), size=12, weight="700", fill=SYNTHETIC)
        canvas.text(_LEFT + _WIDTH + 60, y + 4, f"of {num(task.real, '?')}", size=11, fill=MUTED)
        rows.append((task.target, task.metric, num(task.baseline), num(task.synthetic), num(task.real)))
    canvas.text(
        _LEFT + _WIDTH / 2,
        bottom + 31,
        "score on real rows that no model saw (higher is better)",
        size=10.5,
        anchor="middle",
        fill=MUTED,
    )
    desc = (
        "For each target: the score of a trivial baseline, of a model trained on the synthetic table and "
        "of one trained on the real table, all tested on real rows."
    )
    title = "Train on synthetic, test on real"
    return Figure(
        "fig-usefulness",
        title,
        desc,
        canvas.svg("fig-usefulness", title, desc),
        ("Target", "Score", "Baseline", "Trained on synthetic", "Trained on real"),
        tuple(rows),
    )
