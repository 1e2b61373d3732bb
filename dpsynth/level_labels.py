"""What the levels of a model's columns stand for, as a person reads them: a value, a range of values, missing.

From the public schema and from bin edges that were paid for; nothing here reads a record.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

from dpsynth import durations
from dpsynth.marginals import COUNT, Attribute

if TYPE_CHECKING:
    from dpsynth.encode import Encoder
    from dpsynth.schema import Field

Label = str | int | bool | None
"""None is missing; a range is a text such as ``10 to 19``."""


def level_labels(attribute: Attribute, encoder: Encoder | None) -> tuple[Label, ...]:
    """A label for each level of ``attribute``, in code order; without an encoder the codes themselves."""
    if attribute.scope == COUNT:
        return tuple(range(1, attribute.size + 1))
    if encoder is None:
        return tuple(range(attribute.size))
    written = encoder.schema[attribute.name]
    declared = written if written.type == "duration" else written.counted
    known = _ranges(declared, encoder) if declared.has_bounds else _values(declared)
    return (*known, None) if attribute.nullable else known


def _values(declared: Field) -> tuple[Label, ...]:
    return (False, True) if declared.type == "boolean" else declared.levels


def _ranges(declared: Field, encoder: Encoder) -> tuple[Label, ...]:
    low, high = encoder.cell_ends(declared.name)
    first = encoder.bin_cells(declared.name)
    return tuple(_range(declared, float(low[a]), float(high[b - 1])) for a, b in pairwise(first.tolist()))


def _range(declared: Field, low: float, high: float) -> Label:
    least, most = _value(declared, low), _value(declared, high)
    return least if least == most else f"{least} to {most}"


def _value(declared: Field, value: float) -> str | int:
    if declared.type == "duration":
        return str(durations.shown(declared, value))
    if declared.type == "integer":
        return int(value)
    if declared.type == "number":
        return f"{value:.12g}"
    moment = datetime.fromtimestamp(value, UTC).replace(tzinfo=None)
    return moment.date().isoformat() if declared.type == "date" else moment.isoformat(sep=" ")
