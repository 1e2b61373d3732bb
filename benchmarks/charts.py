"""Small line charts as SVG, without a plotting library. Both axes may be logarithmic; error bars are one standard error."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

_COLOURS = ("#0b6e99", "#c8501e", "#4a7c2c", "#7a4a9c", "#8c6d1f", "#b03060", "#555555")
_WIDTH, _HEIGHT = 330, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 30, 40
_LEGEND = 20


@dataclass(frozen=True)
class Series:
    """Points (x, y, standard error) under a name; a dashed one is a level to compare with."""

    name: str
    points: Sequence[tuple[float, float, float]]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    x: str
    y: str
    series: Sequence[Series] = field(default_factory=tuple)
    log_x: bool = True
    log_y: bool = True


def draw(panels: Sequence[Panel], columns: int = 2) -> str:
    """The panels in a grid, with one legend for all."""
    names = list(dict.fromkeys(s.name for panel in panels for s in panel.series))
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(names)}
    columns = min(columns, max(1, len(panels)))
    rows = math.ceil(len(panels) / columns)
    width, height = columns * _WIDTH, rows * _HEIGHT + _LEGEND * (1 + (len(names) - 1) // (2 * columns))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for place, panel in enumerate(panels):
        parts.append(f'<g transform="translate({place % columns * _WIDTH},{place // columns * _HEIGHT})">')
        parts.extend(_panel(panel, colours))
        parts.append("</g>")
    dashed = {s.name for panel in panels for s in panel.series if s.dashed}
    for place, name in enumerate(names):
        x = 14 + place % (2 * columns) * (width - 14) // (2 * columns)
        y = rows * _HEIGHT + _LEGEND * (place // (2 * columns)) + 12
        parts.append(_line([(x, y - 4), (x + 18, y - 4)], colours[name], name in dashed))
        parts.append(f'<text x="{x + 23}" y="{y}" fill="#222222">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, colours: dict[str, str]) -> list[str]:
    points = [point for s in panel.series for point in s.points]
    if not points:
        return []
    x = _Axis([p[0] for p in points], _LEFT, _WIDTH - _RIGHT, panel.log_x)
    spread = [value for p in points for value in (p[1] - p[2], p[1] + p[2]) if value > 0.0 or not panel.log_y]
    y = _Axis([*spread, *(p[1] for p in points)], _HEIGHT - _BOTTOM, _TOP, panel.log_y)
    parts = [f'<text x="{_LEFT}" y="18" font-weight="bold" fill="#222222">{escape(panel.title)}</text>']
    for value in x.ticks():
        parts.append(_line([(x(value), _TOP), (x(value), _HEIGHT - _BOTTOM)], "#e4e4e4"))
        parts.append(f'<text x="{x(value):.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle" fill="#444444">{_short(value)}</text>')
    for value in y.ticks():
        parts.append(_line([(_LEFT, y(value)), (_WIDTH - _RIGHT, y(value))], "#e4e4e4"))
        parts.append(f'<text x="{_LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#444444">{_short(value)}</text>')
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 10}" text-anchor="middle" fill="#222222">{escape(panel.x)}</text>')
    parts.append(
        f'<text transform="translate(12,{_HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle" fill="#222222">{escape(panel.y)}</text>'
    )
    for series in panel.series:
        colour = colours[series.name]
        ordered = sorted(series.points)
        parts.append(_line([(x(a), y(b)) for a, b, _ in ordered], colour, series.dashed))
        if series.dashed:
            continue
        for a, b, error in ordered:
            if error > 0.0 and (b > error or not panel.log_y):
                parts.append(_line([(x(a), y(b - error)), (x(a), y(b + error))], colour))
            parts.append(f'<circle cx="{x(a):.1f}" cy="{y(b):.1f}" r="3" fill="{colour}"/>')
    return parts


class _Axis:
    """Values -> pixels from ``start`` to ``end``, with a little air at both ends."""

    def __init__(self, values: Sequence[float], start: float, end: float, log: bool) -> None:
        self._log = log and min(values) > 0.0
        low, high = self._scaled(min(values)), self._scaled(max(values))
        if not self._log:
            low = min(low, 0.0)
        air = 0.05 * (high - low) or 0.5
        self._low, self._high = (low - air if self._log else low), high + air
        self._start, self._end = start, end

    def __call__(self, value: float) -> float:
        return self._start + (self._scaled(value) - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values inside: powers of ten with 2 and 5 where there is room, else four or five equal steps."""
        if not self._log:
            step = 10.0 ** math.floor(math.log10(self._high - self._low))
            step = next(s for s in (step / 5, step / 2, step, 2 * step) if (self._high - self._low) / s <= 6)
            return [i * step for i in range(math.ceil(self._low / step), math.floor(self._high / step) + 1)]
        tens = range(math.floor(self._low), math.ceil(self._high) + 1)
        for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7)):
            found = [m * 10.0**ten for ten in tens for m in mantissas if self._low <= math.log10(m) + ten <= self._high]
            if len(found) >= 3:
                return found
        return found

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self._log else value


def _line(points: Sequence[tuple[float, float]], colour: str, dashed: bool = False) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = ' stroke-dasharray="5 3"' if dashed else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"{dash}/>'


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g}M"
    if value >= 1e3:
        return f"{value / 1e3:g}k"
    return f"{value:.3g}"
