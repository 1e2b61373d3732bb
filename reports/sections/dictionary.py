"""The data dictionary: each column, its domain, and where that domain comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports import evidence as ev
from reports.wording import NOT_STATED, answer, anything, num

_MOST_LEVELS = 14
_PROVENANCE = {"declared": "declared", "dp": "measured with noise", "computed": "computed from others"}


def build(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """Rows for the table of columns and the facts that hold for all of them."""
    schema = ev.mapping(evidence.get("schema"))
    rows = []
    for field in ev.records(schema.get("fields")):
        provenance = ev.text(field.get("provenance")) or ""
        rows.append(
            {
                "name": ev.text(field.get("name")) or "?",
                "title": ev.text(field.get("title")),
                "type": ev.text(field.get("type")) or NOT_STATED,
                "role": ev.text(field.get("role")) or NOT_STATED,
                "group": field.get("group") is True,
                "domain": _domain(field),
                "size": num(field.get("size"), "none" if provenance == "computed" else NOT_STATED),
                "nullable": answer(field.get("nullable")),
                "provenance": _PROVENANCE.get(provenance, provenance or NOT_STATED),
                "known": provenance in _PROVENANCE,
            }
        )
    facts = [
        (
            "Origin of the domains",
            ", ".join(_PROVENANCE.get(p, p) for p in ev.strings(schema.get("domain_provenance"))) or NOT_STATED,
        ),
        (
            "Dates",
            f"to the {date}" if (date := ev.text(schema.get("date_precision"))) else "no date column, or not stated",
        ),
        (
            "Ages",
            f"one class from {num(age)}" if (age := ev.number(schema.get("age_top_code"))) is not None else "no top code stated",
        ),
        (
            "Smallest place",
            f"{num(geo)} people" if (geo := ev.number(schema.get("geo_min_population"))) is not None else "no place, or not stated",
        ),
        ("Schema digest", ev.text(schema.get("digest")) or NOT_STATED),
    ]
    return {"rows": rows, "facts": facts, "known": bool(schema), "relations": ev.strings(schema.get("relations"))}


def _domain(field: Mapping[str, Any]) -> str:
    levels = ev.strings(field.get("categories"))
    if levels:
        return ", ".join(levels[:_MOST_LEVELS]) + (f" and {len(levels) - _MOST_LEVELS:,} more" if len(levels) > _MOST_LEVELS else "")
    low, high = (anything(field.get(k), "") for k in ("minimum", "maximum"))
    if not low and not high:
        return NOT_STATED
    bins = field.get("bins")
    count = len(bins) - 1 if isinstance(bins, (list, tuple)) else ev.number(bins)
    return f"{low or '…'} to {high or '…'}" + (f", {num(count)} bins" if count else ", private bins" if bins == "dp" else "")
