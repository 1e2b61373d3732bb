"""Codebooks: CSV or JSON lists of fields, and the data dictionaries of SDNist. A codebook is public; records are never looked at.

In a CSV, one line is a field, or one value of a field: lines of the same field add up.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dpsynth.errors import SchemaError
from dpsynth.schema_tools.draft import Draft, read_json

_NAMES = ("field", "name", "variable", "column")
_TYPES = {
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "double": "number",
    "numeric": "number",
    "number": "number",
    "decimal": "number",
    "bool": "boolean",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
    "timestamp": "datetime",
    "duration": "duration",
    "string": "string",
    "text": "string",
    "char": "string",
    "categorical": "string",
    "category": "string",
    "code": "string",
    "nominal": "string",
    "ordinal": "string",
    "id": "identifier",
    "identifier": "identifier",
}
_ORDERED = ("ordinal",)
_COLUMNS = (
    "type", "values", "value", "label", "minimum", "maximum", "missing", "role", "title", "description", "ordered", "other", "resolution",
    "format", "bins", "group", "fake",
)  # fmt: skip
_ALIASES = {"min": "minimum", "max": "maximum", "na": "missing", "missing_values": "missing", "codes": "values", "labels": "label"}
_RANGE = re.compile(r"(\D*)(\d+)\.\.\1(\d+)")
_MOST_VALUES = 65_535
_YES = ("1", "true", "yes", "y")


def read_codebook(path: Path) -> list[Draft]:
    """The fields of a codebook in a ``.csv`` or ``.json`` file."""
    if path.suffix.lower() == ".json":
        return from_json(read_json(path, "codebook"), path.name)
    if path.suffix.lower() != ".csv":
        raise _not_a_codebook(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            header = [_key(name) for name in lines.fieldnames or ()]
            if not set(header) & set(_NAMES):
                raise _not_a_codebook(path)
            return from_lines([{_key(k): v for k, v in line.items() if isinstance(k, str)} for line in lines], path.name)
    except OSError as error:
        raise SchemaError(f"codebook {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SchemaError(f"codebook {str(path)!r} is not UTF-8 text") from None


def _not_a_codebook(path: Path) -> SchemaError:
    return SchemaError(
        f"{path.name!r} is not a codebook: .json, or a .csv with a column 'field'. To take types, values and bounds from a table, "
        "the table must be public, and you must say so with --public. From private records no schema is made: it would tell of them"
    )


def from_json(data: Any, source: str) -> list[Draft]:
    """A list of objects with the keys of the CSV columns, or an SDNist data dictionary."""
    if isinstance(data, list) and all(isinstance(item, Mapping) for item in data):
        return from_lines([{_key(str(k)): v for k, v in item.items()} for item in data], source)
    if isinstance(data, Mapping) and data and all(isinstance(item, Mapping) for item in data.values()):
        return [_of_dictionary(str(name), item) for name, item in data.items()]
    raise SchemaError(f"{source!r} is neither a list of fields nor a data dictionary of the form {{field: {{values: ...}}}}")


def from_lines(lines: Iterable[Mapping[str, Any]], source: str) -> list[Draft]:
    """Drafts from lines with the columns of a codebook."""
    drafts: dict[str, Draft] = {}
    for number, line in enumerate(lines, start=1):
        name = next((str(line[key]).strip() for key in _NAMES if line.get(key)), "")
        if not name:
            raise SchemaError(f"{source!r}: entry {number} has no field name")
        unknown = sorted(k for k, v in line.items() if k not in _NAMES and k not in _COLUMNS and v not in (None, ""))
        if unknown:
            raise SchemaError(f"{source!r}: entry {number} has the unknown column {unknown[0]!r}; known ones are {', '.join(_COLUMNS)}")
        _add(drafts.setdefault(name, {"name": name}), {k: v for k, v in line.items() if v not in (None, "")}, f"{source!r}, field {name!r}")
    return [_typed(draft) for draft in drafts.values()]


def _key(name: str) -> str:
    plain = name.strip().lower()
    return _ALIASES.get(plain, plain)


def _add(draft: Draft, line: Mapping[str, Any], where: str) -> None:
    if "type" in line:
        written = str(line["type"]).strip().lower()
        if written not in _TYPES:
            raise SchemaError(f"{where}: type={written!r} must be one of {', '.join(sorted(_TYPES))}")
        if _TYPES[written] == "identifier":
            draft["dp:role"], draft["type"] = "identifier", "string"
        else:
            draft["type"] = _TYPES[written]
        if written in _ORDERED:
            draft["categoriesOrdered"] = True
    for key, place in (("title", "title"), ("description", "description"), ("role", "dp:role"), ("format", "format"), ("fake", "dp:fake")):
        if key in line:
            draft[place] = str(line[key]).strip()
    for key, place in (("ordered", "categoriesOrdered"), ("group", "dp:group")):
        if key in line:
            draft[place] = str(line[key]).strip().lower() in _YES
    if "other" in line:
        draft["dp:other"] = str(line["other"]).strip()
    for key in ("minimum", "maximum"):
        if key in line:
            draft.setdefault("constraints", {})[key] = _scalar(line[key])
    if "resolution" in line:
        draft["dp:resolution"] = _scalar(line["resolution"])
    if "bins" in line:
        draft["dp:bins"] = _bins(line["bins"])
    if "missing" in line:
        texts = line["missing"] if isinstance(line["missing"], list) else str(line["missing"]).split("|")
        draft["missingValues"] = ["", *(t for text in texts if (t := str(text).strip()))]
        draft["dp:nullable"] = True
    _add_values(draft, line, where)


def _add_values(draft: Draft, line: Mapping[str, Any], where: str) -> None:
    found: list[dict[str, str]] = []
    if "value" in line:
        found.append(_value(str(line["value"]).strip(), str(line.get("label", "")).strip()))
    values = line.get("values", ())
    if isinstance(values, Mapping):
        found += [_value(str(k), str(v)) for k, v in values.items()]
    else:
        for item in values if isinstance(values, list) else str(values).split("|") if values else ():
            value, _, label = str(item).strip().partition("=")
            found += [_value(text, label.strip()) for text in _expanded(value.strip(), where)]
    if found:
        draft.setdefault("categories", []).extend(found)


def _value(value: str, label: str) -> dict[str, str]:
    return {"value": value, "label": label} if label else {"value": value}


def _expanded(text: str, where: str) -> list[str]:
    """``V01..V91`` as the codes from one to the other, with the zeros of the first; any other text as it is."""
    match = _RANGE.fullmatch(text)
    if not match:
        return [text]
    prefix, low, high = match[1], int(match[2]), int(match[3])
    if not 0 <= high - low < _MOST_VALUES:
        raise SchemaError(f"{where}: the range {text!r} is empty or has more than {_MOST_VALUES} values")
    return [f"{prefix}{number:0{len(match[2])}d}" for number in range(low, high + 1)]


def _scalar(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    text = value.strip()
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _bins(value: Any) -> Any:
    if isinstance(value, str) and "|" in value:
        return [_scalar(edge) for edge in value.split("|")]
    return _scalar(value)


def _typed(draft: Draft) -> Draft:
    """A field without a type has the one that its values or bounds imply."""
    if "type" not in draft and draft.get("dp:role") != "identifier":
        bounds = draft.get("constraints", {}).values()
        if "categories" in draft:
            draft["type"] = "string"
        elif bounds and all(isinstance(bound, int) for bound in bounds):
            draft["type"] = "integer"
        elif bounds and all(isinstance(bound, int | float) for bound in bounds):
            draft["type"] = "number"
    return draft


def _of_dictionary(name: str, item: Mapping[str, Any]) -> Draft:
    """One entry of an SDNist data dictionary: codes with labels, ``min`` and ``max``, and N for not applicable."""
    values = item.get("values", {})
    draft: Draft = {"name": name, "title": str(item.get("description", name))}
    if not isinstance(values, Mapping) or not values:
        return draft
    if "N" in values:
        draft |= {"missingValues": ["", "N"], "dp:nullable": True, "description": f"N: {values['N']}"}
    codes = {str(code): str(label) for code, label in values.items() if code not in ("N", "min", "max")}
    if "min" in values and "max" in values:
        ends = [values["min"], values["max"], *(_scalar(code) for code in codes)]
        numbers = [end for end in ends if isinstance(end, int | float)]
        draft["constraints"] = {"minimum": min(numbers), "maximum": max(numbers)}
        draft["type"] = "integer" if all(isinstance(number, int) for number in numbers) else "number"
        return draft
    return {**draft, "type": "string", "categories": [_value(code, label) for code, label in codes.items()]}
