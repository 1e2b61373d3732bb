"""The option tables of docs/cli.md, from the parser itself. ``python -m tests.house.cli_pages`` writes them anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from dpsynth.cli.app import build

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
MARK = "<!-- below: python -m tests.house.cli_pages -->\n"


def tables() -> str:
    """One section per command: what it does, then a row per argument and option."""
    return "\n".join(line for path, command in commands() for line in _section(path, command))


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that can be run, by its full name."""
    for name, command in get_command(build()).commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            yield from ((f"{name} {inner}", sub) for inner, sub in command.commands.items())
        else:
            yield name, command


def _section(path: str, command: Any) -> Iterator[str]:
    yield f"## dpsynth {path}"
    yield ""
    yield from (line.strip() for line in (command.help or "").strip().splitlines())
    yield ""
    yield "| | | |"
    yield "|---|---|---|"
    for parameter in command.params:
        names = " ".join(f"`{name}`" for name in parameter.opts) if parameter.opts[0].startswith("-") else f"`{parameter.metavar}`"
        yield f"| {names} | {'required' if parameter.required else ''} | {_cell(parameter.help or '')} |"
    yield ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    head = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(head + MARK + "\n" + tables(), encoding="utf-8")
