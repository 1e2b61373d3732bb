"""Drafts from a table that the caller declares public: its values, minima and maxima become the schema.

Never for private records. A category list or a maximum tells of them, and no budget pays for it here.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np

from dpsynth.schema_tools.draft import Draft

_MOST_CATEGORIES = 1000
_FEW_NUMBERS = 12


def from_public_table(source: Any) -> list[Draft]:
    """One draft per column: few values become categories, numbers and ISO dates get bounds, other text becomes an identifier."""
    import pandas as pd

    from dpsynth import cells
    from dpsynth.sources import header, open_source

    names = header(source)
    texts: dict[str, set[str]] = {name: set() for name in names}
    missing = dict.fromkeys(names, False)
    for batch in open_source(source, names):
        for name in names:
            found = set(cells.texts(batch.column(batch.schema.get_field_index(name))).unique().to_pylist())
            missing[name] |= bool(found & {None, ""})
            texts[name] |= {text for text in found if text}
    return [_draft(name, pd.Series(sorted(texts[name]), dtype=object), missing[name]) for name in names]


def _draft(name: str, values: Any, nullable: bool) -> Draft:
    import pandas as pd

    draft: Draft = {"name": name, **({"dp:nullable": True} if nullable else {})}
    if not len(values):
        return {"name": name, "type": "string", "dp:role": "identifier"}
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    if np.isfinite(numbers).all() and len(values) > _FEW_NUMBERS:
        low, high = float(numbers.min()), float(numbers.max())
        if (numbers == np.rint(numbers)).all():
            return {**draft, "type": "integer", "constraints": {"minimum": int(low), "maximum": int(high)}}
        return {**draft, "type": "number", "constraints": {"minimum": low, "maximum": high}}
    days = [_day(text) for text in values]
    if all(days) and len(days) > _FEW_NUMBERS:
        return {**draft, "type": "date", "constraints": {"minimum": min(days), "maximum": max(days)}}
    if len(values) > _MOST_CATEGORIES:
        return {"name": name, "type": "string", "dp:role": "identifier"}
    order = np.argsort(numbers, kind="stable") if np.isfinite(numbers).all() else range(len(values))
    return {**draft, "type": "string", "categories": [str(values[place]) for place in order]}


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        return ""
