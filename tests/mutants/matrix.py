"""Audits the audits: plants every defect in every mechanism, prints who caught it, and writes the table of docs/audit-power.md.

``python -m tests.mutants.matrix [--seeds 20] [--write] [--results FILE]``. Exit code 1 if a defect got through, or harmless changes
are called violations more often than alpha allows. With ``--results`` a run that was cut short goes on where it stopped, as long as no
source file changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from audits.bounds import lower_bound, upper_bound
from dpsynth.code_audits import source_digest
from tests.mutants.defects import ALL, DEFECTS, HARMLESS, WITH_SELECTION, Change
from tests.mutants.releases import DELTA, EPSILON, Caught, released

PAGE = Path(__file__).parents[2] / "docs" / "audit-power.md"
BEGIN, END = "<!-- matrix: make audit-audits -->\n", "<!-- end of matrix -->\n"
AUDITS = ("recomposition", "record_replay", "residual_calibration", "noise_eprocess")
TIER = "smoke"
ALPHA = 0.01
# The mechanism without selections has fewer ways to go wrong: every so many seeds.
_INDEPENDENT_EVERY = 4


def trials(seeds: int) -> Iterator[tuple[Change, str, int, bool]]:
    """Every defect in every mechanism it touches, once; every harmless change over ``seeds`` seeds, mechanisms that select in turn.

    The first three seeds of a harmless change are played on the columns of the defects, the others on four of them.
    """
    for change in DEFECTS:
        yield from ((change, mechanism, 0, True) for mechanism in change.mechanisms)
    for seed in range(seeds):
        yield from ((change, WITH_SELECTION[seed % len(WITH_SELECTION)], seed, False) for change in HARMLESS)
    for seed in range(0, seeds, _INDEPENDENT_EVERY):
        yield from ((change, "independent", seed, False) for change in HARMLESS)


def sources() -> str:
    """Digest of all that a row depends on but chance."""
    planted = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")) if path != Path(__file__))
    return hashlib.sha256(source_digest().encode() + planted).hexdigest()


def row_of(change: Change, mechanism: str, seed: int, defect: bool) -> dict[str, Any]:
    """One trial as plain JSON."""
    found = released(change, mechanism, seed, TIER, few=not defect and seed >= len(WITH_SELECTION))
    good = found.caught if defect else found.green
    return {
        "change": change.name, "mechanism": mechanism, "seed": seed, "defect": defect, "good": good, "verdicts": found.verdicts,
        "seconds": first_catch(found), "kernel": found.refused_by_kernel,
    }  # fmt: skip


def first_catch(found: Caught) -> float | None:
    """Seconds of the quickest audit that contradicted the release."""
    return min((found.seconds[name] for name, verdict in found.verdicts.items() if verdict == "VIOLATION"), default=None)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The matrix, then the harmless changes, as Markdown."""
    lines = [
        f"Epsilon {EPSILON:g}, delta {DELTA:g}. A cell names the mechanisms on which that audit contradicted the release; `all` is all "
        "that it was planted in.\n",
        "| defect | on | " + " | ".join(AUDITS) + " | seconds |",
        "|---|---|" + "---|" * len(AUDITS) + "---|",
    ]
    for change in DEFECTS:
        mine = [row for row in rows if row["change"] == change.name]
        if not mine:
            continue
        cells = [_cell(mine, audit) for audit in AUDITS]
        seconds = sorted(row["seconds"] for row in mine if row["seconds"] is not None)
        spread = "" if not seconds else f"{seconds[0]:.1f} to {seconds[-1]:.1f}" if len(seconds) > 1 else f"{seconds[0]:.1f}"
        on = ", ".join(mechanism for mechanism in change.mechanisms if any(row["mechanism"] == mechanism for row in mine))
        missed = "" if all(row["good"] for row in mine) else " **missed**"
        lines.append(f"| {change.name}{missed} | {on} | {' | '.join(cells)} | {spread} |")
    harmless = [row for row in rows if not row["defect"]]
    if harmless:
        lines += ["", "| no defect | runs | green | on |", "|---|---|---|---|"]
        for change in HARMLESS:
            mine = [row for row in harmless if row["change"] == change.name]
            if mine:
                on = ", ".join(f"{name} {sum(row['mechanism'] == name for row in mine)}" for name in ALL)
                lines.append(f"| {change.name}: {change.what} | {len(mine)} | {sum(row['good'] for row in mine)} | {on} |")
        alarms = sum("VIOLATION" in row["verdicts"].values() for row in harmless)
        low, high = _interval(alarms, len(harmless))
        lines += [
            "",
            f"False alarms of the smoke-tier suite, alpha {ALPHA:g}: {alarms} of {len(harmless)} runs "
            f"(95 % interval {low:.2%} to {high:.2%}).",
        ]
    return "\n".join(lines) + "\n"


