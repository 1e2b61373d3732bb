"""The table of commands, and the one boundary where exceptions become one line and an exit code.

An unexpected exception is shown as its type and our own file and line. Its message is not: it may quote a record.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, TextIO

import typer
from typer.main import get_command

from dpsynth.cli import (
    audit,
    audit_mechanism,
    demo,
    gate,
    keygen,
    ledger,
    mix,
    plan,
    policy,
    publish,
    release,
    report,
    revoke,
    sample,
    schema,
    sign,
    synth,
    verify,
)
from dpsynth.cli.console import complain, emit
from dpsynth.cli.exits import BUG, HUNG_UP, INTERRUPTED, OK, TERMINATED, UNHEARD, USAGE
from dpsynth.errors import ConfigError, DpsynthError

COMMANDS: dict[str, Callable[..., int]] = {
    "demo": demo.command,
    "plan": plan.command,
    "release": release.command,
    "synth": synth.command,
    "sample": sample.command,
    "mix": mix.command,
    "audit": audit.command,
    "audit-mechanism": audit_mechanism.command,
    "gate": gate.command,
    "publish": publish.command,
    "report": report.command,
    "sign": sign.command,
    "verify": verify.command,
    "revoke": revoke.command,
    "keygen": keygen.command,
}
GROUPS: dict[str, typer.Typer] = {
    "policy": policy.group,
    "schema": schema.group,
    "ledger": ledger.group,
}

# The base of what the option parser raises; typer carries its own copy of click, so it is found through a public name.
_UsageProblem = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
# The disk's fault; the text that the system has for it quotes nothing.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PACKAGES = ("dpsynth", "audits", "policies", "reports")


def build() -> typer.Typer:
    """The application, from the two tables."""
    application = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        # Typer's own error pages print local variables, and those hold records.
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        rich_markup_mode="rich",
    )
    application.callback()(_root)
    for name, function in COMMANDS.items():
        application.command(name)(function)
    for name, group in GROUPS.items():
        application.add_typer(group, name=name)
    return application


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing escapes but the code and what the command printed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _ready_streams()
    with _discretion():
        code, message = _attempt(arguments)
        if message is not None:
            # Outside the handlers, so that a failure to print cannot chain to the first failure and show its message.
            complain(message)
            try:
                if "--json" in arguments:
                    emit({"error": message, "exit_code": code})
            except OSError:
                _abandon(sys.stdout)
        # What stderr still holds may find no reader or no room: said here, or the interpreter ends with a code of its own.
        try:
            sys.stderr.flush()
        except OSError:
            _abandon(sys.stderr)
        return code


def _attempt(arguments: list[str]) -> tuple[int, str | None]:
    """Run the command; its exit code, and the error line if it failed."""
    try:
        for argument in arguments:
            _check_text(argument)
        code = _invoke(arguments) if arguments else _invoke(["--help"]) or USAGE
        # Here and not while the interpreter closes: a result that could not be written is a failure.
        sys.stdout.flush()
        return code, None
    except KeyboardInterrupt:
        return INTERRUPTED, "interrupted"
    except _Ended as ended:
        return ended.code, ended.word
    except DpsynthError as error:
        return error.exit_code, str(error)
    except BaseException as error:
        # Rich turns a broken pipe into SystemExit(1), which here would mean "denied".
        if isinstance(error, BrokenPipeError) or isinstance(error.__context__, BrokenPipeError):
            _abandon(sys.stdout)
            return UNHEARD, None
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            _abandon(sys.stdout)
            return USAGE, f"what the command had to write could not be written: {os.strerror(error.errno)}"
        return _unexpected(error)


def _without_types_of_flags(command: Any) -> None:
    """A flag is given or not; ``<bool>`` behind it in the help would look like a value to type."""
    for inner in getattr(command, "commands", {}).values():
        _without_types_of_flags(inner)
    for parameter in command.params:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""


def _check_text(argument: str) -> None:
    """Refuse bytes that are no text before anything is spent: half of the libraries below cannot open or write such a name."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"the argument {argument!r} is not UTF-8 text; rename the file, or set a locale for UTF-8, e.g. LC_ALL=C.UTF-8"
        ) from None


