"""Text as it comes out of a delimited file, turned into numbers and dates where a column holds nothing else.

A column is read the same way in every table. For audits of tables without a schema only: it looks at values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from audits.result import AuditError

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "nat", "<na>"})
"""Words for a missing value, in lower case."""
_CODE = re.compile(r"[+-]?0[0-9]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?")
_MOST, _FEW = 0.9, 0.5


def typed(frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The same tables with numbers and dates for what reads as such in all of them, words for missing values as missing.

    Digits behind a leading zero stay text: postcodes are no numbers. A column that holds numbers (or dates) in one table and other words in
    another is refused, since nothing of it could be compared.
    """
    out = {label: frame.copy(deep=False) for label, frame in frames.items()}
    names = [name for name in next(iter(frames.values())).columns if all(name in frame.columns for frame in frames.values())]
    for name in names:
        if not any(_is_text(frame[name]) for frame in frames.values()):
            continue
        stripped = {label: _without_missing(frame[name]) for label, frame in frames.items()}
        shares = {kind: {label: _share(values, pattern) for label, values in stripped.items()} for kind, pattern in _KINDS.items()}
        kind = next((kind for kind, found in shares.items() if all(share is None or share == 1.0 for share in found.values())), None)
        if kind is None:
            _refuse_mixture(name, shares)
        for label, values in stripped.items():
            out[label][name] = _as(values, kind)
    return out


_KINDS: dict[str, re.Pattern[str]] = {"numbers": _NUMBER, "dates": _DATE}


def _is_text(column: pd.Series[Any]) -> bool:
    from pandas.api import types

    return bool(types.is_object_dtype(column.dtype) or types.is_string_dtype(column.dtype))


def _without_missing(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column with None for missing and text for anything that was text; numbers and dates of a typed column as text too."""
    import pandas as pd

    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        column = column.dt.strftime("%Y-%m-%d %H:%M:%S").where(column.notna())
    codes, levels = pd.factorize(column.astype(object), use_na_sentinel=True)
    words = [str(level).strip() for level in levels]
    kept = np.array([None if word.lower() in MISSING else word for word in words] + [None], dtype=object)
    return pd.Series(kept[codes], index=column.index, dtype=object)


def _share(values: pd.Series[Any], pattern: re.Pattern[str]) -> float | None:
    """Share of the distinct present values that read as this kind; None if there are none."""
    present = values.dropna().unique()
    if not len(present):
        return None
    fits = sum(bool(pattern.fullmatch(value)) and not (pattern is _NUMBER and _CODE.match(value)) for value in present)
    return fits / len(present)


def _refuse_mixture(name: str, shares: Mapping[str, Mapping[str, float | None]]) -> None:
    for kind, found in shares.items():
        most = [label for label, share in found.items() if share is not None and share >= _MOST]
        few = [label for label, share in found.items() if share is not None and share < _FEW]
        if most and few:
            raise AuditError(f"column {name!r} holds {kind} in {most[0]} and other words in {few[0]}; write both alike, or give a schema")


def _as(values: pd.Series[Any], kind: str | None) -> pd.Series[Any]:
    import pandas as pd

    if kind == "numbers":
        return pd.to_numeric(values, errors="coerce").astype("float64")
    if kind == "dates":
        return pd.to_datetime(values, format="ISO8601", utc=True).dt.tz_localize(None)
    return values
