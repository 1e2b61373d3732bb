"""Strict JSON: what is read is exactly what was written, or it is refused.

Plain ``json`` keeps the last of two equal keys, reads NaN and 1e999, and ``jsonschema`` would fetch a remote ``$ref``.
None of that happens here. Messages name the file and the JSON path and, for evidence, never quote a value.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.errors import PolicyError

if TYPE_CHECKING:
    from jsonschema.protocols import Validator

POLICY_BYTES = 1_000_000  # a policy or waiver file; the shipped ones have 4-20 kB
EVIDENCE_BYTES = 8_000_000  # evidence holds association matrices
MAX_DEPTH = 32
_INTEGER_DIGITS = 30  # beyond it, int() is slow by design and no quantity here is meant
_SHOWN_ERRORS = 3


def read(path: Path, *, what: str, limit: int = POLICY_BYTES) -> Any:
    """Parse the JSON file at ``path``; refuse anything but a regular file of at most ``limit`` bytes."""
    try:
        if not path.is_file():
            raise PolicyError(f"{what} '{path}' is not a file")
        if path.stat().st_size > limit:
            raise PolicyError(f"{what} '{path}' has {path.stat().st_size} bytes; at most {limit} are read")
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{what} '{path}' cannot be read: {error.strerror}") from None
    return parse(data, what=f"{what} '{path}'", limit=limit)


def parse(data: str | bytes, *, what: str, limit: int = POLICY_BYTES) -> Any:
    """Parse JSON strictly.

    Refused: more than ``limit`` bytes, invalid UTF-8, a byte-order mark, duplicate keys, NaN and infinities (also
    those that a long exponent makes), integers of more than 30 digits, lone surrogates, nesting deeper than 32.
    """
    if len(data) > limit:
        raise PolicyError(f"{what} has {len(data)} bytes; at most {limit} are read")
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise PolicyError(f"{what} is not UTF-8 at byte {error.start}") from None
    twice: dict[int, str] = {}
    # Objects are kept alive here so that an id in ``twice`` cannot be reused while parsing goes on.
    seen: list[dict[str, Any]] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out = dict(items)
        if len(out) < len(items):
            names = [key for key, _ in items]
            twice[id(out)] = next(name for name in names if names.count(name) > 1)
            seen.append(out)
        return out

    try:
        document = json.loads(data, object_pairs_hook=pairs, parse_int=_integer, parse_float=_float)
    except json.JSONDecodeError as error:
        raise PolicyError(f"{what} is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None
    except RecursionError:
        raise PolicyError(f"{what} is nested deeper than {MAX_DEPTH}") from None
    for where, value in walk(document):
        if where.count("/") > MAX_DEPTH:
            raise PolicyError(f"{what} is nested deeper than {MAX_DEPTH}")
        if id(value) in twice:
            raise PolicyError(f"{what} at {where or '/'}: duplicate key '{twice[id(value)]}'")
        if isinstance(value, float) and not math.isfinite(value):
            raise PolicyError(f"{what} at {where or '/'}: not a finite number")
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise PolicyError(f"{what} at {where or '/'}: a lone surrogate is not text")
    if twice:  # inside an object that a duplicate key of its parent replaced
        raise PolicyError(f"{what}: duplicate key '{next(iter(twice.values()))}'")
    return document


def walk(document: Any) -> Iterator[tuple[str, Any]]:
    """Every node of a document with its JSON pointer, keys included as nodes of their own."""
    stack: list[tuple[str, Any]] = [("", document)]
    while stack:
        where, node = stack.pop()
        yield where, node
        if isinstance(node, Mapping):
            for key, child in node.items():
                pointer = f"{where}/{key.replace('~', '~0').replace('/', '~1')}"
                stack += [(pointer, key), (pointer, child)]
        elif isinstance(node, list):
            stack.extend((f"{where}/{i}", child) for i, child in enumerate(node))


def validate(document: Any, schema: str, *, what: str) -> None:
    """Check ``document`` against one of our own schemas; nothing is ever fetched."""
    found = ((f"/{'/'.join(map(str, e.absolute_path))}", e.message) for e in _validator(schema).iter_errors(document))
    errors = sorted(set(found))
    if errors:
        shown = "; ".join(f"at {pointer}: {_short(message)}" for pointer, message in errors[:_SHOWN_ERRORS])
        more = f"; and {len(errors) - _SHOWN_ERRORS} more" if len(errors) > _SHOWN_ERRORS else ""
        raise PolicyError(f"{what} {shown}{more}")


def schema(name: str) -> dict[str, Any]:
    """One of the JSON Schemas in ``policies/schemas``: policy-1, waivers-1, decision-1 or case-1."""
    text = resources.files("policies").joinpath("schemas", f"{name}.schema.json").read_text(encoding="utf-8")
    return json.loads(text)  # type: ignore[no-any-return]


def canonical(document: Any) -> bytes:
    """The one byte string of a JSON document: sorted keys, no spaces, UTF-8, Python's shortest float repr."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(document: Any) -> str:
    """``sha256:`` and the hex digest of the canonical form."""
    return "sha256:" + hashlib.sha256(canonical(document)).hexdigest()


@cache
def _validator(name: str) -> Validator:
    from jsonschema import Draft202012Validator, FormatChecker
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    registry: Registry[Any] = Registry()  # no retrieve function: a reference that is not in here cannot be resolved
    registry = registry.with_resource("urn:dpsynth:rule:1", DRAFT202012.create_resource(schema("rule-1")))
    return Draft202012Validator(schema(name), registry=registry, format_checker=FormatChecker())


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _INTEGER_DIGITS else math.inf


def _float(text: str) -> float:
    return float(text)


def _short(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:100]} ... {message[-100:]}"
