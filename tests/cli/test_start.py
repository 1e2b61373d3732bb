"""Starting: fast, quiet, and without a library that only a command needs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from dpsynth import __version__
from dpsynth.cli import main
from tests.house.cli_pages import commands

HELP_SECONDS = 0.5
HEAVY = ("numpy", "pandas", "scipy", "sklearn", "opendp", "pyarrow", "anonymeter", "faker", "jinja2", "jsonschema")


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dpsynth", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}, **environment},
    )


def test_help_is_there_in_half_a_second() -> None:
    def used() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    # Processor time, best of three: a busy machine must not fail the build, a slow import must.
    seconds = []
    for _ in range(3):
        began = used()
        assert _run("--help").returncode == 0
        seconds.append(used() - began)

    assert min(seconds) < HELP_SECONDS


def test_no_command_loads_a_heavy_library_to_print_its_help() -> None:
    program = (
        "import sys; from dpsynth.cli import main\n"
        f"for path in {[path for path, _ in commands()]!r}: assert main([*path.split(), '--help']) == 0\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr == "[]\n"


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"dpsynth {__version__}\n"


def test_without_a_command_help_is_shown_and_the_code_says_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: dpsynth" in capsys.readouterr().out


@pytest.mark.parametrize("group", ["policy", "schema", "ledger"])
def test_a_group_without_a_command_shows_its_help(group: str) -> None:
    done = _run(group)

    assert f"dpsynth {group}" in done.stdout + done.stderr
    assert done.returncode in (0, 2)


def test_an_unknown_command_is_named() -> None:
    done = _run("releas")

    assert done.returncode == 2
    assert done.stderr.startswith("error: No such command 'releas'")


def test_what_is_not_a_terminal_gets_no_escape_codes() -> None:
    assert "\x1b" not in _run("policy", "list").stdout


def test_force_color_brings_colour_and_no_color_takes_it_away() -> None:
    assert "\x1b[" in _run("bad", FORCE_COLOR="1").stderr
    assert "\x1b[3" not in _run("bad", FORCE_COLOR="1", NO_COLOR="1").stderr


@pytest.mark.parametrize("name", ["synth", "release", "demo"])
def test_a_flag_is_shown_without_a_value_to_type(capsys: pytest.CaptureFixture[str], name: str) -> None:
    command = dict(commands())[name]
    flags = {option for parameter in command.params if getattr(parameter, "is_flag", False) for option in parameter.opts}

    assert main([name, "--help"]) == 0

    shown = [line for line in capsys.readouterr().out.splitlines() if flags & set(line.split())]
    assert len(shown) >= 2
    assert not any("<bool>" in line for line in shown)
