"""Attack bars: success on people in the table beside success on people who were left out, with cap and policy limit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from reports.figures.canvas import BAD, FAINT, INK, MUTED, REAL, SYNTHETIC, WARN, Canvas, Figure, legend, short, ticks
from reports.wording import num, span

_LEFT, _WIDTH, _TOP = 214.0, 500.0, 30.0


@dataclass(frozen=True)
class Attack:
    """One attack on one scale. Unknown parts are None and simply not drawn."""

    title: str
    value: float | None
    low: float | None
    high: float | None
    members: float | None = None
    control: float | None = None
    baseline: float | None = None
    cap: float | None = None
    limit: float | None = None


def attack_bars(
    name: str,
    title: str,
    scale: str,
    attacks: Sequence[Attack],
    *,
    about: str = "",
    reach: float | None = None,
    mark: float | None = None,
) -> Figure:
    """Bars are success rates; the dot below them is the value that is judged, and limits cross its lane only.

    ``about`` describes a figure without control, ``reach`` fixes the end of the axis, ``mark`` is a value to point out.
    A cap far beyond everything drawn is written, not drawn.
    """
    drawn = [x for a in attacks for x in (a.value, a.high, a.members, a.control, a.baseline, a.limit) if x is not None]
    widest = max(drawn, default=0.0)
    near = [a.cap for a in attacks if a.cap is not None and (widest <= 0 or a.cap <= 2 * widest)]
    marks = ticks(reach if reach is not None and reach >= widest else max([widest, *near]), 5)
    top = marks[-1]
    rates = any(a.members is not None or a.control is not None for a in attacks)
    step = 54.0 if rates else 34.0
    bottom = _TOP + step * len(attacks)
    canvas = Canvas(_LEFT + _WIDTH + 200, bottom + 40)

    def x(value: float) -> float:
        return _LEFT + _WIDTH * min(max(value / top, 0.0), 1.0)

    entries = [("box", SYNTHETIC, "success on people in the table"), ("box", REAL, "on the control")] if rates else []
    entries.append(("dot", INK, "judged value, interval"))
    for shape, colour, word, used in (
        ("ring", MUTED, "baseline", any(a.baseline is not None for a in attacks)),
        ("line", WARN, "policy limit", any(a.limit is not None for a in attacks)),
        ("dash", BAD, "most the claim allows", any(a.cap is not None and a.cap <= top for a in attacks)),
    ):
        if used:
            entries.append((shape, colour, word))
    legend(canvas, 4, 14, entries)
    for value in marks:
        canvas.line(x(value), _TOP, x(value), bottom, FAINT)
        canvas.text(x(value), bottom + 15, f"{value:g}", size=10.5, anchor="middle", fill=MUTED)
    if mark is not None:
        canvas.line(x(mark), _TOP, x(mark), bottom, MUTED, dash="1 3")
    rows = []
    for i, a in enumerate(attacks):
        y = _TOP + step * i
        if i:
            canvas.line(0, y, _LEFT + _WIDTH + 200, y, FAINT)
        canvas.text(4, y + step / 2 + 4, short(a.title, 32), size=12)
        if a.members is not None:
            canvas.rect(_LEFT, y + 8, x(a.members) - _LEFT, 10, SYNTHETIC)
        if a.control is not None:
            canvas.rect(_LEFT, y + 19, x(a.control) - _LEFT, 10, REAL)
        if a.baseline is not None:
            canvas.circle(x(a.baseline), y + 18.5, 4, "#fff", stroke=MUTED, stroke_width=1.8)
        _judged(canvas, x, a, y + (41 if rates else step / 2), top)
        _words(canvas, a, y + step / 2, a.cap is not None and a.cap <= top)
        numbers = (a.value, a.low, a.high, a.members, a.control, a.baseline)
        rows.append((a.title, *(num(v, "none") for v in numbers), num(a.cap, "none"), num(a.limit, "none")))
    canvas.text(_LEFT + _WIDTH / 2, bottom + 32, scale, size=10.5, anchor="middle", fill=MUTED)
    desc = about or (
        "Each attack with its success on people in the table and on an equal-size control where it has both; below "
        "them the judged value with its 95% interval, the policy's limit and the most that the claim allows."
    )
    columns = (
        "Attack",
        "Value",
        "Interval from",
        "to",
        "On people in the table",
        "On the control",
        "Baseline",
        "Cap",
        "Policy limit",
    )
    return Figure(name, title, desc, canvas.svg(name, title, desc), columns, tuple(rows))


def _judged(canvas: Canvas, x: Callable[[float], float], a: Attack, middle: float, top: float) -> None:
    if a.limit is not None and a.limit <= top:
        canvas.line(x(a.limit), middle - 9, x(a.limit), middle + 9, WARN, width=3)
    if a.cap is not None and a.cap <= top:
        canvas.line(x(a.cap), middle - 9, x(a.cap), middle + 9, BAD, width=2, dash="4 3")
    low, high = (
        a.low if a.low is not None else a.value,
        a.high if a.high is not None else (top if a.low is not None else a.value),
    )
    if low is not None and high is not None and high > low:
        canvas.line(x(low), middle, x(high), middle, INK, width=2, dash="" if a.high is not None else "2 5")
        # an end outside the axis or an open end gets no stop
        for end in (a.low, a.high):
            if end is not None and 0 <= end <= top:
                canvas.line(x(end), middle - 4, x(end), middle + 4, INK, width=1.5)
    if a.value is not None:
        canvas.circle(x(a.value), middle, 4.5, INK)


def _words(canvas: Canvas, a: Attack, middle: float, drawn: bool) -> None:
    left = _LEFT + _WIDTH + 18
    canvas.text(left, middle - 2, num(a.value), size=13, weight="700")
    if a.value is not None:
        canvas.text(left + 66, middle - 2, span(a.low, a.high), size=11, fill=MUTED)
    parts = [f"limit {num(a.limit)}"] if a.limit is not None else []
    if a.cap is not None:
        parts.append(f"cap {num(a.cap)}" + ("" if drawn else ", off the scale"))
    if parts:
        canvas.text(left, middle + 14, " · ".join(parts), size=10.5, fill=MUTED)
