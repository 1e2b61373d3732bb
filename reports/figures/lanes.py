"""Lanes: one line per item on a common scale, with a bar or marks, its value in words, and guides across all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import FAINT, INK, MUTED, RULE, SYNTHETIC, Canvas, Figure, legend, short

_LEFT, _WIDTH, _TOP, _RIGHT = 214.0, 520.0, 28.0, 192.0


@dataclass(frozen=True)
class Mark:
    """A point of a lane: ``shape`` is dot, ring or box."""

    shape: str
    colour: str
    value: float | None


@dataclass(frozen=True)
class Lane:
    """One item. A bar starts at 0; marks are joined by a line; unknown values are not drawn."""

    label: str
    strong: str
    aside: str
    bar: float | None = None
    colour: str = SYNTHETIC
    marks: tuple[Mark, ...] = ()
    tone: str = INK  # colour of the strong words


@dataclass(frozen=True)
class Guide:
    """A line across all lanes."""

    value: float
    colour: str
    width: float


def lanes(
    name: str,
    title: str,
    desc: str,
    items: Sequence[Lane],
    *,
    ticks: Sequence[float],
    axis: str,
    entries: Sequence[tuple[str, str, str]],
    step: float,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    guides: Sequence[Guide] = (),
    note: str = "",
) -> Figure:
    """A figure from 0 to the last of ``ticks``; what lies outside is drawn at the edge and written out.

    ``entries`` is the legend, ``step`` the height of a lane in pixels, ``rows`` the table of the numbers.
    """
    bottom = _TOP + step * len(items)
    canvas = Canvas(_LEFT + _WIDTH + _RIGHT, bottom + 36)

    def x_of(value: float) -> float:
        return _LEFT + _WIDTH * min(max(value / ticks[-1], 0.0), 1.0)

    legend(canvas, 4, 14, entries)
    for tick in ticks:
        canvas.line(x_of(tick), _TOP, x_of(tick), bottom, FAINT)
        canvas.text(x_of(tick), bottom + 15, f"{tick:g}", size=10.5, anchor="middle", fill=MUTED)
    for i, item in enumerate(items):
        y = _TOP + step * (i + 0.5)
        canvas.text(4, y + 4, short(item.label, 30), size=12)
        if item.bar is not None:
            canvas.rect(_LEFT, y - 7, x_of(item.bar) - _LEFT, 14, item.colour)
        known = [(mark, x_of(mark.value)) for mark in item.marks if mark.value is not None]
        if known:
            canvas.line(min(x for _, x in known), y, max(x for _, x in known), y, RULE, width=3)
        for mark, x in known:
            _draw(canvas, mark, x, y)
        canvas.text(_LEFT + _WIDTH + 12, y + 4, item.strong, size=12, weight="700", fill=item.tone)
        canvas.text(_LEFT + _WIDTH + 74, y + 4, item.aside, size=11, fill=MUTED)
    for guide in guides:
        canvas.line(x_of(guide.value), _TOP, x_of(guide.value), bottom, guide.colour, width=guide.width)
    canvas.text(_LEFT + _WIDTH / 2, bottom + 31, axis, size=10.5, anchor="middle", fill=MUTED)
    return Figure(name, title, desc, canvas.svg(name, title, desc), columns, tuple(rows), note)


def _draw(canvas: Canvas, mark: Mark, x: float, y: float) -> None:
    if mark.shape == "box":
        canvas.rect(x - 5, y - 5, 10, 10, mark.colour)
    elif mark.shape == "dot":
        canvas.circle(x, y, 5.5, mark.colour)
    else:
        canvas.circle(x, y, 4.5, "#fff", stroke=mark.colour, stroke_width=1.8)
