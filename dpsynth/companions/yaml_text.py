"""Writes plain data as YAML that YAML 1.1 and 1.2 readers understand alike: quoted strings, block mappings and lists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

Data = Mapping[str, "Data"] | Sequence["Data"] | str | int | float

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASTRAL = re.compile(r"\\ud([89ab][0-9a-f]{2})\\ud([c-f][0-9a-f]{2})")


def dump(data: Mapping[str, Data]) -> str:
    """The document, in the order of ``data``. Keys are plain words; empty mappings and lists are refused by ``ValueError``."""
    return "".join(f"{line}\n" for line in _lines(data))


def _lines(data: Data) -> Iterator[str]:
    if isinstance(data, str | int | float):
        yield _scalar(data)
    elif not data:
        raise ValueError("an empty mapping or list has no block form")
    elif isinstance(data, Mapping):
        for key, value in data.items():
            if not _KEY.fullmatch(key):
                raise ValueError("a key must be a plain word")
            yield from _entry(f"{key}:", value)
    else:
        for value in data:
            yield from _entry("-", value)


def _entry(head: str, value: Data) -> Iterator[str]:
    if isinstance(value, str | int | float):
        yield f"{head} {_scalar(value)}"
        return
    yield head
    yield from (f"  {line}" for line in _lines(value))


def _scalar(value: str | int | float) -> str:
    if isinstance(value, str):
        # A JSON string of ASCII is a YAML string, but for characters that JSON writes as two.
        return _ASTRAL.sub(lambda m: f"\\U{_code(m):08x}", json.dumps(value))
    if isinstance(value, int):
        return json.dumps(value)
    mantissa, _, exponent = repr(value).partition("e")
    if not exponent:
        return mantissa
    # YAML 1.1 takes "1e-06" for a string: its floats have a point.
    return f"{mantissa if '.' in mantissa else mantissa + '.0'}e{exponent}"


def _code(match: re.Match[str]) -> int:
    high, low = int("d" + match[1], 16), int("d" + match[2], 16)
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
