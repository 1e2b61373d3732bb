"""kill -9 before and after every database step, and eight writers at once: never under-counted, never overspent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dpsynth
from dpsynth.privacy.ledger import Ledger
from tests.dpsynth.privacy.conftest import Place

# For each (ledger, statement, moment) of the JSON in argv, a fork runs one release and dies there; COMMIT counts as a
# statement. What the fork told its caller before it died is printed, a line of JSON per fork; "data" stands for the moment
# records are looked at, and the number at the end for how many statements there were.
CHILD = """
import json, os, signal, sqlite3, sys
from dpsynth.privacy import ledger as module

def mortal(method, state):
    def call(*arguments, **more):
        state["calls"] += 1
        doomed = state["calls"] == state["kill_at"]
        if doomed and state["moment"] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = method(*arguments, **more)
        if doomed:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call

def release(path, state, say):
    ledger = module.Ledger.open(path)
    if path.startswith("postgresql://"):
        import psycopg
        psycopg.Connection.execute = mortal(psycopg.Connection.execute, state)
        psycopg.Connection.commit = mortal(psycopg.Connection.commit, state)
    else:
        class Mortal(sqlite3.Connection):
            execute = mortal(sqlite3.Connection.execute, state)
        connect = sqlite3.connect
        sqlite3.connect = lambda *a, **k: connect(*a, factory=Mortal, **k)
    ticket = ledger.reserve("p", "person", "1", "1e-6", None, purpose="x", cap=("9", "1e-3"))
    say("reserved")
    ticket = ledger.mark_read(ticket)
    say("data")
    ledger.commit(ticket, outcome="permitted")
    say("committed")
    say(str(state["calls"]))

if sys.argv[1].startswith("[[\\"postgresql://"):
    import psycopg  # once, before the forks
for path, kill_at, moment in json.loads(sys.argv[1]):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        release(path, {"calls": 0, "kill_at": kill_at, "moment": moment}, lambda text: os.write(writing, (text + " ").encode()))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read().split()
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told]))
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


def _die(cases: list[tuple[str, int, str]]) -> list[tuple[int, list[str]]]:
    """Exit status and last words of each case."""
    command = [sys.executable, "-c", CHILD, json.dumps(cases)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment(), check=False)
    assert done.returncode == 0, done.stderr
    return [(status, told) for status, told in map(json.loads, done.stdout.splitlines())]


def test_killed_at_any_step_the_ledger_stays_sound_and_never_forgets_a_charge(place: Place) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork and SIGKILL")
    [(status, whole)] = _die([(place.new(), 0, "before")])
    assert (status, whole[:3]) == (0, ["reserved", "data", "committed"])
    cases = [(place.new(), step, moment) for step in range(1, int(whole[3]) + 1) for moment in ("before", "after")]
    for (path, step, moment), (status, promised) in zip(cases, _die(cases), strict=True):
        where = f"killed {moment} step {step}, having said {promised}"
        assert status == -9, where
        ledger = Ledger.open(path, create=False)
        ledger.verify()
        spent = ledger.spent("p", "person")
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


def test_eight_writers_together_never_overspend(place: Place) -> None:
    writers, requests = 8, 50
    where = place.new()
    ledger = Ledger.open(where)
    ledger.set_cap("p", "person", 1000, "0.5")
    command = [sys.executable, "-c", WRITER, where, str(requests)]
    pipe = subprocess.PIPE
    children = [subprocess.Popen(command, stdout=pipe, text=True, env=_environment()) for _ in range(writers)]
    granted = sum(int(child.communicate(timeout=120)[0]) for child in children)
    assert [child.returncode for child in children] == [0] * writers
    assert granted == 1000 // 7
    assert ledger.spent("p", "person").epsilon == 7 * granted
    assert ledger.verify().rows == 2 + granted
