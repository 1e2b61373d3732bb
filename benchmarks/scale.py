"""``python -m benchmarks.scale``: big tables. Rewrites the figures of docs/big-tables.md with ``--page``.

Each figure is one process: its wall time, CPU seconds and peak memory. Stopped, it goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import big_tables
from benchmarks.charts import Panel, Series, draw
from benchmarks.usage import Usage, measure

COUNTED = (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
SAMPLED = (1_000_000, 10_000_000, 100_000_000)
RELEASED = (10_000_000,)
_STAGES = ("read", "synthesize", "audit", "compare", "write")
_MEMORY, _LITTLE_MEMORY = 1 << 30, 1 << 26
_SECONDS, _GIGABYTES, _NEAR, _RATIO = 60.0, 3.0, 5.0, 3.0
_PART = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Run = Mapping[str, Any]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing in ``--out``, then write the tables and the chart."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--most", type=int, default=SAMPLED[-1], help="leave out tables of more rows")
    parser.add_argument("--again", action="store_true", help="forget earlier runs")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    session = _Session(options.out, {} if options.again else _earlier(options.out / "scale.json"))
    counted = [rows for rows in COUNTED if rows <= options.most]
    for rows in counted:
        session.count(rows, _MEMORY, "count")
    session.count(counted[-1], _LITTLE_MEMORY, "spilled")
    for rows in (rows for rows in SAMPLED if rows <= options.most):
        session.sample(rows)
        session.integers(rows)
    for rows in (rows for rows in RELEASED if rows <= options.most):
        session.release(rows)
    write(session.runs, options.out, options.page)
    return 0


def _earlier(path: Path) -> dict[str, Run]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


class _Session:
    """Runs of this machine by name; each is written down as soon as it is there."""

    def __init__(self, out: Path, runs: dict[str, Run]) -> None:
        self.out, self.runs = out, runs

    def _step(self, name: str, *arguments: object, then: Path | None = None, codes: Sequence[int] = (0,)) -> None:
        if name in self.runs:
            return
        print(f"{name} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", *map(str, arguments)]
        used: Usage = measure(command, limit=7200.0)
        if used.code not in codes:
            raise SystemExit(f"{name} failed with code {used.code}:\n{used.stderr}")
        size = then.stat().st_size if then else 0
        if then:
            then.unlink()
        # What a policy made of a release is not measured here.
        printed = {key: value for key, value in json.loads(used.stdout).items() if key not in ("decision", "bundle")}
        self.runs[name] = {
            **printed, "wall": used.wall, "cpu": used.cpu, "peak_mb": used.peak_mb, "bytes": size, "load": os.getloadavg()[1]
        }  # fmt: skip
        (self.out / "scale.json").write_text(json.dumps(self.runs, indent=1) + "\n", encoding="utf-8")

    def _table(self, rows: int) -> Path:
        path = self.out / f"{rows}.parquet"
        if not path.exists():
            draft = path.with_suffix(".part")
            measure([sys.executable, "-m", "benchmarks.scale_step", "table", str(draft), str(rows)], limit=3600.0)
            draft.replace(path)
        return path

    def count(self, rows: int, memory: int, name: str) -> None:
        if f"{name} {rows}" not in self.runs:
            self._step(f"{name} {rows}", "benchmarks.scale_step", "count", self._table(rows), memory)

    def sample(self, rows: int) -> None:
        if f"sample {rows}" in self.runs:
            return
        model, out = self.out / "model", self.out / "sample.parquet"
        if not model.exists():
            schema = self._schema(1_000_000)
            command = ["synth", self._table(1_000_000), "--schema", schema, "--epsilon", 1, "--delta", 1e-9, "--rows", 1000]
            self._step("synth 1000000", "dpsynth", *command, "--model", model, "--out", self.out / "few.parquet", "--force", "--json")
        self._step(f"sample {rows}", "dpsynth", "sample", model, "--rows", rows, "--out", out, "--force", "--json", then=out)

    def _schema(self, rows: int) -> Path:
        path = self.out / f"schema-{rows}.json"
        path.write_text(json.dumps(big_tables.schema(rows).to_dict(), default=str), encoding="utf-8")
        return path

    def release(self, rows: int) -> None:
        if f"release {rows}" in self.runs:
            return
        command = ["release", self._table(rows), "--schema", self._schema(rows), "--policy", "demo-health", "--epsilon", 1, "--delta", 1e-9]
        # Whatever the policy says: what is measured is the way to a decision.
        self._step(f"release {rows}", "dpsynth", *command, "--out", self.out / "bundle", "--force", "--json", codes=(0, 1, 3))

    def integers(self, rows: int) -> None:
        out = self.out / "integers.parquet"
        columns = len(big_tables.schema(1).fields)
        self._step(f"integers {rows}", "benchmarks.scale_step", "integers", out, rows, columns, then=out)


# --- the page --------------------------------------------------------------------------------------------------------------------


def write(runs: Mapping[str, Run], out: Path, page: Path | None) -> None:
    """``scale.md`` and ``scale.svg`` in ``out``; with ``page`` its figures too, the chart in its folder ``figures``."""
    parts = {"counting": _counting(runs), "sampling": _sampling(runs), "releases": _releases(runs), "aims": _aims(runs)}
    (out / "scale.md").write_text("\n\n".join(parts.values()) + "\n", encoding="utf-8")
    chart = draw(_chart(runs))
    (out / "scale.svg").write_text(chart, encoding="utf-8")
    if page is not None:
        (page.parent / "figures" / "scale.svg").write_text(chart, encoding="utf-8")
        text = page.read_text(encoding="utf-8")
        page.write_text(_PART.sub(lambda found: f"{found[1]}{parts[found[2]]}\n{found[3]}", text), encoding="utf-8")


def _of(runs: Mapping[str, Run], kind: str) -> list[tuple[int, Run]]:
    found = [(int(name.split()[1]), run) for name, run in runs.items() if name.split()[0] == kind]
    return sorted(found, key=lambda item: item[0])


def _counting(runs: Mapping[str, Run]) -> str:
    lines = ["| rows | encode s | count s | whole process: wall s | CPU s | peak MB | load |", "|---" * 7 + "|"]
    for kind, mark in (("count", ""), ("spilled", ", codes beyond 64 MiB in files")):
        for rows, run in _of(runs, kind):
            figures = f"{run['encode']:.1f} | {run['count']:.1f} | {run['wall']:.1f} | {run['cpu']:.1f} | {run['peak_mb']:.0f}"
            lines.append(f"| {rows:,}{mark} | {figures} | {run['load']:.1f} |")
    return "\n".join(lines)


def _sampling(runs: Mapping[str, Run]) -> str:
    lines = ["| rows | | wall s | CPU s | rows per CPU s | peak MB | file MB | load |", "|---" * 8 + "|"]
    for kind, mark in (("sample", "`dpsynth sample`"), ("integers", "random integers")):
        for rows, run in _of(runs, kind):
            speed = f"{run['wall']:.1f} | {run['cpu']:.1f} | {rows / run['cpu']:,.0f} | {run['peak_mb']:.0f} | {run['bytes'] / 1e6:,.0f}"
            lines.append(f"| {rows:,} | {mark} | {speed} | {run['load']:.1f} |")
    return "\n".join(lines)


def _releases(runs: Mapping[str, Run]) -> str:
    lines = [
        f"| rows | synthetic rows | {' | '.join(f'{stage} s' for stage in _STAGES)} | wall s | CPU s | peak MB | load |",
        "|---" * 11 + "|",
    ]
    for rows, run in _of(runs, "release"):
        stages = " | ".join(f"{run['seconds'][stage]:.0f}" for stage in _STAGES)
        figures = f"{run['wall']:.0f} | {run['cpu']:.0f} | {run['peak_mb']:.0f} | {run['load']:.1f}"
        lines.append(f"| {rows:,} | {run['n_rows']:,} | {stages} | {figures} |")
    return "\n".join(lines)


def _aims(runs: Mapping[str, Run]) -> str:
    counted, sampled, integers = (dict(_of(runs, kind)) for kind in ("count", "sample", "integers"))
    lines = ["| aim | measured | |", "|---|---|---|"]

    def line(aim: str, measured: str, met: bool) -> None:
        lines.append(f"| {aim} | {measured} | {'met' if met else '**not met**'} |")

    most, million = max(counted), 1_000_000
    run = counted[most]
    line(f"{most:,} x 20: encode and count all pairs in {_SECONDS:.0f} s", _both(run), run["wall"] <= _SECONDS)
    line(f"{most:,} x 20: under {_GIGABYTES:.0f} GB", f"{run['peak_mb'] / 1e3:.2f} GB", run["peak_mb"] <= 1e3 * _GIGABYTES)
    if million in counted and most > million:
        share = run["cpu"] * million / most
        away = abs(counted[million]["cpu"] - share)
        line(f"{million:,} rows within {_NEAR:.0f} s of that share", f"{away:.1f} CPU s from {share:.1f} CPU s", away <= _NEAR)
    # A million rows are refined together, so they are no measure of memory for more.
    last, before = max(sampled, default=0), max((rows for rows in sampled if million < rows < max(sampled)), default=0)
    if before:
        grown = sampled[last]["peak_mb"] / sampled[before]["peak_mb"]
        few = f"{sampled[last]['peak_mb']:.0f} MB, {sampled[before]['peak_mb']:.0f} MB for {before:,}"
        line(f"{last:,} synthetic rows without growing memory", few, grown <= 1.5)
    both = [rows for rows in sampled if rows in integers]
    if both:
        rows = max(both)
        wall, cpu = (sampled[rows][kind] / integers[rows][kind] for kind in ("wall", "cpu"))
        measured = f"{wall:.1f}x the wall time, {cpu:.1f}x the CPU time"
        line(f"rows per second within {_RATIO:.0f}x of random integers ({rows:,} rows)", measured, wall <= _RATIO)
    return "\n".join(lines)


def _both(run: Run) -> str:
    return f"{run['wall']:.1f} s wall, {run['cpu']:.1f} s CPU"


def _chart(runs: Mapping[str, Run]) -> list[Panel]:
    counted, sampled = _of(runs, "count"), _of(runs, "sample")

    def points(found: Sequence[tuple[int, Run]], key: str) -> list[tuple[float, float, float]]:
        return [(float(rows), float(run[key]), 0.0) for rows, run in found]

    most, last = counted[-1]
    line = [(float(rows), last["cpu"] * rows / most, 0.0) for rows, _ in counted]
    seconds = (Series("encode and count", points(counted, "cpu")), Series("in proportion to the largest", line, dashed=True))
    memory = (Series("encode and count", points(counted, "peak_mb")), Series("dpsynth sample", points(sampled, "peak_mb")))
    return [Panel("20 columns, all pairs", "rows", "CPU seconds", seconds), Panel("peak memory", "rows", "MB", memory, log_y=False)]


if __name__ == "__main__":
    sys.exit(main())
