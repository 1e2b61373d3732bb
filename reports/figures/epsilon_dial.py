"""Dial: epsilon on a logarithmic half circle, with the middle half of public deployments and the policy's limits."""

from __future__ import annotations

import math

from reports.figures.canvas import BAD, FAINT, INK, MUTED, SYNTHETIC, WARN, Canvas, Figure, xy
from reports.guarantee import DEPLOYMENTS
from reports.wording import exact, num

_LOW, _HIGH = 0.1, 50.0
_CX, _CY, _R = 230.0, 214.0, 150.0
_LABEL = 84.0  # the width of a mark's label


def epsilon_dial(epsilon: float, limits: tuple[tuple[str, float], ...]) -> Figure:
    """``limits`` are the policy's (word, epsilon) marks: where it warns, where it denies."""
    canvas = Canvas(460, 268)
    for start, end, shade in ((_LOW, 1, "#cfe3d8"), (1, 5, "#e3e8d2"), (5, 10, "#f0dfc4"), (10, _HIGH, "#eccfcd")):
        _arc(canvas, start, end, _R, 22, shade)
    d = DEPLOYMENTS
    _arc(canvas, d.lower_quartile, d.upper_quartile, _R - 21, 7, "#8fa3b5")
    for value in (0.1, 0.3, 1, 3, 10, 30):
        x, y = _at(value, _R + 22)
        canvas.text(x, y + 4, f"{value:g}", size=11, anchor="middle", fill=MUTED)
        canvas.line(*_at(value, _R + 12), *_at(value, _R + 7), MUTED)
    canvas.line(*_at(d.median, _R - 29), *_at(d.median, _R - 13), INK, width=2)
    for word, value in limits:
        if value > 0:
            colour = BAD if word == "deny" else WARN
            canvas.line(*_at(value, _R - 12), *_at(value, _R + 12), colour, width=3, dash="" if word == "deny" else "4 3")
            x, y = _at(value, _R + 42)
            side = _side(value, "start" if word == "deny" else "end")
            x = min(x, 460 - _LABEL) if side == "start" else max(x, _LABEL)
            canvas.text(x, y + 4, f"{word} above {num(value)}", size=10.5, anchor=side, fill=colour, weight="600", halo=True)
    tip_x, tip_y = _at(epsilon, _R - 2)
    canvas.line(_CX, _CY, tip_x, tip_y, INK, width=3.5)
    canvas.circle(_CX, _CY, 7, INK)
    canvas.text(_CX, _CY + 40, f"ε = {exact(epsilon)}", size=24, anchor="middle", weight="700", fill=SYNTHETIC)
    canvas.text(_CX - _R, _CY + 18, "more private", size=10.5, anchor="middle", fill=MUTED)
    canvas.text(_CX + _R, _CY + 18, "less private", size=10.5, anchor="middle", fill=MUTED)
    rows = [
        ("This release", exact(epsilon)),
        *((f"Policy: {word} above", num(value)) for word, value in limits),
        ("Public deployments, lower quartile", num(d.lower_quartile)),
        ("Public deployments, median", num(d.median)),
        ("Public deployments, upper quartile", num(d.upper_quartile)),
        ("Public deployments, largest", num(d.largest)),
    ]
    desc = (
        f"A half-circle dial from 0.1 to 50, logarithmic. The needle stands at epsilon {num(epsilon)}. "
        f"The inner band is the middle half of {d.count} public deployments."
    )
    marks = " Marks on the dial: " + ", ".join(f"policy would {word} above {num(value)}" for word, value in limits) + "." if limits else ""
    note = f"Inner band: middle half of {d.count} public deployments, its tick the median.{marks}"
    return Figure(
        "fig-dial",
        "Where epsilon stands",
        desc,
        canvas.svg("fig-dial", "Where epsilon stands", desc),
        ("What", "Epsilon"),
        tuple(rows),
        note,
    )


def _side(value: float, at_the_top: str) -> str:
    """Where a label beside the dial is anchored, so that it runs away from it."""
    across = math.cos(_angle(value))
    return at_the_top if abs(across) < 0.2 else "start" if across > 0 else "end"


def _angle(value: float) -> float:
    share = math.log(min(max(value, _LOW), _HIGH) / _LOW) / math.log(_HIGH / _LOW)
    return math.pi * (1.0 - share)


def _at(value: float, radius: float) -> tuple[float, float]:
    angle = _angle(value)
    return _CX + radius * math.cos(angle), _CY - radius * math.sin(angle)


def _arc(canvas: Canvas, start: float, end: float, radius: float, width: float, colour: str) -> None:
    (x1, y1), (x2, y2) = _at(start, radius), _at(end, radius)
    canvas.path(f"M{xy(x1)} {xy(y1)}A{xy(radius)} {xy(radius)} 0 0 1 {xy(x2)} {xy(y2)}", stroke=colour or FAINT, width=width)
