"""Error ladder: distance between real and synthetic tables by 1, 2 and 3 columns, with the sampling floor beside it."""

from __future__ import annotations

from collections.abc import Sequence

from reports.figures.canvas import FAINT, MUTED, RULE, SYNTHETIC, WARN, Canvas, Figure, legend, ticks
from reports.wording import num

_LEFT, _WIDTH, _STEP, _TOP = 130.0, 630.0, 34.0, 30.0


def error_ladder(steps: Sequence[tuple[str, float | None, float | None, float | None]]) -> Figure:
    """``steps`` are (name, mean, largest, floor) of total variation distances."""
    marks = ticks(max((x for _, *values in steps for x in values if x is not None), default=1.0))
    bottom = _TOP + _STEP * len(steps)
    canvas = Canvas(_LEFT + _WIDTH + 156, bottom + 36)
    legend(canvas, 4, 14, [("box", SYNTHETIC, "mean"), ("ring", MUTED, "largest"), ("line", WARN, "sampling floor")])
    for mark in marks:
        x = _LEFT + _WIDTH * mark / marks[-1]
        canvas.line(x, _TOP, x, bottom, FAINT)
        canvas.text(x, bottom + 15, f"{mark:g}", size=10.5, anchor="middle", fill=MUTED)
    rows = []
    for i, (name, mean, largest, floor) in enumerate(steps):
        y = _TOP + _STEP * i
        canvas.text(4, y + 21, name, size=12)
        if largest is not None:
            x = _LEFT + _WIDTH * largest / marks[-1]
            canvas.line(_LEFT, y + 17, x, y + 17, RULE, width=2)
            canvas.circle(x, y + 17, 4.5, "#fff", stroke=MUTED, stroke_width=1.8)
        if mean is not None:
            canvas.rect(_LEFT, y + 10, _WIDTH * mean / marks[-1], 14, SYNTHETIC)
        if floor is not None:
            x = _LEFT + _WIDTH * floor / marks[-1]
            canvas.line(x, y + 5, x, y + 29, WARN, width=2.5)
        canvas.text(_LEFT + _WIDTH + 12, y + 21, num(mean), size=12, weight="700")
        if mean is not None and floor is not None and floor > 0:
            canvas.text(_LEFT + _WIDTH + 76, y + 21, f"{num(round(mean / floor, 1))}× floor", size=11, fill=MUTED)
        rows.append((name, num(mean), num(largest), num(floor)))
    canvas.text(
        _LEFT + _WIDTH / 2,
        bottom + 31,
        "total variation distance (0 = same, 1 = nothing in common)",
        size=10.5,
        anchor="middle",
        fill=MUTED,
    )
    desc = (
        "For tables of one, two and three columns: mean and largest distance between real and synthetic "
        "shares, and the distance a fresh sample of the real table would have."
    )
    title = "Distance from the real table"
    return Figure(
        "fig-ladder",
        title,
        desc,
        canvas.svg("fig-ladder", title, desc),
        ("Tables of", "Mean", "Largest", "Sampling floor"),
        tuple(rows),
    )
