"""Wall time, CPU seconds and peak memory of a whole process, children included."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Usage:
    """``cpu`` adds user and system seconds of all threads. ``code`` is negative when a signal ended the process."""

    code: int
    wall: float
    cpu: float
    peak_mb: float
    stdout: str
    stderr: str


def measure(command: Sequence[str], limit: float = 600.0) -> Usage:
    """Run ``command`` from the folder of the checkout; after ``limit`` seconds it is killed, and its code is negative."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py")), str(out), str(limit), *command]
        done = subprocess.run(launcher, check=True, capture_output=True, text=True, cwd=ROOT)
        used = json.loads(done.stdout)
        texts = [path.read_text(encoding="utf-8", errors="replace") for path in (out, out.with_name("out.err"))]
    return Usage(int(used["code"]), float(used["wall"]), float(used["cpu"]), float(used["peak_mb"]), *texts)
