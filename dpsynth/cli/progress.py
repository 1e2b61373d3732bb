"""Progress of the stages on stderr: a bar on a terminal, one plain line per finished stage anywhere else.

It is told a stage name and two counts, so it has nothing private to show.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

from dpsynth.cli.console import clean, err, unheard

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Stages:
    """A context manager that is called as ``progress(stage, done, total)``; ``total`` 0 means unknown."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage: str | None = None
        self._began = 0.0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Stages:
        if sys.stderr.isatty():
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                SpinnerColumn(finished_text="✓"),
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=28),
                TextColumn("{task.fields[counts]}", markup=False),
                TimeElapsedColumn(),
                console=err(),
            )
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close(finished=kind is None)
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._close(finished=True)
            self._stage, self._began = stage, time.monotonic()
            if self._bar is not None:
                self._task = self._bar.add_task(clean(stage), total=total or None, counts="")
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total or None, counts=f"{done}/{total}" if total > 1 else "")

    def _close(self, *, finished: bool) -> None:
        if self._stage is None:
            return
        seconds = time.monotonic() - self._began
        self.seconds[self._stage] = self.seconds.get(self._stage, 0.0) + seconds
        if self._bar is not None and self._task is not None:
            total = self._bar.tasks[self._task].total or 1
            if finished:
                self._bar.update(self._task, completed=total, total=total)
            self._bar.stop_task(self._task)
        elif self._bar is None:
            word = "done" if finished else "stopped"
            with unheard():
                print(f"{word:>7}  {clean(self._stage):<40} {seconds:7.1f} s", file=sys.stderr, flush=True)
        self._stage = None
