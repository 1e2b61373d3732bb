"""Budget bar: what earlier releases spent, what this one adds, what is left under the cap."""

from __future__ import annotations

from reports.figures.canvas import BAD, FAINT, INK, MUTED, REAL, SYNTHETIC, Canvas, Figure, ticks
from reports.wording import NOT_STATED, num

_X, _W, _Y, _H = 4.0, 900.0, 34.0, 30.0


def budget_bar(before: float, this: float, cap: float | None) -> Figure:
    """Epsilon of one population and unit. Without a cap the bar ends where the spending ends."""
    after = before + this
    full = max(after, cap or 0.0, 1e-12) * (1.0 if cap and cap >= after else 1.04)
    scale = _W / full
    canvas = Canvas(_W + 8, 108)
    canvas.rect(_X, _Y, _W, _H, FAINT)
    canvas.rect(_X, _Y, before * scale, _H, REAL)
    canvas.rect(_X + before * scale, _Y, this * scale, _H, SYNTHETIC)
    start = _X + before * scale
    if this * scale > 60:
        canvas.text(start + this * scale / 2, _Y + 20, f"+ {num(this)}", size=13, anchor="middle", fill="#fff", weight="700")
    if before * scale > 40:
        canvas.text(_X + before * scale / 2, _Y + 20, num(before), size=13, anchor="middle")
    if before > 0:
        canvas.text(_X, _Y - 12, "before", size=11, fill=MUTED)
    middle = min(max(start + this * scale / 2, 90.0 if before > 0 else 40.0), _W - 110)
    canvas.text(middle, _Y - 12, "this release", size=11, anchor="middle", fill=SYNTHETIC, weight="600")
    rows = [("Spent before", num(before)), ("This release", num(this)), ("Spent after", num(after))]
    if cap is not None:
        edge = _X + cap * scale
        over = after > cap * (1 + 1e-9)
        canvas.line(edge, _Y - 6, edge, _Y + _H + 6, BAD if over else INK, width=2.5)
        canvas.text(edge, _Y - 12, f"cap {num(cap)}", size=11, anchor="end", weight="700", fill=BAD if over else INK)
        left = cap - after
        if left * scale > 70 and not over:
            canvas.text(_X + (after + left / 2) * scale, _Y + 20, f"{num(left)} left", size=13, anchor="middle", fill=MUTED)
        rows += [("Cap", num(cap)), ("Left under the cap", num(max(left, 0.0)))]
    for mark in ticks(full, 5):
        if mark <= full * 1.0001:
            side = "start" if mark == 0 else "end" if mark > full * 0.98 else "middle"
            canvas.text(_X + mark * scale, _Y + _H + 20, num(mark), size=10.5, anchor=side, fill=MUTED)
    canvas.text(
        _X + _W / 2,
        _Y + _H + 38,
        "epsilon, summed over the releases from this population",
        size=10.5,
        anchor="middle",
        fill=MUTED,
    )
    desc = f"A bar: {num(before)} spent before, {num(this)} by this release, cap {num(cap, NOT_STATED)}."
    return Figure(
        "fig-budget",
        "Budget of this population",
        desc,
        canvas.svg("fig-budget", "Budget of this population", desc),
        ("Item", "Epsilon"),
        tuple(rows),
    )
