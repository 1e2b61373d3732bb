"""Arrow arrays of any type -> numbers, moments or texts, cell by cell.

What becomes of a cell depends on that cell alone, never on its neighbours, and no content raises.
What cannot be read is ``UNSEEN``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from dpsynth.durations import of_timedelta, seconds_of
from dpsynth.errors import InputError

Status = npt.NDArray[np.uint8]
VALUE, MISSING, UNSEEN = 0, 1, 2

# What the Arrow parser and Python's float() read alike; every other text goes through float(), one by one.
_PLAIN_NUMBER = r"^-?[0-9]{1,15}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,2})?$"
_WHOLE = re.compile(r"([+-]?\d+)\.0*")
_YEAR_OR_MONTH = re.compile(r"(\d{4})(?:-(\d{2}))?")
_EPOCH = datetime(1970, 1, 1)
_DAY = 86_400
_NOT_TEXT = "\ufffd"


def require_cells(column: str, kind: str, array_type: pa.DataType) -> None:
    """Refuse Arrow types that cannot hold a ``kind`` of value; a column's type is public, its cells are not."""
    inner = array_type
    while pt.is_dictionary(inner) or pt.is_run_end_encoded(inner) or isinstance(inner, pa.BaseExtensionType):
        inner = inner.storage_type if isinstance(inner, pa.BaseExtensionType) else inner.value_type
    text = pt.is_null(inner) or _is_text(inner) or _is_binary(inner)
    number = pt.is_integer(inner) or pt.is_floating(inner) or pt.is_decimal(inner)
    moment = pt.is_date(inner) or pt.is_timestamp(inner)
    if kind in ("integer", "number"):
        fits = text or number or pt.is_boolean(inner)
    elif kind in ("date", "datetime"):
        # A frame column in which every cell is missing arrives as floats.
        fits = text or moment or pt.is_floating(inner)
    elif kind == "duration":
        fits = text or pt.is_duration(inner) or pt.is_floating(inner)
    elif kind == "year":
        fits = text or moment or number
    else:
        fits = text or number or moment or pt.is_boolean(inner)
    if not fits:
        shape = "nested values" if pt.is_nested(inner) else f"Arrow type {inner}"
        raise InputError(f"column {column!r} has {shape}; the schema says type={kind}")


def repeats(kind: pa.DataType, *, listed: bool) -> bool:
    """Whether cells of this type are worth reading once per distinct value: texts, and anything in a column of ``listed`` values."""
    while isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    return bool(pt.is_dictionary(kind) or _is_text(kind) or _is_binary(kind) or (listed and not pt.is_null(kind)))


def distinct(array: pa.Array) -> tuple[npt.NDArray[np.integer[Any]], pa.Array]:
    """Place of each cell in an array of distinct cells, whose last one is missing. Zero and minus zero are one cell."""
    while isinstance(array, pa.ExtensionArray):
        array = array.storage
    if not pt.is_dictionary(array.type) or pt.is_nested(array.type.value_type) or len(array.dictionary) > len(array):
        array = array if pt.is_binary(array.type) else _plain(array)
        array = (pc.add(array, 0.0) if pt.is_floating(array.type) else array).dictionary_encode()
    values = array.dictionary
    places = pc.fill_null(array.indices.cast(pa.int64()), len(values)).to_numpy(zero_copy_only=False)
    return places, pa.concat_arrays([values, pa.nulls(1, values.type)])


def numbers(array: pa.Array, missing: Collection[str], decimal: str = ".") -> tuple[npt.NDArray[np.float64], Status]:
    """Cells as floats, with a status each. NaN is missing and becomes 0; infinities stay for the caller to clip.

    In texts ``decimal`` is read as a decimal point, and so is a point; a text with both is no number.
    """
    array = _plain(array)
    if _is_text(array.type):
        return _numbers_of_text(array, missing, decimal)
    if pt.is_date(array.type) or pt.is_timestamp(array.type):
        return np.zeros(len(array)), np.where(_nulls(array), MISSING, UNSEEN).astype(np.uint8)
    if pt.is_boolean(array.type):
        array = array.cast(pa.uint8())
    nulls = _nulls(array)
    values = pc.fill_null(pc.cast(array, pa.float64(), safe=False), 0.0).to_numpy(zero_copy_only=False)
    absent = nulls | np.isnan(values) | np.isin(values, _as_numbers(missing))
    return np.where(absent, 0.0, values), np.where(absent, MISSING, VALUE).astype(np.uint8)


