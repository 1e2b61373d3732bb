"""Durations: ISO 8601 texts such as ``P3D`` or ``PT4H30M``, counted in whole steps of fixed length.

Steps are what is modelled. Years and months have no fixed length, so a text with one is none of the declared values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth.errors import SchemaError

if TYPE_CHECKING:
    from dpsynth.schema import Field

STEPS = {"week": 604_800, "day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
"""Seconds in a step, by ``dp:resolution``."""

_NUMBER = r"(\d{1,15}(?:[.,]\d{1,9})?)"
_TEXT = re.compile(
    rf"([+-]?)P(?:{_NUMBER}W)?(?:{_NUMBER}D)?(?:T(?=\d)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?",
    re.ASCII,
)
# Numbers of seconds beyond this are not counted exactly; no declared bound lies there.
_FAR = 2**53


def seconds_of(text: str) -> int | None:
    """Whole seconds of an ISO 8601 duration, rounded down; None if it is none, or has years or months.

    >>> seconds_of("P3D"), seconds_of("PT1H30M"), seconds_of("P1W"), seconds_of("-PT0.5H"), seconds_of("P1M")
    (259200, 5400, 604800, -1800, None)
    """
    found = _TEXT.fullmatch(text.strip().upper())
    if found is None or not any(found.groups()[1:]):
        return None
    whole = sum(Decimal(part.replace(",", ".")) * step for part, step in zip(found.groups()[1:], STEPS.values(), strict=True) if part)
    return max(-_FAR, min(_FAR, int((-whole if found[1] == "-" else whole).to_integral_value("ROUND_FLOOR")))) if whole else 0


def text_of(seconds: int) -> str:
    """The one text of a duration that is written: days, hours, minutes and seconds, without those that are zero.

    >>> text_of(259200), text_of(5400), text_of(-90000), text_of(0)
    ('P3D', 'PT1H30M', '-P1DT1H', 'P0D')
    """
    days, rest = divmod(abs(seconds), STEPS["day"])
    hours, rest = divmod(rest, STEPS["hour"])
    minutes, left = divmod(rest, STEPS["minute"])
    clock = "".join(f"{number}{mark}" for number, mark in ((hours, "H"), (minutes, "M"), (left, "S")) if number)
    date = f"{days}D" if days or not clock else ""
    return f"{'-' if seconds < 0 else ''}P{date}{'T' if clock else ''}{clock}"


def step_of(field: Field) -> str:
    """The unit of time in which a duration is counted."""
    return str(field.resolution or "day")


def shown(field: Field, steps: Any) -> Any:
    """A declared number of steps as the text of a duration; None stays None."""
    return None if steps is None else text_of(int(steps) * STEPS[step_of(field)])


def texts_of(field: Field, steps: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], list[str]]:
    """The place of each number of steps in a list of texts."""
    distinct, places = np.unique(steps, return_inverse=True)
    length = STEPS[step_of(field)]
    return places.reshape(steps.shape), [text_of(int(number) * length) for number in distinct]


def steps_of(field: Field, seconds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Whole steps that have passed, rounded down."""
    return np.asarray(seconds // STEPS[step_of(field)])


def declared(name: str, resolution: Any, key: str, value: Any) -> Any:
    """A declared duration as a number of steps; it must be a whole number of them."""
    if value is None:
        return None
    if resolution not in (None, *STEPS):
        raise SchemaError(f"field {name!r} has dp:resolution={resolution!r}; for a duration it must be one of {', '.join(STEPS)}")
    step = str(resolution or "day")
    seconds = seconds_of(value) if isinstance(value, str) else None
    if seconds is None:
        raise SchemaError(
            f'field {name!r} has {key}={value!r}; write an ISO 8601 duration without years and months, e.g. "P30D" or "PT12H"'
        )
    if seconds % STEPS[step]:
        raise SchemaError(f"field {name!r} has {key}={value!r}, which is no whole number of {step}s; set a finer dp:resolution")
    return seconds // STEPS[step]


def in_steps(item: Mapping[str, Any]) -> dict[str, Any]:
    """A field of a schema's JSON with its durations as numbers of steps, as for a column of whole numbers."""
    name, resolution = item["name"], item.get("dp:resolution")
    out = dict(item)
    bounds = dict(item.get("constraints", {}))
    for key in ("minimum", "maximum"):
        if key in bounds:
            bounds[key] = declared(name, resolution, f"constraints.{key}", bounds[key])
    out["constraints"] = bounds
    for key in ("dp:bins", "dp:spikes"):
        if isinstance(item.get(key), list):
            out[key] = [declared(name, resolution, key, value) for value in item[key]]
    if "dp:unseen" in item:
        out["dp:unseen"] = declared(name, resolution, "dp:unseen", item["dp:unseen"])
    return out


def of_timedelta(length: timedelta) -> str:
    """The text of a Python ``timedelta``, whole seconds, rounded down."""
    return text_of(length.days * STEPS["day"] + length.seconds)


__all__ = ["STEPS", "declared", "in_steps", "of_timedelta", "seconds_of", "shown", "step_of", "steps_of", "text_of", "texts_of"]
