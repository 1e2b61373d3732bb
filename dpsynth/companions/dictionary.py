"""The public data dictionary in words, for documents that people read. Only declared facts; nothing observed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_LISTED = 12


def described(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """(name, title, type and role, declared values) of each field of ``Schema.to_dict()``."""
    for field in schema["fields"]:
        kind = f"{field['type']}, {field.get('dp:role', 'other')}"
        yield field["name"], field.get("title", ""), kind, values(field)


def values(field: Mapping[str, Any]) -> str:
    """What a column may hold, as declared."""
    if field.get("dp:role") == "identifier":
        return "made up; the real values are never released"
    bounds = field.get("constraints", {})
    if "dp:anchor" in field:
        step = field.get("dp:resolution", "day" if field["type"] == "date" else "hour")
        bounds = {key: f"{field['dp:anchor']} + {count} {step}s" for key, count in field["dp:offset"].items()}
    if "minimum" in bounds or "maximum" in bounds:
        text = f"{bounds.get('minimum')} to {bounds.get('maximum')}"
    elif field["type"] == "boolean":
        text = "true, false"
    else:
        levels = [str(level["value"] if isinstance(level, Mapping) else level) for level in field.get("categories", ())]
        more = f" and {len(levels) - _LISTED} more" if len(levels) > _LISTED else ""
        text = f"{', '.join(levels[:_LISTED])}{more}"
    return text + (", or missing" if field.get("dp:nullable") else "")
