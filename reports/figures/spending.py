"""Where the budget of this release went: zCDP rho by stage of the transcript."""

from __future__ import annotations

from collections.abc import Sequence

from reports.figures.canvas import FAINT, MUTED, SYNTHETIC, Canvas, Figure, mix, short
from reports.wording import num, pct

_LEFT, _WIDTH, _STEP = 146.0, 584.0, 26.0


def spending(stages: Sequence[tuple[str, int, float]]) -> Figure:
    """``stages`` are (stage, number of events, rho), in the order they ran."""
    total = sum(rho for _, _, rho in stages)
    canvas = Canvas(_LEFT + _WIDTH + 184, _STEP * len(stages) + 8)
    rows = []
    for i, (stage, count, rho) in enumerate(stages):
        share = rho / total if total > 0 else 0.0
        y = 4 + _STEP * i
        canvas.text(4, y + 15, short(stage.replace("_", " "), 22), size=12)
        canvas.rect(_LEFT, y + 3, _WIDTH, 16, FAINT, rx=2)
        canvas.rect(_LEFT, y + 3, _WIDTH * share, 16, mix("#7fa6c4", SYNTHETIC, share), rx=2)
        canvas.text(_LEFT + _WIDTH + 10, y + 15, pct(share) if rho > 0 else "free", size=12, weight="600")
        canvas.text(
            _LEFT + _WIDTH + 66,
            y + 15,
            f"{count:,} events, ρ {num(rho)}" if count != 1 else f"1 event, ρ {num(rho)}",
            size=11,
            fill=MUTED,
        )
        rows.append((stage, f"{count:,}", num(rho), pct(share)))
    desc = "One bar per stage of the run, its length the share of the privacy budget spent there."
    return Figure(
        "fig-spending",
        "Where this release spent its budget",
        desc,
        canvas.svg("fig-spending", "Where this release spent its budget", desc),
        ("Stage", "Events", "rho", "Share"),
        tuple(rows),
        f"Total rho {num(total)}, from the transcript.",
    )
