"""Where the time of one command goes, by Python's profiler. A profiled run is slower; read shares, not seconds."""

from __future__ import annotations

import io
import pstats
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.tables import Benchmark, write_inputs
from benchmarks.trial import DELTA, VARIANTS, RefusedFigure
from benchmarks.usage import ROOT, measure

_SHOWN = 40
_PRODUCT = ROOT / "dpsynth"
_IMPORTS = ("<frozen importlib._bootstrap>", "_find_and_load")


def profile(benchmark: Benchmark, variant: str, epsilon: float) -> tuple[str, list[dict[str, Any]]]:
    """The profiler's list by own time, as text, and our own functions with the seconds inside them and what they call."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv, schema = write_inputs(benchmark, folder)
        raw = folder / "profile"
        command = [sys.executable, "-m", "cProfile", "-o", str(raw), "-m", "dpsynth", "synth", str(csv), "--schema", str(schema)]
        options = ["--epsilon", repr(epsilon), "--delta", repr(DELTA), "--rows", str(benchmark.table.n_rows)]
        used = measure([*command, *options, "--out", str(folder / "out.parquet"), *VARIANTS[variant]])
        if used.code != 0:
            raise RefusedFigure(f"the profiled command ended with {used.code}: {used.stderr.strip()[-300:]}")
        text = io.StringIO()
        stats = pstats.Stats(str(raw), stream=text)
        stats.strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
        return text.getvalue(), _own(pstats.Stats(str(raw)))


def _own(stats: pstats.Stats) -> list[dict[str, Any]]:
    facts: dict[tuple[str, int, str], tuple[int, int, float, float, Any]] = stats.stats  # type: ignore[attr-defined]
    whole = sum(own for _, _, own, _, _ in facts.values())
    rows = []
    for (file, _, function), (_, calls, own, inside, _) in facts.items():
        path = Path(file)
        if path.is_relative_to(_PRODUCT) and not path.is_relative_to(_PRODUCT / "cli") and not function.startswith("<"):
            place = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            rows.append({"function": f"{place}.{function}", "calls": calls, "own": own, "inside": inside, "share": inside / whole})
        elif (file, function) == _IMPORTS:
            rows.append({"function": "imports", "calls": calls, "own": own, "inside": inside, "share": inside / whole})
    return sorted(rows, key=lambda row: -float(row["inside"]))
