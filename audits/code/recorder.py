"""Hooks on a mechanism's noisy releases: `Recorder` notes what happens, `Replayer` repeats frozen answers.

The idea of replaying frozen outputs on a neighbour is dp-recorder's (Cebere et al. 2026). Whatever ran under such a
hook is not a release.
"""

from __future__ import annotations

import copy
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pandas as pd

    from audits.result import Hook, Mechanism


# The artefact, if a mechanism gives it, that lists its releases as it would account for them: JSON with ``events``.
TRANSCRIPT = "transcript"
# The kind of a release that names values of the table: its exact answer is a structured array of ``value`` and ``count``, sorted by value,
# its output a mapping from the named values to noisy counts.
THRESHOLD = "threshold"
RELEASES = ("gaussian", "exponential", THRESHOLD)


@dataclass(frozen=True)
class Call:
    """One noisy release: event, exact answer on this table, what was returned, fresh draws around the exact answer."""

    event: Mapping[str, Any]
    exact: npt.NDArray[Any]
    output: Any
    redraws: tuple[Any, ...] = ()

    @property
    def kind(self) -> str:
        """One of `RELEASES`, or a kind that the audits do not know."""
        return str(self.event.get("kind"))

    @property
    def stage(self) -> str:
        """The step of the mechanism that asked."""
        return str(self.event.get("stage"))

    @property
    def observed(self) -> dict[str, int]:
        """The values that the table has and their counts, for a release that names values."""
        return {str(value): int(count) for value, count in zip(self.exact["value"], self.exact["count"], strict=True)}


class RunComplete(BaseException):
    """Every release that was asked for has been seen. Not an `Exception`, so that no handler swallows it."""


class Diverged(BaseException):
    """The replay asked for a release that the frozen run cannot answer."""


Redraws = Callable[[Mapping[str, Any], int], int]


def no_redraws(event: Mapping[str, Any], cells: int) -> int:
    """One draw per release, as in production."""
    return 0


class Recorder:
    """Notes every release of a run, and cuts the run short after ``stop_after`` of them.

    ``redraws(event, cells)`` says how many extra draws to take around the same exact answer; the run goes on with the
    first draw.
    """

    def __init__(self, redraws: Redraws = no_redraws, stop_after: int | None = None) -> None:
        self._redraws = redraws
        self._stop_after = stop_after
        self.calls: list[Call] = []

    def __call__(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
        return self._note(event, exact, draw, draw())

    def _note(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any], output: Any) -> Any:
        # Copies throughout: a mechanism may go on to change its arrays in place.
        extra = self._redraws(event, int(np.size(exact))) if event.get("kind") in RELEASES else 0
        redraws = tuple(copy.copy(draw()) for _ in range(extra))
        self.calls.append(Call(copy.deepcopy(dict(event)), np.array(exact, copy=True), copy.copy(output), redraws))
        if self._stop_after is not None and len(self.calls) >= self._stop_after:
            raise RunComplete
        return output


class Replayer(Recorder):
    """Answers every release with the frozen run's output and notes the exact answers of this table."""

    def __init__(self, frozen: Sequence[Call], redraws: Redraws = no_redraws, stop_after: int | None = None) -> None:
        super().__init__(redraws, stop_after)
        self._frozen = tuple(frozen)

    def __call__(self, event: Mapping[str, Any], exact: npt.NDArray[Any], draw: Callable[[], Any]) -> Any:
        position = len(self.calls)
        if position >= len(self._frozen):
            self.calls.append(Call(copy.deepcopy(dict(event)), np.array(exact, copy=True), None))
            raise Diverged
        frozen = self._frozen[position]
        # Which values a table has is what a threshold hides; every other answer has a shape that is public.
        same_shape = event.get("kind") == THRESHOLD or np.shape(exact) == frozen.exact.shape
        if event.get("kind") != frozen.event.get("kind") or not same_shape:
            self.calls.append(Call(copy.deepcopy(dict(event)), np.array(exact, copy=True), None))
            raise Diverged
        return self._note(event, exact, draw, copy.copy(frozen.output))


@dataclass(frozen=True)
class Outcome:
    """What one observed run did. Errors and warnings are kept as a type and a digest: their text may quote a cell.

    ``written`` holds the events of the run's own transcript, if the mechanism gives one.
    """

    calls: tuple[Call, ...]
    artefacts: Mapping[str, str] | None
    error: tuple[str, str] | None
    warnings: tuple[str, ...]
    complete: bool
    diverged: bool
    written: tuple[Mapping[str, Any], ...] | None = None


def observe(mechanism: Mechanism, table: pd.DataFrame, hook: Recorder) -> Outcome:
    """Run ``mechanism`` under ``hook``. Artefacts come back as digests; None if the run was cut short or failed."""
    artefacts: dict[str, str] | None = None
    error: tuple[str, str] | None = None
    complete = diverged = False
    written: tuple[Mapping[str, Any], ...] | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            made = mechanism(table.copy(deep=True), _as_hook(hook))
            artefacts = {name: _digest(data) for name, data in sorted(made.items())}
            written = None if TRANSCRIPT not in made else tuple(json.loads(made[TRANSCRIPT])["events"])
            complete = True
        except RunComplete:
            complete = True
        except Diverged:
            diverged = True
        except Exception as failure:  # The only way to learn that a neighbour makes the mechanism fail is to let it fail.
            error = (type(failure).__name__, _digest(str(failure).encode(errors="surrogatepass")))
    heard = tuple(sorted({f"{w.category.__name__}:{_digest(str(w.message).encode(errors='surrogatepass'))}" for w in caught}))
    return Outcome(tuple(hook.calls), artefacts, error, heard, complete, diverged, written)


def _as_hook(hook: Recorder) -> Hook:
    return hook


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
