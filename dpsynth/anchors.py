"""Dates as a distance from another date of the same row (``dp:anchor``): whole steps that have passed since the anchor.

Distances are what is counted and modelled; dates come back as anchor plus distance. So a stay of five days stays five days however
coarse its first day is. Steps have a fixed length, or adding them again would not give the same distance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from dpsynth.constraints import Column
from dpsynth.errors import SchemaError

if TYPE_CHECKING:
    from dpsynth.schema import Field

Seconds = npt.NDArray[np.int64]

STEPS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}
"""Seconds in a step, by ``dp:resolution``."""

# No two moments inside these bounds are so far apart that their distance overflows.
_FAR = 2**61


def step_of(field: Field) -> str:
    """The unit of time of a date or datetime, in which its distance from an anchor is counted."""
    return str(field.resolution or ("day" if field.type == "date" else "hour"))


def distances(field: Field, anchor: Seconds, moment: Seconds) -> npt.NDArray[np.int64]:
    """Whole steps from ``anchor`` to ``moment``, rounded down; both are seconds since 1970. A date counts from the day of its anchor."""
    start, end = np.clip(_started(field, anchor), -_FAR, _FAR), np.clip(_started(field, moment), -_FAR, _FAR)
    return np.asarray((end - start) // STEPS[step_of(field)])


def moments_at(field: Field, anchor: npt.NDArray[np.datetime64], steps: npt.NDArray[np.int64]) -> npt.NDArray[np.datetime64]:
    """The moments ``steps`` after ``anchor``; the inverse of `distances`. Anything where a cell is missing."""
    start = _started(field, anchor.astype("datetime64[s]").astype(np.int64))
    return (start + steps * STEPS[step_of(field)]).astype("datetime64[s]").astype("datetime64[us]")


def distance_column(field: Field, anchor: Column, moment: Column) -> Column:
    """The distances between two columns of seconds, as floats; missing where ``moment`` is."""
    apart = distances(field, anchor.values.astype(np.int64), moment.values.astype(np.int64))
    return Column(np.where(moment.missing, 0.0, apart), moment.missing)


def shown(field: Field, steps: object) -> str:
    """A distance in words, such as ``admitted + 3 days``."""
    return f"{field.anchor} + {steps} {step_of(field)}s"


def implied(fields: Mapping[str, Field]) -> list[dict[str, Any]]:
    """The relations that anchors bring along, as JSON of ``dp:constraints``: where an anchor is missing, so is what counts from it."""
    found = []
    for field in fields.values():
        anchor = fields.get(field.anchor or "")
        if anchor is not None and anchor.nullable and field.nullable and "identifier" not in (anchor.role, field.role):
            found.append({"kind": "nullIf", "field": field.name, "when": {anchor.name: None}})
    return found


def check(fields: Iterable[Field]) -> None:
    """Refuse anchors that do not fit the other columns."""
    by_name = {field.name: field for field in fields}
    for field in by_name.values():
        if field.anchor is not None:
            for rule in _misfits(field, by_name.get(field.anchor)):
                raise SchemaError(f"field {field.name!r} has dp:anchor={field.anchor!r}, {rule}")


def _misfits(field: Field, anchor: Field | None) -> Iterator[str]:
    if anchor is None:
        yield "which is not a field; name a date or datetime of the same row"
        return
    if anchor.name == field.name:
        yield "which is the field itself; name another date of the same row"
    if anchor.role == "identifier" or anchor.type not in ("date", "datetime"):
        yield "which must be a date or datetime that is modelled"
    if anchor.anchor is not None:
        yield f"which is anchored itself; distances do not add up along a chain, so count both from {anchor.anchor!r}"
    if anchor.nullable and not field.nullable:
        yield 'which can be missing, and a distance from nothing is missing too; add "dp:nullable": true to the field'
    if field.static and not anchor.static:
        yield "which differs from row to row of a person, so the field cannot be dp:static; make both static, or neither"
    yield from _beyond_the_calendar(field, anchor)


def _beyond_the_calendar(field: Field, anchor: Field) -> Iterator[str]:
    for end, bound, steps in (("before year 1", anchor.minimum, field.minimum), ("after year 9999", anchor.maximum, field.maximum)):
        assert isinstance(bound, date) and isinstance(steps, int)
        whole = bound if isinstance(bound, datetime) else datetime(bound.year, bound.month, bound.day)
        try:
            whole + timedelta(seconds=steps * STEPS[step_of(field)])
        except OverflowError:
            yield f"and with its dp:offset it can lie {end}; give narrower bounds"


def _started(field: Field, seconds: Seconds) -> Seconds:
    """For a date the first second of its day."""
    return seconds // STEPS["day"] * STEPS["day"] if field.type == "date" else seconds
