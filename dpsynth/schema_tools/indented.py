"""The part of YAML that metadata of tables is written in: mappings inside mappings by indentation, and plain values.

Anything else of YAML (lists, anchors, block text) is refused by line number, not misread.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dpsynth.errors import SchemaError

_LINE = re.compile(r"""( *)("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s"'#&*!|>%@`\[\]{},:-][^:#]*?)\s*:(?:\s+(.*))?""")
_QUOTED = re.compile(r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*(?:#.*)?""")
_WORDS: dict[str, Any] = {"true": True, "yes": True, "false": False, "no": False, "null": None, "~": None, "": None}


def read(path: Path) -> dict[str, Any]:
    """The mapping in a file."""
    try:
        return parse(path.read_text(encoding="utf-8-sig"), path.name)
    except OSError as error:
        raise SchemaError(f"file {str(path)!r} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SchemaError(f"file {str(path)!r} is not UTF-8 text") from None


def parse(text: str, source: str) -> dict[str, Any]:
    """The mapping in ``text``."""
    root: dict[str, Any] = {}
    # (indentation, mapping) of the open levels; a level's indentation is that of its first key.
    open_levels: list[tuple[int, dict[str, Any]]] = [(-1, root)]
    parent: tuple[int, dict[str, Any], str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#") or line.strip() in ("---", "..."):
            continue
        match = _LINE.fullmatch(line.rstrip())
        if not match:
            raise SchemaError(f"{source!r}, line {number}: only 'key: value' and nested keys are read; convert the file to JSON")
        indent, key, rest = len(match[1]), _unquoted(match[2]), match[3] or ""
        if parent is not None and indent > parent[0]:
            child: dict[str, Any] = {}
            parent[1][parent[2]] = child
            open_levels.append((indent, child))
        while len(open_levels) > 1 and indent < open_levels[-1][0]:
            open_levels.pop()
        if open_levels[-1][0] == -1:
            open_levels[-1] = (indent, root)
        if indent != open_levels[-1][0]:
            raise SchemaError(f"{source!r}, line {number}: the indentation fits no line above")
        level = open_levels[-1][1]
        if key in level:
            raise SchemaError(f"{source!r}, line {number}: key {key!r} appears twice")
        value, plain = _value(rest, f"{source!r}, line {number}")
        level[key] = value
        parent = (indent, level, key) if plain == "" else None
    return root


def _value(rest: str, where: str) -> tuple[Any, str]:
    """The value of a line and its text; an empty text may be followed by nested keys."""
    rest = rest.strip()
    if quoted := _QUOTED.fullmatch(rest):
        return _unquoted(quoted[1]), quoted[1]
    plain = re.sub(r"(^|\s)#.*", "", rest).strip()
    if plain[:1] in tuple("[{&*!|>"):
        raise SchemaError(f"{where}: lists, anchors and block text are not read; convert the file to JSON")
    if plain.lower() in _WORDS:
        return _WORDS[plain.lower()], plain
    for kind in (int, float):
        try:
            return kind(plain), plain
        except ValueError:
            continue
    return plain, plain


def _unquoted(text: str) -> str:
    if text[:1] == "'":
        return text[1:-1].replace("''", "'")
    return text[1:-1].replace('\\"', '"').replace("\\\\", "\\") if text[:1] == '"' else text
