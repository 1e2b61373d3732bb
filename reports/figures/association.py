"""Association heat maps: how strongly columns move together in the real and the synthetic table, and the difference."""

from __future__ import annotations

from collections.abc import Sequence

from reports.figures.canvas import BAD, FAINT, MUTED, RULE, SYNTHETIC, Canvas, Figure, mix, short, xy
from reports.wording import num

_MOST = 30
_MOST_PAIRS = 60
_STEPS = 10
Matrix = Sequence[Sequence[float | None]]


def association(columns: Sequence[str], real: Matrix, synthetic: Matrix) -> Figure:
    """Square matrices in the order of ``columns``; of more than 30, the 30 with the largest differences are drawn."""
    total = len(columns)
    gaps = [[_gap(real[i][j], synthetic[i][j]) for j in range(total)] for i in range(total)]
    keep = list(range(total))
    if total > _MOST:
        worst = sorted(
            keep,
            key=lambda i: (-max((abs(g) for j, g in enumerate(gaps[i]) if j != i and g is not None), default=0.0), i),
        )
        keep = sorted(worst[:_MOST])
    n = max(len(keep), 1)
    labels = [short(columns[i], 15) for i in keep]
    margin = 12 + 5.6 * max((len(label) for label in labels), default=4)
    size = 256.0
    cell = size / n
    canvas = Canvas(margin + 3 * size + 2 * 30 + 62, 34 + size + margin)
    biggest = max((abs(g) for i in keep for j in keep if i != j and (g := gaps[i][j]) is not None), default=0.0)
    reach = max(biggest, 0.2)  # so that small differences look small
    panels = (
        ("real", [[_shade(real[i][j], 1.0) for j in keep] for i in keep]),
        ("synthetic", [[_shade(synthetic[i][j], 1.0) for j in keep] for i in keep]),
        (f"synthetic − real, ±{num(reach)}", [[_signed(gaps[i][j], reach) for j in keep] for i in keep]),
    )
    for p, (title, shades) in enumerate(panels):
        left = margin + p * (size + 30)
        canvas.text(left + size / 2, 18, title, size=12, anchor="middle", weight="600")
        canvas.rect(left, 28, size, size, FAINT)
        _cells(canvas, left, 28, cell, shades)
        canvas.rect(left, 28, size, size, "none", stroke=RULE)
        for k, label in enumerate(labels):
            if p == 0:
                canvas.text(left - 6, 28 + (k + 0.5) * cell + 3.5, label, size=min(10.0, cell), anchor="end", fill=MUTED)
            canvas.text(
                left + (k + 0.5) * cell + 3,
                28 + size + 9,
                label,
                size=min(10.0, cell),
                anchor="end",
                fill=MUTED,
                turn=-60,
            )
    _scale(canvas, margin + 3 * size + 60 + 14, size, reach)
    pairs = sorted(
        ((i, j) for a, i in enumerate(keep) for j in keep[a + 1 :]),
        key=lambda ij: (-abs(gaps[ij[0]][ij[1]] or 0.0), ij),
    )
    rows = tuple((columns[i], columns[j], num(real[i][j]), num(synthetic[i][j]), num(gaps[i][j])) for i, j in pairs[:_MOST_PAIRS])
    desc = (
        "Three square maps of the association between every two columns: real, synthetic and their "
        "difference. Dark cells are strong, blue differences are too strong, red too weak."
    )
    note = "Dark cells are strong; in the right map blue is too strong in the synthetic table, red too weak."
    if total > _MOST:
        note += f" {_MOST} of {total} columns are drawn: those with the largest differences."
    if len(pairs) > _MOST_PAIRS:
        note += f" The table holds the {_MOST_PAIRS} pairs with the largest differences."
    title = "Associations between columns"
    return Figure(
        "fig-association",
        title,
        desc,
        canvas.svg("fig-association", title, desc),
        ("Column", "Column", "Real", "Synthetic", "Difference"),
        rows,
        note,
    )


def _gap(real: float | None, synthetic: float | None) -> float | None:
    return None if real is None or synthetic is None else synthetic - real


def _step(share: float) -> float:
    return round(min(max(share, 0.0), 1.0) * _STEPS) / _STEPS


def _shade(value: float | None, reach: float) -> str | None:
    return None if value is None else mix("#ffffff", "#143f5c", _step(abs(value) / reach))


def _signed(value: float | None, reach: float) -> str | None:
    return None if value is None else mix("#ffffff", SYNTHETIC if value >= 0 else BAD, _step(abs(value) / reach))


def _cells(canvas: Canvas, left: float, top: float, cell: float, shades: Sequence[Sequence[str | None]]) -> None:
    # one path per shade, not one rectangle per cell: a map of 30 columns stays under 15 kB
    by_shade: dict[str, list[str]] = {}
    side = xy(cell - 0.5)
    for i, row in enumerate(shades):
        for j, shade in enumerate(row):
            if shade is not None:
                by_shade.setdefault(shade, []).append(f"M{xy(left + j * cell)} {xy(top + i * cell)}h{side}v{side}h-{side}z")
    for shade in sorted(by_shade):
        canvas.path("".join(by_shade[shade]), fill=shade)


def _scale(canvas: Canvas, x: float, size: float, reach: float) -> None:
    half = size / 2 / _STEPS
    for k in range(2 * _STEPS):
        value = (_STEPS - k - 0.5) / _STEPS
        canvas.rect(x, 28 + k * half, 10, half + 0.4, mix("#ffffff", SYNTHETIC if value > 0 else BAD, _step(abs(value))))
    canvas.text(x + 14, 36, f"+{num(reach)}", size=9.5, fill=MUTED)
    canvas.text(x + 14, 28 + size / 2 + 3, "0", size=9.5, fill=MUTED)
    canvas.text(x + 14, 28 + size, f"−{num(reach)}", size=9.5, fill=MUTED)
