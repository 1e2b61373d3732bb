"""Is the noise behind a threshold what the transcript says? Values of a toy table that lie at the threshold, drawn many times.

A value that is not named tells that its noise was below a limit, one that is named tells its noise; both together follow the declared law.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.code.discrete_law import censored_scores, normal_scores
from audits.code.recorder import THRESHOLD, Call, Recorder, observe
from audits.code.toy import Toy
from audits.result import Mechanism

# Draws around the same exact counts, and the largest table that is made for them.
_DRAWS = 200
_MOST_UNITS = 60_000


@dataclass(frozen=True)
class Named:
    """One release that names values: the noise seen, as standard normal scores under the declared law, or what is wrong beyond chance."""

    stage: str
    scores: npt.NDArray[np.float64]
    broken: str | None = None


def named_values(mechanism: Mechanism, runs: Sequence[Sequence[Call]], rng: np.random.Generator) -> list[Named]:
    """Each release of ``runs`` that names values, looked at on a table whose values are as common as its threshold asks."""
    return [_look(mechanism, place, call.event, rng) for place, call in enumerate(runs[0]) if call.kind == THRESHOLD]


def _look(mechanism: Mechanism, place: int, event: Mapping[str, Any], rng: np.random.Generator) -> Named:
    stage, stddev, threshold = str(event.get("stage")), float(event["stddev"]), int(event["threshold"])
    if not stddev > 0.0:
        return Named(stage, np.zeros(0), "declares no noise")
    toy = Toy(tuple(mechanism.columns), mechanism.unit_field, mechanism.claim.max_rows if mechanism.unit_field is not None else 1)
    # Half of the units have either value of every column.
    units = min(_MOST_UNITS, 2 * math.ceil(threshold / float(event.get("scale", 1))))
    seen = observe(mechanism, toy.frame(toy.agreeing(units)), Recorder(lambda event, cells: _DRAWS, stop_after=place + 1))
    if len(seen.calls) <= place or seen.calls[place].kind != THRESHOLD:
        return Named(stage, np.zeros(0))
    call = seen.calls[place]
    scores = []
    for output in (call.output, *call.redraws):
        broken = _broken(output, call.observed, threshold)
        if broken is not None:
            return Named(stage, np.zeros(0), broken)
        scores += list(_scores(output, call.observed, threshold, stddev, rng))
    return Named(stage, np.concatenate(scores) if scores else np.zeros(0))


def _broken(output: Mapping[str, int], observed: Mapping[str, int], threshold: int) -> str | None:
    """What no noise excuses."""
    if not set(output) <= set(observed):
        return "names a value that the table does not have"
    if any(not isinstance(count, int | np.integer) for count in output.values()):
        return "gives counts that are no integers: float noise leaks its grid"
    if any(count < threshold for count in output.values()):
        return "names a value whose noisy count is below the declared threshold"
    return None


def _scores(
    output: Mapping[str, int], observed: Mapping[str, int], threshold: int, stddev: float, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.float64]]:
    residuals = np.array([output[value] - count for value, count in observed.items() if value in output], dtype=np.int64)
    limits = np.array([threshold - count for value, count in observed.items() if value not in output], dtype=np.int64)
    if len(residuals):
        yield normal_scores(residuals, stddev, rng)
    if len(limits):
        yield censored_scores(limits, stddev, rng)
