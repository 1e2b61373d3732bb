"""``python -m benchmarks.run``: measures everything that docs/performance.md reports, and rewrites its figures with ``--page``.

Without ``--data`` it measures the bundled and the generated tables. It can be stopped and started again: see `benchmarks.records`.
"""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import floors
from benchmarks.goals import EPSILONS
from benchmarks.hotspots import profile
from benchmarks.page import write_page
from benchmarks.records import Record, Records, source_digest
from benchmarks.scoring import marginal_error
from benchmarks.tables import BINARY, MIXED, Benchmark, bundled, from_files, latent_classes, wide_sizes
from benchmarks.trial import FAST, VARIANTS, RefusedFigure, run_trial
from benchmarks.usage import measure
from dpsynth import datasets
from dpsynth.marginals import CodedTable

FLOORS: dict[str, Callable[[CodedTable, int], CodedTable]] = {
    "independent columns": floors.shuffled,
    "exact tree": floors.exact_tree,
    "fresh sample": floors.resampled,
}
ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
COLUMNS = (16, 32, 64, 98)
SECTIONS = ("floors", "errors", "rows", "columns", "start", "profile")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what is missing in ``--out``, then write the page's parts and charts there."""
    options = _options(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    records = Records(options.out / "runs.jsonl", source_digest())
    tables = chosen_tables(options)
    variants = [name for name in VARIANTS if not options.synthesizers or name in options.synthesizers]
    scaled = [name for name in variants if name != FAST]
    session = _Session(records, options.limit)
    for section in SECTIONS if not options.only else options.only:
        if section == "floors":
            session.floors(tables, options.repeats)
        elif section == "errors":
            session.errors(tables, variants, options.epsilons, options.repeats)
        elif section == "rows":
            session.scaling("rows", [(f"latent {n}", n, MIXED) for n in ROWS], scaled)
        elif section == "columns":
            session.scaling("columns", [(f"latent {d} wide", 20_000, wide_sizes(d)) for d in COLUMNS], scaled)
        elif section == "start":
            session.start()
        elif section == "profile":
            session.profile(tables[0], options.out)
    if session.ran:
        records.once({"section": "machine", "finished": _now()}, session.machine)
    write_page(records, options.out, options.page)
    for line in session.refused:
        print(f"refused: {line}", file=sys.stderr)
    return 1 if session.refused else 0


class _Session:
    """The sections, each a loop over figures that may be there already."""

    def __init__(self, records: Records, limit: float) -> None:
        self.records = records
        self.limit = limit
        self.refused: list[str] = []
        self.ran = 0
        self._load = [os.getloadavg()[1]]
        self._began = _now()

    def floors(self, tables: Sequence[Benchmark], repeats: int) -> None:
        for table in tables:
            for name, floor in FLOORS.items():
                for repeat in range(repeats):

                    def scored(table: Benchmark = table, floor: Any = floor, repeat: int = repeat) -> Mapping[str, Any]:
                        rows = floor(table.table, repeat)
                        return {f"e{order}": marginal_error(table.table, rows, order) for order in (2, 3)}

                    self._once({"section": "floor", "data": table.name, "variant": name, "repeat": repeat}, scored)

    def errors(self, tables: Sequence[Benchmark], variants: Sequence[str], epsilons: Sequence[float], repeats: int) -> None:
        """Repeats outermost: stopped early, every cell of the table still has about as many runs."""
        for repeat in range(repeats):
            for table in tables:
                for epsilon in epsilons:
                    for variant in variants:
                        key = {"section": "error", "data": table.name, "variant": variant, "epsilon": epsilon, "repeat": repeat}
                        self._trial(key, table, variant, epsilon)

    def scaling(self, section: str, shapes: Sequence[tuple[str, int, tuple[int, ...]]], variants: Sequence[str]) -> None:
        for name, rows, sizes in shapes:
            table = Benchmark(name.replace(" ", "-"), latent_classes(rows, sizes, seed=len(sizes)))
            for variant in variants:
                self._trial({"section": section, "data": name, "variant": variant, "epsilon": 1.0, "repeat": 0}, table, variant, 1.0)

    def start(self) -> None:
        for repeat in range(5):

            def used() -> Mapping[str, Any]:
                usage = measure([sys.executable, "-m", "dpsynth", "--help"])
                return {"wall": usage.wall, "cpu": usage.cpu, "peak_mb": usage.peak_mb}

            self._once({"section": "start", "repeat": repeat}, used)

    def profile(self, table: Benchmark, out: Path) -> None:
        def listed() -> Mapping[str, Any]:
            text, functions = profile(table, "adaptive", 1.0)
            (out / "profile.txt").write_text(text, encoding="utf-8")
            return {"functions": functions[:60]}

        self._once({"section": "profile", "data": table.name, "variant": "adaptive", "epsilon": 1.0}, listed)

    def machine(self) -> Mapping[str, Any]:
        import numpy as np

        return {
            "began": self._began,
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "system": platform.system(),
            "python": platform.python_version(),
            "numpy": np.__version__,
            "load": sum(self._load) / len(self._load),
        }

    def _trial(self, key: Mapping[str, Any], table: Benchmark, variant: str, epsilon: float) -> None:
        self._once(key, lambda: {**run_trial(table, variant, epsilon, limit=self.limit), **key})

    def _once(self, key: Mapping[str, Any], figure: Callable[[], Mapping[str, Any]]) -> Record | None:
        before = len(self.records.rows)
        try:
            row = self.records.once(key, figure)
        except RefusedFigure as reason:
            self.refused.append(str(reason))
            print(f"refused: {reason}", file=sys.stderr, flush=True)
            return None
        if len(self.records.rows) > before:
            self.ran += 1
            self._load.append(os.getloadavg()[0])
            shown = {name: round(value, 4) if isinstance(value, float) else value for name, value in row.items() if name in _SHOWN}
            print(" ".join(f"{name}={value}" for name, value in shown.items()), flush=True)
        return row


_SHOWN = ("section", "data", "variant", "epsilon", "repeat", "e2", "e3", "wall", "cpu", "peak_mb")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    add_table_options(parser)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), help="folder of the figures")
    parser.add_argument("--page", type=Path, help="a Markdown page whose marked parts are rewritten")
    parser.add_argument("--only", nargs="*", choices=SECTIONS, help="these sections")
    parser.add_argument("--synthesizers", nargs="*", choices=list(VARIANTS))
    parser.add_argument("--epsilons", nargs="*", type=float, default=list(EPSILONS))
    parser.add_argument("--repeats", type=int, default=5, help="fresh runs of each figure")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a run is given up")
    return parser.parse_args(argv)


def add_table_options(parser: argparse.ArgumentParser) -> None:
    """Options that name tables; see `chosen_tables`."""
    for option, use in (("--data", "a CSV of codes; its domain is NAME-domain.json beside it"), ("--domain", "a domain that is elsewhere")):
        parser.add_argument(option, action="append", default=[], metavar="NAME=PATH", type=_named, help=use)
    parser.add_argument("--tables", nargs="*", metavar="NAME", help="only these of the given, bundled and generated tables")


def chosen_tables(options: argparse.Namespace) -> list[Benchmark]:
    """The caller's tables, then the bundled ones, then the 16 binary columns."""
    domains = dict(options.domain)
    tables = [from_files(name, path, domains.get(name)) for name, path in options.data]
    tables += [bundled(name) for name in datasets.NAMES]
    tables.append(Benchmark("latent16", latent_classes(20_000, BINARY, seed=16)))
    return [table for table in tables if options.tables is None or table.name in options.tables]


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
        raise argparse.ArgumentTypeError(f"{text!r} must have the form NAME=PATH")
    return name, Path(path)


if __name__ == "__main__":
    sys.exit(main())