def _numbers_of_text(array: pa.Array, missing: Collection[str], decimal: str) -> tuple[npt.NDArray[np.float64], Status]:
    trimmed = pc.utf8_trim_whitespace(array)
    absent = _nulls(trimmed) | _is_in(trimmed, missing)
    if decimal != ".":
        trimmed = pc.replace_substring(trimmed, decimal, ".")
    plain = _flags(pc.match_substring_regex(trimmed, _PLAIN_NUMBER))
    parsed = pc.cast(pc.if_else(pa.array(plain), trimmed, pa.scalar(None, trimmed.type)), pa.float64())
    values = np.array(pc.fill_null(parsed, 0.0).to_numpy(zero_copy_only=False))
    status = np.zeros(len(values), np.uint8)
    status[absent] = MISSING
    odd = np.flatnonzero(~plain & ~absent)
    if len(odd):
        for row, text in zip(odd, trimmed.take(pa.array(odd)).to_pylist(), strict=True):
            value = _number(text)
            status[row] = UNSEEN if value is None else MISSING if value != value else VALUE
            values[row] = value if status[row] == VALUE else 0.0
    status[(status == VALUE) & np.isin(values, _as_numbers(missing))] = MISSING
    return values, status


def _number(text: str) -> float | None:
    if "_" in text:
        return None
    # A column of booleans is text as soon as a frame has one missing cell in it, so both must mean the same.
    if text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    try:
        return float(text)
    except ValueError:
        return None


def _as_numbers(texts: Collection[str]) -> npt.NDArray[np.float64]:
    values = [_number(text.strip()) for text in texts]
    return np.array([value for value in values if value is not None], dtype=np.float64)


def moments(array: pa.Array, missing: Collection[str], pattern: str | None) -> tuple[npt.NDArray[np.int64], Status]:
    """Cells as whole seconds since 1970 (UTC), with a status each. Text is ISO 8601, or as ``pattern`` says."""
    array = _plain(array)
    nulls = _nulls(array)
    if pt.is_date(array.type) or pt.is_timestamp(array.type):
        seconds = _seconds(array)
        return seconds, np.where(nulls, MISSING, VALUE).astype(np.uint8)
    indices, uniques = _uniques(texts(array))
    absent = {text.strip() for text in missing}
    seconds = np.zeros(len(uniques) + 1, np.int64)
    status = np.full(len(uniques) + 1, MISSING, np.uint8)
    for position, text in enumerate(uniques):
        moment = None if text in absent else _moment(text, pattern)
        status[position] = MISSING if text in absent else UNSEEN if moment is None else VALUE
        seconds[position] = moment or 0
    return seconds[indices], status[indices]


