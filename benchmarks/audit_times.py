"""``python -m benchmarks.audit_times``: CPU seconds, wall seconds and peak memory of the release audits, audit by audit.

The table is generated: 50,000 rows, 20 columns, a control of a quarter of them, and a release that knows nothing of anybody.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import sys
import time
from collections.abc import Sequence

import audits
from audits.registry import TIERS
from benchmarks.audits_releases import columns_of, frame_of
from benchmarks.tables import latent_classes, wide_sizes

ROWS, COLUMNS = 50_000, 20
_SIZES = (*wide_sizes(COLUMNS - 5), 85, 60, 99, 40, 1000)


def main(argv: Sequence[str] | None = None) -> int:
    """Print one JSON object: what each audit and each comparison cost, and the peak memory of this process."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_times", description=__doc__)
    parser.add_argument("--tier", choices=TIERS, default="standard")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--without", nargs="*", default=[], help="audits to leave out")
    options = parser.parse_args(argv)
    table = latent_classes(2 * options.rows + options.rows // 4, _SIZES, seed=1)
    frame = frame_of(table)
    ends = (0, options.rows, 2 * options.rows, len(frame))
    train, synthetic, control = (frame[a:b].reset_index(drop=True) for a, b in itertools.pairwise(ends))
    columns = columns_of(table.domain)
    del frame
    names = [name for name in audits.AUDITS if options.tier in audits.AUDITS[name].tiers and _plays(name) and name not in options.without]
    clock = _Clock()
    audits.run(
        train=train, control=control, synthetic=synthetic, columns=columns, tier=options.tier, names=names, progress=clock.next
    )  # fmt: skip
    clock.next("fidelity", 0, 0)
    compared = audits.AuditInput(synthetic=synthetic, columns=columns, train=train, control=control, tier=options.tier)
    audits.measure_fidelity(compared)
    clock.next("similarity", 0, 0)
    audits.measure_similarity(compared)
    clock.next("", 0, 0)
    print(
        json.dumps(
            {
                "tier": options.tier,
                "rows": options.rows,
                "columns": len(columns),
                "cpu": {name: round(cpu, 2) for name, (cpu, _) in clock.spent.items()},
                "cpu_total": round(sum(cpu for cpu, _ in clock.spent.values()), 1),
                "wall_total": round(sum(wall for _, wall in clock.spent.values()), 1),
                "load": round(os.getloadavg()[0], 1),
                "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            },
            indent=1,
        )
    )
    return 0


def _plays(name: str) -> bool:
    """Whether an audit of tables runs here: those of the mechanism have their own clock, and the extra may be missing."""
    from audits.anonymeter_adapter import installed

    needs = audits.AUDITS[name].needs
    return not {"mechanism", "transcript"} & set(needs) and ("anonymeter" not in needs or installed())


class _Clock:
    """CPU and wall seconds between calls, under the name of the call before."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}
        self._name, self._cpu, self._wall = "", 0.0, 0.0

    def next(self, name: str, done: int, of: int) -> None:
        cpu, wall = time.process_time(), time.perf_counter()
        if self._name:
            self.spent[self._name] = (cpu - self._cpu, wall - self._wall)
        self._name, self._cpu, self._wall = name, cpu, wall


if __name__ == "__main__":
    sys.exit(main())
