"""Other tools' metadata as drafts of a schema: SDV, SmartNoise, SDNist. What a format does not hold, such as bounds in SDV, stays open."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from dpsynth.errors import SchemaError
from dpsynth.schema_tools import indented
from dpsynth.schema_tools.draft import Draft, read_json

Converted = tuple[list[Draft], dict[str, Any]]

_FAKES = {
    "address": "address",
    "company": "company",
    "credit_card_number": "credit_card_number",
    "email": "email",
    "first_name": "first_name",
    "iban": "iban",
    "ipv4_address": "ipv4",
    "last_name": "last_name",
    "name": "name",
    "phone_number": "phone_number",
    "ssn": "ssn",
}
_SMARTNOISE_TYPES = {"int": "integer", "float": "number", "string": "string", "boolean": "boolean", "datetime": "datetime"}
_SDNIST_TYPES = {"int": "integer", "float": "number"}


def from_sdv(data: Any, table: str | None = None) -> Converted:
    """SDV metadata, of one table or of several. It has neither bounds nor categories."""
    tables = data.get("tables") if isinstance(data, Mapping) else None
    if isinstance(tables, Mapping):
        found = _one_of(tables, table)
    elif isinstance(data, Mapping) and isinstance(data.get("columns"), Mapping):
        found = data
    else:
        raise SchemaError("this is not SDV metadata: it has neither 'columns' nor 'tables'")
    drafts = [_of_sdv(str(name), item) for name, item in found["columns"].items()]
    key = found.get("primary_key")
    return drafts, {} if key is None else {"primaryKey": key}


def _of_sdv(name: str, item: Mapping[str, Any]) -> Draft:
    kind = item.get("sdtype")
    if kind == "numerical":
        whole = str(item.get("computer_representation", "")).lower().startswith(("int", "uint"))
        return {"name": name, "type": "integer" if whole else "number"}
    if kind == "datetime":
        pattern = item.get("datetime_format")
        clock = pattern is None or any(part in pattern for part in ("%H", "%I", "%M", "%S", "%T", "%X", "%c"))
        return {"name": name, "type": "datetime" if clock else "date", **({"format": pattern} if pattern else {})}
    if kind == "categorical":
        ordered = isinstance(item.get("order"), list)
        return {
            "name": name,
            "type": "string",
            **({"categories": [str(v) for v in item["order"]], "categoriesOrdered": True} if ordered else {}),
        }
    if kind == "boolean":
        return {"name": name, "type": "boolean"}
    if kind in (None, "unknown"):
        return {"name": name}
    # Keys, and everything that SDV knows as personal data.
    return {"name": name, "type": "string", "dp:role": "identifier", **({"dp:fake": _FAKES[kind]} if kind in _FAKES else {})}


def from_smartnoise(data: Any, table: str | None = None) -> Converted:
    """SmartNoise SQL metadata: bounds of numbers, the private key, rows per key. It has no categories."""
    tables = {
        str(name): found
        for catalogue in _mappings(data)
        for schema in _mappings(catalogue)
        for name, found in schema.items()
        if isinstance(found, Mapping)
    }
    if not tables:
        raise SchemaError("this is not SmartNoise metadata: it needs a catalogue, a schema and a table, one inside the other")
    found = _one_of(tables, table)
    columns = {str(name): item for name, item in found.items() if isinstance(item, Mapping)}
    drafts = [_of_smartnoise(name, item) for name, item in columns.items()]
    top: dict[str, Any] = {}
    keys = [name for name, item in columns.items() if item.get("private_id") is True]
    if keys:
        top["dp:unit"] = {"field": keys[0], "maxRows": int(found.get("max_ids", found.get("max_contrib", 1)))}
    if isinstance(found.get("rows"), int):
        # A private table's exact size is no public number: it is left for the caller to declare.
        top["description"] = "The metadata named a number of rows; declare dp:rows if that number is public."
    return drafts, top


def _of_smartnoise(name: str, item: Mapping[str, Any]) -> Draft:
    if item.get("private_id") is True:
        return {"name": name, "type": "string", "dp:role": "identifier"}
    kind = _SMARTNOISE_TYPES.get(str(item.get("type", "")).lower())
    bounds = {ours: item[theirs] for ours, theirs in (("minimum", "lower"), ("maximum", "upper")) if item.get(theirs) is not None}
    return {
        "name": name,
        **({"type": kind} if kind else {}),
        **({"constraints": bounds} if bounds else {}),
        **({"dp:nullable": True} if item.get("nullable", False) else {}),
    }


def from_sdnist(data: Any, table: str | None = None) -> Converted:
    """The schema files of SDNist's data excerpts: dtype, values, min, max, null value."""
    found = data.get("schema") if isinstance(data, Mapping) else None
    if not isinstance(found, Mapping):
        raise SchemaError("this is not an SDNist schema: it has no 'schema'")
    return [_of_sdnist(str(name), item) for name, item in found.items()], {}


def _of_sdnist(name: str, item: Mapping[str, Any]) -> Draft:
    null = str(item["null_value"]) if item.get("has_null") and "null_value" in item else None
    draft: Draft = {"name": name}
    if null is not None:
        draft |= {"missingValues": ["", null], "dp:nullable": True}
    if isinstance(item.get("values"), list):
        return {**draft, "type": "string", "categories": [str(v) for v in item["values"] if str(v) != null]}
    bounds = {ours: item[theirs] for ours, theirs in (("minimum", "min"), ("maximum", "max")) if theirs in item}
    whole = all(isinstance(bound, int) for bound in bounds.values())
    kind = next((ours for theirs, ours in _SDNIST_TYPES.items() if str(item.get("dtype", "")).startswith(theirs)), None)
    implied = ("integer" if whole else "number") if bounds else None
    # An object column with bounds holds numbers and the null value; a float column may have whole bounds.
    chosen = kind or implied
    return {**draft, **({"type": chosen} if chosen else {}), **({"constraints": bounds} if bounds else {})}


def _one_of(tables: Mapping[str, Any], table: str | None) -> Mapping[str, Any]:
    chosen = next(iter(tables)) if table is None and len(tables) == 1 else table
    found = None if chosen is None else tables.get(chosen)
    if not isinstance(found, Mapping):
        raise SchemaError(f"name one of the tables {', '.join(tables)} with --table")
    return found


def _mappings(data: Any) -> list[Mapping[str, Any]]:
    return [value for value in data.values() if isinstance(value, Mapping)] if isinstance(data, Mapping) else []


CONVERTERS: dict[str, Callable[[Any, str | None], Converted]] = {
    "sdnist": from_sdnist,
    "sdv": from_sdv,
    "smartnoise": from_smartnoise,
}


def read(path: Path, kind: str, table: str | None = None) -> Converted:
    """Drafts from a file of a known ``kind``."""
    if kind not in CONVERTERS:
        raise SchemaError(f"kind={kind!r} must be one of {', '.join(CONVERTERS)}")
    if path.suffix.lower() in (".yaml", ".yml"):
        return CONVERTERS[kind](indented.read(path), table)
    return CONVERTERS[kind](read_json(path, "file"), table)
