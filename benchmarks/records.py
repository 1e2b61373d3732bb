"""The file of measured figures: one JSON object a line, appended as they come, so that an interrupted benchmark goes on where it stopped.

A figure belongs to one state of the sources; figures of another state are left in the file and not used.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.usage import ROOT

Record = Mapping[str, Any]


def source_digest(*packages: str) -> str:
    """SHA-256 of the Python files of some packages, shortened; of the product's own if none is named."""
    found = hashlib.sha256()
    for path in sorted(file for package in packages or ("dpsynth",) for file in (ROOT / package).rglob("*.py")):
        found.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def read(path: Path) -> list[Record]:
    """Every figure in a file, of whatever sources."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


class Records:
    """Figures of one state of the sources."""

    def __init__(self, path: Path, digest: str) -> None:
        self._path = path
        self._digest = digest
        self.rows: list[Record] = [row for row in read(path) if row["source"] == digest]

    def once(self, key: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> Record:
        """The figure under ``key``, measured unless it is there already."""
        for row in self.rows:
            if all(row.get(name) == value for name, value in key.items()):
                return row
        row = {**key, **measure(), "source": self._digest}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        return row

    def where(self, **wanted: Any) -> list[Record]:
        """The figures with these values."""
        return [row for row in self.rows if all(row.get(name) == value for name, value in wanted.items())]


def mean(rows: Iterable[Record], name: str) -> float | None:
    """Mean of a figure over the runs that have it."""
    values = _values(rows, name)
    return math.fsum(values) / len(values) if values else None


def standard_error(rows: Iterable[Record], name: str) -> float | None:
    """Standard error of that mean; None for a single run."""
    values = _values(rows, name)
    if len(values) < 2:
        return None
    centre = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - 1) / len(values))


def distinct(rows: Iterable[Record], name: str) -> list[Any]:
    """Values of a key in order of appearance."""
    return list(dict.fromkeys(row[name] for row in rows))


def _values(rows: Iterable[Record], name: str) -> Sequence[float]:
    return [float(row[name]) for row in rows if row.get(name) is not None]
