"""The one place where SVG is written: escaped, rounded, styled by attributes that survive a stripped stylesheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

INK = "#17212b"
MUTED = "#556270"
RULE = "#c9d1d9"
FAINT = "#eceff2"
REAL = "#a7b1bc"
SYNTHETIC = "#1b5e8c"
GOOD = "#1a6b45"
WARN = "#9a5b00"
BAD = "#a3242b"


@dataclass(frozen=True)
class Figure:
    """A drawing and the numbers it shows. ``name`` becomes an element id and must be unique on the page, never data."""

    name: str
    title: str
    desc: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


class Canvas:
    """Collects SVG elements. Coordinates are pixels from the top left; text is escaped here and nowhere else."""

    def __init__(self, width: float, height: float) -> None:
        self._width, self._height = width, height
        self._parts: list[str] = []

    def rect(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        fill: str,
        *,
        stroke: str = "",
        rx: float = 0,
        tip: str = "",
    ) -> None:
        """A rectangle, with an optional hover text."""
        self._add(
            "rect",
            {
                "x": x,
                "y": y,
                "width": max(width, 0),
                "height": max(height, 0),
                "rx": rx or None,
                "fill": fill,
                "stroke": stroke,
            },
            tip,
        )

    def circle(self, x: float, y: float, r: float, fill: str, *, stroke: str = "", stroke_width: float = 1, tip: str = "") -> None:
        """A disc."""
        self._add(
            "circle",
            {
                "cx": x,
                "cy": y,
                "r": r,
                "fill": fill,
                "stroke": stroke,
                "stroke-width": stroke_width if stroke else None,
            },
            tip,
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, stroke: str = RULE, *, width: float = 1, dash: str = "") -> None:
        """A straight line."""
        self._add(
            "line",
            {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "stroke": stroke, "stroke-width": width, "stroke-dasharray": dash},
        )

    def path(
        self,
        d: str,
        *,
        fill: str = "none",
        stroke: str = "",
        width: float = 1,
        dash: str = "",
        cap: str = "",
        tip: str = "",
    ) -> None:
        """A path; ``d`` is built by the figure from numbers alone."""
        self._add(
            "path",
            {
                "d": d,
                "fill": fill,
                "stroke": stroke,
                "stroke-width": width if stroke else None,
                "stroke-dasharray": dash,
                "stroke-linecap": cap,
            },
            tip,
        )

    def text(
        self,
        x: float,
        y: float,
        content: str,
        *,
        size: float = 11,
        anchor: str = "",
        fill: str = INK,
        weight: str = "",
        turn: float = 0,
        halo: bool = False,
    ) -> None:
        """A line of text; ``halo`` keeps it readable over lines."""
        attributes: dict[str, object] = {
            "x": x,
            "y": y,
            "font-size": size,
            "text-anchor": anchor,
            "fill": fill,
            "font-weight": weight,
        }
        if turn:
            attributes["transform"] = f"rotate({xy(turn)} {xy(x)} {xy(y)})"
        if halo:
            attributes |= {"stroke": "#fff", "stroke-width": 3, "paint-order": "stroke", "stroke-linejoin": "round"}
        self._parts.append(f"<text{_attributes(attributes)}>{escape(content, quote=False)}</text>")

    def svg(self, name: str, title: str, desc: str) -> str:
        """The finished drawing, announced by its title and description."""
        size = f'width="{xy(self._width)}" height="{xy(self._height)}" viewBox="0 0 {xy(self._width)} {xy(self._height)}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="{name}-t {name}-d" '
            'font-family="system-ui, sans-serif">'
            f'<title id="{name}-t">{escape(title, quote=False)}</title>'
            f'<desc id="{name}-d">{escape(desc, quote=False)}</desc>'
            f"{''.join(self._parts)}</svg>"
        )

    def _add(self, tag: str, attributes: dict[str, object], tip: str = "") -> None:
        inside = f"<title>{escape(tip, quote=False)}</title>" if tip else ""
        self._parts.append(f"<{tag}{_attributes(attributes)}>{inside}</{tag}>")


def xy(value: float) -> str:
    """A coordinate with one decimal at most: two runs on two machines print the same bytes."""
    rounded = f"{value:.1f}"
    return "0" if rounded == "-0.0" else rounded.removesuffix(".0")


def short(label: str, longest: int) -> str:
    """A label cut to fit; the table of the figure has it whole."""
    return label if len(label) <= longest else label[: max(longest - 1, 1)].rstrip() + "…"


def ticks(top: float, about: int = 4) -> list[float]:
    """Round axis values from 0 to at least ``top``."""
    if not top > 0:
        return [0.0, 1.0]
    step = 10.0**-12
    for exponent in range(-12, 16):
        for lead in (1.0, 2.0, 2.5, 5.0):
            step = lead * 10.0**exponent
            if top / step <= about:
                count = int(-(-top // step))
                return [round(i * step, 15) for i in range(max(count, 1) + 1)]
    return [0.0, top]


def mix(low: str, high: str, share: float) -> str:
    """Colour between two hex colours."""
    a, b = (tuple(int(c[i : i + 2], 16) for i in (1, 3, 5)) for c in (low, high))
    share = min(max(share, 0.0), 1.0)
    return "#" + "".join(f"{round(p + (q - p) * share):02x}" for p, q in zip(a, b, strict=True))


def _attributes(attributes: dict[str, object]) -> str:
    out = []
    for key, value in attributes.items():
        if value is None or value == "":
            continue
        out.append(f' {key}="{xy(value) if isinstance(value, (int, float)) else escape(str(value))}"')
    return "".join(out)


def legend(canvas: Canvas, x: float, y: float, entries: Sequence[tuple[str, str, str]]) -> None:
    """A row of (shape, colour, label); shape is ``box``, ``line``, ``dash``, ``dot`` or ``ring``."""
    for shape, colour, label in entries:
        if shape == "box":
            canvas.rect(x, y - 8, 10, 10, colour)
        elif shape == "dot":
            canvas.circle(x + 5, y - 3, 4, colour)
        elif shape == "ring":
            canvas.circle(x + 5, y - 3, 4, "#fff", stroke=colour, stroke_width=1.8)
        else:
            canvas.line(x - 1, y - 3, x + 11, y - 3, colour, width=2, dash="3 2" if shape == "dash" else "")
        canvas.text(x + 15, y, label, size=10.5, fill=MUTED)
        x += 15 + 5.9 * len(label) + 16
