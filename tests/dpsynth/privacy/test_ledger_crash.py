"""kill -9 before and after every database step, and eight writers at once: never under-counted, never overspent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dpsynth
from dpsynth.privacy.ledger import Ledger

# Runs one release and dies at the given execute() call. Says on stdout what the caller had been promised by then;
# "data" stands for the moment records are looked at.
CHILD = """
import os, signal, sqlite3, sys
from dpsynth.privacy import ledger as module
path, kill_at, before = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "before"
calls = 0

def say(text):
    os.write(1, (text + "\\n").encode())

class Mortal(sqlite3.Connection):
    def execute(self, *arguments):
        global calls
        calls += 1
        if calls == kill_at and before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = super().execute(*arguments)
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

ledger = module.Ledger.open(path)
connect = sqlite3.connect
sqlite3.connect = lambda *a, **k: connect(*a, factory=Mortal, **k)
ticket = ledger.reserve("p", "person", "1", "1e-6", None, purpose="x", cap=("9", "1e-3"))
say("reserved")
ticket = ledger.mark_read(ticket)
say("data")
ledger.commit(ticket, outcome="permitted")
say("committed")
say(str(calls))
"""

WRITER = """
import sys
from dpsynth.privacy.ledger import BudgetExhausted, Ledger
ledger, granted = Ledger.open(sys.argv[1], timeout=60), 0
for _ in range(int(sys.argv[2])):
    try:
        ledger.reserve("p", "person", "7", "1e-9", None, purpose="x", max_attempts=10_000)
        granted += 1
    except BudgetExhausted:
        pass
print(granted)
"""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(dpsynth.__file__).parents[1])}


def _run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)


def test_killed_at_any_step_the_ledger_stays_sound_and_never_forgets_a_charge(tmp_path: Path) -> None:
    if not hasattr(os, "kill") or sys.platform == "win32":
        pytest.skip("needs SIGKILL")
    whole = _run(CHILD, str(Ledger.open(tmp_path / "whole").path), "0", "before").stdout.split()
    assert whole[:3] == ["reserved", "data", "committed"]
    for kill_at in range(1, int(whole[3]) + 1):
        for moment in ("before", "after"):
            ledger = Ledger.open(tmp_path / f"{kill_at}-{moment}")
            child = _run(CHILD, str(ledger.path), str(kill_at), moment)
            assert child.returncode == -9, child.stderr
            promised = child.stdout.split()
            ledger.verify()
            spent = ledger.spent("p", "person")
            where = f"killed {moment} step {kill_at}, having said {promised}"
            if "reserved" in promised:
                assert spent.epsilon == 1, where
            if "committed" in promised:
                assert spent.releases == 1, where
            if "data" in promised:
                # The charge cannot be taken back any more.
                unfinished = ledger.show()["populations"][0]["unfinished"]
                assert not any(ledger.abandon(row["id"]) for row in unfinished), where
                assert ledger.spent("p", "person").epsilon == 1, where
            ledger.reserve("p", "person", "1", "1e-6", None, purpose="next")  # the dead process holds no lock


def test_eight_writers_together_never_overspend(tmp_path: Path) -> None:
    writers, requests = 8, 50
    ledger = Ledger.open(tmp_path / "race")
    ledger.set_cap("p", "person", 1000, "0.5")
    command = [sys.executable, "-c", WRITER, str(ledger.path), str(requests)]
    pipe = subprocess.PIPE
    children = [subprocess.Popen(command, stdout=pipe, text=True, env=_environment()) for _ in range(writers)]
    granted = sum(int(child.communicate(timeout=120)[0]) for child in children)
    assert [child.returncode for child in children] == [0] * writers
    assert granted == 1000 // 7
    assert ledger.spent("p", "person").epsilon == 7 * granted
    assert ledger.verify().rows == 2 + granted
