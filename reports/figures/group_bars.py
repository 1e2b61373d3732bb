"""Group bars: error of each group as a multiple of what sampling alone would give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import BAD, FAINT, INK, MUTED, SYNTHETIC, WARN, Canvas, Figure, legend, short, ticks
from reports.wording import num, pct

_LEFT, _WIDTH, _STEP, _TOP = 214.0, 520.0, 24.0, 26.0
_MOST = 40


@dataclass(frozen=True)
class Group:
    """One level of a fairness group, with the mean 2-way error inside it."""

    field: str
    level: str
    share: float | None
    error: float | None
    floor: float | None
    ratio: float | None


def group_bars(groups: Sequence[Group], limit: float | None) -> Figure:
    """Largest ratio first within the given order's fields; at most 40 groups are drawn, the worst ones."""
    shown = list(groups)
    if len(shown) > _MOST:
        shown = sorted(shown, key=lambda g: (-(g.ratio if g.ratio is not None else float("inf")), g.field, g.level))[:_MOST]
    marks = ticks(max([g.ratio for g in shown if g.ratio is not None] + [limit or 0.0, 1.0]))
    bottom = _TOP + _STEP * len(shown)
    canvas = Canvas(_LEFT + _WIDTH + 180, bottom + 36)
    legend(
        canvas,
        4,
        14,
        [
            ("box", SYNTHETIC, "error ÷ floor"),
            ("line", INK, "1 = sampling alone"),
            *([("line", WARN, "policy limit")] if limit is not None else []),
        ],
    )
    for mark in marks:
        x = _LEFT + _WIDTH * mark / marks[-1]
        canvas.line(x, _TOP, x, bottom, FAINT)
        canvas.text(x, bottom + 15, f"{mark:g}", size=10.5, anchor="middle", fill=MUTED)
    rows = []
    for i, group in enumerate(shown):
        y = _TOP + _STEP * i
        canvas.text(4, y + 16, short(f"{group.field}: {group.level}", 30), size=12)
        if group.ratio is not None:
            over = limit is not None and group.ratio > limit
            canvas.rect(_LEFT, y + 5, _WIDTH * max(group.ratio, 0.0) / marks[-1], 14, BAD if over else SYNTHETIC)
        canvas.text(
            _LEFT + _WIDTH + 12,
            y + 16,
            f"{num(group.ratio)}×" if group.ratio is not None else "too few",
            size=12,
            weight="700",
        )
        canvas.text(
            _LEFT + _WIDTH + 62,
            y + 16,
            (f"{pct(group.share)} of rows" if group.share is not None else "")
            + (" · over" if limit is not None and (group.ratio or 0) > limit else ""),
            size=11,
            fill=MUTED,
        )
        rows.append((group.field, group.level, pct(group.share), num(group.error), num(group.floor), num(group.ratio)))
    one = _LEFT + _WIDTH / marks[-1]
    canvas.line(one, _TOP, one, bottom, INK, width=1.5)
    if limit is not None:
        edge = _LEFT + _WIDTH * limit / marks[-1]
        canvas.line(edge, _TOP, edge, bottom, WARN, width=2.5)
    canvas.text(
        _LEFT + _WIDTH / 2,
        bottom + 31,
        "mean error of two-column tables, as a multiple of the sampling floor",
        size=10.5,
        anchor="middle",
        fill=MUTED,
    )
    desc = (
        "For each group, the error of its two-column tables over their sampling floor, divided by the same for "
        "everybody: 1 means as well served as the rest."
    )
    title = "Error by group"
    note = "" if len(groups) <= _MOST else f"The {_MOST} groups with the largest ratios of {len(groups)}."
    return Figure(
        "fig-groups",
        title,
        desc,
        canvas.svg("fig-groups", title, desc),
        ("Field", "Level", "Share of rows", "Error", "Floor", "Ratio"),
        tuple(rows),
        note,
    )
