"""The figures as Markdown tables and charts, put between the markers of a page. Says plainly which goals were met."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks import goals
from benchmarks.charts import Panel, Series, draw
from benchmarks.records import Record, Records, distinct, mean, read, standard_error

_PART = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_MAX_FUNCTIONS = 22


def write_page(records: Records, out: Path, page: Path | None) -> None:
    """Tables in ``out/figures.md`` and charts beside it; with ``page`` also there, the charts in its folder ``figures``."""
    peers = read(out / "peers.jsonl")
    parts = {name: part(records) for name, part in PARTS.items()} | {"peers": _peers(records, peers)}
    (out / "figures.md").write_text("\n".join(f"## {name}\n\n{text}\n" for name, text in parts.items()), encoding="utf-8")
    panels = {name: chart(records) for name, chart in CHARTS.items()} | {"peers": _peer_chart(records, peers)}
    for folder in [out, *([page.parent / "figures"] if page else [])]:
        folder.mkdir(parents=True, exist_ok=True)
        for name, chart in panels.items():
            if chart:
                (folder / f"{name}.svg").write_text(draw(chart), encoding="utf-8")
    if page is not None:
        text = page.read_text(encoding="utf-8")
        filled = _PART.sub(lambda found: f"{found[1]}{parts[found[2]]}\n{found[3]}", text)
        page.write_text(filled, encoding="utf-8")


# --- tables ---------------------------------------------------------------------------------------------------------------------------


def _errors(records: Records) -> str:
    runs = records.where(section="error")
    blocks = []
    for data in distinct(runs, "data"):
        of_data = [row for row in runs if row["data"] == data]
        epsilons = sorted(distinct(of_data, "epsilon"))
        head = " / ".join(f"{e:g}" for e in epsilons)
        lines = [
            f"**{data}**: {of_data[0]['rows']:,} rows, {of_data[0]['columns']} columns",
            "",
            f"| | e3 at epsilon {head} | e2 | CPU s | wall s | peak MB | runs |",
            "|---" * 7 + "|",
        ]
        for variant in distinct(of_data, "variant"):
            cells = [[row for row in of_data if row["variant"] == variant and row["epsilon"] == e] for e in epsilons]
            figures = [
                _row(cells, lambda rows: _with_error(rows, "e3")),
                _row(cells, lambda rows: _with_error(rows, "e2")),
                _row(cells, lambda rows: _number(mean(rows, "cpu"), 1)),
                _row(cells, lambda rows: _number(mean(rows, "wall"), 1)),
                _number(max((float(row["peak_mb"]) for rows in cells for row in rows), default=None), 0),
                _row(cells, lambda rows: str(len(rows))),
            ]
            lines.append(f"| `{variant}` | " + " | ".join(figures) + " |")
        floors = records.where(section="floor", data=data)
        for floor in distinct(floors, "variant"):
            rows = [row for row in floors if row["variant"] == floor]
            lines.append(f"| *{floor}* | {_with_error(rows, 'e3')} | {_with_error(rows, 'e2')} | | | | {len(rows)} |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "Not measured."


def _goals(records: Records) -> str:
    lines = ["| goal | measured | |", "|---|---|---|"]
    for line in [*_error_goals(records), *_rival_goals(records), *_time_goals(records)]:
        lines.append("| " + " | ".join(line) + " |")
    return "\n".join(lines)


Line = tuple[str, str, str]


def _error_goals(records: Records) -> Iterable[Line]:
    for (data, variant), limits in goals.ERROR.items():
        for epsilon, limit in zip(goals.EPSILONS, limits, strict=True):
            yield _upper(f"{data}, `{variant}`, epsilon {epsilon:g}: e3 at most {limit:.3f}", records, data, variant, epsilon, "e3", limit)
    for (data, epsilon), limit in goals.AIM_ERROR.items():
        yield _upper(f"{data}, `aim`, epsilon {epsilon:g}: e3 at most {limit:.3f}", records, data, "aim", epsilon, "e3", limit)


def _rival_goals(records: Records) -> Iterable[Line]:
    runs = records.where(section="error")
    for data in distinct(runs, "data"):
        for epsilon in sorted(distinct([row for row in runs if row["data"] == data], "epsilon")):
            measured = {variant: _e3(records, data, variant, epsilon) for variant in ("adaptive", *goals.RIVALS)}
            rivals = {name: value for name, value in measured.items() if name != "adaptive" and value is not None}
            ours = measured["adaptive"]
            if ours is None or not rivals:
                continue
            best = min(rivals, key=lambda name: rivals[name])
            factor = goals.LATENT16_MARGIN if data == "latent16" and best == "aim" else 1.0
            goal = f"{data}, epsilon {epsilon:g}: `adaptive` below {', '.join(f'`{name}`' for name in rivals)}"
            goal += " by 10 %" if factor < 1.0 else ""
            shown = f"{ours:.4f} against {rivals[best]:.4f} of `{best}` ({100 * (ours / rivals[best] - 1):+.0f} %)"
            yield goal, shown, _verdict(ours < factor * rivals[best])


def _time_goals(records: Records) -> Iterable[Line]:
    for (data, variant), limits in goals.SECONDS.items():
        for epsilon, limit in zip(goals.EPSILONS, limits, strict=True):
            rows = records.where(section="error", data=data, variant=variant, epsilon=epsilon)
            if rows and limit < float("inf"):
                yield _seconds(f"{data}, `{variant}`, epsilon {epsilon:g}: whole command in {limit:g} s", rows, limit)
    for (data, variant), limit in goals.PEAK_MB.items():
        rows = records.where(section="error", data=data, variant=variant)
        if rows:
            peak = max(float(row["peak_mb"]) for row in rows)
            yield f"{data}, `{variant}`: peak memory under {limit:g} MB", f"{peak:.0f} MB", _verdict(peak < limit)
    scaled = (("rows", "rows", goals.MILLION_ROWS_SECONDS, 1_000_000), ("columns", "columns", goals.WIDEST_SECONDS, 98))
    for section, kind, limit, size in scaled:
        rows = [row for row in records.where(section=section, variant="adaptive") if row[kind] == size]
        if rows:
            yield _seconds(f"{size:,} {kind}, `adaptive`: whole command in {limit:g} s", rows, limit)
    starts = records.where(section="start")
    if starts:
        yield _seconds(f"`dpsynth --help` in {goals.HELP_SECONDS:g} s", starts, goals.HELP_SECONDS)


def _upper(goal: str, records: Records, data: str, variant: str, epsilon: float, figure: str, limit: float) -> Line:
    rows = records.where(section="error", data=data, variant=variant, epsilon=epsilon)
    value = mean(rows, figure)
    if value is None:
        return goal, "not measured", "–"
    # The goal is stated to three decimals.
    return goal, _with_error(rows, figure), _verdict(round(value, 3) <= limit)


def _seconds(goal: str, rows: Sequence[Record], limit: float) -> Line:
    wall, cpu = mean(rows, "wall") or 0.0, mean(rows, "cpu") or 0.0
    shown = f"{wall:.2f} s wall, {cpu:.2f} s CPU"
    return goal, shown, "met" if wall <= limit else "met in CPU seconds only" if cpu <= limit else "**not met**"


def _scaling(records: Records) -> str:
    blocks = []
    for section, kind in (("rows", "rows"), ("columns", "columns")):
        runs = records.where(section=section)
        variants = distinct(runs, "variant")
        if not runs:
            continue
        heads = [kind, *(f"`{variant}`: CPU s / wall s / MB / e3" for variant in variants)]
        lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for size in sorted(distinct(runs, kind)):
            cells = []
            for variant in variants:
                found = [row for row in runs if row[kind] == size and row["variant"] == variant]
                cells.append(_scaled(found[0]) if found else "–")
            lines.append(f"| {size:,} | " + " | ".join(cells) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "Not measured."


def _scaled(row: Record) -> str:
    return f"{row['cpu']:.1f} / {row['wall']:.1f} / {row['peak_mb']:.0f} / {row['e3']:.3f}"


def _peers(records: Records, peers: Sequence[Record]) -> str:
    blocks = []
    for data, epsilon in dict.fromkeys((row["data"], row["epsilon"]) for row in peers):
        lines = [f"**{data}**, epsilon {epsilon:g}", "", "| | e3 | e2 | CPU s | wall s | peak MB | runs |", "|---" * 7 + "|"]
        for variant, rows in _side_by_side(records, peers, data, epsilon).items():
            failed = [row["failure"] for row in rows if "failure" in row]
            resources = [_number(mean(rows, "cpu"), 1), _number(mean(rows, "wall"), 1), _number(mean(rows, "peak_mb"), 0), str(len(rows))]
            errors = [failed[0], ""] if failed else [_with_error(rows, "e3"), _with_error(rows, "e2")]
            lines.append(f"| {variant} | " + " | ".join([*errors, *resources]) + " |")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) or "Not measured."


def _side_by_side(records: Records, peers: Sequence[Record], data: str, epsilon: float) -> dict[str, list[Record]]:
    ours = [row for row in records.where(section="error", data=data, epsilon=epsilon) if row["variant"] != "independent"]
    theirs = [row for row in peers if row["data"] == data and row["epsilon"] == epsilon]
    named = {f"dpsynth `{variant}`": [row for row in ours if row["variant"] == variant] for variant in distinct(ours, "variant")}
    return named | {variant: [row for row in theirs if row["variant"] == variant] for variant in distinct(theirs, "variant")}


def _profile(records: Records) -> str:
    found = records.where(section="profile")
    if not found:
        return "Not measured."
    row = found[-1]
    head = f"`dpsynth synth` on {row['data']}, `{row['variant']}`, epsilon {row['epsilon']:g}; share of profiled time, callees included:"
    lines = [head, "", "| function | calls | share |", "|---|---|---|"]
    for item in row["functions"][:_MAX_FUNCTIONS]:
        lines.append(f"| `{item['function']}` | {item['calls']:,} | {100 * item['share']:.0f} % |")
    return "\n".join(lines)


def _machine(records: Records) -> str:
    found = records.where(section="machine")
    if not found:
        return "Not recorded."
    row, digests = found[-1], distinct(found, "source")
    return (
        f"Measured {found[0]['began']} to {row['finished']} on {row['cores']} cores ({row['machine']}, {row['system']}), "
        f"Python {row['python']}, numpy {row['numpy']}; mean load {mean(found, 'load'):.1f}. State of the sources: `{digests[-1]}`."
    )


PARTS: Mapping[str, Callable[[Records], str]] = {
    "machine": _machine,
    "goals": _goals,
    "errors": _errors,
    "scaling": _scaling,
    "profile": _profile,
}


# --- charts ---------------------------------------------------------------------------------------------------------------------------


def _error_chart(records: Records) -> list[Panel]:
    runs = records.where(section="error")
    panels = []
    for data in distinct(runs, "data"):
        of_data = [row for row in runs if row["data"] == data]
        epsilons = sorted(distinct(of_data, "epsilon"))
        series = []
        for variant in distinct(of_data, "variant"):
            points = []
            for epsilon in epsilons:
                rows = [row for row in of_data if row["variant"] == variant and row["epsilon"] == epsilon]
                value = mean(rows, "e3")
                if value is not None:
                    points.append((float(epsilon), value, standard_error(rows, "e3") or 0.0))
            series.append(Series(variant, points))
        floors = records.where(section="floor", data=data)
        for floor in distinct(floors, "variant"):
            level = mean([row for row in floors if row["variant"] == floor], "e3") or 0.0
            series.append(Series(floor, [(float(e), level, 0.0) for e in (epsilons[0], epsilons[-1])], dashed=True))
        panels.append(Panel(data, "epsilon", "e3", series))
    return panels


def _scaling_chart(records: Records) -> list[Panel]:
    panels = []
    for section, kind in (("rows", "rows"), ("columns", "columns")):
        runs = records.where(section=section)
        series = [
            Series(variant, [(float(row[kind]), float(row["cpu"]), 0.0) for row in runs if row["variant"] == variant])
            for variant in distinct(runs, "variant")
        ]
        if series:
            panels.append(Panel(f"whole command by {kind}, epsilon 1", kind, "CPU seconds", series))
    return panels


def _peer_chart(records: Records, peers: Sequence[Record]) -> list[Panel]:
    panels = []
    for data, epsilon in dict.fromkeys((row["data"], row["epsilon"]) for row in peers):
        series = []
        for variant, rows in _side_by_side(records, peers, data, epsilon).items():
            seconds, value = mean(rows, "cpu"), mean(rows, "e3")
            if seconds is not None and value is not None:
                series.append(Series(variant.replace("`", ""), [(seconds, value, standard_error(rows, "e3") or 0.0)]))
        panels.append(Panel(f"{data}, epsilon {epsilon:g}", "CPU seconds", "e3", series, log_y=False))
    return panels


CHARTS: Mapping[str, Callable[[Records], list[Panel]]] = {"errors": _error_chart, "scaling": _scaling_chart}


# --- pieces ---------------------------------------------------------------------------------------------------------------------------


def _e3(records: Records, data: str, variant: str, epsilon: float) -> float | None:
    return mean(records.where(section="error", data=data, variant=variant, epsilon=epsilon), "e3")


def _row(cells: Sequence[Sequence[Record]], show: Callable[[Sequence[Record]], str]) -> str:
    return " / ".join(show(rows) for rows in cells)


def _with_error(rows: Sequence[Record], figure: str) -> str:
    value, error = mean(rows, figure), standard_error(rows, figure)
    if value is None:
        return "–"
    places = 4 if value < 0.02 else 3
    return _number(value, places) if error is None else f"{_number(value, places)} ±{_number(error, max(4, places))}"


def _number(value: float | None, places: int) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def _verdict(met: bool) -> str:
    return "met" if met else "**not met**"
