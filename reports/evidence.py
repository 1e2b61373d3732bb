"""Tolerant reading of plain JSON: a value that is absent, of the wrong type or not finite reads as None or empty.

A report must still render when an audit crashed, so nothing here raises; what is missing is shown as missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

_LONGEST = 2000


def at(tree: Any, path: str) -> Any:
    """Value at a dotted path, or None."""
    for key in path.split("."):
        if not isinstance(tree, Mapping) or key not in tree:
            return None
        tree = tree[key]
    return tree


def metric_path(path: str) -> str:
    """Where a policy metric lives in the evidence: ``audit.x`` is short for ``audits.results.x``."""
    return "audits.results." + path.removeprefix("audit.") if path.startswith("audit.") else path


def number(value: Any) -> float | None:
    """A finite number, given as a number or as a decimal string (deltas are strings)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, (int, float)):
        try:
            value = float(value)
        except OverflowError:
            return None
        return value if math.isfinite(value) else None
    return None


def text(value: Any) -> str | None:
    """One printable line: control, bidirectional and surrogate characters, which hide or move words, become U+FFFD."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return str(value)
    if not isinstance(value, str):
        return None
    line = "".join(c if c.isprintable() else " " if c in "\t\n\r" else "\ufffd" for c in value[: _LONGEST + 1]).strip()
    if len(line) > _LONGEST:
        line = line[:_LONGEST] + "…"
    return line or None


def flag(value: Any) -> bool | None:
    """True, False, or None for anything else."""
    return value if isinstance(value, bool) else None


def mapping(value: Any) -> Mapping[str, Any]:
    """The mapping itself, or an empty one."""
    return value if isinstance(value, Mapping) else {}


def named(value: Any) -> list[tuple[str, Any]]:
    """The entries of a mapping in the order of their printable names: key order in a file must not change the page."""
    return sorted(((text(str(key)) or "?", item) for key, item in mapping(value).items()), key=lambda entry: entry[0])


def sequence(value: Any) -> Sequence[Any]:
    """The list itself, or an empty one."""
    return value if isinstance(value, (list, tuple)) else ()


def records(value: Any) -> list[Mapping[str, Any]]:
    """The mappings of a list."""
    return [item for item in sequence(value) if isinstance(item, Mapping)]


def strings(value: Any) -> list[str]:
    """The printable entries of a list."""
    return [line for item in sequence(value) if (line := text(item)) is not None]


def numbers(value: Any) -> list[float | None]:
    """The entries of a list as numbers, gaps kept."""
    return [number(item) for item in sequence(value)]


def interval(value: Any) -> tuple[float | None, float | None]:
    """A two-sided interval; an open or missing side is None."""
    ends = numbers(value)
    return (ends[0], ends[1]) if len(ends) == 2 else (None, None)