def durations(array: pa.Array, missing: Collection[str]) -> tuple[npt.NDArray[np.int64], Status]:
    """Cells as whole seconds, rounded down, with a status each. Text is ISO 8601; a bare number is not a duration."""
    array = _plain(array)
    if pt.is_duration(array.type):
        per_second = {"s": 1, "ms": 1_000, "us": 10**6, "ns": 10**9}[array.type.unit]
        raw = pc.fill_null(array.view(pa.int64()), 0).to_numpy(zero_copy_only=False)
        return np.asarray(raw // per_second, dtype=np.int64), np.where(_nulls(array), MISSING, VALUE).astype(np.uint8)
    indices, uniques = _uniques(texts(array))
    absent = {text.strip() for text in missing}
    seconds = np.zeros(len(uniques) + 1, np.int64)
    status = np.full(len(uniques) + 1, MISSING, np.uint8)
    for position, text in enumerate(uniques):
        length = None if text in absent else seconds_of(text)
        status[position] = MISSING if text in absent else UNSEEN if length is None else VALUE
        seconds[position] = length or 0
    return seconds[indices], status[indices]


def _seconds(array: pa.Array) -> npt.NDArray[np.int64]:
    """Seconds of a date or timestamp array, rounded down; 0 where null."""
    if pt.is_date32(array.type):
        raw, per_second = array.view(pa.int32()).cast(pa.int64()), None
    else:
        raw, per_second = (
            array.view(pa.int64()),
            {"s": 1, "ms": 1_000, "us": 10**6, "ns": 10**9}[getattr(array.type, "unit", "ms")],
        )
    values = pc.fill_null(raw, 0).to_numpy(zero_copy_only=False)
    return np.asarray(values * _DAY if per_second is None else values // per_second, dtype=np.int64)


def _moment(text: str, pattern: str | None) -> int | None:
    if len(text) > 64:
        return None
    try:
        if pattern is not None and pattern != "default":
            moment = datetime.strptime(text, pattern)
        elif short := _YEAR_OR_MONTH.fullmatch(text):
            moment = datetime(int(short[1]), int(short[2] or 1), 1)
        else:
            moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None
    since = moment - _EPOCH
    return since.days * _DAY + since.seconds


def texts(array: pa.Array) -> pa.Array:
    """Cells as trimmed text, null where missing; whole numbers have no decimal point."""
    array = _plain(array)
    kind = array.type
    if _is_text(kind):
        return pc.utf8_trim_whitespace(array)
    if pt.is_null(kind) or pt.is_integer(kind) or pt.is_boolean(kind):
        return pc.cast(array, pa.large_string())
    if pt.is_date(kind) or pt.is_timestamp(kind):
        return _relabel(array, _seconds(array), _moment_text)
    if pt.is_floating(kind):
        # Zero and minus zero are one value; without the addition a cell's text would depend on which came first.
        values = pc.fill_null(array, np.nan).to_numpy(zero_copy_only=False) + 0.0
        return _relabel(array, values, _float_text, missing=np.isnan(values))
    indices, uniques = _uniques(array)
    return pa.array([*map(str, uniques), None], pa.large_string()).take(pa.array(indices))


def _relabel(
    array: pa.Array, values: npt.NDArray[Any], label: Callable[[Any], str], missing: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    uniques, inverse = np.unique(values, return_inverse=True)
    out = pa.array([label(value) for value in uniques], pa.large_string()).take(pa.array(inverse))
    absent = _nulls(array) if missing is None else missing | _nulls(array)
    return pc.if_else(pa.array(absent), pa.scalar(None, pa.large_string()), out)


def _float_text(value: np.floating[Any]) -> str:
    return canonical(str(value)) if abs(value) < 1e15 else str(value)


def _moment_text(seconds: np.int64) -> str:
    text = str(np.datetime64(int(seconds), "s"))
    return text.removesuffix("T00:00:00")


def canonical(text: str) -> str:
    """The form in which texts are compared when they are not equal: trimmed, no ``.0`` and no minus zero, booleans in lower case."""
    text = text.strip()
    if whole := _WHOLE.fullmatch(text):
        return "0" if whole[1] == "-0" else whole[1]
    return text.lower() if text.lower() in ("true", "false") else text


def _uniques(array: pa.Array) -> tuple[npt.NDArray[np.int64], list[Any]]:
    """Position of each cell's value in a list of distinct values; nulls point just behind its end."""
    encoded = array.dictionary_encode()
    values = encoded.dictionary.to_pylist()
    indices = pc.fill_null(encoded.indices.cast(pa.int64()), len(values)).to_numpy(zero_copy_only=False)
    return indices, values


def _plain(array: pa.Array) -> pa.Array:
    """The same cells without dictionaries, views, extensions or bytes."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        return _plain(array.storage)
    kind = array.type
    if pt.is_dictionary(kind):
        return _plain(array.dictionary).take(array.indices)
    if pt.is_run_end_encoded(kind):
        return _plain(pc.run_end_decode(array))
    if kind == pa.string_view():
        return pc.cast(array, pa.large_string())
    if _is_binary(kind):
        decoded = [None if cell is None else cell.decode("utf-8", "replace") for cell in array.to_pylist()]
        return pa.array(decoded, pa.large_string())
    if pt.is_float16(kind):
        return pc.cast(array, pa.float32())
    return array


def _is_text(kind: pa.DataType) -> bool:
    return bool(pt.is_string(kind) or pt.is_large_string(kind) or kind == pa.string_view())


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pt.is_binary(kind) or pt.is_large_binary(kind) or pt.is_fixed_size_binary(kind) or kind == pa.binary_view())


def _nulls(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)


def _flags(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _is_in(array: pa.Array, values: Collection[str]) -> npt.NDArray[np.bool_]:
    return _flags(pc.is_in(array, value_set=pa.array([text.strip() for text in values], array.type)))


def object_text(cell: Any) -> str | None:
    """One Python object of a dataframe column as text; None where missing. Never raises, whatever the object."""
    if type(cell) is str:
        return cell
    if cell is None or (isinstance(cell, float | np.floating) and cell != cell):
        return None
    if isinstance(cell, str):
        return str.__str__(cell)
    if isinstance(cell, bool | np.bool_):
        return "true" if cell else "false"
    if isinstance(cell, int | np.integer):
        return _int_text(int(cell))
    if isinstance(cell, float | np.floating):
        return _float_text(np.float64(cell)) if isinstance(cell, float) else _float_text(cell)
    if isinstance(cell, bytes | bytearray):
        return bytes(cell).decode("utf-8", "replace")
    return _other_text(cell)


def _int_text(value: int) -> str:
    # Python refuses to print integers of more than 4,300 digits.
    if value.bit_length() > 1024:
        return "inf" if value > 0 else "-inf"
    return str(value)


def _other_text(cell: Any) -> str | None:
    """Dates, decimals and the missing markers of pandas; anything else is a text that no schema declares."""
    import pandas as pd

    if cell is pd.NA or cell is pd.NaT or (isinstance(cell, np.datetime64) and np.isnat(cell)):
        return None
    if isinstance(cell, timedelta):
        return of_timedelta(cell)
    if isinstance(cell, np.datetime64):
        return _moment_text(cell.astype("datetime64[s]").astype(np.int64))
    if isinstance(cell, datetime):
        return _datetime_text(cell)
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, Decimal):
        return None if cell.is_nan() else str(cell)
    return _NOT_TEXT


def _datetime_text(moment: datetime) -> str:
    try:
        naive = moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except (OverflowError, ValueError):
        return _NOT_TEXT
    return naive.isoformat(timespec="seconds").removesuffix("T00:00:00")