def _invoke(arguments: list[str]) -> int:
    """Parse and run, without the parser's own error pages: they know fewer exit codes than we do."""
    command: Any = get_command(build())
    _without_types_of_flags(command)
    try:
        with command.make_context("dpsynth", arguments) as context:
            result = command.invoke(context)
    except typer.Exit as done:
        return done.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    return result if isinstance(result, int) else OK


def _ready_streams() -> None:
    """A process may be started without stdout or stderr, or with one that cannot hold every letter: neither must end a run.

    What cannot be written is lost, a letter becomes a question mark, and the exit code says the rest.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123


def _abandon(stream: TextIO) -> None:
    """The reader of our output went away. Point the stream at nothing, or the interpreter complains while it closes."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _unexpected(error: BaseException) -> tuple[int, str]:
    if isinstance(error, _UsageProblem):
        return USAGE, error.format_message()  # type: ignore[attr-defined]
    if isinstance(error, _leaf_errors()):
        return USAGE, str(error)
    # By their folders, not by their names: a checkout may lie in a folder called dpsynth.
    ours = {Path(file).parent for name in _PACKAGES if (file := getattr(sys.modules.get(name), "__file__", None))}
    where = next(
        (
            f"{Path(frame.filename).parent.name}/{Path(frame.filename).name}:{frame.lineno}"
            for frame in reversed(traceback.extract_tb(error.__traceback__))
            if not ours.isdisjoint(Path(frame.filename).parents)
        ),
        "outside dpsynth",
    )
    return BUG, (
        f"internal error: {type(error).__name__} at {where}; its message is withheld because it may quote the data. "
        "This is a bug: please report the type and the place"
    )


def _leaf_errors() -> tuple[type[Exception], ...]:
    """The caller-mistake types of the leaves that were imported; one that was not cannot have raised."""
    names = {"policies.errors": "PolicyError", "audits.result": "AuditError", "reports.page": "ReportError"}
    loaded = ((sys.modules.get(module), name) for module, name in names.items())
    return tuple(getattr(module, name) for module, name in loaded if hasattr(module, name))


class _Ended(BaseException):
    """A signal that ends the run, as an exception: drafts are removed and reservations closed on the way out, as after Ctrl-C."""

    def __init__(self, code: int, word: str) -> None:
        super().__init__()
        self.code, self.word = code, word


# SIGHUP: the terminal, or the connection to it, went away.
_ENDING = {signal.SIGTERM: (TERMINATED, "terminated"), signal.SIGHUP: (HUNG_UP, "the terminal went away")}


def _end(number: int, frame: FrameType | None) -> None:
    raise _Ended(*_ENDING[signal.Signals(number)])


@contextlib.contextmanager
def _discretion() -> Iterator[None]:
    """Keep third-party warnings, log records and thread tracebacks off the terminal: they can quote records."""
    silent = logging.NullHandler()
    root, thread_hook, unraisable_hook = logging.getLogger(), threading.excepthook, sys.unraisablehook
    in_main_thread = threading.current_thread() is threading.main_thread()
    root.addHandler(silent)
    threading.excepthook = lambda _: None
    sys.unraisablehook = lambda _: None
    # What the caller ignores, as nohup does, stays ignored.
    heard = [number for number in _ENDING if in_main_thread and signal.getsignal(number) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, _end) for number in heard}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        root.removeHandler(silent)
        threading.excepthook, sys.unraisablehook = thread_hook, unraisable_hook


def _version(asked: bool) -> None:
    if asked:
        from dpsynth import __version__

        typer.echo(f"dpsynth {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Differentially private synthetic tables, attacked before they leave, released only by policy.

    Exit codes: 0 ok or permitted · 1 denied by policy · 2 usage or input
    3 indeterminate · 4 budget or ledger · 5 verification failed · 70 a bug
    """
