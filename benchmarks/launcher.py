"""Runs one command and prints what it used, as JSON. Started as a script of its own, before any large import.

A child counts its parent's memory as its own until it has started, so the parent must be small.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from types import FrameType


def main(output: str, limit: str, *command: str) -> int:
    """Run ``command`` for at most ``limit`` seconds with its stdout in the file ``output`` and its stderr beside it."""
    with open(output, "wb") as out, open(output + ".err", "wb") as err:  # noqa: PTH123 - pathlib would be most of our memory
        began = time.monotonic()
        child = subprocess.Popen(command, stdout=out, stderr=err, start_new_session=True)

        def give_up(number: int, frame: FrameType | None) -> None:
            os.killpg(child.pid, signal.SIGKILL)

        signal.signal(signal.SIGALRM, give_up)
        signal.signal(signal.SIGTERM, give_up)
        signal.alarm(max(1, round(float(limit))))
        _, status, usage = os.wait4(child.pid, 0)
        signal.alarm(0)
        wall = time.monotonic() - began
    # Kilobytes on Linux, bytes on macOS.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    used = {"code": os.waitstatus_to_exitcode(status), "wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": peak / 1e6}
    print(json.dumps(used))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
