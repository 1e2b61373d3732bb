"""What a command says and where: results on stdout, progress and errors on stderr, JSON alone on stdout when asked.

Colour follows ``NO_COLOR`` and ``FORCE_COLOR``; what is not a terminal gets plain text.
Text is printed as it is, never as markup.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# A message or file name must not be able to move the cursor or recolour the terminal.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PLAIN_WIDTH = 100
_MAX_WIDTH = 110


def clean(text: object) -> str:
    """``text`` without control characters other than tab and newline."""
    return _CONTROL.sub("�", str(text))


def out() -> Console:
    """Where results for people go."""
    return _console(stderr=False)


def err() -> Console:
    """Where progress, warnings and errors go."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    width = min(console.width, _MAX_WIDTH) if stream.isatty() else _PLAIN_WIDTH
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def emit(document: Mapping[str, Any]) -> None:
    """The one JSON object of a command on stdout. A number that JSON lacks is a bug, not a silent NaN."""
    # Where the stream cannot hold every letter, JSON can still spell it.
    plain = not (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=plain, allow_nan=False, default=str) + "\n")
    sys.stdout.flush()


def unheard() -> AbstractContextManager[None]:
    """Around what is said on stderr: a reader who went away, or a full disk there, must not end a run that is paid for.

    Rich turns a broken pipe into SystemExit(1), which here would mean "denied".
    """
    return suppress(OSError, SystemExit)


def complain(message: str) -> None:
    """One line ``error: …`` on stderr."""
    from rich.text import Text

    line = " ".join(clean(message).split())
    with unheard():
        err().print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


def note(message: str) -> None:
    """One line on stderr that is not an error."""
    from rich.text import Text

    with unheard():
        err().print(Text(clean(message), style="dim"), soft_wrap=True)


def say(text: str) -> None:
    """A line for people on stdout."""
    out().print(clean(text), soft_wrap=True)


def panel(title: str, rows: Sequence[tuple[str, str]], *, style: str, body: Sequence[Any] = ()) -> None:
    """A title, name and value rows, then any further renderables: framed on a terminal, plain lines that can be searched elsewhere."""
    console = out()
    if not console.is_terminal:
        width = max(len(name) for name, _ in rows)
        lines = [title, *(f"  {name:<{width}}  {value}" for name, value in rows)]
        console.print(clean("\n".join(lines)), soft_wrap=True)
        for item in body:
            console.print(item)
        return
    from rich import box
    from rich.console import Group
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(clean(value)))
    frame = Panel(
        Group(grid, *body),
        title=Text(clean(title), style=f"bold {style}"),
        title_align="left",
        border_style=style,
        box=box.ROUNDED,
        padding=(1, 2),
        width=console.width,
    )
    console.print(frame)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """A table on stdout; a column whose header ends in ``#`` holds numbers: right-aligned, never wrapped."""
    out().print(table_of(headers, rows, title=title))


def table_of(headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> Any:
    """The same as a renderable."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for header in headers:
        drawn.add_column(
            header.removesuffix("#"),
            justify="right" if header.endswith("#") else "left",
            overflow="fold",
            no_wrap=header.endswith("#"),
        )
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row))
    return drawn