def _cell(rows: Sequence[dict[str, Any]], audit: str) -> str:
    caught = [row["mechanism"] for row in rows if row["verdicts"].get(audit) == "VIOLATION"]
    unable = [row for row in rows if row["verdicts"].get(audit) == "INCONCLUSIVE"]
    refused = [row for row in rows if row["kernel"]]
    if refused and not caught:
        return "kernel refuses"
    if caught:
        return "**all**" if len(caught) == len(rows) else f"**{', '.join(caught)}**"
    return "cannot play" if unable else "–"


def _interval(hits: int, n: int) -> tuple[float, float]:
    return lower_bound(hits, n, 0.025), upper_bound(hits, n, 0.025)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20, help="of every harmless change")
    parser.add_argument("--write", action="store_true", help="rewrite the table of docs/audit-power.md")
    parser.add_argument("--results", type=Path, help="keep and continue results here, one JSON object a line")
    options = parser.parse_args(argv)
    done: list[dict[str, Any]] = []
    digest = sources()
    if options.results is not None and options.results.exists():
        done = [row for row in map(json.loads, options.results.read_text().splitlines()) if row["sources"] == digest]
    known = {(row["change"], row["mechanism"], row["seed"]) for row in done}
    for change, mechanism, seed, defect in trials(options.seeds):
        if (change.name, mechanism, seed) in known:
            continue
        row = row_of(change, mechanism, seed, defect)
        done.append({**row, "sources": digest})
        if options.results is not None:
            options.results.parent.mkdir(parents=True, exist_ok=True)
            with options.results.open("a") as file:
                file.write(json.dumps(done[-1]) + "\n")
        mark = "ok" if row["good"] else "MISSED" if defect else "ALARM"
        caught = ", ".join(name for name, verdict in row["verdicts"].items() if verdict == "VIOLATION") or row["kernel"] or "green"
        sys.stdout.write(f"{mark:<7}{change.name:<40}{mechanism:<12}seed {seed:<3} {caught}\n")
        sys.stdout.flush()
    text = table(done)
    sys.stdout.write("\n" + text)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        head, rest = page.split(BEGIN)
        PAGE.write_text(head + BEGIN + text + END + rest.split(END)[1], encoding="utf-8")
    return 0 if passed(done) else 1


def passed(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether every defect was caught, no harmless change was left unjudged, and none was called a violation more often than alpha allows.

    Alarms are allowed, since each run has its alpha and the noise takes no seed; the test of each change is at 5 % over all of them.
    """
    if not all(row["good"] for row in rows if row["defect"]):
        return False
    for change in HARMLESS:
        mine = [row for row in rows if not row["defect"] and row["change"] == change.name]
        alarms = sum("VIOLATION" in row["verdicts"].values() for row in mine)
        if any(not row["good"] and "VIOLATION" not in row["verdicts"].values() for row in mine):
            return False
        if mine and lower_bound(alarms, len(mine), 0.05 / len(HARMLESS)) > ALPHA:
            return False
    return True


if __name__ == "__main__":
    raise SystemExit(main())
