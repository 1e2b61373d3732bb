"""Marginal overlay: shares of one column in the real and in the synthetic table, drawn small, many side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.figures.canvas import FAINT, MUTED, REAL, SYNTHETIC, Canvas, Figure, short, ticks, xy
from reports.wording import num, pct

_W, _H, _LEFT, _TOP, _BASE = 300.0, 136.0, 34.0, 10.0, 116.0
_MOST = 32
_APART = 44.0


@dataclass(frozen=True)
class Shares:
    """One column: the share of each label in both tables; ``ordered`` keeps neighbours together when joining.

    ``missing`` holds the shares of missing cells (real, synthetic): a level of its own, drawn apart from the scale.
    """

    title: str
    labels: Sequence[str]
    real: Sequence[float]
    synthetic: Sequence[float]
    ordered: bool
    tv: float | None
    floor: float | None
    missing: tuple[float, float] | None = None


def overlay(index: int, shares: Shares) -> Figure:
    """Grey columns are real, blue marks synthetic. More than 32 levels are joined, and the note says so."""
    labels, real, synthetic, joined = _join(shares)
    count = max(len(labels), 1)
    marks = ticks(max([*real, *synthetic, *(shares.missing or ()), 0.0]), 3)
    canvas = Canvas(_W, _H)
    right = _W - 4 - (_APART if shares.missing else 0)
    width = (right - _LEFT) / count

    def y(share: float) -> float:
        return _BASE - (_BASE - _TOP) * share / marks[-1]

    for mark in marks:
        canvas.line(_LEFT, y(mark), _W - 4, y(mark), FAINT)
        canvas.text(
            _LEFT - 5,
            y(mark) + 3.5,
            f"{mark:.0%}" if marks[1] >= 0.01 else f"{mark:.1%}",
            size=9,
            anchor="end",
            fill=MUTED,
        )
    gap = min(width * 0.16, 6.0)
    for i in range(len(labels)):
        canvas.rect(
            _LEFT + i * width + gap / 2,
            y(real[i]),
            width - gap,
            _BASE - y(real[i]),
            "#c8ced5",
            tip=f"{labels[i]}: real {pct(real[i])}, synthetic {pct(synthetic[i])}",
        )
    if shares.ordered and count > 8:
        steps = "".join(f"V{xy(y(s))}H{xy(_LEFT + (i + 1) * width)}" for i, s in enumerate(synthetic))
        canvas.path(f"M{xy(_LEFT)} {xy(_BASE)}{steps}V{xy(_BASE)}", stroke=SYNTHETIC, width=1.8)
    else:
        for i, share in enumerate(synthetic):
            left = _LEFT + i * width
            canvas.line(left + gap / 4, y(share), left + width - gap / 4, y(share), SYNTHETIC, width=2.6)
    canvas.line(_LEFT, _BASE, right, _BASE, REAL)
    _axis(canvas, labels, width, shares.ordered)
    if shares.missing:
        left, size = _W - 4 - _APART + 12, _APART - 12
        canvas.rect(left, y(shares.missing[0]), size, _BASE - y(shares.missing[0]), "#c8ced5")
        canvas.line(left, y(shares.missing[1]), left + size, y(shares.missing[1]), SYNTHETIC, width=2.6)
        canvas.line(left, _BASE, left + size, _BASE, REAL)
        canvas.text(left + size / 2, _BASE + 13, "missing", size=9, anchor="middle", fill=MUTED)
    name = f"fig-column-{index}"
    title = f"{shares.title}"
    desc = (
        f"Shares of {len(labels)} levels in the real (grey columns) and the synthetic table (blue marks). "
        f"Total variation {num(shares.tv)}, sampling floor {num(shares.floor)}."
    )
    note = f"distance {num(shares.tv)} · floor {num(shares.floor)}" + (
        f" · {len(shares.labels):,} levels joined to {len(labels)}" if joined else ""
    )
    rows = [(labels[i], pct(real[i]), pct(synthetic[i])) for i in range(len(labels))]
    if shares.missing:
        rows.append(("missing", pct(shares.missing[0]), pct(shares.missing[1])))
    return Figure(name, title, desc, canvas.svg(name, title, desc), ("Level", "Real", "Synthetic"), tuple(rows), note)


def _axis(canvas: Canvas, labels: Sequence[str], width: float, ordered: bool) -> None:
    """Every label where they fit, every k-th of an ordered column, else the first and the last."""
    y = _BASE + 13
    widest = max((len(label) for label in labels), default=0) * 5.2 + 4
    if widest <= width or (width > 30 and not ordered):
        for i, label in enumerate(labels):
            canvas.text(
                _LEFT + (i + 0.5) * width,
                y,
                short(label, max(int(width / 5.2), 3)),
                size=9,
                anchor="middle",
                fill=MUTED,
            )
    elif ordered:
        starts = [short(label.split(" to ")[0], 9) for label in labels]
        every = max(int(-(-(max(len(start) for start in starts) * 5.2 + 10) // width)), 1)
        for i in range(0, len(starts), every):
            x = min(_LEFT + (i + 0.5) * width, _LEFT + len(labels) * width + 2 - len(starts[i]) * 2.6)
            canvas.text(x, y, starts[i], size=9, anchor="middle", fill=MUTED)
    elif labels:
        canvas.text(_LEFT, y, short(labels[0], 20), size=9, fill=MUTED)
        canvas.text(_LEFT + len(labels) * width, y, short(labels[-1], 20), size=9, anchor="end", fill=MUTED)


def _join(shares: Shares) -> tuple[list[str], list[float], list[float], bool]:
    labels, real, synthetic = list(shares.labels), list(shares.real), list(shares.synthetic)
    if len(labels) <= _MOST:
        return labels, real, synthetic, False
    if shares.ordered:
        per = -(-len(labels) // _MOST)
        groups = [range(i, min(i + per, len(labels))) for i in range(0, len(labels), per)]
        names = [labels[g[0]] if len(g) == 1 else f"{labels[g[0]]} to {labels[g[-1]]}" for g in groups]
        return names, [sum(real[i] for i in g) for g in groups], [sum(synthetic[i] for i in g) for g in groups], True
    order = sorted(range(len(labels)), key=lambda i: (-real[i], labels[i]))
    top, rest = order[: _MOST - 1], order[_MOST - 1 :]
    names = [labels[i] for i in top] + [f"{len(rest):,} other levels"]
    return (
        names,
        [real[i] for i in top] + [sum(real[i] for i in rest)],
        [synthetic[i] for i in top] + [sum(synthetic[i] for i in rest)],
        True,
    )
