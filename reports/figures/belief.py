"""Before and after: how far one release can move an attacker's belief about one unit."""

from __future__ import annotations

from reports.figures.canvas import FAINT, INK, MUTED, SYNTHETIC, Canvas, Figure
from reports.guarantee import PRIORS, posterior
from reports.wording import pct

_LEFT, _WIDTH, _TOP, _STEP = 66.0, 330.0, 30.0, 32.0


def belief(epsilon: float) -> Figure:
    """One row per prior: a ring at the prior, a bar over all beliefs the release can lead to."""
    height = _TOP + _STEP * len(PRIORS) + 34
    canvas = Canvas(460, height)
    bottom = _TOP + _STEP * len(PRIORS)
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _LEFT + share * _WIDTH
        canvas.line(x, _TOP - 4, x, bottom, FAINT)
        canvas.text(x, bottom + 15, f"{share:.0%}", size=10.5, anchor="middle", fill=MUTED)
    canvas.text(_LEFT - 10, _TOP - 12, "before", size=10.5, anchor="end", fill=MUTED)
    canvas.text(_LEFT + _WIDTH + 8, _TOP - 12, "at most", size=10.5, fill=MUTED)
    rows = []
    for i, prior in enumerate(PRIORS):
        low, high = posterior(prior, -epsilon), posterior(prior, epsilon)
        y = _TOP + _STEP * (i + 0.5)
        canvas.text(_LEFT - 10, y + 4, pct(prior), size=12, anchor="end")
        canvas.rect(_LEFT + low * _WIDTH, y - 5, max((high - low) * _WIDTH, 1.5), 10, "#b9d0e2", rx=3)
        canvas.line(_LEFT + high * _WIDTH, y - 8, _LEFT + high * _WIDTH, y + 8, SYNTHETIC, width=3)
        canvas.circle(_LEFT + prior * _WIDTH, y, 4, "#fff", stroke=INK, stroke_width=1.8)
        canvas.text(_LEFT + _WIDTH + 8, y + 4, pct(high), size=12, weight="700", fill=SYNTHETIC)
        rows.append((pct(prior), pct(low), pct(high)))
    canvas.text(
        _LEFT + _WIDTH / 2,
        bottom + 30,
        "belief that one statement about one unit is true",
        size=10.5,
        anchor="middle",
        fill=MUTED,
    )
    desc = (
        "For each belief held before the release (ring), the bar covers every belief the release can "
        "lead to; its right end is the most an attacker can reach."
    )
    return Figure(
        "fig-belief",
        "What an attacker can come to believe",
        desc,
        canvas.svg("fig-belief", "What an attacker can come to believe", desc),
        ("Before", "At least", "At most"),
        tuple(rows),
        "Worst case over everything an attacker may already know; an outcome that tells more has a chance of the order of delta.",
    )
