"""From what a codebook or another tool's metadata says to a schema: what is still unknown is asked for, all at once, and never guessed.

A draft is a field of a schema document that may lack keys. ``fill`` is a partial schema document with the missing facts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dpsynth.errors import SchemaError
from dpsynth.schema import Schema

Draft = dict[str, Any]

_BOUNDED = ("integer", "number", "date", "datetime", "duration")
_EXAMPLE = '{"fields": {"age": {"constraints": {"minimum": 0, "maximum": 120}}}}'


def finish(drafts: Sequence[Draft], top: Mapping[str, Any], fill: Mapping[str, Any]) -> Schema:
    """A valid schema, or one `SchemaError` that lists every public fact that is missing.

    ``top`` holds keys beside ``fields``. ``fill`` has the same keys; its ``fields`` map a name to further keys of that field, or to null to
    leave the column out.
    """
    extra = fill.get("fields", {})
    if not isinstance(extra, Mapping):
        raise SchemaError('the fields of --fill must map names to keys, e.g. {"fields": {"age": {"dp:role": "quasi"}}}')
    unknown = sorted(set(extra) - {draft["name"] for draft in drafts})
    if unknown:
        raise SchemaError(f"--fill names {unknown[0]!r}, which is not among the fields")
    document = merged(top, {key: value for key, value in fill.items() if key != "fields"})
    fields = [_filled(merged(draft, extra.get(draft["name"]) or {})) for draft in drafts if extra.get(draft["name"], {}) is not None]
    lacking = [*_lacking_top(document), *(text for field in fields for text in _lacking(field))]
    if lacking:
        listed = "; ".join(lacking)
        how = f"Write them into a JSON file and pass --fill FILE, e.g. {_EXAMPLE}"
        raise SchemaError(f"{len(lacking)} public {'fact is' if len(lacking) == 1 else 'facts are'} missing: {listed}. {how}")
    return Schema.from_dict({**document, "fields": fields})


def read_json(path: Path, what: str) -> Any:
    """A JSON file, or a `SchemaError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SchemaError(f"{what} {str(path)!r} cannot be read: {error.strerror}") from None
    except ValueError:
        raise SchemaError(f"{what} {str(path)!r} is not JSON text in UTF-8") from None
    except RecursionError:
        raise SchemaError(f"{what} {str(path)!r} is nested too deeply") from None


def read_fill(path: Path | None) -> Mapping[str, Any]:
    """The facts that a caller adds; none without a file."""
    if path is None:
        return {}
    data = read_json(path, "file")
    if not isinstance(data, Mapping):
        raise SchemaError(f"file {str(path)!r} must hold a JSON object, e.g. {_EXAMPLE}")
    return data


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``more`` over ``base``, objects merged key by key."""
    out = dict(base)
    for key, value in more.items():
        held = out.get(key)
        out[key] = merged(held, value) if isinstance(held, Mapping) and isinstance(value, Mapping) else value
    return out


def _filled(field: Draft) -> Draft:
    """Without keys that have no meaning for an identifier, whose values are never modelled."""
    if field.get("dp:role") != "identifier":
        return field
    kept = ("name", "type", "title", "description", "missingValues", "dp:role", "dp:fake", "format")
    return {"type": "string", **{key: field[key] for key in kept if key in field}}


def _lacking_top(document: Mapping[str, Any]) -> list[str]:
    dataset, unit = document.get("dp:dataset", {}), document.get("dp:unit", {})
    asked = {
        "dp:dataset.id (--dataset)": dataset.get("id"),
        "dp:dataset.population, whose budget it is (--population)": dataset.get("population"),
        "dp:unit.name, who is protected (--unit)": unit.get("name"),
    }
    return [name for name, value in asked.items() if not value]


def _lacking(field: Draft) -> list[str]:
    name, kind = field["name"], field.get("type")
    if field.get("dp:role") == "identifier":
        return []
    if kind is None:
        return [f"field {name!r} type"]
    if kind in _BOUNDED:
        bounds = field.get("constraints", {})
        # A date that is counted from another has the bounds of its distance instead.
        absent = [key for key in ("minimum", "maximum") if bounds.get(key) is None and "dp:anchor" not in field]
        return [f"field {name!r} constraints." + " and ".join(absent)] if absent else []
    if kind == "string" and not field.get("categories") and "dp:categories" not in field:
        return [f'field {name!r} categories (or "dp:categories": "dp"), or "dp:role": "identifier"']
    return []
