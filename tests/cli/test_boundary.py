"""The boundary of the command line: what goes wrong inside becomes one line and a code, and never quotes a record."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from audits.result import AuditError
from dpsynth.cli import app, main
from dpsynth.errors import (
    BudgetError,
    ConfigError,
    DpsynthError,
    InputError,
    LedgerError,
    OutputError,
    SchemaError,
    VerificationError,
)
from policies import PolicyError

CANARY = "Ada-Lovelace-1815-12-10"


def _failing(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object]) -> None:
    def command() -> int:
        action()
        return 0

    monkeypatch.setitem(app.COMMANDS, "demo", command)


def _raising(error: BaseException) -> Callable[[], object]:
    def action() -> object:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SchemaError("s"), 2),
        (InputError("i"), 2),
        (ConfigError("c"), 2),
        (OutputError("o"), 2),
        (PolicyError("p"), 2),
        (AuditError("a"), 2),
        (BudgetError("b"), 4),
        (LedgerError("l"), 4),
        (VerificationError("v"), 5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_callers_mistake_is_one_line_and_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    _failing(monkeypatch, _raising(error))

    assert main(["demo"]) == code

    printed = capsys.readouterr()
    assert printed.err == f"error: {error}\n"
    assert printed.out == ""


def test_every_error_type_has_a_code_from_the_table() -> None:
    def kinds(kind: type[DpsynthError]) -> list[type[DpsynthError]]:
        return [kind, *(deep for sub in kind.__subclasses__() for deep in kinds(sub))]

    assert {kind.exit_code for kind in kinds(DpsynthError)} <= {2, 3, 4, 5}


def test_an_unexpected_exception_shows_type_and_place_and_not_its_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # float() quotes the cell: a real third-party message on real data.
    monkeypatch.setattr("dpsynth.schema.Schema.read", lambda path: float(CANARY))

    assert main(["schema", "lint", "x.json"]) == 70

    printed = capsys.readouterr()
    assert CANARY not in printed.out + printed.err
    assert "ValueError at cli/schema.py:" in printed.err


def test_a_file_elsewhere_in_a_folder_called_dpsynth_is_not_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    space: dict[str, object] = {}
    exec(compile("def read(path): return float(str(path))", "/home/somebody/dpsynth/theirs.py", "exec"), space)
    monkeypatch.setattr("dpsynth.schema.Schema.read", space["read"])

    assert main(["schema", "lint", "x.json"]) == 70
    assert "ValueError at cli/schema.py:" in capsys.readouterr().err


def test_a_panic_below_exception_shows_nothing_either(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    # What compiled extensions raise on a panic derives from BaseException, so that nobody swallows it.
    panic = type("PanicException", (BaseException,), {})
    _failing(monkeypatch, _raising(panic(CANARY)))

    assert main(["demo"]) == 70
    printed = "".join(capsys.readouterr())
    assert "PanicException" in printed and CANARY not in printed


def test_a_chained_exception_group_shows_nothing_either(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _failing(monkeypatch, _raising(ExceptionGroup(CANARY, [ValueError(CANARY)])))

    assert main(["demo"]) == 70
    assert CANARY not in "".join(capsys.readouterr())


def _warn() -> None:
    warnings.warn(CANARY, UserWarning, stacklevel=1)


def _log() -> None:
    logging.getLogger("third.party").warning(CANARY)


def _thread() -> None:
    worker = threading.Thread(target=_raising(ValueError(CANARY)))
    worker.start()
    worker.join()


class _Finalised:
    def __del__(self) -> None:
        raise ValueError(CANARY)


def _finalise() -> None:
    _Finalised()


@pytest.mark.parametrize("action", [_warn, _log, _thread, _finalise], ids=lambda action: action.__name__)
def test_third_party_noise_is_not_printed(tmp_path: Path, action: Callable[[], None]) -> None:
    program = (
        "import sys\nfrom dpsynth.cli import app\n"
        f"from tests.cli.test_boundary import {action.__name__} as act\n"
        "app.COMMANDS['demo'] = lambda: act() or 0\n"
        "sys.exit(app.main(['demo']))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_error_cannot_drive_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _failing(monkeypatch, _raising(InputError("\x1b[2Jgone\r[bold]kept[/bold]\nsecond line")))

    assert main(["demo"]) == 2
    assert capsys.readouterr().err == "error: �[2Jgone�[bold]kept[/bold] second line\n"


def test_with_json_a_failure_is_one_object_on_stdout(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", "x.csv", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["exit_code"] == 2


def test_ctrl_c_gives_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _failing(monkeypatch, _raising(KeyboardInterrupt()))

    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_ends_a_run_unwinds_it(monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int) -> None:
    unwound = []

    def action() -> None:
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            unwound.append(True)

    # Tests that run under nohup are not the process under test.
    before = signal.signal(number, signal.SIG_DFL)
    try:
        _failing(monkeypatch, action)

        assert main(["demo"]) == code
        assert unwound == [True]
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_under_nohup_a_terminal_may_go_away(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        _failing(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGHUP))
        assert main(["demo"]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_failure_to_print_does_not_show_the_first_failure() -> None:
    program = (
        "import os, sys\nfrom dpsynth.cli import app\n"
        f"def fail(): raise ValueError({CANARY!r})\n"
        "app.COMMANDS['demo'] = fail\nos.close(2)\nsys.exit(app.main(['demo', '--json']))"
    )
    # First a usage error whose line has nowhere to go, as the command takes no --json; then the bug itself.
    for text, code in ((program, 2), (program.replace(", '--json'", ""), 70)):
        done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
        assert done.returncode == code
        assert CANARY not in done.stdout + done.stderr


def test_a_reader_that_goes_away_is_neither_ok_nor_denied() -> None:
    program = "import sys; from dpsynth.cli import main; sys.exit(main(['--help']))"
    reader, writer = os.pipe()
    os.close(reader)  # before it starts: all of the help fits into a pipe
    try:
        done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False)
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")


# What a process may be started with: a stream that is closed, whose reader went away, or that has no room.
_RUNS = {"a mistake": (["schema", "lint", "none.json"], 2), "a result": (["policy", "list", "--json"], 0)}


@pytest.mark.parametrize("stream", ["closed", "unread", "full"])
@pytest.mark.parametrize(("arguments", "code"), _RUNS.values(), ids=_RUNS)
def test_nothing_that_happens_to_stderr_changes_the_exit_code(tmp_path: Path, arguments: list[str], code: int, stream: str) -> None:
    assert _ended(arguments, tmp_path, stream, "stderr") == code


@pytest.mark.parametrize(("stream", "code"), [("closed", 0), ("unread", 141), ("full", 2)])
def test_a_result_that_cannot_be_written_is_no_success_and_no_verdict(tmp_path: Path, stream: str, code: int) -> None:
    assert _ended(["policy", "list", "--json"], tmp_path, stream, "stdout") == code


def _ended(arguments: list[str], folder: Path, stream: str, name: str) -> int:
    number = {"stdout": 1, "stderr": 2}[name]
    command = [sys.executable, "-m", "dpsynth", *arguments]
    # Streams that buffer, as they do unless somebody asks for others: what they hold fails when the process ends.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    if stream == "closed":
        shell = ["/bin/sh", "-c", f'exec "$@" {number}>&-', "sh", *command]
        return subprocess.run(shell, cwd=folder, check=False, capture_output=True, env=buffered).returncode
    if stream == "full":
        if not Path("/dev/full").exists():
            pytest.skip("this system has no /dev/full")
        with Path("/dev/full").open("w") as full:
            streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, name: full}
            return subprocess.run(command, cwd=folder, check=False, env=buffered, **streams).returncode  # type: ignore[call-overload]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, name: writer}
        return subprocess.run(command, cwd=folder, check=False, env=buffered, **streams).returncode  # type: ignore[call-overload]
    finally:
        os.close(writer)


_ASCII = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.mark.parametrize("arguments", [["--help"], ["release", "--help"], ["policy", "show", "base"], ["policy", "show", "base", "--json"]])
def test_a_terminal_that_knows_no_letter_beyond_ascii_is_no_bug(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "dpsynth", *arguments], env=_ASCII, capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    if "--json" in arguments:
        assert json.loads(done.stdout) == json.loads(
            subprocess.run([sys.executable, "-m", "dpsynth", *arguments], capture_output=True, check=False).stdout
        )


@pytest.mark.parametrize("option", ["--out", "--schema", "--model", "--ledger"])
def test_a_name_that_is_no_text_is_refused_before_anything_is_spent(capsys: pytest.CaptureFixture[str], option: str) -> None:
    options = {"--schema": "s.json", "--epsilon": "1", "--delta": "1e-6", "--out": "r.csv", option: os.fsdecode(b"b\xffd.csv")}

    assert main(["synth", "v.csv", *(word for pair in options.items() for word in pair)]) == 2
    assert capsys.readouterr().err.startswith("error: the argument 'b\\udcffd.csv' is not UTF-8 text")
